# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The 2xx that is sent again until its ACK comes (RFC 3261 section 13.3.1.4)."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from sipsess.dialog import SuccessRetransmission
from sipsess.flow import Flow
from sipsess.timers import TimerQueue
from sipsess.turn import Turn
from tests.pure.transactions import TCP, UDP


class SuccessTests(SynchronousTestCase):
    """A 2xx, a clock, and the times at which it leaves."""

    def start(self, *, flow: Flow = UDP, t1: float = 0.5, t2: float = 4.0) -> SuccessRetransmission:
        """Send a 2xx first at time 0."""
        self.now = 0.0
        self.sent: list[float] = []
        self.given_up: list[tuple[float, SuccessRetransmission]] = []
        self.timers = TimerQueue()
        turn = Turn(self._transmit, self.fail, lambda: self.now)
        self.turn = turn
        return SuccessRetransmission(
            turn=turn,
            timers=self.timers,
            carrier=SimpleNamespace(flow=flow),
            wire=b"200",
            cseq_number=7,
            t1=t1,
            t2=t2,
            given_up=lambda success: self.given_up.append((self.now, success)),
            now=0.0,
        )

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        self.assertEqual(wire, b"200")
        self.sent.append(self.now)

    def run_until(self, end: float) -> None:
        """Let time pass, deadline by deadline."""
        while True:
            deadline = self.timers.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = deadline
            with self.turn:
                self.timers.fire_due(self.now)
        self.now = end

    def test_it_is_repeated_from_t1_up_to_t2(self) -> None:
        """13.3.1.4: T1 after the first, then doubled up to T2, and given up after 64*T1."""
        success = self.start()
        self.run_until(100)
        times = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        self.assertEqual(self.sent, times)
        self.assertEqual(success.sent_again, 10)
        self.assertEqual(self.given_up, [(32.0, success)])
        self.assertEqual(len(self.timers), 0)

    def test_it_is_repeated_on_a_stream_too(self) -> None:
        """13.3.1.4: whatever the transport, as the ACK is end to end."""
        self.start(flow=TCP)
        self.run_until(2)
        self.assertEqual(self.sent, [0.5, 1.5])

    def test_the_ack_stops_it(self) -> None:
        """Stopped, it sends nothing, gives up nothing and leaves no timer; twice is harmless."""
        success = self.start()
        self.run_until(1)
        success.stop()
        success.stop()
        self.assertEqual(len(self.timers), 0)
        self.run_until(100)
        self.assertEqual((self.sent, self.given_up), ([0.5], []))

    def test_another_t1(self) -> None:
        """The deadline follows T1."""
        self.start(t1=0.1, t2=0.2)
        self.run_until(10)
        self.assertEqual(round(self.given_up[0][0], 6), 6.4)
        self.assertEqual([round(when, 6) for when in self.sent[:4]], [0.1, 0.3, 0.5, 0.7])

    def test_stopped_while_it_gives_up(self) -> None:
        """Giving up twice tells nobody a second time."""
        success = self.start()
        success.stop()
        with self.turn:
            success._give_up(None, 1.0)
        self.assertEqual(self.given_up, [])
