# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A leaky bucket: how much there was lately."""

from __future__ import annotations


class Bucket:
    """Holds what was put in and has not leaked out; it begins empty."""

    __slots__ = ("_when", "level")

    def __init__(self, now: float) -> None:
        #: What it held at the last look; below zero when more was taken out than put in.
        self.level = 0.0
        self._when = now

    def look(self, rate: float, now: float) -> float:
        """Return what it holds now, when so much leaks out per second."""
        level = self.level
        if level > 0.0:
            self.level = level = max(0.0, level - rate * (now - self._when))
        self._when = now
        return level

    def add(self, amount: float, rate: float, now: float) -> float:
        """Put something in, and return what it holds now."""
        self.level = level = self.look(rate, now) + amount
        return level

    def put(self, amount: float, rate: float, limit: float, now: float) -> bool:
        """Put something in if it fits; ``False`` when it would be more than the limit."""
        if self.look(rate, now) + amount > limit:
            return False
        self.level += amount
        return True

    def take(self, amount: float, floor: float) -> None:
        """Take something out, which needs not be there: down to a floor."""
        self.level = max(floor, self.level - amount)
