# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The tables of the server transactions: :rfc:`3261#section-17.2` with :rfc:`6026` and :rfc:`4320`.

Theory of operation
    ``INVITE_SERVER`` transcribes figure 7 of RFC 3261 as RFC 6026 section 7.1 changes it: a 2xx
    leads to ACCEPTED, where copies of the INVITE are absorbed for 64*T1 (Timer L) and the TU may
    send its 2xx again. ``NON_INVITE_SERVER`` transcribes figure 8; RFC 4320 takes the provisional
    responses from the TU and forbids 408.

    RFC 6026 also forbids to discard a server transaction because a response could not be sent: a
    copy of its request would then look new. So a transport error ends none of them; the TU is
    informed, and ends it as always, by a final response or by abandoning it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import Timeout
from sipsess.machine import Cell, Table, row
from sipsess.message import Response, build_response
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
    from sipsess.transaction.server import ServerTransaction

PROCEEDING = "PROCEEDING"
ACCEPTED = "ACCEPTED"
COMPLETED = "COMPLETED"
CONFIRMED = "CONFIRMED"
TRYING = "TRYING"

#: The request came again.
REQUEST = "REQUEST"
ACK = "ACK"
RESPOND_1XX = "RESPOND_1XX"
RESPOND_2XX = "RESPOND_2XX"
RESPOND_300_699 = "RESPOND_300_699"
RESPOND_FINAL = "RESPOND_FINAL"
RESPOND_408 = "RESPOND_408"
TIMER_TRYING = "TIMER_TRYING"
TIMER_G = "TIMER_G"
TIMER_H = "TIMER_H"
TIMER_I = "TIMER_I"
TIMER_J = "TIMER_J"
TIMER_L = "TIMER_L"

FIRE_TRYING = make_firing(TIMER_TRYING)
_FIRE_G = make_firing(TIMER_G)
_FIRE_H = make_firing(TIMER_H)
_FIRE_I = make_firing(TIMER_I)
_FIRE_J = make_firing(TIMER_J)
_FIRE_L = make_firing(TIMER_L)


def _send_response(transaction: ServerTransaction, payload: Response, now: float) -> None:
    transaction.last_status = payload.status
    transaction.send(payload.to_bytes())
    if payload.status >= 200:
        transaction.let_go_of_request()


def _stop_trying(transaction: ServerTransaction, payload: object, now: float) -> None:
    transaction.stop_resending()


def _send_trying(transaction: ServerTransaction, payload: object, now: float) -> None:
    transaction.send(build_response(transaction.request, 100).to_bytes())


def _start_timer_l(transaction: ServerTransaction, payload: object, now: float) -> None:
    transaction.start_end_timer(transaction._layer.timing.timeout, _FIRE_L, now)


def _start_timers_g_h(transaction: ServerTransaction, payload: object, now: float) -> None:
    transaction.start_end_timer(transaction._layer.timing.timeout, _FIRE_H, now)
    transaction.start_resending(_FIRE_G, now)


def _resend_on_timer_g(transaction: ServerTransaction, payload: object, now: float) -> None:
    timing = transaction._layer.timing
    transaction.resend(min(2 * transaction._interval, timing.t2), _FIRE_G, now)


def _start_timer_i(transaction: ServerTransaction, payload: object, now: float) -> None:
    delay = 0.0 if transaction.flow.is_reliable else transaction._layer.timing.t4
    transaction.start_end_timer(delay, _FIRE_I, now)


def _start_timer_j(transaction: ServerTransaction, payload: object, now: float) -> None:
    delay = 0.0 if transaction.flow.is_reliable else transaction._layer.timing.timeout
    transaction.start_end_timer(delay, _FIRE_J, now)


def _report_no_ack(transaction: ServerTransaction, payload: object, now: float) -> None:
    error = Timeout("no ACK came for the final response (Timer H)")
    transaction.tell_failed(error, now)


_RESPOND = (RESPOND_1XX, RESPOND_2XX, RESPOND_300_699)

#: Figure 7 with RFC 6026 section 7.1.
INVITE_SERVER: Table = {
    PROCEEDING: row(
        PROCEEDING,
        {
            # RFC 3261 17.2.1: the most recent provisional response, if there was one.
            REQUEST: Cell(PROCEEDING, (send_again,)),
            RESPOND_1XX: Cell(PROCEEDING, (_stop_trying, _send_response)),
            RESPOND_2XX: Cell(ACCEPTED, (_send_response, _start_timer_l)),
            RESPOND_300_699: Cell(COMPLETED, (_send_response, _start_timers_g_h)),
            TIMER_TRYING: Cell(PROCEEDING, (_send_trying,)),
            TRANSPORT_ERROR: Cell(PROCEEDING, (inform_user,)),
            ABANDON: Cell(TERMINATED, (terminate,)),
        },
        ignored=(ACK,),
        refused=(TIMER_G, TIMER_H, TIMER_I, TIMER_L),
    ),
    ACCEPTED: row(
        ACCEPTED,
        {
            # The TU sends its 2xx again (RFC 3261 13.3.1.4), or that of another fork.
            RESPOND_2XX: Cell(ACCEPTED, (_send_response,)),
            TIMER_L: Cell(TERMINATED, (terminate,)),
            TRANSPORT_ERROR: Cell(ACCEPTED, (inform_user,)),
        },
        # RFC 6026 7.1: copies are absorbed. The ACK is the TU's: the layer passes it up.
        ignored=(REQUEST, ACK, ABANDON),
        refused=(RESPOND_1XX, RESPOND_300_699, TIMER_TRYING, TIMER_G, TIMER_H, TIMER_I),
    ),
    COMPLETED: row(
        COMPLETED,
        {
            REQUEST: Cell(COMPLETED, (send_again,)),
            ACK: Cell(CONFIRMED, (_start_timer_i,)),
            TIMER_G: Cell(COMPLETED, (_resend_on_timer_g,)),
            TIMER_H: Cell(TERMINATED, (_report_no_ack, terminate)),
            TRANSPORT_ERROR: Cell(COMPLETED, (inform_user,)),
        },
        ignored=(ABANDON,),
        refused=(*_RESPOND, TIMER_TRYING, TIMER_I, TIMER_L),
    ),
    CONFIRMED: row(
        CONFIRMED,
        {TIMER_I: Cell(TERMINATED, (terminate,))},
        ignored=(REQUEST, ACK, TRANSPORT_ERROR, ABANDON),
        refused=(*_RESPOND, TIMER_TRYING, TIMER_G, TIMER_H, TIMER_L),
    ),
    TERMINATED: row(
        TERMINATED,
        {},
        ignored=(
            REQUEST,
            ACK,
            *_RESPOND,
            TIMER_TRYING,
            TIMER_G,
            TIMER_H,
            TIMER_I,
            TIMER_L,
            TRANSPORT_ERROR,
            ABANDON,
        ),
    ),
}

#: Figure 8 with RFC 4320: the TU sends no provisional response and no 408.
NON_INVITE_SERVER: Table = {
    TRYING: row(
        TRYING,
        {
            RESPOND_FINAL: Cell(COMPLETED, (_send_response, _start_timer_j)),
            TIMER_TRYING: Cell(PROCEEDING, (_send_trying,)),
            TRANSPORT_ERROR: Cell(TRYING, (inform_user,)),
            ABANDON: Cell(TERMINATED, (terminate,)),
        },
        ignored=(REQUEST,),
        refused=(RESPOND_1XX, RESPOND_408, TIMER_J),
    ),
    PROCEEDING: row(
        PROCEEDING,
        {
            REQUEST: Cell(PROCEEDING, (send_again,)),
            RESPOND_FINAL: Cell(COMPLETED, (_send_response, _start_timer_j)),
            TRANSPORT_ERROR: Cell(PROCEEDING, (inform_user,)),
            ABANDON: Cell(TERMINATED, (terminate,)),
        },
        refused=(RESPOND_1XX, RESPOND_408, TIMER_TRYING, TIMER_J),
    ),
    COMPLETED: row(
        COMPLETED,
        {
            REQUEST: Cell(COMPLETED, (send_again,)),
            TIMER_J: Cell(TERMINATED, (terminate,)),
            TRANSPORT_ERROR: Cell(COMPLETED, (inform_user,)),
        },
        ignored=(ABANDON,),
        refused=(RESPOND_1XX, RESPOND_408, RESPOND_FINAL, TIMER_TRYING),
    ),
    TERMINATED: row(
        TERMINATED,
        {},
        ignored=(
            REQUEST,
            RESPOND_1XX,
            RESPOND_408,
            RESPOND_FINAL,
            TIMER_TRYING,
            TIMER_J,
            TRANSPORT_ERROR,
            ABANDON,
        ),
    ),
}
