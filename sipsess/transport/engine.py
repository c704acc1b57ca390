# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The sockets through which media engines are asked: one for each of them, connected to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol

from sipsess.core import SIPCore
from sipsess.engine.bencode import MAX_BYTES
from sipsess.engine.node import COOKIE_LENGTH, Node
from sipsess.engine.rtpengine import RTPEngine
from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.transport.address import ip_version
from sipsess.transport.datagram import DatagramReader, make_udp_socket


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which media engines a server has."""

    #: Where the ng socket of each rtpengine is: IP addresses.
    addresses: tuple[Address, ...]
    #: Whether all calls are recorded.
    records: bool = False
    #: Encodings that each offer has besides its own.
    transcode: tuple[str, ...] = ()


class EngineSocket(DatagramProtocol):
    """
    A socket that is connected to one engine, so that the system says when nobody is there.

    A reactor may close such a socket then; it is opened again when there is something to send. One
    that reads sockets gets it as it is (:mod:`sipsess.transport.datagram`), and logs nothing.

    :param address: of the engine.
    :param reactor: opens it.
    :param core: whose counters and identifiers are used.
    """

    noisy = False

    def __init__(self, address: Address, reactor: Any, core: SIPCore) -> None:
        self._address = address
        self._reactor = reactor
        self._port: Any = None
        self._reader: DatagramReader | None = None
        self._is_closed = False
        make_cookie = partial(core.ids.token, COOKIE_LENGTH)
        #: Asks, and gets what comes.
        self.node = Node(address, self.send, reactor, make_cookie, core.counters)

    def open(self) -> None:
        """
        Open it.

        :raises CannotListenError: when that cannot be.
        """
        wildcard = "::" if ip_version(self._address[0]) == 6 else ""
        if IReactorFDSet.providedBy(self._reactor):
            try:
                skt = _connect(wildcard, self._address)
            except OSError as error:
                raise CannotListenError(wildcard, 0, error) from error
            self._reader = DatagramReader(self._reactor, skt, self)
        else:
            self._port = self._reactor.listenUDP(0, self, wildcard, MAX_BYTES)

    def close(self) -> Deferred[Any]:
        """Close it; fires when that is done."""
        self._is_closed = True
        return maybeDeferred(
            self._port.stopListening if self._reader is None else self._reader.close
        )

    def startProtocol(self) -> None:
        """Connect it."""
        transport: Any = self.transport
        transport.connect(*self._address)

    def send(self, data: bytes) -> None:
        """
        Send a datagram.

        :raises OSError: when that cannot be.
        """
        if self.transport is None and (self._reader is None or self._reader.is_closed):
            try:
                self.open()
            except CannotListenError as error:
                raise OSError(str(error)) from error
        if self._reader is not None:
            self._reader.send(data, self._address)
        else:
            transport: Any = self.transport
            transport.write(data)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Give it to the node."""
        self.node.receive(datagram)

    def connectionRefused(self) -> None:
        """Tell the node, unless it is we who have closed the socket."""
        if not self._is_closed:
            self.node.refused()

    def stopProtocol(self) -> None:
        """The reactor has closed the socket."""
        self.connectionRefused()


def _connect(wildcard: str, address: Address) -> socket.socket:
    """
    Return a socket that speaks to one address.

    :raises OSError: when there is no way to it.
    """
    skt = make_udp_socket(wildcard, 0)
    try:
        skt.connect(address)
    except OSError:
        skt.close()
        raise
    return skt


class EngineSockets:
    """
    The sockets of a server's engines.

    :param spec: which engines.
    :param reactor: provides ``IReactorUDP`` and ``IReactorTime``.
    :param core: whose counters and identifiers they use.
    """

    def __init__(self, spec: EngineSpec, reactor: Any, core: SIPCore) -> None:
        self._spec = spec
        self._reactor = reactor
        self._core = core
        self._sockets: list[EngineSocket] = []

    def open(self) -> RTPEngine:
        """
        Open them, and begin to ask whether the engines are there.

        :raises LocalError: when one cannot be opened; none stays open then.
        """
        for address in self._spec.addresses:
            one = EngineSocket(address, self._reactor, self._core)
            try:
                one.open()
            except CannotListenError as error:
                self.close()
                raise LocalError(f"no way to the media engine at {address[0]}: {error}") from error
            self._sockets.append(one)
        nodes = [one.node for one in self._sockets]
        for node in nodes:
            node.start()
        spec = self._spec
        counters = self._core.counters
        return RTPEngine(nodes, counters, records=spec.records, transcode=spec.transcode)

    def close(self) -> Deferred[None]:
        """Ask no more; fires when they are closed."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            one.node.stop()
        closing = gatherResults([one.close() for one in sockets])
        return closing.addCallback(lambda results: None)
