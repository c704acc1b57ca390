# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Decision records: what is kept, what is left out, how it is printed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.trace import MAX_FACTS, MAX_TEXT, DecisionRecord, RecordBook


class RecordTests(SynchronousTestCase):
    """One session's record."""

    def test_lines(self) -> None:
        """A title, then each fact with seconds since the beginning."""
        record = DecisionRecord("abc", "call from sip:a@b", 100.0)
        record.add(100.0, "began")
        record.add(101.25, "answered", "200 OK")
        record.add(103.0, "error", ValueError("no"))
        self.assertEqual(
            list(record.lines()),
            [
                "call from sip:a@b (Call-ID abc)",
                "    0.000  began",
                "    1.250  answered               200 OK",
                "    3.000  error                  no",
            ],
        )

    def test_it_is_bounded(self) -> None:
        """The first facts are kept, the others counted."""
        record = DecisionRecord("abc", "t", 0.0)
        for number in range(MAX_FACTS + 3):
            record.add(0.0, f"fact {number}")
        lines = list(record.lines())
        self.assertEqual((len(lines), record.omitted), (MAX_FACTS + 2, 3))
        self.assertEqual(lines[-1].strip(), "and 3 more")
        self.assertIn("fact 0", lines[1])

    def test_texts_are_bounded(self) -> None:
        """What a peer wrote into a reason phrase or a URI takes no more room than that."""
        record = DecisionRecord("abc", "x" * 10_000, 0.0)
        record.add(0.0, "what", "y" * 60_000)
        self.assertEqual(len(record.title), MAX_TEXT)
        self.assertEqual(sum(line.count("y") for line in record.lines()), MAX_TEXT)

    def test_nothing_that_a_terminal_obeys(self) -> None:
        """Escape sequences and line breaks of the peer's are not printed."""
        record = DecisionRecord("a\x1b[2J", "call from \x1b]0;x\x07", 0.0)
        record.add(0.0, "ended", "a\r\nb\x9b31m\udc80")
        text = "".join(record.lines())
        self.assertTrue(text.isprintable())


class BookTests(SynchronousTestCase):
    """The records of many sessions."""

    def test_find(self) -> None:
        """By Call-ID, the oldest first; nothing for one that is not known."""
        book = RecordBook()
        records = [DecisionRecord(call_id, "t", 0.0) for call_id in ("a", "b", "a")]
        for record in records:
            book.open(record)
        self.assertEqual(book.find("a"), [records[0], records[2]])
        self.assertEqual((book.find("b"), book.find("c")), ([records[1]], []))
        self.assertEqual(len(book), 3)

    def test_last(self) -> None:
        """The youngest record; nothing when there is none."""
        book = RecordBook()
        self.assertIsNone(book.last())
        for call_id in ("b", "a"):
            book.open(DecisionRecord(call_id, "t", 0.0))
        found = book.last()
        assert found is not None
        self.assertEqual(found.call_id, "a")

    def test_it_is_bounded(self) -> None:
        """The oldest go, of a Call-ID that has several too."""
        book = RecordBook(limit=2)
        records = [DecisionRecord(call_id, "t", 0.0) for call_id in ("a", "a", "b", "c")]
        for record in records[:3]:
            book.open(record)
        self.assertEqual(book.find("a"), [records[1]])
        book.open(records[3])
        self.assertEqual((book.find("a"), len(book)), ([], 2))
