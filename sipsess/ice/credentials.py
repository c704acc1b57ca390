# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What ICE writes into session descriptions (:rfc:`8839#section-5`).

Candidates of the peer are not read: a lite agent answers checks and makes none, so it learns where
the peer is when the checks come. That they come late (trickle, :rfc:`8838`), have a name of mDNS
instead of an address, or are missing, makes no difference.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from sipsess.errors import RemoteError
from sipsess.ids import IdSource
from sipsess.sdp import MediaDescription

#: Why a description is no partner for ICE, for people.
REASONS: dict[str, str] = {
    "ice-missing": "An offer or answer has no a=ice-ufrag and a=ice-pwd.",
    "ice-malformed": "a=ice-ufrag or a=ice-pwd is too short, too long, or has other characters "
    "than letters, digits, + and /.",
    "ice-both-lite": "The far end is ICE-lite like this side, so that nobody would look for a way.",
}

#: RFC 8839 5.4: the characters of both, and how many there may be.
_CHARACTERS = frozenset(string.ascii_letters + string.digits + "+/")
_UFRAG = range(4, 257)
_PASSWORD = range(22, 257)

#: Ours, of five bits each: 40 bits where 24 are demanded, and 160 where 128 are.
_OUR_UFRAG = 8
_OUR_PASSWORD = 32

#: RFC 8445 5.1.2.2: the best type, the best network, and the component of RTP.
PRIORITY = (126 << 24) + (65535 << 8) + 255


class ICEError(RemoteError):
    """A description that ICE cannot work with; :data:`REASONS` explains the codes."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The name of one side of a stream, and what it signs with."""

    ufrag: str
    #: Never printed.
    password: str = field(repr=False)

    @classmethod
    def make(cls, ids: IdSource) -> Credentials:
        """Return new ones."""
        return cls(ids.token(_OUR_UFRAG), ids.token(_OUR_PASSWORD))

    @classmethod
    def read(cls, media: MediaDescription) -> Credentials:
        """
        Read those of a stream, which may stand in the session as well.

        :raises ICEError: when there are none.
        """
        ufrag, password = (media.inherited(name) for name in ("ice-ufrag", "ice-pwd"))
        if not ufrag or not password:
            raise ICEError("ice-missing", "there is no a=ice-ufrag and a=ice-pwd")
        if not (_is_fit(ufrag[0], _UFRAG) and _is_fit(password[0], _PASSWORD)):
            raise ICEError("ice-malformed", "a=ice-ufrag or a=ice-pwd cannot be read")
        return cls(ufrag[0], password[0])


def _is_fit(text: str, length: range) -> bool:
    return len(text) in length and _CHARACTERS.issuperset(text)


def read_peer(media: MediaDescription) -> Credentials:
    """
    Read the credentials of a peer that makes the checks.

    :raises ICEError: when he has none, or will make none.
    """
    found = Credentials.read(media)
    if media.inherited("ice-lite"):
        # RFC 8445 6.1.1 has rules for two lite sides; but then nobody proves an address.
        raise ICEError("ice-both-lite", "the far end is ICE-lite, too")
    return found


def candidate(host: str, port: int) -> str:
    """Return the value of the a=candidate line of our only address (:rfc:`8839#section-5.1`)."""
    return f"1 1 UDP {PRIORITY} {host} {port} typ host"
