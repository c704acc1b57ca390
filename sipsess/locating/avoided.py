# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Servers that have failed, and are tried last for a while (:rfc:`3263#section-4.3`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sipsess.errors import SIPError, Timeout, TransportError
from sipsess.expiring import ExpiringDict
from sipsess.locating.target import Target
from sipsess.message import Response

#: Seconds that a server is avoided after a failure, unless its 503 says how long.
AVOID_TIME = 60.0
#: The longest Retry-After that is believed, in seconds: nobody is to be shut out for a day.
MAX_AVOID_TIME = 600.0
#: Servers that are remembered.
MAX_AVOIDED = 1024

_SECONDS = re.compile(r"[0-9]+").match


def is_failure(outcome: Response | SIPError) -> bool:
    """
    Tell whether the next server shall be tried (4.3).

    So it is for a 503, a time-out and a failure of the transport; any other response comes from
    somebody who has dealt with the request.
    """
    if isinstance(outcome, Response):
        return outcome.status == 503
    return isinstance(outcome, Timeout | TransportError)


class Avoided:
    """
    The servers that have failed lately.

    :param seconds: the monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float], limit: int = MAX_AVOIDED) -> None:
        self._seconds = seconds
        self._failed: ExpiringDict[Target, bool] = ExpiringDict(limit)

    def __len__(self) -> int:
        return len(self._failed)

    def add(self, target: Target, outcome: Response | SIPError) -> None:
        """Avoid a server for a while."""
        now = self._seconds()
        self._failed.put(target, True, now + _time_of(outcome), now)

    def sort(self, targets: Iterable[Target]) -> list[Target]:
        """Return targets in their order, but those to be avoided after all others."""
        now = self._seconds()
        return sorted(targets, key=lambda target: self._failed.get(target, now) is not None)


def _time_of(outcome: Response | SIPError) -> float:
    """Return how long; a 503 says it in Retry-After (:rfc:`3261#section-21.5.4`)."""
    if isinstance(outcome, Response):
        seconds = _SECONDS(outcome.headers.get("Retry-After") or "")
        if seconds is not None:
            return min(float(seconds[0]), MAX_AVOID_TIME)
    return AVOID_TIME
