# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A run over many fields: so many datagrams, no longer than so many seconds, memory level.

Each field lives for some batches, so that what a batch leaves behind would be seen: the objects
that the collector knows are counted after the first ones, when all caches are warm, and at the end.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz.field import Field
from tests.fuzz.home import HomeField
from tests.fuzz.streams import StreamField

#: Batches in the life of a field, and how many of them warm it up.
BATCHES = 12
WARM = 6
#: Objects that may be more afterwards: the flows and records of other strangers than before. Each
#: batch is :data:`BATCH` datagrams, so one object for each would be many times as much.
MAX_GROWTH = 1500
#: Mutated datagrams per batch.
BATCH = 500
#: Mutated datagrams among phones that register.
HOME = 500
#: Streams in the life of a field.
STREAMS = 60


@dataclass
class Result:
    """What a run did."""

    datagrams: int = 0
    streams: int = 0
    fields: int = 0
    seconds: float = 0.0


def run_field(seed: int, corpus: Sequence[bytes], result: Result) -> None:
    """
    Let one field live.

    :raises AssertionError: when something does not hold; the text has the seed.
    """
    field = Field(seed, corpus)
    warm = 0
    try:
        for number in range(BATCHES):
            before = field.fed
            field.batch(BATCH)
            result.datagrams += field.fed - before
            if number == WARM:
                warm = count_objects()
        growth = count_objects() - warm
        home = HomeField(seed, corpus, field.scene.errors)
        home.batch(HOME)
        result.datagrams += home.tap.fed
        streams = StreamField(seed, corpus, field.scene.errors)
        streams.batch(STREAMS)
        result.streams += streams.fed
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"seed {seed}, after {field.fed} datagrams: {error!r}") from error
    finally:
        field.close()
    if growth > MAX_GROWTH:
        raise AssertionError(f"seed {seed}: {growth} objects are more than they were")


def count_objects() -> int:
    """Return how many objects the collector knows when nothing is left to collect."""
    gc.collect()
    return len(gc.get_objects())


def run(
    corpus: Sequence[bytes],
    *,
    seed: int,
    count: int,
    seconds: float,
    tell: Callable[[Result], object] = lambda result: None,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """
    Let fields live until so many datagrams were fed, or so many seconds have gone by.

    :param seed: of the first field; each other one has the next.
    :param tell: told after each field.
    :raises AssertionError: as :func:`run_field`.
    """
    result = Result()
    begin = clock()
    while result.datagrams < count and result.seconds < seconds:
        run_field(seed + result.fields, corpus, result)
        result.fields += 1
        result.seconds = clock() - begin
        tell(result)
    return result
