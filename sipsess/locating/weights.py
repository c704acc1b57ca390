# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""In which order servers are tried: priority and weight (:rfc:`2782`)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from random import Random

from sipsess.locating.records import SRV


def order_servers(servers: Iterable[SRV], source: Random) -> list[SRV]:
    """
    Return servers in the order in which they are tried.

    The lowest priority comes first; among equals chance decides, in proportion to the weights.
    """
    ordered: list[SRV] = []
    for _, group in groupby(sorted(servers, key=_priority), key=_priority):
        # RFC 2782: those of weight 0 stand first, so that they are chosen hardly ever.
        waiting = sorted(group, key=lambda server: server.weight > 0)
        while waiting:
            ordered.append(waiting.pop(_choose(waiting, source)))
    return ordered


def _priority(server: SRV) -> int:
    return server.priority


def _choose(servers: list[SRV], source: Random) -> int:
    """Return the index of the first server whose running sum of weights reaches a random number."""
    number = source.randint(0, sum(server.weight for server in servers))
    for index, server in enumerate(servers):
        number -= server.weight
        if number <= 0:
            return index
    raise AssertionError("the number is at most the sum")  # pragma: no cover
