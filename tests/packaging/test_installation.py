# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Installed outside the checkout: the command is there, and Twisted stays whole."""

from __future__ import annotations

import ast
import base64
import hashlib
import shutil

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.packaging import environments
from tests.packaging.environments import Environment


class EnvironmentCase(SynchronousTestCase):
    """The base of tests that install."""

    def setUp(self) -> None:
        """Skip where the tools are missing."""
        environments.skip_without_tools()

    def assert_command(self, environment: Environment, *, is_listed: bool = True) -> None:
        """Both runners list ``sipsess``, or neither does, and neither prints a traceback."""
        for runner in ("twistd", "twist"):
            text = environment.script(runner, "--help")
            self.assertNotIn("Traceback (most recent", text)
            self.assertNotIn("Unhandled", text)
            self.assertIn("    web ", text, f"{runner} has lost its other commands")
            if is_listed:
                self.assertRegex(text, r"(?m)^    sipsess +A SIP session server\.", runner)
            else:
                self.assertNotIn("sipsess", text)

    def assert_twisted_intact(self, environment: Environment) -> None:
        """Every file of Twisted is as its RECORD says."""
        (record,) = environment.site.glob("[tT]wisted-*.dist-info/RECORD")
        checked = 0
        for line in record.read_text().splitlines():
            name, digest, _ = line.rsplit(",", 2)
            path = environment.site / name
            if not name.startswith("twisted/") or "/test/" in name or not digest:
                continue
            actual = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest())
            self.assertEqual("sha256=" + actual.decode().rstrip("="), digest, name)
            checked += 1
        self.assertGreater(checked, 200)


class CommandTests(EnvironmentCase):
    """``twistd sipsess`` and ``twist sipsess`` exist, however sipsess was installed."""

    def test_normal_installation(self) -> None:
        """pip install of the wheel."""
        self.assert_command(environments.normal())

    def test_installation_from_sdist(self) -> None:
        """pip install of the sdist."""
        self.assert_command(environments.from_sdist())

    def test_editable_installation(self) -> None:
        """pip install -e: without ``package_dir = "= ."`` the command would be missing."""
        self.assert_command(environments.editable())

    def test_installation_with_uv(self) -> None:
        """uv pip install, both ways."""
        uv = shutil.which("uv")
        if uv is None:
            raise SkipTest("uv is not installed")
        for name, what in (("uv", ["."]), ("uv-editable", ["-e", "."])):
            environment = environments.bare().clone(name)
            place = ["--python", environment.python, "--offline", "--no-build-isolation"]
            tree = environments.source(f"{name}-source")
            environments.run(uv, "pip", "install", *place, "--no-deps", *what, cwd=tree)
            self.assert_command(environment)

    def test_requirements_are_complete(self) -> None:
        """pip finds no requirement unmet."""
        self.assertIn("No broken requirements", environments.normal().pip("check"))

    def test_console_script(self) -> None:
        """The ``sipsess`` program is installed."""
        self.assertTrue((environments.normal().path / "bin" / "sipsess").exists())

    def test_package_is_the_installed_one(self) -> None:
        """The environments do not see the checkout."""
        environment = environments.normal()
        place = environment.evaluate("import sipsess; print(sipsess.__file__)")
        self.assertTrue(place.startswith(str(environment.site)), place)


class PluginModuleTests(EnvironmentCase):
    """The module under twisted/plugins, which every Twisted command on the machine imports."""

    def test_name_is_pinned(self) -> None:
        """Old plugin caches hold the names of the module and of its attribute: neither changes."""
        path = environments.ROOT / "twisted" / "plugins" / "sipsess_twistd.py"
        body = ast.parse(path.read_text()).body[1:]
        self.assertEqual(
            [ast.unparse(node) for node in body],
            [
                "from twisted.application.service import ServiceMaker",
                "sipsess = ServiceMaker('sipsess', 'sipsess.tap', "
                "'A SIP session server.', 'sipsess')",
            ],
        )

    def test_importing_it_never_imports_the_reactor(self) -> None:
        """Otherwise ``--reactor`` would be broken for everybody."""
        program = (
            "import sys, twisted.plugins.sipsess_twistd\n"
            "heavy = 'twisted.internet.reactor', 'sipsess.tap'\n"
            "print([name for name in heavy if name in sys.modules])"
        )
        self.assertEqual(environments.normal().evaluate(program), "[]")

    def test_options_never_import_the_reactor(self) -> None:
        """twistd loads sipsess.tap before it installs the reactor that ``--reactor`` names."""
        program = "import sys, sipsess.tap; print('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(environments.normal().evaluate(program), "False")
        text = environments.normal().script("twistd", "--reactor=poll", "sipsess", "--help")
        self.assertIn("--listen", text)


class CacheTests(EnvironmentCase):
    """Twisted's dropin.cache."""

    def test_unwritable_cache(self) -> None:
        """A service user without write access still gets the command and the drop-ins."""
        environment = environments.normal().clone("unwritable")
        for folder in ("twisted/plugins", "sipsess/plugins"):
            # Not permissions, which root ignores: a directory that is in the way of the cache.
            blocked = environment.site / folder / "dropin.cache"
            blocked.unlink(missing_ok=True)
            (blocked / "in-the-way").mkdir(parents=True)
        self.assert_command(environment)
        program = (
            "from twisted.plugin import IPlugin, getPlugins\n"
            "import sipsess.plugins; print(len(list(getPlugins(IPlugin, sipsess.plugins))) >= 0)"
        )
        self.assertEqual(environment.evaluate(program), "True")

    def test_read_from_the_cache(self) -> None:
        """The second run, which reads the cache that the first one wrote, lists the command too."""
        environment = environments.normal().clone("cached")
        self.assert_command(environment)
        self.assertTrue((environment.site / "twisted" / "plugins" / "dropin.cache").is_file())
        self.assert_command(environment)


class RemovalTests(EnvironmentCase):
    """Uninstalling."""

    def test_installation_leaves_twisted_intact(self) -> None:
        """No file of Twisted is overwritten."""
        self.assert_twisted_intact(environments.normal())

    def test_uninstallation_leaves_twisted_intact(self) -> None:
        """The command is gone, Twisted and its other commands are not."""
        for name, installed in (("normal", environments.normal()), ("-e", environments.editable())):
            environment = installed.clone(f"uninstalled{name}")
            environment.script("twistd", "--help")  # writes the cache that is stale afterwards
            environment.pip("uninstall", "-q", "-y", "sipsess")
            self.assert_twisted_intact(environment)
            self.assert_command(environment, is_listed=False)
