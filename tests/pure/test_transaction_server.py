# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Server transactions on the clock: :mod:`sipsess.transaction.server`."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import IllegalTransition
from sipsess.flow import Flow
from sipsess.message import Request, parse
from sipsess.transaction.server import ServerTransaction
from tests.pure.transactions import TCP, UDP, User, World, answer, request_bytes

#: When Timer G sends again: T1 after the answer, then doubled up to T2.
G_TIMES = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


class InviteServerTests(SynchronousTestCase):
    """The INVITE server transaction."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def copy(self) -> None:
        """Let the peer send its INVITE again."""
        self.assertIsNone(self.world.receive(request_bytes()))

    def ack(self) -> Request | None:
        """Let the peer send an ACK with the INVITE's branch."""
        message = self.world.receive(request_bytes("ACK", to_tag="to"))
        assert message is None or isinstance(message, Request)
        return message

    def test_trying_after_200_ms(self) -> None:
        """RFC 3261 17.2.1: a 100 leaves after 200 ms when the TU said nothing."""
        self.world.serve(extra="Timestamp: 54\r\n")
        self.world.run_for(0.19)
        self.assertEqual(self.world.sent, [])
        self.world.run_for(60)
        (sent,) = self.world.sent
        self.assertEqual(sent[:2], (0.2, UDP))
        self.assertIn(b"SIP/2.0 100 Trying\r\n", sent[2])
        self.assertIn(b"\r\nTimestamp: 54\r\n", sent[2])

    def test_no_trying_after_an_answer(self) -> None:
        """RFC 3261 17.2.1: no 100 once the TU has sent anything, be it provisional or final."""
        for number, status in enumerate((180, 200, 486)):
            world = World()
            world.respond(world.serve(branch=f"z9hG4bK{number}"), status)
            world.run_for(0.4)
            self.assertEqual(world.sent_labels(), [str(status)])

    def test_copy_before_any_answer(self) -> None:
        """A copy that comes before anything was sent is absorbed."""
        self.world.serve()
        self.copy()
        self.assertEqual(self.world.sent, [])
        self.assertEqual(self.world.counters.request_retransmissions_received, 1)

    def test_copy_gets_the_latest_provisional(self) -> None:
        """RFC 3261 17.2.1: a copy is answered with the most recent provisional response."""
        transaction = self.world.serve()
        self.world.run_for(0.2)
        self.copy()
        self.world.respond(transaction, 180)
        self.world.respond(transaction, 183)
        self.copy()
        self.assertEqual(self.world.sent_labels(), ["100", "100", "180", "183", "183"])
        self.assertEqual(self.world.sent[-1][2], self.world.sent[-2][2])

    def test_timers_g_and_h(self) -> None:
        """RFC 3261 17.2.1: a 486 is sent every T1 to T2 until Timer H gives up after 64*T1."""
        self.world.respond(self.world.serve(), 486)
        self.world.run_for(60)
        self.assertEqual(self.world.sent_times(), G_TIMES)
        self.assertEqual(len({wire for _, _, wire in self.world.sent}), 1)
        self.assertEqual(
            self.world.calls,
            [(32.0, "server_failed", "Timeout"), (32.0, "server_terminated", "")],
        )
        self.assertEqual(self.world.counters.retransmissions_sent, len(G_TIMES) - 1)
        self.assertTrue(self.world.is_quiet())

    def test_ack_stops_timer_g(self) -> None:
        """RFC 3261 17.2.1: the ACK ends the retransmission; Timer I ends the rest after T4."""
        transaction = self.world.serve()
        self.world.respond(transaction, 486)
        self.world.run_for(1.0)
        self.assertIsNone(self.ack())
        self.assertEqual(transaction.state, "CONFIRMED")
        self.ack()
        self.copy()
        self.world.run_for(60)
        self.assertEqual(self.world.sent_times(), [0.0, 0.5])
        self.assertEqual(self.world.calls, [(6.0, "server_terminated", "")])
        self.assertEqual(self.world.counters.request_retransmissions_received, 1)

    def test_reliable(self) -> None:
        """RFC 3261 17.2.1: on TCP a 486 is sent once; Timer H runs, Timer I is zero."""
        world = self.world
        world.respond(world.serve(flow=TCP), 486)
        world.run_for(31)
        self.assertEqual((world.sent_times(), len(world.layer)), ([0.0], 1))
        self.assertIsNone(world.receive(request_bytes("ACK", to_tag="to"), TCP))
        self.assertEqual(world.calls, [(31.0, "server_terminated", "")])
        self.assertTrue(world.is_quiet())

    def test_accepted_absorbs_copies(self) -> None:
        """RFC 6026 7.1: after a 2xx, copies of the INVITE are absorbed for 64*T1, Timer L."""
        transaction = self.world.serve()
        self.world.respond(transaction, 200)
        for _ in range(31):
            self.copy()
            self.world.run_for(1.0)
        self.assertEqual((self.world.sent_labels(), self.world.calls), (["200"], []))
        self.world.run_for(1.0)
        self.assertEqual(self.world.calls, [(32.0, "server_terminated", "")])
        self.assertTrue(self.world.is_quiet())
        self.assertIsInstance(self.world.receive(request_bytes()), Request)

    def test_accepted_on_reliable(self) -> None:
        """RFC 6026 7.1: Timer L is 64*T1 on every transport."""
        self.world.respond(self.world.serve(flow=TCP), 200)
        self.world.run_for(60)
        self.assertEqual(self.world.calls, [(32.0, "server_terminated", "")])

    def test_2xx_again(self) -> None:
        """RFC 6026 7.1: in ACCEPTED the TU may send 2xx as often as it likes."""
        transaction = self.world.serve()
        for status in (200, 200, 202):
            self.world.respond(transaction, status)
        self.assertEqual(self.world.sent_labels(), ["200", "200", "202"])

    def test_ack_in_accepted_goes_up(self) -> None:
        """RFC 6026 7.1: in ACCEPTED an ACK is passed to the TU, even with the INVITE's branch."""
        self.world.respond(self.world.serve(), 200)
        message = self.ack()
        assert message is not None
        self.assertEqual(message.method, "ACK")

    def test_ack_in_proceeding(self) -> None:
        """An ACK before any final response is dropped."""
        transaction = self.world.serve()
        self.assertIsNone(self.ack())
        self.assertEqual(transaction.state, "PROCEEDING")

    def test_second_final(self) -> None:
        """A second final response is a bug of the TU and is never sent."""
        transaction = self.world.serve()
        self.assertFalse(transaction.has_final)
        self.world.respond(transaction, 180)
        self.assertFalse(transaction.has_final)
        self.world.respond(transaction, 486)
        self.assertTrue(transaction.has_final)
        for status in (180, 200, 487):
            self.assertRaises(IllegalTransition, self.world.respond, transaction, status)
        self.assertEqual(self.world.sent_labels(), ["180", "486"])

    def test_flow_lost(self) -> None:
        """RFC 6026 7.1: the TU is told, the transaction stays; it may go on elsewhere."""
        transaction = self.world.serve(flow=TCP)
        self.world.lose(TCP)
        self.assertEqual(self.world.calls, [(0.0, "server_failed", "TransportError")])
        with self.world.turn:
            transaction.move(UDP)
        self.world.respond(transaction, 486)
        self.assertEqual(self.world.sent[0][1], UDP)
        self.world.lose(TCP)
        self.assertEqual(len(self.world.calls), 1)
        self.world.lose(UDP)
        self.assertEqual(len(self.world.calls), 2)

    def test_flow_lost_and_reopened(self) -> None:
        """18.2.2: responses go to the sent-by on a new connection; its loss is told to the TU."""
        transaction = self.world.serve(flow=TCP)
        transaction.return_port = 5060
        asked: list[tuple[Flow, int]] = []
        other = Flow("TCP", TCP.local, ("192.0.2.2", 5060), is_reliable=True)

        def reopen(flow: Flow, port: int) -> Flow:
            asked.append((flow, port))
            return other

        for flow in (TCP, other):
            with self.world.turn:
                self.world.layer.flow_lost(flow, self.world.now, None, reopen)
            if flow is TCP:
                self.assertEqual(self.world.calls, [])
                self.world.respond(transaction, 180)
        self.assertEqual(asked, [(TCP, 5060)])
        self.assertEqual(self.world.sent[0][1], other)
        self.assertEqual(self.world.calls, [(0.0, "server_failed", "TransportError")])

    def test_flow_lost_without_a_way_back(self) -> None:
        """Who has no address, such as a browser, gets no response."""
        transaction, client = self.world.serve(flow=TCP), self.world.call(flow=TCP)
        transaction.return_port = 5060
        with self.world.turn:
            self.world.layer.flow_lost(TCP, self.world.now, None, lambda flow, port: None)
        self.assertEqual(
            [call[1] for call in self.world.calls][:2], ["server_failed", "client_failed"]
        )
        self.assertEqual((transaction.state, client.state), ("PROCEEDING", "TERMINATED"))

    def test_abandon(self) -> None:
        """The TU may end a transaction without an answer; nothing is sent later."""
        transaction = self.world.serve()
        with self.world.turn:
            transaction.abandon(self.world.now)
        self.world.run_for(60)
        self.assertEqual(self.world.sent, [])
        self.assertTrue(self.world.is_quiet())
        self.world.respond(transaction, 200)
        self.assertEqual(self.world.sent, [])

    def test_without_user(self) -> None:
        """A transaction without a user works, and reports to nobody."""
        transaction = self.world.serve()
        transaction.user = None
        self.world.respond(transaction, 486)
        self.world.lose()
        self.world.run_for(60)
        self.assertEqual(self.world.calls, [])
        self.assertTrue(self.world.is_quiet())

    def test_broken_response_changes_nothing(self) -> None:
        """A response that cannot be serialised leaves the state as it was."""
        transaction = self.world.serve()
        response = answer(self.world.request_of(transaction), 486)

        class Broken:
            """A response whose serialisation fails."""

            status = response.status

            def to_bytes(self) -> bytes:
                """Fail."""
                raise UnicodeEncodeError("utf-8", "", 0, 0, "broken")

        self.assertRaises(UnicodeEncodeError, transaction.respond, Broken(), 0.0)
        self.assertEqual((transaction.state, transaction.has_final), ("PROCEEDING", False))

    def test_repr(self) -> None:
        """The description says machine, state, method and branch."""
        self.world.serve()
        self.assertEqual(
            self.world.layer.leftovers(), ["<INVITE_SERVER PROCEEDING INVITE z9hG4bKabc>"]
        )


class NonInviteServerTests(SynchronousTestCase):
    """The non-INVITE server transaction."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def test_copies_and_timer_j(self) -> None:
        """RFC 3261 17.2.2: copies get the final response again for 64*T1, Timer J."""
        transaction = self.world.serve("BYE")
        self.assertIsNone(self.world.receive(request_bytes("BYE")))
        self.world.respond(transaction, 200)
        for _ in range(3):
            self.world.run_for(10.0)
            self.assertIsNone(self.world.receive(request_bytes("BYE")))
        self.assertEqual(self.world.sent_times(), [0.0, 10.0, 20.0, 30.0])
        self.assertEqual(len({wire for _, _, wire in self.world.sent}), 1)
        self.world.run_for(60)
        self.assertEqual(self.world.calls, [(32.0, "server_terminated", "")])
        self.assertEqual(self.world.counters.request_retransmissions_received, 4)
        self.assertTrue(self.world.is_quiet())

    def test_reliable(self) -> None:
        """RFC 3261 17.2.2: on TCP, Timer J is zero: the transaction ends with its answer."""
        self.world.respond(self.world.serve("BYE", TCP), 200)
        self.assertEqual(self.world.sent[0][1], TCP)
        self.assertEqual(self.world.calls, [(0.0, "server_terminated", "")])
        self.assertTrue(self.world.is_quiet())

    def test_no_provisional_and_no_408(self) -> None:
        """RFC 4320 4.1 and 4.2: the TU sends no provisional response and no 408."""
        transaction = self.world.serve("OPTIONS")
        for status in (100, 183, 408):
            self.assertRaises(IllegalTransition, self.world.respond, transaction, status)
        self.world.run_for(3.4)
        self.assertEqual((self.world.sent, transaction.has_final), ([], False))

    def test_late_100(self) -> None:
        """RFC 4320 4.1: a 100 leaves when Timer E stands at T2."""
        for flow in (UDP, TCP):
            world = World()
            transaction = world.serve("OPTIONS", flow)
            world.run_for(10)
            self.assertEqual((world.sent_times(), world.sent_labels()), ([3.5], ["100"]))
            world.respond(transaction, 200)
            world.run_for(60)
            self.assertTrue(world.is_quiet())

    def test_no_late_100_after_the_answer(self) -> None:
        """RFC 4320 4.1: no 100 once there is a final response."""
        world = World()
        world.respond(world.serve("OPTIONS"), 200)
        world.run_for(60)
        self.assertEqual(world.sent_labels(), ["200"])

    def test_send_error_keeps_the_state(self) -> None:
        """RFC 6026: copies stay copies though the answer could not be sent."""
        self.world.respond(self.world.serve("MESSAGE"), 200)
        self.world.lose()
        self.assertIsNone(self.world.receive(request_bytes("MESSAGE")))
        self.assertEqual(self.world.sent_labels(), ["200", "200"])
        self.assertEqual(self.world.calls, [(0.0, "server_failed", "TransportError")])

    def test_reply_flow(self) -> None:
        """Responses go where the creator says, not where the request came from."""
        request = parse(request_bytes("OPTIONS"))
        assert isinstance(request, Request)
        replies = UDP.to(("192.0.2.9", 5070))
        with self.world.turn:
            transaction = self.world.layer.create_server(request, UDP, 0.0, reply_flow=replies)
        self.world.respond(transaction, 200)
        self.world.receive(request_bytes("OPTIONS"))
        self.assertEqual([flow for _, flow, _ in self.world.sent], [replies, replies])


class ReferenceTests(SynchronousTestCase):
    """A finished transaction is freed at once, without the collector."""

    def test_no_cycles(self) -> None:
        """Timers cancelled and the user dropped, nothing points at the transaction any more."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for method, status in (("INVITE", 486), ("INVITE", 200), ("OPTIONS", 200)):
            world = World()
            transaction = world.serve(method)
            user = _Holder(transaction)
            transaction.user = user
            watch = weakref.ref(transaction)
            world.respond(transaction, status)
            del transaction
            world.run_for(60)
            self.assertIsNotNone(watch())
            del user
            self.assertIsNone(watch())

    def test_base_methods(self) -> None:
        """The common base has no machine of its own."""
        transaction = World().serve()
        for call in (
            lambda: ServerTransaction.begin(transaction, 0.0),
            lambda: ServerTransaction.classify(transaction, 200),
        ):
            self.assertRaises(NotImplementedError, call)


class _Holder(User):
    """A user that holds its transaction, as sessions do."""

    def __init__(self, transaction: ServerTransaction) -> None:
        super().__init__()
        self.transaction = transaction
