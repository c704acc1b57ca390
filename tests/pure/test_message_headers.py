# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The ordered raw headers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers


class HeadersTests(SynchronousTestCase):
    """Look-up, order and change."""

    def setUp(self) -> None:
        """Make headers with one name twice."""
        self.headers = Headers([("Via", "v1"), ("To", "t"), ("v", "v2, v3"), ("X-Odd", "")])

    def text(self) -> str:
        """The headers on one line."""
        return self.headers.to_text().replace("\r\n", "|")

    def test_names_are_found_in_any_form(self) -> None:
        """Case does not matter, and a compact form is the long name (:rfc:`3261#section-7.3.3`)."""
        for name in ("Via", "VIA", "via", "vIa", "v", "V"):
            self.assertEqual(self.headers.get(name), "v1")
            self.assertEqual(self.headers.get_all(name), ["v1", "v2, v3"])
            self.assertIn(name, self.headers)
            self.assertEqual(self.headers.count(name), 2)
        self.assertEqual(self.headers.get("x-oDD"), "")

    def test_absent_names(self) -> None:
        """What is not there is None or empty."""
        self.assertIsNone(self.headers.get("From"))
        self.assertEqual(self.headers.get_all("From"), [])
        self.assertEqual(self.headers.values("From"), [])
        self.assertNotIn("From", self.headers)
        self.assertNotIn(1, self.headers)

    def test_items_and_length(self) -> None:
        """Iteration gives names as written, in order."""
        items = [("Via", "v1"), ("To", "t"), ("v", "v2, v3"), ("X-Odd", "")]
        self.assertEqual(list(self.headers.items()), items)
        self.assertEqual(len(self.headers), 4)

    def test_values_join_lines_and_skip_empty_ones(self) -> None:
        """Elements are split outside quotes and brackets."""
        self.headers.add("Via", ', "a, \\", b" <c,d> ,, e')
        self.assertEqual(self.headers.values("Via"), ["v1", "v2", "v3", '"a, \\", b" <c,d>', "e"])

    def test_values_with_open_quotes_and_brackets(self) -> None:
        """What does not end is of the last element."""
        for value in ('a, "b, c', "a, <b, c", 'a, "b\\'):
            headers = Headers([("X", value)])
            self.assertEqual(headers.values("X"), ["a", value[3:]])

    def test_set_replaces_in_place(self) -> None:
        """The first one's place is kept, the others go."""
        self.headers.set("via", "new")
        self.headers.set("To", "t2")
        self.headers.set("From", "f")
        self.assertEqual(self.text(), "via: new|To: t2|X-Odd: |From: f|")

    def test_add_and_prepend(self) -> None:
        """Add goes to the end, prepend before the first of its name or to the top."""
        self.headers.add("To", "t2")
        self.headers.prepend("t", "t0")
        self.headers.prepend("Route", "r")
        self.assertEqual(self.text(), "Route: r|Via: v1|t: t0|To: t|v: v2, v3|X-Odd: |To: t2|")

    def test_remove(self) -> None:
        """All of that name go; none is fine."""
        self.headers.remove("V")
        self.headers.remove("From")
        self.assertEqual(self.text(), "To: t|X-Odd: |")

    def test_replace_first(self) -> None:
        """Only the first element of the first line is replaced, or added at the top."""
        headers = Headers([("V", "a, b"), ("Via", "c")])
        headers.replace_first("Via", "x")
        headers.replace_first("Route", "r")
        self.assertEqual(headers.to_text(), "Route: r\r\nV: x, b\r\nVia: c\r\n")

    def test_copy_from(self) -> None:
        """Headers are copied raw, all or only the first."""
        other = Headers()
        other.add_raw("to", "tO ", "\t\r\n  <sip:a>")
        other.add_raw("to", "To", "b")
        self.headers.copy_from(other, "To", top_only=True)
        self.assertTrue(self.headers.to_text().endswith("X-Odd: \r\ntO :\t\r\n  <sip:a>\r\n"))
        self.headers.copy_from(other, "t")
        self.assertEqual(self.headers.get_all("To"), ["t", "<sip:a>", "<sip:a>", "b"])

    def test_extend_first(self) -> None:
        """A suffix is written behind the value."""
        self.headers.extend_first("To", ";tag=1")
        self.assertEqual(self.headers.get("To"), "t;tag=1")
        self.assertRaises(HeaderValueError, self.headers.extend_first, "To", ";tag=1\r\n")

    def test_copies_are_independent(self) -> None:
        """Changing a copy leaves the original alone."""
        twin = self.headers.copy()
        twin.set("To", "other")
        self.assertEqual(self.headers.get("To"), "t")

    def test_injection_is_refused(self) -> None:
        """No name or value holds CR, LF, a bare NUL or half a character."""
        for value in ("a\r\nX: y", "a\n", "\ra", "a\0", "\ud800"):
            for change in (
                self.headers.set,
                self.headers.add,
                self.headers.prepend,
                self.headers.replace_first,
            ):
                self.assertRaises(HeaderValueError, change, "To", value)
                self.assertRaises(HeaderValueError, change, "X" + value, "v")
        for name in ("", "X:", "X Y", "Ä"):
            self.assertRaises(HeaderValueError, self.headers.set, name, "v")
        self.assertEqual(self.text(), "Via: v1|To: t|v: v2, v3|X-Odd: |")

    def test_utf8_and_bytes_of_the_wire_are_allowed(self) -> None:
        """UTF-8 and bytes kept by surrogateescape may be written."""
        for value in ("Ä", "\udce9"):
            self.headers.set("X", value)
            self.assertEqual(self.headers.get("X"), value)
