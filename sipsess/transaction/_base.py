# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What the four transaction machines share: the step, the timers, the end.

Theory of operation
    A transaction never has more than two timers: one that sends again (A, E, G; or the one that
    sends 100 Trying) and one that ends a state (B, F, H, then D, I, J, K, L or M). Entering a state
    replaces or cancels them, so a timer that fires in a state without it is a bug and its cell is
    illegal. A linger of zero seconds, on reliable flows, is an upcall of the same turn; as that
    cannot be cancelled, TERMINATED ignores everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from sipsess.errors import IllegalTransition, SIPError
from sipsess.flow import Flow
from sipsess.machine import Table
from sipsess.message import Request
from sipsess.timers import Timer

if TYPE_CHECKING:
    from sipsess.transaction.keys import Key
    from sipsess.transaction.layer import TransactionLayer

TERMINATED = "TERMINATED"

#: Events that several machines know.
TRANSPORT_ERROR = "TRANSPORT_ERROR"
ABANDON = "ABANDON"


class Transaction:
    """One request and what answers it."""

    __slots__ = (
        "__weakref__",
        "_end_timer",
        "_interval",
        "_layer",
        "_resend_timer",
        "_wire",
        "flow",
        "key",
        "method",
        "request",
        "state",
    )

    #: The machine's name and its table.
    NAME: ClassVar[str]
    TABLE: ClassVar[Table]

    def __init__(
        self, layer: TransactionLayer, key: Key, request: Request, flow: Flow, state: str
    ) -> None:
        self._layer = layer
        #: What messages find it by.
        self.key = key
        self.request = request
        #: Where its messages go.
        self.flow = flow
        self.method = request.method
        #: The state; for reading only.
        self.state = state
        self._wire: bytes | None = None
        self._interval = layer.timing.t1
        self._resend_timer: Timer | None = None
        self._end_timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<{self.NAME} {self.state} {self.method} {self.key[0]}>"

    def step(self, event: str, payload: object, now: float) -> None:
        """
        Take one step in the table.

        :raises IllegalTransition: when the event is a bug of this side in this state.
        """
        state = self.state
        cell = self.TABLE[state][event]
        if not cell.legal:
            raise IllegalTransition(self.NAME, state, event)
        self.state = cell.next_state
        for action in cell.actions:
            action(self, payload, now)
        trace = self._layer.step_trace
        if trace is not None:
            trace(self, event, state, cell.next_state)

    def abandon(self, now: float) -> None:
        """
        End the transaction without an answer; does nothing once there was a final response.

        A client does it when a cancelled INVITE stays unanswered (:rfc:`3261#section-9.1`), a
        server when the time to answer a non-INVITE is over (:rfc:`4320#section-4.2`).
        """
        self.step(ABANDON, None, now)

    def tell_failed(self, error: SIPError, now: float) -> None:
        """Queue the upcall that says why it failed."""
        raise NotImplementedError

    def tell_terminated(self, now: float) -> None:
        """Queue the last upcall and let go of the user."""
        raise NotImplementedError

    def send(self, wire: bytes) -> None:
        """Send and keep ``wire``."""
        self._wire = wire
        self._layer.turn.send(self.flow, wire)

    def start_resending(self, firing: Firing, now: float) -> None:
        """Start Timer A, E or G with T1, but not on a reliable flow."""
        if not self.flow.is_reliable:
            layer = self._layer
            self._interval = layer.timing.t1
            self._resend_timer = layer.timers.start(now, self._interval, firing, self)

    def resend(self, interval: float, firing: Firing, now: float) -> None:
        """Send the last message again, because a timer fired, and restart that timer."""
        assert self._wire is not None
        layer = self._layer
        self._interval = interval
        self._resend_timer = layer.timers.start(now, interval, firing, self)
        layer.counters.retransmissions_sent += 1
        layer.turn.send(self.flow, self._wire)

    def start_end_timer(self, delay: float, firing: Firing, now: float) -> None:
        """Stop all timers and start the one that ends the state, at once if ``delay`` is zero."""
        self.stop_timers()
        if delay:
            self._end_timer = self._layer.timers.start(now, delay, firing, self)
        else:
            self._layer.turn.later(firing, self, now)

    def stop_resending(self) -> None:
        """Cancel the timer that sends."""
        self._layer.timers.cancel(self._resend_timer)
        self._resend_timer = None

    def stop_timers(self) -> None:
        """Cancel both timers."""
        timers = self._layer.timers
        timers.cancel(self._resend_timer)
        timers.cancel(self._end_timer)
        self._resend_timer = self._end_timer = None


Firing = Callable[[Transaction, float], None]


def make_firing(event: str) -> Firing:
    """Return the callback of the timer that feeds ``event``."""

    def fire(transaction: Transaction, now: float) -> None:
        transaction.step(event, None, now)

    return fire


def send_again(transaction: Transaction, payload: object, now: float) -> None:
    """Send the last message again, because the peer did, if there was one."""
    if transaction._wire is not None:
        transaction._layer.turn.send(transaction.flow, transaction._wire)


def inform_user(transaction: Transaction, payload: SIPError, now: float) -> None:
    """Tell the TU about the error that is the payload."""
    transaction.tell_failed(payload, now)


def terminate(transaction: Transaction, payload: object, now: float) -> None:
    """Leave the layer, cancel the timers and drop every reference that could close a cycle."""
    transaction.stop_timers()
    transaction._layer.forget(transaction)
    transaction.tell_terminated(now)
    transaction._wire = None
