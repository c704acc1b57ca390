# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Rounds, medians and the table.

Every figure is processor time, user and system, of the one process that is measured: it suffers
less from a busy machine than the time on the clock does. What remains of the noise is shown: each
figure is the median of several rounds, beside the lowest and the highest.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    #: Microseconds for one operation, one figure for each round.
    rounds: tuple[float, ...]
    #: What else is worth knowing, such as retransmissions.
    remark: str = ""

    @property
    def median(self) -> float:
        """Half of the rounds were cheaper."""
        return median(self.rounds)

    def as_dict(self) -> dict[str, object]:
        """Return what goes into the JSON file."""
        return {**asdict(self), "median": self.median}


def measure(
    name: str, operate: Callable[[int], object], *, count: int, rounds: int, remark: str = ""
) -> Result:
    """
    Measure an operation within this process, after one round that does not count.

    :param operate: does the operation as often as its argument says.
    :param count: operations in a round.
    """
    operate(max(1, count // 4))
    figures = []
    for _ in range(rounds):
        gc.collect()
        begin = time.process_time()
        operate(count)
        figures.append((time.process_time() - begin) * 1e6 / count)
    return Result(name, tuple(figures), remark)


HEADING = f"{'':44}  {'median':>9}  {'lowest':>9}  {'highest':>9}"


def format_result(result: Result) -> str:
    """Return one line of the table."""
    figures = (result.median, min(result.rounds), max(result.rounds))
    columns = "  ".join(f"{figure:9.1f}" for figure in figures)
    return f"{result.name:44}  {columns}  {result.remark}".rstrip()
