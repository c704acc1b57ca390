# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for :mod:`sipsess.turn`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess import turn as turn_module
from sipsess.flow import Flow
from sipsess.turn import Turn

FLOW = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060))


class TurnTests(SynchronousTestCase):
    """The order of upcalls and outputs."""

    def setUp(self) -> None:
        """Make a turn and a list of what happened."""
        self.events: list[object] = []
        self.failures: list[BaseException] = []
        self.time = 10.0
        self.turn = Turn(self.transmit, self.failures.append, lambda: self.time)

    def transmit(self, flow: Flow, wire: bytes) -> None:
        """Note an output."""
        self.assertEqual(flow, FLOW)
        self.events.append(wire)

    def test_upcalls_before_outputs(self) -> None:
        """Upcalls run in order when the block ends, and only then do the bytes leave."""
        with self.turn:
            self.turn.send(FLOW, b"first")
            self.turn.later(self.events.append, 1)
            self.turn.later(self.events.append, 2)
            self.turn.send(FLOW, b"second")
            self.assertEqual(self.events, [])
        self.assertEqual(self.events, [1, 2, b"first", b"second"])

    def test_time(self) -> None:
        """Within a turn the time stands still; between two turns it is what the clock says."""
        with self.turn:
            self.time = 11.0
            self.assertEqual(self.turn.time(), 10.0)
        self.time = 12.0
        self.assertEqual(self.turn.time(), 12.0)
        self.assertEqual(self.turn.now, 10.0)

    def test_upcalls_of_upcalls(self) -> None:
        """An upcall may add upcalls and outputs; they belong to the same turn, in order."""

        def upcall(number: int) -> None:
            self.events.append(number)
            if number < 10:
                self.turn.send(FLOW, b"%d" % number)
                self.turn.later(upcall, number * 10)

        with self.turn:
            self.turn.later(upcall, 1)
            self.turn.later(upcall, 2)
        self.assertEqual(self.events, [1, 2, 10, 20, b"1", b"2"])

    def test_nested(self) -> None:
        """Inner blocks belong to the outermost one."""
        with self.turn:
            with self.turn:
                self.turn.later(self.events.append, 1)
                self.turn.send(FLOW, b"out")
            self.assertEqual(self.events, [])
        self.assertEqual(self.events, [1, b"out"])

    def test_nested_in_an_upcall(self) -> None:
        """A block within an upcall does not flush either."""

        def upcall() -> None:
            with self.turn:
                self.turn.send(FLOW, b"out")
            self.events.append("after")

        with self.turn:
            self.turn.later(upcall)
        self.assertEqual(self.events, ["after", b"out"])

    def test_failing_upcall(self) -> None:
        """An upcall that raises is reported; the others run and the outputs leave."""
        with self.turn:
            self.turn.send(FLOW, b"out")
            self.turn.later(int, "no number")
            self.turn.later(self.events.append, 1)
        self.assertEqual(self.events, [1, b"out"])
        (failure,) = self.failures
        self.assertIsInstance(failure, ValueError)

    def test_failing_block(self) -> None:
        """When the block itself raises, what was decided still happens, and the error passes."""
        with self.assertRaises(KeyError), self.turn:
            self.turn.later(self.events.append, 1)
            self.turn.send(FLOW, b"out")
            raise KeyError
        self.assertEqual(self.events, [1, b"out"])
        with self.turn:
            self.turn.send(FLOW, b"next")
        self.assertEqual(self.events[2:], [b"next"])

    def test_interrupted(self) -> None:
        """An interruption passes, but the outputs leave first."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt), self.turn:
            self.turn.send(FLOW, b"out")
            self.turn.later(interrupt)
        self.assertEqual(self.events, [b"out"])

    def test_budget(self) -> None:
        """Parts that feed each other without end are stopped and reported."""
        self.patch(turn_module, "MAX_UPCALLS", 5)

        def again() -> None:
            self.events.append("again")
            self.turn.later(again)

        with self.turn:
            self.turn.send(FLOW, b"out")
            self.turn.later(again)
        self.assertEqual(self.events, ["again"] * 5 + [b"out"])
        (failure,) = self.failures
        self.assertIn("5 upcalls", str(failure))

    def test_budget_just_kept(self) -> None:
        """As many upcalls as allowed are no failure."""
        self.patch(turn_module, "MAX_UPCALLS", 5)
        with self.turn:
            for number in range(5):
                self.turn.later(self.events.append, number)
        self.assertEqual((self.events, self.failures), ([0, 1, 2, 3, 4], []))

    def test_clock_is_read_once(self) -> None:
        """One turn has one time, that of its outermost beginning."""
        self.assertEqual(self.turn.now, 10.0)
        self.time = 11.0
        with self.turn:
            self.time = 12.0
            with self.turn:
                self.assertEqual(self.turn.now, 11.0)
        with self.turn:
            self.assertEqual(self.turn.now, 12.0)

    def test_closing(self) -> None:
        """The shell is called once when all is done, also when the block failed."""
        self.turn.closing = lambda: self.events.append("closing")
        with self.turn:
            with self.turn:
                self.turn.later(self.events.append, 1)
            self.turn.send(FLOW, b"out")
        self.assertEqual(self.events, [1, b"out", "closing"])
        with self.assertRaises(KeyError), self.turn:
            raise KeyError
        self.assertEqual(self.events[3:], ["closing"])

    def test_last(self) -> None:
        """What is wanted last runs once, when no upcall is left; what it causes runs as well."""

        def last() -> None:
            self.events.append("last")
            if self.events.count("last") == 1:
                self.turn.later(self.events.append, "caused")

        with self.turn:
            self.turn.last(last)
            self.turn.last(last)
            self.turn.later(self.events.append, "first")
        self.assertEqual(self.events, ["first", "last", "caused"])

    def test_turn_within_transmit(self) -> None:
        """What is sent by a turn that begins while outputs leave is not lost."""
        sent: list[bytes] = []

        def transmit(flow: Flow, wire: bytes) -> None:
            sent.append(wire)
            if wire == b"failing":
                with turn:
                    turn.send(FLOW, b"later")

        turn = Turn(transmit, self.failures.append, lambda: 0.0)
        with turn:
            turn.send(FLOW, b"failing")
            turn.send(FLOW, b"other")
        self.assertEqual(sorted(sent), [b"failing", b"later", b"other"])
