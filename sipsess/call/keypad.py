# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The keys that the peer presses, until somebody reads them.

Theory of operation
    One reader at a time waits for the next key; keys that come while nobody does are kept,
    :data:`MAX_DIGITS` at most, for the next one. A prompt is played by the reader itself, and the
    first key stops it. While somebody reads, tones are keys, too (:mod:`sipsess.call.tones`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from .sound import Loaded
from .tones import Tones
from .wait import Wait

if TYPE_CHECKING:
    from .call import Call

#: Digits that are kept until somebody reads them; nobody types further ahead.
MAX_DIGITS = 64


class Keypad:
    """
    The keys of one call's peer.

    :param call: whose they are.
    """

    __slots__ = ("_call", "_reader", "_tones", "waiting")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._reader: Wait | None = None
        self._tones = Tones(call)
        #: The keys that nobody has read yet.
        self.waiting = ""

    @property
    def is_read(self) -> bool:
        """Whether somebody waits for the next key."""
        return self._reader is not None

    def receive(self, digit: str) -> None:
        """Take a key that the peer has told by an event or a request."""
        if not self._tones.is_repeated(digit):
            self.add(digit)

    def add(self, digit: str) -> None:
        """Take a key that was pressed, in whatever way."""
        if self._reader is not None:
            self._reader.finish(digit)
        elif len(self.waiting) < MAX_DIGITS:
            self.waiting += digit

    async def read(
        self,
        count: int | None,
        *,
        timeout: float,
        first_timeout: float,
        terminators: str,
        prompt: Loaded | None,
        interruptible: bool,
    ) -> str:
        """See :meth:`.Call.read_digits`."""
        self._tones.begin()
        try:
            return await self._read(
                count, timeout, first_timeout, terminators, prompt, interruptible
            )
        finally:
            self._tones.end()

    async def _read(
        self,
        count: int | None,
        timeout: float,
        first_timeout: float,
        terminators: str,
        prompt: Loaded | None,
        interruptible: bool,
    ) -> str:
        text = ""
        digit = ""
        if prompt is not None and not interruptible:
            await self._call.play(prompt.pieces, rate=prompt.rate)
        elif prompt is not None and not self.waiting:
            digit = await self._play_until_digit(prompt)
        while count is None or len(text) < count:
            digit = digit or await self._next_digit(timeout if text else first_timeout)
            if not digit or digit in terminators:
                break
            text += digit
            digit = ""
        return text

    async def _play_until_digit(self, prompt: Loaded) -> str:
        """Play something; return the digit that stopped it, or nothing when it was through."""
        playing = self._call.play(prompt.pieces, rate=prompt.rate)

        def release() -> None:
            self._forget_reader()
            playing.cancel()

        wait = self._reader = Wait(self._call, release)
        playing.addCallbacks(lambda _: wait.finish(""), wait.fail)
        digit: str = await wait.deferred
        return digit

    def _next_digit(self, patience: float) -> Deferred[str]:
        """Return the next digit; nothing when none comes in time."""
        if self.waiting:
            digit, self.waiting = self.waiting[0], self.waiting[1:]
            return succeed(digit)
        wait = self._reader = Wait(self._call, self._forget_reader)
        wait.start_timer(patience, "")
        return wait.deferred

    def _forget_reader(self) -> None:
        self._reader = None
