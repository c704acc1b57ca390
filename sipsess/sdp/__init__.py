# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The project's own sdp-parser (:rfc:`8866`), and offers and answers (:rfc:`3264`)."""

from sipsess.sdp.description import MediaDescription, SessionDescription
from sipsess.sdp.errors import (
    REASONS,
    LocalGlareError,
    LocalSDPError,
    OfferAnswerError,
    RemoteGlareError,
    SDPError,
)
from sipsess.sdp.negotiation import (
    answer_direction,
    build_answer,
    build_offer,
    negotiate_formats,
)
from sipsess.sdp.offeranswer import OfferAnswer
from sipsess.sdp.parser import parse
from sipsess.sdp.section import AttributeLines
from sipsess.sdp.values import DIRECTIONS, Connection, Origin, RTPMap

__all__ = [
    "DIRECTIONS",
    "REASONS",
    "AttributeLines",
    "Connection",
    "LocalGlareError",
    "LocalSDPError",
    "MediaDescription",
    "OfferAnswer",
    "OfferAnswerError",
    "Origin",
    "RTPMap",
    "RemoteGlareError",
    "SDPError",
    "SessionDescription",
    "answer_direction",
    "build_answer",
    "build_offer",
    "negotiate_formats",
    "parse",
]
