# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The supplement that makes call records.

It notes when a call rings and when it is answered, and makes the record when the session ends. It
stands last, so that what it is told of is what left, or what nobody sends again. Without it in the
chain nothing is noted and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sipsess.call.dial import CALLER_COOKIE
from sipsess.flow import format_address
from sipsess.interfaces import ICallRecords
from sipsess.media.statistics import StreamStatistics
from sipsess.message import Request, Response
from sipsess.sdphandlers.audio import AUDIO_COOKIE
from sipsess.session.identity import find_claim
from sipsess.supplement import LAST, SessionSupplement
from sipsess.supplements.reason import get_reasons

from .record import VERSION, CallRecord, format_time

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name it is kept when a call began, rang and was answered.
COOKIE = "sipsess.cdr"
#: Characters kept of each text that a peer has written; nobody's name or address is longer, and a
#: record stays a line that other programs can read.
MAX_TEXT = 400
#: What is recorded of each audio stream.
_STATISTICS = tuple(item.name for item in fields(StreamStatistics))
_get_statistics = attrgetter(*_STATISTICS)


class _Parties(NamedTuple):
    """Who calls whom."""

    caller: str
    callee: str
    dialled: str
    identity: str
    identity_source: str


class _Notes:
    """What is known of one call before its end; times are seconds of the core's clock."""

    __slots__ = ("answered", "begin", "parties", "ringing", "wall")

    def __init__(self, begin: float, wall: float, parties: _Parties | None) -> None:
        self.begin = begin
        #: The same by the wall clock.
        self.wall = wall
        #: Read from an INVITE that came: later it would have to be parsed once more.
        self.parties = parties
        self.ringing: float | None = None
        self.answered: float | None = None

    def note(self, status: int, now: float) -> None:
        """Note a response to the INVITE; the first of a kind counts."""
        if self.answered is not None:
            return
        if 200 <= status < 300:
            self.answered = now
        elif 100 < status < 200 and self.ringing is None:
            self.ringing = now

    def format(self, when: float | None) -> str | None:
        """Return a time as it stands in a record."""
        return None if when is None else format_time(self.wall + when - self.begin)


class CallRecords(SessionSupplement):
    """
    Makes a record of each session that ends.

    :param wall: the seconds of the wall clock, such as ``time.time``.
    :param write: takes each record, such as :meth:`.RecordFile.write`.
    :param takers: other supplements that take them too, those of :class:`.ICallRecords`.
    """

    name = "call-records"
    priority = LAST
    methods = frozenset({"INVITE"})

    def __init__(
        self,
        wall: Callable[[], float],
        write: Callable[[CallRecord], object] | None = None,
        takers: Iterable[Any] = (),
    ) -> None:
        self._wall = wall
        self._write = write
        self._takers: tuple[Any, ...] = tuple(filter(ICallRecords.providedBy, takers))

    def session_begin(self, session: Session) -> None:
        """Look at the clocks, and at who calls."""
        parties = _parties_of(session) if session.is_callee else None
        session.cookies.add(COOKIE, _Notes(session.core.turn.now, self._wall(), parties))

    def incoming_response(self, session: Session, response: Response) -> None:
        """Note when the peer rings and answers."""
        _note(session, response)

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Note when this side rings and answers."""
        _note(session, response)

    def session_end(self, session: Session) -> None:
        """Make the record; one who fails over it keeps it from nobody."""
        record = make_record(session)
        if self._write is not None:
            self._write(record)
        for taker in self._takers:
            try:
                taker.take_call_record(session, record)
            except Exception as error:
                session.report.plugin_failed(taker.name, "take_call_record", error)


def _note(session: Session, response: Response) -> None:
    notes: _Notes = session.cookies.get(COOKIE)
    notes.note(response.status, session.core.turn.now)


def make_record(session: Session) -> CallRecord:
    """Return the record of a session that has just ended."""
    notes: _Notes = session.cookies.get(COOKIE)
    now, answered = session.core.turn.now, notes.answered
    parties = notes.parties or _parties_of(session)
    flow, dialog = session.flow, session.dialog
    reason, application = session.reason_or_unknown(), session.application
    return CallRecord(
        version=VERSION,
        call_id=session.call_id[:MAX_TEXT],
        local_tag=session.local_tag,
        remote_tag=(_remote_tag(session) if dialog is None else dialog.remote_tag)[:MAX_TEXT],
        dialled_for=session.cookies.get(CALLER_COOKIE, "")[:MAX_TEXT],
        direction="incoming" if session.is_callee else "outgoing",
        caller=parties.caller,
        callee=parties.callee,
        dialled=parties.dialled,
        identity=parties.identity,
        identity_source=parties.identity_source,
        endpoint=session.endpoint.name,
        application="" if application is None else application.name,
        transport=flow.transport,
        local_address=format_address(flow.local),
        remote_address=format_address(flow.remote),
        begin=format_time(notes.wall),
        ringing=notes.format(notes.ringing),
        answered=notes.format(answered),
        end=format_time(notes.wall + now - notes.begin),
        seconds=round(now - notes.begin, 3),
        answered_seconds=0.0 if answered is None else round(now - answered, 3),
        ended_by=reason.by,
        ended_with=reason.method,
        status=reason.status,
        text=reason.text[:MAX_TEXT],
        reasons=tuple([item.describe()[:MAX_TEXT] for item in get_reasons(session)]),
        media=tuple(_media_of(session)),
    )


def _remote_tag(session: Session) -> str:
    """Return the peer's tag when no dialog was made."""
    return (session.invite.from_tag or "") if session.is_callee else ""


def _parties_of(session: Session) -> _Parties:
    """Return who calls whom, as the INVITE and, of a call of ours, its final response say it."""
    invite, endpoint = session.invite, session.endpoint
    caller, callee = invite.from_uri[:MAX_TEXT], invite.to_uri[:MAX_TEXT]
    message: Request | Response | None = invite
    identity, source = caller, "From"
    if not session.is_callee:
        message = session.final_response
        identity, source = callee, "To"
    if message is not None:
        claim = find_claim(message, is_trusted=endpoint.is_trusted, users=endpoint.users)
        if claim is not None:
            identity, source = claim.address.uri[:MAX_TEXT], claim.header
    return _Parties(caller, callee, invite.uri[:MAX_TEXT], identity, source)


def _media_of(session: Session) -> Iterator[Mapping[str, Any]]:
    for stream in session.media.streams:
        audio = None if stream is None else stream.cookies.get(AUDIO_COOKIE)
        if audio is not None:
            values = _get_statistics(audio.statistics())
            yield dict(zip(_STATISTICS, map(_rounded, values), strict=True))


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value
