# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The tables of the two client transactions: :rfc:`3261#section-17.1` with :rfc:`6026`.

Theory of operation
    ``INVITE_CLIENT`` transcribes figure 5 of RFC 3261 as RFC 6026 section 7.2 changes it: a 2xx
    leads to ACCEPTED, where each further 2xx is passed up for 64*T1 (Timer M). The machine itself
    sends the ACK of any other final response, and again for each copy of it.
    ``NON_INVITE_CLIENT`` transcribes figure 6: Timer E goes on in PROCEEDING, every T2.

    Two cells differ from the figures. Once the TU has the final response, a transport error ends
    nothing that it could use, so it is not told (COMPLETED and ACCEPTED). In PROCEEDING an INVITE
    sends nothing, but its flow may be lost, and then no response can come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import Timeout
from sipsess.machine import Cell, Table, row
from sipsess.message import Response, build_ack
from sipsess.transaction._base import (
    ABANDON,
    TERMINATED,
    TRANSPORT_ERROR,
    inform_user,
    make_firing,
    send_again,
    terminate,
)

if TYPE_CHECKING:
    from sipsess.transaction.client import ClientTransaction

CALLING = "CALLING"
TRYING = "TRYING"
PROCEEDING = "PROCEEDING"
ACCEPTED = "ACCEPTED"
COMPLETED = "COMPLETED"

RESPONSE_1XX = "RESPONSE_1XX"
RESPONSE_2XX = "RESPONSE_2XX"
RESPONSE_300_699 = "RESPONSE_300_699"
RESPONSE_FINAL = "RESPONSE_FINAL"
TIMER_A = "TIMER_A"
TIMER_B = "TIMER_B"
TIMER_D = "TIMER_D"
TIMER_E = "TIMER_E"
TIMER_F = "TIMER_F"
TIMER_K = "TIMER_K"
TIMER_M = "TIMER_M"

FIRE_A = make_firing(TIMER_A)
FIRE_B = make_firing(TIMER_B)
FIRE_E = make_firing(TIMER_E)
FIRE_F = make_firing(TIMER_F)
_FIRE_D = make_firing(TIMER_D)
_FIRE_K = make_firing(TIMER_K)
_FIRE_M = make_firing(TIMER_M)


def _pass_up(transaction: ClientTransaction, payload: Response, now: float) -> None:
    transaction.tell_response(payload, now)


def _stop_timers(transaction: ClientTransaction, payload: Response, now: float) -> None:
    transaction.stop_timers()


def _send_ack(transaction: ClientTransaction, payload: Response, now: float) -> None:
    transaction.send(build_ack(transaction.request, payload).to_bytes())


def _resend_on_timer_a(transaction: ClientTransaction, payload: object, now: float) -> None:
    # RFC 3261 17.1.1.2: doubled each time, without a cap.
    transaction.resend(2 * transaction._interval, FIRE_A, now)


def _resend_on_timer_e(transaction: ClientTransaction, payload: object, now: float) -> None:
    t2 = transaction._layer.timing.t2
    transaction.resend(min(2 * transaction._interval, t2), FIRE_E, now)


def _resend_every_t2(transaction: ClientTransaction, payload: object, now: float) -> None:
    transaction.resend(transaction._layer.timing.t2, FIRE_E, now)


def _report_timeout(transaction: ClientTransaction, payload: object, now: float) -> None:
    layer = transaction._layer
    layer.counters.transactions_timed_out += 1
    error = Timeout(f"no final response to {transaction.method} in {layer.timing.timeout:g} s")
    transaction.tell_failed(error, now)


def _start_timer_d(transaction: ClientTransaction, payload: object, now: float) -> None:
    delay = 0.0 if transaction.flow.is_reliable else transaction._layer.timing.timer_d
    transaction.start_end_timer(delay, _FIRE_D, now)


def _start_timer_k(transaction: ClientTransaction, payload: object, now: float) -> None:
    delay = 0.0 if transaction.flow.is_reliable else transaction._layer.timing.t4
    transaction.start_end_timer(delay, _FIRE_K, now)


def _start_timer_m(transaction: ClientTransaction, payload: object, now: float) -> None:
    transaction.start_end_timer(transaction._layer.timing.timeout, _FIRE_M, now)


_TO_ACCEPTED = Cell(ACCEPTED, (_pass_up, _start_timer_m))
_TO_COMPLETED = Cell(COMPLETED, (_send_ack, _pass_up, _start_timer_d))
_TO_FINISHED = Cell(COMPLETED, (_pass_up, _start_timer_k))
_TIMED_OUT = Cell(TERMINATED, (_report_timeout, terminate))
_FAILED = Cell(TERMINATED, (inform_user, terminate))
_ENDED = Cell(TERMINATED, (terminate,))
_RESPONSES = (RESPONSE_1XX, RESPONSE_2XX, RESPONSE_300_699)

#: Figure 5 with RFC 6026 section 7.2.
INVITE_CLIENT: Table = {
    CALLING: row(
        CALLING,
        {
            RESPONSE_1XX: Cell(PROCEEDING, (_stop_timers, _pass_up)),
            RESPONSE_2XX: _TO_ACCEPTED,
            RESPONSE_300_699: _TO_COMPLETED,
            TIMER_A: Cell(CALLING, (_resend_on_timer_a,)),
            TIMER_B: _TIMED_OUT,
            TRANSPORT_ERROR: _FAILED,
            ABANDON: _ENDED,
        },
        refused=(TIMER_D, TIMER_M),
    ),
    PROCEEDING: row(
        PROCEEDING,
        {
            RESPONSE_1XX: Cell(PROCEEDING, (_pass_up,)),
            RESPONSE_2XX: _TO_ACCEPTED,
            RESPONSE_300_699: _TO_COMPLETED,
            TRANSPORT_ERROR: _FAILED,
            ABANDON: _ENDED,
        },
        refused=(TIMER_A, TIMER_B, TIMER_D, TIMER_M),
    ),
    ACCEPTED: row(
        ACCEPTED,
        {
            RESPONSE_2XX: Cell(ACCEPTED, (_pass_up,)),
            TIMER_M: _ENDED,
        },
        ignored=(RESPONSE_1XX, RESPONSE_300_699, TRANSPORT_ERROR, ABANDON),
        refused=(TIMER_A, TIMER_B, TIMER_D),
    ),
    COMPLETED: row(
        COMPLETED,
        {
            RESPONSE_300_699: Cell(COMPLETED, (send_again,)),
            TIMER_D: _ENDED,
            TRANSPORT_ERROR: _ENDED,
        },
        ignored=(RESPONSE_1XX, RESPONSE_2XX, ABANDON),
        refused=(TIMER_A, TIMER_B, TIMER_M),
    ),
    TERMINATED: row(
        TERMINATED,
        {},
        ignored=(*_RESPONSES, TIMER_A, TIMER_B, TIMER_D, TIMER_M, TRANSPORT_ERROR, ABANDON),
    ),
}

#: Figure 6.
NON_INVITE_CLIENT: Table = {
    TRYING: row(
        TRYING,
        {
            RESPONSE_1XX: Cell(PROCEEDING, (_pass_up,)),
            RESPONSE_FINAL: _TO_FINISHED,
            TIMER_E: Cell(TRYING, (_resend_on_timer_e,)),
            TIMER_F: _TIMED_OUT,
            TRANSPORT_ERROR: _FAILED,
            ABANDON: _ENDED,
        },
        refused=(TIMER_K,),
    ),
    PROCEEDING: row(
        PROCEEDING,
        {
            RESPONSE_1XX: Cell(PROCEEDING, (_pass_up,)),
            RESPONSE_FINAL: _TO_FINISHED,
            TIMER_E: Cell(PROCEEDING, (_resend_every_t2,)),
            TIMER_F: _TIMED_OUT,
            TRANSPORT_ERROR: _FAILED,
            ABANDON: _ENDED,
        },
        refused=(TIMER_K,),
    ),
    COMPLETED: row(
        COMPLETED,
        {TIMER_K: _ENDED},
        ignored=(RESPONSE_1XX, RESPONSE_FINAL, TRANSPORT_ERROR, ABANDON),
        refused=(TIMER_E, TIMER_F),
    ),
    TERMINATED: row(
        TERMINATED,
        {},
        ignored=(
            RESPONSE_1XX,
            RESPONSE_FINAL,
            TIMER_E,
            TIMER_F,
            TIMER_K,
            TRANSPORT_ERROR,
            ABANDON,
        ),
    ),
}
