# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What people look at afterwards: the decision record of each session.

Counting is in :mod:`sipsess.counters`; the points where the core can be watched are
:class:`~sipsess.interfaces.ITrace`. A record is a bounded list of short facts, each with its time:
what came, who decided what, why it ended. ``sipsess explain CALL-ID`` prints it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

#: Facts kept per session; the first ones are kept, as they say how it began.
MAX_FACTS = 64
#: Records of ended sessions that are kept to be explained.
MAX_RECORDS = 1000


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
        self.title = title
        self.began = began
        self._facts: list[tuple[float, str, str]] = []
        #: Facts that were not kept.
        self.omitted = 0

    def add(self, now: float, what: str, detail: object = "") -> None:
        """Note a fact: ``what`` is a word or two, ``detail`` is made a text when it is read."""
        if len(self._facts) < MAX_FACTS:
            self._facts.append((now, what, detail if isinstance(detail, str) else str(detail)))
        else:
            self.omitted += 1

    def lines(self) -> Iterator[str]:
        """Return the record as lines for people: seconds since the beginning, what, detail."""
        yield f"{self.title} (Call-ID {self.call_id})"
        for when, what, detail in self._facts:
            yield f"{when - self.began:9.3f}  {what:<22} {detail}".rstrip()
        if self.omitted:
            yield f"           and {self.omitted} more"


class RecordBook:
    """The records of live sessions and of the last that ended, by Call-ID."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        self._records: dict[str, deque[DecisionRecord]] = {}
        self._order: deque[DecisionRecord] = deque()
        self._limit = limit

    def open(self, record: DecisionRecord) -> None:
        """Keep a record; the oldest goes when there are too many."""
        self._records.setdefault(record.call_id, deque()).append(record)
        self._order.append(record)
        while len(self._order) > self._limit:
            oldest = self._order.popleft()
            same = self._records[oldest.call_id]
            same.remove(oldest)
            if not same:
                del self._records[oldest.call_id]

    def find(self, call_id: str) -> list[DecisionRecord]:
        """Return the records of a Call-ID, oldest first; empty when there is none."""
        return list(self._records.get(call_id, ()))

    def __len__(self) -> int:
        return len(self._order)
