# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Reliable provisional responses: the callee's machine and the caller's order (RFC 3262)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from sipsess.dialog.reliable import (
    MAX_WAITING,
    TABLE,
    RAck,
    ReliableOrder,
    ReliableSender,
    rack_of,
    rseq_of,
)
from sipsess.errors import IllegalTransition, LocalError, RemoteError
from sipsess.flow import Flow
from sipsess.machine import recording
from sipsess.message import build_request, build_response
from sipsess.timers import TimerQueue
from sipsess.turn import Turn

FLOW = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.9", 5060))


class Owner:
    """Sends what the machine says and notes it."""

    def __init__(self, test: SenderTests) -> None:
        self.test = test
        self.sent: list[tuple[Any, int]] = []
        self.missing = 0

    def send_reliable(self, payload: Any, rseq: int) -> None:
        """Send at once."""
        self.sent.append((payload, rseq))
        self.test.turn.send(FLOW, payload)
        self.test.sender.was_sent(SimpleNamespace(flow=FLOW), payload)

    def prack_missing(self) -> None:
        """Count."""
        self.missing += 1


class SenderTests(SynchronousTestCase):
    """The callee (section 3)."""

    def setUp(self) -> None:
        """Make a sender."""
        self.now = 0.0
        self.times: list[float] = []
        self.timers = TimerQueue()
        self.turn = Turn(self._left, self.fail, lambda: self.now)
        self.owner = Owner(self)
        self.sender = ReliableSender(
            self.owner, turn=self.turn, timers=self.timers, cseq=7, first_rseq=100, t1=0.5
        )

    def _left(self, flow: Flow, wire: bytes) -> None:
        self.times.append(self.now)

    def send(self, payload: bytes = b"183") -> None:
        """Send one."""
        with self.turn:
            self.sender.send(payload, self.now)

    def prack(self, rseq: int, cseq: int = 7, method: str = "INVITE") -> bool:
        """Let a PRACK come."""
        with self.turn:
            return self.sender.acknowledge(RAck(rseq, cseq, method), self.now)

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while (deadline := self.timers.next_deadline()) is not None and deadline <= end:
            self.now = deadline
            with self.turn:
                self.timers.fire_due(self.now)
        self.now = end

    def test_repeated_without_a_cap(self) -> None:
        """It is sent at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s and given up at 32 s."""
        self.send()
        self.run_until(100)
        self.assertEqual(self.times, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(self.owner.missing, 1)
        self.assertEqual(self.sender.state, "OVER")
        self.assertEqual(self.sender.sent_again, 6)
        self.assertEqual(len(self.timers), 0)

    def test_prack_ends_the_repetition(self) -> None:
        """The PRACK that matches stops the timers."""
        self.send()
        self.run_until(1.0)
        self.assertTrue(self.prack(100))
        self.assertEqual((self.sender.state, len(self.timers)), ("IDLE", 0))
        self.run_until(100)
        self.assertEqual(self.times, [0.0, 0.5])
        self.assertEqual(self.owner.missing, 0)

    def test_prack_that_matches_nothing(self) -> None:
        """Another RSeq, CSeq or method acknowledges nothing, nor does a second PRACK."""
        self.assertFalse(self.prack(100))
        self.send()
        for wrong in ((101,), (100, 8), (100, 7, "UPDATE")):
            self.assertFalse(self.prack(*wrong), wrong)
        self.assertTrue(self.prack(100))
        self.assertFalse(self.prack(100))

    def test_one_at_a_time(self) -> None:
        """The second waits until the first is acknowledged; RSeq goes up by one."""
        self.send(b"a")
        self.send(b"b")
        self.assertEqual(self.owner.sent, [(b"a", 100)])
        with self.turn:
            self.sender.send_waiting(self.now)
        self.assertEqual(self.owner.sent, [(b"a", 100)])
        self.assertTrue(self.prack(100))
        for _ in range(2):
            with self.turn:
                self.sender.send_waiting(self.now)
        self.assertEqual(self.owner.sent, [(b"a", 100), (b"b", 101)])
        self.assertEqual(list(self.sender.waiting), [])

    def test_bounded_queue(self) -> None:
        """No more than a few may wait."""
        for _ in range(MAX_WAITING + 1):
            self.send()
        self.assertRaises(LocalError, self.send)
        self.assertEqual(self.sender.stop(self.now), [b"183"] * MAX_WAITING)
        self.assertEqual(self.sender.stop(self.now), [])

    def test_final_response_stops_it(self) -> None:
        """After the final response nothing is repeated, but its PRACK still matches."""
        self.send()
        self.sender.stop(self.now)
        self.run_until(100)
        self.assertEqual((self.times, self.owner.missing), ([0.0], 0))
        self.assertTrue(self.prack(100))
        self.assertFalse(self.prack(100))
        self.assertRaises(IllegalTransition, self.send)

    def test_stop_before_anything_was_sent(self) -> None:
        """An INVITE may be answered without any."""
        self.assertEqual(self.sender.stop(self.now), [])
        self.assertEqual(self.sender.state, "OVER")

    def test_nothing_is_repeated_that_was_not_sent(self) -> None:
        """When a supplement kept the response back, there are no bytes to repeat."""
        self.owner.send_reliable = lambda payload, rseq: None  # type: ignore[method-assign]
        self.send()
        self.run_until(1.0)
        self.assertEqual((self.times, self.sender.sent_again), ([], 0))
        self.sender.stop(self.now)


class CellTests(SynchronousTestCase):
    """The table is complete, and the tests above meet it."""

    def test_every_legal_cell_is_met(self) -> None:
        """Each legal cell was looked up; each other one is refused."""
        result = TestResult()
        with recording({"RELIABLE": TABLE}) as seen:
            for name in dir(SenderTests):
                if name.startswith("test_"):
                    SenderTests(name).run(result)
        self.assertTrue(result.wasSuccessful(), result)
        legal = {(s, e) for s, cells in TABLE.items() for e, cell in cells.items() if cell.legal}
        self.assertEqual(legal - {(state, event) for _, state, event in seen}, set())

    def test_illegal_cells(self) -> None:
        """What this side must never feed is refused, and changes nothing."""
        timers = TimerQueue()
        turn = Turn(lambda *args: None, lambda error: None, lambda: 0.0)
        for state, cells in TABLE.items():
            for event in (event for event, cell in cells.items() if not cell.legal):
                sender = ReliableSender(
                    Owner(SenderTests()), turn=turn, timers=timers, cseq=1, first_rseq=1, t1=0.5
                )
                sender.state = state
                self.assertRaises(IllegalTransition, sender._feed, event, None, 0.0)
                self.assertEqual(sender.state, state)


class OrderTests(SynchronousTestCase):
    """The caller (section 4)."""

    def test_order(self) -> None:
        """The first may be any; then one more each; copies and gaps are not accepted."""
        order = ReliableOrder()
        self.assertFalse(order.is_copy(40))
        self.assertTrue(order.accept(40))
        for rseq, accepted, copy in ((40, False, True), (42, False, False), (41, True, True)):
            self.assertEqual(order.accept(rseq), accepted, rseq)
            self.assertEqual(order.is_copy(rseq), copy, rseq)
        self.assertTrue(order.is_copy(1))


class HeaderTests(SynchronousTestCase):
    """RSeq and RAck (section 7)."""

    def request(self, method: str, **headers: str) -> Any:
        """Return a request with headers."""
        request = build_request(
            method, "sip:a@b", from_="<sip:a@b>;tag=1", to="<sip:b@b>", call_id="c", cseq=2
        )
        for name, value in headers.items():
            request.headers.set(name, value)
        return request

    def test_rack(self) -> None:
        """Two numbers and a method; it is written as it is read."""
        rack = rack_of(self.request("PRACK", RAck="776656  1 INVITE"))
        self.assertEqual(rack, (776656, 1, "INVITE"))
        self.assertEqual(str(rack), "776656 1 INVITE")

    def test_bad_rack(self) -> None:
        """Whatever else there is, is refused."""
        texts = ("", "1 INVITE", "1 x INVITE", "x 1 INVITE", "1 2 3 4", "4294967296 1 INVITE")
        for text in (*texts, "1 -1 INVITE", "99999999999 1 INVITE", "\u0661 1 INVITE"):
            with self.assertRaises(RemoteError) as caught:
                rack_of(self.request("PRACK", RAck=text))
            self.assertEqual(caught.exception.reason_code, "rack-invalid")
        self.assertRaises(RemoteError, rack_of, self.request("PRACK"))

    def test_rseq(self) -> None:
        """Only a response that requires 100rel has one, and a 100 never."""
        for status, headers, rseq in (
            (183, {"Require": "100rel", "RSeq": "5"}, 5),
            (183, {"Require": "100REL", "RSeq": "4294967295"}, 2**32 - 1),
            (183, {"RSeq": "5"}, None),
            (183, {"Require": "100rel"}, None),
            (183, {"Require": "100rel", "RSeq": "x"}, None),
            (100, {"Require": "100rel", "RSeq": "5"}, None),
        ):
            response = build_response(self.request("INVITE"), status)
            for name, value in headers.items():
                response.headers.set(name, value)
            self.assertEqual(rseq_of(response), rseq, headers)
