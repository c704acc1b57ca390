# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for :mod:`sipsess.ids`."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.ids import MAGIC_COOKIE, IdSource


class IdSourceTests(SynchronousTestCase):
    """Tags, branches and Call-IDs."""

    def setUp(self) -> None:
        """Make a seeded source."""
        self.ids = IdSource(random.Random(1))

    @settings(deadline=None)
    @given(st.integers(1, 40))
    def test_token(self, length: int) -> None:
        """A token has the length asked for and the letters of the alphabet only."""
        token = IdSource(random.Random(length)).token(length)
        self.assertEqual(len(token), length)
        self.assertTrue(token.isalnum() and token.isascii() and token == token.lower())

    def test_all_letters(self) -> None:
        """All 32 letters occur, so each carries five bits."""
        self.assertEqual(len(set(self.ids.token(2000))), 32)

    def test_branch(self) -> None:
        """RFC 3261 8.1.1.7: a branch begins with the magic cookie."""
        branch = self.ids.branch()
        self.assertTrue(branch.startswith(MAGIC_COOKIE))
        self.assertEqual(len(branch), len("z9hG4bK") + 16)

    def test_tag(self) -> None:
        """RFC 3261 19.3: a tag has 32 random bits or more; here 60."""
        self.assertEqual(len(self.ids.tag()), 12)

    def test_call_id(self) -> None:
        """RFC 3261 8.1.1.4: a Call-ID; it names no host."""
        call_id = self.ids.call_id()
        self.assertEqual(len(call_id), 24)
        self.assertNotIn("@", call_id)

    def test_never_twice(self) -> None:
        """A thousand identifiers are a thousand."""
        for make in (self.ids.branch, self.ids.tag, self.ids.call_id):
            self.assertEqual(len({make() for _ in range(1000)}), 1000)

    def test_same_seed_same_trace(self) -> None:
        """The same seed gives the same identifiers."""
        other = IdSource(random.Random(1))
        self.assertEqual(
            (other.branch(), other.tag(), other.call_id()),
            (self.ids.branch(), self.ids.tag(), self.ids.call_id()),
        )

    def test_unpredictable_by_default(self) -> None:
        """Without a source given, the operating system's is used: nobody can guess a dialog."""
        self.assertIsInstance(IdSource().random, random.SystemRandom)
