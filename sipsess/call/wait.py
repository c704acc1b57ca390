# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Something that a call waits for: fired once, and let go of whichever way it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError
from sipsess.session.reason import fail_quietly
from sipsess.timers import Timer

if TYPE_CHECKING:
    from .base import CallBase


class Wait:
    """
    Something that a call waits for.

    :param call: whose end is its end.
    :param release: lets go of what it uses; called exactly once, before the Deferred fires.
    :param deferred: what it fires; left out, a Deferred of its own.
    """

    __slots__ = ("_call", "_home", "_payload", "_release", "_timer", "deferred", "ending", "moved")

    def __init__(
        self,
        call: CallBase,
        release: Callable[[], object] | None = None,
        deferred: Deferred[Any] | None = None,
    ) -> None:
        self._call = call
        self._release = release
        self._timer: Timer | None = None
        #: What the timer calls.
        self._payload: tuple[Callable[..., object], tuple[Any, ...]] | None = None
        #: The session that has what it waits for.
        self._home = call.session
        #: Called when the call has moved to another session and that one is answered.
        self.moved: Callable[[], object] | None = None
        #: Called when the end of the call is decided: its BYE may be answered much later.
        self.ending: Callable[[], object] | None = None
        self.deferred: Deferred[Any] = Deferred(self.cancelled) if deferred is None else deferred
        call.waits[self] = None

    def start_timer(self, seconds: float, result: object) -> None:
        """
        Finish with ``result`` after so many seconds.

        :param result: or a function, which is called instead.
        """
        self._payload = (result, ()) if callable(result) else (self.finish, (result,))
        self._start(seconds)

    def _start(self, seconds: float) -> None:
        session = self._call.session
        callback, args = self._payload or (self.finish, ())
        with session.core.turn:
            self._timer = session.start_timer(seconds, callback, *args)

    def follow(self) -> None:
        """Live on in the session that the call has moved to."""
        session = self._call.session
        if self._home is session:
            return
        timer = self._timer
        if timer is not None and timer.is_active:
            left = max(0.0, timer.when - session.core.turn.now)
            self._home.cancel_timer(timer)
            self._start(left)
        if self.moved is None:
            self._home = session
        elif session.is_answered:
            self._home = session
            self.moved()

    def finish(self, result: Any = None) -> None:
        """Fire the Deferred, unless it is over."""
        if self.let_go():
            with self._call.session.core.turn:
                self.deferred.callback(result)

    def fail(self, failure: Failure) -> None:
        """Let the Deferred fail, unless it is over."""
        if not self.let_go():
            return
        with self._call.session.core.turn:
            fail_quietly(self.deferred, failure)

    def done(self, is_complete: bool) -> None:
        """Hear from the audio stream that it has sent everything, or not."""
        if is_complete:
            self.finish()
        else:
            self.lost()

    def lost(self) -> None:
        """Fail because the audio of the call is gone."""
        if self._home is not self._call.session:
            # The call has moved; there it will be as if all had been sent.
            return
        if self._call.is_ended:
            self.fail(Failure(self._call.ended_error()))
        else:
            self.fail(Failure(DialogStateError("the audio of the call was changed meanwhile")))

    def cancelled(self, deferred: Deferred[Any]) -> None:
        """Let go of all because the Deferred is being cancelled."""
        self.let_go()

    def let_go(self) -> bool:
        """Let go of all it uses; ``False`` when that was done before."""
        if self not in self._call.waits:
            return False
        del self._call.waits[self]
        self._call.session.cancel_timer(self._timer)
        # They may be methods of ours, and nothing shall hold itself.
        self._payload = self.moved = None
        release, self._release = self._release, None
        if release is not None:
            release()
        return True
