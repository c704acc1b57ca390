# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""When new calls are refused, and when they no longer are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.overload import (
    ADMIT,
    DROP,
    INTERVAL,
    LINGER,
    PATIENCE,
    REFUSE,
    TARGET,
    OverloadControl,
)

SHORT, LONG, TOO_LONG = TARGET / 2, TARGET * 2, PATIENCE * 2


class OverloadTests(SynchronousTestCase):
    """The judge alone."""

    def setUp(self) -> None:
        """Make one."""
        self.control = OverloadControl()

    def judge(self, *steps: tuple[float, float]) -> list[str]:
        """Judge INVITEs, each with its wait and the time."""
        return [self.control.judge(waited, now) for waited, now in steps]

    def test_calm(self) -> None:
        """What has not waited is admitted, and nobody need ask."""
        self.assertEqual(self.judge((0.0, 0.0), (SHORT, 100.0)), [ADMIT, ADMIT])
        self.assertTrue(self.control.is_calm)

    def test_a_burst(self) -> None:
        """A queue that goes by within the interval costs no call, however long it was."""
        end = INTERVAL * 0.9
        waits = self.judge((TOO_LONG, 0.0), (LONG, end), (SHORT, end + 0.1), (LONG, end + 0.2))
        self.assertEqual(waits, [ADMIT] * 4)
        self.assertFalse(self.control.is_active)

    def test_standing_queue(self) -> None:
        """One that stays is overload: the long wait is refused, the longest dropped."""
        self.judge((LONG, 0.0))
        verdicts = self.judge((LONG, INTERVAL), (TOO_LONG, INTERVAL), (LONG, INTERVAL + 1))
        self.assertEqual(verdicts, [REFUSE, DROP, REFUSE])
        self.assertTrue(self.control.is_active)

    def test_over(self) -> None:
        """The first short wait ends it; the ACKs of refusals are looked for a while longer."""
        self.judge((LONG, 0.0), (LONG, INTERVAL), (SHORT, INTERVAL + 0.1))
        self.assertFalse(self.control.is_active)
        self.assertFalse(self.control.is_calm)
        self.judge((SHORT, INTERVAL + LINGER))
        self.assertTrue(self.control.is_calm)
        self.assertEqual(self.judge((LONG, 100.0)), [ADMIT])
