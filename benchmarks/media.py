# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How evenly many calls at once speak, and how many a processor carries: the application "echo".

Each call gets 50 packets a second, spread evenly over all. When a packet of the server's left is
what the kernel notes as it reaches our socket, so it does not matter when we have time to read it.
What is measured is how far the time between two packets of a call is from what their numbers say.
One more call is with an application that waits in a Deferred, which must not disturb the others.
The bare loop of :mod:`benchmarks.rtp` is measured in turns: it sends back at once, so its jitter is
that of the machine and of our own sending.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from statistics import quantiles

from benchmarks.caller import Caller
from benchmarks.results import Figure, Report
from benchmarks.rtp import PACKETS_PER_SECOND, call_echo, make_sockets, pack, ports_of
from benchmarks.servers import Place, launch_floor, launch_ours
from benchmarks.system import Process, running

#: Of the packets' time, in seconds.
FRAME = 1 / PACKETS_PER_SECOND
#: Packets of each stream that are sent before anything is measured.
WARM_UP = 25
#: Packets of a stream that are sent and did not come back yet, at most, when all is well.
_ON_THE_WAY = 5
#: Linux's option for the time at which a datagram came, and what it comes with.
_TIMESTAMP = 35
_TIMESPEC = struct.Struct("@ll")

#: Sequence number and time of a packet that came back.
Arrival = tuple[int, float]


class TimedStreams:
    """
    Streams to one server, and when what comes back has come.

    :param sockets: one for each stream.
    :param targets: the server's ports.
    """

    def __init__(self, sockets: Sequence[socket.socket], targets: Sequence[int]) -> None:
        self._pairs = list(zip(sockets, targets, strict=True))
        self._sequence = 0
        self._came: dict[socket.socket, list[Arrival]] = {item: [] for item in sockets}
        self._poll = select.epoll()
        self._sockets = {item.fileno(): item for item in sockets}
        for item in sockets:
            item.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)
            self._poll.register(item, select.EPOLLIN)

    def close(self) -> None:
        """Look at the sockets no more; they stay open."""
        self._poll.close()

    def pour(self, frames: int) -> list[list[Arrival]]:
        """Send so many packets of each stream, evenly; return what came back, by stream."""
        for arrivals in self._came.values():
            arrivals.clear()
        interval = FRAME / len(self._pairs)
        due = time.monotonic()
        for _ in range(frames):
            self._sequence += 1
            for ssrc, (sender, target) in enumerate(self._pairs):
                while (left := due - time.monotonic()) > 0:
                    self._drain(left)
                sender.sendto(pack(self._sequence, ssrc), ("127.0.0.1", target))
                due += interval
        end = time.monotonic() + _ON_THE_WAY * FRAME
        while (left := end - time.monotonic()) > 0:
            self._drain(left)
        return list(self._came.values())

    def _drain(self, limit: float) -> None:
        """Take what is there, or wait for it so many seconds."""
        for number, _ in self._poll.poll(limit):
            skt = self._sockets[number]
            data, ((_, _, stamp), *_), _, _ = skt.recvmsg(2048, 64)
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            (sequence,) = struct.unpack_from(">H", data, 2)
            self._came[skt].append((sequence, seconds + nanoseconds / 1e9))


def jitters(arrivals: Sequence[Arrival]) -> list[float]:
    """Return how far each packet of a stream was from its place behind the one before, in ms."""
    return [
        abs(when - before - (sequence - number) * FRAME) * 1000
        for (number, before), (sequence, when) in pairwise(arrivals)
    ]


def count_late(arrivals: Sequence[Arrival]) -> int:
    """Return how many packets of a stream came a frame or more later than the middle one."""
    places = sorted(when - sequence * FRAME for sequence, when in arrivals)
    return sum(place >= places[len(places) // 2] + FRAME for place in places)


def _percentile(values: Iterable[float]) -> float:
    """Return the value below which 99 of 100 are."""
    return quantiles(values, n=100)[98]


def run(report: Report, place: Place, *, calls: int, seconds: int, rounds: int) -> None:
    """
    Measure.

    :param calls: that are echoed at the same time.
    :param seconds: of one round.
    """
    report.begin(f"media: {calls} calls that are echoed, and one that waits")
    with ExitStack() as stack:
        ours = stack.enter_context(running(launch_ours(place), place.folder))
        bare = stack.enter_context(running(launch_floor(place, calls), place.folder))
        caller = stack.enter_context(Caller(ours.port))
        waiting = caller.call(audio=make_sockets(stack, 1)[0].getsockname())
        mine, others = make_sockets(stack, calls), make_sockets(stack, calls)
        subjects: dict[str, tuple[Process, TimedStreams]] = {
            "ours": (ours, TimedStreams(mine, call_echo(caller, mine))),
            "floor": (bare, TimedStreams(others, ports_of(bare))),
        }
        rows: dict[str, list[_Round]] = {name: [] for name in subjects}
        for _, streams in subjects.values():
            stack.callback(streams.close)
            streams.pour(WARM_UP)
        for _ in range(rounds):
            for name, (process, streams) in subjects.items():
                rows[name].append(_Round(process, streams, seconds * PACKETS_PER_SECOND))
        caller.hang_up(*waiting)
    for name, found in rows.items():
        _tell(report, f"media: {name}", calls, found)


class _Round:
    """
    One round of one server.

    :param frames: of each stream.
    """

    def __init__(self, process: Process, streams: TimedStreams, frames: int) -> None:
        begin, since = process.cpu(), time.monotonic()
        came = streams.pour(frames)
        #: The share of a processor that the server needed.
        self.load = (process.cpu() - begin) / (time.monotonic() - since)
        self.jitter = _percentile([item for arrivals in came for item in jitters(arrivals)])
        self.late = sum(map(count_late, came))
        self.missing = frames * len(came) - sum(map(len, came))


def _tell(report: Report, name: str, calls: int, rows: Sequence[_Round]) -> None:
    """Report the rounds of one server."""
    missing = f"{sum(row.missing for row in rows)} packets did not come back"
    report.add(Figure(f"{name}, jitter p99", "ms", tuple(row.jitter for row in rows), missing))
    report.add(Figure(f"{name}, late", "packets", tuple(float(row.late) for row in rows)))
    carried = tuple(calls / row.load for row in rows)
    report.add(Figure(f"{name}, calls a processor", "calls", carried, "from the time it needed"))
