# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Streams: mutated messages one after the other, cut anywhere, over TCP and WebSocket.

The peers connect, speak in segments, and go, stay or fall silent; afterwards no connection may be
left, and a good call over TCP works.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from sipsess.application import Application
from sipsess.call import Call
from sipsess.defence import DefenceSettings
from sipsess.message import PING
from sipsess.server import SIPServer
from sipsess.testing import VirtualNetwork
from sipsess.trace import RecordBook
from sipsess.transport.stream import IDLE_LIMIT
from tests.fuzz.mutate import mutate
from tests.sim.checks import Errors

#: How long a segment is.
SIZES = (1, 2, 3, 10, 100, 500, 1460, 65535)
#: Messages of a stream at most.
MESSAGES = 8
#: Longer than any connection lives that nobody uses, and any call that nobody acknowledges.
REST = IDLE_LIMIT + 400.0
#: Records of calls that are kept here, so that memory is level soon.
KEPT_RECORDS = 20

SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
TCP, WEBSOCKET = 5060, 8080

#: How a browser begins (:rfc:`7118#section-4`).
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)


class Answering(Application):
    """Answers, and stays."""

    name = "answering"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.answer()
        await call.ended


class Speaker(Protocol):
    """A peer that does not listen."""

    is_open = True

    def __init__(self, port: int) -> None:
        #: Which it speaks to.
        self.port = port
        #: It has said nothing yet.
        self.is_new = True

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """Know that it is over."""
        self.is_open = False


class StreamField:
    """
    A server that listens on TCP, a client, and peers.

    :param seed: of everything.
    :param corpus: what is mutated.
    :param errors: knows what was logged as an error.
    """

    def __init__(self, seed: int, corpus: Sequence[bytes], errors: Errors) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.corpus = [message.replace(b"SIP/2.0/UDP ", b"SIP/2.0/TCP ") for message in corpus]
        self.errors = errors
        self.net = VirtualNetwork(seed)
        self.server, self.client = self._serve(SERVER), self._serve(CLIENT)
        self.hosts = [self.net.host(f"192.0.2.{number}") for number in (66, 67, 68)]
        #: Messages that went into streams.
        self.fed = 0

    def _serve(self, address: str) -> SIPServer:
        server = SIPServer(
            self.net.host(address),
            ["udp:5060", f"tcp:{TCP}", f"ws:{WEBSOCKET}"],
            applications=[Answering()],
            application="answering",
            defence=DefenceSettings(failures_per_minute=0),
        )
        server.startService()
        server.manager.records = RecordBook(KEPT_RECORDS)
        return server

    # -- streams ---------------------------------------------------------------------------

    def _connect(self) -> Speaker:
        speaker = Speaker(self.rng.choice((TCP, TCP, WEBSOCKET)))
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: speaker  # type: ignore[method-assign]
        self.rng.choice(self.hosts).connectTCP(SERVER, speaker.port, factory)
        return speaker

    def _stream(self, speaker: Speaker) -> bytes:
        """Return what a peer says in one breath."""
        parts = self._messages()
        if speaker.port == TCP:
            return b"".join(parts)
        frames = b"".join(make_frame(self.rng, part) for part in parts)
        if self.rng.random() < 0.2:
            frames = mutate(self.rng, frames, self.corpus)
        if speaker.is_new:
            speaker.is_new = False
            start = HANDSHAKE if self.rng.random() < 0.9 else mutate(self.rng, HANDSHAKE)
            return start + frames
        return frames

    def _messages(self) -> list[bytes]:
        rng = self.rng
        parts: list[bytes] = []
        for _ in range(rng.randint(1, MESSAGES)):
            message = rng.choice(self.corpus)
            if rng.random() < 0.2:
                message = mutate(rng, message, self.corpus)
            parts.append(message)
            self.fed += 1
            if rng.random() < 0.1:
                parts.append(rng.choice((PING, b"\r\n", b"\r", b"\n", b"\0")))
        return parts

    def _speak(self, speaker: Speaker, data: bytes) -> None:
        """Say a stream in segments, as long as anybody listens."""
        rng = self.rng
        size = rng.choice(SIZES)
        # A long stream byte by byte would be most of the work.
        for at in range(0, min(len(data), 300 * size), size):
            if not speaker.is_open:
                return
            transport: Any = speaker.transport
            transport.write(data[at : at + size])
            if rng.random() < 0.2:
                self.net.run_for(rng.choice((0.0, 0.01, 0.1)))

    def batch(self, count: int) -> None:
        """
        Speak about so many streams, and check what must hold.

        :raises AssertionError: with what does not, and the seed.
        """
        speakers: list[Speaker] = []
        for _ in range(count):
            speakers.append(self._connect())
            self.net.run_for(0.05)
            speaker = self.rng.choice([*speakers[-4:], speakers[-1]])
            self._speak(speaker, self._stream(speaker))
            self.net.run_for(self.rng.choice((0.0, 0.5, 5.0)))
            for other in speakers:
                if other.is_open and self.rng.random() < 0.05:
                    transport: Any = other.transport
                    transport.loseConnection()
        self._rest()
        self._check([])
        self._check(self._good_call())
        self._rest()
        self._check([])
        self.net.trace.clear()

    def _rest(self) -> None:
        """Let all calls be hung up, and everything end that has a limit of time."""
        self.net.run_for(5.0)
        for server in (self.server, self.client):
            for session in tuple(server.manager.sessions):
                session.terminate()
        self.net.run_for(REST)

    def _good_call(self) -> list[str]:
        """Place a good call over TCP, which must work."""
        dialled = self.client.dial(f"sip:answering@{SERVER};transport=tcp")
        outcome: list[object] = []
        dialled.addBoth(outcome.append)
        self.net.run_for(5.0)
        if not outcome or isinstance(outcome[0], Failure):
            return [f"a good call failed: {outcome}"]
        if not self._is_talking():
            return ["a good call did not last"]
        return []

    def _check(self, faults: list[str]) -> None:
        faults = faults + [f"logged: {text}" for text in self.errors.texts]
        for server in (self.server, self.client):
            counters = server.core.counters
            if "internal-error" in counters.refused or counters.plugin_errors:
                faults.append(f"counted: {counters.plugin_errors}, {counters.refused}")
            if server.connections.failures:
                faults.append("a connection caught something")
            faults += [] if self._is_talking() else server.leftovers()
        if faults:
            text = "\n".join(f"  - {fault}" for fault in faults)
            raise AssertionError(f"seed {self.seed}, after {self.fed} messages of streams:\n{text}")

    def _is_talking(self) -> bool:
        """Whether the good call is going on."""
        return any(session.is_answered for session in self.client.manager.sessions)


def make_frame(rng: random.Random, data: bytes) -> bytes:
    """Return bytes in a frame of a browser (:rfc:`6455#section-5.2`), rarely of an odd kind."""
    first = 0x81 if rng.random() < 0.9 else rng.randrange(256)
    length = len(data)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8)
    # A mask of zeros leaves the bytes as they are.
    return head + bytes(4) + data
