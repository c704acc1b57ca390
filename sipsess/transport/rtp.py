# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Sockets for RTP, from a pool of even ports.

Theory of operation
    :class:`RTPPorts` goes round its range, so that a port that was just given back is used again as
    late as possible: packets of the last call may still be on their way. A port is free again when
    its socket is closed, not when that was asked for. The odd port beside it is opened for RTCP
    when a call needs it, and given back together with it.
    A reactor that reads sockets gets them as they are (:mod:`sipsess.transport.datagram`); another
    one, such as a virtual host, is asked by ``listenUDP``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from sipsess.errors import LocalError, NoPortsError
from sipsess.flow import Address
from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media.rtp import is_rtcp
from sipsess.transport.address import ip_version, normal_host
from sipsess.transport.datagram import MAX_DATAGRAM, DatagramReader, MakeSocket, make_udp_socket

#: Seconds between two lines in the log that say that ports have run out.
REPORT_INTERVAL = 60.0

#: Errors of a bind that say nothing about the other ports.
_TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})
#: Errors that mean that too many files are open.
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})

#: Called with a datagram, its source and the time.
Receive = Callable[[bytes, Address, float], None]

_log = Logger()


class Owner(Protocol):
    """Who has opened a port."""

    def port_closed(self, port: RTPPort) -> None:
        """Learn that its socket is closed, and that of RTCP too."""

    def open_beside(self, port: RTPPort) -> RTPPort | None:
        """Open the next port for RTCP, or return ``None`` when it cannot be had."""


@implementer(IMediaPort)
class RTPPort(DatagramProtocol):
    """
    One open port; :meth:`RTPPorts.open` makes it.

    :param host: the address it is bound to.
    :param port: its number.
    :param receive: gets what comes.
    :param seconds: the clock.
    :param owner: who opens it, and gets it back.
    """

    noisy = False

    def __init__(
        self,
        host: str,
        port: int,
        receive: Receive,
        seconds: Callable[[], float],
        owner: Owner,
    ) -> None:
        self.host = host
        self.port = port
        #: Datagrams that came, and that were sent.
        self.received = 0
        self.sent = 0
        #: Datagrams that could not be sent, whatever the reason.
        self.send_errors = 0
        #: Those of them that met a full socket buffer.
        self.full = 0
        #: ICMP errors: nobody listens at the peer's port.
        self.refused = 0
        #: Datagrams that made ``receive`` raise, which is a bug of this side; the first is
        #: logged.
        self.failures = 0
        self.is_closed = False
        self._receive = receive
        self._seconds = seconds
        self._checked: Address | None = None
        self._sendto: Callable[[bytes, Address], object] = _send_nowhere
        self._owner = owner
        self._rtcp: RTPPort | None = None
        #: Sockets that are not closed.
        self._sockets = 1
        self._reader: DatagramReader | None = None

    def __repr__(self) -> str:
        return f"<RTPPort {self.host} {self.port}>"

    # -- what the reactor calls

    def attach(self, reader: DatagramReader) -> None:
        """Use a socket of our own instead of a Twisted transport."""
        self._reader = reader
        self._sendto = reader.send

    def startProtocol(self) -> None:
        """Learn how to send: straight to the socket where there is one."""
        transport: Any = self.transport
        get_handle = getattr(transport, "getHandle", None)
        self._sendto = transport.write if get_handle is None else get_handle().sendto

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Give one datagram to the stream; never raises."""
        if self.is_closed:
            return
        self.received += 1
        try:
            self._receive(datagram, addr[:2], self._seconds())
        except Exception:
            self.failures += 1
            if self.failures == 1:
                _log.failure("{port} could not handle a datagram (reported once)", port=self)

    def connectionRefused(self) -> None:
        """Count it: the peer hung up before we did, or its media is not ready yet."""
        self.refused += 1

    # -- what the stream's owner calls

    def send(self, data: bytes, address: Address) -> None:
        """
        Send one datagram; never raises and never resolves a name: what cannot be sent is counted.

        :param data: the packet.
        :param address: an IP address and port.
        """
        try:
            if address != self._checked:
                self._check(address)
            self._sendto(data, address)
        except Exception as error:
            self._count(error)
        else:
            self.sent += 1

    def open_rtcp(self) -> bool:
        """See :meth:`.IMediaPort.open_rtcp`."""
        if self._rtcp is None and not self.is_closed:
            self._rtcp = self._owner.open_beside(self)
            self._sockets += self._rtcp is not None
        return self._rtcp is not None

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """See :meth:`.IMediaPort.send_rtcp`."""
        (self._rtcp or self).send(data, address)

    def receive_rtcp(self, data: bytes, source: Address, now: float) -> None:
        """Take what came to the port for RTCP; audio has no business there."""
        if is_rtcp(data):
            self._receive(data, source, now)

    def close(self) -> None:
        """Close the port and give it back to the pool. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._rtcp is not None:
            self._rtcp.close()
        self._sendto = _send_nowhere
        self._receive = _receive_nothing
        if self._reader is not None:
            self._reader.close()
            self.port_closed(self)
            return
        transport: Any = self.transport
        closing: Deferred[Any] = transport.stopListening() or succeed(None)
        closing.addBoth(lambda _: self.port_closed(self))

    def port_closed(self, port: RTPPort) -> None:
        """See :class:`Owner`: the last socket of ours that is closed gives the port back."""
        self._sockets -= 1
        if not self._sockets:
            self._owner.port_closed(self)

    def open_beside(self, port: RTPPort) -> RTPPort | None:
        """See :class:`Owner`: RTCP has no RTCP."""
        return None

    def _check(self, address: Address) -> None:
        """Refuse what would make the socket look up a name, which blocks."""
        if ip_version(normal_host(address[0])) != ip_version(self.host):
            raise OSError(errno.EAFNOSUPPORT, "the other IP version")
        self._checked = address

    def _count(self, error: Exception) -> None:
        self.send_errors += 1
        number = getattr(error, "errno", None)
        if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
            self.full += 1
        elif number == errno.ECONNREFUSED:
            self.refused += 1


def _send_nowhere(data: bytes, address: Address) -> None:
    """Stand for a port that is not open."""
    raise OSError(errno.EBADF, "the port is closed")


def _receive_nothing(data: bytes, source: Address, now: float) -> None:
    """Stand for a stream that is over."""


@implementer(IMediaPorts)
class RTPPorts:
    """
    The pool of RTP ports.

    :param reactor: provides ``IReactorFDSet`` or, if not, ``IReactorUDP``.
    :param low: the first port of the range.
    :param high: the last one; RTP has even numbers, RTCP odd ones (:rfc:`3550#section-11`).
    :param seconds: the clock of the core, for the time of each datagram; else the reactor's.
    :param random: where to begin; a predictable port is easier to guess for who wants to speak
        into a call. Without it the first port is the lowest.
    :param make_socket: makes a bound socket, where the reactor reads sockets.
    :raises LocalError: if there is no even port in the range.
    """

    def __init__(
        self,
        reactor: Any,
        low: int,
        high: int,
        seconds: Callable[[], float] | None = None,
        *,
        random: Random | None = None,
        make_socket: MakeSocket = make_udp_socket,
    ) -> None:
        if not 0 < low <= high < 65536 or low + (low & 1) > high:
            raise LocalError(f"{low}-{high} is no range with an even port between 1 and 65535")
        self._reactor = reactor
        self._seconds: Callable[[], float] = seconds or reactor.seconds
        self._ports = range(low + (low & 1), high + 1, 2)
        self._high = high
        self._next = random.randrange(len(self._ports)) if random is not None else 0
        self._in_use: dict[int, RTPPort] = {}
        self._make_socket = make_socket
        self._reads_sockets = IReactorFDSet.providedBy(reactor)
        self._report_after = float("-inf")

    def __len__(self) -> int:
        """How many ports are in use, those included whose socket is just being closed."""
        return len(self._in_use)

    @property
    def capacity(self) -> int:
        """How many ports there are in all."""
        return len(self._ports)

    def open(self, host: str, receive: Receive) -> RTPPort:
        """
        Open a port.

        :param host: the local IP address to bind to.
        :param receive: called with each datagram, its source and the time.
        :return: the open port; who asked for it closes it.
        :raises NoPortsError: if no port of the range is free on this address; the log says why, and
            what to do.
        """
        count = len(self._ports)
        for _ in range(count):
            number = self._ports[self._next]
            self._next = (self._next + 1) % count
            if number in self._in_use:
                continue
            port = RTPPort(host, number, receive, self._seconds, self)
            try:
                self._bind(port)
            except (CannotListenError, OSError) as error:
                self._judge(host, error)
                continue
            self._in_use[number] = port
            return port
        self._report(host, f"{len(self)} of {count} are in use by calls; widen --rtp-ports")
        raise NoPortsError(f"no RTP port is free on {host}")

    def open_beside(self, port: RTPPort) -> RTPPort | None:
        """See :class:`Owner`: open it if it is in the range and nobody has it."""
        number = port.port + 1
        if number > self._high:
            return None
        rtcp = RTPPort(port.host, number, port.receive_rtcp, self._seconds, port)
        try:
            self._bind(rtcp)
        except (CannotListenError, OSError):
            return None
        return rtcp

    def _bind(self, port: RTPPort) -> None:
        if self._reads_sockets:
            skt = self._make_socket(port.host, port.port)
            port.attach(DatagramReader(self._reactor, skt, port))
        else:
            self._reactor.listenUDP(
                port.port, port, interface=port.host, maxPacketSize=MAX_DATAGRAM
            )

    def close(self) -> None:
        """Close all ports."""
        for port in tuple(self._in_use.values()):
            port.close()

    def leftovers(self) -> list[str]:
        """Name what is still open, for tests."""
        return [repr(port) for port in self._in_use.values()]

    def _judge(self, host: str, error: CannotListenError | OSError) -> None:
        """Let another program's port be skipped; whatever else is wrong is wrong with each port."""
        cause = error.socketError if isinstance(error, CannotListenError) else error
        number = getattr(cause, "errno", errno.EADDRINUSE)
        if number in _TAKEN:
            return
        why = getattr(cause, "strerror", None) or str(cause)
        if number in _NO_FILES:
            why = "too many files are open; raise the open-file limit (LimitNOFILE=, ulimit -Hn)"
        self._report(host, why)
        raise NoPortsError(f"no RTP port can be opened on {host}") from error

    def _report(self, host: str, why: str) -> None:
        """Say in the log, but not too often, why calls are refused."""
        now = self._seconds()
        if now >= self._report_after:
            self._report_after = now + REPORT_INTERVAL
            _log.warn(
                "no RTP port for a call on {host}: {why} (at most one such line a minute)",
                host=host,
                why=why,
            )

    def port_closed(self, port: RTPPort) -> None:
        """See :class:`Owner`: it may be given out again."""
        self._in_use.pop(port.port, None)
