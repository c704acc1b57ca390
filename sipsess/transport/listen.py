# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
r"""
Where to listen: ``udp:5060``, ``tcp:5060:interface=127.0.0.1``, ``udp:5060:interface=\:\:1``.

The rules of spelling are those of Twisted's endpoint strings: colons separate, ``key=value``
names, and a backslash takes the next character as it is. ``udp:5060`` alone means every IPv4 and
every IPv6 address, in two sockets: one for both would show IPv4 peers as IPv6 ones. A transport
over connections binds in the same way as UDP does.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.internet.protocol import DatagramProtocol

from sipsess.errors import LocalError
from sipsess.flow import Advertised, parse_networks
from sipsess.transport.address import SourceAddress, SourceAddresses, escape, ip_version
from sipsess.transport.connections import Connections
from sipsess.transport.files import TLSFiles, load_credentials
from sipsess.transport.listener import Listener, StreamListener
from sipsess.transport.stream import Connection, StreamConnection
from sipsess.transport.udp import MAX_DATAGRAM, DatagramCore, UDPListener

if TYPE_CHECKING:
    from sipsess.transport.tls import Credentials

#: How often two ports of the same free number are looked for, one of IPv4 and one of IPv6.
FREE_PORT_ATTEMPTS = 16
#: Connections that the system shall keep until we accept them: a restart makes all phones come
#: back at once.
BACKLOG = 256

_USUAL = ("interface", "advertise", "local")
_SECRETS = ("cert", "key", "ca", "verify")
#: What we listen for, as the configuration writes it, and what may be said of each.
OPTIONS = {
    "udp": _USUAL,
    "tcp": _USUAL,
    "tls": (*_USUAL, *_SECRETS),
    "ws": (*_USUAL, "origin"),
    "wss": (*_USUAL, "origin", *_SECRETS),
}
#: The transports that need a certificate.
SECURE = frozenset({"TLS", "WSS"})
#: Those that speak WebSocket.
WEB = frozenset({"WS", "WSS"})

_WILDCARDS = ("0.0.0.0", "::")

#: What the system says when it has no IPv6 (or no IPv4).
NO_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

MakeSocket = Callable[[int, int], socket.socket]

AnyListener = TypeVar("AnyListener", bound=Listener)


class ListenError(LocalError):
    """sipsess cannot listen there; the text says what to write or do instead."""


class UDPReactor(Protocol):
    """What listening needs of a reactor."""

    def seconds(self) -> float:
        """Return the time."""

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = ..., maxPacketSize: int = ...
    ) -> IListeningPort:
        """Open a port."""


@dataclass(frozen=True, slots=True)
class ListenSpec:
    """One place to listen, as the configuration says it."""

    #: As in flows: ``"UDP"``, ``"TCP"``, ``"TLS"``.
    transport: str
    #: 0 takes a free one.
    port: int
    #: An IP address, or ``""`` for every address of both families.
    interface: str = ""
    #: The host that peers shall see, or ``None`` for the local address.
    advertised: str | None = None
    #: Of TLS.
    files: TLSFiles = field(default_factory=TLSFiles)
    #: Of WebSocket: the web pages that may connect; all may when empty.
    origins: tuple[str, ...] = ()
    #: The hosts of these networks, such as ``10.0.0.0/8``, see the local address all the same.
    local_networks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called: where it listens, as :func:`parse_listen` reads it."""
        text = f"{self.transport.lower()}:{self.port}"
        if self.interface:
            text += f":interface={escape(self.interface)}"
        return text

    @property
    def seen(self) -> Advertised | None:
        """
        What peers see instead of the local address.

        :raises LocalError: when something is no network; :func:`check_spec` finds that.
        """
        if self.advertised is None:
            return None
        return Advertised(self.advertised, parse_networks(self.local_networks))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The addresses to bind."""
        return (self.interface,) if self.interface else _WILDCARDS


@dataclass(slots=True)
class Listening:
    """What came of one :class:`ListenSpec`."""

    listeners: list[Any] = field(default_factory=list)
    #: Things to tell people once, one line each.
    notes: list[str] = field(default_factory=list)


def parse_listen(text: str) -> ListenSpec:
    r"""
    Read where to listen.

    :param text: ``udp:PORT[:interface=ADDRESS][:advertise=HOST[:local=NETWORK,...]]``, or another
        of :data:`OPTIONS` in front; ``tls`` and ``wss`` need ``:cert=FILE:key=FILE`` and take
        ``:ca=FILE`` and ``:verify=yes``, ``ws`` and ``wss`` take ``:origin=ORIGIN[,ORIGIN...]``.
        Colons of an IPv6 address are written ``\:``, and port 0 takes a free one. The hosts of a
        local network see our own address instead of what is advertised.
    :raises ListenError: with what to write instead.
    """
    fields = _split(text)
    if fields is None:
        raise _wrong(text, "a backslash at the end takes nothing", _split(text[:-1]) or [])
    transport, port = fields[0][0].lower(), fields[1][0] if len(fields) > 1 else ""
    named = dict(item for item in fields[2:] if len(item) == 2)
    if transport not in OPTIONS or len(fields[0]) > 1:
        raise _wrong(text, f"sipsess listens on {_list(OPTIONS)}", fields)
    if fields[1:2] != [(port,)] or not _is_port(port):
        raise _wrong(text, "the port is a number from 0 to 65535", fields)
    options = OPTIONS[transport]
    if len(named) < len(fields) - 2 or not named.keys() <= set(options):
        known = _list(f"{option}=" for option in options)
        raise _wrong(text, f"only {known} can follow the port", fields)
    interface = named.get("interface", "")
    if "interface" in named and not _is_ip(interface):
        raise _wrong(text, f"{interface!r} is not an IP address", fields)
    if named.get("verify", "no") not in ("yes", "no"):
        raise _wrong(text, "verify= is yes or no", fields)
    return ListenSpec(
        transport.upper(),
        int(port),
        interface,
        named.get("advertise") or None,
        _files_of(named),
        tuple(filter(None, named.get("origin", "").split(","))),
        tuple(filter(None, named.get("local", "").split(","))),
    )


def read_specs(
    listen: Iterable[str | ListenSpec],
    advertise: str | Mapping[str, str] | None,
    local_networks: Iterable[str] = (),
) -> list[ListenSpec]:
    """
    Return where a server listens.

    :param listen: strings, or what they mean.
    :param advertise: the host that peers shall see; or a mapping of listen strings to such hosts.
    :param local_networks: the hosts of these see our own address in spite of that.
    :raises ListenError: when a string cannot be read.
    :raises LocalError: when a host is for where nothing listens.
    """
    specs = [parse_listen(item) if isinstance(item, str) else item for item in listen]
    networks = tuple(local_networks)
    specs = [replace(spec, local_networks=spec.local_networks or networks) for spec in specs]
    for spec in specs:
        check_spec(spec)
    if advertise is None:
        return specs
    if isinstance(advertise, str):
        return [replace(spec, advertised=spec.advertised or advertise) for spec in specs]
    hosts = {parse_listen(name).name: host for name, host in advertise.items()}
    known = {spec.name for spec in specs}
    for name in hosts:
        if name not in known:
            raise LocalError(f"nothing listens on {name}; there is: {', '.join(sorted(known))}")
    return [replace(spec, advertised=hosts.get(spec.name, spec.advertised)) for spec in specs]


def _files_of(named: dict[str, str]) -> TLSFiles:
    certificate, key, ca = (named.get(name, "") for name in ("cert", "key", "ca"))
    return TLSFiles(certificate, key, ca, named.get("verify") == "yes")


def _list(words: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def check_spec(spec: ListenSpec) -> None:
    """
    Check that nothing is missing; whether the files can be read is seen when it listens.

    :raises ListenError: with what to write instead.
    """
    files = spec.files
    if spec.transport in SECURE and not (files.certificate and files.key):
        raise ListenError(
            f"cannot listen on {spec.name!r}: TLS needs a certificate and its key; "
            f"write {spec.name}:cert=FILE:key=FILE"
        )
    try:
        parse_networks(spec.local_networks)
    except LocalError as error:
        raise ListenError(f"cannot listen on {spec.name!r}: {error}") from error


def _split(text: str) -> list[tuple[str, ...]] | None:
    """
    Split at colons, and each part at its first ``=``; a backslash takes the next character.

    :return: ``None`` when a backslash at the end has nothing to take.
    """
    fields: list[tuple[str, ...]] = []
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == ":":
            fields.append(tuple(parts))
            parts = [""]
        elif character == "=" and len(parts) == 1:
            parts.append("")
        else:
            taken = next(characters, None) if character == "\\" else character
            if taken is None:
                return None
            parts[-1] += taken
    fields.append(tuple(parts))
    return fields


def _wrong(text: str, why: str, fields: list[tuple[str, ...]]) -> ListenError:
    """Make the error, with the nearest thing that could have been meant."""
    words = [word for item in fields for word in item]
    port = next(filter(_is_port, words), "5060")
    bracketed = text.partition("[")[2].partition("]")[0]
    named = text.partition("interface=")[2]
    host = next(filter(_is_ip, [*words, bracketed, named, text.partition(":")[2]]), None)
    if "localhost" in words:
        host = "127.0.0.1"
    transport = next((word for word in words if word.lower() in OPTIONS), "udp").lower()
    better = f"{transport}:{port}" + (f":interface={escape(host)}" if host else "")
    return ListenError(f"cannot listen on {text!r}: {why}; write {better}")


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 5 and int(word) <= 65535


def _is_ip(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def open_udp(
    reactor: UDPReactor,
    spec: ListenSpec,
    core: DatagramCore,
    *,
    seconds: Callable[[], float] | None = None,
    source_address: SourceAddress | None = None,
    make_socket: MakeSocket = socket.socket,
) -> Listening:
    """
    Open the port or ports of one specification.

    :param reactor: a reactor, or a ``VirtualHost``.
    :param seconds: the core's monotonic clock; the reactor's time when ``None``.
    :param source_address: says what our address is towards a peer; when ``None``, the reactor's own
        ``source_address`` if it has one (a ``VirtualHost`` does), else the kernel is asked.
    :param make_socket: makes IPv6 sockets, which must be marked before they are bound.
    :raises ListenError: with what to do; what had been opened is closed again.
    """
    clock = seconds or reactor.seconds
    source = source_address or getattr(reactor, "source_address", None) or SourceAddresses(clock)

    def listen(interface: str, port: int) -> UDPListener:
        listener = UDPListener(core, clock, source, advertised=spec.seen)
        _bind(reactor, listener, interface, port, make_socket)
        return listener

    return _open(spec, listen)


def open_stream(
    reactor: Any,
    spec: ListenSpec,
    connections: Connections,
    *,
    source_address: SourceAddress,
    make_socket: MakeSocket = socket.socket,
) -> Listening:
    """
    Open the port or ports of one specification of a transport over connections.

    :param connections: the table that what comes belongs to.
    :raises ListenError: as for :func:`open_udp`, or when a certificate cannot be used.
    """
    credentials: Credentials | None = None
    if spec.transport in SECURE:
        check_spec(spec)
        try:
            credentials = load_credentials(spec.files)
        except LocalError as error:
            raise ListenError(f"cannot listen on {spec.name}: {error}") from error
    make = _load_websocket(spec) if spec.transport in WEB else StreamConnection

    def listen(interface: str, port: int) -> StreamListener:
        listener = StreamListener(
            connections, spec.transport, source_address, spec.seen, credentials, make
        )
        listener.listen(
            lambda factory: _listen_stream(reactor, factory, interface, port, make_socket)
        )
        return listener

    return _open(spec, listen)


def check_extra(spec: ListenSpec) -> None:
    """
    Check that the packages of WebSocket are there for a listener that needs them.

    :raises ListenError: with what to install.
    """
    if spec.transport in WEB:
        _load_websocket(spec)


def _load_websocket(spec: ListenSpec) -> Callable[..., Connection]:
    """
    Return what makes the connections of a WebSocket listener.

    :raises ListenError: when the extra is absent.
    """
    try:
        from sipsess.transport.websocket import WebSocketConnection
    except ImportError as error:
        raise ListenError(
            f"cannot listen on {spec.name}: WebSocket needs more packages ({error.name} is "
            f"missing): pip install 'sipsess[ws]'"
        ) from error
    return partial(WebSocketConnection, origins=frozenset(spec.origins))


def _open(spec: ListenSpec, listen: Callable[[str, int], AnyListener]) -> Listening:
    for attempt in range(FREE_PORT_ATTEMPTS):
        is_last = attempt == FREE_PORT_ATTEMPTS - 1 or spec.port != 0
        listening = _open_all(spec, listen, is_last)
        if listening is not None:
            return listening
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def _open_all(
    spec: ListenSpec, listen: Callable[[str, int], AnyListener], is_last: bool
) -> Listening | None:
    """Open each interface on the same port; ``None`` when a free port was not free for all."""
    listening = Listening()
    port = spec.port
    missing: list[tuple[str, OSError]] = []
    for interface in spec.interfaces:
        try:
            listener = listen(interface, port)
        except OSError as error:
            if error.errno in NO_FAMILY:
                missing.append((interface, error))
                continue
            for opened in listening.listeners:
                opened.stop()
            if error.errno == errno.EADDRINUSE and not is_last:
                return None
            raise _cannot_listen(spec, interface, error) from error
        listening.listeners.append(listener)
        port = listener.address[1]
    if not listening.listeners:
        raise _cannot_listen(spec, *missing[0]) from missing[0][1]
    for interface, _ in missing:
        other = 10 - ip_version(interface)
        own = ip_version(interface)
        note = f"this machine has no IPv{own}: {spec.name} listens on IPv{other} only"
        listening.notes.append(note)
    return listening


def _bind(
    reactor: UDPReactor, listener: UDPListener, interface: str, port: int, make_socket: MakeSocket
) -> None:
    """
    Let a listener listen.

    :raises OSError: what the system said.
    """
    if ip_version(interface) == 4 or not IReactorSocket.providedBy(reactor):
        try:
            reactor.listenUDP(port, listener, interface, MAX_DATAGRAM)
        except CannotListenError as error:
            raise error.socketError from error
        return
    # Twisted's listenUDP("::") leaves IPV6_V6ONLY to the system, and most then take the IPv4 port
    # too.
    adopter: Any = reactor
    with make_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((interface, port))
        adopter.adoptDatagramPort(sock.fileno(), socket.AF_INET6, listener, MAX_DATAGRAM)


def _listen_stream(
    reactor: Any, factory: Any, interface: str, port: int, make_socket: MakeSocket
) -> IListeningPort:
    """
    Open a port that takes connections.

    :raises OSError: what the system said.
    """
    if ip_version(interface) == 4 or not IReactorSocket.providedBy(reactor):
        try:
            listening: IListeningPort = reactor.listenTCP(port, factory, BACKLOG, interface)
        except CannotListenError as error:
            raise error.socketError from error
        return listening
    with make_socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((interface, port))
        sock.listen(BACKLOG)
        adopter: Any = reactor
        adopted: IListeningPort = adopter.adoptStreamPort(sock.fileno(), socket.AF_INET6, factory)
        return adopted


def _cannot_listen(spec: ListenSpec, interface: str, error: OSError) -> ListenError:
    """Say in one sentence why not, and what to do."""
    kind = spec.transport.lower()
    where = f"{kind}:{spec.port} ({interface})"
    if error.errno == errno.EADDRINUSE:
        text = (
            f"{where}: the port is in use by another program; "
            f"stop that one, or listen elsewhere: --listen {kind}:{_other_port(spec.port)}"
        )
    elif error.errno == errno.EACCES:
        text = f"{where}: that needs a privilege; take a port above 1023: --listen {kind}:5060"
    elif error.errno == errno.EADDRNOTAVAIL:
        text = (
            f"{where}: this machine has no address {interface}; "
            f"leave interface= away to listen on all it has: --listen {kind}:{spec.port}"
        )
    else:
        text = f"{where}: {error.strerror or error}; try --listen {kind}:5060:interface=127.0.0.1"
    return ListenError(f"cannot listen on {text}")


def _other_port(port: int) -> int:
    return port + 10 if 0 < port < 65000 else 5070
