# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A hunt: calling all phones of a user, until one answers (:rfc:`3261#section-16.7`).

Theory of operation
    Each phone gets a session of its own. Phones of equal q ring together; those of a lower q ring
    when all before have refused or rung long enough. The first answer ends the hunt: all others are
    cancelled, with a Reason that keeps them from showing a missed call. An answer that crosses the
    CANCEL is hung up by its session. Who refuses for everybody (6xx) ends the hunt, too. When
    nobody is left the best refusal counts, as a forking proxy would choose it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.core import SIPCore
from sipsess.session import EndReason, Session, SessionEnded
from sipsess.session.reason import LOCAL
from sipsess.timers import Timer

from .binding import Binding

#: Seconds that phones ring before those of a lower q do.
RING_LIMIT = 20.0
#: What the phones that are cancelled are told (:rfc:`3326`).
ELSEWHERE = {"Reason": 'SIP;cause=200;text="Call completed elsewhere"'}
#: Refusals that say how the call could be placed; they are better than others (16.7 step 6).
_HELPFUL = frozenset({401, 407, 415, 420, 484})

#: Places the call to one phone, and returns its session.
Place: TypeAlias = Callable[[Sequence[Binding]], Awaitable[Session]]


class Hunt:
    """
    One hunt.

    :param core: whose time counts.
    :param groups: of phones, as :func:`.group_by_q` makes them.
    :param place: calls one phone.
    :param timeout: seconds until the hunt is given up.
    """

    def __init__(
        self,
        core: SIPCore,
        groups: Sequence[Sequence[Sequence[Binding]]],
        place: Place,
        timeout: float,
    ) -> None:
        self._core = core
        self._groups = list(groups)
        self._place = place
        self._timeout = timeout
        self._sessions: dict[Session, None] = {}
        self._placing: dict[Deferred[Session], None] = {}
        self._pending = 0
        self._errors: list[Exception] = []
        self._limit: Timer | None = None
        self._patience: Timer | None = None
        self._is_over = False
        self._result: Deferred[Session] = Deferred(lambda _: self._end({}))

    def start(self) -> Deferred[Session]:
        """
        Call.

        :return: fires with the session that was answered; fails with :class:`.SessionEnded` or what
            kept the calls from being placed. Cancelling it ends all calls.
        """
        with self._core.turn:
            now = self._core.turn.now
            self._limit = self._core.timers.start(now, self._timeout, self._give_up, None)
            self._next_group()
        return self._result

    def _next_group(self) -> None:
        """Let the phones of the next group ring."""
        self._core.timers.cancel(self._patience)
        group = self._groups.pop(0) if self._groups else ()
        self._pending += len(group)
        if self._groups:
            now = self._core.turn.now
            self._patience = self._core.timers.start(now, RING_LIMIT, self._lose_patience, None)
        for phone in group:
            if self._is_over:
                # A plugin here has refused for everybody.
                return
            placing = Deferred.fromCoroutine(self._call(phone))
            self._placing[placing] = None
            placing.addBoth(self._placed, placing)
        self._look()

    async def _call(self, phone: Sequence[Binding]) -> Session:
        session = await self._place(phone)
        self._sessions[session] = None
        await session.invite_client.answered
        return session

    def _placed(self, result: Session | Failure, placing: Deferred[Session]) -> None:
        """Take what became of one phone."""
        self._placing.pop(placing, None)
        self._pending -= 1
        with self._core.turn:
            if isinstance(result, Failure):
                self._failed(result)
            else:
                del self._sessions[result]
                self._end(ELSEWHERE)
                self._result.callback(result)

    def _failed(self, failure: Failure) -> None:
        if self._is_over:
            return
        error = failure.value
        self._errors.append(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        if status_of(error) >= 600:
            self._groups.clear()
            self._end({})
            self._result.errback(error)
            return
        self._look()

    def _look(self) -> None:
        """Go on when nobody rings any more."""
        if self._pending or self._is_over:
            return
        if self._groups:
            self._next_group()
            return
        self._end({})
        self._result.errback(min(self._errors, key=_rank, default=_nobody()))

    def _lose_patience(self, payload: None, now: float) -> None:
        """Let the next group ring, and those who have rung long enough no more."""
        ringing, self._sessions = list(self._sessions), {}
        with self._core.turn:
            self._next_group()
            for session in ringing:
                session.ending.give_up()

    def _give_up(self, payload: None, now: float) -> None:
        self._end({})
        self._result.errback(_nobody())

    def _end(self, headers: dict[str, str]) -> None:
        """End all calls that go on; they are over before anybody hears of it."""
        self._is_over = True
        with self._core.turn:
            self._core.timers.cancel(self._limit)
            self._core.timers.cancel(self._patience)
            for session in tuple(self._sessions):
                session.terminate(headers=headers)
            for placing in tuple(self._placing):
                placing.cancel()


def _nobody() -> SessionEnded:
    return SessionEnded(EndReason(LOCAL, "CANCEL", 408, "nobody answered"))


def status_of(error: BaseException | None) -> int:
    """Return the status that an error stands for, 0 for none."""
    if isinstance(error, SessionEnded):
        return error.reason.status or 0
    return getattr(error, "status", None) or getattr(error, "status_hint", None) or 0


def _rank(error: Exception) -> tuple[int, bool, int]:
    """Return the order of refusals, the best first (16.7 step 6): 503 is as bad as it gets."""
    status = status_of(error) or 500
    return (6 if status == 503 else status // 100, status not in _HELPFUL, status)
