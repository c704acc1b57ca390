# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The failure log: names, counts, and limits."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipsess.counters import Counters
from sipsess.failures import LOG_PERIOD, LOGGED_FAILURES, MAX_PLACES, FailureLog


class FailureLogTests(SynchronousTestCase):
    """A log with a clock in the test's hand."""

    def setUp(self) -> None:
        """Watch the log."""
        self.now = 0.0
        self.counters = Counters()
        self.log = FailureLog(self.counters, lambda: self.now)
        self.events: list[LogEvent] = []
        observer = cast("ILogObserver", self._observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "sipsess.failures":
            self.events.append(event)

    def fail_in(self, name: str, callback: str, times: int = 1) -> int:
        """Let a plugin fail some times; return how many of them were logged."""
        before = len(self.events)
        for _ in range(times):
            self.log.plugin_failed(name, callback, ZeroDivisionError("x"), "call-1")
        self.flushLoggedErrors(ZeroDivisionError)
        return len(self.events) - before

    def test_what_is_logged(self) -> None:
        """The event names plugin, callback and call; the failure is in it."""
        self.assertEqual(self.fail_in("p", "cb"), 1)
        event = self.events[0]
        self.assertEqual(
            (event["plugin"], event["callback"], event["call_id"]), ("p", "cb", "call-1")
        )
        self.assertTrue(event["log_failure"].check(ZeroDivisionError))
        self.assertEqual(self.counters.plugin_errors, 1)

    def test_overdue(self) -> None:
        """A plugin that did not answer is a warning with its name."""
        for _ in range(LOGGED_FAILURES + 1):
            self.log.plugin_overdue("p", "INFO", "call-1")
        self.assertEqual(len(self.events), LOGGED_FAILURES)
        self.assertEqual((self.events[0]["plugin"], self.events[0]["method"]), ("p", "INFO"))
        self.assertEqual(self.counters.plugin_errors, LOGGED_FAILURES + 1)

    def test_bug_of_ours(self) -> None:
        """It is counted as internal-error each time, and logged a few times."""
        for _ in range(LOGGED_FAILURES + 1):
            self.log.internal_error(Failure(KeyError("x")), "call-1")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), LOGGED_FAILURES)
        self.assertEqual(self.counters.refused, {"internal-error": LOGGED_FAILURES + 1})

    def test_each_place_has_its_own_limit(self) -> None:
        """One that fails always does not hide another."""
        self.assertEqual(self.fail_in("p", "cb", 100), LOGGED_FAILURES)
        self.assertEqual(self.fail_in("p", "other", 2), 2)
        self.assertEqual(self.fail_in("q", "cb", 2), 2)
        self.assertEqual(self.counters.plugin_errors, 104)

    def test_anew_after_a_minute(self) -> None:
        """The limit is per minute."""
        self.fail_in("p", "cb", 100)
        self.now = LOG_PERIOD
        self.assertEqual(self.fail_in("p", "cb"), 0)
        self.now = LOG_PERIOD + 1
        self.assertEqual(self.fail_in("p", "cb", 100), LOGGED_FAILURES)

    def test_places_are_bounded(self) -> None:
        """More places than are remembered are not logged, until old ones are forgotten."""
        for number in range(MAX_PLACES):
            self.fail_in("p", f"cb{number}")
        self.assertEqual(self.fail_in("p", "one more", 10), 0)
        self.assertEqual(self.fail_in("p", "cb0"), 1)
        self.now = LOG_PERIOD + 1
        self.assertEqual(self.fail_in("p", "one more"), 1)
