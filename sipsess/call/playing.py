# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A sound that is being played, or waits for that: its handle, and what stands behind it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from .pieces import AsyncPieces, GuardedPieces
from .wait import Wait

if TYPE_CHECKING:
    from sipsess.media import AudioStream

    from .base import CallBase
    from .sound import Pieces


class Playing(Deferred[bool]):
    """
    A Deferred that fires when a sound is over: ``True`` when all of it was sent, ``False`` when it
    was stopped.

    It fails with :class:`.SessionEnded` when the call ends, with :class:`.DialogStateError` when
    the call loses its audio, and with what the iterator raises that gives the sound. Cancelling it
    stops the sound too, but then it fails.
    """

    #: Stops it at its source; set as long as it is played.
    _stop: Callable[[], object] | None = None

    def stop(self) -> None:
        """Say no more of it: it fires with ``False``, unless it is over already."""
        if self._stop is not None:
            self._stop()


class PlayWait(Wait):
    """
    The wait behind a :class:`Playing`.

    :param call: that plays.
    :param stream: on which.
    :param pcm: what; whole, or in pieces as an iterator gives them.
    :param rate: its samples per second.
    """

    __slots__ = ("_pieces", "_stream", "playing")

    def __init__(self, call: CallBase, stream: AudioStream, pcm: Pieces, rate: int) -> None:
        self._stream = stream
        self._pieces: AsyncPieces | None = None
        self.playing = Playing(self.cancelled)
        super().__init__(call, deferred=self.playing)
        self.moved = self.stop
        source: bytes | Iterable[bytes]
        if isinstance(pcm, bytes | bytearray | memoryview):
            source = bytes(pcm)
        elif isinstance(pcm, AsyncIterable):
            source = self._pieces = AsyncPieces(call, pcm, self.fail)
        else:
            source = GuardedPieces(iter(pcm), self.fail)
        try:
            playback = stream.play(source, self._done, rate)
        except BaseException:
            self.let_go()
            raise
        self._release = playback.stop
        self.playing._stop = self.stop

    def let_go(self) -> bool:
        """See :meth:`.Wait.let_go`."""
        if not super().let_go():
            return False
        self.playing._stop = None
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.close()
        return True

    def stop(self) -> None:
        """See :meth:`Playing.stop`."""
        self.finish(False)

    def _done(self, is_complete: bool) -> None:
        """Hear from the stream that it has sent everything, or not."""
        if is_complete or not self._stream.is_closed:
            self.finish(is_complete)
        else:
            self.lost()
