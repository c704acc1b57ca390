# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Writes call records to a file, a line each, without letting a call wait for it.

Theory of operation
    What is written waits in memory, for :data:`DELAY` or until there are :data:`BATCH` lines; then
    one ``write`` appends them. That hands some kilobytes to the kernel, which takes microseconds on
    a local disk, and is never followed by a ``sync``. The file is opened so that a pipe, which
    nobody reads, does not block either.

    What the file does not take (the disk is full) waits until it does, :data:`MAX_WAITING` lines at
    most; then the oldest ones are lost and counted. The log says once that writing fails, and once
    that it goes on. When the file took a part of a line, the rest of it is what is written next, so
    that each line is whole. One that a crash has torn is ended when the file is opened again, so
    that the next one stands alone.
"""

from __future__ import annotations

import os
from collections import deque
from itertools import islice
from typing import Any, Protocol

from twisted.logger import Logger

from sipsess.counters import Counters

from .record import CallRecord

#: Seconds that a line waits at most for others to be written with.
DELAY = 1.0
#: Seconds after which writing is tried again when it has failed.
RETRY_DELAY = 5.0
#: Lines that are written at once, at most; some 500 kB.
BATCH = 500
#: Lines that wait while the file takes none; a minute of 150 calls a second, some 10 MB.
MAX_WAITING = 10_000
#: Of a file that is made: who may read who calls whom is decided by its group.
MODE = 0o640

REASONS: dict[str, str] = {
    "call-record-lost": "a call record could not be written for so long that it was given up",
}

_log = Logger()


class _DelayedCall(Protocol):
    """What a clock gives."""

    def cancel(self) -> Any:
        """Do not call."""


class _Clock(Protocol):
    """The part of a reactor that is needed."""

    def callLater(self, delay: float, callable: Any, *args: Any) -> _DelayedCall:
        """Call it after ``delay`` seconds."""


class RecordFile:
    """
    One file of call records.

    :param path: of the file, which is appended to.
    :param clock: the reactor.
    :param counters: where lost records are counted.
    :raises OSError: when it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], clock: _Clock, counters: Counters) -> None:
        self._clock = clock
        self._counters = counters
        self._lines: deque[bytes] = deque()
        #: The file took a part of the first line, of which the rest is left.
        self._is_torn = False
        self._flushing: _DelayedCall | None = None
        self._is_failing = False
        self._path = os.fspath(path)
        self._descriptor = open_file(path)
        self._end_torn_line()

    def write(self, record: CallRecord) -> None:
        """Take a record; never raises, never waits."""
        self._lines.append(record.to_json().encode("ascii") + b"\n")
        if len(self._lines) > MAX_WAITING:
            # The first one may stand in the file by half.
            del self._lines[1]
            self._counters.refuse("call-record-lost")
        if self._flushing is None:
            self._flushing = self._clock.callLater(DELAY, self._flush_later)
        if len(self._lines) >= BATCH and not self._is_failing:
            self.flush()

    def reopen(self, path: str | os.PathLike[str], descriptor: int) -> None:
        """
        Go on in another file, or in a new one of the same name.

        :param descriptor: of :func:`open_file`.
        """
        self.flush()
        os.close(self._descriptor)
        self._path, self._descriptor = os.fspath(path), descriptor
        if self._is_torn:
            # Its beginning stands in the file before; the rest means nothing here.
            self._is_torn = False
            self._lines.popleft()
            self._counters.refuse("call-record-lost")
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """Let the next line begin at the beginning of one."""
        if _ends_within_line(self._path):
            self._lines.appendleft(b"\n")

    def close(self) -> None:
        """Write what waits, as far as the file takes it, and close the file."""
        self.flush()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for _ in self._lines:
            self._counters.refuse("call-record-lost")
        self._lines.clear()
        os.close(self._descriptor)

    def _flush_later(self) -> None:
        self._flushing = None
        self.flush()
        if self._lines:
            self._flushing = self._clock.callLater(RETRY_DELAY, self._flush_later)

    def flush(self) -> None:
        """Write what waits; what the file does not take goes on waiting."""
        while self._lines:
            try:
                written = os.write(self._descriptor, b"".join(islice(self._lines, BATCH)))
            except OSError as error:
                self._failed(error)
                return
            self._drop(written)
        if self._is_failing:
            self._is_failing = False
            _log.info("call records are written to {path} again", path=self._path)

    def _drop(self, written: int) -> None:
        """Forget as many bytes, which the file has taken."""
        while written:
            line = self._lines.popleft()
            self._is_torn = len(line) > written
            if self._is_torn:
                self._lines.appendleft(line[written:])
                return
            written -= len(line)

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            text = os.strerror(error.errno or 0)
            _log.error("call records wait: {path}: {text}", path=self._path, text=text)


def open_file(path: str | os.PathLike[str]) -> int:
    """
    Open a file of call records, to go on where it ends.

    :return: its descriptor.
    :raises OSError: when that cannot be.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, MODE)


def _ends_within_line(path: str) -> bool:
    """Tell whether the last line of a file has no end."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"", b"\n")
    except OSError:
        # It may be written and not read; then what a crash has left stays as it is.
        return False
