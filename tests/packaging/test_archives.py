# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is in the wheel and in the sdist, and what is not."""

from __future__ import annotations

import tarfile
import zipfile

from twisted.trial.unittest import SynchronousTestCase

from tests.packaging import environments


class WheelTests(SynchronousTestCase):
    """The files of the wheel."""

    def setUp(self) -> None:
        """Build it, once."""
        environments.skip_without_tools()
        with zipfile.ZipFile(environments.wheel()) as archive:
            self.names = set(archive.namelist())

    def test_no_init_under_twisted(self) -> None:
        """An ``__init__.py`` in twisted/plugins would overwrite Twisted's own, without a word."""
        ours = {name for name in self.names if name.startswith("twisted/")}
        self.assertEqual(ours, {"twisted/plugins/sipsess_twistd.py"})

    def test_tests_and_docs_are_not_shipped(self) -> None:
        """Only sipsess, the plugin module and the metadata land in site-packages."""
        tops = {name.split("/")[0] for name in self.names}
        metadata = {top for top in tops if top.endswith(".dist-info")}
        self.assertEqual(tops - metadata, {"sipsess", "twisted"})
        self.assertEqual(len(metadata), 1)

    def test_every_module_is_shipped(self) -> None:
        """Each module of the tree is in the wheel; no package is forgotten."""
        tree = environments.source()
        modules = {str(path.relative_to(tree)) for path in (tree / "sipsess").rglob("*.py")}
        self.assertEqual(modules - self.names, set())

    def test_drop_in_package_is_shipped(self) -> None:
        """sipsess.plugins is there, where third parties drop their modules in."""
        self.assertIn("sipsess/plugins/__init__.py", self.names)

    def test_type_marker_is_shipped(self) -> None:
        """Type checkers look for py.typed."""
        self.assertIn("sipsess/py.typed", self.names)

    def test_sounds_are_shipped(self) -> None:
        """Each sound of the tree is in the wheel."""
        tree = environments.source()
        sounds = {str(path.relative_to(tree)) for path in tree.glob("sipsess/sounds/*.wav")}
        self.assertEqual(sounds - self.names, set())

    def test_licence_is_shipped(self) -> None:
        """The MIT licence wants its text in every copy."""
        self.assertTrue(any(name.endswith("/LICENSE") for name in self.names))


class SdistTests(SynchronousTestCase):
    """The files of the sdist."""

    def setUp(self) -> None:
        """Build it, once."""
        environments.skip_without_tools()
        with tarfile.open(environments.sdist()) as archive:
            self.names = {name.partition("/")[2] for name in archive.getnames()}

    def test_what_building_needs_is_there(self) -> None:
        """The sdist builds and can be tested without the repository."""
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tox.ini"):
            self.assertIn(name, self.names)
        self.assertIn("twisted/plugins/sipsess_twistd.py", self.names)
        self.assertIn("tests/__init__.py", self.names)

    def test_no_init_under_twisted(self) -> None:
        """Not even the sdist may hold one."""
        self.assertNotIn("twisted/__init__.py", self.names)
        self.assertNotIn("twisted/plugins/__init__.py", self.names)

    def test_no_plugin_cache(self) -> None:
        """dropin.cache belongs to one installation only."""
        self.assertEqual([name for name in self.names if name.endswith("dropin.cache")], [])


class LeftoverTests(SynchronousTestCase):
    """What a build leaves behind in the checkout."""

    def test_git_ignores_what_pip_leaves_behind(self) -> None:
        """``pip install .`` and ``pip install -e .`` leave the checkout clean for git."""
        ignored = (environments.ROOT / ".gitignore").read_text().split()
        for pattern in ("/build/", "/dist/", "*.egg-info/", "dropin.cache"):
            self.assertIn(pattern, ignored)

    def test_mypy_has_its_paths(self) -> None:
        """A stray build/ would give mypy each module twice; so its paths are named."""
        text = (environments.ROOT / "setup.cfg").read_text()
        self.assertRegex(text, r"(?m)^files = sipsess, twisted/plugins, tests\b")
