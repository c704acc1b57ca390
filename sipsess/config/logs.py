# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The log that ``[logging]`` describes: where, in which form, and how much.

It stands in the place of the one that ``twistd`` would make, by the way that Twisted has for this:
a component of the application. ``twistd --logger`` goes before it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    textFileLogObserver,
)
from zope.interface import implementer

from .model import LoggingTable


@implementer(ILogObserver)
class ConfiguredLog:
    """
    Writes events as a table says, and as another one does from :meth:`configure` on.

    :param table: what ``[logging]`` says.
    :param stream: that was opened for it.
    """

    def __init__(self, table: LoggingTable, stream: TextIO | None) -> None:
        # Twisted makes an event of what is written to sys.stdout from the start on.
        self._standard_output = sys.stdout
        #: Some event has come.
        self.is_in_use = False
        self._stream: TextIO | None = None
        self.configure(table, stream)

    def __call__(self, event: LogEvent) -> None:
        """Write one event, when it is important enough."""
        self.is_in_use = True
        self._observer(event)

    def configure(self, table: LoggingTable, stream: TextIO | None) -> None:
        """Obey another table; what was open for the one before is closed."""
        old, self._stream = self._stream, stream
        target = self._standard_output if stream is None else stream
        self._observer: Any = FilteringLogObserver(_MAKERS[table.format](target), [_filter(table)])
        if old is not None:
            old.close()


def open_log(table: LoggingTable) -> TextIO | None:
    """
    Open the file of a table, to go on where it ends.

    :return: ``None`` for standard output.
    :raises OSError: when it cannot be opened.
    """
    return None if table.file is None else open(table.file, "a", encoding="utf-8", buffering=1)


def format_json(event: LogEvent) -> str:
    """Return an event as an object of JSON, for programs: what people read, in its parts."""
    level = event.get("log_level")
    parts = {
        "time": formatTime(event.get("log_time")),
        "level": None if level is None else level.name,
        "namespace": event.get("log_namespace"),
        "text": formatEvent(event),
    }
    if event.get("log_failure") is not None:
        parts["failure"] = event["log_failure"].getTraceback()
    return json.dumps(parts) + "\n"


#: What writes each format.
_MAKERS: dict[str, Callable[[TextIO], Any]] = {
    "text": textFileLogObserver,
    "json": lambda stream: FileLogObserver(stream, format_json),
}


def _filter(table: LoggingTable) -> LogLevelFilterPredicate:
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(table.level))
    for namespace, name in table.levels.items():
        predicate.setLogLevelForNamespace(namespace, LogLevel.levelWithName(name))
    return predicate
