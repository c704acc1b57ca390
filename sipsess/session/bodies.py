# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The bodies of a session's messages: which one is a session description, and what it says."""

from __future__ import annotations

from collections.abc import Container

from sipsess.message import MessageError, Request, Response
from sipsess.message.multipart import find_obstacle, find_part, whole_body
from sipsess.sdp import SessionDescription
from sipsess.sdp import parse as _parse

SDP_TYPE = "application/sdp"
#: What a session description may be for: another disposition, such as that of :rfc:`3959`, is not
#: the session (:rfc:`5621#section-8.2`).
_DISPOSITIONS = (None, "session")
#: What may say that a body is optional, or not what its type says.
_SPECIAL = ("Content-Disposition", "Content-Encoding", "Content-Transfer-Encoding")


def find_sdp(message: Request | Response) -> bytes:
    """
    Return the session description that a message brings, alone or in one of several parts.

    :return: nothing when there is none; a body without a type counts as one.
    :raises MessageError: when the parts of the body cannot be read.
    """
    if not message.body or message.content_type is None:
        return message.body
    if message.content_type == SDP_TYPE and "Content-Disposition" not in message.headers:
        return message.body
    part = find_part(whole_body(message), SDP_TYPE, _DISPOSITIONS)
    return b"" if part is None else part.body


def has_sdp(message: Request | Response) -> bool:
    """Tell whether a message brings a session description, or parts that cannot be read."""
    try:
        return bool(find_sdp(message))
    except MessageError:
        return True


def parse_sdp(message: Request | Response) -> SessionDescription:
    """
    Return the session description of a message.

    :raises SDPError: when it has none, or one that cannot be read.
    :raises MessageError: when the parts of the body cannot be read.
    """
    return _parse(find_sdp(message))


def refusal_of_body(request: Request, accept: Container[str]) -> dict[str, str] | None:
    """
    Return the headers of the 415 that a request's body needs, or ``None`` (8.2.3).

    :param accept: the types that are read; parts of other types must be optional (:rfc:`5621`).
    :raises MessageError: when the parts of the body cannot be read.
    """
    if not request.body or (SDP_TYPE in accept and _is_bare_sdp(request)):
        return None
    obstacle = find_obstacle(whole_body(request), accept)
    if obstacle is None:
        return None
    return {"Accept-Encoding": "identity"} if obstacle.content_type in accept else {}


def _is_bare_sdp(request: Request) -> bool:
    """Whether there is nothing to look into: a session description, in no encoding."""
    return request.content_type == SDP_TYPE and not any(
        [name in request.headers for name in _SPECIAL]
    )


def describe_media(sdp: SessionDescription) -> str:
    """Return the m-lines of a description in a few words, for the decision record."""
    return ", ".join(
        [
            f"{media.media} {media.proto} {'/'.join(media.formats[:6])} port {media.port}"
            for media in sdp.media
        ]
    )
