# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The responses of a session: built, shown to the supplements, sent."""

from __future__ import annotations

from collections.abc import Mapping

from sipsess.core import RETRY_AFTER
from sipsess.dialog.usage import RECEIVE_BYE, SEND_FAILURE
from sipsess.errors import RemoteError
from sipsess.message import Request, Response, build_response
from sipsess.message.reason import parse_reasons
from sipsess.sdp import RemoteGlareError
from sipsess.status import reason_phrase

from .incoming import IncomingRequest
from .part import Part
from .reason import LOCAL, REMOTE, EndReason

#: Requests that refresh the target, and their 2xx (:rfc:`3261#section-12.2`, :rfc:`3311`).
_TARGET_REFRESH = frozenset({"INVITE", "UPDATE"})


class Responder(Part):
    """
    The answers to the peer's requests.

    :param session: that they belong to.
    """

    __slots__ = ()

    def build(
        self,
        request: Request,
        status: int,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a response with our tag and the headers that its status needs."""
        session = self.session
        response = build_response(request, status, reason, to_tag=session.local_tag)
        if request.method in _TARGET_REFRESH and 100 < status < 300:
            response.headers.set("Contact", session.contact)
            if status >= 200:
                session.capabilities.announce(response)
        elif status == 415:
            response.headers.set("Accept", session.chain.accept_text)
        elif status == 469:
            response.headers.set("Recv-Info", session.chain.recv_info_text)
        for name, value in (headers or {}).items():
            response.headers.set(name, value)
        return response

    def respond(self, incoming: IncomingRequest, response: Response) -> bool:
        """
        Show a response to the supplements and send it.

        :return: ``False`` when a supplement has answered the request, or ended the call, instead.
        """
        session = self.session
        method = incoming.request.method
        session.chain.run_outgoing_response(session, method, response)
        is_late = session.is_over and method == "INVITE" and 200 <= response.status < 300
        if incoming.is_answered or is_late:
            return False
        incoming.transaction.respond(response, session.core.turn.now)
        if response.status >= 200:
            incoming.release()
            if session.invite_server.current is incoming:
                session.invite_server.answered()
                if session.is_initial(incoming.request):
                    session.early.stop()
                session.core.turn.later(session.send_waiting)
            if method == "BYE":
                self._bye_answered(incoming.request, response.status)
            elif method == "PRACK":
                session.core.turn.later(session.early.prack_answered, incoming)
            elif method == "UPDATE":
                session.core.turn.later(session.updates.answered)
            session.core.turn.later(session.desk.next_request)
            if not session.is_initial(incoming.request):
                # The first INVITE is looked at until its ACK.
                session.core.turn.last(incoming.compact)
        elif response.status > 100 and method == "INVITE":
            session.invite_server.remind(incoming, response)
        return True

    def _bye_answered(self, request: Request, status: int) -> None:
        """
        End the call that a BYE ends, whoever answered it.

        Only who refuses the BYE on purpose keeps the call; a plugin that failed over it does not,
        as the peer is gone.
        """
        session = self.session
        if 300 <= status < 500 or session.is_over:
            return
        headers = request.headers
        text, reasons = headers.get("Reason") or "", parse_reasons(headers)
        session.set_reason(EndReason(REMOTE, "BYE", None, text, reasons, headers))
        session.usage.feed(RECEIVE_BYE)

    def reply(self, incoming: IncomingRequest, status: int) -> None:
        """Send a plain response."""
        self.respond(incoming, self.build(incoming.request, status))

    def reject(
        self,
        incoming: IncomingRequest,
        status: int,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """
        Refuse a request; refusing the first INVITE ends the session.

        :return: the response; it was not sent when the request had its final response before.
        """
        session = self.session
        request = incoming.request
        response = self.build(request, status, reason, headers)
        if incoming.is_answered:
            return response
        text = reason or reason_phrase(status)
        if incoming is session.invite_server.current:
            session.invite_server.stop_answering()
            session.media.rollback()
        elif session.media.is_answering and session.media.offered_by is request:
            # RFC 6141: what the PRACK or UPDATE has changed is put back.
            session.media.rollback()
        session.note("refused", f"{request.method}: {status} {text}")
        self.respond(incoming, response)
        if session.is_initial(request) and not session.is_over:
            session.set_reason(EndReason(LOCAL, "INVITE", status, text))
            session.usage.feed(SEND_FAILURE)
        return response

    def refuse_for_now(self, incoming: IncomingRequest) -> None:
        """Refuse a request that met another of the peer's (14.2): it may come later."""
        delay = self.session.core.ids.random.randint(0, 10)
        self.reject(incoming, 500, headers={"Retry-After": str(delay)})

    def reject_media(
        self, incoming: IncomingRequest, text: str, warn_code: int, status: int = 488
    ) -> None:
        """Refuse an offer: 488, or 503 for a while, with a Warning that says why (13.3.1.3)."""
        session = self.session
        session.note("media refused", text)
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        headers = {"Warning": f'{warn_code} {session.flow.sent_by} "{quoted}"'}
        if status == 503:
            session.core.counters.refuse("no-media-port")
            headers["Retry-After"] = str(RETRY_AFTER)
        else:
            session.core.counters.refuse("media-refused")
        self.reject(incoming, status, headers=headers)

    def reject_remote(self, incoming: IncomingRequest, error: RemoteError) -> None:
        """Refuse a request that breaks the protocol."""
        self.session.core.counters.refuse(error.reason_code)
        if isinstance(error, RemoteGlareError):
            self.refuse_for_now(incoming)
            return
        status = getattr(error, "status", None) or error.status_hint or 400
        if status == 488:
            self.reject_media(incoming, error.text, 399)
        else:
            self.reject(incoming, status, f"{reason_phrase(status)} ({error.text})"[:200])
