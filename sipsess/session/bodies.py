# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The bodies of a session's messages: which one is a session description, and what it says."""

from __future__ import annotations

from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdp import parse as _parse

SDP_TYPE = "application/sdp"


def has_sdp(message: Request | Response) -> bool:
    """Tell whether a message brings a session description; one without a type counts as such."""
    return bool(message.body) and message.content_type in (SDP_TYPE, None)


def parse_sdp(message: Request | Response) -> SessionDescription:
    """
    Return the session description of a message.

    :raises SDPError: when it has none, or one that cannot be read.
    """
    return _parse(message.body if has_sdp(message) else b"")


def describe_media(sdp: SessionDescription) -> str:
    """Return the m-lines of a description in a few words, for the decision record."""
    return ", ".join(
        f"{media.media} {media.proto} {'/'.join(media.formats[:6])} port {media.port}"
        for media in sdp.media
    )
