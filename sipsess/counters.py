# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is counted instead of logged: one typed object, every name declared in it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Counters:
    """Plain integers, one object per core; reading them costs nothing."""

    messages_received: int = 0
    messages_sent: int = 0
    requests_received: int = 0
    responses_received: int = 0
    #: Copies of requests that a server transaction answered or absorbed.
    request_retransmissions_received: int = 0
    #: Copies of responses that a client transaction absorbed.
    response_retransmissions_received: int = 0
    #: What our own timers sent again.
    retransmissions_sent: int = 0
    transactions_begun: int = 0
    transactions_timed_out: int = 0
    sessions_begun: int = 0
    sessions_answered: int = 0
    sessions_ended: int = 0
    registrations_accepted: int = 0
    plugin_errors: int = 0
    #: Results of plugins that came after their deadline, or for a request that was over.
    late_verdicts: int = 0
    send_errors: int = 0
    rtp_received: int = 0
    rtp_sent: int = 0
    #: Dropped or refused, by reason code; :mod:`sipsess.reasons` says what each means.
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason_code: str) -> None:
        """Count one message, request or packet that was refused or dropped."""
        self.refused[reason_code] = self.refused.get(reason_code, 0) + 1

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """Return all counters by name, for printing and JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
