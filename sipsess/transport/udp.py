# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SIP over UDP: the thin layer between a port of the reactor and the core.

Theory of operation
    Datagrams go to ``core.receive_datagram(data, flow, now)``, and nothing that happens there
    reaches the reactor, which would write a traceback for each: what is raised is counted, and
    logged at most once a minute. One Flow per remote address is kept in a bounded table, so that a
    datagram of a known peer builds nothing.

    Sending goes straight to the socket when there is one: ``transport.write`` examines the address
    three times before it does the same. It never raises and never resolves a name; what could not
    be sent is told to ``core.send_failed(flow, error)``. A full socket buffer is a lost datagram,
    which SIP repairs.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from sipsess.errors import TransportError
from sipsess.flow import Address, Advertised, Flow
from sipsess.recent import RecentDict
from sipsess.transport.address import (
    SourceAddress,
    ip_version,
    loopback,
    normal_host,
)
from sipsess.transport.listener import listener_name
from sipsess.transport.queueing import measure_queue

#: What one read takes: RFC 3261 18.1.1 demands 65535; Twisted cuts at 8192 unless told otherwise.
MAX_DATAGRAM = 65535

#: Bytes that the system shall keep for us while we are busy; a burst of 1000 INVITEs, with what the
#: system adds to each, does not fit into its usual 200 KiB. It gives as much as it may.
RECEIVE_BUFFER = 4 * 1024 * 1024

#: Remote addresses whose flow is kept ready (twice as many at most).
MAX_FLOWS = 8192

#: Seconds after which flows are made anew, because our own address may have changed.
FLOW_LIFE = 60.0

#: Seconds between two reports of failures.
REPORT_INTERVAL = 60.0

_TEMPORARY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})

_log = Logger()


class SendError(TransportError):
    """
    A datagram could not be sent.

    :param cause: what the system said.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.__cause__ = cause
        #: The error number (``errno.EMSGSIZE``...), or ``None`` when the system gave none.
        is_long = isinstance(cause, MessageLengthError)
        self.errno: int | None = errno.EMSGSIZE if is_long else getattr(cause, "errno", None)
        #: True when the next attempt may well work: count it, and let SIP's timers send it again.
        self.is_temporary = self.errno in _TEMPORARY


class DatagramCore(Protocol):
    """What a listener needs of the core."""

    def receive_datagram(self, data: bytes, flow: Flow, now: float, waited: float = 0.0) -> None:
        """Take one datagram; ``waited`` says how long an INVITE has waited to be read."""

    def send_failed(self, flow: Flow, error: SendError) -> None:
        """Hear that a datagram could not be sent; called from within :meth:`UDPListener.send`."""


class UDPListener(DatagramProtocol):
    """
    SIP on one UDP port.

    :param core: gets the datagrams and hears of failures.
    :param seconds: the monotonic clock of the core.
    :param source_address: says what our address is towards a peer, for a port bound to a wildcard.
    :param name: its name in flows; ``None`` makes it from the port: ``"udp:5060"``,
        ``"udp6:5060"``, or ``"udp:5060:interface=127.0.0.1"``.
    :param advertised: what peers shall see instead of the local address.
    """

    noisy = False
    #: As in flows.
    kind = "UDP"

    def __init__(
        self,
        core: DatagramCore,
        seconds: Callable[[], float],
        source_address: SourceAddress,
        name: str | None = None,
        advertised: Advertised | None = None,
    ) -> None:
        self.name = name or ""
        self.advertised = advertised
        #: Our host and port; the host may be a wildcard. Known once it listens.
        self.address: Address = ("", 0)
        #: Keep-alives that were dropped (CRLF of :rfc:`5626`, NUL bytes and empty datagrams of
        #: :rfc:`3581`).
        self.keep_alives = 0
        #: Datagrams that made the core or a plugin raise.
        self.failures = 0
        #: Datagrams that could not be sent.
        self.send_failures = 0
        self._core = core
        self._seconds = seconds
        self._source_address = source_address
        self._is_wildcard = False
        self._flows: RecentDict[Address, Flow] = RecentDict(MAX_FLOWS)
        self._flows_until = float("-inf")
        #: Remote address in normal form -> the one that the socket wants (it may have a scope).
        self._targets: RecentDict[Address, Address] = RecentDict(MAX_FLOWS)
        self._report_after = float("-inf")
        self._sendto: Callable[[bytes, Address], Any] = _send_nowhere
        #: How long the datagram that was read last has waited, in seconds.
        self._waited: Callable[[], float] = float

    def __repr__(self) -> str:
        return f"<UDPListener {self.name}>"

    # -- what the reactor calls

    def startProtocol(self) -> None:
        """Learn the address, and how to send."""
        transport: Any = self.transport
        host = transport.getHost()
        self.address = (normal_host(host.host), host.port)
        self._is_wildcard = self.address[0] in ("0.0.0.0", "::")
        self.name = self.name or listener_name(self.kind, self.address)
        get_handle = getattr(transport, "getHandle", None)
        if get_handle is None:
            self._sendto = transport.write
            return
        handle: socket.socket = get_handle()
        self._sendto = handle.sendto
        self._waited = measure_queue(handle)
        with suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def stopProtocol(self) -> None:
        """Send nothing any more."""
        self._sendto = _send_nowhere

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Give one datagram to the core; never raises."""
        if not datagram.strip(b"\r\n\0"):
            self.keep_alives += 1
            return
        try:
            now = self._seconds()
            if now >= self._flows_until:
                self._flows_until = now + FLOW_LIFE
                self._flows.clear()
            flow = self._flows.get(addr) or self._make_flow(addr)
            # Only a new call is ever refused for having waited, so nothing else is asked about.
            waited = self._waited() if datagram.startswith(b"INVITE ") else 0.0
            self._core.receive_datagram(datagram, flow, now, waited)
        except Exception:
            self._report()

    # -- what the core calls

    def flow_to(self, remote: Address) -> Flow:
        """
        Return the flow from this port to a remote address.

        :param remote: an IP address and a port.
        :raises ValueError: when the host is a name.
        """
        return self._flows.get(remote) or self._make_flow(remote)

    def send(self, wire: bytes, flow: Flow) -> None:
        """Send one datagram; never raises, a failure is told to ``core.send_failed``."""
        try:
            target = self._targets.get(flow.remote) or self._make_target(flow.remote)
            self._sendto(wire, target)
        except Exception as error:
            self.send_failures += 1
            self._core.send_failed(flow, SendError(error))

    def stop(self) -> Deferred[None]:
        """Close the port; the Deferred fires when it is closed."""
        transport: Any = self.transport
        closing: Deferred[None] | None = transport.stopListening() if transport else None
        return closing or succeed(None)

    # -- inside

    def _make_flow(self, addr: Address) -> Flow:
        host, port = addr[0], addr[1]
        remote = (normal_host(host), port)
        flow = Flow("UDP", self._local(host), remote, self.name, self.advertised)
        self._flows.put(addr, flow)
        if remote[0] != host:
            self._targets.put(remote, (host, port))
        return flow

    def _local(self, remote: str) -> Address:
        if not self._is_wildcard:
            return self.address
        try:
            return self._source_address(remote), self.address[1]
        except OSError:
            return loopback(ip_version(remote)), self.address[1]

    def _make_target(self, remote: Address) -> Address:
        """Check that an address needs no look-up, which would block, and remember it."""
        normal_host(remote[0])
        if self.address[1] and ip_version(remote[0]) != ip_version(self.address[0]):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        self._targets.put(remote, remote)
        return remote

    def _report(self) -> None:
        """Count what was raised, and log it when the last report is long ago."""
        self.failures += 1
        now = self._seconds()
        if now >= self._report_after:
            self._report_after = now + REPORT_INTERVAL
            _log.failure(
                "{listener} could not handle a datagram ({count} so far; "
                "at most one report a minute)",
                listener=self.name,
                count=self.failures,
            )


def _send_nowhere(wire: bytes, target: Address) -> None:
    """Stand for a port that is not open."""
    raise OSError(errno.EBADF, "the port is closed")
