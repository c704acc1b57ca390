# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The media engines, with ``[media]``."""

from __future__ import annotations

from collections.abc import Callable

from sipsess.transport.engine import EngineSpec

from .mistakes import Path
from .model import MediaTable


def plan_engine(table: MediaTable | None, note: Callable[[Path, str], object]) -> EngineSpec | None:
    """
    Return which media engines there shall be.

    :param note: is told each mistake.
    """
    if table is None:
        return None
    if not table.addresses:
        note(("media", "addresses"), "there is no engine without an address")
    for number, address in enumerate(table.addresses):
        if address in table.addresses[:number]:
            note(("media", "addresses", number), f"{address} stands here twice")
    addresses = tuple((address.host, address.port) for address in table.addresses)
    return EngineSpec(addresses, table.record, table.transcode)
