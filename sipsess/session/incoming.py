# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One request of the peer on its way through the supplements.

It owns what may be pending meanwhile, the verdict's Deferred and its deadline, and lets go of both
when the request is over, whoever ended it. The session decides what an admitted request means.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.errors import LocalError, PluginError, RemoteError, SIPError
from sipsess.message import Request
from sipsess.sdphandler import NegotiationFailed
from sipsess.supplement import Reject, Verdict
from sipsess.transaction import ServerTransaction

from .chain import MEDIA_LINK, Link
from .kept import KeptRequest
from .waiting import VERDICT_LIMIT, count_late

if TYPE_CHECKING:
    from sipsess.core import Admission

    from .session import Session

#: How long a supplement or application may take over an INVITE, in seconds; a caller's patience.
SETUP_LIMIT = 180.0


class IncomingRequest:
    """
    A request that the session must answer; the user of its server transaction.

    :param session: that it belongs to.
    :param kept: the request as received.
    :param transaction: that the answer goes to.
    """

    __slots__ = (
        "_deadline",
        "_deferred",
        "_index",
        "_kept",
        "_links",
        "handled_by",
        "session",
        "transaction",
    )

    def __init__(self, session: Session, kept: KeptRequest, transaction: ServerTransaction) -> None:
        self.session = session
        self._kept = kept
        self.transaction = transaction
        #: Who said HANDLED, for the log.
        self.handled_by = ""
        self._links: tuple[Link, ...] = ()
        self._index = 0
        self._deferred: Deferred[Any] | None = None
        self._deadline: Any = None
        transaction.user = self

    @property
    def request(self) -> Request:
        """The request as received."""
        return self._kept.get()

    @property
    def is_answered(self) -> bool:
        """Whether the final response was sent."""
        return self.transaction.has_final

    @property
    def is_over(self) -> bool:
        """Whether nobody can answer it any more."""
        return self.transaction.has_final or self.session.is_over

    @property
    def is_pending(self) -> bool:
        """Whether a supplement still thinks about it."""
        return self._deferred is not None

    # -- the chain -------------------------------------------------------------------------

    def run(self, links: tuple[Link, ...]) -> None:
        """Let the supplements see the request, then the session."""
        self._links = links
        self._advance()

    def _advance(self) -> None:
        session, request = self.session, self.request
        while self._index < len(self._links):
            if self.is_over:
                return
            link = self._links[self._index]
            self._index += 1
            try:
                verdict = link.callback(session, request)
            except Exception as error:
                self._refuse(link, error)
                return
            if verdict is None or verdict is Verdict.CONTINUE:
                continue
            if isinstance(verdict, Awaitable):
                self._await(link, verdict)
                return
            self._decide(link, verdict)
            return
        if not self.is_over:
            session.desk.request_admitted(self)

    def _decide(self, link: Link, verdict: object) -> None:
        """Act on a verdict that came, at once or later."""
        if verdict is None or verdict is Verdict.CONTINUE:
            self._advance()
        elif verdict is Verdict.HANDLED:
            self.handled_by = link.name
            self.session.note("handled", f"{self.request.method} by {link.name}")
            self.session.report.verdict(link.name, "incoming_request", "handled")
            self.start_deadline()
        else:
            self._refuse(link, TypeError(f"{verdict!r} is not a Verdict"))

    def _await(self, link: Link, awaitable: Awaitable[object]) -> None:
        self.handled_by = link.name
        deferred = self.session.wait(awaitable)
        self._deferred = deferred
        deferred.addBoth(self._resume, link)
        if self.is_over:
            self.release()
        elif self._deferred is not None:
            self.start_deadline()

    def _resume(self, result: object, link: Link) -> None:
        is_released = self._deferred is None
        self._deferred = None
        if is_released or self.is_over:
            count_late(result, self.session.core)
            return
        self._stop_deadline()
        if isinstance(result, Failure):
            error = result.value
            self._refuse(link, error if isinstance(error, Exception) else RuntimeError(repr(error)))
        else:
            self.handled_by = ""
            self._decide(link, result)
        self.session.desk.next_request()

    def _refuse(self, link: Link, error: Exception) -> None:
        """Answer what a callback raised; if that cannot be sent, it was the plugin's mistake."""
        try:
            self._answer_error(link, error)
        except LocalError as wrong:
            self.session.report.plugin_failed(link.name, "incoming_request", wrong)
            self.session.responder.reject(self, 500)

    def _answer_error(self, link: Link, error: Exception) -> None:
        """Answer a refusal, a peer's mistake, or a bug of the plugin."""
        session = self.session
        if isinstance(error, Reject):
            session.note("rejected", f"{error} by {link.name}")
            session.report.verdict(link.name, "incoming_request", str(error))
            session.core.count_refusal("supplement-refused", self.transaction.flow)
            session.responder.reject(self, error.status, error.reason, error.headers)
        elif isinstance(error, NegotiationFailed):
            session.responder.reject_media(self, error.text, error.warn_code, error.status)
        elif isinstance(error, RemoteError):
            session.responder.reject_remote(self, error)
        else:
            if link is not MEDIA_LINK or not isinstance(error, PluginError):
                # What an SDP handler did wrong was logged with its own name.
                session.report.plugin_failed(link.name, "incoming_request", error)
            session.responder.reject(self, 500)

    # -- its deadline ----------------------------------------------------------------------

    def start_deadline(self) -> None:
        """Wait for an answer, but not for ever."""
        self._stop_deadline()
        if self.is_over:
            return
        limit = SETUP_LIMIT if self.request.method == "INVITE" else VERDICT_LIMIT
        self._deadline = self.session.start_timer(limit, self._expired)

    def _expired(self) -> None:
        self._deadline = None
        self.session.desk.answer_overdue(self)

    def _stop_deadline(self) -> None:
        self.session.cancel_timer(self._deadline)
        self._deadline = None

    def release(self) -> None:
        """Let go of the pending verdict and the deadline: the request is over."""
        self._stop_deadline()
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            deferred.cancel()

    def compact(self) -> None:
        """Keep little of it: it is answered, and lives on with its transaction for 32 s."""
        self._kept.compact()

    # -- what the transaction says ---------------------------------------------------------

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """The answer could not be delivered, or its ACK never came."""
        self.session.desk.answer_failed(self, error)

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """The transaction is over."""
        self.release()
        self.session.desk.request_over(self)

    def cancelled(self, admission: Admission) -> None:
        """A CANCEL for this request came."""
        self.session.desk.receive_cancel(self, admission)
