# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The Reason header (:rfc:`3326`)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError
from sipsess.message.reason import MAX_REASONS, MAX_TEXT, Q850_CAUSES, Q850_TEXTS, Reason
from sipsess.message.reason import parse_reasons as parse_headers


def reasons(*values: str) -> tuple[Reason, ...]:
    """Return what the Reason headers of these values say."""
    return parse_headers(Headers([("Reason", value) for value in values]))


class ReasonTests(SynchronousTestCase):
    """Reading and writing."""

    def test_examples_of_the_rfc(self) -> None:
        """RFC 3326 2: both protocols, with and without spaces."""
        self.assertEqual(
            reasons('SIP ;cause=200 ;text="Call completed elsewhere"'),
            (Reason("SIP", 200, "Call completed elsewhere"),),
        )
        self.assertEqual(
            reasons('Q.850 ;cause=16 ;text="Terminated", SIP ;cause=600 ;text="Busy; all"'),
            (Reason("Q.850", 16, "Terminated"), Reason("SIP", 600, "Busy; all")),
        )

    def test_several_headers_and_none(self) -> None:
        """Header lines add up; without any there is no reason."""
        self.assertEqual(reasons("SIP;cause=200", "Q.850;cause=16")[1], Reason("Q.850", 16))
        self.assertEqual(reasons(), ())

    def test_what_cannot_be_read_is_left_out(self) -> None:
        """A bad value spoils no other one; a bad cause is none."""
        self.assertEqual(
            reasons("", "a b;cause=1", "SIP;;", "SIP;cause=x", "SIP;cause=1000", "preemption"),
            (Reason("SIP"), Reason("SIP"), Reason("preemption")),
        )
        with self.assertRaises(MessageError):
            Reason.parse("a/b")

    def test_bounds(self) -> None:
        """So many values are read, and so much of each text."""
        self.assertEqual(len(reasons(", ".join(["SIP;cause=200"] * 20))), MAX_REASONS)
        self.assertEqual(len(reasons(f'SIP;text="{"x" * 500}"')[0].text), MAX_TEXT)

    def test_for_people(self) -> None:
        """A cause of Q.850 is put into words when the peer does not."""
        self.assertEqual(Reason("Q.850", 17).describe(), "Q.850 17 User busy")
        self.assertEqual(Reason("Q.850", 17, "besetzt").describe(), "Q.850 17 besetzt")
        self.assertEqual(Reason("Q.850").describe(), "Q.850")
        self.assertEqual(Reason("SIP", 200).describe(), "SIP 200")

    def test_wire_form(self) -> None:
        """The text is quoted; nothing that would break the header is written."""
        self.assertEqual(str(Reason("SIP", 200, 'a "b"')), 'SIP;cause=200;text="a \\"b\\""')
        self.assertEqual(str(Reason("preemption")), "preemption")
        self.assertEqual(str(Reason.q850(16)), 'Q.850;cause=16;text="Normal call clearing"')
        self.assertEqual(str(Reason.q850(126)), "Q.850;cause=126")
        for wrong in (Reason("a b"), Reason("SIP", text="a\r\nb")):
            with self.assertRaises(HeaderValueError):
                str(wrong)

    def test_each_mapped_cause_has_a_text(self) -> None:
        """RFC 3398 8.2.6.1: what a status is mapped to can be said in words."""
        self.assertLessEqual(set(Q850_CAUSES.values()), set(Q850_TEXTS))

    @given(st.integers(0, 999), st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"])))
    def test_round_trip(self, cause: int, text: str) -> None:
        """What is written is read."""
        reason = Reason("SIP", cause, text[:MAX_TEXT])
        self.assertEqual(reasons(str(reason)), (reason,))
