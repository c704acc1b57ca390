# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a stream has to say: audio cut into frames, and whom to tell when it was said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from sipsess.media.codecs import FRAME_BYTES, SAMPLE_RATE
from sipsess.media.resample import Resampler

#: Called exactly once: ``True`` when everything was sent, ``False`` when it was stopped before.
Done: TypeAlias = Callable[[bool], None]


class Playback:
    """
    Audio that waits or is being sent; :meth:`AudioStream.play` makes it.

    :param pcm: all of it, or its pieces of any length as they become available; an empty piece
        means "nothing yet": the stream is silent for one frame and asks again.
    :param done: called exactly once with whether all was sent.
    :param rate: samples per second of the PCM.
    """

    __slots__ = ("_done", "_pieces", "_resampler", "_rest", "_rest_rate", "is_done", "rate")

    def __init__(
        self,
        pcm: Iterable[bytes] | bytes | bytearray | memoryview,
        done: Done | None,
        rate: int = SAMPLE_RATE,
    ) -> None:
        self._pieces: Iterator[bytes] = (
            _cut(bytes(pcm)) if isinstance(pcm, (bytes, bytearray, memoryview)) else iter(pcm)
        )
        self._rest = b""
        self._done = done
        #: Samples per second of the PCM.
        self.rate = rate
        #: What is left of the pieces that were begun, at the rate of the last frame.
        self._rest_rate = rate
        self._resampler: Resampler | None = None
        #: Whether it is over, one way or the other.
        self.is_done = False

    def stop(self) -> None:
        """Say no more of it; ``done(False)`` is called, unless it is over already."""
        self.finish(False)

    def finish(self, is_complete: bool) -> None:
        """End it and tell; the stream calls it. Later calls do nothing."""
        if self.is_done:
            return
        self.is_done = True
        done, self._done = self._done, None
        self._pieces, self._rest = iter(()), b""
        if done is not None:
            done(is_complete)

    def next_frame(self, size: int = FRAME_BYTES, rate: int = SAMPLE_RATE) -> bytes | None:
        """
        Return the next frame.

        :param size: its bytes.
        :param rate: its samples per second.
        :return: a whole frame (the last one is filled up with silence); ``b""`` when nothing is
            there yet; ``None`` at the end.
        """
        if rate != self._rest_rate:
            self._change_rate(rate)
        rest, resampler = self._rest, self._resampler
        while len(rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                self._rest = b""
                return rest.ljust(size, b"\0") if rest else None
            if not piece:
                self._rest = rest
                return b""
            rest += piece if resampler is None else resampler.convert(piece)
        self._rest = rest[size:]
        return rest[:size]

    def _change_rate(self, rate: int) -> None:
        """Another codec is in force: from here on the frames have another rate."""
        self._rest = Resampler(self._rest_rate, rate).convert(self._rest)
        self._rest_rate = rate
        self._resampler = None if rate == self.rate else Resampler(self.rate, rate)


def _cut(pcm: bytes) -> Iterator[bytes]:
    """Cut into frames; the last may be shorter."""
    return (pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES))
