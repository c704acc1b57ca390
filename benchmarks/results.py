# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Figures, curves, limits, and the report that collects them.

Theory of operation
    A figure is measured in rounds. The rounds of figures that shall be compared are interleaved
    (one of each, then the next of each), because a machine changes its speed within minutes; a
    ratio is then taken within each round, and its median is the result. The lowest and the highest
    round are always shown: where the ranges of two figures overlap, there is no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    #: Unique in a report, ``"GROUP: WHAT"``.
    name: str
    unit: str
    #: One for each round.
    rounds: tuple[float, ...]
    #: What else is worth knowing, such as retransmissions.
    remark: str = ""

    @property
    def median(self) -> float:
        """Half of the rounds were lower."""
        return median(self.rounds)

    def as_dict(self) -> dict[str, object]:
        """Return what goes into the JSON file."""
        return {**asdict(self), "median": self.median}


@dataclass(frozen=True, slots=True)
class Curve:
    """How something depends on something else."""

    name: str
    x_label: str
    y_label: str
    points: tuple[tuple[float, float], ...]


class Margin(NamedTuple):
    """Above which the gate fails, and why there."""

    value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Limit:
    """
    How large a figure, or the ratio of two figures, shall be at most.

    :param name: of what is limited.
    :param numerator: the name of a figure.
    :param target: where we want to be.
    :param denominator: the name of another figure; ``None`` limits the numerator itself.
    :param margin: of the gate; ``None`` when it does not look.
    """

    name: str
    numerator: str
    target: float
    denominator: str | None = None
    margin: Margin | None = None

    def judge(self, figures: dict[str, Figure]) -> Judgement | None:
        """Return what was measured, or ``None`` when a figure was not."""
        above = figures.get(self.numerator)
        below = None if self.denominator is None else figures.get(self.denominator)
        if above is None or (self.denominator is not None and below is None):
            return None
        if below is None:
            rounds = above.rounds
        elif len(above.rounds) == len(below.rounds):
            rounds = tuple(a / b for a, b in zip(above.rounds, below.rounds, strict=True))
        else:
            rounds = (above.median / below.median,)
        return Judgement(self, rounds)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A limit, and what was measured."""

    limit: Limit
    rounds: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def is_on_target(self) -> bool:
        """Whether we are where we want to be."""
        return self.value <= self.limit.target

    @property
    def is_failure(self) -> bool:
        """Whether the gate fails because of it."""
        return self.limit.margin is not None and self.value > self.limit.margin.value

    def as_dict(self) -> dict[str, object]:
        """Return what goes into the JSON file."""
        return {**asdict(self), "value": self.value, "on_target": self.is_on_target}


HEADING = f"{'':40} {'median':>9} {'lowest':>9} {'highest':>9}"


def format_figure(figure: Figure) -> str:
    """Return one line of the table."""
    numbers = (figure.median, min(figure.rounds), max(figure.rounds))
    columns = " ".join(f"{number:9.{_places(number)}f}" for number in numbers)
    return f"{figure.name:40} {columns} {figure.unit:8} {figure.remark}".rstrip()


def format_judgement(judgement: Judgement) -> str:
    """Return one line of the table of targets."""
    limit = judgement.limit
    numbers = (judgement.value, min(judgement.rounds), max(judgement.rounds))
    columns = " ".join(f"{number:9.2f}" for number in numbers)
    word = "reached" if judgement.is_on_target else "missed"
    gate = "" if limit.margin is None else f", gate {limit.margin.value:g}"
    return f"{limit.name:40} {columns}  target {limit.target:g} {word}{gate}"


def _places(number: float) -> int:
    return 0 if number >= 10000 else 1 if number >= 10 else 3


@dataclass(slots=True)
class Report:
    """
    All that was measured; each line is printed as it comes.

    :param write: takes a line.
    """

    write: Callable[[str], object] = print
    about: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def begin(self, title: str) -> None:
        """Print the heading of a group of figures."""
        self.write(f"\n{title}\n{HEADING}")

    def add(self, figure: Figure) -> None:
        """Take a figure; one of the same name is replaced."""
        self.figures[figure.name] = figure
        self.write(format_figure(figure))

    def add_rounds(
        self, unit: str, rounds: dict[str, list[float]], remarks: dict[str, str] | None = None
    ) -> None:
        """Take several figures that were measured in turns."""
        for name, values in rounds.items():
            if values:
                self.add(Figure(name, unit, tuple(values), (remarks or {}).get(name, "")))

    def add_curve(self, curve: Curve) -> None:
        """Take a curve; it is for the plots and the JSON file."""
        self.curves[curve.name] = curve

    def note(self, text: str) -> None:
        """Take what went wrong or was left out."""
        self.notes.append(text)
        self.write(text)

    def judge(self, limits: Iterable[Limit]) -> list[Judgement]:
        """Hold the figures against limits; those that were not measured are left out."""
        judged = (limit.judge(self.figures) for limit in limits)
        return [judgement for judgement in judged if judgement is not None]

    def as_dict(self, judgements: Iterable[Judgement] = ()) -> dict[str, object]:
        """Return what goes into the JSON file."""
        return {
            "about": self.about,
            "figures": [figure.as_dict() for figure in self.figures.values()],
            "curves": [asdict(curve) for curve in self.curves.values()],
            "limits": [judgement.as_dict() for judgement in judgements],
            "notes": self.notes,
        }
