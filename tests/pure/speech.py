# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Something like speech, and what became of it on its way: its delay, its likeness, its clarity.

Theory of operation
    Speech is understood by how the loudness of its bands changes from syllable to syllable. So what
    is said here are eight bands, each a tone of slightly moving pitch whose loudness changes as it
    likes, up to eight times a second. It is heard well when the samples correlate with what was
    said. It is clear, that is the words could be understood, when the loudness of its bands still
    follows: :func:`clarity` is the correlation of the bands' loudness within pieces of 0.4 s, each
    where it fits best, and the mean of all. That is how STOI measures intelligibility (short-time
    objective intelligibility, Taal et al. 2011), with fewer bands; there, listeners understand nine
    words of ten at 0.75. For another speech it is about 0.4, as it may choose where it fits.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate, pairwise
from math import pi, sin, sqrt
from operator import mul
from random import Random
from statistics import fmean

from sipsess.media.codecs import SAMPLE_RATE
from tests.pure.signals import amplitude, samples, to_pcm

#: The middle of each band, in Hz.
BANDS = (300, 450, 650, 900, 1250, 1700, 2300, 3000)
#: Seconds between two loudnesses of a band.
_STEP = 1 / 16
#: Samples and bytes of the frames in which loudness is measured: 20 ms.
_FRAME = SAMPLE_RATE // 50
_BYTES = 2 * _FRAME
#: Frames of a piece of :func:`clarity`: 0.4 s.
_PIECE = 20
#: Below this, a piece of a band is too even to say anything.
_EVEN = 1e-6


@cache
def speech(seconds: float, seed: int = 1) -> bytes:
    """Return so many seconds of it as PCM, at the level of a telephone."""
    random = Random(seed)
    count = int(seconds * SAMPLE_RATE)
    total = [0.0] * count
    step = int(_STEP * SAMPLE_RATE)
    for band in BANDS:
        knots = [random.random() ** 3 * 4000 for _ in range(count // step + 2)]
        phase = random.random()
        for index, (begin, end) in enumerate(pairwise(knots)):
            turn = 2 * pi * band * random.uniform(0.99, 1.01) / SAMPLE_RATE
            for offset in range(min(step, count - index * step)):
                phase += turn
                share = offset / step
                total[index * step + offset] += sin(phase) * (begin + (end - begin) * share)
    return to_pcm([max(-32000, min(32000, round(value))) for value in total])


def correlation(one: bytes, other: bytes) -> float:
    """Return how alike two pieces of PCM are: 1 when only their level differs."""
    return _correlate(samples(one), samples(other))


def _correlate(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    mine, yours = fmean(one), fmean(other)
    product = mine_power = yours_power = 0.0
    for a, b in zip(one, other, strict=True):
        a, b = a - mine, b - yours
        product += a * b
        mine_power += a * a
        yours_power += b * b
    return product / sqrt(mine_power * yours_power + _EVEN)


def find_delay(said: bytes, heard: bytes, limit: float) -> float:
    """
    Return by how many seconds ``heard`` is behind ``said``: where they are most alike.

    :param said: a piece of what was said.
    :param heard: what was heard from that time on, longer by ``limit`` at least.
    :param limit: the longest delay that is looked for.
    """
    mine, yours = samples(said), samples(heard)
    power = [0, *accumulate(value * value for value in yours)]
    score = []
    for lag in range(int(limit * SAMPLE_RATE)):
        product = sum(map(mul, mine, yours[lag : lag + len(mine)]))
        score.append(product / sqrt(power[lag + len(mine)] - power[lag] + _EVEN))
    return score.index(max(score)) / SAMPLE_RATE


def clarity(said: bytes, heard: bytes) -> float:
    """
    Return how well the loudness of the bands follows what was said: 1 when nothing is lost.

    :param heard: what was heard meanwhile; each piece may be up to 0.4 s late.
    """
    mine, yours = _loudness(said), _loudness(heard)
    count = min(map(len, (mine, yours))) - 2 * _PIECE
    found = []
    for begin in range(0, count, _PIECE):
        piece = mine[begin : begin + _PIECE]
        where = range(begin, begin + _PIECE)
        found.append(max(_likeness(piece, yours[lag : lag + _PIECE]) for lag in where))
    return fmean(found)


def _loudness(pcm: bytes) -> list[tuple[float, ...]]:
    """Return the loudness of all bands in each frame."""
    frames = [pcm[at : at + _BYTES] for at in range(0, len(pcm) - _BYTES + 1, _BYTES)]
    return [tuple(amplitude(frame, band) for band in BANDS) for frame in frames]


def _likeness(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> float:
    """Return the mean over the bands of how alike their loudness changes."""
    bands = zip(zip(*one, strict=True), zip(*other, strict=True), strict=True)
    return fmean(_correlate(mine, yours) for mine, yours in bands)
