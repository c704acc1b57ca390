# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What real processes cost per call on the loopback interface.

SIPp calls each server at the same rate; the server's processor time before and after stands in
``/proc/PID/stat``. It includes the kernel's share, and that of keeping the transactions, but not
the start. The rate matters: a busier server pays less per call.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.results import Result
from tests.interop.tools import (
    LISTENING,
    ROOT,
    Statistics,
    cpu_seconds,
    free_port,
    peak_memory,
    read_statistics,
    server_command,
    uac_command,
    udp_ports,
)

#: Calls a second.
RATE = 100
#: Seconds that a process may take to start, and to end.
PATIENCE = 20.0

Server = Callable[[pathlib.Path], "tuple[list[str], int]"]


def _sipsess(folder: pathlib.Path) -> tuple[list[str], int]:
    port = free_port()
    control = ("--control", str(folder / "control.sock"))
    return server_command(*control, port=port, application="echo"), port


def _reflector(folder: pathlib.Path) -> tuple[list[str], int]:
    port = free_port()
    return [sys.executable, "-u", "-m", "benchmarks.reflector", str(port)], port


def _sipp(folder: pathlib.Path) -> tuple[list[str], int]:
    port = free_port()
    ports = ("-p", str(port), "-mp", str(free_port()))
    return ["sipp", "-sn", "uas", "-i", "127.0.0.1", *ports, "-nostdin"], port


#: What is called, by name: a function that returns the command, and the port it will answer on.
SERVERS: dict[str, Server] = {
    "basic call, twistd -n sipsess": _sipsess,
    "    for scale: a stateless reflector": _reflector,
    "    for scale: SIPp as the server": _sipp,
}


@contextmanager
def running(command: list[str], port: int, folder: pathlib.Path) -> Iterator[int]:
    """
    Run a server; it is ended in any case.

    :return: its process number, once it answers on ``port``.
    :raises AssertionError: when it never does; the text holds what it printed.
    """
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(int(PATIENCE / 0.05)):
            if port in udp_ports(process.pid) and _is_ready(command, log):
                break
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"{command} ended at once:\n{log.read_text()}")
        else:
            raise AssertionError(f"{command} never listened:\n{log.read_text()}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(command: list[str], log: pathlib.Path) -> bool:
    return command[0] == "sipp" or re.search(LISTENING, log.read_text()) is not None


def place_calls(port: int, calls: int, folder: pathlib.Path) -> Statistics:
    """
    Let SIPp place calls.

    :raises AssertionError: when one of them failed.
    """
    statistics = folder / "statistics.csv"
    statistics.unlink(missing_ok=True)
    done = subprocess.run(
        uac_command(port, calls, RATE, statistics),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=90,
    )
    counted = read_statistics(statistics)
    if done.returncode or counted.failed or counted.successful != calls:
        raise AssertionError(f"SIPp ended with {done.returncode}: {counted}")
    return counted


def measure_server(name: str, server: Server, calls: int, rounds: int) -> Result:
    """Call one server, in a process of its own for all rounds, after a short round to warm up."""
    figures = []
    retransmissions = 0
    with tempfile.TemporaryDirectory(prefix="sipsess-benchmark-") as directory:
        folder = pathlib.Path(directory)
        command, port = server(folder)
        with running(command, port, folder) as pid:
            place_calls(port, RATE, folder)
            for _ in range(rounds):
                begin = cpu_seconds(pid)
                retransmissions += place_calls(port, calls, folder).retransmissions
                figures.append((cpu_seconds(pid) - begin) * 1e6 / calls)
            memory = peak_memory(pid)
    remark = f"{RATE} calls/s, {retransmissions} retransmissions, {memory:.0f} MB"
    return Result(name, tuple(figures), remark)


def run(calls: int, rounds: int) -> Iterator[Result]:
    """Yield the results, as they come; none when SIPp is not installed."""
    if shutil.which("sipp") is None:
        print("SIPp is not installed (apt-get install sip-tester): no figures of real processes")
        return
    for name, server in SERVERS.items():
        try:
            yield measure_server(name, server, calls, rounds)
        except AssertionError as error:
            print(f"{name.strip()}: {error}", file=sys.stderr)
