# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The INVITEs and UPDATEs that this side sends within a call.

One is sent at a time; the others wait, for an INVITE of the peer too, and after 491 (glare) for the
time of :rfc:`3261#section-14.1`, after 500 for that of its Retry-After. An UPDATE may go before the
call is answered: with an offer when an exchange was completed reliably
(:rfc:`3311#section-5.1`), without one in any early dialog. To a peer that takes no UPDATE its offer
goes with the next PRACK instead (:rfc:`3262#section-5`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from sipsess.dialog import Dialog
from sipsess.dialog.dialog import TERMINATED as ENDED
from sipsess.dialog.usage import CONFIRMED, INCOMING, PROCEEDING, TERMINATING
from sipsess.errors import PluginError, RemoteError, SIPError, Timeout
from sipsess.message import MessageError, Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.supplement import check_headers
from sipsess.timers import Timer
from sipsess.transaction import ClientTransaction

from .bodies import SDP_TYPE, has_sdp, parse_sdp
from .incoming import SETUP_LIMIT
from .media_change import NO_CHANGE, MediaChange
from .outgoing import OutgoingRequest
from .part import StoppedPart
from .reason import LOCAL, NETWORK, REMOTE, EndReason, SessionEnded, fail_quietly
from .waiting import Work
from .wish import Wish

if TYPE_CHECKING:
    from .session import Session

#: Our own INVITEs that wait for their turn within one call.
MAX_WAITING = 16
#: How often one re-INVITE is sent again after 491, or because the peer was busy.
MAX_GLARES = 5
#: The longest Retry-After that one waits for; 14.2 lets nobody name a longer one.
MAX_RETRY_AFTER = 10
_NAMES = {"INVITE": "re-INVITE", "UPDATE": "UPDATE", "PRACK": "PRACK"}
#: The states of a call in which one that met another is sent again.
_LIVE = frozenset({CONFIRMED, INCOMING, PROCEEDING})


class ReinviteQueue(StoppedPart):
    """
    The re-INVITEs and UPDATEs of a session.

    :param session: that they belong to.
    """

    __slots__ = ("_cancelled", "_current", "_glare", "_limit", "_waiting", "_work", "outgoing")

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: The request that has no final response yet.
        self.outgoing: OutgoingRequest | None = None
        #: The one whose CANCEL has left.
        self._cancelled: OutgoingRequest | None = None
        self._waiting: list[Wish] = []
        self._current: Wish | None = None
        self._glare: Timer | None = None
        #: How long an INVITE may go without a final response.
        self._limit: Timer | None = None
        self._work = Work()

    def add(
        self,
        headers: Mapping[str, str] | None,
        method: str = "INVITE",
        *,
        with_offer: bool = True,
        change: MediaChange = NO_CHANGE,
        is_once: bool = False,
    ) -> Deferred[Response]:
        """
        Send a request with the media as the handlers now describe it, as soon as it may go.

        :param method: INVITE or UPDATE.
        :param with_offer: an INVITE without one asks the peer for his, which his 2xx brings.
        :param change: of the media; merged with what has changed when the request may go.
        :param is_once: whether it is not sent again after glare, or when the peer is busy: whoever
            wants it hears of that, and comes again.
        :return: see :meth:`.Session.send_reinvite`; cancelling it withdraws the request.
        """
        check_headers(headers or {})
        streams = self.session.media.streams
        wish = Wish(dict(headers or {}), method, with_offer, change, streams)
        wish.deferred = Deferred(lambda _: self._withdraw(wish))
        if is_once:
            wish.glares = MAX_GLARES
        if len(self._waiting) >= MAX_WAITING:
            wish.deferred.errback(PluginError(f"{MAX_WAITING} re-INVITEs wait already"))
        else:
            self._waiting.append(wish)
            self.send_waiting()
        return wish.deferred

    def _withdraw(self, wish: Wish) -> None:
        """Send a request no more, or cancel it when it has left; an UPDATE cannot be cancelled."""
        wish.is_withdrawn = True
        if wish in self._waiting:
            self._waiting.remove(wish)
        elif wish is self._current:
            self._work.cancel()
            self._cancel_withdrawn()

    def _cancel_withdrawn(self) -> None:
        """Cancel an INVITE that nobody wants any more, as soon as the peer has answered (9.1)."""
        wish, outgoing = self._current, self.outgoing
        if wish is not None and outgoing is not None and wish.is_withdrawn and wish.is_proceeding:
            self._cancel(outgoing, "nobody wants it any more")

    @property
    def is_free(self) -> bool:
        """Whether no request of ours is pending, nor one that met another waits for its time."""
        return self._current is None and self._glare is None

    def _may_send(self, wish: Wish) -> bool:
        """Tell whether a request may be sent now."""
        session = self.session
        dialog = self._dialog_for(wish)
        if dialog is None:
            return False
        if not wish.with_offer and wish.method == "UPDATE":
            return True
        if session.dialog is None and not session.media.is_answering:
            session.media.follow(dialog.remote_tag)
        server = session.invite_server
        # 14.1: no INVITE is pending on either side; the first one of a call is no obstacle to an
        # UPDATE.
        is_pending = server.current is not None and session.is_answered
        # RFC 3311 5.1: nor an offer of the peer, though a supplement still thinks about it.
        is_pending = is_pending or session.updates.has_offer
        return not (session.media.is_open or is_pending or server.awaits_ack)

    def _dialog_for(self, wish: Wish) -> Dialog | None:
        """Return the dialog that a request may be sent in, ``None`` when there is none yet."""
        session = self.session
        state = session.usage.state
        if state == CONFIRMED:
            return session.dialog
        if wish.method != "UPDATE":
            return None
        if state == INCOMING:
            early = session.early
            is_ready = early.is_complete if wish.with_offer else early.has_dialog
            return session.dialog if is_ready else None
        if state == PROCEEDING:
            provisionals = session.provisionals
            for dialog in reversed(session.dialogs.values()):
                if not wish.with_offer or provisionals.is_complete(dialog):
                    return dialog
        return None

    def send_waiting(self) -> None:
        """Send the next request that waits and may go now; the one place that decides."""
        if not self.is_free:
            return
        for wish in self._waiting:
            if self._may_send(wish):
                self._waiting.remove(wish)
                self._current = wish
                self._work.run(self.session, self._send(wish))
                return

    def hurry(self) -> None:
        """Wait no more for an SDP handler: the call was answered meanwhile."""
        self._work.cancel()

    def give_way(self) -> bool:
        """
        Let the peer's offer go first while ours is being made; only one that has left meets his.

        :return: ``False`` when ours cannot wait any more.
        """
        if self._current is None or not self._work.is_running:
            return False
        self._waiting.insert(0, self._current)
        self._work.cancel()
        return True

    async def send_with(self, prack: Request, dialog: Dialog) -> bool:
        """
        Send a PRACK with the offer of an UPDATE that the peer would refuse.

        :return: ``False`` when none waits that may go now; then the PRACK was not sent.
        """
        session = self.session
        waiting = (item for item in self._waiting if item.with_offer and item.method == "UPDATE")
        wish = next(waiting, None)
        is_complete = dialog.remote_tag in session.provisionals.reliable
        if wish is None or not session.capabilities.refuses("UPDATE"):
            return False
        # RFC 3311 5.1: an offer of the peer goes first, though a supplement still thinks about it.
        is_first = session.media.is_answering or session.updates.has_offer
        if not is_complete or not self.is_free or is_first:
            return False
        if session.dialog is None:
            session.media.follow(dialog.remote_tag)
        if session.media.is_open:
            return False
        self._waiting.remove(wish)
        self._current = wish
        try:
            offer = await self._offer(wish)
            if session.is_over or dialog.state == ENDED:
                raise SessionEnded(session.reason_or_unknown())
        except Exception as error:
            self._not_sent(wish, error)
            return False
        for name, value in wish.headers.items():
            prack.headers.set(name, value)
        prack.set_body(SDP_TYPE, offer)
        flow = session.flow_to(dialog)
        self.outgoing = OutgoingRequest(session, prack, flow, self._responded, self._failed)
        self.outgoing.send()
        return True

    async def _offer(self, wish: Wish) -> bytes:
        session = self.session
        sdp = await session.media.create_offer(session.offered_media, wish.change, wish.base)
        return sdp.to_bytes()

    def _not_sent(self, wish: Wish, error: Exception) -> None:
        session = self.session
        self._current = None
        if wish.with_offer:
            session.media.rollback()
        session.core.turn.later(self.send_waiting)
        if wish in self._waiting:
            # It has given way to an offer of the peer.
            return
        if isinstance(error, CancelledError):
            error = NegotiationFailed("an SDP handler took too long over our offer")
        if not wish.deferred.called:
            wish.deferred.errback(error)

    async def _send(self, wish: Wish) -> None:
        dialog = self._dialog_for(wish)
        try:
            offer = await self._offer(wish) if wish.with_offer else b""
            self.outgoing = self._build(wish, dialog, offer)
        except Exception as error:
            self._not_sent(wish, error)
            return
        if wish.method == "INVITE":
            args = (self.outgoing, "nobody answers")
            self._limit = self.session.start_timer(SETUP_LIMIT, self._cancel, *args)
        self.outgoing.send()

    def _cancel(self, outgoing: OutgoingRequest, why: str) -> None:
        """
        Cancel a re-INVITE, and wait 64*T1 for its end, as 9.1 says.

        After a provisional response the transaction itself waits without limit.
        """
        session = self.session
        if outgoing is not self.outgoing or outgoing is self._cancelled:
            # It was withdrawn, or has ended, at the moment at which its time was up.
            return
        self._cancelled = outgoing
        session.note("re-INVITE cancelled", why)
        session.cancel_timer(self._limit)
        outgoing.cancel()
        limit = 64 * session.core.timing.t1
        self._limit = session.start_timer(limit, self._abandon, outgoing)

    def _abandon(self, outgoing: OutgoingRequest) -> None:
        outgoing.abandon(self.session.core.turn.now)
        self._failed(outgoing, Timeout("no final response came"))

    def _done(self) -> Wish | None:
        """Return the wish whose request has come to its end; nothing is out any more."""
        self.outgoing = self._cancelled = None
        self.session.cancel_timer(self._limit)
        self._limit = None
        wish, self._current = self._current, None
        return wish

    def _build(self, wish: Wish, dialog: Dialog | None, offer: bytes) -> OutgoingRequest:
        session = self.session
        if dialog is None or session.usage.state not in _LIVE or dialog.state == ENDED:
            raise SessionEnded(session.reason_or_unknown())
        request: Request = dialog.build_request(wish.method)
        request.headers.set("Contact", session.contact)
        session.capabilities.announce(request)
        for name, value in wish.headers.items():
            request.headers.set(name, value)
        if offer:
            request.set_body(SDP_TYPE, offer)
        return OutgoingRequest(
            session, request, session.flow_to(dialog), self._responded, self._failed
        )

    # -- the outcome -----------------------------------------------------------------------

    def _responded(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        if response.status < 200:
            if outgoing.request.method == "INVITE" and session.dialog is not None:
                session.provisionals.receive(outgoing, session.dialog, response)
                wish = self._current
                if wish is not None and not wish.is_proceeding:
                    wish.is_proceeding = True
                    self._cancel_withdrawn()
            return
        wish = self._done()
        if outgoing.request.method == "PRACK":
            session.provisionals.prack_responded(outgoing, response)
        if self._is_lost(outgoing):
            session.note(f"{outgoing.request.method} of no use", "its early dialog is over")
        elif response.status < 300:
            if self._brings_offer(outgoing, response):
                # The next one has to wait until it is answered.
                self._current = wish
                self._work.run(session, self._answer_offer(outgoing, response))
                return
            self._accepted(outgoing, response)
        elif self._refused(outgoing, response, wish):
            return
        self._finish(wish, response)

    def _finish(self, wish: Wish | None, response: Response) -> None:
        """Tell what became of a request, and send the next."""
        if wish is not None and not wish.deferred.called:
            wish.deferred.callback(response)
        self.session.early.check()
        self.send_waiting()

    def _brings_offer(self, outgoing: OutgoingRequest, response: Response) -> bool:
        """Whether a 2xx brings the offer that our re-INVITE had none of."""
        request = outgoing.request
        is_asked = request.method == "INVITE" and not request.body and has_sdp(response)
        return is_asked and not self.session.media.is_open

    async def _answer_offer(self, outgoing: OutgoingRequest, response: Response) -> None:
        """Answer the offer of a 2xx in the ACK; without a good answer the call is ended."""
        session = self.session
        client = session.invite_client
        dialog = session.dialogs[outgoing.request.to_tag or ""]
        dialog.refresh_target(response)
        session.capabilities.note(response)
        client.await_ack(dialog, response)
        body, fault = b"", ""
        try:
            session.media.receive_offer(parse_sdp(response))
            body = (await session.media.create_answer()).to_bytes()
        except (CancelledError, NegotiationFailed, PluginError, RemoteError) as error:
            fault = str(error) or "an SDP handler took too long"
        wish = self._done()
        if session.is_over:
            return
        client.send_ack(outgoing, dialog, response, body or client.decline_offer(response))
        if fault:
            session.note("bad offer", fault)
            session.set_reason(EndReason(LOCAL, "BYE", text=f"no common media: {fault}"))
            session.terminate(headers={"Reason": 'SIP;cause=488;text="Not Acceptable Here"'})
        self._finish(wish, response)

    def _is_lost(self, outgoing: OutgoingRequest) -> bool:
        """Whether a request belongs to an early dialog that is not the call's."""
        session = self.session
        dialog = session.dialogs.get(outgoing.request.to_tag or "")
        return dialog is None or dialog is not (session.dialog or dialog)

    def _knows_dialog(self, outgoing: OutgoingRequest) -> bool:
        """
        Whether the peer has known of a request's dialog: that he does not means that he left it.

        An offer waits until he has, other requests may be sent before.
        """
        return bool(outgoing.request.body) or outgoing.call_stood

    def _accepted(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self.session
        request = outgoing.request
        dialog = session.dialogs[request.to_tag or ""]
        if request.method != "PRACK":
            dialog.refresh_target(response)
        session.capabilities.note(response)
        fault = ""
        if request.body and session.media.is_open and session.usage.state != TERMINATING:
            try:
                session.media.receive_answer(parse_sdp(response))
            except RemoteError as error:
                session.media.rollback()
                fault = error.text
        if request.method == "INVITE":
            session.invite_client.send_ack(outgoing, dialog, response)
        if fault:
            session.note("bad answer", fault)
            session.set_reason(EndReason(LOCAL, "BYE", text=f"bad answer: {fault}"))
            session.terminate()

    def _refused(self, outgoing: OutgoingRequest, response: Response, wish: Wish | None) -> bool:
        """Put the media back; ``True`` when the request will be sent again."""
        session = self.session
        name = _NAMES[outgoing.request.method]
        if outgoing.request.body:
            session.media.rollback()
        session.note(f"{name} refused", f"{response.status} {response.reason}")
        delay = self._delay_after(response) if session.usage.state in _LIVE else None
        if delay is not None and wish is not None and wish.glares < MAX_GLARES:
            wish.glares += 1
            # Before all that wait.
            self._waiting.insert(0, wish)
            self._glare = session.start_timer(delay, self._try_again)
            return True
        method = outgoing.request.method
        if response.status in (408, 481) and method != "PRACK" and self._knows_dialog(outgoing):
            # 14.1 and 12.2.1.2: the peer knows no such dialog any more.
            article = "an" if method == "UPDATE" else "a"
            session.set_reason(EndReason(REMOTE, method, response.status, f"to {article} {name}"))
            session.terminate()
        return False

    def _delay_after(self, response: Response) -> float | None:
        """
        Return after how many seconds a refused request may be sent again; ``None`` for never.

        After glare that is the time that 14.1 gives to each side; when the peer is busy with
        another one (14.2, :rfc:`3311#section-5.2`), the one that he names.
        """
        session = self.session
        if response.status == 491:
            source = session.core.ids.random
            owner = session.dialog is not None and session.dialog.is_call_id_owner
            return (source.randint(210, 400) if owner else source.randint(0, 200)) / 100
        try:
            seconds = response.retry_after if response.status == 500 else None
        except MessageError:
            return None
        return None if seconds is None or seconds > MAX_RETRY_AFTER else float(seconds)

    def _try_again(self) -> None:
        self._glare = None
        self.send_waiting()

    def _failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        session = self.session
        wish = self._done()
        method = outgoing.request.method
        if self._is_lost(outgoing) or not self._knows_dialog(outgoing):
            session.note(f"{method} unanswered", str(error))
            if wish is not None and not wish.deferred.called:
                wish.deferred.errback(error)
            self.send_waiting()
            return
        if outgoing.request.body:
            session.media.rollback()
        if method == "PRACK":
            session.provisionals.prack_failed(outgoing, error)
            if wish is not None and not wish.deferred.called:
                wish.deferred.errback(error)
            return
        name = "an UPDATE" if method == "UPDATE" else "a re-INVITE"
        text = f"no answer to {name}" if isinstance(error, Timeout) else str(error)
        session.set_reason(EndReason(NETWORK, method, error.status_hint, text))
        session.terminate()
        if wish is not None and not wish.deferred.called:
            wish.deferred.errback(error)

    def stop(self, ended: SessionEnded) -> None:
        """Fail what waits: the session is over."""
        wishes = [*self._waiting] + ([self._current] if self._current is not None else [])
        self._waiting.clear()
        self._current = None
        for wish in wishes:
            fail_quietly(wish.deferred, ended)
        self._work.cancel()
        outgoing, self.outgoing = self.outgoing, None
        if outgoing is not None and outgoing.transaction is not None:
            # Its final response, a 487 (15.1.2), still needs its ACK; but it may never come.
            core = self.session.core
            core.timers.start(core.turn.now, 64 * core.timing.t1, _forget, outgoing.transaction)


def _forget(transaction: ClientTransaction, now: float) -> None:
    transaction.abandon(now)
