# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A WebSocket connection that this side opens (:rfc:`6455`); needs the extra ``ws``.

Theory of operation
    wsproto reads and writes HTTP and frames. Messages wait until somebody receives them; when more
    than :data:`MAX_WAITING` wait, no more is read, and so the server is held up. The other way
    round, :attr:`WebSocketClient.is_congested` tells that the server does not read: the system's
    buffers hold minutes of audio, so what is measured is how long a pong is under way. When that
    takes too long the connection is given up, whether the server is slow, stuck or gone.
    The end is polite: closing frames are exchanged before TCP ends, for a connection that is closed
    with something unread takes what was sent last with it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from sipsess.errors import ConnectFailed, LocalError
from sipsess.mediastream import ABNORMAL, NORMAL, LinkClosed, LinkTarget
from sipsess.secret import Secret

#: Characters of the longest message: a minute and a half of mu-law, in base64.
MAX_MESSAGE = 1024 * 1024
#: Characters that may wait to be received before reading stops.
MAX_WAITING = 256 * 1024
#: Characters that each message and each part of one counts as besides its own: an empty one takes
#: room, too.
OVERHEAD = 64
#: Seconds between two looks at what takes too long, and two pings (:rfc:`6455#section-5.5.2`).
CHECK_INTERVAL = 2.0
#: Seconds after which a pong is late: the server is behind by as much.
LATE = 4.0
#: Seconds without a pong after which the server is given up; some load a model meanwhile.
PONG_LIMIT = 30.0
#: Seconds that a polite end may take.
CLOSE_LIMIT = 4.0
#: Bytes that may wait for a server that does not read, besides what the system and Twisted hold.
MAX_UNSENT = 262_144
#: Bytes of a closing frame's reason (:rfc:`6455#section-5.5`).
_MAX_REASON = 123


@implementer(IHandshakeListener, IPushProducer)
class WebSocketClient(Protocol):
    """
    One connection; it is a :class:`sipsess.mediastream.Link` when :attr:`opened` has fired.

    :param target: what the hand-shake says.
    :param clock: a reactor.
    """

    def __init__(self, target: LinkTarget, clock: Any) -> None:
        self._target = target
        self._clock = clock
        self._socket = WSConnection(ConnectionType.CLIENT)
        #: Fires when the server has accepted; fails with :class:`.ConnectFailed`.
        self.opened: Deferred[WebSocketClient] = Deferred(lambda _: self._abort())
        self._is_open = False
        #: Why it is over.
        self._closed: LinkClosed | None = None
        self._is_closing = False
        self._parts: list[str] = []
        self._size = 0
        self._queue: deque[str] = deque()
        self._waiting = 0
        self._reader: Deferred[str] | None = None
        self._is_reading = True
        #: When the ping was sent whose pong has not come.
        self._pinged: float | None = None
        self._is_paused = False
        self._unsent = 0
        self._check_call: Any = None

    # -- what Twisted calls

    def connectionMade(self) -> None:
        """Say hello, unless TLS comes first."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._check_later()
        if not self._target.is_secure:
            self._shake_hands()

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``: the server has proven who it is, or was hung up on."""
        transport: Any = self.transport
        if not transport.disconnecting:
            self._shake_hands()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; what breaks a rule ends the connection."""
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                self._take(event)
        except (ProtocolError, ValueError) as error:
            # ValueError: a header that is no text.
            self._fail(CloseReason.PROTOCOL_ERROR, f"broken: {error}")

    def connectionLost(self, reason: Failure = ConnectionDone) -> None:  # type: ignore[assignment]
        """Tell whoever waits."""
        self._is_open = False
        if self._check_call is not None:
            self._check_call.cancel()
        self._end(ABNORMAL, _text_of(reason))

    # -- the hand-shake

    def _shake_hands(self) -> None:
        target = self._target
        headers = [
            (name.encode(), (value.reveal() if isinstance(value, Secret) else value).encode())
            for name, value in target.headers
        ]
        request = Request(host=target.authority, target=target.resource, extra_headers=headers)
        self._write(self._socket.send(request))

    def _accepted(self) -> None:
        self._is_open = True
        self.opened.callback(self)

    # -- what comes

    def _take(self, event: Event) -> None:
        if isinstance(event, AcceptConnection):
            self._accepted()
        elif isinstance(event, RejectConnection):
            self._end(ABNORMAL, f"it answered {event.status_code}")
            self._abort()
        elif isinstance(event, TextMessage):
            self._take_part(event.data, event.message_finished)
        elif isinstance(event, BytesMessage):
            # Of no use to anybody here, and each fragment is as long as what was read at once.
            pass
        elif isinstance(event, Ping):
            self._write(self._socket.send(event.response()))
        elif isinstance(event, Pong):
            self._pinged = None
        elif isinstance(event, CloseConnection):
            self._take_close(event)

    def _take_part(self, text: str, is_last: bool) -> None:
        if self._is_closing:
            return
        self._parts.append(text)
        self._size += len(text) + OVERHEAD
        if self._size > MAX_MESSAGE:
            self._fail(CloseReason.MESSAGE_TOO_BIG, "too large a message")
        elif is_last:
            message = "".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._deliver(message)

    def _take_close(self, event: CloseConnection) -> None:
        """Answer a closing frame, if it is no answer itself, and end; wsproto makes up others."""
        if not self._is_closing:
            self._write(self._socket.send(event.response()))
        self._end(event.code, event.reason or f"the server closed it ({event.code:d})")
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def _deliver(self, message: str) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(message)
            return
        self._queue.append(message)
        self._waiting += len(message) + OVERHEAD
        if self._waiting > MAX_WAITING:
            self._set_reading(False)

    def _set_reading(self, is_on: bool) -> None:
        if self._is_reading is is_on:
            return
        self._is_reading = is_on
        # A pong would wait behind what is not read.
        self._pinged = None
        transport: Any = self.transport
        if is_on:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    # -- Link

    @property
    def is_congested(self) -> bool:
        """See :class:`sipsess.mediastream.Link`."""
        return self._is_paused or self._pong_delay > LATE

    @property
    def _pong_delay(self) -> float:
        """Seconds for which a pong has been waited for."""
        return 0.0 if self._pinged is None else self._clock.seconds() - self._pinged

    def send(self, text: str) -> None:
        """See :class:`sipsess.mediastream.Link`."""
        if self._is_open and not self._is_closing:
            self._write(self._socket.send(TextMessage(data=text)))

    def receive(self) -> Deferred[str]:
        """See :class:`sipsess.mediastream.Link`."""
        if self._reader is not None:
            raise LocalError("somebody receives already")
        if self._queue:
            message = self._queue.popleft()
            self._waiting -= len(message) + OVERHEAD
            if self._waiting <= MAX_WAITING:
                self._set_reading(True)
            return succeed(message)
        if self._closed is not None:
            return fail(self._closed)
        self._reader = Deferred(self._forget_reader)
        return self._reader

    def _forget_reader(self, reader: Deferred[str]) -> None:
        self._reader = None

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """
        See :class:`sipsess.mediastream.Link`.

        The server is given :data:`CLOSE_LIMIT` to say good-bye, too.
        """
        if self._is_closing or not self._is_open:
            return
        text = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        self._write(self._socket.send(CloseConnection(code=code, reason=text)))
        self._queue.clear()
        self._waiting = 0
        self._set_reading(True)
        self._end(code, reason or "closed by this side")
        self._check_call.reset(CLOSE_LIMIT)

    # -- the end

    def _fail(self, code: CloseReason, text: str) -> None:
        """End the connection of a server that broke a rule."""
        if self._is_open:
            self.close(code, text)
        else:
            self._end(ABNORMAL, text)
            self._abort()

    def _end(self, code: int, text: str) -> None:
        """Note why there will be no more, and tell whoever waits, once."""
        if self._closed is not None:
            return
        self._closed = LinkClosed(code, text)
        self._is_closing = True
        if not self.opened.called:
            self.opened.errback(ConnectFailed(text))
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.errback(self._closed)

    def _abort(self) -> None:
        self._is_closing = True
        if self.transport is not None:
            transport: Any = self.transport
            transport.abortConnection()

    # -- what leaves

    def _write(self, data: bytes) -> None:
        """Write bytes, unless too much waits already."""
        if self._is_paused:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self._give_up("the server does not read")
                return
        transport: Any = self.transport
        transport.write(data)

    def _give_up(self, text: str) -> None:
        self._end(ABNORMAL, text)
        self._abort()

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: the server does not read."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See ``IPushProducer``: it has read."""
        self._is_paused = False
        self._unsent = 0

    def stopProducing(self) -> None:
        """See ``IPushProducer``: the connection is over."""

    # -- time

    def _check_later(self) -> None:
        self._check_call = self._clock.callLater(CHECK_INTERVAL, self._check)

    def _check(self) -> None:
        """Give up what takes too long, and ping."""
        self._check_call = None
        if self._is_closing:
            self._abort()
            return
        if self._pong_delay > PONG_LIMIT:
            self._give_up(f"no pong in {PONG_LIMIT:g} s")
            return
        if self._is_open and self._is_reading and self._pinged is None:
            self._pinged = self._clock.seconds()
            self._write(self._socket.send(Ping()))
        if not self._is_closing:
            self._check_later()


def _text_of(reason: Failure) -> str:
    """Return why a connection was lost, in one line."""
    if reason.check(ConnectionDone, ConnectionAborted):
        return "the connection was closed"
    text = str(reason.value).partition("\n")[0]
    return f"{type(reason.value).__name__}: {text}"[:200]
