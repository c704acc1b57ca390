# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Digits as RTP events, RFC 4733: both directions, and what the network does to them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media.rtp import MediaError
from sipsess.media.telephone_event import (
    DIGITS,
    EVENT_TIMEOUT,
    DigitReceiver,
    DigitSender,
    EventPacket,
    check_digits,
)

END = 0x80


def event(digit: str | int, duration: int = 160, end: bool = False) -> bytes:
    """Build a payload."""
    code = DIGITS.index(digit) if isinstance(digit, str) else digit
    return bytes([code, 10 | (END if end else 0)]) + duration.to_bytes(2, "big")


def send_all(sender: DigitSender, timestamp: int = 1000) -> list[EventPacket | None]:
    """Tick until the sender is done."""
    packets = []
    while not sender.is_done:
        packets.append(sender.next_packet(timestamp))
        timestamp += 160
    return packets


class SenderTests(SynchronousTestCase):
    """What leaves for each key."""

    def test_one_digit_packet_by_packet(self) -> None:
        """
        Duration grows, timestamp stays, the marker is on the first, E on the last three (2.5.1).
        """
        packets = send_all(DigitSender("5", duration=0.1, pause=0.08), 7000)
        sent = [packet for packet in packets if packet is not None]
        self.assertEqual([packet.payload[0] for packet in sent], [5] * 7)
        durations = [int.from_bytes(packet.payload[2:], "big") for packet in sent]
        self.assertEqual(durations, [160, 320, 480, 640, 800, 800, 800])
        self.assertEqual([packet.payload[1] & END for packet in sent], [0] * 4 + [END] * 3)
        self.assertEqual([packet.marker for packet in sent], [True] + [False] * 6)
        self.assertEqual({packet.timestamp for packet in sent}, {7000})

    def test_volume(self) -> None:
        """The level stands in the low six bits of the second byte (2.3.4)."""
        packet = DigitSender("1", volume=23).next_packet(0)
        assert packet is not None
        self.assertEqual(packet.payload[1], 23)

    def test_next_digit_begins_after_duration_and_pause(self) -> None:
        """The second event's timestamp is later by the first digit and its pause."""
        packets = send_all(DigitSender("12", duration=0.1, pause=0.08), 1000)
        first = {packet.timestamp for packet in packets if packet and packet.payload[0] == 1}
        second = {packet.timestamp for packet in packets if packet and packet.payload[0] == 2}
        self.assertEqual((first, second), ({1000}, {1000 + 9 * 160}))
        self.assertEqual(len(packets), 18)

    def test_long_pause_is_silent(self) -> None:
        """In the pause nothing leaves but the copies of the end."""
        packets = send_all(DigitSender("1", duration=0.04, pause=0.2))
        self.assertEqual([packet is not None for packet in packets], [True] * 4 + [False] * 8)

    def test_shortest(self) -> None:
        """Duration and pause of two frames each leave room for all three ends."""
        packets = send_all(DigitSender("11", duration=0.04, pause=0.04))
        ends = [packet.payload[1] & END for packet in packets if packet]
        self.assertEqual(ends, [0, END, END, END] * 2)

    def test_nothing_to_send(self) -> None:
        """An empty text is done at once, and ticks give nothing."""
        sender = DigitSender("")
        self.assertTrue(sender.is_done)
        self.assertIsNone(sender.next_packet(0))

    def test_all_keys(self) -> None:
        """The sixteen keys have the codes 0 to 15 (3.2), in either case."""
        codes = [
            packet.payload[0] for packet in send_all(DigitSender("0123456789*#aBcD")) if packet
        ]
        self.assertEqual(sorted(set(codes)), list(range(16)))

    def test_bad_values(self) -> None:
        """Other letters and impossible times are the caller's mistake, said at once."""
        error = self.assertRaises(LocalError, check_digits, "12x")
        self.assertIn("'X'", str(error))
        for wrong in ({"duration": 0.01}, {"duration": 9}, {"pause": 0}, {"pause": 61}):
            self.assertRaises(LocalError, DigitSender, "1", **wrong)
        self.assertRaises(LocalError, DigitSender, "1", volume=64)


class ReceiverTests(SynchronousTestCase):
    """What is made of packets."""

    def setUp(self) -> None:
        """Begin with a new receiver."""
        self.receiver = DigitReceiver()

    def feed(self, *packets: tuple[str | int, int, int, bool], now: float = 0.0) -> str:
        """Feed (digit, timestamp, duration, end) and return the digits."""
        return "".join(
            self.receiver.receive(event(digit, duration, end), timestamp, now)
            for digit, timestamp, duration, end in packets
        )

    def test_reported_once_at_the_end(self) -> None:
        """A digit is known at its first end packet; the two copies say nothing new (2.5.1.4)."""
        self.assertEqual(self.feed(("7", 50, 160, False), ("7", 50, 320, False)), "")
        self.assertTrue(self.receiver.is_open)
        self.assertEqual(self.feed(("7", 50, 480, True)), "7")
        self.assertFalse(self.receiver.is_open)
        self.assertEqual(self.feed(("7", 50, 480, True), ("7", 50, 480, True)), "")

    def test_lost_start(self) -> None:
        """One end packet is enough."""
        self.assertEqual(self.feed(("#", 50, 480, True)), "#")

    def test_same_key_twice(self) -> None:
        """Two presses are told apart by their timestamps alone."""
        self.assertEqual(self.feed(("1", 50, 480, True), ("1", 2000, 480, True)), "11")

    def test_lost_end_then_new_event(self) -> None:
        """A new event ends the one before."""
        self.assertEqual(self.feed(("1", 50, 160, False), ("2", 2000, 160, False)), "1")
        self.assertEqual(self.feed(("2", 2000, 320, True)), "2")

    def test_lost_end_then_end_of_the_next(self) -> None:
        """One packet may bring two digits, in their order."""
        self.assertEqual(self.feed(("1", 50, 160, False), ("2", 2000, 160, True)), "12")

    def test_lost_end_then_silence(self) -> None:
        """Without further packets the digit is reported after the time-out, once."""
        self.feed(("9", 50, 160, False), now=10.0)
        self.assertEqual(self.receiver.expire(10.0 + EVENT_TIMEOUT - 0.001), "")
        self.assertEqual(self.receiver.expire(10.0 + EVENT_TIMEOUT), "9")
        self.assertEqual(self.receiver.expire(11.0), "")
        self.assertEqual(self.feed(("9", 50, 480, True), now=11.0), "")

    def test_long_press_does_not_expire(self) -> None:
        """Each packet moves the time-out."""
        for step in range(100):
            self.feed(("3", 50, 160 * (step + 1), False), now=step * 0.05)
            self.assertEqual(self.receiver.expire(step * 0.05 + 0.05), "")
        self.assertEqual(self.feed(("3", 50, 16160, True), now=5.0), "3")

    def test_reordered_copies(self) -> None:
        """A packet of the middle that comes after the end opens nothing."""
        self.assertEqual(self.feed(("4", 50, 480, True), ("4", 50, 320, False)), "4")
        self.assertFalse(self.receiver.is_open)

    def test_old_event_late(self) -> None:
        """What comes from just before the newest event is late, and never reported twice."""
        self.assertEqual(self.feed(("1", 900, 480, True), ("2", 2000, 160, False)), "1")
        self.assertEqual(self.feed(("1", 900, 480, True), ("5", 500, 480, True)), "")
        self.assertEqual(self.feed(("2", 2000, 480, True), ("5", 600, 480, True)), "2")

    def test_restarted_clock(self) -> None:
        """A timestamp from far back is a sender with a new clock, not a late packet."""
        self.assertEqual(self.feed(("1", 500000, 480, True), ("2", 3, 480, True)), "12")

    def test_timestamp_rolls_over(self) -> None:
        """Timestamps count modulo 2**32 (RFC 3550 section 5.1)."""
        self.assertEqual(self.feed(("1", 0xFFFFFF00, 480, True), ("2", 700, 480, True)), "12")
        self.assertEqual(self.feed(("8", 0xFFFFFF80, 480, True)), "")

    def test_segments_of_a_very_long_press(self) -> None:
        """
        An event of more than 16 bits goes on under a new timestamp and is one digit (2.5.1.3).
        """
        self.assertEqual(self.feed(("6", 100, 0xFFFF, False), ("6", 100 + 0xFFFF, 160, False)), "")
        self.assertEqual(self.feed(("6", 100 + 0xFFFF, 320, True)), "6")
        self.assertEqual(self.receiver.duration, 0xFFFF + 320)
        self.assertEqual(self.feed(("6", 200000, 480, True)), "6")
        self.assertEqual(self.receiver.duration, 480)

    def test_no_segment_without_full_duration(self) -> None:
        """The same key later is a new press when the one before was short, or another key."""
        self.assertEqual(self.feed(("6", 100, 800, False), ("6", 100 + 0xFFFF, 160, True)), "66")
        self.assertEqual(self.feed(("6", 200000, 0xFFFF, False)), "")
        self.assertEqual(self.feed(("7", 200000 + 0xFFFF, 160, True)), "67")

    def test_length_out_of_order(self) -> None:
        """An event is as long as its longest packet, whichever came last."""
        self.feed(("5", 50, 480, False), ("5", 50, 320, False))
        self.assertEqual(self.receiver.flush(), "5")
        self.assertEqual(self.receiver.duration, 480)

    def test_flash_is_no_digit(self) -> None:
        """Event 16 is a hook flash: an event, but nobody pressed a digit."""
        self.assertEqual(self.feed((16, 50, 480, True)), "")

    def test_flush(self) -> None:
        """What is open can be ended from outside; without anything open that gives nothing."""
        self.assertEqual(self.receiver.flush(), "")
        self.feed(("5", 50, 160, False))
        self.assertEqual(self.receiver.flush(), "5")

    def test_short_payload(self) -> None:
        """Less than four bytes are refused; more are read as far as they are known."""
        error = self.assertRaises(MediaError, self.receiver.receive, b"\x01\x80\0", 1, 0.0)
        self.assertEqual(error.reason_code, "event-too-short")
        self.assertEqual(self.receiver.receive(event("1", 160, True) + b"\0\0\0\0", 1, 0.0), "1")

    @given(st.text(alphabet=DIGITS, min_size=1, max_size=12), st.integers(0, 2**32 - 1), st.data())
    def test_any_loss_that_leaves_one_packet_of_each(
        self, text: str, start: int, data: st.DataObject
    ) -> None:
        """Whatever is lost, a digit of which one packet came is reported once, in order."""
        groups: dict[int, list[EventPacket]] = {}
        sender, timestamp = DigitSender(text), start
        while not sender.is_done:
            packet = sender.next_packet(timestamp)
            if packet is not None:
                stamp = packet.timestamp & 0xFFFFFFFF
                groups.setdefault(stamp, []).append(packet)
            timestamp += 160
        receiver, heard = DigitReceiver(), ""
        for stamp, packets in groups.items():
            kept = data.draw(st.lists(st.sampled_from(packets), min_size=1, max_size=9))
            heard += "".join(receiver.receive(packet.payload, stamp, 0.0) for packet in kept)
        self.assertEqual(heard + receiver.flush(), text)

    def test_shuffled_within_each_digit(self) -> None:
        """Reordering inside an event changes nothing, for a hundred orders."""
        for seed in range(100):
            receiver, heard = DigitReceiver(), ""
            packets = [packet for packet in send_all(DigitSender("90#")) if packet]
            for code in (9, 0, 11):
                group = [packet for packet in packets if packet.payload[0] == code]
                random.Random(seed).shuffle(group)
                heard += "".join(receiver.receive(one.payload, one.timestamp, 0) for one in group)
            self.assertEqual(heard + receiver.flush(), "90#")
