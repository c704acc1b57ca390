# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Diversion (:rfc:`5806`)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError
from sipsess.message.diversion import MAX_DIVERSIONS, Diversion, get_diversions


class DiversionTests(SynchronousTestCase):
    """One value, and all of a message."""

    def test_parse(self) -> None:
        """Who, why, how often, and what may be shown."""
        text = (
            '"Bob, B" <sip:bob@x.example>;reason=No-Answer;counter=2;limit=5;'
            "privacy=FULL;screen=yes"
        )
        expected = Diversion(
            "sip:bob@x.example", "Bob, B", "no-answer", 2, 5, privacy="full", screen="yes"
        )
        self.assertEqual(Diversion.parse(text), expected)
        self.assertTrue(expected.is_private)

    def test_little(self) -> None:
        """An address will do; what is no number says nothing."""
        found = Diversion.parse("<tel:+1555>;counter=many;limit=10000")
        self.assertEqual(found, Diversion("tel:+1555"))
        self.assertFalse(found.is_private)

    def test_round_trip(self) -> None:
        """What is written is read the same."""
        for item in (
            Diversion("sip:bob@x.example"),
            Diversion("sip:bob@x.example", 'B "b"', "user-busy", 1, 0, "off", "no"),
            Diversion("tel:+1555", reason="went home"),
        ):
            self.assertEqual(Diversion.parse(str(item)), item)

    def test_no_injection(self) -> None:
        """A name or a URI with a line break is not written."""
        for item in (
            Diversion("sip:b@x", "a\r\nX: y"),
            Diversion("sip:b@x>\r\nX: <y"),
            Diversion("sip:b@x", reason="a\r\nX: y"),
            Diversion("sip:b@x", privacy="a\r\nX: y"),
        ):
            self.assertRaises(HeaderValueError, str, item)

    def test_of_a_message(self) -> None:
        """All that can be read, the last diversion first, but not without end."""
        values = ["<sip:c@x>;reason=user-busy, <::>, <sip:b@x>", "<sip:a@x>"]
        headers = Headers([("Diversion", value) for value in values])
        found = get_diversions(headers)
        self.assertEqual([item.uri for item in found], ["sip:c@x", "sip:b@x", "sip:a@x"])
        self.assertEqual(get_diversions(Headers()), ())
        many = Headers([("Diversion", "<sip:a@x>")] * 100)
        self.assertEqual(len(get_diversions(many)), MAX_DIVERSIONS)

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=100))
    def test_any_text(self, text: str) -> None:
        """Whatever a peer writes is read, or refused as the peer's mistake."""
        try:
            Diversion.parse(text)
        except MessageError:
            pass
