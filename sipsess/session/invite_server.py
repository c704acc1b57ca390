# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session answers INVITEs, the first one and those within the call.

A 2xx carries our answer or, when the INVITE had no offer, our offer, whose answer comes in the ACK.
The 2xx is repeated until its ACK comes (:rfc:`3261#section-13.3.1.4`); several may be out at once,
as a re-INVITE may overtake the ACK of the INVITE before it (:rfc:`5407#section-3.1.4`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.dialog import SuccessRetransmission
from sipsess.dialog.usage import ACK_TIMEOUT, RECEIVE_ACK, SEND_SUCCESS
from sipsess.errors import DialogStateError, RemoteError
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdphandler import NegotiationFailed
from sipsess.timers import Timer

from .bodies import SDP_TYPE, parse_sdp
from .crossing import RefusedAcross
from .incoming import IncomingRequest
from .part import Part
from .reason import NETWORK, REMOTE, EndReason, SessionEnded

if TYPE_CHECKING:
    from .session import Session

#: Seconds between two provisional responses, so that no proxy on the way gives up (13.3.1.1).
REMINDER = 60.0


class InviteServer(Part):
    """
    The callee's part of a session.

    :param session: that it belongs to.
    """

    __slots__ = (
        "_answering",
        "_is_answering",
        "_reminder",
        "_successes",
        "current",
        "offer_cseq",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: The INVITE that has no final response yet.
        self.current: IncomingRequest | None = None
        #: CSeq of the 2xx whose ACK must bring the answer to our offer.
        self.offer_cseq: int | None = None
        self._answering: Deferred[Response] | None = None
        self._is_answering = False
        #: The 2xx that wait for their ACK.
        self._successes: tuple[SuccessRetransmission, ...] = ()
        self._reminder: Timer | None = None

    @property
    def is_pending(self) -> bool:
        """Whether an INVITE has no final response yet."""
        return self.current is not None and not self.current.is_answered

    @property
    def is_answering(self) -> bool:
        """Whether the 2xx is being made."""
        return self._is_answering

    @property
    def unacknowledged(self) -> int:
        """How many 2xx wait for their ACK."""
        return len(self._successes)

    @property
    def awaits_ack(self) -> bool:
        """Whether a 2xx waits for its ACK."""
        return bool(self._successes)

    def answer(
        self,
        incoming: IncomingRequest,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> Deferred[Response]:
        """
        Accept an INVITE: describe our media, send 200.

        :return: fires with the response when it was sent; fails with :class:`.SessionEnded`,
            :class:`.NegotiationFailed` (488 was sent) or :class:`.PluginError` (500 was sent).
        """
        if incoming.is_over:
            raise DialogStateError("the INVITE has its final response already")
        if self._is_answering:
            raise DialogStateError("the INVITE is being answered already")
        response = self.session.responder.build(incoming.request, 200, reason, headers)
        self._is_answering = True
        deferred = Deferred.fromCoroutine(self._answer(incoming, response))
        if not deferred.called:
            self._answering = deferred
        deferred.addBoth(self._answered)
        return deferred

    def _answered(self, result: Response | Failure) -> Response | Failure:
        self._answering = None
        self._is_answering = False
        if isinstance(result, Failure) and result.check(CancelledError):
            return Failure(SessionEnded(self.session.reason_or_unknown()))
        return result

    async def _answer(self, incoming: IncomingRequest, response: Response) -> Response:
        session = self.session
        try:
            sdp = await self._describe_success(incoming)
        except Exception as error:
            if self._is_answering:
                self._answering = None
                self._is_answering = False
                self.refuse(incoming, error)
            raise
        if not incoming.is_over:
            if sdp is not None:
                response.set_body(SDP_TYPE, sdp.to_bytes())
            if self._send_success(incoming, response):
                return response
        raise SessionEnded(session.reason_or_unknown())

    def refuse(self, incoming: IncomingRequest, error: Exception) -> None:
        """Refuse a request for which no description could be made."""
        responder = self.session.responder
        if isinstance(error, RefusedAcross):
            self.session.note("refused on the other side", error.text)
            responder.reject(incoming, error.status, headers=error.headers)
        elif isinstance(error, NegotiationFailed):
            responder.reject_media(incoming, error.text, error.warn_code, error.status)
        elif isinstance(error, RemoteError):
            responder.reject_remote(incoming, error)
        else:
            self.session.note("no answer made", repr(error))
            responder.reject(incoming, 500)

    async def _describe_success(self, incoming: IncomingRequest) -> SessionDescription | None:
        """Return the SDP of the 2xx, ``None`` when the exchange was completed before it."""
        session = self.session
        if session.is_initial(incoming.request):
            early = session.early
            await early.settled()
            if early.description is not None:
                return None if early.is_reliable else early.description
        sdp = await self.describe(incoming)
        if session.media.is_open:
            self.offer_cseq = incoming.request.cseq.number
        return sdp

    async def describe(self, incoming: IncomingRequest) -> SessionDescription:
        """Return our answer to an INVITE, or our offer when it had none."""
        media = self.session.media
        if not media.is_open:
            # A supplement below MEDIA may answer by itself, before the offer was looked at.
            wait = self.session.offers.take(incoming.request)
            if wait is not None:
                await self.session.wait(wait)
        if media.is_open:
            return await media.create_answer()
        return await media.create_offer(self.session.offered_media)

    def _send_success(self, incoming: IncomingRequest, response: Response) -> bool:
        """Send the 2xx and repeat it; ``False`` when a supplement ended the call instead."""
        session = self.session
        core = session.core
        if not session.responder.respond(incoming, response):
            return False
        session.note("answered", f"{response.status} {response.reason}")
        number = incoming.request.cseq.number
        success = SuccessRetransmission(
            turn=core.turn,
            timers=core.timers,
            carrier=incoming.transaction,
            wire=response.to_bytes(),
            cseq_number=number,
            t1=core.timing.t1,
            t2=core.timing.t2,
            given_up=self._ack_missing,
            now=core.turn.now,
        )
        self._successes = (*self._successes, success)
        dialog = session.dialog
        assert dialog is not None  # the INVITE, or the one before it, has made it
        if session.is_initial(incoming.request):
            dialog.confirm()
            session.usage.feed(SEND_SUCCESS)
        else:
            dialog.refresh_target(incoming.request)
        return True

    def _take_success(self, number: int) -> SuccessRetransmission | None:
        """Take out the 2xx of that CSeq, if it waits for its ACK."""
        for success in self._successes:
            if success.cseq_number == number:
                self._successes = tuple(item for item in self._successes if item is not success)
                return success
        return None

    def _ack_missing(self, success: SuccessRetransmission) -> None:
        """No ACK in 64*T1: the dialog stands, the session is ended with BYE (13.3.1.4)."""
        session = self.session
        self._take_success(success.cseq_number)
        session.core.counters.refuse("ack-missing")
        session.note("no ACK", f"the 200 was sent {success.sent_again + 1} times")
        session.set_reason(EndReason(NETWORK, "ACK", text="no ACK came for the 200"))
        session.usage.feed(ACK_TIMEOUT)

    def receive_ack(self, request: Request) -> None:
        """Take the ACK of a 2xx; copies and strays are ignored."""
        session = self.session
        number = request.cseq.number
        success = self._take_success(number)
        if success is None:
            session.core.counters.refuse("ack-unexpected")
            return
        success.stop()
        session.desk.notify(request)
        if self.offer_cseq == number:
            self.offer_cseq = None
            self._take_answer(request)
        session.usage.feed(RECEIVE_ACK)
        session.ending.acknowledged()
        session.send_waiting()

    def _take_answer(self, request: Request) -> None:
        """Apply the answer that an ACK brings; without a good one the call is ended."""
        session = self.session
        try:
            session.media.receive_answer(parse_sdp(request))
        except RemoteError as error:
            session.media.rollback()
            session.core.counters.refuse(error.reason_code)
            session.note("bad answer", f"in the ACK: {error.text}")
            session.set_reason(EndReason(REMOTE, "ACK", text=f"bad answer: {error.text}"))
            session.terminate(headers={"Reason": 'SIP;cause=488;text="Bad answer in ACK"'})

    def answered(self) -> None:
        """Hear that the INVITE has its final response: there is nothing to be reminded of."""
        self.current = None
        self.session.cancel_timer(self._reminder)
        self._reminder = None

    def begin_reminding(self, incoming: IncomingRequest) -> None:
        """Remind the caller from now on, unless this turn has sent something already."""
        if not incoming.is_over and self._reminder is None:
            self.remind(incoming)

    def remind(self, incoming: IncomingRequest, response: Response | None = None) -> None:
        """
        Let a provisional response leave each minute while the INVITE is unanswered (13.3.1.1).

        :param response: the last one that was sent, which is sent again unless it was a reliable
            one: that was heard. ``None`` before any, and then a 183 is sent.
        """
        session = self.session
        session.cancel_timer(self._reminder)
        self._reminder = None
        is_heard = response is not None and "RSeq" in response.headers
        if not incoming.is_over and not is_heard:
            self._reminder = session.start_timer(REMINDER, self._remind, incoming, response)

    def _remind(self, incoming: IncomingRequest, response: Response | None) -> None:
        session = self.session
        if incoming.is_over:
            return
        if response is None:
            session.responder.respond(incoming, session.responder.build(incoming.request, 183))
        else:
            incoming.transaction.respond(response, session.core.turn.now)
            self.remind(incoming, response)

    def stop(self) -> None:
        """Stop repeating and answering: the session is over, or the INVITE was cancelled."""
        for success in self._successes:
            success.stop()
        self._successes = ()
        self.stop_answering()

    def stop_answering(self) -> None:
        """Cancel the answer that is being made."""
        self._is_answering = False
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.addErrback(lambda failure: None)
            answering.cancel()
