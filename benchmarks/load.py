# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Load from SIPp: one process saturates near a thousand calls a second, so there may be several."""

from __future__ import annotations

import csv
import pathlib
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from tests.interop.tools import Statistics, read_statistics, uac_command

#: Calls a second that one SIPp is asked for at most, well below what it can do.
CALLS_PER_GENERATOR = 400


@dataclass(frozen=True, slots=True)
class Overload:
    """What came of more calls than a server can take."""

    #: Calls that SIPp has begun, per second.
    offered: float
    #: Those that were answered and ended well, per second.
    good: float
    #: Unexpected answers by status.
    refused: dict[int, int]


def generators_for(rate: int) -> int:
    """Return how many SIPp processes a rate needs."""
    return -(-rate // CALLS_PER_GENERATOR)


def place_calls(
    port: int, calls: int, rate: int, folder: pathlib.Path, *, patience: float = 15.0
) -> Statistics:
    """
    Let SIPp place calls and wait for all of them.

    :param calls: how many, shared by the processes that the rate needs.
    :param rate: calls a second.
    :param patience: seconds, beyond those that the calls need, after which the rest has failed.
    :raises AssertionError: when a process wrote no statistics.
    """
    count = generators_for(rate)
    paths = [folder / f"statistics-{port}-{number}.csv" for number in range(count)]
    started = [_start(port, calls // count, rate // count, path) for path in paths]
    _end(started, calls / rate + patience)
    counted = [read_statistics(path) for path in paths]
    successful = sum(item.successful for item in counted)
    retransmissions = sum(item.retransmissions for item in counted)
    return Statistics(successful, calls // count * count - successful, retransmissions)


def overload(port: int, rate: int, seconds: int, folder: pathlib.Path) -> Overload:
    """Let SIPp offer calls for some seconds, then stop at once, whatever is under way."""
    count = generators_for(rate)
    paths = [folder / f"overload-{port}-{number}.csv" for number in range(count)]
    each = rate // count
    started = [_start(port, each * seconds, each, path, "-trace_error_codes") for path in paths]
    _end(started, seconds)
    offered = good = 0.0
    for path in paths:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        # The first row is that of the start; then there is one for each full second.
        periods = max(1, len(rows) - 1)
        offered += sum(int(row["OutgoingCall(P)"]) for row in rows[1:]) / periods
        good += sum(int(row["SuccessfulCall(P)"]) for row in rows[1:]) / periods
    return Overload(offered, good, _read_codes(folder))


def _read_codes(folder: pathlib.Path) -> dict[int, int]:
    """Return how often each unexpected status came; SIPp writes a file for each process."""
    found: Counter[int] = Counter()
    for path in folder.glob("*_error_codes.csv"):
        for row in path.read_text().splitlines():
            codes = row.rpartition(";")[2].split(",")
            found.update(int(code) for code in codes if code.strip().isdecimal())
        path.unlink()
    return dict(found)


def _start(
    port: int, calls: int, rate: int, statistics: pathlib.Path, *options: str
) -> subprocess.Popen[bytes]:
    statistics.unlink(missing_ok=True)
    return subprocess.Popen(
        [*uac_command(port, calls, rate, statistics), *options],
        cwd=statistics.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end(started: list[subprocess.Popen[bytes]], limit: float) -> None:
    """Wait for processes so many seconds, then kill those that are left."""
    end = time.monotonic() + limit
    try:
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
    finally:
        for process in started:
            process.kill()
            process.wait()
