# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What must hold for the messages on a wire: each request gets exactly one final answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sipsess.flow import Address
from sipsess.message import Request, Response, parse
from sipsess.testing import TraceEvent
from sipsess.testing.network import DELIVERED, DUPLICATED
from tests.sim.weather import SIP

#: The statuses of refusals that say that our own side could not read what our own side sent.
WRONG = frozenset({400, 405, 406, 413, 414, 415, 416, 420, 421, 469, 482, 483, 484, 489, 493, 501})


#: How long a final answer is kept for copies of its request, 64*T1 (timers H, J and L).
KEPT = 32.0


class Place(NamedTuple):
    """A transaction, as both sides know it (:rfc:`3261#section-17.1.3`)."""

    client: Address
    server: Address
    branch: str
    method: str


def faults_of(trace: Iterable[TraceEvent]) -> list[str]:
    """Return what is wrong with the answers to the requests that arrived, one line each."""
    arrived: dict[Place, Request] = {}
    answers: dict[Place, dict[bytes, Response]] = {}
    answered_at: dict[Place, float] = {}
    for event in trace:
        if SIP not in (event.source[1], event.target[1]):
            continue
        message = parse(event.data)
        branch = message.via.branch or ""
        if isinstance(message, Response):
            place = Place(event.target, event.source, branch, message.cseq.method)
            is_final = message.status >= 200
            # A copy of the request that comes later may look new: its transaction is forgotten.
            if is_final and event.time < answered_at.setdefault(place, event.time) + KEPT:
                answers.setdefault(place, {})[event.data] = message
        elif message.method != "ACK" and event.fate in (DELIVERED, DUPLICATED):
            arrived[Place(event.source, event.target, branch, message.method)] = message
    faults = []
    for place, request in arrived.items():
        name = f"{request.cseq} of {place.client[0]}"
        finals = answers.get(place, {})
        if len(finals) != 1:
            statuses = sorted(final.status for final in finals.values())
            faults.append(f"{name} got {len(finals)} final answers {statuses}")
        faults += [f"{name}: {fault}" for final in finals.values() if (fault := _fault_in(final))]
    return faults


def _fault_in(response: Response) -> str:
    """Return what is odd about a response between two sides that speak the same."""
    if response.status in WRONG:
        return f"{response.status} {response.reason}"
    return ""
