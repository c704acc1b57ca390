# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session ends: refused, cancelled, hung up, or failed; what the usage table asks for.

Whoever wants the end says so to the table (:mod:`sipsess.dialog.usage`), and the table says what it
takes in the present state: a refusal, a CANCEL, a BYE, or patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sipsess.dialog.usage import BYE_DONE, CALLING, CANCEL_TIMEOUT, FAIL, HANG_UP
from sipsess.errors import SIPError
from sipsess.message import Response, build_cancel

from .outgoing import OutgoingRequest
from .reason import LOCAL, EndReason

if TYPE_CHECKING:
    from .session import Session


class SessionEnding:
    """
    The owner of the INVITE usage.

    :param session: whose usage it is.
    """

    __slots__ = ("_failure", "_headers", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self._failure: tuple[int, str | None] = (480, None)
        self._headers: dict[str, str] = {}

    def terminate(self, status: int, reason: str | None, headers: Mapping[str, str] | None) -> None:
        """See :meth:`.Session.terminate`."""
        session = self.session
        with session.core.turn:
            if session.is_over:
                return
            self._failure = (status, reason)
            self._headers = dict(headers or {})
            if session.is_answered:
                session.set_reason(EndReason(LOCAL, "BYE", text=reason or "hung up"))
            elif session.is_callee:
                session.set_reason(EndReason(LOCAL, "INVITE", status, reason or ""))
            else:
                session.set_reason(EndReason(LOCAL, "CANCEL", text=reason or "cancelled"))
            session.media.stop()
            is_unsent = session.usage.state == CALLING and session.invite_client.outgoing is None
            session.usage.feed(FAIL if is_unsent else HANG_UP)

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
        if outgoing is None:
            return
        cancel = build_cancel(outgoing.request)
        for name, value in self._headers.items():
            cancel.headers.set(name, value)
        session.chain.run_outgoing_request(session, cancel)
        session.core.start_client(cancel, outgoing.flow, session.core.ignoring_user)
        session.start_timer(64 * session.core.timing.t1, session.usage.feed, CANCEL_TIMEOUT)

    def send_bye(self) -> None:
        """See :meth:`.UsageOwner.send_bye`."""
        session = self.session
        dialog = session.dialog
        if dialog is None:
            session.usage.feed(BYE_DONE)
            return
        request = dialog.build_request("BYE")
        for name, value in self._headers.items():
            request.headers.set(name, value)
        OutgoingRequest(
            session, request, session.flow_to(dialog), self._bye_answered, self._bye_failed
        ).send()

    def _bye_answered(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        if response.status >= 200 and not session.is_over:
            session.usage.feed(BYE_DONE)

    def _bye_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        session = self.session
        session.note("BYE unanswered", str(error))
        if not session.is_over:
            session.usage.feed(BYE_DONE)

    def usage_confirmed(self) -> None:
        """See :meth:`.UsageOwner.usage_confirmed`."""
        session = self.session
        session.note("confirmed")
        session.core.counters.sessions_answered += 1
        if session.final_response is not None and not session.invite_client.answered.called:
            session.invite_client.answered.callback(session.final_response)
        if session.on_confirmed is not None:
            session.on_confirmed()
        session.invite_client.send_waiting()

    def usage_ended(self) -> None:
        """See :meth:`.UsageOwner.usage_ended`."""
        self.session.finish()
