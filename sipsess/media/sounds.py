# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The prompts that come with sipsess, as PCM; ``sipsess/sounds/README`` lists them."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from sipsess.media.telephone_event import check_digits
from sipsess.media.wav import WAVError, read_wav

_NAMES = {"*": "star", "#": "pound"}


@lru_cache(maxsize=64)
def load_sound(name: str) -> bytes:
    """
    Return one prompt, read once.

    :param name: the name of its file without ``.wav``, such as ``"hello"``.
    :return: 16-bit little-endian mono at 8 kHz, for :meth:`AudioStream.play`.
    :raises WAVError: if there is none of that name.
    """
    resource = files("sipsess") / "sounds" / f"{name}.wav"
    try:
        with resource.open("rb") as file:
            return read_wav(file, f"{name}.wav")
    except OSError as error:
        raise WAVError(f"{name}.wav: is none of the sounds of sipsess") from error


def load_digit(digit: str) -> bytes:
    """
    Return the spoken name of a telephone key.

    :param digit: one of 0-9, ``*``, ``#``, A-D.
    :raises LocalError: if it is none of them.
    """
    key = check_digits(digit).lower()
    return load_sound(_NAMES.get(key, key))
