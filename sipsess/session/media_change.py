# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What this side wants changed in the media of a call, and how that is merged with what has changed
meanwhile.

A wish may wait: for an exchange that is open, for the time after a glare. When its turn comes, the
peer may have added streams, taken some away, or done just what was wanted. The merge has three
sides, as in version control: the streams as they were when the wish was said (the base), the wish,
and the streams in force now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .stream import SessionStream

#: Streams by m-line; ``None`` for a declined one.
Streams: TypeAlias = Sequence[SessionStream | None]


@dataclass(frozen=True, slots=True)
class MediaChange:
    """A wish; what it does not name stays as it is."""

    #: Media types, such as ``"video"``: a new stream for each.
    add: tuple[str, ...] = ()
    #: Streams to end: their m-lines get port 0 (:rfc:`3264#section-8.2`).
    remove: tuple[SessionStream, ...] = ()
    #: The direction of every stream: ``"sendonly"`` puts the peer on hold, ``"sendrecv"`` takes him
    #: back (:rfc:`3264#section-8.4`).
    direction: str | None = None
    #: The direction of single streams; they come before :attr:`direction`.
    directions: Mapping[SessionStream, str] = field(default_factory=dict)


#: Offer the media as they are.
NO_CHANGE = MediaChange()


class Plan(NamedTuple):
    """What an offer holds."""

    #: By m-line; ``None`` for what is, or shall be, declined.
    streams: list[SessionStream | None]
    #: The directions that change.
    directions: dict[SessionStream, str]
    #: The media types of new streams.
    add: list[str]


def merge(base: Streams, change: MediaChange, current: Streams) -> Plan:
    """
    Merge a wish with the streams in force.

    What the peer has added since stays, and counts for a stream of that type that was to be added;
    what is gone is not brought back.
    """
    streams = [None if stream in change.remove else stream for stream in current]
    directions: dict[SessionStream, str] = {}
    for stream in streams:
        if stream is not None:
            wanted = change.directions.get(stream, change.direction)
            if wanted is not None:
                directions[stream] = wanted
    add = list(change.add)
    for stream in current:
        if stream is not None and stream not in base and stream.media_type in add:
            add.remove(stream.media_type)
    return Plan(streams, directions, add)
