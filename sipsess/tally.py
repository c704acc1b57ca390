# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How many things each peer has at a time: the measure of a limit per peer."""

from __future__ import annotations


class Tally:
    """
    Counts by name; a name with nothing is forgotten, so it is no longer than what it counts.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        """Return how many a name has."""
        return self._counts.get(name, 0)

    def __len__(self) -> int:
        """Return how many names have something."""
        return len(self._counts)

    def add(self, name: str) -> None:
        """Count one more."""
        self._counts[name] = self._counts.get(name, 0) + 1

    def remove(self, name: str) -> None:
        """
        Count one less.

        :raises KeyError: when the name has none.
        """
        left = self._counts[name] - 1
        if left:
            self._counts[name] = left
        else:
            del self._counts[name]
