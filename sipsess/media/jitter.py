# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The jitter buffer: packets come when the network brings them, and leave when they are due.

Theory of operation
    The *playhead* is the RTP timestamp that the next tick plays; each tick moves it by one frame,
    whether anything is there or not, so the delay does not depend on what was lost. The *slack* of
    a packet is how long before its tick it came; one that is negative came too late.

    The delay follows the slacks of the last :data:`WINDOW` packets. When more than one in
    :data:`LATE_SHARE` was too late the playhead is held for as many frames as they needed; when
    all but these came more than :data:`SPARE` too early it skips one frame. The same rule makes up
    for a sender whose clock is slower or faster than ours: the slacks of all packets shrink or
    grow slowly, and a frame is held or skipped now and then.

    A timestamp that no network explains, another sender, or a talk-spurt after a pause
    (:rfc:`3551#section-4.1`) sets the playhead anew. The delay never exceeds :data:`MAX_DELAY`:
    what waits longer is given up.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from math import ceil
from typing import NamedTuple

from sipsess.media.codec import Codec
from sipsess.media.codecs import FRAME_TIME
from sipsess.media.rtp import RTPPacket

#: Seconds of delay to begin with, and the most there may be: people notice more than that.
FIRST_DELAY = 0.04
MAX_DELAY = 0.3
#: Seconds by which a timestamp may be ahead or behind; beyond them the sender's clock has jumped.
MAX_AHEAD = 1.0
MAX_BEHIND = 0.5
#: Packets whose slack is remembered: three seconds of the usual ones.
WINDOW = 150
#: One of so many packets may be too late.
LATE_SHARE = 50
#: Seconds by which all others may be too early.
SPARE = 0.03
#: Packets that may wait; 300 ms are fifteen of the usual ones, or sixty of 5 ms.
MAX_PACKETS = 64
#: Seconds without a packet after which one with the marker begins a talk-spurt.
PAUSE = 0.06

#: What a tick plays: the next frame; none, so that the delay grows by one; or two in one.
PLAY = "play"
HOLD = "hold"
SKIP = "skip"


class Waiting(NamedTuple):
    """A packet that waits for its tick."""

    #: Its timestamp, which does not roll over.
    timestamp: int
    sequence: int
    codec: Codec
    payload: bytes


class JitterBuffer:
    """
    The packets of one sender.

    :param clock_rate: of the RTP timestamps, in Hz.
    """

    __slots__ = (
        "_hold",
        "_last_put",
        "_playhead",
        "_slacks",
        "_ticked",
        "_waiting",
        "clock_rate",
        "frame",
        "late",
        "position",
        "restarts",
    )

    def __init__(self, clock_rate: int) -> None:
        #: Of the timestamps, in Hz.
        self.clock_rate = clock_rate
        #: Timestamp units of one tick.
        self.frame = round(clock_rate * FRAME_TIME)
        self._waiting: list[Waiting] = []
        self._playhead = 0
        self._ticked: float | None = None
        self._last_put = 0.0
        self._hold = 0
        self._slacks: deque[float] = deque(maxlen=WINDOW)
        #: The timestamp of what is decoded next; ahead of the playhead by what waits as PCM.
        self.position = 0
        #: Packets whose tick was over when they came.
        self.late = 0
        #: How often the playhead was set anew; the first time counts.
        self.restarts = 0

    def __len__(self) -> int:
        """How many packets wait."""
        return len(self._waiting)

    @property
    def delay(self) -> float:
        """Seconds from the playhead to the end of what waits."""
        if not self._waiting:
            return 0.0
        return (self._waiting[-1].timestamp + self.frame - self._playhead) / self.clock_rate

    def restart(self) -> None:
        """Forget everything: the next packet sets the playhead."""
        self._ticked = None

    def put(self, codec: Codec, packet: RTPPacket, *, is_newest: bool, now: float) -> None:
        """
        Let a packet wait.

        :param codec: of its payload.
        :param packet: not a duplicate of the one before.
        :param is_newest: whether no later one has come yet; an old one sets no playhead.
        :param now: when it came.
        """
        # RFC 3550 5.1: timestamps roll over; what lies behind is less than half the circle away.
        ahead = (packet.timestamp - self._playhead + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        slack = self._slack(ahead, now)
        is_strange = slack is None or not -MAX_BEHIND <= slack <= MAX_AHEAD
        is_spurt = packet.marker and not self._waiting and now - self._last_put > PAUSE
        if is_strange or (is_spurt and is_newest):
            if not is_newest and slack is not None:
                self.late += 1
                return
            self._begin(packet.timestamp, now)
            ahead, slack = self._first_delay, FIRST_DELAY
        self._last_put = now
        self._insert(Waiting(self._playhead + ahead, packet.sequence, codec, packet.payload))
        self._follow(slack or 0.0)

    def tick(self, now: float) -> str:
        """Let one frame of 20 ms pass; return :data:`PLAY`, :data:`HOLD` or :data:`SKIP`."""
        self._ticked = now
        if self._hold:
            self._hold -= 1
            return HOLD
        skips = len(self._slacks) == WINDOW and self._worst > SPARE
        if skips:
            self._shift(-1)
        self._playhead += 2 * self.frame if skips else self.frame
        return SKIP if skips else PLAY

    def take(self) -> Waiting | None:
        """Return the packet that is due at :attr:`position`, or ``None``; drop what is older."""
        while self._waiting:
            head = self._waiting[0]
            if head.timestamp > self.position + self.frame // 2:
                return None
            del self._waiting[0]
            if head.timestamp >= self.position - self.frame // 2:
                return head
            self.late += 1
        return None

    def peek(self) -> Waiting | None:
        """Return the first that waits."""
        return self._waiting[0] if self._waiting else None

    @property
    def _first_delay(self) -> int:
        return round(FIRST_DELAY * self.clock_rate)

    @property
    def _worst(self) -> float:
        """The slack that all packets have but the few that may be late."""
        return sorted(self._slacks)[len(self._slacks) // LATE_SHARE]

    def _slack(self, ahead: int, now: float) -> float | None:
        if self._ticked is None:
            return None
        return ahead / self.clock_rate + self._ticked + FRAME_TIME - now

    def _begin(self, timestamp: int, now: float) -> None:
        """Set the playhead so that this packet waits as long as the first of all."""
        self.restarts += 1
        self._waiting.clear()
        self._slacks.clear()
        self._hold = 0
        self._ticked = now - FRAME_TIME
        self._playhead = self.position = timestamp - self._first_delay

    def _insert(self, waiting: Waiting) -> None:
        if any(other.timestamp == waiting.timestamp for other in self._waiting):
            return
        insort(self._waiting, waiting, key=_timestamp_of)
        if len(self._waiting) > MAX_PACKETS:
            del self._waiting[0]
        over = waiting.timestamp - round(MAX_DELAY * self.clock_rate) - self._playhead
        if over > 0:
            self._playhead += over
            self.position = max(self.position, self._playhead)
            self._slacks.clear()

    def _follow(self, slack: float) -> None:
        """Hold the playhead when too many packets are too late."""
        self._slacks.append(slack)
        if slack >= 0 or self._worst >= 0:
            return
        frames = ceil(-self._worst / FRAME_TIME)
        room = MAX_DELAY - max(self._slacks)
        frames = min(frames, int(room / FRAME_TIME))
        self._hold += frames
        self._shift(frames)

    def _shift(self, frames: int) -> None:
        """Let what is remembered be as if the delay had been larger all the time."""
        more = frames * FRAME_TIME
        self._slacks = deque((slack + more for slack in self._slacks), WINDOW)


def _timestamp_of(waiting: Waiting) -> int:
    return waiting.timestamp
