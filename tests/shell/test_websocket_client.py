# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The WebSocket client (RFC 6455) on virtual hosts: hand-shake, messages, bounds, ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from wsproto.events import BytesMessage, Ping, TextMessage

from sipsess.errors import ConnectFailed, LocalError
from sipsess.mediastream import LinkClosed, LinkTarget
from sipsess.secret import Secret
from sipsess.testing import VirtualNetwork
from sipsess.transport.files import TLSFiles, load_credentials
from sipsess.transport.websocket_client import MAX_MESSAGE, MAX_WAITING, OVERHEAD
from sipsess.websocket import WebSocketConnector
from tests.agentserver import AgentServer
from tests.certificates import Authority, names

URL = "ws://192.0.2.9:8765/agent?x=1"


class ClientCase(SynchronousTestCase):
    """The base of tests: a server at 192.0.2.9, and who connects to it."""

    def setUp(self) -> None:
        """Make the network."""
        self.net = VirtualNetwork(seed=1)
        self.far = self.net.host("192.0.2.9", "192.0.2.10", "2001:db8::9", name="server")
        self.near = self.net.host("192.0.2.1", "2001:db8::1", name="client")
        self.server = AgentServer(self.far)
        self.connector = WebSocketConnector(self.near)

    def tearDown(self) -> None:
        """Check that nothing is left."""
        self.server.stop()
        self.net.run_for(30)
        self.net.assert_closed()

    def connect(self, target: LinkTarget | str = URL, seconds: float = 1.0) -> Any:
        """Return a connection."""
        if isinstance(target, str):
            target = LinkTarget(target)
        connecting = self.connector.connect(target)
        self.net.run_for(seconds)
        return self.successResultOf(connecting)

    def refused(self, target: LinkTarget | str = URL, seconds: float = 6.0) -> str:
        """Return why there is no connection."""
        if isinstance(target, str):
            target = LinkTarget(target)
        connecting = self.connector.connect(target)
        self.net.run_for(seconds)
        return str(self.failureResultOf(connecting, ConnectFailed).value)

    def lost(self, link: Any) -> tuple[int, str]:
        """Return the code and the text of the end of a connection."""
        error: Any = self.failureResultOf(link.receive(), LinkClosed).value
        return error.code, str(error)


class HandshakeTests(ClientCase):
    """How connections begin."""

    def test_request(self) -> None:
        """RFC 6455 4.1: the hand-shake names the resource and the host, and has our headers."""
        headers = (("Authorization", Secret("Bearer x")), ("X-Tenant", "a"))
        link = self.connect(LinkTarget(URL, headers))
        request = self.server.last.request
        assert request is not None
        self.assertEqual((request.target, request.host), ("/agent?x=1", "192.0.2.9:8765"))
        found = dict(request.extra_headers)
        self.assertEqual((found[b"authorization"], found[b"x-tenant"]), (b"Bearer x", b"a"))
        self.assertFalse(link.is_congested)
        link.close()

    def test_ipv6(self) -> None:
        """An address of IPv6 stands in brackets."""
        server = AgentServer(self.far, interface="::")
        self.connect("ws://[2001:db8::9]:8765").close()
        server.stop()
        request = server.last.request
        assert request is not None
        self.assertEqual((request.target, request.host), ("/", "[2001:db8::9]:8765"))

    def test_refused(self) -> None:
        """What the server answers stands in the error."""
        self.server.status = 401
        self.assertEqual(self.refused(), "it answered 401")

    def test_no_websocket(self) -> None:
        """A server that does not speak HTTP is no server."""
        self.server.is_deaf = True
        connecting = self.connector.connect(LinkTarget(URL))
        self.net.run_for(0.5)
        self.server.last.wire.write(b"220 mail.example.com ESMTP\r\n\r\n")
        self.net.run_for(1)
        text = str(self.failureResultOf(connecting, ConnectFailed).value)
        self.assertTrue(text.startswith("broken: "), text)

    def test_nobody_listens(self) -> None:
        """A port where nobody listens refuses at once."""
        self.assertIn("refused", self.refused("ws://192.0.2.9:1", 1))

    def test_silent(self) -> None:
        """A server that says nothing is given up."""
        self.server.is_deaf = True
        self.assertEqual(self.refused(), "no answer in 5 s")
        self.assertTrue(self.server.last.is_lost)

    def test_hangs_up(self) -> None:
        """A server may hang up instead of an answer."""
        self.server.is_deaf = True
        connecting = self.connector.connect(LinkTarget(URL))
        self.net.run_for(0.5)
        self.server.last.wire.loseConnection()
        self.net.run_for(0.5)
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertEqual(str(error), "the connection was closed")

    def test_cancel(self) -> None:
        """Whoever waits may give up, before TCP stands or after."""
        self.server.is_deaf = True
        for seconds in (0.0, 0.5):
            connecting = self.connector.connect(LinkTarget(URL))
            self.net.run_for(seconds)
            connecting.cancel()
            self.net.run_for(0.5)
            self.failureResultOf(connecting, CancelledError)
        self.assertTrue(self.server.last.is_lost)


class SecureTests(ClientCase):
    """TLS below."""

    def setUp(self) -> None:
        """Let a server have a certificate for any name below example.com."""
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        alternatives = names(domains=["*.example.com"], addresses=["192.0.2.9"])
        certificate, key = authority.issue("agent", alternatives)
        credentials = load_credentials(TLSFiles(certificate, key))
        self.secure = AgentServer(
            self.far, 8443, lambda factory: credentials.serve(factory, self.far)
        )
        self.ca = Path(authority.ca)

    def tearDown(self) -> None:
        """Stop both."""
        self.secure.stop()
        super().tearDown()

    def test_address(self) -> None:
        """The certificate is that of the address; messages go both ways."""
        target = LinkTarget("wss://192.0.2.9:8443", ca=self.ca)
        self.connector.check(target)
        link = self.connect(target)
        link.send("hello")
        self.secure.last.send(TextMessage(data="hi"))
        self.net.run_for(1)
        self.assertEqual(self.secure.last.messages, ["hello"])
        self.assertEqual(self.successResultOf(link.receive()), "hi")
        link.close()

    def test_stranger(self) -> None:
        """A server whose certificate nobody knows hears nothing from us."""
        text = self.refused(LinkTarget("wss://192.0.2.9:8443"))
        self.assertIn("certificate verify failed", text)
        self.assertEqual(self.secure.last.raw, b"")

    def test_other_name(self) -> None:
        """A server with the certificate of somebody else hears nothing from us, either."""
        text = self.refused(LinkTarget("wss://192.0.2.10:8443", ca=self.ca))
        self.assertIn("VerificationError", text)
        self.assertEqual(self.secure.last.raw, b"")


class MessageTests(ClientCase):
    """Messages."""

    def test_both_ways(self) -> None:
        """Messages are received one by one, in order, those that came early too."""
        link = self.connect()
        waiting = link.receive()
        self.assertRaises(LocalError, link.receive)
        last = self.server.last
        last.send(TextMessage(data="a"), BytesMessage(data=b"?"), TextMessage(data="b"))
        last.send(TextMessage(data="c1", message_finished=False), TextMessage(data="c2"))
        self.net.run_for(0.5)
        self.assertEqual(self.successResultOf(waiting), "a")
        self.assertEqual(self.successResultOf(link.receive()), "b")
        self.assertEqual(self.successResultOf(link.receive()), "c1c2")
        given_up: Deferred[str] = link.receive()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        link.send("x")
        link.send("y")
        self.net.run_for(0.5)
        self.assertEqual(last.messages, ["x", "y"])
        link.close()

    def test_ping(self) -> None:
        """A ping is answered (RFC 6455 5.5.3)."""
        link = self.connect()
        self.server.last.pings = 1
        self.server.last.send(Ping(payload=b"x"))
        self.net.run_for(0.5)
        self.assertEqual(self.server.last.pings, 0)
        link.close()

    def test_large_message(self) -> None:
        """A message without end ends the connection (1009), and is not kept."""
        link = self.connect()
        piece = "x" * 65536
        for _ in range(17):
            self.server.last.send(TextMessage(data=piece, message_finished=False))
        self.net.run_for(1)
        self.assertEqual(self.lost(link), (1009, "too large a message"))
        closed = self.server.last.closed
        assert closed is not None
        self.assertEqual(closed.code, 1009)

    def test_empty_parts(self) -> None:
        """A message of empty parts without end is too large as well."""
        link = self.connect()
        self.server.last.wire.write(b"\x01\x00" + b"\x00\x00" * (MAX_MESSAGE // OVERHEAD))
        self.net.run_for(1)
        self.assertEqual(self.lost(link), (1009, "too large a message"))

    def test_empty_messages(self) -> None:
        """Empty messages that nobody receives hold up the server as well."""
        link = self.connect()
        count = MAX_WAITING // OVERHEAD + 1
        self.server.last.wire.write(b"\x81\x00" * count)
        self.net.run_for(1)
        self.assertEqual(link.transport._is_reading, False)
        for _ in range(count):
            self.assertEqual(self.successResultOf(link.receive()), "")
        self.assertEqual(link.transport._is_reading, True)
        link.close()

    def test_broken_frames(self) -> None:
        """Frames that are none end the connection (1002)."""
        link = self.connect()
        self.server.last.wire.write(b"\xff\xff\xff\xff")
        self.net.run_for(1)
        code, _ = self.lost(link)
        self.assertEqual(code, 1002)
        self.assertTrue(self.server.last.is_lost)

    def test_nobody_receives(self) -> None:
        """What nobody receives holds up the server, and is all there in the end."""
        link = self.connect()
        text = "x" * 8192
        count = 100
        for number in range(count):
            self.server.last.send(TextMessage(data=f"{number} {text}"))
        self.net.run_for(60)
        self.assertEqual(link.transport._is_reading, False)
        for number in range(count):
            receiving = link.receive()
            self.net.run_for(0.1)
            self.assertTrue(self.successResultOf(receiving).startswith(f"{number} "))
        self.assertEqual(link.transport._is_reading, True)
        link.close()

    def test_pong_behind_what_nobody_receives(self) -> None:
        """A pong that waits behind messages which are not read yet is not late."""
        link = self.connect()
        server = self.server.last
        server.wire.pauseProducing()
        self.net.run_for(3)
        for _ in range(100):
            server.send(TextMessage(data="x" * 8192))
        self.net.run_for(1)
        server.wire.resumeProducing()
        self.net.run_for(40)
        self.assertEqual(link.transport._is_reading, False)
        self.assertFalse(link.is_congested)
        link.send("y")
        self.net.run_for(1)
        self.assertEqual(server.messages, ["y"])
        link.close()


class CongestionTests(ClientCase):
    """Servers that do not read."""

    def setUp(self) -> None:
        """Let a server stop reading."""
        super().setUp()
        self.link = self.connect()
        self.server.last.wire.pauseProducing()

    def fill(self) -> None:
        """Send as much as the system takes."""
        for _ in range(100):
            if self.link.is_congested:
                break
            self.link.send("x" * 8192)
        self.assertTrue(self.link.is_congested)

    def test_reads_again(self) -> None:
        """It is told, and so is the end of it."""
        self.fill()
        self.net.run_for(4)
        self.server.last.wire.resumeProducing()
        self.net.run_for(1)
        self.assertFalse(self.link.is_congested)
        self.net.run_for(20)
        self.link.send("y")
        self.net.run_for(1)
        self.assertEqual(self.server.last.messages[-1], "y")
        self.link.close()

    def test_behind_again_and_again(self) -> None:
        """What waited for a server that has read since does not count against it."""
        for _ in range(3):
            self.fill()
            for _ in range(20):
                self.link.send("x" * 8192)
            self.server.last.wire.resumeProducing()
            self.net.run_for(1)
            self.server.last.wire.pauseProducing()
        self.server.last.wire.resumeProducing()
        self.link.send("y")
        self.net.run_for(1)
        self.assertEqual(self.server.last.messages[-1], "y")
        self.link.close()

    def test_never_reads(self) -> None:
        """It is given up after a while."""
        self.fill()
        self.net.run_for(36)
        self.assertEqual(self.lost(self.link), (1006, "no pong in 30 s"))

    def test_behind(self) -> None:
        """It is told of a server that is behind, however much the system's buffers hold."""
        self.net.run_for(5)
        self.assertFalse(self.link.is_congested)
        self.net.run_for(2)
        self.assertTrue(self.link.is_congested)
        self.server.last.wire.resumeProducing()
        self.net.run_for(0.5)
        self.assertFalse(self.link.is_congested)
        self.net.run_for(60)
        self.link.close()

    def test_too_much(self) -> None:
        """It is given up at once when too much waits."""
        self.fill()
        for _ in range(40):
            self.link.send("x" * 8192)
        self.assertEqual(self.lost(self.link), (1006, "the server does not read"))


class EndTests(ClientCase):
    """How connections end."""

    def test_we_close(self) -> None:
        """RFC 6455 7.1.1: closing frames are exchanged; what was sent before arrives."""
        link = self.connect()
        link.send("last")
        link.close(1000, "ü" * 100)
        link.close()
        link.send("too late")
        self.assertEqual(self.lost(link)[0], 1000)
        self.server.last.send(TextMessage(data="too late"))
        self.net.run_for(1)
        closed = self.server.last.closed
        assert closed is not None
        self.assertEqual((closed.code, closed.reason), (1000, "ü" * 61))
        self.assertEqual(self.server.last.messages, ["last"])
        self.assertTrue(self.server.last.is_lost)

    def test_no_goodbye(self) -> None:
        """A server that does not answer the closing frame is hung up on."""
        self.server.says_goodbye = False
        link = self.connect()
        link.close()
        self.net.run_for(2)
        self.assertFalse(self.server.last.is_lost)
        self.net.run_for(3)
        self.assertTrue(self.server.last.is_lost)

    def test_server_closes(self) -> None:
        """What came before is received; then comes the code of the end."""
        link = self.connect()
        self.server.last.send(TextMessage(data="last"))
        self.server.last.close(1001)
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(link.receive()), "last")
        self.assertEqual(self.lost(link), (1001, "the server closed it (1001)"))
        self.assertTrue(self.server.last.is_lost)
        link.close()

    def test_crash(self) -> None:
        """Whoever waits hears of a connection that is lost."""
        link = self.connect()
        waiting = link.receive()
        self.server.last.wire.abortConnection()
        self.net.run_for(1)
        error: Any = self.failureResultOf(waiting, LinkClosed).value
        self.assertEqual(error.code, 1006)

    def test_dead(self) -> None:
        """A server that answers no ping is given up; one that does is not."""
        link = self.connect()
        self.net.run_for(120)
        self.assertGreater(self.server.last.pings, 4)
        self.server.answers_pings = False
        self.net.run_for(36)
        self.assertEqual(self.lost(link), (1006, "no pong in 30 s"))


class CheckTests(ClientCase):
    """Targets that cannot be connected to."""

    def test_targets(self) -> None:
        """What is wrong is said in a sentence."""
        cases = [
            ("http://a", "url begins with ws://HOST"),
            ("ws:///x", "url begins with ws://HOST"),
            ("ws://a b", "url is of printable ASCII"),
            ("ws://ü", "url is of printable ASCII"),
            ("ws://a:0", "url has no port 0"),
            ("ws://a:99999", "Port out of range"),
            ("ws://user:x@a", "url holds no password"),
            ("ws://a/#b", "url has no fragment"),
        ]
        for url, text in cases:
            error = self.assertRaises(ValueError, self.connector.check, LinkTarget(url))
            self.assertTrue(str(error).startswith(text), str(error))
        for name, value in (("a b", "x"), ("", "x"), ("a", "x\r\ny"), ("a", "ü")):
            for secret in (value, Secret(value)):
                target = LinkTarget("ws://a", ((name, secret),))
                self.assertRaises(ValueError, self.connector.check, target)
        self.connector.check(LinkTarget(URL, (("X-A", "b"),)))

    def test_defaults(self) -> None:
        """The usual ports need not be written."""
        self.assertEqual((LinkTarget("ws://a/").port, LinkTarget("wss://a").port), (80, 443))
        self.assertEqual(LinkTarget("wss://a:443").authority, "a")

    def test_no_such_file(self) -> None:
        """The file of authorities is looked at early."""
        target = LinkTarget("wss://a", ca=Path("/nowhere"))
        error = self.assertRaises(ValueError, self.connector.check, target)
        self.assertIn("/nowhere cannot be read", str(error))

    def test_absent(self) -> None:
        """An extra that is absent is named."""
        known = dict(sys.modules)
        self.addCleanup(sys.modules.update, known)
        cases = [
            ("websocket_client", "wsproto", "ws://a", "sipsess[ws]"),
            ("tls", "OpenSSL", "wss://a", "sipsess[tls]"),
        ]
        for ours, package, url, extra in cases:
            sys.modules.pop(f"sipsess.transport.{ours}", None)
            sys.modules[package] = None  # type: ignore[assignment]
            error = self.assertRaises(ValueError, self.connector.check, LinkTarget(url))
            self.assertIn(f"({package} is missing): pip install '{extra}'", str(error))
            sys.modules.update(known)
