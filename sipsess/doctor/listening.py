# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Listeners: whether their ports can be opened, and which address far ends are told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from sipsess.flow import format_host
from sipsess.transport.address import ip_version
from sipsess.transport.listen import NO_FAMILY, ListenSpec

from .findings import NOTE, OK, WRONG, Finding
from .machine import Machine
from .running import Running

#: What people write who copy an example (RFC 5737, RFC 3849).
_DOCUMENTATION = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)
#: The addresses that providers give out when they have too few (RFC 6598).
_SHARED = ip_network("100.64.0.0/10")

#: An address with such an error is there all the same.
_STILL_THERE = frozenset({errno.EADDRINUSE, errno.EACCES})

_SYMPTOMS = "one-way audio, and calls that end after 32 seconds"


def examine_listeners(
    machine: Machine,
    specs: tuple[ListenSpec, ...],
    advertise: str | None,
    rtp_ports: str,
    running: Running | str,
) -> Iterator[Finding]:
    """
    Yield what far ends will see of each listener, and what stands in its way.

    :param advertise: the address for listeners that do not say their own.
    :param rtp_ports: as people write them.
    """
    for spec in specs:
        examination = _Examination(machine, spec, spec.advertised or advertise, rtp_ports)
        for host in spec.interfaces:
            error = machine.bind(spec.transport, host, spec.port)
            yield examination.judge_port(host, error, running)
            if error is None or error.errno in _STILL_THERE:
                yield from examination.check_address(host)


class _Examination:
    """Of one listener."""

    def __init__(
        self, machine: Machine, spec: ListenSpec, advertised: str | None, rtp_ports: str
    ) -> None:
        self._machine = machine
        self._spec = spec
        self._advertised = advertised
        self._rtp_ports = rtp_ports
        self._subject = f"listener {spec.name}"

    def _find(self, level: str, text: str, advice: str = "") -> Finding:
        return Finding(level, self._subject, text, advice)

    # -- the port --------------------------------------------------------------------------

    def judge_port(self, host: str, error: OSError | None, running: Running | str) -> Finding:
        """
        Say whether a port can be opened on an address.

        :param error: what the system has against it.
        """
        spec = self._spec
        where = f"{format_host(host)}:{spec.port}"
        if error is None:
            return self._find(OK, f"{where} can be opened")
        if error.errno == errno.EADDRINUSE:
            if not isinstance(running, str) and running.has(spec.transport, host, spec.port):
                return self._find(OK, f"{where} is open in the running server")
            return self._find(
                WRONG,
                f"{where} is in use by another program",
                "stop that one (ss -lnp tells which), or take another port",
            )
        if error.errno == errno.EACCES:
            return self._find(
                WRONG, f"{where} needs a privilege", "take a port above 1023, or start as root"
            )
        if error.errno not in NO_FAMILY:
            reason = os.strerror(error.errno or 0)
            return self._find(WRONG, f"{where} cannot be opened: {reason}")
        if spec.interface:
            return self._find(
                WRONG,
                f"this machine has no address {host}",
                "leave interface out to listen on all that it has",
            )
        return self._find(NOTE, f"this machine has no IPv{ip_version(host)}")

    # -- the address -----------------------------------------------------------------------

    def check_address(self, host: str) -> Iterator[Finding]:
        """Yield which address far ends are told, and whether they can reach it."""
        version = ip_version(host)
        advertised = self._advertised
        if advertised is not None and ip_version(advertised) == version:
            yield from self._check_advertised(advertised, is_local=ip_address(host).is_loopback)
            return
        if advertised is not None and self._spec.interface:
            yield self._find(
                WRONG,
                f"advertise = {advertised!r} is of another IP version than the listener: unused",
                f"advertise an IPv{version} address",
            )
        source = self._machine.source_address(version)
        seen = host if self._spec.interface else source
        if seen is None:
            yield self._find(
                NOTE, f"there is no IPv{version} route to other networks: far ends see ours only"
            )
            return
        if source is not None and self._spec.interface and source != host:
            yield from self._check_route(host, source)
        yield from self._check_own(seen)

    def _says(self, host: str) -> str:
        """Return what messages will say when this is our address."""
        where = f"{format_host(host)}:{self._spec.port or '(any port)'}"
        return f"far ends see {where} in Via and Contact, and {host} in SDP"

    def _check_route(self, host: str, source: str) -> Iterator[Finding]:
        if not ip_address(host).is_loopback:
            yield self._find(
                NOTE,
                f"it listens on {host} alone, but packets to other networks leave from {source}",
                "listen without interface, unless only the network of that address calls",
            )

    def _check_own(self, host: str) -> Iterator[Finding]:
        """Judge an address of this machine."""
        address = ip_address(host)
        if address.is_loopback:
            yield self._find(NOTE, f"{self._says(host)}: only this machine can call")
        elif address.is_link_local:
            yield self._find(
                WRONG,
                f"{self._says(host)}, an address that this machine gave itself",
                "give it an address of its network, by DHCP or by hand",
            )
        elif _is_private(address):
            yield self._find(
                NOTE,
                f"{self._says(host)}, a private address; beyond a NAT that means {_SYMPTOMS}",
                f'behind a NAT: advertise = "ITS PUBLIC ADDRESS", and let it forward '
                f"{self._spec.transport} {self._spec.port} and UDP {self._rtp_ports} to {host}; "
                f"without a NAT all is well",
            )
        else:
            yield self._find(OK, self._says(host))

    def _check_advertised(self, host: str, *, is_local: bool) -> Iterator[Finding]:
        """Judge an address that the file says."""
        address = ip_address(host)
        if any(address in network for network in _DOCUMENTATION):
            yield self._find(
                WRONG,
                f"{self._says(host)}, which is an address for examples, and nobody's",
                "advertise the public address of your NAT",
            )
        elif address.is_unspecified or address.is_multicast:
            yield self._find(WRONG, f"{self._says(host)}, where nobody can be reached")
        elif address.is_loopback and not is_local:
            yield self._find(
                WRONG,
                f"{self._says(host)}: others would call themselves, with {_SYMPTOMS}",
                "leave advertise out, or advertise an address that others can reach",
            )
        elif self._machine.has_address(host):
            yield self._find(OK, f"{self._says(host)}, an address of this machine")
        else:
            yield self._find(
                NOTE,
                f"{self._says(host)}, which is not an address of this machine",
                f"the NAT that has it must forward {self._spec.transport} {self._spec.port} and "
                f"UDP {self._rtp_ports} to the same ports, which a symmetric NAT does not do by "
                f"itself; otherwise {_SYMPTOMS}",
            )


def _is_private(address: IPv4Address | IPv6Address) -> bool:
    is_shared = isinstance(address, IPv4Address) and address in _SHARED
    return address.is_private or is_shared
