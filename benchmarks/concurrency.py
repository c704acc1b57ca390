# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What calls cost that are held: memory, set-up of one more, the collector's pauses, idling, the end.

Twice: within a fresh process, where the calls begin slowly on a clock that we set, which gives the
memory of a call alone; and with the real servers, called as fast as they answer, where the memory
of the transactions comes on top.
"""

from __future__ import annotations

import re
import select
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from statistics import mean
from typing import TypeAlias

from benchmarks.call import IDLE, TAIL
from benchmarks.caller import Caller
from benchmarks.held import BLOCK, Held, measure_apart
from benchmarks.results import Curve, Figure, Report
from benchmarks.servers import Place, Server
from benchmarks.system import Process, running
from sipsess.collector import QUIET

#: Calls that come and go before anything is measured.
WARM_UP = 300
#: Seconds more than our server waits after the last call before it gives memory back.
SPARE = 5
#: Where the calls come from: a server may limit those of one host.
HOSTS = ("127.0.0.1", "127.0.0.2")

#: The calls that are held: who placed each, its number and its To tag.
Begun: TypeAlias = list[tuple[Caller, int, str]]
#: The points of a curve.
Points: TypeAlias = tuple[tuple[float, float], ...]


def run_held(report: Report, *, portless: int, with_ports: int, rounds: int) -> None:
    """
    Measure within fresh processes, in turns.

    :param portless: calls that are held without media.
    :param with_ports: calls that are held with an RTP port each.
    """
    report.begin("held: calls that are held, 100 a second on a clock of our own, in process")
    counts = {"signalling": (portless, False), "with RTP ports": (with_ports, True)}
    found: dict[str, list[Held]] = {name: [] for name in counts}
    for _ in range(rounds):
        for name, (count, has_ports) in counts.items():
            found[name].append(measure_apart(count, has_ports=has_ports))
    for name, rows in found.items():
        calls = rows[0].calls
        of = f"{calls} calls"
        report.add(Figure(f"held: {name}", "kB/call", tuple(map(_kilobytes, rows)), of))
        report.add(Figure(f"held: {name}, growth", "x", tuple(map(_growth, rows)), of))
        pauses = tuple(row.longest_pause * 1000 for row in rows)
        report.add(Figure(f"held: {name}, longest gc pause", "ms", pauses, of))
        shares = tuple(100 * row.all_pauses * 1e6 / sum(row.blocks) / BLOCK for row in rows)
        report.add(Figure(f"held: {name}, gc to set-up", "%", shares, of))
        kept = tuple((row.after - row.before) / 1024 / calls for row in rows)
        report.add(Figure(f"held: {name}, after the end", "kB/call", kept, of))
        points = tuple((float(BLOCK * n), cost) for n, cost in enumerate(rows[-1].blocks))
        report.add_curve(Curve(f"held: {name}", "calls held", "set-up of one more, us", points))


def _kilobytes(row: Held) -> float:
    return (row.held - row.before) / 1024 / row.calls


def _growth(row: Held) -> float:
    """Return what the last quarter of the calls cost, to what the first block cost."""
    last = row.blocks[-max(1, len(row.blocks) // 4) :]
    return mean(last) / row.blocks[0]


def run_servers(
    report: Report, servers: Sequence[Server], place: Place, counts: Mapping[str, int]
) -> None:
    """
    Measure with real servers.

    :param counts: calls to hold, by the name of the server.
    """
    report.begin("concurrency: calls that are held, as fast as the server answers")
    for server in servers:
        count = counts.get(server.name, 0)
        if not count:
            continue
        try:
            _hold(report, server, place, count)
        except AssertionError as error:
            report.note(f"concurrency: {server.name}: {error}")


def _hold(report: Report, server: Server, place: Place, count: int) -> None:
    """Hold calls at one server, then end them."""
    name = f"concurrency: {server.name}"
    of = f"{count} calls"
    launch = (server.launch_watched or server.launch)(place)
    with ExitStack() as stack:
        process = stack.enter_context(running(launch, place.folder))
        callers = [stack.enter_context(Caller(process.port, host)) for host in HOSTS]
        for _ in range(WARM_UP):
            callers[0].hang_up(*callers[0].call())
        before = process.resident()
        begun, costs, sizes = _begin(process, callers, count)
        full = (process.resident() - before) / 1024 / count
        select.select([], [], [], TAIL)
        held = (process.resident() - before) / 1024 / count
        report.add(Figure(f"{name}, held", "kB/call", (held,), f"{of}; {full:.1f} at the peak"))
        report.add(Figure(f"{name}, idle", "ms/s", (_idle(process),), of))
        costs_of_one = [cost for _, cost in costs]
        growth = mean(costs_of_one[-max(1, len(costs) // 4) :]) / costs_of_one[0]
        report.add(Figure(f"{name}, growth", "x", (growth,), of))
        report.add_curve(Curve(f"{name}, cost", "calls held", "set-up of one more, us", costs))
        report.add_curve(Curve(f"{name}, memory", "calls held", "kB in memory", sizes))
        for caller, number, tag in begun:
            caller.hang_up(number, tag)
        select.select([], [], [], QUIET + SPARE)
        kept = (process.resident() - before) / 1024 / count
        report.add(Figure(f"{name}, after the end", "kB/call", (kept,), of))
    found = re.search(r"gc: longest ([\d.]+) s", process.printed())
    if found is not None:
        pause = float(found[1]) * 1000
        report.add(Figure(f"{name}, longest gc pause", "ms", (pause,), of))


def _begin(process: Process, callers: Sequence[Caller], count: int) -> tuple[Begun, Points, Points]:
    """Place calls; return them, and the points of two curves: set-up cost and memory."""
    begun: Begun = []
    costs, sizes = [], []
    for caller in islice(cycle(callers), count // BLOCK):
        before = process.cpu()
        begun += [(caller, *caller.call()) for _ in range(BLOCK)]
        caller.settle()
        costs.append((float(len(begun) - BLOCK), (process.cpu() - before) * 1e6 / BLOCK))
        sizes.append((float(len(begun)), process.resident() / 1024))
    return begun, tuple(costs), tuple(sizes)


def _idle(process: Process) -> float:
    begin = process.cpu()
    select.select([], [], [], IDLE)
    return (process.cpu() - begin) * 1000 / IDLE
