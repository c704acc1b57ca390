# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What people look at afterwards: the decision record of each session.

Counting is in :mod:`sipsess.counters`; the points where the core can be watched are
:class:`~sipsess.interfaces.ITrace`. A record is a bounded list of short facts, each with its time:
what came, who decided what, why it ended. ``sipsess explain CALL-ID`` prints it.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator
from sys import intern
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipsess.interfaces import ITrace

if TYPE_CHECKING:
    from sipsess.flow import Flow
    from sipsess.session import Session

#: Facts kept per session; the first ones are kept, as they say how it began.
MAX_FACTS = 64
#: Records of ended sessions that are kept to be explained.
MAX_RECORDS = 1000
#: Characters kept of a title or a detail: peers write into both.
MAX_TEXT = 200
#: Bytes that say how long a packed record is.
SIZE = 4
#: The version of ``marshal``: the last one that packs the same always alike.
PACKING = 2


class DecisionRecord:
    """
    The facts of one session.

    :param call_id: of its dialog.
    :param began: monotonic seconds.
    """

    __slots__ = ("_facts", "began", "call_id", "omitted", "title")

    def __init__(self, call_id: str, title: str, began: float) -> None:
        self.call_id = call_id
        #: One line that says whose call it is.
        self.title = title[:MAX_TEXT]
        self.began = began
        #: When, what and detail of each fact, one after the other: there are many records.
        self._facts: list[float | str] = []
        #: Facts that were not kept.
        self.omitted = 0

    def add(self, now: float, what: str, detail: object = "") -> None:
        """Note a fact: ``what`` is a word or two, ``detail`` may hold what the peer wrote."""
        if len(self._facts) < 3 * MAX_FACTS:
            # Most calls have the same details.
            self._facts += (now, what, intern(str(detail)[:MAX_TEXT]))
        else:
            self.omitted += 1

    def pack(self) -> bytes:
        """Return the record as bytes, for this process."""
        everything = (self.call_id, self.title, self.began, self._facts, self.omitted)
        return marshal.dumps(everything, PACKING)

    @classmethod
    def unpack(cls, data: bytes) -> DecisionRecord:
        """Return what was packed."""
        call_id, title, began, facts, omitted = marshal.loads(data)
        record = cls(call_id, title, began)
        record._facts, record.omitted = facts, omitted
        return record

    def lines(self) -> Iterator[str]:
        """
        Yield the record as lines for people: seconds since the beginning, what, detail.

        What a terminal would not print, an escape sequence of the peer's say, is replaced.
        """
        yield _printable(f"{self.title} (Call-ID {self.call_id})")
        facts = iter(self._facts)
        for when, what, detail in zip(facts, facts, facts, strict=True):
            assert not isinstance(when, str)
            yield _printable(f"{when - self.began:9.3f}  {what:<22} {detail}").rstrip()
        if self.omitted:
            yield f"           and {self.omitted} more"


class RecordBook:
    """
    The records of live sessions and of the last that ended, by Call-ID.

    Those that ended are packed in one block. As objects they would lie between the memory of calls
    that are over, and keep the system from getting that back: 2 kB for each of 20,000 calls.

    :param limit: how many that ended are kept.
    """

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        #: Mostly one, and there are many: a tuple is small.
        self._live: dict[str, tuple[DecisionRecord, ...]] = {}
        self._last: DecisionRecord | None = None
        #: One after the other, the size of each before it.
        self._packed = bytearray()
        self._count = 0
        self._limit = limit

    def open(self, record: DecisionRecord) -> None:
        """Keep the record of a session that begins."""
        call_id = record.call_id
        self._live[call_id] = (*self._live.get(call_id, ()), record)
        self._last = record

    def close(self, record: DecisionRecord) -> None:
        """Pack the record of a session that is over; the oldest goes when there are too many."""
        same = self._live.pop(record.call_id, ())
        others = tuple([other for other in same if other is not record])
        if others:
            self._live[record.call_id] = others
        data = record.pack()
        self._packed += len(data).to_bytes(SIZE, "big") + data
        self._count += 1
        if self._count > self._limit:
            self._drop(next(self._places()))

    def add_late(self, record: DecisionRecord, now: float, what: str, detail: object) -> None:
        """Note a fact of a session that is over; it is the latest one that ended, then."""
        data = record.pack()
        for place in self._places():
            if self._packed[place] == data:
                self._drop(place)
                break
        record.add(now, what, detail)
        self.close(record)

    def find(self, call_id: str) -> list[DecisionRecord]:
        """Return the records of a Call-ID, oldest first; empty when there is none."""
        packed = self._packed
        past = [DecisionRecord.unpack(bytes(packed[place])) for place in self._places()]
        found = [record for record in past if record.call_id == call_id]
        return found + list(self._live.get(call_id, ()))

    def _places(self) -> Iterator[slice]:
        """Yield where the packed records are, without their sizes."""
        begin = SIZE
        while begin < len(self._packed):
            end = begin + int.from_bytes(self._packed[begin - SIZE : begin], "big")
            yield slice(begin, end)
            begin = end + SIZE

    def _drop(self, place: slice) -> None:
        del self._packed[place.start - SIZE : place.stop]
        self._count -= 1

    def last(self) -> DecisionRecord | None:
        """Return the record of the session that began last, or ``None``."""
        return self._last

    def __len__(self) -> int:
        return self._count + sum(map(len, self._live.values()))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@implementer(ITrace)
class GuardedTrace:
    """
    A trace that cannot hurt: what it raises is reported, and the call goes on.

    :param trace: the trace itself.
    :param failed: told, as ``failed("trace", point, error, call_id)``.
    """

    def __init__(
        self, trace: ITrace, failed: Callable[[str, str, BaseException, str], None]
    ) -> None:
        self._trace = trace
        self._failed = failed

    def bytes_received(self, flow: Flow, data: bytes, now: float) -> None:
        """See :meth:`.ITrace.bytes_received`."""
        try:
            self._trace.bytes_received(flow, data, now)
        except Exception as error:
            self._failed("trace", "bytes_received", error, "")

    def bytes_sent(self, flow: Flow, wire: bytes, now: float) -> None:
        """See :meth:`.ITrace.bytes_sent`."""
        try:
            self._trace.bytes_sent(flow, wire, now)
        except Exception as error:
            self._failed("trace", "bytes_sent", error, "")

    def message_refused(self, reason_code: str, flow: Flow, now: float) -> None:
        """See :meth:`.ITrace.message_refused`."""
        try:
            self._trace.message_refused(reason_code, flow, now)
        except Exception as error:
            self._failed("trace", "message_refused", error, "")

    def plugin_verdict(
        self, plugin: str, callback: str, verdict: str, call_id: str, now: float
    ) -> None:
        """See :meth:`.ITrace.plugin_verdict`."""
        try:
            self._trace.plugin_verdict(plugin, callback, verdict, call_id, now)
        except Exception as error:
            self._failed("trace", "plugin_verdict", error, call_id)

    def session_begun(self, session: Session, now: float) -> None:
        """See :meth:`.ITrace.session_begun`."""
        try:
            self._trace.session_begun(session, now)
        except Exception as error:
            self._failed("trace", "session_begun", error, session.call_id)

    def session_ended(self, session: Session, now: float) -> None:
        """See :meth:`.ITrace.session_ended`."""
        try:
            self._trace.session_ended(session, now)
        except Exception as error:
            self._failed("trace", "session_ended", error, session.call_id)
