# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Connections between the machines of a virtual network: reliable, in order, and in virtual time.

Theory of operation
    What one end writes waits in its queue, and each piece arrives after the delay of the link, but
    never before the piece written earlier. A piece that the link loses is sent again, as TCP does,
    so it and all after it come later. While two machines are parted nothing arrives; when that
    takes :data:`GIVE_UP` seconds, both ends lose the connection. A reader that has stopped reading
    (``pauseProducing``) fills the buffer of the writer, whose producer is then told to pause.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IConsumer,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.flow import Address, format_host

if TYPE_CHECKING:
    from sipsess.testing.host import VirtualHost

#: Seconds after which a piece that could not arrive is sent again.
RETRY = 1.0
#: Seconds without an answer after which a connection is given up.
GIVE_UP = 60.0
#: Bytes that may be under way before a producer has to pause, as Twisted's transports have it.
BUFFER = 65_536


def make_address(address: Address) -> IPv4Address | IPv6Address:
    """Return Twisted's address object of a TCP address."""
    kind = IPv6Address if ":" in address[0] else IPv4Address
    return kind("TCP", *address)


@implementer(IListeningPort)
class VirtualStreamPort:
    """
    One TCP port of a virtual host; made by :meth:`VirtualHost.listenTCP`.

    :param interface: an address of the host, or a wildcard.
    """

    def __init__(
        self, host: VirtualHost, port: int, factory: IProtocolFactory, interface: str
    ) -> None:
        self.host = host
        self.factory = factory
        self.interface = interface
        self.number = port

    def __str__(self) -> str:
        return f"tcp {format_host(self.interface)}:{self.number}"

    @property
    def bound(self) -> Address:
        """The bound address, maybe a wildcard, and the number."""
        return self.interface, self.number

    def startListening(self) -> None:
        """
        Bind the port.

        :raises CannotListenError: when it is taken, or the host has no such address.
        """
        try:
            self.number = self.host.streams.bind(self.interface, self.number)
        except OSError as error:
            raise CannotListenError(self.interface, self.number, error) from error
        self.host.streams.ports[self.bound] = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Close the port; connections that stand go on."""
        if self.host.streams.ports.pop(self.bound, None) is not None:
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address to which the port is bound."""
        return make_address(self.bound)


@implementer(IConnector)
class VirtualConnector:
    """
    One attempt to connect; made by :meth:`VirtualHost.connectTCP`.

    :param remote: an IP address and a port.
    :param timeout: seconds that the attempt may take.
    """

    def __init__(
        self,
        host: VirtualHost,
        remote: Address,
        factory: Any,
        timeout: float,
        bind_address: Address | None,
    ) -> None:
        self.host = host
        self.remote = remote
        self.factory = factory
        self.timeout = timeout
        self._bind_host = bind_address[0] if bind_address else ""
        self._call: Any = None
        self._end: VirtualConnection | None = None

    def connect(self) -> None:
        """Begin to connect."""
        self.factory.doStart()
        self.factory.startedConnecting(self)
        host, network = self.host, self.host.network
        self._local = self._bind_host or host.source_address(self.remote[0])
        target = host if host.is_loopback(self.remote[0]) else network.find_host(self.remote[0])
        link = network.find_link(host, target) if target is not None else None
        if target is None or link is None:
            self._call = network.callLater(self.timeout, self._fail, TimeoutError())
        else:
            self._call = network.callLater(2 * link.delay, self._arrive, target)

    def _arrive(self, target: VirtualHost) -> None:
        port = target.streams.find(self.remote)
        if port is None:
            self._fail(ConnectionRefusedError())
            return
        self._call = None
        local = (self._local, self.host.streams.free_port())
        far = VirtualConnection(target, self.remote, local, None)
        near = self._end = VirtualConnection(self.host, local, self.remote, self)
        far.other, near.other = near, far
        served = port.factory.buildProtocol(make_address(local))
        far.attach(served)
        near.attach(self.factory.buildProtocol(make_address(self.remote)))
        if served is None:
            far.loseConnection()

    def _fail(self, reason: Exception) -> None:
        self._call = None
        self.factory.clientConnectionFailed(self, Failure(reason))
        self.factory.doStop()

    def lost(self, reason: Failure) -> None:
        """Tell the factory that the connection is over."""
        self.factory.clientConnectionLost(self, reason)
        self.factory.doStop()

    def stopConnecting(self) -> None:
        """Give the attempt up."""
        if self._call is not None:
            self._call.cancel()
            self._fail(UserError())

    def disconnect(self) -> None:
        """Close the connection, or give the attempt up."""
        if self._end is not None:
            self._end.loseConnection()
        self.stopConnecting()

    def getDestination(self) -> IPv4Address | IPv6Address:
        """Return where it connects to."""
        return make_address(self.remote)


@implementer(ITCPTransport, IPushProducer, IConsumer)
class VirtualConnection:
    """
    One end of a connection, as its protocol sees it.

    :param connector: of the end that connected.
    """

    def __init__(
        self, host: VirtualHost, local: Address, remote: Address, connector: VirtualConnector | None
    ) -> None:
        self.host = host
        self.local = local
        self.remote = remote
        self.other: VirtualConnection
        self.protocol: IProtocol | None = None
        self.is_lost = False
        self.disconnecting = False
        self._connector = connector
        #: What waits to leave; ``None`` is the end of all.
        self._queue: deque[bytes | None] = deque()
        self._stuck_since: float | None = None
        self._call: Any = None
        self._last_arrival = 0.0
        self._in_flight = 0
        #: What has come and is not read, because reading is paused.
        self._unread: deque[bytes | None] = deque()
        self._is_reading = True
        self._producer: Any = None
        self._is_producer_paused = False

    def __str__(self) -> str:
        (host, port), (far, number) = self.local, self.remote
        return f"tcp {format_host(host)}:{port} with {format_host(far)}:{number}"

    def attach(self, protocol: IProtocol | None) -> None:
        """Begin; without a protocol nobody hears what comes."""
        self.protocol = protocol
        self.host.streams.connections[self] = None
        if protocol is not None:
            protocol.makeConnection(self)

    # -- ITransport

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if data and not self.is_lost and not self.disconnecting:
            self._in_flight += len(data)
            self.host.network.record_stream(self.local, self.remote, bytes(data))
            self._queue.append(bytes(data))
            self._pump()
            self._check_buffer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close the connection when all has left."""
        if not self.is_lost and not self.disconnecting:
            self.disconnecting = True
            self._queue.append(None)
            self._pump()

    def abortConnection(self) -> None:
        """Close the connection at once; what is under way is lost."""
        if not self.is_lost:
            self._queue.clear()
            self.disconnecting = True
            network = self.host.network
            network.callLater(0, self._lose, ConnectionAborted())
            network.callLater(self.host.network.link.delay, self.other._lose, ConnectionLost())

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return our address."""
        return make_address(self.local)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """Return the other end's address."""
        return make_address(self.remote)

    def loseWriteConnection(self) -> None:
        """Close one half; here, as for most peers, both."""
        self.loseConnection()

    def getTcpNoDelay(self) -> bool:
        """Say that small pieces leave at once."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Change nothing: small pieces always leave at once."""

    def getTcpKeepAlive(self) -> bool:
        """Say that the network asks nothing while the ends are silent."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Change nothing."""

    # -- producers and consumers

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let a push producer be told when it writes too much."""
        self._producer = producer
        if self.is_lost:
            producer.stopProducing()
        else:
            self._check_buffer()

    def unregisterProducer(self) -> None:
        """Tell nobody any more."""
        self._producer = None
        self._is_producer_paused = False

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._is_reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        self._is_reading = True
        while self._unread and self._is_reading:
            self._read(self._unread.popleft())

    def stopProducing(self) -> None:
        """Close the connection."""
        self.loseConnection()

    def _check_buffer(self) -> None:
        producer = self._producer
        if producer is not None and self._in_flight > BUFFER:
            # At each write, as Twisted's transports do.
            self._is_producer_paused = True
            producer.pauseProducing()
        elif producer is not None and self._is_producer_paused and not self._in_flight:
            self._is_producer_paused = False
            producer.resumeProducing()

    # -- the way of the bytes

    def _pump(self) -> None:
        """Let all that waits travel, or try again later."""
        network = self.host.network
        while self._queue and self._call is None:
            link = network.find_link(self.host, self.other.host)
            now = network.seconds()
            if link is None or (link.loss and network.random.random() < link.loss):
                self._stuck_since = now if self._stuck_since is None else self._stuck_since
                if now - self._stuck_since >= GIVE_UP:
                    self._lose(TimeoutError())
                    self.other._lose(TimeoutError())
                    return
                self._call = network.callLater(RETRY, self._retry)
                return
            self._stuck_since = None
            jitter = network.random.uniform(0, link.jitter) if link.jitter else 0.0
            arrival = max(now + link.delay + jitter, self._last_arrival)
            self._last_arrival = arrival
            piece = self._queue.popleft()
            network.callLater(arrival - now, partial(self.other._arrive, piece))

    def _retry(self) -> None:
        self._call = None
        self._pump()

    def _arrive(self, piece: bytes | None) -> None:
        if self._unread or not self._is_reading:
            self._unread.append(piece)
        else:
            self._read(piece)

    def _read(self, piece: bytes | None) -> None:
        other = self.other
        if piece is None:
            self._lose(ConnectionDone())
            other._lose(ConnectionDone())
            return
        other._in_flight -= len(piece)
        if not self.is_lost and self.protocol is not None:
            self.protocol.dataReceived(piece)
        other._check_buffer()

    def _lose(self, reason: Exception) -> None:
        """End this side, once."""
        if self.is_lost:
            return
        self.is_lost = True
        self._queue.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        del self.host.streams.connections[self]
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        failure = Failure(reason)
        if self.protocol is not None:
            self.protocol.connectionLost(failure)
        if self._connector is not None:
            self._connector.lost(failure)


class HostStreams:
    """
    The TCP ports and connections of one host.

    :param host: whose they are.
    """

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        #: The open ports by bound address and number.
        self.ports: dict[Address, VirtualStreamPort] = {}
        #: The ends of connections.
        self.connections: dict[VirtualConnection, None] = {}
        self._next_port = 0

    def bind(self, interface: str, port: int) -> int:
        """
        Return the number that a port gets.

        :raises OSError: when it cannot be opened.
        """
        self._host.check_address(interface)
        taken = {number for (bound, number) in self.ports if _collide(bound, interface)}
        if port in taken:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        while not port:
            number = self.free_port()
            port = 0 if number in taken else number
        return port

    def find(self, target: Address) -> VirtualStreamPort | None:
        """Return the port that takes a connection: that of the very address before a wildcard."""
        host, number = target
        wildcard = "::" if ":" in host else "0.0.0.0"
        return self.ports.get((host, number)) or self.ports.get((wildcard, number))

    def free_port(self) -> int:
        """Return the next port of the dynamic range (as IANA has it), going round."""
        self._next_port = (self._next_port + 1) % 16_384
        return 49_152 + self._next_port


def _collide(a: str, b: str) -> bool:
    """Say whether two bound addresses exclude each other on one port."""
    if (":" in a) != (":" in b):
        return False
    return a == b or a in ("0.0.0.0", "::") or b in ("0.0.0.0", "::")
