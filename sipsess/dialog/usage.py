# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The INVITE usage of a dialog (:rfc:`5057`), both roles: how a call begins, is confirmed and ends.

Theory of operation
    One machine, one table. Its events are what happened to the call: an INVITE was answered, an ACK
    came, somebody wants to hang up. Its actions tell the owner, through the turn, what to do:
    cancel, send a BYE, end. The table knows who may do what when:

    - a UAS that wants to hang up after its 2xx waits for the ACK, or for the end of the 2xx's
      retransmission (:rfc:`3261#section-15`, 13.3.1.4);
    - a UAC that wants to hang up before anything came waits for a provisional response, because a
      CANCEL may overtake its INVITE (:rfc:`3261#section-9.1`);
    - a 2xx that crosses a CANCEL is acknowledged and the call then ended with BYE
      (:rfc:`5407#section-3.1.2`);
    - after CANCEL the UAC waits 64*T1 for the INVITE's final response and then forgets it (9.1);
    - whatever crosses a BYE changes nothing any more.

    The re-INVITEs and other requests within the call are the session's affair, not this table's.
"""

from __future__ import annotations

from typing import Protocol

from sipsess.errors import IllegalTransition
from sipsess.machine import Cell, Table, check_complete, row
from sipsess.turn import Turn

# States of the callee.
INCOMING = "INCOMING"
ACCEPTED = "ACCEPTED"
ENDING = "ENDING"
# States of the caller.
CALLING = "CALLING"
PROCEEDING = "PROCEEDING"
CANCEL_WAITING = "CANCEL_WAITING"
CANCELLING = "CANCELLING"
ANSWERED = "ANSWERED"
ANSWERED_ENDING = "ANSWERED_ENDING"
# States of both.
CONFIRMED = "CONFIRMED"
TERMINATING = "TERMINATING"
TERMINATED = "TERMINATED"

STATES = (
    INCOMING,
    ACCEPTED,
    ENDING,
    CALLING,
    PROCEEDING,
    CANCEL_WAITING,
    CANCELLING,
    ANSWERED,
    ANSWERED_ENDING,
    CONFIRMED,
    TERMINATING,
    TERMINATED,
)

# What the callee does, and what happens to it.
SEND_SUCCESS = "SEND_SUCCESS"
SEND_FAILURE = "SEND_FAILURE"
RECEIVE_CANCEL = "RECEIVE_CANCEL"
RECEIVE_ACK = "RECEIVE_ACK"
ACK_TIMEOUT = "ACK_TIMEOUT"
# What happens to the caller.
RECEIVE_PROVISIONAL = "RECEIVE_PROVISIONAL"
RECEIVE_SUCCESS = "RECEIVE_SUCCESS"
RECEIVE_FAILURE = "RECEIVE_FAILURE"
SEND_ACK = "SEND_ACK"
SEND_AGAIN = "SEND_AGAIN"
CANCEL_TIMEOUT = "CANCEL_TIMEOUT"
# Both.
HANG_UP = "HANG_UP"
RECEIVE_BYE = "RECEIVE_BYE"
BYE_DONE = "BYE_DONE"
FAIL = "FAIL"

EVENTS = (
    SEND_SUCCESS,
    SEND_FAILURE,
    RECEIVE_CANCEL,
    RECEIVE_ACK,
    ACK_TIMEOUT,
    RECEIVE_PROVISIONAL,
    RECEIVE_SUCCESS,
    RECEIVE_FAILURE,
    SEND_ACK,
    SEND_AGAIN,
    CANCEL_TIMEOUT,
    HANG_UP,
    RECEIVE_BYE,
    BYE_DONE,
    FAIL,
)


class UsageOwner(Protocol):
    """What the session does when the table says so; each call is an upcall of the turn."""

    def send_rejection(self) -> None:
        """Answer the initial INVITE with the failure that the hang-up asked for."""

    def send_request_terminated(self) -> None:
        """Answer the cancelled INVITE with 487 (:rfc:`3261#section-9.2`)."""

    def send_cancel(self) -> None:
        """Cancel the INVITE and wait 64*T1 for its end."""

    def send_bye(self) -> None:
        """Send the BYE; :data:`BYE_DONE` when it was answered or failed."""

    def usage_confirmed(self) -> None:
        """The call stands: as UAS its ACK came, as UAC its ACK was sent."""

    def usage_ended(self) -> None:
        """The usage is over; comes exactly once."""


def _reject(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.send_rejection)


def _answer_cancelled(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.send_request_terminated)


def _cancel(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.send_cancel)


def _send_bye(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.send_bye)


def _confirm(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.usage_confirmed)


def _end(machine: InviteUsage) -> None:
    machine.turn.later(machine.owner.usage_ended)


_CALLEE = (SEND_SUCCESS, SEND_FAILURE, RECEIVE_CANCEL, RECEIVE_ACK, ACK_TIMEOUT)
_CALLER = (
    RECEIVE_PROVISIONAL,
    RECEIVE_SUCCESS,
    RECEIVE_FAILURE,
    SEND_ACK,
    SEND_AGAIN,
    CANCEL_TIMEOUT,
)

_OF_INVITE = (RECEIVE_PROVISIONAL, RECEIVE_SUCCESS, RECEIVE_FAILURE)

TABLE: Table = {
    INCOMING: row(
        INCOMING,
        {
            SEND_SUCCESS: Cell(ACCEPTED),
            SEND_FAILURE: Cell(TERMINATED, (_end,)),
            RECEIVE_CANCEL: Cell(TERMINATED, (_answer_cancelled, _end)),
            HANG_UP: Cell(TERMINATED, (_reject, _end)),
            # A BYE in the early dialog ends it; the INVITE gets 487 (15.1.2).
            RECEIVE_BYE: Cell(TERMINATED, (_answer_cancelled, _end)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        refused=(RECEIVE_ACK, ACK_TIMEOUT, BYE_DONE, *_CALLER),
    ),
    ACCEPTED: row(
        ACCEPTED,
        {
            RECEIVE_ACK: Cell(CONFIRMED, (_confirm,)),
            # 13.3.1.4: without ACK the dialog stands, but the session shall be ended.
            ACK_TIMEOUT: Cell(TERMINATING, (_send_bye,)),
            HANG_UP: Cell(ENDING),
            RECEIVE_BYE: Cell(TERMINATED, (_end,)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        # 9.2: a CANCEL after the final response has no effect; it is answered, and that is all.
        refused=(SEND_SUCCESS, SEND_FAILURE, RECEIVE_CANCEL, BYE_DONE, *_CALLER),
    ),
    ENDING: row(
        ENDING,
        {
            RECEIVE_ACK: Cell(TERMINATING, (_send_bye,)),
            ACK_TIMEOUT: Cell(TERMINATING, (_send_bye,)),
            RECEIVE_BYE: Cell(TERMINATED, (_end,)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        refused=(SEND_SUCCESS, SEND_FAILURE, RECEIVE_CANCEL, HANG_UP, BYE_DONE, *_CALLER),
    ),
    CALLING: row(
        CALLING,
        {
            RECEIVE_PROVISIONAL: Cell(PROCEEDING),
            RECEIVE_SUCCESS: Cell(ANSWERED),
            RECEIVE_FAILURE: Cell(TERMINATED, (_end,)),
            # A supplement sends the INVITE again, changed, after a failure.
            SEND_AGAIN: Cell(CALLING),
            HANG_UP: Cell(CANCEL_WAITING),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        # There is no dialog yet, and those of an attempt before are over.
        refused=(SEND_ACK, CANCEL_TIMEOUT, RECEIVE_BYE, BYE_DONE, *_CALLEE),
    ),
    PROCEEDING: row(
        PROCEEDING,
        {
            RECEIVE_SUCCESS: Cell(ANSWERED),
            RECEIVE_FAILURE: Cell(TERMINATED, (_end,)),
            SEND_AGAIN: Cell(CALLING),
            HANG_UP: Cell(CANCELLING, (_cancel,)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        # 15: the callee must not send BYE in an early dialog; the INVITE's end decides.
        ignored=(RECEIVE_PROVISIONAL, RECEIVE_BYE),
        refused=(SEND_ACK, CANCEL_TIMEOUT, BYE_DONE, *_CALLEE),
    ),
    CANCEL_WAITING: row(
        CANCEL_WAITING,
        {
            RECEIVE_PROVISIONAL: Cell(CANCELLING, (_cancel,)),
            RECEIVE_SUCCESS: Cell(ANSWERED_ENDING),
            RECEIVE_FAILURE: Cell(TERMINATED, (_end,)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        refused=(SEND_ACK, SEND_AGAIN, CANCEL_TIMEOUT, HANG_UP, RECEIVE_BYE, BYE_DONE, *_CALLEE),
    ),
    CANCELLING: row(
        CANCELLING,
        {
            RECEIVE_SUCCESS: Cell(ANSWERED_ENDING),
            RECEIVE_FAILURE: Cell(TERMINATED, (_end,)),
            CANCEL_TIMEOUT: Cell(TERMINATED, (_end,)),
            FAIL: Cell(TERMINATED, (_end,)),
        },
        ignored=(RECEIVE_PROVISIONAL, RECEIVE_BYE),
        refused=(SEND_ACK, SEND_AGAIN, HANG_UP, BYE_DONE, *_CALLEE),
    ),
    ANSWERED: row(
        ANSWERED,
        {
            SEND_ACK: Cell(CONFIRMED, (_confirm,)),
            HANG_UP: Cell(ANSWERED_ENDING),
            RECEIVE_BYE: Cell(TERMINATED, (_end,)),
        },
        # What comes of the INVITE now is a copy, or of another fork: none of this usage.
        refused=(*_OF_INVITE, SEND_AGAIN, CANCEL_TIMEOUT, BYE_DONE, FAIL, *_CALLEE),
    ),
    # The ACK follows in the same turn.
    ANSWERED_ENDING: row(
        ANSWERED_ENDING,
        {SEND_ACK: Cell(TERMINATING, (_send_bye,))},
        refused=(
            *_OF_INVITE,
            SEND_AGAIN,
            CANCEL_TIMEOUT,
            HANG_UP,
            RECEIVE_BYE,
            BYE_DONE,
            FAIL,
            *_CALLEE,
        ),
    ),
    CONFIRMED: row(
        CONFIRMED,
        {
            HANG_UP: Cell(TERMINATING, (_send_bye,)),
            RECEIVE_BYE: Cell(TERMINATED, (_end,)),
            # Of a re-INVITE.
            ACK_TIMEOUT: Cell(TERMINATING, (_send_bye,)),
            # The server stops, and an ACK that the BYE has to wait for did not come.
            FAIL: Cell(TERMINATED, (_end,)),
        },
        # Of a re-INVITE.
        ignored=(RECEIVE_ACK,),
        refused=(
            *_OF_INVITE,
            SEND_SUCCESS,
            SEND_FAILURE,
            RECEIVE_CANCEL,
            SEND_ACK,
            SEND_AGAIN,
            CANCEL_TIMEOUT,
            BYE_DONE,
        ),
    ),
    TERMINATING: row(
        TERMINATING,
        {
            BYE_DONE: Cell(TERMINATED, (_end,)),
            # BYE crosses BYE: each side answers the other's (RFC 5407 3.2.1).
            RECEIVE_BYE: Cell(TERMINATED, (_end,)),
            # The server stops, and the BYE was not answered.
            FAIL: Cell(TERMINATED, (_end,)),
        },
        # Of several 2xx, one had no ACK in time; and the wait of a CANCEL ends (9.1).
        ignored=(RECEIVE_ACK, ACK_TIMEOUT, CANCEL_TIMEOUT, HANG_UP),
        refused=(
            *_OF_INVITE,
            SEND_SUCCESS,
            SEND_FAILURE,
            RECEIVE_CANCEL,
            SEND_ACK,
            SEND_AGAIN,
        ),
    ),
    TERMINATED: row(
        TERMINATED,
        {},
        ignored=(
            RECEIVE_CANCEL,
            RECEIVE_ACK,
            ACK_TIMEOUT,
            RECEIVE_PROVISIONAL,
            RECEIVE_SUCCESS,
            RECEIVE_FAILURE,
            CANCEL_TIMEOUT,
            HANG_UP,
            RECEIVE_BYE,
            BYE_DONE,
            FAIL,
        ),
        refused=(SEND_SUCCESS, SEND_FAILURE, SEND_ACK, SEND_AGAIN),
    ),
}

check_complete(TABLE, STATES, EVENTS)


class InviteUsage:
    """
    The machine of one call.

    :param owner: told, through the turn, what to do.
    :param is_callee: whether the INVITE came to us.
    """

    __slots__ = ("owner", "state", "turn")

    def __init__(self, owner: UsageOwner, turn: Turn, *, is_callee: bool) -> None:
        self.owner = owner
        self.turn = turn
        self.state = INCOMING if is_callee else CALLING

    def feed(self, event: str) -> None:
        """
        Take one event.

        :raises IllegalTransition: when this side must never feed it in this state.
        """
        cell = TABLE[self.state][event]
        if not cell.legal:
            raise IllegalTransition("INVITE_USAGE", self.state, event)
        self.state = cell.next_state
        for action in cell.actions:
            action(self)

    def retire(self) -> None:
        """Let go of the owner: the usage has ended, and nobody will be told anything."""
        del self.owner

    @property
    def is_answered(self) -> bool:
        """Whether a 2xx was sent or received and the call is not over."""
        return self.state in _ANSWERED

    @property
    def is_over(self) -> bool:
        """Whether the usage has ended."""
        return self.state == TERMINATED


_ANSWERED = frozenset({ACCEPTED, ENDING, ANSWERED, ANSWERED_ENDING, CONFIRMED, TERMINATING})
