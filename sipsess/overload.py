# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Overload control: what becomes of new calls while the queue in front of this side is long.

Theory of operation
    A server that is offered more than it can do finishes less than it could: what it answers is too
    late, is sent again, and is done twice (:rfc:`5390`). So the one thing that is measured is how
    long a new INVITE has waited in the queue of its socket before it was read. A short wait is a
    burst, or this side was busy for a moment; that goes by itself. A wait that stays above
    :data:`TARGET` for :data:`INTERVAL` is a standing queue (the idea of CoDel, :rfc:`8289`): more
    comes than can be done.

    From then on, a new INVITE that has waited longer than the target is refused with a 503 made of
    its bytes, which costs a small part of a call; one that has waited longer than :data:`PATIENCE`
    is dropped unread, as its sender is about to send it again. Copies of INVITEs that were taken,
    and everything within a call, are never refused: what was begun is finished. The first INVITE
    that has not waited ends it.

    Below the capacity nothing waits, so it never triggers there; and as refused calls leave room at
    once, the queue stays at the target and what is taken stays near the capacity.
"""

from __future__ import annotations

#: Seconds that a new INVITE may wait. Well below T1, so that nothing is sent twice, and less than
#: what the usual receive buffer of a system (200 KiB) holds when this side works at its limit.
TARGET = 0.05
#: Seconds for which the wait must be too long before anything is refused. Longer than a burst, or
#: a pause of this side, takes to go by.
INTERVAL = 0.5
#: Seconds after which a new INVITE is dropped rather than refused: near T1, its sender repeats it.
PATIENCE = 0.4
#: Retry-After of the refusal, in seconds. Short, as a proxy keeps all calls away for so long
#: (:rfc:`3261#section-21.5.4`, :rfc:`5390#section-5`).
RETRY_AFTER = 2
#: Seconds for which the ACK of a refusal may come: 64*T1.
LINGER = 32.0

#: What :meth:`OverloadControl.judge` says.
ADMIT = "ADMIT"
REFUSE = "REFUSE"
DROP = "DROP"


class OverloadControl:
    """The judge of new calls; it sees each INVITE outside a call, and counts nothing itself."""

    __slots__ = ("_since", "_until", "is_active", "is_calm")

    def __init__(self) -> None:
        #: Since when each INVITE has waited too long.
        self._since: float | None = None
        #: How long the ACK of a refusal may come.
        self._until = 0.0
        #: New calls are being refused.
        self.is_active = False
        #: Nothing has waited too long, nor was refused, lately: whoever has no new INVITE that has
        #: waited longer than the target need not ask.
        self.is_calm = True

    def judge(self, waited: float, now: float) -> str:
        """
        Say what becomes of a new INVITE.

        :param waited: seconds between its arrival and its being read.
        :param now: monotonic seconds.
        :return: :data:`ADMIT`, :data:`REFUSE` or :data:`DROP`.
        """
        if waited < TARGET:
            self._since = None
            self.is_active = False
            self.is_calm = now >= self._until
            return ADMIT
        self.is_calm = False
        if self._since is None:
            self._since = now
        if now - self._since >= INTERVAL:
            self.is_active = True
        if not self.is_active:
            return ADMIT
        self._until = now + LINGER
        return DROP if waited > PATIENCE else REFUSE
