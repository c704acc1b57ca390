# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who a caller says he is: P-Asserted-Identity, then Remote-Party-ID, then From.

The first two are worth something only when the peer that sent them is trusted (:rfc:`3325`); that
is the endpoint's setting. :rfc:`3323` and the anonymous URI of :rfc:`3261#section-8.1.1.3` say who
does not want to be known.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.errors import RemoteError
from sipsess.message import SIPURI, NameAddr, Request, Response, TelURI


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller's identity."""

    #: The display name without quotes; may be empty.
    name: str
    #: The whole URI.
    uri: str
    #: The user part of a SIP URI or the number of a tel URI; may be empty.
    user: str
    #: ``"P-Asserted-Identity"``, ``"Remote-Party-ID"`` or ``"From"``.
    source: str
    #: The caller asked for privacy, or came as nobody.
    anonymous: bool
    #: The identity was asserted by a peer that is trusted to do so.
    trusted: bool


def get_identity(message: Request | Response, *, is_trusted: bool) -> Identity:
    """
    Return the identity of who sent ``message``.

    :param is_trusted: whether the peer may assert identities (:rfc:`3325#section-9.1`); if not,
        only From counts.
    """
    is_private = _wants_privacy(message)
    if is_trusted:
        for header in ("P-Asserted-Identity", "Remote-Party-ID"):
            for value in message.headers.values(header):
                address = _parse(value)
                if address is not None:
                    hidden = is_private or address.params.get("privacy") in ("full", "uri", "name")
                    return _identity(address, header, hidden, trusted=True)
    return _identity(message.from_, "From", is_private, trusted=False)


def _wants_privacy(message: Request | Response) -> bool:
    """Tell whether Privacy asks to hide who calls (:rfc:`3323#section-4.2`, :rfc:`3325`)."""
    value = message.headers.get("Privacy")
    if value is None:
        return False
    words = {word.strip().lower() for word in value.split(";")}
    return bool(words & {"id", "user", "header"})


def _parse(value: str) -> NameAddr | None:
    try:
        address = NameAddr.parse(value)
        _ = address.parsed_uri
    except RemoteError:
        return None
    return address


def _identity(address: NameAddr, source: str, hidden: bool, *, trusted: bool) -> Identity:
    uri = address.parsed_uri
    user, host = "", ""
    if isinstance(uri, SIPURI):
        user, host = uri.user or "", uri.host
    elif isinstance(uri, TelURI):
        user = uri.number
    anonymous = hidden or user.lower() == "anonymous" or host.lower() == "anonymous.invalid"
    return Identity(address.display_name or "", address.uri, user, source, anonymous, trusted)
