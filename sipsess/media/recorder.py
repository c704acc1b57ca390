# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Writes what is heard to a WAV file."""

from __future__ import annotations

from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.playback import Done
from sipsess.media.wav import WAVWriter


class Recorder:
    """
    Writes frames until there are enough; its :meth:`write` is a listener of a stream.

    :param writer: where to; it belongs to the recorder from now on and is closed with it.
    :param max_time: seconds after which the recording ends by itself, so that it cannot fill the
        disk.
    :param done: called once when it ends, with whether it was full.
    """

    __slots__ = ("_done", "_room", "_writer", "is_closed")

    def __init__(
        self, writer: WAVWriter, *, max_time: float = 3600.0, done: Done | None = None
    ) -> None:
        self._writer = writer
        self._room = round(max_time * SAMPLE_RATE)
        self._done = done
        #: Whether it takes no more.
        self.is_closed = False

    @property
    def seconds(self) -> float:
        """How long the recording is by now."""
        return self._writer.samples / SAMPLE_RATE

    def write(self, pcm: bytes, rate: int = SAMPLE_RATE) -> None:
        """
        Add one frame.

        :param pcm: its samples.
        :param rate: how many of them make a second: that of the file.
        """
        if self.is_closed:
            return
        pcm = pcm[: 2 * self._room]
        self._room -= len(pcm) // 2
        self._writer.write(pcm)
        if not self._room:
            self._finish(True)

    def close(self) -> None:
        """End the recording and the file. Idempotent."""
        self._finish(False)

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
