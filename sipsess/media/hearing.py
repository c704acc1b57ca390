# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What listens to an audio stream; nothing is decoded, kept or ticked while nobody does.

Packets go through the jitter buffer (:mod:`sipsess.media.jitter`). From the tick in which the first
one is due, each tick gives each listener one frame of 20 ms: what came, what conceals a loss
(:mod:`sipsess.media.conceal`), or silence while the peer says nothing. A listener that raises costs
nobody else his frame; the first error goes to the caller of :meth:`Hearing.tick`.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack
from typing import TypeAlias

from sipsess.media.codec import Codec, Decoder
from sipsess.media.codecs import FRAME_TIME, SAMPLE_RATE
from sipsess.media.conceal import Concealer
from sipsess.media.jitter import HOLD, SKIP, JitterBuffer
from sipsess.media.rtp import MediaError, RTPPacket

#: Called with the PCM of 20 ms (16-bit little-endian mono) and its samples per second.
Heard: TypeAlias = Callable[[bytes, int], None]

#: The payload type of comfort noise (:rfc:`3389#section-4`). Who sends it is silent; the noise
#: itself is not made.
COMFORT_NOISE = 13


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

    __slots__ = (
        *("_buffer", "_concealer", "_decoder", "_has_begun", "_pcm", "_rate", "_sequence"),
        "listeners",
    )

    def __init__(self) -> None:
        #: Made for the first packet.
        self._buffer: JitterBuffer | None = None
        self._rate = SAMPLE_RATE
        #: Of the codec that is heard; made for its first packet.
        self._decoder: tuple[Codec, Decoder] | None = None
        self._concealer = Concealer(self._rate)
        #: Decoded and not yet heard.
        self._pcm = b""
        #: Whether a packet was decoded since the buffer was made.
        self._has_begun = False
        #: Of the last packet that was decoded.
        self._sequence = 0
        #: Replaced, not changed: a callback may stop or add one.
        self.listeners: tuple[Listening, ...] = ()

    @property
    def is_playing(self) -> bool:
        """Whether each tick gives a frame."""
        return self._buffer is not None

    @property
    def delay(self) -> float:
        """Seconds of audio that wait."""
        return 0.0 if self._buffer is None else self._buffer.delay

    def add(self, callback: Heard, stopped: Callable[[Listening], None]) -> Listening:
        """Let somebody listen."""
        listening = Listening(callback, stopped)
        self.listeners = (*self.listeners, listening)
        return listening

    def remove(self, listening: Listening) -> bool:
        """Let somebody listen no more; tell whether anybody still does."""
        self.listeners = tuple(other for other in self.listeners if other is not listening)
        return bool(self.listeners)

    def receive(self, codec: Codec, packet: RTPPacket, *, is_newest: bool, now: float) -> None:
        """Take an audio packet; see :meth:`.JitterBuffer.put`."""
        if not packet.payload:
            return
        if self._buffer is None or self._buffer.clock_rate != codec.clock_rate:
            # The timestamps of another clock say nothing to those of before (RFC 7160 4).
            self._buffer = JitterBuffer(codec.clock_rate)
            self._decoder_of(codec)
        self._buffer.put(codec, packet, is_newest=is_newest, now=now)

    def restart(self) -> None:
        """Another sender speaks from now on."""
        if self._buffer is not None:
            self._buffer.restart()

    def pause(self) -> None:
        """Nobody is heard before the next packet: the call is on hold."""
        self._buffer, self._pcm, self._has_begun = None, b"", False

    def tick(self, now: float) -> None:
        """Let 20 ms pass: tell the listeners what is heard."""
        buffer = self._buffer
        if buffer is None:
            return
        what = buffer.tick(now)
        if what == HOLD:
            pcm = self._concealer.conceal(self._samples)
        else:
            pcm = self._next_frame(buffer)
            if what == SKIP:
                following = self._next_frame(buffer)
                pcm = _merge(pcm, following) if len(pcm) == len(following) else following
        if not self._has_begun:
            # What is played before the first packet is due is the delay, and nobody's silence.
            return
        failure: Exception | None = None
        for listening in self.listeners:
            if listening not in self.listeners:
                continue
            try:
                listening.callback(pcm, self._rate)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    @property
    def _samples(self) -> int:
        return round(self._rate * FRAME_TIME)

    def _next_frame(self, buffer: JitterBuffer) -> bytes:
        """Return the next 20 ms."""
        # Another codec, found while decoding, drops what waits and changes how many samples it is.
        while len(self._pcm) < 2 * self._samples:
            decoded = self._decode(buffer)
            self._pcm += decoded
        size = 2 * self._samples
        pcm, self._pcm = self._pcm[:size], self._pcm[size:]
        return pcm

    def _decode(self, buffer: JitterBuffer) -> bytes:
        """Return the PCM of the next packet, or one frame in place of what is not there."""
        packet = buffer.take()
        if packet is not None:
            self._has_begun = True
            self._sequence = packet.sequence
            buffer.position = packet.timestamp + packet.codec.duration(packet.payload)
            try:
                return self._concealer.hear(self._decoder_of(packet.codec).decode(packet.payload))
            except MediaError:
                return self._concealer.conceal(self._samples)
        buffer.position += buffer.frame
        following = buffer.peek()
        if following is not None and following.sequence == self._sequence + 1 & 0xFFFF:
            # Nothing was lost: the sender was silent (RFC 3551 4.1).
            return self._concealer.silence(self._samples)
        return self._concealer.conceal(self._samples)

    def _decoder_of(self, codec: Codec) -> Decoder:
        """Return what decodes; another codec begins anew, and may have another rate."""
        if self._decoder is None or self._decoder[0] is not codec:
            self._decoder = codec, codec.make_decoder()
            if codec.sample_rate != self._rate:
                self._rate, self._pcm = codec.sample_rate, b""
                self._concealer = Concealer(self._rate)
        return self._decoder[1]


def _merge(one: bytes, two: bytes) -> bytes:
    """Return a frame that begins as one and ends as another."""
    count = len(one) // 2
    olds, news = unpack(f"<{count}h", one), unpack(f"<{count}h", two)
    pairs = enumerate(zip(olds, news, strict=True))
    mixed = [(old * (count - at) + new * at) // count for at, (old, new) in pairs]
    return pack(f"<{count}h", *mixed)
