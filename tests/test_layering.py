# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The shape of the source: who may import whom, and what each file must have."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from inspect import getfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipsess.interfaces import IApplication
from sipsess.plugins import sipsess_builtin
from tests import rings
from tests.source import ROOT, Import, Module, package_modules, python_files, text_files

LICENCE_LINE = "# Copyright (c) the sipsess contributors. MIT licence, see LICENSE."
MAX_LINES = 500
MAX_FUNCTION_LINES = 40

#: Standard modules that read a clock, make randomness or do I/O behind the caller's back.
WORLD = frozenset(
    {
        *("asyncio", "concurrent", "logging", "multiprocessing", "sched", "secrets", "select"),
        *("selectors", "signal", "socket", "ssl", "subprocess", "threading", "time", "uuid"),
    }
)

#: In the standard library of some Python versions only.
OPTIONAL = frozenset({"audioop"})

#: Types that arguments have; the functions of the module are silent randomness.
RANDOM_TYPES = frozenset({"random", "random.Random", "random.SystemRandom"})

#: What means nothing to a reader: paths of one machine, numbers of one tracker.
PRIVATE = re.compile(
    r"(?<![\w.<])/(?:work|root|Users)/|/home/(?!user\b)\w|\bissues? #?\d|\bissues (?:show|list)\b"
    r"|\bthis brief\b|\bthe brief\b|\bhelper session|\bsub-?agent\b",
    re.IGNORECASE,
)


def _reads(imported: str, allowed: str) -> bool:
    return imported == allowed or imported.startswith(allowed + ".")


def _is_ours(item: Import) -> bool:
    return _reads(item.module, "sipsess")


def _in_ring(*names: str) -> Iterator[Module]:
    return (module for module in package_modules() if rings.ring_of(module.name) in names)


class LayeringTests(SynchronousTestCase):
    """Imports go inwards only: shell, policy, pure."""

    def assert_none(self, found: list[str]) -> None:
        """Fail with every finding, one a line."""
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_every_module_has_a_ring(self) -> None:
        """A new module is put into a ring before it is used."""
        for module in package_modules():
            self.assertIn(rings.ring_of(module.name), rings.COVERAGE)

    def test_imports_go_inwards(self) -> None:
        """No module imports from a ring further out."""
        order = ["pure", "policy", "shell"]
        found = []
        for module in package_modules():
            depth = order.index(rings.ring_of(module.name))
            for item in filter(_is_ours, module.imports()):
                if order.index(rings.ring_of(item.module)) > depth:
                    found.append(
                        f"{module.where(item.line)} imports {item.module} from further out"
                    )
        self.assert_none(found)

    def test_parts_of_the_pure_ring(self) -> None:
        """Inside the pure ring each part imports only the parts that tests/rings.py names."""
        found = []
        for module in _in_ring("pure"):
            part = rings.part_of(module.name)
            allowed = rings.PURE.get(part, frozenset()) | {part, "", "__version__"}
            for item in filter(_is_ours, module.imports()):
                if rings.part_of(item.module) not in allowed:
                    found.append(f"{module.where(item.line)} imports {item.module}")
        self.assert_none(found)

    def test_pure_ring_imports_the_standard_library_only(self) -> None:
        """The pure ring needs nothing from outside, no clock and no socket."""
        found = []
        allowed = (sys.stdlib_module_names - WORLD) | OPTIONAL | {"sipsess"}
        for module in _in_ring("pure"):
            for item in module.imports():
                if item.module.split(".")[0] not in allowed:
                    found.append(f"{module.where(item.line)} imports {item.module}")
        self.assert_none(found)

    def test_policy_ring_imports(self) -> None:
        """The policy ring adds zope.interface, Deferred, Failure and Logger, and no more."""
        found = []
        plain = (sys.stdlib_module_names - WORLD) | OPTIONAL | {"sipsess"}
        for module in _in_ring("policy"):
            packages = rings.POLICY_PACKAGES + rings.POLICY_EXCEPTIONS.get(module.name, ())
            for item in module.imports():
                if item.module.split(".")[0] in plain:
                    continue
                if not any(_reads(item.module, package) for package in packages):
                    found.append(f"{module.where(item.line)} imports {item.module}")
        self.assert_none(found)

    def test_randomness_is_an_argument(self) -> None:
        """The pure and policy rings use types of random, and never its module-level functions."""
        found = []
        for module in _in_ring("pure", "policy"):
            names = [item for item in module.imports() if _reads(item.module, "random")]
            for item in names:
                if item.module not in RANDOM_TYPES:
                    found.append(f"{module.where(item.line)} imports {item.module}")
            # Without the import, "random" is a variable that holds somebody's source.
            for node in ast.walk(module.tree) if names else ():
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    name = f"{node.value.id}.{node.attr}"
                    if _reads(name, "random") and name not in RANDOM_TYPES:
                        found.append(f"{module.where(node.lineno)} uses {name}")
        self.assert_none(found)

    def test_registry_is_imported_at_start_up_only(self) -> None:
        """Plugins are found once, by the programs; everything else is given them as arguments."""
        found = []
        for module in package_modules():
            if rings.part_of(module.name) in rings.REGISTRY_USERS | {"registry"}:
                continue
            for item in module.imports():
                if _reads(item.module, "sipsess.registry") or item.module.endswith(".getPlugins"):
                    found.append(f"{module.where(item.line)} imports {item.module}")
        self.assert_none(found)

    def test_nobody_imports_plugin_modules(self) -> None:
        """Only the registry looks into sipsess.plugins."""
        found = []
        for module in package_modules():
            if rings.part_of(module.name) in {"registry", "plugins"}:
                continue
            for item in module.imports():
                if _reads(item.module, "sipsess.plugins") and item.is_at_module_level:
                    found.append(f"{module.where(item.line)} imports {item.module}")
        self.assert_none(found)

    def test_no_reactor_at_module_level(self) -> None:
        """Importing our modules never chooses the reactor."""
        found = []
        for module in package_modules():
            for item in module.imports():
                if item.module.endswith("internet.reactor") and item.is_at_module_level:
                    found.append(module.where(item.line))
        self.assert_none(found)

    def test_importing_everything_installs_no_reactor(self) -> None:
        """Not even by way of somebody else's module is a reactor installed."""
        names = [
            module.name for module in package_modules() if not module.name.endswith("__main__")
        ]
        program = (
            "import importlib, sys\n"
            f"for name in {names!r}:\n"
            "    importlib.import_module(name)\n"
            "    if 'twisted.internet.reactor' in sys.modules:\n"
            "        sys.exit(f'{name} installs the reactor')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)


class FileTests(SynchronousTestCase):
    """What every file has, and what none has."""

    def test_licence_line(self) -> None:
        """Each Python file starts with the licence line."""
        for path in python_files():
            lines = path.read_text(encoding="utf-8").split("\n", 2)
            first = lines[1] if lines[0].startswith("#!") else lines[0]
            self.assertEqual(first, LICENCE_LINE, path.relative_to(ROOT))

    def test_module_docstring(self) -> None:
        """Each module of the package says what it is."""
        for module in package_modules():
            self.assertTrue(ast.get_docstring(module.tree), module.where(1))

    def test_applications_are_short(self) -> None:
        """An application is an example, too: its module has less than a hundred lines."""
        plugins = vars(sipsess_builtin).values()
        paths = {getfile(type(item)) for item in plugins if IApplication.providedBy(item)}
        self.assertGreater(len(paths), 8)
        for path in map(Path, paths):
            self.assertLess(path.read_text(encoding="utf-8").count("\n"), 100, path.name)

    def test_long_modules_say_why(self) -> None:
        """A module of more than 500 lines gives its reason: "long because ..." in the docstring."""
        for module in package_modules():
            length = module.path.read_text(encoding="utf-8").count("\n")
            if length > MAX_LINES:
                reason = ast.get_docstring(module.tree) or ""
                self.assertIn("long because", reason, f"{module.where(1)} has {length} lines")

    def test_functions_are_short(self) -> None:
        """A function has at most 40 lines of code; docstring and comments do not count."""
        found = []
        for module in package_modules():
            lines = module.path.read_text(encoding="utf-8").split("\n")
            for node in ast.walk(module.tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = _code_lines(node, lines)
                    if length > MAX_FUNCTION_LINES:
                        found.append(f"{module.where(node.lineno)} {node.name}: {length} lines")
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_nothing_private(self) -> None:
        """No file speaks of one developer's machine or of a tracker that its reader cannot see."""
        found = []
        for path in text_files():
            if path.name == "test_layering.py":
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.split("\n"), 1):
                match = PRIVATE.search(line)
                if match:
                    found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]!r}")
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_private_words_are_recognised(self) -> None:
        """The pattern finds what it is for, and leaves ordinary text alone."""
        for text in ("see /work/main/x.py", "/root/.cache", "fixes issue 12", "issues show 2"):
            self.assertTrue(PRIVATE.search(text), text)
        for text in ("the work/ folder", "/usr/share/sip-tester", "an issue of trust", "a session"):
            self.assertFalse(PRIVATE.search(text), text)


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    body = node.body
    if ast.get_docstring(node) is not None:
        body = body[1:]
    if not body:
        return 0
    begin, end = body[0].lineno, body[-1].end_lineno or body[-1].lineno
    texts = [line.strip() for line in lines[begin - 1 : end]]
    return sum(1 for text in texts if text and not text.startswith("#"))
