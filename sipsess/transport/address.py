# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Addresses: their one normal form, and which of our own the peer sees."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from sipsess.recent import RecentDict

#: Remote hosts whose source address is remembered; more are asked for again.
MAX_SOURCE_ADDRESSES = 4096

#: Seconds after which a remembered source address is asked for again: addresses change (DHCP, VPN).
SOURCE_ADDRESS_LIFE = 60.0

#: Where the default route is asked for: addresses for documentation, which no one has (RFC 5737,
#: RFC 3849).
_ANYWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}

_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class SourceAddress(Protocol):
    """Says which of our addresses a remote host sees."""

    def __call__(self, remote: str) -> str:
        """
        Return our address towards ``remote``, an IP address.

        :raises OSError: when there is no way there.
        """


def ip_version(host: str) -> int:
    """Return 4 or 6 for an IP address."""
    return 6 if ":" in host else 4


def is_of_other_family(host: str, address: str) -> bool:
    """Tell whether ``host`` is an IP address of the other version; a name is of both."""
    is_ip = ":" in host or host.replace(".", "").isdigit()
    return is_ip and ip_version(host) != ip_version(address)


def loopback(version: int) -> str:
    """Return 127.0.0.1 or ::1."""
    return _LOOPBACK[version]


def is_loopback(host: str) -> bool:
    """Tell whether an IP address never leaves the machine."""
    return host.startswith("127.") or host == "::1"


def is_cut_off(source: str, remote: str) -> bool:
    """Tell whether there is no way to ``remote``, given our own address towards it."""
    return is_loopback(source) and not is_loopback(remote)


def normal_host(host: str) -> str:
    """
    Return an IP address as messages write it.

    IPv6 is compressed and lower-case, without its scope (a scope means something on this machine
    only), and an IPv4 address mapped into IPv6 is an IPv4 address.

    :raises ValueError: when it is not an IP address.
    """
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def escape(text: str) -> str:
    """Write a value as Twisted's endpoint strings want it: a backslash before each colon."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


def probe_source_address(
    remote: str, make_socket: Callable[[int, int], socket.socket] = socket.socket
) -> str:
    """
    Ask the kernel which address it would use towards ``remote``.

    A UDP socket is connected and closed again; nothing is sent.

    :raises OSError: when there is no way there.
    """
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with make_socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((remote, 9))
        return normal_host(probe.getsockname()[0])


class SourceAddresses:
    """
    Our addresses as remote hosts see them, remembered for a while.

    When there is no way to a host, the address of the default route is as good as any, and after
    that the loopback one; so calling it never fails.

    :param seconds: the clock, monotonic.
    :param probe: asks the system.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        probe: Callable[[str], str] = probe_source_address,
        limit: int = MAX_SOURCE_ADDRESSES,
    ) -> None:
        self._seconds = seconds
        self._probe = probe
        self._known: RecentDict[str, tuple[float, str]] = RecentDict(limit)

    def __call__(self, remote: str) -> str:
        """Return our address towards ``remote``, an IP address."""
        now = self._seconds()
        known = self._known.get(remote)
        if known is not None and now < known[0]:
            return known[1]
        address = self._ask(remote)
        self._known.put(remote, (now + SOURCE_ADDRESS_LIFE, address))
        return address

    def _ask(self, remote: str) -> str:
        version = ip_version(remote)
        for host in (remote, _ANYWHERE[version]):
            try:
                return self._probe(host)
            except OSError:
                continue  # no way there; the default route may do
        return loopback(version)
