# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Refer-To, Replaces and message/sipfrag."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import SIPURI, Headers, MessageError, parse_uri
from sipsess.message.refer import ReferTo, Replaces, StatusLine, get_refer_to, get_replaces

#: The example of RFC 3891 6.1.
EXAMPLE = "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff"


class ReplacesTests(SynchronousTestCase):
    """Replaces values."""

    def test_example_of_the_rfc(self) -> None:
        """RFC 3891 6.1: Call-ID and both tags, in any order; early-only is a flag."""
        replaces = Replaces("98732@sip.example.com", "ff87ff", "r33th4x0r")
        self.assertEqual(Replaces.parse(EXAMPLE), replaces)
        self.assertEqual(
            Replaces.parse(f"{EXAMPLE} ;early-only"),
            Replaces.parse(str(Replaces(replaces.call_id, "ff87ff", "r33th4x0r", early_only=True))),
        )
        self.assertEqual(Replaces.parse(str(replaces)), replaces)

    def test_what_names_no_dialog_is_refused(self) -> None:
        """RFC 3891 6.1: Call-ID and both tags are mandatory."""
        for text in (
            "",
            "a",
            "a;to-tag=1",
            "a;from-tag=1",
            ";to-tag=1;from-tag=2",
            "a b;to-tag=1;from-tag=2",
            "a;to-tag;from-tag=2",
            "a;=;to-tag=1;from-tag=2",
        ):
            with self.assertRaises(MessageError, msg=text):
                Replaces.parse(text)

    def test_headers(self) -> None:
        """RFC 3891 3: one header at most, and none beside Join."""
        self.assertIsNone(get_replaces(Headers()))
        one = Headers([("Replaces", EXAMPLE)])
        self.assertEqual(get_replaces(one), Replaces.parse(EXAMPLE))
        for more in ([("Replaces", EXAMPLE)], [("Join", EXAMPLE)]):
            with self.assertRaises(MessageError):
                get_replaces(Headers([("Replaces", EXAMPLE), *more]))
        with self.assertRaises(MessageError):
            get_replaces(Headers([("Replaces", f"{EXAMPLE}, {EXAMPLE}")]))

    def test_a_line_break_cannot_be_written(self) -> None:
        """No value of ours breaks a message."""
        with self.assertRaises(HeaderValueError):
            str(Replaces("a\r\nb", "1", "2"))


class ReferToTests(SynchronousTestCase):
    """Refer-To values."""

    def test_plain(self) -> None:
        """RFC 3515 2.1: an address; a method parameter says what to send."""
        refer_to = ReferTo.parse('"Carol" <sip:carol@example.com;transport=udp>')
        self.assertEqual(refer_to.uri, parse_uri("sip:carol@example.com;transport=udp"))
        self.assertEqual((refer_to.method, refer_to.replaces), ("INVITE", None))
        self.assertEqual(str(refer_to), "<sip:carol@example.com;transport=udp>")
        other = ReferTo.parse("<sip:room@example.com;method=bye>")
        self.assertEqual(other.method, "BYE")
        self.assertEqual(str(other.uri), "sip:room@example.com")
        self.assertEqual(str(other), "<sip:room@example.com;method=BYE>")

    def test_replaces_is_unescaped(self) -> None:
        """RFC 5589 7.1: the URI carries the Replaces of an attended transfer, escaped."""
        text = (
            "<sips:a8342043f@atlanta.example.com;gr?Replaces=12345600%40atlanta.example.com"
            "%3Bfrom-tag%3D1234567%3Bto-tag%3D23431&Subject=hello>"
        )
        refer_to = ReferTo.parse(text)
        self.assertEqual(
            refer_to.replaces, Replaces("12345600@atlanta.example.com", "23431", "1234567")
        )
        self.assertEqual(str(refer_to.uri), "sips:a8342043f@atlanta.example.com;gr")
        self.assertEqual(ReferTo.parse(str(refer_to)), refer_to)

    @given(st.text('ab%;=@ &?,<>"', min_size=1, max_size=6).map(str.strip).filter(bool))
    def test_any_call_id_survives(self, call_id: str) -> None:
        """What is written is read back, however odd the Call-ID."""
        call_id = call_id.replace(";", "").replace(" ", "") or "x"
        uri = SIPURI("sip", "carol", None, "example.com")
        refer_to = ReferTo(uri, replaces=Replaces(call_id, "1", "2"))
        self.assertEqual(ReferTo.parse(str(refer_to)), refer_to)

    def test_one_is_needed(self) -> None:
        """RFC 3515 2.4.2: a REFER without, or with several, is refused with 400."""
        self.assertEqual(
            get_refer_to(Headers([("Refer-To", "<sip:a@b>")])), ReferTo.parse("<sip:a@b>")
        )
        for values in ([], ["<sip:a@b>", "<sip:a@c>"], ["<sip:a@b>, <sip:a@c>"]):
            with self.assertRaises(MessageError) as caught:
                get_refer_to(Headers([("Refer-To", value) for value in values]))
            self.assertEqual(caught.exception.status, 400)

    def test_other_schemes_are_refused(self) -> None:
        """Only sip and sips can be called: 416."""
        for text in ("<tel:+12015550123>", "<http://example.com>"):
            with self.assertRaises(MessageError) as caught:
                ReferTo.parse(text)
            self.assertEqual(caught.exception.status, 416)

    def test_two_replaces_are_refused(self) -> None:
        """RFC 3891 4: an INVITE has one Replaces at most."""
        with self.assertRaises(MessageError):
            ReferTo.parse(
                "<sip:a@b?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2"
                "&replaces=d%3Bto-tag%3D1%3Bfrom-tag%3D2>"
            )


class StatusLineTests(SynchronousTestCase):
    """Bodies of message/sipfrag."""

    def test_round_trip(self) -> None:
        """RFC 3420 2: a fragment may be a status line alone, or more."""
        line = StatusLine(486, "Busy Here")
        self.assertEqual(line.to_bytes(), b"SIP/2.0 486 Busy Here\r\n")
        self.assertEqual(StatusLine.parse(line.to_bytes()), line)
        self.assertEqual(StatusLine.parse(b"SIP/2.0 200 OK\nTo: <sip:a@b>").status, 200)
        self.assertEqual(StatusLine.parse(b"sip/2.0 180"), StatusLine(180))
        self.assertTrue(StatusLine(200).is_success)
        self.assertFalse(StatusLine(180).is_success or line.is_success)

    def test_what_is_none(self) -> None:
        """Everything else is refused."""
        for body in (
            b"",
            b"INVITE sip:a@b SIP/2.0",
            b"SIP/2.0",
            b"SIP/2.0 99 x",
            b"SIP/2.0 700 x",
            b"SIP/2.0 abc",
            b"\xff\xfe",
            b"SIP/3.0 200 OK",
        ):
            with self.assertRaises(MessageError, msg=repr(body)):
                StatusLine.parse(body)
