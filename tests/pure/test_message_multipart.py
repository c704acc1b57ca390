# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Bodies of several parts (:rfc:`2046#section-5.1`, :rfc:`5621`)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError, Request
from sipsess.message.multipart import (
    MAX_PARTS,
    Part,
    build_multipart,
    find_obstacle,
    find_part,
    parse_multipart,
    walk,
    whole_body,
)

SDP = Part("application/sdp", b"v=0\r\n")
SESSION = (None, "session")


def mixed(*parts: Part, kind: str = "mixed", boundary: str = "b1", **headers: str) -> Part:
    """Return a multipart of these parts; an underscore in a header's name is a hyphen."""
    content_type = f"multipart/{kind};boundary={boundary}"
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    fields = Headers([("Content-Type", content_type), *more])
    return Part(f"multipart/{kind}", build_multipart(parts, boundary), fields)


def part(content_type: str, body: bytes = b"x", **headers: str) -> Part:
    """Return a part with these headers."""
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Part(content_type, body, Headers([("Content-Type", content_type), *more]))


class ParseTests(SynchronousTestCase):
    """From bytes to parts."""

    def refused(self, content_type: str, body: bytes) -> None:
        """Check that a body is refused, and counted as what it is."""
        with self.assertRaises(MessageError) as caught:
            parse_multipart(content_type, body)
        self.assertEqual(caught.exception.reason_code, "bad-multipart")
        self.assertEqual(caught.exception.status, 400)

    def test_example(self) -> None:
        """RFC 2046 5.1.1: what stands before and after the parts is ignored."""
        body = (
            b"preamble\r\n--simple boundary  \r\n\r\nimplicitly plain\r\n"
            b"--simple boundary\r\nContent-type: Text / X;\r\n charset=us-ascii\r\n\r\n"
            b"with a line break\r\n\r\n--simple boundary--\r\nepilogue\r\n--simple boundary\r\n"
        )
        first, second = parse_multipart('multipart/mixed; boundary="simple boundary"', body)
        self.assertEqual(first, Part("text/plain", b"implicitly plain"))
        self.assertEqual(second, Part("text/x", b"with a line break\r\n"))
        self.assertEqual(second.headers.count("Content-Type"), 1)

    def test_part_without_a_type(self) -> None:
        """RFC 2046 5.1: a part without a type is plain text."""
        (only,) = parse_multipart("multipart/mixed;boundary=b", b"--b\r\nX: y\r\n\r\nz\r\n--b--")
        self.assertEqual(only, Part("text/plain", b"z"))

    def test_boundaries(self) -> None:
        """RFC 2046 5.1.1: 1 to 70 characters of a few kinds, the last one no space."""
        for boundary in ("", '"a\u00e4"', '"a "', "b" * 71):
            self.refused(f"multipart/mixed;boundary={boundary}", b"--b\r\n\r\nx\r\n--b--")
        self.refused("multipart/mixed", b"")
        self.refused("multipart/mixed;charset=x", b"")

    def test_broken_bodies(self) -> None:
        """A body without an end, without a part, or with a part without an end of headers."""
        for body in (b"", b"x", b"--b--", b"--b\r\n\r\nx", b"--b\r\nX: y\r\n--b--", b"--b"):
            self.refused("multipart/mixed;boundary=b", body)

    def test_broken_headers_of_a_part(self) -> None:
        """The headers of a part are headers, and no CR or LF stands alone in them."""
        for line, code in ((b"no colon", "bad-header-line"), (b"X: a\nb", "bare-line-break")):
            with self.assertRaises(MessageError) as caught:
                parse_multipart(
                    "multipart/mixed;boundary=b", b"--b\r\n" + line + b"\r\n\r\nx\r\n--b--"
                )
            self.assertEqual(caught.exception.reason_code, code)

    def test_boundary_that_begins_like_another(self) -> None:
        """A line that only begins like the delimiter is content: a part within may have it."""
        inner = mixed(SDP, boundary="bb")
        (found,) = parse_multipart("multipart/mixed;boundary=b", build_lenient(inner))
        self.assertEqual(found.body, inner.body)
        self.refused("multipart/mixed;boundary=b", b"--bb\r\n\r\nx\r\n--bb--")

    def test_too_many_parts(self) -> None:
        """More parts than the bound are refused, beside each other or within each other."""
        parse_multipart("multipart/mixed;boundary=b1", mixed(*[SDP] * MAX_PARTS).body)
        self.refused("multipart/mixed;boundary=b1", mixed(*[SDP] * (MAX_PARTS + 3)).body)
        deep = SDP
        for level in range(4):
            deep = mixed(deep, boundary=f"{level}")
        for wrong in (deep, mixed(*[SDP] * MAX_PARTS)):
            with self.assertRaises(MessageError):
                list(walk(wrong))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes, there are parts or a MessageError."""
        try:
            parts = parse_multipart("multipart/mixed;boundary=b", b"--b\r\n" + data)
        except MessageError:
            return
        self.assertTrue(parts)


def build_lenient(inner: Part) -> bytes:
    """Return ``inner`` within a multipart whose boundary is the beginning of its own."""
    head = inner.headers.to_text().encode()
    return b"--b\r\n" + head + b"\r\n" + inner.body + b"\r\n--b--\r\n"


class BuildTests(SynchronousTestCase):
    """From parts to bytes."""

    def test_wire_form(self) -> None:
        """Each part has its type; the body ends with the closing delimiter."""
        self.assertEqual(
            build_multipart([SDP], "b"),
            b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n",
        )

    def test_round_trip(self) -> None:
        """What is built is read."""
        parts = (SDP, part("text/plain", b"--x\r\n", Content_ID="<1>"))
        found = parse_multipart("multipart/mixed;boundary=b", build_multipart(parts, "b"))
        self.assertEqual(found, parts)
        self.assertEqual(found[1].headers.get("Content-ID"), "<1>")

    def test_boundary_in_a_part(self) -> None:
        """RFC 2046 5.1: the boundary must not occur in a part, and must be one."""
        for boundary in ("v", "", "\u00e4"):
            with self.assertRaises(HeaderValueError):
                build_multipart([Part("text/plain", b"\r\n--v")], boundary)


class MeaningTests(SynchronousTestCase):
    """Which part is used, and which part forbids the whole (:rfc:`5621`)."""

    def test_find_the_session_description(self) -> None:
        """RFC 5621 8.2: it may stand in any part, but not with another disposition."""
        early = part(
            "application/sdp", b"early", Content_Disposition="Early-Session;handling=optional"
        )
        zipped = part("application/sdp", Content_Encoding="gzip")
        coded = part("application/sdp", Content_Transfer_Encoding="base64")
        inner = mixed(part("text/plain"), SDP, kind="related", boundary="b2")
        for body in (SDP, mixed(SDP), mixed(early, zipped, coded, inner)):
            self.assertEqual(find_part(body, "application/sdp", SESSION), SDP)
        self.assertIsNone(find_part(mixed(early), "application/sdp", SESSION))

    def test_body_of_a_message(self) -> None:
        """The whole body counts as a part; without a type it is text."""
        request = Request("INVITE", "sip:a@b", Headers())
        self.assertEqual(whole_body(request), Part("text/plain", b""))
        request.set_body("Application/SDP;charset=x", b"v=0")
        self.assertEqual(whole_body(request), Part("application/sdp", b"v=0"))

    def test_disposition_that_cannot_be_read(self) -> None:
        """What cannot be read is not optional."""
        broken = part("text/x", Content_Disposition="render;;handling=optional")
        self.assertEqual((broken.disposition, broken.is_optional), ("render", False))
        plain = part("text/x", Content_Disposition="render")
        self.assertEqual((plain.disposition, plain.is_optional), ("render", False))

    def test_obstacles(self) -> None:
        """RFC 3261 20.11: an unknown part is an obstacle, unless its handling is optional."""
        accept = frozenset({"application/sdp"})
        unknown = part("text/x")
        optional = part("text/x", Content_Disposition="render; handling = OPTIONAL")
        for body in (
            SDP,
            optional,
            mixed(SDP, optional),
            mixed(SDP, mixed(unknown, boundary="b2", Content_Disposition="x;handling=optional")),
            mixed(unknown, SDP, kind="alternative"),
        ):
            self.assertIsNone(find_obstacle(body, accept))
        for body in (
            unknown,
            mixed(SDP, unknown),
            mixed(SDP, mixed(unknown, boundary="b2")),
            mixed(unknown, kind="alternative"),
        ):
            self.assertEqual(find_obstacle(body, accept), unknown)
