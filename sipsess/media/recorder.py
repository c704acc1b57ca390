# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Writes what is heard to a WAV file."""

from __future__ import annotations

from array import array

from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.playback import Done
from sipsess.media.resample import Resampler
from sipsess.media.wav import WAVWriter


class Recorder:
    """
    Writes frames until there are enough; its :meth:`write` is a listener of a stream.

    :param writer: where to; it belongs to the recorder from now on and is closed with it.
    :param max_time: seconds after which the recording ends by itself, so that it cannot fill the
        disk.
    :param done: called once when it ends, with whether it was full.
    """

    __slots__ = ("_done", "_resampler", "_room", "_writer", "is_closed")

    def __init__(
        self, writer: WAVWriter, *, max_time: float = 3600.0, done: Done | None = None
    ) -> None:
        self._writer = writer
        self._resampler = Resampler(writer.rate, writer.rate)
        self._room = round(max_time * writer.rate)
        self._done = done
        #: Whether it takes no more.
        self.is_closed = False

    @property
    def seconds(self) -> float:
        """How long the recording is by now."""
        writer = self._writer
        return writer.samples / writer.rate

    def write(self, pcm: bytes, rate: int = SAMPLE_RATE) -> None:
        """
        Add one frame to a file of one channel.

        :param pcm: its samples.
        :param rate: how many of them make a second; converted when the file has another.
        """
        if rate != self._resampler.from_rate:
            self._resampler = Resampler(rate, self._writer.rate)
        self._add(self._resampler.convert(pcm))

    def write_both(self, heard: bytes, said: bytes) -> None:
        """
        Add one frame of each side to a file of two channels, the peer's on the left.

        :param heard: what the peer says, at the rate of the file.
        :param said: as much of what he is sent.
        """
        both = array("h", bytes(2 * len(heard)))
        both[0::2], both[1::2] = array("h", heard), array("h", said)
        self._add(both.tobytes())

    def close(self) -> None:
        """End the recording and the file. Idempotent."""
        self._finish(False)

    def _add(self, pcm: bytes) -> None:
        if self.is_closed:
            return
        width = 2 * self._writer.channels
        pcm = pcm[: width * self._room]
        self._room -= len(pcm) // width
        self._writer.write(pcm)
        if not self._room:
            self._finish(True)

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
