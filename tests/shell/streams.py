# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What tests of connections have in common: a server with TCP, and a peer of raw bytes."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from sipsess.server import SIPServer
from sipsess.testing import VirtualHost
from tests.shell.test_server import ServerCase

#: A request that each server answers by itself.
OPTIONS = (
    b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 192.0.2.2:5060;branch=z9hG4bK%d\r\n"
    b"From: <sip:a@192.0.2.2>;tag=a\r\nTo: <sip:192.0.2.1>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\n"
    b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def options(number: int = 1) -> bytes:
    """Return one of many OPTIONS."""
    return OPTIONS % (number, number)


class RawPeer(Protocol):
    """A peer that says what it is told, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep bytes."""
        self.heard += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """Keep why."""
        self.lost = reason

    def write(self, data: bytes) -> None:
        """Say something."""
        transport: Any = self.transport
        transport.write(data)

    @property
    def wire(self) -> Any:
        """The connection."""
        return self.transport

    @property
    def statuses(self) -> list[bytes]:
        """The status of each response that was heard."""
        lines = self.heard.split(b"\r\n")
        return [line.split(b" ")[1] for line in lines if line.startswith(b"SIP/2.0 ")]


class StreamCase(ServerCase):
    """The base of tests: bob's server listens on UDP and TCP; alice connects."""

    listen: tuple[str, ...] = ("udp:5060", "tcp:5060")

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        self.server = self.serve(listen=self.listen)

    def connect(
        self, host: VirtualHost | None = None, port: int = 5060, to: str = "192.0.2.1"
    ) -> RawPeer:
        """Return a peer that is connected."""
        peer = RawPeer()
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: peer  # type: ignore[method-assign]
        (host or self.alice).connectTCP(to, port, factory)
        self.net.run_for(0.05)
        return peer

    def say(self, peer: RawPeer, data: bytes, seconds: float = 0.5) -> bytes:
        """Let a peer say something, and return what it hears then."""
        before = len(peer.heard)
        peer.write(data)
        self.net.run_for(seconds)
        return peer.heard[before:]

    def refusals(self, server: SIPServer | None = None) -> dict[str, int]:
        """Return what was counted."""
        return dict((server or self.server).core.counters.refused)

    def tearDown(self) -> None:
        """Stop the server: nothing may be left, and nothing of what peers did be in the log."""
        if self.server.running:
            self.stop(self.server)
        self.net.run_for(5)
        self.net.assert_closed()
        usual = ("listening on", "Starting protocol <RTPPort", "Stopping protocol <RTPPort")
        unusual = [line for line in self.lines() if not line.startswith(usual)]
        self.assertEqual(unusual, [])
