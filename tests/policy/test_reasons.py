# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The table of all reason codes."""

from __future__ import annotations

from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from sipsess.reasons import all_reasons
from tests.source import package_modules


class ReasonTests(SynchronousTestCase):
    """Every room's table is in it."""

    def test_no_table_is_left_out(self) -> None:
        """Each ``REASONS`` of the package is merged, sorted by code."""
        wanted: dict[str, str] = {}
        for module in package_modules():
            if "\nREASONS" in module.path.read_text(encoding="utf-8"):
                wanted |= import_module(module.name).REASONS
        self.assertEqual(all_reasons(), wanted)
        self.assertEqual(list(all_reasons()), sorted(wanted))
        self.assertIn("merged-request", wanted)
