# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What can be played: shipped sounds, WAV files, PCM."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sipsess.media import Clip, WAVError, load_sound, read_clip
from sipsess.media.codecs import SAMPLE_RATE

#: Files up to this size, in bytes, are read once and kept as long as they do not change.
MAX_KEPT_FILE = 2 * 1024 * 1024

#: Something to play: the name of a shipped sound (``"hello"``), the path of a WAV file
#: (``"menu.wav"``), or PCM (16-bit little-endian mono at 8 kHz), whole or in pieces, which may come
#: from an asynchronous iterator.
Sound: TypeAlias = str | Path | bytes | Iterable[bytes] | AsyncIterable[bytes]
#: PCM, whole or in pieces.
Pieces: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]


class Loaded(NamedTuple):
    """A sound that can be played."""

    pieces: Pieces
    #: Its samples per second.
    rate: int


def load(sound: Sound, rate: int = SAMPLE_RATE, highest: int = SAMPLE_RATE) -> Loaded:
    """
    Return what :meth:`Call.play` plays.

    :param rate: of what is PCM already.
    :param highest: the rate of the call: files of a higher one are converted as a whole, and once;
        those of a lower one while they are played.
    :raises WAVError: when there is no such sound, or the file cannot be used.
    """
    if isinstance(sound, str):
        if "/" not in sound and "." not in sound:
            return Loaded(load_sound(sound), SAMPLE_RATE)
        sound = Path(sound)
    if not isinstance(sound, Path):
        return Loaded(sound, rate)
    try:
        status = sound.stat()
    except OSError as error:
        raise WAVError(f"{sound}: cannot be read: {error.strerror or error}") from error
    if status.st_size > MAX_KEPT_FILE:
        return Loaded(*read_clip(sound, highest))
    return Loaded(*_read_once(sound, highest, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=32)
def _read_once(path: Path, highest: int, modified: int, size: int) -> Clip:
    """Read a file, anew when it has changed."""
    return read_clip(path, highest)
