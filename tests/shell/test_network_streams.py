# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Connections of the virtual network: in order, in virtual time, and lost when the way is."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IReactorTCP, ITCPTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.testing import Link, VirtualNetwork


class Recorder(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.times: list[float] = []
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        self.heard.append(data)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """Keep why."""
        self.lost = reason


class Producer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        """See ``IPushProducer``."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self.calls.append("resume")

    def stopProducing(self) -> None:
        """See ``IPushProducer``."""
        self.calls.append("stop")


class StreamTests(SynchronousTestCase):
    """Two hosts, one port."""

    def setUp(self) -> None:
        """Let bob listen."""
        self.net = VirtualNetwork(seed=1, link=Link(delay=0.1))
        self.alice = self.net.host("192.0.2.2", "2001:db8::2", name="alice")
        self.bob = self.net.host("192.0.2.1", "2001:db8::1", name="bob")
        self.served: list[Recorder] = []
        self.factory = Factory.forProtocol(Recorder)
        build = self.factory.buildProtocol
        self.factory.buildProtocol = (  # type: ignore[method-assign]
            lambda addr: (self.served.append(build(addr)), self.served[-1])[1]  # type: ignore[func-returns-value,arg-type]
        )
        self.port = self.bob.listenTCP(5060, self.factory)

    def connect(self, timeout: float = 30) -> Deferred[Any]:
        """Begin to connect from alice."""
        endpoint = TCP4ClientEndpoint(self.alice, "192.0.2.1", 5060, timeout)
        return endpoint.connect(Factory.forProtocol(Recorder))

    def connected(self) -> tuple[Recorder, Recorder]:
        """Return both ends."""
        connecting = self.connect()
        self.net.run_for(1)
        return self.successResultOf(connecting), self.served[-1]

    def assert_lost(self, end: Recorder, kind: type[Exception]) -> None:
        """Expect why an end lost its connection."""
        assert end.lost is not None
        self.assertIsInstance(end.lost.value, kind)

    def test_interfaces(self) -> None:
        """A host is a reactor with TCP, and its connections are what Twisted's are."""
        verifyObject(IReactorTCP, self.alice)
        near, far = self.connected()
        verifyObject(ITCPTransport, near.transport)
        transport: Any = near.transport
        self.assertEqual(transport.getPeer(), IPv4Address("TCP", "192.0.2.1", 5060))
        self.assertEqual(transport.getHost(), far.transport.getPeer())  # type: ignore[union-attr]
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpNoDelay())
        self.assertFalse(transport.getTcpKeepAlive())
        connector = self.alice.connectTCP("192.0.2.1", 5060, ClientFactory())
        verifyObject(IConnector, connector)
        self.assertEqual(connector.getDestination(), IPv4Address("TCP", "192.0.2.1", 5060))
        connector.disconnect()

    def test_in_order(self) -> None:
        """Pieces come in the order in which they were written, whatever the jitter."""
        self.net.link = Link(delay=0.1, jitter=1.0, loss=0.3)
        connecting = self.connect()
        self.net.run_for(1)
        near = self.successResultOf(connecting)
        pieces = [bytes([65 + number]) for number in range(20)]
        for piece in pieces:
            near.transport.write(piece)
        near.transport.writeSequence([b"x", b"y"])
        self.net.run_for(60)
        self.assertEqual(b"".join(self.served[0].heard), b"".join(pieces) + b"xy")

    def test_close(self) -> None:
        """What was written before the end still arrives; what is written after it does not."""
        near, far = self.connected()
        assert near.transport is not None
        near.transport.write(b"last")
        near.transport.loseConnection()
        near.transport.write(b"too late")
        self.net.run_for(1)
        self.assertEqual(far.heard, [b"last"])
        self.assert_lost(near, ConnectionDone)
        self.assert_lost(far, ConnectionDone)

    def test_abort(self) -> None:
        """An aborted connection is lost for the other end, too."""
        near, far = self.connected()
        transport: Any = near.transport
        transport.abortConnection()
        self.net.run_for(1)
        self.assert_lost(near, ConnectionAborted)
        self.assert_lost(far, ConnectionLost)
        transport.abortConnection()
        self.net.run_for(1)

    def test_nobody_listens(self) -> None:
        """A connection to a port that is closed is refused."""
        self.port.stopListening()
        connecting = self.connect()
        self.net.run_for(1)
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_no_way(self) -> None:
        """Where there is no way the attempt takes its time."""
        self.net.partition(self.alice, self.bob)
        connecting = self.connect(timeout=5)
        self.net.run_for(4.9)
        self.assertNoResult(connecting)
        self.net.run_for(0.2)
        self.failureResultOf(connecting, TimeoutError)

    def test_cancel(self) -> None:
        """An attempt can be given up."""
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting)
        self.net.run_for(1)
        self.assertEqual(self.served, [])
        failed: list[Failure] = []
        factory = ClientFactory()
        factory.clientConnectionFailed = lambda connector, reason: failed.append(reason)  # type: ignore[method-assign]
        self.alice.connectTCP("192.0.2.1", 5060, factory).stopConnecting()
        self.assertIsInstance(failed[0].value, UserError)

    def test_parted(self) -> None:
        """After a short time apart the rest arrives; after a long one both ends know."""
        near, far = self.connected()
        assert near.transport is not None
        self.net.partition(self.alice, self.bob)
        near.transport.write(b"hello")
        self.net.run_for(10)
        self.assertEqual(far.heard, [])
        self.net.heal()
        self.net.run_for(2)
        self.assertEqual(far.heard, [b"hello"])
        self.net.partition(self.alice, self.bob)
        near.transport.write(b"again")
        self.net.run_for(70)
        self.assert_lost(near, TimeoutError)
        self.assert_lost(far, TimeoutError)
        self.assertEqual(self.net.open_ports(), ["tcp 0.0.0.0:5060 of bob"])

    def test_slow_reader(self) -> None:
        """A producer pauses when the other end does not read, and goes on when it does."""
        near, far = self.connected()
        out: Any = near.transport
        into: Any = far.transport
        producer = Producer()
        out.registerProducer(producer, True)
        into.pauseProducing()
        out.write(b"x" * 70_000)
        self.net.run_for(5)
        self.assertEqual((producer.calls, far.heard), (["pause"], []))
        into.resumeProducing()
        self.net.run_for(1)
        self.assertEqual(producer.calls, ["pause", "resume"])
        out.unregisterProducer()
        out.registerProducer(producer, True)
        into.loseConnection()
        self.net.run_for(1)
        self.assertEqual(producer.calls[-1], "stop")
        late = Producer()
        out.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])

    def test_refused_by_the_factory(self) -> None:
        """A factory that wants no connection ends it at once."""
        self.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        connecting = self.connect()
        self.net.run_for(1)
        self.assert_lost(self.successResultOf(connecting), ConnectionDone)

    def test_ports(self) -> None:
        """A port is taken once per address and family; 0 takes a free one."""
        with self.assertRaises(CannotListenError):
            self.bob.listenTCP(5060, self.factory, interface="192.0.2.1")
        with self.assertRaises(CannotListenError):
            self.bob.listenTCP(5061, self.factory, interface="192.0.2.77")
        six = self.bob.listenTCP(5060, self.factory, interface="::")
        free = self.bob.listenTCP(0, self.factory)
        self.assertGreater(free.getHost().port, 49_151)
        endpoint = TCP6ClientEndpoint(self.alice, "2001:db8::1", 5060)
        connecting = endpoint.connect(Factory.forProtocol(Recorder))
        self.net.run_for(1)
        near = self.successResultOf(connecting)
        near.transport.stopProducing()
        self.net.run_for(1)
        for port in (six, free, self.port):
            self.successResultOf(port.stopListening())
        self.successResultOf(self.port.stopListening())
        self.net.assert_closed()

    def test_what_is_open(self) -> None:
        """A connection that stands is named by ``assert_closed``."""
        near, _ = self.connected()
        self.successResultOf(self.port.stopListening())
        with self.assertRaisesRegex(
            AssertionError, r"tcp 192.0.2.1:5060 with 192.0.2.2:\d+ of bob"
        ):
            self.net.assert_closed()
        near.transport.loseConnection()  # type: ignore[union-attr]
        self.net.run_for(1)
        self.net.assert_closed()
