# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The jitter buffer and the concealment: what is heard of what a network did."""

from __future__ import annotations

import random
from math import sqrt

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import tone
from sipsess.media.codecs import PCMU
from sipsess.media.conceal import Concealer
from sipsess.media.hearing import Hearing
from sipsess.media.jitter import FIRST_DELAY, MAX_DELAY, MAX_PACKETS, WINDOW, JitterBuffer
from sipsess.media.rtp import RTPPacket
from tests.pure.signals import rms, samples

FRAME = 320


def packet(
    number: int, payload: bytes = b"\xff" * 160, *, stamp: int | None = None, marker: bool = False
) -> RTPPacket:
    """Build a packet of 20 ms."""
    timestamp = (number * 160 if stamp is None else stamp) & 0xFFFFFFFF
    return RTPPacket(0, number & 0xFFFF, timestamp, 9, payload, marker)


def correlation(one: bytes, two: bytes) -> float:
    """Return how alike two sounds of the same length are: 1 is the same."""
    a, b = samples(one), samples(two)
    return sum(map(int.__mul__, a, b)) / sqrt(
        sum(map(int.__mul__, a, a)) * sum(map(int.__mul__, b, b)) + 1e-9
    )


class Wire:
    """
    A sender, a network and a listener, in virtual time.

    :param played: what is sent.
    :param loss: share of packets that are lost.
    :param jitter: the most seconds by which one is delayed.
    :param skew: by how much the sender's clock is faster, as a ratio.
    """

    def __init__(
        self, played: bytes, *, loss: float = 0.0, jitter: float = 0.0, skew: float = 0.0
    ) -> None:
        chance = random.Random(7)
        arrivals: list[tuple[float, RTPPacket]] = []
        for number in range(len(played) // FRAME):
            sent = 1.0 + number * 0.02 / (1 + skew)
            payload = PCMU.encode(played[number * FRAME : (number + 1) * FRAME])
            # Near the end of the circle, so that sequence and timestamp roll over.
            stamp = number * 160 - 8000
            came = RTPPacket(0, number - 50 & 0xFFFF, stamp & 0xFFFFFFFF, 9, payload)
            if chance.random() >= loss:
                arrivals.append((sent + chance.random() * jitter, came))
        arrivals.sort(key=lambda item: item[0])
        self.hearing = Hearing()
        self.heard: list[bytes] = []
        self.delays: list[float] = []
        self.hearing.add(lambda pcm, rate: self.heard.append(pcm), lambda listening: None)
        newest, at = -51, 0
        for tick in range(len(played) // FRAME + 30):
            now = 1.0 + tick * 0.02 + 0.007
            while at < len(arrivals) and arrivals[at][0] <= now:
                when, came = arrivals[at]
                number = (came.sequence + 50 & 0xFFFF) - 50
                self.hearing.receive(PCMU, came, is_newest=number > newest, now=when)
                newest, at = max(newest, number), at + 1
            self.hearing.tick(now)
            self.delays.append(self.hearing.delay)

    def best_correlation(self, played: bytes) -> tuple[float, float]:
        """Return how alike what was heard is to what was sent, and by how much it is later."""
        heard = b"".join(self.heard)
        middle = played[len(played) // 2 :][: 16000 & ~1]
        best = max(
            (correlation(heard[start:][: len(middle)].ljust(len(middle), b"\0"), middle), start)
            for start in range(len(played) // 2, len(played) // 2 + 8000, 320)
        )
        return best[0], (best[1] - len(played) // 2) / 16000


class NetworkTests(SynchronousTestCase):
    """A seeded network between a voice and a listener."""

    def test_perfect_network(self) -> None:
        """What is sent is heard, the first delay later, without one sample changed."""
        played = PCMU.decode(PCMU.encode(tone.generate([440.0], 1.0)))
        heard = b"".join(Wire(played).heard)
        begin = heard.index(played[FRAME : 2 * FRAME]) - FRAME
        self.assertEqual(heard[begin : begin + len(played)], played)
        self.assertLessEqual(begin / 16000, FIRST_DELAY + 0.02)

    def test_loss_and_jitter(self) -> None:
        """With 5 % loss and 60 ms of jitter a sound is more than 90 % alike, and hardly later."""
        played = tone.generate([200.0, 410.0], 20.0, -10.0)
        wire = Wire(played, loss=0.05, jitter=0.06)
        heard = b"".join(wire.heard[100:900])
        self.assertApproximates(rms(heard), rms(played), 1.5)
        # The delay changes for no reason no more: in the last seconds it is one piece.
        alike, _ = wire.best_correlation(played)
        self.assertGreater(alike, 0.9)
        self.assertLess(max(wire.delays), 0.15)

    def test_drift(self) -> None:
        """For ten minutes a clock that is 200 ppm off, either way, makes no delay grow."""
        played = bytes(FRAME * 50 * 600)
        for skew in (200e-6, -200e-6):
            wire = Wire(played, jitter=0.01, skew=skew)
            self.assertLess(max(wire.delays), 0.1)
            self.assertLess(max(wire.delays[-1000:]) - max(wire.delays[:1000]), 0.04)

    def test_no_jitter_at_last(self) -> None:
        """A delay that nobody needs any more goes away, by skipped frames."""
        buffer = JitterBuffer(8000)
        now = 1.0
        skips = 0
        for number in range(3 * WINDOW):
            now += 0.02
            buffer.put(PCMU, packet(number), is_newest=True, now=now)
            skips += buffer.tick(now) == "skip"
            buffer.take()
            buffer.position += 160
        self.assertEqual(skips, 1)


class BufferTests(SynchronousTestCase):
    """The odd packets."""

    def setUp(self) -> None:
        """Begin with one packet at one second."""
        self.buffer = JitterBuffer(8000)
        self.put(0, 1.0)

    def put(self, number: int, now: float, *, newest: bool = True, **more: object) -> None:
        """Let a packet come."""
        made = packet(number, **more)  # type: ignore[arg-type]
        self.buffer.put(PCMU, made, is_newest=newest, now=now)

    def test_jump(self) -> None:
        """A newest packet whose timestamp no network explains begins anew; an old one is late."""
        self.put(1, 1.02, stamp=5_000_000)
        self.assertEqual((self.buffer.restarts, len(self.buffer)), (2, 1))
        self.put(2, 1.04, stamp=160)
        self.assertEqual((self.buffer.restarts, len(self.buffer)), (3, 1))
        self.put(3, 1.04, stamp=900_000, newest=False)
        self.assertEqual((self.buffer.restarts, self.buffer.late), (3, 1))

    def test_talk_spurt(self) -> None:
        """A marker after a pause begins anew, whatever the clock did meanwhile (RFC 3551 4.1)."""
        for frame in range(10):
            self.buffer.tick(1.0 + frame * 0.02)
            self.buffer.position += 160
            self.buffer.take()
        self.put(1, 1.2, marker=True)
        self.assertEqual(self.buffer.restarts, 2)

    def test_twice(self) -> None:
        """A timestamp that waits already does not wait twice."""
        self.put(0, 1.01)
        self.assertEqual(len(self.buffer), 1)

    def test_bounded(self) -> None:
        """Neither packets nor delay pile up, however fast a peer sends."""
        for number in range(1, 300):
            self.put(number, 1.0)
            self.assertLessEqual(self.buffer.delay, MAX_DELAY + 0.02)
        short = JitterBuffer(8000)
        for number in range(200):
            short.put(PCMU, packet(number, stamp=number), is_newest=True, now=1.0)
        self.assertEqual(len(short), MAX_PACKETS)

    def test_too_late_to_be_taken(self) -> None:
        """What lies behind the position is dropped and counted."""
        self.buffer.position += 3200
        self.assertIsNone(self.buffer.take())
        self.assertEqual(self.buffer.late, 1)
        self.assertIsNone(self.buffer.peek())
        self.assertEqual(self.buffer.delay, 0.0)

    def test_late_packets_hold_the_playhead(self) -> None:
        """The delay grows at once by what a late packet needed, and not past its limit."""
        self.buffer.tick(1.0)
        self.put(1, 1.2)
        holds = [self.buffer.tick(1.2 + frame * 0.02) for frame in range(20)].count("hold")
        self.assertTrue(5 <= holds <= 10)


class ConcealTests(SynchronousTestCase):
    """What is put in the place of a lost frame."""

    def test_tone_goes_on(self) -> None:
        """The first lost frame of a tone is much like it, the fourth is silence."""
        for rate in (8000, 16000):
            played = tone.generate([250.0], 0.2)
            if rate == 16000:
                played = tone.generate([500.0], 0.4)
            half = len(played) // 2
            concealer = Concealer(rate)
            concealer.hear(played[:half])
            frame = rate // 50
            made = concealer.conceal(frame)
            self.assertGreater(correlation(made, played[half : half + 2 * frame]), 0.95)
            concealer.conceal(2 * frame)
            self.assertEqual(concealer.conceal(frame), bytes(2 * frame))

    def test_comes_back_without_a_click(self) -> None:
        """The first sample after a loss is still that of the repetition, the last is what came."""
        played = tone.generate([250.0], 0.1)
        concealer = Concealer(8000)
        concealer.hear(played)
        concealer.conceal(160)
        came = b"\x00\x40" * 160
        heard = samples(concealer.hear(came))
        self.assertLess(abs(heard[0]), 0x3000)
        self.assertEqual(heard[-1], 0x4000)

    def test_nothing_to_repeat(self) -> None:
        """Before anything was heard, and after silence, a loss is silence."""
        concealer = Concealer(8000)
        self.assertEqual(concealer.conceal(160), bytes(320))
        concealer.hear(b"\x00\x40" * 400)
        self.assertEqual(concealer.silence(160), bytes(320))
        self.assertEqual(concealer.conceal(160), bytes(320))


class HearingTests(SynchronousTestCase):
    """The frames of a tick."""

    def setUp(self) -> None:
        """Let one listen."""
        self.hearing = Hearing()
        self.heard: list[bytes] = []
        self.hearing.add(lambda pcm, rate: self.heard.append(pcm), lambda listening: None)

    def run_ticks(self, first: float, count: int) -> None:
        """Let the clock pass."""
        for frame in range(count):
            self.hearing.tick(first + frame * 0.02)

    def test_silence_suppression_is_silence(self) -> None:
        """A gap in the timestamps without one in the sequence is no loss: nothing is repeated."""
        loud = PCMU.encode(b"\x00\x40" * 160)
        self.hearing.receive(PCMU, packet(0, loud), is_newest=True, now=1.0)
        self.hearing.receive(PCMU, packet(1, loud, stamp=480), is_newest=True, now=1.0)
        self.run_ticks(1.0, 6)
        loudness = [any(frame) for frame in self.heard]
        self.assertEqual(loudness, [True, False, False, True])

    def test_packets_of_other_lengths(self) -> None:
        """Packets of 60 ms are heard as frames of 20 ms; empty ones are no audio."""
        self.assertFalse(self.hearing.is_playing)
        self.assertEqual(self.hearing.delay, 0.0)
        self.hearing.restart()
        self.hearing.receive(PCMU, packet(0, b""), is_newest=True, now=1.0)
        self.hearing.tick(1.0)
        self.assertEqual(self.heard, [])
        self.hearing.receive(PCMU, packet(1, b"\x10" * 480, stamp=0), is_newest=True, now=1.0)
        self.run_ticks(1.0, 5)
        self.assertEqual(self.heard, [PCMU.decode(b"\x10" * 160)] * 3)
