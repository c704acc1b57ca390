# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Lets a resolver answer what the rules of :rfc:`3263` ask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.errors import SIPError
from sipsess.interfaces import INameResolver
from sipsess.locating.records import Answer, Question
from sipsess.locating.rules import find_targets
from sipsess.locating.target import Target, UnreachableError, parse_target

#: Seconds that finding the targets of one URI may take, all questions together.
LOCATE_LIMIT = 10.0

_log = Logger()


class Locator:
    """
    Finds the targets of URIs.

    :param resolver: answers DNS questions.
    :param transports: returns those of our listeners; the DNS chooses among them.
    :param connectable: further ones, for a URI that demands them or leaves no choice.
    :param clock: provides ``IReactorTime``; for the limit.
    :param random: decides among servers of the same priority.
    """

    def __init__(
        self,
        resolver: INameResolver,
        transports: Callable[[], Collection[str]],
        clock: Any,
        random: Random,
        connectable: Collection[str] = (),
    ) -> None:
        self.resolver = resolver
        self._transports = transports
        self._clock = clock
        self._random = random
        self._connectable = connectable

    def locate(self, uri: str) -> Deferred[list[Target]]:
        """
        Return the targets of a URI, the one to try first in front.

        :return: fails with :class:`UnreachableError` when there is none, or not in time. It fires
            at once when nobody needs to be asked.
        """
        locating = Deferred.fromCoroutine(self._locate(uri))
        if not locating.called:
            locating.addTimeout(LOCATE_LIMIT, self._clock, lambda result, limit: _too_late(uri))
        return locating

    async def _locate(self, uri: str) -> list[Target]:
        destination = parse_target(uri, self._transports(), self._connectable)
        asking = find_targets(destination, self._random)
        try:
            questions = next(asking)
            while True:
                questions = asking.send(await self._ask(questions))
        except StopIteration as found:
            targets: list[Target] = found.value
            return targets

    def _ask(self, questions: Sequence[Question]) -> Deferred[list[Answer | None]]:
        lookups = [self._lookup(question) for question in questions]
        return gatherResults(lookups, consumeErrors=True).addErrback(_cancelled)

    def _lookup(self, question: Question) -> Deferred[Answer | None]:
        asked: Deferred[Any] = maybeDeferred(self.resolver.lookup, question)
        return asked.addErrback(_unknown, question)


def _unknown(failure: Failure, question: Question) -> None:
    """Take a failure for no answer; one that no resolver may give is logged."""
    if failure.check(CancelledError):
        failure.raiseException()
    if not isinstance(failure.value, SIPError):
        _log.failure("the name resolver failed for {question}", failure, question=question)


def _cancelled(failure: Failure) -> Failure:
    """Tell that the search was given up, which is all that can fail here."""
    return Failure(CancelledError())


def _too_late(uri: str) -> Failure:
    return Failure(UnreachableError(f"the name service did not say in time where {uri} is"))
