# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Media negotiation: the offer/answer machine of a dialog, and the SDP handlers that fill it.

Theory of operation
    An exchange has three steps, whoever offers: *claim* (which handler owns which m-line; nothing
    is opened), *create* (handlers open what they need and describe it; this may take time) and
    *apply* (both descriptions are known). Streams of the open exchange are kept apart from those in
    force: :attr:`MediaNegotiation.streams` changes only at *apply*, and
    :meth:`~MediaNegotiation.rollback` destroys what only the failed exchange had made.

    An INVITE of ours may make several early dialogs, and offers and answers are of each:
    :meth:`~MediaNegotiation.follow` changes to another one's, over the same streams, until
    :meth:`~MediaNegotiation.choose` says with whom the call is.

    How handlers are called, and what becomes of their exceptions, is in :mod:`.handlers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from sipsess.interfaces import ISDPHandler
from sipsess.sdp import (
    MediaDescription,
    OfferAnswer,
    SessionDescription,
    build_answer,
)
from sipsess.sdphandler import NegotiationFailed, StreamVerdict

from .handlers import Handlers, nothing_claimed
from .joining import Joining
from .media_change import NO_CHANGE, MediaChange, Streams, merge
from .stream import LocalDescription, SessionStream

#: M-lines of one offer that are looked at; more is an attack, not a call.
MAX_STREAMS = 32

_CREATE = "create_outgoing_sdp_stream"


class MediaNegotiation(Joining):
    """
    The media of one dialog.

    :param session: passed to the handlers.
    :param handlers: the set that the session began with.
    :param host: the address that the peer shall send media to.
    :param session_id: the number of our ``o=`` line.
    """

    __slots__ = (
        "_fork",
        "_forks",
        "_handlers",
        "_host",
        "_offer",
        "_origin",
        "_pending",
        "_session",
        "_shared",
        "is_closed",
        "machine",
        "offered_by",
        "streams",
    )

    def __init__(
        self,
        session: Any,
        handlers: Handlers,
        *,
        host: str,
        session_id: int,
    ) -> None:
        self._session = session
        self._handlers = handlers
        self._host = host
        self.machine = OfferAnswer(session_id=session_id)
        #: The streams in force, by m-line; ``None`` for a declined one.
        self.streams: list[SessionStream | None] = []
        self._pending: list[SessionStream | None] | None = None
        self._offer: SessionDescription | None = None
        #: Who brought the offer that we have to answer.
        self.offered_by: object = None
        #: The early dialogs of our INVITE: the machine as it was sent, and those of each dialog.
        self._origin: OfferAnswer | None = None
        self._forks: dict[str, OfferAnswer] | None = None
        self._fork: str | None = None
        #: The streams of our first offer, kept for all forks until one is chosen.
        self._shared: tuple[SessionStream | None, ...] = ()
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether an offer waits for its answer, on either side."""
        return self._pending is not None

    @property
    def is_answering(self) -> bool:
        """Whether the peer's offer waits for our answer."""
        return self._offer is not None

    @property
    def is_established(self) -> bool:
        """Whether an exchange was completed at least once."""
        return self.machine.local is not None

    # -- the peer offers -------------------------------------------------------------------

    def receive_offer(self, sdp: SessionDescription) -> None:
        """
        Let the handlers claim the m-lines of an offer.

        :raises SDPError: when it is no valid offer here (fewer m-lines, glare...).
        :raises NegotiationFailed: when nobody wants any of its streams, or a handler refuses.
        """
        if len(sdp.media) > MAX_STREAMS:
            raise NegotiationFailed(f"more than {MAX_STREAMS} media streams", 399)
        self.machine.receive_offer(sdp)
        self._offer = sdp
        self._pending = []
        try:
            refusals: list[str] = []
            for index, remote in enumerate(sdp.media):
                self._pending.append(self._claim(index, remote, sdp, refusals))
            if not any(self._pending) and not all(media.is_declined for media in sdp.media):
                raise nothing_claimed(sdp, refusals)
        except BaseException:
            self.rollback()
            raise

    def defer(self, sdp: SessionDescription) -> list[tuple[ISDPHandler, Awaitable[Any]]]:
        """
        Return who wants a re-offer to wait, and for what: mostly nobody.

        :raises NegotiationFailed: when a handler refuses it at once.
        """
        return self._handlers.defer(self._session, self.streams, sdp)

    async def deferred(self, waits: Sequence[tuple[ISDPHandler, Awaitable[Any]]]) -> None:
        """
        Wait for what :meth:`defer` returned.

        :raises NegotiationFailed: when a handler refuses the offer.
        """
        await self._handlers.deferred(self._session, waits)

    def _claim(
        self, index: int, remote: MediaDescription, sdp: SessionDescription, refusals: list[str]
    ) -> SessionStream | None:
        if remote.is_declined:
            return None
        old = self.streams[index] if index < len(self.streams) else None
        handlers: Sequence[ISDPHandler] = self._handlers.get(remote.media, ())
        if old is not None and old.handler in handlers:
            # The stream's own handler is asked first, so that a re-offer keeps its resources.
            handlers = (old.handler, *(item for item in handlers if item is not old.handler))
        for handler in handlers:
            is_own = old is not None and old.handler is handler
            stream = old if is_own and old is not None else self._stream(index, handler)
            stream.remote, stream.local, stream.refusal = remote, None, ""
            if self._handlers.claim(self._session, stream, sdp):
                return stream
            refusals.append(stream.refusal)
            if is_own:
                stream.restore()
        return None

    def rivals(self, stream: SessionStream) -> list[SessionStream]:
        """
        Return the other streams of the offer that is being claimed.

        :return: those that were claimed before, and those in force whose turn is yet to come.
        """
        media = () if self._offer is None else self._offer.media
        # The streams in force may be those of another fork, whose offer had more m-lines.
        later = self.streams[stream.index + 1 : len(media)]
        return [
            other
            for other in (*(self._pending or ()), *later)
            if other is not None and not media[other.index].is_declined
        ]

    async def create_answer(self) -> SessionDescription:
        """
        Let the handlers describe our side of the offer, and return the answer.

        :raises NegotiationFailed: when a handler refuses, or no stream is left.
        """
        offer, pending = self._offer, self._pending
        if offer is None or pending is None:
            raise NegotiationFailed("there is no offer to answer", 399)
        sdp = LocalDescription(self._host, offer)
        machine = self.machine
        try:
            answered = [await self._create(pending, index, sdp) for index in range(len(pending))]
            if pending and not any(answered) and not all(m.is_declined for m in offer.media):
                raise NegotiationFailed("no handler could open any of the offered media")
            answer = self.machine.send_answer(sdp.complete(answered))
        except BaseException:
            self._undo(machine)
            raise
        self._apply()
        return answer

    def decline_offer(self, sdp: SessionDescription) -> SessionDescription:
        """
        Return the answer that wants nothing of an offer, for a call that is being ended.

        :raises SDPError: when it is no valid offer.
        """
        self.machine.receive_offer(sdp)
        answered = [None] * len(sdp.media)
        return self.machine.send_answer(build_answer(sdp, answered, self._host))

    # -- we offer --------------------------------------------------------------------------

    async def create_offer(
        self, media_types: Sequence[str], change: MediaChange = NO_CHANGE, base: Streams = ()
    ) -> SessionDescription:
        """
        Return an offer: the streams in force with what shall change, or a first one.

        :param media_types: what a first offer holds; those without a handler are left out.
        :param change: what shall be different from now on.
        :param base: the streams in force when ``change`` was wished for.
        :raises NegotiationFailed: when there is nothing to offer, or a new stream cannot be.
        """
        sdp = LocalDescription(self._host, None)
        machine = self.machine
        plan = merge(base, change, self.streams)
        pending = self._pending = plan.streams
        try:
            for stream, direction in plan.directions.items():
                stream.wanted_direction = direction
            for kept in pending:
                if kept is not None:
                    kept.remote = None
            for index in range(len(pending)):
                await self._create(pending, index, sdp)
            for media_type in () if self.streams else media_types:
                await self._create_new(pending, media_type, sdp)
            for media_type in plan.add:
                if not await self._create_new(pending, media_type, sdp):
                    raise NegotiationFailed(f"no handler had any {media_type} to offer")
            media = [
                self._declined(index) if stream is None else stream.local
                for index, stream in enumerate(pending)
            ]
            described = [item for item in media if item is not None]
            if not any(not item.is_declined for item in described):
                raise NegotiationFailed("no handler had anything to offer")
            return self.machine.send_offer(sdp.complete(described))
        except BaseException:
            self._undo(machine)
            raise

    async def offer_from(self, host: str, media_types: Sequence[str]) -> SessionDescription:
        """
        Forget our first offer, and return one whose media is at another address of ours.

        :raises NegotiationFailed: when there is nothing to offer.
        """
        self.rollback()
        self._host = host
        return await self.create_offer(media_types)

    async def _create_new(
        self, pending: list[SessionStream | None], media_type: str, sdp: LocalDescription
    ) -> bool:
        """Offer one more stream; ``False`` when no handler has any."""
        # RFC 3264 8.1: a new stream may take the place of a declined one.
        free = [index for index in self.machine.free_slots if pending[index] is None]
        index = free[0] if free else len(pending)
        for handler in self._handlers.get(media_type, ()):
            pending[index : index + 1] = [self._stream(index, handler)]
            if await self._create(pending, index, sdp) is not None:
                return True
        if not free and index < len(pending):
            pending.pop()
        return False

    def _declined(self, index: int) -> MediaDescription:
        """Return the port-0 m-line that keeps the place of a stream that is no more."""
        local = self.machine.local
        assert local is not None  # a stream is no more only when it was
        return MediaDescription.declined(local.media[index])

    def receive_answer(self, sdp: SessionDescription) -> None:
        """
        Take the answer to our offer and let media flow.

        :raises SDPError: when it does not fit the offer; the exchange is rolled back.
        """
        try:
            self.receive_preview(sdp)
        except BaseException:
            self.rollback()
            raise

    def receive_preview(self, sdp: SessionDescription) -> None:
        """
        Take an answer that may be replaced by another one, in the final response.

        :raises SDPError: when it does not fit the offer, which stays open.
        """
        self.machine.receive_answer(sdp)
        pending = self._pending or []
        for index, stream in enumerate(pending):
            if stream is not None:
                stream.remote = sdp.media[index]
                if stream.remote.is_declined:
                    pending[index] = None
                    if not stream.is_active:
                        self._destroy(stream)
        self._apply()

    # -- the early dialogs of our INVITE ---------------------------------------------------

    @property
    def fork(self) -> str | None:
        """The remote tag of the early dialog that is followed; ``None`` before any."""
        return self._fork

    def follow(self, fork: str) -> None:
        """
        Go on with the offers and answers of one early dialog of our INVITE.

        :param fork: the dialog's remote tag.
        """
        if self._fork == fork:
            return
        if self._origin is None:
            self._origin = self.machine
            self._shared = tuple(self._pending or ())
        elif self.machine.local is not None:
            # What was open beyond the first exchange is given up with the dialog that is left.
            self.machine.rollback()
        self._fork = fork
        forks = self._forks = self._forks or {}
        machine = forks.get(fork)
        if machine is None:
            machine = forks[fork] = self._origin.fork()
        self.machine = machine
        self._offer = None
        if machine.local is not None and machine.remote is not None:
            self._return_to(machine.local, machine.remote)
        else:
            self._pending = self._offer_again()

    def _offer_again(self) -> list[SessionStream | None] | None:
        """Return the streams of our first offer as it was sent; ``None`` when there was none."""
        offer = self.machine.pending_local
        if offer is None:
            return None
        for index, stream in enumerate(self._shared):
            if stream is not None:
                stream.local = offer.media[index]
        return list(self._shared)

    def _return_to(self, local: SessionDescription, remote: SessionDescription) -> None:
        """Put in force again what was agreed with an early dialog."""
        pool = self._shared or self.streams
        pending: list[SessionStream | None] = []
        self._pending = pending
        for index, media in enumerate(remote.media):
            stream = pool[index] if index < len(pool) else None
            if stream is None or media.is_declined or local.media[index].is_declined:
                pending.append(None)
                continue
            stream.local, stream.remote = local.media[index], media
            pending.append(stream)
        self._apply()

    def choose(self, fork: str) -> None:
        """Forget all early dialogs but one: the call is with it."""
        if self._origin is None:
            return
        self.follow(fork)
        shared, self._shared = self._shared, ()
        self._origin = None
        self._forks = None
        for stream in shared:
            if stream is None or stream in self.streams:
                continue
            if stream in (self._pending or ()):
                # Media that flowed for another fork is nothing that this one has agreed to.
                stream.is_active = False
            else:
                self._destroy(stream)

    def reopen(self) -> None:
        """Forget all early dialogs: the INVITE is sent again, with the same offer."""
        if self._origin is None:
            return
        self.machine, self._origin = self._origin, None
        self._forks = None
        self._fork = None
        again = self._pending = self._offer_again()
        old, self.streams, self._shared = self.streams, [], ()
        for stream in again or ():
            if stream is not None:
                stream.is_active = False
        for stream in old:
            if stream is not None and stream not in (again or ()):
                self._destroy(stream)

    # -- both ------------------------------------------------------------------------------

    def _stream(self, index: int, handler: ISDPHandler) -> SessionStream:
        return SessionStream(index, handler, self._session.report)

    async def _create(
        self, pending: list[SessionStream | None], index: int, sdp: LocalDescription
    ) -> MediaDescription | None:
        """Ask a stream's handler for its m-line; decline the stream when it has none."""
        stream = pending[index]
        if stream is None:
            return None
        handler = stream.handler
        result = self._handlers.call(self._session, handler, _CREATE, stream, sdp)
        if isinstance(result, Awaitable):
            result = await self._handlers.await_from(
                self._session, handler, _CREATE, self._session.wait(result)
            )
        if self.is_closed or self._pending is not pending:
            # The call ended, or the exchange was rolled back, while the handler worked.
            raise NegotiationFailed("the exchange is over", 399)
        if isinstance(result, MediaDescription):
            stream.local = self._handlers.fix_address(self._session, stream, result)
            return stream.local
        if result is not StreamVerdict.NOT_HANDLED:
            wrong = TypeError(f"{result!r} is neither an m-line nor NOT_HANDLED")
            raise self._handlers.failed(self._session, handler, _CREATE, wrong)
        pending[index] = None
        if not stream.is_active:
            self._destroy(stream)
        return None

    def _apply(self) -> None:
        """Put the pending streams in force; destroy those that are no more."""
        old, self.streams = self.streams, self._pending or []
        self._pending = self._offer = self.offered_by = None
        for stream in old:
            if stream is not None and stream not in self.streams:
                self._destroy(stream)
        for stream in self.streams:
            if stream is None:
                continue
            stream.settle()
            self._handlers.apply(self._session, stream)

    def _undo(self, machine: OfferAnswer) -> None:
        """Roll back an exchange, which may be of an early dialog that is followed no more."""
        if machine is self.machine:
            self.rollback()
        else:
            machine.rollback()

    def rollback(self) -> None:
        """Forget the open exchange: media as before (:rfc:`6141`)."""
        pending, self._pending, self._offer = self._pending, None, None
        self.machine.rollback()
        for stream in self.streams:
            if stream is not None:
                stream.restore()
        for stream in pending or ():
            if stream is not None and not stream.is_active:
                self._destroy(stream)

    def stop(self) -> None:
        """Stop all streams: the call is being hung up."""
        for stream in self.streams:
            if stream is not None:
                self._handlers.stop(self._session, stream)

    def close(self) -> None:
        """Stop and destroy all streams; the end."""
        if self.is_closed:
            return
        self.is_closed = True
        shared, self._shared = self._shared, ()
        self.rollback()
        self.stop()
        for stream in (*self.streams, *shared):
            if stream is not None:
                self._destroy(stream)
        self.streams = []

    def retire(self) -> None:
        """Let go of the session: it is over, and so is every stream."""
        del self._session

    def _destroy(self, stream: SessionStream) -> None:
        # Another early dialog may still want it.
        if stream not in self._shared:
            self._handlers.destroy(self._session, stream)
