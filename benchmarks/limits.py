# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Where we want to be, and what the gate lets pass.

Only ratios within one run are limited, and memory, which no busy machine changes. A margin is far
from what is measured when all is well: it is crossed when something has become worse by a half, not
when the machine has a bad day. When a speed-up lands, the margin follows.
"""

from __future__ import annotations

from benchmarks.flood import NEW_CALL
from benchmarks.results import Limit, Margin

FLOOR_MARGIN = Margin(18.0, "5 on a busy machine, 11 on a quiet one, where the floor gains most")
PORTS_MARGIN = Margin(1.8, "1.1 to 1.3: what a socket costs is the system's")
COPY_MARGIN = Margin(0.3, "0.05 to 0.19: answered from stored bytes; parsing would double it")
RUBBISH_MARGIN = Margin(0.7, "0.05 to 0.37: what leads nowhere must not cost what a call costs")
IDLE_MARGIN = Margin(1.1, "1.0, in turns within one process: it moves by a twentieth")
HEADER_MARGIN = Margin(1.15, "1.02, in turns within one process: it moves by a twentieth")
ECHO_MARGIN = Margin(4.5, "1.3 to 2.5: many packets are sent at one wake-up, or few")
SIGNALLING_MARGIN = Margin(13.0, "9.0 of 2,000 calls, the same in each run")
MEDIA_MARGIN = Margin(24.0, "11.1 of 2,000 calls, the same in each run: the target leaves enough")
LEFT_MARGIN = Margin(
    5.0, "2.3 of 2,000 calls; 9 when small things that outlive a call keep its memory"
)
GROWTH_MARGIN = Margin(1.35, "1.0; with Python's own settings of the collector 1.45")
PAUSE_MARGIN = Margin(75.0, "1 to 7; with Python's own settings of the collector 150")


def _flood(kind: str, target: float, margin: Margin) -> Limit:
    return Limit(f"{kind}, to a new INVITE", f"flood: {kind}", target, NEW_CALL, margin)


#: What is limited.
LIMITS = (
    Limit("call to sippy's", "call: ours-portless", 0.20, "call: sippy"),
    Limit("call to aiosipua's", "call: ours-portless", 0.45, "call: aiosipua"),
    Limit("call to the floor", "call: ours-portless", 4.0, "call: floor", FLOOR_MARGIN),
    Limit("RTP ports, to none", "call: ours", 1.5, "call: ours-portless", PORTS_MARGIN),
    Limit("busy: call to sippy's", "busy: ours-portless", 0.20, "busy: sippy"),
    Limit("busy: call to aiosipua's", "busy: ours-portless", 0.45, "busy: aiosipua"),
    Limit("busy: call to the floor", "busy: ours-portless", 4.0, "busy: floor"),
    Limit("sippy's clean rate to ours", "rate: sippy", 0.25, "rate: ours"),
    _flood("copy of an INVITE", 0.2, COPY_MARGIN),
    _flood("copy of a BYE", 0.2, COPY_MARGIN),
    _flood("no SIP at all", 0.5, RUBBISH_MARGIN),
    _flood("INVITE without CSeq", 0.5, RUBBISH_MARGIN),
    _flood("response of no transaction", 0.5, RUBBISH_MARGIN),
    _flood("ACK of no call", 0.5, RUBBISH_MARGIN),
    _flood("BYE of no call", 0.5, RUBBISH_MARGIN),
    Limit(
        "supplement that does nothing",
        "micro: call, and one that does nothing",
        1.01,
        "micro: call, shipped supplements",
        IDLE_MARGIN,
    ),
    Limit(
        "supplement that adds a header",
        "micro: call, and one that adds a header",
        1.05,
        "micro: call, shipped supplements",
        HEADER_MARGIN,
    ),
    Limit("echo to the bare loop", "rtp: ours", 2.5, "rtp: floor", ECHO_MARGIN),
    Limit("jitter of 100 echoes, ms", "media: ours, jitter p99", 5.0),
    Limit("late frames of 100 echoes", "media: ours, late", 0.0),
    Limit("held call, signalling, kB", "held: signalling", 8.0, None, SIGNALLING_MARGIN),
    Limit("held call, RTP port, kB", "held: with RTP ports", 24.0, None, MEDIA_MARGIN),
    Limit("left of a held call, kB", "held: signalling, after the end", 0.3, None, LEFT_MARGIN),
    Limit("set-up of the last call", "held: signalling, growth", 1.1, None, GROWTH_MARGIN),
    Limit("gc pause, ms", "held: signalling, longest gc pause", 50.0, None, PAUSE_MARGIN),
)
