# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Cookies: what plugins keep with a session or a stream, each destroyed exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from sipsess.errors import CookieError

_log = Logger()

#: More than any honest set of plugins needs; a plugin that adds without end is stopped here.
MAX_COOKIES = 256


class CookieOwner(Protocol):
    """Who hears of cookies that fail."""

    def cookie_failed(self, name: str, error: Exception) -> None:
        """Report what the ``destroy`` of a cookie raised."""


class Cookies:
    """
    Named values with an end.

    A value's ``destroy`` runs exactly once: when it is removed, or when the session ends.

    :param owner: told what a ``destroy`` raised; left out, it is logged.
    """

    __slots__ = ("_is_closed", "_items", "_owner")

    def __init__(self, owner: CookieOwner | None = None) -> None:
        self._owner = owner
        #: Made for the first one: many sessions and streams have none.
        self._items: dict[str, tuple[Any, Callable[[Any], object] | None]] | None = None
        self._is_closed = False

    def add(self, name: str, value: Any, destroy: Callable[[Any], object] | None = None) -> None:
        """
        Keep ``value`` under ``name``.

        :param destroy: called with the value at its end; what it raises is logged.
        :raises CookieError: when the name is taken, the session has ended or there are too many.
        """
        if self._is_closed:
            raise CookieError(f"cookie {name!r} comes after the session's end")
        items = self._items = {} if self._items is None else self._items
        if name in items:
            raise CookieError(f"there is a cookie {name!r} already; remove it first")
        if len(items) >= MAX_COOKIES:
            raise CookieError(f"a session keeps at most {MAX_COOKIES} cookies")
        items[name] = (value, destroy)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of that name, or ``default``."""
        item = None if self._items is None else self._items.get(name)
        return default if item is None else item[0]

    def remove(self, name: str) -> None:
        """
        Destroy the value of that name.

        :raises CookieError: when there is none.
        """
        item = None if self._items is None else self._items.pop(name, None)
        if item is None:
            raise CookieError(f"there is no cookie {name!r}")
        self._destroy(name, *item)

    def __contains__(self, name: str) -> bool:
        return self._items is not None and name in self._items

    def destroy_all(self) -> None:
        """Destroy what is left, the youngest first, and take no more; for the session's end."""
        self._is_closed = True
        while self._items:
            name, item = self._items.popitem()
            self._destroy(name, *item)

    def _destroy(self, name: str, value: Any, destroy: Callable[[Any], object] | None) -> None:
        if destroy is None:
            return
        try:
            destroy(value)
        except Exception as error:
            if self._owner is not None:
                self._owner.cookie_failed(name, error)
            else:
                _log.failure("destroying the cookie {cookie}", cookie=name)
