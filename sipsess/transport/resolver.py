# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
From a URI to the addresses that a request may go to.

IP literals are answered at once; a name is asked for its A and AAAA records by the reactor's own
resolver. NAPTR and SRV (:rfc:`3263`) are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from sipsess.errors import RemoteError, TransportError
from sipsess.flows import DEFAULT_PORTS, transport_of
from sipsess.message import SIPURI, parse_uri
from sipsess.transaction.via import DEFAULT_PORT
from sipsess.transport.address import normal_host

#: The transports that a URI may ask for here.
TRANSPORTS = frozenset({"UDP", "TCP", "TLS"})


class UnreachableError(TransportError):
    """A URI leads to no address that can be tried; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URI leads."""

    #: As in flows.
    transport: str
    #: A name or an IP address.
    host: str
    port: int
    #: The domain, which a secure far end must prove to be (:rfc:`5922#section-4`).
    name: str


def parse_target(uri: str) -> Target:
    """
    Return where a URI leads that is to be called.

    :raises UnreachableError: when it is no URI, or one that cannot be reached from here.
    """
    try:
        parsed = parse_uri(uri)
    except RemoteError as error:
        raise UnreachableError(
            f"{uri!r} is no SIP URI ({error.text}); write sip:USER@HOST"
        ) from error
    if not isinstance(parsed, SIPURI):
        raise UnreachableError(f"{uri} names no host; write sip:USER@HOST")
    transport = transport_of(parsed)
    if transport not in TRANSPORTS:
        known = " and ".join(sorted(TRANSPORTS))
        raise UnreachableError(f"{uri} asks for {transport}, and there is only {known} here")
    port = parsed.port or DEFAULT_PORTS.get(transport, DEFAULT_PORT)
    return Target(transport, parsed.params.get("maddr") or parsed.host, port, parsed.host)


def resolve(reactor: object, host: str) -> Deferred[list[str]]:
    """
    Return the IP addresses of a host, the one to try first in front.

    :param reactor: an ``IReactorPluggableNameResolver``; others know no names.
    :param host: an IP address or a name.
    :return: fails with :class:`UnreachableError` when there is none.
    """
    try:
        return succeed([normal_host(host)])
    except ValueError:
        result: Deferred[list[str]] = Deferred(lambda _: receiver.cancel())
        receiver = _Receiver(host, result)
    if IReactorPluggableNameResolver.providedBy(reactor):
        reactor.nameResolver.resolveHostName(
            receiver, host, addressTypes=[IPv4Address, IPv6Address], transportSemantics="UDP"
        )
    else:
        receiver.resolutionComplete()
    return result


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one name."""

    def __init__(self, host: str, result: Deferred[list[str]]) -> None:
        self._host = host
        self._result = result
        self._addresses: list[str] = []
        self._resolution: IHostResolution | None = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Keep what can be cancelled."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """Take one address."""
        found: Any = address
        host = normal_host(found.host)
        if host not in self._addresses:
            self._addresses.append(host)

    def resolutionComplete(self) -> None:
        """Tell the addresses, or that there is none."""
        if self._result.called:
            return
        if self._addresses:
            self._result.callback(self._addresses)
        else:
            self._result.errback(UnreachableError(f"the name {self._host} is not known"))

    def cancel(self) -> None:
        """Ask no longer; most resolvers cannot be stopped, and are then not listened to."""
        resolution, self._resolution = self._resolution, None
        if resolution is not None:
            try:
                resolution.cancel()
            except NotImplementedError:
                return  # the threaded resolver
