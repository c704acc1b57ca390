# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The call records that ``[cdr]`` asks for, and those that plugins ask for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from sipsess.cdr import CallRecords, RecordFile, open_file
from sipsess.interfaces import ICallRecords
from sipsess.server import SIPServer

from .mistakes import ConfigError
from .plan import Plan


class KeptRecords:
    """
    The call records of a server.

    :param server: whose calls they are about; without a need for records it has nothing to do.
    :param plan: what holds from the start.
    :raises ConfigError: when the file cannot be opened.
    """

    def __init__(self, server: SIPServer, plan: Plan) -> None:
        table = plan.config.cdr
        self._file: RecordFile | None = None
        if table is not None:
            try:
                self._file = RecordFile(table.path, server.reactor, server.core.counters)
            except OSError as error:
                text = f"{table.path} cannot be opened: {os.strerror(error.errno or 0)}"
                raise ConfigError([plan.source.mistake(("cdr", "path"), text)]) from error
        takers = [item for item in plan.plugins.supplements if ICallRecords.providedBy(item)]
        write = None if self._file is None else self._file.write
        if write is not None or takers:
            server.manager.register_supplement(CallRecords(time.time, write, takers))

    def reload(self, plan: Plan) -> Iterator[str]:
        """Open the file anew, or another one; yield what is wrong with it, and so stays."""
        table = plan.config.cdr
        if self._file is None or table is None:
            return
        try:
            descriptor = open_file(table.path)
        except OSError as error:
            text = os.strerror(error.errno or 0)
            yield f"not changed, call records: {table.path} cannot be opened: {text}"
            return
        self._file.reopen(table.path, descriptor)

    def close(self) -> None:
        """Write what waits, and close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
