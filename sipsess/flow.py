# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Flows: where a message came from, and where its answers go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

#: An address as people and DNS know it: host (no brackets around IPv6) and port.
Address: TypeAlias = tuple[str, int]


def format_host(host: str) -> str:
    """Return ``host`` as SIP writes it: IPv6 literals in brackets (:rfc:`3261#section-25.1`)."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Flow:
    """
    One path between this host and one remote address.

    Equal flows are the same path: for UDP the listener and the two addresses say it all, for a
    stream ``serial`` tells one connection from the next, so that a flow is never reused by another
    peer.
    """

    #: ``"UDP"``, ``"TCP"``, ``"TLS"``, ``"WS"`` or ``"WSS"``.
    transport: str
    #: Our own address on this path (never a wildcard).
    local: Address
    #: The peer's address as the socket saw it.
    remote: Address
    #: The name of the listener that carries it, such as ``"udp:5060"``; outputs are routed by it.
    listener: str = ""
    #: The host that the peer shall see in Via, Contact and SDP, or ``None`` for the local one.
    advertised: str | None = None
    #: Reliable transports start no timers A, E, G (:rfc:`3261#section-17`).
    is_reliable: bool = False
    #: The connection's number; 0 for datagrams, and for a connection that opens when something is
    #: sent.
    serial: int = 0
    #: The port that the peer shall see, or 0 for the local one: nobody listens on the port of a
    #: connection that we opened.
    advertised_port: int = 0
    #: Whom the far end of a secure connection must prove to be (:rfc:`5922`).
    name: str = ""

    @property
    def host(self) -> str:
        """The host that the peer shall see: the advertised one, else the local address."""
        return self.advertised or self.local[0]

    @property
    def sent_by(self) -> str:
        """``host:port`` for the Via header (:rfc:`3261#section-18.1.1`)."""
        return f"{format_host(self.host)}:{self.advertised_port or self.local[1]}"

    def to(self, remote: Address) -> Flow:
        """Return the flow of the same listener to another remote address."""
        return self if remote == self.remote else replace(self, remote=remote)
