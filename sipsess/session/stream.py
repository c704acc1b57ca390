# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""One media stream of a session, and what a handler builds its m-line with."""

from __future__ import annotations

from collections.abc import Sequence

from sipsess.interfaces import ISDPHandler
from sipsess.sdp import (
    AttributeLines,
    MediaDescription,
    SessionDescription,
    build_answer,
    build_offer,
)

from .cookies import CookieOwner, Cookies


class SessionStream:
    """
    One m-line, as both sides describe it.

    While an exchange is open, :attr:`local`, :attr:`remote` and :attr:`wanted_direction` are what
    it proposes; what was agreed before is in :attr:`active_local`, :attr:`active_remote` and
    :attr:`active_direction` and stays in force until *apply*. A failed exchange puts everything
    back.
    """

    __slots__ = (
        "active_direction",
        "active_local",
        "active_remote",
        "cookies",
        "handler",
        "index",
        "is_active",
        "is_destroyed",
        "is_stopped",
        "local",
        "refusal",
        "remote",
        "wanted_direction",
    )

    def __init__(
        self,
        index: int,
        handler: ISDPHandler,
        owner: CookieOwner | None = None,
    ) -> None:
        #: The place of the m-line, from 0.
        self.index = index
        #: Who owns the stream.
        self.handler = handler
        #: Our m-line of the open exchange or, when none is open, of the last one.
        self.local: MediaDescription | None = None
        #: The peer's m-line, likewise.
        self.remote: MediaDescription | None = None
        self.active_direction = "sendrecv"
        self.active_local: MediaDescription | None = None
        self.active_remote: MediaDescription | None = None
        #: What the handler keeps with the stream.
        self.cookies = Cookies(owner)
        #: Both sides have agreed on it at least once.
        self.is_active = False
        self.is_stopped = False
        #: The direction that this side would like; ``"sendonly"`` puts the peer on hold.
        self.wanted_direction = "sendrecv"
        self.is_destroyed = False
        #: Why its handler does not take what is offered, for people; it may be left empty.
        self.refusal = ""

    def settle(self) -> None:
        """Put in force what the exchange proposes: both sides have agreed."""
        self.active_local, self.active_remote = self.local, self.remote
        self.active_direction = self.wanted_direction
        self.is_active = True

    def restore(self) -> None:
        """Forget what the exchange proposes."""
        self.local, self.remote = self.active_local, self.active_remote
        self.wanted_direction = self.active_direction

    @property
    def mid(self) -> str | None:
        """The stream's identification tag (:rfc:`5888`), or ``None``."""
        description = self.remote or self.local
        return None if description is None else description.attributes.get("mid")

    @property
    def media_type(self) -> str:
        """``"audio"``, ``"video"``..."""
        return self.handler.media_type


class LocalDescription:
    """
    What an SDP handler gets to build its m-line with.

    :param host: the address that the peer shall send media to.
    :param offer: the peer's offer that is being answered; ``None`` when we offer.
    """

    __slots__ = ("attributes", "host", "offer")

    def __init__(self, host: str, offer: SessionDescription | None) -> None:
        self.host = host
        self.offer = offer
        #: Attributes of the whole description, name and value; handlers add theirs.
        self.attributes: list[tuple[str, str | None]] = []

    @property
    def is_answer(self) -> bool:
        """Whether an answer is being built."""
        return self.offer is not None

    def complete(self, media: Sequence[MediaDescription | None]) -> SessionDescription:
        """Return the offer or answer of these m-lines; ``None`` declines one of the offer's."""
        if self.offer is not None:
            return build_answer(self.offer, media, self.host, self.attributes)
        return build_offer(filter(None, media), self.host, self.attributes)

    def media(
        self,
        media: str,
        port: int,
        proto: str,
        formats: Sequence[str],
        *,
        attributes: Sequence[tuple[str, str | None]] | AttributeLines = (),
        host: str | None = None,
    ) -> MediaDescription:
        """
        Return an m-line.

        :param formats: payload types or other format names, the preferred one first.
        :param attributes: name and value of each a-line; ``None`` for a flag. Or those of many
            streams, checked once.
        :param host: an address of its own (c=); left out, that of the whole description.
        """
        return MediaDescription.build(media, port, proto, formats, host=host, attributes=attributes)
