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
        """Of those that ended the oldest go, of a Call-ID that has several too; live ones stay."""
        book = RecordBook(limit=2)
        records = [DecisionRecord(call_id, str(n), 0.0) for n, call_id in enumerate("aabc")]
        for record in records:
            book.open(record)
        self.assertEqual(len(book), 4)
        for record in records[:3]:
            book.close(record)
        self.assertEqual([record.title for record in book.find("a")], ["1"])
        book.close(records[3])
        self.assertEqual((book.find("a"), len(book)), ([], 2))
        self.assertEqual([record.title for record in book.find("c")], ["3"])

    def test_past_and_live(self) -> None:
        """A record is the same after the end, and stands before those of live sessions."""
        book = RecordBook()
        past, live = DecisionRecord("a", "past \udc80", 1.5), DecisionRecord("a", "live", 2.0)
        for number in range(MAX_FACTS + 3):
            past.add(number, "fact", number)
        lines = list(past.lines())
        for record in (live, past):
            book.open(record)
        book.close(past)
        first, second = book.find("a")
        self.assertEqual(list(first.lines()), lines)
        self.assertIs(second, live)
        self.assertIs(book.last(), past)

    def test_unknown(self) -> None:
        """A record that was opened in another book can be closed."""
        book = RecordBook()
        book.close(DecisionRecord("a", "t", 0.0))
        self.assertEqual(len(book.find("a")), 1)

    def test_late(self) -> None:
        """A fact after the end is added, and no other record suffers; one that is gone returns."""
        book = RecordBook(limit=2)
        first, second, third = (DecisionRecord(call_id, "t", 0.0) for call_id in "abc")
        for record in (first, second):
            book.open(record)
            book.close(record)
        book.add_late(first, 1.0, "late", "answer")
        self.assertEqual(len(book), 2)
        for record, count in ((first, 2), (second, 1)):
            (found,) = book.find(record.call_id)
            self.assertEqual(list(found.lines()), list(record.lines()))
            self.assertEqual(len(list(found.lines())), count)
        book.close(third)
        self.assertEqual(book.find("b"), [])
        book.add_late(second, 1.0, "late", "")
        self.assertEqual((len(book.find("b")), book.find("a")), (1, []))
