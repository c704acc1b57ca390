# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The gate's last lines tell the truth, whatever happened to the suite before."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.source import ROOT

_GREEN = "Ran 5 tests in 1.5s\n\nPASSED (skips=1, expectedFailures=1, successes=3)\n"
_RED = "Ran 9 tests in 1.5s\n\nFAILED (failures=1, errors=2, successes=6)\n"
_SKIPPED_PEER = """
===============================================================================
[SKIPPED]
sipp is not installed

tests.interop.test_sipp.SippTests.test_calls
tests.interop.test_sipp.SippTests.test_media
"""
_SKIPPED_OTHER = """
===============================================================================
[SKIPPED]
uv is not installed

tests.packaging.test_installation.CommandTests.test_installation_with_uv
"""
_LINE = "-" * 79 + "\n"


class SummaryTests(SynchronousTestCase):
    """.ci/summary.py reads the log of the suite."""

    def summarise(self, log: str, *failed_steps: str) -> tuple[int, str]:
        """Run it on a log; return its exit status and its last line."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(log)
        command = [sys.executable, str(ROOT / ".ci" / "summary.py"), path, *failed_steps]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout.splitlines()[-1]

    def test_everything_passed(self) -> None:
        """Expected failures of the conformance lists count as passed."""
        self.assertEqual(self.summarise(_GREEN), (0, "4 passed, 0 failed, 1 skipped"))

    def test_suite_failed(self) -> None:
        """Failures and errors are both failed tests."""
        self.assertEqual(self.summarise(_RED, "suite"), (1, "6 passed, 3 failed, 0 skipped"))

    def test_last_result_counts(self) -> None:
        """What a test printed of another run of trial does not count."""
        self.assertEqual(self.summarise(_RED + _GREEN)[0], 0)

    def test_suite_never_finished(self) -> None:
        """A suite that was killed is a failure, not an empty success."""
        self.assertEqual(self.summarise("tests.pure\n"), (1, "0 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.summarise("", "tox"), (1, "0 passed, 1 failed, 0 skipped"))

    def test_no_test_ran(self) -> None:
        """A suite without tests passed nothing."""
        self.assertEqual(self.summarise("Ran 0 tests in 0.000s\n\nPASSED\n")[0], 1)

    def test_check_failed(self) -> None:
        """A failed check makes the gate red although every test passed."""
        self.assertEqual(self.summarise(_GREEN, "types"), (1, "4 passed, 1 failed, 1 skipped"))

    def test_peer_was_skipped(self) -> None:
        """A test with a real peer is never skipped in the gate; others may be."""
        self.assertEqual(self.summarise(_SKIPPED_OTHER + _LINE + _GREEN)[0], 0)
        status, line = self.summarise(_SKIPPED_OTHER + _SKIPPED_PEER + _LINE + _GREEN)
        self.assertEqual((status, line), (1, "4 passed, 2 failed, 1 skipped"))


class ScriptTests(SynchronousTestCase):
    """.ci/run itself."""

    def test_it_can_be_run(self) -> None:
        """It is executable, and bash can read it."""
        path = ROOT / ".ci" / "run"
        self.assertTrue(path.stat().st_mode & 0o100)
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_the_suite_is_the_commands_of_the_readme(self) -> None:
        """What the README tells a newcomer to type is what the gate runs."""
        self.assertIn("install tox && .venv/bin/tox\n", (ROOT / "README.md").read_text())
        self.assertIn("tox run --colored no\n", (ROOT / ".ci" / "run").read_text())
