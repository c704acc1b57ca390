# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The audio stream: what comes out of one side is heard on the other."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.media import stream as stream_module
from sipsess.media import tone
from sipsess.media.codec import Codec
from sipsess.media.codecs import PCMA, PCMU
from sipsess.media.hearing import Listening
from sipsess.media.recorder import Recorder
from sipsess.media.rtp import RTPPacket
from sipsess.media.stream import AudioStream
from sipsess.media.telephone_event import DIGITS
from sipsess.media.wav import WAVWriter, read_wav
from tests.pure.signals import amplitude, loudest, rms

HERE: Address = ("192.0.2.1", 4000)
THERE: Address = ("192.0.2.2", 4002)
FRAME = b"\x10\x00" * 160
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


def make(
    codec: Codec = PCMU,
    event: int | None = 101,
    *,
    seed: int = 1,
    direction: str = "sendrecv",
    remote: Address | None = THERE,
    accepts: dict[int, Codec | None] | None = None,
) -> AudioStream:
    """Build a stream with predictable numbers."""
    ids = IdSource(random.Random(seed))
    return AudioStream(
        codec,
        codec.payload_type or 0,
        event,
        ids,
        direction=direction,
        remote=remote,
        accepts=accepts,
    )


def rtp(
    sequence: int,
    payload: bytes = b"\xff" * 160,
    *,
    kind: int = 0,
    ssrc: int = 9,
    timestamp: int | None = None,
) -> bytes:
    """Build a packet of the peer."""
    stamp = sequence * 160 if timestamp is None else timestamp
    return RTPPacket(kind, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc, payload).pack()


def note(stream: AudioStream, came: list[bytes]) -> None:
    """Note the audio of each packet that comes."""
    stream.on_packet = lambda codec, packet, now: came.append(
        codec.make_decoder().decode(packet.payload)
    )


def hear(stream: AudioStream, heard: list[bytes]) -> Listening:
    """Note what a stream hears."""
    return stream.listen(lambda pcm, rate: heard.append(pcm))


class LossyWire:
    """Loses a third of all packets, and notes which events got through."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        #: Event codes by timestamp.
        self.arrived: dict[int, int] = {}

    def lose(self, data: bytes) -> bool:
        """Decide about one packet."""
        if self.chance.random() < 0.33:
            return True
        packet = RTPPacket.parse(data)
        self.arrived[packet.timestamp] = packet.payload[0]
        return False


def digit(code: int, sequence: int, timestamp: int, end: bool) -> bytes:
    """Build an event packet of the peer."""
    payload = bytes([code, 0x8A if end else 0x0A, 0, 160])
    return rtp(sequence, payload, kind=101, timestamp=timestamp)


class Pair:
    """Two streams with a perfect or lossy wire between them, and one clock."""

    def __init__(self, one: AudioStream, two: AudioStream) -> None:
        self.one, self.two = one, two
        self.now = 100.0
        #: What is lost: called with each packet.
        self.lose: Callable[[bytes], bool] = lambda data: False
        #: What one sent, and when.
        self.sent: list[tuple[float, RTPPacket]] = []

    def run(self, frames: int) -> None:
        """Let frames pass on both sides."""
        for _ in range(frames):
            self.now += 0.02
            for sender, receiver, source in (
                (self.one, self.two, HERE),
                (self.two, self.one, THERE),
            ):
                data = sender.tick(self.now)
                if data is None:
                    continue
                if sender is self.one:
                    self.sent.append((self.now, RTPPacket.parse(data)))
                if not self.lose(data):
                    receiver.receive(data, source, self.now)


class StreamCase(SynchronousTestCase):
    """Two streams, and what is told."""

    def setUp(self) -> None:
        """Join two streams."""
        self.one, self.two = make(seed=1), make(seed=2, remote=HERE)
        self.pair = Pair(self.one, self.two)
        self.ends: list[object] = []
        self.heard: list[bytes] = []
        self.digits: list[str] = []
        note(self.two, self.heard)
        self.two.on_digit = self.digits.append

    def done(self, name: str) -> Callable[[bool], None]:
        """Return a callback that notes the name and how it ended."""
        return lambda is_complete: self.ends.append((name, is_complete))


class SignalTests(StreamCase):
    """Sound goes through."""

    def test_tone_arrives_with_its_frequency_and_level(self) -> None:
        """What is played here is heard there: same pitch, same level, same length."""
        for codec in (PCMU, PCMA):
            pair = Pair(make(codec), make(codec, seed=2, remote=HERE))
            heard: list[bytes] = []
            note(pair.two, heard)
            played = tone.generate([697.0, 1209.0], 0.5, -10.0)
            pair.one.play(played)
            pair.run(30)
            pcm = b"".join(heard)
            self.assertEqual(len(pcm), len(played))
            self.assertEqual(
                loudest(pcm, [697.0, 770.0, 852.0, 1209.0, 1336.0, 1477.0], 2), [697.0, 1209.0]
            )
            self.assertApproximates(rms(pcm), rms(played), 0.1)
            for other in (300.0, 1000.0, 2000.0, 3000.0):
                self.assertLess(amplitude(pcm, other), amplitude(pcm, 697.0) / 50)

    def test_packets_on_the_wire(self) -> None:
        """Sequence +1, timestamp +160, one SSRC, the marker on the first only (RFC 3551 4.1)."""
        self.one.play(FRAME * 5)
        self.pair.run(8)
        packets = [packet for _, packet in self.pair.sent]
        self.assertEqual(len(packets), 5)
        first = packets[0]
        for index, packet in enumerate(packets):
            self.assertEqual(packet.sequence, first.sequence + index)
            self.assertEqual(packet.timestamp, first.timestamp + 160 * index & 0xFFFFFFFF)
            self.assertEqual((packet.ssrc, packet.payload_type), (self.one.ssrc, 0))
            self.assertEqual((packet.marker, len(packet.payload)), (index == 0, 160))
        self.assertEqual((self.one.packets_sent, self.one.bytes_sent), (5, 800))
        self.assertEqual((self.two.packets_received, self.two.bytes_received), (5, 800))
        self.assertEqual(self.two.lost, 0)

    def test_timestamp_follows_the_time_over_silence(self) -> None:
        """After a pause the timestamp has advanced by it, and the marker is set (RFC 3551 4.1)."""
        self.one.play(FRAME * 2)
        self.pair.run(52)
        self.one.play(FRAME * 2)
        self.pair.run(3)
        (_, _), (before, last), (after, next_), (_, more) = self.pair.sent
        self.assertApproximates(after - before, 51 * 0.02, 1e-6)
        self.assertEqual(next_.timestamp - last.timestamp & 0xFFFFFFFF, 51 * 160)
        self.assertEqual(next_.sequence, last.sequence + 1)
        self.assertEqual((next_.marker, more.marker), (True, False))

    def test_numbers_roll_over(self) -> None:
        """Sequence and timestamp go on at zero, without a loss on the other side."""

        class High(random.Random):
            def getrandbits(self, bits: int) -> int:
                return (1 << bits) - 1

        one = AudioStream(PCMU, 0, None, IdSource(High()), remote=THERE)
        pair = Pair(one, self.two)
        one.play(FRAME * 0x8005)
        pair.run(0x8005)
        self.assertEqual(pair.sent[-1][1].sequence, 4 - 1)
        self.assertEqual(pair.sent[1][1].timestamp, 159)
        self.assertEqual((self.two.lost, self.two.packets_received), (0, 0x8005))

    def test_late_ticks_do_not_break_a_talk_spurt(self) -> None:
        """Jitter of the clock below half a frame is invisible on the wire."""
        self.one.play(FRAME * 3)
        packets = []
        for now in (1.0, 1.029, 1.04):
            data = self.one.tick(now)
            assert data is not None
            packets.append(RTPPacket.parse(data))
        self.assertEqual([packet.marker for packet in packets], [True, False, False])
        self.assertEqual(packets[2].timestamp - packets[0].timestamp & 0xFFFFFFFF, 320)

    def test_stall_is_a_new_talk_spurt(self) -> None:
        """When the clock gave frames up, the audio after it has the right time."""
        self.one.play(FRAME * 3)
        first, second = self.one.tick(1.0), self.one.tick(2.0)
        assert first is not None and second is not None
        step = RTPPacket.parse(second).timestamp - RTPPacket.parse(first).timestamp
        self.assertEqual(step & 0xFFFFFFFF, 8000)
        self.assertTrue(RTPPacket.parse(second).marker)

    def test_loss_is_counted(self) -> None:
        """The other side sees how many packets are missing."""
        self.pair.lose = lambda data: RTPPacket.parse(data).sequence % 3 == 0
        self.one.play(FRAME * 30)
        self.pair.run(30)
        self.assertTrue(8 <= self.two.lost <= 10)
        self.assertEqual(len(self.heard), 20)


class PlayTests(StreamCase):
    """Queue, end and stop."""

    def test_done_after_the_last_frame(self) -> None:
        """``done(True)`` comes one tick after the last packet, when it has been heard."""
        self.one.play(FRAME * 2, self.done("a"))
        self.pair.run(2)
        self.assertEqual((len(self.heard), self.ends), (2, []))
        self.assertTrue(self.one.wants_ticks)
        self.pair.run(1)
        self.assertEqual(self.ends, [("a", True)])
        self.assertFalse(self.one.wants_ticks)
        self.pair.run(5)
        self.assertEqual((len(self.heard), self.ends), (2, [("a", True)]))

    def test_queue_is_played_in_order_without_a_gap(self) -> None:
        """One follows the other at once, in one talk-spurt."""
        low, high = tone.generate([400.0], 0.1), tone.generate([1800.0], 0.1)
        self.one.play(low, self.done("low"))
        self.one.play(high, self.done("high"))
        self.pair.run(11)
        self.assertEqual(self.ends, [("low", True), ("high", True)])
        self.assertEqual(loudest(b"".join(self.heard[:5]), [400.0, 1800.0]), [400.0])
        self.assertEqual(loudest(b"".join(self.heard[5:]), [400.0, 1800.0]), [1800.0])
        self.assertEqual([packet.marker for _, packet in self.pair.sent], [True] + [False] * 9)

    def test_last_frame_is_filled_with_silence(self) -> None:
        """Audio that is no whole number of frames loses nothing."""
        self.one.play(b"\x00\x40" * 200)
        self.pair.run(5)
        self.assertEqual(len(self.heard), 2)
        self.assertEqual(self.heard[1][80:], bytes(240))
        self.assertNotEqual(self.heard[1][:80], bytes(80))

    def test_pieces_of_any_length(self) -> None:
        """An iterable may give what it likes; the frames are whole."""
        pieces = [FRAME[:7], FRAME[7:], FRAME * 2, FRAME[:100], FRAME[100:]]
        self.one.play(iter(pieces), self.done("a"))
        self.pair.run(6)
        self.assertEqual([len(frame) for frame in self.heard], [320] * 4)
        self.assertEqual(len(set(self.heard)), 1)
        self.assertEqual(self.ends, [("a", True)])

    def test_bytearray(self) -> None:
        """All kinds of bytes are bytes."""
        self.one.play(bytearray(FRAME))
        self.one.play(memoryview(FRAME))
        self.pair.run(3)
        self.assertEqual(len(self.heard), 2)

    def test_live_source_with_nothing_yet(self) -> None:
        """An empty piece is a moment of silence, not the end; what was begun is kept."""
        self.one.play([FRAME, FRAME[:100], b"", b"", FRAME[100:]], self.done("a"))
        self.pair.run(5)
        self.assertEqual((len(self.heard), self.ends), (2, [("a", True)]))
        first, second = (packet for _, packet in self.pair.sent)
        self.assertEqual(second.timestamp - first.timestamp & 0xFFFFFFFF, 3 * 160)
        self.assertTrue(second.marker)

    def test_endless_source_is_asked_frame_by_frame(self) -> None:
        """Nothing is taken from the source before its time."""
        taken = []

        def endless() -> Iterator[bytes]:
            while True:
                taken.append(1)
                yield FRAME

        playback = self.one.play(endless(), self.done("a"))
        self.pair.run(3)
        self.assertEqual(len(taken), 3)
        playback.stop()
        self.assertEqual(self.ends, [("a", False)])
        self.pair.run(3)
        self.assertEqual((len(taken), len(self.heard)), (3, 3))

    def test_stop(self) -> None:
        """What is stopped says so once, and the next begins in the next frame."""
        first = self.one.play(FRAME * 50, self.done("a"))
        self.one.play(FRAME, self.done("b"))
        self.pair.run(2)
        first.stop()
        first.stop()
        self.assertEqual(self.ends, [("a", False)])
        self.assertTrue(first.is_done)
        self.pair.run(2)
        self.assertEqual((len(self.heard), self.ends), (3, [("a", False), ("b", True)]))

    def test_stop_of_one_that_waits(self) -> None:
        """A playback that has not begun can be stopped, too."""
        self.one.play(FRAME, self.done("a"))
        self.one.play(FRAME, self.done("b")).stop()
        self.pair.run(4)
        self.assertEqual(self.ends, [("b", False), ("a", True)])
        self.assertEqual(len(self.heard), 1)

    def test_nothing_to_play(self) -> None:
        """Empty audio is done in the next tick."""
        self.one.play(b"", self.done("a"))
        self.one.play(b"")
        self.pair.run(1)
        self.assertEqual((self.ends, self.heard), ([("a", True)], []))

    def test_empty_audio_for_ever(self) -> None:
        """A program that queues nothing again and again does not stop the world."""
        rounds = []

        def again(is_complete: bool) -> None:
            rounds.append(is_complete)
            self.one.play(b"", again)

        self.one.play(b"", again)
        self.pair.run(2)
        self.assertTrue(0 < len(rounds) <= 40)

    def test_done_may_play_on(self) -> None:
        """What is queued in ``done`` follows without a gap."""

        def more(is_complete: bool) -> None:
            self.one.play(FRAME, self.done("b"))

        self.one.play(FRAME, more)
        self.pair.run(3)
        self.assertEqual((len(self.heard), self.ends), (2, [("b", True)]))
        self.assertFalse(self.pair.sent[1][1].marker)

    def test_done_may_close(self) -> None:
        """Closing in ``done`` ends the rest, and nothing more is sent."""
        self.one.play(FRAME, lambda is_complete: self.one.close())
        self.one.play(FRAME, self.done("b"))
        self.pair.run(5)
        self.assertEqual((len(self.heard), self.ends), (1, [("b", False)]))

    def test_source_that_raises(self) -> None:
        """The error reaches who drives the clock; the next playback is not hurt."""

        def broken() -> Iterator[bytes]:
            yield FRAME
            raise ZeroDivisionError

        self.one.play(broken(), self.done("a"))
        self.one.play(FRAME, self.done("b"))
        self.pair.run(1)
        self.assertRaises(ZeroDivisionError, self.pair.run, 1)
        self.assertEqual(self.ends, [("a", False)])
        self.pair.run(2)
        self.assertEqual((len(self.heard), self.ends), (2, [("a", False), ("b", True)]))

    def test_source_that_closes(self) -> None:
        """A source may close the stream it feeds."""

        def closing() -> Iterator[bytes]:
            self.one.close()
            yield FRAME

        self.one.play(closing(), self.done("a"))
        self.pair.run(2)
        self.assertEqual((self.heard, self.ends), ([], [("a", False)]))

    def test_too_many(self) -> None:
        """The queue has an end."""
        self.patch(stream_module, "MAX_QUEUE", 2)
        for _ in range(2):
            self.one.play(FRAME)
            self.one.send_digits("1")
        self.assertRaises(LocalError, self.one.play, FRAME)
        self.assertRaises(LocalError, self.one.send_digits, "1")


class DigitTests(StreamCase):
    """Keys, both ways."""

    def test_digits_arrive(self) -> None:
        """What is pressed here is heard there, once each, in order."""
        self.one.send_digits("0123456789*#ABCD", self.done("d"))
        self.pair.run(16 * 9 + 1)
        self.assertEqual("".join(self.digits), "0123456789*#ABCD")
        self.assertEqual((self.ends, self.heard), ([("d", True)], []))
        self.assertFalse(self.one.wants_ticks)
        self.assertFalse(self.two.wants_ticks)

    def test_digits_arrive_through_loss(self) -> None:
        """Each digit of which a packet got through is heard once, in order, for fifty seeds."""
        whole = 0
        for seed in range(50):
            pair = Pair(make(), make(seed=2, remote=HERE))
            wire = LossyWire(seed)
            digits: list[str] = []
            pair.two.on_digit = digits.append
            pair.lose = wire.lose
            pair.one.send_digits("1123#")
            pair.run(80)
            arrived = "".join(DIGITS[code] for code in wire.arrived.values())
            self.assertEqual("".join(digits), arrived, f"seed {seed}")
            whole += arrived == "1123#"
        # All seven packets of a digit are lost in one of 2300 cases.
        self.assertGreater(whole, 45)

    def test_all_ends_lost(self) -> None:
        """Without an end the digit comes by the time-out, and ticks are wanted until then."""
        self.pair.lose = lambda data: bool(RTPPacket.parse(data).payload[1] & 0x80)
        self.one.send_digits("5")
        self.pair.run(6)
        self.assertEqual((self.digits, self.two.wants_ticks), ([], True))
        self.pair.run(12)
        self.assertEqual((self.digits, self.two.wants_ticks), (["5"], False))

    def test_time_out_by_audio(self) -> None:
        """Audio that goes on ends a digit as well as a tick does."""
        self.two.receive(digit(7, 1, 1000, end=False), HERE, 5.0)
        self.two.receive(rtp(2), HERE, 5.1)
        self.assertEqual(self.digits, [])
        self.two.receive(rtp(3), HERE, 5.3)
        self.assertEqual(self.digits, ["7"])

    def test_late_digit_packet_counts(self) -> None:
        """An end that was overtaken by audio is an end."""
        self.two.receive(digit(7, 1, 1000, end=False), HERE, 5.0)
        self.two.receive(rtp(3), HERE, 5.01)
        self.two.receive(digit(7, 2, 1000, end=True), HERE, 5.02)
        self.assertEqual((self.digits, self.two.late, len(self.heard)), (["7"], 1, 1))

    def test_other_ssrc_ends_a_digit(self) -> None:
        """Another sender cannot end the event of the one before: it is over."""
        self.two.receive(digit(7, 1, 1000, end=False), HERE, 5.0)
        self.two.receive(rtp(500, ssrc=77), HERE, 5.02)
        self.assertEqual(self.digits, ["7"])

    def test_short_event_is_counted(self) -> None:
        """A broken event is bad, and nothing else happens."""
        self.two.receive(rtp(1, b"\x01\x80", kind=101), HERE, 5.0)
        self.assertEqual((self.two.bad, self.digits), (1, []))

    def test_audio_waits_for_digits(self) -> None:
        """Digits go first; then the audio goes on where it was, with a marker."""
        self.one.play(FRAME * 4, self.done("a"))
        self.pair.run(2)
        self.one.send_digits("1", self.done("d"))
        self.pair.run(9 + 3)
        kinds = [packet.payload_type for _, packet in self.pair.sent]
        self.assertEqual(kinds, [0, 0] + [101] * 7 + [0, 0])
        self.assertEqual(self.ends, [("d", True), ("a", True)])
        packets = [packet for _, packet in self.pair.sent]
        start = packets[0].timestamp
        self.assertEqual(packets[2].timestamp - start & 0xFFFFFFFF, 2 * 160)
        self.assertEqual(packets[9].timestamp - start & 0xFFFFFFFF, 11 * 160)
        self.assertEqual([packet.marker for packet in packets[8:]], [False, True, False])
        self.assertEqual(packets[9].sequence, packets[8].sequence + 1)

    def test_strings_follow_each_other(self) -> None:
        """What is sent later is pressed later; an empty string is done with the next tick."""
        self.one.send_digits("", self.done("none"))
        self.one.send_digits("1", self.done("one"))
        self.one.send_digits("2")
        self.pair.run(20)
        self.assertEqual((self.digits, self.ends), (["1", "2"], [("none", True), ("one", True)]))

    def test_without_telephone_event_there_are_tones(self) -> None:
        """A peer that has no telephone-event hears the keys."""
        one = make(event=None)
        pair = Pair(one, self.two)
        one.send_digits("5", self.done("d"), duration=0.1, pause=0.1)
        pair.run(12)
        pcm = b"".join(self.heard)
        self.assertEqual(loudest(pcm[:1600], [697.0, 770.0, 852.0, 1209.0, 1336.0], 2), [770, 1336])
        self.assertEqual((self.ends, self.digits), ([("d", True)], []))

    def test_telephone_event_is_renegotiated_away(self) -> None:
        """Digits that wait cannot be sent any more, and say so."""
        self.one.send_digits("123", self.done("d"))
        self.pair.run(3)
        self.one.set_format(PCMU, 0, None)
        self.pair.run(1)
        self.assertEqual(self.ends, [("d", False)])

    def test_many_empty_strings(self) -> None:
        """Many ends in one tick are spread over several."""
        for _ in range(40):
            self.one.send_digits("", self.done("x"))
        self.pair.run(1)
        self.assertTrue(0 < len(self.ends) < 40)
        self.pair.run(2)
        self.assertEqual(len(self.ends), 40)

    def test_wrong_digits(self) -> None:
        """What is on no telephone is refused at once, with or without telephone-event."""
        self.assertRaises(LocalError, self.one.send_digits, "1x")
        self.assertRaises(LocalError, make(event=None).send_digits, "1x")

    def test_nobody_listens(self) -> None:
        """Without a callback digits go nowhere, quietly."""
        self.two.on_digit = None
        self.two.receive(digit(7, 1, 1000, end=True), HERE, 5.0)
        self.assertEqual(self.two.packets_received, 1)


class EchoTests(StreamCase):
    """Sending back what comes."""

    def setUp(self) -> None:
        """Let the second stream echo, and note what it sends at once."""
        super().setUp()
        self.two.echo = True
        self.back: list[RTPPacket] = []
        self.echo_by(self.two)

    def echo_by(self, stream: AudioStream) -> None:
        """Note what a stream sends at once."""
        stream.send_now = lambda data, address: self.back.append(RTPPacket.parse(data))

    def test_echo_is_the_same_sound(self) -> None:
        """The sound comes back, under the echoing stream's own SSRC and numbers."""
        heard: list[bytes] = []
        note(self.one, heard)
        self.two.send_now = lambda data, address: self.one.receive(data, THERE, self.pair.now)
        self.one.play(tone.generate([1000.0], 0.2))
        self.pair.run(12)
        self.assertEqual(heard, self.heard)
        self.assertEqual(loudest(b"".join(heard), [500.0, 1000.0, 2000.0]), [1000.0])
        self.assertEqual((self.one.lost, self.one.packets_received), (0, 10))

    def test_echo_is_not_transcoded(self) -> None:
        """With equal codecs each byte is what came, and no tick is needed."""
        payload = bytes(range(160))
        self.two.receive(rtp(1, payload), HERE, 5.0)
        (packet,) = self.back
        self.assertEqual((packet.payload, packet.ssrc), (payload, self.two.ssrc))
        self.assertNotEqual(packet.ssrc, 9)
        self.assertFalse(self.two.wants_ticks)

    def test_echo_between_codecs(self) -> None:
        """What comes as A-law goes back in the codec that we send."""
        two = make(PCMU, remote=HERE, accepts={8: PCMA})
        two.echo = True
        self.echo_by(two)
        played = tone.generate([800.0], 0.02)
        two.receive(rtp(1, PCMA.encode(played), kind=8), HERE, 5.0)
        (packet,) = self.back
        self.assertEqual(packet.payload_type, 0)
        self.assertApproximates(rms(PCMU.decode(packet.payload)), rms(played), 0.5)

    def test_packets_of_30_ms(self) -> None:
        """Other packet lengths come back as they are, with timestamps that fit."""
        for index in range(6):
            packet = rtp(index, b"\xff" * 240, timestamp=index * 240)
            self.two.receive(packet, HERE, 5.0 + 0.03 * index)
        sent = [(len(packet.payload), packet.marker) for packet in self.back]
        self.assertEqual(sent, [(240, True)] + [(240, False)] * 5)
        stamps = [packet.timestamp for packet in self.back]
        self.assertEqual([b - a & 0xFFFFFFFF for a, b in pairwise(stamps)], [240] * 5)

    def test_order_and_losses_come_back(self) -> None:
        """What was overtaken or lost is so in the echo, too: the peer knows what to do."""
        for sequence in (1, 3, 2, 6):
            self.two.receive(rtp(sequence, bytes([sequence]) * 160), HERE, 5.0)
        self.assertEqual((self.two.late, self.two.lost), (1, 2))
        first = self.back[0]
        came = [
            (
                packet.payload[0],
                packet.sequence - first.sequence & 0xFFFF,
                packet.timestamp - first.timestamp & 0xFFFFFFFF,
            )
            for packet in self.back
        ]
        self.assertEqual(came, [(1, 0, 0), (3, 2, 320), (2, 1, 160), (6, 5, 800)])

    def test_playing_comes_first(self) -> None:
        """A prompt is not mixed with the echo: what comes meanwhile is not sent back."""
        self.two.play(FRAME)
        self.two.receive(rtp(1, b"\x11" * 160), HERE, 5.0)
        first = self.two.tick(5.0)
        assert first is not None
        self.assertEqual(RTPPacket.parse(first).payload, PCMU.encode(FRAME))
        self.assertEqual(self.back, [])
        self.two.tick(5.02)
        self.two.receive(rtp(2, b"\x22" * 160), HERE, 5.02)
        self.assertEqual([packet.payload for packet in self.back], [b"\x22" * 160])

    def test_live_source_holds_the_echo_back(self) -> None:
        """While something plays, even if it has nothing yet, nothing is echoed."""
        self.two.play([b"", FRAME])
        self.two.receive(rtp(1), HERE, 5.0)
        self.assertIsNone(self.two.tick(5.0))
        self.assertEqual(self.back, [])

    def test_echo_off(self) -> None:
        """Switched off, nothing is sent back."""
        self.two.receive(rtp(1), HERE, 5.0)
        self.two.echo = False
        self.two.receive(rtp(2), HERE, 5.02)
        self.assertEqual(len(self.back), 1)

    def test_nothing_is_echoed_of_nothing(self) -> None:
        """Packets without payload are keep-alives."""
        self.two.receive(rtp(1, b""), HERE, 5.0)
        self.assertEqual(self.back, [])

    def test_one_way_streams_do_not_echo(self) -> None:
        """Only who may send and receive can echo."""
        for sequence, direction in enumerate(DIRECTIONS):
            self.two.direction = direction
            self.two.receive(rtp(sequence), HERE, 5.0)
            self.assertEqual(len(self.back), direction == "sendrecv", direction)
            self.back.clear()


class DirectionTests(StreamCase):
    """Hold, by direction and by address (RFC 3264 sections 6.1 and 8.4)."""

    def test_each_direction(self) -> None:
        """sendonly hears nothing, recvonly says nothing, inactive neither."""
        for direction in DIRECTIONS:
            stream = make(direction=direction)
            heard: list[bytes] = []
            note(stream, heard)
            stream.play(FRAME)
            stream.receive(rtp(1), THERE, 5.0)
            may_send, may_hear = direction[:4] == "send", direction in ("sendrecv", "recvonly")
            self.assertEqual(stream.wants_ticks, may_send)
            self.assertEqual(stream.tick(5.0) is not None, may_send, direction)
            self.assertEqual(bool(heard), may_hear, direction)
            self.assertEqual(stream.packets_received, 1)

    def test_playing_waits_while_on_hold(self) -> None:
        """On hold nothing is lost: the rest is said when the call goes on."""
        self.one.play(FRAME * 4, self.done("a"))
        self.pair.run(2)
        self.one.direction = "recvonly"
        self.pair.run(100)
        self.assertEqual((len(self.heard), self.ends), (2, []))
        wakes: list[int] = []
        self.one.on_wake = lambda: wakes.append(1)
        self.one.direction = "sendrecv"
        self.assertEqual(len(wakes), 1)
        self.pair.run(3)
        self.assertEqual((len(self.heard), self.ends), (4, [("a", True)]))
        self.assertTrue(self.pair.sent[2][1].marker)

    def test_no_digits_from_who_must_not_send(self) -> None:
        """A peer that we hold is not listened to."""
        self.two.direction = "sendonly"
        self.two.receive(digit(7, 1, 1000, end=True), HERE, 5.0)
        self.assertEqual(self.digits, [])

    def test_wrong_direction(self) -> None:
        """A direction that does not exist is a mistake of the program."""
        self.assertRaises(LocalError, make, direction="both")
        self.assertEqual(self.one.direction, "sendrecv")

    def test_old_style_hold(self) -> None:
        """0.0.0.0 stops what we send, an address starts it again."""
        wakes: list[int] = []
        self.one.on_wake = lambda: wakes.append(1)
        self.one.set_remote(("0.0.0.0", 4002))
        self.one.play(FRAME)
        self.assertFalse(self.one.wants_ticks)
        self.assertIsNone(self.one.tick(1.0))
        self.assertEqual(wakes, [])
        self.one.set_remote(THERE)
        self.assertEqual(wakes, [1])
        self.assertIsNotNone(self.one.tick(1.02))

    def test_holding_back(self) -> None:
        """What is played waits while the peer's address is only a claim, and is not clipped."""
        wakes: list[int] = []
        self.one.on_wake = lambda: wakes.append(1)
        self.one.holds_back = True
        self.one.play(FRAME)
        self.assertIsNone(self.one.tick(1.0))
        self.assertEqual((self.one.wants_ticks, wakes), (False, []))
        self.one.holds_back = False
        self.assertEqual((self.one.holds_back, wakes), (False, [1]))
        self.assertIsNotNone(self.one.tick(1.02))

    def test_first_packet_gives_the_destination(self) -> None:
        """Without an address audio waits for the first packet (symmetric RTP, RFC 4961)."""
        one = make(remote=None)
        wakes: list[int] = []
        one.on_wake = lambda: wakes.append(1)
        one.play(FRAME)
        self.assertIsNone(one.destination)
        self.assertEqual(wakes, [])
        one.receive(rtp(1), ("203.0.113.9", 7), 5.0)
        self.assertEqual((one.destination, wakes), (("203.0.113.9", 7), [1]))

    def test_even_a_held_stream_latches(self) -> None:
        """Packets in flight tell the address, though they are not heard."""
        one = make(remote=None, direction="sendonly")
        wakes: list[int] = []
        one.on_wake = lambda: wakes.append(1)
        one.play(FRAME)
        one.receive(rtp(1), ("203.0.113.9", 7), 5.0)
        self.assertEqual(wakes, [1])


class FormatTests(StreamCase):
    """Renegotiation."""

    def test_change_of_codec(self) -> None:
        """SSRC, sequence and timestamp go on; the payload type and the bytes change."""
        self.two = make(PCMU, seed=2, remote=HERE, accepts={8: PCMA})
        note(self.two, self.heard)
        self.pair.two = self.two
        played = tone.generate([900.0], 0.2)
        self.one.play(played)
        self.pair.run(5)
        self.one.set_format(PCMA, 8, 96)
        self.assertIs(self.one.codec, PCMA)
        self.pair.run(5)
        packets = [packet for _, packet in self.pair.sent]
        self.assertEqual([packet.payload_type for packet in packets], [0] * 5 + [8] * 5)
        self.assertEqual({packet.ssrc for packet in packets}, {self.one.ssrc})
        self.assertEqual(packets[5].sequence, packets[4].sequence + 1)
        self.assertEqual(packets[5].timestamp - packets[4].timestamp & 0xFFFFFFFF, 160)
        self.assertFalse(packets[5].marker)
        self.assertApproximates(rms(b"".join(self.heard)), rms(played), 0.1)

    def test_old_format_is_still_understood(self) -> None:
        """Packets that were on their way during a re-INVITE are heard (RFC 3264 section 8.3.2)."""
        self.two.set_format(PCMA, 8, 97, accepts={18: None})
        self.two.receive(rtp(1, kind=0), HERE, 5.0)
        self.two.receive(rtp(2, kind=8), HERE, 5.0)
        self.assertEqual(len(self.heard), 2)
        self.two.receive(digit(1, 3, 1000, end=True), HERE, 5.0)
        self.assertEqual(self.digits, ["1"])

    def test_unknown_payload_type(self) -> None:
        """What was not negotiated is counted, not heard, and does not latch."""
        self.two.receive(rtp(1, kind=18), ("203.0.113.9", 7), 5.0)
        self.assertEqual((self.two.wrong_payload_type, self.heard), (1, []))
        self.assertEqual(self.two.destination, HERE)


class ListenTests(StreamCase):
    """What a listener gets: a frame for each tick."""

    def run_ticks(self, count: int) -> None:
        """Let the clock pass on the hearing side."""
        for _ in range(count):
            self.pair.now += 0.02
            self.two.tick(self.pair.now)

    def test_silence_while_the_peer_says_nothing(self) -> None:
        """From the first sound on there is no break, and after the last there is silence."""
        heard: list[bytes] = []
        hear(self.two, heard)
        self.run_ticks(2)
        self.one.play(FRAME * 3)
        self.pair.run(20)
        self.assertEqual(len(heard), 18)
        self.assertEqual(heard[:3], [FRAME] * 3)
        self.assertEqual(heard[6:], [bytes(320)] * 12)

    def test_comfort_noise_is_silence(self) -> None:
        """Payload type 13 was not negotiated; it latches, counts and is not heard (RFC 3389)."""
        two = make(remote=None)
        heard: list[bytes] = []
        hear(two, heard)
        two.receive(rtp(1, b"\x40", kind=13), HERE, 5.0)
        self.assertEqual((two.packets_received, two.wrong_payload_type), (1, 0))
        self.assertEqual((two.destination, two.wants_ticks), (HERE, False))

    def test_comfort_noise_of_another_sender(self) -> None:
        """A sender who begins with comfort noise ends the key that the one before held down."""
        self.two.receive(digit(7, 1, 1000, end=False), HERE, 5.0)
        self.two.receive(rtp(500, b"\x40", kind=13, ssrc=10), HERE, 5.02)
        self.assertEqual(self.digits, ["7"])

    def test_hold_pauses(self) -> None:
        """On hold listeners hear nothing and need no ticks; afterwards they hear again."""
        heard: list[bytes] = []
        hear(self.two, heard)
        self.two.receive(rtp(1), HERE, 5.0)
        for number in range(3):
            self.two.tick(5.0 + number * 0.02)
        self.assertEqual(len(heard), 1)
        heard.clear()
        self.two.direction = "sendonly"
        self.assertFalse(self.two.wants_ticks)
        self.two.tick(5.06)
        self.assertEqual(heard, [])
        self.two.direction = "sendrecv"
        self.two.receive(rtp(90), HERE, 9.0)
        for number in range(3):
            self.assertEqual(heard, [])
            self.two.tick(9.0 + number * 0.02)
        self.assertEqual(len(heard), 1)

    def test_new_sender_with_a_similar_clock(self) -> None:
        """Another SSRC is heard at once, too, when its timestamps could be those of the first."""
        heard: list[bytes] = []
        hear(self.two, heard)
        for number, ssrc in ((1, 9), (2, 9), (3, 9), (33, 10), (34, 10), (35, 10), (36, 10)):
            self.pair.now += 0.02
            payload = bytes([number]) * 160
            self.two.receive(rtp(number, payload, ssrc=ssrc), HERE, self.pair.now)
            self.two.tick(self.pair.now)
        self.assertEqual(heard[-1], PCMU.decode(bytes([34]) * 160))

    def test_new_sender(self) -> None:
        """Another SSRC with other timestamps is heard as soon as the first was."""
        heard: list[bytes] = []
        hear(self.two, heard)
        for number, ssrc in ((1, 9), (2, 9), (700, 10), (701, 10), (702, 10), (703, 10)):
            self.pair.now += 0.02
            self.two.receive(
                rtp(number, bytes([number & 63]) * 160, ssrc=ssrc), HERE, self.pair.now
            )
            self.two.tick(self.pair.now)
        self.run_ticks(2)
        self.assertEqual(heard[-4:], [PCMU.decode(bytes([n & 63]) * 160) for n in range(700, 704)])

    def test_closing_ends_it(self) -> None:
        """Nothing is ticked or heard after the end."""
        heard: list[bytes] = []
        hear(self.two, heard)
        self.two.receive(rtp(1), HERE, 5.0)
        self.two.close()
        self.assertFalse(self.two.wants_ticks)
        self.two.tick(5.0)
        self.assertEqual(heard, [])


class ReceiveTests(StreamCase):
    """What comes from the network, good and bad."""

    def test_bad_packets_are_counted(self) -> None:
        """Garbage is bad, RTCP is RTCP, and neither raises or latches."""
        for data in (b"", b"INVITE sip:x", b"\0" * 20, b"\x8f" + bytes(11)):
            self.two.receive(data, ("203.0.113.9", 7), 5.0)
        self.two.receive(b"\x80\xc8" + bytes(26), ("203.0.113.9", 7), 5.0)
        self.two.receive(b"\x80\xc9\0\x01" + bytes(4), ("203.0.113.9", 7), 5.0)
        self.assertEqual((self.two.bad, self.two.wrong_source), (5, 1))
        self.assertEqual((self.two.reports_received, self.two.packets_received), (0, 0))
        self.assertEqual(self.two.destination, HERE)

    def test_stranger_is_counted(self) -> None:
        """Packets from a source that is not the peer are dropped."""
        self.two.receive(rtp(1), HERE, 5.0)
        self.two.receive(rtp(2), ("203.0.113.9", 7), 5.0)
        self.assertEqual((self.two.wrong_source, len(self.heard)), (1, 1))

    def test_duplicates_are_dropped(self) -> None:
        """A doubled packet is taken once."""
        self.two.receive(rtp(1), HERE, 5.0)
        self.two.receive(rtp(1), HERE, 5.0)
        self.assertEqual((self.two.duplicates, len(self.heard)), (1, 1))

    def test_recording(self) -> None:
        """What is heard is written down."""
        file = io.BytesIO()
        recorder = Recorder(WAVWriter(file))
        self.two.listen(recorder.write)
        played = tone.generate([1000.0], 0.2)
        self.one.play(played)
        self.pair.run(14)
        recorder.close()
        pcm = read_wav(io.BytesIO(file.getvalue()))
        self.assertIn(PCMU.decode(PCMU.encode(played[:320])), pcm[: 4 * 320])
        self.assertEqual(loudest(pcm, [500.0, 1000.0]), [1000.0])

    def test_listeners_come_and_go(self) -> None:
        """Each listener hears until it stops, also one that is stopped by another."""
        late: list[bytes] = []
        heard: list[bytes] = []

        def stop_all(pcm: bytes, rate: int) -> None:
            self.assertEqual((len(pcm), rate), (320, 8000))
            for listening in listenings:
                listening.stop()

        listenings = [self.two.listen(stop_all), hear(self.two, late)]
        hear(self.two, heard)
        self.assertFalse(self.two.wants_ticks)
        self.two.receive(rtp(1), HERE, 5.0)
        self.assertTrue(self.two.wants_ticks)
        for frame in range(5):
            self.two.tick(5.0 + frame * 0.02)
        self.assertEqual((len(heard), late), (3, []))

    def test_listening_to_a_closed_stream(self) -> None:
        """Who listens after the end hears nothing."""
        self.two.close()
        listening = hear(self.two, self.heard)
        self.two.receive(rtp(1), HERE, 5.0)
        listening.stop()
        self.assertEqual(self.heard, [])

    def test_callbacks_may_raise(self) -> None:
        """A program's error is the program's: it is not swallowed, and the stream goes on."""

        heard: list[bytes] = []

        def fail(pcm: bytes, rate: int) -> None:
            raise ZeroDivisionError

        failing = [self.two.listen(fail) for _ in range(2)]
        hear(self.two, heard)
        self.two.receive(rtp(1), HERE, 5.0)
        self.two.tick(5.0)
        self.two.tick(5.02)
        self.assertRaises(ZeroDivisionError, self.two.tick, 5.04)
        self.assertEqual(len(heard), 1)
        for listening in failing:
            listening.stop()
        self.two.receive(rtp(2), HERE, 5.05)
        self.two.tick(5.06)
        self.assertEqual(len(heard), 2)

    def test_on_digit_may_close(self) -> None:
        """Hanging up on # in the callback is the usual thing to do."""
        self.two.on_digit = lambda digit: self.two.close()
        self.two.receive(digit(1, 1, 9000, end=False), HERE, 5.0)
        self.two.receive(digit(11, 2, 20000, end=True), HERE, 5.0)
        self.assertTrue(self.two.is_closed)

    @given(
        st.lists(
            st.tuples(
                st.one_of(
                    st.binary(max_size=40),
                    st.builds(
                        lambda head, rest: bytes([head, 101]) + rest,
                        st.integers(128, 191),
                        st.binary(min_size=8, max_size=60),
                    ),
                    st.builds(
                        lambda sequence, body, stamp: rtp(
                            sequence, body, kind=101, timestamp=stamp
                        ),
                        st.integers(0, 65535),
                        st.binary(max_size=8),
                        st.integers(0, 2**32 - 1),
                    ),
                    st.builds(rtp, st.integers(0, 65535), st.binary(max_size=400)),
                ),
                st.sampled_from([HERE, THERE]),
                st.floats(0, 100),
            ),
            max_size=20,
        ),
        st.sampled_from(DIRECTIONS),
        st.booleans(),
    )
    def test_any_bytes_never_raise(
        self, datagrams: list[tuple[bytes, Address, float]], direction: str, echo: bool
    ) -> None:
        """Whatever comes, in whatever order, is heard or counted; each datagram exactly once."""
        stream = make(direction=direction, remote=None)
        stream.echo = echo
        stream.listen(Recorder(WAVWriter(io.BytesIO()), max_time=1.0).write)
        digits: list[str] = []
        stream.on_digit = digits.append
        for data, source, now in datagrams:
            stream.receive(data, source, now)
            answer = stream.tick(now)
            if answer is not None:
                RTPPacket.parse(answer)
        events = sum(data[1:2] == b"\x65" for data, _, _ in datagrams)
        dropped = stream.reports_received + stream.wrong_payload_type + stream.wrong_source
        total = stream.packets_received + dropped + stream.bad
        self.assertTrue(len(datagrams) <= total <= len(datagrams) + events)
        self.assertLessEqual(len(digits), len(datagrams))


class CollisionTests(StreamCase):
    """A peer whose SSRC is ours, RFC 3550 section 8.2."""

    def ssrc_of(self, packet: bytes | None) -> int:
        """Return who has sent a packet."""
        return RTPPacket.parse(packet or b"").ssrc

    def test_same_ssrc(self) -> None:
        """Who has ours by chance makes us take another one, once, before we speak or after it."""
        for spoken in (0, 3):
            stream = make(seed=7)
            stream.play(FRAME * (spoken + 1))
            for number in range(spoken):
                stream.tick(5.0 + number * 0.02)
            old = stream.ssrc
            for number in range(40000, 40005):
                stream.receive(rtp(number, ssrc=old), THERE, 5.1)
            self.assertNotEqual(stream.ssrc, old)
            new = stream.ssrc
            stream.receive(rtp(40005, ssrc=old), THERE, 5.1)
            self.assertEqual(self.ssrc_of(stream.tick(5.0 + spoken * 0.02)), new)

    def test_loop(self) -> None:
        """Our own packets that come back change nothing, wherever they begin to."""
        for begin in (0, 2):
            stream = make(seed=7)
            stream.play(FRAME * 5)
            old = stream.ssrc
            for number in range(5):
                packet = stream.tick(5.0 + number * 0.02)
                assert packet is not None
                if number >= begin:
                    stream.receive(packet, THERE, 5.0 + number * 0.02)
            self.assertEqual(stream.ssrc, old)


class CloseTests(StreamCase):
    """The end."""

    def test_close_tells_everybody(self) -> None:
        """What plays, waits or is being pressed ends as incomplete, once."""
        self.one.play(FRAME * 9, self.done("a"))
        self.one.play(FRAME * 9, self.done("b"))
        self.one.send_digits("1", self.done("d"))
        self.pair.run(2)
        self.one.close()
        self.one.close()
        self.assertEqual(self.ends, [("d", False), ("a", False), ("b", False)])
        self.assertIsNone(self.one.tick(200.0))
        self.assertFalse(self.one.wants_ticks)

    def test_closed_stream_says_no(self) -> None:
        """After the end everything new ends at once."""
        self.one.close()
        self.assertTrue(self.one.play(FRAME, self.done("a")).is_done)
        self.one.send_digits("1", self.done("d"))
        self.assertEqual(self.ends, [("a", False), ("d", False)])

    def test_closed_stream_is_deaf(self) -> None:
        """Nothing is heard, counted or reported after the end."""
        self.two.receive(digit(7, 1, 1000, end=False), HERE, 5.0)
        self.two.close()
        self.two.receive(digit(7, 2, 1000, end=True), HERE, 5.0)
        self.assertIsNone(self.two.tick(6.0))
        self.assertEqual((self.digits, self.two.packets_received), ([], 1))
        self.assertFalse(self.two.wants_ticks)

    def test_wake(self) -> None:
        """Who has something to say wakes the clock; who has not does not."""
        wakes: list[int] = []
        self.one.on_wake = lambda: wakes.append(1)
        self.one.receive(rtp(1), THERE, 5.0)
        self.assertEqual(wakes, [])
        self.one.play(FRAME)
        self.one.send_digits("1")
        self.assertEqual(wakes, [1, 1])

    def test_random_numbers(self) -> None:
        """Two streams have nothing in common that could be guessed (RFC 3550 section 5.1)."""
        self.assertNotEqual(make(seed=1).ssrc, make(seed=2).ssrc)
