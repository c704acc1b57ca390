# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tones: the right frequencies at the right level for the right time."""

from __future__ import annotations

from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media import tone
from tests.pure.signals import amplitude, loudest, rms, samples

ROWS = [697.0, 770.0, 852.0, 941.0]
COLUMNS = [1209.0, 1336.0, 1477.0, 1633.0]


class ToneTests(SynchronousTestCase):
    """What is generated."""

    def test_length_and_level(self) -> None:
        """0 dBm0 is a sine 3.14 dB below full scale, which is -6.15 dB as RMS (G.711)."""
        pcm = tone.generate([1000.0], 0.5, 0.0)
        self.assertEqual(len(pcm), 8000)
        self.assertApproximates(rms(pcm), -6.15, 0.15)
        self.assertApproximates(rms(tone.generate([1000.0], 0.5, -20.0)), -26.15, 0.15)

    def test_frequency(self) -> None:
        """The tone is where it was asked for and nowhere else."""
        pcm = tone.generate([440.0], 0.5)
        self.assertEqual(loudest(pcm, [350.0, 440.0, 480.0, 880.0]), [440.0])
        self.assertLess(amplitude(pcm, 880.0), amplitude(pcm, 440.0) / 100)

    def test_too_loud_is_clipped(self) -> None:
        """Full scale is never exceeded."""
        values = samples(tone.generate([400.0, 401.0], 0.1, 3.0))
        self.assertEqual((max(values), min(values)), (32767, -32768))

    def test_no_click(self) -> None:
        """Begin and end are soft."""
        values = samples(tone.generate([1000.0], 0.1, 0.0))
        self.assertLess(max(map(abs, values[:4] + values[-4:])), 3000)

    def test_each_key_has_its_two_tones(self) -> None:
        """Row and column of each of the sixteen keys are those of Q.23."""
        for row, keys in zip(ROWS, ("123A", "456B", "789C", "*0#D"), strict=True):
            for column, key in zip(COLUMNS, keys, strict=True):
                pcm = tone.dtmf(key, 0.1, 0.0)
                self.assertEqual(loudest(pcm, ROWS), [row], key)
                self.assertEqual(loudest(pcm, COLUMNS), [column], key)

    def test_keys_follow_each_other(self) -> None:
        """Tone and pause alternate."""
        pcm = tone.dtmf("1D", 0.1, 0.05)
        self.assertEqual(len(pcm), 2 * 2400)
        self.assertEqual(rms(pcm[1600:2400]), -200.0)
        self.assertEqual(loudest(pcm[2400:4000], ROWS), [941.0])

    def test_no_key(self) -> None:
        """What is on no telephone has no tone."""
        self.assertRaises(LocalError, tone.dtmf, "x")

    def test_silence(self) -> None:
        """Silence has the right length and nothing in it."""
        self.assertEqual(tone.silence(0.25), bytes(4000))

    def test_ringback(self) -> None:
        """A second of 425 Hz, four of silence, and again."""
        on, off, again = islice(tone.ringback(), 3)
        self.assertEqual((len(on), off, again), (16000, bytes(64000), on))
        self.assertEqual(loudest(on, [350.0, 425.0, 480.0]), [425.0])

    def test_beep(self) -> None:
        """The beep is a quarter of a second of 1 kHz."""
        self.assertEqual(len(tone.beep()), 4000)
        self.assertEqual(loudest(tone.beep(), [500.0, 1000.0, 2000.0]), [1000.0])
