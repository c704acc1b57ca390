# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The sockets through which media engines are asked: one for each of them, connected to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from sipsess.core import SIPCore
from sipsess.engine.bencode import MAX_BYTES
from sipsess.engine.node import COOKIE_LENGTH, Node
from sipsess.engine.rtpengine import RTPEngine
from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.transport.address import ip_version


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

    :param address: of the engine.
    """

    noisy = False

    def __init__(self, address: Address) -> None:
        self._address = address
        #: Gets what comes.
        self.node: Node | None = None

    def startProtocol(self) -> None:
        """Connect it."""
        transport: Any = self.transport
        transport.connect(*self._address)

    def send(self, data: bytes) -> None:
        """
        Send a datagram.

        :raises OSError: when that cannot be.
        """
        transport: Any = self.transport
        transport.write(data)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Give it to the node."""
        if self.node is not None:
            self.node.receive(datagram)

    def connectionRefused(self) -> None:
        """Tell the node."""
        if self.node is not None:
            self.node.refused()


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
        self._counters = core.counters
        self._ids = core.ids
        self._nodes: list[Node] = []
        self._ports: list[Any] = []

    def open(self) -> RTPEngine:
        """
        Open them, and begin to ask whether the engines are there.

        :raises LocalError: when one cannot be opened; none stays open then.
        """
        for address in self._spec.addresses:
            try:
                self._nodes.append(self._open(address))
            except (CannotListenError, OSError) as error:
                self.close()
                raise LocalError(f"no way to the media engine at {address[0]}: {error}") from error
        for node in self._nodes:
            node.start()
        spec = self._spec
        return RTPEngine(
            self._nodes, self._counters, records=spec.records, transcode=spec.transcode
        )

    def _open(self, address: Address) -> Node:
        socket = EngineSocket(address)
        wildcard = "::" if ip_version(address[0]) == 6 else ""
        port = self._reactor.listenUDP(0, socket, wildcard, MAX_BYTES)
        self._ports.append(port)
        make_cookie = partial(self._ids.token, COOKIE_LENGTH)
        socket.node = Node(address, socket.send, self._reactor, make_cookie, self._counters)
        return socket.node

    def close(self) -> Deferred[None]:
        """Ask no more; fires when they are closed."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            node.stop()
        ports, self._ports = self._ports, []
        closing = gatherResults([maybeDeferred(port.stopListening) for port in ports])
        return closing.addCallback(lambda results: None)
