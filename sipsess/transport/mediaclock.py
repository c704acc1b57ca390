# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The clock that lets streams speak and hear.

Theory of operation
    :class:`MediaClock` wakes up every 20 ms while a stream has something to say. Each wake-up is
    computed from the first one, so that no drift adds up. After a wake-up that comes late the
    missed frames are made up for, but no more than :data:`MAX_CATCH_UP` of them; then the clock
    starts anew from now.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from sipsess.interfaces import IMediaClock, IMediaPort
from sipsess.media.codecs import FRAME_TIME
from sipsess.media.stream import AudioStream

#: Missed frames that one late wake-up makes up for.
MAX_CATCH_UP = 5

_log = Logger()


class Timekeeper(Protocol):
    """The part of a reactor that :class:`MediaClock` needs."""

    def seconds(self) -> float:
        """Return the time in seconds."""

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        """Call something later."""


@implementer(IMediaClock)
class MediaClock:
    """
    Lets the streams speak every 20 ms.

    :param reactor: provides ``IReactorTime``.
    :param seconds: the same as for :class:`RTPPorts`.
    """

    def __init__(self, reactor: Timekeeper, seconds: Callable[[], float] | None = None) -> None:
        self._reactor = reactor
        self._seconds = seconds or reactor.seconds
        self._ports: dict[AudioStream, IMediaPort] = {}
        self._awake: dict[AudioStream, None] = {}
        self._start = 0.0
        self._frame = 0
        self._call: IDelayedCall | None = None
        self._is_passing = False
        #: How often the clock came so late that frames were given up.
        self.resyncs = 0
        #: Parts of ticks that raised, which is a bug of this side; of each stream one is logged.
        self.failures = 0
        self._reported: dict[AudioStream, None] = {}

    def __len__(self) -> int:
        """How many streams there are, silent ones included."""
        return len(self._ports)

    @property
    def is_running(self) -> bool:
        """Whether a wake-up is planned."""
        return self._call is not None

    def add(self, stream: AudioStream, port: IMediaPort) -> None:
        """
        Take care of a stream until :meth:`remove`.

        :param stream: its ``on_wake`` and ``send_now`` are taken.
        :param port: where its packets leave.
        """
        self._ports[stream] = port
        stream.on_wake = partial(self._wake, stream)
        stream.send_now = port.send
        if stream.wants_ticks:
            self._wake(stream)

    def remove(self, stream: AudioStream) -> None:
        """Forget a stream. Idempotent."""
        if self._ports.pop(stream, None) is None:
            return
        stream.on_wake = stream.send_now = None
        self._awake.pop(stream, None)
        self._reported.pop(stream, None)
        self._sleep()

    def leftovers(self) -> list[str]:
        """Name what is still there, for tests."""
        return [f"stream {stream.ssrc:08x} on {port!r}" for stream, port in self._ports.items()]

    def _wake(self, stream: AudioStream) -> None:
        self._awake[stream] = None
        if self._call is None and not self._is_passing:
            self._start = self._seconds()
            self._frame = 0
            self._call = self._reactor.callLater(0, self._run)

    def _sleep(self) -> None:
        """Plan no more wake-ups when nobody has anything to say."""
        if not self._awake and self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _run(self) -> None:
        """Let all frames pass that are due, and plan the next."""
        self._call = None
        # Callbacks may wake and remove streams meanwhile; the next call is planned here alone.
        self._is_passing = True
        try:
            delay = self._catch_up()
        finally:
            self._is_passing = False
        if self._awake:
            self._call = self._reactor.callLater(delay, self._run)

    def _catch_up(self) -> float:
        """Let the frames pass that are due; return the seconds until the next one."""
        now = self._seconds()
        # A microsecond of grace, since a reactor may call that much too early.
        for _ in range(MAX_CATCH_UP):
            due = self._start + self._frame * FRAME_TIME
            if due > now + 1e-6:
                break
            self._frame += 1
            self._pass_frame(due)
        due = self._start + self._frame * FRAME_TIME
        if due <= now:
            self.resyncs += 1
            self._start, self._frame = now, 1
            due = now + FRAME_TIME
        return due - now

    def _pass_frame(self, due: float) -> None:
        """Give each stream its tick."""
        for stream in tuple(self._awake):
            port = self._ports.get(stream)
            if port is None:
                continue
            self._pass(stream, port, stream.hear, due)
            packet = self._pass(stream, port, stream.speak, due)
            address = stream.destination
            if packet is not None and address is not None:
                port.send(packet, address)
            self._pass(stream, port, stream.overhear, due)
            if not stream.wants_ticks:
                self._awake.pop(stream, None)

    def _pass(
        self,
        stream: AudioStream,
        port: IMediaPort,
        part: Callable[[float], bytes | None],
        due: float,
    ) -> bytes | None:
        """Let a part of a tick happen; who hears, and fails, keeps nothing from being said."""
        try:
            return part(due)
        except Exception:
            self.failures += 1
            if stream not in self._reported:
                _log.failure(
                    "a callback or audio source of {port} failed (reported once)", port=port
                )
            if stream in self._ports:
                # What fails in one tick often does in the next, fifty times a second.
                self._reported[stream] = None
            return None
