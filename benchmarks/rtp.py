# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What one RTP packet costs that is sent back: the application "echo", and a bare loop for scale.

Both have one port for each stream, and get 50 packets a second on each, spread evenly as those of
independent callers are. The bare loop is a Twisted ``DatagramProtocol`` that sends back what it
receives, and does nothing else: no check of the source, no sequence numbers, no clock.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from contextlib import ExitStack

from benchmarks.caller import Caller
from benchmarks.messages import tag_of
from benchmarks.results import Report
from benchmarks.servers import Place, launch_floor, launch_ours
from benchmarks.system import Process, running

#: Packets a second of one stream.
PACKETS_PER_SECOND = 50
#: A frame of 20 ms in G.711.
_PAYLOAD = bytes(range(160))


def pack(sequence: int, ssrc: int) -> bytes:
    """Return the packet of a stream with that number, counted from the first one."""
    head = struct.pack(">BBHLL", 0x80, 0, sequence & 0xFFFF, sequence * 160, ssrc)
    return head + _PAYLOAD


def ports_of(bare: Process) -> list[int]:
    """Return the ports on which the bare loop sends back."""
    printed = re.search(r"rtp ports:([ \d]+)", bare.printed())
    assert printed is not None
    return list(map(int, printed[1].split()))


class Streams:
    """
    Several streams that are sent to one server.

    :param targets: the server's ports; each gets a stream.
    :param sockets: what they are sent from.
    """

    def __init__(self, sockets: list[socket.socket], targets: list[int]) -> None:
        self._pairs = list(zip(sockets, targets, strict=True))
        self._sequence = 0

    def pour(self, frames: int) -> tuple[int, int]:
        """
        Send so many packets of each stream, evenly.

        :return: the packets that were sent, and those that came back.
        """
        came = 0
        interval = 1 / PACKETS_PER_SECOND / len(self._pairs)
        due = time.monotonic()
        for _ in range(frames):
            self._sequence += 1
            for ssrc, (sender, target) in enumerate(self._pairs):
                while (left := due - time.monotonic()) > 0:
                    came += self._drain(left)
                sender.sendto(pack(self._sequence, ssrc), ("127.0.0.1", target))
                due += interval
        end = time.monotonic() + 0.1
        while (left := end - time.monotonic()) > 0:
            came += self._drain(left)
        return frames * len(self._pairs), came

    def _drain(self, limit: float) -> int:
        """Take what is there, or wait for it so many seconds."""
        ready, _, _ = select.select([item for item, _ in self._pairs], [], [], limit)
        for item in ready:
            item.recv(2048)
        return len(ready)


def make_sockets(stack: ExitStack, count: int) -> list[socket.socket]:
    """Return sockets bound to even ports, closed with the stack; RTCP goes to the odd ones."""
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        skt = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        skt.bind(("127.0.0.1", 0))
        if skt.getsockname()[1] % 2:
            skt.close()
        else:
            sockets.append(skt)
    return sockets


def call_echo(caller: Caller, sockets: list[socket.socket]) -> list[int]:
    """Place a call for each socket; return the ports of the answers."""
    ports = []
    for skt in sockets:
        number = caller.next_number()
        invite = caller.writer.invite(number, user="echo", audio=skt.getsockname())
        answer = caller.ask(number, invite)
        caller.send(caller.writer.ack(number, tag_of(answer)))
        ports.append(int(re.findall(rb"m=audio (\d+)", answer)[0]))
    caller.settle()
    return ports


def run(report: Report, place: Place, *, streams: int, frames: int, rounds: int) -> None:
    """
    Measure.

    :param streams: at the same time.
    :param frames: of each stream in a round.
    """
    report.begin(f"rtp: echo of {streams} streams, {PACKETS_PER_SECOND} packets/s each")
    with ExitStack() as stack:
        ours = stack.enter_context(running(launch_ours(place), place.folder))
        bare = stack.enter_context(running(launch_floor(place, streams), place.folder))
        caller = stack.enter_context(Caller(ours.port))
        sockets = make_sockets(stack, streams)
        subjects: dict[str, tuple[Process, Streams]] = {
            "rtp: ours": (ours, Streams(sockets, call_echo(caller, sockets))),
            "rtp: floor": (bare, Streams(make_sockets(stack, streams), ports_of(bare))),
        }
        costs: dict[str, list[float]] = {name: [] for name in subjects}
        remarks = dict.fromkeys(subjects, "")
        for number in range(rounds + 1):
            for name, (process, load) in subjects.items():
                begin = process.cpu()
                sent, came = load.pour(frames if number else PACKETS_PER_SECOND // 2)
                if number:  # not the round to warm up
                    costs[name].append((process.cpu() - begin) * 1e6 / sent)
                    remarks[name] = f"{came} of {sent} packets came back"
        report.add_rounds("us", costs, remarks)
