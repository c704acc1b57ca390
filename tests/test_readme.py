# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The code of the pages is run: what a reader would save is saved, and its tests pass."""

from __future__ import annotations

import ast
import pathlib
import re

from twisted.trial.unittest import SynchronousTestCase

from sipsess.config import load
from sipsess.config.plan import find_configured_plugins, make_plan
from sipsess.testing import CallPair
from tests.examples import EXAMPLES, file_name, files, pages, python_blocks, run_trial, write_files
from tests.source import ROOT
from tests.test_docs import snippets

README = ROOT / "README.md"

#: Pages whose blocks are no files, and the test that runs them.
RUN_ELSEWHERE = {
    "docs/writing-an-sdp-handler.rst": "tests/policy/test_sdp_handler_page.py",
    "docs/how-to/ship-plugins.rst": "tests/packaging/test_shipping_page.py",
    "docs/how-to/configure.rst": "tests/test_configuration_docs.py",
    "docs/how-to/voice-agents.rst": "tests/interop/test_readme_commands.py",
    "docs/on-the-open-internet.rst": "tests/policy/test_defence_page.py",
}


def pages_here() -> list[pathlib.Path]:
    """Return the pages whose code is run here."""
    return [page for page in pages() if str(page.relative_to(ROOT)) not in RUN_ELSEWHERE]


class BlockTests(SynchronousTestCase):
    """Blocks of Python."""

    def test_each_block_is_a_file(self) -> None:
        """Each block begins with the name to save it under, so that the tests below run it."""
        for page in pages_here():
            for code in python_blocks(page):
                self.assertIsNotNone(file_name(code), f"{page.name}:\n{code}")

    def test_other_pages_are_run_elsewhere(self) -> None:
        """A page that is left out here has a test of its own, which names it."""
        for page, test in RUN_ELSEWHERE.items():
            self.assertIn(pathlib.PurePath(page).name, (ROOT / test).read_text(encoding="utf-8"))

    def test_each_file_is_used_by_a_test(self) -> None:
        """Each file of a page is a test, or one of the page's tests imports it."""
        for page in pages_here():
            found = files(page)
            tests = "".join(code for name, code in found.items() if _is_test(name))
            for name in found:
                module = name.removesuffix(".py").replace("/", ".")
                if not _is_test(name):
                    self.assertRegex(tests, rf"\b{re.escape(module)}\b", f"{page.name}: {name}")

    def test_tests_of_the_pages_pass(self) -> None:
        """The tests that a page shows pass where a reader would run them."""
        for page in pages_here():
            modules = [name.removesuffix(".py") for name in files(page) if _is_test(name)]
            if not modules:
                continue
            folder = pathlib.Path(self.mktemp()).absolute()
            write_files(page, folder)
            done = run_trial(folder, *modules)
            self.assertEqual(done.returncode, 0, f"{page.name}\n{done.stdout}")
            self.assertRegex(done.stdout, r"PASSED \(successes=[1-9]", page.name)


class ReadmeTests(SynchronousTestCase):
    """README.md."""

    def test_the_drop_in_is_short(self) -> None:
        """It is as short as its heading says."""
        code = files(README)["plugins/doorman.py"]
        lines = [line for line in code.splitlines()[1:] if line.strip()]
        self.assertEqual(len(lines), 11)
        self.assertIn("## A plugin in eleven lines\n", README.read_text(encoding="utf-8"))

    def test_the_drop_in_is_the_example(self) -> None:
        """examples/doorman.py holds the same code."""
        shown = ast.parse(files(README)["plugins/doorman.py"])
        example = ast.parse((EXAMPLES / "doorman.py").read_text(encoding="utf-8"))
        self.assertEqual(ast.dump(shown), ast.dump(ast.Module(example.body[1:], [])))

    def test_the_menu(self) -> None:
        """The voice menu is a good configuration, and a key leads to the announcement."""
        [text] = [code for language, code in snippets(README) if language == "toml"]
        file = pathlib.Path(self.mktemp())
        file.write_text(text, encoding="utf-8")
        loaded = load(str(file), {})
        plan = make_plan(loaded, *find_configured_plugins(loaded))
        pair = CallPair()
        pair.callee.manager.router = plan.router
        call = pair.dial("sip:office@192.0.2.1")
        pair.net.run_for(1)
        self.assertEqual(call.outcome, (200, "OK"))
        call.phone.send_digits("1")
        pair.net.run_for(0.5)
        self.assertFalse(call.is_over)
        # The greeting would last for six seconds yet; two beeps do not.
        pair.net.run_for(1)
        self.assertTrue(call.is_over)
        pair.settle()

    def test_one_command_runs_the_server(self) -> None:
        """One line installs it and starts the server (PEP 668: in an environment of its own)."""
        text = README.read_text(encoding="utf-8")
        self.assertIn("pip install . && .venv/bin/twistd -n sipsess\n", text)


def _is_test(name: str) -> bool:
    return pathlib.PurePath(name).name.startswith("test_")
