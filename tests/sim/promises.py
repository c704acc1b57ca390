# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The Deferreds that are handed out in a scene, each to be fired exactly once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError, LocalError, Timeout
from sipsess.message import Response
from sipsess.message.refer import StatusLine
from sipsess.sdphandler import NegotiationFailed
from sipsess.session import Session, SessionEnded

#: How the errors end that say that one side asks for too much at once.
FULL = ("wait for a PRACK", "wait already")


class Promise:
    """
    A Deferred that was handed out, and what came of it.

    :param text: who promised what.
    :param session: in which call.
    """

    def __init__(self, text: str, session: Session, deferred: Deferred[Any]) -> None:
        self.text = text
        self.session = session
        self.results: list[object] = []
        deferred.addBoth(self.results.append)

    @property
    def statuses(self) -> list[int]:
        """The status of what came of it; 408 for nothing."""
        return [
            result.status if isinstance(result, Response) else Timeout.status_hint or 0
            for result in self.results
            if isinstance(result, Response)
            or (isinstance(result, Failure) and result.check(Timeout))
        ]

    @property
    def is_refused(self) -> bool:
        """Whether it was a transfer, and it was refused."""
        result = self.results[0] if self.results else None
        return isinstance(result, StatusLine) and result.status >= 300

    @property
    def fault(self) -> str:
        """What is wrong with what came of it, if anything is."""
        if len(self.results) != 1:
            return f"{self.text} fired {len(self.results)} times"
        result = self.results[0]
        if isinstance(result, Failure) and not is_documented(result.value):
            return f"{self.text} failed: {result.value!r}"
        return ""


def is_documented(error: object) -> bool:
    """Tell whether an error is one that the methods of a call or session promise."""
    is_full = isinstance(error, LocalError) and str(error).endswith(FULL)
    return is_full or isinstance(
        error, (SessionEnded, Timeout, DialogStateError, NegotiationFailed)
    )
