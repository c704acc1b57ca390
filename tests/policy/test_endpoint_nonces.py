# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Nonces, and what is remembered of them."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.endpoint.nonces import WINDOW, Attempts, Nonces, NonceUses
from sipsess.ids import IdSource


def make(seed: int = 1) -> Nonces:
    """Return a source of nonces."""
    return Nonces(IdSource(random.Random(seed)))


class NoncesTests(SynchronousTestCase):
    """Made, and recognised."""

    def test_made_at(self) -> None:
        """A nonce says when it was made, to a millisecond, and no two are the same."""
        nonces = make()
        made = [nonces.make(12.3456, "pbx") for _ in range(100)]
        self.assertEqual(len(set(made)), 100)
        self.assertAlmostEqual(nonces.made_at(made[0], "pbx") or 0, 12.345, places=6)
        self.assertEqual(len(made[0]), 40)

    def test_not_of_here(self) -> None:
        """Of another server, of another scope, changed by a bit, spelt otherwise: unknown."""
        nonces = make()
        nonce = nonces.make(5.0, "pbx")
        self.assertIsNone(make(2).made_at(nonce, "pbx"))
        self.assertIsNone(nonces.made_at(nonce, "PBX"))
        for place, letter in enumerate(nonce):
            changed = nonce[:place] + ("A" if letter != "A" else "B") + nonce[place + 1 :]
            self.assertIsNone(nonces.made_at(changed, "pbx"))
        for text in (
            "",
            nonce[:-1],
            nonce + "A",
            "\xe4" * 40,
            "=" * 40,
            "~" * 40,
            nonce[:-4] + "====",
            nonce[:-1] + "~",
        ):
            self.assertIsNone(nonces.made_at(text, "pbx"))

    def test_one_spelling(self) -> None:
        """What Base64 takes for the same bytes is another nonce, so no second use of this one."""
        nonces = make()
        nonce = next(
            nonce
            for nonce in (nonces.make(5.0, "pbx") for _ in range(100))
            if "-" in nonce or "_" in nonce
        )
        self.assertIsNotNone(nonces.made_at(nonce, "pbx"))
        other = nonce.replace("-", "+").replace("_", "/")
        self.assertIsNone(nonces.made_at(other, "pbx"))

    def test_no_clock(self) -> None:
        """Nobody reads from a nonce how long the host has been up."""
        first, second = make(1).make(0.0, "x"), make(2).make(0.0, "x")
        self.assertNotEqual(first[:8], second[:8])


class NonceUsesTests(SynchronousTestCase):
    """Each use once."""

    def test_each_count_once(self) -> None:
        """In order, out of order, with gaps: the first time only; and not when too far behind."""
        uses = NonceUses()
        for count, expected in (
            (1, True),
            (1, False),
            (3, True),
            (2, True),
            (2, False),
            (3, False),
            (3 + WINDOW, True),
            (3, False),
            (4, True),
            (4, False),
            (0xFFFFFFFF, True),
            (0xFFFFFFFF, False),
            (3 + WINDOW, False),
            (0, False),
        ):
            self.assertEqual(uses.take("n", 1.0, count), expected, count)
        self.assertTrue(uses.take("m", 1.0, 1))

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.integers(1, 150), max_size=300))
    def test_never_twice(self, counts: list[int]) -> None:
        """Whatever the order, no count is taken twice, and a new highest one always."""
        uses = NonceUses()
        taken: set[int] = set()
        for count in counts:
            is_highest = count > max(taken, default=0)
            if uses.take("n", 1.0, count):
                self.assertNotIn(count, taken)
                taken.add(count)
            else:
                self.assertFalse(is_highest)

    def test_bounded(self) -> None:
        """The oldest nonce is forgotten, and no use of it, or of an older one, is taken again."""
        uses = NonceUses(limit=3)
        for number in range(1, 4):
            self.assertTrue(uses.take(f"n{number}", float(number), 1))
        self.assertTrue(uses.take("n2", 2.0, 2))
        self.assertTrue(uses.take("n4", 4.0, 1))
        self.assertEqual(len(uses), 3)
        self.assertFalse(uses.take("n1", 1.0, 2))
        self.assertFalse(uses.take("n0", 0.5, 1))
        self.assertFalse(uses.take("n2", 2.0, 2))
        self.assertTrue(uses.take("n2", 2.0, 3))
        self.assertTrue(uses.take("n1.5", 1.5, 1))

    def test_forgotten_in_any_order(self) -> None:
        """A nonce that was used late takes older ones with it when it goes."""
        uses = NonceUses(limit=1)
        self.assertTrue(uses.take("late", 9.0, 1))
        self.assertTrue(uses.take("early", 5.0, 1))
        self.assertFalse(uses.take("late", 9.0, 1))
        self.assertFalse(uses.take("early", 5.0, 1))
        self.assertTrue(uses.take("new", 9.5, 1))
        self.assertFalse(uses.take("late", 9.0, 2))


class AttemptsTests(SynchronousTestCase):
    """What fails, counted."""

    def test_count(self) -> None:
        """By host and call; a success begins anew."""
        attempts = Attempts()
        self.assertEqual([attempts.add("h", "1") for _ in range(3)], [1, 2, 3])
        self.assertEqual((attempts.add("h", "2"), attempts.add("i", "1")), (1, 1))
        attempts.forget("h", "1")
        attempts.forget("h", "never")
        self.assertEqual(attempts.add("h", "1"), 1)

    def test_bounded(self) -> None:
        """The one that was quiet for longest is forgotten."""
        attempts = Attempts(limit=2)
        for call_id in ("1", "2", "1", "3"):
            attempts.add("h", call_id)
        self.assertEqual(len(attempts), 2)
        self.assertEqual(attempts.add("h", "1"), 3)
        self.assertEqual(attempts.add("h", "2"), 1)
