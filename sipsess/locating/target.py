# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a URI says about the way to it, before anybody is asked (:rfc:`3263#section-4`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from sipsess.errors import RemoteError, TransportError
from sipsess.flow import Address
from sipsess.message import SIPURI, Headers, NameAddr, parse_uri

#: The port of each transport when neither the URI nor the DNS says one (:rfc:`3261#section-19.1.2`;
#: a WebSocket's are those of HTTP, :rfc:`6455#section-3`).
DEFAULT_PORTS = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "WS": 80, "WSS": 443}
#: What is taken when nothing says which transport: UDP for SIP, TLS for SIPS, and the next one when
#: that is not there (4.1).
PREFERRED = ("UDP", "TCP", "TLS", "WS", "WSS")
PREFERRED_SECURE = ("TLS", "WSS")
#: The ``transport`` parameter for ``sip:`` and for ``sips:``. ``tls`` is no longer a value of it
#: (26.2.2), but is widely written.
_TRANSPORTS = {"udp": "UDP", "tcp": "TCP", "tls": "TLS", "ws": "WS", "wss": "WSS"}
_SECURE_TRANSPORTS = {"tcp": "TLS", "tls": "TLS", "ws": "WSS", "wss": "WSS"}

#: A domain name (:rfc:`1035#section-2.3.4`); underscores stand in those of services.
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*").fullmatch


class UnreachableError(TransportError):
    """A URI leads to no address that can be tried; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server that a request may be sent to."""

    #: As in flows: ``"UDP"``, ``"TCP"``, ``"TLS"``, ``"WS"`` or ``"WSS"``.
    transport: str
    #: An IP address.
    host: str
    port: int
    #: The domain that was asked for: the server's certificate must name it (:rfc:`5922#section-4`).
    name: str

    @property
    def address(self) -> Address:
        """Its address and port."""
        return self.host, self.port


@dataclass(frozen=True, slots=True)
class Destination:
    """A URI as :func:`parse_target` has read it."""

    #: The host, or its ``maddr``: an IP address, or a domain name in lower case.
    host: str
    is_numeric: bool
    port: int | None
    #: The one that the URI demands, or that follows from it without any question; else ``None``.
    transport: str | None
    #: Those among which the domain may choose, the preferred one first.
    transports: tuple[str, ...]
    is_secure: bool
    #: The host of the URI itself.
    name: str


def parse_target(
    uri: str, transports: Collection[str], connectable: Collection[str] = ()
) -> Destination:
    """
    Read a URI that is to be called.

    :param transports: those of our listeners; the DNS chooses among them.
    :param connectable: further ones, for a URI that demands them or leaves no choice.
    :raises UnreachableError: when it is no URI, or these do not reach it.
    """
    try:
        parsed = parse_uri(uri)
    except RemoteError as error:
        raise UnreachableError(
            f"{uri!r} is no SIP URI ({error.text}); write sip:USER@HOST"
        ) from error
    if not isinstance(parsed, SIPURI):
        raise UnreachableError(f"{uri} names no host; write sip:USER@HOST")
    host, is_numeric = _read_host(parsed.params.get("maddr") or parsed.host, uri)
    choice = _usable(parsed, transports) or _usable(parsed, connectable)
    wanted = _read_transport(parsed, frozenset((*transports, *connectable)))
    if wanted is None and (is_numeric or parsed.port is not None):
        # 4.1: nothing is asked then.
        wanted = choice[0]
    name = normal_address(parsed.host) or parsed.host.removesuffix(".").lower()
    return Destination(host, is_numeric, parsed.port, wanted, choice, parsed.is_secure, name)


def next_hop_of(uri: str, headers: Mapping[str, str]) -> str:
    """
    Return the URI that a request is sent to: its first Route, else the Request-URI (8.1.2).

    :raises UnreachableError: when the Route cannot be read.
    """
    routes = Headers()
    for name, value in headers.items():
        routes.add(name, value)
    try:
        return next((NameAddr.parse(route).uri for route in routes.values("Route")), uri)
    except RemoteError as error:
        raise UnreachableError(f"the Route leads nowhere: {error.text}") from error


def _usable(uri: SIPURI, transports: Collection[str]) -> tuple[str, ...]:
    """Return the transports for a ``sips:`` or a ``sip:`` URI, the preferred one first."""
    preferred = PREFERRED_SECURE if uri.is_secure else PREFERRED
    return tuple(item for item in preferred if item in transports)


def normal_address(host: str) -> str | None:
    """Return an IP address in its one normal form, or ``None`` when it is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_domain(name: str) -> bool:
    """Tell whether a name can be asked for at all."""
    return _DOMAIN(name) is not None


def _read_host(text: str, uri: str) -> tuple[str, bool]:
    address = normal_address(text.strip("[]"))
    if address is not None:
        return address, True
    host = text.removesuffix(".").lower()
    if not is_domain(host):
        raise UnreachableError(f"{uri}: {text!r} is neither an IP address nor a domain name")
    return host, False


def _read_transport(uri: SIPURI, transports: Collection[str]) -> str | None:
    """
    Return the transport that a URI demands, or ``None``.

    :raises UnreachableError: when there is no such transport here.
    """
    param = uri.params.get("transport")
    if param is None:
        if not _usable(uri, transports):
            raise _unreachable(uri, "TLS" if uri.is_secure else "UDP", transports)
        return None
    known = _SECURE_TRANSPORTS if uri.is_secure else _TRANSPORTS
    wanted = known.get(param.lower())
    if wanted is None or wanted not in transports:
        if uri.is_secure and wanted is None:
            raise UnreachableError(f"{uri} asks for TLS over {param.upper()}, and there is no such")
        raise _unreachable(uri, wanted or param.upper(), transports)
    return wanted


def _unreachable(uri: SIPURI, wanted: str, transports: Collection[str]) -> UnreachableError:
    """Say what is wanted and what is there."""
    there = ", ".join(item for item in PREFERRED if item in transports)
    if not there:
        return UnreachableError(f"{uri} asks for {wanted}, and there is no listener")
    return UnreachableError(f"{uri} asks for {wanted}, and there is only {there} here")
