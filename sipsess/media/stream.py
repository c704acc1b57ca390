# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One RTP audio stream, both ways, without a socket or a clock.

Theory of operation
    The shell calls :meth:`AudioStream.receive` for each datagram, and :meth:`AudioStream.tick`
    every 20 ms while :attr:`AudioStream.wants_ticks` is true; the packet that a tick returns goes
    to :attr:`AudioStream.destination`. When a stream that wanted no ticks has something to say
    again it calls :attr:`AudioStream.on_wake`.

    What leaves, in this order: digits, what is played, what is relayed or echoed. When there is
    nothing to say there are no packets. The timestamp nevertheless follows the time: after a
    silence it has advanced by as many samples as the silence was long, and the first packet has the
    marker (:rfc:`3551#section-4.1`).

    ``done`` is called one tick after the last packet: by then the peer has had the time to hear
    it, and who hangs up in ``done`` does not cut the end off. While the direction forbids
    sending, or the peer's address is not proven (:attr:`AudioStream.holds_back`), what is played
    and the digits wait.

    Callbacks may call any method of the stream. An exception that one of them raises goes to the
    caller of ``receive`` or ``tick``; nothing that a peer sends ever does.

The module is long because both directions of a stream, and all that is said of one, meet here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.media import tone
from sipsess.media.codec import PACKET_TIME, Codec
from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.hearing import COMFORT_NOISE, Heard, Hearing, Listening
from sipsess.media.latch import Latch
from sipsess.media.legs import HeardBoth, Legs
from sipsess.media.playback import Done, Playback
from sipsess.media.relay import Relay
from sipsess.media.reporting import RemoteView, Reporter
from sipsess.media.resample import check_rate
from sipsess.media.rtcp import Report
from sipsess.media.rtp import MediaError, RTPPacket, is_rtcp
from sipsess.media.sender import DigitString, Sender
from sipsess.media.sequence import DUPLICATE, LATE, RESTART, SequenceTracker
from sipsess.media.statistics import JitterMeter, StreamStatistics, estimate_mos
from sipsess.media.telephone_event import DigitReceiver, DigitSender, check_digits

#: Things to play, or strings of digits, that may wait; a program that queues more has lost count.
MAX_QUEUE = 1000

#: Takes an audio packet of a peer: its codec, itself, and the time.
OnPacket: TypeAlias = Callable[[Codec, RTPPacket, float], None]

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


class AudioStream:
    """
    One audio stream of one session.

    :param codec: what is sent.
    :param payload_type: the number that the negotiation gave it.
    :param event_payload_type: that of telephone-event, or ``None`` when the peer does not speak
        it; then digits are sent as tones.
    :param ids: where SSRC, first sequence number and first timestamp come from; they must be
        unpredictable (:rfc:`3550#section-5.1`).
    :param direction: ours: ``"sendrecv"``, ``"sendonly"``, ``"recvonly"`` or ``"inactive"``.
    :param remote: the address that the peer's SDP gives, if it is known.
    :param accepts: further payload types that may come, and the codec of each (``None`` for
        telephone-event); those given above are always accepted.
    """

    __slots__ = (
        "__weakref__",
        "_direction",
        "_formats",
        "_hearing",
        "_ids",
        "_is_closed",
        "_jitter",
        "_latch",
        "_legs",
        "_receiver",
        "_relay",
        "_reporter",
        "_sender",
        "_tracker",
        "bad",
        "bytes_received",
        "echo",
        "on_activity",
        "on_digit",
        "on_packet",
        "on_wake",
        "packets_received",
        "send_now",
        "withheld",
        "wrong_payload_type",
        "wrong_source",
    )

    def __init__(
        self,
        codec: Codec,
        payload_type: int,
        event_payload_type: int | None,
        ids: IdSource,
        *,
        direction: str = "sendrecv",
        remote: Address | None = None,
        accepts: Mapping[int, Codec | None] | None = None,
    ) -> None:
        #: Where what is unpredictable comes from.
        self._ids = ids
        self._sender = Sender(ids, codec, payload_type, event_payload_type)
        self._latch = Latch(remote)
        # Who makes a stream for an address has chosen it; only what a peer says later is a claim.
        self._latch.proven_host = None if remote is None else remote[0]
        self._tracker = SequenceTracker()
        self._jitter = JitterMeter()
        #: Made for the first event that comes.
        self._receiver: DigitReceiver | None = None
        #: Made for the first listener.
        self._hearing: Hearing | None = None
        #: Made for the first packet that is forwarded.
        self._relay: Relay | None = None
        self._legs: tuple[Legs, ...] = ()
        #: Made for the first report, ours or the peer's.
        self._reporter: Reporter | None = None
        #: Whether audio is sent back as it comes, as :meth:`forward` does it. Digits are not: who
        #: wants them back sends them from :attr:`on_digit`.
        self.echo = False
        self._is_closed = False
        #: Replaced, not changed: streams share it.
        self._formats: Mapping[int, Codec | None] = {}
        #: Called with each digit that the peer has pressed, once per key press.
        self.on_digit: Callable[[str], None] | None = None
        #: Called at once with each audio packet that came, its codec and the time: the
        #: :meth:`forward` of another stream.
        self.on_packet: OnPacket | None = None
        #: Sends a packet to an address at once; set by
        #: :class:`sipsess.transport.mediaclock.MediaClock`.
        self.send_now: Callable[[bytes, Address], None] | None = None
        #: Called when ticks are wanted; set by the same.
        self.on_wake: Callable[[], None] | None = None
        #: Called once when a packet has come or gone, and taken away; who wants to know of the next
        #: one sets it again.
        self.on_activity: Callable[[], None] | None = None
        #: RTP packets of the peer that were accepted, and the bytes of their payloads.
        self.packets_received = 0
        self.bytes_received = 0
        #: Datagrams that were no RTP packets, or whose event was broken.
        self.bad = 0
        #: Packets that were made and not sent: nobody at the address that the peer names has shown
        #: that he wants them (see :mod:`sipsess.media.latch`).
        self.withheld = 0
        #: RTP packets of a payload type that was not negotiated.
        self.wrong_payload_type = 0
        #: RTP packets from a source that is not the peer (see :mod:`sipsess.media.latch`).
        self.wrong_source = 0
        self._direction = ""
        self.set_format(codec, payload_type, event_payload_type, accepts=accepts)
        self.direction = direction

    # -- what it is

    @property
    def ssrc(self) -> int:
        """Who we are in each packet; another one only after a peer had the same."""
        return self._sender.ssrc

    @property
    def codec(self) -> Codec:
        """What is sent."""
        return self._sender.codec

    @property
    def sample_rate(self) -> int:
        """Samples per second of :attr:`codec`; what is played at another rate is converted."""
        return self._sender.codec.sample_rate

    @property
    def destination(self) -> Address | None:
        """Where packets go now, or ``None`` when that is not known yet."""
        return self._latch.destination

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    @property
    def packets_sent(self) -> int:
        """RTP packets that were made."""
        return self._sender.packets

    @property
    def bytes_sent(self) -> int:
        """Bytes of their payloads."""
        return self._sender.bytes

    @property
    def lost(self) -> int:
        """Packets that never came, by the gaps in the sequence numbers."""
        return self._tracker.lost

    @property
    def late(self) -> int:
        """Packets that came after a newer one; they are heard if in time."""
        return self._tracker.late

    @property
    def duplicates(self) -> int:
        """Packets that came twice in a row."""
        return self._tracker.duplicates

    def statistics(self) -> StreamStatistics:
        """Tell how it fared until now."""
        expected = self.packets_received + self.lost
        jitter = self._jitter.seconds * 1000
        remote = RemoteView() if self._reporter is None else self._reporter.remote
        mos = None
        if self.packets_received:
            round_trip, encoding = remote.round_trip_ms or 0.0, self.codec.encoding.upper()
            mos = estimate_mos(self.lost / expected, jitter, round_trip, encoding)
        return StreamStatistics(
            codec=self.codec.encoding,
            packets_received=self.packets_received,
            bytes_received=self.bytes_received,
            packets_sent=self.packets_sent,
            bytes_sent=self.bytes_sent,
            lost=self.lost,
            late=self.late,
            duplicates=self.duplicates,
            jitter_ms=jitter,
            mos=mos,
            round_trip_ms=remote.round_trip_ms,
            remote_lost=remote.lost,
            remote_jitter_ms=remote.jitter_ms,
        )

    @property
    def reporter(self) -> Reporter:
        """What is said and heard of it by RTCP."""
        if self._reporter is None:
            self._reporter = Reporter(
                self._sender, self._tracker, self._jitter, self._latch, self._ids.random
            )
        return self._reporter

    @property
    def reports_received(self) -> int:
        """RTCP datagrams of the peer that were read."""
        return 0 if self._reporter is None else self._reporter.received

    @property
    def wants_ticks(self) -> bool:
        """Whether :meth:`tick` has something to do."""
        if self._receiver is not None and self._receiver.is_open:
            return True
        if self._legs or (self._hearing is not None and self._hearing.is_playing):
            return True
        return self._sender.has_work and self._can_send

    @property
    def pressed(self) -> float:
        """Seconds that the key of the last event was pressed; :attr:`on_digit` may ask."""
        return 0.0 if self._receiver is None else self._receiver.duration / self._sender.event_clock

    @property
    def has_events(self) -> bool:
        """Whether the peer speaks telephone-event; else digits are sent as tones."""
        return self._sender.event_type is not None

    @property
    def _can_send(self) -> bool:
        return self._direction[:4] == "send" and self._latch.destination is not None

    @property
    def _can_hear(self) -> bool:
        return self._direction in ("sendrecv", "recvonly")

    # -- what it shall be

    @property
    def direction(self) -> str:
        """
        Our direction, as negotiated (:rfc:`3264#section-6.1`); it may be set at any time.

        Setting it to what is no direction raises :class:`sipsess.errors.LocalError`.
        """
        return self._direction

    @direction.setter
    def direction(self, direction: str) -> None:
        if direction not in _DIRECTIONS:
            raise LocalError(f"{direction!r} is no media direction")
        self._direction = direction
        if self._hearing is not None and not self._can_hear:
            self._hearing.pause()
        self._wake()

    def set_remote(self, address: Address | None) -> None:
        """
        Take the address of the peer's latest SDP.

        :param address: its IP address and port; ``None`` while there is none. The wildcard
            address of the old-style hold and port 0 mean the same. An address that differs from
            the last one opens the latch.
        """
        self._latch.signal(address)
        self._wake()

    @property
    def holds_back(self) -> bool:
        """
        Whether the peer's address is only a claim of his; it may be set at any time.

        While it is, nothing is sent before a packet has come from there: what is played and the
        digits wait, as when the direction forbids sending.
        """
        return self._latch.holds_back

    @holds_back.setter
    def holds_back(self, holds_back: bool) -> None:
        self._latch.holds_back = holds_back
        self._wake()

    @property
    def proven_host(self) -> str | None:
        """The host that is known to hear us; it may be set at any time, see :class:`.Latch`."""
        return self._latch.proven_host

    @proven_host.setter
    def proven_host(self, host: str | None) -> None:
        self._latch.proven_host = host

    def set_format(
        self,
        codec: Codec,
        payload_type: int,
        event_payload_type: int | None,
        *,
        accepts: Mapping[int, Codec | None] | None = None,
        fmtp: str = "",
        packet_time: int = PACKET_TIME,
        event_clock: int | None = None,
    ) -> None:
        """
        Take the formats of a new negotiation; SSRC, sequence numbers and timestamps go on.

        The payload types of before are still understood: packets in the old format may be on
        their way (:rfc:`3264#section-8.3.2`, which also forbids giving their numbers another
        meaning).

        :param codec: what is sent from now on.
        :param payload_type: its number.
        :param event_payload_type: that of telephone-event, or ``None``; then digits that wait are
            told ``done(False)``.
        :param accepts: further payload types that may come; kept, and not to be changed.
        :param fmtp: the parameters that the peer gives the codec.
        :param packet_time: milliseconds in each packet of what is played; 20 at least.
        :param event_clock: that telephone-event counts with; the codec's by default.
        """
        self._sender.set_format(
            *(codec, payload_type, event_payload_type),
            fmtp=fmtp,
            packet_time=packet_time,
            event_clock=event_clock,
        )
        formats = self._formats
        if accepts is not None and accepts is not formats:
            formats = {**formats, **accepts} if formats else accepts
        if formats.get(payload_type) is not codec:
            formats = {**formats, payload_type: codec}
        if event_payload_type is not None and formats.get(event_payload_type, codec) is not None:
            formats = {**formats, event_payload_type: None}
        self._formats = formats

    def close(self) -> None:
        """
        End the stream; idempotent.

        What waits is told ``done(False)``; from now on nothing is sent and nothing is heard.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._receiver is not None:
            self._receiver.flush()
        self.on_digit = self.on_packet = self.on_activity = self._hearing = None
        for legs in self._legs:
            legs.stop()
        self._sender.close()

    # -- what goes

    def play(
        self,
        pcm: Iterable[bytes] | bytes | bytearray | memoryview,
        done: Done | None = None,
        rate: int = SAMPLE_RATE,
    ) -> Playback:
        """
        Say something, after all that was queued before.

        :param pcm: 16-bit little-endian mono, whole or in pieces (:class:`Playback`).
        :param done: called exactly once: ``True`` when all of it has been sent, ``False`` when it
            was stopped or the stream was closed.
        :param rate: samples per second of the PCM, :data:`~sipsess.media.resample.MIN_RATE`
            to :data:`~sipsess.media.resample.MAX_RATE`.
        :return: a handle to stop it.
        :raises LocalError: if :data:`MAX_QUEUE` playbacks wait already, or at a rate that cannot
            be converted.
        """
        playback = Playback(pcm, done, check_rate(rate))
        if self._is_closed:
            playback.finish(False)
            return playback
        if len(self._sender.playbacks) >= MAX_QUEUE:
            raise LocalError(f"{MAX_QUEUE} playbacks wait on this stream already")
        self._sender.playbacks.append(playback)
        self._wake()
        return playback

    def send_digits(
        self,
        text: str,
        done: Done | None = None,
        *,
        duration: float = 0.1,
        pause: float = 0.08,
    ) -> None:
        """
        Press keys, after those that were pressed before; what is played waits meanwhile.

        A peer without telephone-event gets the tones instead, among what is played.

        :param text: 0-9, ``*``, ``#``, A-D.
        :param done: called exactly once, as by :meth:`play`.
        :param duration: seconds per key.
        :param pause: seconds after each.
        :raises LocalError: if the text holds anything else, a time is out of range or too many
            wait.
        """
        sender = DigitSender(text, duration=duration, pause=pause)
        if self._sender.event_type is None:
            rate = self.sample_rate
            self.play(tone.dtmf(check_digits(text), duration, pause, rate), done, rate)
            return
        digits = DigitString(sender, done)
        if self._is_closed:
            digits.finish(False)
            return
        if len(self._sender.digits) >= MAX_QUEUE:
            raise LocalError(f"{MAX_QUEUE} strings of digits wait on this stream already")
        self._sender.digits.append(digits)
        self._wake()

    def forward(self, codec: Codec, packet: RTPPacket, now: float) -> None:
        """
        Send at once what came, mostly on another stream, as a packet of this one.

        It is dropped while this side has something to say itself, and while nothing may be sent.

        :param codec: of its payload; transcoded when it is not :attr:`codec`.
        :param now: as for :meth:`receive`.
        """
        address = self._latch.destination
        is_silent = self._is_closed or self._sender.has_work or not self._can_send
        if is_silent or self.send_now is None or address is None or not packet.payload:
            return
        if self._relay is None:
            self._relay = Relay(self._sender)
        data = self._relay.make(codec, packet, now)
        if data is None:
            return
        if self._latch.spend():
            self.send_now(data, address)
            self._be_active()
        else:
            self.withheld += 1

    def tick(self, now: float) -> bytes | None:
        """
        Let one frame of 20 ms pass.

        :param now: when the frame is due, in seconds, the same clock as :meth:`receive`.
        :return: the packet to send to :attr:`destination`, or ``None`` when there is nothing to
            say.
        """
        self.hear(now)
        packet = self.speak(now)
        self.overhear(now)
        return packet

    def hear(self, now: float) -> None:
        """Let a frame pass of what comes: the first part of :meth:`tick`."""
        if self._receiver is not None:
            self._report(self._receiver.expire(now))
        if self._hearing is not None:
            self._hearing.tick(now)

    def speak(self, now: float) -> bytes | None:
        """Let a frame pass of what goes: the second part of :meth:`tick`."""
        packet = self._sender.tick(now) if self._can_send else None
        if packet is not None and not self._latch.spend():
            self.withheld += 1
            return None
        if packet is not None and self.on_activity is not None:
            self._be_active()
        return packet

    def overhear(self, now: float) -> None:
        """Let a frame pass for those who hear both sides: the last part of :meth:`tick`."""
        for legs in self._legs:
            legs.tick()

    def report(self, now: float, *, is_leaving: bool = False) -> tuple[bytes, Address] | None:
        """
        Return an RTCP packet and where to send it, or ``None`` while that is not known.

        :param now: as for :meth:`receive`.
        :param is_leaving: whether it is the last one.
        """
        address = self.reporter.latch.destination
        if address is None:
            return None
        return self.reporter.make(now, is_leaving=is_leaving), address

    def _be_active(self) -> None:
        on_activity = self.on_activity
        if on_activity is not None:
            self.on_activity = None
            on_activity()

    def _wake(self) -> None:
        if self.on_wake is not None and self.wants_ticks:
            self.on_wake()

    # -- what comes

    def listen(self, callback: Heard) -> Listening:
        """
        Hear what the peer says, from the first packet that comes now until it is stopped.

        :param callback: called every 20 ms with their PCM and its samples per second, after jitter
            buffer and concealment: with silence while the peer says nothing, and not on hold.
        :return: a handle to stop it; closing the stream does that too.
        """
        if self._hearing is None:
            self._hearing = Hearing()
        listening = self._hearing.add(callback, self._stop_listening)
        if self._is_closed:
            listening.stop()
        return listening

    def _stop_listening(self, listening: Listening) -> None:
        if self._hearing is not None and not self._hearing.remove(listening):
            self._hearing = None

    def listen_both(self, callback: HeardBoth, rate: int) -> Legs:
        """
        Hear both sides, from now on until it is stopped.

        :param callback: called every 20 ms with that much of what the peer says and of what he is
            sent: silence while nobody speaks, before the peer's first packet and on hold, too.
        :param rate: the samples per second that are wanted.
        :return: a handle to stop it; closing the stream does that too.
        """
        legs = Legs(rate, callback, self._stop_legs)
        legs.listening = self.listen(legs.hear)
        self._legs = (*self._legs, legs)
        self._sender.on_audio = self._say
        if self._is_closed:
            legs.stop()
        self._wake()
        return legs

    def _stop_legs(self, legs: Legs) -> None:
        self._legs = tuple(other for other in self._legs if other is not legs)
        if not self._legs:
            self._sender.on_audio = None

    def _say(self, codec: Codec, payload: bytes) -> None:
        for legs in self._legs:
            legs.say(codec, payload)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """
        Feed one datagram; never raises because of what the peer sent.

        :param data: the datagram.
        :param source: where it came from.
        :param now: seconds, monotonic.
        """
        if self._is_closed:
            return
        try:
            packet = RTPPacket.parse(data)
        except MediaError:
            if is_rtcp(data):
                self._receive_report(data, source, now)
            else:
                self.bad += 1
            return
        if packet.payload_type not in self._formats and packet.payload_type != COMFORT_NOISE:
            self.wrong_payload_type += 1
        elif self._latch.accept(source, packet, now):
            self._receive_packet(packet, now)
        else:
            self.wrong_source += 1

    def _receive_report(self, data: bytes, source: Address, now: float) -> None:
        """Learn what the peer says by RTCP."""
        try:
            report = Report.parse(data)
        except MediaError:
            self.bad += 1
            return
        if not self.reporter.latch.accept(source):
            self.wrong_source += 1
            return
        self.reporter.receive(report, now)
        self._be_active()

    def _receive_packet(self, packet: RTPPacket, now: float) -> None:
        """Count a packet of the peer, and pass on what is in it."""
        self.packets_received += 1
        self.bytes_received += len(packet.payload)
        if self.on_activity is not None:
            self._be_active()
        verdict = self._tracker.judge(packet.ssrc, packet.sequence)
        if verdict == DUPLICATE or not self._can_hear:
            self._wake()
            return
        ended = self._restart(packet) if verdict == RESTART else ""
        if packet.payload_type not in self._formats:
            # Comfort noise.
            self._report(ended)
            self._wake()
            return
        codec = self._formats[packet.payload_type]
        if codec is None:
            ended += self._receive_event(packet, now)
        elif self._receiver is not None:
            ended += self._receiver.expire(now)
        self._report(ended)
        if codec is not None:
            if self.on_packet is not None:
                self.on_packet(codec, packet, now)
            self._receive_audio(codec, packet, verdict != LATE, now)
        self._wake()

    def _restart(self, packet: RTPPacket) -> str:
        """Hear that another sender speaks; return the digit that the last one had not ended."""
        if packet.ssrc == self.ssrc and not self._sender.has_sent(packet.sequence):
            # RFC 3550 8.2: two chose the same. What we have sent ourselves is a loop, and no
            # reason to be somebody else with each packet that comes back.
            self._sender.ssrc = self._ids.random.getrandbits(32)
        self._jitter.restart()
        if self._hearing is not None:
            self._hearing.restart()
        return "" if self._receiver is None else self._receiver.flush()

    def _receive_event(self, packet: RTPPacket, now: float) -> str:
        if self._receiver is None:
            self._receiver = DigitReceiver()
        self._receiver.clock_rate = self.codec.clock_rate
        try:
            return self._receiver.receive(packet.payload, packet.timestamp, now)
        except MediaError:
            self.bad += 1
            return ""

    def _receive_audio(self, codec: Codec, packet: RTPPacket, is_newest: bool, now: float) -> None:
        self._jitter.arrive(packet.timestamp, codec.clock_rate, now)
        if self.echo:
            self.forward(codec, packet, now)
        if self._hearing is not None:
            self._hearing.receive(codec, packet, is_newest=is_newest, now=now)

    def _report(self, digits: str) -> None:
        for digit in digits:
            if self.on_digit is not None:
                self.on_digit(digit)
