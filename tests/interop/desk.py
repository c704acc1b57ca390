# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application of most interop tests: it takes calls and leaves the rest to the test."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipsess.application import Application
from sipsess.call import Call

from .peers import until


class Desk(Application):
    """
    Answers, and waits for the end of the call.

    :param is_early: whether it is heard before it answers, and waits for :attr:`go`.
    """

    name = "desk"

    def __init__(self, *, is_early: bool = False) -> None:
        self._is_early = is_early
        #: Fire it to let the call be answered.
        self.go: Deferred[None] = Deferred()
        #: In the order in which they came.
        self.calls: list[Call] = []

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        self.calls.append(call)
        if self._is_early:
            await call.progress()
            await self.go
        await call.answer()
        await call.ended

    async def answered(self) -> Call:
        """Wait until its only call stands: the ACK has come."""
        await until(lambda: bool(self.calls), lambda: "nobody called")
        [call] = self.calls
        await call.session.when_confirmed()
        return call

    async def heard(self, encoding: str) -> Call:
        """Wait until the audio of its only call is of that codec."""
        await until(
            lambda: any(encoding_of(call) == encoding for call in self.calls),
            lambda: f"no {encoding}, but {[encoding_of(call) for call in self.calls]}",
        )
        [call] = self.calls
        return call


def encoding_of(call: Call) -> str:
    """Return the name of the codec of a call; nothing when it has no audio."""
    return "" if call.audio is None else call.audio.codec.encoding
