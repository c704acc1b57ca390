# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""G.722, by the signal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import tone
from sipsess.media.g722 import G722, G722Codec
from tests.pure.extras import skip_without
from tests.pure.signals import amplitude, rms


class DescriptionTests(SynchronousTestCase):
    """What it says of itself."""

    def test_two_rates(self) -> None:
        """It samples at 16 kHz, and its RTP clock is 8 kHz (RFC 3551 section 4.5.2)."""
        self.assertEqual((G722.rtpmap, G722.payload_type), ("G722/8000", 9))
        self.assertEqual((G722.sample_rate, G722.duration(bytes(160))), (16000, 160))

    def test_without_the_extra(self) -> None:
        """It says which extra it wants."""
        self.assertIn("sipsess[g722]", G722Codec("no_such_module").missing)


class SignalTests(SynchronousTestCase):
    """What is encoded is heard."""

    skip = skip_without(G722)

    def test_wideband(self) -> None:
        """Tones below and above what G.711 can carry come back as loud as they went."""
        self.assertEqual(G722.missing, "")
        for pitch in (400.0, 3000.0, 6000.0):
            said = tone.generate((pitch,), 0.4, rate=16000)
            encoder, decoder, heard = G722.make_encoder(), G722.make_decoder(), b""
            for at in range(0, len(said), 640):
                payload = encoder.encode(said[at : at + 640])
                self.assertEqual(len(payload), 160)
                heard += decoder.decode(payload)
            self.assertEqual(len(heard), len(said))
            self.assertApproximates(rms(heard[3200:]), rms(said[3200:]), 1.0)
            expected = amplitude(said[3200:], pitch, 16000)
            self.assertApproximates(
                amplitude(heard[3200:], pitch, 16000) / expected, 1.0, 0.15, str(pitch)
            )

    def test_streams_have_a_state_each(self) -> None:
        """Two encoders do not disturb each other."""
        one, two, noise = G722.make_encoder(), G722.make_encoder(), bytes(range(256)) * 3
        first = one.encode(noise) + one.encode(noise)
        other = two.encode(noise)
        one.encode(noise[::-1])
        self.assertEqual(other + two.encode(noise), first)

    @settings(deadline=None)
    @given(st.binary(max_size=330))
    def test_any_bytes(self, data: bytes) -> None:
        """Each byte is two samples, whatever a peer sends; odd ends of PCM are dropped."""
        self.assertEqual(len(G722.make_decoder().decode(data)), 4 * len(data))
        self.assertEqual(len(G722.make_encoder().encode(data)), len(data) // 4)
