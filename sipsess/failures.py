# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What plugins, and we ourselves, do wrong: logged with a name and a call, counted, and not too often.

A plugin that fails at each message must not fill the disk: each place logs a few failures a minute,
all of them are counted.
"""

from __future__ import annotations

from asyncio import CancelledError as TaskCancelledError
from collections.abc import Callable

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.counters import Counters

#: What a coroutine raises that was cancelled: by Twisted, or by asyncio under its reactor.
CANCELLED = (CancelledError, TaskCancelledError)
#: Tracebacks logged per plugin callback; after these, failures are only counted for a minute.
LOGGED_FAILURES = 5
LOG_PERIOD = 60.0
#: Places that are remembered; more are not logged until some are a minute old.
MAX_PLACES = 1000

_log = Logger()


class FailureLog:
    """
    The failures of one core.

    :param counters: where they are counted.
    :param seconds: the time of the present turn.
    """

    __slots__ = ("_counters", "_places", "_seconds")

    def __init__(self, counters: Counters, seconds: Callable[[], float]) -> None:
        self._counters = counters
        self._seconds = seconds
        self._places: dict[tuple[str, str], tuple[float, int]] = {}

    def internal_error(self, failure: Failure, call_id: str) -> None:
        """Log and count a bug of this side."""
        self._counters.refuse("internal-error")
        if self._may_log("sipsess", str(failure.type)):
            _log.failure("bug in sipsess, call {call_id}", failure=failure, call_id=call_id)

    def plugin_failed(self, name: str, callback: str, error: BaseException, call_id: str) -> None:
        """Log and count what a plugin raised; the log names the plugin and the call."""
        self._counters.plugin_errors += 1
        if self._may_log(name, callback):
            _log.failure(
                "plugin {plugin} failed in {callback}, call {call_id}",
                failure=Failure(error),
                plugin=name,
                callback=callback,
                call_id=call_id,
            )

    def plugin_overdue(self, name: str, method: str, call_id: str) -> None:
        """Log and count a plugin that took a request and never answered it."""
        self._counters.plugin_errors += 1
        if self._may_log(name, method):
            _log.warn(
                "plugin {plugin} took {method} of call {call_id} and did not answer; 500 was sent",
                plugin=name,
                method=method,
                call_id=call_id,
            )

    def _may_log(self, name: str, what: str) -> bool:
        now = self._seconds()
        place = (name, what)
        since, count = self._places.get(place, (now, 0))
        if now - since > LOG_PERIOD:
            since, count = now, 0
        if place not in self._places and not self._has_room(now):
            return False
        self._places[place] = (since, count + 1)
        return count < LOGGED_FAILURES

    def _has_room(self, now: float) -> bool:
        """Tell whether one more place can be remembered; old ones go first."""
        if len(self._places) >= MAX_PLACES:
            self._places = {
                place: (since, count)
                for place, (since, count) in self._places.items()
                if now - since <= LOG_PERIOD
            }
        return len(self._places) < MAX_PLACES
