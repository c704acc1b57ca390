# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Requests outside calls, such as a REGISTER, that fail over from server to server (4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.locating.hop import NextHop
from sipsess.message import Request, Response
from sipsess.transaction import ClientTransaction

if TYPE_CHECKING:
    from sipsess.core import SIPCore


async def send_over(core: SIPCore, hop: NextHop, build: Callable[[Flow], Request]) -> Response:
    """
    Send a request to the first target of a next hop that deals with it.

    :param build: makes the request, complete but for Via, for the flow on which it will leave; it
        may have the same CSeq each time (:rfc:`3263#section-4.3`).
    :return: the final response. Cancelling the Deferred that waits for it gives the request up.
    :raises SIPError: when the last target gave none, or cannot be reached.
    """
    while True:
        outcome = await _Exchange(core).run(build(hop.flow), hop.flow)
        if not hop.goes_on_after(outcome):
            break
        try:
            await hop.advance()
        except SIPError:
            # The rest cannot be reached; what was heard of the others says more.
            break
    if isinstance(outcome, Response):
        return outcome
    raise outcome


class _Exchange:
    """One client transaction, as a Deferred of its outcome."""

    __slots__ = ("_core", "_outcome", "_transaction")

    def __init__(self, core: SIPCore) -> None:
        self._core = core
        self._transaction: ClientTransaction | None = None
        self._outcome: Deferred[Response | SIPError] = Deferred(self._abandon)

    def run(self, request: Request, flow: Flow) -> Deferred[Response | SIPError]:
        """Send a request."""
        self._transaction = self._core.send_request(request, flow, self)
        return self._outcome

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Take the final response."""
        if response.status >= 200:
            self._settle(response)

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """Take the error; none is raised yet, as another target may do."""
        self._settle(error)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Keep the transaction no longer."""
        self._transaction = None

    def _settle(self, outcome: Response | SIPError) -> None:
        if not self._outcome.called:
            self._outcome.callback(outcome)

    def _abandon(self, outcome: Deferred[Response | SIPError]) -> None:
        core = self._core
        with core.turn:
            if self._transaction is not None:
                self._transaction.abandon(core.turn.now)
        if not outcome.called:
            outcome.errback(CancelledError())
