# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
rtpengine as a media engine: one or more of them, asked by their *ng* protocol.

Theory of operation
    The first offer of a call goes to one of the engines that are there, each in its turn. One that
    does not answer, or says that it carries enough, is passed over for the next, so that a call
    tries :data:`MAX_TRIES` of them. Everything else of the call goes to the engine that took its
    last offer. When that one is gone, the next offer, in a re-INVITE, moves the call to another:
    offer and answer tell the new one all that it has to know. At its end the call is deleted from
    each engine that had a part of it.

    A refusal of an engine, such as a description that it cannot read, is no reason to ask another.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.counters import Counters
from sipsess.interfaces import IMediaEngine

from .bencode import Value, Writable
from .node import Node, Reply
from .options import EngineStatistics, MediaEngineError, MediaOptions

T = TypeVar("T")

#: Engines that one offer is given to, at most; their time-outs add up while a caller waits.
MAX_TRIES = 2
#: Characters kept of what an engine says.
MAX_TEXT = 200

#: What we have written anew besides ports and addresses of media.
_REPLACE = ("origin", "session-connection")
#: The engine carries as much as it may.
_FULL = b"load limit"
#: Errors after which another engine may do it.
_ELSEWHERE = frozenset({"engine-busy", "engine-down", "engine-full", "engine-timeout"})


@implementer(IMediaEngine)
class RTPEngine:
    """
    Some engines of the same kind that share the calls.

    :param nodes: the engines.
    :param counters: where what fails is counted.
    :param records: whether all calls are recorded.
    :param transcode: encodings that each offer has besides its own.
    """

    name = "rtpengine"

    def __init__(
        self,
        nodes: Sequence[Node],
        counters: Counters,
        *,
        records: bool = False,
        transcode: Sequence[str] = (),
    ) -> None:
        self.nodes = tuple(nodes)
        self._counters = counters
        self._records = records
        self._transcode = tuple(transcode)
        #: The engines that have a part of each call; the last one is in charge.
        self._calls: dict[str, list[Node]] = {}
        self._turn = 0

    @property
    def calls(self) -> tuple[str, ...]:
        """The calls that were offered and not deleted."""
        return tuple(self._calls)

    # -- IMediaEngine ----------------------------------------------------------------------

    def offer(
        self, call_id: str, from_tag: str, sdp: bytes, options: MediaOptions
    ) -> Deferred[bytes]:
        """See :meth:`.IMediaEngine.offer`."""
        fields = _fields(call_id, from_tag, sdp, options)
        transcode = (*options.transcode, *self._transcode)
        if transcode:
            fields["codec"] = {"transcode": transcode}
        if self._records:
            fields["record call"] = "yes"
        return self._run(self._offer(call_id, fields))

    def answer(
        self, call_id: str, from_tag: str, to_tag: str, sdp: bytes, options: MediaOptions
    ) -> Deferred[bytes]:
        """See :meth:`.IMediaEngine.answer`."""
        fields = _fields(call_id, from_tag, sdp, options)
        fields["to-tag"] = to_tag
        return self._run(self._answer(call_id, fields))

    def delete(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.delete`."""
        fields = {"call-id": call_id}
        nodes = self._calls.pop(call_id, ())
        deleting = [self._run(_ask(node, "delete", fields)).addErrback(_ignore) for node in nodes]
        return gatherResults(deleting).addCallback(lambda results: None)

    def start_recording(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.start_recording`."""
        asking = self._run(self._ask_about(call_id, "start recording"))
        return asking.addCallback(lambda reply: None)

    def stop_recording(self, call_id: str) -> Deferred[None]:
        """See :meth:`.IMediaEngine.stop_recording`."""
        asking = self._run(self._ask_about(call_id, "stop recording"))
        return asking.addCallback(lambda reply: None)

    def query(self, call_id: str) -> Deferred[EngineStatistics]:
        """See :meth:`.IMediaEngine.query`."""
        return self._run(self._ask_about(call_id, "query")).addCallback(_read_statistics)

    # -- asking ----------------------------------------------------------------------------

    def _run(self, asking: Coroutine[Deferred[Reply], Any, T]) -> Deferred[T]:
        """Run what asks an engine, and count it when it fails."""
        return Deferred.fromCoroutine(asking).addErrback(self._count)

    def _count(self, failure: Failure) -> Failure:
        if isinstance(failure.value, MediaEngineError):
            self._counters.refuse(failure.value.reason_code)
        return failure

    async def _offer(self, call_id: str, fields: dict[str, Writable]) -> bytes:
        """Give an offer to one engine after the other, until one takes it."""
        error = MediaEngineError("engine-down", "no media engine is there")
        owners = self._calls.setdefault(call_id, [])
        for node in self._candidates(owners):
            if self._calls.get(call_id) is not owners:
                # It was deleted meanwhile.
                break
            if node in owners:
                owners.remove(node)
            owners.append(node)
            try:
                return await _describe(node, "offer", fields)
            except MediaEngineError as failed:
                if failed.reason_code not in _ELSEWHERE:
                    raise
                error = failed
        raise error

    def _candidates(self, owners: list[Node]) -> list[Node]:
        """Return the engines that may take an offer, in the order in which they are asked."""
        self._turn += 1
        start = self._turn % len(self.nodes)
        ready = [node for node in (*self.nodes[start:], *self.nodes[:start]) if node.is_up]
        if owners and owners[-1] in ready:
            ready.remove(owners[-1])
            ready.insert(0, owners[-1])
        return ready[:MAX_TRIES]

    async def _answer(self, call_id: str, fields: dict[str, Writable]) -> bytes:
        return await _describe(self._in_charge(call_id), "answer", fields)

    async def _ask_about(self, call_id: str, command: str) -> Reply:
        return await _ask(self._in_charge(call_id), command, {"call-id": call_id})

    def _in_charge(self, call_id: str) -> Node:
        """
        Return the engine that took the last offer of a call.

        :raises MediaEngineError: when there was none.
        """
        owners = self._calls.get(call_id)
        if not owners:
            raise MediaEngineError("engine-refused", "no media engine has such a call")
        return owners[-1]


def _fields(call_id: str, from_tag: str, sdp: bytes, options: MediaOptions) -> dict[str, Writable]:
    """Return what offers and answers have in common."""
    fields: dict[str, Writable] = {
        "call-id": call_id,
        "from-tag": from_tag,
        "sdp": sdp,
        "replace": _REPLACE,
    }
    if options.protocol:
        fields["transport-protocol"] = options.protocol
    if options.ice:
        fields["ICE"] = options.ice
    if options.networks is not None:
        fields["direction"] = options.networks
    return fields


async def _describe(node: Node, command: str, fields: Mapping[str, Writable]) -> bytes:
    """Give a session description to an engine, and return what it makes of it."""
    sdp = (await _ask(node, command, fields)).get(b"sdp")
    if not isinstance(sdp, bytes):
        raise _refused(node, "it gave no session description")
    return sdp


async def _ask(node: Node, command: str, fields: Mapping[str, Writable]) -> Reply:
    """
    Ask an engine for something, and return what it says when it has done it.

    :raises MediaEngineError: when it has not.
    """
    reply = await node.request(command, fields)
    result = reply.get(b"result")
    if result == _FULL:
        raise MediaEngineError("engine-full", f"the media engine at {node.name} is full")
    if result != b"ok":
        raise _refused(node, _printable(reply.get(b"error-reason")))
    return reply


def _refused(node: Node, why: str) -> MediaEngineError:
    return MediaEngineError("engine-refused", f"the media engine at {node.name} refused: {why}")


def _printable(value: Value | None) -> str:
    """Return what an engine says, as far as it can be shown."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else "no reason given"
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_TEXT])


def _read_statistics(reply: Reply) -> EngineStatistics:
    """Read the answer to a query; what is not there counts as nothing."""
    totals = _within(_within(reply, b"totals"), b"RTP")
    numbers = [totals.get(key) for key in (b"packets", b"bytes", b"errors")]
    return EngineStatistics(*(item if isinstance(item, int) else 0 for item in numbers))


def _within(values: Reply, key: bytes) -> Reply:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _ignore(failure: Failure) -> None:
    """Let an engine that cannot be told forget a call by itself, when its media end."""
    failure.trap(MediaEngineError)
