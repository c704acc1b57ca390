# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Client transactions on the clock: :mod:`sipsess.transaction.client`."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import ConnectFailed, TransportError
from sipsess.message import Request, parse
from sipsess.transaction._base import Transaction
from sipsess.transaction.client import ClientTransaction
from tests.pure.transactions import TCP, UDP, User, World, answer, make_request

#: When Timer A sends again: doubled each time, without a cap.
A_TIMES = [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]

#: When Timer E sends again: doubled up to T2.
E_TIMES = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


class InviteClientTests(SynchronousTestCase):
    """The INVITE client transaction."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def test_timers_a_and_b(self) -> None:
        """RFC 3261 17.1.1.2: seven times at doubled intervals, then Timer B after 64*T1."""
        self.world.call()
        self.world.run_for(60)
        self.assertEqual(self.world.sent_times(), A_TIMES)
        self.assertEqual(len({wire for _, _, wire in self.world.sent}), 1)
        self.assertEqual(
            self.world.calls,
            [(32.0, "client_failed", "Timeout"), (32.0, "client_terminated", "")],
        )
        self.assertEqual(self.world.counters.transactions_timed_out, 1)
        self.assertEqual(self.world.counters.retransmissions_sent, 6)
        self.assertTrue(self.world.is_quiet())

    def test_reliable_timeout(self) -> None:
        """RFC 3261 17.1.1.2: on TCP no Timer A, but Timer B."""
        self.world.call(flow=TCP)
        self.world.run_for(60)
        self.assertEqual(self.world.sent_times(), [0.0])
        self.assertEqual(self.world.calls[0], (32.0, "client_failed", "Timeout"))

    def test_provisional_stops_timers(self) -> None:
        """RFC 3261 17.1.1.2: after a 1xx nothing is sent again, and Timer B is over."""
        transaction = self.world.call()
        self.world.run_for(0.7)
        self.world.reply(transaction, 100)
        self.world.reply(transaction, 180)
        self.world.run_for(200)
        self.assertEqual(self.world.sent_times(), [0.0, 0.5])
        self.assertEqual(
            self.world.calls, [(0.7, "response_received", 100), (0.7, "response_received", 180)]
        )
        self.assertEqual(transaction.state, "PROCEEDING")

    def test_non_2xx_is_acknowledged(self) -> None:
        """RFC 3261 17.1.1.3: the ACK has the INVITE's branch and route, the response's To."""
        transaction = self.world.call(extra="Route: <sip:proxy.example;lr>\r\n")
        self.world.reply(transaction, 486)
        ack = parse(self.world.sent[-1][2])
        assert isinstance(ack, Request)
        self.assertEqual(
            (ack.method, ack.uri, ack.via.branch, ack.to_tag, ack.from_tag, ack.call_id),
            ("ACK", "sip:bob@192.0.2.1", "z9hG4bKabc", "to", "from", "call"),
        )
        self.assertEqual((ack.cseq.number, ack.cseq.method), (1, "ACK"))
        self.assertEqual(ack.headers.get("Route"), "<sip:proxy.example;lr>")

    def test_timer_d(self) -> None:
        """RFC 3261 17.1.1.2: copies of the 486 get the ACK again for more than 32 s, Timer D."""
        transaction = self.world.call()
        for _ in range(4):
            self.assertIsNone(self.world.reply(transaction, 486))
            self.world.run_for(10)
        self.assertEqual(self.world.sent_labels(), ["INVITE", "ACK", "ACK", "ACK", "ACK"])
        self.assertEqual(
            self.world.calls, [(0.0, "response_received", 486), (32.5, "client_terminated", "")]
        )
        self.assertEqual(self.world.counters.response_retransmissions_received, 3)
        self.assertTrue(self.world.is_quiet())

    def test_copy_is_not_parsed(self) -> None:
        """A copy of a final response is acknowledged by its key, whatever else is in it."""
        transaction = self.world.call()
        wire = answer(transaction.request, 486).to_bytes()
        self.world.receive(wire)
        self.assertIsNone(self.world.receive(wire.replace(b"Call-ID: call\r\n", b"Nonsense\r\n")))
        self.assertEqual(self.world.sent_labels(), ["INVITE", "ACK", "ACK"])

    def test_copy_that_needs_the_parser(self) -> None:
        """A copy that the quick look cannot read is acknowledged as well."""
        transaction = self.world.call()
        wire = answer(transaction.request, 486).to_bytes()
        self.world.receive(wire)
        self.world.receive(wire.replace(b"\r\nVia: ", b"\r\nVia:\r\n "))
        self.assertEqual(self.world.sent_labels(), ["INVITE", "ACK", "ACK"])

    def test_2xx_and_timer_m(self) -> None:
        """RFC 6026 7.2: each 2xx goes up, also those of other forks, until Timer M, 64*T1."""
        transaction = self.world.call()
        self.world.reply(transaction, 200)
        self.world.run_for(31)
        self.assertIsNone(self.world.reply(transaction, 200))
        self.world.reply(transaction, 180)
        self.world.reply(transaction, 486)
        self.world.run_for(2)
        self.assertEqual(
            self.world.calls,
            [
                (0.0, "response_received", 200),
                (31.0, "response_received", 200),
                (32.0, "client_terminated", ""),
            ],
        )
        self.assertEqual(self.world.sent_labels(), ["INVITE"])
        self.assertIsNotNone(self.world.reply(transaction, 200))

    def test_reliable_finals(self) -> None:
        """On TCP a non-2xx ends the transaction at once (Timer D is zero), a 2xx does not."""
        self.world.reply(self.world.call(flow=TCP), 486)
        self.assertEqual(self.world.sent_labels(), ["INVITE", "ACK"])
        self.assertEqual([name for _, name, _ in self.world.calls][-1], "client_terminated")
        self.assertTrue(self.world.is_quiet())
        self.world.reply(self.world.call(flow=TCP), 200)
        self.assertEqual(len(self.world.layer), 1)
        self.world.run_for(32)
        self.assertTrue(self.world.is_quiet())

    def test_fall_back(self) -> None:
        """18.1.1: what could not be sent on a connection goes over UDP, and is repeated there."""
        request, twin = make_request("INVITE"), make_request("INVITE")
        with self.world.turn:
            client = self.world.layer.create_client(twin, TCP, self.world, 0.0, (request, UDP))
        self.world.run_for(5)
        error = ConnectFailed("nobody listens")
        for expected in (UDP, None):
            with self.world.turn:
                self.world.layer.flow_lost(client.flow, self.world.now, error)
            if expected is not None:
                self.assertEqual((client.flow, client.request), (expected, request))
                self.world.run_for(1)
        self.assertEqual([flow for _, flow, _ in self.world.sent], [TCP, UDP, UDP])
        self.assertEqual(self.world.calls[0][1:], ("client_failed", "ConnectFailed"))

    def test_no_fall_back_after_sending(self) -> None:
        """What may have arrived is not sent again by another way."""
        request = make_request("INVITE")
        with self.world.turn:
            client = self.world.layer.create_client(
                make_request("INVITE"), TCP, self.world, 0.0, (request, UDP)
            )
        self.world.lose(TCP)
        self.assertEqual((client.state, len(self.world.sent)), ("TERMINATED", 1))

    def test_flow_lost(self) -> None:
        """RFC 3261 17.1.4: a transport failure is reported, and the transaction ends."""
        transaction = self.world.call(flow=TCP)
        self.world.reply(transaction, 180)
        self.world.lose(TCP)
        self.assertEqual(
            self.world.calls[1:],
            [(0.0, "client_failed", "TransportError"), (0.0, "client_terminated", "")],
        )
        self.assertTrue(self.world.is_quiet())

    def test_abandon(self) -> None:
        """RFC 3261 9.1: a cancelled INVITE that stays unanswered is given up by the TU."""
        transaction = self.world.call()
        self.world.reply(transaction, 180)
        with self.world.turn:
            transaction.abandon(self.world.now)
        self.assertEqual(self.world.calls[-1], (0.0, "client_terminated", ""))
        self.assertTrue(self.world.is_quiet())


class NonInviteClientTests(SynchronousTestCase):
    """The non-INVITE client transaction."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def test_timers_e_and_f(self) -> None:
        """RFC 3261 17.1.2.2: eleven times at intervals up to T2, then Timer F after 64*T1."""
        self.world.call("OPTIONS")
        self.world.run_for(60)
        self.assertEqual(self.world.sent_times(), E_TIMES)
        self.assertEqual(
            self.world.calls,
            [(32.0, "client_failed", "Timeout"), (32.0, "client_terminated", "")],
        )
        self.assertTrue(self.world.is_quiet())

    def test_timer_e_in_proceeding(self) -> None:
        """RFC 3261 17.1.2.2: after a 1xx it is still sent again, every T2, until Timer F."""
        transaction = self.world.call("OPTIONS")
        self.world.run_for(0.1)
        self.world.reply(transaction, 100)
        self.world.run_for(60)
        self.assertEqual(
            self.world.sent_times(), [0.0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
        )
        self.assertEqual(self.world.calls[1], (32.0, "client_failed", "Timeout"))

    def test_timer_k(self) -> None:
        """RFC 3261 17.1.2.2: copies of the final response are absorbed for T4, Timer K."""
        transaction = self.world.call("BYE")
        self.world.reply(transaction, 200)
        self.world.run_for(4)
        self.assertIsNone(self.world.reply(transaction, 200))
        self.world.run_for(2)
        self.assertEqual(
            self.world.calls, [(0.0, "response_received", 200), (5.0, "client_terminated", "")]
        )
        self.assertEqual(self.world.counters.response_retransmissions_received, 1)
        self.assertEqual(self.world.sent_labels(), ["BYE"])

    def test_reliable(self) -> None:
        """RFC 3261 17.1.2.2: on TCP nothing is sent again, and Timer K is zero."""
        transaction = self.world.call("BYE", TCP)
        self.world.run_for(20)
        self.world.reply(transaction, 200)
        self.assertEqual(self.world.sent_times(), [0.0])
        self.assertEqual(
            self.world.calls, [(20.0, "response_received", 200), (20.0, "client_terminated", "")]
        )
        self.assertTrue(self.world.is_quiet())

    def test_flow_lost(self) -> None:
        """RFC 3261 17.1.4: only what is on the lost flow fails."""
        self.world.call("OPTIONS", TCP)
        self.world.call("OPTIONS", UDP, branch="z9hG4bKother")
        self.world.lose(TCP)
        self.assertEqual(len(self.world.layer), 1)
        self.world.lose(UDP.to(("192.0.2.3", 5060)))
        self.assertEqual(len(self.world.layer), 1)
        self.world.lose(UDP)
        self.assertTrue(self.world.is_quiet())


class ReferenceTests(SynchronousTestCase):
    """A finished transaction is freed at once, without the collector."""

    def test_no_cycles(self) -> None:
        """Timers cancelled and the user dropped, nothing points at the transaction any more."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for method, status in (("INVITE", 486), ("INVITE", 200), ("BYE", 200), ("INVITE", 0)):
            world = World()
            user = _Holder()
            with world.turn:
                transaction = world.layer.create_client(make_request(method), UDP, user, 0.0)
            user.transaction = transaction
            watch = weakref.ref(transaction)
            if status:
                world.reply(transaction, status)
            del transaction
            world.run_for(60)
            self.assertIsNotNone(watch())
            del user
            self.assertIsNone(watch())

    def test_base_methods(self) -> None:
        """The common bases have no machine of their own."""
        transaction = World().call()
        error = TransportError("lost")
        for call in (
            lambda: ClientTransaction.begin(transaction, 0.0),
            lambda: ClientTransaction.classify(transaction, 200),
            lambda: Transaction.tell_failed(transaction, error, 0.0),
            lambda: Transaction.tell_terminated(transaction, 0.0),
        ):
            self.assertRaises(NotImplementedError, call)

    def test_upcalls_after_the_end(self) -> None:
        """Once the user was let go nobody is told anything."""
        world = World()
        transaction = world.call()
        with world.turn:
            transaction.abandon(0.0)
        world.calls.clear()
        with world.turn:
            transaction.tell_terminated(0.0)
            transaction.tell_failed(TransportError("lost"), 0.0)
            transaction.tell_response(answer(transaction.request, 200), 0.0)
        self.assertEqual(world.calls, [])


class _Holder(User):
    """A user that holds its transaction, as sessions do."""

    transaction: ClientTransaction
