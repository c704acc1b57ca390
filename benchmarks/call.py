# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a basic call costs each server, at one rate.

SIPp calls the servers in turns; the processor time of a server before and after stands at the
system's. The rate matters, since a busier server pays less per call, so it is the same for all.

While calls are placed, a server that keeps its transactions, as it must, only begins to: they end
32 seconds later. With ``tail`` this is waited for at the end, and what it took, less what the same
server takes for nothing, is added to each round.
"""

from __future__ import annotations

import select
import time
from contextlib import ExitStack

from benchmarks.load import place_calls
from benchmarks.results import Report
from benchmarks.servers import Place, Server
from benchmarks.system import Process, running
from tests.interop.tools import peak_memory

#: Seconds after which nothing of a call is left: 64*T1 and some more.
TAIL = 36.0
#: Seconds in which a server is watched that has nothing to do.
IDLE = 4.0


class Subject:
    """
    One server, and what it cost so far.

    :param server: what it is.
    :param process: that runs.
    """

    def __init__(self, server: Server, process: Process) -> None:
        self.server = server
        self.process = process
        self.rounds: list[float] = []
        self._calls = 0
        self._failed = 0
        self._retransmissions = 0
        # What was spent, and the time that passed, while calls were placed.
        self._spent = 0.0
        self._busy = 0.0
        self._begin = process.cpu(), time.monotonic()

    def place(self, calls: int, rate: int, place: Place) -> float:
        """Let SIPp place calls; return the microseconds that each cost."""
        cpu, now = self.process.cpu(), time.monotonic()
        counted = place_calls(self.process.port, calls, rate, place.folder)
        spent = self.process.cpu() - cpu
        self._spent += spent
        self._busy += time.monotonic() - now
        self._calls += calls
        self._failed += counted.failed
        self._retransmissions += counted.retransmissions
        return spent * 1e6 / calls

    def spent_outside(self) -> tuple[float, float]:
        """Return what was spent while no calls were placed so far, and how many seconds these."""
        cpu, now = self._begin
        outside = time.monotonic() - now - self._busy
        return self.process.cpu() - cpu - self._spent, outside

    def add_tail(self, spent: float) -> None:
        """Add to each round what was spent for its calls afterwards."""
        more = max(0.0, spent) * 1e6 / self._calls
        self.rounds = [cost + more for cost in self.rounds]

    def remark(self) -> str:
        """Say what else happened."""
        memory = peak_memory(self.process.pid)
        return (
            f"{self._failed} failed, {self._retransmissions} retransmissions, {memory:.0f} MB: "
            f"{self.server.about}"
        )


def start_all(
    stack: ExitStack, servers: list[Server], place: Place, report: Report
) -> list[Subject]:
    """Start servers; one that does not start is told, and left out."""
    subjects = []
    for server in servers:
        try:
            process = stack.enter_context(running(server.launch(place), place.folder))
        except AssertionError as error:
            report.note(f"{server.name}: {error}")
            continue
        subjects.append(Subject(server, process))
    return subjects


def run(
    report: Report,
    servers: list[Server],
    place: Place,
    *,
    seconds: int,
    rate: int,
    rounds: int,
    has_tail: bool,
    group: str = "call",
) -> None:
    """
    Measure.

    :param seconds: of each round.
    :param rate: calls a second.
    :param has_tail: whether to wait for the ends of the transactions.
    :param group: what the names of the figures begin with.
    """
    report.begin(f"{group}: a basic call at {rate} calls/s, processor time of the server")
    with ExitStack() as stack:
        subjects = start_all(stack, servers, place, report)
        for subject in subjects:
            subject.place(rate, rate, place)  # a second to warm up
        for _ in range(rounds):
            for subject in subjects:
                subject.rounds.append(subject.place(rate * seconds, rate, place))
        if has_tail:
            _add_tails(subjects)
        for subject in subjects:
            name = f"{group}: {subject.server.name}"
            report.add_rounds("us", {name: subject.rounds}, {name: subject.remark()})


def _add_tails(subjects: list[Subject]) -> None:
    """Add what each server did for its calls outside the rounds, less what it does for nothing."""
    _wait(TAIL)
    ends = [subject.spent_outside() for subject in subjects]
    begin = [subject.process.cpu() for subject in subjects]
    _wait(IDLE)
    for subject, (spent, seconds), before in zip(subjects, ends, begin, strict=True):
        idle = (subject.process.cpu() - before) / IDLE
        subject.add_tail(spent - idle * seconds)


def _wait(seconds: float) -> None:
    select.select([], [], [], seconds)
