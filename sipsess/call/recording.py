# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A recording of a call: to a WAV file, until a key or the time ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipsess.media import AudioStream, Recorder, WAVWriter

from .wait import Wait

if TYPE_CHECKING:
    from .base import CallBase


class Recording(NamedTuple):
    """What came of :meth:`.Call.record`."""

    #: The WAV file.
    path: Path
    #: How long it is.
    seconds: float
    #: The key that ended it; ``""`` when the time was up.
    digit: str


class RecordingWait(Wait):
    """
    The wait behind :meth:`.Call.record`; it fires with a :class:`Recording`.

    :param call: that is recorded.
    :param stream: its audio.
    :param path: the file.
    :param max_seconds: after which it ends.
    :param stop_on: keys that end it.
    :param over: called when it has ended, whichever way.
    """

    __slots__ = ("_listening", "_over", "_path", "_recorder", "stop_on")

    def __init__(
        self,
        call: CallBase,
        stream: AudioStream,
        path: str | Path,
        max_seconds: float,
        stop_on: str,
        over: Callable[[], object],
    ) -> None:
        recorder = Recorder(WAVWriter(path), max_time=max_seconds, done=lambda _: self.stop())
        super().__init__(call, self._close)
        self._path = Path(path)
        self._recorder = recorder
        self._over = over
        #: Keys that end it.
        self.stop_on = stop_on
        self.moved = self.stop
        self._listening = stream.listen(recorder.write)
        # A peer that sends nothing fills no recording.
        self.start_timer(max_seconds, self.stop)

    def stop(self, digit: str = "") -> None:
        """End it; it fires, unless it is over already."""
        self.finish(Recording(self._path, self._recorder.seconds, digit))

    def _close(self) -> None:
        self._over()
        self._listening.stop()
        self._recorder.close()
