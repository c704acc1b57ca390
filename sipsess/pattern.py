# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Regular expressions that cannot be made slow: those of routes, which anybody's Request-URI meets.

Theory of operation
    Python's machine tries one way after another to match, and what a stranger sends may let it try
    all of them. So before a pattern is used the ways are counted: a letter or a class has one, a
    sequence the product of its parts, alternatives their sum, and a repeat one for each number of
    times. For ``(a*)*`` that is more than anybody can wait for; for ``1[0-9]{3}`` it is one. What
    is matched has a greatest length, so the count is finite. A pattern with more than
    :data:`MAX_WAYS` is refused, and so is what cannot be counted so: look-arounds, back-references.
"""

from __future__ import annotations

import re

from sipsess.errors import LocalError

#: The longest text that is matched; a longer one matches no pattern.
MAX_TEXT = 64
#: The longest pattern.
MAX_PATTERN = 200
#: Ways in which a pattern may be tried on one text: some milliseconds at the worst.
MAX_WAYS = 300_000

_QUANTIFIER = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\})[?]?")
_GROUP = re.compile(r"\(\?(?::|P<[A-Za-z_]\w*>)")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
#: Escapes that stand for one letter, or for a place; all others are letters and digits.
_KNOWN_ESCAPES = frozenset("dDsSwWbB")


class PatternError(LocalError):
    """A pattern is no regular expression, or one that could take too long; the text says which."""


def compile_pattern(text: str) -> re.Pattern[str]:
    """
    Compile a pattern, for ``fullmatch``.

    :raises PatternError: with one sentence.
    """
    if len(text) > MAX_PATTERN:
        raise PatternError(f"a pattern has at most {MAX_PATTERN} letters")
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"{text!r} is no regular expression: {error}") from error
    if _Counter(text).count() > MAX_WAYS:
        raise PatternError(
            f"{text!r} could take too long to match: repeat less, and nothing that is repeated "
            f"within itself"
        )
    return compiled


class _Counter:
    """Counts the ways to try a pattern that ``re`` has compiled."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def count(self) -> int:
        """Return how many there are."""
        return self._alternatives()

    def _alternatives(self) -> int:
        ways = self._sequence()
        while self._take("|"):
            ways += self._sequence()
        return min(ways, MAX_WAYS + 1)

    def _sequence(self) -> int:
        ways = 1
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            ways = min(ways * self._repeated(self._atom()), MAX_WAYS + 1)
        return ways

    def _take(self, letter: str) -> bool:
        is_there = self._text.startswith(letter, self._at)
        self._at += is_there
        return is_there

    def _atom(self) -> int:
        if self._text[self._at] == "(":
            return self._group()
        if self._text[self._at] == "\\":
            self._escape()
        elif (found := _CLASS.match(self._text, self._at)) is not None:
            self._at = found.end()
        else:
            self._at += 1
        return 1

    def _group(self) -> int:
        named = _GROUP.match(self._text, self._at)
        if named is None and self._text.startswith("(?", self._at):
            raise PatternError(
                f"{self._text!r}: of the groups that begin with (? only (?: and (?P<name> are taken"
            )
        self._at = self._at + 1 if named is None else named.end()
        ways = self._alternatives()
        self._at += 1  # its closing bracket, which re has seen
        return ways

    def _escape(self) -> None:
        letter = self._text[self._at + 1]
        if letter.isalnum() and letter not in _KNOWN_ESCAPES:
            raise PatternError(
                f"{self._text!r}: \\{letter} is not taken; there are \\d, \\s, \\w, their "
                f"opposites, and punctuation"
            )
        self._at += 2

    def _repeated(self, ways: int) -> int:
        """Return the ways of what stands here when the quantifier after it is heeded."""
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None or found[0] == "{}":
            return ways
        self._at = found.end()
        low, high = _bounds(found)
        total = 0
        for times in range(low, high + 1):
            total += ways**times
            if total > MAX_WAYS:
                break
        return total


def _bounds(found: re.Match[str]) -> tuple[int, int]:
    """Return how often the least and how often the most, as far as a text can be."""
    sign, low, comma, high = found.groups()
    if sign is not None:
        return {"*": (0, MAX_TEXT), "+": (1, MAX_TEXT), "?": (0, 1)}[sign]
    least = min(int(low or 0), MAX_TEXT)
    if not comma:
        return least, least
    return least, min(int(high), MAX_TEXT) if high else MAX_TEXT
