# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Where to send (symmetric RTP), and what sequence numbers say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.latch import PROBATION, SILENCE, UNPROVEN_PACKETS, ControlLatch, Latch
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


class UnprovenTests(SynchronousTestCase):
    """Addresses that a peer only claims get no more than so much."""

    def setUp(self) -> None:
        """Begin with an address in an SDP, of a host that has shown nothing."""
        self.latch = Latch(SIGNALLED)

    def send(self, count: int) -> int:
        """Want to send so many packets; return how many may leave."""
        return sum(self.latch.spend() for _ in range(count))

    def claim(self, number: int) -> None:
        """Take an SDP with another address."""
        self.latch.signal((f"203.0.113.{number}", 4000))

    def test_bound(self) -> None:
        """A victim's address gets ten seconds of audio, and no more."""
        self.assertEqual(self.send(2 * UNPROVEN_PACKETS), UNPROVEN_PACKETS)

    def test_many_claims(self) -> None:
        """Claims add up over the life of the stream, whoever they are."""
        self.assertEqual(self.send(200), 200)
        for number in range(20):
            self.claim(number)
            self.send(200)
        self.assertEqual(self.send(1), 0)

    def test_proof(self) -> None:
        """A packet from the address lifts the bound, and what went there does not count."""
        self.send(UNPROVEN_PACKETS)
        self.assertTrue(self.latch.accept(SIGNALLED, packet(1), 0.0))
        self.assertEqual(self.send(2000), 2000)
        self.claim(1)
        self.assertEqual(self.send(2000), UNPROVEN_PACKETS)

    def test_proof_of_another(self) -> None:
        """A packet from elsewhere shows where the peer is, and nothing about the claim."""
        self.send(UNPROVEN_PACKETS)
        self.assertTrue(self.latch.accept(PEER, packet(1), 0.0))
        self.assertEqual(self.send(2000), 2000)
        self.claim(1)
        self.assertEqual(self.send(1), 0)

    def test_host_that_hears_us(self) -> None:
        """The host of the signalling has shown that it hears us: any port of it will do."""
        self.latch.proven_host = SIGNALLED[0]
        self.assertEqual(self.send(2000), 2000)
        self.claim(1)
        self.assertEqual(self.send(2000), UNPROVEN_PACKETS)

    def test_moves(self) -> None:
        """A peer that moves from address to address, and speaks from each, is never cut off."""
        for number in range(100):
            self.claim(number)
            self.assertEqual(self.send(20), 20)
            self.latch.accept((f"203.0.113.{number}", 4000), packet(number), float(number))
            self.assertEqual(self.send(1000), 1000)

    def test_late_packet_of_before(self) -> None:
        """A packet that was on its way from the old address gives way to the new one at once."""
        self.latch.accept(SIGNALLED, packet(1), 0.0)
        self.claim(1)
        self.assertTrue(self.latch.accept(SIGNALLED, packet(2), 0.1))
        for number in range(PROBATION):
            self.latch.accept(("203.0.113.1", 4000), packet(3 + number), 0.2)
        self.assertEqual(self.latch.destination, ("203.0.113.1", 4000))


class ControlLatchTests(SynchronousTestCase):
    """Where RTCP goes, and from where it is taken."""

    def setUp(self) -> None:
        """Begin with what the SDP says."""
        self.latch = Latch(SIGNALLED)
        self.latch.proven_host = SIGNALLED[0]
        self.control = ControlLatch(self.latch)

    def test_shared_port(self) -> None:
        """With rtcp-mux RTCP goes and comes where RTP does (RFC 5761)."""
        for peer in (SIGNALLED, PEER):
            self.assertEqual(self.control.destination, peer)
            self.assertTrue(self.control.accept(peer))
            self.assertFalse(self.control.accept((peer[0], peer[1] + 1)))
            self.latch.accept(PEER, packet(1), 0.0)

    def test_port_of_its_own(self) -> None:
        """It goes to the signalled port until it has come from another one of the same host."""
        self.control.signalled = (SIGNALLED[0], 4001)
        self.assertEqual(self.control.destination, (SIGNALLED[0], 4001))
        self.assertTrue(self.control.accept((SIGNALLED[0], 5555)))
        self.assertFalse(self.control.accept((STRANGER[0], 4001)))
        self.assertEqual(self.control.destination, (SIGNALLED[0], 5555))

    def test_behind_a_nat(self) -> None:
        """Another host than the one that audio comes from gets nothing and is not believed."""
        self.control.signalled = (SIGNALLED[0], 4001)
        self.latch.accept(PEER, packet(1), 0.0)
        self.assertIsNone(self.control.destination)
        self.assertFalse(self.control.accept((SIGNALLED[0], 4001)))
        self.assertTrue(self.control.accept((PEER[0], 9001)))
        self.assertEqual(self.control.destination, (PEER[0], 9001))

    def test_nobody(self) -> None:
        """Where nobody is known nothing goes and nobody is believed."""
        for signalled in (None, (SIGNALLED[0], 4001)):
            self.control.signalled = signalled
            self.latch.signal(None)
            self.assertIsNone(self.control.destination)
            self.assertFalse(self.control.accept(STRANGER))

    def test_claimed_address(self) -> None:
        """To an address that was only claimed no report goes, however few they are."""
        self.latch.proven_host = None
        self.assertIsNone(self.control.destination)
        self.latch.accept(SIGNALLED, packet(1), 0.0)
        self.assertEqual(self.control.destination, SIGNALLED)


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
