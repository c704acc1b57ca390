# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What is wrong with a configuration: all of it at once, each with its place and what to do.

``cattrs`` collects the errors of a whole structure in groups, with a note on each that says where
it belongs; here they become :class:`Mistake`\\ s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from cattrs import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError
from cattrs.errors import AttributeValidationNote, IterableValidationNote

from sipsess.errors import LocalError

#: A place in a configuration: keys of tables and indices of arrays, from the top.
Path: TypeAlias = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong."""

    #: The file, as it was named; empty when there is none.
    file: str
    #: Of the file, or ``None`` when no line is to blame.
    line: int | None
    path: Path
    #: One sentence that says what is wrong and, where that is known, what to write.
    text: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (where, format_path(self.path), self.text)))


class ConfigError(LocalError):
    """
    A configuration that cannot be used.

    :param mistakes: at least one; the text has a line for each, in the order of the file.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))
        super().__init__("\n".join(map(str, self.mistakes)))


class PlacedError(ValueError):
    """
    An error whose place is below the one where it is raised.

    :param path: from there.
    :param text: one sentence.
    """

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration was read from."""

    file: str
    #: The line of each place.
    lines: Mapping[Path, int]

    def mistake(self, path: Path, text: str) -> Mistake:
        """Return a mistake at a place; the line is that of the nearest place that has one."""
        parts = path
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return Mistake(self.file, self.lines.get(parts), path, text)

    def place_if_said(self, path: Path) -> Path:
        """Return a place when the file speaks of it; what the command line says has none."""
        return path if path in self.lines else ()


def format_path(path: Path) -> str:
    """Write a place as ``endpoints[2].networks[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else f'"{part}"'
            text += f".{key}" if text else key
    return text


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'advertise'?"``, or which words there are when none is near."""
    words = sorted(known)
    near = get_close_matches(word.lower(), words, n=1)
    if near:
        return f", did you mean {near[0]!r}?"
    return f"; there are: {', '.join(words)}" if words else "; there are none"


def list_errors(
    error: BaseException, known_keys: Mapping[type, Mapping[str, str]], path: Path = ()
) -> Iterator[tuple[Path, str]]:
    """
    Yield the place and the sentence of each error in one that ``cattrs`` raised.

    :param known_keys: the keys of each class, by the name of the attribute.
    :param path: where the whole belongs.
    """
    if isinstance(error, BaseValidationError):
        keys = known_keys.get(error.cl, {}) if isinstance(error, ClassValidationError) else {}
        for one in error.exceptions:
            yield from list_errors(one, known_keys, (*path, *_step(one, keys)))
    elif isinstance(error, ForbiddenExtraKeysError):
        keys = known_keys.get(error.cl, {})
        for key in sorted(error.extra_fields):
            yield (*path, key), f"unknown key {key!r}{suggest(key, keys.values())}"
    elif isinstance(error, PlacedError):
        yield (*path, *error.path), str(error)
    elif isinstance(error, KeyError):
        yield path, "is missing"
    else:
        yield path, str(error)


def _step(error: BaseException, keys: Mapping[str, str]) -> Path:
    """Return what an error's note adds to the place of its group."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (keys.get(note.name, note.name),)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()
