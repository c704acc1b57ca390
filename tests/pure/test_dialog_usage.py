# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The INVITE usage, cell by cell: what each event does in each state, for both roles."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.dialog import InviteUsage
from sipsess.dialog.usage import (
    ACCEPTED,
    ANSWERED,
    ANSWERED_ENDING,
    CALLING,
    CANCEL_WAITING,
    CANCELLING,
    CONFIRMED,
    ENDING,
    EVENTS,
    INCOMING,
    PROCEEDING,
    STATES,
    TABLE,
    TERMINATED,
    TERMINATING,
)
from sipsess.errors import IllegalTransition
from sipsess.flow import Flow
from sipsess.turn import Turn

#: The events in the order of the columns below.
COLUMNS = (
    *("SEND_SUCCESS", "SEND_FAILURE", "RECEIVE_CANCEL", "RECEIVE_ACK", "ACK_TIMEOUT"),
    *("RECEIVE_PROVISIONAL", "RECEIVE_SUCCESS", "RECEIVE_FAILURE", "SEND_ACK", "SEND_AGAIN"),
    *("CANCEL_TIMEOUT", "HANG_UP", "RECEIVE_BYE", "BYE_DONE", "FAIL"),
)

#: The whole table, written down a second time, by hand: ``-`` is ignored, ``!`` is a bug of ours;
#: else the next state, and after the colon what the owner is told.
EXPECTED = """
INCOMING: ACCEPTED TERMINATED:end TERMINATED:487,end ! !  ! ! ! ! !
    !  TERMINATED:reject,end TERMINATED:487,end ! TERMINATED:end
ACCEPTED: ! ! ! CONFIRMED:confirmed TERMINATING:bye  ! ! ! ! !
    !  ENDING TERMINATED:end ! TERMINATED:end
ENDING: ! ! ! TERMINATING:bye TERMINATING:bye  ! ! ! ! !
    !  ! TERMINATED:end ! TERMINATED:end
CALLING: ! ! ! ! !  PROCEEDING ANSWERED TERMINATED:end ! CALLING
    !  CANCEL_WAITING ! ! TERMINATED:end
PROCEEDING: ! ! ! ! !  - ANSWERED TERMINATED:end ! CALLING
    !  CANCELLING:cancel - ! TERMINATED:end
CANCEL_WAITING: ! ! ! ! !  CANCELLING:cancel ANSWERED_ENDING TERMINATED:end ! !
    !  ! ! ! TERMINATED:end
CANCELLING: ! ! ! ! !  - ANSWERED_ENDING TERMINATED:end ! !
    TERMINATED:end  ! - ! TERMINATED:end
ANSWERED: ! ! ! ! !  ! ! ! CONFIRMED:confirmed !
    !  ANSWERED_ENDING TERMINATED:end ! !
ANSWERED_ENDING: ! ! ! ! !  ! ! ! TERMINATING:bye !
    !  ! ! ! !
CONFIRMED: ! ! ! - TERMINATING:bye  ! ! ! ! !
    !  TERMINATING:bye TERMINATED:end ! TERMINATED:end
TERMINATING: ! ! ! - -  ! ! ! ! !
    -  - TERMINATED:end TERMINATED:end TERMINATED:end
TERMINATED: ! ! - - -  - - - ! !
    -  - - - -
"""


class Owner:
    """Writes down what the table asks for."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def send_rejection(self) -> None:
        """Note it."""
        self.told.append("reject")

    def send_request_terminated(self) -> None:
        """Note it."""
        self.told.append("487")

    def send_cancel(self) -> None:
        """Note it."""
        self.told.append("cancel")

    def send_bye(self) -> None:
        """Note it."""
        self.told.append("bye")

    def usage_confirmed(self) -> None:
        """Note it."""
        self.told.append("confirmed")

    def usage_ended(self) -> None:
        """Note it."""
        self.told.append("end")


def read_expected() -> dict[tuple[str, str], str]:
    """Return (state, event) to the cell's text."""
    cells = {}
    for line in EXPECTED.replace("\n    ", " ").strip().splitlines():
        state, _, rest = line.partition(": ")
        words = rest.split()
        assert len(words) == len(COLUMNS), state
        cells.update({(state, event): word for event, word in zip(COLUMNS, words, strict=True)})
    return cells


class UsageTestCase(SynchronousTestCase):
    """A usage and what its owner was told."""

    def make(self, *, is_callee: bool = True) -> InviteUsage:
        """Return a usage with a new owner."""
        self.owner = Owner()
        self.failures: list[BaseException] = []
        self.turn = Turn(self._transmit, self.failures.append, lambda: 0.0)
        return InviteUsage(self.owner, self.turn, is_callee=is_callee)

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        self.fail("the table sends nothing itself")

    def feed(self, usage: InviteUsage, *events: str) -> list[str]:
        """Feed events, each in a turn of its own; return what the owner was told."""
        self.owner.told.clear()
        for event in events:
            with self.turn:
                usage.feed(event)
                told = list(self.owner.told)
            self.assertEqual(told, self.owner.told[: len(told)])
        self.assertEqual(self.failures, [])
        return list(self.owner.told)


class CellTests(UsageTestCase):
    """Each of the 180 cells."""

    def test_every_cell(self) -> None:
        """Every pair of state and event does what the table in this test says, and nothing else."""
        expected = read_expected()
        self.assertEqual({state for state, _ in expected}, set(STATES))
        self.assertEqual(set(COLUMNS), set(EVENTS))
        for (state, event), cell in expected.items():
            usage = self.make()
            usage.state = state
            if cell == "!":
                error = self.assertRaises(IllegalTransition, self.feed, usage, event)
                self.assertEqual((error.state, error.event), (state, event))
                self.assertEqual((usage.state, self.owner.told), (state, []))
                continue
            next_state, _, told = ("", "", "") if cell == "-" else cell.partition(":")
            self.feed(usage, event)
            wanted = (next_state or state, told.split(",") if told else [])
            self.assertEqual((usage.state, self.owner.told), wanted, f"{state} x {event}")

    def test_each_state_can_be_reached(self) -> None:
        """No state of the table is dead."""
        seen = {INCOMING, CALLING}
        for _ in STATES:
            seen |= {cell.next_state for state in seen for cell in TABLE[state].values()}
        self.assertEqual(seen, set(STATES))

    def test_the_end_comes_exactly_once(self) -> None:
        """Entering TERMINATED tells usage_ended as the last thing; nothing else ever does."""
        for state, cells in TABLE.items():
            for event, cell in cells.items():
                names = [action.__name__ for action in cell.actions]
                enters = cell.next_state == TERMINATED and state != TERMINATED
                self.assertEqual(names[-1:] == ["_end"], enters, f"{state} x {event}")
                self.assertEqual(names.count("_end"), int(enters))

    def test_nothing_is_told_within_the_step(self) -> None:
        """The owner hears of it through the turn, when the state is final."""
        usage = self.make()
        with self.turn:
            usage.feed("HANG_UP")
            self.assertEqual((usage.state, self.owner.told), (TERMINATED, []))
        self.assertEqual(self.owner.told, ["reject", "end"])


class StoryTests(UsageTestCase):
    """Whole calls, through the events alone."""

    def test_callee_hangs_up_before_the_ack(self) -> None:
        """RFC 3261 section 15: the callee's BYE waits for the ACK of its 2xx."""
        usage = self.make()
        self.assertEqual(self.feed(usage, "SEND_SUCCESS", "HANG_UP"), [])
        self.assertEqual(usage.state, ENDING)
        self.assertEqual(self.feed(usage, "RECEIVE_ACK"), ["bye"])
        self.assertEqual(self.feed(usage, "BYE_DONE"), ["end"])
        self.assertEqual(self.feed(usage, "BYE_DONE", "FAIL", "RECEIVE_BYE"), [])

    def test_callee_without_ack(self) -> None:
        """13.3.1.4: when no ACK comes, the session is ended with BYE."""
        usage = self.make()
        self.assertEqual(self.feed(usage, "SEND_SUCCESS", "ACK_TIMEOUT"), ["bye"])
        self.assertEqual(usage.state, TERMINATING)

    def test_caller_cancels_before_anything_came(self) -> None:
        """9.1: no CANCEL leaves before a provisional response."""
        usage = self.make(is_callee=False)
        self.assertEqual(self.feed(usage, "HANG_UP"), [])
        self.assertEqual(usage.state, CANCEL_WAITING)
        self.assertEqual(self.feed(usage, "RECEIVE_PROVISIONAL"), ["cancel"])
        self.assertEqual(usage.state, CANCELLING)
        self.assertEqual(self.feed(usage, "RECEIVE_FAILURE"), ["end"])

    def test_success_crosses_the_cancel(self) -> None:
        """RFC 5407 section 3.1.2: the 2xx that crosses a CANCEL is acknowledged, then BYE."""
        usage = self.make(is_callee=False)
        self.feed(usage, "RECEIVE_PROVISIONAL", "HANG_UP", "RECEIVE_SUCCESS")
        self.assertEqual(usage.state, ANSWERED_ENDING)
        self.assertEqual(self.feed(usage, "SEND_ACK", "CANCEL_TIMEOUT", "BYE_DONE"), ["bye", "end"])

    def test_bye_crosses_bye(self) -> None:
        """RFC 5407 section 3.2.1: both sides hang up; the usage ends once."""
        usage = self.make(is_callee=False)
        self.feed(usage, "RECEIVE_SUCCESS", "SEND_ACK")
        self.assertEqual(usage.state, CONFIRMED)
        self.assertEqual(self.feed(usage, "HANG_UP", "RECEIVE_BYE", "BYE_DONE"), ["bye", "end"])

    def test_what_is_answered_and_what_is_over(self) -> None:
        """The two questions that the session asks, in each state."""
        answered = {ACCEPTED, ENDING, ANSWERED, ANSWERED_ENDING, CONFIRMED, TERMINATING}
        usage = self.make()
        for state in STATES:
            usage.state = state
            self.assertEqual(usage.is_answered, state in answered, state)
            self.assertEqual(usage.is_over, state == TERMINATED, state)

    def test_where_each_role_begins(self) -> None:
        """The callee has an INVITE to answer, the caller one to send."""
        self.assertEqual(self.make(is_callee=True).state, INCOMING)
        usage = self.make(is_callee=False)
        self.assertEqual(usage.state, CALLING)
        self.feed(usage, "RECEIVE_PROVISIONAL")
        self.assertEqual(usage.state, PROCEEDING)
