# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The pieces of a sound, as an iterator of a program gives them; what it raises harms the sound only.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.failures import CANCELLED

if TYPE_CHECKING:
    from .base import CallBase


class GuardedPieces:
    """
    The pieces of an iterator, of which an exception fails the sound and nothing else.

    :param pieces: the iterator.
    :param failed: is called with the exception.
    """

    __slots__ = ("_failed", "_pieces")

    def __init__(self, pieces: Iterator[bytes], failed: Callable[[Failure], None]) -> None:
        self._pieces = pieces
        self._failed = failed

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except Exception:
            self._failed(Failure())
            raise StopIteration from None


class AsyncPieces:
    """
    The pieces of an asynchronous iterator.

    One piece is asked for ahead of the one that is being played, so that there is no gap between
    them, and never more. While it does not come there is silence.

    :param call: that plays them.
    :param pieces: what gives them.
    :param failed: is called with what it raises.
    """

    __slots__ = (
        "_call",
        "_coroutine",
        "_error",
        "_failed",
        "_is_over",
        "_next",
        "_pieces",
        "_pull",
    )

    def __init__(
        self, call: CallBase, pieces: AsyncIterable[bytes], failed: Callable[[Failure], None]
    ) -> None:
        self._call = call
        self._pieces: AsyncIterator[bytes] = aiter(pieces)
        self._failed: Callable[[Failure], None] | None = failed
        #: The piece that came and was not asked for yet.
        self._next: bytes | None = None
        #: What it raised after that.
        self._error: Failure | None = None
        self._is_over = False
        self._pull: Deferred[None] | None = None
        self._coroutine: CoroutineType[Any, Any, None] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._next is None and self._coroutine is None:
            self._ask()
        piece, self._next = self._next, None
        if piece is not None:
            self._ask()
            return piece
        if self._error is not None and self._failed is not None:
            self._failed(self._error)
        if self._is_over:
            raise StopIteration
        return b""

    def close(self) -> None:
        """Ask for no more, cancel what was asked for, and let the iterator clean up."""
        self._is_over, self._next, self._error, self._failed = True, None, None, None
        if self._coroutine is None:
            self._finish()
        elif self._pull is not None and not self._coroutine.cr_running:
            self._pull.cancel()

    def _ask(self) -> None:
        if self._is_over:
            return
        coroutine = self._get()
        self._coroutine = cast("CoroutineType[Any, Any, None]", coroutine)
        with self._call.session.core.turn:
            pull = self._pull = Deferred.fromCoroutine(coroutine)
            pull.addErrback(self._broken).addCallback(self._came)

    async def _get(self) -> None:
        try:
            self._next = await anext(self._pieces)
        except StopAsyncIteration:
            self._is_over = True

    def _broken(self, failure: Failure) -> None:
        """Keep what was raised; when the sound is over, only a cancellation is no surprise."""
        self._is_over = True
        if self._failed is not None:
            self._error = failure
        elif not failure.check(*CANCELLED):
            self._report(failure)

    def _came(self, result: None) -> None:
        self._pull = self._coroutine = None
        if self._failed is None:
            self._next = None
            self._finish()

    def _finish(self) -> None:
        """Let a generator run its ``finally``."""
        pieces = self._pieces
        close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(pieces, "aclose", None)
        if close is not None:
            with self._call.session.core.turn:
                Deferred.fromCoroutine(_await(close())).addErrback(self._report)

    def _report(self, failure: Failure) -> None:
        session = self._call.session
        assert failure.value is not None
        session.report.plugin_failed(session.runner.name, "play", failure.value)


async def _await(awaitable: Coroutine[Any, Any, None]) -> None:
    """Await something; an asynchronous generator's ``aclose()`` is no coroutine itself."""
    await awaitable
