# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a session answers UPDATE (:rfc:`3311`), and the offer of a PRACK (:rfc:`3262#section-5`).

An UPDATE refreshes the target, before or after the call is answered; it may bring an offer when
none is open. What it changes is put back when it is refused (:rfc:`6141`). Those that this side
sends are in :mod:`sipsess.session.reinvites`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.dialog import Dialog

from .bodies import SDP_TYPE, has_sdp
from .incoming import IncomingRequest
from .part import StoppedPart
from .reason import SessionEnded
from .waiting import Work

if TYPE_CHECKING:
    from .session import Session


class UpdateServer(StoppedPart):
    """
    The UPDATEs of the peer.

    :param session: that they belong to.
    """

    __slots__ = (
        "_current",
        "_work",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._current: IncomingRequest | None = None
        self._work = Work()

    @property
    def has_offer(self) -> bool:
        """Whether the peer's offer in an UPDATE has no answer yet, seen by the handlers or not."""
        current = self._current
        return current is not None and not current.is_over and has_sdp(current.request)

    def admit(self, incoming: IncomingRequest) -> bool:
        """Refuse an UPDATE that meets another exchange (5.2); ``False`` when it was refused."""
        session = self.session
        media = session.media
        current = self._current
        if current is not None and not current.is_over:
            session.responder.refuse_for_now(incoming)
        elif not has_sdp(incoming.request):
            self._current = incoming
            return True
        elif media.is_answering or (
            session.invite_server.current is not None and session.is_answered
        ):
            # Ours is due, to an offer of the peer in another request.
            session.responder.refuse_for_now(incoming)
        elif self._is_own_offer_open(incoming):
            session.responder.reject(incoming, 491)
        else:
            self._current = incoming
            return True
        return False

    def _is_own_offer_open(self, incoming: IncomingRequest) -> bool:
        """Whether the peer must still answer an offer of ours."""
        session = self.session
        if session.dialog is None:
            tag = incoming.request.from_tag or ""
            session.media.follow(tag)
            if tag not in session.provisionals.reliable:
                # What an unreliable response brought was a preview only.
                return True
        return session.media.is_open and not session.reinvites.give_way()

    def answer(self, incoming: IncomingRequest) -> None:
        """Answer a PRACK or UPDATE that all supplements have let through."""
        media = self.session.media
        if media.is_answering and media.offered_by is incoming.request:
            self._work.run(self.session, self._answer_offer(incoming))
        else:
            self._accept(incoming, b"")

    async def _answer_offer(self, incoming: IncomingRequest) -> None:
        session = self.session
        try:
            answer = await session.media.create_answer()
        except Exception as error:
            if not incoming.is_over:
                session.invite_server.refuse(incoming, error)
            return
        self._accept(incoming, answer.to_bytes())

    def _accept(self, incoming: IncomingRequest, body: bytes) -> None:
        session = self.session
        if incoming.is_over:
            return
        request = incoming.request
        response = session.responder.build(request, 200)
        if body:
            response.set_body(SDP_TYPE, body)
        if session.responder.respond(incoming, response) and request.method == "UPDATE":
            dialog: Dialog | None = session.dialogs.get(request.from_tag or "")
            if dialog is not None:
                dialog.refresh_target(request)

    def answered(self) -> None:
        """Go on after an UPDATE has its final response."""
        self.session.early.check()
        self.session.send_waiting()

    def drop(self, incoming: IncomingRequest) -> None:
        """Wait no more for an SDP handler, if it is for this UPDATE: its dialog is over."""
        if incoming is self._current:
            self._work.cancel()

    def stop(self, ended: SessionEnded) -> None:
        """Wait no more for an SDP handler: the session is over."""
        self._work.cancel()
