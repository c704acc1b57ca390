# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Keys that are heard as tones, by signal: the limits of ITU-T Q.24, noise, speech and music."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from math import pi, sin, sqrt
from struct import pack, unpack

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import load_digit, load_sound, tone
from sipsess.media.inband import RATE, KeyDetector

#: The peak of 0 dBm0.
FULL = 32767 / 10 ** (3.14 / 20)
#: Calls of each limit: keys, phases and places in a block that chance chooses.
TRIES = 40


def peak(level: float) -> float:
    """Return the peak of a level in dBm0."""
    return float(FULL * 10 ** (level / 20))


def detect(samples: Iterable[float], rate: int = RATE) -> str:
    """Return the keys that are heard in samples, which come 20 ms at a time."""
    keys: list[str] = []
    detector = KeyDetector(keys.append)
    whole = [max(-32768, min(32767, round(sample))) for sample in samples]
    size = rate // 50
    for at in range(0, len(whole), size):
        piece = whole[at : at + size]
        detector.hear(pack(f"<{len(piece)}h", *piece), rate)
    return "".join(keys)


class DetectorTestCase(SynchronousTestCase):
    """Makes presses of keys, with chance of its own."""

    def setUp(self) -> None:
        """Begin with the same chance each time."""
        self.chance = random.Random(1)

    def press(
        self,
        key: str,
        seconds: float,
        low: float = -10.0,
        high: float = -10.0,
        off: float = 0.0,
    ) -> list[float]:
        """Return the samples of one press, with levels in dBm0 and a share of wrong frequency."""
        choose = self.chance.choice
        row, column = (f * (1 + off * choose((-1, 1))) for f in tone.DTMF_FREQUENCIES[key])
        one, two = self.chance.random() * 2 * pi, self.chance.random() * 2 * pi
        return [
            peak(low) * sin(2 * pi * row * n / RATE + one)
            + peak(high) * sin(2 * pi * column * n / RATE + two)
            for n in range(round(seconds * RATE))
        ]

    def count(self, seconds: float, *, noise: float | None = None, **options: float) -> int:
        """Press many keys; return how many were heard, once and as what they are."""
        heard = 0
        for _ in range(TRIES):
            key = self.chance.choice(list(tone.DTMF_FREQUENCIES))
            lead = [0.0] * self.chance.randrange(400)
            samples = [*lead, *self.press(key, seconds, **options), *[0.0] * 800]
            if noise is not None:
                samples = self.add_noise(samples, noise)
            found = detect(samples)
            self.assertIn(found, ("", key))
            heard += bool(found)
        return heard

    def add_noise(self, samples: Sequence[float], level: float) -> list[float]:
        """Add white noise of a level in dBm0."""
        width = peak(level) / sqrt(2)
        return [sample + self.chance.gauss(0.0, width) for sample in samples]


class LimitTests(DetectorTestCase):
    """What must be taken for a key, and what must not."""

    def test_all_keys(self) -> None:
        """Sixteen keys, fifty milliseconds each, with as much between them."""
        pcm = tone.dtmf("0123456789*#ABCD", 0.05, 0.05)
        self.assertEqual(detect(unpack(f"<{len(pcm) // 2}h", pcm)), "0123456789*#ABCD")

    def test_duration(self) -> None:
        """40 ms is a key, 24 ms is none."""
        self.assertEqual(self.count(0.04), TRIES)
        self.assertEqual(self.count(0.024), 0)

    def test_frequency(self) -> None:
        """1.5 % beside the right frequency is a key, 3.5 % is none."""
        self.assertEqual(self.count(0.04, off=0.015), TRIES)
        self.assertEqual(self.count(0.2, off=0.035), 0)

    def test_twist(self) -> None:
        """The high tone may be 4 dB louder and 8 dB softer; much more is no key."""
        self.assertEqual(self.count(0.05, low=-14.0, high=-10.0), TRIES)
        self.assertEqual(self.count(0.05, low=-8.0, high=-16.0), TRIES)
        self.assertEqual(self.count(0.2, low=-20.0, high=-10.0), 0)
        self.assertEqual(self.count(0.2, low=-8.0, high=-21.0), 0)

    def test_level(self) -> None:
        """-25 dBm0 and the loudest are keys; -50 dBm0 is none."""
        self.assertEqual(self.count(0.04, low=-25.0, high=-25.0), TRIES)
        self.assertEqual(self.count(0.04, low=-4.0, high=-4.0), TRIES)
        self.assertEqual(self.count(0.2, low=-50.0, high=-50.0), 0)
        self.assertEqual(self.count(0.2, low=-34.0, high=-43.0), 0)

    def test_noise(self) -> None:
        """Noise 15 dB below each tone hides no key."""
        self.assertEqual(self.count(0.05, noise=-25.0), TRIES)

    def test_gap(self) -> None:
        """A gap of 10 ms is within a press, one of 40 ms is between two."""
        for seconds, keys in ((0.01, "5"), (0.04, "55")):
            for _ in range(TRIES):
                press, lead = self.press("5", 0.1), [0.0] * self.chance.randrange(160)
                gap = [0.0] * round(seconds * RATE)
                self.assertEqual(detect([*lead, *press[:400], *gap, *press[400:], *gap]), keys)

    def test_short_bursts(self) -> None:
        """What is too short does not add up."""
        for _ in range(TRIES):
            key = self.chance.choice("159D")
            samples: list[float] = []
            for _ in range(6):
                samples += [*self.press(key, 0.024), *[0.0] * 160]
            self.assertEqual(detect(samples), "")

    def test_long_press(self) -> None:
        """However long it lasts, it is one press."""
        self.assertEqual(detect(self.press("9", 3.0)), "9")

    def test_keys_without_a_pause(self) -> None:
        """Another key needs no pause before it."""
        samples = [*self.press("1", 0.1), *self.press("6", 0.1), *self.press("1", 0.1)]
        self.assertEqual(detect(samples), "161")

    def test_told_at_once(self) -> None:
        """A key is told while it is pressed."""
        keys: list[str] = []
        detector = KeyDetector(keys.append)
        press = [round(sample) for sample in self.press("3", 0.06)]
        detector.hear(pack(f"<{len(press)}h", *press), RATE)
        self.assertEqual(keys, ["3"])

    def test_other_rates(self) -> None:
        """Audio of other rates is heard, too, and the rate may change."""
        keys: list[str] = []
        detector = KeyDetector(keys.append)
        for rate in (16000, 48000, 48000, 8000):
            detector.hear(tone.dtmf("7", 0.06, 0.06, rate), rate)
        self.assertEqual(keys, ["7"] * 4)


class OtherSoundTests(DetectorTestCase):
    """What is no key: speech, music, tones and noise."""

    def test_speech(self) -> None:
        """Nothing that is said here is a key, digits least of all."""
        for pcm in (load_sound("hello"), load_sound("goodbye"), *map(load_digit, "0123456789")):
            samples = unpack(f"<{len(pcm) // 2}h", pcm)
            for gain in (0.3, 1.0, 3.0):
                self.assertEqual(detect([gain * sample for sample in samples]), "")

    def test_key_over_speech(self) -> None:
        """A key is heard though somebody speaks softly meanwhile."""
        pcm = load_sound("hello")
        speech = unpack(f"<{len(pcm) // 2}h", pcm)[8000:9600]
        loud = sqrt(sum(sample * sample for sample in speech) / len(speech))
        soft = peak(-26.0) / sqrt(2) / loud
        press = self.press("8", 0.2)
        mixed = [soft * said + pressed for said, pressed in zip(speech, press, strict=True)]
        self.assertEqual(detect([*mixed, *[0.0] * 400]), "8")

    def test_music(self) -> None:
        """Chords with overtones are none."""
        notes = [110 * 2 ** (step / 12) for step in range(48)]
        for _ in range(150):
            chord = [self.chance.choice(notes) for _ in range(self.chance.randrange(1, 5))]
            partials = [(n * order, order) for n in chord for order in range(1, 5)]
            samples = [
                sum(sin(2 * pi * f * n / RATE) / order for f, order in partials if f < 3400)
                for n in range(800)
            ]
            self.assertEqual(detect([3000 * sample / len(chord) for sample in samples]), "")

    def test_tones_of_lines(self) -> None:
        """Neither are the tones of telephone lines, or one frequency of a key alone."""
        for frequencies in ((350, 440), (440, 480), (480, 620), (425,), (697,), (1633,), (2100,)):
            pcm = tone.generate(frequencies, 0.3)
            self.assertEqual(detect(unpack(f"<{len(pcm) // 2}h", pcm)), "", frequencies)

    def test_three_tones(self) -> None:
        """Two frequencies of one group are no key, whatever the other group has."""
        for frequencies in ((697, 770, 1209), (697, 1209, 1477), (852, 941, 1633)):
            pcm = tone.generate(frequencies, 0.3)
            self.assertEqual(detect(unpack(f"<{len(pcm) // 2}h", pcm)), "", frequencies)

    def test_noise_alone(self) -> None:
        """Noise is none, however loud."""
        for level in (-30.0, -15.0, -5.0):
            self.assertEqual(detect(self.add_noise([0.0] * 24000, level)), "")
