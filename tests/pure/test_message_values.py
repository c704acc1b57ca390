# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Parameters, Via, addresses, CSeq and dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import CSeq, MessageError, NameAddr, Params, URIParams, Via
from sipsess.message._lex import quote, unquote
from sipsess.message._values import parse_date, read_number


class ParamsTests(SynchronousTestCase):
    """Header parameters (:rfc:`3261#section-7.3.1`)."""

    def test_look_up(self) -> None:
        """Names are case-insensitive, quoted values come without their quotes, flags are empty."""
        params = Params.parse('Branch = z9 ; rport;x="a;\\"b\\\\"; h=[2001:db8::1];e=')
        self.assertEqual(params.get("branch"), "z9")
        self.assertEqual((params.get("RPORT"), params.get("e")), ("", ""))
        self.assertEqual(params.get("x"), 'a;"b\\')
        self.assertEqual(params.get("h"), "[2001:db8::1]")
        self.assertIsNone(params.get("none"))
        self.assertIn("Rport", params)
        self.assertNotIn("none", params)
        self.assertNotIn(1, params)
        self.assertEqual(list(params), ["branch", "rport", "x", "h", "e"])
        self.assertEqual(len(params), 5)

    def test_wire_form(self) -> None:
        """Order, case and raw values are kept."""
        text = 'Branch=z9;rport;x="a;\\"b\\\\";e='
        self.assertEqual(str(Params.parse(text)), ";" + text)
        self.assertEqual(repr(Params.parse("a=b")), "Params(';a=b')")

    def test_changes_make_copies(self) -> None:
        """A parameter is replaced in its place or added at the end; the original stays."""
        params = Params.parse("a=1;b;c=3")
        self.assertEqual(str(params.with_("B", "2").with_("d")), ";a=1;B=2;c=3;d")
        self.assertEqual(str(params.without("A").without("none")), ";b;c=3")
        self.assertEqual(str(params), ";a=1;b;c=3")

    def test_values_are_quoted_when_they_need_it(self) -> None:
        """Tokens and hosts stay bare, all else is quoted."""
        params = Params()
        for value, wire in (
            ("token!", "token!"),
            ("[::1]", "[::1]"),
            ("", '""'),
            ('a "b" \\', '"a \\"b\\" \\\\"'),
            ("[a,b]", '"[a,b]"'),
        ):
            written = params.with_("x", value)
            self.assertEqual(str(written), f";x={wire}")
            self.assertEqual(Params.parse(str(written)[1:]).get("x"), value)

    def test_injection_is_refused(self) -> None:
        """No name or value ends its line."""
        for name in ("", "a=b", "a;b", "a\r\n"):
            self.assertRaises(HeaderValueError, Params().with_, name, "v")
        for value in ("a\r\nX: y", "\n", "\ud800"):
            self.assertRaises(HeaderValueError, Params().with_, "x", value)
            self.assertRaises(HeaderValueError, Params().with_, "x", value)
        self.assertRaises(HeaderValueError, URIParams().with_, "x", "\r\n")
        self.assertEqual(str(Params().with_("x", "a\0")), ';x="a\\\0"')

    def test_broken_parameters_are_refused(self) -> None:
        """Empty, nameless, double, unbalanced and split ones."""
        for text in (
            *("", "a;", ";a", "a;;b", "=b", "a b", 'a="b', 'a="b"c', "a=b c", 'a=b"c', "a=<b>"),
            *('"a"=b', "a=b\\c", 'a;b="c;d', "a=b,c"),
        ):
            error = self.assertRaises(MessageError, Params.parse, text)
            self.assertEqual(error.reason_code, "bad-parameter", text)
        error = self.assertRaises(MessageError, Params.parse, "tag=1;TAG=2")
        self.assertEqual(error.reason_code, "duplicate-parameter")
        error = self.assertRaises(MessageError, Params.parse, ";".join(f"p{n}" for n in range(65)))
        self.assertEqual(error.reason_code, "too-many-parameters")

    def test_values_of_odd_characters_are_kept(self) -> None:
        """What separates nothing is let through, UTF-8 too."""
        self.assertEqual(Params.parse("x=a@b/ü").get("x"), "a@b/ü")
        self.assertEqual(Params.parse("x=a@b/").get("x"), "a@b/")

    def test_comparison(self) -> None:
        """Equal names in any case and order, equal values with and without quotes."""
        one, other = Params.parse('A="b";c'), Params.parse("C;a=b")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, Params.parse("a=B;c"))
        self.assertNotEqual(one, "x")

    def test_quoting(self) -> None:
        """What is quoted comes back; other text is left alone."""
        for text in ("", "a", '"', "\\", '\\"', "\\\\", "a\\b", "\0"):
            self.assertEqual(unquote(quote(text)), text)
        self.assertEqual(unquote("a\\b"), "a\\b")


class ViaTests(SynchronousTestCase):
    """Via (:rfc:`3261#section-20.42`)."""

    def test_parts(self) -> None:
        """Each part is found."""
        via = Via.parse("SIP/2.0/UDP Host.Example.com:5061;branch=z9hG4bK%66;received=192.0.2.1")
        self.assertEqual((via.transport, via.host, via.port), ("UDP", "Host.Example.com", 5061))
        self.assertEqual((via.branch, via.received), ("z9hG4bK%66", "192.0.2.1"))
        self.assertEqual(via.sent_by, "host.example.com:5061")
        self.assertIsNone(via.rport)
        self.assertIsNone(Via.parse("SIP/2.0/UDP h").branch)
        self.assertIsNone(Via.parse("SIP/2.0/UDP h").received)

    def test_rport(self) -> None:
        """A port is read; an empty or impossible one is None (:rfc:`3581`)."""
        for value, port in (("rport=5062", 5062), ("rport", None), ("rport=x", None)):
            self.assertEqual(Via.parse(f"SIP/2.0/UDP h;{value}").rport, port)
        self.assertIsNone(Via.parse("SIP/2.0/UDP h;rport=123456").rport)

    def test_white_space(self) -> None:
        """White space may stand around all separators."""
        via = Via.parse("sip / 2.0 /\tUDP  h : 5060 ; branch = b")
        self.assertEqual((via.transport, via.sent_by, via.branch), ("UDP", "h:5060", "b"))
        self.assertEqual(Via.parse("SIP / 2.0 / UDP [::1] : 5060").sent_by, "[::1]:5060")

    def test_wire_form(self) -> None:
        """Untouched it is as it came, else it is written anew."""
        text = "sip / 2.0 / UDP  [2001:db8::1] : 5060 ; branch = b"
        via = Via.parse(text)
        self.assertEqual(str(via), text)
        self.assertEqual(
            str(via.with_param("rport", "1")), "SIP/2.0/UDP [2001:db8::1]:5060;branch=b;rport=1"
        )
        self.assertEqual(str(replace(via, port=None)), "SIP/2.0/UDP [2001:db8::1];branch=b")
        self.assertEqual(via, Via.parse("SIP/2.0/UDP [2001:db8::1]:5060;branch=b"))

    def test_broken_ones_are_refused(self) -> None:
        """What is no hop is refused."""
        for text in (
            *("", "SIP/2.0/UDP", "SIP/2.0 h", "SIP/3.0/UDP h", "HTTP/1.1/UDP h", "SIP/2.0/U(P h"),
            *("SIP/2.0/UDP h i", "SIP/2.0/UDP h:", "SIP/2.0/UDP h:x", "SIP/2.0/UDP [::1"),
            *("SIP/2.0/UDP ::1", "SIP/2.0/ h"),
        ):
            error = self.assertRaises(MessageError, Via.parse, text)
            self.assertEqual(error.reason_code, "bad-via", text)

    def test_broken_ones_are_not_written(self) -> None:
        """A host that is none does not leave."""
        self.assertRaises(HeaderValueError, str, Via("UDP", "a b"))
        self.assertRaises(HeaderValueError, str, Via("", "a"))


class NameAddrTests(SynchronousTestCase):
    """From, To, Contact, Route (:rfc:`3261#section-20.10`)."""

    def test_forms(self) -> None:
        """With and without name, quotes and brackets."""
        for text, name, uri, tag in (
            ('"A. \\"B\\", C" <sip:a@h;lr>;tag=1', 'A. "B", C', "sip:a@h;lr", "1"),
            ("Alice  B <sip:a@h> ; tag = 1", "Alice  B", "sip:a@h", "1"),
            ("<sip:a@h>", None, "sip:a@h", None),
            ("sip:a@h;tag=1", None, "sip:a@h", "1"),
            ("sip:a@h", None, "sip:a@h", None),
            ("*", None, "*", None),
            ('""<sip:a@h>', "", "sip:a@h", None),
            ("Jörg <sip:j@h>", "Jörg", "sip:j@h", None),
            ('sip:a@h;x="<b>"', None, "sip:a@h", None),
        ):
            address = NameAddr.parse(text)
            self.assertEqual((address.display_name, address.uri), (name, uri))
            self.assertEqual(address.tag, tag)
            self.assertEqual(str(address), text)

    def test_parsed_uri(self) -> None:
        """The URI is read once, and a broken one is refused."""
        address = NameAddr.parse("<sip:a@h>")
        self.assertIs(address.parsed_uri, address.parsed_uri)
        self.assertRaises(MessageError, lambda: NameAddr.parse("<a@h>").parsed_uri)

    def test_broken_ones_are_refused(self) -> None:
        """Unbalanced quotes and brackets, bare special characters, odd tails."""
        for text in (
            *(
                "",
                "<>",
                "<sip:a",
                '"a <sip:a>',
                '"a" sip:a',
                '"a"',
                "a.b, c <sip:a>",
                "a@b <sip:a>",
            ),
            *("<sip:a>x", "<sip:a> , <sip:b>", "sip:a,b", "sip:a?b=c", "sip:a b", "<sip:a b>"),
            *("<sip:<a>", " ", "a@b <sip:a>"),
        ):
            error = self.assertRaises(MessageError, NameAddr.parse, text)
            self.assertEqual(error.reason_code, "bad-address", text)
        self.assertRaises(MessageError, NameAddr.parse, "<sip:a>;")

    def test_built(self) -> None:
        """Names are quoted, URIs bracketed."""
        address = NameAddr('A "B"', "sip:a@h").with_param("tag", "1")
        self.assertEqual(str(address), '"A \\"B\\"" <sip:a@h>;tag=1')
        self.assertEqual(str(NameAddr(None, "sip:a@h")), "<sip:a@h>")
        self.assertEqual(str(NameAddr(None, "*")), "*")

    def test_user_text(self) -> None:
        """Whom an address names, without what only separates or escapes."""
        for text, expected in (
            ("<sip:b%6Fb:secret@h>", "bob"),
            ("<sip:h>", ""),
            ("<tel:+1-555>", "+1555"),
            ("<urn:service:sos>", ""),
        ):
            self.assertEqual(NameAddr.parse(text).user_text, expected, text)
        self.assertRaises(MessageError, lambda: NameAddr.parse("<a@h>").user_text)


class CSeqTests(SynchronousTestCase):
    """CSeq (:rfc:`3261#section-20.16`)."""

    def test_reading_and_writing(self) -> None:
        """Leading zeros and white space do not matter."""
        self.assertEqual(CSeq.parse("0009 \t INVITE"), CSeq(9, "INVITE"))
        self.assertEqual(CSeq.parse("0 BYE").number, 0)
        self.assertEqual(str(CSeq.parse("2147483647 BYE")), "2147483647 BYE")

    def test_broken_ones_are_refused(self) -> None:
        """The number is below 2**31, the method a token (:rfc:`3261#section-8.1.1.5`)."""
        for text in (
            "",
            "1",
            "BYE",
            "x BYE",
            "-1 BYE",
            "1 B(E",
            "1 BYE x",
            "2147483648 BYE",
            "² BYE",
        ):
            self.assertRaises(MessageError, CSeq.parse, text)
        self.assertRaises(MessageError, CSeq.parse, 5000 * "9" + " BYE")

    def test_numbers(self) -> None:
        """Only ASCII digits up to the maximum are a number."""
        self.assertEqual((read_number("00", 5), read_number("5", 5)), (0, 5))
        for text in ("", "6", "x", "٤", "1_0", " 1"):
            self.assertIsNone(read_number(text, 5))


class DateTests(SynchronousTestCase):
    """Date (:rfc:`3261#section-20.17`)."""

    def test_reading(self) -> None:
        """The one form is read."""
        expected = datetime(2010, 11, 13, 23, 29, 0, tzinfo=UTC)
        self.assertEqual(parse_date("Sat, 13 Nov 2010 23:29:00 GMT"), expected)

    def test_other_forms_are_refused(self) -> None:
        """Other zones, orders and numbers are not SIP's."""
        for text in (
            *("", "Sat, 13 Nov 2010 23:29:00 UTC", "Sat, 13 Nov 2010 23:29 GMT"),
            *("Sat, 31 Feb 2010 23:29:00 GMT", "Sat, 13 Non 2010 23:29:00 GMT"),
            *("Sax, 13 Nov 2010 23:29:00 GMT", "Sat; 13 Nov 2010 23:29:00 GMT"),
            *("Sat, 3 Nov 2010 23:29:00 GMT", "Sat, +3 Nov 2010 23:29:00 GMT"),
        ):
            error = self.assertRaises(MessageError, parse_date, text)
            self.assertEqual(error.reason_code, "bad-date")
