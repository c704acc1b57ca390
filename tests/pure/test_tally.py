# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Counts by name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.tally import Tally


class TallyTests(SynchronousTestCase):
    """Adding and removing."""

    def test_counts(self) -> None:
        """Each name has its own count, and is forgotten at zero."""
        tally = Tally()
        for name in ("a", "b", "a"):
            tally.add(name)
        self.assertEqual((tally["a"], tally["b"], tally["c"], len(tally)), (2, 1, 0, 2))
        for name in ("a", "b", "a"):
            tally.remove(name)
        self.assertEqual((tally["a"], len(tally)), (0, 0))

    def test_nothing_to_remove(self) -> None:
        """Counting below zero is our bug."""
        self.assertRaises(KeyError, Tally().remove, "a")
