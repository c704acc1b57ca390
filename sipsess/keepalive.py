# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Keep-alives: what makes a NAT between a peer and us remember the way.

A NAT forgets a UDP mapping after half a minute or so, and then our BYE reaches nobody. Whoever
needs a flow holds it; while anybody does, something small is sent on it now and then
(:rfc:`5626#section-4.4`). Connections are kept alive by who has opened them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import LocalError
from sipsess.flow import Flow, format_host
from sipsess.message import build_request
from sipsess.timers import Timer

if TYPE_CHECKING:
    from sipsess.core import SIPCore

#: Seconds between two keep-alives (:rfc:`5626#section-4.4.2`: 24 to 29).
INTERVAL = 29.0
#: The shortest and the longest interval that is taken.
MIN_INTERVAL, MAX_INTERVAL = 1.0, 3600.0
#: Flows that are kept alive at a time; more are not.
MAX_FLOWS = 10_000
#: What is sent: an empty line and another, which every receiver skips; an OPTIONS, which it
#: answers; or nothing.
CRLF, OPTIONS, OFF = "crlf", "options", "off"
KINDS = (CRLF, OPTIONS, OFF)

_PING = b"\r\n\r\n"


def check_keep_alive(kind: str, interval: float) -> None:
    """
    Check what shall be sent, and how often.

    :raises LocalError: for another kind, or an interval out of range.
    """
    if kind not in KINDS:
        raise LocalError(f"{kind!r} keeps nothing alive; there are: {', '.join(KINDS)}")
    if not MIN_INTERVAL <= interval <= MAX_INTERVAL:
        raise LocalError(f"{interval:g} s is out of range; write 1 to 3600 seconds")


class _Kept:
    """A flow, who holds it, and its timer."""

    __slots__ = ("holders", "timer")

    def __init__(self) -> None:
        self.holders: dict[object, None] = {}
        self.timer: Timer | None = None


class KeepAlives:
    """
    The flows of one core that are kept alive.

    :param core: that sends on them.
    """

    __slots__ = ("_core", "_flows", "_holders", "interval", "kind")

    def __init__(self, core: SIPCore) -> None:
        self._core = core
        self._flows: dict[Flow, _Kept] = {}
        self._holders: dict[object, Flow] = {}
        #: What is sent.
        self.kind = CRLF
        #: Seconds between two of them.
        self.interval = INTERVAL

    def __len__(self) -> int:
        """Return how many flows are kept alive."""
        return len(self._flows)

    def configure(self, kind: str, interval: float = INTERVAL) -> None:
        """
        Say what is sent from now on, and how often.

        :raises LocalError: for another kind, or an interval out of range.
        """
        check_keep_alive(kind, interval)
        self.kind, self.interval = kind, interval

    def hold(self, holder: object, flow: Flow) -> None:
        """Keep a flow alive until :meth:`release`; whoever held another one lets go of that."""
        if self._holders.get(holder) == flow:
            return
        self.release(holder)
        kept = self._flows.get(flow)
        if kept is None:
            if self.kind == OFF or flow.is_reliable or len(self._flows) >= MAX_FLOWS:
                return
            kept = self._flows[flow] = _Kept()
            self._start(flow, kept)
        kept.holders[holder] = None
        self._holders[holder] = flow

    def release(self, holder: object) -> None:
        """Hold nothing any more; harmless for one that holds nothing."""
        flow = self._holders.pop(holder, None)
        if flow is None:
            return
        kept = self._flows[flow]
        del kept.holders[holder]
        if not kept.holders:
            del self._flows[flow]
            self._core.timers.cancel(kept.timer)

    def _start(self, flow: Flow, kept: _Kept) -> None:
        core = self._core
        # RFC 5626 4.4: between 80 and 100 % of the time, so that not all come at once.
        delay = self.interval * core.ids.random.uniform(0.8, 1.0)
        kept.timer = core.timers.start(core.turn.now, delay, self._fire, flow)

    def _fire(self, flow: Flow, now: float) -> None:
        kept = self._flows[flow]
        self._start(flow, kept)
        if self.kind == CRLF:
            self._core.send(flow, _PING)
        elif self.kind == OPTIONS:
            self._core.turn.later(self._ask, flow)

    def _ask(self, flow: Flow) -> None:
        """Send an OPTIONS; whatever is answered, the way is open (:rfc:`3261#section-11`)."""
        core = self._core
        host, port = flow.remote
        uri = f"sip:{format_host(host)}:{port}"
        request = build_request(
            "OPTIONS",
            uri,
            from_=f"<sip:{format_host(flow.host)}>;tag={core.ids.tag()}",
            to=f"<{uri}>",
            call_id=core.ids.call_id(),
            cseq=1,
        )
        core.send_request(request, flow, core.ignoring_user)
