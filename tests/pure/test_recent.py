# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the dictionary with a limit."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.recent import RecentDict


class RecentDictTests(SynchronousTestCase):
    """A bounded dictionary."""

    def test_bounded(self) -> None:
        """At most two generations are kept."""
        recent: RecentDict[int, str] = RecentDict(10)
        for number in range(100):
            recent.put(number, "x")
            self.assertLessEqual(len(recent), 20)
        self.assertEqual(recent.get(99), "x")
        self.assertIsNone(recent.get(50))

    def test_used_stays(self) -> None:
        """What is used is not forgotten."""
        recent: RecentDict[int, str] = RecentDict(10)
        recent.put(-1, "hot")
        for number in range(100):
            recent.put(number, "x")
            self.assertEqual(recent.get(-1), "hot")

    def test_clear(self) -> None:
        """Everything can be forgotten."""
        recent: RecentDict[int, str] = RecentDict(1)
        recent.put(1, "x")
        recent.put(2, "x")
        recent.clear()
        self.assertEqual(len(recent), 0)
