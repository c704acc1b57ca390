# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The highest clean rate of each server: every call succeeds, and nothing is sent twice.

Each step starts the server anew, since many stay slow after they were overloaded. A step that is
not clean is tried once more, because this machine may have been busy with something else. SIPp
shares the machine: where it is the one that gives up, the figure is a lower bound and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load import place_calls
from benchmarks.results import Curve, Report
from benchmarks.servers import Place, Server
from benchmarks.system import running

#: Calls a second above which this machine's SIPp is what is measured.
CAP = 2400
#: Below it nothing is looked for.
_FLOOR = 20
#: How near the rates that were clean and not clean have to be.
_NEARNESS = 1.08
#: The factor between steps while only one side is known.
_STEP = 1.4
#: Seconds until calls that are not over have failed.
_PATIENCE = 6.0
#: Where a search begins when nothing is known of a server.
_START = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried."""

    rate: int
    is_clean: bool
    #: Microseconds of processor time of the server for one call.
    cost: float


def try_rate(server: Server, place: Place, rate: int, seconds: int) -> Step:
    """
    Call a new process of a server at one rate.

    :raises AssertionError: when it cannot be started.
    """
    with running(server.launch(place), place.folder) as process:
        warm = max(_FLOOR, rate // 4)
        place_calls(process.port, warm, warm, place.folder, patience=_PATIENCE)
        begin = process.cpu()
        calls = rate * seconds
        counted = place_calls(process.port, calls, rate, place.folder, patience=_PATIENCE)
        cost = (process.cpu() - begin) * 1e6 / calls
    return Step(rate, not counted.failed and not counted.retransmissions, cost)


def search(server: Server, place: Place, start: int, seconds: int) -> list[Step]:
    """
    Look for the highest clean rate.

    :return: all steps.
    :raises AssertionError: when the server cannot be started.
    """
    steps: list[Step] = []
    clean, dirty, rate = 0, 0, min(start, CAP)
    while _FLOOR <= rate <= CAP and not (clean and dirty and dirty <= clean * _NEARNESS):
        step = try_rate(server, place, rate, seconds)
        if not step.is_clean:
            steps.append(step)
            step = try_rate(server, place, rate, seconds)
        steps.append(step)
        if step.is_clean:
            clean = rate
        else:
            dirty = rate
        if clean and dirty:
            rate = (clean + dirty) // 2
        else:
            rate = int(rate * _STEP) if clean else int(rate / _STEP)
    return steps


def run(
    report: Report, servers: Sequence[Server], place: Place, *, seconds: int, rounds: int
) -> None:
    """
    Measure.

    :param seconds: of one step.
    :param rounds: searches for each server, in turns.
    """
    report.begin(f"rate: the highest clean rate, steps of {seconds} s")
    found: dict[str, list[float]] = {f"rate: {server.name}": [] for server in servers}
    steps: dict[str, list[Step]] = {f"rate: {server.name}": [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            name = f"rate: {server.name}"
            try:
                tried = search(server, place, _start(report, server, found[name]), seconds)
            except AssertionError as error:
                report.note(f"{name}: {error}")
                continue
            steps[name] += tried
            found[name].append(
                float(max((step.rate for step in tried if step.is_clean), default=0))
            )
    remarks = {name: "at least: SIPp's limit here" for name in found if _is_bound(found[name])}
    report.add_rounds("calls/s", found, remarks)
    for name, tried in steps.items():
        points = sorted((float(step.rate), step.cost) for step in tried if step.is_clean)
        report.add_curve(Curve(name, "calls a second", "processor time of a call, us", (*points,)))


def _start(report: Report, server: Server, found: list[float]) -> int:
    """Return where to begin: below what is known of the server."""
    if found:
        return int(found[-1] / _NEARNESS)
    cost = report.figures.get(f"call: {server.name}")
    return _START if cost is None else max(_FLOOR, int(0.5e6 / cost.median))


def _is_bound(rates: list[float]) -> bool:
    return any(rate * _STEP > CAP for rate in rates)
