# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of where to listen."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import _parse
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IProtocolFactory,
    IReactorSocket,
    IReactorTCP,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.flow import Flow
from sipsess.testing import VirtualNetwork
from sipsess.transport.listen import (
    BACKLOG,
    ListenError,
    ListenSpec,
    open_stream,
    open_udp,
    parse_listen,
    read_specs,
)
from sipsess.transport.udp import MAX_DATAGRAM, SendError


class Core:
    """Keeps datagrams."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Flow]] = []

    def receive_datagram(self, data: bytes, flow: Flow, now: float, waited: float = 0.0) -> None:
        """Keep one datagram."""
        self.received.append((data, flow))

    def send_failed(self, flow: Flow, error: SendError) -> None:
        """Fail: nothing here fails to send."""
        raise AssertionError(error)


class ParseTests(SynchronousTestCase):
    """The strings of the command line."""

    def test_right(self) -> None:
        """What is right is read, and its name reads the same."""
        for text, spec in (
            ("udp:5060", ListenSpec("UDP", 5060)),
            ("UDP:0", ListenSpec("UDP", 0)),
            ("tcp:5060", ListenSpec("TCP", 5060)),
            ("udp:5060:interface=127.0.0.1", ListenSpec("UDP", 5060, "127.0.0.1")),
            (r"udp:5060:interface=\:\:1", ListenSpec("UDP", 5060, "::1")),
            (r"udp:5\060:interface=2001\:db8\:\:1", ListenSpec("UDP", 5060, "2001:db8::1")),
        ):
            self.assertEqual(parse_listen(text), spec)
            self.assertEqual(parse_listen(spec.name), spec)

    def test_advertise(self) -> None:
        """A host to show to peers can be given."""
        spec = parse_listen("udp:5060:advertise=sip.example.org:interface=192.0.2.1")
        self.assertEqual((spec.advertised, spec.interface), ("sip.example.org", "192.0.2.1"))
        self.assertEqual(parse_listen("udp:5060:advertise=a=b").advertised, "a=b")

    def test_local_networks(self) -> None:
        """Networks that shall see our own address can be given with it."""
        spec = parse_listen(r"udp:5060:advertise=203.0.113.5:local=10.0.0.0/8,fd00\:\:/8")
        self.assertEqual(spec.local_networks, ("10.0.0.0/8", "fd00::/8"))
        assert spec.seen is not None
        self.assertIsNone(spec.seen.towards("10.1.1.1"))
        self.assertEqual(spec.seen.towards("192.0.2.1"), "203.0.113.5")
        with self.assertRaisesRegex(ListenError, "'ten' is no network; write 10.0.0.0/8"):
            read_specs(["udp:5060:advertise=203.0.113.5:local=ten"], None)

    def test_interfaces(self) -> None:
        """A bare port means both families."""
        self.assertEqual(parse_listen("udp:1").interfaces, ("0.0.0.0", "::"))
        self.assertEqual(parse_listen(r"udp:1:interface=\:\:").interfaces, ("::",))

    def test_wrong(self) -> None:
        """What is wrong is answered with what to write instead."""
        for text, better in (
            ("", "udp:5060"),
            ("\\", "udp:5060"),
            ("udp:5070\\", "udp:5070"),
            (r"udp:5070:interface=\:\:1\ "[:-1], r"udp:5070:interface=\:\:1"),
            ("5070", "udp:5070"),
            ("udp", "udp:5060"),
            ("udp:", "udp:5060"),
            ("udp=5060", "udp:5060"),
            ("udp:port=5080", "udp:5080"),
            ("udp:sip", "udp:5060"),
            ("udp:65536", "udp:5060"),
            ("udp:" + "9" * 5000, "udp:5060"),
            ("udp:\u0665", "udp:5060"),
            ("sctp:5061", "udp:5061"),
            ("tcp:", "tcp:5060"),
            ("TCP:5061:interface=::1", r"tcp:5061:interface=\:\:1"),
            ("udp:5060:interface=::1", r"udp:5060:interface=\:\:1"),
            ("udp:5060:interface=2001:db8::1", r"udp:5060:interface=2001\:db8\:\:1"),
            ("udp:127.0.0.1:5070", "udp:5070:interface=127.0.0.1"),
            ("127.0.0.1:5070", "udp:5070:interface=127.0.0.1"),
            ("[::1]:5070", r"udp:5070:interface=\:\:1"),
            ("udp:::1", r"udp:1:interface=\:\:1"),
            ("udp:5060:192.0.2.1", "udp:5060:interface=192.0.2.1"),
            ("udp:5060:iface=192.0.2.1", "udp:5060:interface=192.0.2.1"),
            ("udp:5060:interface=localhost", "udp:5060:interface=127.0.0.1"),
            ("udp:5060:interface=eth0", "udp:5060"),
            ("udp:5060:interface=", "udp:5060"),
        ):
            with self.assertRaises(ListenError) as caught:
                parse_listen(text)
            self.assertEqual(str(caught.exception).rpartition("; write ")[2], better)
            parse_listen(better)

    @settings(deadline=None)
    @example("5\\")
    @given(st.text(alphabet="udp:=\\0569.interfacx[]"))
    def test_like_twisted(self, text: str) -> None:
        """Any text is read or refused; what is read, Twisted's own parser splits alike."""
        text = "udp:" + text
        try:
            spec = parse_listen(text)
        except ListenError:
            return
        args, named = _parse(text)
        self.assertEqual((args, named.get("interface", "")), (["udp", args[1]], spec.interface))
        self.assertEqual(int(args[1]), spec.port)


class VirtualTests(SynchronousTestCase):
    """Opening ports on virtual hosts."""

    def setUp(self) -> None:
        """Make a host of both families."""
        self.net = VirtualNetwork()
        self.core = Core()
        self.host = self.net.host("192.0.2.1", "2001:db8::1")

    def assert_refused(self, text: str, pattern: str) -> None:
        """Check that opening fails with a text, and leaves nothing open that was not."""
        before = self.net.open_ports()
        with self.assertRaisesRegex(ListenError, pattern):
            open_udp(self.host, parse_listen(text), self.core)
        self.net.run_for(0)
        self.assertEqual(self.net.open_ports(), before)

    def test_both_families(self) -> None:
        """A bare port opens IPv4 and IPv6, and takes datagrams of full length."""
        listening = open_udp(self.host, parse_listen("udp:5060:advertise=a.example"), self.core)
        self.assertEqual([item.name for item in listening.listeners], ["udp:5060", "udp6:5060"])
        self.assertEqual(listening.notes, [])
        client = open_udp(self.net.host("192.0.2.2", "2001:db8::2"), ListenSpec("UDP", 0), Core())
        for listener, host in zip(client.listeners, ("192.0.2.1", "2001:db8::1"), strict=True):
            listener.send(bytes(65506) + b"x", listener.flow_to((host, 5060)))
        self.net.run_for(1)
        self.assertEqual([len(data) for data, _ in self.core.received], [65507, 65507])
        locals_ = [(flow.local[0], flow.host) for _, flow in self.core.received]
        self.assertEqual(locals_, [("192.0.2.1", "a.example"), ("2001:db8::1", "a.example")])

    def test_free_port_is_the_same_for_both(self) -> None:
        """Port 0 finds one number that is free in both families."""
        self.host.listenUDP(49152, DatagramProtocol(), "::")
        listening = open_udp(self.host, parse_listen("udp:0"), self.core)
        ports = {listener.address[1] for listener in listening.listeners}
        self.assertEqual(ports, {49153})

    def test_no_free_port(self) -> None:
        """After some attempts to find such a number people are told."""
        for port in range(49152, 49200):
            self.host.listenUDP(port, DatagramProtocol(), "::")
        self.assert_refused("udp:0", "in use by another program.*--listen udp:5070")

    def test_no_ipv6(self) -> None:
        """A machine without IPv6 listens on IPv4 only, with a note; and the other way round."""
        for address, note in (
            ("192.0.2.3", "this machine has no IPv6: udp:5060 listens on IPv4 only"),
            ("2001:db8::3", "this machine has no IPv4: udp:5060 listens on IPv6 only"),
        ):
            listening = open_udp(self.net.host(address), parse_listen("udp:5060"), self.core)
            self.assertEqual(len(listening.listeners), 1)
            self.assertEqual(listening.notes, [note])

    def test_asked_for_ipv6(self) -> None:
        """Who asks for IPv6 and has none gets an error, not a note."""
        host = self.net.host("192.0.2.3")
        with self.assertRaisesRegex(ListenError, "Address family not supported.*127.0.0.1"):
            open_udp(host, parse_listen(r"udp:5060:interface=\:\:"), self.core)

    def test_busy(self) -> None:
        """A port in use is named, with another one; what was opened is closed again."""
        self.host.listenUDP(5060, DatagramProtocol(), "::")
        self.assert_refused("udp:5060", r"udp:5060 \(::\): the port is in use.*--listen udp:5070")
        self.host.listenUDP(65530, DatagramProtocol())
        self.assert_refused("udp:65530", r"--listen udp:5070")

    def test_no_such_address(self) -> None:
        """An address of another machine is named."""
        self.assert_refused(
            "udp:5060:interface=203.0.113.1", "no address 203.0.113.1.*--listen udp:5060"
        )


class FakeSocket:
    """Stands for an IPv6 socket."""

    def __init__(self, family: int, kind: int, error: OSError | None = None) -> None:
        self.log: list[object] = [(family, kind)]
        self.error = error

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.log.append("close")

    def setsockopt(self, *option: int) -> None:
        """Note an option."""
        self.log.append(option)

    def setblocking(self, flag: bool) -> None:
        """Note the mode."""
        self.log.append(flag)

    def bind(self, address: tuple[str, int]) -> None:
        """Note the address, or fail."""
        self.log.append(address)
        if self.error is not None:
            raise self.error

    def listen(self, backlog: int) -> None:
        """Note that connections are taken."""
        self.log.append(("listen", backlog))

    def fileno(self) -> int:
        """Return a number that nobody has."""
        return 9999


@implementer(IListeningPort, IUDPTransport)
class FakePort:
    """Stands for a port of a reactor."""

    def __init__(self, host: IPv4Address | IPv6Address) -> None:
        self.host = host
        self.is_open = True

    def startListening(self) -> None:
        """Do nothing."""

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address."""
        return self.host

    def stopListening(self) -> Deferred[None]:
        """Close at once."""
        self.is_open = False
        return succeed(None)

    def write(self, packet: bytes, addr: tuple[str, int] | None) -> None:
        """Send nothing."""

    def connect(self, host: str, port: int) -> None:
        """Do nothing."""

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Do nothing."""

    def getBroadcastAllowed(self) -> bool:
        """Say no."""
        return False


@implementer(IReactorUDP, IReactorTCP, IReactorSocket)
class FakeReactor:
    """Stands for a reactor with real sockets."""

    def __init__(self) -> None:
        self.ports: list[FakePort] = []
        self.adopted: list[tuple[int, int, int]] = []
        self.error: OSError | None = None

    def seconds(self) -> float:
        """Return a time."""
        return 5.0

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> FakePort:
        """Open an IPv4 port."""
        if self.error is not None:
            raise CannotListenError(interface, port, self.error)
        assert maxPacketSize == MAX_DATAGRAM
        return self.connect(protocol, FakePort(IPv4Address("UDP", interface, port or 4000)))

    def connect(self, protocol: DatagramProtocol, port: FakePort) -> FakePort:
        """Connect a protocol to a port."""
        self.ports.append(port)
        protocol.makeConnection(port)
        return port

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int
    ) -> FakePort:
        """Adopt an IPv6 port."""
        self.adopted.append((fileDescriptor, addressFamily, maxPacketSize))
        return self.connect(protocol, FakePort(IPv6Address("UDP", "::", 5060)))

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> FakePort:
        """Open an IPv4 port that takes connections."""
        return FakePort(IPv4Address("TCP", interface, port or 4000))

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """Refuse."""
        raise NotImplementedError

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> FakePort:
        """Adopt an IPv6 port that takes connections."""
        self.adopted.append((fileDescriptor, addressFamily, 0))
        return FakePort(IPv6Address("TCP", "::", 5060))

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> None:
        """Refuse."""
        raise NotImplementedError


class AdoptTests(SynchronousTestCase):
    """Opening ports on a reactor with real sockets, here fakes."""

    def setUp(self) -> None:
        """Make the reactor."""
        self.reactor = FakeReactor()
        self.sockets: list[FakeSocket] = []
        self.error: OSError | None = None

    def make_socket(self) -> Callable[[int, int], Any]:
        """Return a factory of sockets."""

        def make(family: int, kind: int) -> FakeSocket:
            self.sockets.append(FakeSocket(family, kind, self.error))
            return self.sockets[-1]

        return make

    def open(self, text: str) -> list[str]:
        """Open ports and return the notes."""
        return open_udp(
            self.reactor, parse_listen(text), Core(), make_socket=self.make_socket()
        ).notes

    def test_verified(self) -> None:
        """The fakes provide what they claim."""
        verifyObject(IReactorUDP, self.reactor)
        verifyObject(IReactorTCP, self.reactor)
        verifyObject(IReactorSocket, self.reactor)
        port = FakePort(IPv4Address("UDP", "0.0.0.0", 1))
        verifyObject(IListeningPort, port)
        verifyObject(IUDPTransport, port)

    def test_ipv6_only(self) -> None:
        """The IPv6 socket is marked before it is bound, adopted, and our copy is closed."""
        self.assertEqual(self.open("udp:5060"), [])
        self.assertEqual(
            self.sockets[0].log,
            [
                (socket.AF_INET6, socket.SOCK_DGRAM),
                (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
                False,
                ("::", 5060),
                "close",
            ],
        )
        self.assertEqual(self.reactor.adopted, [(9999, socket.AF_INET6, MAX_DATAGRAM)])

    def test_ipv6_only_for_connections(self) -> None:
        """So is the one that takes connections; it may be bound while old ones linger."""
        connections: Any = None
        listening = open_stream(
            self.reactor,
            parse_listen("tcp:5060"),
            connections,
            source_address=lambda remote: "192.0.2.1",
            make_socket=self.make_socket(),
        )
        self.assertEqual(
            self.sockets[0].log,
            [
                (socket.AF_INET6, socket.SOCK_STREAM),
                (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                False,
                ("::", 5060),
                ("listen", BACKLOG),
                "close",
            ],
        )
        four, six = listening.listeners
        self.assertEqual((four.name, six.name), ("tcp:5060", "tcp6:5060"))
        for listener in (four, six):
            self.successResultOf(listener.stop())
            self.successResultOf(listener.stop())

    def test_free_port(self) -> None:
        """Port 0 is bound by IPv4 first, and IPv6 takes the same number."""
        self.open("udp:0")
        self.assertIn(("::", 4000), self.sockets[0].log)

    def test_no_ipv6(self) -> None:
        """Each way in which a system says that it has no IPv6 gives a note."""
        for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            self.error = OSError(number, "no")
            self.assertEqual(len(self.open("udp:5060")), 1)
            self.assertEqual(self.sockets[-1].log[-1], "close")

    def test_neither(self) -> None:
        """A machine with neither family cannot listen."""
        self.error = self.reactor.error = OSError(errno.EAFNOSUPPORT, "no")
        with self.assertRaisesRegex(ListenError, r"udp:5060 \(0.0.0.0\): no; try"):
            self.open("udp:5060")

    def test_ipv6_busy(self) -> None:
        """When the IPv6 port is busy, the IPv4 one is closed again."""
        self.error = OSError(errno.EADDRINUSE, "busy")
        with self.assertRaisesRegex(ListenError, "in use"):
            self.open("udp:5060")
        self.assertEqual([port.is_open for port in self.reactor.ports], [False])

    def test_other_errors(self) -> None:
        """Low ports need a privilege, and any other error is told in the system's words."""
        self.reactor.error = OSError(errno.EACCES, "denied")
        with self.assertRaisesRegex(ListenError, "privilege.*--listen udp:5060"):
            self.open("udp:506:interface=127.0.0.1")
        self.reactor.error = OSError("odd")
        with self.assertRaisesRegex(ListenError, "odd"):
            self.open("udp:506:interface=127.0.0.1")
