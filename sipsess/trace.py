# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What people look at afterwards: the decision record of each session.

Counting is in :mod:`sipsess.counters`; the points where the core can be watched are
:class:`~sipsess.interfaces.ITrace`. A record is a bounded list of short facts, each with its time:
what came, who decided what, why it ended. ``sipsess explain CALL-ID`` prints it.
"""

from __future__ import annotations

from collections import deque
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
    """The records of live sessions and of the last that ended, by Call-ID."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        #: Mostly one, and there are many: a tuple is small.
        self._records: dict[str, tuple[DecisionRecord, ...]] = {}
        self._order: deque[DecisionRecord] = deque()
        self._limit = limit

    def open(self, record: DecisionRecord) -> None:
        """Keep a record; the oldest goes when there are too many."""
        call_id = record.call_id
        self._records[call_id] = (*self._records.get(call_id, ()), record)
        self._order.append(record)
        while len(self._order) > self._limit:
            oldest = self._order.popleft()
            same = self._records.pop(oldest.call_id)[1:]
            if same:
                self._records[oldest.call_id] = same

    def find(self, call_id: str) -> list[DecisionRecord]:
        """Return the records of a Call-ID, oldest first; empty when there is none."""
        return list(self._records.get(call_id, ()))

    def last(self) -> DecisionRecord | None:
        """Return the youngest record, or ``None``."""
        return self._order[-1] if self._order else None

    def __len__(self) -> int:
        return len(self._order)


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
