# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Hides what was lost: the last period of the voice again and again, quieter and quieter.

Theory of operation
    The period is that at which the end of what was heard is most alike to what came before it,
    looked for between 50 and 400 Hz, first on every second sample. Its last occurrence is repeated
    and fades to silence within :data:`FADE` seconds. The first frame that comes after that is
    blended with what the repetition would have gone on with, so that no click is heard. A codec
    that can conceal by itself needs none of this.
"""

from __future__ import annotations

from math import sqrt
from struct import pack, unpack

#: Seconds after which a repeated sound is silent; a longer one sounds like a robot.
FADE = 0.06
#: Seconds over which the sound that comes back is blended in.
BLEND = 0.005
#: The highest and the lowest voice, in Hz.
_HIGHEST, _LOWEST = 400, 50
#: Seconds that are compared.
_COMPARED = 0.01


class Concealer:
    """
    Conceals the gaps of one sound.

    :param rate: its samples per second.
    """

    __slots__ = ("_history", "_lost", "_period", "_rate")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._history: tuple[int, ...] = ()
        self._period: tuple[int, ...] = ()
        #: Samples that were made up since the last one that was heard.
        self._lost = 0

    def hear(self, pcm: bytes) -> bytes:
        """Take what came; return it, blended with what was made up before it."""
        values = unpack(f"<{len(pcm) // 2}h", pcm)
        if self._period and 0 < self._lost < FADE * self._rate:
            count = min(round(BLEND * self._rate), len(values))
            ghost = self._repeat(count)
            mixed = [
                (old * (count - index) + new * index) // count
                for index, (old, new) in enumerate(zip(ghost, values, strict=False))
            ]
            values = (*mixed, *values[count:])
            pcm = pack(f"<{len(values)}h", *values)
        self._lost = 0
        keep = round((_COMPARED + 1 / _LOWEST) * self._rate)
        self._history = (self._history + values)[-keep:]
        return pcm

    def conceal(self, samples: int) -> bytes:
        """Return that much of what might have come."""
        if not self._lost:
            self._period = self._find_period()
        return pack(f"<{samples}h", *self._repeat(samples))

    def silence(self, samples: int) -> bytes:
        """Return silence, after which nothing is repeated: the sender says nothing."""
        self._history = self._period = ()
        return bytes(2 * samples)

    def _repeat(self, samples: int) -> list[int]:
        """Go on with the period, and fade."""
        begin, period = self._lost, self._period
        self._lost += samples
        if not period:
            return [0] * samples
        end = round(FADE * self._rate)
        # What was heard goes on: the first sample is that which followed a period ago.
        return [
            period[at % len(period)] * max(end - at, 0) // end
            for at in range(begin, begin + samples)
        ]

    def _find_period(self) -> tuple[int, ...]:
        """Return the last period of what was heard; nothing when too little was."""
        history, compared = self._history, round(_COMPARED * self._rate)
        longest = len(history) - compared
        shortest = self._rate // _HIGHEST
        if longest < shortest:
            return ()
        # On every so many samples first: eight thousand in a second are more than is needed.
        step = max(1, self._rate // 4000)
        rough = max(range(shortest, longest + 1, step), key=lambda lag: self._alike(lag, step))
        near = range(max(shortest, rough - step + 1), min(longest, rough + step - 1) + 1)
        return history[-max(near, key=lambda lag: self._alike(lag, 1)) :]

    def _alike(self, lag: int, step: int) -> float:
        """How alike the end is to what was ``lag`` samples before it, whatever its level."""
        end, compared = len(self._history), round(_COMPARED * self._rate)
        new = self._history[end - compared :: step]
        old = self._history[end - compared - lag : end - lag : step]
        power = sum(value * value for value in old)
        return sum(map(int.__mul__, new, old)) / (sqrt(power) + 1.0)
