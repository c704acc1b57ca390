# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the pages tell a reader to type, typed, with a real server and the real test phone."""

from __future__ import annotations

import pathlib

from twisted.trial.unittest import SynchronousTestCase

from tests.examples import pages
from tests.interop.console import Console, expression
from tests.source import ROOT
from tests.test_docs import snippets


class ExpressionTests(SynchronousTestCase):
    """What may differ from a page, and what may not."""

    def assert_like(self, shown: str, printed: str, is_like: bool = True) -> None:
        """Check whether something may be printed where a page shows something."""
        check = self.assertRegex if is_like else self.assertNotRegex
        check(printed + "\n", rf"\A{expression(shown)}\Z")

    def test_times_and_addresses_differ(self) -> None:
        """Times, ports, addresses, Call-IDs and the width of columns may differ."""
        self.assert_like("  INVITE sip:a@127.0.0.1  --->   0.000", " INVITE sip:a@10.0.0... -> 1.5")
        self.assert_like("call (Call-ID abc123)", "call (Call-ID x7)")
        self.assert_like("a\n...\nz", "a\nb\nc\nz")

    def test_words_and_statuses_do_not(self) -> None:
        """Words, statuses and small numbers must be those of the page."""
        self.assert_like("refused: 403 Forbidden", "refused: 404 Forbidden", is_like=False)
        self.assert_like("refused: 403 Forbidden", "answered", is_like=False)
        self.assert_like("  100  doorman", "  101  doorman", is_like=False)


class PageTests(SynchronousTestCase):
    """Each page that has a block of ``sh``."""

    def type(self, name: str) -> Console:
        """Do all that a page says."""
        console = Console(ROOT / name, pathlib.Path(self.mktemp()).absolute())
        console.run()
        return console

    def test_every_page_is_typed(self) -> None:
        """No page with commands is left out here."""
        source = pathlib.Path(__file__).read_text(encoding="utf-8")
        for page in pages():
            if any(language == "sh" for language, _ in snippets(page)):
                self.assertIn(f'self.type("{page.relative_to(ROOT)}")', source)

    def test_readme(self) -> None:
        """README: hello is called, the drop-in is found and refuses its caller, its test runs."""
        statuses = self.type("README.md").statuses
        failed = [command for command, status in statuses.items() if status]
        self.assertEqual(
            failed, [".venv/bin/sipsess call sip:hello@127.0.0.1 --from sip:mallory@example.com"]
        )

    def test_tutorial(self) -> None:
        """The tutorial, from the first call to the one that is sent away."""
        statuses = self.type("docs/tutorial.rst").statuses
        failed = [command for command, status in statuses.items() if status]
        self.assertEqual(failed, [".venv/bin/sipsess call sip:menu@127.0.0.1"])
