# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A source of audio: what the peer says, for a program that listens.

Theory of operation
    Frames wait for the program, :data:`MAX_FRAMES` at most: who listens to a live voice wants the
    newest, so the oldest are dropped, and counted. The stream keeps no hold of the source; when the
    program has let go of it, it hears no more.
"""

from __future__ import annotations

import weakref
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError
from sipsess.media import AudioStream, Listening
from sipsess.media.resample import Resampler
from sipsess.session import SessionEnded

from .wait import Wait

if TYPE_CHECKING:
    from .call import Call

#: Frames that wait for the program: two seconds. A listener that is further behind has lost the
#: conversation.
MAX_FRAMES = 100


class AudioSource:
    """
    What :meth:`.Call.audio_in` returns: an asynchronous iterator of frames.

    It ends with the call, or when it is closed. As a context manager it is closed at the end.

    :param call: whose peer is heard.
    :param rate: the samples per second of what is read.
    """

    __slots__ = (
        "__weakref__",
        "_call",
        "_frames",
        "_listening",
        "_reader",
        "_resampler",
        "_stream",
        "dropped",
        "is_closed",
        "rate",
    )

    def __init__(self, call: Call, rate: int) -> None:
        self._call = call
        #: The samples per second of what is read.
        self.rate = rate
        #: For the rate that is heard.
        self._resampler = Resampler(rate, rate)
        self._frames: deque[bytes] = deque()
        self._stream: AudioStream | None = None
        self._listening: Listening | None = None
        self._reader: Wait | None = None
        #: Frames that were dropped, since nobody took them in time.
        self.dropped = 0
        #: Whether :meth:`close` was called.
        self.is_closed = False
        self._attach()

    def __aiter__(self) -> AudioSource:
        return self

    async def __anext__(self) -> bytes:
        frame = await self.read()
        if not frame:
            raise StopAsyncIteration
        return frame

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def read(self) -> Deferred[bytes]:
        """
        Hear the next frame.

        :return: fires with 20 ms of PCM (16-bit little-endian mono), at once when some waits; with
            ``b""`` when the call has ended, or the source was closed.
        :raises DialogStateError: when somebody reads already.
        """
        if self._reader is not None:
            raise DialogStateError("somebody reads this audio already")
        if self._frames:
            return succeed(self._frames.popleft())
        if self.is_closed or self._call.is_ended:
            return succeed(b"")
        self._attach()
        wait = self._reader = Wait(self._call, self._forget_reader)
        wait.moved = self._attach
        return wait.deferred.addErrback(_end)

    def close(self) -> None:
        """Hear no more: what waits is dropped, and who reads gets ``b""``. Idempotent."""
        self.is_closed = True
        self._frames.clear()
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stop()
        if self._reader is not None:
            self._reader.finish(b"")

    def _attach(self) -> None:
        """Listen to the audio that the call has now."""
        stream = self._call.audio
        if stream is self._stream or stream is None:
            return
        if self._listening is not None:
            self._listening.stop()
        me = weakref.proxy(self)
        self._stream, self._listening = stream, stream.listen(lambda *heard: me._hear(*heard))

    def _hear(self, pcm: bytes, rate: int) -> None:
        if rate != self._resampler.from_rate:
            self._resampler = Resampler(rate, self.rate)
        pcm = self._resampler.convert(pcm)
        if self._reader is not None:
            self._reader.finish(pcm)
            return
        if len(self._frames) >= MAX_FRAMES:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(pcm)

    def _forget_reader(self) -> None:
        self._reader = None


def _end(failure: Failure) -> bytes:
    """Let the end of the call be the end of what is heard."""
    failure.trap(SessionEnded)
    return b""
