# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session places INVITEs, the first one and those within the call.

The first INVITE may make several dialogs (forks): each 2xx is acknowledged, the first one is the
call, the others get a BYE (:rfc:`3261#section-13.2.2.4`). The ACK of a 2xx belongs to no
transaction; it is kept and sent again for each copy of its 2xx. Within the call one INVITE is sent
at a time; the others wait, and after 491 (glare) for the time of :rfc:`3261#section-14.1`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.dialog import Dialog
from sipsess.dialog.usage import (
    CALLING,
    CANCEL_WAITING,
    CANCELLING,
    CONFIRMED,
    FAIL,
    PROCEEDING,
    RECEIVE_FAILURE,
    RECEIVE_PROVISIONAL,
    RECEIVE_SUCCESS,
    SEND_ACK,
)
from sipsess.errors import PluginError, RemoteError, SIPError, Timeout
from sipsess.flow import Flow
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed

from .outgoing import OutgoingRequest
from .reason import LOCAL, NETWORK, REMOTE, EndReason, SessionEnded

if TYPE_CHECKING:
    from .session import Session

#: Our own INVITEs that wait for their turn within one call.
MAX_WAITING = 16
#: Dialogs that one INVITE may make; a proxy that forks further is ignored.
MAX_FORKS = 16
#: How often one re-INVITE is sent again after 491.
MAX_GLARES = 5

_NOT_ANSWERED = frozenset({CALLING, PROCEEDING, CANCEL_WAITING, CANCELLING})


class Reinvite:
    """One INVITE of ours within the call, from the wish to its final response."""

    __slots__ = ("deferred", "glares", "headers")

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.deferred: Deferred[Response] = Deferred()
        self.glares = 0


class InviteClient:
    """
    The caller's part of a session.

    :param session: that it belongs to.
    """

    __slots__ = ("_acks", "_reinvite", "_waiting", "_work", "answered", "outgoing", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        #: The INVITE that has no final response yet.
        self.outgoing: OutgoingRequest | None = None
        #: Fires when the first INVITE was answered; fails when it was not.
        self.answered: Deferred[Response] = Deferred()
        self._acks: dict[tuple[str, int], tuple[Flow, bytes]] = {}
        self._waiting: deque[Reinvite] = deque()
        self._reinvite: Reinvite | None = None
        self._work: Deferred[None] | None = None

    # -- the first INVITE ------------------------------------------------------------------

    def send_initial(self, request: Request, flow: Flow) -> None:
        """Send the INVITE that shall make the call."""
        self.outgoing = OutgoingRequest(
            self.session, request, flow, self._initial_response, self._initial_failed
        )
        self.outgoing.send()

    def _initial_response(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        if response.status < 200:
            self._provisional(response)
        elif response.status < 300:
            self._success(outgoing, response)
        else:
            self.outgoing = None
            session.set_reason(EndReason(REMOTE, "INVITE", response.status, response.reason))
            session.media.rollback()
            session.final_response = response
            session.usage.feed(RECEIVE_FAILURE)

    def _provisional(self, response: Response) -> None:
        session = self.session
        session.note("provisional", f"{response.status} {response.reason}")
        if response.status > 100 and response.to_tag and len(session.dialogs) < MAX_FORKS:
            self._dialog(response)
        session.usage.feed(RECEIVE_PROVISIONAL)
        session.provisional_received(response)

    def _dialog(self, response: Response) -> Dialog:
        """Return the dialog of a response, made by it if need be."""
        session = self.session
        tag = response.to_tag or ""
        dialog = session.dialogs.get(tag)
        if dialog is None:
            dialog = Dialog.as_uac(session.invite, response)
            session.add_dialog(dialog)
        return dialog

    def _success(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        dialog = self._dialog(response)
        dialog.confirm(response)
        if session.usage.state not in _NOT_ANSWERED:
            self._drop_fork(outgoing, dialog, response)
            return
        self.outgoing = None
        session.dialog = dialog
        session.note("answered", f"{response.status} {response.reason}")
        session.usage.feed(RECEIVE_SUCCESS)
        session.final_response = response
        self._work_on(self._acknowledge(outgoing, dialog, response))

    def _work_on(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what may have to wait for an SDP handler; the session's end cancels it."""
        deferred = Deferred.fromCoroutine(coroutine)
        if not deferred.called:
            self._work = deferred
        deferred.addErrback(self._work_failed)

    def _work_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.session.internal_error(failure)

    async def _acknowledge(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response
    ) -> None:
        """Take the answer, or answer a late offer, and send the ACK; then the call stands."""
        session = self.session
        body = b""
        fault = ""
        try:
            if session.media.is_open:
                session.media.receive_answer(session.parse_sdp(response))
            elif response.body:
                session.media.receive_offer(session.parse_sdp(response))
                body = (await session.media.create_answer()).to_bytes()
        except (RemoteError, NegotiationFailed, PluginError) as error:
            fault = str(error)
            session.media.rollback()
        if session.is_over:
            return
        self._send_ack(outgoing, dialog, response, body)
        if fault:
            session.note("bad answer", fault)
            session.set_reason(EndReason(LOCAL, "BYE", text=f"no common media: {fault}"))
            session.terminate(headers={"Reason": 'SIP;cause=488;text="Not Acceptable Here"'})
        session.usage.feed(SEND_ACK)

    def _send_ack(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response, body: bytes = b""
    ) -> None:
        """Send the ACK of a 2xx and keep it for the copies of the 2xx."""
        session = self.session
        number = response.cseq.number
        ack = dialog.build_ack(number)
        if body:
            ack.set_body("application/sdp", body)
        for name in ("Authorization", "Proxy-Authorization"):
            # 13.2.2.4: the ACK carries the same credentials as its INVITE.
            for value in outgoing.request.headers.get_all(name):
                ack.headers.add(name, value)
        flow = session.flow_to(dialog)
        session.core.stamp_via(ack, flow)
        session.chain.run_outgoing_request(session, ack)
        wire = ack.to_bytes()
        self._acks[(dialog.remote_tag, number)] = (flow, wire)
        session.core.send(flow, wire)

    def repeat_ack(self, response: Response) -> bool:
        """Send the ACK again when ``response`` is a copy of a 2xx; ``False`` if it is not."""
        ack = self._acks.get((response.to_tag or "", response.cseq.number))
        if ack is None:
            return False
        self.session.core.counters.response_retransmissions_received += 1
        self.session.core.send(*ack)
        return True

    def _drop_fork(self, outgoing: OutgoingRequest, dialog: Dialog, response: Response) -> None:
        """Acknowledge and end the call of another fork: one is enough."""
        session = self.session
        session.note("fork dropped", dialog.remote)
        self._send_ack(outgoing, dialog, response)
        bye = dialog.build_request("BYE")
        OutgoingRequest(
            session, bye, session.flow_to(dialog), lambda *args: None, lambda *args: None
        ).send()
        session.remove_dialog(dialog)

    def _initial_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        session = self.session
        self.outgoing = None
        session.set_reason(
            EndReason(NETWORK, "INVITE", error.status_hint, str(error) or type(error).__name__)
        )
        session.media.rollback()
        session.usage.feed(FAIL)

    # -- INVITEs within the call -----------------------------------------------------------

    def reinvite(self, headers: Mapping[str, str] | None = None) -> Deferred[Response]:
        """
        Send a re-INVITE with the media as the handlers now describe it.

        :return: fires with the final response, whatever it is; fails with :class:`.SessionEnded`,
            :class:`.Timeout` or :class:`.TransportError`, or :class:`.NegotiationFailed`.
        """
        wish = Reinvite(dict(headers or {}))
        if len(self._waiting) >= MAX_WAITING:
            wish.deferred.errback(PluginError(f"{MAX_WAITING} re-INVITEs wait already"))
        else:
            self._waiting.append(wish)
            self.send_waiting()
        return wish.deferred

    @property
    def is_free(self) -> bool:
        """Whether an INVITE may be sent now: none is pending on either side (14.1)."""
        session = self.session
        return (
            session.usage.state == CONFIRMED
            and self._reinvite is None
            and session.invite_server.current is None
            and not session.invite_server.awaits_ack
            and not session.media.is_open
        )

    def send_waiting(self) -> None:
        """Send the next re-INVITE that waits, if it may go now; the one place that decides."""
        if self._waiting and self.is_free:
            wish = self._reinvite = self._waiting.popleft()
            self._work_on(self._send_reinvite(wish))

    async def _send_reinvite(self, wish: Reinvite) -> None:
        session = self.session
        try:
            offer = await session.media.create_offer(session.offered_media)
        except (NegotiationFailed, PluginError) as error:
            self._reinvite = None
            wish.deferred.errback(error)
            return
        if session.is_over or session.dialog is None or session.usage.state != CONFIRMED:
            session.media.rollback()
            return
        request = session.dialog.build_request("INVITE")
        request.headers.set("Contact", session.contact)
        session.add_capabilities(request)
        for name, value in wish.headers.items():
            request.headers.set(name, value)
        request.set_body("application/sdp", offer.to_bytes())
        flow = session.flow_to(session.dialog)
        self.outgoing = OutgoingRequest(
            session, request, flow, self._reinvite_response, self._reinvite_failed
        )
        self.outgoing.send()

    def _reinvite_response(self, outgoing: OutgoingRequest, response: Response) -> None:
        if response.status < 200:
            return
        self.outgoing = None
        session = self.session
        wish, self._reinvite = self._reinvite, None
        if response.status < 300:
            self._reinvite_accepted(outgoing, response)
        else:
            session.media.rollback()
            session.note("re-INVITE refused", f"{response.status} {response.reason}")
            if response.status == 491 and wish is not None and wish.glares < MAX_GLARES:
                self._after_glare(wish)
                return
            if response.status in (408, 481):
                # 14.1 and 12.2.1.2: the peer knows no such dialog any more.
                session.set_reason(EndReason(REMOTE, "INVITE", response.status, "to a re-INVITE"))
                session.terminate()
        if wish is not None:
            wish.deferred.callback(response)
        self.send_waiting()

    def _reinvite_accepted(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        dialog = session.dialog
        if dialog is None:
            return
        dialog.refresh_target(response)
        fault = ""
        try:
            session.media.receive_answer(session.parse_sdp(response))
        except RemoteError as error:
            fault = error.text
        self._send_ack(outgoing, dialog, response)
        if fault:
            session.note("bad answer", fault)
            session.set_reason(EndReason(LOCAL, "BYE", text=f"bad answer: {fault}"))
            session.terminate()

    def _after_glare(self, wish: Reinvite) -> None:
        """Send again after the time that 14.1 gives to each side."""
        session = self.session
        wish.glares += 1
        random = session.core.ids.random
        owner = session.dialog is not None and session.dialog.is_call_id_owner
        tens = random.randint(210, 400) if owner else random.randint(0, 200)
        session.start_timer(tens / 100, self._try_again, wish)

    def _try_again(self, wish: Reinvite) -> None:
        self._waiting.appendleft(wish)
        self.send_waiting()

    def _reinvite_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        self.outgoing = None
        session = self.session
        wish, self._reinvite = self._reinvite, None
        session.media.rollback()
        if wish is not None:
            wish.deferred.errback(error)
        text = "no answer to a re-INVITE" if isinstance(error, Timeout) else str(error)
        session.set_reason(EndReason(NETWORK, "INVITE", error.status_hint, text))
        session.terminate()

    def stop(self) -> None:
        """Fail what waits: the session is over."""
        outgoing, self.outgoing = self.outgoing, None
        if outgoing is not None and outgoing.transaction is not None:
            # RFC 3261 9.1: no final response came in 64*T1 after the CANCEL; forget the INVITE.
            outgoing.transaction.abandon(self.session.core.turn.now)
        ended = SessionEnded(self.session.reason_or_unknown())
        waiting = [] if self.session.is_callee or self.answered.called else [self.answered]
        wishes = [*self._waiting] + ([self._reinvite] if self._reinvite is not None else [])
        self._waiting.clear()
        self._reinvite = None
        if self._work is not None:
            self._work.cancel()
        waiting += [wish.deferred for wish in wishes if not wish.deferred.called]
        for deferred in waiting:
            is_watched = bool(deferred.callbacks)
            deferred.errback(ended)
            if not is_watched:
                # Nobody asked for the outcome, so nobody needs to hear that there is none.
                deferred.addErrback(lambda failure: None)
