# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Which connection a message takes, how one is opened, and what becomes of calls without it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.errors import ConnectFailed
from sipsess.flow import Address, Flow
from sipsess.message import Request, Response, parse
from sipsess.server import SIPServer
from sipsess.session import Session, SessionEnded
from sipsess.transport import connections, opening, stream
from tests.shell.streams import RawPeer, StreamCase, options

BOB = "192.0.2.1"


class ConnectCase(StreamCase):
    """The base of tests with a client at alice."""

    client_listen: tuple[str, ...] = ("udp:5060", "tcp:5060")

    def setUp(self) -> None:
        """Start the client."""
        super().setUp()
        self.caller = self.client(listen=self.client_listen)

    def tearDown(self) -> None:
        """Stop the client, too."""
        if self.caller.running:
            self.stop_only(self.caller)
        super().tearDown()

    def stop_only(self, server: SIPServer) -> None:
        """Stop one of the two."""
        stopping = server.stopService()
        self.net.run_for(6)
        self.successResultOf(stopping)

    def flow(self, connecting: Deferred[Flow], seconds: float = 1.0) -> Flow:
        """Let time pass and return the flow."""
        self.net.run_for(seconds)
        return self.successResultOf(connecting)

    def call(self, uri: str = "sip:echo@192.0.2.1;transport=tcp") -> Session:
        """Return a call of alice that stands."""
        dialled = self.caller.dial(uri)
        self.net.run_for(1)
        return self.successResultOf(dialled).session

    def break_all(self, server: SIPServer) -> None:
        """Lose all connections of a host, as a crash of a NAT does."""
        for end in tuple(server.reactor.streams.connections):
            end.abortConnection()
        self.net.run_for(0.2)

    def sent(self, text: bytes) -> list[tuple[str, str]]:
        """Return source and target host of each message that begins so."""
        return [(e.source[0], e.target[0]) for e in self.net.trace if e.data.startswith(text)]


class ConnectTests(ConnectCase):
    """Opening connections."""

    def test_shared(self) -> None:
        """Several who want one target share the attempt, and later the connection."""
        waiting = [self.caller.connect("TCP", (BOB, 5060)) for _ in range(3)]
        flows = {self.flow(connecting) for connecting in waiting}
        flows.add(self.successResultOf(self.caller.connect("TCP", (BOB, 5060))))
        self.assertEqual(len(flows), 1)
        flow = flows.pop()
        self.assertEqual(
            (flow.transport, flow.remote, flow.is_reliable), ("TCP", (BOB, 5060), True)
        )
        self.assertEqual(flow.sent_by, "192.0.2.2:5060")
        self.assertEqual(self.caller.flow_for("TCP", (BOB, 5060)), flow)
        self.assertEqual(len(self.server.connections), 1)

    def test_udp(self) -> None:
        """Over UDP there is nothing to open."""
        flow = self.successResultOf(self.caller.connect("UDP", (BOB, 5060)))
        self.assertEqual((flow.transport, flow.remote), ("UDP", (BOB, 5060)))
        self.stop_only(self.caller)
        self.failureResultOf(self.caller.connect("UDP", (BOB, 5060)), ConnectFailed)

    def test_refused(self) -> None:
        """Where nobody listens it fails at once, and says where."""
        connecting = self.caller.connect("TCP", (BOB, 5099))
        self.net.run_for(1)
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertIn("no TCP connection to 192.0.2.1:5099: ", str(error))
        self.assertEqual(self.refusals(self.caller), {"connect-failed": 1})

    def test_silence(self) -> None:
        """Where nobody answers it fails after a limit, and all who wait hear it."""
        self.net.partition(self.alice, self.bob)
        waiting = [self.caller.connect("TCP", (BOB, 5060)) for _ in range(2)]
        self.net.run_for(connections.CONNECT_LIMIT - 1)
        self.assertNoResult(waiting[0])
        self.net.run_for(2)
        for connecting in waiting:
            self.failureResultOf(connecting, ConnectFailed)

    def test_cancelled(self) -> None:
        """Who gives up leaves the others alone."""
        first, second = (self.caller.connect("TCP", (BOB, 5060)) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.flow(second)

    def test_too_many(self) -> None:
        """There are not more attempts, nor connections, than there may be."""
        self.net.partition(self.alice, self.bob)
        waiting = [
            self.caller.connect("TCP", (BOB, 1 + port)) for port in range(connections.MAX_OPENING)
        ]
        self.failureResultOf(self.caller.connect("TCP", (BOB, 5060)), ConnectFailed)
        self.net.run_for(connections.CONNECT_LIMIT + 1)
        for connecting in waiting:
            self.failureResultOf(connecting, ConnectFailed)
        self.caller.connections.max_connections = 0
        self.failureResultOf(self.caller.connect("TCP", (BOB, 5060)), ConnectFailed)

    def test_unknown_transport(self) -> None:
        """Nobody connects to a browser."""
        error = self.failureResultOf(self.caller.connect("WS", (BOB, 80)), ConnectFailed).value
        self.assertEqual(str(error), "nobody can be reached over WS from here")

    def test_stopped_meanwhile(self) -> None:
        """Stopping ends what is being opened."""
        self.net.partition(self.alice, self.bob)
        connecting = self.caller.connect("TCP", (BOB, 5060))
        self.stop_only(self.caller)
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertRegex(str(error), "the server stops$")
        late = self.caller.connect("TCP", (BOB, 5060))
        self.assertEqual(str(self.failureResultOf(late).value), "the server stops")

    def test_one_address(self) -> None:
        """Who listens on one address connects from it."""
        other = self.client_at("192.0.2.9")
        flow = self.flow(other.connect("TCP", (BOB, 5060)))
        self.assertEqual(flow.local[0], "192.0.2.9")
        self.stop_only(other)

    def client_at(self, address: str) -> SIPServer:
        """Return a client that listens on one address of its host, the second one."""
        host = self.net.host("192.0.2.8", address)
        return self.serve(host, listen=[f"tcp:5060:interface={address}"])


class AliasTests(StreamCase):
    """Whose connections are reused (RFC 5923)."""

    def ask(self, peer: RawPeer, via: bytes) -> None:
        """Send OPTIONS with another Via."""
        old = b"SIP/2.0/TCP 192.0.2.2:5060"
        self.say(peer, options().replace(old, via))

    def test_not_asked(self) -> None:
        """A connection of a peer that did not ask is used for its own requests only."""
        self.ask(self.connect(), b"SIP/2.0/TCP 192.0.2.2:5060")
        self.assertIsNone(self.server.flow_for("TCP", ("192.0.2.2", 5060)))

    def test_asked(self) -> None:
        """One that asks by "alias" is used for the port of its sent-by, at its own address."""
        peer = self.connect()
        self.ask(peer, b"SIP/2.0/TCP 192.0.2.77:5070;alias")
        flow = self.server.flow_for("TCP", ("192.0.2.2", 5070))
        assert flow is not None
        self.assertEqual(flow.remote, ("192.0.2.2", peer.wire.getHost().port))
        self.assertIsNone(self.server.flow_for("TCP", ("192.0.2.77", 5070)))
        peer.wire.loseConnection()
        self.net.run_for(1)
        self.assertIsNone(self.server.flow_for("TCP", ("192.0.2.2", 5070)))

    def test_bounded(self) -> None:
        """One connection stands for a few ports only, and takes none from another."""
        first, second = self.connect(), self.connect()
        for number in range(20):
            self.ask(first, b"SIP/2.0/TCP 192.0.2.2:%d;alias;x=%d" % (6000 + number, number))
        known = [
            port for port in range(6000, 6020) if self.server.flow_for("TCP", ("192.0.2.2", port))
        ]
        self.assertEqual(known, list(range(6000, 6000 + connections.MAX_ALIASES)))
        flow = self.server.flow_for("TCP", ("192.0.2.2", 6000))
        self.ask(second, b"SIP/2.0/TCP 192.0.2.2:6000;alias")
        self.assertEqual(self.server.flow_for("TCP", ("192.0.2.2", 6000)), flow)


class LostTests(ConnectCase):
    """Connections that are lost."""

    def test_call_goes_on(self) -> None:
        """A call outlives its connection: its next request opens a new one to the remote target."""
        session = self.call()
        self.break_all(self.caller)
        self.assertFalse(session.is_over)
        self.assertEqual(len(self.server.connections), 0)
        answered = session.send_request("INFO")
        self.net.run_for(1)
        self.assertIsInstance(self.successResultOf(answered), Response)
        self.assertEqual(len(self.server.connections), 1)
        self.assertFalse(session.is_over)

    def test_messages(self) -> None:
        """Via and Contact name the transport and our port; To does not (19.1.1)."""
        self.call()
        invite = next(parse(e.data) for e in self.net.trace if e.data.startswith(b"INVITE"))
        assert isinstance(invite, Request)
        self.assertEqual((invite.via.transport, invite.via.port), ("TCP", 5060))
        self.assertEqual(invite.uri, "sip:echo@192.0.2.1;transport=tcp")
        self.assertEqual(invite.headers.get("Contact"), "<sip:192.0.2.2:5060;transport=tcp>")
        self.assertEqual(invite.headers.get("To"), "<sip:echo@192.0.2.1>")

    def test_callee_hangs_up(self) -> None:
        """Either side can: the callee's BYE goes to the caller's Contact."""
        session = self.call()
        self.break_all(self.caller)
        callee = next(iter(self.server.manager.sessions))
        callee.terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual(self.sent(b"BYE sip:192.0.2.2:5060;transport=tcp"), [(BOB, "192.0.2.2")])

    def test_ringing_call(self) -> None:
        """17.1.4: a call that waits for its answer on a lost connection is over: 503."""
        dialled = self.caller.dial("sip:ringing@192.0.2.1;transport=tcp")
        self.net.run_for(1)
        self.break_all(self.caller)
        error = self.failureResultOf(dialled, SessionEnded).value
        self.assertIn("by the network: 503", str(error))
        for session in list(self.server.manager.sessions):
            session.terminate()
        self.net.run_for(40)

    def test_response_goes_to_the_sent_by(self) -> None:
        """18.2.2: a response whose connection is gone opens one to received and sent-by's port."""
        peer = RawPeer()
        listening = self.alice.listenTCP(5070, _factory_of(peer))
        caller = self.connect()
        self.say(caller, invite(b"192.0.2.2:5070"))
        caller.wire.loseConnection()
        self.net.run_for(1)
        callee = next(iter(self.server.manager.sessions))
        self.assertFalse(callee.is_over)
        callee.terminate(486)
        self.net.run_for(1)
        self.assertEqual(peer.statuses, [b"486"])
        listening.stopListening()
        self.net.run_for(40)

    def test_response_has_nowhere_to_go(self) -> None:
        """When nobody listens there either, the transaction ends all the same, and quietly."""
        caller = self.connect()
        self.say(caller, invite(b"192.0.2.2:5071"))
        caller.wire.loseConnection()
        self.net.run_for(1)
        next(iter(self.server.manager.sessions)).terminate(486)
        self.net.run_for(40)
        self.assertEqual(self.server.core.layer.leftovers(), [])

    def test_answer_is_repeated_on_the_new_connection(self) -> None:
        """13.3.1.4: each copy of a 2xx goes where the response goes by then."""
        peer = RawPeer()
        listening = self.alice.listenTCP(5070, _factory_of(peer))
        caller = self.connect()
        self.say(caller, invite(b"192.0.2.2:5070", b"echo"), 0.2)
        self.assertEqual(caller.statuses, [b"200"])
        caller.wire.abortConnection()
        self.net.run_for(2)
        self.assertEqual(set(peer.statuses), {b"200"})
        listening.stopListening()
        self.net.run_for(70)

    def test_stale_flow(self) -> None:
        """What is sent on a connection that is gone is lost, and told; nothing raises."""
        flow = self.flow(self.caller.connect("TCP", (BOB, 5060)))
        self.break_all(self.caller)
        session = self.caller.manager.dial("sip:echo@192.0.2.1;transport=tcp", flow)
        session.invite_client.answered.addErrback(lambda failure: None)
        self.net.run_for(1)
        self.assertIn("503", str(session.end_reason))

    def test_closing_connection(self) -> None:
        """A connection that is being closed is used no more, however long its end takes."""
        session = self.call()
        for connection in tuple(self.caller.connections._flows):
            connection.close()
        answered = session.send_request("INFO")
        self.assertFalse(self.caller.core.flows.is_open(session.flow))
        self.net.run_for(1)
        self.assertIsInstance(self.successResultOf(answered), Response)

    def test_idle_call(self) -> None:
        """A connection is not closed for being idle while a call uses it, also one opened again."""
        session = self.call()
        self.net.run_for(stream.IDLE_LIMIT * 1.5)
        self.assertEqual(len(self.server.connections), 1)
        session.terminate()
        self.net.run_for(stream.IDLE_LIMIT * 1.5)
        self.assertEqual(len(self.server.connections), 0)

    def test_keep_alive(self) -> None:
        """RFC 5626 4.4.1: a connection that we opened for a call is pinged, and it is answered."""
        session = self.call()
        self.net.run_for(350)
        pings = [event for event in self.net.trace if event.data == b"\r\n\r\n"]
        pongs = [event for event in self.net.trace if event.data == b"\r\n"]
        self.assertEqual({event.source[0] for event in pings}, {"192.0.2.2"})
        self.assertEqual((len(pings), len(pongs)), (3, 3))
        session.terminate()
        self.net.run_for(350)
        self.assertEqual(len([e for e in self.net.trace if e.data == b"\r\n\r\n"]), 3)

    def test_too_many_wait(self) -> None:
        """What cannot even wait for a connection is lost at once."""
        session = self.call()
        self.break_all(self.caller)
        self.caller.connections.max_connections = 0
        answered = session.send_request("INFO")
        self.net.run_for(0.1)
        error = self.failureResultOf(answered, ConnectFailed).value
        self.assertEqual(str(error), "there are too many connections")

    def test_queue_is_bounded(self) -> None:
        """What waits for a connection that is being opened has a limit."""
        self.net.partition(self.alice, self.bob)
        flow = self.caller.core.flows.connections.open_flow("TCP", (BOB, 5060), "")  # type: ignore[union-attr]
        assert flow is not None
        for _ in range(1 + opening.MAX_QUEUED // 60_000):
            self.caller.core.send(flow, b"x" * 60_000)
            with self.caller.core.turn:
                pass
        self.assertEqual(self.refusals(self.caller), {"connect-queue-full": 1})
        self.net.run_for(connections.CONNECT_LIMIT + 1)

    def test_pending_flow_fails(self) -> None:
        """A request of a call whose connection cannot be opened again fails; the call stands."""
        session = self.call()
        self.stop_listening(self.server)
        self.break_all(self.caller)
        answered = session.send_request("INFO")
        self.net.run_for(1)
        self.failureResultOf(answered, ConnectFailed)
        self.assertFalse(session.is_over)

    def stop_listening(self, server: SIPServer) -> None:
        """Close the TCP port of a server."""
        for listener in server.listeners:
            if listener.kind == "TCP":
                listener.stop()


class TargetTests(ConnectCase):
    """Which flow the requests of a call take."""

    def dial_in(self, contact: bytes, *extra: bytes) -> tuple[RawPeer, Session]:
        """Let a raw peer call with this Contact; return it and bob's session."""
        caller = self.connect()
        data = invite(b"192.0.2.2:5060", b"echo")
        data = data.replace(b"<sip:a@192.0.2.2:5060;transport=tcp>", contact)
        for line in extra:
            data = data.replace(b"Max-Forwards", line + b"\r\nMax-Forwards", 1)
        self.say(caller, data)
        answer = parse(caller.heard)
        assert isinstance(answer, Response)
        tag = (answer.to_tag or "").encode()
        ack = data.replace(b"INVITE", b"ACK").replace(b"z9hG4bKi", b"z9hG4bKa")
        self.say(
            caller, ack.replace(b"To: <sip:echo@192.0.2.1>", b"To: <sip:echo@192.0.2.1>;tag=" + tag)
        )
        session = next(iter(self.server.manager.sessions))
        return caller, session

    def bye_of(self, peer: RawPeer, session: Session) -> bool:
        """Hang up as bob; tell whether the peer heard it on its connection."""
        before = len(peer.heard)
        session.terminate()
        self.net.run_for(0.5)
        return peer.heard[before:].startswith(b"BYE ")

    def test_peer_behind_a_nat(self) -> None:
        """A peer that has connected itself is reached on its connection, whatever its Contact."""
        for contact in (
            b"<sip:a@10.0.0.7:5060;transport=tcp>",
            b"<sip:a@x7f.invalid;transport=ws>",
            b"<sip:a@phone.example>",
        ):
            peer, session = self.dial_in(contact)
            self.assertTrue(self.bye_of(peer, session), contact)
            self.net.run_for(70)
            peer.wire.loseConnection()
            self.net.run_for(1)

    def test_peer_behind_a_proxy(self) -> None:
        """A proxy that did not ask to stay on the path is not on it (12.2.1.1)."""
        contact = b"<sip:a@192.0.2.2:5060;transport=tcp>"
        other = b"Via: SIP/2.0/UDP 192.0.2.44;branch=z9hG4bKproxy"
        peer, session = self.dial_in(contact.replace(b"192.0.2.2:5060", b"192.0.2.3:5060"), other)
        carol = RawPeer()
        listening = self.net.host("192.0.2.3").listenTCP(5060, _factory_of(carol))
        self.assertFalse(self.bye_of(peer, session))
        self.assertTrue(carol.heard.startswith(b"BYE "))
        listening.stopListening()
        self.net.run_for(70)

    def test_name_of_a_lost_peer(self) -> None:
        """A name that nobody has resolved is looked for where the peer's messages came from."""
        peer, session = self.dial_in(b"<sip:a@phone.example:5077;transport=tcp>")
        again = RawPeer()
        listening = self.alice.listenTCP(5077, _factory_of(again))
        peer.wire.loseConnection()
        self.net.run_for(1)
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(again.heard.startswith(b"BYE sip:a@phone.example:5077"))
        listening.stopListening()
        self.net.run_for(70)

    def test_browser_is_gone(self) -> None:
        """Who has no address and no connection is not reached; the call ends all the same."""
        peer, session = self.dial_in(b"<sip:a@x7f.invalid;transport=ws>")
        peer.wire.loseConnection()
        self.net.run_for(1)
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.net.run_for(70)

    def ask_within(self, peer: RawPeer, session: Session, *extra: bytes) -> None:
        """Let a peer ask something within the call, and hear the answer."""
        tag = session.local_tag.encode()
        request = options(7).replace(b"To: <sip:192.0.2.1>", b"To: <sip:192.0.2.1>;tag=" + tag)
        request = request.replace(b"Call-ID: 7", b"Call-ID: c").replace(b"CSeq: 1", b"CSeq: 2")
        for line in extra:
            request = request.replace(b"Max-Forwards", line + b"\r\nMax-Forwards", 1)
        heard = self.say(peer, request)
        self.assertTrue(heard.startswith(b"SIP/2.0 200 "), heard)

    def test_browser_is_back(self) -> None:
        """Who has lost its connection is reached on the one that its next request comes on."""
        peer, session = self.dial_in(b"<sip:a@x7f.invalid;transport=ws>")
        peer.wire.loseConnection()
        self.net.run_for(1)
        again = self.connect()
        self.ask_within(again, session)
        self.assertTrue(self.bye_of(again, session))
        self.net.run_for(70)

    def test_request_through_a_proxy(self) -> None:
        """A proxy that forwards a request is not the peer: the call stays where it is."""
        peer, session = self.dial_in(b"<sip:a@x7f.invalid;transport=ws>")
        proxy = self.connect()
        self.ask_within(proxy, session, b"Via: SIP/2.0/UDP 192.0.2.44;branch=z9hG4bKproxy")
        self.assertTrue(self.bye_of(peer, session))
        self.net.run_for(70)

    def test_another_port_of_the_host(self) -> None:
        """A Contact that names another port and TCP is another server, be it on the same host."""
        for suffix, calls in ((";transport=tcp", (0, 1)), ("", (1, 0))):
            session = self.call()
            dialog = session.dialog
            assert dialog is not None
            other = RawPeer()
            listening = self.bob.listenTCP(5070, _factory_of(other))
            dialog.remote_target = f"sip:192.0.2.1:5070{suffix}"
            before = len(self.net.trace)
            session.terminate()
            self.net.run_for(0.5)
            byes = [event.target[1] for event in self.net.trace[before:] if b"BYE " in event.data]
            self.assertEqual((byes.count(5060), byes.count(5070)), calls)
            listening.stopListening()
            self.net.run_for(40)
            for callee in list(self.server.manager.sessions):
                callee.terminate()
            self.net.run_for(40)

    def test_contact_over_tcp(self) -> None:
        """A call that began over UDP goes on over TCP when the Contact says so."""
        session = self.call("sip:echo@192.0.2.1")
        dialog = session.dialog
        assert dialog is not None
        dialog.remote_target = "sip:192.0.2.1:5060;transport=tcp"
        session.terminate()
        self.net.run_for(1)
        bye = next(event for event in self.net.trace if event.data.startswith(b"BYE"))
        request = parse(bye.data)
        assert isinstance(request, Request)
        self.assertEqual(request.via.transport, "TCP")
        self.assertTrue(session.is_over)
        self.net.run_for(40)


class SizeTests(ConnectCase):
    """18.1.1: what is too large for a datagram goes over a connection, if there is one."""

    URI = "sip:ringing@192.0.2.1"

    def dial(self, uri: str = URI, size: int = 1000) -> Session:
        """Let alice call over UDP with a header of this size."""
        dialled = self.caller.dial(uri, headers={"X-Large": "x" * size})
        dialled.addErrback(lambda failure: None)
        self.net.run_for(0.5)
        return next(iter(self.caller.manager.sessions))

    def vias(self, method: bytes = b"INVITE") -> list[str]:
        """Return the transport in the Via of each request of a method, in order."""
        requests = [parse(e.data) for e in self.net.trace if e.data.startswith(method + b" ")]
        return [request.via.transport for request in requests]

    def finish(self, session: Session) -> None:
        """Cancel, and let all end."""
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.net.run_for(40)

    def test_small(self) -> None:
        """What fits stays on UDP."""
        session = self.dial(size=100)
        self.assertEqual(self.vias(), ["UDP"])
        self.finish(session)

    def test_large(self) -> None:
        """A large INVITE goes over TCP, and its CANCEL follows it; Contact and dialog stay UDP."""
        session = self.dial()
        self.assertEqual(self.vias(), ["TCP"])
        self.assertNotIn("transport", session.contact)
        self.finish(session)
        self.assertEqual(self.vias(b"CANCEL"), ["TCP"])

    def test_asked_for(self) -> None:
        """Who asks for UDP gets it."""
        session = self.dial(self.URI + ";transport=udp")
        self.assertEqual(self.vias()[0], "UDP")
        self.finish(session)

    def test_refused(self) -> None:
        """When the connection is refused UDP it is; TCP is left alone for a while then."""
        for listener in self.server.listeners:
            if listener.kind == "TCP":
                listener.stop()
        first = self.dial()
        self.assertEqual(self.vias(), ["UDP"])
        self.finish(first)
        self.assertEqual(self.refusals(self.caller), {"connect-failed": 1})
        second = self.dial()
        self.finish(second)
        self.assertEqual(self.refusals(self.caller), {"connect-failed": 1})
        self.assertEqual(self.vias(b"CANCEL"), ["UDP", "UDP"])

    def test_filtered(self) -> None:
        """Where nobody answers to TCP, UDP does not wait for long."""
        self.net.partition(self.alice, self.bob)
        session = self.dial()
        self.net.run_for(connections.WIDER_LIMIT - 0.6)
        self.assertEqual(self.vias(), [])
        self.net.heal()
        self.net.run_for(0.5)
        self.assertEqual(self.vias(), ["UDP"])
        self.finish(session)

    def test_no_room(self) -> None:
        """When no connection can be opened at all, UDP it is at once."""
        self.caller.connections.max_connections = 0
        session = self.dial()
        self.assertEqual(self.vias(), ["UDP"])
        self.finish(session)

    def test_not_invite(self) -> None:
        """So do other requests, and their retransmissions begin when they are on UDP."""
        session = self.call("sip:echo@192.0.2.1")
        for listener in self.server.listeners:
            if listener.kind == "TCP":
                listener.stop()
        lost: list[bytes] = []

        def lose_first(source: Address, target: Address, data: bytes) -> bool:
            is_first = data.startswith(b"INFO") and not lost
            lost.extend([data] * is_first)
            return is_first

        self.net.filters.append(lose_first)
        answered = session.send_request("INFO", body=b"x" * 1500)
        self.net.run_for(2)
        self.assertIsInstance(self.successResultOf(answered), Response)
        self.assertEqual(self.vias(b"INFO"), ["UDP", "UDP"])
        self.finish(session)


class ClientOnlyTests(ConnectCase):
    """A client that listens on UDP alone can still call over TCP."""

    client_listen = ("udp:5060",)

    def test_call(self) -> None:
        """It has no port to show but that of its connection, and the callee uses that."""
        session = self.call()
        self.assertRegex(session.contact, r"<sip:192.0.2.2:49\d+;transport=tcp>")
        next(iter(self.server.manager.sessions)).terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)


def invite(sent_by: bytes, user: bytes = b"ringing") -> bytes:
    """Return an INVITE of a raw peer over TCP, with an offer."""
    sdp = (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n"
        b"m=audio 30000 RTP/AVP 0\r\n"
    )
    return (
        b"INVITE sip:%s@192.0.2.1 SIP/2.0\r\n"
        b"Via: SIP/2.0/TCP %s;branch=z9hG4bKi\r\n"
        b"From: <sip:a@192.0.2.2>;tag=a\r\nTo: <sip:%s@192.0.2.1>\r\nCall-ID: c\r\n"
        b"CSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.2:5060;transport=tcp>\r\n"
        b"Max-Forwards: 70\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (user, sent_by, user, len(sdp), sdp)
    )


def _factory_of(peer: RawPeer) -> Any:
    """Return a factory that gives each connection to one peer."""

    class _Factory:
        noisy = False

        def doStart(self) -> None:
            """See ``IProtocolFactory``."""

        def doStop(self) -> None:
            """See ``IProtocolFactory``."""

        def buildProtocol(self, addr: object) -> RawPeer:
            """See ``IProtocolFactory``."""
            return peer

    return _Factory()
