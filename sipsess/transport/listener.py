# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What listens: the common face of all listeners, and the listener of connections.

One port of the reactor is one listener; a wildcard that means both families is two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory

from sipsess.flow import Address, Advertised, Flow
from sipsess.transport.address import (
    SourceAddress,
    escape,
    ip_version,
    is_cut_off,
    is_loopback,
    loopback,
    normal_host,
)
from sipsess.transport.stream import Connection, StreamConnection

if TYPE_CHECKING:
    from sipsess.transport.connections import Connections
    from sipsess.transport.tls import Credentials

#: The addresses that mean every address, and what stands for the world when the default route of a
#: family is asked for (addresses for documentation, which no one has).
WILDCARDS = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}


class Listener(Protocol):
    """What the server knows of each of its listeners."""

    #: Its name in flows.
    name: str
    #: As in flows: ``"UDP"``, ``"TCP"``...
    kind: str
    #: Our host and port; the host may be a wildcard.
    address: Address
    #: The host that peers shall see instead.
    advertised: Advertised | None

    def flow_to(self, remote: Address) -> Flow:
        """Return the flow from this listener to an address."""

    def stop(self) -> Deferred[None]:
        """Close the port."""


def listener_name(kind: str, address: Address) -> str:
    r"""Return a name that no other open port has: ``udp6:5060``, ``tcp:5060:interface=...``."""
    host, port = address
    kind = kind.lower()
    if host in WILDCARDS:
        return f"{kind}6:{port}" if ip_version(host) == 6 else f"{kind}:{port}"
    return f"{kind}:{port}:interface={escape(host)}"


def choose_listener(
    listeners: Iterable[Listener], kind: str, address: Address, source_address: SourceAddress
) -> Listener | None:
    """
    Return the listener that serves a transport and a remote address, or ``None``.

    The one on the very address that the peer sees comes first, then a wildcard one, then one that
    is not on loopback. There is none where this host knows no way, as with a peer's IPv6 address
    on a host that has IPv4 only.
    """
    try:
        source = source_address(address[0])
    except OSError:
        return None
    if is_cut_off(source, address[0]):
        return None
    best: Listener | None = None
    for listener in listeners:
        host = listener.address[0]
        if listener.kind != kind or ip_version(host) != ip_version(address[0]):
            continue
        if host == source:
            return listener
        if host in WILDCARDS or (best is None and not is_loopback(host)):
            best = listener
    return best


class Doorkeeper(Factory):
    """
    Lets a host connect, or not, before anything is spent on it.

    :param listener: whose port it is.
    :param inner: makes the protocol of a connection that is let in.
    """

    noisy = False

    def __init__(self, listener: StreamListener, inner: Any) -> None:
        self._listener = listener
        self._inner = inner

    def doStart(self) -> None:
        """Pass it on."""
        self._inner.doStart()

    def doStop(self) -> None:
        """Pass it on."""
        self._inner.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a protocol, or ``None`` to close the connection at once."""
        peer: Any = addr
        listener = self._listener
        if not listener.connections.admits(normal_host(peer.host), listener):
            return None
        return self._inner.buildProtocol(addr)


class StreamListener(Factory):
    """
    SIP on one port that takes connections.

    :param connections: the table that they belong to.
    :param kind: ``"TCP"``, ``"TLS"``, ``"WS"`` or ``"WSS"``.
    :param source_address: says what our address is towards a peer, for a wildcard.
    :param advertised: what peers shall see instead of the local address.
    :param credentials: of TLS, when it is below.
    :param make: makes what handles one connection.
    """

    noisy = False

    def __init__(
        self,
        connections: Connections,
        kind: str,
        source_address: SourceAddress,
        advertised: Advertised | None = None,
        credentials: Credentials | None = None,
        make: Callable[..., Connection] = StreamConnection,
    ) -> None:
        self.connections = connections
        self._make = make
        #: What TLS shows, where it is below.
        self.credentials = credentials
        self.kind = kind
        self.advertised = advertised
        self.name = ""
        self.address: Address = ("", 0)
        self._source_address = source_address
        self._port: IListeningPort | None = None

    def __repr__(self) -> str:
        return f"<StreamListener {self.name}>"

    @property
    def is_wildcard(self) -> bool:
        """Whether it listens on every address of its family."""
        return self.address[0] in WILDCARDS

    def listen(self, open_port: Callable[[Any], IListeningPort]) -> None:
        """
        Begin to listen.

        :param open_port: opens a port of the reactor for a factory.
        """
        inner: Any = self
        if self.credentials is not None:
            inner = self.credentials.serve(self, self.connections.reactor)
        self._port = port = open_port(Doorkeeper(self, inner))
        host: Any = port.getHost()
        self.address = (normal_host(host.host), host.port)
        self.name = listener_name(self.kind, self.address)

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """Return what handles one connection."""
        return self._make(
            self.connections,
            self.kind,
            self.connections.next_serial(),
            listener=self.name,
            advertised=self.advertised,
            credentials=self.credentials,
        )

    def flow_to(self, remote: Address, name: str = "") -> Flow:
        """
        Return the flow to an address, over a connection that opens when something is sent.

        :param remote: an IP address and a port.
        :param name: whom a secure far end must prove to be.
        """
        host = normal_host(remote[0])
        local = self.address[0]
        if self.is_wildcard:
            try:
                local = self._source_address(host)
            except OSError:
                local = loopback(ip_version(host))
        return Flow(
            self.kind,
            (local, self.address[1]),
            (host, remote[1]),
            self.name,
            self.advertised,
            is_reliable=True,
            name=name if self.kind in ("TLS", "WSS") else "",
        )

    def stop(self) -> Deferred[None]:
        """Close the port; the connections are the table's to close."""
        port, self._port = self._port, None
        closing = None if port is None else port.stopListening()
        return closing or succeed(None)
