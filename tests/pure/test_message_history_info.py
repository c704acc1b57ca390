# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""History-Info (:rfc:`7044`)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError
from sipsess.message.history_info import MAX_ENTRIES, MAX_LEVELS, HistoryEntry, get_history
from sipsess.message.reason import Reason

#: As in section 10.1 of the RFC, and what peers make of it.
VALUE = (
    "<sip:bob@192.0.2.4?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22&Privacy=history>"
    ";index=1.1;rc=1"
)


class EntryTests(SynchronousTestCase):
    """One entry, and all of a message."""

    def test_parse(self) -> None:
        """The URI, why it was left, where it stands, and from what it follows."""
        entry = HistoryEntry.parse(VALUE)
        self.assertEqual(entry.uri, "sip:bob@192.0.2.4")
        self.assertEqual((entry.index, entry.change, entry.origin), ((1, 1), "rc", (1,)))
        self.assertEqual(entry.reasons, (Reason("SIP", 302, "Moved"),))
        self.assertTrue(entry.is_private)
        self.assertIsNone(entry.cause)

    def test_cause(self) -> None:
        """Why the call was sent here (:rfc:`4458#section-2.1`)."""
        entry = HistoryEntry.parse('"B" <sip:vm@x.example;cause=486>;index=1.2;mp=1')
        self.assertEqual((entry.cause, entry.change, entry.name), (486, "mp", "B"))
        self.assertEqual(entry.uri, "sip:vm@x.example;cause=486")
        self.assertIsNone(HistoryEntry.parse("<tel:+1555>;index=1").cause)

    def test_bad(self) -> None:
        """No index, one that is none, one without end."""
        deep = ".".join(["1"] * (MAX_LEVELS + 1))
        for text in (
            "<sip:a@x>",
            "<sip:a@x>;index",
            "<sip:a@x>;index=1.x",
            "<sip:a@x>;index=1..2",
            f"<sip:a@x>;index={deep}",
            "<sip:a@x>;index=99999",
            "<::>;index=1",
            "nonsense",
        ):
            self.assertRaises(MessageError, HistoryEntry.parse, text)

    def test_round_trip(self) -> None:
        """What is written is read the same."""
        for entry in (
            HistoryEntry("sip:a@x", (1,)),
            HistoryEntry("sip:a@x", (1, 20, 3), change="np", origin=(1, 20)),
            HistoryEntry.parse(VALUE),
            HistoryEntry(
                "sips:a@x;user=phone",
                (1,),
                (Reason("SIP", 486, 'a "b"; c'), Reason("Q.850", 17)),
                is_private=True,
                name="A B",
            ),
            HistoryEntry("tel:+1555", (2,)),
        ):
            self.assertEqual(HistoryEntry.parse(str(entry)), entry)

    def test_written(self) -> None:
        """The headers of the URI are escaped; a tel URI has none."""
        entry = HistoryEntry("sip:a@x", (1,), (Reason("SIP", 302),))
        self.assertEqual(str(entry), "<sip:a@x?Reason=SIP%3Bcause%3D302>;index=1")
        entry = HistoryEntry("tel:+1", (1, 1), (Reason("SIP", 302),), "mp", (1,))
        self.assertEqual(str(entry), "<tel:+1>;index=1.1;mp=1")

    def test_no_injection(self) -> None:
        """Neither is a line break written, nor one that came in escapes read as a header."""
        self.assertRaises(HeaderValueError, str, HistoryEntry("sip:a@x>\r\nX: <y", (1,)))
        self.assertRaises(HeaderValueError, str, HistoryEntry("sip:a@x", ()))
        entry = HistoryEntry.parse("<sip:a@x?Reason=SIP%0D%0AX:%20y&%0A=1>;index=1")
        self.assertEqual((entry.uri, entry.reasons), ("sip:a@x", ()))

    def test_of_a_message(self) -> None:
        """All that can be read, in their order, but not without end."""
        values = ["<sip:a@x>;index=1, <sip:b@x>", "<sip:c@x>;index=1.1;mp=1"]
        headers = Headers([("History-Info", value) for value in values])
        self.assertEqual([entry.uri for entry in get_history(headers)], ["sip:a@x", "sip:c@x"])
        many = Headers([("History-Info", "<sip:a@x>;index=1")] * 100)
        self.assertEqual(len(get_history(many)), MAX_ENTRIES)

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=100))
    def test_any_text(self, text: str) -> None:
        """Whatever a peer writes is read, or refused as the peer's mistake."""
        for value in (text, f"<sip:a@x?{text}>;index=1"):
            try:
                HistoryEntry.parse(value)
            except MessageError:
                pass
