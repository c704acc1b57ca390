# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A dictionary that peers can fill, and that never grows beyond a limit."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RecentDict(Generic[Key, Value]):
    """
    A bounded dictionary that forgets what was not used lately.

    Two generations: when the young one is full it becomes the old one, and what was the old one is
    forgotten. So no operation ever takes long, and at most ``2 * limit`` entries are kept.

    :param limit: entries of one generation.
    """

    __slots__ = ("_limit", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: Key) -> Value | None:
        """Return the value, or ``None`` when it is not there or forgotten."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Remember a value."""
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()
