# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One connection that carries SIP: TCP, and TLS above it (:rfc:`3261#section-18`).

Theory of operation
    A connection is opening until its hand-shake, if any, is over; then it is open, and its flow can
    be used; then it is closing, politely or at once. What comes is cut into messages and given to
    the core, and nothing that happens there reaches the reactor. Whatever a peer can delay has a
    limit: the hand-shake, the first message, each message once it has begun, silence, and reading
    what is sent to it. The table of connections calls :meth:`Connection.check` now and then,
    so that no connection needs a timer of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.errors import RemoteError, TransportError
from sipsess.flow import Address, Advertised, Flow
from sipsess.message import PING, PONG, StreamFramer
from sipsess.transport.address import normal_host

if TYPE_CHECKING:
    from sipsess.transport.tls import Credentials

#: Seconds that the hand-shakes of TLS and WebSocket may take together; phones on bad links need
#: some, and each costs a connection meanwhile.
HANDSHAKE_LIMIT = 15.0
#: Seconds that a peer may take to its first message; who connects has something to say.
SILENCE_LIMIT = 60.0
#: Seconds from the first byte of a message to its last one: shorter than the life of a transaction
#: (64*T1), so that its sender still hears why.
MESSAGE_LIMIT = 20.0
#: Seconds without a byte after which a connection that no call uses is closed. Outbound keep-alives
#: (:rfc:`5626#section-4.4.1`) come every 120 s at the latest.
IDLE_LIMIT = 600.0
#: Seconds without a byte of ours after which a connection that we opened, and that calls or
#: registrations use, is pinged, so that no NAT forgets it (:rfc:`5626#section-4.4.1`).
PING_INTERVAL = 100.0
#: Seconds that a peer may leave unread what was sent to it.
WRITE_LIMIT = 32.0
#: Bytes that may wait for a peer that does not read, besides what the system and Twisted hold:
#: two of the longest messages.
MAX_UNSENT = 131_072
#: Seconds that a polite end may take.
CLOSE_LIMIT = 3.0

#: The reason code of a connection that nobody uses.
IDLE = "connection-idle"

#: What connections are looked for by: transport, address, and the name when it must be proven.
Target: TypeAlias = tuple[str, Address, str]


class ConnectionCore(Protocol):
    """What connections need of the core."""

    def receive_message(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one message."""

    def refuse_stream(self, error: RemoteError, flow: Flow) -> None:
        """Answer what cannot be read, if that can be done."""

    def refusal_of_host(self, host: str) -> str | None:
        """Return why a host may not connect."""

    def count_refusal(self, reason_code: str, flow: Flow) -> None:
        """Count."""

    def flow_lost(self, flow: Flow, now: float, error: TransportError | None = None) -> None:
        """Hear that nothing can be sent on a flow any more."""


class ConnectionOwner(Protocol):
    """What a connection needs of the table that holds it."""

    core: ConnectionCore

    def seconds(self) -> float:
        """Return the time of the core's clock."""

    def begun(self, connection: Connection) -> None:
        """Hear that a connection stands, though it may have a hand-shake before it."""

    def opened(self, connection: Connection) -> None:
        """Hear that a connection can be used."""

    def ending(self, connection: Connection) -> None:
        """Hear that a connection can be used no more; its end follows."""

    def closed(self, connection: Connection, reason: Failure) -> None:
        """Hear that a connection is no more."""

    def failed(self) -> None:
        """Report the exception that is being handled, a bug of this side."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(TwistedProtocol):
    """
    What all connections have in common.

    :param owner: the table.
    :param kind: ``"TCP"``, ``"TLS"``, ``"WS"`` or ``"WSS"``.
    :param serial: its number.
    :param listener: the name of the listener that it came to, or whose port peers shall use.
    :param advertised: what the peer shall see instead of our address.
    :param advertised_port: of the listener, for a connection that we opened.
    :param name: whom the far end must prove to be, for a connection that we opened.
    :param credentials: of TLS, when it is below.
    """

    def __init__(
        self,
        owner: ConnectionOwner,
        kind: str,
        serial: int,
        *,
        listener: str = "",
        advertised: Advertised | None = None,
        advertised_port: int = 0,
        name: str = "",
        is_incoming: bool = True,
        credentials: Credentials | None = None,
    ) -> None:
        self.owner = owner
        self.kind = kind
        self.serial = serial
        self.is_incoming = is_incoming
        self._credentials = credentials
        #: Its flow; complete when the connection stands.
        self.flow = Flow(
            kind, ("", 0), ("", 0), listener, advertised, True, serial, advertised_port, name
        )
        self.is_open = False
        #: Whether it has ever been open.
        self.has_opened = False
        self.is_closing = False
        #: Whether it was ended for a reason that was counted.
        self.is_given_up = False
        #: What was wrong with the hand-shake, for people.
        self.fault = ""
        #: What a connection that we opened leads to.
        self.target: Target | None = None
        #: The domains that the peer's certificate has proven.
        self.identities: tuple[str, ...] = ()
        self._began = self._heard = self._spoke = owner.seconds()
        #: When the message that is not whole yet began.
        self._within_since: float | None = None
        #: When the peer stopped reading, and what was written since.
        self._paused_since: float | None = None
        self._unsent = 0
        self._has_spoken = False
        self._close_by = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind} {self.serial} with {self.flow.remote}>"

    @property
    def is_secure(self) -> bool:
        """Whether TLS is below."""
        return self.kind in ("TLS", "WSS")

    # -- what Twisted calls

    def connectionMade(self) -> None:
        """Learn the addresses; without a hand-shake the connection is open."""
        transport: Any = self.transport
        here, there = transport.getHost(), transport.getPeer()
        self.flow = replace(
            self.flow,
            local=(normal_host(here.host), here.port),
            remote=(normal_host(there.host), there.port),
        )
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.owner.begun(self)
        if not self.is_secure:
            self.transport_ready()

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``: TLS is ready; look who is there before anything is said."""
        if self.is_closing:
            return
        assert self._credentials is not None
        proven = self._credentials.identify(self.transport)
        name = self.flow.name or self.flow.remote[0]
        if self.is_incoming:
            self.identities = proven.domains
        elif not proven.prove(name):
            self.fault = f"the certificate is not that of {name}"
            self.give_up("certificate-mismatch")
            return
        self.transport_ready()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; never raises."""
        if self.is_closing:
            return
        try:
            now = self._heard = self.owner.seconds()
            self.receive(data, now)
        except Exception:
            self.owner.failed()

    def connectionLost(self, reason: Failure = ConnectionDone) -> None:  # type: ignore[assignment]
        """Tell the table, once."""
        self._end(float("inf"))
        self.owner.closed(self, reason)

    # -- what kinds of connections do in their own way

    def transport_ready(self) -> None:
        """Go on when bytes can be exchanged."""
        self.open()

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes; what is raised is a bug of this side."""
        raise NotImplementedError

    def write_message(self, wire: bytes) -> None:
        """Write one message."""
        self.write(wire)

    # -- sending and closing

    def open(self) -> None:
        """Let the connection be used."""
        transport: Any = self.transport
        self.is_open = self.has_opened = True
        transport.registerProducer(self, True)
        self.owner.opened(self)

    def send(self, wire: bytes) -> None:
        """Send one message; on a connection that is closing it is lost."""
        if self.is_open and not self.is_closing:
            self.write_message(wire)

    def write(self, data: bytes) -> None:
        """Write bytes, unless too much waits already."""
        if self._paused_since is not None:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self.give_up("connection-not-reading")
                return
        self._spoke = self.owner.seconds()
        transport: Any = self.transport
        transport.write(data)

    def ping(self) -> None:
        """Show that we are there."""

    def close(self) -> None:
        """End the connection when what was written has left."""
        if self.is_closing:
            return
        transport: Any = self.transport
        if self.is_open:
            transport.unregisterProducer()
        self._end(self.owner.seconds() + CLOSE_LIMIT)
        transport.loseConnection()

    def give_up(self, reason_code: str) -> None:
        """End the connection at once, and count why."""
        self.is_given_up = True
        self.owner.core.count_refusal(reason_code, self.flow)
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._end(float("inf"))
        transport: Any = self.transport
        transport.abortConnection()

    def _end(self, close_by: float) -> None:
        """Let nothing be sent any more."""
        self._close_by = close_by
        self.is_open = False
        if not self.is_closing:
            self.is_closing = True
            self.owner.ending(self)

    # -- time

    def check(self, now: float, is_in_use: Callable[[Connection], bool]) -> None:
        """
        End the connection when something takes too long.

        :param is_in_use: asked about a connection on which nothing comes or goes.
        """
        if self.is_closing:
            if now >= self._close_by:
                self.abort()
            return
        reason_code = self._overdue(now)
        if reason_code is not None and not (reason_code == IDLE and is_in_use(self)):
            self.fault = "it took too long"
            self.give_up(reason_code)
        elif not self.is_incoming and now - self._spoke >= PING_INTERVAL and is_in_use(self):
            self.ping()

    def _overdue(self, now: float) -> str | None:
        """Return the reason code of what takes too long, or ``None``."""
        if not self.is_open:
            is_late = now - self._began >= HANDSHAKE_LIMIT
            return "connection-handshake-slow" if is_late else None
        if self._paused_since is not None and now - self._paused_since >= WRITE_LIMIT:
            return "connection-not-reading"
        if self._within_since is not None and now - self._within_since >= MESSAGE_LIMIT:
            return "connection-slow"
        if self.is_incoming and not self._has_spoken and now - self._began >= SILENCE_LIMIT:
            return "connection-silent"
        return IDLE if now - self._heard >= IDLE_LIMIT else None

    # -- IPushProducer: the transport says whether the peer reads

    def pauseProducing(self) -> None:
        """Note that the peer does not read as fast as we write; Twisted says it again and again."""
        if self._paused_since is None:
            self._paused_since = self.owner.seconds()
            self._unsent = 0

    def resumeProducing(self) -> None:
        """Note that it has read all."""
        self._paused_since = None

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, which :meth:`connectionLost` hears."""

    # -- for kinds of connections

    def deliver(self, message: bytes, now: float) -> None:
        """Give one message to the core."""
        self._has_spoken = True
        self.owner.core.receive_message(message, self.flow, now)

    def note_partial(self, is_within: bool, has_moved: bool, now: float) -> None:
        """
        Note whether a message has begun and is not whole.

        :param has_moved: whether one was completed just now, so that this is another.
        """
        if not is_within:
            self._within_since = None
        elif has_moved or self._within_since is None:
            self._within_since = now


class StreamConnection(Connection):
    """SIP as a stream of bytes: over TCP, or TLS above it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._framer = StreamFramer()
        #: One line break has come; a second one makes it a ping that was cut.
        self._is_half_ping = False
        #: A ping of ours has no answer yet, and need not get one: not all peers know of them.
        self._awaits_pong = False

    def ping(self) -> None:
        """Show that we are there; it may or may not be answered."""
        self._awaits_pong = True
        self.write(PING)

    def receive(self, data: bytes, now: float) -> None:
        """Take messages and keep-alives."""
        framer = self._framer
        frames = framer.feed(data)
        for frame in frames:
            if self.is_closing:
                return
            if frame in (PING, PONG):
                self._receive_keep_alive(frame)
            else:
                self._is_half_ping = False
                self.deliver(frame, now)
        if self.is_closing:
            return
        if framer.error is not None:
            # RFC 3261 18.3: nobody knows where the next message begins.
            self.owner.core.refuse_stream(framer.error, self.flow)
            self.close()
        self.note_partial(framer.is_within, bool(frames), now)

    def _receive_keep_alive(self, frame: bytes) -> None:
        """Answer a ping (:rfc:`5626#section-3.5.1`), be it cut in two."""
        if frame == PONG and self._awaits_pong:
            self._awaits_pong = False
            return
        is_ping = frame == PING or self._is_half_ping
        self._is_half_ping = not is_ping
        if is_ping:
            self.write(PONG)
