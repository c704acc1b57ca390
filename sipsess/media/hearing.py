# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What listens to an audio stream; nothing is decoded while nobody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sipsess.media.codecs import SAMPLE_RATE, Codec
from sipsess.media.rtp import RTPPacket

#: Called with the PCM of 20 ms (16-bit little-endian mono) and its samples per second.
Heard: TypeAlias = Callable[[bytes, int], None]


class Listening:
    """
    One listener of a stream; :meth:`.AudioStream.listen` makes it.

    :param callback: gets each frame.
    :param stopped: called once when it has stopped.
    """

    __slots__ = ("_stopped", "callback")

    def __init__(self, callback: Heard, stopped: Callable[[Listening], None]) -> None:
        self.callback = callback
        self._stopped: Callable[[Listening], None] | None = stopped

    def stop(self) -> None:
        """Hear no more. Idempotent."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped(self)


class Hearing:
    """The listeners of one stream, and what they need."""

    __slots__ = ("listeners",)

    def __init__(self) -> None:
        #: Replaced, not changed: a callback may stop or add one.
        self.listeners: tuple[Listening, ...] = ()

    def add(self, callback: Heard, stopped: Callable[[Listening], None]) -> Listening:
        """Let somebody listen."""
        listening = Listening(callback, stopped)
        self.listeners = (*self.listeners, listening)
        return listening

    def remove(self, listening: Listening) -> bool:
        """Let somebody listen no more; tell whether anybody still does."""
        self.listeners = tuple(other for other in self.listeners if other is not listening)
        return bool(self.listeners)

    def receive(self, codec: Codec, packet: RTPPacket) -> None:
        """Take an audio packet that is in order."""
        self._tell(codec.decode(packet.payload))

    def _tell(self, pcm: bytes) -> None:
        for listening in self.listeners:
            if listening in self.listeners:
                listening.callback(pcm, SAMPLE_RATE)
