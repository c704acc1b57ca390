# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of what encrypts RTP: keys in SDP, and the port between a stream and its socket."""

from __future__ import annotations

import random
from base64 import b64encode

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media import RTPPacket
from sipsess.sdp.lines import Lines, mask_secrets, share_lines
from sipsess.srtp import SUITES, Context, Crypto, SRTPPort, is_available, read_cryptos
from sipsess.srtp.crypto import MAX_LINE, MAX_LINES, CryptoError
from sipsess.srtp.port import MAX_SOURCES
from sipsess.testing import VirtualNetwork
from sipsess.transport.rtp import RTPPorts

CM = SUITES["AES_CM_128_HMAC_SHA1_80"]
KEY = bytes(range(30))
TEXT = b64encode(KEY).decode()
PEER = ("192.0.2.9", 40000)
#: A receiver report of nobody.
RTCP = bytes.fromhex("80c9000100001234")


def packet(sequence: int, ssrc: int = 0x1234) -> bytes:
    """Return an RTP packet."""
    return RTPPacket(0, sequence, 160 * sequence, ssrc, bytes(160)).pack()


class CryptoTests(SynchronousTestCase):
    """Lines of keys (RFC 4568)."""

    def test_line(self) -> None:
        """Tag, suite and key are read; lifetime and the size of a window change nothing."""
        for tail in ("", "|2^20", "|1048576", "|2^48 WSH=64", " -ODD=1"):
            line = Crypto.parse(f"7 {CM.name} inline:{TEXT}{tail}")
            self.assertEqual((line.tag, line.suite, line.key), ("7", CM, KEY))
        self.assertEqual(str(line), f"7 {CM.name} inline:{TEXT}")

    def test_key_is_not_shown(self) -> None:
        """A line does not print its key where objects are printed."""
        shown = repr(Crypto("1", CM, KEY))
        self.assertNotIn(TEXT, shown)
        self.assertNotIn(repr(KEY), shown)

    def test_refused(self) -> None:
        """What cannot be taken is refused, each with its reason, and never with the key."""
        for text, reason in (
            ("", "crypto-malformed"),
            (f"1 {CM.name}", "crypto-malformed"),
            (f"x {CM.name} inline:{TEXT}", "crypto-malformed"),
            (f"1234567890 {CM.name} inline:{TEXT}", "crypto-malformed"),
            (f"1 F8_128_HMAC_SHA1_80 inline:{TEXT}", "crypto-unknown-suite"),
            (f"1 {CM.name} inline:{TEXT} UNENCRYPTED_SRTP", "crypto-unsupported"),
            (f"1 {CM.name} inline:{TEXT}|2^20|1:4", "crypto-unsupported"),
            (f"1 {CM.name} inline:{TEXT};inline:{TEXT}", "crypto-unsupported"),
            (f"1 {CM.name} uri:{TEXT}", "crypto-unsupported"),
            (f"1 {CM.name} inline:{TEXT[:-4]}", "crypto-malformed"),
            (f"1 {CM.name} inline:{TEXT[:-1]}*", "crypto-malformed"),
            (f"1 {CM.name} inline:{TEXT[:-1]}\xe9", "crypto-malformed"),
            (f"1 AEAD_AES_128_GCM inline:{TEXT}", "crypto-malformed"),
            (f"1 {CM.name} inline:{TEXT} {'-' * MAX_LINE}", "crypto-malformed"),
        ):
            error = self.assertRaises(CryptoError, Crypto.parse, text)
            self.assertEqual(error.reason_code, reason, text)
            self.assertNotIn(TEXT[:-4], str(error))

    def test_lines(self) -> None:
        """Of many lines those that can be taken remain, and no more than some are looked at."""
        good = f"2 {CM.name} inline:{TEXT}"
        self.assertEqual([line.tag for line in read_cryptos(["1 X inline:a", good])], ["2"])
        self.assertEqual(read_cryptos([*["1 X inline:a"] * MAX_LINES, good]), [])

    def test_secrets_are_not_kept(self) -> None:
        """Lines with secrets are not shared between calls, as those of codecs are."""
        plain = ("a=rtpmap:0 PCMU/8000",)
        self.assertIs(share_lines(plain), share_lines(plain))
        for row in (f"a=crypto:1 {CM.name} inline:{TEXT}", "a=ice-pwd:secret"):
            self.assertIsInstance(share_lines((row,)), Lines)
            self.assertIsNot(share_lines((row,)), share_lines((row,)))

    def test_masked(self) -> None:
        """What is shown of such a line does not tell the secret."""
        for row, shown in (
            (f"a=crypto:1 {CM.name} inline:{TEXT}|2^20", f"a=crypto:1 {CM.name} inline:***"),
            ("a=crypto:secret", "a=crypto:***"),
            ("a=ice-pwd:secret", "a=ice-pwd:***"),
            ("a=ptime:20", "a=ptime:20"),
        ):
            self.assertEqual(mask_secrets(row), shown)


class PortTests(SynchronousTestCase):
    """The port that encrypts."""

    def setUp(self) -> None:
        """Open one on a virtual host."""
        self.net = VirtualNetwork()
        self.ports = RTPPorts(self.net.host("192.0.2.1"), 10000, 10010)
        self.heard: list[bytes] = []
        self.port = SRTPPort(self.ports, "192.0.2.1", self.hear)
        self.sent: list[bytes] = []
        self.wire = self.net.host("192.0.2.9")
        self.patch(self.port._inner, "send", lambda data, address: self.sent.append(data))
        self.patch(self.port._inner, "send_rtcp", lambda data, address: self.sent.append(data))

    def hear(self, data: bytes, source: Address, now: float) -> None:
        """Take a plain packet."""
        self.heard.append(data)

    def come(self, data: bytes | None) -> None:
        """Let a datagram come."""
        assert data is not None
        self.port.datagram_received(data, PEER, 0.0)

    def test_interface(self) -> None:
        """It provides IMediaPort, and is where the port below is."""
        verifyObject(IMediaPort, self.port)
        verifyObject(IMediaPorts, self.ports)
        self.assertEqual((self.port.host, self.port.port), ("192.0.2.1", 10000))
        self.assertIn("10000", repr(self.port))
        self.port.close()
        self.net.run_for(0.1)
        self.assertEqual(len(self.ports), 0)

    def test_nothing_without_keys(self) -> None:
        """Before there are keys, and after the end, nothing goes out and nothing is heard."""
        for _ in range(2):
            self.port.send(packet(1), PEER)
            self.port.send_rtcp(RTCP, PEER)
            self.come(packet(1))
            self.port.set_keys(CM, KEY, KEY)
            self.port.close()
        self.assertEqual((self.sent, self.heard), ([], []))
        self.assertEqual((self.port.unsent, self.port.unprotected), (4, 2))

    def test_port_for_reports(self) -> None:
        """What comes to the port for RTCP is decrypted, too."""
        self.assertTrue(self.port.open_rtcp())
        self.port.set_keys(CM, KEY, KEY)
        data = Context(CM, KEY, is_sender=True).protect(RTCP, True)
        assert data is not None
        self.wire.listenUDP(7000, DatagramProtocol()).write(data, ("192.0.2.1", 10001))
        self.net.run_for(0.1)
        self.assertEqual(self.heard, [RTCP])

    def test_all_suites(self) -> None:
        """Packets and reports go out encrypted and come in plain, with each suite."""
        ids = IdSource(random.Random(1))
        for suite in SUITES.values():
            ours, theirs = ids.secret(suite.length), ids.secret(suite.length)
            self.port.set_keys(suite, ours, theirs)
            listener = Context(suite, ours, is_sender=False)
            speaker = Context(suite, theirs, is_sender=True)
            for data, is_rtcp in ((packet(7), False), (RTCP, True)):
                send = self.port.send_rtcp if is_rtcp else self.port.send
                send(data, PEER)
                self.assertNotIn(data, self.sent)
                self.assertEqual(listener.unprotect(self.sent.pop(), is_rtcp), data)
                self.come(speaker.protect(data, is_rtcp))
                self.assertEqual(self.heard.pop(), data)
        self.assertEqual((self.port.unsent, self.port.unprotected), (0, 0))

    def test_bad_packets(self) -> None:
        """Plain, forged, repeated and broken packets are counted and not heard."""
        self.port.set_keys(CM, KEY, KEY)
        good = Context(CM, KEY, is_sender=True).protect(packet(1), False)
        other = Context(CM, bytes(30), is_sender=True).protect(packet(2), False)
        self.come(good)
        bad = [good, other, packet(3), RTCP, b"", b"\x80", bytes(12), b"\x80" * 2000]
        for data in bad:
            self.come(data)
        self.assertEqual(self.heard, [packet(1)])
        self.assertEqual(self.port.unprotected, len(bad))

    def test_any_bytes(self) -> None:
        """Whatever comes, nothing is raised, and nothing is kept of it."""
        self.port.set_keys(CM, KEY, KEY)
        source = random.Random(4568)
        for _ in range(2000):
            data = source.randbytes(source.randrange(80))
            self.come(bytes([0x80 | (data[0] & 0x3F)]) + data[1:] if data else data)
        self.assertEqual((self.heard, len(self.port._sources)), ([], 0))
        self.assertEqual(self.port.unprotected, 2000)

    def test_too_long(self) -> None:
        """What does not fit in a packet is not sent."""
        self.port.set_keys(CM, KEY, KEY)
        self.port.send(packet(1) + bytes(1500), PEER)
        self.assertEqual((self.sent, self.port.unsent), ([], 1))

    def test_sources_are_bounded(self) -> None:
        """A peer that takes ever new sources is heard with some only, until a new key."""
        self.port.set_keys(CM, KEY, KEY)
        speaker = Context(CM, KEY, is_sender=True)
        for ssrc in range(MAX_SOURCES + 3):
            self.come(speaker.protect(packet(1, ssrc), False))
        self.assertEqual((len(self.heard), self.port.unprotected), (MAX_SOURCES, 3))
        self.come(speaker.protect(packet(2, 0), False))
        self.assertEqual(len(self.heard), MAX_SOURCES + 1)
        self.port.set_keys(CM, KEY, bytes(30))
        self.come(Context(CM, bytes(30), is_sender=True).protect(packet(1, 99), False))
        self.assertEqual(len(self.heard), MAX_SOURCES + 2)

    def test_same_keys_go_on(self) -> None:
        """The same keys again change nothing: what was sent and heard before is remembered."""
        self.port.set_keys(CM, KEY, KEY)
        speaker = Context(CM, KEY, is_sender=True)
        first = speaker.protect(packet(1), False)
        self.come(first)
        self.port.send(packet(1), PEER)
        self.port.set_keys(CM, KEY, KEY)
        self.come(first)
        self.assertEqual(len(self.heard), 1)
        # libsrtp refuses to encrypt a second packet of the same number under one key.
        self.port.send(packet(1), PEER)
        self.assertEqual((len(self.sent), self.port.unsent), (1, 1))

    def test_goes_round(self) -> None:
        """Sequence numbers that begin again from 0 are followed (RFC 3711 3.3.1)."""
        self.port.set_keys(CM, KEY, KEY)
        speaker = Context(CM, KEY, is_sender=True)
        for sequence in (65534, 65535, 0, 1):
            self.come(speaker.protect(packet(sequence), False))
        self.assertEqual(len(self.heard), 4)

    def test_available(self) -> None:
        """It is known whether the extra is installed."""
        self.assertTrue(is_available())
