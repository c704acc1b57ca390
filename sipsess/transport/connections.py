# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The table of connections: who may connect, which one a message takes, and opening new ones.

Theory of operation
    A connection is found by its flow, and by its target: transport, address, and for TLS the name
    that was proven. Connections that we opened have a target from the beginning. One that a peer
    opened gets targets only when the peer asked for it by ``alias`` in its Via: over TCP that of
    its own address and the port of its sent-by; over TLS the same, for each domain that its
    certificate has proven (:rfc:`5923#section-8`). So nobody draws to himself what is meant for
    others.

    A flow without a serial is a connection that opens when something is sent on it: what is sent
    waits in a bounded queue, and is lost with :class:`.ConnectFailed` when nobody answers. Whoever
    wants the same target shares one attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.errors import ConnectFailed, LocalError, TransportError
from sipsess.flow import Address, Flow, format_host, source_key
from sipsess.recent import RecentDict
from sipsess.tally import Tally
from sipsess.transport.address import ip_version
from sipsess.transport.files import TLSFiles, load_credentials
from sipsess.transport.listener import StreamListener
from sipsess.transport.opening import Opening, make_target
from sipsess.transport.stream import Connection, ConnectionCore, StreamConnection, Target

if TYPE_CHECKING:
    from sipsess.transport.tls import Credentials

#: Connections at a time: each costs a file and, with TLS, some 30 KiB.
MAX_CONNECTIONS = 4096
#: Connections of one host at a time, of one network of 64 bits in IPv6, where a host has as many
#: addresses as it likes; an office of phones behind one NAT fits.
MAX_CONNECTIONS_PER_PEER = 256
#: Connections that are being opened at a time; beyond it the network is down, and more would only
#: wait, too.
MAX_OPENING = 256
#: Seconds that opening may take: short enough for another way to be tried within Timer B.
CONNECT_LIMIT = 10.0
#: Seconds that opening may take when the request can go over UDP as well, and only its size speaks
#: against that: many filters drop what they do not want, and say nothing.
WIDER_LIMIT = 2.0
#: Seconds that the peers get for a polite end when the server stops.
STOP_LIMIT = 0.5
#: Seconds between two looks at the limits of time.
SWEEP_INTERVAL = 1.0
#: Seconds for which an address is remembered where nobody took a connection, and how many are.
FAILURE_LIFE = 600.0
MAX_FAILED = 1024
#: Ports for which one connection may be reused; one sent-by has one.
MAX_ALIASES = 4
#: What we open connections over; over WebSocket only peers do (:rfc:`7118#section-3`).
CONNECTABLE = frozenset({"TCP", "TLS"})
#: Seconds between two reports of failures.
REPORT_INTERVAL = 60.0

_log = Logger()


class Connections:
    """
    All connections of one server.

    :param reactor: provides ``IReactorTCP`` and ``IReactorTime``.
    :param seconds: the core's clock.
    :param choose: returns the listener that serves a transport and an address, or ``None``.
    :param trust: a file of authorities that secure far ends must be certified by, where there is no
        listener that says it; the system's when empty.
    :param in_use: returns the flows of calls; a connection of one is not closed for being idle.
    """

    #: Set by who makes the core, which needs this table first.
    core: ConnectionCore

    def __init__(
        self,
        reactor: Any,
        *,
        seconds: Callable[[], float],
        choose: Callable[[str, Address], object],
        in_use: Callable[[], Collection[Flow]],
        trust: str = "",
        max_connections: int = MAX_CONNECTIONS,
        max_per_peer: int = MAX_CONNECTIONS_PER_PEER,
    ) -> None:
        self.reactor = reactor
        self.seconds = seconds
        self.max_connections = max_connections
        self.max_per_peer = max_per_peer
        #: What the server did wrong in a connection's name.
        self.failures = 0
        self._choose = choose
        self._trust = trust
        self._credentials: Credentials | None = None
        self._in_use = in_use
        self._serials = count(1)
        #: All connections, and the flows that each carries.
        self._flows: dict[Connection, set[Flow]] = {}
        self._targets: dict[Connection, list[Target]] = {}
        self._by_flow: dict[Flow, Connection] = {}
        self._by_target: dict[Target, Connection] = {}
        self._peers = Tally()
        self._openings: dict[Target, Opening] = {}
        #: Addresses where nobody took a connection, and until when they are not asked again for
        #: what can go over UDP as well.
        self._failed: RecentDict[Address, float] = RecentDict(MAX_FAILED)
        self._lost: dict[Flow, TransportError | None] = {}
        self._telling: IDelayedCall | None = None
        self._sweeper: IDelayedCall | None = None
        self._closing: Deferred[None] | None = None
        self._closing_limit: IDelayedCall | None = None
        self._report_after = float("-inf")

    def __len__(self) -> int:
        return len(self._flows)

    # -- what the core and the server ask --------------------------------------------------

    def is_open(self, flow: Flow) -> bool:
        """See :meth:`.ConnectionTable.is_open`."""
        return not flow.serial or flow in self._by_flow

    def is_incoming(self, flow: Flow) -> bool:
        """See :meth:`.ConnectionTable.is_incoming`."""
        connection = self._by_flow.get(flow)
        return connection is not None and connection.is_incoming

    def find(self, transport: str, address: Address, name: str = "") -> Flow | None:
        """
        Return the flow of an open connection to an address, or ``None``.

        :param name: whom a secure far end must have proven to be; left out, the address itself.
        """
        connection = self._by_target.get(make_target(transport, address, name))
        return None if connection is None else connection.flow

    def open_flow(self, transport: str, address: Address, name: str) -> Flow | None:
        """See :meth:`.ConnectionTable.open_flow`."""
        found = self.find(transport, address, name)
        if found is not None or transport not in CONNECTABLE:
            return found
        listener = self._choose(transport, address)
        if not isinstance(listener, StreamListener):
            return None
        return listener.flow_to(address, name)

    def wider_flow(self, address: Address) -> Flow | None:
        """See :meth:`.ConnectionTable.wider_flow`; where TCP has just failed it is not tried."""
        until = self._failed.get(address)
        if until is not None and self.seconds() < until:
            return None
        flow = self.open_flow("TCP", address, "")
        if flow is None or flow.serial:
            return flow
        try:
            self._opening(make_target("TCP", address, ""), WIDER_LIMIT)
        except ConnectFailed:
            return None
        return flow

    def offer_alias(self, flow: Flow, port: int) -> None:
        """See :meth:`.ConnectionTable.offer_alias`."""
        connection = self._by_flow.get(flow)
        if connection is None or not connection.is_incoming:
            return
        targets = self._targets[connection]
        names = connection.identities if connection.is_secure else ("",)
        for name in names:
            target = make_target(flow.transport, (flow.remote[0], port), name)
            if len(targets) < MAX_ALIASES * len(names) and target not in self._by_target:
                self._by_target[target] = connection
                targets.append(target)

    def send(self, flow: Flow, wire: bytes) -> None:
        """Send one message; what cannot be sent is told to ``core.flow_lost`` a little later."""
        connection = self._by_flow.get(flow)
        if connection is None and not flow.serial:
            connection = self._by_target.get(make_target(flow.transport, flow.remote, flow.name))
            if connection is not None:
                self._carry(connection, flow)
        if connection is not None:
            connection.send(wire)
        elif flow.serial:
            self._lose(flow, None)
        else:
            self._queue(flow, wire)

    def connect(self, transport: str, address: Address, name: str) -> Deferred[Flow]:
        """
        Return the flow of a connection to an address: one that stands, or a new one.

        :param address: an IP address and a port.
        :param name: whom a secure far end must prove to be (:rfc:`5922`).
        :return: fails with :class:`.ConnectFailed`.
        """
        found = self.find(transport, address, name)
        if found is not None:
            return succeed(found)
        try:
            return self._opening(make_target(transport, address, name)).wait()
        except ConnectFailed as error:
            return fail(error)

    def credentials(self, listeners: Iterable[object]) -> list[Credentials]:
        """Return all that this side shows and trusts, for its files to be read again."""
        found = [item.credentials for item in listeners if isinstance(item, StreamListener)]
        return [item for item in dict.fromkeys([*found, self._credentials]) if item is not None]

    # -- opening ---------------------------------------------------------------------------

    def _queue(self, flow: Flow, wire: bytes) -> None:
        try:
            opening = self._opening(make_target(flow.transport, flow.remote, flow.name))
        except ConnectFailed as error:
            self._lose(flow, error)
            return
        if not opening.add(flow, wire):
            self.core.count_refusal("connect-queue-full", flow)
            self._lose(flow, None)

    def _opening(self, target: Target, limit: float = CONNECT_LIMIT) -> Opening:
        """
        Return the attempt to reach a target, begun now if there is none.

        :raises ConnectFailed: when none can be begun.
        """
        opening = self._openings.get(target)
        if opening is not None:
            return opening
        transport, address, _ = target
        if self._closing is not None:
            raise ConnectFailed("the server stops")
        if transport not in CONNECTABLE:
            raise ConnectFailed(f"nobody can be reached over {transport} from here")
        if len(self._openings) >= MAX_OPENING or len(self) >= self.max_connections:
            raise ConnectFailed("there are too many connections")
        listener = self._choose(transport, address)
        opening = self._openings[target] = Opening(target)
        try:
            known = listener if isinstance(listener, StreamListener) else None
            self._begin(opening, known, limit)
        except LocalError as error:
            self._openings.pop(target, None)
            raise ConnectFailed(str(error)) from error
        if opening.error is not None:
            raise opening.error
        return opening

    def _begin(self, opening: Opening, listener: StreamListener | None, limit: float) -> None:
        transport, (host, port), name = opening.target
        credentials = None if transport == "TCP" else self._credentials_of(listener)
        connection = StreamConnection(
            self,
            transport,
            next(self._serials),
            listener="" if listener is None else listener.name,
            advertised=None if listener is None else listener.advertised,
            advertised_port=0 if listener is None else listener.address[1],
            name=name,
            is_incoming=False,
            credentials=credentials,
        )
        connection.target = opening.target
        factory: Any = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: connection
        if credentials is not None:
            factory = credentials.connect(name, factory, self.reactor)
        kind = TCP6ClientEndpoint if ip_version(host) == 6 else TCP4ClientEndpoint
        bound = None if listener is None or listener.is_wildcard else (listener.address[0], 0)
        endpoint = kind(self.reactor, host, port, limit, bound)
        opening.attempt = endpoint.connect(factory)
        opening.attempt.addErrback(self._connect_failed, opening)

    def _credentials_of(self, listener: StreamListener | None) -> Credentials:
        """
        Return what we show and trust: what the listener does, or nothing and the trusted file.

        :raises LocalError: when that cannot be read.
        """
        if listener is not None and listener.credentials is not None:
            return listener.credentials
        if self._credentials is None:
            self._credentials = load_credentials(TLSFiles(ca=self._trust))
        return self._credentials

    def _connect_failed(self, failure: Failure, opening: Opening) -> None:
        self._fail(opening, str(failure.value) or type(failure.value).__name__)

    def _fail(self, opening: Opening, why: str) -> None:
        """Tell all who wait that a connection could not be opened."""
        transport, (host, port), _ = opening.target
        if self._openings.pop(opening.target, None) is None:
            return
        self._failed.put((host, port), self.seconds() + FAILURE_LIFE)
        error = ConnectFailed(f"no {transport} connection to {format_host(host)}:{port}: {why}")
        flow = Flow(transport, ("", 0), (host, port), is_reliable=True)
        self.core.count_refusal("connect-failed", flow)
        now = self.seconds()
        for waiting in dict.fromkeys(flow for flow, _ in opening.queue):
            self.core.flow_lost(waiting, now, error)
        opening.fail(error)

    # -- what connections tell -------------------------------------------------------------

    def admits(self, host: str, listener: StreamListener) -> bool:
        """Tell whether a host may have one more connection; count it when not."""
        if self._closing is not None:
            return False
        code: str | None
        if len(self) >= self.max_connections:
            code = "connections-full"
        elif self._peers[source_key(host)] >= self.max_per_peer:
            code = "peer-connections-full"
        else:
            code = self.core.refusal_of_host(host)
        if code is None:
            return True
        flow = Flow(listener.kind, listener.address, (host, 0), listener.name, is_reliable=True)
        self.core.count_refusal(code, flow)
        return False

    def next_serial(self) -> int:
        """Return the number of the next connection."""
        return next(self._serials)

    def begun(self, connection: Connection) -> None:
        """See :class:`.ConnectionOwner`."""
        self._flows[connection] = {connection.flow}
        self._targets[connection] = []
        self._peers.add(source_key(connection.flow.remote[0]))
        if self._sweeper is None:
            self._sweeper = self.reactor.callLater(SWEEP_INTERVAL, self._sweep)
        if self._closing is not None:
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """See :class:`.ConnectionOwner`."""
        flow = connection.flow
        self._by_flow[flow] = connection
        if connection.target is None:
            return
        opening = self._openings.pop(connection.target, None)
        if opening is None:
            connection.close()
            return
        self._by_target[opening.target] = connection
        self._targets[connection].append(opening.target)
        for waiting, wire in opening.queue:
            self._carry(connection, waiting)
            connection.send(wire)
        opening.succeed(flow)

    def ending(self, connection: Connection) -> None:
        """See :class:`.ConnectionOwner`; what is sent from now on finds another way."""
        for target in self._targets.pop(connection):
            self._by_target.pop(target, None)
        for flow in self._flows[connection]:
            if self._by_flow.pop(flow, None) is not None:
                self._lose(flow, None)

    def closed(self, connection: Connection, reason: Failure) -> None:
        """See :class:`.ConnectionOwner`."""
        del self._flows[connection]
        self._peers.remove(source_key(connection.flow.remote[0]))
        if not connection.has_opened:
            self._hand_shake_failed(connection, reason)
        self._tell_lost()
        if not self._flows:
            self._rest()

    def _hand_shake_failed(self, connection: Connection, reason: Failure) -> None:
        if connection.target is not None:
            opening = self._openings.get(connection.target)
            if opening is not None:
                self._fail(opening, connection.fault or reason.getErrorMessage())
        elif not connection.is_given_up:
            self.core.count_refusal("connection-handshake-failed", connection.flow)

    def failed(self) -> None:
        """See :class:`.ConnectionOwner`."""
        self.failures += 1
        now = self.seconds()
        if now >= self._report_after:
            self._report_after = now + REPORT_INTERVAL
            _log.failure(
                "a connection could not handle what came ({count} so far; at most one report a "
                "minute)",
                count=self.failures,
            )

    def _carry(self, connection: Connection, flow: Flow) -> None:
        """Let a connection stand for the flow that asked for it."""
        self._flows[connection].add(flow)
        self._by_flow[flow] = connection

    def _lose(self, flow: Flow, error: TransportError | None) -> None:
        """Tell the core, in a turn of its own, that nothing can be sent on a flow."""
        if self._telling is None:
            self._telling = self.reactor.callLater(0, self._tell_lost)
        self._lost[flow] = error

    def _tell_lost(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None and telling.active():
            telling.cancel()
        lost, self._lost = self._lost, {}
        now = self.seconds()
        for flow, error in lost.items():
            self.core.flow_lost(flow, now, error)

    # -- time, and the end -----------------------------------------------------------------

    def _sweep(self) -> None:
        """Look at the limits of time of all connections."""
        self._sweeper = self.reactor.callLater(SWEEP_INTERVAL, self._sweep)
        now = self.seconds()
        in_use: list[Collection[Flow]] = []

        def is_in_use(connection: Connection) -> bool:
            if not in_use:
                in_use.append(self._in_use())
            return any(flow in in_use[0] for flow in self._flows[connection])

        for connection in tuple(self._flows):
            connection.check(now, is_in_use)

    def _rest(self) -> None:
        """Stop looking: there are no connections."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
        limit, self._closing_limit = self._closing_limit, None
        if limit is not None and limit.active():
            limit.cancel()
        closing = self._closing
        if closing is not None and not closing.called:
            closing.callback(None)

    def close(self) -> Deferred[None]:
        """
        Close all connections, politely; none is opened any more.

        :return: fires when they are gone, at once or soon after the limit.
        """
        self._closing = Deferred()
        for opening in tuple(self._openings.values()):
            self._fail(opening, "the server stops")
            if opening.attempt is not None:
                opening.attempt.cancel()
        for connection in tuple(self._flows):
            connection.close()
        self._closing_limit = self.reactor.callLater(STOP_LIMIT, self._abort_all)
        if not self._flows:
            self._rest()
        return self._closing

    def _abort_all(self) -> None:
        for connection in tuple(self._flows):
            connection.abort()

    def reopen(self) -> None:
        """Take connections again, after :meth:`close`."""
        self._closing = None

    def leftovers(self) -> list[str]:
        """Name what is still open or being opened, for tests."""
        return [repr(item) for item in (*self._flows, *self._openings)]
