# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Asking the name service: the cache, the limit, and the way from target to target."""

from __future__ import annotations

import random

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.errors import LocalError, Timeout, TransportError
from sipsess.expiring import ExpiringDict
from sipsess.flow import Address, Flow
from sipsess.interfaces import INameResolver
from sipsess.locating import (
    Answer,
    Avoided,
    CachingResolver,
    Locator,
    LookupFailed,
    NextHop,
    Question,
    Target,
    UnreachableError,
)
from sipsess.locating.avoided import AVOID_TIME, MAX_AVOID_TIME, is_failure
from sipsess.locating.cache import FAILURE_TTL, MAX_NEGATIVE_TTL, MAX_TTL, MAX_WAITING
from sipsess.locating.locator import LOCATE_LIMIT
from sipsess.locating.records import MAX_RECORDS
from sipsess.message import Response, build_request, build_response
from sipsess.testing import VirtualNetwork
from tests.policy.zones import ZoneResolver, srv

A = Question("A", "b.example")


def busy(retry_after: str | None = None) -> Response:
    """Return a 503."""
    request = build_request(
        "OPTIONS",
        "sip:b.example",
        via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        from_="<sip:a@b.example>;tag=1",
        to="<sip:b.example>",
        call_id="1",
        cseq=1,
    )
    response = build_response(request, 503)
    if retry_after is not None:
        response.headers.set("Retry-After", retry_after)
    return response


class ExpiringTests(SynchronousTestCase):
    """Values that are good until a time."""

    def test_time(self) -> None:
        """A value is there until its time, and is put anew with another."""
        values: ExpiringDict[str, int] = ExpiringDict(9)
        values.put("a", 1, 10.0, 0.0)
        self.assertEqual(values.get("a", 9.9), 1)
        self.assertIsNone(values.get("a", 10.0))
        self.assertEqual(len(values), 0)
        self.assertIsNone(values.get("b", 0.0))

    def test_limit(self) -> None:
        """When it is full those that have ended go, and then the one that was put first."""
        values: ExpiringDict[str, int] = ExpiringDict(3)
        for number, name in enumerate("abc"):
            values.put(name, number, 5.0 if name == "b" else 100.0, 0.0)
        values.put("d", 3, 100.0, 6.0)
        self.assertEqual(values.get("a", 6.0), 0)
        values.put("e", 4, 100.0, 6.0)
        self.assertIsNone(values.get("a", 6.0))
        self.assertEqual((values.get("c", 6.0), values.get("e", 6.0), len(values)), (2, 4, 3))


class CacheTests(SynchronousTestCase):
    """What is known is not asked again."""

    def setUp(self) -> None:
        """Make a name service with a cache."""
        self.net = VirtualNetwork()
        self.zone = ZoneResolver({"A b.example": ["192.0.2.1"], "A dead.example": None}, 30.0)
        self.cache = CachingResolver(self.zone, self.net.seconds, limit=3)
        verifyObject(INameResolver, self.zone)
        verifyObject(INameResolver, self.cache)

    def ask(self, question: Question = A) -> Answer:
        """Return the answer, which is there at once."""
        return self.successResultOf(self.cache.lookup(question))

    def test_time_to_live(self) -> None:
        """An answer is kept for its TTL (RFC 1035 3.2.1)."""
        self.assertEqual(self.ask().records, ("192.0.2.1",))
        self.net.run_for(29)
        self.ask()
        self.assertEqual(len(self.zone.asked), 1)
        self.net.run_for(1)
        self.ask()
        self.assertEqual(len(self.zone.asked), 2)

    def test_no_time_to_live(self) -> None:
        """A TTL of 0 is for this once."""
        self.zone.ttl = 0
        self.ask()
        self.ask()
        self.assertEqual(len(self.zone.asked), 2)

    def test_longest_time(self) -> None:
        """Nothing is kept for ever, and what is not there less long (RFC 2308 5)."""
        self.zone.ttl = 10**9
        gone = Question("A", "gone.example")
        self.assertEqual((self.ask().ttl, self.ask(gone).ttl), (MAX_TTL, MAX_NEGATIVE_TTL))
        self.net.run_for(MAX_NEGATIVE_TTL)
        self.ask()
        self.ask(gone)
        self.assertEqual(self.zone.asked[2:], ["A gone.example"])

    def test_failure(self) -> None:
        """A failure is kept for a moment: nobody else waits for a dead name server meanwhile."""
        dead = Question("A", "dead.example")
        errors = [self.failureResultOf(self.cache.lookup(dead), LookupFailed) for _ in "123"]
        self.assertEqual({str(error.value) for error in errors}, {"A dead.example: no answer"})
        self.assertEqual(len(self.zone.asked), 1)
        self.net.run_for(FAILURE_TTL)
        self.failureResultOf(self.cache.lookup(dead), LookupFailed)
        self.assertEqual(len(self.zone.asked), 2)

    def test_bug(self) -> None:
        """What is no failure of the name service is passed on, and not kept."""
        self.zone.slow["A b.example"] = fail(ZeroDivisionError())
        self.failureResultOf(self.cache.lookup(A), ZeroDivisionError)
        del self.zone.slow["A b.example"]
        self.ask()

    def test_the_same_question(self) -> None:
        """Who asks what is being asked shares the answer; giving up takes it from nobody else."""
        slow = self.zone.slow["A b.example"] = Deferred()
        first, second, third = (self.cache.lookup(A) for _ in range(3))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        slow.callback(Answer(("192.0.2.7",) * 99, 1.0))
        for deferred in (second, third):
            self.assertEqual(len(self.successResultOf(deferred).records), MAX_RECORDS)
        self.assertEqual(len(self.zone.asked), 1)

    def test_many_questions(self) -> None:
        """The cache has a limit, and so have the questions that wait."""
        for name in "abcdefgh":
            self.ask(Question("A", name))
        self.assertEqual(len(self.cache._known), 3)
        for number in range(MAX_WAITING):
            self.zone.slow[f"SRV {number}"] = Deferred()
            self.cache.lookup(Question("SRV", str(number)))
        failure = self.failureResultOf(self.cache.lookup(Question("SRV", "more")), LookupFailed)
        self.assertIn("too many", str(failure.value))


class LocatorTests(SynchronousTestCase):
    """The questions of the rules, asked."""

    def setUp(self) -> None:
        """Make a locator with a zone."""
        self.net = VirtualNetwork()
        self.zone = ZoneResolver(
            {
                "SRV _sip._udp.b.example": [srv(0, 0, 5070, "s.b.example")],
                "A s.b.example": ["192.0.2.1"],
            }
        )
        self.locator = Locator(self.zone, lambda: {"UDP"}, self.net, random.Random(1))

    def test_questions(self) -> None:
        """Rounds of questions, until the targets are known."""
        targets = self.successResultOf(self.locator.locate("sip:a@b.example"))
        self.assertEqual(targets, [Target("UDP", "192.0.2.1", 5070, "b.example")])
        self.assertEqual(
            self.zone.asked,
            [
                "NAPTR b.example",
                "SRV _sip._udp.b.example",
                "AAAA s.b.example",
                "A s.b.example",
            ],
        )
        self.net.assert_quiet()

    def test_address(self) -> None:
        """An address is found without any question."""
        [target] = self.successResultOf(self.locator.locate("sip:a@192.0.2.9"))
        self.assertEqual((target.address, self.zone.asked), (("192.0.2.9", 5060), []))

    def test_failures(self) -> None:
        """Failures are no answers; one that no resolver may give is logged."""
        self.zone.zone["NAPTR b.example"] = None
        self.zone.slow["AAAA s.b.example"] = fail(ZeroDivisionError())
        [target] = self.successResultOf(self.locator.locate("sip:a@b.example"))
        self.assertEqual(target.host, "192.0.2.1")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_limit(self) -> None:
        """Nobody waits for ever: the search has a limit, all questions together."""
        self.zone.slow["SRV _sip._udp.b.example"] = Deferred()
        locating = self.locator.locate("sip:a@b.example")
        self.net.run_for(LOCATE_LIMIT - 0.1)
        self.assertNoResult(locating)
        self.net.run_for(0.2)
        failure = self.failureResultOf(locating, UnreachableError)
        self.assertIn("did not say in time where sip:a@b.example is", str(failure.value))
        self.net.assert_quiet()

    def test_cancel(self) -> None:
        """Giving up stops the search; nothing more is asked."""
        self.zone.slow["NAPTR b.example"] = Deferred()
        locating = self.locator.locate("sip:a@b.example")
        locating.cancel()
        self.failureResultOf(locating, CancelledError)
        self.assertEqual(self.zone.asked, ["NAPTR b.example"])
        self.net.assert_quiet()


class AvoidedTests(SynchronousTestCase):
    """Servers that have failed."""

    def setUp(self) -> None:
        """Make three targets."""
        self.net = VirtualNetwork()
        self.targets = [Target("UDP", f"192.0.2.{n}", 5060, "b.example") for n in (1, 2, 3)]
        self.avoided = Avoided(self.net.seconds, limit=2)

    def order(self) -> str:
        """Return the last digits of the targets as they are tried now."""
        return "".join(item.host[-1] for item in self.avoided.sort(self.targets))

    def test_time(self) -> None:
        """A server that failed is tried last for a while."""
        self.avoided.add(self.targets[0], Timeout())
        self.assertEqual(self.order(), "231")
        self.net.run_for(AVOID_TIME)
        self.assertEqual(self.order(), "123")

    def test_retry_after(self) -> None:
        """A 503 says how long, within bounds (RFC 3261 21.5.4)."""
        for text, seconds in (
            ("5", 5.0),
            ("5 (lunch);duration=3600", 5.0),
            ("99999999999", MAX_AVOID_TIME),
            ("0", 0.0),
            ("soon", AVOID_TIME),
            (None, AVOID_TIME),
        ):
            avoided = Avoided(self.net.seconds)
            avoided.add(self.targets[0], busy(text))
            for moment, first in ((seconds - 0.1, 1), (0.2, 0)):
                self.net.run_for(max(0.0, moment))
                if seconds or not first:
                    self.assertIs(avoided.sort(self.targets)[0], self.targets[first], text)

    def test_limit(self) -> None:
        """Only so many are remembered."""
        for target in self.targets:
            self.avoided.add(target, Timeout())
        self.assertEqual((len(self.avoided), self.order()), (2, "123"))

    def test_failures(self) -> None:
        """503, time-out and transport error are failures of a server; other answers are answers."""
        refusal = busy()
        refusal.status = 500
        for outcome, expected in (
            (busy(), True),
            (refusal, False),
            (Timeout(), True),
            (TransportError(), True),
            (LocalError(), False),
        ):
            self.assertEqual(is_failure(outcome), expected, outcome)


class WayTests(SynchronousTestCase):
    """From target to target."""

    def setUp(self) -> None:
        """Make targets, and flows to some."""
        self.net = VirtualNetwork()
        self.avoided = Avoided(self.net.seconds)
        self.targets = [Target("TCP", f"192.0.2.{n}", 5060, "b.example") for n in (1, 2, 3)]
        self.answers: dict[str, Deferred[Flow]] = {}
        self.hop = NextHop(self.targets, self.connect, self.avoided)

    def connect(self, transport: str, address: Address, name: str) -> Deferred[Flow]:
        """Do what the test says for a host."""
        target = Target(transport, *address, name)
        answer: Deferred[Flow] = self.answers.get(target.host) or succeed(self.flow(target))
        return answer

    def flow(self, target: Target) -> Flow:
        """Return the flow to a target."""
        return Flow("TCP", ("192.0.2.9", 5060), target.address, is_reliable=True)

    def advance(self) -> Deferred[NextHop]:
        """Go on."""
        return Deferred.fromCoroutine(self.hop.advance())

    def test_in_order(self) -> None:
        """The next target after each failure, until none is left."""
        for target in self.targets:
            self.assertIs(self.successResultOf(self.advance()), self.hop)
            self.assertEqual((self.hop.target, self.hop.flow), (target, self.flow(target)))
            is_last = target is self.targets[-1]
            self.assertEqual(self.hop.goes_on_after(Timeout()), not is_last)
        self.failureResultOf(self.advance(), UnreachableError)
        self.assertEqual(len(self.avoided), 3)

    def test_answers(self) -> None:
        """An answer ends the way, and nobody is avoided for it."""
        self.successResultOf(self.advance())
        answer = busy()
        answer.status = 486
        self.assertFalse(self.hop.goes_on_after(answer))
        self.assertEqual(len(self.avoided), 0)

    def test_connections(self) -> None:
        """A connection is waited for; one that fails is a failure of its target."""
        first: Deferred[Flow] = Deferred()
        self.answers = {"192.0.2.1": first, "192.0.2.2": fail(TransportError("refused"))}
        advancing = self.advance()
        self.assertNoResult(advancing)
        first.errback(TransportError("refused"))
        self.successResultOf(advancing)
        self.assertEqual(self.hop.target, self.targets[2])
        self.assertEqual(len(self.avoided), 2)
        self.assertIn("192.0.2.3", repr(self.hop))

    def test_the_last_connection_fails(self) -> None:
        """Then the way ends with what the last one said."""
        self.answers = {item.host: fail(TransportError(item.host)) for item in self.targets}
        failure = self.failureResultOf(self.advance(), UnreachableError)
        self.assertEqual(str(failure.value), "192.0.2.3")

    def test_avoided_first(self) -> None:
        """A new way begins with those that have not failed lately."""
        self.avoided.add(self.targets[0], Timeout())
        self.hop = NextHop(self.targets, self.connect, self.avoided)
        self.successResultOf(self.advance())
        self.assertEqual(self.hop.target, self.targets[1])

    def test_along(self) -> None:
        """The way of one flow ends there."""
        hop = NextHop.along(self.flow(self.targets[0]))
        self.assertEqual(hop.flow.remote, ("192.0.2.1", 5060))
        self.assertFalse(hop.goes_on_after(Timeout()))
        self.assertIn("0 more", repr(hop))
