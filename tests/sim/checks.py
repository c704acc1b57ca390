# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What must hold in a scene at any time: what is logged, refused, and agreed."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from sipsess.sdp.negotiation import answer_direction
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import Session, SessionStream
from sipsess.testing import Agent

#: What may be counted as refused without anything being wrong.
EXPECTED = frozenset(
    {"ack-missing", "ack-unexpected", "ack-unmatched", "answer-overdue", "call-refused"}
    | {
        "cancel-unmatched",
        "cseq-too-low",
        "dialog-unknown",
        "offer-glare-local",
        "offer-glare-remote",
        "supplement-refused",
    }
    | {"prack-missing", "prack-unmatched", "response-unmatched", "rseq-unexpected", "session-busy"}
    # Many calls of somebody whose every ACK and PRACK is on its way for a minute: he gets no more
    # copies than one may send to an address that is not proven.
    | {"unproven-held"}
)
OPPOSITE = {"sendonly": "recvonly", "recvonly": "sendonly"}


@implementer(ILogObserver)
class Errors:
    """What was logged as an error."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Note it."""
        if event["log_level"] >= LogLevel.error:
            failure = event.get("log_failure")
            self.texts.append("an error" if failure is None else failure.getTraceback())


def faults_of_person(name: str, person: Agent) -> Iterable[str]:
    """Return what the counters of an agent say is wrong."""
    counters = person.core.counters
    if counters.plugin_errors:
        yield f"{name} has {counters.plugin_errors} plugin errors"
    for reason in sorted(counters.refused.keys() - EXPECTED):
        yield f"{name} has refused: {reason}"


def disagreements(one: Session, other: Session) -> list[str]:
    """Return in what the two sides of a call do not agree, though no exchange is open."""
    faults = []
    for session in (one, other):
        media = session.media
        if session.end_reason is not None or media.is_open or media.machine.local is None:
            return []
    for mine, theirs in ((one, other), (other, one)):
        local, remote = mine.media.machine.local, theirs.media.machine.remote
        assert local is not None and remote is not None  # as an exchange was completed
        if local.to_bytes() != remote.to_bytes():
            faults.append(f"{local.to_bytes()!r} is known as {remote.to_bytes()!r}")
        faults += [
            f"{stream.media_type} proposes something"
            for stream in mine.media.streams
            if stream is not None
            and (stream.local, stream.remote, stream.wanted_direction)
            != (stream.active_local, stream.active_remote, stream.active_direction)
        ]
    if len(one.media.streams) != len(other.media.streams):
        faults.append("one side has more streams")
    for here, there in zip(one.media.streams, other.media.streams, strict=False):
        if (here is None) != (there is None):
            faults.append("only one side has a stream")
        elif here is not None and there is not None and not _fits(here, there):
            faults.append(f"{here.media_type} is {_directions(here)} and {_directions(there)}")
    ours, theirs_ = find_audio(one), find_audio(other)
    if ours is not None and theirs_ is not None:
        direction = ours.direction
        if OPPOSITE.get(direction, direction) != theirs_.direction:
            faults.append(f"audio flows {direction} and {theirs_.direction}")
    return faults


def _directions(stream: SessionStream) -> str:
    assert stream.local is not None  # it is in force
    return f"{stream.local.direction} (wanted: {stream.wanted_direction})"


def _fits(one: SessionStream, other: SessionStream) -> bool:
    """Whether one side got what it wanted, and the other as much of it as was offered."""
    for offerer, answerer in ((one, other), (other, one)):
        assert offerer.local is not None and answerer.local is not None  # they are in force
        offered, wanted = offerer.local.direction, answerer.wanted_direction
        is_offer = offered == offerer.wanted_direction
        if is_offer and answerer.local.direction == answer_direction(offered, wanted):
            return True
    return False
