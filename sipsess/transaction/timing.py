# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The constants of the transaction layer (:rfc:`3261#section-17.1.1.1` and its appendix A)."""

from __future__ import annotations

from dataclasses import dataclass

#: Server transactions at a time. On UDP one lives 32 s after its answer, and a call has two, so
#: this carries about 1800 calls per second; at 1.7 KB for each that is answered it costs 200 MB.
MAX_TRANSACTIONS = 120_000
#: Bytes of the requests of those that are not answered yet, 1.3 KB for a usual INVITE: 50,000 of
#: these, which take 250 MB when they are parsed. A few thousand requests of 64 KB shall not cost
#: more.
MAX_TRANSACTION_BYTES = 64 * 1024 * 1024

#: Of these, one peer may have as many: one host, or in IPv6 one network of 64 bits. It may be the
#: only trunk of a server, and still leaves room for others.
MAX_TRANSACTIONS_PER_PEER = MAX_TRANSACTIONS * 3 // 4

#: Within this time an INVITE is answered, by a 100 if by nothing else (:rfc:`3261#section-17.2.1`).
TRYING_DELAY = 0.2


@dataclass(frozen=True, slots=True)
class Timing:
    """The base values, in seconds, that all timers are derived from."""

    #: An estimate of the round-trip time.
    t1: float = 0.5
    #: The longest interval between retransmissions, but for Timer A.
    t2: float = 4.0
    #: How long a message may stay in the network.
    t4: float = 5.0

    @property
    def non_invite_trying(self) -> float:
        """
        When a non-INVITE request that nobody answered gets a 100 (:rfc:`4320#section-4.1`).

        Not before the client's Timer E stands at T2: after T1, 2*T1 and 4*T1.
        """
        return 7 * self.t1

    @property
    def timeout(self) -> float:
        """64*T1: Timers B, F, H, J, L and M."""
        return 64 * self.t1

    @property
    def timer_d(self) -> float:
        """Timer D on unreliable flows: longer than the peer's Timer H (appendix A)."""
        return 65 * self.t1


#: The values of the RFC.
DEFAULT_TIMING = Timing()
