# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTP ports: whether they are free, and whether so many can be open."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from sipsess.config.values import PortRange
from sipsess.transport.filelimit import SPARE_FILES

from .findings import NOTE, OK, WRONG, Finding
from .machine import Machine
from .running import Running

SUBJECT = "media"


def examine_media(
    machine: Machine, ports: PortRange, connections: int, running: Running | str
) -> Iterator[Finding]:
    """
    Yield what stands in the way of RTP.

    :param connections: how many there may be besides; each is an open file, too.
    """
    even = range(ports.low + ports.low % 2, ports.high + 1, 2)
    yield from _check_files(machine, len(even), connections)
    yield from _check_system_ports(machine, ports)
    if isinstance(running, str):
        yield from _check_free(machine, (even[0], even[len(even) // 2], even[-1]))


def _check_files(machine: Machine, count: int, connections: int) -> Iterator[Finding]:
    limit = machine.file_limit()
    if limit is not None and limit < count + connections + SPARE_FILES:
        more = f" and {connections} connections" if connections else ""
        yield Finding(
            WRONG,
            SUBJECT,
            f"only {limit} files can be open, too few for {count} RTP ports{more}",
            "raise the hard limit (ulimit -Hn, or LimitNOFILE= in systemd), or narrow rtp.ports",
        )
    else:
        shown = "as many files as it takes" if limit is None else f"{limit} files"
        yield Finding(OK, SUBJECT, f"{count} RTP ports, and {shown} can be open")


def _check_system_ports(machine: Machine, ports: PortRange) -> Iterator[Finding]:
    """Yield a note when other programs are given ports of the range."""
    given = machine.local_ports()
    if given is not None and given[0] <= ports.high and ports.low <= given[1]:
        yield Finding(
            NOTE,
            SUBJECT,
            f"the system gives ports {given[0]}-{given[1]} to any program, RTP ports among them",
            "take rtp.ports below these; a port that is taken is only skipped",
        )


def _check_free(machine: Machine, sample: tuple[int, ...]) -> Iterator[Finding]:
    """Yield what is wrong with a few ports of the range."""
    for port in dict.fromkeys(sample):
        error = machine.bind("UDP", "0.0.0.0", port)
        if error is None:
            continue
        if error.errno == errno.EADDRINUSE:
            yield Finding(
                NOTE, SUBJECT, f"RTP port {port} is in use by another program, and skipped"
            )
        else:
            reason = os.strerror(error.errno or 0)
            yield Finding(WRONG, SUBJECT, f"RTP port {port} cannot be opened: {reason}")
