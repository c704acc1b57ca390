# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A sink for audio: what a program writes is heard by the peer, in real time.

Theory of operation
    What is written waits in a buffer; a mark is a place in it. While something waits, the sink is
    one sound among those that the call plays; when its buffer runs empty that sound is over, so
    that an idle sink costs nothing and other sounds are heard between what it says.

    A frame that is not full waits a little for the rest, unless a mark or the end says that there
    is none; then it is filled up with silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from sipsess.errors import DialogStateError, LocalError

from .playing import Playing
from .wait import Wait

if TYPE_CHECKING:
    from .call import Call

#: Seconds of audio after which a writer shall wait: enough to hide the jitter of any service.
HIGH_WATER = 1.0
#: Seconds of audio that can wait at all, for services that are faster than speech.
MAX_WAITING = 300.0
#: Marks that may wait; a program that sets more has lost count.
MAX_MARKS = 1000
#: Frames for which the rest of a frame is waited.
_PATIENCE = 5


class AudioSink:
    """
    What :meth:`.Call.audio_out` returns.

    It ends with the call: writing then raises :class:`.SessionEnded`.

    :param call: whose peer hears it.
    :param rate: the samples per second of what is written.
    """

    __slots__ = (
        "_buffer",
        "_call",
        "_frame",
        "_marks",
        "_patience",
        "_playing",
        "_taken",
        "_writers",
        "is_closed",
        "rate",
    )

    def __init__(self, call: Call, rate: int) -> None:
        self._call = call
        #: The samples per second of what is written.
        self.rate = rate
        #: Bytes of 20 ms.
        self._frame = 2 * (rate // 50)
        self._buffer = bytearray()
        #: Bytes that the peer was sent.
        self._taken = 0
        #: Each with the number of bytes that are before it.
        self._marks: deque[tuple[int, Wait]] = deque()
        self._writers: list[Wait] = []
        self._playing: Playing | None = None
        self._patience = 0
        #: Whether :meth:`close` was called.
        self.is_closed = False

    @property
    def waiting(self) -> float:
        """Seconds of audio that wait."""
        return len(self._buffer) / (2 * self.rate)

    @property
    def played(self) -> float:
        """Seconds of audio that the peer was sent."""
        return self._taken / (2 * self.rate)

    def write(self, pcm: bytes) -> Deferred[None]:
        """
        Say something after what was written before.

        :param pcm: 16-bit little-endian mono, of any length; no half samples.
        :return: fires when less than :data:`HIGH_WATER` waits, at once as a rule: who awaits it
            keeps pace with the peer. Clearing and closing fire it too.
        :raises LocalError: when more than :data:`MAX_WAITING` would wait.
        :raises DialogStateError: when the sink is closed, or the call has no audio any more.
        :raises SessionEnded: when the call is over.
        """
        self._check()
        if len(pcm) & 1:
            raise LocalError("audio is written in whole samples of 16 bits")
        if len(self._buffer) + len(pcm) > MAX_WAITING * 2 * self.rate:
            raise LocalError(f"more than {MAX_WAITING:g} s of audio wait in this sink")
        if pcm:
            self._start()
            self._buffer += pcm
        if self.waiting < HIGH_WATER:
            return succeed(None)
        writer = Wait(self._call)
        self._writers.append(writer)
        return writer.deferred

    def mark(self) -> Deferred[bool]:
        """
        Tell when what was written by now has been sent.

        :return: fires with ``True`` then; with ``False`` when something of it was cleared.
        :raises LocalError: when :data:`MAX_MARKS` wait.
        :raises DialogStateError: as for :meth:`write`.
        """
        self._check()
        if len(self._marks) >= MAX_MARKS:
            raise LocalError(f"{MAX_MARKS} marks wait in this sink already")
        self._start()
        mark = Wait(self._call)
        self._marks.append((self._taken + len(self._buffer), mark))
        return mark.deferred

    def clear(self) -> float:
        """
        Drop what waits; its marks fire with ``False``.

        :return: how many seconds of audio were dropped.
        """
        dropped = self.waiting
        self._buffer.clear()
        marks, self._marks = self._marks, deque()
        for _, mark in marks:
            mark.finish(False)
        self._wake_writers()
        return dropped

    def close(self) -> Deferred[bool]:
        """
        Take no more; what was written is still said. Closing twice is closing once.

        :return: as for :meth:`mark`; at once when nothing waits.
        """
        if self.is_closed or self._playing is None:
            self.is_closed = True
            return succeed(True)
        closed = self.mark()
        self.is_closed = True
        return closed

    # -- what the stream asks for: the sink is the iterator of a sound ---------------------

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._pass_marks()
        if self._marks or self.is_closed or len(self._buffer) >= self._frame:
            self._patience = _PATIENCE
        elif self._buffer and self._patience > 1:
            self._patience -= 1
            return b""
        frame = bytes(self._buffer[: self._frame])
        if not frame:
            raise StopIteration
        del self._buffer[: self._frame]
        self._taken += len(frame)
        self._wake_writers()
        return frame.ljust(self._frame, b"\0")

    def _pass_marks(self) -> None:
        """Fire the marks before which all was sent; what they resume may write and clear."""
        while self._marks and self._marks[0][0] <= self._taken:
            self._marks.popleft()[1].finish(True)

    def _wake_writers(self) -> None:
        if self._writers and self.waiting < HIGH_WATER:
            writers, self._writers = self._writers, []
            for writer in writers:
                writer.finish()

    def _start(self) -> None:
        if self._playing is None:
            self._patience = _PATIENCE
            self._playing = self._call.play(self, rate=self.rate)
            self._playing.addBoth(self._stopped)

    def _stopped(self, result: Any) -> None:
        """Drop all when the sound was stopped; what waits for it fails when the call ends."""
        self._playing = None
        if self._call.is_ended:
            self._buffer.clear()
            self._marks.clear()
            self._writers.clear()
        elif result is not True:
            self.clear()

    def _check(self) -> None:
        if self._call.is_ended:
            raise self._call.ended_error()
        if self.is_closed:
            raise DialogStateError("the sink is closed")
