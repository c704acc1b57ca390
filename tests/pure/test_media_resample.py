# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Sample rates, by the signal that leaves."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media import Resampler, tone
from sipsess.media.resample import convert_whole
from tests.pure.signals import amplitude, rms, samples, to_pcm

RATES = [(8000, 16000), (8000, 48000), (16000, 8000), (48000, 8000), (44100, 8000), (16000, 48000)]


def in_pieces(pcm: bytes, from_rate: int, to_rate: int, size: int) -> bytes:
    """Convert ``size`` bytes at a time."""
    resampler = Resampler(from_rate, to_rate)
    return b"".join(resampler.convert(pcm[at : at + size]) for at in range(0, len(pcm), size))


class WholeTests(SynchronousTestCase):
    """A sound that is there as a whole."""

    def test_no_delay_and_no_loss(self) -> None:
        """It begins and ends where it did, at any rates, and is as long."""
        for from_rate, to_rate in (*RATES, (11025, 8000), (8000, 8000)):
            values = [0] * (2 * from_rate)
            values[0] = values[from_rate // 2] = values[-max(1, from_rate // to_rate)] = 20000
            out = samples(convert_whole(to_pcm(values), from_rate, to_rate))
            self.assertEqual(len(out), 2 * to_rate)
            half = out[to_rate // 4 : to_rate]
            peak = to_rate // 4 + half.index(max(half))
            self.assertApproximates(peak, to_rate // 2, 1)
            for edge in (out[:8], out[-8:]):
                self.assertGreater(max(edge), 0.5 * max(half), (from_rate, to_rate))


class ResamplerTests(SynchronousTestCase):
    """What goes in, and what comes out."""

    def test_a_sine_keeps_level_and_pitch(self) -> None:
        """Speech frequencies leave as they came, within half a decibel, and nothing besides."""
        for from_rate, to_rate in RATES:
            for frequency in (300.0, 1000.0, 2500.0):
                pcm = tone.generate((frequency,), 0.4, rate=from_rate)
                out = Resampler(from_rate, to_rate).convert(pcm)
                self.assertApproximates(rms(out), rms(pcm), 0.5)
                # The tone alone has nearly all of the power.
                level = amplitude(out, frequency, to_rate)
                self.assertApproximates(level, amplitude(pcm, frequency, from_rate), level / 18)

    def test_nothing_folds_back(self) -> None:
        """What the lower rate cannot hold is gone, and is not heard as another pitch."""
        pcm = tone.generate((5500.0,), 0.4, rate=16000)
        self.assertLess(rms(Resampler(16000, 8000).convert(pcm)), rms(pcm) - 40)

    def test_no_image_is_heard(self) -> None:
        """Going up adds no mirror of the tone beyond the old half rate."""
        out = Resampler(8000, 16000).convert(tone.generate((2000.0,), 0.4))
        self.assertLess(amplitude(out, 6000, 16000), amplitude(out, 2000, 16000) / 200)

    @given(st.sampled_from(RATES), st.integers(1, 700))
    def test_pieces_make_no_difference(self, rates: tuple[int, int], size: int) -> None:
        """Cut anywhere, the samples that leave are the same, and as many as time has passed."""
        pcm = tone.generate((440.0,), 0.03, rate=rates[0])
        out = in_pieces(pcm, *rates, 2 * size)
        self.assertEqual(out, Resampler(*rates).convert(pcm))
        self.assertEqual(len(out) // 2, ceil(Fraction(len(pcm) // 2 * rates[1], rates[0])))

    def test_a_frame_becomes_a_frame(self) -> None:
        """Each 20 ms leave as 20 ms, from the first on."""
        resampler = Resampler(8000, 48000)
        self.assertEqual([len(resampler.convert(bytes(320))) for _ in range(3)], [1920] * 3)

    def test_equal_rates_change_nothing(self) -> None:
        """There is nothing to convert."""
        self.assertEqual(Resampler(8000, 8000).convert(b"abcd"), b"abcd")

    def test_the_loudest_is_clipped(self) -> None:
        """Where the filter swings beyond 16 bits, the sample stays at the edge."""
        square = to_pcm(([32767] * 20 + [-32768] * 20) * 10)
        values = samples(Resampler(8000, 16000).convert(square))
        self.assertEqual((min(values), max(values)), (-32768, 32767))

    def test_rates_out_of_range(self) -> None:
        """A rate that nobody has is refused."""
        for rates in ((0, 8000), (8000, 10**9)):
            self.assertRaises(LocalError, Resampler, *rates)
