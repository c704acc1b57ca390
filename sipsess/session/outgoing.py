# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One request of ours: stamped, shown to the supplements, sent, and sent again when one asks for it.

What was built is kept as it was before any supplement saw it; a :class:`.Retry` starts from there
with a new branch and CSeq, so that no header is added twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipsess.dialog.usage import TERMINATING
from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.message import Request, Response
from sipsess.supplement import Retry
from sipsess.transaction import ClientTransaction

if TYPE_CHECKING:
    from .session import Session

#: How often one request is tried, all reasons together; a peer that always asks for more loses.
MAX_ATTEMPTS = 5


class OutgoingRequest:
    """
    A request that waits for its final response; the user of its client transaction.

    :param session: that it belongs to.
    :param request: complete but for Via, which only a CANCEL has already; not yet shown to any
        supplement.
    :param flow: where it goes.
    :param responded: called with this and each response above 100 that no supplement retried.
    :param failed: called with this and the error when no final response will come.
    """

    __slots__ = (
        "_failed",
        "_original",
        "_responded",
        "attempt",
        "flow",
        "request",
        "session",
        "transaction",
    )

    def __init__(
        self,
        session: Session,
        request: Request,
        flow: Flow,
        responded: Callable[[OutgoingRequest, Response], None],
        failed: Callable[[OutgoingRequest, SIPError], None],
    ) -> None:
        self.session = session
        self._original = request
        self.flow = flow
        self._responded = responded
        self._failed = failed
        #: 0 for the first time, then counted up.
        self.attempt = 0
        #: As it was sent last.
        self.request = request
        self.transaction: ClientTransaction | None = None

    def send(self) -> None:
        """Show the request to the supplements and start its client transaction."""
        session = self.session
        request = self._original.copy()
        request.attempt = self.attempt
        if request.method != "CANCEL":
            session.core.stamp_via(request, self.flow)
        session.chain.run_outgoing_request(session, request)
        self.request = request
        self.transaction = session.core.start_client(request, self.flow, self)

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Show a response to the supplements and to the session; below MEDIA, media, above."""
        is_success = self.request.method == "INVITE" and 200 <= response.status < 300
        if is_success and self.session.invite_client.repeat_ack(response):
            return
        if transaction is not self.transaction or (self.session.is_over and not is_success):
            return
        if response.status == 100:
            self._responded(self, response)
        elif (
            response.status >= 200
            or self.request.method != "INVITE"
            or self.session.provisionals.admit(response)
        ):
            self._show(response)

    def _show(self, response: Response) -> None:
        session = self.session
        chain = session.chain
        before, after = chain.links("incoming_response", self.request.method)
        retry = chain.run_incoming_response(session, before, response)
        if response.status < 300:
            self._responded(self, response)
            chain.run_incoming_response(session, after, response)
            return
        # There is no media in it; all supplements may ask for a retry before it counts.
        retry = retry or chain.run_incoming_response(session, after, response)
        if retry is None or not self._retry(retry):
            self._responded(self, response)

    # -- once more -------------------------------------------------------------------------

    def _retry(self, changes: Retry) -> bool:
        """Send again, changed; ``False`` when it was tried too often or the call is over."""
        session = self.session
        if self.attempt + 1 >= MAX_ATTEMPTS:
            session.note("no more retries", f"{self.request.method} was tried {MAX_ATTEMPTS} times")
            return False
        if not self._may_retry():
            return False
        self.attempt += 1
        original = self._original
        if changes.uri is not None:
            original.uri = changes.uri
            if "Route" not in original.headers:
                self.flow = session.core.flow_to(changes.uri, self.flow)
        for name, value in changes.headers.items():
            if value is None:
                original.headers.remove(name)
            else:
                original.headers.set(name, value)
        original.headers.set("CSeq", f"{self._next_cseq()} {original.method}")
        session.note("retry", f"{original.method}, attempt {self.attempt + 1}")
        self.send()
        return True

    def _may_retry(self) -> bool:
        """Tell whether the call still wants the request; a CANCEL is never sent again."""
        session = self.session
        method = self.request.method
        if session.is_over or method == "CANCEL":
            return False
        if method == "INVITE":
            return session.invite_client.prepare_retry()
        return method == "BYE" or session.usage.state != TERMINATING

    def _next_cseq(self) -> int:
        number = self.request.cseq.number
        dialog = self.session.dialogs.get(self.request.to_tag or "") or self.session.dialog
        if dialog is None:
            return number + 1
        dialog.local_seq = max(dialog.local_seq, number) + 1
        return dialog.local_seq

    # -- the end ---------------------------------------------------------------------------

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """No final response will come."""
        if transaction is self.transaction and not self.session.is_over:
            self._failed(self, error)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """The transaction is over; nothing of it is kept."""
