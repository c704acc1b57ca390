# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A WebSocket server on a virtual host, as tests of clients want one."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)


class ServedSocket(Protocol):
    """
    One connection to the server.

    :param server: whose it is.
    """

    def __init__(self, server: AgentServer) -> None:
        self.server = server
        self.socket = WSConnection(ConnectionType.SERVER)
        self.request: Request | None = None
        #: What came, and when.
        self.messages: list[str] = []
        self.times: list[float] = []
        self.pings = 0
        self.closed: CloseConnection | None = None
        self.is_lost = False
        self.raw = b""

    @property
    def wire(self) -> Any:
        """The connection."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        """Read frames."""
        self.raw += data
        if not self.server.is_deaf:
            self.socket.receive_data(data)
            for event in self.socket.events():
                self.take(event)

    def connectionLost(self, reason: Any = None) -> None:
        """Note that it is over."""
        self.is_lost = True

    def take(self, event: Event) -> None:
        """Do what a server does."""
        if isinstance(event, Request):
            self.request = event
            status = self.server.status
            if status == 101:
                self.send(AcceptConnection())
            else:
                self.send(RejectConnection(status_code=status))
        elif isinstance(event, TextMessage):
            self.messages.append(event.data)
            self.times.append(self.server.host.seconds())
            self.server.take(self, event.data)
        elif isinstance(event, Ping):
            self.pings += 1
            if self.server.answers_pings:
                self.send(event.response())
        elif isinstance(event, Pong):
            self.pings -= 1
        elif isinstance(event, CloseConnection):
            self.closed = event
            if self.socket.state is ConnectionState.REMOTE_CLOSING and self.server.says_goodbye:
                self.send(event.response())
                self.wire.loseConnection()

    def send(self, *events: Event) -> None:
        """Send events."""
        for event in events:
            self.wire.write(self.socket.send(event))

    def tell(self, **message: Any) -> None:
        """Send a message of JSON."""
        self.send(TextMessage(data=json.dumps(message)))

    @property
    def said(self) -> list[dict[str, Any]]:
        """The messages that came, read."""
        return [json.loads(text) for text in self.messages]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the messages of a kind."""
        return [message for message in self.said if message["event"] == event]

    def close(self, code: int = 1000) -> None:
        """End the connection politely."""
        self.send(CloseConnection(code=code))


class AgentServer:
    """
    The server.

    :param host: a virtual host.
    :param port: where it listens.
    :param interface: the address where it listens.
    :param wrap: puts something below each connection: TLS.
    """

    def __init__(self, host: Any, port: int = 8765, wrap: Any = None, interface: str = "") -> None:
        self.host = host
        #: What it answers; 101 accepts.
        self.status = 101
        self.answers_pings = True
        self.says_goodbye = True
        #: Whether it reads bytes, and does nothing with them.
        self.is_deaf = False
        self.sockets: list[ServedSocket] = []
        factory: Any = Factory()
        factory.noisy = False
        factory.buildProtocol = self._build
        self.port = host.listenTCP(port, wrap(factory) if wrap else factory, interface=interface)

    def _build(self, address: object) -> ServedSocket:
        socket = ServedSocket(self)
        self.sockets.append(socket)
        return socket

    @property
    def last(self) -> ServedSocket:
        """The connection that came last."""
        return self.sockets[-1]

    def take(self, socket: ServedSocket, text: str) -> None:
        """Take a message; tests give it something to do."""

    def stop(self) -> None:
        """Listen no more."""
        self.port.stopListening()
