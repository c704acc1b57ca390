# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Packets of one stream that leave by another: numbers, markers, codecs, and who has the word."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Address
from sipsess.media.codecs import PCMA, PCMU
from sipsess.media.relay import MAX_JUMP
from sipsess.media.rtp import RTPPacket
from tests.pure.codecs import Plain
from tests.pure.test_media_stream import HERE, THERE, make, rtp

#: A codec with another clock.
WIDE = Plain("WIDE", 16000)
PAYLOAD = bytes(range(160))


class RelayCase(SynchronousTestCase):
    """A stream that packets come on, and one that they leave by."""

    def setUp(self) -> None:
        """Join them, one way."""
        self.near = make(accepts={8: PCMA, 97: WIDE})
        self.far = make(seed=2)
        self.near.on_packet = self.far.forward
        self.sent: list[RTPPacket] = []
        self.far.send_now = self.keep

    def keep(self, data: bytes, address: Address) -> None:
        """Keep what leaves."""
        self.assertEqual(address, THERE)
        self.sent.append(RTPPacket.parse(data))

    def come(self, *numbers: int, **options: int) -> list[RTPPacket]:
        """Let packets come, one each 20 ms of their numbers; return what leaves."""
        del self.sent[:]
        for number in numbers:
            self.near.receive(rtp(number, PAYLOAD, **options), THERE, number * 0.02)
        return self.sent

    def steps(self, packets: list[RTPPacket]) -> list[tuple[int, int]]:
        """Return how sequence numbers and timestamps differ from those of the first packet."""
        first = packets[0]
        return [
            (
                (item.sequence - first.sequence + 0x8000 & 0xFFFF) - 0x8000,
                (item.timestamp - first.timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000,
            )
            for item in packets
        ]


class NumberTests(RelayCase):
    """Sequence numbers and timestamps."""

    def test_own_numbers(self) -> None:
        """What leaves has our SSRC and our payload type, the same payload, and one marker."""
        sent = self.come(7, 8, 9)
        self.assertEqual({item.ssrc for item in sent}, {self.far.ssrc})
        self.assertEqual([item.payload for item in sent], [PAYLOAD] * 3)
        self.assertEqual([item.marker for item in sent], [True, False, False])
        self.assertEqual(self.steps(sent), [(0, 0), (1, 160), (2, 320)])
        self.assertNotEqual(sent[0].sequence, 7)
        self.assertEqual((self.far.packets_sent, self.far.bytes_sent), (3, 480))

    def test_loss_and_order(self) -> None:
        """The far end sees what is missing and what came late."""
        sent = self.come(1, 2, 5, 4)
        self.assertEqual(self.steps(sent), [(0, 0), (1, 160), (4, 640), (3, 480)])

    def test_rolling_over(self) -> None:
        """Numbers roll over."""
        sent = self.come(65534, 65535, 65536, 65535)
        self.assertEqual(self.steps(sent)[:3], [(0, 0), (1, 160), (2, 320)])

    def test_copies(self) -> None:
        """Nothing is sent twice, and nothing from before the first."""
        self.assertEqual(len(self.come(3, 3, 2)), 1)

    def test_copy_after_a_late_one(self) -> None:
        """A copy of the newest packet that comes after a late one is seen."""
        sent = self.come(3, 5, 4, 5)
        self.assertEqual([step for step, _ in self.steps(sent)], [0, 2, 1])

    def test_copy_after_one_that_did_not_leave(self) -> None:
        """A copy of the last packet that left is seen, though a newer one came meanwhile."""
        self.assertEqual(len(self.come(3)), 1)
        self.near.receive(rtp(4, b""), THERE, 0.08)
        self.assertEqual(self.come(3), [])

    def test_marker_is_kept(self) -> None:
        """A talk-spurt of the source is one of ours, with its silence."""
        self.come(1)
        packet = RTPPacket(0, 2, 8000, 9, PAYLOAD, marker=True)
        self.near.receive(packet.pack(), THERE, 1.0)
        first, second = self.sent
        self.assertTrue(second.marker)
        self.assertEqual(second.timestamp - first.timestamp & 0xFFFFFFFF, 8000 - 160)

    def test_another_source(self) -> None:
        """A source that begins anew goes on in our numbers, as late as the time says."""
        before = self.come(1, 2)
        self.near.receive(rtp(900, PAYLOAD, ssrc=77, timestamp=5), THERE, 0.2)
        self.assertEqual(self.steps(before), [(0, 0), (1, 160), (2, 1440)])
        self.assertTrue(before[2].marker)

    def test_jump(self) -> None:
        """A source that jumps too far has begun anew."""
        sent = self.come(1, 2)
        self.near.receive(rtp(3 + MAX_JUMP, PAYLOAD, timestamp=7), THERE, 0.06)
        self.assertEqual(self.steps(sent), [(0, 0), (1, 160), (2, 320)])


class CodecTests(RelayCase):
    """Transcoding."""

    def test_transcoding(self) -> None:
        """Another codec is transcoded."""
        sent = self.come(1, kind=8)
        self.assertEqual(sent[0].payload_type, 0)
        self.assertEqual(sent[0].payload, PCMU.encode(PCMA.decode(PAYLOAD)))

    def test_late_packets_are_not_transcoded(self) -> None:
        """What comes too late cannot be decoded in its order; the others keep their places."""
        sent = self.come(1, 3, 2, 4, kind=8)
        self.assertEqual(self.steps(sent), [(0, 0), (2, 320), (3, 480)])

    def test_what_means_nothing_is_not_sent(self) -> None:
        """What cannot be decoded leaves no packet, and the next one begins with a marker."""
        broken = rtp(1, b"abc", kind=97)
        self.near.receive(broken, THERE, 0.0)
        self.assertEqual(self.sent, [])
        sent = self.come(2, 3, kind=97)
        self.assertEqual([packet.marker for packet in sent], [True, False])

    def test_other_clock(self) -> None:
        """Timestamps are counted in the clock of what leaves."""
        sent = self.come(2, 4, kind=97)
        self.assertEqual(self.steps(sent), [(0, 0), (2, 160)])

    def test_change_of_codec(self) -> None:
        """When the source changes its codec the numbers go on."""
        sent = self.come(1)
        self.near.receive(rtp(2, PAYLOAD, kind=8), THERE, 0.04)
        self.assertEqual(self.steps(sent), [(0, 0), (1, 160)])


class SilenceTests(RelayCase):
    """When nothing is passed on."""

    def test_own_word(self) -> None:
        """While this side plays something nothing is passed on; then the numbers go on."""
        first = self.come(1)[0]
        self.far.play(b"\0\0" * 160)
        self.assertEqual(self.come(2), [])
        own = self.far.tick(0.04)
        assert own is not None
        self.assertEqual(RTPPacket.parse(own).sequence, first.sequence + 1)
        self.far.tick(0.06)
        after = self.come(4)[0]
        self.assertEqual(after.sequence, first.sequence + 2)
        self.assertTrue(after.marker)

    def test_direction(self) -> None:
        """A side that must not send does not; one that does not listen gives nothing."""
        self.far.direction = "recvonly"
        self.assertEqual(self.come(1), [])
        self.far.direction = "sendrecv"
        self.near.direction = "sendonly"
        self.assertEqual(self.come(2), [])

    def test_no_port_or_payload(self) -> None:
        """Nothing is sent without a port, nor is an empty packet."""
        self.near.receive(rtp(1, b""), THERE, 0.0)
        self.far.send_now = None
        self.come(2)
        self.assertEqual(self.sent, [])

    def test_activity(self) -> None:
        """The first packet that leaves is told, so that reports begin on that side, too."""
        calls: list[str] = []
        self.far.on_activity = lambda: calls.append("sent")
        self.come(1, 2)
        self.assertEqual(calls, ["sent"])

    def test_no_address(self) -> None:
        """Nothing is sent before it is known whither."""
        self.far.set_remote(None)
        far = make(seed=3, remote=None)
        far.send_now = self.keep
        self.near.on_packet = far.forward
        self.assertEqual(self.come(1), [])

    def test_closed(self) -> None:
        """A closed stream sends nothing, and forgets the other one."""
        self.far.close()
        self.assertEqual(self.come(1), [])
        self.near.close()
        self.assertIsNone(self.near.on_packet)

    def test_address_is_not_proven(self) -> None:
        """Who has only claimed an address gets no more than the latch lets through."""
        self.far.proven_host = None
        self.far.set_remote(HERE)
        for number in range(2000):
            self.near.receive(rtp(number, PAYLOAD), THERE, number * 0.02)
            if self.far.withheld:
                return
        self.fail("everything was sent to an address that nobody has proven")

    def keep(self, data: bytes, address: Address) -> None:
        """Keep what leaves, wherever it goes."""
        self.sent.append(RTPPacket.parse(data))
