# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""L16: samples in network order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.l16 import L16_8000, L16_16000


class L16Tests(SynchronousTestCase):
    """The codec, at both rates."""

    def test_description(self) -> None:
        """The clock is the sample rate, and no payload type is static at these."""
        for codec, rate in ((L16_8000, 8000), (L16_16000, 16000)):
            self.assertEqual((codec.rtpmap, codec.name), (f"L16/{rate}", f"L16/{rate}"))
            self.assertEqual((codec.sample_rate, codec.payload_type), (rate, None))

    def test_network_order(self) -> None:
        """The high byte is first (RFC 3551 section 4.5.11)."""
        self.assertEqual(L16_8000.make_encoder().encode(b"\x01\x02\x03\x04"), b"\x02\x01\x04\x03")
        self.assertEqual(L16_8000.make_decoder().decode(b"\x02\x01\x04\x03"), b"\x01\x02\x03\x04")

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """Whole samples come back; half a one is dropped; the duration counts samples."""
        self.assertEqual(L16_8000.encode(L16_8000.decode(data)), data[: len(data) & ~1])
        self.assertEqual(L16_8000.duration(data), len(data) // 2)

    def test_packets_fit_into_a_frame(self) -> None:
        """However long packets a peer wants, none needs fragments: 1472 bytes of UDP at most."""
        for codec in (L16_8000, L16_16000):
            milliseconds = codec.packet_time(200, None)
            self.assertLessEqual(2 * codec.sample_rate * milliseconds // 1000 + 12, 1472)
