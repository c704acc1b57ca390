# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The benchmarks run: what they measure still works. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import inprocess, processes
from benchmarks.results import Result, format_result

from .peers import PeerTestCase
from .tools import ROOT, free_port


class BenchmarkTests(PeerTestCase):
    """Each kind of figure is obtained once."""

    def test_in_process(self) -> None:
        """Parsing, transactions and calls in process give figures, and leave nothing behind."""
        results = list(inprocess.run(1, 0.0))
        self.assertEqual(len(results), 6)
        for result in results:
            self.assertGreater(result.median, 0.0, result.name)

    def test_reflector(self) -> None:
        """The reflector passes for a server with SIPp; so the scale is one of whole calls."""
        self.require("sipp")
        server = processes.SERVERS["    for scale: a stateless reflector"]
        command, port = server(self.folder)
        with processes.running(command, port, self.folder):
            counted = processes.place_calls(port, 20, self.folder)
        self.assertEqual(counted.successful, 20)

    def test_server_that_ends(self) -> None:
        """A server that ends at once is told, with what it printed."""
        command = [sys.executable, "-c", "print('no')"]
        running = processes.running(command, free_port(), self.folder)
        with self.assertRaisesRegex(AssertionError, "ended at once:\nno"), running:
            self.fail("it never ran")

    def test_result(self) -> None:
        """The table shows median, lowest and highest; JSON has every round."""
        result = Result("name", (3.0, 1.0, 10.0), "a remark")
        words = format_result(result).split()
        self.assertEqual(words, ["name", "3.0", "1.0", "10.0", "a", "remark"])
        data = json.loads(json.dumps(result.as_dict()))
        self.assertEqual((data["median"], data["rounds"]), (3.0, [3.0, 1.0, 10.0]))

    def test_help(self) -> None:
        """The command line explains itself."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--json FILE", done.stdout)
