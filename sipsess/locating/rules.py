# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The rules of :rfc:`3263#section-4`: which DNS questions a URI needs, and what their answers mean.

Theory of operation
    :func:`find_targets` is a generator without any world in it: it yields questions, is sent their
    answers in the same order, and returns the targets. Questions that do not depend on each other
    are yielded together. An answer of ``None`` means that nobody knew; it counts as nothing found,
    because many name servers do not answer questions for NAPTR at all.

    What strangers write into the DNS is bounded everywhere: records looked at, servers whose
    addresses are asked for, and targets. There is no loop to get caught in, as each stage leads to
    the next one only.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import groupby
from random import Random
from typing import TypeAlias

from sipsess.locating.records import MAX_RECORDS, NAPTR, SRV, Answer, Question, Record
from sipsess.locating.target import (
    DEFAULT_PORTS,
    Destination,
    Target,
    UnreachableError,
    is_domain,
)
from sipsess.locating.weights import order_servers

#: Servers whose addresses are asked for.
MAX_SERVERS = 8
#: Targets of one URI.
MAX_TARGETS = 16

#: The service field of NAPTR records (4.1; :rfc:`7118#section-6`).
SERVICES = {
    "SIP+D2U": "UDP",
    "SIP+D2T": "TCP",
    "SIPS+D2T": "TLS",
    "SIP+D2W": "WS",
    "SIPS+D2W": "WSS",
}
#: What stands before the domain in the name of SRV records.
PREFIXES = {
    "UDP": "_sip._udp",
    "TCP": "_sip._tcp",
    "TLS": "_sips._tcp",
    "WS": "_sip._ws",
    "WSS": "_sips._ws",
}

Answers: TypeAlias = Sequence[Answer | None]
Asking: TypeAlias = Generator[tuple[Question, ...], Answers, list[Target]]

#: A transport, and the name at which its servers are found.
_Service: TypeAlias = tuple[str, str]


def find_targets(destination: Destination, random: Random) -> Asking:
    """
    Return the targets of a URI, the one to try first in front; a generator, see above.

    :param random: decides among servers of the same priority.
    :raises UnreachableError: when there is none.
    """
    return _Search(destination, random).run()


class _Search:
    """What is known while one URI is looked for."""

    def __init__(self, destination: Destination, random: Random) -> None:
        self._destination = destination
        self._transports = destination.transports
        self._random = random
        #: The name service failed to answer something.
        self._is_in_doubt = False
        #: There are SRV records, so the addresses of the domain itself mean nothing (4.2).
        self._has_servers = False

    def run(self) -> Asking:
        """See :func:`find_targets`."""
        destination = self._destination
        transport = destination.transport
        if destination.is_numeric:
            assert transport is not None
            return [self._target(transport, destination.host, destination.port)]
        if destination.port is None:
            targets = yield from self._by_services()
            if targets:
                return targets
        if not self._has_servers:
            transport = transport or self._transports[0]
            found = yield from self._addresses([destination.host])
            targets = [
                self._target(transport, address, destination.port)
                for address in found[destination.host]
            ]
            if targets:
                return targets[:MAX_TARGETS]
        raise self._nothing()

    def _target(self, transport: str, address: str, port: int | None) -> Target:
        return Target(transport, address, port or DEFAULT_PORTS[transport], self._destination.name)

    def _nothing(self) -> UnreachableError:
        host = self._destination.host
        if self._is_in_doubt:
            return UnreachableError(f"the name service does not say where {host} is")
        if self._has_servers:
            return UnreachableError(
                f"no server that {host} names in its SRV records has an address"
            )
        return UnreachableError(f"the name {host} is not known")

    # -- NAPTR and SRV ---------------------------------------------------------------------

    def _by_services(self) -> Asking:
        """Find the servers of the domain by its NAPTR and SRV records."""
        destination = self._destination
        if destination.transport is not None:
            return (yield from self._servers([destination.transport]))
        (records,) = yield from self._ask([Question("NAPTR", destination.host)])
        for services in self._choose_services(records):
            targets = yield from self._servers_at(services)
            if targets:
                return targets
        if self._has_servers:
            return []
        # 4.1: without NAPTR records each transport is asked for.
        return (yield from self._servers(self._transports))

    def _choose_services(self, records: Iterable[Record]) -> Iterator[list[_Service]]:
        """
        Return the services of NAPTR records that can be used, in their order.

        :return: one list for each order; the next is for those who found nothing by the first
            (:rfc:`3403#section-4.1`).
        """
        found = [
            record
            for record in records
            if isinstance(record, NAPTR)
            # 4.1: "s" says that the replacement is the name of SRV records.
            and record.flags.lower() == "s"
            and is_domain(record.replacement)
            and SERVICES.get(record.service.upper()) in self._transports
        ]
        found.sort(key=lambda record: (record.order, record.preference))
        for _, group in groupby(found, key=lambda record: record.order):
            yield [(SERVICES[item.service.upper()], item.replacement) for item in group]

    def _servers(self, transports: Iterable[str]) -> Asking:
        """Find the servers of the domain itself for some transports."""
        host = self._destination.host
        services = [(transport, f"{PREFIXES[transport]}.{host}") for transport in transports]
        return (yield from self._servers_at(services))

    def _servers_at(self, services: Sequence[_Service]) -> Asking:
        """Find the servers of some services, and the addresses of these."""
        answers = yield from self._ask([Question("SRV", name) for _, name in services])
        servers: list[tuple[str, SRV]] = []
        for (transport, _), records in zip(services, answers, strict=True):
            good = [record for record in records if isinstance(record, SRV)]
            self._has_servers |= bool(good)
            # RFC 2782: a target of "." says that the service is not there.
            good = [item for item in good if is_domain(item.target) and 0 < item.port < 65536]
            servers += [(transport, server) for server in order_servers(good, self._random)]
        servers = servers[:MAX_SERVERS]
        found = yield from self._addresses([server.target for _, server in servers])
        targets = [
            self._target(transport, address, server.port)
            for transport, server in servers
            for address in found[server.target]
        ]
        return list(dict.fromkeys(targets))[:MAX_TARGETS]

    # -- addresses -------------------------------------------------------------------------

    def _addresses(
        self, hosts: Iterable[str]
    ) -> Generator[tuple[Question, ...], Answers, dict[str, list[str]]]:
        """
        Find the addresses of some names.

        :return: those of each name, IPv6 first (:rfc:`7984`).
        """
        names = list(dict.fromkeys(hosts))
        questions = [Question(kind, name) for name in names for kind in ("AAAA", "A")]
        answers = iter((yield from self._ask(questions)))
        return {
            name: [
                record
                for records in (next(answers), next(answers))
                for record in records
                if isinstance(record, str) and _is_host(record)
            ]
            for name in names
        }

    def _ask(
        self, questions: Sequence[Question]
    ) -> Generator[tuple[Question, ...], Answers, list[tuple[Record, ...]]]:
        """Return the records of each answer, and no more than are looked at."""
        if not questions:
            return []
        answers = yield tuple(questions)
        self._is_in_doubt |= None in answers
        return [() if answer is None else answer.records[:MAX_RECORDS] for answer in answers]


def _is_host(address: str) -> bool:
    """Tell whether an address is that of one host: nothing is sent to everybody, or to nobody."""
    read = ip_address(address)
    return not (read.is_multicast or read.is_unspecified or address == "255.255.255.255")
