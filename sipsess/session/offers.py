# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The offers of the peer, as they come in INVITE, PRACK and UPDATE, at the MEDIA mark of the chain.

A re-INVITE waits when an SDP handler defers it; a PRACK or UPDATE cannot (:rfc:`3311#section-5.2`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from sipsess.dialog.usage import INCOMING
from sipsess.interfaces import ISDPHandler
from sipsess.message import Request
from sipsess.sdp import SessionDescription, parse
from sipsess.supplement import Reject

from .bodies import describe_media, find_sdp
from .part import Part
from .waiting import dispose


class OfferIntake(Part):
    """
    Takes the offers of the peer.

    :param session: that they belong to.
    """

    __slots__ = ()

    def take(self, request: Request) -> Awaitable[None] | None:
        """
        Take the offer of a request, if it brings one.

        :return: what the request waits for, when an SDP handler defers a re-INVITE.
        :raises RemoteError: when the body cannot be read.
        :raises NegotiationFailed: when nothing of it is wanted.
        :raises Reject: when an SDP handler would defer what cannot wait.
        """
        session = self.session
        is_early = session.usage.state == INCOMING and not session.is_initial(request)
        if is_early and session.early.take_sdp(request):
            return None
        body = find_sdp(request)
        if not body:
            return None
        offer = parse(body)
        waits = session.media.defer(offer)
        if not waits:
            self._receive(request, offer)
            return None
        if request.method != "INVITE":
            _dispose_all(waits)
            raise Reject(504)
        session.note("offer deferred", describe_media(offer))
        return self._receive_later(request, offer, waits)

    async def _receive_later(
        self,
        request: Request,
        offer: SessionDescription,
        waits: Sequence[tuple[ISDPHandler, Awaitable[Any]]],
    ) -> None:
        try:
            await self.session.media.deferred(waits)
        except Exception:
            # When one is refused or cancelled, nobody waits for the others. Not when this coroutine
            # is closed since its server is gone: what it waits for would be thrown into it.
            _dispose_all(waits)
            raise
        self._receive(request, offer)

    def _receive(self, request: Request, offer: SessionDescription) -> None:
        media = self.session.media
        media.receive_offer(offer)
        media.offered_by = request
        self.session.note("offer", describe_media(offer))


def _dispose_all(waits: Sequence[tuple[ISDPHandler, Awaitable[Any]]]) -> None:
    for _, wait in waits:
        dispose(wait)
