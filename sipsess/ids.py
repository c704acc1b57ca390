# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Identifiers that must be unique, and some that must be unpredictable."""

from __future__ import annotations

import random

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

#: Every branch of an RFC 3261 element starts with it (:rfc:`3261#section-8.1.1.7`).
MAGIC_COOKIE = "z9hG4bK"


class IdSource:
    """
    Makes tags, branches and Call-IDs.

    :param source: ``random.SystemRandom()`` in life, so that no one can guess a dialog; a seeded
        ``random.Random`` in tests, so that the same seed gives the same trace.
    """

    __slots__ = ("random",)

    def __init__(self, source: random.Random | None = None) -> None:
        #: The source itself, for delays and ports.
        self.random = source or random.SystemRandom()

    def token(self, length: int) -> str:
        """Return ``length`` characters of 5 bits each."""
        bits = self.random.getrandbits(5 * length)
        letters = []
        for _ in range(length):
            letters.append(_ALPHABET[bits & 31])
            bits >>= 5
        return "".join(letters)

    def secret(self, length: int) -> bytes:
        """Return so many bytes to encrypt with."""
        return self.random.getrandbits(8 * length).to_bytes(length)

    def branch(self) -> str:
        """Return a new Via branch with the magic cookie."""
        return MAGIC_COOKIE + self.token(16)

    def tag(self) -> str:
        """Return a new From or To tag: 60 bits, where :rfc:`3261#section-19.3` demands 32."""
        return self.token(12)

    def call_id(self) -> str:
        """Return a new Call-ID, without a host: a private address is nobody's business."""
        return self.token(24)
