# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a session waits for: the time, and what plugins promise. Its end ends all of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail
from twisted.python.failure import Failure

from sipsess.failures import CANCELLED
from sipsess.timers import Timer

from .part import Part
from .reason import SessionEnded

if TYPE_CHECKING:
    from sipsess.core import SIPCore

    from .session import Session


#: How long a plugin may take over anything but an INVITE of the peer, in seconds: below the 64*T1
#: after which the peer gives up (17.1.2.2).
VERDICT_LIMIT = 28.0


class Waiting(Part):
    """
    The timers of a session, and the way of a plugin's Deferred into a turn.

    :param session: whose end stops the timers.
    """

    __slots__ = ("_timers",)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._timers: tuple[Timer, ...] = ()

    # -- promises --------------------------------------------------------------------------

    def wait(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """See :meth:`.Session.wait`."""
        try:
            inner: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
        except Exception as error:
            return fail(error)
        if inner.called and not inner.paused:
            return inner
        outer: Deferred[Any] = Deferred(lambda _: inner.cancel())
        inner.addBoth(_fire, outer, self.session.core)
        return outer

    # -- time ------------------------------------------------------------------------------

    def start(self, delay: float, callback: Callable[..., object], args: tuple[Any, ...]) -> Timer:
        """See :meth:`.Session.start_timer`."""
        session = self.session
        if session.is_over:
            raise SessionEnded(session.reason_or_unknown())
        core = session.core
        timer = core.timers.start(core.turn.now, delay, self._fired, (callback, args))
        self._timers = (*self._timers, timer)
        return timer

    def _fired(self, payload: tuple[Callable[..., object], tuple[Any, ...]], now: float) -> None:
        self._timers = tuple([timer for timer in self._timers if timer.is_active])
        self.session.core.turn.later(self._call, *payload)

    def _call(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        session = self.session
        if session.is_over:
            return
        try:
            callback(*args)
        except Exception as error:
            name = getattr(callback, "__qualname__", repr(callback))
            session.report.plugin_failed(f"timer {name}", "start_timer", error)

    def cancel(self, timer: Timer | None) -> None:
        """See :meth:`.Session.cancel_timer`."""
        if timer is not None:
            self.session.core.timers.cancel(timer)
            self._timers = tuple([other for other in self._timers if other is not timer])

    def close(self) -> None:
        """Stop all timers: the session is over."""
        timers, self._timers = self._timers, ()
        for timer in timers:
            self.session.core.timers.cancel(timer)


def _fire(result: object, outer: Deferred[Any], core: SIPCore) -> None:
    if outer.called:
        count_late(result, core)
        return
    with core.turn:
        if isinstance(result, Failure):
            outer.errback(result)
        else:
            outer.callback(result)


def count_late(result: object, core: SIPCore) -> None:
    """Count what a plugin gave when nobody waited any more; that it gave up is no result."""
    if not (isinstance(result, Failure) and result.check(*CANCELLED)):
        core.counters.late_verdicts += 1


def dispose(result: object) -> None:
    """Let go of a coroutine or Deferred that nobody will wait for."""
    if isinstance(result, Coroutine):
        result.close()
    elif isinstance(result, Deferred):
        result.addErrback(lambda failure: None)
        result.cancel()


class Work:
    """Something that an SDP handler may take time over, one at a time, but not for ever."""

    __slots__ = ("_deadline", "_deferred")

    def __init__(self) -> None:
        self._deferred: Deferred[None] | None = None
        self._deadline: Timer | None = None

    @property
    def is_running(self) -> bool:
        """Whether something waits."""
        return self._deferred is not None

    def run(self, session: Session, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; what it raises, unless it was cancelled, is a bug of this side."""
        deferred = Deferred.fromCoroutine(coroutine)
        if not deferred.called:
            self._deferred = deferred
            self._deadline = session.start_timer(VERDICT_LIMIT, self.cancel)
        deferred.addBoth(self._done, session)

    def _done(self, result: Failure | None, session: Session) -> None:
        self._deferred = None
        deadline, self._deadline = self._deadline, None
        session.cancel_timer(deadline)
        if isinstance(result, Failure) and not result.check(CancelledError):
            session.report.internal_error(result)

    def cancel(self) -> None:
        """Let what waits in the coroutine fail with ``CancelledError``."""
        if self._deferred is not None:
            self._deferred.cancel()
