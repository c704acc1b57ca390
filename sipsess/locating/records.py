# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""DNS questions and answers, as far as locating a SIP server needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sipsess.errors import TransportError

#: Records of one answer that are looked at; whoever sends more means no good.
MAX_RECORDS = 32


class LookupFailed(TransportError):
    """Nobody answered a DNS question, or with an error; whether the name exists is open."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the name service."""

    #: ``"NAPTR"``, ``"SRV"``, ``"A"`` or ``"AAAA"``.
    kind: str
    #: A domain name in lower case, without the dot at the end.
    name: str


@dataclass(frozen=True, slots=True)
class NAPTR:
    """A Naming Authority Pointer (:rfc:`3403#section-4.1`), without its regular expression."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class SRV:
    """A server of a service (:rfc:`2782`)."""

    priority: int
    weight: int
    port: int
    #: A domain name; empty when the service is not available there.
    target: str


#: An address is its text.
Record: TypeAlias = NAPTR | SRV | str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the name service says."""

    #: Of the kind that was asked for; none when there is nothing of that kind, or no such name.
    records: tuple[Record, ...] = ()
    #: Seconds that it may be remembered; 0 for not at all.
    ttl: float = 0.0
