# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What can be wrong with a session description, and whose fault it is.

Everything that a peer sent wrongly is an :class:`SDPError`; what this side would write wrongly is a
:class:`LocalSDPError`.
"""

from __future__ import annotations

from typing import ClassVar

from sipsess.errors import LocalError, RemoteError

#: The reason codes of this package, each with one sentence for people.
REASONS: dict[str, str] = {
    "sdp-empty": "The session description has no line at all.",
    "sdp-too-big": "The session description has more bytes, lines or m= lines than we accept.",
    "sdp-nul": "The session description has a NUL byte in a line.",
    "sdp-line": "A line of the session description is not of the form type=value.",
    "sdp-version": "The session description does not begin with the line v=0.",
    "sdp-duplicate": "The session description has a second v= or o= line.",
    "sdp-origin": "The session description has no o= line, or it has not its six fields.",
    "sdp-connection": "A c= line of the session description has not its three fields.",
    "sdp-media-line": "An m= line of the session description lacks its port, protocol or formats.",
    "offer-glare-local": "The peer sent an offer while our own offer was waiting for its answer.",
    "offer-glare-remote": "The peer sent an offer while its earlier one waited for our answer.",
    "offer-media-removed": "The peer's new offer has fewer m= lines than the session has.",
    "answer-media-count": "The peer's answer has not as many m= lines as our offer.",
    "answer-media-type": "The peer's answer has another media type in an m= line than our offer.",
    "answer-unexpected": "The peer sent an answer although we had offered nothing.",
    "payload-remapped": "The peer gave a payload type of this session to another codec.",
}


class SDPError(RemoteError):
    """
    The peer sent a session description, an offer or an answer that cannot be used.

    :param reason_code: one of :data:`REASONS`.
    :param text: one sentence for people.
    :param line_number: the line of the body, counted from 1, or ``None`` when it is not about a
        line.
    """

    def __init__(self, reason_code: str, text: str, line_number: int | None = None) -> None:
        super().__init__(reason_code, text)
        self.line_number = line_number

    def __str__(self) -> str:
        """Return the sentence, with the line number in front when there is one."""
        return self.text if self.line_number is None else f"line {self.line_number}: {self.text}"

    @property
    def status(self) -> int:
        """The status to answer the request with: 400 for a body that is broken."""
        return self.status_hint or 400


class OfferAnswerError(SDPError):
    """A readable offer or answer breaks the rules of :rfc:`3264`; an offer is answered 488."""

    status_hint: ClassVar[int | None] = 488


class LocalGlareError(OfferAnswerError):
    """
    An offer came while our own is open: 491 (:rfc:`3261#section-14.2`, :rfc:`3311#section-5.2`).
    """

    status_hint: ClassVar[int | None] = 491


class RemoteGlareError(OfferAnswerError):
    """
    A second offer came before we answered the first: 500 with Retry-After
    (:rfc:`3261#section-14.2`).
    """

    status_hint: ClassVar[int | None] = 500


class LocalSDPError(LocalError):
    """This side would write a session description, an offer or an answer that breaks the rules."""
