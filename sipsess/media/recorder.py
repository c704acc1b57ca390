# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Writes what is heard to a WAV file, each frame where its RTP timestamp puts it."""

from __future__ import annotations

from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.playback import Done
from sipsess.media.wav import WAVWriter

#: The longest gap in seconds that is filled with silence; what jumps further has a new clock, and
#: follows at once.
MAX_GAP = 60.0
#: Bytes of silence written at once.
_BLOCK = bytes(SAMPLE_RATE)


class Recorder:
    """
    Puts frames in their places.

    Lost packets and silence suppression become silence of the right length. What comes too late
    for its place is dropped, since the file is written as a stream.

    :param writer: where to; it belongs to the recorder from now on and is closed with it.
    :param max_time: seconds after which the recording ends by itself, so that it cannot fill the
        disk.
    :param done: called once when it ends, with whether it was full.
    """

    __slots__ = ("_done", "_next", "_room", "_writer", "is_closed")

    def __init__(
        self, writer: WAVWriter, *, max_time: float = 3600.0, done: Done | None = None
    ) -> None:
        self._writer = writer
        self._room = round(max_time * SAMPLE_RATE)
        self._next: int | None = None
        self._done = done
        #: Whether it takes no more.
        self.is_closed = False

    @property
    def seconds(self) -> float:
        """How long the recording is by now."""
        return self._writer.samples / SAMPLE_RATE

    def write(self, pcm: bytes, timestamp: int) -> None:
        """
        Add one frame.

        :param pcm: its samples.
        :param timestamp: the RTP timestamp of the first of them.
        """
        if self.is_closed:
            return
        gap = 0
        if self._next is not None:
            gap = timestamp - self._next & 0xFFFFFFFF
            if gap >= 0x80000000 and 0x100000000 - gap <= SAMPLE_RATE:
                return
            if gap > MAX_GAP * SAMPLE_RATE:
                gap = 0
        self._next = timestamp + len(pcm) // 2 & 0xFFFFFFFF
        self._fill(gap)
        self._put(pcm)
        if not self._room:
            self._finish(True)

    def restart(self) -> None:
        """The sender has a new clock: the next frame follows without a gap."""
        self._next = None

    def close(self) -> None:
        """End the recording and the file. Idempotent."""
        self._finish(False)

    def _fill(self, samples: int) -> None:
        left = 2 * samples
        while left > 0:
            self._put(_BLOCK[:left])
            left -= len(_BLOCK)

    def _put(self, pcm: bytes) -> None:
        pcm = pcm[: 2 * self._room]
        self._room -= len(pcm) // 2
        self._writer.write(pcm)

    def _finish(self, is_full: bool) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        done, self._done = self._done, None
        try:
            self._writer.close()
        finally:
            if done is not None:
                done(is_full)
