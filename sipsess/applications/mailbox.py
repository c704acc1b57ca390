# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The boxes of the application ``voicemail``: directories with one WAV file for each message.

A message is written to a file that begins with a dot and ends in ``.part``, and gets its name when
it is whole: whoever looks for ``*.wav`` never sees half a message. After a crash the part is left
as it is, and any player reads it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.call import Call
from sipsess.errors import LocalError

_log = Logger()

#: What a box may be called: it becomes the name of a directory, and a caller has written it.
NAME = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+._-]{0,63}")
_NUMBER = re.compile(r"(\d{1,9})-.*\.wav")
_ODD = re.compile(r"[^A-Za-z0-9+._-]+")


class BoxError(LocalError):
    """A box takes no message; the text says why."""


class NoBoxError(BoxError):
    """There can be no such box."""


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """A message that was taken."""

    #: The WAV file.
    path: Path
    #: The name of the box.
    box: str
    #: The URI of who has spoken, as he says.
    caller: str
    #: How long it is.
    seconds: float


class Mailbox:
    """
    One box.

    :param directory: of all boxes.
    :param name: its own.
    :raises NoBoxError: when no box can have that name.
    """

    def __init__(self, directory: Path, name: str) -> None:
        if not NAME.fullmatch(name):
            raise NoBoxError("no box can have that name")
        self.directory = directory
        self.path = directory / name

    @property
    def messages(self) -> list[Path]:
        """Its messages, the oldest first; none when there is no such box."""
        return sorted(self.path.glob("*.wav"), key=_number)

    def open(self, max_boxes: int, min_free: int) -> None:
        """
        Make sure that it is there, and has room on its disk.

        :param max_boxes: that there may be before a new one is made.
        :param min_free: bytes that are to be free on the disk.
        :raises BoxError: when it cannot be.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.is_dir():
                if len(os.listdir(self.directory)) >= max_boxes:
                    raise BoxError(f"there are {max_boxes} boxes already")
                self.path.mkdir(mode=0o700)
            if shutil.disk_usage(self.path).free < min_free:
                raise BoxError("the disk is nearly full")
        except OSError as error:
            raise BoxError(f"{self.path}: {error.strerror or error}") from error

    def begin(self) -> Path:
        """Return a new file, for a message that is being recorded."""
        try:
            number, path = tempfile.mkstemp(".part", ".", self.path)
        except OSError as error:
            raise BoxError(f"{self.path}: {error.strerror or error}") from error
        os.close(number)
        return Path(path)

    def finish(self, part: Path, caller: str, user: str, min_seconds: float) -> VoiceMessage | None:
        """
        Put a message that was recorded into the box.

        :param caller: the URI of who has spoken.
        :param user: the user of it, for the name of the file.
        :param min_seconds: what is shorter is thrown away: somebody has only hung up.
        :return: ``None`` for one that was thrown away.
        :raises BoxError: when the disk does not let it; the part stays.
        """
        try:
            seconds = _seconds_of(part)
            if seconds < min_seconds:
                part.unlink()
                return None
            number = 1 + max(map(_number, self.messages), default=0)
            path = self.path / f"{number:04}-{_ODD.sub('', user)[:64] or 'unknown'}.wav"
            part.rename(path)
        except OSError as error:
            raise BoxError(f"{part}: {error.strerror or error}") from error
        return VoiceMessage(path, self.path.name, caller, seconds)


def _number(path: Path) -> int:
    """Return the number that the name of a message begins with; 0 for a file of somebody else's."""
    found = _NUMBER.fullmatch(path.name)
    return int(found[1]) if found else 0


def _seconds_of(path: Path) -> float:
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError):
        # Nothing was recorded.
        return 0.0


def note_untold(failure: Failure, call: Call, message: VoiceMessage) -> None:
    """Say in the log and in the call's record that a message lies there and nobody knows."""
    text = "nobody was told of the message {path} (Call-ID {call_id}): {error}"
    error = failure.getErrorMessage()
    _log.warn(text, path=message.path, call_id=call.session.call_id, error=error)
    call.session.note("voicemail", f"nobody was told: {error}")
