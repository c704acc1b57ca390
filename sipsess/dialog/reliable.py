# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Reliable provisional responses (:rfc:`3262`): the callee's machine, and the caller's order.

Theory of operation
    The callee repeats a reliable provisional response, T1 after the first time and then after
    twice the time before, without a cap and on any transport, until its PRACK comes; after 64*T1
    it gives up, and the INVITE is refused (section 3). Only one is out at a time: what is sent
    meanwhile waits in a queue. That is stricter than the RFC for all but the first, and simpler.

    The caller acknowledges them in order: the first may have any RSeq, each later one must have one
    more. What comes too early is not acknowledged, and so comes again; a copy is ignored, as the
    PRACK that it asks for is repeated by its own transaction (section 4).
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, Protocol

from sipsess.dialog.success import Carrier
from sipsess.errors import IllegalTransition, LocalError, RemoteError
from sipsess.machine import Cell, Table, check_complete, row
from sipsess.message import Request, Response
from sipsess.timers import Timer, TimerQueue
from sipsess.turn import Turn

IDLE = "IDLE"
UNACKNOWLEDGED = "UNACKNOWLEDGED"
OVER = "OVER"
STATES = (IDLE, UNACKNOWLEDGED, OVER)

SEND = "SEND"
RECEIVE_PRACK = "RECEIVE_PRACK"
REPEAT = "REPEAT"
GIVE_UP = "GIVE_UP"
STOP = "STOP"
EVENTS = (SEND, RECEIVE_PRACK, REPEAT, GIVE_UP, STOP)

#: The option tag (section 8.1).
OPTION_TAG = "100rel"
#: The first RSeq is from 1 to 2**31 - 1 (section 3).
MAX_FIRST_RSEQ = 2**31 - 1
#: RSeq and the numbers of RAck are below it (section 7.1).
MAX_NUMBER = 2**32
#: Provisional responses that wait for the PRACK of the one before.
MAX_WAITING = 8

REASONS: dict[str, str] = {
    "prack-unmatched": "a PRACK matches no reliable provisional response (481)",
    "prack-missing": "no PRACK came for a reliable provisional response in 64*T1 (504)",
    "prack-answer": "a PRACK brings no good answer to the offer of its response",
    "rack-invalid": "the RAck of a PRACK cannot be read (400)",
    "rseq-unexpected": "a reliable provisional response came out of order; it will come again",
}


class ReliableOwner(Protocol):
    """What the session does when the machine says so; each call is an upcall of the turn."""

    def send_reliable(self, payload: Any, rseq: int) -> None:
        """Send a response with this RSeq, and call :meth:`ReliableSender.was_sent`."""

    def prack_missing(self) -> None:
        """No PRACK came in 64*T1: refuse the INVITE."""


def _transmit(machine: ReliableSender, payload: object, now: float) -> None:
    machine._begin(payload, now)


def _queue(machine: ReliableSender, payload: object, now: float) -> None:
    machine.waiting.append(payload)


def _stop_timers(machine: ReliableSender, payload: object, now: float) -> None:
    machine._stop_timers()


def _repeat(machine: ReliableSender, payload: object, now: float) -> None:
    machine._transmit_again(now)


def _tell_failed(machine: ReliableSender, payload: object, now: float) -> None:
    machine._turn.later(machine._owner.prack_missing)


#: Section 3; the provisional responses of one INVITE, as the callee sends them.
TABLE: Table = {
    IDLE: row(
        IDLE,
        {SEND: Cell(UNACKNOWLEDGED, (_transmit,)), STOP: Cell(OVER)},
        refused=(RECEIVE_PRACK, REPEAT, GIVE_UP),
    ),
    UNACKNOWLEDGED: {
        SEND: Cell(UNACKNOWLEDGED, (_queue,)),
        RECEIVE_PRACK: Cell(IDLE, (_stop_timers,)),
        REPEAT: Cell(UNACKNOWLEDGED, (_repeat,)),
        GIVE_UP: Cell(OVER, (_stop_timers, _tell_failed)),
        # The INVITE has its final response.
        STOP: Cell(OVER, (_stop_timers,)),
    },
    OVER: row(
        OVER,
        {},
        # "MUST be prepared to process PRACK requests for those outstanding responses."
        ignored=(RECEIVE_PRACK, STOP),
        refused=(SEND, REPEAT, GIVE_UP),
    ),
}

check_complete(TABLE, STATES, EVENTS)


class ReliableSender:
    """
    The machine of the callee, one for each INVITE.

    :param owner: sends what the machine says.
    :param cseq: number of the INVITE, for RAck.
    :param first_rseq: 1 to :data:`MAX_FIRST_RSEQ`, a random one.
    :param t1: seconds to the first repetition.
    """

    __slots__ = (
        "_awaited",
        "_cseq",
        "_deadline",
        "_interval",
        "_next_rseq",
        "_output",
        "_owner",
        "_t1",
        "_timer",
        "_timers",
        "_turn",
        "sent_again",
        "state",
        "waiting",
    )

    def __init__(
        self,
        owner: ReliableOwner,
        *,
        turn: Turn,
        timers: TimerQueue,
        cseq: int,
        first_rseq: int,
        t1: float,
    ) -> None:
        self._owner = owner
        self._turn = turn
        self._timers = timers
        self._cseq = cseq
        self._t1 = t1
        self.state = IDLE
        #: What waits for the PRACK of the one before.
        self.waiting: deque[Any] = deque()
        #: How often one was repeated, all together.
        self.sent_again = 0
        self._next_rseq = first_rseq
        self._awaited: RAck | None = None
        self._output: tuple[Carrier, bytes] | None = None
        self._interval = t1
        self._timer: Timer | None = None
        self._deadline: Timer | None = None

    def send(self, payload: object, now: float, *, is_held: bool = False) -> None:
        """
        Send a response, at once or after the PRACK of the one before.

        :param payload: given back to :meth:`ReliableOwner.send_reliable`.
        :param is_held: whether it waits for :meth:`send_waiting` in any case: the PRACK has come
            but has no answer yet.
        :raises LocalError: when too many wait.
        :raises IllegalTransition: when the INVITE has its final response.
        """
        if len(self.waiting) >= MAX_WAITING:
            raise LocalError(f"{MAX_WAITING} reliable provisional responses wait for a PRACK")
        if is_held:
            self.waiting.append(payload)
        else:
            self._feed(SEND, payload, now)

    def send_waiting(self, now: float) -> None:
        """Send the next one that waits, when the PRACK of the one before was answered."""
        if self.state == IDLE and self.waiting:
            self._feed(SEND, self.waiting.popleft(), now)

    def was_sent(self, carrier: Carrier, wire: bytes) -> None:
        """Hear what was sent, to be repeated."""
        self._output = (carrier, wire)

    def acknowledge(self, rack: RAck, now: float) -> bool:
        """
        Take a PRACK.

        :return: ``False`` when it matches nothing that was sent and not yet acknowledged: 481.
        """
        if rack != self._awaited:
            return False
        self._awaited = None
        self._feed(RECEIVE_PRACK, None, now)
        return True

    def stop(self, now: float) -> list[Any]:
        """Repeat no more, the INVITE has its final response; return what waited in vain."""
        self._feed(STOP, None, now)
        dropped = list(self.waiting)
        self.waiting.clear()
        return dropped

    def _feed(self, event: str, payload: object, now: float) -> None:
        cell = TABLE[self.state][event]
        if not cell.legal:
            raise IllegalTransition("RELIABLE_PROVISIONAL", self.state, event)
        self.state = cell.next_state
        for action in cell.actions:
            action(self, payload, now)

    # -- for the actions -------------------------------------------------------------------

    def _begin(self, payload: object, now: float) -> None:
        rseq = self._next_rseq
        self._next_rseq += 1
        self._awaited = RAck(rseq, self._cseq, "INVITE")
        self._interval = self._t1
        self._timer = self._timers.start(now, self._t1, self._repeat_due, None)
        self._deadline = self._timers.start(now, 64 * self._t1, self._give_up_due, None)
        self._turn.later(self._owner.send_reliable, payload, rseq)

    def _transmit_again(self, now: float) -> None:
        if self._output is not None:
            carrier, wire = self._output
            self._turn.send(carrier.flow, wire)
            self.sent_again += 1
        self._interval *= 2
        self._timer = self._timers.start(now, self._interval, self._repeat_due, None)

    def _repeat_due(self, payload: None, now: float) -> None:
        self._feed(REPEAT, None, now)

    def _give_up_due(self, payload: None, now: float) -> None:
        self._feed(GIVE_UP, None, now)

    def _stop_timers(self) -> None:
        self._timers.cancel(self._timer)
        self._timers.cancel(self._deadline)
        self._timer = self._deadline = self._output = None


class ReliableOrder:
    """The order in which the caller acknowledges; one for each early dialog and INVITE."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        #: The RSeq that was acknowledged last; ``None`` before the first.
        self.last: int | None = None

    def accept(self, rseq: int) -> bool:
        """Tell whether a response is to be acknowledged now; then the next one is expected."""
        if self.last is not None and rseq != self.last + 1:
            return False
        self.last = rseq
        return True

    def is_copy(self, rseq: int) -> bool:
        """Tell whether a response was acknowledged before."""
        return self.last is not None and rseq <= self.last


# -- RSeq and RAck -------------------------------------------------------------------------


class RAck(NamedTuple):
    """
    What a PRACK acknowledges (section 7.2).

    ``RAck: 776656 1 INVITE``: the RSeq, and the CSeq of the response.
    """

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def rack_of(request: Request) -> RAck:
    """
    Return the RAck of a PRACK.

    :raises RemoteError: ``rack-invalid``.
    """
    words = (request.headers.get("RAck") or "").split()
    if len(words) == 3:
        rseq, cseq = _number(words[0]), _number(words[1])
        if rseq is not None and cseq is not None:
            return RAck(rseq, cseq, words[2])
    raise RemoteError("rack-invalid", "the PRACK has no RAck that can be read")


def rseq_of(response: Response) -> int | None:
    """Return the RSeq of a provisional response that is reliable, ``None`` of any other."""
    if response.status == 100 or OPTION_TAG not in response.require:
        return None
    return _number((response.headers.get("RSeq") or "").strip())


def _number(text: str) -> int | None:
    if len(text) > 10 or not (text.isascii() and text.isdecimal()):
        return None
    number = int(text)
    return number if number < MAX_NUMBER else None
