# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""docs/how-to/ship-plugins.rst: the distribution of the page is installed, and its plugin found."""

from __future__ import annotations

import pathlib

from tests.examples import write_files
from tests.packaging import environments
from tests.packaging.environments import Environment, run
from tests.packaging.test_installation import EnvironmentCase
from tests.source import ROOT

PAGE = ROOT / "docs" / "how-to" / "ship-plugins.rst"


def distribution(name: str) -> pathlib.Path:
    """Save the files of the page, and return where they are."""
    tree = environments.workspace() / f"shipped-{name}"
    write_files(PAGE, tree)
    return tree


class ShippingTests(EnvironmentCase):
    """The files of the page, as they are."""

    def assert_found(self, environment: Environment) -> None:
        """The plugin is listed, with its file."""
        listing = run(environment.python, "-m", "sipsess.cli", "plugins")
        self.assertRegex(listing, r"500  acme-badge .*sipsess_acme_badge\.py\n")
        self.assertNotIn("problems", listing)

    def test_installed(self) -> None:
        """pip install ."""
        environment = environments.normal().clone("shipped")
        environment.install(distribution("normal"))
        self.assert_found(environment)

    def test_editable(self) -> None:
        """pip install -e ."""
        environment = environments.normal().clone("shipped-editable")
        environment.install("-e", distribution("editable"))
        self.assert_found(environment)

    def test_its_test_passes(self) -> None:
        """The test runs beside both packages, installed or not."""
        tree = distribution("tested")
        text = run(environments.normal().python, "-m", "twisted.trial", "test_badge", cwd=tree)
        self.assertIn("PASSED (successes=1)", text)
