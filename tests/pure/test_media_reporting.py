# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Reports: what two streams tell each other of what they hear."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.media.codecs import PCMU
from sipsess.media.reporting import INTERVAL, MAX_ROUND_TRIP, next_interval
from sipsess.media.rtcp import Block, Report, SenderInfo
from sipsess.media.rtp import RTPPacket
from sipsess.media.statistics import estimate_mos
from sipsess.media.stream import AudioStream

ONE: Address = ("192.0.2.1", 4000)
TWO: Address = ("192.0.2.2", 4002)
FRAME = b"\x10\x00" * 160


class IntervalTests(SynchronousTestCase):
    """When reports leave, RFC 3550 section 6.3."""

    def test_intervals(self) -> None:
        """Never regular, five seconds on average as timers go; the first comes in half the time."""
        source = random.Random(1)
        times = [next_interval(source, is_first=False) for _ in range(1000)]
        self.assertGreaterEqual(min(times), 0.5 * INTERVAL / 1.21829)
        self.assertLessEqual(max(times), 1.5 * INTERVAL / 1.21828)
        self.assertApproximates(sum(times) / 1000, INTERVAL / 1.21828, 0.1)
        first = [next_interval(source, is_first=True) for _ in range(1000)]
        self.assertApproximates(sum(first) / 1000, INTERVAL / 2 / 1.21828, 0.1)


class ReportTestCase(SynchronousTestCase):
    """Two streams and a network of a test's choice between them."""

    def setUp(self) -> None:
        """Make both."""
        self.now = 100.0
        self.one = self.make(1, TWO)
        self.two = self.make(2, ONE)

    def make(self, seed: int, remote: Address) -> AudioStream:
        """Make a stream."""
        stream = AudioStream(PCMU, 0, 101, IdSource(random.Random(seed)), remote=remote)
        stream.proven_host = remote[0]
        return stream

    def say(self, frames: int, lost: range | tuple[int, ...] = (), late: float = 0.0) -> None:
        """Let one say something to two; some packets are lost, and every other one is late."""
        self.one.play(FRAME * frames)
        for number in range(frames):
            data = self.one.tick(self.now)
            assert data is not None
            if number not in lost:
                self.two.receive(data, ONE, self.now + late * (number % 2))
            self.now += 0.02
        self.assertIsNone(self.one.tick(self.now))

    def report(self, stream: AudioStream, *, is_leaving: bool = False) -> Report:
        """Return what a stream reports now."""
        report = stream.report(self.now, is_leaving=is_leaving)
        assert report is not None
        return Report.parse(report[0])

    def exchange(self, delay: float = 0.0) -> None:
        """Let one report to two, and two report to one a second later."""
        for sender, receiver, source in ((self.one, self.two, ONE), (self.two, self.one, TWO)):
            report = sender.report(self.now)
            assert report is not None
            self.now += delay
            receiver.receive(report[0], source, self.now)
            self.now += 1.0


class MakingTests(ReportTestCase):
    """What is reported."""

    def test_nothing_to_say(self) -> None:
        """Who has sent nothing and heard nothing says who he is, and no more."""
        found = self.report(self.one)
        self.assertEqual((found.ssrc, found.sender, found.blocks), (self.one.ssrc, None, ()))
        self.assertEqual(len(found.cname), 16)
        self.assertEqual(found.cname, self.report(self.one).cname)
        self.assertNotEqual(found.cname, self.report(self.two).cname)

    def test_nobody_to_tell(self) -> None:
        """Where no address is known, or nobody has shown that he wants anything, none is made."""
        self.assertIsNone(self.make(3, ("0.0.0.0", 0)).report(self.now))
        self.one.proven_host = None
        self.assertIsNone(self.one.report(self.now))

    def test_sender(self) -> None:
        """A sender tells packets, bytes, and his timestamp of this moment."""
        sent: list[RTPPacket] = []
        self.one.play(FRAME * 5)
        for _ in range(5):
            sent.append(RTPPacket.parse(self.one.tick(self.now) or b""))
            self.now += 0.02
        self.now += 2.0
        info = self.report(self.one).sender
        timestamp = sent[0].timestamp + 16000 + 5 * 160 & 0xFFFFFFFF
        self.assertEqual(info, SenderInfo(round(self.now * 2**32), timestamp, 5, 800))

    def test_sender_falls_silent(self) -> None:
        """Two reports later a sender is none any more (RFC 3550 section 6.4)."""
        self.say(2)
        kinds = [self.report(self.one).sender is not None for _ in range(4)]
        self.assertEqual(kinds, [True, True, False, False])

    def test_losses(self) -> None:
        """The share is of the time since the last report, the number of the whole time."""
        self.say(64, lost=range(8, 24))
        [block] = self.report(self.two).blocks
        self.assertEqual((block.ssrc, block.fraction, block.lost), (self.one.ssrc, 64, 16))
        self.say(10)
        [block] = self.report(self.two).blocks
        self.assertEqual((block.fraction, block.lost), (0, 16))
        self.say(10, lost=range(1, 9))
        [block] = self.report(self.two).blocks
        self.assertEqual((block.fraction, block.lost), (204, 24))
        [block] = self.report(self.two).blocks
        self.assertEqual((block.fraction, block.lost), (0, 24))

    def test_what_comes_late_is_not_lost(self) -> None:
        """Late packets take back what was lost; the share is never less than nothing."""
        for numbers in ((1, 2, 5), (3, 4)):
            for number in numbers:
                self.two.receive(RTPPacket(0, number, 160 * number, 9, b"x").pack(), ONE, 5.0)
            [block] = self.report(self.two).blocks
            self.assertEqual((block.fraction, block.lost), (102, 2) if 5 in numbers else (0, 0))

    def test_late_packets_among_new_ones(self) -> None:
        """When more come late than get lost the share is nothing, and the number is still told."""
        for numbers, expected in (((1, 2, 6), (128, 3)), ((3, 4, 7), (0, 1))):
            for number in numbers:
                self.two.receive(RTPPacket(0, number, 160 * number, 9, b"x").pack(), ONE, 5.0)
            [block] = self.report(self.two).blocks
            self.assertEqual((block.fraction, block.lost), expected)

    def test_highest_number(self) -> None:
        """The upper bits count how often it rolled over."""
        for number in (65534, 65535, 0, 1):
            self.two.receive(RTPPacket(0, number, 160 * number, 9, b"x").pack(), ONE, 5.0)
        [block] = self.report(self.two).blocks
        self.assertEqual((block.highest, block.lost), (0x10001, 0))

    def test_jitter(self) -> None:
        """It is told in units of the timestamp: ten milliseconds are eighty."""
        self.say(200, late=0.01)
        [block] = self.report(self.two).blocks
        self.assertApproximates(block.jitter, 80, 2)

    def test_another_sender(self) -> None:
        """What the last one lost, and when he reported, is nothing that the next one gets told."""
        self.say(10, lost=(3,))
        self.exchange()
        for number in range(500, 503):
            self.two.receive(RTPPacket(0, number, 160 * number, 9, b"x").pack(), ONE, self.now)
        [block] = self.report(self.two).blocks
        self.assertEqual(block[:4], (9, 0, 0, 502))
        self.assertEqual((block.last_report, block.delay), (0, 0))

    def test_losses_of_another_sender(self) -> None:
        """The share of a sender is of his own packets, however many the last one had sent."""
        self.say(10, lost=(3,))
        self.report(self.two)
        for number in (500, 519):
            self.two.receive(RTPPacket(0, number, 160 * number, 9, b"x").pack(), ONE, self.now)
        [block] = self.report(self.two).blocks
        self.assertEqual(block[:3], (9, 256 * 18 // 20, 18))

    def test_same_sender_begins_anew(self) -> None:
        """A sender whose numbers jump is counted anew."""
        self.say(10, lost=(3,))
        self.report(self.two)
        packet = RTPPacket(0, 40000, 0, self.one.ssrc, b"x")
        self.two.receive(packet.pack(), ONE, self.now)
        [block] = self.report(self.two).blocks
        self.assertEqual(block[:4], (self.one.ssrc, 0, 0, 40000))

    def test_losses_of_a_sender_that_began_anew(self) -> None:
        """The share counts from where his numbers jumped to."""
        self.say(10, lost=(3,))
        self.report(self.two)
        for number in (40000, 40003):
            packet = RTPPacket(0, number, 160 * number, self.one.ssrc, b"x")
            self.two.receive(packet.pack(), ONE, self.now)
        [block] = self.report(self.two).blocks
        self.assertEqual(block[:3], (self.one.ssrc, 128, 2))

    def test_leaving(self) -> None:
        """The last report says that we go; of who went nothing is told until he is heard again."""
        self.say(3)
        leaving = self.report(self.one, is_leaving=True)
        self.assertEqual(leaving.gone, (self.one.ssrc,))
        self.two.receive(leaving.pack(), ONE, self.now)
        self.assertEqual(self.report(self.two).blocks, ())
        self.say(1)
        self.assertEqual(len(self.report(self.two).blocks), 1)

    def test_somebody_else_leaves(self) -> None:
        """The goodbye of a source that we do not hear changes nothing."""
        self.two.receive(Report(7, gone=(7,)).pack(), ONE, self.now)
        self.say(3)
        self.two.receive(Report(7, gone=(7,)).pack(), ONE, self.now)
        self.assertEqual(len(self.report(self.two).blocks), 1)


class LearningTests(ReportTestCase):
    """What is learned of the peer."""

    def test_nothing_is_known(self) -> None:
        """Before the peer reports there is nothing to tell."""
        self.say(5)
        found = self.one.statistics()
        known = found.round_trip_ms, found.remote_lost, found.remote_loss, found.remote_jitter_ms
        self.assertEqual(known, (None,) * 4)
        self.assertEqual(str(found), "received 0 packets, sent 5")

    def test_what_the_peer_hears(self) -> None:
        """His losses, his jitter, and the time to him and back."""
        self.say(50, lost=range(10, 15), late=0.01)
        self.exchange(delay=0.08)
        found = self.one.statistics()
        self.assertApproximates(found.round_trip_ms or 0.0, 160.0, 0.1)
        self.assertEqual((found.remote_lost, found.remote_loss), (5, 0.1))
        self.assertApproximates(found.remote_jitter_ms or 0.0, 10.0, 1.5)
        self.assertEqual(
            str(found),
            "received 0 packets, sent 50; the peer lost 5 (10.0%), "
            f"jitter {found.remote_jitter_ms:.1f} ms; round trip 160 ms",
        )
        self.assertEqual(self.two.statistics().round_trip_ms, None)

    def test_opinion(self) -> None:
        """The longer the way, the worse it is to talk."""
        for stream, source in ((self.one, TWO), (self.two, ONE)):
            stream.receive(RTPPacket(0, 1, 160, 9, b"x" * 160).pack(), source, self.now)
        self.say(5)
        self.exchange(delay=0.3)
        found = self.one.statistics()
        self.assertEqual(found.mos, estimate_mos(0.0, found.jitter_ms, found.round_trip_ms or 0.0))
        self.assertLess(found.mos or 5.0, estimate_mos(0.0, found.jitter_ms) - 0.3)

    def tell(self, **values: int) -> None:
        """Let two say something of one."""
        block = Block(self.one.ssrc, 0, 0, 0, 0, 0, 0)._replace(**values)
        self.one.receive(Report(9, blocks=(block,)).pack(), TWO, self.now)

    def test_way_that_cannot_be(self) -> None:
        """A little less than nothing is nothing; an absurd time is none."""
        moment = round(self.now * 0x10000)
        self.tell(last_report=moment, delay=9)
        self.assertEqual(self.one.statistics().round_trip_ms, 0.0)
        self.tell(last_report=moment - round((MAX_ROUND_TRIP + 1) * 0x10000))
        self.assertEqual(self.one.statistics().round_trip_ms, 0.0)
        self.tell(last_report=moment - 0x8000)
        self.assertEqual(self.one.statistics().round_trip_ms, 500.0)
        self.tell(lost=4)
        self.assertEqual(self.one.statistics().round_trip_ms, 500.0)

    def test_share_stays_a_share(self) -> None:
        """Whatever number the peer tells, the share is between nothing and all."""
        self.tell(lost=5)
        self.assertIsNone(self.one.statistics().remote_loss)
        self.say(10)
        for lost, share in ((-5, 0.0), (2, 0.2), (11, 1.0)):
            self.tell(lost=lost)
            self.assertEqual(self.one.statistics().remote_loss, share)

    def test_told_of_others(self) -> None:
        """What he says of another source is none of ours."""
        self.tell(ssrc=5, lost=7)
        self.assertIsNone(self.one.statistics().remote_lost)
        self.assertEqual(self.one.reports_received, 1)

    def test_activity(self) -> None:
        """Who asked for it is told once of the first packet that goes, comes or reports."""
        calls: list[str] = []
        self.one.on_activity = lambda: calls.append("sent")
        self.two.on_activity = lambda: calls.append("received")
        self.say(3)
        self.assertEqual(calls, ["sent", "received"])
        self.one.on_activity = lambda: calls.append("reported")
        self.tell(lost=1)
        self.tell(lost=1)
        self.assertEqual(calls[2:], ["reported"])
