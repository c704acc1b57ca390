# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""One kind of peer, and how it is treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zope.interface import implementer

from sipsess.interfaces import IEndpoint

if TYPE_CHECKING:
    from sipsess.interfaces import ICredentials


@implementer(IEndpoint)
@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a peer is treated."""

    name: str
    #: Whether it may assert identities (:rfc:`3325`).
    is_trusted: bool = False
    #: Reliable provisional responses (:rfc:`3262`): never used, used where they help, or demanded.
    reliable: Literal["no", "supported", "required"] = "supported"
    #: How often a call to it follows a redirection (3xx), all Contacts together; 0 for never.
    max_redirects: int = 5
    #: The users that it may be, as a digest proves; with any, each request outside a dialog needs
    #: the proof (401).
    digest_users: frozenset[str] = frozenset()
    #: Answers its challenges (401, 407); ``None`` takes them as refusals.
    credentials: ICredentials | None = None
