# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What is left of a server that is offered twice as many calls as it can take, and how it recovers.

The calls are offered for a bounded time. Good are those that were answered and ended within it; a
call that SIPp has to repeat is good all the same when it comes through in the end. Then SIPp stops
in the middle of everything, and single calls ask when the server answers at once again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks import load, rate
from benchmarks.caller import Caller
from benchmarks.results import Figure, Report
from benchmarks.servers import Place, Server
from benchmarks.system import running

#: Seconds within which a server that has recovered answers a call.
AT_ONCE = 0.1
#: Seconds after which it is given up.
PATIENCE = 60.0
#: Where the search for the capacity begins, and the seconds of its steps, when "rate" has not found
#: it before.
_START = 300
_STEP_SECONDS = 2


def run(report: Report, servers: Sequence[Server], place: Place, *, seconds: int) -> None:
    """
    Measure.

    :param seconds: for which the calls are offered.
    """
    report.begin(f"overload: twice the calls that a server can take, for {seconds} s")
    for server in servers:
        try:
            capacity = _find_capacity(report, server, place)
            _overload(report, server, place, capacity, seconds)
        except AssertionError as error:
            report.note(f"overload: {server.name}: {error}")


def _find_capacity(report: Report, server: Server, place: Place) -> float:
    """
    Return the calls a second that a server can take.

    :raises AssertionError: when it takes none.
    """
    known = report.figures.get(f"rate: {server.name}")
    if known is not None:
        return known.median
    steps = rate.search(server, place, _START, _STEP_SECONDS)
    clean = [step.rate for step in steps if step.is_clean]
    if not clean:
        raise AssertionError("no rate is clean")
    return float(max(clean))


def _overload(report: Report, server: Server, place: Place, capacity: float, seconds: int) -> None:
    offered = int(2 * capacity)
    with running(server.launch(place), place.folder) as process, Caller(process.port) as caller:
        caller.hang_up(*caller.call())
        found = load.overload(process.port, offered, seconds, place.folder)
        begin = time.monotonic()
        recovered = _recover(caller)
    refused = ", ".join(f"{times} x {code}" for code, times in sorted(found.refused.items()))
    remark = f"of {found.offered:.0f} offered; refused: {refused or 'none'}"
    name = f"overload: {server.name}"
    report.add(Figure(f"{name}, good calls", "calls/s", (found.good,), remark))
    kept = 100 * found.good / capacity
    report.add(Figure(f"{name}, kept", "%", (kept,), f"of {capacity:.0f} calls/s"))
    if recovered is None:
        report.note(f"{name}: it does not answer at once even {PATIENCE:.0f} s later")
    else:
        report.add(Figure(f"{name}, recovery", "s", (recovered - begin,)))


def _recover(caller: Caller) -> float | None:
    """Return when the server answers a call at once again."""
    end = time.monotonic() + PATIENCE
    while (begin := time.monotonic()) < end:
        try:
            number, tag = caller.call(limit=AT_ONCE)
        except AssertionError:
            continue
        caller.hang_up(number, tag)
        return begin
    return None
