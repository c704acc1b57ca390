# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Finding transactions: :mod:`sipsess.transaction.layer` and :mod:`sipsess.transaction.keys`."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import RemoteError
from sipsess.flow import Flow
from sipsess.message import Request, Response, parse, peek
from sipsess.transaction import Transaction, TransactionExistsError, TransactionLimitError
from sipsess.transaction.keys import request_key, server_key
from tests.pure.transactions import TCP, UDP, World, answer, make_request, request_bytes

TLS = Flow("TLS", ("192.0.2.1", 5061), ("192.0.2.2", 40001), is_reliable=True, serial=2)


def parsed(data: bytes) -> Request:
    """Return a request."""
    message = parse(data)
    assert isinstance(message, Request)
    return message


class RequestMatchingTests(SynchronousTestCase):
    """Which server transaction a request belongs to (RFC 3261 17.2.3)."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def is_copy(self, data: bytes, flow: Flow = UDP) -> bool:
        """Return whether a transaction took the message."""
        return self.world.receive(data, flow) is None

    def test_new_request(self) -> None:
        """A request without a transaction is returned, valid; nothing is created."""
        message = self.world.receive(request_bytes())
        assert isinstance(message, Request)
        self.assertEqual((message.method, len(self.world.layer)), ("INVITE", 0))

    def test_same_key(self) -> None:
        """Same branch, sent-by and method: the same transaction, though all else differs."""
        self.world.serve("OPTIONS")
        self.assertTrue(self.is_copy(request_bytes("OPTIONS", cseq=7, call_id="other")))
        self.assertEqual(self.world.counters.transactions_begun, 1)

    def test_other_key(self) -> None:
        """Another branch, sent-by or method: another transaction."""
        self.world.serve("OPTIONS")
        for other in (
            request_bytes("OPTIONS", branch="z9hG4bKabd"),
            request_bytes("OPTIONS", sent_by="192.0.2.2:5070"),
            request_bytes("OPTIONS", sent_by="192.0.2.3:5060"),
            request_bytes("INFO"),
        ):
            self.assertFalse(self.is_copy(other))

    def test_sent_by_is_compared_as_a_host(self) -> None:
        """Case and the default port make no difference to sent-by."""
        self.world.serve("OPTIONS", sent_by="Phone.Example")
        self.assertTrue(self.is_copy(request_bytes("OPTIONS", sent_by="phone.EXAMPLE:5060")))
        self.assertFalse(self.is_copy(request_bytes("OPTIONS", sent_by="phone.example:5061")))

    def test_default_port_of_tls(self) -> None:
        """On TLS the default port is 5061."""
        self.world.serve("INVITE", TLS, sent_by="phone.example:5061")
        self.assertTrue(self.is_copy(request_bytes(sent_by="phone.example"), TLS))
        self.assertFalse(self.is_copy(request_bytes(sent_by="phone.example:5060"), TLS))

    def test_ipv6_sent_by(self) -> None:
        """An IPv6 reference keeps its brackets; its last group is no port."""
        self.world.serve("OPTIONS", sent_by="[2001:DB8::5060]")
        self.assertTrue(self.is_copy(request_bytes("OPTIONS", sent_by="[2001:db8::5060]:5060")))
        self.assertFalse(self.is_copy(request_bytes("OPTIONS", sent_by="[2001:db8::1]")))

    def test_cancel_has_its_own(self) -> None:
        """RFC 3261 9.2: a CANCEL has its own transaction and finds that of its INVITE."""
        invite = self.world.serve()
        self.world.serve("OPTIONS")
        cancel = self.world.receive(request_bytes("CANCEL"))
        assert isinstance(cancel, Request)
        layer = self.world.layer
        self.assertIs(layer.find_cancelled(cancel, UDP), invite)
        with self.world.turn:
            own = layer.create_server(cancel, UDP, 0.0)
        self.world.respond(own, 200)
        self.assertTrue(self.is_copy(request_bytes("CANCEL")))
        self.assertEqual(self.world.sent_labels(), ["200", "200"])
        stranger = make_request("CANCEL", branch="z9hG4bKnobody")
        self.assertIsNone(layer.find_cancelled(stranger, UDP))

    def test_stray_ack(self) -> None:
        """The ACK of a 2xx has a branch of its own, and is returned."""
        self.world.respond(self.world.serve(), 200)
        message = self.world.receive(request_bytes("ACK", branch="z9hG4bKack", to_tag="to"))
        assert isinstance(message, Request)
        self.assertEqual(message.method, "ACK")

    def test_stamped_via(self) -> None:
        """The key does not change when received and rport are stamped into the Via."""
        for branch in ("z9hG4bKabc", "old", ""):
            request = parsed(request_bytes("OPTIONS", branch=branch))
            key = request_key(request, UDP)
            via = request.via
            params = via.params.with_("received", "203.0.113.1").with_("rport", "1024")
            request.set_top_via(type(via)(via.transport, via.host, via.port, params))
            self.assertEqual(request_key(request, UDP), key)

    def test_cookie_in_another_case(self) -> None:
        """The magic cookie is a token, so its case makes no difference."""
        request = make_request(branch="Z9HG4BKabc")
        self.assertEqual(request_key(request, UDP), ("Z9HG4BKabc", "192.0.2.2", "INVITE"))

    def test_copy_that_needs_the_parser(self) -> None:
        """A copy that the quick look cannot read finds its transaction all the same."""
        self.world.serve("OPTIONS")
        folded = request_bytes("OPTIONS").replace(b"\r\nVia: ", b"\r\nVia:\r\n ")
        self.assertIsNone(peek(folded))
        self.assertTrue(self.is_copy(folded))

    @settings(deadline=None)
    @given(
        st.sampled_from(("Via", "v", "VIA")),
        st.sampled_from(("a.example", "A.Example:5060", "[2001:db8::1]", "192.0.2.2:5070")),
        st.sampled_from((";", " ; ", ";ttl=1;", ';x="a;b";', ";rport;received=192.0.2.9;")),
        st.text("abcXYZ0189.-_~", max_size=8),
    )
    def test_quick_look_and_parser_agree(
        self, name: str, sent_by: str, before: str, branch: str
    ) -> None:
        """Whatever the form of the Via, both ways to read it lead to the same key."""
        line = f"{name}: SIP/2.0/UDP {sent_by}{before}branch=z9hG4bK{branch};y=z\r\n"
        data = request_bytes().replace(
            b"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKabc\r\n", line.encode()
        )
        glance = peek(data)
        if glance is not None:
            self.assertEqual(
                server_key(glance.branch, glance.sent_by, glance.method, UDP),
                request_key(parsed(data), UDP),
            )


class LegacyTests(SynchronousTestCase):
    """Peers of RFC 2543, whose branch lacks the cookie or is missing (RFC 3261 17.2.3)."""

    def test_matching(self) -> None:
        """Request-URI, tags, Call-ID, CSeq and the top Via tell one transaction from another."""
        for branch in ("old", ""):
            for method in ("INVITE", "OPTIONS"):
                world = World()
                world.serve(method, branch=branch)
                self.assertIsNone(world.receive(request_bytes(method, branch=branch)))
                for other in (
                    request_bytes(method, branch=branch, cseq=2),
                    request_bytes(method, branch=branch, call_id="other"),
                    request_bytes(method, branch=branch, uri="sip:carol@192.0.2.1"),
                    request_bytes(method, branch=branch, sent_by="192.0.2.4"),
                    request_bytes(method, branch="older"),
                    request_bytes(method, branch=branch).replace(b"tag=from", b"tag=x"),
                ):
                    self.assertIsInstance(world.receive(other), Request)

    def test_to_tag(self) -> None:
        """The To tag counts too, but not for INVITE, as its ACK carries ours."""
        world = World()
        world.serve("OPTIONS", branch="old")
        self.assertIsInstance(
            world.receive(request_bytes("OPTIONS", branch="old", to_tag="x")), Request
        )

    def test_ack(self) -> None:
        """The ACK of a non-2xx finds its INVITE; that of a 2xx is returned."""
        world = World()
        transaction = world.serve(branch="")
        world.respond(transaction, 486)
        self.assertIsNone(world.receive(request_bytes("ACK", branch="", to_tag="to")))
        self.assertEqual(transaction.state, "CONFIRMED")
        world = World()
        world.respond(world.serve(branch=""), 200)
        message = world.receive(request_bytes("ACK", branch="", to_tag="to"))
        self.assertIsInstance(message, Request)

    def test_cancel(self) -> None:
        """A CANCEL finds its INVITE."""
        world = World()
        invite = world.serve(branch="old")
        cancel = parsed(request_bytes("CANCEL", branch="old"))
        self.assertIs(world.layer.find_cancelled(cancel, UDP), invite)


class ResponseMatchingTests(SynchronousTestCase):
    """Which client transaction a response belongs to (RFC 3261 17.1.3)."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def test_stray_response(self) -> None:
        """A response without a transaction is returned."""
        message = self.world.receive(answer(make_request(), 200).to_bytes())
        assert isinstance(message, Response)
        self.assertEqual((message.status, self.world.calls), (200, []))

    def test_method_counts(self) -> None:
        """RFC 3261 17.1.3: a CANCEL has its INVITE's branch; the CSeq method tells them apart."""
        self.world.call()
        cancel = self.world.call("CANCEL")
        self.world.reply(cancel, 200)
        self.assertEqual(cancel.state, "COMPLETED")
        self.assertEqual(self.world.calls, [(0.0, "response_received", 200)])

    def test_second_via(self) -> None:
        """RFC 3261 8.1.3.3: a response with a second Via is not for us."""
        transaction = self.world.call()
        wire = answer(transaction.request, 200).to_bytes()
        wire = wire.replace(b"\r\nFrom:", b"\r\nVia: SIP/2.0/UDP a.example;branch=z9\r\nFrom:")
        error = self.assertRaises(RemoteError, self.world.receive, wire)
        self.assertEqual(error.reason_code, "misrouted-response")
        self.assertEqual(transaction.state, "CALLING")

    def test_other_number(self) -> None:
        """RFC 3261 8.2.6.2: a response has the CSeq of its request, or it is none to it."""
        transaction = self.world.call()
        wire = answer(transaction.request, 200).to_bytes()
        wire = wire.replace(b"CSeq: 1 ", b"CSeq: 256 ")
        error = self.assertRaises(RemoteError, self.world.receive, wire)
        self.assertEqual(error.reason_code, "response-cseq")
        self.assertEqual((transaction.state, self.world.calls), ("CALLING", []))

    def test_broken_response(self) -> None:
        """A response that is not valid is refused and leaves the transaction as it was."""
        transaction = self.world.call()
        wire = answer(transaction.request, 200).to_bytes().replace(b"Call-ID: call\r\n", b"")
        self.assertRaises(RemoteError, self.world.receive, wire)
        self.assertEqual((transaction.state, self.world.calls), ("CALLING", []))

    def test_garbage(self) -> None:
        """Garbage is refused."""
        self.assertRaises(RemoteError, self.world.receive, b"\x00\xff nothing")


class RetransmissionTests(SynchronousTestCase):
    """Copies cost a key and nothing else."""

    def test_no_message_is_built(self) -> None:
        """Neither a copied request nor its stored answer passes the parser again."""
        world = World()
        transactions = [world.serve("OPTIONS"), world.serve("INVITE")]
        world.respond(transactions[0], 200)
        world.respond(transactions[1], 180)
        with mock.patch("sipsess.transaction.layer.parse", side_effect=AssertionError):
            world.receive(request_bytes("OPTIONS"))
            world.receive(request_bytes("INVITE"))
        self.assertEqual(world.sent_labels(), ["200", "180", "200", "180"])
        self.assertIs(world.sent[0][2], world.sent[2][2])

    def test_same_bytes_on_another_transport(self) -> None:
        """They are two requests when the transport gives the sent-by another default port."""
        world = World()
        copy = request_bytes("OPTIONS", sent_by="phone.example:5060")
        servers = [
            world.serve("OPTIONS", flow, sent_by="phone.example:5060") for flow in (UDP, TLS)
        ]
        for left in (2, 1):
            self.assertIsNone(world.receive(copy))
            self.assertEqual(len(world.layer), left)
            world.layer.forget(servers.pop())
        self.assertEqual(world.counters.request_retransmissions_received, 2)
        self.assertIsNotNone(world.receive(copy))

    def test_new_requests_are_parsed_once(self) -> None:
        """A request that is no copy is not looked at before it is parsed."""
        world = World()
        world.serve("OPTIONS")
        with mock.patch("sipsess.transaction.layer.peek", side_effect=AssertionError):
            self.assertIsNotNone(world.receive(request_bytes("OPTIONS", branch="z9hG4bKnew")))


class CreationTests(SynchronousTestCase):
    """What may be created."""

    def setUp(self) -> None:
        """Make a world with room for two."""
        self.world = World(limit=2)

    def test_limit(self) -> None:
        """No more server transactions than the limit; client transactions do not count."""
        world = self.world
        world.call()
        for branch in ("z9hG4bK1", "z9hG4bK2"):
            self.assertIsNone(world.layer.fullness(UDP.remote[0]))
            world.serve(branch=branch)
        self.assertEqual(world.layer.fullness(UDP.remote[0]), "transactions-full")
        error = self.assertRaises(TransactionLimitError, world.serve, branch="z9hG4bK3")
        self.assertEqual(error.status_hint, 503)
        world.call("BYE")
        self.assertEqual((len(world.layer), len(world.layer.leftovers())), (4, 4))

    def test_limit_of_bytes(self) -> None:
        """A few large requests fill the table as many small ones do, and make room again."""
        size = len(request_bytes(branch="z9hG4bK1"))
        world = World(byte_limit=2 * size - 1)
        first = world.serve(branch="z9hG4bK1")
        self.assertIsNone(world.layer.fullness(UDP.remote[0]))
        world.serve(branch="z9hG4bK2")
        self.assertEqual(world.layer.fullness(UDP.remote[0]), "transactions-full")
        error = self.assertRaises(TransactionLimitError, world.serve, branch="z9hG4bK3")
        self.assertIn(f"2 server transactions with {2 * size} bytes", str(error))
        first.abandon(world.now)
        self.assertIsNone(world.layer.fullness(UDP.remote[0]))

    def test_limit_per_peer(self) -> None:
        """A host that has as many as one may have is refused, others are not; each end counts."""
        world = World(peer_limit=1)
        first = world.serve(branch="z9hG4bK1")
        host = UDP.remote[0]
        self.assertEqual(world.layer.fullness(host), "peer-transactions-full")
        self.assertIsNone(world.layer.fullness("192.0.2.200"))
        self.assertRaises(TransactionLimitError, world.serve, branch="z9hG4bK2")
        first.abandon(world.now)
        self.assertIsNone(world.layer.fullness(host))

    def test_limit_per_network(self) -> None:
        """In IPv6 the addresses of one network of 64 bits are one peer."""
        world = World(peer_limit=1)
        flow = replace(UDP, local=("2001:db8::2", 5060), remote=("2001:db8:1::1", 5060))
        world.serve(flow=flow, branch="z9hG4bK1")
        self.assertEqual(world.layer.fullness("2001:db8:1::ffff"), "peer-transactions-full")
        self.assertIsNone(world.layer.fullness("2001:db8:2::1"))

    def test_twice(self) -> None:
        """A second transaction with the same key is a bug of this side."""
        layer = self.world.layer
        request = parsed(request_bytes())
        with self.world.turn:
            layer.create_server(request, UDP, 0.0)
            self.assertRaises(TransactionExistsError, layer.create_server, request, UDP, 0.0)
            layer.create_client(request, UDP, self.world, 0.0)
            self.assertRaises(
                TransactionExistsError, layer.create_client, request, UDP, self.world, 0.0
            )
        self.assertEqual((len(layer), self.world.sent_labels()), (2, ["INVITE"]))

    def test_ack_has_no_transaction(self) -> None:
        """RFC 3261 17: an ACK gets no transaction."""
        layer, ack = self.world.layer, parsed(request_bytes("ACK"))
        self.assertRaises(TransactionExistsError, layer.create_server, ack, UDP, 0.0)
        self.assertRaises(TransactionExistsError, layer.create_client, ack, UDP, self.world, 0.0)
        self.assertTrue(self.world.is_quiet())

    def test_forgotten_twice(self) -> None:
        """Forgetting a transaction again does nothing."""
        for transaction in (self.world.serve(), self.world.call()):
            self.world.layer.forget(transaction)
            self.world.layer.forget(transaction)
        self.assertEqual(len(self.world.layer), 0)

    def test_trace(self) -> None:
        """Each step of a machine is told to the trace, when there is one."""
        steps: list[tuple[str, str, str, str]] = []

        def trace(transaction: Transaction, event: str, old: str, new: str) -> None:
            steps.append((transaction.NAME, event, old, new))

        self.world.layer.step_trace = trace
        self.world.respond(self.world.serve(), 200)
        self.assertEqual(steps, [("INVITE_SERVER", "RESPOND_2XX", "PROCEEDING", "ACCEPTED")])


class MergedTests(SynchronousTestCase):
    """Merged requests (RFC 3261 8.2.2.2)."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()

    def is_merged(self, data: bytes) -> bool:
        """Ask the layer."""
        return self.world.layer.find_merged(parsed(data), UDP)

    def test_merged(self) -> None:
        """Same From tag, Call-ID and CSeq by another way is merged, before and after creation."""
        self.assertFalse(self.is_merged(request_bytes()))
        self.world.serve()
        for detour in (
            request_bytes(branch="z9hG4bKdetour"),
            request_bytes(sent_by="proxy.example"),
        ):
            self.assertTrue(self.is_merged(detour))
        self.world.serve(branch="z9hG4bKdetour")
        self.assertTrue(self.is_merged(request_bytes(branch="z9hG4bKdetour")))

    def test_own_transaction(self) -> None:
        """A request is not merged with itself."""
        self.world.serve(sent_by="Phone.example")
        self.assertFalse(self.is_merged(request_bytes(sent_by="phone.EXAMPLE")))

    def test_other_request(self) -> None:
        """Another CSeq, Call-ID, method or From tag is another request."""
        self.world.serve()
        for other in (
            request_bytes(branch="z9hG4bKx", cseq=2),
            request_bytes(branch="z9hG4bKx", call_id="other"),
            request_bytes("OPTIONS", branch="z9hG4bKx"),
            request_bytes(branch="z9hG4bKx").replace(b"tag=from", b"tag=x"),
        ):
            self.assertFalse(self.is_merged(other))

    def test_within_a_dialog(self) -> None:
        """RFC 3261 8.2.2.2: only requests without a To tag are looked at."""
        self.world.serve(to_tag="to")
        self.assertFalse(self.is_merged(request_bytes(branch="z9hG4bKx")))
        self.world.serve(branch="z9hG4bKinitial")
        self.assertFalse(self.is_merged(request_bytes(branch="z9hG4bKx", to_tag="to")))

    def test_index_is_bounded(self) -> None:
        """The index forgets a request with its transaction, and only the one that it names."""
        first = self.world.serve()
        second = self.world.serve(branch="z9hG4bKdetour")
        with self.world.turn:
            second.abandon(0.0)
        self.assertTrue(self.is_merged(request_bytes(branch="z9hG4bKdetour")))
        with self.world.turn:
            first.abandon(0.0)
        self.assertFalse(self.is_merged(request_bytes(branch="z9hG4bKdetour")))
        self.assertEqual(self.world.layer._initial, {})


class FlowTests(SynchronousTestCase):
    """Lost flows."""

    def test_only_its_own(self) -> None:
        """Another connection from the same address is another flow."""
        world = World()
        other = Flow(
            "TCP", TCP.local, TCP.remote, TCP.listener, is_reliable=True, serial=TCP.serial + 1
        )
        world.serve(flow=TCP)
        world.call(flow=other)
        world.lose(other)
        self.assertEqual(
            [name for _, name, _ in world.calls], ["client_failed", "client_terminated"]
        )
        self.assertEqual(len(world.layer), 1)

    def test_unknown_flow(self) -> None:
        """A flow without transactions may be lost."""
        world = World()
        world.lose(TCP)
        self.assertEqual(world.calls, [])

    def test_index_is_bounded(self) -> None:
        """Nothing is kept of an address once its transactions are over."""
        world = World()
        world.respond(world.serve("OPTIONS"), 200)
        world.reply(world.call("OPTIONS"), 200)
        self.assertEqual(len(world.layer._by_remote), 1)
        world.run_for(60)
        self.assertEqual(world.layer._by_remote, {})
