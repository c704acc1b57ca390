# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the virtual network, its hosts and ports, and the ladder."""

from __future__ import annotations

import errno

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.flow import Address
from sipsess.testing import LOOPBACK, Link, Step, TraceEvent, VirtualNetwork, format_ladder
from sipsess.testing import host as host_module
from sipsess.testing import network as network_module
from sipsess.testing.host import VirtualHost, VirtualPort, normal_host


class Sink(DatagramProtocol):
    """Keeps what it gets."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address]] = []
        self.refusals = 0
        self.is_stopped = False

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Keep one datagram."""
        self.received.append((datagram, addr))

    def connectionRefused(self) -> None:
        """Count one refusal."""
        self.refusals += 1

    def stopProtocol(self) -> None:
        """Note the end."""
        self.is_stopped = True


def open_port(host: VirtualHost, port: int = 5060, interface: str = "") -> tuple[VirtualPort, Sink]:
    """Return a port with a sink on it."""
    sink = Sink()
    return host.listenUDP(port, sink, interface), sink


class Watched:
    """Has something left."""

    def leftovers(self) -> list[str]:
        """Name it."""
        return ["a dialog"]


class LinkTests(SynchronousTestCase):
    """Links refuse nonsense."""

    def test_wrong_values(self) -> None:
        """Negative times and shares beyond 1 are refused."""
        for wrong in ({"delay": -1.0}, {"jitter": -0.1}, {"loss": 1.5}, {"duplicate": -0.5}):
            with self.assertRaises(ValueError):
                Link(**wrong)


class InterfaceTests(SynchronousTestCase):
    """The fakes provide what they claim."""

    def test_verified(self) -> None:
        """Network, host, port and delayed call provide Twisted's interfaces."""
        net = VirtualNetwork()
        host = net.host("192.0.2.1")
        port, _ = open_port(host)
        verifyObject(IReactorTime, net)
        verifyObject(IReactorTime, host)
        verifyObject(IReactorUDP, host)
        verifyObject(IListeningPort, port)
        verifyObject(IUDPTransport, port)
        verifyObject(IDelayedCall, net.callLater(1, int))

    def test_reprs(self) -> None:
        """Hosts and ports say who they are."""
        port, _ = open_port(VirtualNetwork().host("192.0.2.1", name="alice"))
        self.assertEqual(repr(port), "<VirtualPort 0.0.0.0:5060 of <VirtualHost alice>>")


class TimeTests(SynchronousTestCase):
    """The clock goes from deadline to deadline."""

    def setUp(self) -> None:
        """Make a network and a log."""
        self.net = VirtualNetwork()
        self.log: list[object] = []

    def test_each_deadline_at_its_time(self) -> None:
        """A timer that starts itself again fires at each of its times, not once at the end."""

        def again() -> None:
            self.log.append(self.net.seconds())
            if len(self.log) < 4:
                self.net.callLater(2.0 ** len(self.log) / 2, again)

        self.net.callLater(0.5, again)
        self.net.run_for(32)
        self.assertEqual(self.log, [0.5, 1.5, 3.5, 7.5])
        self.assertEqual(self.net.seconds(), 32)

    def test_same_time_in_order(self) -> None:
        """What is due at the same time runs in the order in which it was asked for."""
        host = self.net.host("192.0.2.1")
        for name in "abc":
            host.callLater(1, self.log.append, name)
        self.net.run_for(1)
        self.assertEqual(host.seconds(), 1)
        self.assertEqual(self.log, ["a", "b", "c"])

    def test_arguments(self) -> None:
        """Positional and named arguments reach the callable."""
        self.net.callLater(0, lambda *args, **named: self.log.append((args, named)), 1, two=2)
        self.net.run_for(0)
        self.assertEqual(self.log, [((1,), {"two": 2})])

    def test_negative_delay(self) -> None:
        """A negative delay is refused."""
        self.assertRaises(ValueError, self.net.callLater, -1, int)

    def test_cancel_delay_and_reset(self) -> None:
        """A delayed call can be cancelled, put off and brought forward."""
        cancelled = self.net.callLater(1, self.log.append, "cancelled")
        later = self.net.callLater(1, self.log.append, "later")
        sooner = self.net.callLater(5, self.log.append, "sooner")
        cancelled.cancel()
        later.delay(2)
        sooner.reset(2)
        self.assertEqual([call.getTime() for call in self.net.getDelayedCalls()], [2, 3])
        self.net.run_for(2.5)
        self.assertEqual(self.log, ["sooner"])
        self.net.run_for(10)
        self.assertEqual(self.log, ["sooner", "later"])
        self.assertFalse(self.net.host("192.0.2.1").getDelayedCalls())

    def test_exception_comes_out(self) -> None:
        """An exception in a delayed call leaves run_for at its time; the network can go on."""
        self.net.callLater(1, lambda: 1 // 0)
        self.net.callLater(2, self.log.append, "on")
        self.assertRaises(ZeroDivisionError, self.net.run_for, 5)
        self.assertEqual(self.net.seconds(), 1)
        self.net.run_for(1)
        self.assertEqual(self.log, ["on"])

    def test_not_from_within(self) -> None:
        """Time cannot pass within a callback, and no event gets lost by the attempt."""
        self.net.callLater(1, self.net.run_for, 1)
        self.net.callLater(1, self.log.append, "still there")
        with self.assertRaisesRegex(RuntimeError, "from a callback"):
            self.net.run_for(2)
        self.net.run_for(0)
        self.assertEqual(self.log, ["still there"])

    def test_endless_instant(self) -> None:
        """Two parts that feed each other without letting time pass are found out."""
        self.patch(network_module, "MAX_EVENTS_PER_INSTANT", 50)

        def again() -> None:
            self.net.callLater(0, again)

        again()
        with self.assertRaisesRegex(AssertionError, "over 50 events"):
            self.net.run_for(1)

    def test_run_until(self) -> None:
        """run_until stops as soon as it is true, also when nothing had to happen."""
        self.net.callLater(1, self.log.append, 1)
        self.net.callLater(2, self.log.append, 2)
        self.net.run_until(lambda: self.log)
        self.assertEqual((self.log, self.net.seconds()), ([1], 1))
        self.net.run_until(lambda: True)
        self.assertEqual(self.net.seconds(), 1)

    def test_run_until_by_time_alone(self) -> None:
        """A predicate may look at the clock only."""
        self.net.run_until(lambda: self.net.seconds() >= 3, 3)
        self.assertEqual(self.net.seconds(), 3)

    def test_run_until_fails(self) -> None:
        """What never comes true is an AssertionError with the ladder, after the limit."""
        with self.assertRaisesRegex(AssertionError, r"after 2 s\n\(nothing was sent\)"):
            self.net.run_until(lambda: False, 2)
        self.assertEqual(self.net.seconds(), 2)


class PortTests(SynchronousTestCase):
    """Ports behave like the kernel's."""

    def setUp(self) -> None:
        """Make two hosts."""
        self.net = VirtualNetwork()
        self.a = self.net.host("192.0.2.1", "198.51.100.1", "2001:db8::1")
        self.b = self.net.host("192.0.2.2")

    def test_there_and_back(self) -> None:
        """A datagram arrives after the delay with an address that can be answered."""
        port, sink = open_port(self.a)
        other, echo = open_port(self.b, 0)
        other.write(b"hello", ("192.0.2.1", 5060))
        self.net.run_for(0.009)
        self.assertEqual(sink.received, [])
        self.net.run_for(0.002)
        self.assertEqual(sink.received, [(b"hello", ("192.0.2.2", 49152))])
        port.write(b"back", sink.received[0][1])
        self.net.run_for(1)
        self.assertEqual(echo.received, [(b"back", ("192.0.2.1", 5060))])

    def test_ports_of_hosts_are_apart(self) -> None:
        """The same port can be open on two hosts, and IPv4 and IPv6 are apart."""
        open_port(self.a)
        open_port(self.a, interface="::")
        open_port(self.b)
        self.assertEqual(
            self.net.open_ports(),
            ["0.0.0.0:5060 of 192.0.2.1", "[::]:5060 of 192.0.2.1", "0.0.0.0:5060 of 192.0.2.2"],
        )

    def assert_cannot_listen(self, number: int, host: VirtualHost, interface: str = "") -> None:
        """Check that a port cannot be opened, and why."""
        with self.assertRaises(CannotListenError) as caught:
            open_port(host, 5060, interface)
        self.assertEqual(caught.exception.socketError.errno, number)

    def test_busy(self) -> None:
        """A port is busy for the same address, for a wildcard beside it, and beside a wildcard."""
        open_port(self.a, interface="192.0.2.1")
        open_port(self.a, interface="198.51.100.1")
        open_port(self.b)
        self.assert_cannot_listen(errno.EADDRINUSE, self.a, "192.0.2.1")
        self.assert_cannot_listen(errno.EADDRINUSE, self.a)
        self.assert_cannot_listen(errno.EADDRINUSE, self.b, "127.0.0.1")

    def test_no_such_address(self) -> None:
        """Only own and loopback addresses can be bound, of families that the host has."""
        self.assert_cannot_listen(errno.EADDRNOTAVAIL, self.a, "203.0.113.1")
        self.assert_cannot_listen(errno.EAFNOSUPPORT, self.b, "::")
        open_port(self.a, interface="::1")

    def test_free_ports(self) -> None:
        """Port 0 takes the next free port, until none is left."""
        self.assertEqual([open_port(self.a, 0)[0].number for _ in "ab"], [49152, 49153])
        self.patch(host_module, "FIRST_FREE_PORT", 65535)
        open_port(self.a, 0)
        with self.assertRaises(CannotListenError):
            open_port(self.a, 0)

    def test_get_host(self) -> None:
        """A port knows the address to which it is bound."""
        self.assertEqual(open_port(self.a)[0].getHost(), IPv4Address("UDP", "0.0.0.0", 5060))
        port, _ = open_port(self.a, interface="2001:DB8::1")
        self.assertEqual(port.getHost(), IPv6Address("UDP", "2001:db8::1", 5060))

    def test_specific_before_wildcard(self) -> None:
        """A port answers with the address to which it is bound; others do not get its datagrams."""
        port, sink = open_port(self.a, interface="198.51.100.1")
        other, echo = open_port(self.b)
        other.write(b"x", ("192.0.2.1", 5060))
        other.write(b"y", ("198.51.100.1", 5060))
        self.net.run_for(1)
        self.assertEqual([data for data, _ in sink.received], [b"y"])
        port.write(b"z", ("192.0.2.2", 5060))
        self.net.run_for(1)
        self.assertEqual(echo.received, [(b"z", ("198.51.100.1", 5060))])

    def test_ipv6(self) -> None:
        """IPv6 addresses are the same in each spelling."""
        _, sink = open_port(self.a, interface="::")
        other, _ = open_port(self.net.host("2001:db8::2"), interface="::")
        other.write(b"six", ("2001:DB8:0::1", 5060))
        self.net.run_for(1)
        self.assertEqual(sink.received, [(b"six", ("2001:db8::2", 5060))])

    def test_truncated(self) -> None:
        """A datagram longer than maxPacketSize is cut, as the kernel does."""
        sink = Sink()
        self.a.listenUDP(5060, sink, maxPacketSize=3)
        open_port(self.b)[0].write(b"hello", ("192.0.2.1", 5060))
        self.net.run_for(1)
        self.assertEqual(sink.received[0][0], b"hel")

    def test_loopback(self) -> None:
        """Loopback datagrams stay in the host and are quick."""
        port, sink = open_port(self.a)
        open_port(self.b)
        port.write(b"self", ("127.0.0.1", 5060))
        self.net.run_for(LOOPBACK.delay * 2)
        self.assertEqual(sink.received, [(b"self", ("127.0.0.1", 5060))])

    def test_own_address(self) -> None:
        """A host can reach itself by its own address, as quickly."""
        port, sink = open_port(self.a)
        port.write(b"self", ("198.51.100.1", 5060))
        self.net.run_for(LOOPBACK.delay * 2)
        self.assertEqual(sink.received, [(b"self", ("198.51.100.1", 5060))])

    def test_cannot_write(self) -> None:
        """What cannot be sent raises what Twisted raises."""
        port, _ = open_port(self.a)
        stuck, _ = open_port(self.b, interface="127.0.0.1")
        four, six = open_port(self.b, 7)[0], open_port(self.a, interface="::")[0]
        self.assertRaises(InvalidAddressError, port.write, b"x", ("example.org", 5060))
        self.assertRaises(InvalidAddressError, port.write, b"x", ("2001:db8::2", 5060))
        self.assertRaises(OSError, port.write, b"x", ("192.0.2.2", 0))
        self.assertRaises(OSError, stuck.write, b"x", ("192.0.2.1", 5060))
        self.assertRaises(ValueError, port.write, b"x")
        self.assertRaises(MessageLengthError, four.write, bytes(65508), ("192.0.2.1", 5060))
        self.assertRaises(MessageLengthError, six.write, bytes(65528), ("2001:db8::2", 5060))
        four.write(bytes(65507), ("192.0.2.1", 5060))
        six.write(bytes(65527), ("2001:db8::2", 5060))

    def test_broadcast_flag(self) -> None:
        """The broadcast flag is kept."""
        port, _ = open_port(self.a)
        self.assertFalse(port.getBroadcastAllowed())
        port.setBroadcastAllowed(True)
        self.assertTrue(port.getBroadcastAllowed())

    def test_stop(self) -> None:
        """A closing port receives nothing, and is busy until the next step."""
        port, sink = open_port(self.a)
        other, _ = open_port(self.b)
        other.write(b"late", ("192.0.2.1", 5060))
        self.net.run_for(0.005)
        closing = [port.stopListening(), port.stopListening()]
        self.assert_cannot_listen(errno.EADDRINUSE, self.a)
        fired: list[object] = []
        for deferred in closing:
            assert deferred is not None
            deferred.addCallback(fired.append)
        self.assertFalse(fired)
        self.net.run_for(1)
        self.assertEqual(fired, [None, None])
        self.assertTrue(sink.is_stopped)
        self.assertEqual(sink.received, [])
        self.assertEqual([event.fate for event in self.net.trace], ["refused"])
        self.assertIsNone(port.stopListening())
        self.assertRaises(OSError, port.write, b"x", ("192.0.2.2", 5060))
        open_port(self.a)

    def test_stop_while_receiving(self) -> None:
        """A protocol that closes its port hears nothing more, not even of the same instant."""

        class Once(Sink):
            def datagramReceived(self, datagram: bytes, addr: Address) -> None:
                super().datagramReceived(datagram, addr)
                port.stopListening()

        once = Once()
        port = self.a.listenUDP(5060, once)
        other, _ = open_port(self.b)
        for data in (b"1", b"2"):
            other.write(data, ("192.0.2.1", 5060))
        self.net.run_for(1)
        self.assertEqual([data for data, _ in once.received], [b"1"])

    def test_connected(self) -> None:
        """A connected port needs no address, hears only its peer, and hears that it is gone."""
        port, sink = open_port(self.a)
        far, echo = open_port(self.b)
        port.connect("192.0.2.2", 5060)
        self.assertRaises(RuntimeError, port.connect, "192.0.2.2", 5061)
        port.write(b"x")
        far.write(b"ours", ("192.0.2.1", 5060))
        open_port(self.b, 6)[0].write(b"not ours", ("192.0.2.1", 5060))
        self.net.run_for(1)
        self.assertEqual(echo.received, [(b"x", ("192.0.2.1", 5060))])
        self.assertEqual([data for data, _ in sink.received], [b"ours"])
        far.stopListening()
        port.write(b"gone")
        self.net.run_for(1)
        self.assertEqual(sink.refusals, 1)
        far_again, _ = open_port(self.b)
        far_again.write(b"x", ("192.0.2.1", 9))
        self.net.run_for(1)
        self.assertEqual(sink.refusals, 1)

    def test_exception_of_a_protocol(self) -> None:
        """An exception in datagramReceived is not swallowed."""

        class Broken(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Address) -> None:
                raise ZeroDivisionError

        self.a.listenUDP(5060, Broken())
        open_port(self.b)[0].write(b"x", ("192.0.2.1", 5060))
        self.assertRaises(ZeroDivisionError, self.net.run_for, 1)


class HostTests(SynchronousTestCase):
    """Hosts know their addresses."""

    def test_repr(self) -> None:
        """A host without a name is called by its address."""
        self.assertEqual(repr(VirtualNetwork().host("192.0.2.1")), "<VirtualHost 192.0.2.1>")

    def test_wrong_addresses(self) -> None:
        """A host needs an address, a right one, and one that nobody has."""
        net = VirtualNetwork()
        net.host("2001:db8::1")
        self.assertRaises(ValueError, net.host)
        self.assertRaises(ValueError, net.host, "example.org")
        self.assertRaises(ValueError, net.host, "192.0.2.1", "2001:DB8::1")
        self.assertEqual(len(net.hosts), 1)

    def test_source_address(self) -> None:
        """The source is the address of the same network, else the first of the family."""
        net = VirtualNetwork()
        host = net.host("192.0.2.1", "10.0.0.1", "2001:db8::1", "2001:db8:0:1::1")
        for remote, source in (
            ("192.0.2.77", "192.0.2.1"),
            ("10.0.0.77", "10.0.0.1"),
            ("203.0.113.1", "192.0.2.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("2001:db8:0:1::77", "2001:db8:0:1::1"),
            ("2001:db9::1", "2001:db8::1"),
        ):
            self.assertEqual(host.source_address(remote), source)
        with self.assertRaises(OSError) as caught:
            net.host("192.0.2.9").source_address("2001:db8::1")
        self.assertEqual(caught.exception.errno, errno.ENETUNREACH)

    def test_normal_host(self) -> None:
        """Names have no normal form."""
        self.assertEqual(normal_host("2001:DB8:0:0::1"), "2001:db8::1")
        self.assertRaises(InvalidAddressError, normal_host, "localhost")


class LinkBehaviourTests(SynchronousTestCase):
    """Loss, jitter, copies, filters and partitions."""

    def build(self, seed: int, link: Link) -> tuple[VirtualNetwork, VirtualPort, Sink]:
        """Return a network with a sender and a sink that is reached by ``link``."""
        net = VirtualNetwork(seed, link)
        _, sink = open_port(net.host("192.0.2.2"))
        port, _ = open_port(net.host("192.0.2.1"))
        return net, port, sink

    def send(self, port: VirtualPort, count: int) -> None:
        """Send numbered datagrams to the sink."""
        for number in range(count):
            port.write(b"%d" % number, ("192.0.2.2", 5060))

    def run_seed(self, seed: int) -> list[TraceEvent]:
        """Return the trace of one seed on a bad link."""
        net, port, _ = self.build(seed, Link(0.02, 0.8, 0.3, 0.2))
        self.send(port, 50)
        net.run_for(2)
        net.assert_quiet()
        return net.trace

    def test_same_seed_same_trace(self) -> None:
        """The same seed gives the same trace, another one another."""
        self.assertEqual(self.run_seed(7), self.run_seed(7))
        self.assertNotEqual(self.run_seed(7), self.run_seed(8))

    def test_all_lost(self) -> None:
        """A link with loss 1 carries nothing."""
        net, port, sink = self.build(0, Link(loss=1))
        self.send(port, 5)
        net.run_for(1)
        self.assertEqual(sink.received, [])
        self.assertEqual({event.fate for event in net.trace}, {"lost"})
        self.assertEqual(net.trace[0].arrival, None)

    def test_all_twice(self) -> None:
        """A link with duplicate 1 carries each twice, and the trace tells the copies."""
        net, port, sink = self.build(0, Link(duplicate=1))
        self.send(port, 3)
        self.assertEqual({event.fate for event in net.trace}, {"in flight"})
        net.run_for(1)
        self.assertEqual(len(sink.received), 6)
        self.assertEqual([event.fate for event in net.trace], ["delivered", "duplicated"] * 3)
        self.assertEqual(net.trace[0].arrival, 0.01)

    def test_jitter_reorders(self) -> None:
        """Jitter changes the order and never the content; nothing comes before the delay."""
        net, port, sink = self.build(1, Link(delay=1, jitter=1))
        self.send(port, 20)
        net.run_for(1)
        self.assertEqual(sink.received, [])
        net.run_for(1)
        numbers = [int(data) for data, _ in sink.received]
        self.assertNotEqual(numbers, sorted(numbers))
        self.assertEqual(sorted(numbers), list(range(20)))

    def test_some_lost(self) -> None:
        """A share of the datagrams is lost and copied, roughly as asked for."""
        fates = [event.fate for seed in range(20) for event in self.run_seed(seed)]
        self.assertTrue(200 < fates.count("lost") < 400)
        self.assertTrue(80 < fates.count("duplicated") < 200)

    def test_links_of_pairs(self) -> None:
        """A pair has links of its own, and each direction may differ."""
        net, port, sink = self.build(0, Link())
        b, a = net.hosts
        net.set_link(a, b, Link(delay=2), back=Link(loss=1))
        self.send(port, 1)
        b.ports["0.0.0.0", 5060].write(b"back", ("192.0.2.1", 5060))
        net.run_for(1.9)
        self.assertEqual(sink.received, [])
        net.run_for(0.2)
        self.assertEqual(len(sink.received), 1)
        self.assertEqual([event.fate for event in net.trace], ["delivered", "lost"])
        net.set_link(a, b, Link(delay=0))
        self.send(port, 1)
        net.run_for(0)
        self.assertEqual(len(sink.received), 2)

    def test_filters(self) -> None:
        """A filter loses exactly what it says; each filter is asked each time."""
        net, port, sink = self.build(0, Link())
        asked: list[tuple[Address, Address, bytes]] = []
        net.filters.append(lambda source, target, data: data == b"1")

        def ask(source: Address, target: Address, data: bytes) -> bool:
            asked.append((source, target, data))
            return False

        net.filters.append(ask)
        self.send(port, 3)
        net.run_for(1)
        self.assertEqual([data for data, _ in sink.received], [b"0", b"2"])
        self.assertEqual(asked[1], (("192.0.2.1", 5060), ("192.0.2.2", 5060), b"1"))

    def test_partition(self) -> None:
        """A partition loses what is sent, not what is in flight, and can be healed."""
        net, port, sink = self.build(0, Link())
        b, a = net.hosts
        c = net.host("192.0.2.3")
        self.send(port, 1)
        net.partition(a, b)
        net.partition(b, c)
        self.send(port, 1)
        net.run_for(1)
        self.assertEqual(len(sink.received), 1)
        net.heal(c)
        self.send(port, 1)
        net.run_for(1)
        self.assertEqual(len(sink.received), 1)
        net.heal(b, a)
        self.send(port, 1)
        net.run_for(1)
        self.assertEqual(len(sink.received), 2)
        net.partition(a, b)
        net.heal()
        self.send(port, 1)
        net.run_for(1)
        self.assertEqual(len(sink.received), 3)

    def test_nobody_there(self) -> None:
        """What goes to an address without a host is lost; to a closed port it is refused."""
        net, port, _ = self.build(0, Link())
        port.write(b"x", ("203.0.113.1", 5060))
        port.write(b"x", ("192.0.2.2", 9))
        net.run_for(1)
        self.assertEqual([event.fate for event in net.trace], ["lost", "refused"])

    def test_trace_is_bounded(self) -> None:
        """A long story forgets its beginning."""
        self.patch(network_module, "MAX_TRACE", 10)
        net, port, _ = self.build(0, Link())
        self.send(port, 11)
        self.assertEqual([event.data for event in net.trace], [b"%d" % n for n in range(5, 11)])


class QuietTests(SynchronousTestCase):
    """The end of each test."""

    def test_quiet(self) -> None:
        """A network at rest is quiet, with open ports; closed only without."""
        net = VirtualNetwork()
        port, _ = open_port(net.host("192.0.2.1"))
        net.assert_quiet()
        with self.assertRaisesRegex(AssertionError, r"open port: 0.0.0.0:5060 of 192.0.2.1"):
            net.assert_closed()
        port.stopListening()
        net.run_for(0)
        net.assert_closed()

    def test_not_quiet(self) -> None:
        """Leftovers of watched objects, delayed calls and datagrams in flight are all named."""
        net = VirtualNetwork()
        port, _ = open_port(net.host("192.0.2.1"))
        net.watch(Watched())
        net.callLater(5, self.test_quiet)
        port.write(b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n\r\n", ("192.0.2.1", 5060))
        with self.assertRaises(AssertionError) as caught:
            net.assert_quiet()
        text = str(caught.exception)
        self.assertIn("not quiet at 0.000 s", text)
        self.assertIn("  - a dialog\n", text)
        self.assertIn("test_quiet", text)
        self.assertIn("1 datagram(s) in flight", text)
        self.assertIn("OPTIONS sip:a@192.0.2.1", text)


ALICE, BOB, CAROL = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.3", 5060)
INVITE = b"INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\r\n"
SDP = b"v=0\r\nc=IN IP4 %s\r\nm=audio %s RTP/AVP %s\r\n"
RTP = b"\x80\x00" + bytes(10)
RTCP = b"\x80\xc8" + bytes(10)


class LadderTests(SynchronousTestCase):
    """Ladders are read by people."""

    def lines(self, *steps: Step) -> list[str]:
        """Return the lines of a ladder, without those of the parties."""
        return format_ladder(steps).splitlines()[1:]

    def test_two_parties(self) -> None:
        """Two parties stand left and right; RTP is folded; the names come first."""
        answer = b"SIP/2.0 200 OK\r\n\r\n" + SDP % (b"192.0.2.2", b"4002", b"0 101")
        bye = b"BYE sip:alice@192.0.2.1 SIP/2.0\r\nReason: SIP;cause=200\r\nX: y\r\n\r\n"
        text = format_ladder(
            [
                Step(0.0, ALICE, BOB, INVITE, "lost"),
                Step(0.5, ALICE, BOB, INVITE),
                Step(0.51, BOB, ALICE, b"SIP/2.0 180 Ringing\r\n\r\n", "duplicated"),
                Step(0.52, BOB, ALICE, answer),
                *[Step(1 + n / 50, ("192.0.2.1", 9), ("192.0.2.2", 4002), RTP) for n in range(50)],
                Step(1.5, ("192.0.2.2", 4003), ("192.0.2.1", 10), RTCP),
                Step(2.5, BOB, ALICE, bye),
            ],
            {"192.0.2.1": "alice", "192.0.2.2": "bob"},
        )
        expected = """
  alice                                               bob
  INVITE sip:bob@192.0.2.2    --------------------------x   0.000   lost
  INVITE sip:bob@192.0.2.2    -------------------------->   0.500
                              <-------------- 180 Ringing   0.510   copy
                              <------------------- 200 OK   0.520   audio PCMU 192.0.2.2:4002
  RTP x 50                    ~~~~~~~~~~~~~~~~~~~~~~~~~~>   1.000 to 1.980
                              <~~~~~~~~~~~~~~~~~ RTCP x 1   1.500
                              <---------------------- BYE   2.500   Reason: SIP;cause=200"""
        self.assertEqual("\n" + text, expected)

    def test_three_parties(self) -> None:
        """More parties get a column each, and long labels are cut."""
        text = format_ladder(
            [
                Step(0, ALICE, BOB, INVITE),
                Step(1, CAROL, BOB, b"SIP/2.0 200 OK\r\n\r\n"),
                Step(2, CAROL, ALICE, b"MESSAGE sip:someone@some.where.example SIP/2.0\r\n\r\n"),
                Step(3, BOB, CAROL, b"OPTIONS sip:a-rather-long-name SIP/2.0\r\n\r\n", "lost"),
                Step(4, BOB, BOB, b"ACK a:b SIP/2.0\r\n\r\n"),
            ]
        )
        expected = """
  192.0.2.1                       192.0.2.2                       192.0.2.3
  |-- INVITE sip:bob@192.0.2.2 -->|                               |   0.000
  |                               |<-- 200 OK --------------------|   1.000
  |<-- MESSAGE sip:someone@some.where.example --------------------|   2.000
  |                               |-- OPTIONS sip:a-rather-l... -x|   3.000   lost
  |                               |                               |   4.000   ACK a:b (to itself)"""
        self.assertEqual("\n" + text, expected)

    def test_nothing(self) -> None:
        """An empty ladder says so."""
        self.assertEqual(format_ladder([]), "(nothing was sent)")

    def test_two_parties_on_one_host(self) -> None:
        """Two parties on one host are told by their ports, and media by what SDP said."""
        host = "127.0.0.1"
        offer = INVITE + SDP % (b"127.0.0.1", b"7000", b"8")
        text = format_ladder(
            [
                Step(0, (host, 5060), (host, 5070), offer),
                Step(1, (host, 7001), (host, 5070), RTCP),
            ]
        )
        self.assertEqual(
            text.splitlines(),
            [
                "  127.0.0.1:5060                           127.0.0.1:5070",
                "  INVITE sip:bob@192.0.2.2    -------------------------->   0.000   "
                "audio PCMA 127.0.0.1:7000",
                "  RTCP x 1                    ~~~~~~~~~~~~~~~~~~~~~~~~~~>   1.000",
            ],
        )

    def test_other_packets(self) -> None:
        """Keep-alives and what is neither SIP nor RTP are counted too."""
        lines = self.lines(
            Step(0, ALICE, BOB, b"\r\n\r\n"),
            Step(1, ALICE, BOB, b"\r\n\r\n"),
            Step(2, ALICE, BOB, b"hello"),
            Step(3, ALICE, BOB, b"hello", "refused"),
        )
        self.assertIn("keep-alive x 2", lines[0])
        self.assertTrue(lines[0].endswith("0.000 to 1.000"))
        self.assertIn("5 bytes", lines[1])
        self.assertTrue(lines[2].endswith("refused"))

    def test_packets_after_a_message(self) -> None:
        """A message ends a run of packets: those that follow it stand below it."""
        lines = self.lines(
            Step(0, ALICE, BOB, RTP), Step(1, ALICE, BOB, INVITE), Step(2, ALICE, BOB, RTP)
        )
        self.assertEqual([line.split()[0] for line in lines], ["RTP", "INVITE", "RTP"])

    def test_long_labels(self) -> None:
        """Long labels are cut so that the arrows stay in line."""
        lines = self.lines(
            Step(0, ALICE, BOB, b"INVITE sip:a-very-long-name@example.org SIP/2.0\r\n\r\n"),
            Step(0, BOB, ALICE, b"MESSAGE sip:a-very-long-name@example.org SIP/2.0\r\n\r\n"),
            Step(0, BOB, ALICE, b"SIP/2.0 400 You Said Something Wrong Here\r\n\r\n"),
        )
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})
        self.assertIn("INVITE sip:a-very-long-n...", lines[0])
        self.assertIn("- MESSAGE ", lines[1])
        self.assertIn("- 400 You Said Something ", lines[2])

    def test_hostile_text(self) -> None:
        """Control characters of a peer do not reach the terminal."""
        [line] = self.lines(Step(0, ALICE, BOB, b"SIP/2.0 200 \x1b[2J\xff\r\nReason: \x07\r\n\r\n"))
        self.assertTrue(line.isprintable())

    def test_odd_sdp(self) -> None:
        """Broken SDP spoils no ladder; dynamic formats get their name from rtpmap."""
        head = b"SIP/2.0 200 OK\r\n\r\n"
        dynamic = (
            SDP % (b"::1", b"9", b"96") + b"a=rtpmap:96 opus/48000/2\r\nm=video 1 RTP/AVP 31\r\n"
        )
        lines = self.lines(
            Step(0, ALICE, BOB, head + dynamic),
            Step(0, ALICE, BOB, head + b"v=0\r\nm=audio x RTP/AVP 0\r\nm=audio\r\n"),
            Step(0, ALICE, BOB, head + b"v=0\r\nm=audio\r\na=rtpmap:0 \r\n"),
            Step(0, ALICE, BOB, head + SDP % (b"a", b"1", b"97") + b"a=rtpmap:97 \r\n"),
        )
        self.assertTrue(lines[0].endswith("audio opus [::1]:9"))
        self.assertTrue(lines[1].endswith("audio PCMU ?:-1"))
        self.assertTrue(lines[2].endswith("0.000"))
        self.assertTrue(lines[3].endswith("audio 97 a:1"))
