# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SIP over WebSocket, as the server (:rfc:`7118`); needs the extra ``ws``.

Theory of operation
    wsproto reads and writes HTTP and frames; here is what SIP asks for: the subprotocol, one
    message of SIP in each message of WebSocket, and bounds. A web page of an origin that is not
    allowed gets 403, a request that is no WebSocket 426, one without the subprotocol 400; each is
    counted, and none logged. Whoever speaks no HTTP hears nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError

from sipsess.message import PING, PONG
from sipsess.message.limits import MAX_MESSAGE
from sipsess.transport.stream import Connection

#: The subprotocol (:rfc:`7118#section-4`).
SUBPROTOCOL = "sip"
#: What the refusals of hand-shakes say.
_REFUSALS = {
    400: "Bad Request",
    403: "Forbidden",
    426: "Upgrade Required",
}
#: Bytes that are looked at to tell HTTP from anything else.
_GLANCE = 2048


class WebSocketConnection(Connection):
    """
    One connection of a browser, say.

    :param origins: of web pages that may connect; all may when empty. What is no web page sends
        none, and may.
    """

    def __init__(self, *args: Any, origins: Collection[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self._origins = origins
        self._socket = WSConnection(ConnectionType.SERVER)
        self._beginning = b""
        self._parts: list[bytes] = []
        self._size = 0
        #: A message was completed by what came last.
        self._has_moved = False

    # -- what comes

    def transport_ready(self) -> None:
        """Wait for the hand-shake of HTTP."""

    def receive(self, data: bytes, now: float) -> None:
        """Take frames, or the hand-shake."""
        self._has_moved = False
        if not self.is_open:
            self._beginning = (self._beginning + data)[:_GLANCE]
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                self._take(event, now)
                if self.is_closing:
                    return
        except (ProtocolError, ValueError) as error:
            # ValueError: a header that is no text.
            if self.is_open:
                self._fail(CloseReason.PROTOCOL_ERROR, "websocket-broken", str(error))
            else:
                self._refuse(426)
            return
        self.note_partial(bool(self._parts), self._has_moved, now)

    def _take(self, event: Event, now: float) -> None:
        if isinstance(event, TextMessage):
            self._take_part(event.data.encode(), event.message_finished, now)
        elif isinstance(event, BytesMessage):
            self._take_part(bytes(event.data), event.message_finished, now)
        elif isinstance(event, Ping):
            self.write(self._socket.send(event.response()))
        elif isinstance(event, Request):
            self._shake_hands(event)
        elif isinstance(event, CloseConnection):
            if self._socket.state is not ConnectionState.REMOTE_CLOSING:
                # The peer has not said good-bye: wsproto asks us to, for what it could not read.
                self.owner.core.count_refusal("websocket-broken", self.flow)
            self.write(self._socket.send(event.response()))
            super().close()

    def _take_part(self, data: bytes, is_last: bool, now: float) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_MESSAGE:
            self._fail(CloseReason.MESSAGE_TOO_BIG, "message-too-large", "too large")
        elif is_last:
            message = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._has_moved = True
            if message.strip(b"\r\n"):
                self.deliver(message, now)
            elif message == PING:
                self.write_message(PONG)

    # -- the hand-shake

    def _shake_hands(self, request: Request) -> None:
        """Accept what asks for SIP, and comes from where it may."""
        headers = dict(request.extra_headers)
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and self._origins and origin not in self._origins:
            self._refuse(403)
        elif SUBPROTOCOL not in request.subprotocols:
            self._refuse(400)
        else:
            self.write(self._socket.send(AcceptConnection(subprotocol=SUBPROTOCOL)))
            self._beginning = b""
            self.open()

    def _refuse(self, status: int) -> None:
        """Say why this is no WebSocket of SIP, if it is HTTP at all, and close."""
        self.is_given_up = True
        self.owner.core.count_refusal("websocket-refused", self.flow)
        if b" HTTP/1." in self._beginning.partition(b"\n")[0]:
            more = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" if status == 426 else ""
            text = f"HTTP/1.1 {status} {_REFUSALS[status]}\r\n{more}Connection: close\r\n"
            self.write(f"{text}Content-Length: 0\r\n\r\n".encode())
        super().close()

    # -- what leaves

    def write_message(self, wire: bytes) -> None:
        """Write one message of SIP: as text, which all browsers read, if it is (5)."""
        event: Event
        try:
            event = TextMessage(data=wire.decode())
        except UnicodeDecodeError:
            event = BytesMessage(data=wire)
        self.write(self._socket.send(event))

    def close(self) -> None:
        """Say good-bye, and end the connection."""
        if self.is_open and not self.is_closing:
            self.write(self._socket.send(CloseConnection(code=CloseReason.GOING_AWAY)))
        super().close()

    def _fail(self, code: CloseReason, reason_code: str, text: str) -> None:
        """End the connection of a peer that broke a rule."""
        self.owner.core.count_refusal(reason_code, self.flow)
        self.write(self._socket.send(CloseConnection(code=code, reason=text[:100])))
        super().close()
