# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The requests of a session within its dialog that are neither INVITE nor BYE: INFO, MESSAGE..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from sipsess.dialog.usage import INCOMING
from sipsess.errors import DialogStateError, SIPError, Timeout
from sipsess.message import Response

from .chain import CORE_METHODS
from .outgoing import OutgoingRequest
from .part import StoppedPart
from .reason import NETWORK, REMOTE, EndReason, SessionEnded, fail_quietly

if TYPE_CHECKING:
    from .session import Session

#: What the session sends by itself, or by another call.
_NOT_HERE = CORE_METHODS - {"OPTIONS"}
#: What belongs to another usage of the dialog: its failure says nothing of the call (RFC 5057 5.1).
_OTHER_USAGES = frozenset({"NOTIFY", "SUBSCRIBE"})


class Requester(StoppedPart):
    """
    The requests that plugins and applications send within the call.

    :param session: that they belong to.
    """

    __slots__ = ("_pending",)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._pending: dict[Deferred[Response], None] = {}

    def send(
        self, method: str, headers: Mapping[str, str] | None, content_type: str | None, body: bytes
    ) -> Deferred[Response]:
        """See :meth:`.Session.send_request`."""
        session = self.session
        if method in _NOT_HERE:
            raise DialogStateError(f"{method} is sent by the session itself")
        dialog = session.dialog
        is_unknown = session.usage.state == INCOMING and not session.early.has_dialog
        if dialog is None or session.is_over or is_unknown:
            # 12.1: the caller knows of the dialog when he got a response with our tag.
            raise DialogStateError(f"the call {session.call_id} has no dialog for {method}")
        request = dialog.build_request(method)
        for name, value in (headers or {}).items():
            request.headers.set(name, value)
        if body:
            request.set_body(content_type or "application/octet-stream", body)
        result: Deferred[Response] = Deferred()
        self._pending[result] = None
        OutgoingRequest(
            session,
            request,
            session.flow_to(dialog),
            lambda outgoing, response: self._responded(outgoing, response, result),
            lambda outgoing, error: self._failed(outgoing, error, result),
        ).send()
        return result

    def _responded(
        self, outgoing: OutgoingRequest, response: Response, result: Deferred[Response]
    ) -> None:
        if response.status < 200:
            return
        del self._pending[result]
        if response.status in (408, 481):
            self._dialog_lost(REMOTE, outgoing, response.status, response.reason)
        if not result.called:
            result.callback(response)

    def _failed(
        self, outgoing: OutgoingRequest, error: SIPError, result: Deferred[Response]
    ) -> None:
        del self._pending[result]
        if isinstance(error, Timeout):
            self._dialog_lost(NETWORK, outgoing, 408, "no answer")
        if not result.called:
            result.errback(error)

    def _dialog_lost(self, by: str, outgoing: OutgoingRequest, status: int, text: str) -> None:
        """
        End the call: the other end knows no such dialog, or is gone (12.2.1.2).

        Of a request that was sent before the call stood that says nothing: the INVITE decides.
        """
        session = self.session
        if outgoing.request.method in _OTHER_USAGES or not outgoing.call_stood:
            return
        session.set_reason(EndReason(by, outgoing.request.method, status, text))
        session.terminate()

    def stop(self, ended: SessionEnded) -> None:
        """Fail what waits for a response: the session is over."""
        pending, self._pending = self._pending, {}
        for result in pending:
            fail_quietly(result, ended)
