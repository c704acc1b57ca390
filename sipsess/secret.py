# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A password that does not print itself."""

from __future__ import annotations


class Secret:
    """
    Something that stands in no log, no error and no listing.

    :param value: the secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret, for who must use it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Compare, so that a reload knows what has changed."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        """
        Refuse to be written out.

        :raises TypeError: always.
        """
        raise TypeError("a secret is not pickled")
