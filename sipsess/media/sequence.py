# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Sequence numbers: what was lost, late or doubled, after :rfc:`3550#appendix-A.1`."""

from __future__ import annotations

#: The packet follows the newest one, perhaps with a gap.
NEXT = "next"
#: The packet is older than the newest one.
LATE = "late"
#: The packet is the newest one again.
DUPLICATE = "duplicate"
#: Another SSRC, or a jump that no network explains: the sender has started anew.
RESTART = "restart"

#: A larger gap is a restart, not a loss: one minute at 50 packets per second (MAX_DROPOUT, RFC
#: 3550 A.1).
MAX_DROPOUT = 3000
#: A packet that is older than this is a restart, not a late one (MAX_MISORDER, RFC 3550 A.1).
MAX_MISORDER = 100


class SequenceTracker:
    """Judges each packet of one stream by its SSRC and sequence number."""

    __slots__ = (
        *("_lost_before", "duplicates", "first", "has_begun", "highest", "late", "lost"),
        *("restarts", "ssrc"),
    )

    def __init__(self) -> None:
        #: Whether a packet has come.
        self.has_begun = False
        self._lost_before = 0
        #: Who sends.
        self.ssrc = 0
        #: The first sequence number since he began, and the highest; the upper bits count how
        #: often it rolled over.
        self.first = self.highest = 0
        #: Packets that were skipped and have not come late.
        self.lost = 0
        #: Packets that came after a newer one.
        self.late = 0
        #: Packets that came twice in a row.
        self.duplicates = 0
        #: How often the sender started anew; the first packet does not count.
        self.restarts = 0

    @property
    def expected(self) -> int:
        """Packets that the present sender has sent, by his numbers (:rfc:`3550#appendix-A.3`)."""
        return self.highest - self.first + 1 if self.has_begun else 0

    @property
    def lost_of_sender(self) -> int:
        """Those of them that never came."""
        return self.lost - self._lost_before

    def judge(self, ssrc: int, sequence: int) -> str:
        """
        Count one packet.

        :return: :data:`NEXT`, :data:`LATE`, :data:`DUPLICATE` or :data:`RESTART` (also for the
            first).
        """
        step = sequence - self.highest & 0xFFFF
        if not self.has_begun or ssrc != self.ssrc:
            return self._restart(ssrc, sequence)
        if 0 < step <= MAX_DROPOUT:
            self.lost += step - 1
            self.highest += step
            return NEXT
        if step == 0:
            self.duplicates += 1
            return DUPLICATE
        if step >= 0x10000 - MAX_MISORDER:
            self.late += 1
            self.lost -= self.lost > 0
            return LATE
        return self._restart(ssrc, sequence)

    def _restart(self, ssrc: int, sequence: int) -> str:
        self.restarts += self.has_begun
        self.has_begun = True
        self.ssrc, self._lost_before = ssrc, self.lost
        self.first = self.highest = sequence
        return RESTART
