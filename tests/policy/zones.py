# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the tests of locating share: a name service that is a dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sipsess.interfaces import INameResolver
from sipsess.locating import NAPTR, SRV, Answer, LookupFailed, Question
from sipsess.locating.records import Record

#: Names of records, such as ``"A example.com"``; ``None`` when nobody answers.
Zone = Mapping[str, list[Record] | None]


def naptr(order: int, preference: int, service: str, replacement: str, flags: str = "s") -> NAPTR:
    """Return a NAPTR record."""
    return NAPTR(order, preference, flags, service, replacement)


def srv(priority: int, weight: int, port: int, target: str) -> SRV:
    """Return a SRV record."""
    return SRV(priority, weight, port, target)


@implementer(INameResolver)
class ZoneResolver:
    """
    Answers from a zone.

    :param ttl: of each answer.
    """

    def __init__(self, zone: Zone, ttl: float = 60.0) -> None:
        self.zone = dict(zone)
        self.ttl = ttl
        #: What was asked, in order.
        self.asked: list[str] = []
        #: Deferreds that a test fires, by question.
        self.slow: dict[str, Deferred[Answer]] = {}

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See the interface."""
        key = f"{question.kind} {question.name}"
        self.asked.append(key)
        if key in self.slow:
            return self.slow[key]
        records = self.zone.get(key, [])
        if records is None:
            return fail(LookupFailed(f"{key}: no answer"))
        return succeed(Answer(tuple(records), self.ttl))
