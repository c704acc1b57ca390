# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which endpoint a request is from.

Theory of operation
    Identifiers are asked one after the other, in the order that was configured; the first one that
    names an endpoint counts. An endpoint is only named when all that it says of itself holds
    (:class:`.Endpoint`): its network, its users, its headers, its transport. What was named by
    something that anybody can write must be proven by digest, if the endpoint has
    ``digest_users``; nobody can have one that has neither these nor a network nor a header.

    Who is nobody is let in as the endpoint ``anonymous``, asked for a proof, or refused. When some
    endpoint is known by its From, who is unknown is asked as well, even when he shall be refused:
    otherwise 403 here and 401 there would tell who exists.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Literal

from zope.interface import implementer

from sipsess.errors import LocalError
from sipsess.interfaces import IEndpointIdentifier, IRequestGate
from sipsess.message import NameAddr, Request
from sipsess.message.challenge import ANSWERED_BY
from sipsess.message.digest import get_authorizations
from sipsess.message.privacy import is_anonymous
from sipsess.supplement import RequestVerdict, Verdict

from .anonymous import ANONYMOUS
from .digest_gate import DigestGate, admit_within_dialog
from .endpoint import Endpoint, find_network

if TYPE_CHECKING:
    from sipsess.core import Admission

#: Who brings credentials of a user that is nobody's: he is asked, as all are, and is never let in.
NOBODY = Endpoint("nobody", digest_users=frozenset({""}))

REASONS: dict[str, str] = {
    "endpoint-unknown": "the request is of no endpoint, and nobody else is let in (403)",
}


def matches(endpoint: Endpoint, admission: Admission) -> bool:
    """Tell whether all that an endpoint says of its requests holds for one."""
    flow, request = admission.flow, admission.request
    if endpoint.transports and flow.transport not in endpoint.transports:
        return False
    if not endpoint.is_within(flow.remote[0]):
        return False
    if endpoint.users and claimed_user(request) not in endpoint.users:
        return False
    return all(_has_header(request, item.name, item.value) for item in endpoint.headers)


def claimed_user(request: Request) -> str:
    """
    Return who a request says that it is from: the user part, or the number, of From.

    Who calls anonymously may say it in P-Preferred-Identity (:rfc:`3325#section-9.2`).

    :raises MessageError: when one of them cannot be read.
    """
    address = request.from_
    if is_anonymous(address):
        preferred = request.headers.values("P-Preferred-Identity")
        if preferred:
            address = NameAddr.parse(preferred[0])
    return address.user_text


def _has_header(request: Request, name: str, value: str) -> bool:
    """Tell whether one of the headers of that name has that value; the time tells nothing of it."""
    wanted = value.encode("utf-8", "surrogateescape")
    given = [text.encode("utf-8", "surrogateescape") for text in request.headers.get_all(name)]
    return any([hmac.compare_digest(text, wanted) for text in given])


@implementer(IEndpointIdentifier)
class NetworkIdentifier:
    """Knows endpoints by where their requests come from; the smallest network counts."""

    name = "network"

    def __init__(self) -> None:
        self._endpoints: list[Endpoint] = []

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """See :meth:`.IEndpointIdentifier.set_endpoints`."""
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.networks]

    def identify(self, admission: Admission) -> Endpoint | None:
        """See :meth:`.IEndpointIdentifier.identify`."""
        best, length = None, -1
        for endpoint in self._endpoints:
            network = find_network(endpoint.networks, admission.flow.remote[0])
            if network is not None and network.prefixlen > length and matches(endpoint, admission):
                best, length = endpoint, network.prefixlen
        return best


@implementer(IEndpointIdentifier)
class UserIdentifier:
    """Knows endpoints by the user part of From."""

    name = "user"

    def __init__(self) -> None:
        self._endpoints: dict[str, list[Endpoint]] = {}

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """See :meth:`.IEndpointIdentifier.set_endpoints`."""
        self._endpoints = {}
        for endpoint in endpoints:
            for user in endpoint.users:
                self._endpoints.setdefault(user, []).append(endpoint)

    def identify(self, admission: Admission) -> Endpoint | None:
        """See :meth:`.IEndpointIdentifier.identify`."""
        found = self._endpoints.get(claimed_user(admission.request), ())
        return _first(found, admission)


@implementer(IEndpointIdentifier)
class HeaderIdentifier:
    """Knows endpoints by headers."""

    name = "header"

    def __init__(self) -> None:
        self._endpoints: list[Endpoint] = []

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """See :meth:`.IEndpointIdentifier.set_endpoints`."""
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.headers]

    def identify(self, admission: Admission) -> Endpoint | None:
        """See :meth:`.IEndpointIdentifier.identify`."""
        return _first(self._endpoints, admission)


@implementer(IEndpointIdentifier)
class DigestIdentifier:
    """
    Knows endpoints by the user that the credentials of a request name; proving it comes later.

    :param realm: of the credentials that count.
    """

    name = "digest"

    def __init__(self, realm: str) -> None:
        self.realm = realm
        self._endpoints: dict[str, list[Endpoint]] = {}

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """See :meth:`.IEndpointIdentifier.set_endpoints`."""
        self._endpoints = {}
        for endpoint in endpoints:
            for user in endpoint.digest_users:
                self._endpoints.setdefault(user, []).append(endpoint)

    def identify(self, admission: Admission) -> Endpoint | None:
        """See :meth:`.IEndpointIdentifier.identify`."""
        found = get_authorizations(admission.request.headers, ANSWERED_BY[401][1], self.realm)
        if not found:
            return None
        return _first(self._endpoints.get(found[0].username, ()), admission) or NOBODY


def _first(endpoints: Iterable[Endpoint], admission: Admission) -> Endpoint | None:
    for endpoint in endpoints:
        if matches(endpoint, admission):
            return endpoint
    return None


@implementer(IRequestGate)
class IdentifyGate:
    """
    Gives each request its endpoint, and has it proven where that is due.

    :param endpoints: all that there are; one of the name ``anonymous`` is who is nobody.
    :param identifiers: asked in this order; left out, by network, From, header and digest.
    :param digest: has it proven; needed when an endpoint has ``digest_users``.
    :param anonymous: what becomes of who is nobody: ``"refuse"``, ``"challenge"`` or ``"allow"``.
    :raises LocalError: when an endpoint could be had by anybody, or could not be proven.
    """

    name = "identify"

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        identifiers: Iterable[IEndpointIdentifier] | None = None,
        *,
        digest: DigestGate | None = None,
        anonymous: Literal["refuse", "challenge", "allow"] = "refuse",
    ) -> None:
        self.endpoints = tuple(endpoints)
        #: Who is nobody, and is let in all the same.
        self.nobody = next((one for one in self.endpoints if one.name == ANONYMOUS.name), ANONYMOUS)
        self.digest = digest
        self.anonymous = anonymous
        if identifiers is None:
            by_digest = [] if digest is None else [DigestIdentifier(digest.realm)]
            identifiers = [NetworkIdentifier(), UserIdentifier(), HeaderIdentifier(), *by_digest]
        self.identifiers = tuple(identifiers)
        self._check()
        for identifier in self.identifiers:
            identifier.set_endpoints(self.endpoints)

    def _check(self) -> None:
        names = [endpoint.name for endpoint in self.endpoints]
        for endpoint in self.endpoints:
            if names.count(endpoint.name) > 1:
                raise LocalError(f"there are two endpoints of the name {endpoint.name!r}")
            if endpoint.is_claimed:
                raise LocalError(
                    f"whoever writes a user of endpoint {endpoint.name!r} into his From would be "
                    f"it; give it networks, headers or digest_users"
                )
            if endpoint.digest_users and self.digest is None:
                raise LocalError(f"endpoint {endpoint.name!r} has digest_users; a gate is needed")
        if self.nobody.is_told_apart:
            raise LocalError("the endpoint 'anonymous' is nobody: nothing can tell that it is")
        if self.anonymous == "challenge" and self.digest is None:
            raise LocalError("nobody can be challenged without a digest gate")

    def admit(self, admission: Admission) -> RequestVerdict:
        """See :meth:`.IRequestGate.admit`."""
        if admit_within_dialog(admission):
            return self._prove(admission)
        return self._ask(admission, 0)

    def _ask(self, admission: Admission, first: int) -> RequestVerdict:
        """Ask the identifiers from ``first`` on."""
        for place, identifier in enumerate(self.identifiers[first:], first):
            found = identifier.identify(admission)
            if isinstance(found, Awaitable):
                return self._wait(admission, found, place + 1)
            if found is not None:
                admission.endpoint = found
                return self._prove(admission)
        return self._admit_nobody(admission)

    async def _wait(
        self, admission: Admission, awaited: Awaitable[Endpoint | None], rest: int
    ) -> Verdict | None:
        """Wait for an identifier; then go on."""
        admission.endpoint = await awaited
        if admission.endpoint is None:
            verdict = self._ask(admission, rest)
        else:
            verdict = self._prove(admission)
        return await verdict if isinstance(verdict, Awaitable) else verdict

    def _prove(self, admission: Admission) -> RequestVerdict:
        """Have it proven, if the endpoint wants that."""
        if self.digest is None:
            return Verdict.CONTINUE
        return self.digest.admit(admission)

    def _admit_nobody(self, admission: Admission) -> RequestVerdict:
        if self.anonymous == "allow":
            admission.endpoint = self.nobody
            return Verdict.CONTINUE
        is_told_apart = any(endpoint.users for endpoint in self.endpoints)
        if self.digest is not None and (self.anonymous == "challenge" or is_told_apart):
            return self.digest.admit(admission)
        admission.refuse("endpoint-unknown", 403)
        return Verdict.HANDLED
