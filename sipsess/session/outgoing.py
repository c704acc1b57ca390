# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One request of ours: stamped, shown to the supplements, sent, and sent again when one asks for it.

What was built is kept as it was before any supplement saw it; a :class:`~.Retry` starts from there
with a new branch and CSeq, so that no header is added twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
    :param request: complete but for Via; not yet shown to any supplement.
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
        session.core.stamp_via(request, self.flow)
        session.chain.run_outgoing_request(session, request)
        self.request = request
        self.transaction = session.core.start_client(request, self.flow, self)

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Show a response to the supplements and to the session; below MEDIA, media, above."""
        if transaction is not self.transaction:
            return
        if self._is_copy(response):
            return
        session = self.session
        if response.status == 100:
            self._responded(self, response)
            return
        before, after = session.chain.links("incoming_response", self.request.method)
        verdict = session.chain.run_incoming_response(session, before, response)
        if response.status >= 300:
            # There is no media in it; all supplements may ask for a retry before it counts.
            if verdict is None:
                verdict = session.chain.run_incoming_response(session, after, response)
            if verdict is None or not self._retry(verdict):
                self._responded(self, response)
            return
        self._responded(self, response)
        session.chain.run_incoming_response(session, after, response)

    def _is_copy(self, response: Response) -> bool:
        """Tell whether a response is the copy of a 2xx to INVITE, and acknowledge it again."""
        if self.request.method != "INVITE" or not 200 <= response.status < 300:
            return False
        return self.session.invite_client.repeat_ack(response)

    def _retry(self, changes: Retry) -> bool:
        """Send again, changed; ``False`` when it was tried too often or the call is over."""
        session = self.session
        if self.attempt + 1 >= MAX_ATTEMPTS:
            session.note("no more retries", f"{self.request.method} was tried {MAX_ATTEMPTS} times")
            return False
        if not session.may_retry(self):
            return False
        self.attempt += 1
        original = self._original
        if changes.uri is not None:
            original.uri = changes.uri
        for name, value in changes.headers.items():
            if value is None:
                original.headers.remove(name)
            else:
                original.headers.set(name, value)
        original.headers.set("CSeq", f"{session.next_cseq(self)} {original.method}")
        self._original = original
        session.note("retry", f"{original.method}, attempt {self.attempt + 1}")
        self.send()
        return True

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """No final response will come."""
        if transaction is self.transaction:
            self._failed(self, error)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """The transaction is over; nothing of it is kept."""
