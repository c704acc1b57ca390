# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTP ports and the media clock, on a virtual network and on faked sockets."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError, NoPortsError
from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.media import tone
from sipsess.media.codecs import PCMU
from sipsess.media.rtp import RTPPacket
from sipsess.media.stream import AudioStream
from sipsess.testing import VirtualNetwork
from sipsess.transport.mediaclock import MAX_CATCH_UP, MediaClock
from sipsess.transport.rtp import REPORT_INTERVAL, RTPPort, RTPPorts
from tests.pure.signals import loudest, rms

FRAME = b"\x10\x00" * 160
RTCP = b"\x80\xc9\0\1\0\0\0\7"


def ignore(data: bytes, source: Address, now: float) -> None:
    """Receive nothing."""


class FakeSocket:
    """A socket that sends into a list, or fails."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self.error: int | None = None

    def sendto(self, data: bytes, address: Address) -> int:
        """Send."""
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.sent.append((data, address))
        return len(data)


class FakePort:
    """What a real ``listenUDP`` returns, as far as it is used."""

    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.closing: Deferred[None] = Deferred()

    def getHandle(self) -> FakeSocket:
        """Return the socket."""
        return self.socket

    def stopListening(self) -> Deferred[None]:
        """Close later."""
        return self.closing


class FakeReactor(Clock):
    """A reactor whose ports have sockets, and whose binds may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[int, FakePort] = {}
        self.sizes: set[int] = set()
        self.errors: dict[int, Any] = {}
        self.tried: list[int] = []

    def listenUDP(
        self, port: int, protocol: RTPPort, interface: str = "", maxPacketSize: int = 8192
    ) -> FakePort:
        """Open a port."""
        self.tried.append(port)
        if port in self.errors:
            raise CannotListenError(interface, port, self.errors[port])
        fake = self.ports[port] = FakePort()
        self.sizes.add(maxPacketSize)
        transport: Any = fake
        protocol.makeConnection(transport)
        return fake


def busy(number: int = errno.EADDRINUSE) -> OSError:
    """Return what a failed bind says."""
    return OSError(number, os.strerror(number))


class PoolTests(SynchronousTestCase):
    """Ports are given out and come back."""

    def setUp(self) -> None:
        """Make a pool of three ports."""
        self.reactor = FakeReactor()
        self.pool = RTPPorts(self.reactor, 30000, 30005)

    def open(self) -> RTPPort:
        """Open a port."""
        return self.pool.open("127.0.0.1", ignore)

    def close(self, port: RTPPort) -> None:
        """Close a port, and let its socket go."""
        port.close()
        self.reactor.ports[port.port].closing.callback(None)

    def test_even_ports(self) -> None:
        """RTP takes the even ports and leaves the odd ones for RTCP (RFC 3550 section 11)."""
        self.assertEqual([self.open().port for _ in range(3)], [30000, 30002, 30004])
        self.assertEqual(RTPPorts(self.reactor, 30001, 30006).capacity, 3)

    def test_datagrams_are_not_cut(self) -> None:
        """The whole of any datagram is read."""
        self.open()
        self.assertEqual(self.reactor.sizes, {65535})

    def test_empty_pool(self) -> None:
        """When all are in use that is said, and once a minute the log says what to do."""
        lines = self.lines()
        for _ in range(3):
            self.open()
        for _ in range(2):
            error = self.assertRaises(NoPortsError, self.open)
        self.assertEqual(str(error), "no RTP port is free on 127.0.0.1")
        self.assertEqual(error.status_hint, 503)
        self.assertEqual(len(self.pool), 3)
        [line] = lines
        self.assertIn("3 of 3 are in use by calls; widen --rtp-ports", line)
        self.reactor.advance(REPORT_INTERVAL)
        self.assertRaises(NoPortsError, self.open)
        self.assertEqual(lines, [line] * 2)

    def lines(self) -> list[str]:
        """Return a list that gets the lines of the log about missing ports."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            line = formatEvent(event)
            if "no RTP port" in line:
                lines.append(line)

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return lines

    def test_too_many_open_files(self) -> None:
        """No file descriptor: no other port is tried, the error names no cause, the log does."""
        for number in (errno.EMFILE, errno.ENFILE):
            lines = self.lines()
            self.reactor.errors = {30000: busy(number)}
            self.pool = RTPPorts(self.reactor, 30000, 30005)
            error = self.assertRaises(NoPortsError, self.open)
            self.assertEqual(str(error), "no RTP port can be opened on 127.0.0.1")
            self.assertIn("raise the open-file limit", lines[-1])
        self.assertEqual(self.reactor.tried, [30000] * 2)

    def test_no_leak(self) -> None:
        """A thousand calls one after the other leave the pool as it was."""
        for _ in range(1000):
            self.close(self.open())
        self.assertEqual((len(self.pool), self.pool.leftovers()), (0, []))

    def test_not_reused_at_once(self) -> None:
        """A port that came back is the last one to be given out again."""
        used = []
        for _ in range(4):
            port = self.open()
            used.append(port.port)
            self.close(port)
        self.assertEqual(used, [30000, 30002, 30004, 30000])

    def test_in_use_until_the_socket_is_closed(self) -> None:
        """Closing takes a moment, in which the port is not free."""
        ports = [self.open() for _ in range(3)]
        ports[0].close()
        self.assertRaises(NoPortsError, self.open)
        self.assertEqual(self.pool.leftovers(), [repr(port) for port in ports])
        self.reactor.ports[30000].closing.callback(None)
        self.assertEqual(self.open().port, 30000)

    def test_close_twice(self) -> None:
        """Closing is idempotent: the port comes back once."""
        port = self.open()
        self.close(port)
        port.close()
        again = [self.open() for _ in range(3)]
        self.assertIn(port.port, [other.port for other in again])
        port.close()
        self.assertEqual(len(self.pool), 3)

    def test_close_all(self) -> None:
        """The pool can close what is open."""
        ports = [self.open(), self.open()]
        self.pool.close()
        self.assertTrue(all(port.is_closed for port in ports))

    def test_port_for_reports(self) -> None:
        """RTCP gets the odd port beside, once, and what comes there goes the same way."""
        received: list[bytes] = []
        port = self.pool.open("127.0.0.1", lambda data, source, now: received.append(data))
        self.assertEqual(self.reactor.tried, [30000])
        self.assertTrue(port.open_rtcp())
        self.assertTrue(port.open_rtcp())
        self.assertEqual(self.reactor.tried, [30000, 30001])
        self.assertEqual((len(self.pool), self.open().port), (1, 30002))
        beside = port._rtcp
        assert beside is not None
        for data in (RTCP, RTPPacket(0, 1, 160, 9, b"x").pack(), b"", RTCP):
            beside.datagramReceived(data, ("192.0.2.9", 5))
        self.assertEqual(received, [RTCP, RTCP])
        self.assertFalse(beside.open_rtcp())

    def test_reports_leave_by_their_port(self) -> None:
        """RTCP leaves by the port beside when it is open, else by that of RTP."""
        port, there = self.open(), ("127.0.0.9", 5)
        port.send_rtcp(b"1", there)
        port.open_rtcp()
        port.send_rtcp(b"2", there)
        sent = [self.reactor.ports[number].socket.sent for number in (30000, 30001)]
        self.assertEqual(sent, [[(b"1", there)], [(b"2", there)]])

    def test_no_port_for_reports(self) -> None:
        """Where the port beside is another program's, or out of the range, there is none."""
        self.pool = RTPPorts(self.reactor, 30000, 30002)
        self.reactor.errors = {30001: busy()}
        self.assertEqual([self.open().open_rtcp() for _ in range(2)], [False, False])
        self.assertEqual(self.reactor.tried, [30000, 30001, 30002])

    def test_both_sockets_come_back(self) -> None:
        """A pair is in use until both are closed; nothing is opened for a port that is closed."""
        for order in ((30000, 30001), (30001, 30000)):
            self.pool = RTPPorts(self.reactor, 30000, 30001)
            port = self.open()
            port.open_rtcp()
            port.close()
            port.close()
            for number in order:
                self.assertEqual(len(self.pool), 1)
                self.reactor.ports[number].closing.callback(None)
            self.assertEqual(len(self.pool), 0)
        port = self.open()
        self.close(port)
        self.assertFalse(port.open_rtcp())

    def test_begins_anywhere(self) -> None:
        """With a source of chance the first port cannot be foretold, and all are still used."""
        firsts = set()
        for seed in range(20):
            pool = RTPPorts(self.reactor, 30000, 30005, random=random.Random(seed))
            opened = [pool.open("127.0.0.1", ignore).port for _ in range(3)]
            self.assertEqual(sorted(opened), [30000, 30002, 30004])
            firsts.add(opened[0])
        self.assertEqual(len(firsts), 3)

    def test_port_of_another_program(self) -> None:
        """A port that is taken or forbidden is skipped."""
        self.reactor.errors = {30000: busy(), 30002: busy(errno.EACCES)}
        self.assertEqual(self.open().port, 30004)
        self.assertEqual(len(self.pool), 1)

    def test_error_without_a_number(self) -> None:
        """A reactor that only says why in words is taken to mean that the port is in use."""
        self.reactor.errors = {30000: "in use"}
        self.assertEqual(self.open().port, 30002)

    def test_all_ports_of_other_programs(self) -> None:
        """When nothing is free each port has been tried once."""
        self.reactor.errors = {30000: busy(), 30002: busy(), 30004: busy()}
        self.assertRaises(NoPortsError, self.open)
        self.assertEqual(self.reactor.tried, [30000, 30002, 30004])

    def test_wrong_address(self) -> None:
        """An address that is not ours fails at once: other ports would not help."""
        self.reactor.errors = {30000: busy(errno.EADDRNOTAVAIL)}
        error = self.assertRaises(NoPortsError, self.open)
        self.assertIn("127.0.0.1", str(error))
        self.assertEqual(self.reactor.tried, [30000])

    def test_wrong_range(self) -> None:
        """A range without a port is refused at the start."""
        for low, high in ((0, 10), (30001, 30001), (10, 9), (65000, 65536)):
            self.assertRaises(LocalError, RTPPorts, self.reactor, low, high)


class PortTests(SynchronousTestCase):
    """One port."""

    def setUp(self) -> None:
        """Open a port that notes what comes."""
        self.reactor = FakeReactor()
        self.received: list[tuple[bytes, Address, float]] = []
        self.clock = Clock()
        self.clock.advance(7.0)
        pool = RTPPorts(self.reactor, 30000, 30001, self.clock.seconds)
        self.port = pool.open("127.0.0.1", lambda *args: self.received.append(args))
        self.socket = self.reactor.ports[30000].socket

    def test_receive(self) -> None:
        """Datagrams come with their source and the time of the clock."""
        self.port.datagramReceived(b"x", ("192.0.2.9", 5))
        self.assertEqual(self.received, [(b"x", ("192.0.2.9", 5), 7.0)])
        self.assertEqual(self.port.received, 1)

    def test_receiver_that_raises(self) -> None:
        """A bug behind the port is logged once, not once per packet."""

        def fail(data: bytes, source: Address, now: float) -> None:
            raise ZeroDivisionError

        port = RTPPorts(self.reactor, 30002, 30002).open("127.0.0.1", fail)
        for _ in range(50):
            port.datagramReceived(b"x", ("192.0.2.9", 5))
        self.assertEqual(port.failures, 50)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_send(self) -> None:
        """Packets go straight to the socket."""
        self.port.send(b"x", ("192.0.2.9", 5))
        self.port.send(b"y", ("192.0.2.9", 5))
        self.assertEqual([data for data, _ in self.socket.sent], [b"x", b"y"])
        self.assertEqual((self.port.sent, self.port.send_errors), (2, 0))

    def test_names_are_never_looked_up(self) -> None:
        """A host name in a peer's SDP must not block the reactor; nor may the other IP version."""
        for host in ("media.example.com", "", "::1", "127.1"):
            self.port.send(b"x", (host, 5))
        self.assertEqual((self.socket.sent, self.port.send_errors), ([], 4))

    def test_errors_are_counted(self) -> None:
        """A full buffer, a refusal and anything else are counted and never raised."""
        for number in (errno.EAGAIN, errno.ENOBUFS, errno.ECONNREFUSED, errno.ENETUNREACH):
            self.socket.error = number
            self.port.send(b"x", ("192.0.2.9", 5))
        counts = self.port.send_errors, self.port.full, self.port.refused, self.port.sent
        self.assertEqual(counts, (4, 2, 1, 0))
        self.port.connectionRefused()
        self.assertEqual(self.port.refused, 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_closed(self) -> None:
        """After closing nothing is sent or received, quietly."""
        self.port.close()
        self.port.send(b"x", ("192.0.2.9", 5))
        self.port.datagramReceived(b"x", ("192.0.2.9", 5))
        self.assertEqual((self.socket.sent, self.received, self.port.received), ([], [], 0))
        self.assertEqual(self.port.send_errors, 1)


class ClockTests(SynchronousTestCase):
    """The 20 ms clock, alone."""

    def setUp(self) -> None:
        """Make a clock, a port and a stream."""
        self.reactor = FakeReactor()
        self.reactor.advance(50.0)
        self.media = MediaClock(self.reactor)
        self.pool = RTPPorts(self.reactor, 30000, 30010)
        self.stream, self.port = self.make(1)
        self.socket = self.reactor.ports[30000].socket

    def make(self, seed: int) -> tuple[AudioStream, RTPPort]:
        """Make another stream with its port."""
        ids = IdSource(random.Random(seed))
        stream = AudioStream(PCMU, 0, 101, ids, remote=("192.0.2.9", 4000))
        return stream, self.pool.open("127.0.0.1", stream.receive)

    def run_for(self, frames: int) -> list[int]:
        """Let frames pass and return in which of them packets left."""
        sent = []
        for frame in range(frames):
            before = len(self.socket.sent)
            self.reactor.advance(0.02 if frame else 0.011)
            sent += [frame] * (len(self.socket.sent) - before)
        return sent

    def test_silent_streams_cost_nothing(self) -> None:
        """Without anything to say no wake-up is planned."""
        self.media.add(self.stream, self.port)
        self.assertFalse(self.media.is_running)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_plays_and_sleeps(self) -> None:
        """One packet per frame while there is something to say, then the clock stops."""
        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 5)
        self.assertTrue(self.media.is_running)
        self.assertEqual(self.run_for(10), [0, 1, 2, 3, 4])
        self.assertFalse(self.media.is_running)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual({address for _, address in self.socket.sent}, {("192.0.2.9", 4000)})

    def test_stream_that_had_something_to_say_before(self) -> None:
        """A stream that waits already is heard when it is added."""
        self.stream.play(FRAME * 2)
        self.media.add(self.stream, self.port)
        self.assertEqual(self.run_for(4), [0, 1])

    def test_no_drift(self) -> None:
        """Over a minute of wake-ups that come up to 4 ms late no packet is lost or added."""
        chance = random.Random(3)
        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 4000)
        for _ in range(3000):
            self.reactor.advance(chance.uniform(0.0, 0.004))
            call = min(self.reactor.getDelayedCalls(), key=lambda item: item.getTime())
            self.reactor.advance(max(0.0, call.getTime() - self.reactor.seconds()))
        passed = self.reactor.seconds() - 50.0
        self.assertApproximates(len(self.socket.sent), passed / 0.02, 1.5)
        self.assertEqual(self.media.resyncs, 0)
        markers = [RTPPacket.parse(data).marker for data, _ in self.socket.sent]
        self.assertEqual(sum(markers), 1)

    def test_one_call_for_all(self) -> None:
        """Many streams share one wake-up."""
        self.media.add(self.stream, self.port)
        for seed in range(2, 5):
            stream, port = self.make(seed)
            self.media.add(stream, port)
            stream.play(FRAME * 3)
        self.stream.play(FRAME * 3)
        self.reactor.advance(0.02)
        self.assertEqual((len(self.media), len(self.reactor.getDelayedCalls())), (4, 1))

    def test_small_stall_is_made_up_for(self) -> None:
        """After 90 ms the missed frames leave at once, each with its own time."""
        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 50)
        self.reactor.advance(0)
        self.reactor.advance(0.09)
        self.assertEqual(len(self.socket.sent), 5)
        stamps = [RTPPacket.parse(data).timestamp for data, _ in self.socket.sent]
        self.assertEqual(
            [stamp - stamps[0] & 0xFFFFFFFF for stamp in stamps], [0, 160, 320, 480, 640]
        )
        self.assertEqual(self.media.resyncs, 0)

    def test_long_stall_is_not(self) -> None:
        """After a second five frames leave, and then one every 20 ms from now on."""
        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 50)
        self.reactor.advance(0)
        self.reactor.advance(1.0)
        self.assertEqual(len(self.socket.sent), 1 + MAX_CATCH_UP)
        self.assertEqual(self.media.resyncs, 1)
        self.assertEqual(self.run_for(4), [1, 2, 3])

    def test_removed_stream(self) -> None:
        """A stream that is removed says no more, and the clock stops with the last one."""
        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 50)
        self.run_for(2)
        self.assertEqual(len(self.media.leftovers()), 1)
        self.media.remove(self.stream)
        self.media.remove(self.stream)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.run_for(3), [])
        self.assertIsNone(self.stream.on_wake)
        self.assertEqual((len(self.media), self.media.leftovers()), (0, []))

    def test_removed_while_others_play(self) -> None:
        """Removing one does not stop the others."""
        other, port = self.make(2)
        self.media.add(other, port)
        self.media.add(self.stream, self.port)
        other.play(FRAME * 9)
        self.stream.play(FRAME * 9)
        self.run_for(1)
        self.media.remove(other)
        self.assertEqual(self.run_for(3), [0, 1, 2])

    def test_removed_by_another_in_the_same_frame(self) -> None:
        """A callback may remove a stream whose turn is next."""
        other, port = self.make(2)
        self.media.add(self.stream, self.port)
        self.media.add(other, port)
        self.stream.play(b"", lambda is_complete: self.media.remove(other))
        other.play(FRAME)
        self.run_for(2)
        self.assertEqual(port.sent, 0)
        self.assertFalse(self.media.is_running)

    def test_removes_itself_and_all(self) -> None:
        """Hanging up when the prompt has ended leaves no call behind."""

        def hang_up(is_complete: bool) -> None:
            self.media.remove(self.stream)
            self.stream.close()
            self.port.close()

        self.media.add(self.stream, self.port)
        self.stream.play(FRAME * 2, hang_up)
        self.run_for(4)
        self.assertEqual(len(self.socket.sent), 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_restarted_in_a_callback(self) -> None:
        """Removing the last stream and adding another in one callback plans exactly one call."""
        other, port = self.make(2)

        def change(is_complete: bool) -> None:
            self.media.remove(self.stream)
            other.play(FRAME * 3)
            self.media.add(other, port)

        self.media.add(self.stream, self.port)
        self.stream.play(b"", change)
        self.run_for(1)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.run_for(5)
        self.assertEqual(port.sent, 3)

    def test_stream_that_raises(self) -> None:
        """A broken audio source is logged and hurts no other stream."""

        def broken() -> Iterator[bytes]:
            yield FRAME
            raise ZeroDivisionError

        other, port = self.make(2)
        self.media.add(self.stream, self.port)
        self.media.add(other, port)
        self.stream.play(broken())
        other.play(FRAME * 5)
        self.run_for(7)
        self.assertEqual((self.port.sent, port.sent, self.media.failures), (1, 5, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_listener_that_raises(self) -> None:
        """Who listens, and fails at each tick, costs no packet that leaves, and one log line."""

        def fail(*args: object) -> None:
            raise ZeroDivisionError

        self.media.add(self.stream, self.port)
        self.stream.listen(fail)
        self.stream.listen_both(fail, 8000)
        for number in range(5):
            data = RTPPacket(0, number, number * 160, 9, bytes(160)).pack()
            self.stream.receive(data, ("192.0.2.9", 4000), self.reactor.seconds())
        self.stream.play(FRAME * 5)
        self.assertEqual(self.run_for(5), [0, 1, 2, 3, 4])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertGreater(self.media.failures, 6)
        self.media.remove(self.stream)
        self.media.add(self.stream, self.port)
        self.run_for(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_listener_that_hangs_up_and_raises(self) -> None:
        """Its failure is logged, though the stream is gone, and nothing is kept of it."""

        def fail(*args: object) -> None:
            self.media.remove(self.stream)
            raise ZeroDivisionError

        self.media.add(self.stream, self.port)
        self.stream.listen_both(fail, 8000)
        self.run_for(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((len(self.media), self.media.failures), (0, 1))
        self.media.add(self.stream, self.port)
        self.run_for(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NetworkTests(SynchronousTestCase):
    """Two hosts on a virtual network, over IPv4 and IPv6."""

    def test_tone_there_and_back(self) -> None:
        """A tone and digits go through real ports; the echo comes back; nothing is left."""
        for one, two in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")):
            net = VirtualNetwork(seed=4)
            sides = [Side(net, one, 1), Side(net, two, 2)]
            caller, callee = sides
            caller.stream.set_remote((two, callee.port.port))
            callee.stream.echo = True
            played = tone.generate([1336.0, 770.0], 0.4, -10.0)
            caller.stream.play(played)
            caller.stream.send_digits("5#")
            net.run_for(2)
            self.assertEqual("".join(callee.digits), "5#")
            self.assertEqual(callee.stream.destination, (one, caller.port.port))
            for side in sides:
                pcm = b"".join(side.heard)
                self.assertEqual(len(pcm), len(played))
                self.assertApproximates(rms(pcm), rms(played), 0.1)
                self.assertEqual(loudest(pcm, [697.0, 770.0, 1336.0, 1477.0], 2), [770.0, 1336.0])
                side.close()
            net.run_for(1)
            self.assertEqual([len(side.pool) for side in sides], [0, 0])
            net.assert_quiet()

    def test_garbage_does_no_harm(self) -> None:
        """Whatever is thrown at a port, nothing is logged and the call goes on."""
        net = VirtualNetwork(seed=5)
        side, stranger = Side(net, "192.0.2.1", 1), Side(net, "192.0.2.66", 3)
        chance = random.Random(1)
        for length in range(200):
            stranger.port.send(chance.randbytes(length), ("192.0.2.1", side.port.port))
        stranger.port.send(bytes(20000), ("192.0.2.1", side.port.port))
        net.run_for(1)
        self.assertEqual((side.port.received, side.port.failures), (201, 0))
        self.assertEqual(self.flushLoggedErrors(), [])
        side.close()
        stranger.close()
        net.run_for(1)
        net.assert_quiet()


class Side:
    """One end of a call on a virtual network."""

    def __init__(self, net: VirtualNetwork, address: str, seed: int) -> None:
        reactor = net.host(address)
        self.pool = RTPPorts(reactor, 30000, 30010)
        self.media = MediaClock(reactor)
        self.stream = AudioStream(PCMU, 0, 101, IdSource(random.Random(seed)))
        self.port = self.pool.open(address, self.stream.receive)
        self.media.add(self.stream, self.port)
        self.heard: list[bytes] = []
        self.digits: list[str] = []
        self.stream.on_packet = lambda codec, packet, now: self.heard.append(
            codec.make_decoder().decode(packet.payload)
        )
        self.stream.on_digit = self.digits.append

    def close(self) -> None:
        """Hang up."""
        self.media.remove(self.stream)
        self.stream.close()
        self.port.close()
