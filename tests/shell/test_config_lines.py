# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The lines of a TOML document."""

from __future__ import annotations

import tomllib
from textwrap import dedent

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.config.lines import find_lines
from sipsess.config.mistakes import Path, format_path

DOCUMENT = '''\
# a comment = 1
title = "x = [ # no comment"  # [table]
"quoted.key" = 'a # b'
a.b.c = 1
numbers = [
    1, 2,  # ] still inside
    [3, "]"],
    { x = 1, y.z = [2] },
]
long = """
[not a table]
key = "no key" \\"""
"""
literal = \'\'\'
other = 1
\'\'\'
[table]
key = 1
empty = {}
none = []
[table.inner]
"k" = 2
[[items]]
name = "first"
[items.options]
x = 1
[[items]]
name = "second"
[[items.parts]]
n = 0
[[items.parts]]
n = 1
[items.parts.deep]
x = 2
'''


def paths_of(value: object, path: Path = ()) -> set[Path]:
    """Return the place of everything in a document that was read."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths_of(inner, (*path, index))
    return found


class LineTests(SynchronousTestCase):
    """Which line a place has."""

    def test_document(self) -> None:
        """Strings, comments, arrays, inline tables and headers do not lead astray."""
        found = {format_path(path): line for path, line in find_lines(DOCUMENT).items()}
        expected = {
            **{"title": 2, '"quoted.key"': 3, "a": 4, "a.b": 4, "a.b.c": 4, "numbers": 5},
            **{"numbers[0]": 6, "numbers[1]": 6, "numbers[2]": 7, "numbers[2][0]": 7},
            **{"numbers[2][1]": 7, "numbers[3]": 8, "numbers[3].x": 8, "numbers[3].y": 8},
            **{"numbers[3].y.z": 8, "numbers[3].y.z[0]": 8, "long": 10, "literal": 14},
            **{"table": 17, "table.key": 18, "table.empty": 19, "table.none": 20},
            **{"table.inner": 21, "table.inner.k": 22, "items": 23, "items[0]": 23},
            **{"items[0].name": 24, "items[0].options": 25, "items[0].options.x": 26},
            **{"items[1]": 27, "items[1].name": 28, "items[1].parts": 29},
            **{"items[1].parts[0]": 29, "items[1].parts[0].n": 30, "items[1].parts[1]": 31},
            **{"items[1].parts[1].n": 32, "items[1].parts[1].deep": 33},
            "items[1].parts[1].deep.x": 34,
        }
        self.assertEqual(found, expected)

    def test_every_place_has_a_line(self) -> None:
        """Whatever tomllib reads in a document has a line."""
        places = paths_of(tomllib.loads(DOCUMENT))
        self.assertEqual(places - find_lines(DOCUMENT).keys(), set())

    def test_quotes_at_the_end_of_a_long_string(self) -> None:
        """A string in three quotes may end with one or two more."""
        for quote in ('"', "'"):
            for more in range(3):
                text = f"a = {quote * 3}x\n{quote * (3 + more)}\nb = 1\n"
                self.assertEqual(find_lines(text), {("a",): 1, ("b",): 3}, text)

    def test_empty(self) -> None:
        """A document without anything."""
        self.assertEqual(find_lines(""), {})
        self.assertEqual(find_lines("# nothing\n"), {})

    def test_windows_line_ends(self) -> None:
        """A line may end with carriage return and line feed."""
        text = dedent(DOCUMENT).replace("\n", "\r\n")
        self.assertEqual(find_lines(text), find_lines(DOCUMENT))

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1),
            st.recursive(
                st.integers() | st.booleans() | st.text(st.characters(exclude_categories=["C"])),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=5,
            ),
            max_size=5,
        )
    )
    def test_any_document(self, values: dict[str, object]) -> None:
        """Each key of a document that is written one key a line is found on that line."""
        lines = [f"{_quote(key)} = {_write(value)}" for key, value in values.items()]
        found = find_lines("\n".join(lines))
        tops = {path[0]: line for path, line in found.items() if len(path) == 1}
        self.assertEqual(tops, {key: number for number, key in enumerate(values, 1)})


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_write, value)) + "]"
    return str(value)
