# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Where to send (symmetric RTP), and what sequence numbers say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.latch import PROBATION, SILENCE, Latch
from sipsess.media.rtp import RTPPacket
from sipsess.media.sequence import DUPLICATE, LATE, NEXT, RESTART, SequenceTracker

SIGNALLED = ("198.51.100.1", 4000)
PEER = ("203.0.113.5", 9000)
STRANGER = ("192.0.2.66", 6666)


def packet(sequence: int, ssrc: int = 1) -> RTPPacket:
    """Build a packet."""
    return RTPPacket(0, sequence & 0xFFFF, 0, ssrc, b"x")


class LatchTests(SynchronousTestCase):
    """Symmetric RTP, RFC 4961, with the source check."""

    def setUp(self) -> None:
        """Begin with what the SDP says."""
        self.latch = Latch(SIGNALLED)

    def speak(self, source: tuple[str, int], count: int, now: float, first: int = 0) -> list[bool]:
        """Send packets in sequence and return which were accepted."""
        return [self.latch.accept(source, packet(first + step), now) for step in range(count)]

    def test_signalled_address_first(self) -> None:
        """Before a packet comes, what the SDP says is all that is known."""
        self.assertEqual(self.latch.destination, SIGNALLED)

    def test_holding_back(self) -> None:
        """A claimed address is not used while held back, the source of a packet is."""
        self.latch.holds_back = True
        self.assertIsNone(self.latch.destination)
        self.speak(PEER, 1, 0.0)
        self.assertEqual(self.latch.destination, PEER)

    def test_first_packet_latches(self) -> None:
        """Answers go to the source of the first packet (RFC 4961)."""
        self.assertEqual(self.speak(PEER, 1, 0.0), [True])
        self.assertEqual(self.latch.destination, PEER)

    def test_stranger_is_refused_while_the_peer_speaks(self) -> None:
        """Nobody takes over from a source that is heard, however much he sends."""
        for step in range(50):
            self.speak(PEER, 1, step * 0.02, first=step)
            self.assertEqual(self.speak(STRANGER, 1, step * 0.02, first=step), [False])
        self.assertEqual(self.latch.destination, PEER)

    def test_takes_over_after_silence(self) -> None:
        """A peer whose NAT gave it another port is followed once the old one is silent."""
        self.speak(PEER, 1, 0.0)
        accepted = self.speak(STRANGER, PROBATION, SILENCE)
        self.assertEqual(accepted, [False] * (PROBATION - 1) + [True])
        self.assertEqual(self.latch.destination, STRANGER)

    def test_not_a_moment_too_early(self) -> None:
        """Just before the silence is long enough nothing changes."""
        self.speak(PEER, 1, 0.0)
        self.assertEqual(self.speak(STRANGER, 20, SILENCE - 0.001), [False] * 20)

    def test_signalled_source_takes_over_at_once(self) -> None:
        """A stranger who was first loses to the address of the SDP, without any silence."""
        self.speak(STRANGER, 3, 0.0)
        accepted = self.speak(SIGNALLED, PROBATION, 0.01)
        self.assertEqual(accepted, [False] * (PROBATION - 1) + [True])
        self.assertEqual(self.latch.destination, SIGNALLED)

    def test_probation_wants_a_sequence(self) -> None:
        """Single packets, gaps and changing SSRCs never pass the probation."""
        self.speak(PEER, 1, 0.0)
        for step in range(0, 40, 2):
            self.assertEqual(self.speak(STRANGER, 1, 99.0, first=step), [False])
        for step in range(20):
            self.assertFalse(self.latch.accept(STRANGER, packet(step, ssrc=step), 99.0))

    def test_probation_is_for_one_source(self) -> None:
        """Two strangers do not add up."""
        self.speak(PEER, 1, 0.0)
        for step in range(20):
            source = ("192.0.2.66", 6666 + step % 2)
            self.assertFalse(self.latch.accept(source, packet(step), 99.0))

    def test_probation_over_the_roll_over(self) -> None:
        """65535 is followed by 0."""
        self.speak(PEER, 1, 0.0)
        self.assertTrue(self.speak(STRANGER, PROBATION, 99.0, first=0xFFFE)[-1])

    def test_new_sdp_address_opens_the_latch(self) -> None:
        """The signalling is trusted: a new address counts, and the next source latches."""
        self.speak(PEER, 1, 0.0)
        self.latch.signal(("198.51.100.1", 4002))
        self.assertEqual(self.latch.destination, ("198.51.100.1", 4002))
        self.assertEqual(self.speak(STRANGER, 1, 0.0), [True])

    def test_same_sdp_address_keeps_the_latch(self) -> None:
        """A re-INVITE that changes nothing does not send audio into a NAT."""
        self.speak(PEER, 1, 0.0)
        self.latch.signal(SIGNALLED)
        self.assertEqual(self.latch.destination, PEER)

    def test_wildcard_is_no_destination(self) -> None:
        """0.0.0.0 was how hold was signalled (RFC 3264 section 8.4); port 0 means no stream."""
        for address in (("0.0.0.0", 4000), ("::", 4000), ("198.51.100.1", 0), None):
            self.latch.signal(address)
            self.assertIsNone(self.latch.destination)
            self.assertIsNone(Latch(address).destination)


class SequenceTests(SynchronousTestCase):
    """Sequence numbers, after RFC 3550 appendix A.1."""

    def setUp(self) -> None:
        """Begin at 100."""
        self.tracker = SequenceTracker()
        self.assertEqual(self.tracker.judge(7, 100), RESTART)

    def test_in_order(self) -> None:
        """Nothing is lost where nothing is missing, over the roll-over too."""
        tracker = SequenceTracker()
        tracker.judge(7, 65530)
        self.assertEqual([tracker.judge(7, n & 0xFFFF) for n in range(65531, 65545)], [NEXT] * 14)
        self.assertEqual((tracker.lost, tracker.late, tracker.restarts), (0, 0, 0))

    def test_gap_is_lost(self) -> None:
        """What was skipped is lost."""
        self.assertEqual(self.tracker.judge(7, 105), NEXT)
        self.assertEqual(self.tracker.lost, 4)

    def test_late_is_not_lost(self) -> None:
        """What comes after all was not lost; more late ones than lost ones go below nothing."""
        self.tracker.judge(7, 102)
        self.assertEqual(self.tracker.judge(7, 101), LATE)
        self.assertEqual((self.tracker.lost, self.tracker.late), (0, 1))
        self.assertEqual(self.tracker.judge(7, 90), LATE)
        self.assertEqual((self.tracker.lost, self.tracker.late), (0, 2))

    def test_duplicate(self) -> None:
        """The same number again is a copy."""
        self.assertEqual(self.tracker.judge(7, 100), DUPLICATE)
        self.assertEqual(self.tracker.duplicates, 1)

    def test_limits_of_gap_and_lateness(self) -> None:
        """3000 forward is a gap, 100 back is late; beyond is another beginning."""
        self.assertEqual(self.tracker.judge(7, 3100), NEXT)
        self.assertEqual(self.tracker.judge(7, 3000), LATE)
        self.assertEqual(self.tracker.judge(7, 2999), RESTART)
        self.assertEqual(self.tracker.judge(7, 6000), RESTART)
        self.assertEqual((self.tracker.lost, self.tracker.restarts), (2998, 2))

    def test_other_ssrc(self) -> None:
        """Another SSRC is another sender, whatever its numbers (RFC 3550 section 8.2)."""
        self.assertEqual(self.tracker.judge(8, 101), RESTART)
        self.assertEqual(self.tracker.lost, 0)
