# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A recording of a call: to a WAV file, until a key, a silence or the time ends it.

Theory of operation
    The file has the sample rate of the codec that is in force when it begins. With one channel it
    begins with the peer's first packet; with two, at once, and both sides stay aligned
    (:mod:`sipsess.media.legs`). Silence is counted in frames, so that it is the silence of the
    file; a peer that sends nothing at all is silent by the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.media import AudioStream, Legs, Listening, Recorder, WAVWriter
from sipsess.media.codecs import FRAME_TIME

from .wait import Wait

if TYPE_CHECKING:
    from .base import CallBase

#: What ended a recording.
KEY, SILENCE, TIME, STOP = "key", "silence", "time", "stop"
#: The largest sample of a frame that counts as silence: 36 dB below the loudest, above the noise
#: of a line and below quiet speech.
QUIET = 500


class Recording(NamedTuple):
    """What came of :meth:`.Call.record`."""

    #: The WAV file.
    path: Path
    #: How long it is.
    seconds: float
    #: The key that ended it; ``""`` when none did.
    digit: str
    #: What ended it: ``"key"``, ``"silence"``, ``"time"`` or ``"stop"``.
    ended_by: str


class Recorded(Deferred[Recording]):
    """
    A Deferred that fires with the :class:`Recording` when it is complete.

    It fails with :class:`.SessionEnded` when the call ends, and with ``OSError`` when the file
    cannot be written any more; the file holds what was recorded until then. Cancelling it ends the
    recording, too.
    """

    #: Ends it; set as long as it goes on.
    _stop: Callable[[], object] | None = None

    def stop(self) -> None:
        """End the recording: it fires, unless it is over already."""
        if self._stop is not None:
            self._stop()


class RecordingWait(Wait):
    """
    The wait behind :meth:`.Call.record`.

    :param call: that is recorded.
    :param stream: its audio.
    :param path: the file.
    :param over: called when it has ended, whichever way.
    """

    __slots__ = (
        *("_has_begun", "_max_seconds", "_max_silence", "_over", "_path"),
        *("_recorder", "_silence", "recorded", "stop_on"),
    )

    def __init__(
        self,
        call: CallBase,
        stream: AudioStream,
        path: str | Path,
        over: Callable[[], object],
        *,
        max_seconds: float,
        max_silence: float | None,
        stop_on: str,
        is_stereo: bool,
    ) -> None:
        rate = stream.sample_rate
        writer = WAVWriter(path, rate=rate, channels=2 if is_stereo else 1)
        self._recorder = Recorder(writer, max_time=max_seconds, done=lambda _: self._end(TIME))
        self.recorded = Recorded(self.cancelled)
        super().__init__(call, deferred=self.recorded)
        self._path = Path(path)
        self._over = over
        self._max_seconds, self._max_silence = max_seconds, max_silence
        #: Keys that end it.
        self.stop_on = stop_on
        #: Seconds of it, up to now.
        self._silence = 0.0
        self._has_begun = False
        self.moved = self.recorded._stop = self.stop
        listening: Listening | Legs = (
            stream.listen_both(self._hear_both, rate) if is_stereo else stream.listen(self._hear)
        )
        self._release = partial(self._close, listening)
        if max_silence is not None and max_silence < max_seconds:
            self.start_timer(max_silence, self._look)
        else:
            self.start_timer(max_seconds, self._time_up)

    def stop(self) -> None:
        """See :meth:`Recorded.stop`."""
        self._end(STOP)

    def press(self, digit: str) -> None:
        """Hear that the peer has pressed one of the keys that end it."""
        self._end(KEY, digit)

    def _end(self, why: str, digit: str = "") -> None:
        self.finish(Recording(self._path, self._recorder.seconds, digit, why))

    def _look(self) -> None:
        """See whether the peer has sent anything by now."""
        if self._has_begun:
            self.start_timer(self._max_seconds - (self._max_silence or 0.0), self._time_up)
        else:
            self._end(SILENCE)

    def _time_up(self) -> None:
        self._end(TIME)

    def _hear(self, pcm: bytes, rate: int) -> None:
        self._write(pcm, lambda: self._recorder.write(pcm, rate))

    def _hear_both(self, heard: bytes, said: bytes) -> None:
        self._write(heard, lambda: self._recorder.write_both(heard, said))

    def _write(self, heard: bytes, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:
            self.fail(Failure())
            return
        self._has_begun = True
        if self._max_silence is None:
            return
        self._silence = self._silence + FRAME_TIME if _is_quiet(heard) else 0.0
        if self._silence >= self._max_silence - FRAME_TIME / 2:
            self._end(SILENCE)

    def _close(self, listening: Listening | Legs) -> None:
        self.recorded._stop = None
        self._over()
        listening.stop()
        try:
            self._recorder.close()
        except OSError as error:
            self._call.session.note("recording", f"{self._path}: {error}")


def _is_quiet(pcm: bytes) -> bool:
    """Tell whether nobody speaks in a frame."""
    samples = unpack(f"<{len(pcm) // 2}h", pcm)
    return max(samples, default=0) <= QUIET and min(samples, default=0) >= -QUIET
