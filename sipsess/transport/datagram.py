# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A UDP socket that is read by the reactor and says nothing in the log.

``reactor.listenUDP`` logs two lines for each port, which is right for a server's few ports and
wrong for the port of each media stream; and each datagram passes checks that media needs no more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.flow import Address

#: The longest datagram that there is.
MAX_DATAGRAM = 65535
#: Datagrams read per wake-up; then the others have their turn.
MAX_BATCH = 64


class Receiver(Protocol):
    """Who gets the datagrams: the callbacks of a ``DatagramProtocol``."""

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Take one datagram; must not raise."""

    def connectionRefused(self) -> None:
        """
        Learn that the peer's host says that nobody listens there.

        A connected socket may be closed then: the reactor decides.
        """


def make_udp_socket(host: str, port: int) -> socket.socket:
    """
    Return a bound, non-blocking UDP socket.

    :param host: an IP address; an IPv6 socket takes IPv6 only.
    :raises OSError: when it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    skt = socket.socket(family, socket.SOCK_DGRAM)
    try:
        skt.setblocking(False)
        if family == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        skt.bind((host, port))
    except BaseException:
        skt.close()
        raise
    return skt


@implementer(IReadDescriptor)
class DatagramReader:
    """
    Gives what a socket receives to a receiver.

    :param reactor: reads it.
    :param skt: bound and non-blocking; closed by :meth:`close`.
    :param receiver: gets the datagrams.
    """

    __slots__ = ("_reactor", "_receiver", "_socket")

    def __init__(self, reactor: IReactorFDSet, skt: socket.socket, receiver: Receiver) -> None:
        self._reactor = reactor
        self._socket: socket.socket | None = skt
        self._receiver = receiver
        reactor.addReader(self)

    @property
    def is_closed(self) -> bool:
        """Whether there is a socket no more."""
        return self._socket is None

    def fileno(self) -> int:
        """See ``IFileDescriptor``; -1 once closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """See ``ILoggingContext``."""
        return type(self._receiver).__name__

    def doRead(self) -> None:
        """Read what is there, up to :data:`MAX_BATCH` datagrams."""
        for _ in range(MAX_BATCH):
            if self._socket is None:
                return
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMP error of an earlier datagram; on a UDP socket reading goes on after it.
                self._receiver.connectionRefused()
                return
            self._receiver.datagramReceived(data, address[:2])

    def connectionLost(self, reason: Failure) -> None:
        """See ``IFileDescriptor``: the reactor gives it up, as epoll does with an ICMP error."""
        self.close()
        self._receiver.connectionRefused()

    def send(self, data: bytes, address: Address) -> Any:
        """
        Send one datagram at once.

        :raises OSError: when it cannot be sent.
        """
        if self._socket is None:
            raise OSError("the socket is closed")
        return self._socket.sendto(data, address)

    def close(self) -> None:
        """Close the socket; harmless when done twice."""
        skt, self._socket = self._socket, None
        if skt is not None:
            self._reactor.removeReader(self)
            skt.close()


#: Makes a bound socket; replaced in tests.
MakeSocket = Callable[[str, int], socket.socket]
