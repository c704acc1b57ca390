# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Where bindings are kept: the errors of a store, and the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sipsess.errors import LocalError
from sipsess.interfaces import IBindingStore

from .binding import Binding


class StoreError(LocalError):
    """The store of bindings cannot be used; the text says what to do."""


class StoreFullError(StoreError):
    """There are as many bindings as there may be."""

    status_hint = 503


@implementer(IBindingStore)
class MemoryStore:
    """Keeps bindings until the process ends."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[Binding, ...]] = {}
        self._count = 0

    def open(self) -> None:
        """See :meth:`.IBindingStore.open`."""

    def close(self) -> Deferred[None]:
        """See :meth:`.IBindingStore.close`."""
        return succeed(None)

    def find(self, user: str, now: float) -> Deferred[Sequence[Binding]]:
        """See :meth:`.IBindingStore.find`."""
        found = self._users.get(user, ())
        return succeed([binding for binding in found if binding.expires > now])

    def replace(self, user: str, bindings: Sequence[Binding], limit: int) -> Deferred[None]:
        """See :meth:`.IBindingStore.replace`."""
        old = len(self._users.get(user, ()))
        count = self._count + len(bindings) - old
        if count > limit and len(bindings) > old:
            return fail(StoreFullError(f"there are {self._count} bindings"))
        self._count = count
        if bindings:
            self._users[user] = tuple(bindings)
        else:
            self._users.pop(user, None)
        return succeed(None)

    def purge(self, now: float) -> Deferred[int]:
        """See :meth:`.IBindingStore.purge`."""
        before = self._count
        for user, bindings in list(self._users.items()):
            left = tuple(binding for binding in bindings if binding.expires > now)
            if not left:
                del self._users[user]
            elif len(left) < len(bindings):
                self._users[user] = left
            self._count -= len(bindings) - len(left)
        return succeed(before - self._count)

    def list_bindings(self, limit: int, now: float) -> Deferred[Sequence[Binding]]:
        """See :meth:`.IBindingStore.list_bindings`."""
        every = (self._users[user] for user in sorted(self._users))
        valid = (one for bindings in every for one in bindings if one.expires > now)
        return succeed([*islice(valid, limit)])
