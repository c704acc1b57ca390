# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a stream tells its peer by RTCP, and what it learns of him (:rfc:`3550#section-6.4`).

The clock of our reports is the one that everything here runs on, which has no notion of the time of
day; :rfc:`3550#section-6.4.1` allows that, as only differences are made of it.
"""

from __future__ import annotations

from base64 import b64encode
from random import Random
from typing import NamedTuple

from sipsess.media.latch import ControlLatch, Latch
from sipsess.media.rtcp import Block, Report, SenderInfo
from sipsess.media.sender import Sender
from sipsess.media.sequence import SequenceTracker
from sipsess.media.statistics import JitterMeter

#: Seconds between two reports, before chance has its say (:rfc:`3550#section-6.2`); the bandwidth
#: of RTCP would allow more, with two parties and any codec of 8 kbit/s or better.
INTERVAL = 5.0
#: What chance makes of it: between these two (:rfc:`3550#section-6.3.1`; the divisor makes up for
#: timer reconsideration, which with two parties never happens).
_LEAST_SHARE = 0.5 / (2.718281828459045 - 1.5)
_MOST_SHARE = 1.5 / (2.718281828459045 - 1.5)
#: Bytes of chance in our name (:rfc:`7022#section-5`): 96 bits.
_NAME_BYTES = 12
#: Seconds; a peer who claims a longer round trip has a broken clock.
MAX_ROUND_TRIP = 60.0


def next_interval(chance: Random, *, is_first: bool) -> float:
    """Return the seconds until the next report; the first comes sooner."""
    share = chance.uniform(_LEAST_SHARE, _MOST_SHARE)
    return INTERVAL * share / 2 if is_first else INTERVAL * share


class RemoteView(NamedTuple):
    """What the peer says of our packets; each is ``None`` before he says it."""

    #: How many never came.
    lost: int | None = None
    #: Their interarrival jitter.
    jitter_ms: float | None = None
    #: The time to him and back.
    round_trip_ms: float | None = None


class Reporter:
    """
    Makes the reports of one stream, and reads the peer's.

    :param sender: who speaks here.
    :param tracker: knows what came.
    :param jitter: likewise.
    :param latch: of RTP.
    :param chance: our name comes from it.
    """

    __slots__ = (
        *("_cname", "_expected", "_gone", "_heard", "_jitter", "_lost", "_sender", "_sent"),
        *("_ssrc", "_tracker", "latch", "received", "remote"),
    )

    def __init__(
        self,
        sender: Sender,
        tracker: SequenceTracker,
        jitter: JitterMeter,
        latch: Latch,
        chance: Random,
    ) -> None:
        self._sender = sender
        self._tracker = tracker
        self._jitter = jitter
        #: Where reports come from and go.
        self.latch = ControlLatch(latch)
        #: The same in all reports, and says nothing about us.
        self._cname = b64encode(chance.getrandbits(8 * _NAME_BYTES).to_bytes(_NAME_BYTES)).decode()
        #: Packets sent at the last report but one, and at the last.
        self._sent = (0, 0)
        #: Of whom the last report told; what was expected of him by then, and what was lost.
        self._ssrc = self._expected = self._lost = 0
        #: Who sent the last sender's report, the middle of its clock, and when it came.
        self._heard = (0, 0, 0.0)
        #: Who has left, and how many packets he had sent by then.
        self._gone = (-1, 0)
        #: Reports that came.
        self.received = 0
        #: What he says of our packets.
        self.remote = RemoteView()

    def receive(self, report: Report, now: float) -> None:
        """Learn from a report of the peer."""
        self.received += 1
        if report.sender is not None:
            self._heard = (report.ssrc, report.sender.ntp >> 16 & 0xFFFFFFFF, now)
        for block in report.blocks:
            if block.ssrc == self._sender.ssrc:
                self._learn(block, now)
        if self._tracker.has_begun and self._tracker.ssrc in report.gone:
            self._gone = (self._tracker.ssrc, self._tracker.expected)

    def _learn(self, block: Block, now: float) -> None:
        round_trip = self.remote.round_trip_ms
        if block.last_report:
            passed = (_ntp(now) >> 16) - block.last_report - block.delay & 0xFFFFFFFF
            # Clocks that differ a little make a very short way less than nothing.
            seconds = 0.0 if passed >= 0x80000000 else passed / 0x10000
            if seconds <= MAX_ROUND_TRIP:
                round_trip = 1000 * seconds
        jitter = 1000 * block.jitter / self._sender.codec.clock_rate
        self.remote = RemoteView(block.lost, jitter, round_trip)

    def make(self, now: float, *, is_leaving: bool = False) -> bytes:
        """
        Return a report.

        :param is_leaving: whether it is the last one, which says so.
        """
        sender = self._sender
        # RFC 3550 6.4: who has sent since the last report but one sends a sender's report.
        info = None
        if sender.packets != self._sent[0]:
            timestamp = sender.timestamp_of(now)
            info = SenderInfo(_ntp(now), timestamp, sender.packets, sender.bytes)
        self._sent = (self._sent[1], sender.packets)
        gone = (sender.ssrc,) if is_leaving else ()
        return Report(sender.ssrc, info, self._blocks(now), self._cname, gone).pack()

    def _blocks(self, now: float) -> tuple[Block, ...]:
        """Say how the peer's packets come, if any do."""
        tracker = self._tracker
        ssrc, expected, lost = tracker.ssrc, tracker.expected, tracker.lost_of_sender
        if not tracker.has_begun or self._gone == (ssrc, expected):
            return ()
        if ssrc != self._ssrc or expected < self._expected:
            self._ssrc, self._expected, self._lost = ssrc, 0, 0
        new, new_lost = expected - self._expected, lost - self._lost
        self._expected, self._lost = expected, lost
        fraction = min(256 * max(new_lost, 0) // new, 255) if new > 0 else 0
        speaker, middle, when = self._heard
        if speaker != ssrc:
            middle, when = 0, now
        jitter = round(self._jitter.seconds * self._jitter.clock_rate)
        delay = round((now - when) * 0x10000)
        return (Block(ssrc, fraction, lost, tracker.highest, jitter, middle, delay),)


def _ntp(now: float) -> int:
    """Return seconds as 32.32 bits."""
    return round(now * 0x100000000)
