# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Both legs of a stream, side by side: what the peer says, and what he is sent.

Theory of operation
    Each tick takes 20 ms of each leg, silence where nobody speaks, so that the legs stay aligned
    however irregular either of them is. What this side plays is there in its own tick. What it
    relays comes when the network brings it, and waits for the next tick, or for a few when packets
    come in bursts; no more than :data:`MAX_WAITING` of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sipsess.media.codec import Codec, Decoder
from sipsess.media.codecs import FRAME_TIME
from sipsess.media.hearing import Listening
from sipsess.media.resample import Resampler
from sipsess.media.rtp import MediaError

#: Called with 20 ms of what the peer says and 20 ms of what he is sent.
HeardBoth: TypeAlias = Callable[[bytes, bytes], None]

#: Frames of a leg that wait for their ticks; more means that its clock is fast, and the oldest
#: goes.
MAX_WAITING = 10


class Legs:
    """
    One listener to both legs; :meth:`.AudioStream.listen_both` makes it.

    :param rate: the samples per second of what it hears.
    :param callback: gets each pair of frames.
    :param stopped: called once when it has stopped.
    """

    __slots__ = ("_callback", "_decoder", "_heard", "_said", "_size", "_stopped", "listening")

    def __init__(self, rate: int, callback: HeardBoth, stopped: Callable[[Legs], object]) -> None:
        self._size = 2 * round(rate * FRAME_TIME)
        self._heard, self._said = Leg(rate), Leg(rate)
        self._callback = callback
        self._stopped: Callable[[Legs], object] | None = stopped
        self._decoder: tuple[Codec, Decoder] | None = None
        #: What gives the leg of the peer.
        self.listening: Listening | None = None

    def hear(self, pcm: bytes, rate: int) -> None:
        """Take what the peer says."""
        self._heard.add(pcm, rate)

    def say(self, codec: Codec, payload: bytes) -> None:
        """Take what the peer is sent."""
        if self._decoder is None or self._decoder[0] is not codec:
            self._decoder = codec, codec.make_decoder()
        try:
            self._said.add(self._decoder[1].decode(payload), codec.sample_rate)
        except MediaError:
            # It came from another peer, and is passed on as it came.
            return

    def tick(self) -> None:
        """Let 20 ms pass."""
        self._callback(self._heard.take(self._size), self._said.take(self._size))

    def stop(self) -> None:
        """Hear no more. Idempotent."""
        stopped, self._stopped = self._stopped, None
        if stopped is None:
            return
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.stop()
        stopped(self)


class Leg:
    """
    What waits of one leg.

    :param rate: the samples per second of what is taken.
    """

    __slots__ = ("_is_stale", "_pcm", "_rate", "_resampler")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pcm = bytearray()
        self._resampler = Resampler(rate, rate)
        #: Nothing came since the last time that there was too little.
        self._is_stale = False

    def add(self, pcm: bytes, rate: int) -> None:
        """Add what has come."""
        if rate != self._resampler.from_rate:
            self._resampler = Resampler(rate, self._rate)
        self._pcm += self._resampler.convert(pcm)
        self._is_stale = False
        excess = len(self._pcm) - MAX_WAITING * 2 * round(self._rate * FRAME_TIME)
        if excess > 0:
            del self._pcm[:excess]

    def take(self, size: int) -> bytes:
        """Return so many bytes; half a frame waits one tick for its rest."""
        if len(self._pcm) < size and not self._is_stale:
            self._is_stale = True
            return bytes(size)
        frame = bytes(self._pcm[:size])
        del self._pcm[:size]
        return frame.ljust(size, b"\0")
