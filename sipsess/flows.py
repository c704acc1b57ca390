# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which flow a message takes (:rfc:`3261#section-18`), and what is counted of connections.

Theory of operation
    A datagram goes anywhere from its listener. A connection goes to one peer, and may be lost; so
    a flow may also name a connection that opens when something is sent on it, which is how a
    request of a call finds its way after the connection of that call was lost: the dialog stays,
    and its next request goes to the remote target on a new connection. A connection that stands is
    used for a call as long as it leads to the target: when the target has its address, or is no
    address at all (a browser has none, :rfc:`7118#section-5`), or when the peer itself, and no
    proxy, has sent the INVITE on it, whatever address its NAT hides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from sipsess.errors import RemoteError
from sipsess.flow import Address, Flow
from sipsess.message import SIPURI, Request, parse_uri
from sipsess.nat import is_hidden
from sipsess.transaction.via import DEFAULT_PORT, DEFAULT_TLS_PORT

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch

#: Why connections are refused or closed, and what is counted of them.
REASONS: dict[str, str] = {
    "connections-full": "there are too many connections",
    "peer-connections-full": "one peer has too many connections",
    "connection-handshake-slow": "a TLS or WebSocket hand-shake took too long",
    "connection-handshake-failed": "a TLS or WebSocket hand-shake failed",
    "connection-silent": "a peer connected, and sent no message",
    "connection-slow": "a message took too long to come whole over a connection",
    "connection-idle": "nothing came over a connection for long, and no call used it",
    "connection-not-reading": "a peer did not read what was sent to it over a connection",
    "connect-failed": "a connection to a peer could not be opened",
    "connect-queue-full": "too much waits for connections that are being opened",
    "websocket-refused": "an HTTP request asked for no WebSocket of SIP (400, 403, 426)",
    "websocket-broken": "a peer broke the rules of WebSocket",
    "certificate-mismatch": "the certificate of a peer is not that of the domain (RFC 5922)",
}

#: The port of a URI or a Via that names none, by transport (:rfc:`3261#section-18.1.1`,
#: :rfc:`7118#section-7`).
DEFAULT_PORTS = {"TLS": DEFAULT_TLS_PORT, "WS": 80, "WSS": 443}


#: Bytes of a request that go over UDP at most when nobody knows the path's MTU: larger ones would
#: travel in fragments, which get lost (:rfc:`3261#section-18.1.1`).
MAX_DATAGRAM_REQUEST = 1300


class ConnectionTable(Protocol):
    """What the core needs of the shell's connections."""

    def is_open(self, flow: Flow) -> bool:
        """Tell whether a flow can still carry messages."""

    def is_incoming(self, flow: Flow) -> bool:
        """Tell whether an open connection was opened by the peer."""

    def open_flow(self, transport: str, address: Address, name: str) -> Flow | None:
        """
        Return a flow to an address; it opens a connection when something is sent.

        :param address: an IP address and a port.
        :param name: whom a secure far end must prove to be.
        :return: ``None`` when there are no such connections here.
        """

    def wider_flow(self, address: Address) -> Flow | None:
        """Return a flow over a connection for what is too large for a datagram, or ``None``."""

    def offer_alias(self, flow: Flow, port: int) -> None:
        """Hear that a peer lets us send it requests on its own connection (:rfc:`5923`)."""


class FlowFinder:
    """
    Finds the flow of each message of ours.

    :param flow_for: ``flow_for(transport, address)`` returns a flow of ours to an address, or
        ``None`` when no listener reaches it.
    :param connections: ``None`` where there are datagrams only.
    """

    __slots__ = ("connections", "flow_for")

    def __init__(
        self,
        flow_for: Callable[[str, Address], Flow | None] | None,
        connections: ConnectionTable | None,
    ) -> None:
        self.flow_for = flow_for
        self.connections = connections

    def is_open(self, flow: Flow) -> bool:
        """Tell whether a flow can still carry messages."""
        return not flow.is_reliable or self.connections is None or self.connections.is_open(flow)

    def flow_to(self, uri: str, otherwise: Flow, *, is_direct: bool = False) -> Flow:
        """
        Return the flow to the host of a URI.

        A host that is no address goes ``otherwise``, the way that the peer's own messages came; so
        does a private address of a peer that is seen at a public one.

        :param is_direct: whether ``otherwise`` leads to the peer itself, and to no proxy.
        """
        try:
            parsed = parse_uri(uri)
        except RemoteError:
            return otherwise
        if not isinstance(parsed, SIPURI):
            return otherwise
        host = parsed.host
        # An address that a NAT hides says as little as a name.
        is_named = not is_address(host) or is_hidden(host, otherwise.remote[0])
        if otherwise.is_reliable:
            leads_there = is_direct or is_named or self._leads_to(parsed, otherwise)
            if leads_there and self.is_open(otherwise):
                return otherwise
            if host.lower().endswith(".invalid"):
                return otherwise
            if is_named:
                host = otherwise.remote[0]
        elif is_named:
            return otherwise
        transport = transport_of(parsed)
        address = (host, parsed.port or DEFAULT_PORTS.get(transport, DEFAULT_PORT))
        return self._flow_over(transport, address, parsed.host, otherwise)

    def _leads_to(self, uri: SIPURI, flow: Flow) -> bool:
        """
        Tell whether a connection leads to an address, as far as can be known.

        That of a peer comes from any port; one of ours leads to the port that it was opened to, and
        to whom the URI says nothing else of.
        """
        if uri.host != flow.remote[0]:
            return False
        if "transport" not in uri.params or self.connections is None:
            return True
        port = uri.port or DEFAULT_PORTS.get(transport_of(uri), DEFAULT_PORT)
        return port == flow.remote[1] or self.connections.is_incoming(flow)

    def _flow_over(self, transport: str, address: Address, name: str, otherwise: Flow) -> Flow:
        if transport != "UDP" and self.connections is not None:
            flow = self.connections.open_flow(transport, address, name)
            if flow is not None:
                return flow
        if otherwise.is_reliable:
            if transport != "UDP" or self.flow_for is None:
                return otherwise
            return self.flow_for("UDP", address) or otherwise
        if address == otherwise.remote:
            return otherwise
        if (":" in address[0]) == (":" in otherwise.local[0]):
            return otherwise.to(address)
        flow = None if self.flow_for is None else self.flow_for(otherwise.transport, address)
        return flow or otherwise

    def wider_flow(self, request: Request, flow: Flow) -> Flow | None:
        """
        Return the connection that a request needs which is too large for UDP, or ``None``.

        Who asks for UDP in his URI gets it.
        """
        if flow.transport != "UDP" or self.connections is None:
            return None
        if len(request.to_bytes()) <= MAX_DATAGRAM_REQUEST:
            return None
        if "transport=udp" in request.uri.lower():
            return None
        return self.connections.wider_flow(flow.remote)

    def return_flow(self, flow: Flow, port: int) -> Flow | None:
        """
        Return where responses go whose connection is lost (:rfc:`3261#section-18.2.2`).

        :param flow: the lost one.
        :param port: of the sent-by.
        """
        if self.connections is None or flow.transport in ("WS", "WSS"):
            return None
        return self.connections.open_flow(flow.transport, (flow.remote[0], port), flow.name)


def transport_of(uri: SIPURI) -> str:
    """Return the transport that a URI asks for, as flows name it (:rfc:`3263#section-4.1`)."""
    transport = (uri.params.get("transport") or "udp").upper()
    if uri.is_secure:
        return "WSS" if transport in ("WS", "WSS") else "TLS"
    return transport


def is_address(host: str) -> bool:
    """
    Tell whether a URI's host is an IP address; of IPv6 the parser has checked the form.

    Other numbers, such as ``127.1`` or ``2130706433``, are none, though systems understand them.
    """
    return ":" in host or _IPV4(host) is not None
