# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Plots of the curves: cost against rate, cost and memory against calls held."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from benchmarks.environments import MissingError
from benchmarks.results import Curve, Report

#: File name, title, and what the names of its curves begin with and end with.
PLOTS = (
    ("cost-against-rate", "What a call costs, up to the highest clean rate", "rate: ", ""),
    ("cost-against-calls", "What one more call costs, real servers", "concurrency: ", ", cost"),
    ("memory-against-calls", "Memory in use, real servers", "concurrency: ", ", memory"),
    ("cost-in-process", "What one more call costs, in process", "held: ", ""),
)


def check() -> None:
    """
    Check that plots can be made.

    :raises MissingError: when matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  an extra
    except ImportError:
        text = "matplotlib is not installed: pip install 'sipsess[bench]'"
        raise MissingError(text) from None


def draw(report: Report, folder: pathlib.Path) -> list[pathlib.Path]:
    """Write a file for each plot of which there are curves."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, begin, end in PLOTS:
        curves = {
            curve.name.removeprefix(begin).removesuffix(end): curve
            for curve in report.curves.values()
            if curve.name.startswith(begin) and curve.name.endswith(end) and curve.points
        }
        if curves:
            path = folder / f"{name}.svg"
            _draw(path, title, curves.items())
            written.append(path)
    return written


def _draw(path: pathlib.Path, title: str, curves: Iterable[tuple[str, Curve]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text as text, and the same identifiers each time: small files that change only when they must.
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sipsess"})
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, curve in curves:
        axes.plot(*zip(*curve.points, strict=True), marker=".", label=name)
        axes.set_xlabel(curve.x_label)
        axes.set_ylabel(curve.y_label)
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
