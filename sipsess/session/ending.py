# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session ends: refused, cancelled, hung up, or failed; what the usage table asks for.

Whoever wants the end says so to the table (:mod:`sipsess.dialog.usage`), and the table says what it
takes in the present state: a refusal, a CANCEL, a BYE, or patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sipsess.dialog.usage import (
    ANSWERED_ENDING,
    BYE_DONE,
    CALLING,
    CANCEL_TIMEOUT,
    CONFIRMED,
    FAIL,
    HANG_UP,
)
from sipsess.errors import SIPError
from sipsess.message import Response
from sipsess.status import reason_phrase

from .outgoing import OutgoingRequest
from .part import Part
from .reason import LOCAL, EndReason, SessionEnded, fail_quietly

if TYPE_CHECKING:
    from sipsess.dialog import Dialog

    from .session import Session


#: Those of a hang-up that nobody has asked for yet.
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class SessionEnding(Part):
    """
    The owner of the INVITE usage.

    :param session: whose usage it is.
    """

    __slots__ = (
        "_awaits_ack",
        "_confirming",
        "_failure",
        "_headers",
        "_is_asked",
        "_waiting",
        "in_flight",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._failure: tuple[int, str | None] = (480, None)
        self._headers: Mapping[str, str] = _NO_HEADERS
        self._is_asked = False
        #: The hang-up has to wait for the ACK of a 2xx of ours.
        self._awaits_ack = False
        #: Requests of ours whose transactions live.
        self.in_flight = 0
        self._waiting: tuple[Deferred[EndReason], ...] = ()
        self._confirming: tuple[Deferred[None], ...] = ()

    def terminate(self, status: int, reason: str | None, headers: Mapping[str, str] | None) -> None:
        """See :meth:`.Session.terminate`."""
        session = self.session
        with session.core.turn:
            if session.is_over or self._is_asked:
                return
            self._is_asked = True
            self._failure = (status, reason)
            self._headers = dict(headers or {})
            session.set_reason(self._reason(status, reason))
            session.media.stop()
            if session.usage.state == CONFIRMED and session.invite_server.awaits_ack:
                # 15: no BYE before the ACK of our 2xx, be it that of a re-INVITE.
                self._awaits_ack = True
                return
            is_unsent = session.usage.state == CALLING and session.invite_client.outgoing is None
            session.usage.feed(FAIL if is_unsent else HANG_UP)
            if session.usage.state == ANSWERED_ENDING:
                session.invite_client.hurry()

    def _reason(self, status: int, reason: str | None) -> EndReason:
        session = self.session
        if session.is_answered:
            return EndReason(LOCAL, "BYE", text=reason or "hung up")
        if session.is_callee:
            return EndReason(LOCAL, "INVITE", status, reason or reason_phrase(status))
        return EndReason(LOCAL, "CANCEL", text=reason or "cancelled")

    def acknowledged(self) -> None:
        """Go on hanging up when the ACK came that this had to wait for."""
        if self._awaits_ack and not self.session.invite_server.awaits_ack:
            self._awaits_ack = False
            self.session.usage.feed(HANG_UP)

    def fail(self, reason: EndReason) -> None:
        """End a session whose INVITE was not sent."""
        self.session.set_reason(reason)
        self.session.usage.feed(FAIL)

    def give_up(self) -> None:
        """End a call of ours that nobody answers."""
        if not self.session.is_answered:
            self.session.set_reason(EndReason(LOCAL, "CANCEL", 408, "nobody answered"))
            self.session.terminate()

    # -- what the usage table says ---------------------------------------------------------

    def send_rejection(self) -> None:
        """See :meth:`.UsageOwner.send_rejection`."""
        status, reason = self._failure
        self._end_invite(status, reason, self._headers)

    def send_request_terminated(self) -> None:
        """See :meth:`.UsageOwner.send_request_terminated`."""
        self._end_invite(487, None, {})

    def _end_invite(self, status: int, reason: str | None, headers: Mapping[str, str]) -> None:
        session = self.session
        incoming = session.invite_server.current
        if incoming is not None:
            session.responder.reject(incoming, status, reason, headers)

    def send_cancel(self) -> None:
        """See :meth:`.UsageOwner.send_cancel`."""
        session = self.session
        outgoing = session.invite_client.outgoing
        if outgoing is None or session.is_over:
            return
        outgoing.cancel(self._headers)
        session.start_timer(64 * session.core.timing.t1, session.usage.feed, CANCEL_TIMEOUT)

    def send_bye(self) -> None:
        """See :meth:`.UsageOwner.send_bye`."""
        session = self.session
        dialog = session.dialog
        if dialog is None or session.is_over:
            session.usage.feed(BYE_DONE)
            return
        try:
            self._send_bye(dialog)
        except Exception:
            # Whatever is wrong on this side: the session ends, and what it holds is free.
            session.core.internal_error(Failure(), session.call_id)
            session.usage.feed(BYE_DONE)

    def _send_bye(self, dialog: Dialog) -> None:
        session = self.session
        bye = dialog.build_request("BYE")
        for name, value in self._headers.items():
            bye.headers.set(name, value)
        flow = session.flow_to(dialog)
        OutgoingRequest(session, bye, flow, self._bye_answered, self._bye_failed).send()

    def _bye_answered(self, outgoing: OutgoingRequest, response: Response) -> None:
        if response.status >= 200:
            self.session.usage.feed(BYE_DONE)

    def _bye_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        self.session.note("BYE unanswered", str(error))
        self.session.usage.feed(BYE_DONE)

    def usage_confirmed(self) -> None:
        """See :meth:`.UsageOwner.usage_confirmed`."""
        session = self.session
        session.note("confirmed")
        core = session.core
        core.counters.sessions_answered += 1
        if core.perimeter is not None and session.is_callee:
            core.perimeter.succeeded(session.flow, core.turn.now)
        session.kept_invite.compact()
        if session.final_response is not None:
            session.invite_client.settle(session.final_response)
        confirming, self._confirming = self._confirming, ()
        for deferred in confirming:
            if not deferred.called:
                deferred.callback(None)
        session.send_waiting()

    def usage_ended(self) -> None:
        """Release all that is of the session, exactly once and in this order."""
        session = self.session
        reason = session.end_reason = session.reason_or_unknown()
        session.note("ended", str(reason))
        self._stop_work(SessionEnded(reason))
        session.is_finished = True
        if session.has_begun:
            session.chain.tell(session, "session_end")
        session.cookies.destroy_all()
        session.media.close()
        if session.has_begun:
            session.chain.tell(session, "session_destroy")
            session.core.counters.sessions_ended += 1
            if session.core.trace is not None:
                session.core.trace.session_ended(session, session.core.turn.now)
        for dialog in session.dialogs.values():
            dialog.terminate()
        session.manager.session_over(session)
        confirming, self._confirming = self._confirming, ()
        for unconfirmed in confirming:
            fail_quietly(unconfirmed, SessionEnded(reason))
        self._tell_listener(reason)
        waiting, self._waiting = self._waiting, ()
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(reason)
        session.core.turn.last(self.part)

    def _tell_listener(self, reason: EndReason) -> None:
        """Let the call end what waits in it; that may be code of an application."""
        session = self.session
        if session.listener is None:
            return
        try:
            session.listener.session_over(reason, session)
        except Exception:
            session.core.internal_error(Failure(), session.call_id)

    def part(self) -> None:
        """
        Part the session and what belongs to it, when nothing can come for it any more.

        They hold each other; once that is undone, all goes without the garbage collector.
        """
        session = self.session
        if self.in_flight or session.runner.is_running:
            return
        session.is_parted = True
        session.manager.records.close(session.record)
        session.channel = session.listener = session.work = session.on_provisional = None
        session.usage.retire()
        session.media.retire()
        for part in (
            *(session.capabilities, session.desk, session.early, session.invite_server),
            *(session.offers, session.report, session.responder, session.runner),
            *(session.waiting, *session.parts_on_demand(), self),
        ):
            part.retire()

    def _stop_work(self, ended: SessionEnded) -> None:
        """Stop all that runs or waits in the session's name."""
        session = self.session
        session.waiting.close()
        session.invite_server.stop()
        session.early.close()
        session.desk.close()
        session.runner.cancel()
        if session.work is not None:
            session.work.cancel()
        for part in session.parts_on_demand():
            part.stop(ended)

    def when_confirmed(self) -> Deferred[None]:
        """See :meth:`.Session.when_confirmed`."""
        session = self.session
        if session.usage.state == CONFIRMED:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._confirming = (*self._confirming, deferred)
        return deferred

    def when_ended(self) -> Deferred[EndReason]:
        """See :meth:`.Session.when_ended`."""
        deferred: Deferred[EndReason] = Deferred()
        self._waiting = (*self._waiting, deferred)
        return deferred
