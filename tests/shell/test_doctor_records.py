# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess doctor`` and the file of call records: whether it can be written."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipsess.doctor import OK, WRONG, examine_call_records


class RecordFileTests(SynchronousTestCase):
    """Where the file is, or shall be."""

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def examine(self, name: str) -> tuple[str, str]:
        """Return the level and the text for a file."""
        (finding,) = examine_call_records(self.directory / name)
        return finding.level, finding.text

    def test_none(self) -> None:
        """Without a file there is nothing to say."""
        self.assertEqual(list(examine_call_records(None)), [])

    def test_good(self) -> None:
        """One that is there can be written, and one that is not there can be made; it is not."""
        self.assertEqual(self.examine("calls")[0], OK)
        self.assertEqual(list(self.directory.iterdir()), [])
        (self.directory / "calls").touch()
        self.assertEqual(self.examine("calls")[0], OK)

    def test_no_directory(self) -> None:
        """Without its directory the server would not start."""
        level, text = self.examine("none/calls")
        self.assertEqual(level, WRONG)
        self.assertIn(f"there is no directory {self.directory / 'none'}", text)

    def test_not_to_be_written(self) -> None:
        """A directory is no file, and the rights may be missing."""
        self.assertIn("cannot be written", self.examine(".")[1])
        self.patch(os, "access", lambda path, mode: False)
        self.assertEqual(self.examine("calls")[0], WRONG)
