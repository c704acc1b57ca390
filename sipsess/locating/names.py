# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The name service of this machine, by :mod:`twisted.names`.

Theory of operation
    Names of the hosts file have the addresses that it says, and no service records: nobody else is
    asked about them. All others are asked of the name servers in ``resolv.conf``, which is read
    again when it has changed; names are complete, its search list is not used. Each server is given
    a few seconds, so every question has an end.

    An answer is read with suspicion: of its records count those of the wanted type under the name
    that was asked for, or under one to which aliases (CNAME) lead from there. Aliases that the
    answer does not resolve are asked for again, a few times.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.names import client, dns
from twisted.names.error import DNSNameError
from twisted.names.hosts import searchFileForAll
from twisted.python.filepath import FilePath
from zope.interface import implementer

from sipsess.flow import Address
from sipsess.interfaces import INameResolver
from sipsess.locating.cache import CachingResolver
from sipsess.locating.records import MAX_RECORDS, NAPTR, SRV, Answer, LookupFailed, Question, Record
from sipsess.locating.target import normal_address

HOSTS_FILE = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
#: Name servers that are asked, as everybody does (``MAXNS`` of ``resolv.conf(5)``).
MAX_SERVERS = 3
#: Seconds that each server may take to answer, the first and the second time.
TIMEOUTS = (1, 2)
#: Aliases that are followed.
MAX_ALIASES = 8
#: Seconds that what is not there is remembered when the answer does not say (:rfc:`2308`).
NEGATIVE_TTL = 60.0
#: The same for what the hosts file says: whoever edits it wants to see it.
HOSTS_TTL = 5.0

#: Names below these are known to everybody, and never asked of a server (:rfc:`6761#section-6`).
_SPECIAL = {"localhost": ["::1", "127.0.0.1"], "invalid": []}

_LOOKUPS = {
    "A": (dns.A, "lookupAddress"),
    "AAAA": (dns.AAAA, "lookupIPV6Address"),
    "SRV": (dns.SRV, "lookupService"),
    "NAPTR": (dns.NAPTR, "lookupNamingAuthorityPointer"),
}


@implementer(INameResolver)
class SystemResolver:
    """
    Asks the hosts file, then name servers.

    :param reactor: provides ``IReactorUDP``, ``IReactorTCP`` and ``IReactorTime``.
    :param servers: name servers; those of ``resolv_conf`` when ``None``.
    """

    #: Makes what asks name servers.
    make_client: Callable[..., Any] = client.Resolver

    def __init__(
        self,
        reactor: Any,
        *,
        servers: Sequence[Address] | None = None,
        hosts: str = HOSTS_FILE,
        resolv_conf: str = RESOLV_CONF,
    ) -> None:
        self._reactor = reactor
        self._hosts = FilePath(hosts)
        self._resolv_conf = resolv_conf
        self._read_at: int | None = None
        self._client: Any = None
        self._is_fixed = servers is not None
        if servers is not None:
            self._client = self._make_client(servers)

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See :meth:`.INameResolver.lookup`."""
        return Deferred.fromCoroutine(self._lookup(question))

    async def _lookup(self, question: Question) -> Answer:
        written = self._read_hosts(question)
        if written is not None:
            return written
        kind, method = _LOOKUPS[question.kind]
        name, ttl = question.name, float("inf")
        for _ in range(MAX_ALIASES):
            try:
                records, authority, _ = await getattr(self._servers(), method)(name, TIMEOUTS)
            except DNSNameError as error:
                # There is no such name; its message says how long that is certain.
                return Answer((), min(ttl, _negative_ttl(error.args[0].authority)))
            except Exception as error:  # of many kinds, from sockets to the parser
                raise LookupFailed(f"{question.kind} {question.name}: {error!r}") from error
            found = _follow(name, records, kind)
            ttl = min(ttl, found.ttl)
            if found.records:
                return Answer(tuple(found.records), ttl)
            if found.name == name:
                return Answer((), min(ttl, _negative_ttl(authority)))
            name = found.name
        raise LookupFailed(f"{question.kind} {question.name}: more than {MAX_ALIASES} aliases")

    def _read_hosts(self, question: Question) -> Answer | None:
        """Return what the hosts file says, or ``None`` when it does not know the name."""
        labels = question.name.split(".")
        while labels[0].startswith("_"):
            # The name of a service: _sip._udp before that of the domain.
            labels.pop(0)
        known: list[str] | None = searchFileForAll(self._hosts, ".".join(labels).encode())
        if not known:
            known = _SPECIAL.get(labels[-1])
        if known is None:
            return None
        wanted = {"A": False, "AAAA": True}.get(question.kind)
        addresses = [host for host in known if (":" in host) == wanted and wanted is not None]
        return Answer(tuple(addresses[:MAX_RECORDS]), HOSTS_TTL)

    def _servers(self) -> Any:
        """Return the client of the name servers as they are now."""
        if self._is_fixed:
            return self._client
        try:
            read_at: int | None = os.stat(self._resolv_conf).st_mtime_ns
        except OSError:
            read_at = None
        if self._client is None or read_at != self._read_at:
            self._read_at = read_at
            self._client = self._make_client(_read_resolv_conf(self._resolv_conf))
        return self._client

    def _make_client(self, servers: Sequence[Address]) -> Any:
        return self.make_client(servers=list(servers), timeout=TIMEOUTS, reactor=self._reactor)


def find_resolver(reactor: Any, seconds: Callable[[], float]) -> INameResolver:
    """
    Return the name service of a reactor's machine, behind a cache.

    :param reactor: one that resolves names; on another, such as a virtual host, no name is known.
    :param seconds: the monotonic clock.
    """
    if IReactorPluggableNameResolver.providedBy(reactor):
        return CachingResolver(SystemResolver(reactor), seconds)
    return NoResolver()


@implementer(INameResolver)
class NoResolver:
    """Knows no name."""

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See :meth:`.INameResolver.lookup`."""
        return succeed(Answer())


def _read_resolv_conf(path: str) -> list[Address]:
    """Return the name servers that a ``resolv.conf(5)`` names; this machine when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        words = []
    hosts = [
        line[1]
        for line in words
        if len(line) > 1 and line[0] == "nameserver" and normal_address(line[1]) is not None
    ]
    return [(host, dns.PORT) for host in hosts[:MAX_SERVERS] or ["127.0.0.1"]]


class _Found:
    """What an answer says about a name."""

    def __init__(self, name: str) -> None:
        #: The name to which the aliases lead.
        self.name = name
        self.records: list[Record] = []
        self.ttl = float("inf")


def _follow(name: str, records: Iterable[Any], kind: int) -> _Found:
    """Follow the aliases within one answer, and take the records at their end."""
    headers = list(records)[: 4 * MAX_RECORDS]
    found = _Found(name)
    for _ in range(MAX_ALIASES):
        own = [header for header in headers if _text(header.name.name) == found.name]
        wanted = [header for header in own if header.type == kind]
        if wanted:
            found.ttl = min(found.ttl, *(header.ttl for header in wanted))
            found.records = [item for item in map(_read, wanted) if item is not None]
            break
        alias = next((header for header in own if header.type == dns.CNAME), None)
        if alias is None:
            break
        found.ttl = min(found.ttl, alias.ttl)
        found.name = _text(alias.payload.name.name)
    return found


def _read(header: Any) -> Record | None:
    """Return a record as we know it; ``None`` for one that is not what its type says."""
    payload = header.payload
    if isinstance(payload, dns.Record_A):
        return str(payload.dottedQuad())
    if isinstance(payload, dns.Record_AAAA):
        return normal_address(payload._address)
    if isinstance(payload, dns.Record_SRV):
        target = _text(payload.target.name)
        return SRV(payload.priority, payload.weight, payload.port, target)
    if isinstance(payload, dns.Record_NAPTR):
        return NAPTR(
            payload.order,
            payload.preference,
            _text(payload.flags.string),
            _text(payload.service.string),
            _text(payload.replacement.name),
        )
    return None


def _text(raw: bytes) -> str:
    """Return a name, or another string of the DNS; what is no ASCII becomes a name of nobody."""
    return raw.decode("ascii", "replace").lower().removesuffix(".")


def _negative_ttl(authority: Iterable[Any]) -> float:
    """Return how long it is certain that nothing is there (:rfc:`2308#section-5`)."""
    for header in authority:
        if isinstance(header.payload, dns.Record_SOA):
            return float(min(header.payload.minimum, header.ttl))
    return NEGATIVE_TTL
