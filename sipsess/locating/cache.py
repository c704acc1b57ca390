# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A cache in front of a name resolver.

Answers are kept as long as their TTL says and no longer than a day; that there is no such name is
an answer, too (:rfc:`2308`). A failure is kept for a moment, so that a burst of calls does not wait
for a dead name server one after the other. Who asks what is being asked already shares the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.errors import SIPError
from sipsess.expiring import ExpiringDict
from sipsess.interfaces import INameResolver
from sipsess.locating.records import MAX_RECORDS, Answer, LookupFailed, Question

#: Answers that are kept.
MAX_ANSWERS = 4096
#: Questions that may wait for their answers at a time.
MAX_WAITING = 1000
#: Seconds that an answer is kept at most: servers move, whatever their zone has said.
MAX_TTL = 86_400.0
#: The same for what is not there (:rfc:`2308#section-5` says one to three hours).
MAX_NEGATIVE_TTL = 900.0
#: Seconds that a failure is kept (:rfc:`2308#section-7` allows five minutes).
FAILURE_TTL = 5.0


@implementer(INameResolver)
class CachingResolver:
    """
    Asks another resolver what it does not know.

    :param resolver: an :class:`.INameResolver`.
    :param seconds: the monotonic clock.
    """

    def __init__(
        self, resolver: INameResolver, seconds: Callable[[], float], limit: int = MAX_ANSWERS
    ) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._known: ExpiringDict[Question, Answer | str] = ExpiringDict(limit)
        self._waiting: dict[Question, list[Deferred[Answer]]] = {}

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See :meth:`.INameResolver.lookup`; cancelling it stops the waiting, not the question."""
        known = self._known.get(question, self._seconds())
        if isinstance(known, Answer):
            return succeed(known)
        if known is not None:
            return fail(LookupFailed(known))
        deferred: Deferred[Answer] = Deferred()
        waiting = self._waiting.get(question)
        if waiting is not None:
            waiting.append(deferred)
        elif len(self._waiting) >= MAX_WAITING:
            return fail(LookupFailed("too many names are being looked up"))
        else:
            self._waiting[question] = [deferred]
            maybeDeferred(self._resolver.lookup, question).addBoth(self._answered, question)
        return deferred

    def _answered(self, result: Any, question: Question) -> None:
        now = self._seconds()
        if isinstance(result, Failure):
            # What is no SIPError is a bug; who asked logs it, and asks again.
            if isinstance(result.value, SIPError):
                self._known.put(question, str(result.value), now + FAILURE_TTL, now)
        else:
            limit = MAX_TTL if result.records else MAX_NEGATIVE_TTL
            result = Answer(result.records[:MAX_RECORDS], min(result.ttl, limit))
            if result.ttl > 0:
                self._known.put(question, result, now + result.ttl, now)
        for deferred in self._waiting.pop(question):
            deferred.callback(result)
