# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The line of each key and array element of a TOML document, which ``tomllib`` does not tell.

The document was read by ``tomllib`` before, so it is valid, and nothing is checked here: the walk
only has to know where strings, comments, arrays and tables begin and end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from .mistakes import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^="'\]])+""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|'
    r"'''.*?'{3,5}(?!')|"
    r'"(?:\\.|[^"\\])*"|'
    r"'[^']*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\r\n]*")


def find_lines(text: str) -> dict[Path, int]:
    """
    Return the line, from 1, of each place in a valid TOML document.

    A table has the line of its header, a key its own, an element of an array that of its beginning.
    """
    walk = _Walk(text)
    walk.document()
    return walk.lines


class _Walk:
    """One way through a document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self.lines: dict[Path, int] = {}
        #: How many elements each array of tables has so far.
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        """Walk through all of it."""
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, "tomllib has read this"
        self._at = found.end()
        return found[0]

    def _note(self, path: Path) -> None:
        """Note the line of a place that begins here; the first one counts."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self.lines.setdefault(path, self._line)

    def _header(self) -> Path:
        """Take ``[table]`` or ``[[array]]``; return the place of what follows."""
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        path: Path = ()
        keys = _split_key(self._skip(_KEY))
        for key in keys:
            path = self._last((*path, key))
        if is_array:
            array = path[:-1] if isinstance(path[-1], int) else path
            number = self._arrays.get(array, 0)
            self._arrays[array] = number + 1
            path = (*array, number)
        end, self._at = self._at + (2 if is_array else 1), start
        if is_array:
            self._note(path[:-1])
        self._note(path)
        self._at = end
        return path

    def _last(self, path: Path) -> Path:
        """Return the last element of an array of tables, or what is no such array as it is."""
        count = self._arrays.get(path, 0)
        return (*path, count - 1) if count else path

    def _pair(self, table: Path) -> None:
        """Take ``key = value``."""
        start = self._at
        path = (*table, *_split_key(self._skip(_KEY)))
        end, self._at = self._at + 1, start
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length])
        self._at = end
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_PLAIN)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while not self._is_end("]"):
            self._note((*path, index))
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while not self._is_end("}"):
            self._pair(path)

    def _is_end(self, bracket: str) -> bool:
        """Go to the next element, or past the bracket."""
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True


def _split_key(text: str) -> tuple[str, ...]:
    """Split a dotted key as ``tomllib`` reads it."""
    keys = []
    value: object = tomllib.loads(f"{text.strip()} = 0")
    while isinstance(value, Mapping):
        [(key, value)] = value.items()
        keys.append(str(key))
    return tuple(keys)
