# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A gate that asks for a password, for tests of who knows it."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.cred.portal import Portal

from sipsess.endpoint import DigestGate, Endpoint, EndpointRealm, HA1Checker, MemoryStore
from sipsess.endpoint.checkers import DEFAULT_ALGORITHMS

#: The password of the one user.
PASSWORD = "zanzibar"


def make_digest_gate(user: str, algorithms: Iterable[str] = DEFAULT_ALGORITHMS) -> DigestGate:
    """Return a gate that knows one user."""
    users = MemoryStore()
    users.add(user, "pbx.example", PASSWORD)
    endpoint = Endpoint(user, digest_users=frozenset({user}))
    portal = Portal(EndpointRealm([endpoint]), [HA1Checker([users])])
    return DigestGate(portal, "pbx.example", algorithms=algorithms)
