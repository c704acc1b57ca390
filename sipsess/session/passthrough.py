# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Media that this side does not handle: what one peer describes is told to the other one.

Theory of operation
    Two sessions whose negotiations are *partners* have one exchange together. An offer of one peer
    is offered to the other in the same way, in an INVITE, re-INVITE or UPDATE, and is answered with
    his answer; an INVITE without offer asks him for his, and his 2xx has its ACK when the answer
    has come. So each side's machine (:mod:`sipsess.sdp.offeranswer`) has its own exchange open as
    long as the other one's is, and nothing is agreed that the other peer has not said.

    A refusal goes back to whoever offered, glare too (491): he comes again in his own time, so that
    two peers who offer at once do not meet a third and fourth offer of ours. While an offer of one
    side is open the other side's is refused with 491, as if they had met on the way.

    Both sides are *in step* when each was told what the other's peer has said last. They get out of
    it when one says something that the other cannot hear just then: a fork answers that was not the
    one who was heard, an answer crosses a CANCEL, another peer takes the place of one (REFER,
    Replaces). Then one peer is asked for a fresh offer, by a re-INVITE without one, and the other
    gets it. One round does for any difference; :data:`MAX_ROUNDS` are made at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.engine import AS_IT_WAS, MediaEngineError, MediaOptions
from sipsess.errors import SIPError
from sipsess.interfaces import IMediaEngine
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdphandler import NegotiationFailed

from .crossing import (
    FAR,
    NEAR,
    UNREADABLE,
    Crossing,
    RefusedAcross,
    Side,
    is_same,
    make_ours,
    read,
    without_directions,
)
from .handlers import Handlers
from .media_change import NO_CHANGE, MediaChange, Streams
from .negotiation import MAX_STREAMS, MediaNegotiation
from .reason import fail_quietly

#: Re-INVITEs to put two sides in step, one after the other; a peer who says something else each
#: time he is asked is not asked for ever.
MAX_ROUNDS = 3

_NO_HANDLERS = Handlers(())


class Passthrough(MediaNegotiation):
    """
    The media of one dialog, which are another one's.

    :param session: of the dialog.
    :param crossing: what it has in common with the other side.
    :param side: on which it takes part.
    """

    is_passed_on = True

    __slots__ = (
        "_asked",
        "_awaited",
        "_crossing",
        "_is_asking",
        "_side",
        "_source",
        "_telling",
        "_told_by",
        "partner",
        "told",
    )

    def __init__(self, session: Any, crossing: Crossing, side: Side) -> None:
        core = session.core
        number = core.ids.random.getrandbits(61)
        super().__init__(session, _NO_HANDLERS, host=session.flow.host, session_id=number)
        self._crossing = crossing
        self._side = side
        crossing.add(side)
        #: The other side, as soon as it is known.
        self.partner: Passthrough | None = None
        #: What the peer was told last, as the other side's peer had said it, and of whom.
        self.told: SessionDescription | None = None
        self._told_by: Passthrough | None = None
        self._telling: SessionDescription | None = None
        #: Who waits for the peer's answer, and for his offer.
        self._awaited: tuple[Deferred[None], ...] = ()
        self._asked: tuple[Deferred[None], ...] = ()
        #: Whether the other side is asked for an offer.
        self._is_asking = False
        #: Whose offer the next one is, if it is not the partner's.
        self._source: Passthrough | None = None

    def make_partner(self, session: Any) -> Passthrough:
        """Return the negotiation of a session that is dialled for this one."""
        tag = FAR if self._side.tag == NEAR else NEAR
        other = Passthrough(session, self._crossing, Side(tag, AS_IT_WAS))
        other.partner = self
        return other

    def make_successor(self, session: Any) -> Passthrough:
        """Return the negotiation of a session whose peer shall take the place of this one's."""
        side = Side(self._side.tag, self._side.options)
        other = Passthrough(session, self._crossing, side)
        other.partner = self.partner
        return other

    def join(self, other: MediaNegotiation) -> None:
        """See :meth:`.MediaNegotiation.join`."""
        if isinstance(other, Passthrough):
            self.partner, other.partner = other, self
            self._settle_later()

    # -- the peer offers -------------------------------------------------------------------

    def receive_offer(self, sdp: SessionDescription) -> None:
        """
        Take an offer.

        :raises SDPError: when it is no valid offer here.
        :raises NegotiationFailed: when it is too long.
        """
        if len(sdp.media) > MAX_STREAMS:
            raise NegotiationFailed(f"more than {MAX_STREAMS} media streams", 399)
        self.machine.receive_offer(sdp)
        self._offer, self._pending, self.offered_by = sdp, [], None
        asked, self._asked = self._asked, ()
        self._tell(asked)

    async def create_answer(self) -> SessionDescription:
        """
        Return what the other side's peer answers.

        :raises NegotiationFailed: when he refuses, or there is nobody.
        """
        offer, pending, machine = self._offer, self._pending, self.machine
        if offer is None or pending is None:
            raise NegotiationFailed("there is no offer to answer", 399)
        try:
            if machine.local is not None and self._is_repeated(offer):
                answer, self._telling = machine.local, self.told
            else:
                answer = await self._find_answer(offer)
            self._check(pending)
            count = len(offer.media)
            sent = machine.send_answer(make_ours(answer, self._host, count, machine.local))
        except BaseException:
            self._undo(machine)
            raise
        self._apply()
        return sent

    def _is_repeated(self, offer: SessionDescription) -> bool:
        """Whether an offer only says again what both sides know: a refresh (:rfc:`4028`)."""
        partner = self.partner
        if partner is None or partner._is_asking:
            return False
        return is_same(offer, self.machine.remote) and self._is_in_step

    async def _find_answer(self, offer: SessionDescription) -> SessionDescription:
        """Let the other side's peer answer; return what this side's is told."""
        partner = self._get_partner()
        if not (partner.told is offer or partner._telling is offer or partner._is_expecting):
            await partner._pass_on(self)
        if partner.told is not offer or partner.is_open:
            await self._session.wait(partner._next_answer())
        source = partner.machine.remote
        if source is None or partner.told is not offer:
            raise RefusedAcross(500, "the other side has not answered")
        self._begin_telling(partner, source)
        with_engine = self._crossing.answer(partner._side, self._side, source)
        return source if with_engine is None else await self._through(with_engine)

    @property
    def _is_expecting(self) -> bool:
        """Whether this side will offer to its peer whatever the partner's says next."""
        session = self._session
        is_first = session.is_callee and not session.is_answered and self.machine.local is None
        return self._is_asking or (is_first and not self.is_answering)

    async def _pass_on(self, source: Passthrough) -> None:
        """
        Offer the peer what another one offers.

        :raises RefusedAcross: when he does not want it, or cannot be asked now.
        """
        session, request = self._session, source.offered_by
        if self.is_answering:
            raise RefusedAcross(491, "both sides offer at once")
        is_invite = not isinstance(request, Request) or request.method == "INVITE"
        method = "INVITE" if is_invite or not session.peer_allows("UPDATE") else "UPDATE"
        if method == "INVITE" and not session.is_answered:
            raise RefusedAcross(504, "the other side cannot be asked before its answer")
        self._source = source
        try:
            sending = session.reinvites.add(None, method, is_once=request is not None)
            response = await source._session.wait(sending)
        except SIPError as error:
            raise RefusedAcross(error.status_hint or 500, str(error)) from error
        finally:
            self._source = None
        if response.status >= 300:
            raise RefusedAcross.by(response)
        # Whoever has made the offer is who he talks with from now on.
        self.partner = source

    # -- we offer --------------------------------------------------------------------------

    async def create_offer(
        self, media_types: Sequence[str], change: MediaChange = NO_CHANGE, base: Streams = ()
    ) -> SessionDescription:
        """
        Return what the other side's peer offers; or, when he does not, what he said last.

        :raises NegotiationFailed: when there is nothing to offer.
        """
        machine, pending = self.machine, list[Any]()
        self._pending = pending
        try:
            partner = self._get_partner()
            source = partner.machine.pending_remote
            if source is None and self._is_asked:
                source = await self._ask(partner)
            is_refresh = source is None and is_same(partner.machine.remote, self.told)
            if machine.local is not None and is_refresh:
                offer, self._telling = machine.local, self.told
            else:
                offer = await self._make_offer(partner, source)
            self._check(pending)
            agreed = machine.local
            count = max(len(offer.media), 0 if agreed is None else len(agreed.media))
            return machine.send_offer(make_ours(offer, self._host, count, agreed))
        except BaseException:
            self._undo(machine)
            raise

    @property
    def _is_asked(self) -> bool:
        """Whether the peer wants an offer, with an INVITE within the call."""
        return self.machine.local is not None and bool(self._session.invite_server.is_pending)

    async def _make_offer(
        self, partner: Passthrough, source: SessionDescription | None
    ) -> SessionDescription:
        """Return what the peer is offered of what the other one offers, or has said last."""
        is_open = source is not None
        source = source or partner.machine.remote
        if source is None:
            raise RefusedAcross(480, "the other side has described nothing yet")
        self._begin_telling(partner, source)
        if not is_open and self.machine.local is None:
            source = without_directions(source)
        with_engine = self._crossing.offer(partner._side, self._side, source)
        return source if with_engine is None else await self._through(with_engine)

    async def _ask(self, partner: Passthrough) -> SessionDescription | None:
        """Ask the other side's peer for an offer, since ours wants one."""
        if partner._is_asking:
            raise RefusedAcross(491, "both sides ask for an offer at once")
        self._is_asking = True
        try:
            await self._session.wait(partner._ask_peer())
        finally:
            self._is_asking = False
        return partner.machine.pending_remote

    def _ask_peer(self) -> Deferred[None]:
        """
        Send a re-INVITE that asks the peer for an offer.

        :return: fires when he has made it; fails with :class:`.RefusedAcross`.
        """
        asked: Deferred[None] = Deferred(lambda _: sending.cancel())
        sending = self._session.reinvites.add(None, with_offer=False, is_once=True)
        sending.addCallbacks(
            lambda response: fail_quietly(asked, RefusedAcross.by(response)),
            lambda failure: fail_quietly(asked, RefusedAcross(500, str(failure.value))),
        )
        self._asked = (*self._asked, asked)
        return asked

    def receive_preview(self, sdp: SessionDescription) -> None:
        """
        Take an answer of the peer.

        :raises SDPError: when it does not fit the offer, which stays open.
        """
        self.machine.receive_answer(sdp)
        self._apply()
        awaited, self._awaited = self._awaited, ()
        self._tell(awaited)

    # -- both ------------------------------------------------------------------------------

    def _get_partner(self) -> Passthrough:
        partner = self._source or self.partner
        if partner is None or partner.is_closed or partner._session.end_reason is not None:
            raise RefusedAcross(480, "there is no other side")
        return partner

    def _begin_telling(self, partner: Passthrough, source: SessionDescription) -> None:
        """Note what the peer is being told, and of whom."""
        if self._told_by not in (None, partner):
            # His payload types are his own, as those of any other session (RFC 8866 5.2).
            self.machine.renew(self._session.core.ids.random.getrandbits(61))
        self._telling, self._told_by = source, partner

    async def _through(self, making: Deferred[bytes]) -> SessionDescription:
        """Return what the engine makes of a description."""
        try:
            return read(await self._session.wait(making))
        except MediaEngineError as error:
            if error.reason_code == UNREADABLE:
                # All other failures were counted by the engine.
                self._session.core.counters.refuse(UNREADABLE)
            self._session.note("media engine", str(error))
            raise RefusedAcross(error.status_hint or 503, "the media engine failed") from error

    def _check(self, pending: list[Any]) -> None:
        """Refuse to go on with an exchange that ended meanwhile."""
        if self.is_closed or self._pending is not pending:
            raise NegotiationFailed("the exchange is over", 399)

    def _next_answer(self) -> Deferred[None]:
        """Return a Deferred that fires when the peer has answered."""
        waiting: Deferred[None] = Deferred()
        self._awaited = (*self._awaited, waiting)
        return waiting

    def _tell(self, waiting: Iterable[Deferred[None]]) -> None:
        for one in waiting:
            self._session.core.turn.later(_fire, one)

    def _apply(self) -> None:
        super()._apply()
        self.told, self._telling = self._telling or self.told, None
        self._settle_later()

    def rollback(self) -> None:
        """See :meth:`.MediaNegotiation.rollback`."""
        super().rollback()
        self._telling = None
        if self.is_established:
            self._fail_waiting("the other side's exchange came to nothing")
        self._settle_later()

    def _fail_waiting(self, text: str, status: int = 500) -> None:
        awaited, self._awaited = self._awaited, ()
        for waiting in awaited:
            fail_quietly(waiting, RefusedAcross(status, text))

    def close(self) -> None:
        """See :meth:`.MediaNegotiation.close`."""
        if self.is_closed:
            return
        super().close()
        end = self._session.end_reason
        status = 0 if end is None else end.status or 0
        self._fail_waiting("the other side has ended", status if status >= 300 else 500)
        self._crossing.remove(self._side)
        if self.partner is not None and self.partner.partner is self:
            self.partner.partner = None
        self.partner = self._told_by = None

    # -- in step ---------------------------------------------------------------------------

    @property
    def _is_in_step(self) -> bool:
        partner = self.partner
        return (
            partner is not None
            and is_same(self.told, partner.machine.remote)
            and is_same(partner.told, self.machine.remote)
        )

    @property
    def _is_settled(self) -> bool:
        """Whether the call stands, and nothing of its media is open."""
        session = self._session
        stands = session.is_answered and session.end_reason is None
        return bool(stands and self.is_established and not self.is_open)

    def _settle_later(self) -> None:
        self._session.core.turn.later(self._settle)

    def _settle(self) -> None:
        """Put both sides in step when they are not, and nothing is under way that will."""
        partner = self.partner
        if self.is_closed or partner is None or partner.is_closed or partner.partner is not self:
            return
        if not (self._is_settled and partner._is_settled):
            return
        crossing = self._crossing
        if self._is_in_step:
            crossing.rounds = 0
        elif crossing.rounds < MAX_ROUNDS and not crossing.is_mending:
            crossing.rounds += 1
            crossing.is_mending = True
            is_ours = not is_same(partner.told, self.machine.remote)
            side, other = (self, partner) if is_ours else (partner, self)
            side._session.note("out of step", "the peer is asked for an offer")
            sending = side._session.reinvites.add(None, with_offer=False)
            sending.addCallbacks(other._mend, other._not_mended)

    def _mend(self, response: Response) -> None:
        """Offer what the other side's peer said last when he was not willing to offer anew."""
        if response.status >= 300 and self._is_settled:
            sending = self._session.reinvites.add(None)
            sending.addCallbacks(self._mended, self._not_mended)
        else:
            self._mended(response)

    def _mended(self, response: Response) -> None:
        crossing = self._crossing
        crossing.is_mending = False
        if response.status >= 300:
            # Neither of them wants to talk about it.
            crossing.rounds = MAX_ROUNDS
        if not self.is_closed:
            self._settle_later()

    def _not_mended(self, failure: Failure) -> None:
        """Leave it: one of the calls has ended."""
        failure.trap(SIPError, NegotiationFailed, CancelledError)
        self._crossing.is_mending = False


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


def pass_media(
    session: Any, engine: IMediaEngine | None = None, options: MediaOptions = AS_IT_WAS
) -> Passthrough:
    """
    Return the negotiation for a call that is to be bridged, its media left to the peers.

    :param engine: that the media go through; ``None`` leaves them end to end.
    :param options: how media towards the peer of the call shall be, for the engine.
    """
    crossing = Crossing(session.core.ids.call_id(), engine)
    return Passthrough(session, crossing, Side(NEAR, options))
