# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The pages ``on-the-open-internet.rst`` and ``fail2ban.rst`` say what is so."""

from __future__ import annotations

import io
import re
from dataclasses import fields

from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from sipsess.defence import REASONS, Bans, DefenceSettings, Perimeter
from tests.source import ROOT

PAGE = (ROOT / "docs" / "on-the-open-internet.rst").read_text(encoding="utf-8")
FILTER = (ROOT / "docs" / "how-to" / "fail2ban.rst").read_text(encoding="utf-8")

#: What fail2ban puts in the place of ``<ADDR>``, near enough.
_ADDRESS = r"(?P<address>[0-9a-f.:]+)"
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")


class SettingsPageTests(SynchronousTestCase):
    """The page about the defaults."""

    def test_example(self) -> None:
        """The settings of the example can be used."""
        code = PAGE.partition(".. code-block:: python\n")[2].partition("\n``SIPServer")[0]
        names: dict[str, DefenceSettings] = {}
        exec("\n".join(line.removeprefix("    ") for line in code.splitlines()), names)
        settings = names["settings"]
        self.assertEqual(settings.calls_per_second, 5.0)
        Perimeter(settings, b"x", lambda *args: None, lambda *args: False, lambda: 0.0)

    def test_defaults(self) -> None:
        """Each field stands in the table, with its default."""
        settings = DefenceSettings()
        for item in fields(DefenceSettings):
            value = getattr(settings, item.name)
            row = re.search(rf"(?m)^``{item.name}`` +(.*?)  +", PAGE)
            assert row is not None, item.name
            if item.name == "scanner_agents":
                self.assertEqual(row[1], f"{len(value)} names")
            elif isinstance(value, tuple):
                self.assertEqual(row[1], ", ".join(value) or "none")
            else:
                self.assertEqual(row[1].removesuffix(": no limit"), f"{value:g}")

    def test_reasons(self) -> None:
        """Each reason code is named, to be looked for in the counters."""
        for code in REASONS:
            self.assertIn(f"``{code}``", PAGE)


class FilterTests(SynchronousTestCase):
    """The filter for fail2ban."""

    def matched(self, line: str) -> str | None:
        """Return the address that the filter finds in a line, which has lost its time before."""
        (pattern,) = re.findall(r"failregex = (.*)", FILTER)
        found = re.search(pattern.replace("<ADDR>", _ADDRESS), _TIME.sub("", line))
        return None if found is None else found["address"]

    def test_lines_of_the_log(self) -> None:
        """It finds the address in the line as a log file has it."""
        log = io.StringIO()
        observer = textFileLogObserver(log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        bans = Bans(DefenceSettings())
        for address, transport in (("192.0.2.66", "UDP"), ("2001:db8::7", "WSS")):
            bans.ban(address, address, "scanner", transport, 0.0)
        lines = log.getvalue().splitlines()
        self.assertEqual([self.matched(line) for line in lines], ["192.0.2.66", "2001:db8::7"])

    def test_other_lines(self) -> None:
        """It finds nothing where somebody else has written the same."""
        (example,) = re.findall(r"(?m)^    (\d{4}-.*count=1)$", FILTER)
        self.assertEqual(self.matched(example), "192.0.2.66")
        self.assertEqual(self.matched("host twistd[7]: " + example), "192.0.2.66")
        forged = example.replace("[sipsess", "[sipsess.failures#warn] call [sipsess")
        self.assertIsNone(self.matched(forged))
