# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A media engine that carries nothing: it writes its own address into what goes through it."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sipsess.engine import EngineStatistics, MediaEngineError, MediaOptions
from sipsess.interfaces import IMediaEngine

#: Where the media of all calls are said to be.
ADDRESS = "192.0.2.99"


@implementer(IMediaEngine)
class FakeEngine:
    """Keeps what it was asked for in :attr:`asked`, and which calls it has."""

    name = "fake"

    def __init__(self) -> None:
        #: Method, call and tags of each request.
        self.asked: list[tuple[str, ...]] = []
        self.options: list[MediaOptions] = []
        #: The calls that were not deleted.
        self.calls: set[str] = set()
        #: Whether it refuses everything from now on.
        self.is_broken = False
        #: Whether it cannot be told to let go.
        self.is_gone = False
        #: What it writes instead of a description.
        self.nonsense = b""
        #: Fires later, when it is set: what the next offer or answer waits for.
        self.pause: Deferred[None] | None = None

    def offer(
        self, call_id: str, from_tag: str, sdp: bytes, options: MediaOptions
    ) -> Deferred[bytes]:
        """See :meth:`.IMediaEngine.offer`."""
        self.asked.append(("offer", call_id, from_tag))
        return self._rewrite(call_id, sdp, options)

    def answer(
        self, call_id: str, from_tag: str, to_tag: str, sdp: bytes, options: MediaOptions
    ) -> Deferred[bytes]:
        """See :meth:`.IMediaEngine.answer`."""
        self.asked.append(("answer", call_id, from_tag, to_tag))
        return self._rewrite(call_id, sdp, options)

    def _rewrite(self, call_id: str, sdp: bytes, options: MediaOptions) -> Deferred[bytes]:
        self.options.append(options)
        if self.is_broken:
            return fail(MediaEngineError("engine-refused", "the engine is broken"))
        self.calls.add(call_id)
        rows = [_at_engine(row) for row in sdp.decode().splitlines()]
        rewritten = self.nonsense or "\r\n".join([*rows, ""]).encode()
        if self.pause is None:
            return succeed(rewritten)
        pause, self.pause = self.pause, None
        return pause.addCallback(lambda _: rewritten)

    def delete(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.delete`."""
        self.asked.append(("delete", call_id))
        self.calls.discard(call_id)
        return fail(MediaEngineError("engine-gone", "no answer")) if self.is_gone else succeed(None)

    def start_recording(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.start_recording`."""
        self.asked.append(("start_recording", call_id))
        return succeed(None)

    def stop_recording(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.stop_recording`."""
        self.asked.append(("stop_recording", call_id))
        return succeed(None)

    def query(self, call_id: str) -> Deferred[EngineStatistics]:
        """See :meth:`.IMediaEngine.query`."""
        return succeed(EngineStatistics(0, 0, 0))


def _at_engine(row: str) -> str:
    """Return a line of a description with the engine's address, if it is a c-line."""
    return f"c=IN IP4 {ADDRESS}" if row.startswith("c=") else row
