# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Access lists: who may speak to us, by network."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from sipsess.errors import LocalError

Network: TypeAlias = IPv4Network | IPv6Network

_EVERYBODY = ("0.0.0.0/0", "::/0")


def parse_networks(text: str) -> tuple[Network, ...]:
    """
    Read a network, such as ``192.0.2.0/24``, an address, or ``all``.

    :raises LocalError: when it is none of these.
    """
    try:
        return tuple(ip_network(part) for part in (_EVERYBODY if text == "all" else (text,)))
    except ValueError as error:
        raise LocalError(
            f"{text!r} is no network: {error}; write 192.0.2.0/24, 192.0.2.1 or all"
        ) from None


class NetworkSet:
    """
    Some networks.

    :raises LocalError: when one of them cannot be read.
    """

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = tuple(item for text in texts for item in parse_networks(text))

    def __contains__(self, host: object) -> bool:
        try:
            address = ip_address(str(host))
        except ValueError:
            # Such as a Contact can name, and nothing can be sent to.
            return False
        return any(address in network for network in self._networks)


class AccessList:
    """
    Rules in order, of which the first that matches decides.

    :param rules: ``"allow NETWORK"`` and ``"deny NETWORK"``; without any everybody is allowed.
    :raises LocalError: when one of them cannot be read.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = tuple(_parse_rule(rule) for rule in rules)

    def allows(self, host: str) -> bool:
        """Whether a host, an IP address, may speak to us."""
        return next((verdict for networks, verdict in self._rules if host in networks), True)


def _parse_rule(rule: str) -> tuple[NetworkSet, bool]:
    verb, _, network = rule.strip().partition(" ")
    if verb not in ("allow", "deny"):
        raise LocalError(f"{rule!r} is no rule: write allow NETWORK or deny NETWORK")
    return NetworkSet((network.strip(),)), verb == "allow"
