# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTP packets: layout, refusals, and RTP told from RTCP."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.rtp import REASONS, MediaError, RTPPacket, is_rtcp, is_rtp

#: Sequence 0x1234, timestamp 0x01020304, SSRC 0xDEADBEEF, payload type 0, two bytes of payload.
PLAIN = bytes.fromhex("8000123401020304deadbeef") + b"ab"

packets = st.builds(
    RTPPacket,
    st.integers(0, 127).filter(lambda number: not 64 <= number < 96),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=400),
    st.booleans(),
)


class ParseTests(SynchronousTestCase):
    """Reading datagrams."""

    def refuse(self, data: bytes) -> str:
        """Return the reason code of a refused datagram."""
        error: MediaError = self.assertRaises(MediaError, RTPPacket.parse, data)
        return error.reason_code

    def test_fields_of_a_plain_packet(self) -> None:
        """Each field stands where RFC 3550 section 5.1 puts it."""
        packet = RTPPacket.parse(PLAIN)
        self.assertEqual(packet, RTPPacket(0, 0x1234, 0x01020304, 0xDEADBEEF, b"ab", False))

    def test_marker_is_the_top_bit_of_the_second_byte(self) -> None:
        """Marker and payload type share a byte (RFC 3550 section 5.1)."""
        packet = RTPPacket.parse(PLAIN[:1] + b"\xe5" + PLAIN[2:])
        self.assertTrue(packet.marker)
        self.assertEqual(packet.payload_type, 101)

    def test_empty_payload_is_a_packet(self) -> None:
        """A header alone is a packet: some send it as a keep-alive."""
        self.assertEqual(RTPPacket.parse(PLAIN[:12]).payload, b"")

    def test_csrcs_are_skipped(self) -> None:
        """CC counts words before the payload (RFC 3550 section 5.1)."""
        packet = RTPPacket.parse(b"\x82" + PLAIN[1:12] + b"12345678" + b"ab")
        self.assertEqual(packet.payload, b"ab")

    def test_extension_is_skipped(self) -> None:
        """
        The extension's length counts words without its own four bytes (RFC 3550 section 5.3.1).
        """
        packet = RTPPacket.parse(b"\x90" + PLAIN[1:12] + b"\xbe\xde\x00\x01" + b"wxyz" + b"ab")
        self.assertEqual(packet.payload, b"ab")

    def test_padding_is_cut(self) -> None:
        """The last byte counts the padding, itself included (RFC 3550 section 5.1)."""
        packet = RTPPacket.parse(b"\xa0" + PLAIN[1:] + b"\0\0\x03")
        self.assertEqual(packet.payload, b"ab")

    def test_all_three_together(self) -> None:
        """CSRC, extension and padding may come in one packet."""
        data = b"\xb1" + PLAIN[1:12] + b"csrc" + b"\0\0\0\0" + b"ab" + b"\x01"
        self.assertEqual(RTPPacket.parse(data).payload, b"ab")

    def test_padding_may_be_all_there_is(self) -> None:
        """A packet of padding only has an empty payload."""
        self.assertEqual(RTPPacket.parse(b"\xa0" + PLAIN[1:12] + b"\0\x02").payload, b"")

    def test_too_short(self) -> None:
        """Eleven bytes are no header."""
        self.assertEqual(self.refuse(PLAIN[:11]), "rtp-too-short")

    def test_wrong_version(self) -> None:
        """Only version 2 is RTP."""
        self.assertEqual(self.refuse(b"\x40" + PLAIN[1:]), "rtp-wrong-version")

    def test_rtcp_is_refused(self) -> None:
        """A sender report is not taken for audio (RFC 5761 section 4)."""
        self.assertEqual(self.refuse(b"\x80\xc8" + PLAIN[2:]), "rtp-is-rtcp")

    def test_truncated_csrcs(self) -> None:
        """CSRCs past the end are refused."""
        self.assertEqual(self.refuse(b"\x8f" + PLAIN[1:]), "rtp-truncated")

    def test_truncated_extension_header(self) -> None:
        """An extension of which not even the length is there is refused."""
        self.assertEqual(self.refuse(b"\x90" + PLAIN[1:]), "rtp-truncated")

    def test_truncated_extension_body(self) -> None:
        """An extension longer than the packet is refused."""
        self.assertEqual(self.refuse(b"\x90" + PLAIN[1:12] + b"\0\0\xff\xff"), "rtp-truncated")

    def test_padding_of_zero(self) -> None:
        """A padding length of zero cannot be right."""
        self.assertEqual(self.refuse(b"\xa0" + PLAIN[1:] + b"\0"), "rtp-bad-padding")

    def test_padding_longer_than_the_payload(self) -> None:
        """Padding never reaches into the header."""
        self.assertEqual(self.refuse(b"\xa0" + PLAIN[1:] + b"\x04"), "rtp-bad-padding")

    def test_padding_of_an_empty_packet(self) -> None:
        """Without a byte behind the header there is no padding length: the header is not read."""
        self.assertEqual(self.refuse(b"\xa0" + PLAIN[1:11] + b"\x01"), "rtp-bad-padding")

    @given(st.binary(max_size=64))
    @example(b"")
    def test_any_bytes_parse_or_are_refused(self, data: bytes) -> None:
        """Nothing but MediaError comes out, with a reason that is explained."""
        try:
            packet = RTPPacket.parse(data)
        except MediaError as error:
            self.assertIn(error.reason_code, REASONS)
        else:
            self.assertTrue(is_rtp(data))
            self.assertLessEqual(len(packet.payload), len(data) - 12)

    @given(packets)
    def test_round_trip(self, packet: RTPPacket) -> None:
        """What is packed is read back."""
        self.assertEqual(RTPPacket.parse(packet.pack()), packet)

    def test_pack_is_byte_exact(self) -> None:
        """The writer's layout is the RFC's, not just the reader's."""
        self.assertEqual(RTPPacket(0, 0x1234, 0x01020304, 0xDEADBEEF, b"ab").pack(), PLAIN)


class ClassifyTests(SynchronousTestCase):
    """RTP and RTCP on one port."""

    def test_rtcp_types_are_told_apart(self) -> None:
        """Packet types 192 to 223 are RTCP (RFC 5761 section 4)."""
        for kind in (192, 200, 201, 202, 203, 204, 223):
            data = bytes([0x80, kind]) + bytes(10)
            self.assertTrue(is_rtcp(data), kind)
            self.assertFalse(is_rtp(data), kind)

    def test_payload_types_in_use_are_rtp(self) -> None:
        """Static and dynamic payload types are RTP, with the marker too."""
        for kind in (0, 8, 13, 63, 96, 101, 127, 128, 136, 229):
            data = bytes([0x80, kind]) + bytes(10)
            self.assertTrue(is_rtp(data), kind)
            self.assertFalse(is_rtcp(data), kind)

    def test_other_protocols_are_neither(self) -> None:
        """STUN, DTLS, SIP and emptiness are neither."""
        for data in (b"", b"\0\x01\0\0" + bytes(16), b"\x16\xfe\xfd" + bytes(20), b"INVITE sip:"):
            self.assertFalse(is_rtp(data))
            self.assertFalse(is_rtcp(data))
