# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What the caller does with provisional responses: it acknowledges the reliable ones, and takes media.

Each early dialog (a fork) has its own order of reliable responses (:rfc:`3262#section-4`), and its
own offers and answers. The answer in a reliable response is the answer; that in another one is a
preview, which flows as early media, and counts when the 2xx says nothing else
(:rfc:`6337#section-3.1`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from sipsess.dialog import Dialog
from sipsess.dialog.dialog import TERMINATED
from sipsess.dialog.reliable import RAck, ReliableOrder, rseq_of
from sipsess.dialog.usage import CALLING, CONFIRMED, PROCEEDING
from sipsess.errors import PluginError, RemoteError, SIPError
from sipsess.message import Response
from sipsess.sdphandler import NegotiationFailed

from .bodies import SDP_TYPE, has_sdp, parse_sdp
from .outgoing import OutgoingRequest
from .part import StoppedPart
from .reason import LOCAL, EndReason, SessionEnded
from .waiting import Work

if TYPE_CHECKING:
    from .session import Session

#: Early dialogs and INVITEs of one session of which the order is kept.
MAX_ORDERS = 32
#: The call still wants its media.
_WANTED = frozenset({CALLING, PROCEEDING, CONFIRMED})


#: No remote tags: most calls have none, and each empty set would be one of its own.
_NOBODY: frozenset[str] = frozenset()


class Provisionals(StoppedPart):
    """
    The provisional responses to the INVITEs of this side.

    :param session: that they belong to.
    """

    __slots__ = (
        "_orders",
        "_work",
        "acknowledged",
        "reliable",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: By remote tag and CSeq of the INVITE.
        self._orders: dict[tuple[str, int], ReliableOrder] = {}
        #: The answer to an offer of the peer, which an SDP handler may take time over.
        self._work = Work()
        #: The remote tags of the dialogs in which an exchange was completed reliably.
        self.reliable = _NOBODY
        #: Those of which a PRACK was answered.
        self.acknowledged = _NOBODY

    def admit(self, response: Response) -> bool:
        """
        Tell whether a provisional response counts: in order, and no copy of an earlier one.

        :raises RemoteError: when it cannot be read.
        """
        rseq = rseq_of(response)
        if rseq is None:
            return True
        session = self.session
        key = (response.to_tag or "", response.cseq.number)
        order = self._orders.get(key)
        if order is None:
            if len(self._orders) >= MAX_ORDERS:
                return False
            order = self._orders[key] = ReliableOrder()
        if order.is_copy(rseq):
            session.core.counters.response_retransmissions_received += 1
            return False
        # While one offer is being answered, no other is taken: it will come again.
        if session.media.is_answering or not order.accept(rseq):
            session.core.counters.refuse("rseq-unexpected")
            return False
        return True

    def receive(self, outgoing: OutgoingRequest, dialog: Dialog, response: Response) -> None:
        """Take the media of a provisional response; acknowledge it when it is reliable."""
        rseq = rseq_of(response)
        is_wanted = self.session.usage.state in _WANTED
        if rseq is not None:
            takes_time = is_wanted and has_sdp(response) and not has_sdp(outgoing.request)
            coroutine = self._acknowledge(outgoing, dialog, response, rseq, is_wanted)
            if takes_time:
                self._work.run(self.session, coroutine)
            else:
                Work().run(self.session, coroutine)
        elif (
            is_wanted
            and self.session.dialog is None
            and has_sdp(response)
            and has_sdp(outgoing.request)
        ):
            try:
                self._take_preview(dialog, response)
            except RemoteError as error:
                self.session.note("preview ignored", error.text)

    def _is_followed(self, dialog: Dialog, response: Response) -> bool:
        """Whether the media of a fork are heard: the only one's, or what the policy says."""
        session = self.session
        known = session.media.fork
        if session.dialog is not None or known in (None, dialog.remote_tag):
            return True
        return session.chain.follows_fork(session, response)

    def _take_preview(self, dialog: Dialog, response: Response) -> None:
        """Take the answer of an unreliable response, unless another fork is listened to."""
        if self._is_followed(dialog, response):
            self._take_answer(dialog, response)

    def _take_answer(self, dialog: Dialog, response: Response) -> None:
        """Take the first answer of a dialog; what differs from it later is ignored."""
        media = self.session.media
        if dialog.remote_tag in self.reliable:
            # The offer that may be open is one of an UPDATE.
            return
        if media.is_answering:
            # An UPDATE of another early dialog; this preview is not the last word.
            return
        if self.session.dialog is None:
            media.follow(dialog.remote_tag)
        if media.is_open:
            media.receive_preview(parse_sdp(response))

    async def _acknowledge(
        self,
        outgoing: OutgoingRequest,
        dialog: Dialog,
        response: Response,
        rseq: int,
        is_wanted: bool,
    ) -> None:
        """Send the PRACK of a reliable response, with our answer when it brought an offer."""
        session = self.session
        body, fault = b"", ""
        try:
            if is_wanted and has_sdp(response):
                body = await self._take_description(outgoing, dialog, response)
        except (CancelledError, NegotiationFailed, PluginError, RemoteError) as error:
            fault = str(error) or "an SDP handler took too long"
        except Exception as error:
            session.core.internal_error(Failure(), session.call_id)
            fault = repr(error)
        if session.is_over or dialog.state == TERMINATED:
            return
        if fault or not is_wanted:
            # RFC 3262 5: an offer is answered in the PRACK, whatever becomes of the call.
            body = session.invite_client.decline(response)
        prack = dialog.build_request("PRACK")
        prack.headers.set("RAck", str(RAck(rseq, response.cseq.number, response.cseq.method)))
        if body:
            prack.set_body(SDP_TYPE, body)
        elif not fault and await session.reinvites.send_with(prack, dialog):
            return
        if session.is_over or dialog.state == TERMINATED:
            return
        flow = session.flow_to(dialog)
        OutgoingRequest(session, prack, flow, self.prack_responded, self.prack_failed).send()
        if fault:
            # RFC 6337 3.1: the response cannot be refused, but the call can be given up.
            session.note("bad media", f"in a {response.status}: {fault}")
            session.set_reason(EndReason(LOCAL, "CANCEL", text=f"no common media: {fault}"))
            session.terminate(headers={"Reason": 'SIP;cause=488;text="Not Acceptable Here"'})

    async def _take_description(
        self, outgoing: OutgoingRequest, dialog: Dialog, response: Response
    ) -> bytes:
        """Take the answer of a reliable response; or its offer, and return our answer."""
        session = self.session
        media = session.media
        if has_sdp(outgoing.request):
            heard = None if self._is_followed(dialog, response) else media.fork
            self._take_answer(dialog, response)
            self.reliable |= {dialog.remote_tag}
            if heard is not None and not media.is_answering:
                media.follow(heard)
            return b""
        if session.dialog is None:
            media.follow(dialog.remote_tag)
        if media.is_open or dialog.remote_tag in self.reliable:
            return b""
        media.receive_offer(parse_sdp(response))
        answer = await media.create_answer()
        self.reliable |= {dialog.remote_tag}
        return answer.to_bytes()

    def prack_responded(self, outgoing: OutgoingRequest, response: Response) -> None:
        """Note the end of a PRACK; if it came to nothing, the callee gives up by itself."""
        if response.status >= 300:
            self.session.note("PRACK refused", f"{response.status} {response.reason}")
        elif response.status >= 200:
            self.acknowledged |= {response.to_tag or ""}
            self.session.send_waiting()

    def prack_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        """Note that a PRACK got no answer."""
        self.session.note("PRACK failed", str(error))

    def is_complete(self, dialog: Dialog) -> bool:
        """Whether an exchange was completed reliably in an early dialog, and the peer knows it."""
        tag = dialog.remote_tag
        return tag in self.reliable and tag in self.acknowledged

    def forget(self) -> None:
        """Forget all early dialogs: the INVITE is sent again."""
        self._work.cancel()
        self._orders.clear()
        self.reliable = self.acknowledged = frozenset()

    def stop(self, ended: SessionEnded) -> None:
        """Wait for nothing any more: the session is over."""
        self.hurry()

    def hurry(self) -> None:
        """Wait no more for an SDP handler: the call is answered."""
        self._work.cancel()
