# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of raising the limit of open files."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.transport.filelimit import raise_file_limit


class FakeResource:
    """The standard module, with limits of its own."""

    RLIM_INFINITY = -1
    RLIMIT_NOFILE = 7

    def __init__(self, soft: int, hard: int, most: int = 10**9) -> None:
        self.limits = (soft, hard)
        self.most = most

    def getrlimit(self, what: int) -> tuple[int, int]:
        """Return the soft and the hard limit."""
        return self.limits

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        """Set both, unless the system refuses that."""
        if not 0 <= limits[0] <= self.most:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


class FileLimitTests(SynchronousTestCase):
    """From the soft limit to the hard one."""

    def check(self, fake: FakeResource, missing: int | None, limits: tuple[int, int]) -> None:
        """Ask for 10000 files."""
        self.assertEqual(raise_file_limit(10000, fake), missing)
        self.assertEqual(fake.limits, limits)

    def test_raised_to_the_hard_limit(self) -> None:
        """The soft limit becomes the hard one, and there is nothing to say."""
        self.check(FakeResource(1024, 524288), None, (524288, 524288))

    def test_hard_limit_is_too_low(self) -> None:
        """What is still missing is told."""
        self.check(FakeResource(1024, 4096), 4096, (4096, 4096))

    def test_hard_limit_is_infinite_but_refused(self) -> None:
        """A system that refuses to have no limit is asked for what is needed."""
        self.check(FakeResource(256, -1), None, (10000, -1))

    def test_all_is_refused(self) -> None:
        """A system that refuses everything leaves the limit as it is."""
        self.check(FakeResource(256, -1, 1000), 256, (256, -1))

    def test_no_limit(self) -> None:
        """Without a limit nothing is changed."""
        self.check(FakeResource(-1, -1), None, (-1, -1))

    def test_no_such_limits(self) -> None:
        """On a system without limits there is nothing to do."""
        self.assertIsNone(raise_file_limit(10000, None))
