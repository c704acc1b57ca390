# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session places a call: the first INVITE, and the ACK of each 2xx.

The first INVITE may make several dialogs (forks): each 2xx is acknowledged, the first one is the
call, the others get a BYE (:rfc:`3261#section-13.2.2.4`). The ACK of a 2xx belongs to no
transaction; it is kept and sent again for each copy of its 2xx. The INVITEs within the call are in
:mod:`sipsess.session.reinvites`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from sipsess.dialog import Dialog
from sipsess.dialog.usage import (
    ANSWERED,
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
    SEND_AGAIN,
)
from sipsess.errors import PluginError, RemoteError, SIPError
from sipsess.flow import Flow
from sipsess.locating import NextHop
from sipsess.message import Request, Response
from sipsess.message.reason import parse_reasons
from sipsess.sdphandler import NegotiationFailed

from .bodies import SDP_TYPE, has_sdp, parse_sdp
from .outgoing import OutgoingRequest
from .part import StoppedPart
from .reason import LOCAL, NETWORK, REMOTE, EndReason, SessionEnded
from .waiting import Work

if TYPE_CHECKING:
    from .session import Session

#: Dialogs that one INVITE may make; a proxy that forks further is ignored.
MAX_FORKS = 16

_NOT_ANSWERED = frozenset({CALLING, PROCEEDING, CANCEL_WAITING, CANCELLING})


class InviteClient(StoppedPart):
    """
    The caller's part of a session.

    :param session: that it belongs to.
    """

    __slots__ = (
        "_acks",
        "_asked",
        "_outcome",
        "_work",
        "outgoing",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: The INVITE that has no final response yet.
        self.outgoing: OutgoingRequest | None = None
        self._outcome: Response | Failure | None = None
        self._asked: list[Deferred[Response]] = []
        #: The ACK of each 2xx, by remote tag and CSeq; ``None`` while it is being made.
        self._acks: dict[tuple[str, int], tuple[Flow, bytes] | None] = {}
        self._work = Work()

    # -- the outcome of the call -----------------------------------------------------------

    @property
    def answered(self) -> Deferred[Response]:
        """
        A new Deferred that fires when the first INVITE was answered and the call stands.

        It fails with :class:`.SessionEnded` when it was not, or with what kept the INVITE from
        being sent.
        """
        if isinstance(self._outcome, Failure):
            return fail(self._outcome)
        if self._outcome is not None:
            return succeed(self._outcome)
        deferred: Deferred[Response] = Deferred()
        self._asked.append(deferred)
        return deferred

    def settle(self, outcome: Response | Exception) -> None:
        """Say how the call came out; the first word counts."""
        if self._outcome is not None:
            return
        self._outcome = Failure(outcome) if isinstance(outcome, Exception) else outcome
        asked, self._asked = self._asked, []
        for deferred in asked:
            if not deferred.called:
                # A Failure makes it fail.
                deferred.callback(self._outcome)

    # -- the first INVITE ------------------------------------------------------------------

    def send_initial(self, request: Request, hop: NextHop) -> None:
        """Send the INVITE that shall make the call."""
        self.outgoing = OutgoingRequest(
            self.session, request, hop, self._initial_response, self._initial_failed
        )
        self.outgoing.send()

    def _initial_response(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        if response.status < 200:
            self._provisional(outgoing, response)
        elif response.status < 300:
            self._success(outgoing, response)
        else:
            self.outgoing = None
            status, text, headers = response.status, response.reason, response.headers
            reasons = parse_reasons(headers)
            session.set_reason(EndReason(REMOTE, "INVITE", status, text, reasons, headers))
            session.media.rollback()
            session.final_response = response
            session.usage.feed(RECEIVE_FAILURE)

    def _provisional(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        session.note("provisional", f"{response.status} {response.reason}")
        tag = response.to_tag
        if (
            response.status > 100
            and tag
            and (tag in session.dialogs or len(session.dialogs) < MAX_FORKS)
        ):
            dialog = self._dialog(outgoing, response)
            session.capabilities.note(response)
            session.provisionals.receive(outgoing, dialog, response)
        session.usage.feed(RECEIVE_PROVISIONAL)
        if session.on_provisional is not None:
            session.on_provisional(response)

    def _dialog(self, outgoing: OutgoingRequest, response: Response) -> Dialog:
        """Return the dialog of a response, made by it if need be."""
        session = self.session
        tag = response.to_tag or ""
        dialog = session.dialogs.get(tag)
        if dialog is None:
            dialog = Dialog.as_uac(outgoing.request, response)
            session.add_dialog(dialog)
        return dialog

    def _success(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        is_first = session.usage.state in _NOT_ANSWERED
        if not is_first and len(self._acks) >= MAX_FORKS:
            session.note("fork ignored", response.to_tag or "")
            return
        dialog = self._dialog(outgoing, response)
        dialog.confirm(response)
        if not is_first:
            self._drop_fork(outgoing, dialog, response)
            return
        self.outgoing = None
        session.provisionals.hurry()
        session.reinvites.hurry()
        for other in session.dialogs.values():
            if other is not dialog:
                # 13.2.2.4: the early dialogs of other forks are over.
                session.desk.drop(other)
        session.capabilities.note(response)
        self.await_ack(dialog, response)
        session.dialog = dialog
        session.note("answered", f"{response.status} {response.reason}")
        session.move(session.flow)
        session.usage.feed(RECEIVE_SUCCESS)
        session.final_response = response
        self._work.run(self.session, self._acknowledge(outgoing, dialog, response))
        if session.media.is_passed_on and session.media.is_answering:
            # The other side's peer is to answer, and must be told first.
            self.settle(response)

    @property
    def is_wanted(self) -> bool:
        """Whether the call still wants its INVITE, the first one or one within it."""
        session = self.session
        if session.dialog is not None:
            return session.usage.state == CONFIRMED
        return session.usage.state in (CALLING, PROCEEDING)

    def prepare_retry(self) -> None:
        """Get ready for the INVITE to be sent again."""
        session = self.session
        if session.dialog is not None:
            return
        session.usage.feed(SEND_AGAIN)
        session.provisionals.forget()
        session.reinvites.hurry()
        for dialog in tuple(session.dialogs.values()):
            # 13.2.2.3: the refusal has ended the early dialogs.
            session.desk.drop(dialog)
            session.remove_dialog(dialog)
        session.media.reopen()

    async def move(self, request: Request, flow: Flow) -> None:
        """
        Let the first INVITE leave on another flow, and describe ourselves anew if need be.

        :raises NegotiationFailed: when no media can be offered from there.
        """
        session = self.session
        is_elsewhere = flow.host != session.flow.host
        session.flow, session.way = flow, session.way.pin(False)
        request.headers.set("Contact", session.contact)
        if is_elsewhere and session.offered_media:
            offer = await session.media.offer_from(flow.host, session.offered_media)
            request.set_body(SDP_TYPE, offer.to_bytes())

    async def _acknowledge(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response
    ) -> None:
        """Take the answer, or answer a late offer, and send the ACK; then the call stands."""
        session = self.session
        body, fault = b"", ""
        try:
            body = await self._take_description(outgoing, dialog, response)
        except (CancelledError, NegotiationFailed, PluginError, RemoteError) as error:
            fault = str(error) or "the call was hung up, or an SDP handler took too long"
        except Exception as error:
            session.core.internal_error(Failure(), session.call_id)
            fault = repr(error)
        if session.is_over:
            return
        if fault:
            session.note("bad answer", fault)
            session.media.rollback()
            body = self.decline(response)
        self.send_ack(outgoing, dialog, response, body)
        if fault:
            session.set_reason(EndReason(LOCAL, "BYE", text=f"no common media: {fault}"))
            session.terminate(headers={"Reason": 'SIP;cause=488;text="Not Acceptable Here"'})
        session.usage.feed(SEND_ACK)

    async def _take_description(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response
    ) -> bytes:
        """Take the answer of a 2xx; or its offer, and return our answer to that."""
        media = self.session.media
        media.choose(dialog.remote_tag)
        if self.session.usage.state != ANSWERED:
            # RFC 5407 3.1.2: a 2xx that crosses our CANCEL; no media flows any more.
            media.rollback()
            return self.decline(response)
        if media.is_established:
            # A provisional response of this dialog brought the answer, or the offer. 13.2.1: the
            # session descriptions of later responses are ignored.
            return b""
        if media.is_open:
            media.receive_answer(parse_sdp(response))
            return b""
        if not has_sdp(response):
            return b""
        media.receive_offer(parse_sdp(response))
        return (await media.create_answer()).to_bytes()

    def decline(self, response: Response) -> bytes:
        """
        Return the answer that an ACK or PRACK needs when the call is ended at once (13.2.2.4).
        """
        if self.session.offered_media or not has_sdp(response):
            return b""
        return self.decline_offer(response)

    def decline_offer(self, response: Response) -> bytes:
        """Return the answer that wants nothing of a response's offer; nothing, if it is none."""
        try:
            return self.session.media.decline_offer(parse_sdp(response)).to_bytes()
        except RemoteError:
            return b""

    def hurry(self) -> None:
        """Wait no more for an SDP handler."""
        self._work.cancel()

    def send_ack(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response, body: bytes = b""
    ) -> None:
        """Send the ACK of a 2xx and keep it for the copies of the 2xx."""
        session = self.session
        number = response.cseq.number
        ack = dialog.build_ack(number)
        if body:
            ack.set_body(SDP_TYPE, body)
        for name in ("Authorization", "Proxy-Authorization"):
            # 13.2.2.4: the ACK carries the same credentials as its INVITE.
            for value in outgoing.request.headers.get_all(name):
                ack.headers.add(name, value)
        flow = session.flow_to(dialog)
        session.core.stamp_via(ack, flow)
        session.chain.run_outgoing_request(session, ack)
        wire = ack.to_bytes()
        if len(self._acks) > MAX_FORKS:
            # The oldest one is of an INVITE long ago.
            del self._acks[next(iter(self._acks))]
        self._acks[(dialog.remote_tag, number)] = (flow, wire)
        session.core.send(flow, wire)

    def await_ack(self, dialog: Dialog, response: Response) -> None:
        """Hear that the ACK of a 2xx takes time: its copies are copies meanwhile."""
        self._acks[(dialog.remote_tag, response.cseq.number)] = None

    def repeat_ack(self, response: Response) -> bool:
        """Send the ACK again when ``response`` is a copy of a 2xx; ``False`` if it is not."""
        key = (response.to_tag or "", response.cseq.number)
        if key not in self._acks:
            return False
        self.session.core.counters.response_retransmissions_received += 1
        ack = self._acks[key]
        if ack is not None:
            self.session.core.send(*ack)
        return True

    def _drop_fork(self, outgoing: OutgoingRequest, dialog: Dialog, response: Response) -> None:
        """Acknowledge and end the call of another fork: one is enough."""
        session = self.session
        session.note("fork dropped", dialog.remote)
        self.send_ack(outgoing, dialog, response)
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

    def stop(self, ended: SessionEnded) -> None:
        """Fail what waits: the session is over."""
        outgoing, self.outgoing = self.outgoing, None
        if outgoing is not None:
            # RFC 3261 9.1: no final response came in 64*T1 after the CANCEL; forget the INVITE.
            outgoing.abandon(self.session.core.turn.now)
        self.hurry()
        if not self.session.is_callee:
            self.settle(ended)
