# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIP over WebSocket (RFC 7118) on virtual hosts: browsers, and what is none."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from twisted.internet.protocol import ClientFactory
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from sipsess.message import Request as SIPRequest
from sipsess.message import Response, build_response, parse
from sipsess.message.limits import MAX_MESSAGE
from sipsess.registrar import RegistrarOptions
from sipsess.server import SIPServer
from sipsess.session import SessionEnded
from sipsess.testing import VirtualNetwork
from sipsess.transport import stream
from sipsess.transport.listen import ListenError, ListenSpec, parse_listen
from tests.certificates import Authority, names
from tests.shell.streams import RawPeer, StreamCase, options
from tests.shell.test_connections import invite

PORT = 8080


class WebPeer(RawPeer):
    """A browser, as far as WebSocket goes."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = WSConnection(ConnectionType.CLIENT)
        self.events: list[Event] = []

    def dataReceived(self, data: bytes) -> None:
        """Read frames."""
        super().dataReceived(data)
        self.socket.receive_data(data)
        self.events += self.socket.events()

    def send(self, event: Event) -> None:
        """Send one event."""
        self.write(self.socket.send(event))

    def of(self, kind: type[Event]) -> list[Any]:
        """Return what came of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def messages(self) -> list[bytes]:
        """The messages that came, whole."""
        found = []
        for event in self.events:
            if isinstance(event, TextMessage):
                found.append(event.data.encode())
            elif isinstance(event, BytesMessage):
                found.append(bytes(event.data))
        return found


class WebCase(StreamCase):
    """The base of tests: bob listens for browsers."""

    listen: tuple[str, ...] = ("udp:5060", f"ws:{PORT}")

    def web(
        self, subprotocols: tuple[str, ...] = ("sip",), origin: str = "", shake: bool = True
    ) -> WebPeer:
        """Return a browser that has shaken hands, or tried to."""
        peer = WebPeer()
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: peer  # type: ignore[method-assign]
        self.alice.connectTCP("192.0.2.1", PORT, factory)
        self.net.run_for(0.1)
        if shake:
            headers = [(b"Origin", origin.encode())] if origin else []
            peer.send(
                Request(
                    host="192.0.2.1",
                    target="/",
                    subprotocols=list(subprotocols),
                    extra_headers=headers,
                )
            )
            self.net.run_for(0.2)
        return peer

    def tell(self, peer: WebPeer, *events: Event) -> None:
        """Send events, and let time pass."""
        for event in events:
            peer.send(event)
        self.net.run_for(0.3)


class MessageTests(WebCase):
    """Messages."""

    def test_text_and_binary(self) -> None:
        """One message of SIP is one of WebSocket, text or binary; Content-Length may be missing."""
        peer = self.web()
        self.assertEqual(peer.of(AcceptConnection)[0].subprotocol, "sip")
        request = options().replace(b"TCP 192.0.2.2:5060", b"WS df7jal.invalid")
        short = request.replace(b"Content-Length: 0\r\n", b"").replace(b"Call-ID: 1", b"Call-ID: 2")
        short = short.replace(b"z9hG4bK1", b"z9hG4bK2")
        self.tell(peer, TextMessage(data=request.decode()), BytesMessage(data=short))
        self.assertEqual(len(peer.messages), 2)
        answer = parse(peer.messages[0])
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.via.params.get("received"), "192.0.2.2")

    def test_ipv6(self) -> None:
        """It is the same over IPv6."""
        peer = WebPeer()
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: peer  # type: ignore[method-assign]
        self.alice.connectTCP("2001:db8::1", PORT, factory)
        self.net.run_for(0.1)
        self.tell(peer, Request(host="[2001:db8::1]", target="/", subprotocols=["sip"]))
        self.tell(peer, TextMessage(data=options().decode()))
        self.assertIn(b"received=2001:db8::2", peer.messages[0])

    def test_in_pieces(self) -> None:
        """A message in several frames, each cut anywhere, is one message."""
        peer = self.web()
        wire = b"".join(
            (
                peer.socket.send(TextMessage(data=options()[:50].decode(), message_finished=False)),
                peer.socket.send(TextMessage(data=options()[50:].decode())),
            )
        )
        for number in range(len(wire)):
            peer.write(wire[number : number + 1])
        self.net.run_for(0.5)
        self.assertEqual(len(peer.messages), 1)

    def test_binary_answer(self) -> None:
        """What is no text goes as binary, such as an answer that repeats a header of raw bytes."""
        peer = self.web()
        self.tell(peer, BytesMessage(data=options().replace(b"Call-ID: 1", b"Call-ID: \xff")))
        self.assertEqual(len(peer.of(BytesMessage)), 1)
        self.assertIn(b"Call-ID: \xff", peer.messages[0])

    def test_keep_alives(self) -> None:
        """A ping of WebSocket, and one of SIP (RFC 5626), are answered."""
        peer = self.web()
        self.tell(peer, Ping(payload=b"x"), TextMessage(data="\r\n\r\n"), TextMessage(data="\r\n"))
        self.assertEqual([event.payload for event in peer.of(Pong)], [b"x"])
        self.assertEqual(peer.messages, [b"\r\n"])

    def test_two_in_one(self) -> None:
        """RFC 7118 5: what follows the first message of SIP is no second one."""
        peer = self.web()
        self.tell(peer, TextMessage(data=(options(1) + options(2)).decode()))
        self.assertEqual(len(peer.messages), 1)

    def test_call(self) -> None:
        """A call of a browser: its Contact has no address, and requests come back all the same."""
        peer = self.web()
        data = invite(b"df7jal23ls0d.invalid", b"echo").replace(b"SIP/2.0/TCP", b"SIP/2.0/WS")
        contact = b"<sip:a@df7jal23ls0d.invalid;transport=ws>"
        data = data.replace(b"<sip:a@192.0.2.2:5060;transport=tcp>", contact)
        self.tell(peer, TextMessage(data=data.decode()))
        answer = parse(peer.messages[0])
        assert isinstance(answer, Response)
        self.assertEqual(answer.headers.get("Contact"), "<sip:192.0.2.1:8080;transport=ws>")
        session = next(iter(self.server.manager.sessions))
        tag = (answer.to_tag or "").encode()
        ack = data.partition(b"\r\n\r\n")[0].replace(b"INVITE", b"ACK") + b"\r\n\r\n"
        ack = ack.replace(b"Content-Type: application/sdp\r\n", b"").replace(
            b"z9hG4bKi", b"z9hG4bKa"
        )
        ack = ack.replace(b"To: <sip:echo@192.0.2.1>", b"To: <sip:echo@192.0.2.1>;tag=" + tag)
        head, _, _ = ack.partition(b"Content-Length:")
        self.tell(peer, BytesMessage(data=head + b"Content-Length: 0\r\n\r\n"))
        self.assertTrue(session.is_answered)
        session.terminate()
        self.net.run_for(0.3)
        self.assertTrue(
            peer.messages[-1].startswith(b"BYE sip:a@df7jal23ls0d.invalid;transport=ws")
        )
        self.assertIn(b"Via: SIP/2.0/WS 192.0.2.1:8080", peer.messages[-1])
        self.net.run_for(70)

    def test_gone(self) -> None:
        """A browser that is gone cannot be called back; its call ends when we hang up."""
        peer = self.web()
        data = invite(b"x.invalid").replace(b"SIP/2.0/TCP", b"SIP/2.0/WS")
        self.tell(peer, TextMessage(data=data.decode()))
        peer.wire.abortConnection()
        self.net.run_for(1)
        for session in list(self.server.manager.sessions):
            session.terminate(486)
        self.net.run_for(70)
        self.assertEqual(self.server.core.layer.leftovers(), [])


class RegisteredTests(WebCase):
    """Browsers that registered."""

    def test_called(self) -> None:
        """RFC 7118 B.1: a browser is called over the connection that it registered on."""
        self.stop(self.server)
        server = self.server = SIPServer(self.bob, list(self.listen))
        server.users.add_registrar(RegistrarOptions(admits_anybody=True))
        server.startService()
        peer = self.web()
        register = (
            "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKr\r\n"
            "From: <sip:web@192.0.2.1>;tag=a\r\nTo: <sip:web@192.0.2.1>\r\nCall-ID: r\r\n"
            "CSeq: 1 REGISTER\r\nContact: <sip:web@x.invalid;transport=ws>;expires=600\r\n"
            "Max-Forwards: 70\r\n\r\n"
        )
        self.tell(peer, TextMessage(data=register))
        self.assertTrue(peer.messages[0].startswith(b"SIP/2.0 200 "), peer.messages)
        calling = server.users.dial("web")
        self.net.run_for(1)
        request = parse(peer.messages[-1])
        assert isinstance(request, SIPRequest)
        self.assertEqual(request.uri, "sip:web@x.invalid;transport=ws")
        self.assertEqual(request.via.transport, "WS")
        refusal = build_response(request, 486, to_tag="t").to_bytes()
        self.tell(peer, TextMessage(data=refusal.decode()))
        self.assertIn("486", str(self.failureResultOf(calling, SessionEnded).value))
        peer.wire.loseConnection()
        self.net.run_for(1)
        self.failureResultOf(server.users.dial("web"))
        self.net.run_for(70)


class EndTests(WebCase):
    """The end of a connection, and broken rules."""

    def assert_closed(self, peer: WebPeer, code: int) -> None:
        """Expect a close frame, and the end of the connection."""
        self.assertEqual([event.code for event in peer.of(CloseConnection)], [code])
        self.assertIsNotNone(peer.lost)

    def test_close_of_the_peer(self) -> None:
        """A close is answered with a close."""
        peer = self.web()
        self.tell(peer, CloseConnection(code=1000))
        self.assert_closed(peer, 1000)
        self.assertEqual(self.refusals(), {})

    def test_close_of_ours(self) -> None:
        """A server that stops says good-bye."""
        peer = self.web()
        self.stop(self.server)
        self.assert_closed(peer, 1001)

    def test_too_large(self) -> None:
        """A message that is too large is not read to its end."""
        peer = self.web()
        half = "x" * (MAX_MESSAGE // 2 + 1)
        self.tell(
            peer,
            TextMessage(data=half, message_finished=False),
            TextMessage(data=half, message_finished=False),
        )
        self.assert_closed(peer, 1009)
        self.assertEqual(self.refusals(), {"message-too-large": 1})

    def test_broken_frames(self) -> None:
        """Frames that are none, or text that is none, end the connection."""
        for wire in (b"\xff\xff\xff\xff", b"\x81\x82\x00\x00\x00\x00\xff\xff", b"\x81\x05hello"):
            peer = self.web()
            self.say(peer, wire)
            self.assertIsNotNone(peer.lost, wire)
        self.assertEqual(self.refusals(), {"websocket-broken": 3})

    def test_no_sip(self) -> None:
        """A message that is no SIP is counted, and the connection goes on."""
        peer = self.web()
        self.tell(peer, TextMessage(data="hello"), TextMessage(data=options().decode()))
        self.assertEqual(len(peer.messages), 1)
        self.assertIsNone(peer.lost)

    def test_slow_message(self) -> None:
        """A message must be whole in time."""
        peer = self.web()
        self.tell(peer, TextMessage(data="OPTIONS ", message_finished=False))
        self.net.run_for(stream.MESSAGE_LIMIT + 2)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {"connection-slow": 1})


class HandshakeTests(WebCase):
    """What is no WebSocket of SIP."""

    def test_subprotocol(self) -> None:
        """RFC 7118 4: a peer that does not offer the subprotocol is refused."""
        peer = self.web(("chat",))
        self.assertEqual([event.status_code for event in peer.of(RejectConnection)], [400])
        self.assertIsNotNone(peer.lost)
        self.assertIsNone(self.web(("chat", "sip")).lost)
        self.assertEqual(self.refusals(), {"websocket-refused": 1})

    def test_web_browser(self) -> None:
        """A request without upgrade is told what to do, and the connection closed."""
        for line in (b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"HEAD /a HTTP/1.0"):
            peer = self.connect(port=PORT)
            answer = self.say(peer, line + b"\r\nHost: x\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"), answer)
            self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {"websocket-refused": 3})

    def test_garbage(self) -> None:
        """Who speaks no HTTP hears nothing; what is too long is not waited for."""
        for data, has_answer in (
            (b"\x16\x03\x01\x02\x00\x01\x00", False),
            (options(), False),
            (b"GET /" + b"x" * 100_000, False),
            (b"GET / HTTP/1.1\r\nHost: \xff\xff\r\nX: " + b"x" * 100_000, True),
            (b"GET / HTTP/1.1\r\nHost: \xff\r\nConnection: \xff\r\n\r\n", True),
        ):
            peer = self.connect(port=PORT)
            answer = self.say(peer, data)
            self.assertEqual(answer.startswith(b"HTTP/1.1 426"), has_answer, data[:50])
            self.assertIsNotNone(peer.lost, data[:50])
        self.assertEqual(self.refusals(), {"websocket-refused": 5})

    def test_slow(self) -> None:
        """The hand-shake has a limit."""
        peer = self.web(shake=False)
        self.say(peer, b"GET / HTTP/1.1\r\n")
        self.net.run_for(stream.HANDSHAKE_LIMIT + 1)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {"connection-handshake-slow": 1})


class OriginTests(WebCase):
    """Web pages that may connect."""

    listen = (f"ws:{PORT}:origin=https\\://a.example,https\\://b.example",)

    def test_origin(self) -> None:
        """A page of another origin gets 403; what is no page has no origin, and may."""
        for origin, is_allowed in (
            ("https://a.example", True),
            ("https://b.example", True),
            ("https://evil.example", False),
            ("", True),
        ):
            peer = self.web(origin=origin)
            self.assertEqual(peer.lost is None, is_allowed, origin)
        self.assertEqual(self.refusals(), {"websocket-refused": 1})
        self.assertIn(b"HTTP/1.1 403 Forbidden", b"".join(e.data for e in self.net.trace))


class SecureTests(WebCase):
    """WebSocket above TLS."""

    def setUp(self) -> None:
        """Make a certificate."""
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)
        cert, key = self.authority.issue("bob", names(domains=["bob.example"]))
        self.listen = (f"wss:8443:cert={cert}:key={key}",)
        super().setUp()

    def test_message(self) -> None:
        """Messages are exchanged, and none in clear."""
        from sipsess.transport.files import TLSFiles, load_credentials

        peer = WebPeer()
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: peer  # type: ignore[method-assign]
        credentials = load_credentials(TLSFiles(ca=self.authority.ca))
        wrapped = credentials.connect("bob.example", factory, self.alice)
        self.alice.connectTCP("192.0.2.1", 8443, wrapped)
        self.net.run_for(0.3)
        self.tell(peer, Request(host="bob.example", target="/", subprotocols=["sip"]))
        request = options().replace(b"TCP 192.0.2.2:5060", b"WSS df7jal.invalid")
        self.tell(peer, TextMessage(data=request.decode()))
        self.assertEqual(len(peer.messages), 1)
        self.assertEqual([e for e in self.net.trace if b"SIP/2.0" in e.data], [])


class SpellingTests(WebCase):
    """Where to listen for browsers."""

    def test_right(self) -> None:
        """Origins are written with their colons escaped."""
        spec = parse_listen(r"ws:8080:origin=https\://a.example,null")
        self.assertEqual(spec, ListenSpec("WS", 8080, origins=("https://a.example", "null")))

    def test_wrong(self) -> None:
        """A secure one needs a certificate."""
        with self.assertRaisesRegex(ListenError, "write wss:443:cert=FILE:key=FILE"):
            self.serve(self.alice, listen=["wss:443"])

    def test_extra_is_absent(self) -> None:
        """Without the package of the extra, what to install is said."""
        known = dict(sys.modules)
        self.addCleanup(sys.modules.update, known)
        sys.modules.pop("sipsess.transport.websocket", None)
        sys.modules["wsproto"] = None  # type: ignore[assignment]
        with self.assertRaisesRegex(ListenError, r"wsproto is missing.*'sipsess\[ws\]'"):
            self.serve(VirtualNetwork().host("192.0.2.1"), listen=["ws:8080"])
