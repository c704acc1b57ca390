# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of SIP over UDP, and of addresses."""

from __future__ import annotations

import errno
import socket
from types import TracebackType

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IUDPTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.flow import Address, Advertised, Flow
from sipsess.testing import VirtualHost, VirtualNetwork
from sipsess.transport import address as address_module
from sipsess.transport import udp
from sipsess.transport.address import (
    SourceAddresses,
    escape,
    ip_version,
    loopback,
    normal_host,
    probe_source_address,
)
from sipsess.transport.udp import SendError, UDPListener


class Core:
    """Keeps what a listener says."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Flow, float]] = []
        self.failed: list[tuple[Flow, SendError]] = []
        self.is_broken = False

    def receive_datagram(self, data: bytes, flow: Flow, now: float, waited: float = 0.0) -> None:
        """Keep one datagram."""
        if self.is_broken:
            raise ZeroDivisionError("a bug")
        self.received.append((data, flow, now))

    def send_failed(self, flow: Flow, error: SendError) -> None:
        """Keep one failure."""
        self.failed.append((flow, error))


class FakeSocket:
    """Stands for a socket; what it shall raise can be set."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self.error: Exception | None = None
        self.options: list[tuple[int, ...]] = []

    def fileno(self) -> int:
        """Return no open descriptor."""
        return 10**6

    def setsockopt(self, *option: int) -> None:
        """Keep one option, or raise."""
        if self.error is not None:
            raise self.error
        self.options.append(option)

    def sendto(self, data: bytes, target: Address) -> int:
        """Keep one datagram, or raise."""
        if self.error is not None:
            raise self.error
        self.sent.append((data, target))
        return len(data)


@implementer(IUDPTransport)
class FakeTransport:
    """Stands for a port of a real reactor."""

    def __init__(self, host: IPv4Address | IPv6Address) -> None:
        self.host = host
        self.socket = FakeSocket()

    def getHandle(self) -> FakeSocket:
        """Return the socket."""
        return self.socket

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the bound address."""
        return self.host

    def write(self, packet: bytes, addr: tuple[str, int] | None) -> None:
        """Fail: the listener shall take the socket."""
        raise AssertionError("write() is slow")

    def connect(self, host: str, port: int) -> None:
        """Do nothing."""

    def stopListening(self) -> None:
        """Close at once."""

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Do nothing."""

    def getBroadcastAllowed(self) -> bool:
        """Say no."""
        return False


class VirtualTests(SynchronousTestCase):
    """A listener on a virtual host."""

    def setUp(self) -> None:
        """Make a listener and a host that talks to it."""
        self.net = VirtualNetwork()
        self.server = self.net.host("192.0.2.1", "198.51.100.1", "2001:db8::1")
        self.core = Core()
        self.listener = self.listen(self.server)
        self.client = self.net.host("198.51.100.7", "2001:db8::7")
        self.client_core = Core()
        self.client_listener = self.listen(self.client, core=self.client_core)

    def listen(
        self,
        host: VirtualHost,
        interface: str = "",
        core: Core | None = None,
        advertised: Advertised | None = None,
    ) -> UDPListener:
        """Return a listener on a host."""
        listener = UDPListener(
            core or self.core, host.seconds, host.source_address, advertised=advertised
        )
        host.listenUDP(5060, listener, interface, udp.MAX_DATAGRAM)
        return listener

    def send(self, data: bytes) -> None:
        """Send from the client to the server."""
        flow = self.client_listener.flow_to(("198.51.100.1", 5060))
        self.client_listener.send(data, flow)
        self.net.run_for(0.01)

    def test_there_and_back(self) -> None:
        """A datagram arrives with its flow and time, and the flow leads back."""
        self.send(b"ping")
        [(data, flow, now)] = self.core.received
        self.assertEqual((data, now), (b"ping", 0.01))
        self.assertEqual(
            flow, Flow("UDP", ("198.51.100.1", 5060), ("198.51.100.7", 5060), "udp:5060")
        )
        self.listener.send(b"pong", flow)
        self.net.run_for(1)
        self.assertEqual(self.client_core.received[0][0], b"pong")

    def test_names(self) -> None:
        """Each port has a name of its own."""
        self.assertEqual(repr(self.listener), "<UDPListener udp:5060>")
        self.assertEqual(self.listen(self.server, "::").name, "udp6:5060")
        only = self.listen(self.net.host("192.0.2.9"), "127.0.0.1")
        self.assertEqual(only.name, "udp:5060:interface=127.0.0.1")
        six = self.listen(self.net.host("2001:db8::9"), "2001:db8::9")
        self.assertEqual(six.name, r"udp:5060:interface=2001\:db8\:\:9")
        named = UDPListener(self.core, self.net.seconds, self.server.source_address, "mine")
        self.server.listenUDP(7, named)
        self.assertEqual(named.name, "mine")

    def test_specific_address(self) -> None:
        """A port bound to one address has that one as its local address, and what it advertises."""
        host = self.net.host("192.0.2.50", "198.51.100.50")
        listener = self.listen(host, "192.0.2.50", advertised=Advertised("sip.example.org"))
        flow = listener.flow_to(("198.51.100.7", 9))
        self.assertEqual(flow.local, ("192.0.2.50", 5060))
        self.assertEqual(flow.sent_by, "sip.example.org:5060")

    def test_flow_is_kept(self) -> None:
        """The second datagram of a peer builds no flow."""
        self.send(b"1")
        self.send(b"2")
        self.assertIs(self.core.received[0][1], self.core.received[1][1])

    def test_flow_is_refreshed(self) -> None:
        """After a while our own address is asked for again, as it may have changed."""
        self.send(b"1")
        self.patch(self.listener, "_source_address", lambda remote: "203.0.113.5")
        self.send(b"2")
        self.assertEqual(self.core.received[1][1].local, ("198.51.100.1", 5060))
        self.net.run_for(udp.FLOW_LIFE)
        self.send(b"3")
        self.assertEqual(self.core.received[2][1].local, ("203.0.113.5", 5060))

    def test_flows_are_bounded(self) -> None:
        """Many remote addresses do not fill the memory."""
        self.patch(udp, "MAX_FLOWS", 10)
        listener = self.listen(self.net.host("192.0.2.60"), core=self.core)
        for number in range(1000):
            listener.datagramReceived(b"x", ("203.0.113.1", number + 1))
        self.assertEqual(len(self.core.received), 1000)
        self.assertLessEqual(len(listener._flows), 20)

    def test_no_way(self) -> None:
        """Without a way to a peer the local address is the loopback one, never a wildcard."""
        listener = self.listen(self.net.host("192.0.2.70"))
        self.assertEqual(listener.flow_to(("2001:db8::1", 5060)).local, ("::1", 5060))

    def test_keep_alives(self) -> None:
        """Keep-alives are dropped and counted (RFC 5626 section 4.4.1, RFC 3581 section 4)."""
        for data in (b"\r\n\r\n", b"\r\n", b"\0", b"\0\0\0\0", b""):
            self.send(data)
        self.assertEqual(self.core.received, [])
        self.assertEqual(self.listener.keep_alives, 5)
        self.send(b"\r\nx")
        self.assertEqual(self.core.received[0][0], b"\r\nx")

    def test_failure_is_logged_once_a_minute(self) -> None:
        """What the core raises is counted, logged once a minute, and never reaches the reactor."""
        self.core.is_broken = True
        for _ in range(100):
            self.send(b"poison")
        self.assertEqual(self.listener.failures, 100)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.net.run_for(udp.REPORT_INTERVAL)
        self.send(b"poison")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.core.is_broken = False
        self.send(b"good")
        self.assertEqual(len(self.core.received), 1)

    def test_send_never_raises(self) -> None:
        """Too long, the wrong family, a name, a wrong port: each is told to the core."""
        local = ("192.0.2.1", 5060)
        for remote, wire, number in (
            (("198.51.100.7", 5060), bytes(65508), errno.EMSGSIZE),
            (("2001:db8::7", 5060), b"x", errno.EAFNOSUPPORT),
            (("example.org", 5060), b"x", None),
            (("198.51.100.7", 70000), b"x", errno.EINVAL),
        ):
            flow = Flow("UDP", local, remote)
            self.listener.send(wire, flow)
            failed, error = self.core.failed.pop()
            self.assertIs(failed, flow)
            self.assertEqual(error.errno, number)
            self.assertFalse(error.is_temporary)
            self.assertEqual(error.status_hint, 503)
            self.assertIsNotNone(error.__cause__)
        self.assertEqual(self.listener.send_failures, 4)

    def test_stop(self) -> None:
        """A stopped listener sends nothing and says so; stopping twice is fine."""
        flow = self.listener.flow_to(("198.51.100.7", 5060))
        closing = self.listener.stop()
        self.assertNoResult(closing)
        self.net.run_for(0)
        self.successResultOf(closing)
        self.successResultOf(self.listener.stop())
        self.listener.send(b"x", flow)
        self.assertEqual(self.core.failed[0][1].errno, errno.EBADF)
        self.listener.send(b"x", flow.to(("198.51.100.8", 5060)))
        self.assertEqual(len(self.core.failed), 2)

    def test_never_started(self) -> None:
        """A listener that has no port yet sends nothing."""
        listener = UDPListener(self.core, self.net.seconds, self.server.source_address)
        listener.send(b"x", Flow("UDP", ("192.0.2.1", 1), ("2001:db8::1", 5060)))
        self.assertEqual(self.core.failed[0][1].errno, errno.EBADF)


class ReceiveBufferTests(SynchronousTestCase):
    """Room for a burst of requests."""

    def start(self, error: Exception | None) -> FakeSocket:
        """Start a listener on a socket."""
        transport = FakeTransport(IPv4Address("UDP", "192.0.2.1", 5060))
        transport.socket.error = error
        listener = UDPListener(Core(), lambda: 0.0, lambda host: host)
        listener.makeConnection(transport)
        return transport.socket

    def test_receive_buffer(self) -> None:
        """The system is asked for a large buffer; when it refuses, the usual one must do."""
        wanted = (socket.SOL_SOCKET, socket.SO_RCVBUF, udp.RECEIVE_BUFFER)
        self.assertEqual(self.start(None).options, [wanted])
        self.assertEqual(self.start(OSError(errno.EPERM, "no")).options, [])


class SocketTests(SynchronousTestCase):
    """A listener on a port with a real socket, here a fake."""

    def setUp(self) -> None:
        """Make an IPv6 listener."""
        self.core = Core()
        self.transport = FakeTransport(IPv6Address("UDP", "::", 5060))
        self.listener = UDPListener(self.core, lambda: 0.0, lambda remote: "2001:db8::1")
        self.listener.makeConnection(self.transport)

    def test_verified(self) -> None:
        """The fake provides what it claims."""
        verifyObject(IUDPTransport, self.transport)

    def test_straight_to_the_socket(self) -> None:
        """A socket is used directly."""
        self.listener.send(b"x", self.listener.flow_to(("2001:db8::2", 5061)))
        self.assertEqual(self.transport.socket.sent, [(b"x", ("2001:db8::2", 5061))])

    def test_temporary_errors(self) -> None:
        """A full buffer is temporary; no route and the like are not."""
        for number, is_temporary in (
            (errno.EAGAIN, True),
            (errno.ENOBUFS, True),
            (errno.ENETUNREACH, False),
            (errno.EMSGSIZE, False),
            (errno.EPERM, False),
        ):
            self.transport.socket.error = OSError(number, "no")
            self.listener.send(b"x", self.listener.flow_to(("2001:db8::2", 5061)))
            _, error = self.core.failed.pop()
            self.assertEqual((error.errno, error.is_temporary), (number, is_temporary))

    def test_other_errors(self) -> None:
        """Errors that are not the system's do not come out either."""
        for cause in (OverflowError("port"), MessageLengthError("long")):
            self.transport.socket.error = cause
            self.listener.send(b"x", self.listener.flow_to(("2001:db8::2", 5061)))
            self.assertIs(self.core.failed.pop()[1].__cause__, cause)

    def test_scope(self) -> None:
        """A scope is kept for the answer, and never shown."""
        self.listener.datagramReceived(b"x", ("fe80::1%eth0", 5060))
        flow = self.core.received[0][1]
        self.assertEqual(flow.remote, ("fe80::1", 5060))
        self.listener.send(b"y", flow)
        self.assertEqual(self.transport.socket.sent, [(b"y", ("fe80::1%eth0", 5060))])

    def test_mapped(self) -> None:
        """An IPv4 peer of a socket for both families is an IPv4 peer."""
        self.listener.datagramReceived(b"x", ("::ffff:192.0.2.5", 5060))
        flow = self.core.received[0][1]
        self.assertEqual(flow.remote, ("192.0.2.5", 5060))
        self.listener.send(b"y", flow)
        self.assertEqual(self.transport.socket.sent, [(b"y", ("::ffff:192.0.2.5", 5060))])

    def test_names_are_never_looked_up(self) -> None:
        """A name does not reach the socket, which would block to look it up."""
        transport = FakeTransport(IPv4Address("UDP", "192.0.2.1", 5060))
        listener = UDPListener(self.core, lambda: 0.0, lambda remote: "192.0.2.1")
        listener.makeConnection(transport)
        listener.send(b"x", Flow("UDP", ("192.0.2.1", 5060), ("example.org", 5060)))
        self.assertEqual(transport.socket.sent, [])
        self.assertIsInstance(self.core.failed[0][1].__cause__, ValueError)

    def test_closed_socket(self) -> None:
        """After the end of the protocol the socket, whose number may be reused, is left alone."""
        flow = self.listener.flow_to(("2001:db8::2", 5061))
        self.listener.stopProtocol()
        self.listener.send(b"x", flow)
        self.assertEqual(self.transport.socket.sent, [])
        self.assertEqual(self.core.failed[0][1].errno, errno.EBADF)

    def test_stop_at_once(self) -> None:
        """A transport that closes at once gives a Deferred all the same."""
        self.successResultOf(self.listener.stop())


class AddressTests(SynchronousTestCase):
    """Normal forms."""

    def test_normal_host(self) -> None:
        """IPv6 is compressed, without scope; mapped IPv4 is IPv4; names are refused."""
        for host, normal in (
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ):
            self.assertEqual(normal_host(host), normal)
        self.assertRaises(ValueError, normal_host, "example.org")

    def test_versions(self) -> None:
        """Addresses have a version, versions have a loopback address."""
        self.assertEqual(loopback(ip_version("192.0.2.1")), "127.0.0.1")
        self.assertEqual(loopback(ip_version("2001:db8::1")), "::1")

    def test_escape(self) -> None:
        """Colons and backslashes are escaped."""
        self.assertEqual(escape("a:\\"), "a\\:\\\\")


class FakeProbe:
    """Stands for a socket that is connected to see which address it gets."""

    def __init__(self, family: int, kind: int) -> None:
        self.family = family
        self.kind = kind
        self.is_closed = False
        self.remote: Address | None = None

    def __enter__(self) -> FakeProbe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_closed = True

    def connect(self, remote: Address) -> None:
        """Keep the target, or have no way there."""
        self.remote = remote

    def getsockname(self) -> tuple[str | int, ...]:
        """Return an address with a scope, as the kernel may."""
        return ("FE80::1%eth0", 9, 0, 2) if self.family == socket.AF_INET6 else ("192.0.2.1", 9)


class SourceAddressTests(SynchronousTestCase):
    """Which of our addresses a peer sees."""

    def setUp(self) -> None:
        """Make a probe that knows one way."""
        self.now = 0.0
        self.asked: list[str] = []
        self.known = {"198.51.100.7": "198.51.100.1", "192.0.2.1": "192.0.2.99"}
        self.source = SourceAddresses(lambda: self.now, self.probe, limit=4)

    def probe(self, remote: str) -> str:
        """Say what is known, or that there is no way."""
        self.asked.append(remote)
        if remote not in self.known:
            raise OSError(errno.ENETUNREACH, "no way")
        return self.known[remote]

    def test_probe(self) -> None:
        """A UDP socket of the family is connected, nothing is sent, and it is closed."""
        probes: list[FakeProbe] = []

        def make(family: int, kind: int) -> FakeProbe:
            probes.append(FakeProbe(family, kind))
            return probes[-1]

        for remote, own in (("198.51.100.7", "192.0.2.1"), ("2001:db8::7", "fe80::1")):
            self.assertEqual(probe_source_address(remote, make), own)  # type: ignore[arg-type]
            self.assertEqual(probes[-1].remote, (remote, 9))
            self.assertTrue(probes[-1].is_closed)
            self.assertEqual(probes[-1].kind, socket.SOCK_DGRAM)

    def test_asked_once(self) -> None:
        """An answer is remembered for a while."""
        for _ in range(3):
            self.assertEqual(self.source("198.51.100.7"), "198.51.100.1")
        self.assertEqual(len(self.asked), 1)
        self.now = address_module.SOURCE_ADDRESS_LIFE
        self.known["198.51.100.7"] = "198.51.100.2"
        self.assertEqual(self.source("198.51.100.7"), "198.51.100.2")

    def test_no_way(self) -> None:
        """Without a way the default route's address is taken, and after that the loopback one."""
        self.assertEqual(self.source("203.0.113.1"), "192.0.2.99")
        self.assertEqual(self.source("2001:db8::7"), "::1")
        self.assertEqual(self.asked, ["203.0.113.1", "192.0.2.1", "2001:db8::7", "2001:db8::1"])

    def test_bounded(self) -> None:
        """Many remote hosts do not fill the memory."""
        for number in range(100):
            self.source(f"203.0.113.{number}")
        self.assertLessEqual(len(self.source._known), 8)
