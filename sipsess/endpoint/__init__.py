# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Endpoints: who is at the other end, and what he may do."""

from .anonymous import ANONYMOUS, AnonymousGate
from .checkers import EndpointRealm, HA1Checker, HtdigestFile, MemoryStore, common_algorithms
from .credentials import DigestCredentials, Login
from .digest_gate import DigestGate
from .endpoint import Endpoint, HeaderMatch
from .identify import (
    DigestIdentifier,
    HeaderIdentifier,
    IdentifyGate,
    NetworkIdentifier,
    UserIdentifier,
    matches,
)

__all__ = [
    "ANONYMOUS",
    "AnonymousGate",
    "DigestCredentials",
    "DigestGate",
    "DigestIdentifier",
    "Endpoint",
    "EndpointRealm",
    "HA1Checker",
    "HeaderIdentifier",
    "HeaderMatch",
    "HtdigestFile",
    "IdentifyGate",
    "Login",
    "MemoryStore",
    "NetworkIdentifier",
    "UserIdentifier",
    "common_algorithms",
    "matches",
]
