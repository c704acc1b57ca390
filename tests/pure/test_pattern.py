# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Patterns of routes: what is taken, and what could make a server slow."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.pattern import MAX_PATTERN, MAX_WAYS, PatternError, _Counter, compile_pattern


class TakenTests(SynchronousTestCase):
    """Patterns that people write."""

    def test_usual_ones(self) -> None:
        """Numbers, prefixes, named groups, alternatives, classes and escapes."""
        for pattern, text in (
            ("1[0-9]{3}", "1234"),
            (r"\+?49(?P<number>\d{3,14})", "+49301234567"),
            ("(?:sales|support)-(?P<who>.+)", "sales-anna"),
            (".*", ""),
            (r"[^]a\]]\.x?", "b.x"),
            ("a{2,}b{,3}", "aaab"),
            ("x{}{a}", "x{}{a}"),
            ("a{100}", "a" * 100),
            ("(a|b){2}", "ab"),
            (r"(\d\d)+", "1234"),
            ("a+?b*?", "aab"),
            ("", ""),
        ):
            compiled = compile_pattern(pattern)
            self.assertTrue(compiled.fullmatch(text), pattern)

    def test_ways(self) -> None:
        """A letter has one way, a repeat one for each number of times, alternatives their sum."""
        for pattern, ways in (
            ("abc", 1),
            ("a?", 2),
            ("a|b|c", 3),
            ("a{2,4}", 3),
            ("(a|b){2}", 4),
            ("(?:a|b)c?", 4),
            ("a*", 65),
            ("a+", 64),
            ("a{60,}", 5),
            ("a{,3}", 4),
            (r"\d[*+]", 1),
        ):
            self.assertEqual(_Counter(pattern).count(), ways, pattern)


class RefusedTests(SynchronousTestCase):
    """Each refusal is a sentence."""

    def refuse(self, pattern: str) -> str:
        """Return what is said about a pattern."""
        return str(self.assertRaises(PatternError, compile_pattern, pattern))

    def test_slow(self) -> None:
        """What could be tried in too many ways: repeats within repeats, or too many of them."""
        for pattern in (
            *("(a*)*", "(a+)+", "(a|a)*", "(?:a?){40}", "(?P<x>[0-9]+)*", "((a*))*b"),
            *(".*.*.*.*x", "a?" * 20, "(a|b)(c|d)" * 10, "(a|aa)+", "((a|b)|(c|d)){12}"),
        ):
            text = self.refuse(pattern)
            self.assertIn("could take too long to match", text)
            self.assertIn(repr(pattern), text)

    def test_count_ends_early(self) -> None:
        """However absurd the pattern, it is soon known that it is too much."""
        self.assertEqual(_Counter("((((a*)*)*)*)*" * 5).count(), MAX_WAYS + 1)

    def test_no_expression(self) -> None:
        """What re does not compile, with what it says."""
        self.assertEqual(
            self.refuse("1[0-9"),
            "'1[0-9' is no regular expression: unterminated character set at position 1",
        )
        self.assertIn("no regular expression", self.refuse("a{4294967296}"))

    def test_groups(self) -> None:
        """Look-arounds, flags and conditions."""
        for pattern in ("(?=a)a", "(?i)a", "(?<!a)b", "(?#x)", "(?>a*)"):
            self.assertIn("only (?: and (?P<name> are taken", self.refuse(pattern))

    def test_escapes(self) -> None:
        """Back-references and escapes that are letters."""
        for pattern in (r"(a)\1", r"\Aa", r"a\Z", r"\x41"):
            self.assertIn("is not taken", self.refuse(pattern))

    def test_length(self) -> None:
        """A pattern that nobody could read."""
        self.assertEqual(
            self.refuse("a" * (MAX_PATTERN + 1)), f"a pattern has at most {MAX_PATTERN} letters"
        )
