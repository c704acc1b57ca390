# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What an SDP handler's author imports: the base class, the verdicts, and how to refuse.

An SDP handler owns the media streams of one type. It is asked about each m-line of an offer, says
what the answer or our own offer shall hold, and is told when both sides agree::

    claim -> create -> apply -> (claim, create, apply)* -> stop -> destroy

Nothing is opened at the claim; everything that create opened, destroy closes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from sipsess.interfaces import ISDPHandler
from sipsess.sdp import MediaDescription, SessionDescription

if TYPE_CHECKING:
    from sipsess.session import LocalDescription, Session, SessionStream

__all__ = ["NegotiationFailed", "SDPHandler", "StreamDescription", "StreamVerdict"]


class StreamVerdict(Enum):
    """What a handler says about one m-line of an offer."""

    #: Not mine; the next handler of this media type is asked.
    NOT_HANDLED = "not handled"
    #: Mine.
    HANDLED = "handled"


class NegotiationFailed(Exception):
    """
    Raised by an SDP handler: the whole offer is refused. Not an error, an answer.

    :param text: for people; it goes into the Warning header (:rfc:`3261#section-20.43`).
    :param warn_code: 300 to 399; 304 is "media type not available".
    :param status: 488 when another offer might do; 503 when nothing is wrong with the offer but
        this side has run out of something; the peer is told when it may come back.
    """

    def __init__(self, text: str, warn_code: int = 304, status: int = 488) -> None:
        super().__init__(text)
        self.text = text
        self.warn_code = warn_code
        self.status = status


#: What ``create_outgoing_sdp_stream`` may return; ``NOT_HANDLED`` declines the m-line after all.
StreamDescription: TypeAlias = (
    MediaDescription
    | StreamVerdict
    | Deferred["MediaDescription | StreamVerdict"]
    | Awaitable["MediaDescription | StreamVerdict"]
)


@implementer(IPlugin, ISDPHandler)
class SDPHandler:
    """The base class of SDP handlers: it claims nothing."""

    #: Unique among the handlers of its media type.
    name: str = ""
    #: The media type of its m-lines: "audio", "video", "application"...
    media_type: str = ""
    #: The order within the media type, lowest first.
    priority: int = 500

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """See :meth:`.ISDPHandler.handle_incoming_sdp_stream_offer`."""
        return StreamVerdict.NOT_HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """See :meth:`.ISDPHandler.create_outgoing_sdp_stream`."""
        return StreamVerdict.NOT_HANDLED

    def apply_negotiated_sdp_stream(self, session: Session, stream: SessionStream) -> None:
        """See :meth:`.ISDPHandler.apply_negotiated_sdp_stream`."""

    def stop_stream(self, session: Session, stream: SessionStream) -> None:
        """See :meth:`.ISDPHandler.stop_stream`."""

    def destroy_stream(self, session: Session, stream: SessionStream) -> None:
        """See :meth:`.ISDPHandler.destroy_stream`."""
