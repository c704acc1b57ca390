# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The log that a file describes."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.config.logs import ConfiguredLog, format_json, open_log
from sipsess.config.model import LoggingTable


class LogTests(SynchronousTestCase):
    """What is written, where and how."""

    def setUp(self) -> None:
        """Name a file."""
        self.file = Path(self.mktemp())

    def make(self, table: LoggingTable) -> ConfiguredLog:
        """Return a log, which is closed when the test is over."""
        log = ConfiguredLog(table, open_log(table))
        standard = LoggingTable()
        self.addCleanup(lambda: log.configure(standard, None))
        return log

    def say(self, log: ConfiguredLog, namespace: str, **texts: str) -> None:
        """Log one event of each level that is named."""
        logger = Logger(namespace, observer=log)
        for level, text in texts.items():
            logger.emit(LogLevel.levelWithName(level), "{text}", text=text)

    def test_interface(self) -> None:
        """It is what Twisted takes for a log."""
        verifyObject(ILogObserver, self.make(LoggingTable()))

    def test_levels(self) -> None:
        """What is not important enough is left out; single parts have levels of their own."""
        table = LoggingTable(
            file=self.file,
            level="warn",
            levels={"sipsess.transport": "debug", "sipsess.call": "critical"},
        )
        log = self.make(table)
        self.say(log, "sipsess.core", info="a", warn="b")
        self.say(log, "sipsess.transport.udp", debug="c")
        self.say(log, "sipsess.call", error="d", critical="e")
        texts = [line.rpartition("] ")[2] for line in self.file.read_text().splitlines()]
        self.assertEqual(texts, ["b", "c", "e"])

    def test_json(self) -> None:
        """An object in each line."""
        log = self.make(LoggingTable(file=self.file, format="json"))
        self.say(log, "sipsess.core", info="a")
        event = json.loads(self.file.read_text())
        self.assertRegex(event.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
        self.assertEqual(event, {"level": "info", "namespace": "sipsess.core", "text": "a"})

    def test_json_of_a_failure(self) -> None:
        """A failure has its traceback; an event of old code may have no level."""
        log = self.make(LoggingTable(file=self.file, format="json"))
        try:
            raise ZeroDivisionError("boom")
        except ZeroDivisionError:
            Logger("x", observer=log).failure("it failed")
        event = json.loads(self.file.read_text())
        self.assertEqual((event["level"], event["text"]), ("critical", "it failed"))
        self.assertIn("ZeroDivisionError: boom", event["failure"])
        self.assertIsNone(json.loads(format_json({"log_format": "x"}))["level"])

    def test_standard_output(self) -> None:
        """The standard output of the start; Twisted makes events of what is written to it later."""
        output = StringIO()
        self.patch(sys, "stdout", output)
        log = self.make(LoggingTable())
        self.patch(sys, "stdout", StringIO())
        log.configure(LoggingTable(level="debug"), None)
        self.say(log, "sipsess.core", debug="a")
        self.assertIn("[sipsess.core#debug] a\n", output.getvalue())

    def test_reopened(self) -> None:
        """A file that was moved away is made anew when the table is read again."""
        table = LoggingTable(file=self.file)
        log = self.make(table)
        self.say(log, "sipsess.core", info="a")
        moved = self.file.rename(str(self.file) + ".1")
        self.say(log, "sipsess.core", info="b")
        log.configure(table, open_log(table))
        self.say(log, "sipsess.core", info="c")
        self.assertEqual(len(moved.read_text().splitlines()), 2)
        self.assertEqual(len(self.file.read_text().splitlines()), 1)
        log.configure(table, open_log(table))
        self.say(log, "sipsess.core", info="d")
        self.assertEqual(len(self.file.read_text().splitlines()), 2)
