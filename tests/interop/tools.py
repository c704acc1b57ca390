# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the interop tests and the benchmarks need of the machine: ports, /proc, SIPp's figures."""

from __future__ import annotations

import csv
import os
import pathlib
import random
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass

#: The top of the checkout; server processes start here, so that they run this source.
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

#: Where Debian's sip-tester keeps its recordings.
SIPP_MEDIA = pathlib.Path("/usr/share/sip-tester")

#: Where :func:`free_port` looks: above the ports that Linux gives to whoever wants any.
PORTS = range(61000, 65500, 4)
#: What it gave lately, more than a test needs; nobody may have bound that yet.
_given: deque[int] = deque(maxlen=32)

#: How the system says that a process has gone away.
_GONE = (FileNotFoundError, ProcessLookupError)


def free_port(host: str = "127.0.0.1") -> int:
    """
    Return an even port that is free now for UDP and TCP, as are the three after it.

    Some peers take the next port too, for RTCP or TLS, and SIPp the second one after that of its
    audio.
    """
    for _ in range(200):
        port = random.choice(PORTS)
        if port not in _given and all(_is_free(host, port + more) for more in range(4)):
            _given.append(port)
            return port
    raise AssertionError("no four free ports in a row")


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def udp_ports(pid: int) -> set[int]:
    """Return the UDP ports that a process has bound now; empty when it has gone."""
    return _ports(pid, "udp")


def tcp_ports(pid: int) -> set[int]:
    """Return the TCP ports that a process listens on now; empty when it has gone."""
    return _ports(pid, "tcp", "0A")


def _ports(pid: int, protocol: str, state: str = "") -> set[int]:
    """Return the ports of sockets of a process: all, or those in a state (in hexadecimal)."""
    inodes = set()
    try:
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(descriptor.path)
            except _GONE:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        found = set()
        for table in (protocol, f"{protocol}6"):
            path = pathlib.Path(f"/proc/{pid}/net/{table}")
            for line in path.read_text().splitlines()[1:] if path.exists() else ():
                fields = line.split()
                if fields[9] in inodes and state in ("", fields[3]):
                    found.add(int(fields[1].rpartition(":")[2], 16))
    except _GONE:
        return set()
    return found


def cpu_seconds(pid: int) -> float:
    """
    Return the processor time of a live process so far, its own and the kernel's for it, and that
    of its living children.

    It is what ``/proc/PID/stat`` says, from the clock behind it (``clock_getcpuclockid``), which
    counts nanoseconds where the file counts hundredths of a second.
    """
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return time.clock_gettime(~pid << 3 | 2) + sum(cpu_seconds(int(child)) for child in children)


def peak_memory(pid: int) -> float:
    """Return the most memory that a live process has had in use so far, in megabytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) / 1024
    raise AssertionError(f"the system does not tell the memory of process {pid}")


def server_command(*options: str, port: int = 0, application: str = "echo") -> list[str]:
    """
    Return the command that starts ``twistd -n sipsess`` of this source, to be run in :data:`ROOT`.

    :param options: more of them, such as ``--control``.
    :param port: 0 takes a free one; the log says which.
    """
    return [
        *(sys.executable, "-u", "-c", "from twisted.scripts.twistd import run; run()"),
        *("-n", "--pidfile=", "sipsess", "--listen", f"udp:{port}:interface=127.0.0.1"),
        *("--application", application),
        *options,
    ]


def phone_command(uri: str, *options: str) -> list[str]:
    """Return the command that calls with ``sipsess call`` of this source, to be run in ROOT."""
    return [sys.executable, "-u", "-m", "sipsess.cli", "call", uri, *options]


#: What the server's log says when it can be called; the group is the port.
LISTENING = r"listening on udp:(\d+)"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What SIPp counted."""

    successful: int
    failed: int
    retransmissions: int


def read_statistics(path: pathlib.Path) -> Statistics:
    """
    Read the last line of SIPp's ``-trace_stat`` file.

    :raises AssertionError: when SIPp wrote none.
    """
    if not path.exists():
        raise AssertionError(f"SIPp wrote no statistics to {path}")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    if not rows:
        raise AssertionError(f"SIPp wrote no statistics to {path}")
    last = rows[-1]
    return Statistics(
        int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"]), int(last["Retransmissions(C)"])
    )


def uac_command(port: int, calls: int, rate: int, statistics: pathlib.Path) -> list[str]:
    """Return the command that lets SIPp place basic calls to 127.0.0.1, without a pause."""
    limit = calls // rate + 50
    return [
        *("sipp", "-sn", "uac", f"127.0.0.1:{port}", "-s", "service", "-i", "127.0.0.1"),
        *("-p", str(free_port()), "-mp", str(free_port()), "-r", str(rate), "-m", str(calls)),
        *("-d", "0", "-l", "20000", "-nostdin", "-trace_stat", "-stf", str(statistics)),
        *("-fd", "1", "-timeout", f"{limit}s"),
    ]
