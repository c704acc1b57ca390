# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Brings PCM from one sample rate to another.

Theory of operation
    A polyphase filter: each sample that leaves is the sum of the samples around its place, weighted
    by a windowed sinc that is cut off below the lower of the two half rates. So nothing folds back
    when the rate goes down, and no image is heard when it goes up; straight lines, as
    ``audioop.ratecv`` draws them, do both. The places are counted in whole numbers, so nothing
    drifts: after ``n`` samples exactly ``ceil(n * to_rate / from_rate)`` have left. The delay is
    :data:`_WIDTH` samples of the lower rate, three quarters of a millisecond at 8 kHz.
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, gcd, pi, sin
from operator import mul
from struct import pack, unpack

from sipsess.errors import LocalError

#: The lowest rate that is converted, in Hz.
MIN_RATE = 1000
#: The highest rate that is converted, in Hz.
MAX_RATE = 384_000
#: Zero crossings of the sinc on each side: more is a steeper filter, and more work.
_WIDTH = 6
#: Where the filter cuts, as a part of the lower half rate.
_CUT = 0.94
#: Pairs of rates whose weights are remembered.
_MAX_FILTERS = 32

#: The weights of each phase, the distance between two samples that leave in phases, and how many
#: samples before the newest one a place lies.
_Filter = tuple[tuple[tuple[float, ...], ...], int]


class Resampler:
    """
    Converts one stream of PCM, piece after piece.

    :param from_rate: of what comes, in Hz.
    :param to_rate: of what leaves.
    :raises LocalError: when a rate is not within :data:`MIN_RATE` and :data:`MAX_RATE`.
    """

    __slots__ = ("_history", "_phases", "_place", "_step", "_taps", "from_rate", "to_rate")

    def __init__(self, from_rate: int, to_rate: int) -> None:
        #: What comes, in Hz.
        self.from_rate = check_rate(from_rate)
        #: What leaves.
        self.to_rate = check_rate(to_rate)
        self._phases, self._step = _make_filter(from_rate, to_rate)
        self._taps = len(self._phases[0])
        #: The samples that the next place may still need.
        self._history: tuple[int, ...] = (0,) * (self._taps - 1)
        #: The next place, in phases after the first new sample.
        self._place = 0

    @property
    def reach(self) -> int:
        """How many samples of what comes it looks ahead: the delay."""
        return self._taps // 2

    def convert(self, pcm: bytes) -> bytes:
        """
        Convert the next piece.

        :param pcm: 16-bit little-endian mono; an odd last byte is dropped.
        :return: what has become of it by now.
        """
        if self.from_rate == self.to_rate:
            return pcm
        count = len(pcm) // 2
        samples = self._history + unpack(f"<{count}h", pcm[: 2 * count])
        phases, taps, up = self._phases, self._taps, len(self._phases)
        end = count * up
        places = range(self._place, end, self._step)
        sums = [
            round(sum(map(mul, samples[at : at + taps], phases[phase])))
            for at, phase in (divmod(place, up) for place in places)
        ]
        self._place += len(places) * self._step - end
        self._history = samples[count:]
        # A filter swings over at the edges of what is very loud.
        if sums and (max(sums) > 32767 or min(sums) < -32768):
            sums = [max(-32768, min(32767, value)) for value in sums]
        return pack(f"<{len(sums)}h", *sums)


def convert_whole(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    """
    Convert all of a sound, without the delay of a stream.

    :param pcm: 16-bit little-endian mono; an odd last byte is dropped.
    :raises LocalError: as for :class:`Resampler`.
    """
    resampler = Resampler(from_rate, to_rate)
    if from_rate == to_rate:
        return pcm
    # What the filter holds back at the end comes out with as much silence.
    silence = bytes(2 * resampler.reach)
    begin = 2 * round(resampler.reach * to_rate / from_rate)
    piece = 2 * from_rate
    pieces = [resampler.convert(pcm[at : at + piece]) for at in range(0, len(pcm), piece)]
    whole = b"".join([*pieces, resampler.convert(silence)])
    return whole[begin:][: 2 * (len(pcm) // 2 * to_rate // from_rate)]


def check_rate(rate: int) -> int:
    """
    Return a sample rate that can be converted.

    :raises LocalError: when it is not within :data:`MIN_RATE` and :data:`MAX_RATE`.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise LocalError(f"{rate} Hz cannot be converted; {MIN_RATE} to {MAX_RATE} can")
    return rate


@lru_cache(maxsize=_MAX_FILTERS)
def _make_filter(from_rate: int, to_rate: int) -> _Filter:
    """Return the weights for two rates, oldest sample first, each phase with a sum of one."""
    common = gcd(from_rate, to_rate)
    up, step = to_rate // common, from_rate // common
    # Samples that come between two zero crossings.
    spread = max(1.0, from_rate / to_rate)
    reach = round(_WIDTH * spread)
    phases = []
    for phase in range(up):
        # The place lies between the sample `reach - 1` after the oldest and the next one.
        distances = [(index - reach + 1 - phase / up) / spread for index in range(2 * reach)]
        weights = [_sinc(distance * _CUT) * _window(distance) for distance in distances]
        total = sum(weights)
        phases.append(tuple(weight / total for weight in weights))
    return tuple(phases), step


def _sinc(value: float) -> float:
    return sin(pi * value) / (pi * value) if value else 1.0


def _window(distance: float) -> float:
    """Hann's window over the width of the filter."""
    return 0.5 + 0.5 * cos(pi * distance / _WIDTH) if abs(distance) < _WIDTH else 0.0
