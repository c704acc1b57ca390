# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A bounded dictionary whose entries end."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ExpiringDict(Generic[Key, Value]):
    """
    Values that are good until a time each.

    :param limit: entries; when there are as many, those that have ended go, then the oldest one.
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Key, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Value | None:
        """Return a value, or ``None`` when it is not there or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if now >= until:
            del self._entries[key]
            return None
        return value

    def put(self, key: Key, value: Value, until: float, now: float) -> None:
        """Keep a value until a time."""
        self._entries.pop(key, None)
        if len(self._entries) >= self._limit:
            self._make_room(now)
        self._entries[key] = (until, value)

    def forget(self, key: Key) -> None:
        """Keep a value no longer."""
        self._entries.pop(key, None)

    def _make_room(self, now: float) -> None:
        self._entries = {key: entry for key, entry in self._entries.items() if now < entry[0]}
        if len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
