# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Why a session ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError
from sipsess.message import Headers
from sipsess.message.reason import Reason

if TYPE_CHECKING:
    from .session import Session

LOCAL = "local"
REMOTE = "remote"
NETWORK = "network"


@dataclass(frozen=True, slots=True)
class EndReason:
    """
    Who ended a session, how, and why.

    ``str()`` is one line for people.
    """

    #: ``"local"``, ``"remote"`` or ``"network"`` (a time-out or a transport error).
    by: str
    #: ``"BYE"``, ``"CANCEL"``, ``"INVITE"`` (refused or failed) or ``"ACK"`` (never came).
    method: str
    #: The final status of the INVITE when there was no call, else ``None``.
    status: int | None = None
    #: For people.
    text: str = ""
    #: What the peer gave in Reason headers (:rfc:`3326`), to be passed on.
    reasons: tuple[Reason, ...] = field(default=(), compare=False, repr=False)
    #: The headers of the peer's BYE or CANCEL, or of his refusal; ``None`` when there was none.
    headers: Headers | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        who = {LOCAL: "this side", REMOTE: "the far end", NETWORK: "the network"}[self.by]
        status = f"{self.status} " if self.status else ""
        return f"{self.method} by {who}: {status}{self.text}".rstrip(": ")


class EndListener(Protocol):
    """Who hears of the end of a session."""

    def session_ending(self, session: Session) -> None:
        """Hear that it is decided that a session ends; what that takes may take its time."""

    def session_over(self, reason: EndReason, session: Session) -> None:
        """Hear that a session is over, and why."""


class SessionEnded(DialogStateError):
    """The session is over, or ended while something waited; :attr:`reason` says why."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(f"the session has ended ({reason})")
        self.reason = reason


def fail_quietly(deferred: Deferred[Any], error: Exception | Failure) -> None:
    """
    Let a Deferred fail, unless it has fired.

    When nobody handles that, nobody needs to hear of it in the log either.
    """
    if not deferred.called:
        failure = error if isinstance(error, Failure) else Failure(error)
        deferred.errback(failure)
        deferred.addErrback(_ignore, failure.value)


def _ignore(failure: Failure, error: BaseException | None) -> Failure | None:
    """Let a failure end here when it is that error, and nothing that came of it."""
    return None if failure.value is error else failure
