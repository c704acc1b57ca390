# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How much is measured: everything, what fits into a hundred seconds, or what the gate needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of one kind of run; a group whose numbers are zero is left out."""

    #: Who is compared when nobody is named.
    peers: tuple[str, ...]
    #: The groups that are measured when none is named.
    groups: tuple[str, ...]
    #: Rounds of the figures that are measured in turns.
    rounds: int
    #: Operations in process, as a share of the usual.
    scale: float
    #: Seconds of one round of calls, and whether the ends of their transactions are waited for.
    seconds: int
    has_tail: bool
    #: Seconds of one step of the search for a rate, and the searches.
    rate_seconds: int
    rate_rounds: int
    #: Calls held in process, without and with ports; with real servers, by name.
    held: tuple[int, int]
    held_rounds: int
    concurrency: Mapping[str, int] = field(default_factory=dict)
    #: Datagrams of each kind in a round.
    flood: int = 120
    #: Seconds of more calls than a server can take.
    overload_seconds: int = 45
    #: Streams, and frames of each in a round.
    streams: int = 20
    frames: int = 100
    #: Calls that are echoed at the same time, seconds of a round, and the rounds.
    media_calls: int = 100
    media_seconds: int = 2
    media_rounds: int = 1
    #: Calls a second for what a call costs; and for a busy server, if that is asked for.
    call_rate: int = 100
    busy_rate: int | None = None


_PYTHON = ("sippy", "aiosipua", "sipua")
_NEAR = ("ours", "ours-portless", "floor")

FULL = Plan(
    peers=(*_NEAR, "sipp", "kamailio", *_PYTHON),
    groups=("micro", "call", "rate", "concurrency", "flood", "overload", "rtp", "media"),
    rounds=5,
    scale=1.0,
    seconds=5,
    has_tail=True,
    busy_rate=400,
    rate_seconds=5,
    rate_rounds=2,
    held=(20_000, 8_000),
    held_rounds=3,
    concurrency={
        "ours": 5_000,
        "ours-portless": 19_500,
        "sippy": 2_000,
        "aiosipua": 2_000,
        "sipua": 2_000,
    },
    media_seconds=5,
    media_rounds=3,
)

#: At most a hundred seconds.
SHORT = Plan(
    peers=(*_NEAR, "sipp"),
    groups=("micro", "call", "concurrency", "flood", "rtp", "media"),
    rounds=3,
    scale=0.25,
    seconds=2,
    has_tail=False,
    rate_seconds=3,
    rate_rounds=1,
    held=(2_000, 2_000),
    held_rounds=1,
    flood=100,
    frames=50,
)

#: What has margins; more rounds than the short run, and nothing else.
GATE = Plan(
    peers=_NEAR,
    groups=("micro", "call", "concurrency", "flood", "rtp"),
    rounds=5,
    scale=0.25,
    seconds=2,
    has_tail=False,
    rate_seconds=3,
    rate_rounds=1,
    held=(2_000, 2_000),
    held_rounds=1,
    frames=50,
)
