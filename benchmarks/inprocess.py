# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Basic calls to a whole core within this process, without a reactor, on a clock that we set."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from twisted.internet.task import Clock
from zope.interface import implementer

from benchmarks.messages import Writer, tag_of
from benchmarks.plugins.benchmark_applications import answer
from benchmarks.portless.benchmark_portless import portless
from sipsess.collector import Collector
from sipsess.core import SIPCore
from sipsess.defence import DefenceSettings
from sipsess.endpoint import AnonymousGate
from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.interfaces import IMediaClock, IMediaPort, IMediaPorts, ISessionSupplement
from sipsess.manager import DialogManager
from sipsess.media import AudioStream
from sipsess.sdphandlers.audio import AudioHandler

#: Seconds between two calls, on the clock that we set: 100 calls a second.
INTERVAL = 0.01
#: Longer than any transaction is kept.
LINGER = 40.0

#: What opens RTP ports, and what lets them speak.
Media = tuple[IMediaPorts, IMediaClock]


@implementer(IMediaPort)
class SilentPort:
    """A port without a socket."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, data: bytes, address: Address) -> None:
        """Send nothing."""

    def open_rtcp(self) -> bool:
        """Open nothing."""
        return True

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """Send nothing."""

    def close(self) -> None:
        """Close nothing."""


@implementer(IMediaPorts, IMediaClock)
class SilentMedia:
    """RTP ports without sockets, and a clock that never ticks."""

    def open(self, host: str, receive: Callable[[bytes, Address, float], None]) -> SilentPort:
        """See :meth:`.IMediaPorts.open`."""
        return SilentPort(10000)

    def add(self, stream: AudioStream, port: IMediaPort) -> None:
        """See :meth:`.IMediaClock.add`."""

    def remove(self, stream: AudioStream) -> None:
        """See :meth:`.IMediaClock.remove`."""


def silent_media() -> Media:
    """Return media that costs only what it costs without a system."""
    media = SilentMedia()
    return media, media


@contextmanager
def tuned_collector(count_calls: Callable[[], int]) -> Iterator[Callable[[float], None]]:
    """
    Let the garbage collector run as it does in a server.

    :param count_calls: how many calls there are.
    :return: lets so many seconds pass for it.
    """
    clock = Clock()
    collector = Collector(clock, count_calls)
    collector.startService()
    try:
        yield clock.advance
    finally:
        collector.stopService()


class Calls:
    """
    A whole core with the dialog manager, the audio handler and an application.

    One call is INVITE with an offer, 180, 200 with the answer, ACK, BYE, 200.

    :param supplements: for every session.
    :param media: opens the ports of the audio handler; ``None`` answers without one.
    """

    def __init__(self, supplements: Iterable[ISessionSupplement], media: Media | None) -> None:
        #: The time, on the clock that we set.
        self.now = 0.0
        self._number = 0
        self._sent: list[bytes] = []
        #: Several callers, as a server may limit the calls of one.
        self._writers = [Writer((f"127.0.0.{number}", 5060)) for number in range(2, 6)]
        self.core = SIPCore(
            transmit=lambda flow, wire: self._sent.append(wire),
            seconds=lambda: self.now,
            ids=IdSource(random.Random(1)),
            gates=[AnonymousGate()],
            defence=DefenceSettings(),
        )
        self.manager = DialogManager(
            self.core,
            supplements=supplements,
            handlers=[portless if media is None else AudioHandler()],
            applications=[answer],
            application=answer.name,
            media_ports=None if media is None else media[0],
            media_clock=None if media is None else media[1],
        )

    def operate(self, count: int) -> None:
        """Do ``count`` calls, the ends of the earlier transactions included."""
        for _ in range(count):
            self.hang_up(*self.begin())

    def begin(self) -> tuple[int, str]:
        """Place one call; return its number and its To tag."""
        self._number += 1
        number = self._number
        self._receive(number, self._writer(number).invite(number))
        tag = tag_of(self._expect_ok())
        self._receive(number, self._writer(number).ack(number, tag))
        self._pass()
        return number, tag

    def hang_up(self, number: int, tag: str) -> None:
        """End one call."""
        self._receive(number, self._writer(number).bye(number, tag))
        self._expect_ok()

    def linger(self) -> None:
        """Let time pass until no transaction is left."""
        self.now += LINGER
        self.core.handle_timeout(self.now)

    def finish(self) -> None:
        """
        Let everything come to its end.

        :raises AssertionError: when something is left.
        """
        self.linger()
        left = self.manager.leftovers()
        if left:
            raise AssertionError(f"left after all calls: {left[:5]}")

    def _writer(self, number: int) -> Writer:
        """Return the one who places a call."""
        return self._writers[number % len(self._writers)]

    def _receive(self, number: int, data: bytes) -> None:
        self.core.receive_datagram(data, self._writer(number).flow, self.now)

    def _pass(self) -> None:
        self.now += INTERVAL
        if self._number % 10 == 0:
            self.core.handle_timeout(self.now)

    def _expect_ok(self) -> bytes:
        last = self._sent[-1]
        if not last.startswith(b"SIP/2.0 200"):
            raise AssertionError(f"expected a 200, got {last!r}")
        self._sent.clear()
        return last
