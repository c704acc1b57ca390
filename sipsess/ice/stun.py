# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The connectivity checks of ICE: STUN Binding requests (:rfc:`8445#section-7`), by aioice.

The library reads and writes the messages, and is imported when the first check comes. Before it is
asked the header is looked at, since a port that strangers know gets all kinds of datagrams.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any

from sipsess.flow import Address

#: RFC 8489 5: type, length of what follows the header, magic cookie, transaction.
_HEADER = Struct("!HHI12s")
_BINDING_REQUEST = 0x0001
_COOKIE = 0x2112A442

#: Bytes of the longest check that makes sense: two names of 256 characters, and all the rest.
MAX_CHECK = 1024

#: RFC 8445 7.3.1.1.
ROLE_CONFLICT = (487, "Role Conflict")


def is_binding_request(data: bytes) -> bool:
    """Tell a check from all other datagrams by its header alone."""
    if not _HEADER.size <= len(data) <= MAX_CHECK:
        return False
    kind, length, cookie, _ = _HEADER.unpack_from(data)
    return bool(
        kind == _BINDING_REQUEST and cookie == _COOKIE and length == len(data) - _HEADER.size
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A check that was signed with our password."""

    transaction: bytes
    #: Our name and the peer's, ``ours:theirs``.
    username: str
    #: The peer has chosen this way (USE-CANDIDATE, :rfc:`8445#section-7.1.2`).
    is_nominating: bool
    #: The peer thinks that we are the one who chooses.
    is_controlled: bool

    @classmethod
    def read(cls, data: bytes, password: str) -> Check | None:
        """
        Read a check; ``None`` when it cannot be read or is not signed with ``password``.

        :param data: for which :func:`is_binding_request` holds.
        """
        from aioice import stun

        try:
            message = stun.parse_message(data)
        except (ValueError, StructError):
            return None
        attributes = message.attributes
        # RFC 8445 7.1: every check has all three.
        if not attributes.keys() >= {"USERNAME", "MESSAGE-INTEGRITY", "FINGERPRINT"}:
            return None
        if not message.check_message_integrity(password.encode()):
            return None
        return cls(
            message.transaction_id,
            attributes["USERNAME"],
            is_nominating="USE-CANDIDATE" in attributes,
            is_controlled="ICE-CONTROLLED" in attributes,
        )

    def succeed(self, source: Address, password: str) -> bytes:
        """Return the answer that tells the peer where we see him."""
        return self._answer("RESPONSE", {"XOR-MAPPED-ADDRESS": source}, password)

    def conflict(self, password: str) -> bytes:
        """Return the answer that makes the peer the one who chooses."""
        return self._answer("ERROR", {"ERROR-CODE": ROLE_CONFLICT}, password)

    def _answer(self, kind: str, attributes: dict[str, Any], password: str) -> bytes:
        from aioice import stun

        message = stun.Message(stun.Method.BINDING, stun.Class[kind], self.transaction, attributes)
        message.add_message_integrity(password.encode())
        return bytes(message)
