# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The lite side of ICE, for one component of one stream (:rfc:`8445#section-2.5`).

Theory of operation
    The peer sends checks from each of his addresses to our only one. A check that is signed with
    the password of our description shows that whoever is there has read it: its source is *known*
    from then on. When the peer has chosen a way it says so in a check (USE-CANDIDATE), and its
    source is *selected*; it may choose another one at any time, and the last choice counts.

    Nothing else gets an answer: who has not read our description cannot make this side send a
    single byte, and costs it a look at the header and a search for our name.
"""

from __future__ import annotations

from sipsess.flow import Address

from .credentials import Credentials
from .stun import Check, is_binding_request

#: Addresses of a peer that are known at a time: a telephone has some networks, with IPv4 and IPv6
#: in each. The one that has been silent for longest is forgotten first.
MAX_ADDRESSES = 16


class LiteAgent:
    """Answers checks; it is given credentials when both sides have described themselves."""

    __slots__ = ("_addresses", "_local", "_username", "_wanted", "refused", "selected")

    def __init__(self) -> None:
        self._local: Credentials | None = None
        self._username = ""
        #: How the name in a check for us begins.
        self._wanted = b""
        #: The sources of good checks, the latest last.
        self._addresses: dict[Address, None] = {}
        #: What the peer has chosen.
        self.selected: Address | None = None
        #: Datagrams that looked like STUN and got no answer.
        self.refused = 0

    def agree(self, local: Credentials, remote: Credentials) -> None:
        """
        Take the credentials of both sides.

        New ones are a restart (:rfc:`8445#section-9`): what was selected goes on until the peer
        has chosen again.
        """
        self._local = local
        self._username = f"{local.ufrag}:{remote.ufrag}"
        self._wanted = f"{local.ufrag}:".encode()

    def knows(self, address: Address) -> bool:
        """Tell whether good checks have come from an address."""
        return address in self._addresses

    def receive(self, data: bytes, source: Address) -> bytes | None:
        """
        Take a datagram that looks like STUN; never raises.

        :return: what to send back to where it came from.
        """
        local = self._local
        if local is None or not is_binding_request(data) or self._wanted not in data:
            self.refused += 1
            return None
        check = Check.read(data, local.password)
        if check is None or check.username != self._username:
            self.refused += 1
            return None
        if check.is_controlled:
            # RFC 8445 6.1.1: of a lite and a full side the full one chooses, always.
            return check.conflict(local.password)
        self._learn(source)
        if check.is_nominating:
            self.selected = source
        return check.succeed(source, local.password)

    def _learn(self, source: Address) -> None:
        addresses = self._addresses
        addresses.pop(source, None)
        if len(addresses) >= MAX_ADDRESSES:
            del addresses[next(item for item in addresses if item != self.selected)]
        addresses[source] = None
