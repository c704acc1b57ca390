# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tunnels, so that a peer that speaks TCP only is met over TLS and WebSocket, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Ping, Request, TextMessage

from sipsess.message import Response, StreamFramer, parse

from .peers import reactor


class End(Protocol):
    """
    One end of a tunnel; what it hears is for the other one.

    What comes for it before it is connected waits.
    """

    def __init__(self) -> None:
        self.other: End
        self._waiting = b""
        self._is_ready = False

    def connectionMade(self) -> None:
        """Say what has waited."""
        self.ready()

    def ready(self) -> None:
        """Say what has waited."""
        self._is_ready = True
        waiting, self._waiting = self._waiting, b""
        self.say(waiting)

    def take(self, data: bytes) -> None:
        """Take bytes for this end."""
        if self._is_ready:
            self.say(data)
        else:
            self._waiting += data

    def say(self, data: bytes) -> None:
        """Write bytes, as this end writes them."""
        self.write(data)

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        transport: Any = self.transport
        transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Give bytes to the other end."""
        self.other.take(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close the other end, too."""
        transport: Any = self.other.transport
        if transport is not None:
            transport.loseConnection()


class TurnsEnd(End):
    """
    The end of a peer that loses its place when several messages come in one piece, as SIPp does.

    After a message that asks for something, a request or the answer to an INVITE, it hears the next
    one when it has spoken itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._framer = StreamFramer()
        self._unheard: deque[bytes] = deque()
        self._is_its_turn = False

    def say(self, data: bytes) -> None:
        """Write whole messages, up to one that asks for something."""
        self._unheard.extend(self._framer.feed(data))
        while self._unheard and not self._is_its_turn:
            message = self._unheard.popleft()
            self._is_its_turn = _asks(message)
            self.write(message)

    def dataReceived(self, data: bytes) -> None:
        """Give the other end what was said, and go on."""
        super().dataReceived(data)
        self._is_its_turn = False
        self.say(b"")


class WebEnd(End):
    """The end of a browser: each message of SIP is one of WebSocket."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = WSConnection(ConnectionType.CLIENT)
        self._framer = StreamFramer()

    def connectionMade(self) -> None:
        """Shake hands."""
        self.write(self._socket.send(Request(host="127.0.0.1", target="/", subprotocols=["sip"])))

    def say(self, data: bytes) -> None:
        """Write each whole message."""
        for message in self._framer.feed(data):
            self.write(self._socket.send(TextMessage(data=message.decode())))

    def dataReceived(self, data: bytes) -> None:
        """Give the other end the messages."""
        self._socket.receive_data(data)
        for event in self._socket.events():
            if isinstance(event, AcceptConnection):
                self.ready()
            elif isinstance(event, TextMessage):
                self.other.take(event.data.encode())
            elif isinstance(event, BytesMessage):
                self.other.take(bytes(event.data))
            elif isinstance(event, Ping):
                self.write(self._socket.send(event.response()))


def _asks(wire: bytes) -> bool:
    """Tell whether a message asks for an answer or an ACK."""
    message = parse(wire)
    if isinstance(message, Response):
        return message.status >= 200 and message.cseq.method == "INVITE"
    return message.method != "ACK"


def dig(
    port: int,
    *,
    make_near: Callable[[], End] = End,
    make_far: Callable[[], End] = End,
    wrap_near: Callable[[Any], Any] = lambda factory: factory,
    wrap_far: Callable[[Any], Any] = lambda factory: factory,
) -> tuple[IListeningPort, int]:
    """
    Open a tunnel on loopback; each connection to it is one to the port.

    :param port: where it leads.
    :param make_near: makes the end where the tunnel is entered.
    :param make_far: makes the end that is there.
    :param wrap_near: puts something below the end where the tunnel is entered, such as TLS.
    :param wrap_far: the same where it leads.
    :return: what is to be closed, and the port where it is entered.
    """

    def build(address: object) -> Any:
        near, far = make_near(), make_far()
        near.other, far.other = far, near
        client = ClientFactory()
        client.noisy = False
        client.buildProtocol = lambda address: far  # type: ignore[assignment,method-assign]
        reactor.connectTCP("127.0.0.1", port, wrap_far(client))
        return near

    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = build  # type: ignore[assignment,method-assign]
    listening: IListeningPort = reactor.listenTCP(0, wrap_near(factory), interface="127.0.0.1")
    address: Any = listening.getHost()
    return listening, address.port
