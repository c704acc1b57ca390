# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
``python -m benchmarks.held CALLS [--ports]``: what calls cost that are held, in a fresh process.

The calls begin at a hundred a second of a clock that we set, so that the transactions of the first
are over long before the last begins, and the memory is that of calls and not of transactions. With
``--ports`` each has a real RTP port, read by a reactor that does not run. One line of JSON comes
out.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass

from benchmarks.inprocess import INTERVAL, Calls, Media, tuned_collector
from benchmarks.micro import SHIPPED
from benchmarks.pauses import Pauses
from sipsess.collector import QUIET
from sipsess.transport.filelimit import SPARE_FILES, raise_file_limit
from sipsess.transport.mediaclock import MediaClock
from sipsess.transport.rtp import RTPPorts
from tests.interop.tools import ROOT

#: Calls in a second of the clock that we set.
PER_SECOND = round(1 / INTERVAL)
#: Calls of one point of the curve of costs.
BLOCK = 500
#: Calls that come and go before anything is measured.
WARM_UP = 500


@dataclass(frozen=True, slots=True)
class Held:
    """What was measured."""

    calls: int
    #: Bytes in memory: before the calls, while all are held, and when all are over.
    before: int
    held: int
    after: int
    #: Microseconds to set up a call, for each block of calls.
    blocks: list[float]
    #: Seconds of the longest pause of the garbage collector, and of all pauses.
    longest_pause: float
    all_pauses: float


def measure(count: int, media: Media | None) -> Held:
    """Hold calls, then end them."""
    calls = Calls(SHIPPED, media)
    calls.operate(WARM_UP)
    calls.linger()
    with tuned_collector(lambda: len(calls.manager.sessions)) as let_pass:
        pauses = Pauses()
        before = _resident()
        # No list: its numbers would lie between the calls, and keep a megabyte each.
        blocks = array("d", bytes(8 * (count // BLOCK)))
        begun: list[tuple[int, str]] = []
        for block in range(count // BLOCK):
            begin = time.process_time()
            for _ in range(BLOCK // PER_SECOND):
                begun += [calls.begin() for _ in range(PER_SECOND)]
                let_pass(1.0)
            blocks[block] = (time.process_time() - begin) * 1e6 / BLOCK
        calls.linger()
        held = _resident()
        for number, tag in begun:
            calls.hang_up(number, tag)
        pauses.stop()
        begun.clear()
        calls.finish()
        for _ in range(2 * QUIET):
            let_pass(1.0)
        after = _resident()
    costs = blocks.tolist()
    return Held(len(costs) * BLOCK, before, held, after, costs, pauses.longest, pauses.total)


def _resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def real_media() -> Media:
    """Return media with real sockets; the reactor never runs, so nobody reads them."""
    from twisted.internet import reactor  # noqa: TID251  its sockets are what is measured

    ports = RTPPorts(reactor, 10000, 49999, random=random.Random(1))
    raise_file_limit(ports.capacity + SPARE_FILES)
    return ports, MediaClock(reactor)


def measure_apart(count: int, *, has_ports: bool) -> Held:
    """
    Measure in a process of its own.

    :raises subprocess.CalledProcessError: when it fails.
    """
    command = [sys.executable, "-m", "benchmarks.held", str(count)]
    command += ["--ports"] if has_ports else []
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    return Held(**json.loads(done.stdout))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.held")
    parser.add_argument("calls", type=int)
    parser.add_argument("--ports", action="store_true", help="open an RTP port for each call")
    options = parser.parse_args()
    media = real_media() if options.ports else None
    print(json.dumps(asdict(measure(options.calls, media))))


if __name__ == "__main__":
    main()
