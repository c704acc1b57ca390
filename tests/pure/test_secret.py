# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A secret stands nowhere."""

from __future__ import annotations

import copy
import pickle

from twisted.trial.unittest import SynchronousTestCase

from sipsess.secret import Secret


class SecretTests(SynchronousTestCase):
    """What a secret says of itself."""

    def test_never_printed(self) -> None:
        """No way of printing shows it."""
        secret = Secret("sesame")
        for text in (str(secret), repr(secret), f"{secret}", f"{[secret]!r}"):
            self.assertNotIn("sesame", text)
            self.assertIn("***", text)
        self.assertEqual(secret.reveal(), "sesame")

    def test_equality(self) -> None:
        """A reload can tell whether it has changed."""
        self.assertEqual(Secret("a"), Secret("a"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertEqual(len({Secret("a"), Secret("a"), Secret("b")}), 2)

    def test_not_written_out(self) -> None:
        """It is not pickled, nor copied by the way of pickling."""
        self.assertRaises(TypeError, pickle.dumps, Secret("a"))
        self.assertRaises(TypeError, copy.copy, Secret("a"))
