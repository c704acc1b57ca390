# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One registration of ours: when a REGISTER goes out, and when it must not.

Theory of operation
    One machine, one table. At most one REGISTER is outstanding (:rfc:`3261#section-10.2`: a new one
    waits for the final response to the one before, or its time-out), so whoever stops meanwhile
    waits for that response and removes the binding then. Between two REGISTERs one timer runs: for
    the first one, for the refresh, or for the next attempt.
"""

from __future__ import annotations

from typing import Protocol

from sipsess.machine import Cell, Table, check_complete, row

#: Nothing was sent yet; the first REGISTER is planned, so that many do not go out at once.
IDLE = "IDLE"
#: A REGISTER is outstanding, the first one or a refresh.
REGISTERING = "REGISTERING"
#: The binding stands; the refresh is planned.
REGISTERED = "REGISTERED"
#: A REGISTER came to nothing; the next one is planned.
WAITING = "WAITING"
#: A REGISTER is outstanding, and then the binding shall go.
STOPPING = "STOPPING"
#: The removal is outstanding.
UNREGISTERING = "UNREGISTERING"
STOPPED = "STOPPED"

STATES = (IDLE, REGISTERING, REGISTERED, WAITING, STOPPING, UNREGISTERING, STOPPED)

START = "START"
#: The timer has fired.
DUE = "DUE"
#: A 2xx.
SUCCEED = "SUCCEED"
#: The registrar wants something else, which it can have: credentials, a longer time.
TRY_AGAIN = "TRY_AGAIN"
#: Refused, no answer, or no way to the registrar.
FAIL = "FAIL"
#: The flow of the binding is lost (:rfc:`5626#section-4.5`).
LOSE_FLOW = "LOSE_FLOW"
STOP = "STOP"

EVENTS = (START, DUE, SUCCEED, TRY_AGAIN, FAIL, LOSE_FLOW, STOP)


class RegistrationOwner(Protocol):
    """What the client does when the table says so."""

    def plan(self) -> None:
        """Start the timer with the delay that was decided."""

    def unplan(self) -> None:
        """Stop the timer."""

    def register(self) -> None:
        """Send a REGISTER."""

    def unregister(self) -> None:
        """Send a REGISTER that removes the binding (10.2.2)."""

    def ended(self) -> None:
        """The registration is over; tell who waits for that."""


def _plan(owner: RegistrationOwner) -> None:
    owner.plan()


def _unplan(owner: RegistrationOwner) -> None:
    owner.unplan()


def _register(owner: RegistrationOwner) -> None:
    owner.register()


def _unregister(owner: RegistrationOwner) -> None:
    owner.unregister()


def _end(owner: RegistrationOwner) -> None:
    owner.ended()


_OUTCOMES = (SUCCEED, TRY_AGAIN, FAIL)

TABLE: Table = {
    IDLE: row(
        IDLE,
        {
            DUE: Cell(REGISTERING, (_register,)),
            STOP: Cell(STOPPED, (_unplan, _end)),
        },
        ignored=(LOSE_FLOW,),
        refused=(START, *_OUTCOMES),
    ),
    REGISTERING: row(
        REGISTERING,
        {
            SUCCEED: Cell(REGISTERED, (_plan,)),
            TRY_AGAIN: Cell(REGISTERING, (_register,)),
            FAIL: Cell(WAITING, (_plan,)),
            STOP: Cell(STOPPING),
        },
        # The REGISTER fails with the flow, or is answered by another.
        ignored=(LOSE_FLOW,),
        refused=(START, DUE),
    ),
    REGISTERED: row(
        REGISTERED,
        {
            DUE: Cell(REGISTERING, (_register,)),
            LOSE_FLOW: Cell(WAITING, (_unplan, _plan)),
            STOP: Cell(UNREGISTERING, (_unplan, _unregister)),
        },
        refused=(START, *_OUTCOMES),
    ),
    WAITING: row(
        WAITING,
        {
            DUE: Cell(REGISTERING, (_register,)),
            # An earlier binding, or one whose answer was lost, may still be there.
            STOP: Cell(UNREGISTERING, (_unplan, _unregister)),
        },
        ignored=(LOSE_FLOW,),
        refused=(START, *_OUTCOMES),
    ),
    STOPPING: row(
        STOPPING,
        {
            SUCCEED: Cell(UNREGISTERING, (_unregister,)),
            TRY_AGAIN: Cell(UNREGISTERING, (_unregister,)),
            FAIL: Cell(STOPPED, (_end,)),
        },
        ignored=(LOSE_FLOW, STOP),
        refused=(START, DUE),
    ),
    UNREGISTERING: row(
        UNREGISTERING,
        {
            SUCCEED: Cell(STOPPED, (_end,)),
            TRY_AGAIN: Cell(UNREGISTERING, (_unregister,)),
            # It expires by itself.
            FAIL: Cell(STOPPED, (_end,)),
        },
        ignored=(LOSE_FLOW, STOP),
        refused=(START, DUE),
    ),
    STOPPED: row(
        STOPPED,
        {START: Cell(IDLE, (_plan,))},
        ignored=(LOSE_FLOW, STOP),
        refused=(DUE, *_OUTCOMES),
    ),
}

check_complete(TABLE, STATES, EVENTS)
