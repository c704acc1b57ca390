# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the pages tell a reader to type, typed, with a real server and the real test phone."""

from __future__ import annotations

import configparser
import pathlib
import shutil
import tempfile
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.examples import pages
from tests.interop.console import PATIENCE, Console, expression
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


def make_folder(case: SynchronousTestCase) -> pathlib.Path:
    """Return a new folder with a short path, as the path of a Unix socket must be short."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sipsess-"))
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


class PageTests(SynchronousTestCase):
    """Each page that has a block of ``sh``."""

    def type(self, name: str) -> Console:
        """Do all that a page says."""
        console = Console(ROOT / name, make_folder(self))
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
        self.assertEqual(failed, [".venv/bin/sipsess call sip:keypad@127.0.0.1"])

    def test_testing(self) -> None:
        """The recipe for tests: four of them pass."""
        self.assertEqual(set(self.type("docs/how-to/test-a-plugin.rst").statuses.values()), {0})

    def test_application(self) -> None:
        """The recipe for applications: its tests pass."""
        statuses = self.type("docs/how-to/write-an-application.rst").statuses
        self.assertEqual(set(statuses.values()), {0})

    def test_seeing(self) -> None:
        """The recipe for seeing: a refused call is explained, a live one listed, all counted."""
        statuses = self.type("docs/how-to/see-what-happened.rst").statuses
        failed = [command for command, status in statuses.items() if status]
        self.assertEqual(failed, [".venv/bin/sipsess call sip:reject@127.0.0.1"])

    def test_phones(self) -> None:
        """The recipe for phones: a server with a registrar starts and says who is there."""
        statuses = self.type("docs/how-to/register-phones.rst").statuses
        self.assertEqual(set(statuses.values()), {0})

    def test_menus(self) -> None:
        """The recipe for menus and voice mail: its test passes."""
        statuses = self.type("docs/how-to/menus-and-voice-mail.rst").statuses
        self.assertEqual(set(statuses.values()), {0})

    def test_voice_agents(self) -> None:
        """The recipe for voice agents: what is said is heard again."""
        statuses = self.type("docs/how-to/voice-agents.rst").statuses
        self.assertEqual(set(statuses.values()), {0})

    def test_nat(self) -> None:
        """The recipe for a NAT: a server with another address and ports answers."""
        self.assertEqual(set(self.type("docs/how-to/nat.rst").statuses.values()), {0})


class UnitTests(SynchronousTestCase):
    """The unit of docs/how-to/run-under-systemd.rst."""

    def test_stop_ends_a_live_call(self) -> None:
        """Its ``ExecStart`` runs; TERM hangs up the live call and gives status 0 within 5 s."""
        page = ROOT / "docs" / "how-to" / "run-under-systemd.rst"
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        (text,) = [code for language, code in snippets(page) if language == "ini"]
        unit.read_string(text)
        folder = make_folder(self)
        (folder / "plugins").mkdir()
        command = unit["Service"]["ExecStart"].replace("/run/sipsess/control", "sipsess")
        console = Console(page, folder)
        self.addCleanup(console.kill)
        console.type(command.replace("/opt/sipsess/", ""))
        console.type(".venv/bin/sipsess call sip:echo@127.0.0.1 --duration 20 &")
        end = time.monotonic() + PATIENCE
        calls = ""
        while "confirmed" not in calls:
            self.assertLess(time.monotonic(), end, calls)
            calls = console.type(".venv/bin/sipsess calls --control sipsess.sock")
        began = time.monotonic()
        console.stop_server()
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertLess(5.0, float(unit["Service"]["TimeoutStopSec"]))
