# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Drop-ins that other people's distributions bring."""

from __future__ import annotations

import pathlib
import textwrap

from tests.packaging import environments
from tests.packaging.environments import Environment
from tests.packaging.test_installation import EnvironmentCase

_FILES = {
    "pyproject.toml": """
        [build-system]
        requires = ["setuptools>=70.1"]
        build-backend = "setuptools.build_meta"
        """,
    "setup.cfg": """
        [metadata]
        name = sipsess-billing
        version = 1
        [options]
        package_dir =
            = .
        packages =
            sipsess_billing
            sipsess.plugins
        """,
    "sipsess_billing/__init__.py": "",
    "sipsess_billing/impl.py": """
        from twisted.plugin import IPlugin
        from zope.interface import implementer

        @implementer(IPlugin)
        class Bill:
            name = "billing"

        bill = Bill()
        """,
    "sipsess/plugins/sipsess_billing_dropin.py": "from sipsess_billing.impl import bill\n",
}

_FIND = (
    "from twisted.plugin import IPlugin, getPlugins\n"
    "import sipsess.plugins as p\n"
    "print([x.name for x in getPlugins(IPlugin, p) if x.name == 'billing'])"
)


def third_party(name: str) -> pathlib.Path:
    """Write the source of a third-party distribution with one drop-in, and return where it is."""
    tree = environments.workspace() / f"third-party-{name}"
    for path, text in _FILES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(textwrap.dedent(text).lstrip())
    return tree


class DropInTests(EnvironmentCase):
    """A drop-in is found, whichever of the two distributions is editable."""

    def assert_found(self, installed: Environment, *options: str) -> Environment:
        """Install the third party's distribution and find its plugin; then again, cached."""
        name = "-".join([installed.path.name, *(option.strip("-") for option in options)])
        environment = installed.clone(f"third-{name}")
        environment.install(*options, third_party(name))
        self.assertEqual(environment.evaluate(_FIND), "['billing']")
        self.assertEqual(environment.evaluate(_FIND), "['billing']")
        return environment

    def test_both_normal(self) -> None:
        """sipsess normal, drop-in normal."""
        self.assert_found(environments.normal())

    def test_drop_in_editable(self) -> None:
        """sipsess normal, drop-in editable."""
        self.assert_found(environments.normal(), "-e")

    def test_sipsess_editable(self) -> None:
        """sipsess editable, drop-in normal."""
        self.assert_found(environments.editable())

    def test_both_editable(self) -> None:
        """sipsess editable, drop-in editable."""
        self.assert_found(environments.editable(), "-e")

    def test_orphan_makes_no_noise(self) -> None:
        """sipsess is uninstalled and a drop-in stays: no Twisted command complains."""
        environment = environments.normal().clone("orphan")
        environment.install(third_party("orphan"))
        environment.pip("uninstall", "-q", "-y", "sipsess")
        self.assert_command(environment, is_listed=False)


class BrokenDropInTests(EnvironmentCase):
    """A drop-in that cannot be imported is nobody else's trouble."""

    def test_broken_drop_in_makes_no_noise(self) -> None:
        """twistd, twist and trial say nothing about a broken module in sipsess.plugins."""
        environment = environments.normal().clone("broken")
        broken = environment.site / "sipsess" / "plugins" / "sipsess_broken.py"
        broken.write_text("raise RuntimeError('this drop-in is broken')\n")
        self.assert_command(environment)
        for script, *arguments in (("twistd", "web", "--help"), ("trial", "--help-reporters")):
            text = environment.script(script, *arguments)
            self.assertNotIn("Traceback (most recent", text)
            self.assertNotIn("this drop-in is broken", text)
