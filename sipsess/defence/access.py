# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Access lists: who may speak to us, by network."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from sipsess.errors import LocalError
from sipsess.flow import parse_networks

#: What "all" means in a rule.
_EVERYBODY = ("0.0.0.0/0", "::/0")


class NetworkSet:
    """
    Some networks.

    :raises LocalError: when one of them cannot be read.
    """

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = parse_networks(texts)

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
    network = network.strip()
    return NetworkSet(_EVERYBODY if network == "all" else (network,)), verb == "allow"
