# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Media engines: whether they are there."""

from __future__ import annotations

from collections.abc import Iterator

from sipsess.config.model import MediaTable

from .findings import OK, WRONG, Finding
from .machine import Machine

SUBJECT = "media engines"


def examine_engines(machine: Machine, table: MediaTable | None) -> Iterator[Finding]:
    """Yield of each engine whether it answers."""
    for address in () if table is None else table.addresses:
        wrong = machine.ping_engine(address.host, address.port)
        if wrong:
            advice = f"start it with --listen-ng={address}, and look into its log"
            yield Finding(WRONG, SUBJECT, f"rtpengine at {address}: {wrong}", advice)
        else:
            yield Finding(OK, SUBJECT, f"rtpengine at {address} answers")
