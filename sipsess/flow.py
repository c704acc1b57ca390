# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Flows: where a message came from, and where its answers go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from sipsess.errors import LocalError

#: An address as people and DNS know it: host (no brackets around IPv6) and port.
Address: TypeAlias = tuple[str, int]


def format_host(host: str) -> str:
    """Return ``host`` as SIP writes it: IPv6 literals in brackets (:rfc:`3261#section-25.1`)."""
    return f"[{host}]" if ":" in host else host


def format_address(address: Address) -> str:
    """Return host and port as SIP writes them."""
    return f"{format_host(address[0])}:{address[1]}"


Network: TypeAlias = IPv4Network | IPv6Network

#: Hosts whose place is remembered, see :func:`_is_within`.
_MAX_HOSTS = 4096


@dataclass(frozen=True, slots=True)
class Advertised:
    """The host that peers shall see instead of our own address, and who sees that all the same."""

    #: An IP address or a name.
    host: str
    #: The hosts of these networks see our own address; so do those of this machine.
    local_networks: tuple[Network, ...] = ()

    def towards(self, remote: str) -> str | None:
        """Return the host that a remote IP address sees; ``None`` for our own address."""
        return None if _is_within(remote, self.local_networks) else self.host


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """
    Read networks, such as ``10.0.0.0/8``; an address alone is the network of one host.

    :raises LocalError: for what is none.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ip_network(text.strip(), strict=False))
        except ValueError:
            raise LocalError(f"{text!r} is no network; write 10.0.0.0/8 or fd00::/8") from None
    return tuple(found)


@lru_cache(maxsize=_MAX_HOSTS)
def _is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an IP address is on this machine or in one of some networks."""
    try:
        address = ip_address(host)
    except ValueError:
        return False  # four numbers that are no address: nothing will be reached there
    return address.is_loopback or any(address in network for network in networks)


#: The part of an IPv6 address that tells one customer of a provider from another.
_PREFIX = (1 << 128) - (1 << 64)


def source_key(host: str) -> str:
    """
    Return what tells one source from another: an IPv4 address, or the /64 of an IPv6 one.

    What is no address, as a Contact can name, is a source of its own.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else f"{IPv6Address(int(address) & _PREFIX)}/64"


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
    #: What the peer shall see in Via, Contact and SDP, or ``None`` for the local address.
    advertised: Advertised | None = None
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
        if self.advertised is None:
            return self.local[0]
        return self.advertised.towards(self.remote[0]) or self.local[0]

    @property
    def sent_by(self) -> str:
        """``host:port`` for the Via header (:rfc:`3261#section-18.1.1`)."""
        return f"{format_host(self.host)}:{self.advertised_port or self.local[1]}"

    def to(self, remote: Address) -> Flow:
        """Return the flow of the same listener to another remote address."""
        return self if remote == self.remote else replace(self, remote=remote)
