# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Packets of audio that last longer than a tick."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import PCMA, PCMU, RTPPacket, tone
from sipsess.media.codec import Codec, Encoder
from tests.pure.codecs import Plain
from tests.pure.test_media_stream import THERE, make


class PacketTimeTests(SynchronousTestCase):
    """What a peer wants by a=ptime (RFC 8866 section 6.4)."""

    def play(self, milliseconds: int, seconds: float = 0.6) -> list[tuple[int, RTPPacket]]:
        """Play a tone in packets of some length; return each with its tick."""
        self.stream = make()
        self.stream.set_format(PCMU, 0, 101, packet_time=milliseconds)
        self.played = tone.generate((1000.0,), seconds)
        self.done: list[bool] = []
        self.stream.play(self.played, self.done.append)
        made = [(tick, self.stream.tick(tick / 50)) for tick in range(40)]
        return [(tick, RTPPacket.parse(data)) for tick, data in made if data is not None]

    def test_lengths(self) -> None:
        """Each packet lasts as long as wanted, the timestamps follow, and all is said once."""
        for milliseconds in (20, 30, 40, 60, 100):
            packets = [packet for _, packet in self.play(milliseconds)]
            self.assertEqual({len(packet.payload) for packet in packets}, {8 * milliseconds})
            steps = {
                (two.timestamp - one.timestamp & 0xFFFFFFFF, two.sequence - one.sequence & 0xFFFF)
                for one, two in pairwise(packets)
            }
            self.assertEqual(steps, {(8 * milliseconds, 1)})
            said = b"".join(packet.payload for packet in packets)
            self.assertEqual(said, PCMU.encode(self.played))
            self.assertEqual(
                [packet.marker for packet in packets], [True, *[False] * (len(packets) - 1)]
            )
            self.assertEqual(self.done, [True])

    def test_ticks(self) -> None:
        """A packet leaves when it is due, or half a tick before."""
        ticks = [tick for tick, _ in self.play(40)]
        self.assertEqual(ticks, [*range(0, 30, 2)])
        ticks = [tick for tick, _ in self.play(30)]
        self.assertEqual(
            ticks, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25, 27, 28]
        )

    def test_the_last_one_is_whole(self) -> None:
        """What is left of a sound is filled up with silence."""
        _, last = self.play(40, 0.05)[-1]
        self.assertEqual(len(last.payload), 320)
        self.assertEqual(last.payload[80:], b"\xff" * 240)

    def test_after_a_silence(self) -> None:
        """The first packet of a talk-spurt does not wait, and has the marker."""
        self.play(60, 0.06)
        self.stream.play(bytes(960))
        data = self.stream.tick(0.9)
        assert data is not None
        self.assertTrue(RTPPacket.parse(data).marker)

    def test_a_key_in_between(self) -> None:
        """Events come every 20 ms, whatever the audio does."""
        self.stream = make()
        self.stream.set_format(PCMU, 0, 101, packet_time=60)
        self.stream.play(bytes(9600))
        self.stream.tick(0.0)
        self.stream.send_digits("1", duration=0.04, pause=0.04)
        kinds = []
        for tick in range(1, 8):
            data = self.stream.tick(tick / 50)
            kinds.append(None if data is None else RTPPacket.parse(data).payload_type)
        self.assertEqual(kinds, [101, 101, 101, 101, 0, None, None])


class EventClockTests(SynchronousTestCase):
    """Keys where telephone-event has another clock than the audio."""

    def test_durations(self) -> None:
        """Durations count with the clock of the event; timestamps with that of the stream."""
        wide = Plain("WIDE", 48000, payload_type=98)
        stream = make(wide)
        stream.set_format(wide, 98, 101, event_clock=8000)
        stream.send_digits("12")
        made = [stream.tick(tick / 50) for tick in range(20)]
        packets = [RTPPacket.parse(data) for data in made if data is not None]
        longest = max(int.from_bytes(packet.payload[2:]) for packet in packets)
        self.assertEqual(longest, 800)
        one, two = sorted({packet.timestamp for packet in packets})
        self.assertEqual(two - one, 9 * 960)

    def test_what_was_pressed(self) -> None:
        """How long a key was pressed is told in the clock of the event."""
        wide = Plain("WIDE", 48000, payload_type=98)
        for clock in (8000, 48000):
            stream = make(wide)
            stream.set_format(wide, 98, 101, event_clock=clock)
            end = bytes([5, 0x8A]) + (clock // 10).to_bytes(2)
            stream.receive(RTPPacket(101, 1, 960, 9, end).pack(), THERE, 0.0)
            self.assertEqual(stream.pressed, 0.1)


class Counting(Codec):
    """Counts its encoders, and keeps what they were made with."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        super().__init__("COUNT", 8000, payload_type=99)
        self.made: list[str] = []

    def make_encoder(self, fmtp: str = "") -> Encoder:
        """Return one of G.711."""
        self.made.append(fmtp)
        return PCMA


class EncoderTests(SynchronousTestCase):
    """An encoder remembers what was said before."""

    def test_it_is_kept(self) -> None:
        """A new negotiation of the same format keeps it; other parameters make a new one."""
        codec = Counting()
        stream = make(codec)
        stream.play(bytes(3200))
        for tick, fmtp in enumerate(("", "", "cbr=1", "cbr=1")):
            stream.set_format(codec, 99, 101, fmtp=fmtp)
            stream.tick(tick / 50)
        self.assertEqual(codec.made, ["", "cbr=1"])
