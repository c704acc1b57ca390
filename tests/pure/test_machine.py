# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for :mod:`sipsess.machine`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.machine import Cell, Table, check_complete, ignore, illegal, recording, row, to_dot

STATES = ("OFF", "ON")
EVENTS = ("PRESS", "RESET", "HEAT")


def _light_lamp(machine: object, payload: object, now: float) -> None:
    """Do nothing; its name is drawn."""


def lamp() -> Table:
    """Return a small complete table."""
    return {
        "OFF": row("OFF", {"PRESS": Cell("ON", (_light_lamp,))}, ignored=["RESET", "HEAT"]),
        "ON": row("ON", {"RESET": Cell("OFF")}, ignored=["HEAT"], refused=["PRESS"]),
    }


class CellTests(SynchronousTestCase):
    """Cells and rows."""

    def test_ignored_cell(self) -> None:
        """An ignored event is legal, does nothing and stays."""
        self.assertEqual(ignore("ON"), Cell("ON", (), True))

    def test_illegal_cell(self) -> None:
        """An illegal event stays, does nothing and says so."""
        self.assertEqual(illegal("ON"), Cell("ON", (), False))

    def test_row(self) -> None:
        """A row holds the cells given and one for each named event."""
        self.assertEqual(
            row("ON", {"A": Cell("OFF")}, ignored=["B"], refused=["C"]),
            {"A": Cell("OFF"), "B": ignore("ON"), "C": illegal("ON")},
        )

    def test_event_named_twice(self) -> None:
        """An event that is both handled and ignored, or ignored and refused, is a mistake."""
        self.assertRaises(ValueError, row, "ON", {"A": Cell("OFF")}, ignored=["A"])
        self.assertRaises(ValueError, row, "ON", {}, ignored=["A"], refused=["A"])


class CheckCompleteTests(SynchronousTestCase):
    """What check_complete finds."""

    def check(self, table: Table, text: str) -> None:
        """Assert that the table is refused with ``text``."""
        error = self.assertRaises(ValueError, check_complete, table, STATES, EVENTS)
        self.assertEqual(str(error), text)

    def test_complete(self) -> None:
        """A complete table passes."""
        check_complete(lamp(), STATES, EVENTS)

    def test_missing_cell(self) -> None:
        """A missing cell is named."""
        table = lamp()
        del table["ON"]["HEAT"]
        self.check(table, "ON has no cell for HEAT")

    def test_missing_state(self) -> None:
        """A missing state is named."""
        table = lamp()
        del table["ON"]
        self.check(table, "state ON is missing")

    def test_unknown_event(self) -> None:
        """An event that nobody listed is named."""
        table = lamp()
        table["ON"]["KICK"] = ignore("ON")
        self.check(table, "ON has the unknown event KICK")

    def test_unknown_states(self) -> None:
        """A state that nobody listed is named, and so is a cell that leads to one."""
        table = lamp()
        table["OFF"]["PRESS"] = Cell("BROKEN")
        self.check(table, "OFF leads on PRESS to the unknown state BROKEN")
        table = lamp()
        table["BROKEN"] = row("ON", {}, ignored=EVENTS)
        self.check(table, "state BROKEN is unknown")


class RecordingTests(SynchronousTestCase):
    """Recording which cells were looked up."""

    def test_recording(self) -> None:
        """The cells looked up within the block are recorded, and the table acts as before."""
        table = lamp()
        with recording({"LAMP": table}) as seen:
            self.assertEqual(table["OFF"]["PRESS"].next_state, "ON")
        table["ON"]["RESET"]
        self.assertEqual(seen, {("LAMP", "OFF", "PRESS")})

    def test_rows_come_back(self) -> None:
        """After the block, even a failing one, the rows are the plain ones."""
        table = lamp()
        plain = dict(table)
        with self.assertRaises(KeyError), recording({"LAMP": table}):
            table["OFF"]["KICK"]
        for state, cells in plain.items():
            self.assertIs(table[state], cells)


class DotTests(SynchronousTestCase):
    """The diagrams."""

    def test_dot(self) -> None:
        """Edges for cells that do something, a note for the others."""
        self.assertEqual(
            to_dot("LAMP", lamp(), initial="OFF"),
            """digraph LAMP {
    label="LAMP"; labelloc=t; node [shape=box, style=rounded];
    start [shape=point];
    start -> OFF;
    OFF;
    OFF -> ON [label="PRESS\\nlight lamp"];
    ON;
    ON -> OFF [label="RESET"];
    note [shape=note, style="", label="\\
OFF ignores: RESET, HEAT\\l\\
ON ignores: HEAT\\l\\
ON never sees: PRESS\\l\\
"];
}
""",
        )

    def test_several_beginnings(self) -> None:
        """A machine may begin in several states."""
        text = to_dot("LAMP", lamp(), initial=("OFF", "ON"))
        self.assertIn("    start -> OFF;\n    start -> ON;\n", text)

    def test_long_notes(self) -> None:
        """A long note is wrapped."""
        events = [f"EVENT_{number}" for number in range(20)]
        text = to_dot("LONG", {"END": row("END", {}, ignored=events)}, initial="END")
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 100)
        self.assertIn("EVENT_7,\\l\\\n    EVENT_8, ", text)

    def test_final_state_without_notes(self) -> None:
        """A state that nothing leaves has a double border; no note when there is nothing to say."""
        table = {"END": {"ECHO": Cell("END", (_light_lamp,))}}
        self.assertEqual(
            to_dot("SHORT", table, initial="END").splitlines()[4:],
            ["    END [peripheries=2];", '    END -> END [label="ECHO\\nlight lamp"];', "}"],
        )
