# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What the caller is to hear, and the marks in it.

Theory of operation
    A server sends faster than anybody speaks: a whole answer within a moment. It waits here, as it
    came, and a coroutine feeds the sink of the call, which wants little at a time. So ``clear`` is
    done at once, however much waits. Marks wait among the audio, and each comes back exactly once,
    in order: when what was before it has been sent, or when that is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipsess.errors import RemoteError

from .messages import AudioFormat

if TYPE_CHECKING:
    from sipsess.call.sink import AudioSink

#: Seconds of audio that may wait; a server that sends more is read no further until they are less.
MAX_AHEAD = 60.0
#: Marks that may wait; a server that sets more does not read what comes back.
MAX_MARKS = 500


class Playout:
    """
    The audio and the marks of one call.

    :param sink: of the call.
    :param audio: the format of the payloads.
    """

    def __init__(self, sink: AudioSink, audio: AudioFormat) -> None:
        self._sink = sink
        self._audio = audio
        #: Payloads, and what is called for marks.
        self._queue: deque[bytes | Callable[[], None]] = deque()
        self._bytes = 0
        self._marks = 0
        #: Fires when something is in the queue; and when there is room.
        self._idle: Deferred[None] | None = None
        self._full: Deferred[None] | None = None

    @property
    def waiting(self) -> float:
        """Seconds of audio that wait."""
        return self._bytes / self._audio.bytes_per_second + self._sink.waiting

    def say(self, payload: bytes) -> Deferred[None]:
        """
        Let something be heard after what waits.

        :return: fires when more may be said: at once, unless more than :data:`MAX_AHEAD` waits.
        """
        if payload:
            # Nothing takes no time, and so there would be no end of it.
            self._bytes += len(payload)
            self._add(payload)
        if self.waiting <= MAX_AHEAD:
            return succeed(None)
        self._full = Deferred()
        return self._full

    def mark(self, passed: Callable[[], None]) -> None:
        """
        Set a mark after what waits.

        :param passed: is called once, when all before it was sent or dropped; not when the call is
            over.
        :raises RemoteError: when too many wait.
        """
        if self._marks >= MAX_MARKS:
            raise RemoteError("agent-too-many-marks", f"{MAX_MARKS} marks wait already")
        self._marks += 1
        self._add(passed)

    def clear(self) -> None:
        """Drop the audio that waits; all marks are passed, in order."""
        queue, self._queue = self._queue, deque()
        self._bytes = 0
        # The sink has what came first, and its marks fire now.
        self._sink.clear()
        for item in queue:
            if not isinstance(item, bytes):
                self._pass(item)
        self._tell_room()

    async def run(self) -> None:
        """Feed the sink, until this is cancelled or the call is over."""
        while True:
            while self._queue:
                item = self._queue.popleft()
                if isinstance(item, bytes):
                    self._bytes -= len(item)
                    await self._sink.write(self._audio.decode(item))
                    self._tell_room()
                else:
                    self._sink.mark().addCallbacks(self._marked, _forget, (item,))
            self._idle = Deferred()
            await self._idle

    async def finish(self) -> None:
        """Wait until all was sent that waits by now."""
        done: Deferred[None] = Deferred()
        self._add(lambda: done.callback(None))
        await done

    def _add(self, item: bytes | Callable[[], None]) -> None:
        self._queue.append(item)
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)

    def _marked(self, result: bool, passed: Callable[[], None]) -> None:
        self._pass(passed)

    def _pass(self, passed: Callable[[], None]) -> None:
        self._marks -= 1
        passed()

    def _tell_room(self) -> None:
        if self._full is not None and self.waiting <= MAX_AHEAD:
            full, self._full = self._full, None
            full.callback(None)


def _forget(failure: object) -> None:
    """Let a mark go with its call."""
