# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
From a binding to a call: which Request-URI, which Routes, which flow (:rfc:`3261#section-16.6`).

A binding with a Path is called by way of it (:rfc:`3327#section-5.5`). One without goes back where
its REGISTER came from when the Contact alone would not lead there; one of :rfc:`5626` goes there or
nowhere (section 5.3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sipsess.errors import TransportError
from sipsess.flow import Flow
from sipsess.locating import NextHop
from sipsess.message import SIPURI, NameAddr, parse_uri

from .binding import Binding, Source


class FlowGoneError(TransportError):
    """The flow that a phone registered over is no more (:rfc:`5626#section-5.3`)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send an INVITE."""

    #: The Request-URI.
    uri: str
    #: Where it goes; a next hop when other servers may be tried.
    flow: Flow | NextHop
    #: The Route values.
    route_set: tuple[str, ...] = ()
    #: Whether the requests within the call take :attr:`flow`, too, wherever Contact leads.
    is_pinned: bool = False


class PhoneFinder:
    """
    Finds the way to bindings.

    :param flow_of: returns the flow of a source, or ``None`` when it is gone.
    :param resolve: finds the way to a URI.
    """

    def __init__(
        self,
        flow_of: Callable[[Source], Flow | None],
        resolve: Callable[[str], Awaitable[Flow | NextHop]],
    ) -> None:
        self._flow_of = flow_of
        self._resolve = resolve

    async def find(self, phone: Sequence[Binding]) -> Target:
        """
        Return where a phone is called: by the first of its bindings that can be reached.

        :param phone: at least one binding.
        :raises TransportError: when none can be reached now.
        """
        error: TransportError = FlowGoneError("there is no binding")
        for binding in phone:
            try:
                return await self._find(binding)
            except TransportError as failed:
                error = failed
        raise error

    async def _find(self, binding: Binding) -> Target:
        """
        Return where a binding is called.

        :raises TransportError: when it cannot be reached now.
        """
        uri = request_uri_of(binding.uri)
        if binding.path:
            flow = await self._resolve(NameAddr.parse(binding.path[0]).uri)
            return Target(uri, flow, binding.path)
        if binding.is_pinned and binding.source is not None:
            known = self._flow_of(binding.source)
            if known is not None:
                return Target(uri, known, is_pinned=True)
            if binding.is_outbound:
                raise FlowGoneError(f"the flow of {binding.uri} is gone")
        return Target(uri, await self._resolve(uri))


def group_by_q(bindings: Sequence[Binding]) -> list[list[list[Binding]]]:
    """
    Return the phones in groups of equal q, the most preferred first (16.6).

    A phone is a list of its bindings, the latest first: an instance may have several flows, and is
    called over one of them at a time (:rfc:`5626#section-5.3`).
    """
    groups: dict[int, dict[str, list[Binding]]] = {}
    for binding in sorted(bindings, key=lambda binding: -binding.q):
        instance, _ = binding.identity
        phones = groups.setdefault(binding.q, {})
        # What has no instance is a phone of its own; a Contact begins with an angle bracket, too,
        # but goes on with its scheme.
        phones.setdefault(instance or binding.contact, []).insert(0, binding)
    return [list(phones.values()) for phones in groups.values()]


def request_uri_of(contact: str) -> str:
    """
    Return the Request-URI of a call to a Contact's URI, without what it may not hold (19.1.1).

    :raises MessageError: when it is no URI.
    """
    uri = parse_uri(contact)
    if not isinstance(uri, SIPURI) or not (uri.headers or "method" in uri.params):
        return contact
    params = uri.params.without("method")
    return str(SIPURI(uri.scheme, uri.user, uri.password, uri.host, uri.port, params))
