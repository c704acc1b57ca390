# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The INVITEs that this side sends within a call.

One is sent at a time; the others wait, for an INVITE of the peer too, and after 491 (glare) for the
time of :rfc:`3261#section-14.1`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from sipsess.dialog.usage import CONFIRMED
from sipsess.errors import PluginError, RemoteError, SIPError, Timeout
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.supplement import check_headers
from sipsess.timers import Timer
from sipsess.transaction import ClientTransaction

from .bodies import SDP_TYPE, parse_sdp
from .outgoing import OutgoingRequest
from .reason import LOCAL, NETWORK, REMOTE, EndReason, SessionEnded, fail_quietly
from .waiting import Work

if TYPE_CHECKING:
    from .session import Session

#: Our own INVITEs that wait for their turn within one call.
MAX_WAITING = 16
#: How often one re-INVITE is sent again after 491.
MAX_GLARES = 5


class Reinvite:
    """One INVITE of ours within the call, from the wish to its final response."""

    __slots__ = ("deferred", "glares", "headers")

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.deferred: Deferred[Response] = Deferred()
        self.glares = 0


class ReinviteQueue:
    """
    The re-INVITEs of a session.

    :param session: that they belong to.
    """

    __slots__ = ("_current", "_glare", "_session", "_waiting", "_work", "outgoing")

    def __init__(self, session: Session) -> None:
        self._session = session
        #: The re-INVITE that has no final response yet.
        self.outgoing: OutgoingRequest | None = None
        self._waiting: deque[Reinvite] = deque()
        self._current: Reinvite | None = None
        self._glare: Timer | None = None
        self._work = Work(session)

    def add(self, headers: Mapping[str, str] | None) -> Deferred[Response]:
        """
        Send a re-INVITE with the media as the handlers now describe it, as soon as it may go.

        :return: see :meth:`.Session.send_reinvite`.
        """
        check_headers(headers or {})
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
        session = self._session
        return (
            session.usage.state == CONFIRMED
            and self._current is None
            and self._glare is None
            and session.invite_server.current is None
            and not session.invite_server.awaits_ack
            and not session.media.is_open
        )

    def send_waiting(self) -> None:
        """Send the next re-INVITE that waits, if it may go now; the one place that decides."""
        if self._waiting and self.is_free:
            wish = self._current = self._waiting.popleft()
            self._work.run(self._send(wish))

    async def _send(self, wish: Reinvite) -> None:
        session = self._session
        try:
            offer = await session.media.create_offer(session.offered_media)
            self.outgoing = self._build(wish, offer.to_bytes())
        except Exception as error:
            self._current = None
            session.media.rollback()
            session.core.turn.later(self.send_waiting)
            if isinstance(error, CancelledError):
                error = NegotiationFailed("an SDP handler took too long over our offer")
            if not wish.deferred.called:
                wish.deferred.errback(error)
            return
        self.outgoing.send()

    def _build(self, wish: Reinvite, offer: bytes) -> OutgoingRequest:
        session = self._session
        dialog = session.dialog
        if dialog is None or session.usage.state != CONFIRMED:
            raise SessionEnded(session.reason_or_unknown())
        request: Request = dialog.build_request("INVITE")
        request.headers.set("Contact", session.contact)
        session.chain.announce(request)
        for name, value in wish.headers.items():
            request.headers.set(name, value)
        request.set_body(SDP_TYPE, offer)
        return OutgoingRequest(
            session, request, session.flow_to(dialog), self._responded, self._failed
        )

    # -- the outcome -----------------------------------------------------------------------

    def _responded(self, outgoing: OutgoingRequest, response: Response) -> None:
        if response.status < 200:
            return
        self.outgoing = None
        wish, self._current = self._current, None
        if response.status < 300:
            self._accepted(outgoing, response)
        elif self._refused(response, wish):
            return
        if wish is not None and not wish.deferred.called:
            wish.deferred.callback(response)
        self.send_waiting()

    def _accepted(self, outgoing: OutgoingRequest, response: Response) -> None:
        session = self._session
        dialog = session.dialog
        assert dialog is not None  # the re-INVITE was sent within it
        dialog.refresh_target(response)
        fault = ""
        if session.usage.state == CONFIRMED:
            try:
                session.media.receive_answer(parse_sdp(response))
            except RemoteError as error:
                session.media.rollback()
                fault = error.text
        session.invite_client.send_ack(outgoing, dialog, response)
        if fault:
            session.note("bad answer", fault)
            session.set_reason(EndReason(LOCAL, "BYE", text=f"bad answer: {fault}"))
            session.terminate()

    def _refused(self, response: Response, wish: Reinvite | None) -> bool:
        """Put the media back; ``True`` when the re-INVITE will be sent again."""
        session = self._session
        session.media.rollback()
        session.note("re-INVITE refused", f"{response.status} {response.reason}")
        is_glare = response.status == 491 and session.usage.state == CONFIRMED
        if is_glare and wish is not None and wish.glares < MAX_GLARES:
            self._after_glare(wish)
            return True
        if response.status in (408, 481):
            # 14.1 and 12.2.1.2: the peer knows no such dialog any more.
            session.set_reason(EndReason(REMOTE, "INVITE", response.status, "to a re-INVITE"))
            session.terminate()
        return False

    def _after_glare(self, wish: Reinvite) -> None:
        """Send again after the time that 14.1 gives to each side, before all that wait."""
        session = self._session
        wish.glares += 1
        self._waiting.appendleft(wish)
        source = session.core.ids.random
        owner = session.dialog is not None and session.dialog.is_call_id_owner
        tens = source.randint(210, 400) if owner else source.randint(0, 200)
        self._glare = session.start_timer(tens / 100, self._try_again)

    def _try_again(self) -> None:
        self._glare = None
        self.send_waiting()

    def _failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        session = self._session
        self.outgoing = None
        wish, self._current = self._current, None
        session.media.rollback()
        text = "no answer to a re-INVITE" if isinstance(error, Timeout) else str(error)
        session.set_reason(EndReason(NETWORK, "INVITE", error.status_hint, text))
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
            core = self._session.core
            core.timers.start(core.turn.now, 64 * core.timing.t1, _forget, outgoing.transaction)


def _forget(transaction: ClientTransaction, now: float) -> None:
    transaction.abandon(now)
