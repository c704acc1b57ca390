# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who a peer says he is: P-Asserted-Identity, then Remote-Party-ID, then From, or To as the callee.

The first two are worth something only when the peer that sent them is trusted (:rfc:`3325`); that
is the endpoint's setting. One that is not may prefer one of its own users (P-Preferred-Identity).
:rfc:`3323` and the anonymous URI of :rfc:`3261#section-8.1.1.3` say who does not want to be known.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sipsess.errors import RemoteError
from sipsess.message import SIPURI, NameAddr, Request, Response, TelURI
from sipsess.message.privacy import is_anonymous, is_hidden


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer's identity."""

    #: The display name without quotes; may be empty.
    name: str
    #: The whole URI.
    uri: str
    #: The user part of a SIP URI or the number of a tel URI; may be empty.
    user: str
    #: ``"P-Asserted-Identity"``, ``"Remote-Party-ID"``, ``"P-Preferred-Identity"``, ``"From"``, or
    #: ``"To"`` for a callee.
    source: str
    #: The peer asked for privacy, or came as nobody.
    anonymous: bool
    #: The identity was asserted by a peer that is trusted to do so.
    trusted: bool


class Claim(NamedTuple):
    """What a peer says in a header of its own about who he is."""

    address: NameAddr
    #: Where it says so.
    header: str
    #: Whether it says, too, that nobody shall know.
    is_hidden: bool


def get_identity(
    message: Request | Response, *, is_trusted: bool, users: Collection[str] = ()
) -> Identity:
    """
    Return the identity of who sent ``message``.

    :param is_trusted: whether the peer may assert identities (:rfc:`3325#section-9.1`); if not,
        only From counts, or the To of a response.
    :param users: that a peer which is not trusted may prefer to be (:rfc:`3325#section-9.2`).
    """
    is_private = is_hidden(message.headers)
    claim = find_claim(message, is_trusted=is_trusted, users=users)
    if claim is not None:
        hidden = is_private or claim.is_hidden
        return _identity(claim.address, claim.header, hidden, trusted=is_trusted)
    if isinstance(message, Response):
        return _identity(message.to, "To", is_private, trusted=False)
    return _identity(message.from_, "From", is_private, trusted=False)


def find_claim(
    message: Request | Response, *, is_trusted: bool, users: Collection[str] = ()
) -> Claim | None:
    """Return who the peer says he is beyond From and To, if it counts (:func:`get_identity`)."""
    if is_trusted:
        for header in ("P-Asserted-Identity", "Remote-Party-ID"):
            for value in message.headers.values(header):
                address = _parse(value)
                if address is not None:
                    return Claim(address, header, _is_hidden(address))
    elif users and isinstance(message, Request):
        for value in message.headers.values("P-Preferred-Identity"):
            address = _parse(value)
            if address is not None and address.user_text in users:
                return Claim(address, "P-Preferred-Identity", is_anonymous(message.from_))
    return None


def get_callee(invite: Request) -> Identity:
    """Return the identity of whom an INVITE of ours calls, while nobody has answered it."""
    return _identity(invite.to, "To", False, trusted=False)


def _is_hidden(address: NameAddr) -> bool:
    """Tell whether a Remote-Party-ID shall not be shown."""
    return str(address.params.get("privacy")).lower() in ("full", "uri", "name")


def _parse(value: str) -> NameAddr | None:
    try:
        address = NameAddr.parse(value)
        _ = address.parsed_uri
    except RemoteError:
        return None
    return address


def _user_of(address: NameAddr) -> str:
    """Return the user part of a SIP URI, or the number of a tel URI."""
    uri = address.parsed_uri
    if isinstance(uri, TelURI):
        return uri.number
    return (uri.user or "") if isinstance(uri, SIPURI) else ""


def _identity(address: NameAddr, source: str, hidden: bool, *, trusted: bool) -> Identity:
    user = _user_of(address)
    anonymous = hidden or is_anonymous(address)
    return Identity(address.display_name or "", address.uri, user, source, anonymous, trusted)
