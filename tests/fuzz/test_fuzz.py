# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Some seconds of fuzzing; with ``SIPSESS_LONG=1`` some minutes of it, from another seed.

What it has found stands, by name, where the tests of the part are that was wrong.
"""

from __future__ import annotations

import io
import os
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from sipsess.core import SIPCore
from sipsess.failures import FailureLog
from sipsess.message.framing import StreamFramer
from tests.fuzz import campaign
from tests.fuzz.__main__ import main
from tests.fuzz.campaign import Result, run, run_field
from tests.fuzz.corpus import load
from tests.fuzz.field import Field

IS_LONG = bool(os.environ.get("SIPSESS_LONG"))
#: Datagrams fed, in how many seconds at most; what is fed decides, mostly.
COUNT, SECONDS = (200_000, 300.0) if IS_LONG else (6_000, 20.0)


class FuzzTests(SynchronousTestCase):
    """The run itself."""

    def test_mutated_datagrams(self) -> None:
        """Nothing raises, nothing is left, memory is level, and a good call works."""
        result = run(load(), seed=1_000_000 if IS_LONG else 0, count=COUNT, seconds=SECONDS)
        self.assertGreaterEqual(result.fields, 1)


class FindingTests(SynchronousTestCase):
    """That it would find something."""

    def found(self, pattern: str) -> None:
        """A field finds something of that kind within a few batches."""
        field = Field(1, load())
        try:
            error = self.assertRaises(AssertionError, self._play, field)
        finally:
            field.close()
            self.flushLoggedErrors()
        self.assertRegex(str(error), pattern)
        self.assertIn("seed 1, ", str(error))

    def _play(self, field: Field) -> None:
        for _ in range(4):
            field.batch(300)

    def test_what_raises(self) -> None:
        """A bug where strays are received."""
        with patch.object(SIPCore, "_receive_stray", side_effect=KeyError("here")):
            self.found("KeyError(.|\n)*counted an internal error")

    def test_what_is_caught_outside(self) -> None:
        """A bug that the core itself does not survive."""
        with (
            patch.object(SIPCore, "_receive_stray", side_effect=KeyError("here")),
            patch.object(FailureLog, "internal_error", side_effect=RuntimeError("there")),
        ):
            self.found("caught something")

    def test_what_is_left(self) -> None:
        """A timer that nobody stops."""
        field = Field(1, load())
        self.addCleanup(field.close)
        field.net.callLater(1e6, lambda: None)
        error = self.assertRaises(AssertionError, field.batch, 10)
        self.assertIn("delayed call", str(error))

    def test_too_much_in_the_log(self) -> None:
        """Lines that each datagram can cause."""
        field = Field(1, load())
        self.addCleanup(field.close)
        with patch.object(Field, "_act", lambda field: setattr(field.lines, "count", 1000)):
            error = self.assertRaises(AssertionError, field.batch, 10)
        self.assertIn("1000 lines were logged", str(error))

    def test_a_call_that_does_not_work(self) -> None:
        """The good call afterwards is refused."""
        field = Field(1, load())
        self.addCleanup(field.close)
        for person in field.scene.people.values():
            person.manager.is_stopping = True
        error = self.assertRaises(AssertionError, field.batch, 10)
        self.assertIn("a good call failed", str(error))

    def test_memory(self) -> None:
        """Objects that each batch leaves behind."""
        kept: list[list[object]] = []

        def batch(field: Field, count: int) -> None:
            kept.extend([] for _ in range(campaign.MAX_GROWTH))

        with patch.object(Field, "batch", batch):
            error = self.assertRaises(AssertionError, run_field, 1, load(), Result())
        self.assertRegex(str(error), "seed 1: [0-9]+ objects are more than they were")

    def test_streams(self) -> None:
        """A framer that raises."""

        def feed(*args: object) -> None:
            raise ValueError("here")  # another one each time: their tracebacks would add up

        with (
            patch.object(StreamFramer, "feed", side_effect=feed),
            patch.object(Field, "batch"),
        ):
            error = self.assertRaises(AssertionError, run_field, 1, load(), Result())
        self.flushLoggedErrors(ValueError)
        self.assertRegex(str(error), "seed 1, (.|\n)*a connection caught something")

    def test_what_nothing_catches(self) -> None:
        """An exception that reaches the network is told with its seed."""
        with patch.object(Field, "batch", side_effect=ValueError("here")):
            error = self.assertRaises(AssertionError, run_field, 1, load(), Result())
        self.assertEqual(str(error), "seed 1, after 0 datagrams: ValueError('here')")


class RunTests(SynchronousTestCase):
    """How long it runs."""

    def test_limits(self) -> None:
        """Until there are as many datagrams, or seconds, as were asked for."""

        def play(seed: int, corpus: object, result: Result) -> None:
            result.datagrams += 10

        times = iter(range(100))
        with patch.object(campaign, "run_field", play):
            self.assertEqual(run([], seed=0, count=25, seconds=1e9).fields, 3)
            result = run([], seed=0, count=10**9, seconds=5, clock=lambda: float(next(times)))
        self.assertEqual(result.fields, 5)

    def test_command(self) -> None:
        """The command says how far it is, and whether something was found."""
        found = AssertionError("seed 3: this")
        for effect, status, text in (
            (lambda *args, **kwargs: kwargs["tell"](Result(fields=20)), 0, "20 fields"),
            (found, 1, "FOUND seed 3: this"),
        ):
            output = io.StringIO()
            with (
                patch("tests.fuzz.__main__.run", side_effect=effect),
                patch("sys.argv", ["fuzz", "--seed", "3"]),
                patch("sys.stdout", output),
            ):
                self.assertEqual(main(), status)
            self.assertIn(text, output.getvalue())

    def test_a_seed_says_all(self) -> None:
        """The same seed feeds the same datagrams."""
        traces = []
        for _ in range(2):
            field = Field(7, load())
            self.addCleanup(field.close)
            with patch.object(Field, "_forget"):
                field.batch(200)
            traces.append([(event.time, event.data) for event in field.net.trace])
        self.assertEqual(*traces)
