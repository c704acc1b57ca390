# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The machines of a virtual network, and their UDP ports; TCP is in ``streams``."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from sipsess.flow import Address, format_host
from sipsess.testing.streams import HostStreams, VirtualConnector, VirtualStreamPort

if TYPE_CHECKING:
    from sipsess.testing.network import VirtualNetwork

#: The largest payload of a UDP datagram: 65535 less the IP and UDP headers of the family.
MAX_PAYLOAD_4 = 65507
MAX_PAYLOAD_6 = 65527

#: The first port that ``listenUDP(0, ...)`` gives out, as the IANA's dynamic range begins.
FIRST_FREE_PORT = 49152

_WILDCARDS = {4: "0.0.0.0", 6: "::"}


@lru_cache(maxsize=4096)
def normal_host(host: str) -> str:
    """
    Return an IP address in its one normal form.

    :raises InvalidAddressError: when it is a name.
    """
    try:
        return str(ip_address(host))
    except ValueError:
        raise InvalidAddressError(host, "not an IPv4 or IPv6 address") from None


def _family(host: str) -> int:
    return 6 if ":" in host else 4


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@implementer(IReactorTime, IReactorUDP, IReactorTCP)
class VirtualHost:
    """
    One machine; made by :meth:`VirtualNetwork.host`.

    It is a reactor to what runs on it: time is the network's, ports are its own.
    """

    def __init__(
        self, network: VirtualNetwork, addresses: Sequence[str], name: str | None = None
    ) -> None:
        if not addresses:
            raise ValueError("a host needs an address, such as net.host('192.0.2.1')")
        self.network = network
        #: The addresses in normal form, in the order given.
        self.addresses = tuple(str(ip_address(address)) for address in addresses)
        self.name = name or self.addresses[0]
        #: The open ports by bound address and number.
        self.ports: dict[Address, VirtualPort] = {}
        #: The TCP ports and connections.
        self.streams = HostStreams(self)
        self._sources: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<VirtualHost {self.name}>"

    # -- IReactorTime

    def seconds(self) -> float:
        """Return the network's time."""
        return self.network.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """Call something after ``delay`` seconds of virtual time."""
        return self.network.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Return the delayed calls of the whole network."""
        return self.network.getDelayedCalls()

    # -- addresses

    def is_loopback(self, address: str) -> bool:
        """Say whether an address never leaves the machine."""
        return address.startswith("127.") or normal_host(address) == "::1"

    def has_family(self, family: int) -> bool:
        """Say whether the host has an address of IP version 4 or 6."""
        return any(_family(address) == family for address in self.addresses)

    def source_address(self, remote: str) -> str:
        """
        Return the address that the host uses towards a remote one.

        :param remote: an IP address.
        :return: the address in the same /24 (IPv4) or /64 (IPv6), else the first of that family.
        :raises OSError: ``ENETUNREACH`` when the host has no address of that family.
        """
        source = self._sources.get(remote)
        if source is None:
            source = self._sources[remote] = self._choose_source(normal_host(remote))
        return source

    def _choose_source(self, remote: str) -> str:
        family = _family(remote)
        if not self.has_family(family):
            raise _os_error(errno.ENETUNREACH)
        if self.is_loopback(remote):
            return "::1" if family == 6 else "127.0.0.1"
        if remote in self.addresses:
            return remote
        own = [address for address in self.addresses if _family(address) == family]
        near = ip_network((remote, 64 if family == 6 else 24), strict=False)
        return next((address for address in own if ip_address(address) in near), own[0])

    # -- IReactorUDP

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> VirtualPort:
        """
        Open a UDP port.

        :param port: its number; 0 takes a free one.
        :param interface: ``""`` is every IPv4 address, ``"::"`` every IPv6 address and only those,
            or one address of this host.
        :param maxPacketSize: longer datagrams are cut, as the kernel does.
        :raises CannotListenError: when the port is taken, or the host has no such address.
        """
        listening = VirtualPort(self, port, protocol, interface, maxPacketSize)
        listening.startListening()
        return listening

    def find_port(self, target: Address, source: Address) -> VirtualPort | None:
        """Return the port that gets a datagram: one bound to the very address before a wildcard."""
        host = normal_host(target[0])
        number = target[1]
        port = self.ports.get((host, number)) or self.ports.get((_WILDCARDS[_family(host)], number))
        return port if port is not None and port.accepts(source) else None

    def check_bind(self, interface: str, port: int) -> None:
        """
        Say whether a port can be opened.

        :raises OSError: ``EAFNOSUPPORT``, ``EADDRNOTAVAIL`` or ``EADDRINUSE``.
        """
        self.check_address(interface)
        if any(other.collides(interface, port) for other in self.ports.values()):
            raise _os_error(errno.EADDRINUSE)

    def check_address(self, interface: str) -> None:
        """
        Say whether a port can be opened on an address at all.

        :raises OSError: ``EAFNOSUPPORT`` or ``EADDRNOTAVAIL``.
        """
        family = _family(interface)
        if not self.has_family(family):
            raise _os_error(errno.EAFNOSUPPORT)
        is_own = interface in self.addresses or self.is_loopback(interface)
        if not is_own and interface != _WILDCARDS[family]:
            raise _os_error(errno.EADDRNOTAVAIL)

    def free_port(self, interface: str) -> int:
        """Return the first free port of the dynamic range."""
        for port in range(FIRST_FREE_PORT, 65536):
            if not any(other.collides(interface, port) for other in self.ports.values()):
                return port
        raise _os_error(errno.EADDRINUSE)

    # -- IReactorTCP

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> VirtualStreamPort:
        """
        Open a TCP port.

        :param port: its number; 0 takes a free one.
        :param interface: as for :meth:`listenUDP`.
        :raises CannotListenError: when the port is taken, or the host has no such address.
        """
        listening = VirtualStreamPort(self, port, factory, normal_host(interface or "0.0.0.0"))
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30.0,
        bindAddress: Address | None = None,
    ) -> IConnector:
        """
        Connect to a TCP port.

        :param host: an IP address.
        :param timeout: seconds that it may take.
        :param bindAddress: our own address, if not the usual one; its port is ignored.
        """
        remote = (normal_host(host), port)
        connector = VirtualConnector(self, remote, factory, timeout, bindAddress)
        connector.connect()
        return connector


@implementer(IListeningPort, IUDPTransport)
class VirtualPort:
    """
    One UDP port of a virtual host; made by :meth:`VirtualHost.listenUDP`.

    It behaves like Twisted's own: closing takes one step, datagrams are cut at ``maxPacketSize``,
    and what cannot be sent raises what Twisted raises.
    """

    def __init__(
        self,
        host: VirtualHost,
        port: int,
        protocol: DatagramProtocol,
        interface: str,
        max_packet_size: int,
    ) -> None:
        self.host = host
        self.protocol = protocol
        self.interface = normal_host(interface or "0.0.0.0")
        self.number = port
        self.max_packet_size = max_packet_size
        self.is_wildcard = self.interface in _WILDCARDS.values()
        self.is_reading = False
        self._remote: Address | None = None
        self._closed: list[Deferred[None]] = []
        self._may_broadcast = False

    def __str__(self) -> str:
        return f"{format_host(self.interface)}:{self.number}"

    def __repr__(self) -> str:
        return f"<VirtualPort {self} of {self.host!r}>"

    @property
    def bound(self) -> Address:
        """The bound address, maybe a wildcard, and the number."""
        return self.interface, self.number

    # -- IListeningPort

    def startListening(self) -> None:
        """
        Bind the port and connect the protocol.

        :raises CannotListenError: when it is taken, or the host has no such address.
        """
        try:
            self.host.check_bind(self.interface, self.number)
            self.number = self.number or self.host.free_port(self.interface)
        except OSError as error:
            raise CannotListenError(self.interface, self.number, error) from error
        self.host.ports[self.bound] = self
        self.is_reading = True
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None] | None:
        """
        Close the port in the next step of the network; nothing is received any more.

        :return: a Deferred that fires when it is closed, or ``None`` when it is already.
        """
        if self.host.ports.get(self.bound) is not self:
            return None
        if not self._closed:
            self.is_reading = False
            self.host.network.close_soon(self)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        return closed

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address to which the port is bound."""
        if _family(self.interface) == 6:
            return IPv6Address("UDP", self.interface, self.number)
        return IPv4Address("UDP", self.interface, self.number)

    # -- IUDPTransport

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send one datagram.

        :param addr: the target, or ``None`` on a connected port.
        :raises MessageLengthError: when it is too long for UDP.
        :raises InvalidAddressError: for a name, or an address of the other family.
        :raises OSError: when there is no way from here to there.
        """
        remote = addr or self._remote
        if remote is None:
            raise ValueError("write() needs an address on a port that is not connected")
        target = (normal_host(remote[0]), remote[1])
        self._check_target(target)
        is_long = len(packet) > (MAX_PAYLOAD_6 if ":" in target[0] else MAX_PAYLOAD_4)
        if is_long:
            raise MessageLengthError("message too long")
        local = self.host.source_address(target[0]) if self.is_wildcard else self.interface
        self.host.network.send(self, (local, self.number), target, bytes(packet))

    def _check_target(self, target: Address) -> None:
        if self.host.ports.get(self.bound) is not self:
            raise _os_error(errno.EBADF)
        if _family(target[0]) != _family(self.interface):
            raise InvalidAddressError(target[0], f"IPv{_family(self.interface)} port")
        if not 0 < target[1] < 65536:
            raise _os_error(errno.EINVAL)
        is_stuck = self.host.is_loopback(self.interface) and not self.host.is_loopback(target[0])
        if is_stuck:
            raise _os_error(errno.EINVAL)

    def connect(self, host: str, port: int) -> None:
        """
        Send to one address only, and receive only from it.

        :raises RuntimeError: when it is connected already.
        """
        if self._remote is not None:
            raise RuntimeError("already connected")
        self._remote = (normal_host(host), port)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Note whether broadcasts are allowed; the network carries none."""
        self._may_broadcast = enabled

    def getBroadcastAllowed(self) -> bool:
        """Say what :meth:`setBroadcastAllowed` noted."""
        return self._may_broadcast

    # -- the network and the host call these

    def collides(self, interface: str, port: int) -> bool:
        """Say whether another port on this address and number cannot be opened."""
        is_same = interface == self.interface or self.is_wildcard or interface in ("0.0.0.0", "::")
        return port == self.number and _family(interface) == _family(self.interface) and is_same

    def accepts(self, source: Address) -> bool:
        """Say whether this port takes a datagram from ``source``."""
        return self.is_reading and self._remote in (None, source)

    def deliver(self, data: bytes, source: Address) -> None:
        """Give a datagram to the protocol, cut as the kernel cuts it."""
        self.protocol.datagramReceived(data[: self.max_packet_size], source)

    def refused(self, target: Address) -> None:
        """Hear that nobody listens there; only connected ports tell their protocol."""
        if self.is_reading and self._remote == target:
            self.protocol.connectionRefused()

    def close(self) -> None:
        """Finish :meth:`stopListening`."""
        del self.host.ports[self.bound]
        waiting, self._closed = self._closed, []
        self.protocol.doStop()
        for closed in waiting:
            closed.callback(None)
