# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The way of session descriptions from one side of a bridge to the other.

What a peer has described leaves on the other side as it came, but for its o= line, which is ours
there (:rfc:`3264#section-5`); and with as many m-lines as that side's exchanges have got to. With a
media engine it goes through that first, which puts its own addresses in.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.engine import MediaEngineError, MediaOptions
from sipsess.interfaces import IMediaEngine
from sipsess.message import Response
from sipsess.sdp import MediaDescription, Origin, SDPError, SessionDescription, parse
from sipsess.sdphandler import NegotiationFailed

#: The tags of the two sides.
NEAR, FAR = "near", "far"
#: The reason code of a description that an engine has made and nobody can read.
UNREADABLE = "engine-description"
#: Attributes that say who sends.
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
#: Refusals that mean us and not the one who offered: he cannot answer a challenge to us, nor do
#: without an extension of ours.
_OURS = {401: 403, 407: 403, 420: 500, 421: 500}


class RefusedAcross(NegotiationFailed):
    """
    The other side of the bridge does not want an offer; whoever made it hears so.

    :param status: of the refusal.
    :param text: for people.
    :param headers: of the refusal.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text, 399, status)
        self.headers = headers or {}

    @classmethod
    def by(cls, response: Response) -> RefusedAcross:
        """Return the refusal that a response of the other side's peer is."""
        names = ("Retry-After", "Warning")
        headers = {name: value for name in names if (value := response.headers.get(name))}
        status = response.status if response.status >= 300 else 488
        text = f"the other side has answered {response.status} {response.reason}"
        return cls(_OURS.get(status, status), text, headers)


class Side:
    """
    What takes part in a crossing on one of its two sides, as the engine knows it.

    :param tag: of that side; whoever takes its place has the same.
    :param options: how media towards its peer shall be.
    """

    __slots__ = ("options", "tag")

    def __init__(self, tag: str, options: MediaOptions) -> None:
        self.tag = tag
        self.options = options


class Crossing:
    """
    What the sides of a bridge have in common.

    :param call_id: of the engine's call; nobody else knows it.
    :param engine: that descriptions go through; ``None`` leaves media end to end.
    """

    __slots__ = ("_call_id", "_engine", "_is_known", "_sides", "is_mending", "rounds")

    def __init__(self, call_id: str, engine: IMediaEngine | None = None) -> None:
        self._call_id = call_id
        self._engine = engine
        #: Whether the engine has heard of the call.
        self._is_known = False
        self._sides: dict[Side, None] = {}
        #: Re-INVITEs that were to put both sides in step again, since they last were.
        self.rounds = 0
        #: Whether one of them is under way.
        self.is_mending = False

    def add(self, side: Side) -> None:
        """Let a side take part, until :meth:`remove`."""
        self._sides[side] = None

    def remove(self, side: Side) -> None:
        """Let go of a side, and with the last one of the engine's call."""
        self._sides.pop(side, None)
        if self._engine is not None and self._is_known and not self._sides:
            self._engine.delete(self._call_id).addErrback(_ignore)

    def offer(self, source: Side, target: Side, sdp: SessionDescription) -> Deferred[bytes] | None:
        """Let the engine make the offer for a side; ``None`` without an engine."""
        if self._engine is None:
            return None
        self._is_known = True
        return self._engine.offer(self._call_id, source.tag, sdp.to_bytes(), target.options)

    def answer(self, source: Side, target: Side, sdp: SessionDescription) -> Deferred[bytes] | None:
        """Let the engine make the answer to a side's offer; ``None`` without an engine."""
        if self._engine is None:
            return None
        tags = (target.tag, source.tag)
        return self._engine.answer(self._call_id, *tags, sdp.to_bytes(), target.options)


def read(body: bytes) -> SessionDescription:
    """
    Return the description that an engine has made.

    :raises MediaEngineError: when it cannot be read.
    """
    try:
        return parse(body)
    except SDPError as error:
        raise MediaEngineError(UNREADABLE, f"bad description: {error.text}") from error


def make_ours(
    sdp: SessionDescription, host: str, count: int, agreed: SessionDescription | None
) -> SessionDescription:
    """
    Return a description as this side may send it; its numbers are stamped when it is sent.

    :param host: of its o= line.
    :param count: the m-lines that it needs: what is missing is declined, what is more left out.
    :param agreed: what this side sent before, which has the m-lines that may be missing.
    """
    media = list(sdp.media[:count])
    if agreed is not None:
        media += [MediaDescription.declined(item) for item in agreed.media[len(media) : count]]
    ours = sdp.with_media(media)
    ours.origin = Origin.build(host)
    return ours


def without_directions(sdp: SessionDescription) -> SessionDescription:
    """Return a description that holds nobody, for a peer who has heard nothing before."""
    media = []
    for item in sdp.media:
        free = item.copy()
        free.attributes.remove(*_DIRECTIONS)
        media.append(free)
    result = sdp.with_media(media)
    result.attributes.remove(*_DIRECTIONS)
    return result


def is_same(one: SessionDescription | None, other: SessionDescription | None) -> bool:
    """Tell whether two descriptions say the same."""
    return one is other or (one is not None and other is not None and one.is_same_as(other))


def _ignore(failure: Failure) -> None:
    """Let an engine that cannot be told to let go forget the call by itself."""
    failure.trap(MediaEngineError)
