# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One request of ours: stamped, shown to the supplements, sent, and sent again when one asks for it.

What was built is kept as it was before any supplement saw it; a :class:`.Retry` starts from there
with a new branch and CSeq, so that no header is added twice. A supplement asks for it when it sees
the response or, when none does and for a request that gets none, in ``request_failed``. Before that
the other servers of the same URI are tried, with a new branch (:rfc:`3263#section-4.3`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from sipsess.dialog.usage import CONFIRMED, TERMINATING
from sipsess.errors import PluginError, SIPError, TransportError
from sipsess.flow import Flow
from sipsess.locating import NextHop
from sipsess.message import Request, Response, build_cancel
from sipsess.message.challenge import ANSWERED_BY
from sipsess.sdphandler import NegotiationFailed
from sipsess.supplement import Retry
from sipsess.transaction import ClientTransaction

from .events import add_response
from .waiting import Work

if TYPE_CHECKING:
    from .session import Session

#: How often one request is tried, all reasons together; a peer that always asks for more loses.
MAX_ATTEMPTS = 10
#: The requests within a call that the session itself sends.
_OF_SESSION = frozenset({"INVITE", "PRACK", "UPDATE"})


class OutgoingRequest:
    """
    A request that waits for its final response; the user of its client transaction.

    :param session: that it belongs to.
    :param request: complete but for Via, which only a CANCEL has already; not yet shown to any
        supplement.
    :param flow: where it goes; or the next hop, when other servers may be tried.
    :param responded: called with this and each response above 100 that no supplement retried.
    :param failed: called with this and the error when no final response will come.
    """

    __slots__ = (
        "_failed",
        "_hop",
        "_original",
        "_responded",
        "_work",
        "attempt",
        "call_stood",
        "flow",
        "request",
        "session",
        "transaction",
    )

    def __init__(
        self,
        session: Session,
        request: Request,
        flow: Flow | NextHop,
        responded: Callable[[OutgoingRequest, Response], None],
        failed: Callable[[OutgoingRequest, SIPError], None],
    ) -> None:
        self.session = session
        self._original = request
        self._hop = NextHop.of(flow)
        self.flow = self._hop.flow
        self._responded = responded
        self._failed = failed
        #: Whether the call stood when it was made; before that the peer may not know its dialog, as
        #: the response that makes it may be lost, or late.
        self.call_stood = session.usage.state == CONFIRMED
        #: 0 for the first time, then counted up.
        self.attempt = 0
        #: As it was sent last, or will be when the next hop is known.
        self.request = request
        self.transaction: ClientTransaction | None = None
        #: Another next hop is looked for.
        self._work: Work | None = None

    def send(self) -> None:
        """Show the request to the supplements and start its client transaction."""
        session = self.session
        request = self._next_attempt()
        if request.method != "CANCEL":
            session.core.stamp_via(request, self.flow)
        session.chain.run_outgoing_request(session, request)
        self.request = request
        self.transaction = session.core.start_client(request, self.flow, self)
        session.ending.in_flight += 1

    def _next_attempt(self) -> Request:
        request = self._original.copy()
        request.attempt = self.attempt
        return request

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
        links = chain.links("incoming_response", self.request.method)
        after_media = add_response(session, links.after_media)
        retry = chain.run_incoming_response(session, links.before_media, response)
        if response.status < 300:
            self._responded(self, response)
            chain.run_incoming_response(session, after_media, response)
            return
        # There is no media in it; all supplements may ask for a retry before it counts.
        retry = retry or chain.run_incoming_response(session, after_media, response)
        if retry is None and self._was_overtaken(response):
            retry = Retry({})
        if retry is None or not self._retry(retry):
            self._come_to_nothing(response)

    def _was_overtaken(self, response: Response) -> bool:
        """
        Whether a later request may have come first, and it was refused for that (12.2.2).

        What an application sends is not sent again for it: that would help to flood who is slow.
        """
        if response.status != 500 or self.request.method not in _OF_SESSION:
            return False
        dialog = self.session.dialogs.get(self.request.to_tag or "")
        return dialog is not None and dialog.local_seq > self.request.cseq.number

    def _come_to_nothing(self, outcome: Response | SIPError) -> None:
        """Try the next server, ask the supplements for the last time; then the outcome counts."""
        session = self.session
        if self._hop.goes_on_after(outcome) and self._may_try_again():
            self._begin_attempt(f"the next server after {_describe(outcome)}")
            # Its nonces are its own: what it asks for is no refusal of what another has asked for.
            self._forget_credentials()
            self._look_for(self._go_on(outcome))
            return
        if self._is_wanted:
            retry = session.chain.run_request_failed(session, self.request, outcome)
            if retry is not None and self._retry(retry):
                return
        if isinstance(outcome, Response):
            self._responded(self, outcome)
        else:
            self._failed(self, outcome)

    def cancel(self, headers: Mapping[str, str] | None = None) -> None:
        """
        Send the CANCEL of an INVITE that has a provisional response (9.1).

        What becomes of it changes nothing: the INVITE's own response counts.
        """
        transaction = self.transaction
        assert transaction is not None  # it has a provisional response
        cancel = build_cancel(transaction.request)
        for name, value in (headers or {}).items():
            cancel.headers.set(name, value)
        OutgoingRequest(self.session, cancel, transaction.flow, _ignore, _ignore).send()

    # -- once more -------------------------------------------------------------------------

    @property
    def _is_wanted(self) -> bool:
        """Whether the call still wants the request; a CANCEL is never sent again."""
        session = self.session
        method = self.request.method
        if session.is_over or method == "CANCEL":
            return False
        if method == "INVITE":
            return session.invite_client.is_wanted
        return method == "BYE" or session.usage.state != TERMINATING

    def _retry(self, changes: Retry) -> bool:
        """Send again, changed; ``False`` when it was tried too often or the call is over."""
        if not self._may_try_again():
            return False
        self._begin_attempt("changed")
        self._change(changes)
        target = changes.next_hop
        if target is None and "Route" not in self._original.headers:
            target = changes.uri
        if target is None:
            self.send()
        else:
            self._look_for(self._go_to(target))
        return True

    def _may_try_again(self) -> bool:
        """Whether the request may be sent once more."""
        if self.attempt + 1 >= MAX_ATTEMPTS:
            text = f"{self.request.method} was tried {MAX_ATTEMPTS} times"
            self.session.note("no more retries", text)
            return False
        return self._is_wanted

    def _begin_attempt(self, why: str) -> None:
        if self.request.method == "INVITE":
            self.session.invite_client.prepare_retry()
        self.attempt += 1
        self.session.note("retry", f"{self.request.method}, attempt {self.attempt + 1}: {why}")

    def _change(self, changes: Retry) -> None:
        original = self._original
        if changes.uri is not None:
            original.uri = changes.uri
            # They are for one URI (RFC 7616 3.4), and nothing for who is called instead.
            self._forget_credentials()
        for name, values in changes.headers.items():
            original.headers.remove(name)
            for value in values:
                original.headers.add(name, value)
        original.headers.set("CSeq", f"{self._next_cseq()} {original.method}")

    def _forget_credentials(self) -> None:
        """Leave out what has answered the challenges so far."""
        for _, answered in ANSWERED_BY.values():
            self._original.headers.remove(answered)

    def _look_for(self, finding: Coroutine[Any, Any, None]) -> None:
        """Send when the next hop is found, which may take time."""
        self.transaction = None
        self.request = self._next_attempt()
        self._work = Work()
        self._work.run(self.session, finding)

    async def _go_to(self, target: str) -> None:
        """Find the way to the host of a URI, and send."""
        session = self.session
        try:
            hop = await session.wait(session.manager.find_next_hop(target, self.flow))
        except CancelledError:
            self._give_up(TransportError(f"the way to {target} was not found in time"))
        except SIPError as error:
            self._give_up(error)
        else:
            await self._send_along(hop)

    async def _go_on(self, outcome: Response | SIPError) -> None:
        """Find the next server, and send; without one, what the request came to counts."""
        try:
            await self.session.wait(self._hop.advance())
        except (CancelledError, SIPError):
            self._give_up(outcome)
        else:
            await self._send_along(self._hop)

    async def _send_along(self, hop: NextHop) -> None:
        """Send, when our media can be described on that way."""
        session = self.session
        try:
            if session.invite_client.outgoing is self and session.dialog is None:
                await session.invite_client.move(self._original, hop.flow)
        except CancelledError:
            error: SIPError = TransportError("our media were not described in time")
        except NegotiationFailed as failure:
            error = PluginError(f"no media can be offered on another way: {failure.text}")
        except SIPError as failed:
            error = failed
        else:
            self._hop, self.flow = hop, hop.flow
            if self._is_wanted:
                self.send()
                return
            error = TransportError("the call was given up before the request was sent again")
        self._give_up(error)

    def _give_up(self, outcome: Response | SIPError) -> None:
        """Let what the request came to count, unless the session has ended meanwhile."""
        if not self.session.is_over:
            self._come_to_nothing(outcome)

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
            self._come_to_nothing(error)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """The transaction is over; nothing of it is kept."""
        session = self.session
        session.ending.in_flight -= 1
        if session.is_finished:
            session.core.turn.last(session.ending.part)

    def abandon(self, now: float) -> None:
        """Wait for nothing any more: the session is over."""
        if self._work is not None:
            self._work.cancel()
        if self.transaction is not None:
            self.transaction.abandon(now)


def _describe(outcome: Response | SIPError) -> str:
    """Say for the record what a request came to."""
    if isinstance(outcome, Response):
        return f"{outcome.status} {outcome.reason}"
    return str(outcome) or type(outcome).__name__


def _ignore(outgoing: OutgoingRequest, outcome: Response | SIPError) -> None:
    """Hear what became of a CANCEL."""
