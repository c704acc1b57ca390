# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The server: a Twisted service around the core.

Theory of operation
    Starting opens the listeners; what they receive goes to the core, what the core sends goes to
    the listener that its flow names. The core has one deadline, and the server one delayed call
    for it, looked at when a turn ends: it is only ever moved to an earlier time; when it fires too
    early for anything, the next deadline is armed. Stopping refuses new calls, ends the live ones,
    waits for that no longer than a limit, and closes everything.

    It is a service for ``twistd``, and a context for scripts::

        async with SIPServer(reactor, listen=["udp:0:interface=127.0.0.1"]) as sip:
            call = await sip.dial("sip:echo@127.0.0.1")
            await call.hangup()

The module is long because all parts of a server, and all that can be said of one, meet here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from sipsess.codec import CODECS, Codec
from sipsess.core import SIPCore
from sipsess.defence import DefenceSettings
from sipsess.dialog.usage import FAIL
from sipsess.endpoint import ANONYMOUS, AnonymousGate, Endpoint
from sipsess.errors import ConnectFailed, LocalError
from sipsess.flow import Address, Flow, format_host
from sipsess.ids import IdSource
from sipsess.interfaces import (
    IApplication,
    IMessageHook,
    INameResolver,
    IRequestGate,
    ISDPHandler,
    ISessionSupplement,
    ITrace,
)
from sipsess.keepalive import CRLF, INTERVAL
from sipsess.locating import Locator, NextHopFinder, next_hop_of
from sipsess.locating.names import find_resolver
from sipsess.manager import DialogManager
from sipsess.message import Response
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.session import Session, SessionEnded
from sipsess.transaction import Timing
from sipsess.transport.address import (
    SourceAddress,
    SourceAddresses,
    is_of_other_family,
)
from sipsess.transport.connections import CONNECTABLE, Connections
from sipsess.transport.engine import EngineSockets, EngineSpec
from sipsess.transport.listen import (
    ListenError,
    Listening,
    ListenSpec,
    open_stream,
    open_udp,
    read_specs,
)
from sipsess.transport.listener import WILDCARDS, Listener, choose_listener
from sipsess.transport.mediaclock import MediaClock
from sipsess.transport.rtp import RTPPorts
from sipsess.transport.udp import SendError, UDPListener
from sipsess.users import Users

if TYPE_CHECKING:
    from sipsess.call import Call

#: Where the server listens when nothing else is said.
DEFAULT_LISTEN = ("udp:5060",)
#: The RTP ports: even ones, below those that Linux gives out by itself (32768 and above).
DEFAULT_RTP_PORTS = (10000, 29999)
#: Seconds that stopping waits for the ends of calls.
DRAIN_LIMIT = 4.0
#: What suits a server on a public address.
DEFAULT_DEFENCE = DefenceSettings()
#: The port that a URI need not name.
_SIP_PORT = 5060

_log = Logger()


class SIPServer(Service):
    """
    A SIP server, or a client that places calls.

    :param reactor: provides ``IReactorUDP``, ``IReactorTCP`` and ``IReactorTime``; a
        ``VirtualHost`` does.
    :param listen: where, as :func:`.parse_listen` reads it, or as :class:`.ListenSpec`.
    :param supplements: for every session.
    :param handlers: the SDP handlers; left out, the shipped audio handler alone.
    :param codecs: that endpoints may speak; left out, the shipped ones.
    :param applications: a Request-URI user that equals a name chooses that application.
    :param application: the name of the application for every other user; ``None`` refuses (404).
    :param gates: ask in this order whether a request comes in; ``None`` admits everybody.
    :param hooks: see the messages outside sessions.
    :param rtp_ports: the first and the last RTP port.
    :param advertise: the host that peers shall see instead of our own address; or a mapping of
        listen strings to such hosts.
    :param local_networks: the hosts of these networks, such as ``10.0.0.0/8``, see our own address
        in spite of ``advertise``.
    :param ids: where identifiers and ports come from.
    :param seconds: the monotonic clock; the reactor's when ``None``.
    :param source_address: says what our address is towards a peer, for wildcard listeners.
    :param resolver: answers DNS questions; the system's own, behind a cache, when ``None``.
    :param make_call: makes what applications and :meth:`dial` hold of a session, if not
        :class:`.Call`.
    :param trust: a file of authorities that secure far ends must be certified by, where there is no
        TLS listener that says it; the system's when empty.
    :param drain_limit: seconds that stopping waits for the ends of calls.
    :param defence: what is done about scanners, floods and invented addresses; ``None`` for
        nothing.
    :param keep_alive: what keeps the way through a NAT open: ``"crlf"``, ``"options"``, ``"off"``.
    :param keep_alive_interval: seconds between two at most.
    :param engine: the media engines, if there are any; else ``manager.media_engine`` may be set.
    :raises ListenError: when a listen string cannot be read.
    :raises LocalError: when there is no such application, RTP port, keep-alive, or network.
    """

    #: When the delayed call was meant to come.
    _wake_time = 0.0

    def __init__(
        self,
        reactor: Any,
        listen: Iterable[str | ListenSpec] = DEFAULT_LISTEN,
        *,
        supplements: Iterable[ISessionSupplement] = (),
        handlers: Iterable[ISDPHandler] | None = None,
        codecs: Iterable[Codec] = CODECS,
        applications: Iterable[IApplication] = (),
        application: str | None = None,
        gates: Iterable[IRequestGate] | None = None,
        hooks: Iterable[IMessageHook] = (),
        rtp_ports: tuple[int, int] = DEFAULT_RTP_PORTS,
        advertise: str | Mapping[str, str] | None = None,
        local_networks: Iterable[str] = (),
        ids: IdSource | None = None,
        timing: Timing | None = None,
        trace: ITrace | None = None,
        seconds: Callable[[], float] | None = None,
        source_address: SourceAddress | None = None,
        resolver: INameResolver | None = None,
        make_call: Callable[[Session], Call] | None = None,
        trust: str = "",
        drain_limit: float = DRAIN_LIMIT,
        defence: DefenceSettings | None = DEFAULT_DEFENCE,
        keep_alive: str = CRLF,
        keep_alive_interval: float = INTERVAL,
        engine: EngineSpec | None = None,
    ) -> None:
        self.reactor = reactor
        self.specs = tuple(read_specs(listen, advertise, local_networks))
        #: The open ports.
        self.listeners: list[Listener] = []
        self._by_name: dict[str, UDPListener] = {}
        self._seconds = seconds or reactor.seconds
        known = source_address or getattr(reactor, "source_address", None)
        self._source_address: SourceAddress = known or SourceAddresses(self._seconds)
        #: Seconds that stopping waits for the ends of calls.
        self.drain_limit = drain_limit
        self._wake_up: IDelayedCall | None = None
        ids = ids or IdSource()
        self.connections = self._make_connections(trust)
        self.core = SIPCore(
            transmit=self._transmit,
            seconds=self._seconds,
            ids=ids,
            gates=(AnonymousGate(),) if gates is None else gates,
            hooks=hooks,
            flow_for=self.flow_for,
            connections=self.connections,
            timing=timing,
            trace=trace,
            defence=defence,
        )
        self.core.keep_alives.configure(keep_alive, keep_alive_interval)
        self.media_ports = RTPPorts(reactor, *rtp_ports, self._seconds, random=ids.random)
        self.media_clock = MediaClock(reactor, self._seconds)
        self.manager = DialogManager(
            self.core,
            supplements=supplements,
            handlers=(AudioHandler(),) if handlers is None else handlers,
            codecs=codecs,
            applications=applications,
            application=application,
            media_ports=self.media_ports,
            media_clock=self.media_clock,
            make_call=make_call,
        )
        self._engines = None if engine is None else EngineSockets(engine, reactor, self.core)
        self._join_parts(resolver or find_resolver(reactor, self._seconds))
        #: Who is reached by registration.
        self.users = Users(self.manager, self._datagram_flow, self.find_next_hop, time.time)

    def _join_parts(self, resolver: INameResolver) -> None:
        """Tell the parts of each other, and let the calls find other servers (:rfc:`3263`)."""
        self.connections.core = self.core
        self.core.turn.closing = self._arm
        locator = Locator(
            resolver,
            lambda: {"UDP", *CONNECTABLE}.intersection(spec.transport for spec in self.specs),
            self.reactor,
            self.core.ids.random,
            connectable=CONNECTABLE,
        )
        #: Finds the next hop to a URI; see :meth:`.NextHopFinder.find`.
        self.find_next_hop = NextHopFinder(locator, self.connect, self._seconds).find
        self.manager.locate = self.find_next_hop

    def _make_connections(self, trust: str) -> Connections:
        """Return the table of what peers will open to us, and we to them."""
        return Connections(
            self.reactor,
            seconds=self._seconds,
            choose=self._choose,
            in_use=self._flows_in_use,
            trust=trust,
        )

    # -- starting --------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Open the listeners, before ``twistd`` gives up its privileges.

        :raises ListenError: with what to do; nothing stays open then.
        """
        if not self.listeners:
            self._listen()

    def startService(self) -> None:
        """
        Start; calls are answered from now on.

        :raises ListenError: with what to do; nothing stays open then.
        :raises StoreError: when the store of bindings cannot be used; likewise.
        :raises LocalError: when there is no way to a media engine; likewise.
        """
        self.privilegedStartService()
        self.manager.is_stopping = False
        try:
            self.users.start()
            if self._engines is not None:
                self.manager.media_engine = self._engines.open()
        except LocalError:
            self._close_listeners()
            raise
        Service.startService(self)

    def _listen(self) -> None:
        self.connections.reopen()
        for spec in self.specs:
            try:
                listening = self._open(spec)
            except ListenError:
                self._close_listeners()
                raise
            for note in listening.notes:
                _log.warn("{note}", note=note)
            for listener in listening.listeners:
                self._add_listener(listener)
            self._announce(spec, listening.listeners)

    def _open(self, spec: ListenSpec) -> Listening:
        source = self._source_address
        if spec.transport == "UDP":
            return open_udp(
                self.reactor, spec, self.core, seconds=self._seconds, source_address=source
            )
        return open_stream(self.reactor, spec, self.connections, source_address=source)

    def _add_listener(self, listener: Listener) -> None:
        seen = listener.advertised
        if seen is not None and is_of_other_family(seen.host, listener.address[0]):
            listener.advertised = None
        self.listeners.append(listener)
        if isinstance(listener, UDPListener):
            self._by_name[listener.name] = listener

    def _announce(self, spec: ListenSpec, listeners: Sequence[Listener]) -> None:
        """Say where to call."""
        hosts = " and ".join(listener.address[0] for listener in listeners)
        name = f"{spec.transport.lower()}:{listeners[0].address[1]}"
        user = self.manager.router.sample_user
        if user is None:
            _log.info("listening on {name} ({hosts})", name=name, hosts=hosts)
            return
        uri = f"sip:{user}@{self._reachable(listeners[0])}"
        if spec.transport != "UDP":
            uri += f";transport={spec.transport.lower()}"
        _log.info("listening on {name} ({hosts}) -- call {uri}", name=name, hosts=hosts, uri=uri)

    def _reachable(self, listener: Listener) -> str:
        """Return the host, and the port unless it is the usual one, at which we can be called."""
        host, port = listener.address
        if listener.advertised is not None:
            host = listener.advertised.host
        elif host in WILDCARDS:
            host = self._source_address(WILDCARDS[host])
        return format_host(host) if port == _SIP_PORT else f"{format_host(host)}:{port}"

    # -- stopping --------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """
        Refuse new calls, end the live ones, then close everything.

        :return: fires when all is closed; at the latest some moments after the limit.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        endings = (self.manager.stop(), self.users.unregister())
        for ending in endings:
            ending.addTimeout(self.drain_limit, self.reactor, lambda result, limit: None)
        for ending in endings:
            await ending
        with self.core.turn:
            for session in list(self.manager.sessions):
                # Its last request was not answered in time: tell its plugins all the same.
                session.usage.feed(FAIL)
        await self.users.close()
        if self._engines is not None:
            await self._engines.close()
        # We may be in the middle of a turn, whose outputs are yet to leave.
        await deferLater(self.reactor, 0)
        await self._close_listeners()
        await self.connections.close()
        self.media_ports.close()
        self._disarm()

    def _close_listeners(self) -> Deferred[Any]:
        listeners, self.listeners = self.listeners, []
        self._by_name.clear()
        return gatherResults([listener.stop() for listener in listeners])

    async def __aenter__(self) -> SIPServer:
        """Start."""
        self.startService()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop: live calls are hung up."""
        await self.stopService()

    def leftovers(self) -> list[str]:
        """Describe what is still alive, for ``net.watch(server)``."""
        return [
            *self.manager.leftovers(),
            *self.media_ports.leftovers(),
            *self.media_clock.leftovers(),
            *self.connections.leftovers(),
        ]

    # -- what the core needs ---------------------------------------------------------------

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        if flow.is_reliable:
            self.connections.send(flow, wire)
            return
        listener = self._by_name.get(flow.listener)
        if listener is None:
            self.core.send_failed(flow, SendError(OSError(f"{flow.listener!r} is closed")))
        else:
            listener.send(wire, flow)

    def reload_certificates(self) -> None:
        """
        Read all certificates again, for connections to come; those that stand go on.

        :raises LocalError: with each file that cannot be used; the certificates that it would
            replace stay.
        """
        mistakes = []
        for credentials in self.connections.credentials(self.listeners):
            try:
                credentials.reload()
            except LocalError as error:
                mistakes.append(str(error))
        if mistakes:
            raise LocalError("; ".join(mistakes))

    def flow_for(self, transport: str, address: Address) -> Flow | None:
        """
        Return a flow of ours to an address: over UDP, or a connection that is open already.

        :param address: an IP address and a port.
        :return: ``None`` when no listener reaches it, or no connection is open.
        """
        if transport != "UDP":
            return self.connections.find(transport, address)
        listener = self._choose(transport, address)
        return None if listener is None else listener.flow_to(address)

    def connect(self, transport: str, address: Address, name: str = "") -> Deferred[Flow]:
        """
        Return a flow of ours to an address, for which a connection is opened if need be.

        :param transport: as in flows.
        :param address: an IP address and a port.
        :param name: the domain that a secure far end must prove to be (:rfc:`5922`); left out, its
            address.
        :return: fails with :class:`.ConnectFailed`.
        """
        if transport != "UDP":
            return self.connections.connect(transport, address, name)
        flow = self.flow_for(transport, address)
        if flow is None:
            return fail(ConnectFailed(f"no listener reaches {format_host(address[0])}"))
        return succeed(flow)

    def _choose(self, transport: str, address: Address) -> Listener | None:
        return choose_listener(self.listeners, transport, address, self._source_address)

    def _datagram_flow(self, name: str, address: Address) -> Flow | None:
        listener = self._by_name.get(name)
        return None if listener is None else listener.flow_to(address)

    def _flows_in_use(self) -> set[Flow]:
        """Return the flows of calls and registrations, which are not closed for being idle."""
        return self.users.flows.union(session.flow for session in self.manager.sessions)

    def _arm(self) -> None:
        """Let the reactor wake us at the core's deadline; called when a turn ends."""
        deadline = self.core.next_wake()
        if deadline is None:
            self._disarm()
            return
        call = self._wake_up
        if call is not None and self._wake_time <= deadline:
            return
        delay = max(0.0, deadline - self._seconds())
        self._wake_time = deadline
        if call is None:
            self._wake_up = self.reactor.callLater(delay, self._wake)
        else:
            call.reset(delay)

    def _wake(self) -> None:
        self._wake_up = None
        self.core.handle_timeout(self._seconds())

    def _disarm(self) -> None:
        call, self._wake_up = self._wake_up, None
        if call is not None:
            call.cancel()

    # -- calling ---------------------------------------------------------------------------

    def dial(
        self,
        uri: str,
        *,
        from_: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        application: IApplication | None = None,
        endpoint: Endpoint = ANONYMOUS,
    ) -> Deferred[Call]:
        r"""
        Place a call.

        :param uri: whom to call.
        :param from\_: a From value without tag.
        :param headers: more headers of the INVITE; the first Route says where it goes, if any.
        :param timeout: seconds until the call is given up when nobody has answered.
        :param application: what the call is for; without one the caller drives it.
        :param endpoint: how the peer is treated.
        :return: fires with the call when it is answered. Fails with :class:`.UnreachableError` when
            the URI leads nowhere, with :class:`.SessionEnded` when it was refused or not answered
            (its ``reason`` says so), or with what a plugin raised. Cancelling it hangs up.
        """
        how = {"from_": from_, "headers": headers, "application": application, "endpoint": endpoint}
        return Deferred.fromCoroutine(self._dial(uri, timeout, **how))

    async def _dial(self, uri: str, timeout: float | None, **how: Any) -> Call:
        hop = await self.find_next_hop(next_hop_of(uri, how["headers"] or {}))
        session = self.manager.dial(uri, hop, **how)
        answered = session.invite_client.answered
        call = session.channel
        if call is None and session.application is None:
            call = self.manager.make_call(session)
        limit: IDelayedCall | None = None
        if timeout is not None:
            limit = self.reactor.callLater(timeout, _give_up, session, answered)
        try:
            await answered
        except CancelledError:
            if session.end_reason is not None:
                raise SessionEnded(session.end_reason) from None
            session.terminate()
            raise
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        return session.channel or call or self.manager.make_call(session)


def _give_up(session: Session, answered: Deferred[Response]) -> None:
    """End a call that nobody has answered; who dialled need not wait for the CANCEL's end."""
    session.ending.give_up()
    answered.cancel()
