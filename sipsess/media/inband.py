# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Keys that are heard: the two tones of DTMF (ITU-T Q.23) in audio, by the limits of ITU-T Q.24.

Theory of operation
    Audio is looked at in blocks of 10 ms. Of each the eight frequencies are measured (amplitude and
    phase), and two blocks after each other make a *window* of 20 ms. A window shows a key when

    - one frequency of each group stands out of the others of its group,
    - the two differ in level by no more than the *twist* that telephones have,
    - together they are most of what is heard,
    - and the phases of the two blocks say that both frequencies are right, to 2.6 %.

    Speech and music pass one of these now and then, but not all of them, for one key, three windows
    in a row. That needs a tone of 38 ms; one of 24 ms is never a key. A key is told at once, and is
    over after three windows without it, so that a tone with a gap of 10 ms stays one key, and two
    with 40 ms between them are two.
"""

from __future__ import annotations

from cmath import exp, phase
from collections.abc import Callable
from math import cos, log10, pi, sin
from operator import mul
from struct import Struct

from sipsess.media.resample import Resampler

#: Samples per second that are looked at.
RATE = 8000
#: Samples of a block.
BLOCK = 80

_LOW = (697, 770, 852, 941)
_HIGH = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")

#: Windows in a row that make a key, and that end it.
_HITS = 3
_MISSES = 3
#: The amplitude below which a tone is none: -40 dBm0, where Q.24 wants -25 and better heard.
_LEAST_AMPLITUDE = 228.0
#: How much the high tone may be louder and softer than the low one; Q.24 wants 4 and 8 dB taken.
_MOST_TWIST = 6.0
_LEAST_TWIST = -10.0
#: How far the strongest of a group is above the next: 6 dB.
_CONTRAST = 2.0
#: The share of the energy that the two have.
_SHARE = 0.65
#: By how much a frequency may be wrong: Q.24 wants 1.5 % taken and 3.5 % refused.
_TOLERANCE = 0.026

_FREQUENCIES = _LOW + _HIGH
_COSINES = [[cos(2 * pi * f * n / RATE) for n in range(BLOCK)] for f in _FREQUENCIES]
_SINES = [[-sin(2 * pi * f * n / RATE) for n in range(BLOCK)] for f in _FREQUENCIES]
_BLOCK_OF = Struct(f"<{BLOCK}h")
#: What turns the phase of one block to that of the next.
_TURNS = [exp(2j * pi * f * BLOCK / RATE) for f in _FREQUENCIES]


class KeyDetector:
    """
    Finds keys in the audio of one peer; its :meth:`hear` is a listener of a stream.

    :param pressed: called with each key as soon as it is sure, once per press.
    """

    __slots__ = ("_before", "_energy", "_hits", "_key", "_misses", "_pcm", "_pressed", "_resampler")

    def __init__(self, pressed: Callable[[str], None]) -> None:
        self._pressed = pressed
        self._resampler: Resampler | None = None
        #: Samples that do not fill a block yet.
        self._pcm = b""
        #: The last block: its frequencies, turned to the phase of the next one, and its energy.
        self._before = [0j] * 8
        self._energy = 0.0
        #: The key that the last window showed, or that is pressed; how often in a row it was seen,
        #: and how often not since.
        self._key = ""
        self._hits = 0
        self._misses = 0

    def hear(self, pcm: bytes, rate: int) -> None:
        """Listen; see :meth:`.AudioStream.listen`."""
        if rate != RATE:
            if self._resampler is None or self._resampler.from_rate != rate:
                self._resampler = Resampler(rate, RATE)
            pcm = self._resampler.convert(pcm)
        self._pcm += pcm
        while len(self._pcm) >= 2 * BLOCK:
            samples = _BLOCK_OF.unpack_from(self._pcm)
            self._pcm = self._pcm[2 * BLOCK :]
            self._judge(self._look(samples))

    def _judge(self, key: str) -> None:
        """Tell a key when it was seen often enough."""
        if key and key == self._key:
            self._hits += 1
            self._misses = 0
            if self._hits == _HITS:
                self._pressed(key)
        elif key and (self._hits < _HITS or self._misses):
            # Another key, or the first.
            self._key, self._hits, self._misses = key, 1, 0
        else:
            self._misses += 1
            if self._hits < _HITS or self._misses >= _MISSES:
                self._key, self._hits = "", 0

    def _look(self, samples: tuple[int, ...]) -> str:
        """Return the key that the window of this block and the last shows, or nothing."""
        energy = float(sum(map(mul, samples, samples)))
        window = energy + self._energy
        self._energy = energy
        if window < 2 * BLOCK * _LEAST_AMPLITUDE**2:
            self._before = [0j] * 8
            return ""
        now = [
            complex(sum(map(mul, samples, real)), sum(map(mul, samples, imaginary)))
            for real, imaginary in zip(_COSINES, _SINES, strict=True)
        ]
        before = self._before
        self._before = list(map(mul, now, _TURNS))
        return _find_key(before, now, window)


def _find_key(before: list[complex], now: list[complex], energy: float) -> str:
    """Return the key of two blocks in phase, or nothing."""
    sums = [abs(one + two) for one, two in zip(before, now, strict=True)]
    low = max(range(4), key=sums.__getitem__)
    high = max(range(4, 8), key=sums.__getitem__)
    for best, group in ((low, range(4)), (high, range(4, 8))):
        if any(sums[best] < _CONTRAST * sums[other] for other in group if other != best):
            return ""
        change = phase(now[best] * before[best].conjugate())
        if abs(change) * RATE / (2 * pi * BLOCK) > _TOLERANCE * _FREQUENCIES[best]:
            return ""
    # A frequency that is a little off is weaker in both blocks together than in each.
    levels = [abs(before[best]) + abs(now[best]) for best in (low, high)]
    if min(levels) < BLOCK * _LEAST_AMPLITUDE:
        return ""
    share = (levels[0] ** 2 + levels[1] ** 2) / (BLOCK * energy)
    twist = 20 * log10(levels[1] / levels[0])
    if share < _SHARE or not _LEAST_TWIST <= twist <= _MOST_TWIST:
        return ""
    return _KEYS[low][high - 4]
