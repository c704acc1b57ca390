# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The desk: every request of the peer is checked, queued, shown to the supplements and dispatched.

While a supplement takes its time over one request of a dialog, later ones wait in order, BYE and
PRACK apart: they end or complete what the others wait for.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from sipsess.dialog import CSeqError, Dialog
from sipsess.dialog.usage import FAIL, RECEIVE_CANCEL, TERMINATING
from sipsess.errors import DialogStateError, SIPError
from sipsess.message import MessageError, Request
from sipsess.message.reason import parse_reasons
from sipsess.supplement import Reject

from .bodies import refusal_of_body
from .events import add_request
from .incoming import IncomingRequest
from .kept import KeptRequest
from .part import Part
from .reason import NETWORK, REMOTE, EndReason

if TYPE_CHECKING:
    from sipsess.core import Admission

    from .session import Session

#: Requests of one dialog that wait while a supplement takes its time over another.
MAX_WAITING_REQUESTS = 16
#: Requests that never wait.
_URGENT = frozenset({"BYE", "PRACK"})
#: 2xx of one dialog that wait for their ACK: RFC 5407 3.1.4 needs two; more is no call.
MAX_UNACKNOWLEDGED = 2
#: Seconds after which a peer may come back when a session is too busy (Retry-After).
RETRY_AFTER = 5


class RequestDesk(Part):
    """
    The requests of the peer in one session.

    :param session: that they belong to.
    """

    __slots__ = (
        "_current",
        "_open",
        "_waiting",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._current: IncomingRequest | None = None
        self._waiting: tuple[IncomingRequest, ...] = ()
        self._open: tuple[IncomingRequest, ...] = ()

    # -- in --------------------------------------------------------------------------------

    def receive_initial(self, admission: Admission) -> None:
        """Take the INVITE that makes the call."""
        session = self.session
        incoming = self._take(session.kept_invite, admission)
        session.invite_server.current = incoming
        session.dialog = Dialog.as_uas(admission.request, session.local_tag)
        session.add_dialog(session.dialog)
        session.capabilities.note(admission.request)
        self._current = incoming
        expires = admission.request.headers.get("Expires") or ""
        if expires.isascii() and expires.isdigit() and len(expires) < 10 and not session.is_over:
            session.start_timer(int(expires), self._expire, incoming)
        incoming.run(session.chain.incoming("INVITE"))
        session.core.turn.later(session.invite_server.begin_reminding, incoming)

    def _expire(self, incoming: IncomingRequest) -> None:
        """Refuse an INVITE whose Expires ran out before its final response (13.3.1)."""
        if not incoming.is_answered:
            self.session.set_reason(EndReason(REMOTE, "INVITE", 487, "its Expires ran out"))
            self.session.responder.reject(incoming, 487)

    def receive_request(self, admission: Admission) -> None:
        """Take a request within the dialog: checks first, then the supplements."""
        session = self.session
        request = admission.request
        incoming = self._take(KeptRequest(request, admission.flow), admission)
        dialog = session.dialogs[request.from_tag or ""]
        if dialog is not (session.dialog or dialog):
            # 13.2.2.4: another fork's early dialog ended when this one was answered.
            session.responder.reject(incoming, 481)
            return
        try:
            dialog.accept_request(request)
        except CSeqError as error:
            session.responder.reject_remote(incoming, error)
            return
        flow = admission.transaction.flow
        if session.way.leads_along(request, flow, session.flow):
            session.move(flow)
        if session.usage.state == TERMINATING and request.method != "BYE":
            # RFC 5407 3.2.2: our BYE is on its way; the call is over for whatever crosses it.
            session.responder.reject(incoming, 481)
        elif request.method not in session.chain.allow:
            self._refuse_method(incoming)
        elif request.method == "INVITE" and self._has_invite:
            # 14.2: at once, whatever the earlier INVITE waits for.
            session.responder.refuse_for_now(incoming)
        elif request.method in _URGENT or not self._is_busy:
            self._admit(incoming)
        elif len(self._waiting) < MAX_WAITING_REQUESTS:
            self._waiting = (*self._waiting, incoming)
            incoming.start_deadline()
        else:
            session.core.counters.refuse("session-busy")
            session.responder.reject(incoming, 500, headers={"Retry-After": str(RETRY_AFTER)})

    @property
    def _is_busy(self) -> bool:
        """Whether a supplement still thinks about an earlier request of this dialog."""
        return self._current is not None and self._current.is_pending

    @property
    def _has_invite(self) -> bool:
        """Whether an INVITE of the peer has no final response yet."""
        is_pending = self.session.invite_server.is_pending
        return is_pending or any(item.request.method == "INVITE" for item in self._waiting)

    def _take(self, kept: KeptRequest, admission: Admission) -> IncomingRequest:
        incoming = IncomingRequest(self.session, kept, admission.transaction)
        self._open = (*self._open, incoming)
        return incoming

    def _refuse_method(self, incoming: IncomingRequest) -> None:
        core, responder = self.session.core, self.session.responder
        method = incoming.request.method
        core.counters.refuse("method-not-allowed")
        if method in ("SUBSCRIBE", "NOTIFY") and "Event" in incoming.request.headers:
            responder.reject(incoming, 489)
        else:
            allow = self.session.chain.allow_text
            responder.reject(incoming, core.refusal_of_method(method), headers={"Allow": allow})

    def _admit(self, incoming: IncomingRequest) -> None:
        method = incoming.request.method
        if method == "INVITE" and not self._admit_reinvite(incoming):
            return
        if method == "PRACK" and not self.session.early.admit_prack(incoming):
            return
        if method == "UPDATE" and not self._admit_update(incoming):
            return
        if method not in _URGENT:
            self._current = incoming
        incoming.run(add_request(self.session, self.session.chain.incoming(method)))

    def _admit_reinvite(self, incoming: IncomingRequest) -> bool:
        """Refuse a re-INVITE that meets another INVITE (14.2); ``False`` when it was refused."""
        session = self.session
        server = session.invite_server
        if self._refuse_body(incoming):
            return False
        if session.invite_client.outgoing is not None or session.reinvites.outgoing is not None:
            # 14.2: an INVITE of ours has no final response yet.
            session.responder.reject(incoming, 491)
            return False
        if server.unacknowledged >= MAX_UNACKNOWLEDGED:
            session.core.counters.refuse("session-busy")
            session.responder.reject(incoming, 500, headers={"Retry-After": str(RETRY_AFTER)})
            return False
        if session.media.is_answering:
            # An offer of his, in an UPDATE, waits for our answer.
            session.responder.refuse_for_now(incoming)
            return False
        if session.media.is_open and not session.reinvites.give_way():
            session.responder.reject(incoming, 491)
            return False
        session.capabilities.note(incoming.request)
        server.current = incoming
        return True

    def _admit_update(self, incoming: IncomingRequest) -> bool:
        """Refuse an UPDATE that cannot be read, or meets another; ``False`` when refused."""
        if self._refuse_body(incoming) or not self.session.updates.admit(incoming):
            return False
        self.session.capabilities.note(incoming.request)
        return True

    def _refuse_body(self, incoming: IncomingRequest) -> bool:
        """Refuse a request whose body this side cannot read; ``False`` when it can."""
        session = self.session
        if incoming.request.content_type is None:
            return False
        try:
            headers = refusal_of_body(incoming.request, session.chain.accept)
        except MessageError as error:
            session.responder.reject_remote(incoming, error)
            return True
        if headers is None:
            return False
        session.core.counters.refuse("unsupported-body")
        session.responder.reject(incoming, 415, headers=headers)
        return True

    def next_request(self) -> None:
        """Go on with the next request that waited for a supplement."""
        while self._waiting and not self._is_busy and not self.session.is_over:
            incoming, *others = self._waiting
            self._waiting = tuple(others)
            if not incoming.is_over:
                self._admit(incoming)

    # -- through the chain -----------------------------------------------------------------

    def request_admitted(self, incoming: IncomingRequest) -> None:
        """Do what a request asks for that all supplements let through."""
        session = self.session
        request = incoming.request
        method = request.method
        if method == "INVITE":
            incoming.start_deadline()
            if session.is_initial(request):
                session.core.turn.later(session.runner.start)
            elif not session.invite_server.is_answering:
                # Else a plugin has begun to answer it while a supplement was thinking.
                session.invite_server.answer(incoming).addErrback(self._not_answered)
        elif method in ("PRACK", "UPDATE"):
            session.updates.answer(incoming)
        elif method == "BYE":
            session.responder.reply(incoming, 200)
        elif method == "OPTIONS":
            capabilities = session.core.build_capabilities(request, session.chain)
            session.responder.respond(incoming, capabilities)
        elif method == "INFO" and not request.body:
            # An empty INFO is a keep-alive of some session border controllers.
            session.responder.reply(incoming, 200)
        else:
            session.core.counters.refuse("request-unclaimed")
            session.note("unclaimed", method)
            session.responder.reject(incoming, _refusal_of_unclaimed(request))

    def _not_answered(self, failure: Failure) -> None:
        """A re-INVITE was refused, and answered so, by whoever failed."""
        self.session.note("re-INVITE refused", str(failure.value))

    # -- what cannot be refused ------------------------------------------------------------

    def receive_cancel(self, incoming: IncomingRequest, admission: Admission) -> None:
        """Take the CANCEL of an INVITE: answer it, and end the INVITE if it is still open."""
        session = self.session
        self.notify(admission.request)
        kept = KeptRequest(admission.request, admission.flow)
        cancel = IncomingRequest(session, kept, admission.transaction)
        session.responder.reply(cancel, 200)
        if incoming.is_answered or session.is_over:
            return
        if session.is_initial(incoming.request):
            headers = admission.request.headers
            text, reasons = headers.get("Reason") or "", parse_reasons(headers)
            session.set_reason(EndReason(REMOTE, "CANCEL", None, text, reasons, headers))
            session.usage.feed(RECEIVE_CANCEL)
            incoming.release()
        else:
            incoming.release()
            session.responder.reject(incoming, 487)

    def notify(self, request: Request) -> None:
        """Show a request that cannot be refused, ACK or CANCEL, to the supplements."""
        session = self.session
        if session.is_finished:
            return
        for link in session.chain.observers(request.method):
            try:
                result = link.callback(session, request)
            except Exception:
                self._observer_failed(Failure(), link.name, request.method)
                continue
            if isinstance(result, Awaitable):
                session.wait(result).addErrback(self._observer_failed, link.name, request.method)

    def _observer_failed(self, failure: Failure, name: str, method: str) -> None:
        """Note a refusal that does nothing here; log everything else."""
        if failure.check(Reject):
            self.session.note("not refused", f"{method} by {name}: {failure.value}")
        else:
            error = failure.value or RuntimeError(failure)
            self.session.report.plugin_failed(name, "incoming_request", error)

    # -- what goes wrong -------------------------------------------------------------------

    def answer_overdue(self, incoming: IncomingRequest) -> None:
        """Nobody answered in time: the core does."""
        session = self.session
        session.core.counters.refuse("answer-overdue")
        name, request = incoming.handled_by, incoming.request
        who = f"{name} did not answer" if name else "nobody answered"
        session.note("no answer", f"{request.method}: {who} in time")
        if name:
            session.core.plugin_overdue(name, request.method, session.call_id)
        incoming.release()
        is_ringing = session.is_initial(request) and not name
        session.responder.reject(incoming, 480 if is_ringing else 500)

    def answer_failed(self, incoming: IncomingRequest, error: SIPError) -> None:
        """An answer could not be delivered, or the ACK of a refusal never came."""
        session = self.session
        session.note("answer lost", f"{incoming.request.method}: {error}")
        if incoming.is_answered:
            return
        if session.is_initial(incoming.request):
            session.set_reason(EndReason(NETWORK, "INVITE", error.status_hint, str(error)))
            session.usage.feed(FAIL)
        else:
            # Nobody hears it, but nothing may wait any more for what nobody hears.
            incoming.release()
            session.responder.reject(incoming, 500)

    def request_over(self, incoming: IncomingRequest) -> None:
        """The server transaction of a request is over."""
        self._open = tuple(item for item in self._open if item is not incoming)
        if self._current is incoming:
            self._current = None

    def find(self, request: Request | None) -> IncomingRequest:
        """
        Return the open request that someone wants to answer.

        :param request: ``None`` for the INVITE that has no answer yet.
        :raises DialogStateError: when it has its final response, or is none of this session.
        """
        if request is None:
            incoming = self.session.invite_server.current
        else:
            found = (item for item in self._open if item.request is request)
            incoming = next(found, None)
        if incoming is None or incoming.is_answered:
            what = "INVITE" if request is None else request.method
            raise DialogStateError(
                f"no {what} of the call {self.session.call_id} waits for an answer"
            )
        return incoming

    def drop(self, dialog: Dialog) -> None:
        """Refuse what is open of an early dialog that is over."""
        for incoming in self._open:
            is_its = incoming.request.from_tag == dialog.remote_tag
            if is_its and not incoming.is_answered:
                incoming.release()
                self.session.updates.drop(incoming)
                self.session.responder.reject(incoming, 481)

    def close(self) -> None:
        """Answer what is open, as 15.1.2 recommends, and let go of all: the session is over."""
        self._waiting = ()
        self._current = None
        for incoming in self._open:
            incoming.release()
            if not incoming.is_answered:
                self.session.responder.reject(incoming, 487)
            # Its transaction lives on for 32 s; the session shall not.
            incoming.transaction.user = None
        self._open = ()


def _refusal_of_unclaimed(request: Request) -> int:
    """Return how a request is refused that a supplement allows, but none wants."""
    if request.method == "INFO" and "Info-Package" in request.headers:
        # RFC 6086 4.2.2: a package that we did not say we would take.
        return 469
    return 415 if request.body else 501
