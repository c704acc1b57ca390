# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The drawings in ``docs/state-machines`` show the tables as they are."""

from __future__ import annotations

import ast
import runpy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.source import ROOT, package_modules

SCRIPT = ROOT / "docs" / "make_state_diagrams.py"


def script() -> dict[str, Any]:
    """Return the names that the script defines."""
    return runpy.run_path(str(SCRIPT))


def declared_tables() -> set[tuple[str, str]]:
    """Return module and name of everything in the source that says it is a ``Table``."""
    return {
        (module.name, node.target.id)
        for module in package_modules()
        for node in module.tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
        and node.annotation.id == "Table"
    }


class StateDiagramTests(SynchronousTestCase):
    """Drawings and tables."""

    def test_up_to_date(self) -> None:
        """Each drawing is what its table gives; else run docs/make_state_diagrams.py."""
        names = script()
        found = {
            path.name: path.read_text(encoding="utf-8") for path in names["FOLDER"].glob("*.dot")
        }
        drawings = names["draw"]()
        self.assertEqual(sorted(found), sorted(drawings))
        for name, text in drawings.items():
            self.assertEqual(found[name], text, f"{name}: run docs/make_state_diagrams.py")

    def test_every_table_is_drawn(self) -> None:
        """No table of the source is missing in the script; add it to TABLES there."""
        listed = {(module, attribute) for _, module, attribute, _ in script()["TABLES"]}
        self.assertEqual(listed, declared_tables())

    def test_initial_states(self) -> None:
        """The states that a drawing begins with are states of its table."""
        names = script()
        for name, text in names["draw"]().items():
            (initial,) = (row[3] for row in names["TABLES"] if f"{row[0]}.dot" == name)
            for state in initial:
                self.assertIn(f"    {state};\n", text, name)
