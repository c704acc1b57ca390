# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The sending half of an audio stream: queues in, RTP packets out, one at most per tick.

Theory of operation
    Two queues are asked in this order: digits, playbacks. The timestamp follows the time:
    :attr:`Sender._due` is when the next frame would be due if the talk-spurt went on. A tick that
    comes later than that, by more than a tolerance, starts a new spurt: the timestamp jumps over
    the silence and the packet has the marker (:rfc:`3551#section-4.1`). A digit takes the time of
    its packets and its pause; audio waits meanwhile and goes on after it with a marker.

    A packet of audio lasts 20 ms, a tick, or as long as the peer wants. One that is longer leaves
    at the tick when it is due, or less than half a tick before.
"""

from __future__ import annotations

from collections.abc import Callable

from sipsess.ids import IdSource
from sipsess.media.codec import PACKET_TIME, Codec, Encoder
from sipsess.media.codecs import FRAME_TIME
from sipsess.media.playback import Done, Playback
from sipsess.media.rtp import pack_packet
from sipsess.media.telephone_event import DigitSender
from sipsess.media.transcoder import Transcoder

#: Things that may end in one tick; a program that queues empty audio again and again would stop
#: the world.
_MAX_ENDS = 16
#: Packets that are still on their way when they come back: one minute (MAX_DROPOUT, RFC 3550 A.1).
LOOP_WINDOW = 3000
#: Seconds by which a frame may be late and still belong to the same talk-spurt.
_TOLERANCE = FRAME_TIME / 2


class DigitString:
    """
    Digits that wait or are being sent.

    :param sender: makes the packets.
    :param done: called exactly once with whether all were sent.
    """

    __slots__ = ("_done", "sender")

    def __init__(self, sender: DigitSender, done: Done | None) -> None:
        self.sender = sender
        self._done = done

    def finish(self, is_complete: bool) -> None:
        """Tell that it is over."""
        done, self._done = self._done, None
        if done is not None:
            done(is_complete)


class Sender:
    """
    Makes the packets of one stream.

    :param ids: gives SSRC, first sequence number and first timestamp.
    :param codec: what is sent.
    :param payload_type: its number.
    :param event_type: that of telephone-event, or ``None``.
    """

    __slots__ = (
        "_due",
        "_encoder",
        "_fmtp",
        "_frame_ticks",
        "_is_talking",
        "_packet_bytes",
        "_packet_ticks",
        "_sequence",
        "_timestamp",
        "_transcoder",
        "bytes",
        "codec",
        "digits",
        "event_clock",
        "event_type",
        "on_audio",
        "packets",
        "payload_type",
        "playbacks",
        "ssrc",
    )

    def __init__(
        self, ids: IdSource, codec: Codec, payload_type: int, event_type: int | None
    ) -> None:
        bits = ids.random.getrandbits
        #: Who we are in each packet.
        self.ssrc = bits(32)
        # In the lower half, so that the numbers do not roll over at once (RFC 3711 3.3.1 has the
        # reason).
        self._sequence = bits(15)
        self._timestamp = bits(32)
        self._due: float | None = None
        self._is_talking = False
        self._transcoder: Transcoder | None = None
        #: Made for the first frame of audio: that of a large codec takes memory.
        self._encoder: Encoder | None = None
        self._fmtp = ""
        self.codec = codec
        self.set_format(codec, payload_type, event_type)
        #: What waits; the first of each is being sent. Lists, since an empty deque is ten times as
        #: large as an empty list, and most streams never have more than a few things to say.
        self.digits: list[DigitString] = []
        self.playbacks: list[Playback] = []
        #: Packets made, and the bytes of their payloads.
        self.packets = 0
        self.bytes = 0
        #: Called with each payload of audio that leaves, and its codec.
        self.on_audio: Callable[[Codec, bytes], None] | None = None

    def set_format(
        self,
        codec: Codec,
        payload_type: int,
        event_type: int | None,
        *,
        fmtp: str = "",
        packet_time: int = PACKET_TIME,
        event_clock: int | None = None,
    ) -> None:
        """
        Send in another format from now on; what waits is kept, and an encoder that still fits.

        :param fmtp: the parameters that the peer gives the codec.
        :param packet_time: milliseconds in a packet of audio, 20 at least.
        :param event_clock: that telephone-event counts durations with; the codec's by default.
        """
        if codec is not self.codec or fmtp != self._fmtp:
            self._encoder = self._transcoder = None
        #: The present format.
        self.codec = codec
        self.payload_type = payload_type
        self.event_type = event_type
        self._fmtp = fmtp
        self._frame_ticks = codec.clock_rate // 50
        #: What telephone-event counts durations with.
        self.event_clock = event_clock or codec.clock_rate
        self._packet_bytes = 2 * codec.sample_rate * packet_time // 1000
        self._packet_ticks = codec.clock_rate * packet_time // 1000

    @property
    def has_work(self) -> bool:
        """Whether anything waits or is being sent."""
        return bool(self.digits or self.playbacks)

    def tick(self, now: float) -> bytes | None:
        """
        Let 20 ms pass.

        :param now: when this frame is due, in seconds.
        :return: the packet to send, or ``None``.
        """
        if self.digits and self._skip_ended_digits():
            return self._next_event(now)
        if self.playbacks and not self._is_early(now):
            return self._next_packet(now)
        return None

    def timestamp_of(self, now: float) -> int:
        """Return the RTP timestamp of a moment, for a report; nothing changes."""
        passed = 0.0 if self._due is None else now - self._due
        return self._timestamp + round(passed * self.codec.clock_rate) & 0xFFFFFFFF

    def has_sent(self, sequence: int) -> bool:
        """Tell whether a sequence number is one of the last of ours."""
        behind = self._sequence - sequence & 0xFFFF
        return 0 < behind <= min(self.packets, LOOP_WINDOW)

    # -- what is relayed: sipsess.media.relay

    @property
    def sequence(self) -> int:
        """The sequence number of the next packet."""
        return self._sequence

    def timestamp_at(self, now: float) -> int:
        """Return the timestamp that a frame of now has."""
        self._follow_time(now)
        return self._timestamp

    def pack_relayed(
        self, skipped: int, timestamp: int, payload: bytes, *, marker: bool, now: float
    ) -> bytes:
        """
        Return the next packet; what this side says itself goes on after it.

        :param skipped: how many packets before it are missing.
        """
        self._sequence = self._sequence + skipped & 0xFFFF
        data = self._pack(self.payload_type, timestamp, payload, marker)
        if self.on_audio is not None:
            self.on_audio(self.codec, payload)
        self._timestamp = timestamp + self._frame_ticks & 0xFFFFFFFF
        self._due, self._is_talking = now + FRAME_TIME, True
        return data

    def pack_late(self, sequence: int, timestamp: int, payload: bytes) -> bytes:
        """Return a packet that should have left before the last ones."""
        self.packets += 1
        self.bytes += len(payload)
        return pack_packet(self.payload_type, sequence, timestamp, self.ssrc, payload, False)

    def transcode(self, codec: Codec, payload: bytes) -> bytes:
        """
        Return a payload of another codec in the codec of now; empty when it means nothing.

        The peers' packets are to come in their order: codecs remember what was before.
        """
        transcoder = self._transcoder
        if transcoder is None or transcoder.source is not codec:
            transcoder = self._transcoder = Transcoder(codec, self.codec, self._fmtp)
        return transcoder.convert(payload)

    def _next_packet(self, now: float) -> bytes | None:
        """The next packet of what is played."""
        frame = self._next_frame()
        if not frame:
            return None
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = self.codec.make_encoder(self._fmtp)
        return self._speak(encoder.encode(frame), self._packet_ticks, now)

    def _is_early(self, now: float) -> bool:
        """Whether the packet before lasts on for longer than half a tick."""
        if self._packet_ticks == self._frame_ticks or self._due is None:
            return False
        return self._is_talking and self._due - now > _TOLERANCE + 1e-6

    def close(self) -> None:
        """Drop everything that waits, and tell."""
        while self.digits:
            self.digits.pop(0).finish(False)
        while self.playbacks:
            self.playbacks.pop(0).finish(False)

    def _skip_ended_digits(self) -> bool:
        """Tell those that are over; whether digits are left to send."""
        for _ in range(_MAX_ENDS):
            if not self.digits:
                return False
            head = self.digits[0]
            can_send = self.event_type is not None
            if can_send and not head.sender.is_done:
                return True
            self.digits.pop(0)
            head.finish(can_send)
        return False

    def _next_event(self, now: float) -> bytes | None:
        """The next packet of the first digit string, or ``None`` in a pause."""
        self._follow_time(now)
        event = self.digits[0].sender.next_packet(self._timestamp, self.event_clock // 50)
        self._pass_time(self._frame_ticks)
        self._is_talking = False
        if event is None or self.event_type is None:
            return None
        return self._pack(self.event_type, event.timestamp, event.payload, event.marker)

    def _next_frame(self) -> bytes | None:
        """The PCM of a packet of the first playback that has any; tells those that are over."""
        playbacks = self.playbacks
        for _ in range(_MAX_ENDS):
            if not playbacks:
                return None
            head = playbacks[0]
            is_complete = False
            try:
                frame = head.next_frame(self._packet_bytes, self.codec.sample_rate)
                is_complete = frame is None
            except BaseException:
                self._end(head, False)
                raise
            # The pieces come from foreign code, which may have stopped or closed us meanwhile.
            if not is_complete and not head.is_done:
                return frame
            self._end(head, is_complete)
        return None

    def _end(self, playback: Playback, is_complete: bool) -> None:
        if self.playbacks and self.playbacks[0] is playback:
            self.playbacks.pop(0)
        playback.finish(is_complete)

    def _speak(self, payload: bytes, ticks: int, now: float) -> bytes:
        """Pack one audio frame that lasts so many units of the RTP clock."""
        marker = self._follow_time(now) or not self._is_talking
        timestamp = self._timestamp
        self._pass_time(ticks)
        self._is_talking = True
        if self.on_audio is not None:
            self.on_audio(self.codec, payload)
        return self._pack(self.payload_type, timestamp, payload, marker)

    def _follow_time(self, now: float) -> bool:
        """Let the timestamp jump over a silence; whether there was one."""
        due = self._due
        if due is None:
            self._due = now
            return True
        late = now - due
        if late <= _TOLERANCE:
            return False
        jump = round(late / FRAME_TIME) * self._frame_ticks
        self._timestamp = self._timestamp + jump & 0xFFFFFFFF
        self._due = now
        return True

    def _pass_time(self, ticks: int) -> None:
        self._timestamp = self._timestamp + ticks & 0xFFFFFFFF
        self._due = (self._due or 0.0) + ticks / self.codec.clock_rate

    def _pack(self, payload_type: int, timestamp: int, payload: bytes, marker: bool) -> bytes:
        sequence = self._sequence
        self._sequence = sequence + 1 & 0xFFFF
        self.packets += 1
        self.bytes += len(payload)
        return pack_packet(payload_type, sequence, timestamp, self.ssrc, payload, marker)
