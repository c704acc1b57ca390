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

    __slots__ = ("_has_begun", "_newest", "_ssrc", "duplicates", "late", "lost", "restarts")

    def __init__(self) -> None:
        self._has_begun = False
        self._ssrc = 0
        self._newest = 0
        #: Packets that were skipped and have not come late.
        self.lost = 0
        #: Packets that came after a newer one.
        self.late = 0
        #: Packets that came twice in a row.
        self.duplicates = 0
        #: How often the sender started anew; the first packet does not count.
        self.restarts = 0

    def judge(self, ssrc: int, sequence: int) -> str:
        """
        Count one packet.

        :return: :data:`NEXT`, :data:`LATE`, :data:`DUPLICATE` or :data:`RESTART` (also for the
            first).
        """
        step = sequence - self._newest & 0xFFFF
        if not self._has_begun or ssrc != self._ssrc:
            return self._restart(ssrc, sequence)
        if 0 < step <= MAX_DROPOUT:
            self.lost += step - 1
            self._newest = sequence
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
        self.restarts += self._has_begun
        self._has_begun = True
        self._ssrc, self._newest = ssrc, sequence
        return RESTART
