# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The examples of the sdp-parser's page are run."""

from __future__ import annotations

import doctest
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sdp-parser.rst"


class PageTests(SynchronousTestCase):
    """docs/sdp-parser.rst."""

    def test_examples(self) -> None:
        """Every example of the page does what the page says."""
        test = doctest.DocTestParser().get_doctest(PAGE.read_text("utf-8"), {}, PAGE.name, None, 0)
        out = StringIO()
        results = doctest.DocTestRunner(verbose=False).run(test, out=out.write)
        self.assertEqual(results.failed, 0, out.getvalue())
        self.assertGreater(results.attempted, 30)
