# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What can be played: shipped sounds, WAV files, PCM."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from sipsess.media import WAVError, load_sound, read_wav

#: Files up to this size, in bytes, are read once and kept as long as they do not change.
MAX_KEPT_FILE = 2 * 1024 * 1024

#: Something to play: the name of a shipped sound (``"hello"``), the path of a WAV file
#: (``"menu.wav"``), or PCM (16-bit little-endian mono at 8 kHz), whole or in pieces, which may come
#: from an asynchronous iterator.
Sound: TypeAlias = str | Path | bytes | Iterable[bytes] | AsyncIterable[bytes]
#: The same once it is loaded.
Pieces: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]


def load(sound: Sound) -> Pieces:
    """
    Return what :meth:`Call.play` takes as PCM, or as pieces of it.

    :raises WAVError: when there is no such sound, or the file cannot be used.
    """
    if isinstance(sound, str):
        if "/" not in sound and "." not in sound:
            return load_sound(sound)
        sound = Path(sound)
    if not isinstance(sound, Path):
        return sound
    try:
        status = sound.stat()
    except OSError as error:
        raise WAVError(f"{sound}: cannot be read: {error.strerror or error}") from error
    if status.st_size > MAX_KEPT_FILE:
        return read_wav(sound)
    return _read_once(sound, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _read_once(path: Path, modified: int, size: int) -> bytes:
    """Read a file, anew when it has changed."""
    return read_wav(path)
