# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who a peer says he is: P-Asserted-Identity, then Remote-Party-ID, then From, or To as the callee.

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
    """A peer's identity."""

    #: The display name without quotes; may be empty.
    name: str
    #: The whole URI.
    uri: str
    #: The user part of a SIP URI or the number of a tel URI; may be empty.
    user: str
    #: ``"P-Asserted-Identity"``, ``"Remote-Party-ID"``, ``"From"``, or ``"To"`` for a callee.
    source: str
    #: The peer asked for privacy, or came as nobody.
    anonymous: bool
    #: The identity was asserted by a peer that is trusted to do so.
    trusted: bool


def get_identity(message: Request | Response, *, is_trusted: bool) -> Identity:
    """
    Return the identity of who sent ``message``.

    :param is_trusted: whether the peer may assert identities (:rfc:`3325#section-9.1`); if not,
        only From counts, or the To of a response.
    """
    is_private = _wants_privacy(message)
    if is_trusted:
        for header in ("P-Asserted-Identity", "Remote-Party-ID"):
            for value in message.headers.values(header):
                address = _parse(value)
                if address is not None:
                    hidden = is_private or _is_hidden(address)
                    return _identity(address, header, hidden, trusted=True)
    if isinstance(message, Response):
        return _identity(message.to, "To", is_private, trusted=False)
    return _identity(message.from_, "From", is_private, trusted=False)


def get_callee(invite: Request) -> Identity:
    """Return the identity of whom an INVITE of ours calls, while nobody has answered it."""
    return _identity(invite.to, "To", False, trusted=False)


def _is_hidden(address: NameAddr) -> bool:
    """Tell whether a Remote-Party-ID shall not be shown."""
    return str(address.params.get("privacy")).lower() in ("full", "uri", "name")


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
