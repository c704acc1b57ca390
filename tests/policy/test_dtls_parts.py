# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Fingerprints, records and handshakes of DTLS, and the port of browsers, one by one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.dtls import (
    DTLSPort,
    Fingerprint,
    FingerprintError,
    Handshake,
    identity,
    our_fingerprint,
    read_fingerprints,
    records,
)
from sipsess.dtls.fingerprint import fits
from sipsess.dtls.handshake import MAX_DATAGRAMS, MAX_RESENDS
from sipsess.dtls.port import HANDSHAKE_LIMIT, Association
from sipsess.flow import Address
from sipsess.interfaces import IMediaPort
from sipsess.media import RTPPacket
from sipsess.media.rtcp import Report
from sipsess.srtp import SUITES, Context, Suite
from sipsess.testing import VirtualNetwork
from sipsess.timers import Timer, TimerQueue
from sipsess.transport.rtp import RTPPorts

from .browser import PROFILES, DTLSPeer
from .test_ice import OURS, PEER, THEIRS, check

CERTIFICATE = b"not even DER"
SHA256 = hashlib.sha256(CERTIFICATE).hexdigest().upper()
STRANGER = ("203.0.113.1", 666)


def pairs(digits: str) -> str:
    """Return hexadecimal digits as SDP writes them."""
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))


class FingerprintTests(SynchronousTestCase):
    """a=fingerprint, read strictly (RFC 8122 section 5)."""

    def reason(self, *values: str) -> str:
        """Return why lines are refused."""
        error = self.assertRaises(FingerprintError, read_fingerprints, values)
        return str(error.reason_code)

    def test_own(self) -> None:
        """Ours is one of SHA-256, the same in the whole process, and can be read."""
        text = str(our_fingerprint())
        self.assertRegex(text, r"^sha-256 [0-9A-F]{2}(:[0-9A-F]{2}){31}$")
        self.assertEqual(read_fingerprints([text]), (our_fingerprint(),))

    def test_fits(self) -> None:
        """A certificate fits its own fingerprint, in small letters as well, and no other."""
        for text in (pairs(SHA256), pairs(SHA256.lower())):
            (found,) = read_fingerprints([f"SHA-256 {text}"])
            self.assertTrue(fits([found], CERTIFICATE))
            self.assertFalse(fits([found], CERTIFICATE + b"!"))
        self.assertFalse(fits([], CERTIFICATE))

    def test_several(self) -> None:
        """The strongest hash counts; of several fingerprints with it, one is enough (5.1)."""
        other = Fingerprint.of(b"x", "sha-512")
        right = Fingerprint.of(CERTIFICATE, "sha-512")
        weaker = Fingerprint.of(CERTIFICATE)
        found = read_fingerprints([str(weaker), str(other), "md5 00", str(right)])
        self.assertEqual(found, (other, right))
        self.assertTrue(fits(found, CERTIFICATE))
        self.assertFalse(fits(read_fingerprints([str(weaker), str(other)]), CERTIFICATE))

    def test_refused(self) -> None:
        """Nothing, weak hashes, and what has another length or form, are refused."""
        self.assertEqual(self.reason(), "fingerprint-missing")
        for text in ("sha-1 " + pairs(SHA256[:40]), "md5 " + pairs(SHA256[:32]), "x", ""):
            self.assertEqual(self.reason(text), "fingerprint-unknown-hash")
        for digits in (pairs(SHA256[:-2]), pairs(SHA256) + ":00", SHA256, "", "GG" + pairs(SHA256)):
            self.assertEqual(self.reason(f"sha-256 {digits}"), "fingerprint-malformed")
        longer = pairs(SHA256).replace(":", ":\t", 1)
        self.assertEqual(self.reason(f"sha-256 0{longer}"), "fingerprint-malformed")


class RecordTests(SynchronousTestCase):
    """Records in datagrams (RFC 6347 section 4.1.1)."""

    @staticmethod
    def record(size: int, kind: int = 22, epoch: int = 0) -> bytes:
        """Return a record with so many bytes in it."""
        head = bytes([kind]) + b"\xfe\xfd" + epoch.to_bytes(2) + bytes(6)
        return head + size.to_bytes(2) + bytes(size)

    def test_packed(self) -> None:
        """Whole records fill datagrams that every way carries."""
        data = [self.record(size) for size in (700, 400, 80, 1090, 50)]
        packed = records.pack(b"".join(data))
        self.assertEqual(packed, [data[0] + data[1], data[2] + data[3], data[4]])

    def test_cut_off(self) -> None:
        """What is cut off is no record."""
        data = self.record(5)
        self.assertEqual(list(records.split(data + data[:-1])), [data])
        self.assertEqual(list(records.split(data + data[:12])), [data])

    def test_messages(self) -> None:
        """Handshake messages are told apart, encrypted ones by their epoch; others are none."""
        data = self.record(12) + self.record(40, epoch=1) + self.record(1, 20) + self.record(2, 21)
        self.assertEqual(list(records.messages(data)), [bytes(5), b"\0\1"])


class HandshakeTests(SynchronousTestCase):
    """Handshakes with another implementation's side (RFC 5764)."""

    def meet(self, ours: Handshake, theirs: DTLSPeer, lose: Callable[[bytes], bool]) -> None:
        """Let both sides speak until nobody has anything to say."""
        to_us = theirs.go() if theirs.is_client else []
        to_them = [] if theirs.is_client else ours.start()
        for _ in range(20):
            to_them += [item for data in to_us for item in ours.receive(data)]
            to_us = [item for data in to_them if not lose(data) for item in theirs.go(data)]
            to_them = []
            if not to_us:
                return
        self.fail("they speak for ever")

    def assert_agreed(self, ours: Handshake, theirs: DTLSPeer) -> None:
        """Check that both have the same keys."""
        keys = ours.keys
        assert keys is not None
        self.assertTrue(theirs.is_done)
        speaker, listener = theirs.contexts()
        packet = RTPPacket(0, 1, 1, 1, b"hello").pack()
        data = Context(keys.suite, keys.local, is_sender=True).protect(packet, False)
        self.assertEqual(listener.unprotect(data or b"", False), packet)
        data = speaker.protect(packet, False)
        inward = Context(keys.suite, keys.remote, is_sender=False)
        self.assertEqual(inward.unprotect(data or b"", False), packet)
        self.assertNotIn(repr(keys.local), repr(keys))

    def test_both_roles_and_all_profiles(self) -> None:
        """Each side may begin, and each profile gives both the same keys."""
        for is_client in (True, False):
            for profile, name in PROFILES.items():
                theirs = DTLSPeer(is_client=not is_client, profiles=profile)
                ours = Handshake([theirs.fingerprint], is_client=is_client)
                self.meet(ours, theirs, lambda data: False)
                self.assertTrue(ours.is_over)
                self.assert_agreed(ours, theirs)
                assert ours.keys is not None
                self.assertIs(ours.keys.suite, SUITES[name])

    def test_another_certificate(self) -> None:
        """Who has another certificate than was said gives no keys, and gets nothing more."""
        for is_client in (True, False):
            theirs = DTLSPeer(is_client=not is_client)
            ours = Handshake([our_fingerprint()], is_client=is_client)
            self.meet(ours, theirs, lambda data: False)
            self.assertTrue(ours.is_over)
            self.assertIsNone(ours.keys)
            self.assertIn("a=fingerprint", ours.failure or "")
            # A server has all it needs before the client has seen its last flight.
            self.assertEqual(theirs.is_done, is_client)
            self.assertEqual(ours.receive(RecordTests.record(12)), [])

    def test_no_certificate(self) -> None:
        """Who shows no certificate is refused, with an alert."""
        theirs = DTLSPeer()
        bare = SSL.Context(SSL.DTLS_METHOD)
        bare.set_options(SSL.OP_NO_QUERY_MTU)
        bare.set_verify(SSL.VERIFY_NONE)
        theirs.context = bare
        theirs.begin()
        ours = Handshake([theirs.fingerprint], is_client=False)
        self.assertRaises(SSL.Error, self.meet, ours, theirs, lambda data: False)
        self.assertIn("peer did not return a certificate", ours.failure or "")

    def test_no_profile(self) -> None:
        """Who cannot speak SRTP, or not as we do, gets no keys."""
        for profiles in (b"", b"SRTP_AES128_CM_SHA1_32"):
            theirs = DTLSPeer(profiles=profiles)
            ours = Handshake([theirs.fingerprint], is_client=False)
            self.meet(ours, theirs, lambda data: False)
            self.assertIn("profile", ours.failure or "")

    def test_lost_flights(self) -> None:
        """A flight that was lost is sent again when the far end repeats its own."""
        theirs = DTLSPeer()
        ours = Handshake([theirs.fingerprint], is_client=False)
        hello = theirs.go()
        first = [item for data in hello for item in ours.receive(data)]
        again = [item for data in hello for item in ours.receive(data)]
        self.assertEqual(again, first)
        reply = [item for data in again for item in theirs.go(data)]
        last = [item for data in reply for item in ours.receive(data)]
        self.assertTrue(ours.is_over)
        repeated = [item for data in reply for item in ours.receive(data)]
        self.assertEqual(repeated[: len(last)], last)
        for data in last:
            theirs.go(data)
        self.assert_agreed(ours, theirs)

    def test_nonsense_is_looked_at_so_often(self) -> None:
        """After so many datagrams a handshake hears nothing any more."""
        for more, is_heard in ((-1, True), (0, False)):
            theirs = DTLSPeer()
            ours = Handshake([theirs.fingerprint], is_client=False)
            for _ in range(MAX_DATAGRAMS + more):
                ours.receive(b"\x16nonsense")
            (hello,) = theirs.go()
            self.assertEqual(bool(ours.receive(hello)), is_heard)

    def test_client_that_is_done_is_silent(self) -> None:
        """A client has nothing to repeat when it is done: the server's end shows that all came."""
        theirs = DTLSPeer(is_client=False)
        ours = Handshake([theirs.fingerprint], is_client=True)
        self.meet(ours, theirs, lambda data: False)
        self.assertEqual(ours.receive(RecordTests.record(40, epoch=1)), [])

    def test_bounds(self) -> None:
        """Flights are repeated so often, and so many datagrams are looked at, and no more."""
        theirs = DTLSPeer()
        ours = Handshake([theirs.fingerprint], is_client=False)
        (hello,) = theirs.go()
        self.assertTrue(ours.receive(hello))
        sent = [ours.receive(hello) for _ in range(MAX_DATAGRAMS * 2)]
        self.assertEqual(sum(map(bool, sent)), MAX_RESENDS)
        self.assertEqual(ours.resend(), [])

    def test_any_bytes(self) -> None:
        """Whatever comes, nothing is raised."""
        source = random.Random(6347)
        theirs = DTLSPeer()
        (hello,) = theirs.go()
        for number in range(300):
            ours = Handshake([theirs.fingerprint], is_client=number % 2 == 1)
            data = bytearray(hello)
            for _ in range(source.randrange(1, 6)):
                data[source.randrange(len(data))] = source.randrange(256)
            ours.receive(bytes(data[: source.randrange(1, len(data) + 1)]))
            ours.receive(bytes([source.randrange(20, 64)]) + source.randbytes(40))

    def test_available(self) -> None:
        """It is known whether the extra is installed."""
        self.assertTrue(identity.is_available())
        self.patch(identity, "_PACKAGES", ("no_such_package",))
        self.assertFalse(identity.is_available())


class Owner:
    """An owner of a port with timers of its own."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.timers = TimerQueue()
        self.now = 0.0

    def start_timer(self, delay: float, callback: Callable[[], object]) -> Timer:
        """See Owner."""
        return self.timers.start(self.now, delay, lambda payload, now: callback(), None)

    def cancel_timer(self, timer: Timer | None) -> None:
        """See Owner."""
        self.timers.cancel(timer)

    def selected(self, address: Address) -> None:
        """See Owner."""
        self.events.append(address)

    def secured(self, suite: Suite) -> None:
        """See Owner."""
        self.events.append(suite.name)

    def failed(self, text: str) -> None:
        """See Owner."""
        self.events.append(text)

    def wait(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + seconds
        while (due := self.timers.next_deadline()) is not None and due <= end:
            self.now = due
            self.timers.fire_due(due)
        self.now = end


class PortTests(SynchronousTestCase):
    """The port that browsers speak to (RFC 7983)."""

    def setUp(self) -> None:
        """Open one on a virtual host."""
        self.net = VirtualNetwork()
        self.owner = Owner()
        self.heard: list[bytes] = []
        self.sent: list[tuple[bytes, Address]] = []
        ports = RTPPorts(self.net.host("192.0.2.1"), 10000, 10010)
        self.port = DTLSPort(
            self.owner, ports, "192.0.2.1", lambda data, source, now: self.heard.append(data)
        )
        self.patch(self.port._inner, "send", lambda *sent: self.sent.append(sent))
        self.theirs = DTLSPeer()

    def agree(self, theirs: DTLSPeer | None = None, tls_id: str | None = None) -> None:
        """Tell the port what both sides have said."""
        peer = theirs or self.theirs
        association = Association((peer.fingerprint,), not peer.is_client, tls_id)
        self.port.agree(OURS, THEIRS, association)

    def come(self, *datagrams: bytes, source: Address = PEER) -> list[bytes]:
        """Let datagrams come; return what is sent back."""
        del self.sent[:]
        for data in datagrams:
            self.port.datagram_received(data, source, 0.0)
        return self.take(source)

    def take(self, source: Address = PEER) -> list[bytes]:
        """Return what was sent, all to one address."""
        sent, self.sent[:] = list(self.sent), []
        self.assertEqual({address for _, address in sent} - {source}, set())
        return [data for data, _ in sent]

    def shake(self, theirs: DTLSPeer | None = None) -> None:
        """Do a handshake that the peer begins."""
        peer = theirs or self.theirs
        flight = peer.go()
        while flight:
            flight = [item for data in self.come(*flight) for item in peer.go(data)]

    def test_interface(self) -> None:
        """It provides IMediaPort."""
        verifyObject(IMediaPort, self.port)

    def test_strangers(self) -> None:
        """Who is not known to ICE gets nothing and is not heard, whatever he sends."""
        self.agree()
        datagrams = (*DTLSPeer().go(), RTPPacket(0, 1, 1, 1, b"x").pack(), b"", b"\x50")
        self.assertEqual(self.come(*datagrams, source=STRANGER), [])
        self.assertEqual(self.port.strange, len(datagrams))
        self.come(check("USE-CANDIDATE"))
        self.shake()
        self.assertEqual(self.owner.events[1:], ["AEAD_AES_256_GCM"])
        self.port.send(RTPPacket(0, 1, 1, 1, b"x").pack(), STRANGER)
        self.port.send_rtcp(Report(1).pack(), STRANGER)
        self.assertEqual((self.take(), self.port.unsent), ([], 2))

    def test_keys(self) -> None:
        """Checks are answered, the handshake gives keys, and packets pass in both directions."""
        self.agree()
        self.assertEqual(len(self.come(check("USE-CANDIDATE"))), 1)
        self.shake()
        self.assertEqual(self.owner.events, [PEER, "AEAD_AES_256_GCM"])
        self.assertEqual(len(self.owner.timers), 0)
        speaker, listener = self.theirs.contexts()
        packet = RTPPacket(0, 1, 1, 1, b"x").pack()
        self.come(speaker.protect(packet, False) or b"")
        self.assertEqual(self.heard, [packet])
        self.port.send(packet, PEER)
        (data,) = self.take()
        self.assertEqual(listener.unprotect(data, False), packet)
        self.port.send_rtcp(Report(1).pack(), PEER)
        (data,) = self.take()
        self.assertEqual(listener.unprotect(data, True), Report(1).pack())

    def test_before_anything_is_agreed(self) -> None:
        """Nothing is answered before both sides have described themselves."""
        self.assertEqual(self.come(check(), *self.theirs.go()), [])

    def test_lost_flight(self) -> None:
        """A flight without an answer is sent again, unchanged, after 1, 2, 4... seconds."""
        self.agree()
        self.come(check("USE-CANDIDATE"))
        flight = self.come(*self.theirs.go())
        times = []
        for _ in range(8):
            self.owner.wait(1)
            again = self.take()
            if again:
                self.assertEqual(again, flight)
                times.append(self.owner.now)
        self.assertEqual(times, [1, 3, 7])
        reply = [item for data in flight for item in self.theirs.go(data)]
        self.come(*reply)
        self.assertEqual(self.owner.events[1:], ["AEAD_AES_256_GCM"])
        self.owner.wait(60)
        self.assertEqual(self.take(), [])

    def test_each_flight_has_its_own_delay(self) -> None:
        """A flight that is lost is sent again after a second, however late the one before was."""
        theirs = DTLSPeer(is_client=False)
        self.agree(theirs)
        hello = self.come(check("USE-CANDIDATE"))[1:]
        self.owner.wait(3)
        self.assertEqual(self.take(), hello * 2)
        flight = self.come(*[item for data in hello for item in theirs.go(data)])
        self.assertNotEqual(flight, [])
        self.owner.wait(1)
        self.assertEqual(self.take(), flight)

    def test_time_out(self) -> None:
        """A handshake that is not over in time fails, and the text says what was missing."""
        self.agree()
        self.owner.wait(HANDSHAKE_LIMIT)
        self.assertEqual(self.owner.events, ["no check of ICE came in 20 s"])
        self.assertEqual(self.come(*self.theirs.go()), [])
        self.setUp()
        self.agree()
        (hello,) = self.theirs.go()
        self.assertEqual(len(self.come(check("USE-CANDIDATE"), hello)), 2)
        self.owner.wait(HANDSHAKE_LIMIT)
        self.assertEqual(self.owner.events[1:], ["DTLS was not over in 20 s"])
        self.assertEqual(len(self.owner.timers), 0)
        self.assertEqual(self.come(hello), [])
        self.assertEqual(self.port.strange, 1)

    def test_failure(self) -> None:
        """A handshake that fails is told, once."""
        other = DTLSPeer()
        self.agree()
        self.come(check("USE-CANDIDATE"))
        self.shake(other)
        self.assertIn("a=fingerprint", str(self.owner.events[1:]))
        self.assertEqual(len(self.owner.events), 2)
        self.assertEqual(len(self.owner.timers), 0)

    def test_we_begin(self) -> None:
        """As client this side begins when the peer has chosen a way, and follows another choice."""
        theirs = DTLSPeer(is_client=False)
        self.agree(theirs)
        self.assertEqual(len(self.come(check())), 1)
        hello = self.come(check("USE-CANDIDATE"))[1:]
        self.assertEqual(len(hello), 1)
        other = ("192.0.2.9", 50002)
        self.assertEqual(len(self.come(check("USE-CANDIDATE"), source=other)), 1)
        self.owner.wait(1)
        self.assertEqual(self.take(other), hello)
        flight = hello
        while flight:
            flight = self.come(*[item for data in flight for item in theirs.go(data)], source=other)
        self.assertEqual(self.owner.events[2:], ["AES_CM_128_HMAC_SHA1_80"])
        # When it is over it is not begun again, wherever the peer goes.
        self.assertEqual(len(self.come(check("USE-CANDIDATE"))), 1)
        self.assertEqual(self.port.strange, 0)

    def test_agreed_again(self) -> None:
        """The same again changes nothing; another certificate is another handshake (RFC 8842)."""
        self.agree()
        self.come(check("USE-CANDIDATE"))
        self.shake()
        self.agree()
        self.assertEqual(len(self.owner.timers), 0)
        speaker, _ = self.theirs.contexts()
        other = DTLSPeer()
        self.agree(other)
        # What is in force goes on until there are other keys.
        self.come(speaker.protect(RTPPacket(0, 1, 1, 1, b"x").pack(), False) or b"")
        self.assertEqual(len(self.heard), 1)
        self.shake(other)
        self.assertEqual(self.owner.events[1:], ["AEAD_AES_256_GCM"] * 2)
        self.come(speaker.protect(RTPPacket(0, 2, 1, 1, b"x").pack(), False) or b"")
        self.assertEqual(len(self.heard), 1)

    def test_begun_again_by_us(self) -> None:
        """A new association of which we are the client begins at once where the peer is."""
        theirs = DTLSPeer(is_client=False)
        self.agree(theirs)
        self.come(check("USE-CANDIDATE"))
        self.take()
        self.agree(theirs, tls_id="another")
        self.assertEqual(len(self.take()), 1)

    def test_any_bytes(self) -> None:
        """Whatever comes from where the peer is, nothing is raised, and nothing heard."""
        self.agree()
        self.come(check("USE-CANDIDATE"))
        source = random.Random(7983)
        for number in range(600):
            data = bytearray(source.randbytes(source.randrange(1, 120)))
            data[0] = source.choice((0, 1, 20, 21, 22, 23, 63, 64, 128, 144, 255))
            if number % 3 == 0 and len(data) > 13:
                # The head of a record that fits.
                data[:13] = b"\x16\xfe\xfd" + bytes(8) + (len(data) - 13).to_bytes(2)
            self.port.datagram_received(bytes(data), PEER, 0.0)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.owner.events[0], PEER)

    def test_closed(self) -> None:
        """A closed port has no timers."""
        self.agree()
        self.come(check("USE-CANDIDATE"), *self.theirs.go())
        self.port.close()
        self.assertEqual(len(self.owner.timers), 0)
