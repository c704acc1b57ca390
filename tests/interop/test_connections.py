# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Connections on loopback: TCP, TLS and WebSocket with real peers, and with what is none."""

from __future__ import annotations

import socket

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from wsproto.events import Request, TextMessage

from sipsess.applications.echo import EchoApplication
from sipsess.server import SIPServer
from tests.shell.streams import RawPeer, options
from tests.shell.test_websocket import WebPeer

from .peers import Baresip, Capture, PeerTestCase, reactor, sip_port, start_baresip, until
from .secure import SecureTestCase
from .sounds import THEIRS, write_tone
from .test_baresip import BaresipTestCase
from .tools import ROOT, phone_command


class BaresipTests(SecureTestCase, BaresipTestCase):
    """A telephone over TLS."""

    async def phone(self) -> Baresip:
        """Start a telephone with a certificate."""
        self.require("baresip")
        pem = str(self.issue_pem("phone"))
        return await start_baresip(self, write_tone(self.folder), pem=pem)

    async def test_calls(self) -> None:
        """The telephone calls over TLS, hears its echo, and hangs up."""
        phone = await self.phone()
        server = self.serve(EchoApplication())
        uri = f"sip:echo@127.0.0.1:{sip_port(server)};transport=tls"
        await phone.control.command("dial", uri)
        await phone.control.expect("CALL_ESTABLISHED")
        [session] = server.manager.sessions
        self.assertEqual(session.flow.transport, "TLS")
        await self.hears(phone, THEIRS)
        await phone.control.command("hangup")
        await self.quiet(server)

    async def test_called(self) -> None:
        """We call the telephone, which shows a certificate that we trust, and hang up."""
        phone = await self.phone()
        server = self.serve(EchoApplication())
        call = await server.dial(f"sip:phone@127.0.0.1:{phone.port + 1};transport=tls")
        self.assertEqual(call.session.flow.transport, "TLS")
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
        await self.quiet(server)


class BaresipTCPTests(BaresipTestCase):
    """A telephone over TCP."""

    transport = "TCP"

    async def test_calls(self) -> None:
        """The telephone calls over TCP; the server hangs up on the same connection."""
        phone = await self.start_phone()
        server = self.serve(EchoApplication())
        uri = f"sip:echo@127.0.0.1:{sip_port(server)};transport=tcp"
        await phone.control.command("dial", uri)
        await phone.control.expect("CALL_ESTABLISHED")
        await self.hears(phone, THEIRS)
        [session] = server.manager.sessions
        session.terminate()
        await phone.control.expect("CALL_CLOSED")
        await self.quiet(server)

    async def test_called(self) -> None:
        """We call the telephone over TCP."""
        phone = await self.start_phone()
        server = self.serve(EchoApplication())
        call = await server.dial(f"{phone.uri};transport=tcp")
        self.assertEqual(call.session.flow.transport, "TCP")
        await call.hangup()
        await self.quiet(server)


class CaptureTests(BaresipTestCase):
    """tshark looks on."""

    transport = "TCP"

    async def test_nothing_malformed(self) -> None:
        """An independent reader understands all that we send in a call over TCP."""
        self.require("baresip", "tshark")
        phone = await self.start_phone()
        server = self.serve(EchoApplication())
        port = sip_port(server)
        capture = Capture(self, port, f"tcp port {port}")
        await capture.begin()
        uri = f"sip:echo@127.0.0.1:{port};transport=tcp"
        await phone.control.command("dial", uri)
        await phone.control.expect("CALL_ESTABLISHED")
        await phone.control.command("hangup")
        await self.quiet(server)
        await capture.end()
        sent = f"tcp.srcport == {port} && sip.Status-Code"
        statuses = await capture.read(sent, "sip.Status-Code", "sip.CSeq.method")
        self.assertEqual(statuses, [["200", "INVITE"], ["200", "BYE"]])
        self.assertEqual(await capture.problems(port), [])


class PhoneTests(SecureTestCase):
    """``sipsess call``, in a process of its own, over each transport."""

    async def call(self, *words: str) -> tuple[int, str]:
        """Call, and return the exit status and what was said."""
        peer = self.start("phone", phone_command(*words, "--duration", "0.5"), ROOT)
        status = await peer.ended(30)
        return status, peer.tail()

    async def test_tls(self) -> None:
        """A sips URI is called when its certificate is trusted and names the host."""
        server = self.serve(EchoApplication())
        uri = f"sips:echo@127.0.0.1:{sip_port(server)}"
        status, text = await self.call(uri, "--ca", self.authority.ca)
        self.assertEqual(status, 0, text)
        self.assertIn("answered, ended by this side", text)
        await self.quiet(server)
        status, text = await self.call(uri)
        self.assertEqual(status, 1, text)
        self.assertIn("certificate verify failed", text)

    async def test_tcp(self) -> None:
        """transport=tcp is called over TCP, IPv4 and IPv6."""
        self.transport = "TCP"
        for address in ("127.0.0.1", "[::1]"):
            host = address.strip("[]").replace(":", "\\:")
            server = SIPServer(
                reactor,
                [f"tcp:0:interface={host}"],
                applications=[EchoApplication()],
                application="echo",
            )
            server.startService()
            self.addCleanup(self._stop, server)
            uri = f"sip:echo@{address}:{sip_port(server)};transport=tcp"
            status, text = await self.call(uri)
            self.assertEqual(status, 0, text)
            await self.quiet(server)


class GarbageTests(SecureTestCase):
    """Peers that speak something else."""

    def assert_refused(self, server: SIPServer, reason_code: str, count: int = 1) -> None:
        """Expect what was counted."""
        self.assertEqual(server.core.counters.refused, {reason_code: count})

    async def test_s_client(self) -> None:
        """``openssl s_client`` that says nothing of SIP is closed after its line, and counted."""
        self.require("openssl")
        server = self.serve(EchoApplication())
        command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{sip_port(server)}"]
        peer = self.start("s_client", [*command, "-CAfile", self.authority.ca], reads=True)
        peer.write("hello\n")
        await peer.ended(20)
        self.assert_refused(server, "bad-start-line")
        self.assertEqual(len(server.connections), 0)

    async def test_old_version(self) -> None:
        """TLS 1.1 is not spoken."""
        self.require("openssl")
        server = self.serve(EchoApplication())
        command = ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect"]
        peer = self.start("s_client", [*command, f"127.0.0.1:{sip_port(server)}"])
        self.assertNotEqual(await peer.ended(20), 0)
        await until(lambda: bool(server.core.counters.refused), lambda: "nothing was counted")
        self.assert_refused(server, "connection-handshake-failed")

    async def test_plain(self) -> None:
        """SIP in clear to a port of TLS is closed, and counted."""
        server = self.serve(EchoApplication())
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", sip_port(server))
        peer = await connectProtocol(endpoint, RawPeer())
        peer.write(options())
        await until(lambda: peer.lost is not None, lambda: "it stays open")
        await until(lambda: not len(server.connections), lambda: "we keep it")
        self.assert_refused(server, "connection-handshake-failed")


class LoopbackTests(PeerTestCase):
    """What only a real reactor can show."""

    def listen(self, *where: str) -> SIPServer:
        """Start a server."""
        server = SIPServer(reactor, where, applications=[EchoApplication()], application="echo")
        server.startService()
        self.addCleanup(self._stop, server)
        return server

    async def ask(self, server: SIPServer, kind: type, host: str) -> RawPeer:
        """Connect, ask, and return the peer with its answer."""
        port = server.listeners[-1].address[1]
        peer: RawPeer = await connectProtocol(kind(reactor, host, port), RawPeer())
        peer.write(options())
        await until(lambda: bool(peer.statuses), lambda: "no answer")
        return peer

    async def test_both_families(self) -> None:
        """A bare port takes IPv4 and IPv6, each as what it is; the same number serves UDP too."""
        server = self.listen("tcp:0")
        for kind, host in ((TCP4ClientEndpoint, "127.0.0.1"), (TCP6ClientEndpoint, "::1")):
            peer = await self.ask(server, kind, host)
            self.assertEqual(peer.statuses, [b"200"])
            self.assertIn(f"received={host}".encode(), peer.heard)
            peer.wire.loseConnection()
        await until(lambda: not len(server.connections), lambda: "connections are left")

    async def test_who_does_not_read(self) -> None:
        """A peer that asks and never reads is gone, and the memory with it."""
        server = self.listen("tcp:0:interface=127.0.0.1")
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", sip_port(server))
        peer = await connectProtocol(endpoint, RawPeer())
        # Else the system would take some 30 MB for him.
        peer.wire.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        peer.wire.pauseProducing()
        many = b"".join(options(number) for number in range(200))

        def flood() -> bool:
            peer.write(many)
            return not len(server.connections)

        await until(flood, lambda: "it is still there", 30)
        self.assertEqual(server.core.counters.refused["connection-not-reading"], 1)
        peer.wire.abortConnection()

    async def test_connected_and_stopped(self) -> None:
        """Stopping closes what stands."""
        server = self.listen("tcp:0:interface=127.0.0.1")
        peer = await self.ask(server, TCP4ClientEndpoint, "127.0.0.1")
        await server.stopService()
        await until(lambda: peer.lost is not None, lambda: "it stays open")

    async def test_websocket(self) -> None:
        """A WebSocket is opened, asked over, and closed."""
        server = self.listen("ws:0:interface=127.0.0.1")
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", sip_port(server))
        protocol: Protocol = WebPeer()
        peer: WebPeer = await connectProtocol(endpoint, protocol)
        peer.send(Request(host="127.0.0.1", target="/", subprotocols=["sip"]))
        await until(lambda: bool(peer.events), lambda: "no hand-shake")
        peer.send(TextMessage(data=options().decode()))
        await until(lambda: bool(peer.messages), lambda: "no answer")
        self.assertTrue(peer.messages[0].startswith(b"SIP/2.0 200 OK"))
        peer.wire.loseConnection()
        await until(lambda: not len(server.connections), lambda: "it is kept")
