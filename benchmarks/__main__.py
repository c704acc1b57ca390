# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
``python -m benchmarks``: what sipsess costs, compared with others in the same run.

Compare figures of one run only, and believe a difference only when the ranges do not overlap.
``docs/performance.rst`` says how each figure is measured and what it does not say.
"""

from __future__ import annotations

import argparse
import cProfile
import datetime
import json
import os
import pathlib
import platform
import pstats
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable

import twisted
from benchmarks import call, concurrency, flood, media, micro, overload, plots, rate, rtp
from benchmarks.environments import DEFAULT_CACHE, MissingError
from benchmarks.limits import LIMITS
from benchmarks.plan import FULL, GATE, SHORT, Plan
from benchmarks.results import Judgement, Report, format_judgement
from benchmarks.servers import SERVERS, Place, Server, require
from sipsess import __version__
from tests.interop.tools import ROOT

#: Where the gate leaves its figures.
GATE_FILE = ROOT / ".ci" / "work" / "logs" / "benchmark.json"


class Run:
    """
    One run: what is measured, with whom, and the report.

    :param plan: how much.
    :param servers: who is installed.
    """

    def __init__(self, plan: Plan, servers: list[Server], place: Place, report: Report) -> None:
        self.plan = plan
        self.servers = servers
        self.place = place
        self.report = report

    def measure(self, groups: Iterable[str]) -> None:
        """Measure groups of figures, in the order that the later ones need."""
        for group in GROUPS:
            if group in groups:
                try:
                    GROUPS[group](self)
                except MissingError as error:
                    self.report.note(f"{group}: skipped, {error}")

    def micro(self) -> None:
        """Measure pieces, and calls in process."""
        micro.run(self.report, rounds=self.plan.rounds, scale=self.plan.scale)

    def call(self) -> None:
        """Measure what a call costs each server."""
        require("sipp", "sip-tester")
        rates = {"call": self.plan.call_rate, "busy": self.plan.busy_rate}
        for group, number in rates.items():
            if number is not None:
                call.run(
                    self.report,
                    self.servers,
                    self.place,
                    seconds=self.plan.seconds,
                    rate=number,
                    rounds=self.plan.rounds,
                    has_tail=self.plan.has_tail,
                    group=group,
                )

    def rate(self) -> None:
        """Search the highest clean rate of each server."""
        require("sipp", "sip-tester")
        rate.run(
            self.report,
            self.servers,
            self.place,
            seconds=self.plan.rate_seconds,
            rounds=self.plan.rate_rounds,
        )

    def concurrency(self) -> None:
        """Measure calls that are held."""
        portless, with_ports = self.plan.held
        concurrency.run_held(
            self.report,
            portless=portless,
            with_ports=with_ports,
            rounds=self.plan.held_rounds,
        )
        if self.plan.concurrency:
            counts = self.plan.concurrency
            concurrency.run_servers(self.report, self.servers, self.place, counts)

    def flood(self) -> None:
        """Measure what other datagrams cost."""
        flood.run(self.report, self.place, number=self.plan.flood, rounds=self.plan.rounds)

    def overload(self) -> None:
        """Offer more calls than a server can take."""
        require("sipp", "sip-tester")
        # Those that answer calls in Python: the others need more calls than SIPp can make here.
        slow = [item for item in self.servers if item.name not in ("floor", "sipp", "kamailio")]
        overload.run(self.report, slow, self.place, seconds=self.plan.overload_seconds)

    def rtp(self) -> None:
        """Measure what a packet of audio costs."""
        plan = self.plan
        streams, frames, rounds = plan.streams, plan.frames, plan.rounds
        rtp.run(self.report, self.place, streams=streams, frames=frames, rounds=rounds)

    def media(self) -> None:
        """Measure how evenly many calls speak."""
        plan = self.plan
        calls, seconds = plan.media_calls, plan.media_seconds
        media.run(self.report, self.place, calls=calls, seconds=seconds, rounds=plan.media_rounds)


#: What can be measured, in this order.
GROUPS: dict[str, Callable[[Run], None]] = {
    "micro": Run.micro,
    "call": Run.call,
    "rate": Run.rate,
    "concurrency": Run.concurrency,
    "flood": Run.flood,
    "overload": Run.overload,
    "rtp": Run.rtp,
    "media": Run.media,
}


#: What begins the names of figures, where that is not the group that measures them.
MEASURED_BY = {"held": "concurrency", "busy": "call"}


def profile(count: int) -> None:
    """Print where the time of a basic call in process goes."""
    calls = micro.make_calls()
    calls.operate(count // 4)
    profiler = cProfile.Profile()
    profiler.enable()
    calls.operate(count)
    profiler.disable()
    print(f"{count} basic calls in process:")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(40)


def find_servers(names: Iterable[str], place: Place, report: Report) -> list[Server]:
    """Return those that are installed; the others are told, with what to install."""
    found = []
    for name in names:
        server = SERVERS[name]
        try:
            server.launch(place)
        except MissingError as error:
            report.note(f"{name}: skipped, {error}")
            continue
        report.about[name] = server.version(place)
        found.append(server)
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join([*GROUPS, "all"])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{names}; all when left out")
    parser.add_argument("--short", action="store_true", help="at most a hundred seconds")
    parser.add_argument("--gate", action="store_true", help="fail when a ratio is over its margin")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--plot", type=pathlib.Path, metavar="DIR", help="write SVG files here")
    names = ", ".join(SERVERS)
    parser.add_argument("--peers", metavar="A,B", help=f"whom to compare, of {names}")
    parser.add_argument(
        "--cache",
        type=pathlib.Path,
        metavar="DIR",
        default=DEFAULT_CACHE,
        help="where the peers' environments are kept (default: .ci/work/benchmark-peers)",
    )
    parser.add_argument(
        "--profile", action="store_true", help="instead show where the time of a call goes"
    )
    options = parser.parse_args()
    options.peers = options.peers.split(",") if options.peers else []
    for word, known in ((options.groups, [*GROUPS, "all"]), (options.peers, SERVERS)):
        unknown = [item for item in word if item not in known]
        if unknown:
            parser.error(f"there is no {unknown[0]!r}; there are: {', '.join(known)}")
    return options


def describe(report: Report) -> None:
    """Say what is measured, and where."""
    report.about |= {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "sipsess": __version__,
        "python": platform.python_version(),
        "twisted": twisted.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }


def main() -> int:
    """Do what the command line says; return the exit status."""
    options = parse_arguments()
    if options.profile:
        profile(2000)
        return 0
    # Who ends us, such as "timeout", ends the servers, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    plan = GATE if options.gate else SHORT if options.short else FULL
    groups = options.groups or plan.groups
    report = Report(lambda line: print(line, flush=True))
    if options.plot is not None:
        try:
            plots.check()
        except MissingError as error:
            print(error, file=sys.stderr)
            return 2
    describe(report)
    with tempfile.TemporaryDirectory(prefix="sipsess-benchmark-") as folder:
        place = Place(pathlib.Path(folder), options.cache)
        servers = find_servers(options.peers or plan.peers, place, report)
        report.write(", ".join(f"{name} {text}" for name, text in report.about.items()))
        run = Run(plan, servers, place, report)
        run.measure(GROUPS if "all" in groups else groups)
        judgements = report.judge(LIMITS)
        if options.gate:
            judgements = measure_again(run, judgements)
    report.write("\ntargets")
    for judgement in judgements:
        report.write(format_judgement(judgement))
    if options.plot is not None:
        plots.draw(report, options.plot)
    file = options.json or (GATE_FILE if options.gate else None)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report.as_dict(judgements), indent=1) + "\n")
    return conclude(report, judgements) if options.gate else 0


def measure_again(run: Run, judgements: list[Judgement]) -> list[Judgement]:
    """Measure once more what is over its margin: only what is over it twice counts."""
    over = {item.limit.numerator.partition(":")[0] for item in judgements if item.is_failure}
    groups = {MEASURED_BY.get(group, group) for group in over}
    if groups:
        run.report.note(f"over the margin, measured once more: {', '.join(sorted(groups))}")
        run.measure(groups)
    return run.report.judge(LIMITS)


def conclude(report: Report, judgements: list[Judgement]) -> int:
    """Say what the gate says; return the exit status."""
    failures = [item for item in judgements if item.is_failure]
    for item in failures:
        name, margin = item.limit.name, item.limit.margin
        if margin is not None:
            found = f"{name} is {item.value:.2f}, the margin {margin.value:g}"
            report.write(f"FAILED: {found}: {margin.reason}")
    report.write(f"{len(failures)} over their margin")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
