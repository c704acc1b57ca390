# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""When the garbage collector is told what."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipsess.collector import INTERVAL, MIDDLE, OLDEST, QUIET, YOUNGEST, Collector


class FakeCollector:
    """Stands for the module ``gc``."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.threshold = (700, 10, 10)

    def get_threshold(self) -> tuple[int, int, int]:
        """Return what was set."""
        return self.threshold

    def set_threshold(self, youngest: int, middle: int, oldest: int) -> None:
        """Keep it."""
        self.threshold = (youngest, middle, oldest)

    def collect(self) -> int:
        """Note it."""
        self.did.append("collect")
        return 0

    def freeze(self) -> None:
        """Note it."""
        self.did.append("freeze")

    def unfreeze(self) -> None:
        """Note it."""
        self.did.append("unfreeze")

    def malloc_trim(self, pad: int) -> None:
        """Note it; for the C library."""
        self.did.append(f"trim {pad}")


class CollectorTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        """Make one."""
        self.clock = Clock()
        self.calls = 0
        self.fake = FakeCollector()
        self.service = Collector(self.clock, lambda: self.calls, self.fake, self.fake)

    def after(self, calls: int) -> list[str]:
        """Return what is done at the next look, with so many calls."""
        self.calls = calls
        self.fake.did.clear()
        self.clock.advance(INTERVAL)
        return self.fake.did

    def test_start_and_stop(self) -> None:
        """What the start has made is frozen; all is as before at the end."""
        self.service.startService()
        self.assertEqual(self.fake.did, ["collect", "freeze"])
        self.assertEqual(self.fake.threshold, (YOUNGEST, MIDDLE, OLDEST))
        self.service.stopService()
        self.assertEqual(self.fake.did[2:], ["unfreeze"])
        self.assertEqual(self.fake.threshold, (700, 10, 10))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.service.stopService()

    def test_busy_and_idle(self) -> None:
        """With calls all that lives is frozen; once they are long gone, all is collected, once."""
        self.service.startService()
        self.assertEqual(self.after(0), [])
        self.assertEqual(self.after(3), ["freeze"])
        self.assertEqual(self.after(20000), ["freeze"])
        for _ in range(QUIET - 2):
            self.assertEqual(self.after(0), ["freeze"])
        self.assertEqual(self.after(0), ["unfreeze", "collect", "trim 0", "freeze"])
        self.assertEqual(self.after(0), [])
        self.service.stopService()

    def test_another_library(self) -> None:
        """Where the C library cannot give memory back, the rest is done."""
        self.service = Collector(self.clock, lambda: self.calls, self.fake, object())
        self.service.startService()
        self.after(1)
        did = [self.after(0) for _ in range(QUIET - 1)][-1]
        self.assertEqual(did, ["unfreeze", "collect", "freeze"])
        self.service.stopService()
