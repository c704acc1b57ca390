# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The 2xx to an INVITE, sent again until its ACK comes (:rfc:`3261#section-13.3.1.4`).

The INVITE server transaction does not do this: the ACK of a 2xx is end to end, so the TU repeats
the 2xx itself, on reliable transports too: T1 after the first, then doubling up to T2, and gives
up after 64*T1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sipsess.flow import Flow
from sipsess.timers import Timer, TimerQueue
from sipsess.turn import Turn


class Carrier(Protocol):
    """What knows where a response goes: its server transaction, which may change its flow."""

    flow: Flow


class SuccessRetransmission:
    """
    Repeats one 2xx.

    :param carrier: says where it goes, each time.
    :param cseq_number: of the INVITE; its ACK has the same (:rfc:`3261#section-13.2.2.4`).
    :param wire: the response as it left first.
    :param given_up: upcall when no ACK came in 64*T1: ``given_up(self)``.
    """

    __slots__ = (
        "_carrier",
        "_deadline",
        "_given_up",
        "_interval",
        "_timer",
        "_timers",
        "_turn",
        "cseq_number",
        "sent_again",
        "t2",
        "wire",
    )

    def __init__(
        self,
        *,
        turn: Turn,
        timers: TimerQueue,
        carrier: Carrier,
        wire: bytes,
        cseq_number: int,
        t1: float,
        t2: float,
        given_up: Callable[[SuccessRetransmission], object],
        now: float,
    ) -> None:
        self._turn = turn
        self._timers = timers
        self._carrier = carrier
        self.wire = wire
        self.cseq_number = cseq_number
        self.t2 = t2
        #: How often it was repeated.
        self.sent_again = 0
        self._given_up: Callable[[SuccessRetransmission], object] | None = given_up
        self._interval = t1
        self._timer: Timer | None = timers.start(now, t1, self._repeat, None)
        self._deadline: Timer | None = timers.start(now, 64 * t1, self._give_up, None)

    def _repeat(self, payload: None, now: float) -> None:
        self._turn.send(self._carrier.flow, self.wire)
        self.sent_again += 1
        self._interval = min(2 * self._interval, self.t2)
        self._timer = self._timers.start(now, self._interval, self._repeat, None)

    def _give_up(self, payload: None, now: float) -> None:
        given_up = self._given_up
        self.stop()
        if given_up is not None:
            self._turn.later(given_up, self)

    def stop(self) -> None:
        """Stop repeating: the ACK came, or the session is over; harmless when done twice."""
        self._timers.cancel(self._timer)
        self._timers.cancel(self._deadline)
        self._timer = self._deadline = self._given_up = None
