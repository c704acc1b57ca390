# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Packets of one peer that go on to another one, as packets of ours.

Theory of operation
    What leaves is a stream of our own: our SSRC, and numbers that go on from what we sent before
    (:rfc:`3550#section-7.1`: a relay that makes a new stream of each side hides nothing of the
    order). The sequence number and the timestamp of the source are shifted by an offset each, so
    that losses, reordering and silences stay visible to the far end, whose jitter buffer knows
    best. The offsets are chosen anew, with a marker, when the source becomes another one, jumps, or
    when this side has said something itself meanwhile.

    The payload is passed on as it is; when the far end speaks another codec it is transcoded, with
    what decoder and encoder remember, and packets that come late are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.media.codec import Codec
from sipsess.media.rtp import RTPPacket

if TYPE_CHECKING:
    from sipsess.media.sender import Sender

#: A source that jumps further has begun anew (MAX_DROPOUT of :rfc:`3550#appendix-A.1`).
MAX_JUMP = 3000


class Relay:
    """
    Makes our packets of those of another stream.

    :param sender: of the stream that they leave by.
    """

    __slots__ = ("_codec", "_expected", "_newest", "_sender", "_span", "_ssrc", "_timestamps")

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._ssrc: int | None = None
        self._codec: Codec | None = None
        #: The newest sequence number of the source, and how far it is from that of the offsets.
        self._newest = 0
        self._span = 0
        #: A timestamp of the source, and the one that it became.
        self._timestamps = (0, 0)
        #: The sequence number that the sender has when nobody else has used it.
        self._expected: int | None = None

    def make(self, codec: Codec, packet: RTPPacket, now: float) -> bytes | None:
        """
        Return the packet to send.

        :param codec: of the payload.
        :param now: seconds, monotonic.
        :return: ``None`` for one that is too old, or came twice.
        """
        sender, marker = self._sender, packet.marker
        step = _signed(packet.sequence - self._newest, 16)
        is_known = packet.ssrc == self._ssrc and codec is self._codec
        if not is_known or sender.sequence != self._expected or abs(step) > MAX_JUMP:
            self._begin(codec, packet, now)
            step, marker = 1, True
        elif step == 0 or self._span + step < 0:
            return None
        payload = packet.payload
        if codec is not sender.codec:
            if step < 0:
                # It cannot be decoded any more: codecs remember what was before.
                return None
            payload = sender.transcode(codec, payload)
            if not payload:
                self._ssrc = None
                return None
        timestamp = self._map(codec, packet.timestamp)
        if step < 0:
            sequence = sender.sequence - 1 + step & 0xFFFF
            return sender.pack_late(sequence, timestamp, payload)
        data = sender.pack_relayed(step - 1, timestamp, payload, marker=marker, now=now)
        self._newest = packet.sequence
        self._span = min(self._span + step, MAX_JUMP)
        self._expected = sender.sequence
        return data

    def _begin(self, codec: Codec, packet: RTPPacket, now: float) -> None:
        """Let a packet be the next of ours, whatever its numbers are."""
        self._ssrc, self._codec, self._span = packet.ssrc, codec, -1
        self._timestamps = (packet.timestamp, self._sender.timestamp_at(now))

    def _map(self, codec: Codec, timestamp: int) -> int:
        """Return what a timestamp of the source is in the clock of what leaves."""
        theirs, ours = self._timestamps
        passed = _signed(timestamp - theirs, 32)
        rate = self._sender.codec.clock_rate
        if rate != codec.clock_rate:
            passed = passed * rate // codec.clock_rate
        return ours + passed & 0xFFFFFFFF


def _signed(number: int, bits: int) -> int:
    """Return a difference of two numbers that roll over."""
    half = 1 << bits - 1
    return (number + half & 2 * half - 1) - half
