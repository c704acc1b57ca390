# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Statistics of a stream: jitter, loss and the estimated opinion of a listener."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Address
from sipsess.ids import IdSource
from sipsess.media.codec import Codec
from sipsess.media.codecs import PCMU
from sipsess.media.rtp import RTPPacket
from sipsess.media.statistics import JitterMeter, estimate_mos
from sipsess.media.stream import AudioStream

PEER: Address = ("192.0.2.2", 4002)


class OtherCodec(Codec):
    """A codec that nobody decodes."""


class JitterTests(SynchronousTestCase):
    """Interarrival jitter, RFC 3550 A.8."""

    def test_steady_sender_has_none(self) -> None:
        """Packets that come as they were sent have none, where the timestamp rolls over too."""
        meter = JitterMeter()
        for number in range(100):
            meter.arrive(number * 160 - 8000 & 0xFFFFFFFF, 8000, 7.0 + number * 0.02)
        self.assertApproximates(meter.seconds, 0.0, 1e-6)

    def test_every_other_packet_is_late(self) -> None:
        """The estimate goes to the mean difference: ten milliseconds here."""
        meter = JitterMeter()
        for number in range(200):
            meter.arrive(number * 160, 8000, 7.0 + number * 0.02 + number % 2 * 0.01)
        self.assertApproximates(meter.seconds, 0.01, 1e-4)

    def test_restart(self) -> None:
        """Another sender's clock is no jitter."""
        meter = JitterMeter()
        meter.arrive(0, 8000, 7.0)
        meter.restart()
        meter.arrive(80_000_000, 8000, 7.02)
        self.assertEqual(meter.seconds, 0.0)

    def test_another_clock(self) -> None:
        """A codec whose timestamps count otherwise is none either (RFC 7160 4)."""
        meter = JitterMeter()
        meter.arrive(8000, 8000, 7.0)
        meter.arrive(8960, 48000, 7.02)
        meter.arrive(9920, 48000, 7.04)
        self.assertApproximates(meter.seconds, 0.0, 1e-6)


class OpinionTests(SynchronousTestCase):
    """The E-model, simplified."""

    def test_known_points(self) -> None:
        """Nothing impairs: 4.4; 5 % and 20 % loss cost one and two points; a dead line has 1."""
        self.assertApproximates(estimate_mos(0.0, 0.0), 4.39, 0.02)
        self.assertApproximates(estimate_mos(0.05, 5.0), 3.89, 0.1)
        self.assertApproximates(estimate_mos(0.2, 20.0), 2.5, 0.2)
        self.assertEqual(estimate_mos(1.0, 1000.0), 1.0)

    def test_codecs(self) -> None:
        """Loss hurts a codec with a memory more than one without; without loss all are the same."""
        scores = {
            loss: [estimate_mos(loss, 0.0, 0.0, name) for name in ("PCMU", "L16", "G722", "OPUS")]
            for loss in (0.0, 0.03)
        }
        self.assertEqual(len(set(scores[0.0])), 1)
        pcmu, l16, g722, opus = scores[0.03]
        self.assertEqual(pcmu, l16)
        self.assertTrue(pcmu > g722 + 0.1 > opus, scores)

    def test_jitter_of_two_senders(self) -> None:
        """That another sender has another clock is no jitter."""
        stream = AudioStream(PCMU, 0, 101, IdSource(random.Random(1)), remote=PEER)
        for number in range(20):
            stamp, ssrc = (number * 160, 9) if number < 10 else (number * 160 + 7777, 10)
            data = RTPPacket(0, number, stamp, ssrc, b"\xff" * 160).pack()
            stream.receive(data, PEER, 5.0 + number * 0.02)
        self.assertApproximates(stream.statistics().jitter_ms, 0.0, 1e-3)

    def test_codec_of_a_stream(self) -> None:
        """A stream is judged by its codec."""
        names = {}
        for codec in (PCMU, PCMU, OtherCodec("OPUS", 48000)):
            stream = AudioStream(codec, 96, None, IdSource(random.Random(1)), remote=PEER)
            for number in (1, 3):
                data = RTPPacket(96, number, number * 160, 9, b"\xff" * 160).pack()
                stream.receive(data, PEER, 5.0)
            names[codec.encoding] = stream.statistics().mos or 0.0
        self.assertLess(names["OPUS"], names["PCMU"])

    def test_worse_is_never_better(self) -> None:
        """More loss or more jitter never makes a better score."""
        for step in range(20):
            here = estimate_mos(step / 20, 20.0)
            self.assertLessEqual(estimate_mos((step + 1) / 20, 20.0), here)
            self.assertLessEqual(estimate_mos(step / 20, 60.0), here)


class StreamTests(SynchronousTestCase):
    """What a stream says of itself."""

    def test_silent_stream(self) -> None:
        """Of what never came there is no opinion."""
        found = AudioStream(PCMU, 0, 101, IdSource(random.Random(1)), remote=PEER).statistics()
        self.assertEqual((found.mos, found.loss, found.codec), (None, 0.0, "PCMU"))
        self.assertEqual(str(found), "received 0 packets, sent 0")

    def test_counts(self) -> None:
        """Loss, late and doubled packets, jitter and the opinion are those of what came."""
        stream = AudioStream(PCMU, 0, 101, IdSource(random.Random(1)), remote=PEER)
        for number in (1, 2, 2, 5, 4, 6):
            data = RTPPacket(0, number, number * 160, 9, b"\xff" * 160).pack()
            stream.receive(data, PEER, 5.0 + number * 0.02)
        found = stream.statistics()
        self.assertEqual((found.packets_received, found.bytes_received), (6, 960))
        self.assertEqual((found.lost, found.late, found.duplicates), (1, 1, 1))
        self.assertApproximates(found.jitter_ms, 0.0, 1e-3)
        self.assertApproximates(found.loss, 1 / 7, 1e-9)
        self.assertEqual(found.mos, estimate_mos(1 / 7, found.jitter_ms))
        self.assertEqual(
            str(found),
            "received 6 packets, sent 0; lost 1 (14.3%), late 1, jitter 0.0 ms, "
            f"MOS {found.mos:.1f}",
        )
