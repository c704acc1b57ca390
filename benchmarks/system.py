# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Processes under test: they are started, waited for, and ended in any case."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.servers import Launch
from tests.interop.tools import ROOT, cpu_seconds, udp_ports

#: Seconds that a process may take to start, and to end.
PATIENCE = 20.0


class Process:
    """
    A server that runs.

    :param pid: its process number.
    :param port: where it takes SIP.
    :param log: what it prints.
    """

    def __init__(self, pid: int, port: int, log: pathlib.Path) -> None:
        self.pid = pid
        self.port = port
        self.log = log

    def cpu(self) -> float:
        """Return the seconds of processor time that it and its children have used."""
        return cpu_seconds(self.pid)

    def resident(self) -> int:
        """Return the bytes that it has in memory now."""
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def printed(self) -> str:
        """Return all that it has printed."""
        return self.log.read_text(errors="replace")


@contextmanager
def running(launch: Launch, folder: pathlib.Path) -> Iterator[Process]:
    """
    Run a server; it is ended in any case.

    :param folder: for its log.
    :return: the process, once it listens.
    :raises AssertionError: when it never does; the text holds what it printed.
    """
    log = folder / f"server-{launch.port}.log"
    with log.open("wb") as stream:
        started = subprocess.Popen(
            launch.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    process = Process(started.pid, launch.port, log)
    try:
        _wait_until_ready(started, process, launch)
        yield process
    finally:
        started.terminate()
        try:
            started.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _wait_until_ready(started: subprocess.Popen[bytes], process: Process, launch: Launch) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        is_bound = process.port in udp_ports(process.pid)
        if is_bound and re.search(launch.ready, process.printed()):
            return
        try:
            started.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"{launch.command[0]} ended at once:\n{process.printed()}")
    raise AssertionError(f"{launch.command[0]} never listened:\n{process.printed()}")
