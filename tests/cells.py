# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which cells of the state tables do whole agents meet? ``python -m tests.cells`` prints the others.

The unit tests of each machine meet every cell of it. This asks something else: which of them real
messages lead to, in the tests that have a whole agent on a virtual network. Cells that would be a
bug of ours (illegal ones) are left out.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from contextlib import chdir
from tempfile import TemporaryDirectory
from unittest import TestResult

from twisted.trial.runner import TestLoader

from sipsess.machine import Table, recording
from tests.source import ROOT

#: A cell: table, state, event.
Place = tuple[str, str, str]

#: The packages whose tests have whole agents.
PACKAGES = ("tests.sim", "tests.policy", "tests.shell")


def load_tables() -> dict[str, Table]:
    """Return title to table of each machine that is drawn."""
    path = ROOT / "docs" / "make_state_diagrams.py"
    spec = importlib.util.spec_from_file_location("make_state_diagrams", path)
    assert spec is not None and spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    tables: dict[str, Table] = {}
    for name, module, attribute, _ in drawing.TABLES:
        found: Table = getattr(importlib.import_module(module), attribute)
        tables[name] = found
    return tables


def legal_cells(tables: dict[str, Table]) -> set[Place]:
    """Return all cells that may be met."""
    return {
        (name, state, event)
        for name, table in tables.items()
        for state, cells in table.items()
        for event, cell in cells.items()
        if cell.legal
    }


def met_by(names: Iterable[str]) -> set[Place]:
    """
    Run tests and return the cells that they met.

    :param names: of packages, modules, classes or tests.
    :raises AssertionError: when one of them fails.
    """
    loader = TestLoader()
    with recording(load_tables()) as seen:
        for name in names:
            result = TestResult()
            loader.loadByName(name, recurse=True).run(result)
            if not result.wasSuccessful():
                raise AssertionError([str(test) for test, _ in result.failures + result.errors])
    return set(seen)


def main() -> None:
    """Print the cells that no whole agent meets, and how many it does."""
    cells = legal_cells(load_tables())
    with TemporaryDirectory() as folder, chdir(folder):
        met = met_by(sys.argv[1:] or PACKAGES) & cells
    lines = [" ".join(place) for place in sorted(cells - met)]
    lines.append(f"{len(met)} of {len(cells)} legal cells were met")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
