# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The quiet UDP socket, on a fake reactor and fake sockets."""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.errors import NoPortsError
from sipsess.flow import Address
from sipsess.transport.datagram import MAX_BATCH, DatagramReader
from sipsess.transport.rtp import RTPPorts


class FakeSocket:
    """A socket whose input is a list; an exception in it is raised."""

    def __init__(self) -> None:
        self.inbox: list[bytes | OSError] = []
        self.sent: list[tuple[bytes, Address]] = []
        self.is_closed = False

    def fileno(self) -> int:
        """Return some number."""
        return 17

    def recvfrom(self, size: int) -> tuple[bytes, tuple[Any, ...]]:
        """Return the next datagram."""
        if not self.inbox:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        item = self.inbox.pop(0)
        if isinstance(item, OSError):
            raise item
        return item, ("2001:db8::9", 4000, 0, 0)

    def sendto(self, data: bytes, address: Address) -> int:
        """Note what is sent."""
        self.sent.append((data, address))
        return len(data)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


@implementer(IReactorFDSet)
class FakeReactor(Clock):
    """A clock that knows who wants to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[object] = []

    def addReader(self, reader: Any) -> None:
        """Begin to read."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Read no more."""
        self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """Never called."""

    def removeWriter(self, writer: Any) -> None:
        """Never called."""

    def removeAll(self) -> list[Any]:
        """Never called."""
        return []

    def getReaders(self) -> list[Any]:
        """Return who is read."""
        return self.readers

    def getWriters(self) -> list[Any]:
        """Return nobody."""
        return []


class Receiver:
    """Notes what comes."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address]] = []
        self.refused = 0

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Note it."""
        self.received.append((datagram, addr))

    def connectionRefused(self) -> None:
        """Count it."""
        self.refused += 1


class ReaderTests(SynchronousTestCase):
    """One socket."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.socket = FakeSocket()
        self.receiver = Receiver()
        self.reader = DatagramReader(
            cast("IReactorFDSet", self.reactor), cast("Any", self.socket), self.receiver
        )

    def test_provides_its_interface(self) -> None:
        """Reader and fake reactor are what they say."""
        self.assertTrue(verifyObject(IReadDescriptor, self.reader))
        self.assertTrue(verifyObject(IReactorFDSet, self.reactor))
        self.assertEqual(self.reader.logPrefix(), "Receiver")

    def test_reads_until_empty(self) -> None:
        """All datagrams that wait come at one wake-up, host and port only."""
        self.socket.inbox = [b"one", b"two"]
        self.reader.doRead()
        source = ("2001:db8::9", 4000)
        self.assertEqual(self.receiver.received, [(b"one", source), (b"two", source)])

    def test_reads_no_more_than_a_batch(self) -> None:
        """A flood leaves the others their turn."""
        self.socket.inbox = [b"x"] * (MAX_BATCH + 1)
        self.reader.doRead()
        self.assertEqual(len(self.receiver.received), MAX_BATCH)

    def test_icmp_error_is_counted_and_survived(self) -> None:
        """A refused datagram of ours is told; the next one is read."""
        self.socket.inbox = [ConnectionRefusedError(errno.ECONNREFUSED, "no"), b"later"]
        self.reader.doRead()
        self.assertEqual(self.receiver.refused, 1)
        self.reader.doRead()
        self.assertEqual(len(self.receiver.received), 1)

    def test_closed_by_its_receiver(self) -> None:
        """Whoever closes while a batch is read gets nothing more."""
        self.socket.inbox = [b"one", b"two"]
        self.receiver.datagramReceived = lambda datagram, addr: self.reader.close()  # type: ignore[method-assign]
        self.reader.doRead()
        self.assertEqual(self.socket.inbox, [b"two"])

    def test_close_twice(self) -> None:
        """Closing closes the socket once; then nothing can be sent."""
        self.assertEqual(self.reader.fileno(), 17)
        self.reader.send(b"data", ("192.0.2.1", 4000))
        self.assertEqual(self.socket.sent, [(b"data", ("192.0.2.1", 4000))])
        self.reader.close()
        self.reader.connectionLost(Failure(RuntimeError()))
        self.assertTrue(self.socket.is_closed)
        self.assertEqual(self.reactor.readers, [])
        self.assertEqual(self.reader.fileno(), -1)
        self.assertRaises(OSError, self.reader.send, b"data", ("192.0.2.1", 4000))


class PoolTests(SynchronousTestCase):
    """RTP ports on a reactor that reads sockets."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.sockets: list[FakeSocket] = []
        self.taken: dict[int, int] = {}
        self.ports = RTPPorts(self.reactor, 4000, 4003, make_socket=self._make_socket)

    def _make_socket(self, host: str, port: int) -> Any:
        if port in self.taken:
            raise OSError(self.taken[port], "cannot bind")
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    def test_open_send_receive_close(self) -> None:
        """A port works without a Twisted transport, and is free at once when it is closed."""
        received: list[bytes] = []
        port = self.ports.open("192.0.2.1", lambda data, source, now: received.append(data))
        self.sockets[0].inbox.append(b"packet")
        cast("DatagramReader", self.reactor.readers[0]).doRead()
        port.send(b"answer", ("192.0.2.9", 4000))
        self.assertEqual(received, [b"packet"])
        self.assertEqual(self.sockets[0].sent, [(b"answer", ("192.0.2.9", 4000))])
        port.close()
        port.close()
        self.assertEqual(len(self.ports), 0)
        self.assertTrue(self.sockets[0].is_closed)

    def test_port_of_another_program_is_skipped(self) -> None:
        """EADDRINUSE takes the next port."""
        self.taken = {4000: errno.EADDRINUSE}
        self.assertEqual(self.ports.open("192.0.2.1", lambda *args: None).port, 4002)

    def test_other_errors_are_said(self) -> None:
        """An address that is not ours is wrong with each port."""
        self.taken = {4000: errno.EADDRNOTAVAIL}
        self.assertRaises(NoPortsError, self.ports.open, "192.0.2.1", lambda *args: None)
