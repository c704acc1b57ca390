# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIP over UDP on real sockets: loopback only."""

from __future__ import annotations

import errno
import socket

from twisted.internet import reactor as the_reactor  # noqa: TID251  trial's own, real sockets
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from sipsess.flow import Flow
from sipsess.transport.address import SourceAddresses, probe_source_address
from sipsess.transport.listen import ListenError, Listening, open_udp, parse_listen
from sipsess.transport.udp import MAX_DATAGRAM, SendError

reactor: object = the_reactor


def has_ipv6() -> bool:
    """Say whether ::1 can be bound here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Core:
    """Fires a Deferred for the next datagram."""

    def __init__(self) -> None:
        self.waiting: Deferred[tuple[bytes, Flow]] = Deferred()
        self.failed: list[SendError] = []

    def receive_datagram(self, data: bytes, flow: Flow, now: float, waited: float = 0.0) -> None:
        """Fire."""
        waiting, self.waiting = self.waiting, Deferred()
        waiting.callback((data, flow))

    def send_failed(self, flow: Flow, error: SendError) -> None:
        """Keep one failure."""
        self.failed.append(error)


class LoopbackTests(TestCase):
    """Two listeners talk over the loopback interface."""

    timeout = 10

    def setUp(self) -> None:
        """Make two cores."""
        self.server, self.client = Core(), Core()

    def open(self, text: str, core: Core) -> Listening:
        """Open ports, closed again at the end."""
        listening = open_udp(reactor, parse_listen(text), core)  # type: ignore[arg-type]
        for listener in listening.listeners:
            self.addCleanup(listener.stop)
        return listening

    async def talk(self, interface: str, host: str) -> None:
        """Send a long datagram there and an answer back; then one too long for UDP."""
        [server] = self.open(f"udp:0:interface={interface}", self.server).listeners
        [client] = self.open(f"udp:0:interface={interface}", self.client).listeners
        wire = b"x" * 60000
        got, answered = self.server.waiting, self.client.waiting
        client.send(wire, client.flow_to((host, server.address[1])))
        data, flow = await got
        self.assertEqual(data, wire)
        self.assertEqual(flow.remote, (host, client.address[1]))
        self.assertEqual(flow.local, (host, server.address[1]))
        server.send(b"back", flow)
        data, _ = await answered
        self.assertEqual(data, b"back")
        client.send(b"x" * (MAX_DATAGRAM + 1), client.flow_to(flow.local))
        self.assertEqual([error.errno for error in self.client.failed], [errno.EMSGSIZE])

    async def test_ipv4(self) -> None:
        """IPv4 works, with the address of the wildcard found by asking the kernel."""
        await self.talk("0.0.0.0", "127.0.0.1")

    async def test_ipv6(self) -> None:
        """IPv6 works, on the socket that we marked and the reactor adopted."""
        if not has_ipv6():
            raise SkipTest("no IPv6 here")
        await self.talk(r"\:\:", "::1")

    def test_both_families_share_a_port(self) -> None:
        """The IPv6 port leaves the IPv4 port of the same number alone."""
        if not has_ipv6():
            raise SkipTest("no IPv6 here")
        listening = self.open("udp:0", self.server)
        self.assertEqual(len({listener.address[1] for listener in listening.listeners}), 1)
        self.assertEqual(len(listening.listeners), 2)

    def test_busy(self) -> None:
        """A port in use is refused with advice."""
        [listener] = self.open("udp:0:interface=127.0.0.1", self.server).listeners
        port = listener.address[1]
        with self.assertRaisesRegex(ListenError, f"udp:{port} .* in use.*--listen"):
            self.open(f"udp:{port}:interface=127.0.0.1", self.client)

    def test_no_such_address(self) -> None:
        """An address that is not ours is refused with advice."""
        with self.assertRaisesRegex(ListenError, "no address 192.0.2.1"):
            self.open("udp:0:interface=192.0.2.1", self.server)

    def test_source_address(self) -> None:
        """The kernel says 127.0.0.1 towards 127.0.0.1; a broken way still gives an address."""
        self.assertEqual(probe_source_address("127.0.0.1"), "127.0.0.1")
        self.assertTrue(SourceAddresses(lambda: 0.0)("203.0.113.1"))
