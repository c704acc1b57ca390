# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What addresses tell about a NAT between a peer and us."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network

#: Addresses that mean something on one side of a NAT only: :rfc:`1918`, :rfc:`6598`, :rfc:`4193`
#: and what is valid on one link.
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10"),
    )
)
#: Hosts that are remembered.
_MAX_HOSTS = 4096


def is_hidden(written: str, seen: str) -> bool:
    """
    Tell whether a peer is not to be reached at the address that it writes.

    :param written: the host in its Via or Contact; a name is taken for one that can be reached.
    :param seen: the address that its messages come from.
    :return: ``True`` when it writes a private address and its messages come from a public one.
    """
    if written == seen:
        return False
    return _place(written) == "private" and _place(seen) == "public"


def is_translated(written: str, seen: str) -> bool:
    """Tell whether a peer that writes one IP address is seen at another one."""
    if written == seen or not _place(written):
        return False
    return ip_address(written) != ip_address(seen)


@lru_cache(maxsize=_MAX_HOSTS)
def _place(host: str) -> str:
    """Return ``"private"``, ``"local"`` for this machine, ``"public"``; empty for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if address.is_loopback:
        return "local"
    return "private" if any(address in network for network in _PRIVATE) else "public"
