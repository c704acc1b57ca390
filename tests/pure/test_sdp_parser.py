# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.parser`: what is refused, what is tolerated, what comes back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import SDPError, parse
from sipsess.sdp.limits import MAX_BYTES, MAX_LINES, MAX_MEDIA

HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = HEAD + b"m=audio 49170 RTP/AVP 0 8\r\na=ptime:20\r\na=sendrecv\r\n"


class RefusedTests(SynchronousTestCase):
    """What cannot be used is refused with a code, a line number and a sentence."""

    def check(self, data: bytes, code: str, line_number: int | None) -> None:
        """Check that ``data`` is refused with that code at that line."""
        error = self.assertRaises(SDPError, parse, data)
        self.assertEqual((error.reason_code, error.line_number), (code, line_number))
        self.assertEqual((error.status, error.status_hint), (400, 400))

    def test_empty(self) -> None:
        """An empty body, or one of blank lines, is no session description."""
        self.check(b"", "sdp-empty", None)
        self.check(b"\r\n \t\r\n", "sdp-empty", None)

    def test_garbage(self) -> None:
        """A line that is not type=value is refused where it stands."""
        self.check(b"hello world", "sdp-line", 1)
        self.check(AUDIO + b"what is this\r\n", "sdp-line", 9)
        self.check(AUDIO + b"\xe4=1\r\n", "sdp-line", 9)
        self.check(AUDIO + b"1=1\r\n", "sdp-line", 9)
        self.check(AUDIO + b" a=sendonly\r\n", "sdp-line", 9)
        self.check(b"v = 0\r\n", "sdp-line", 1)

    def test_version(self) -> None:
        """The first line is v=0 (RFC 8866 5.1)."""
        self.check(b"o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n", "sdp-version", 1)
        self.check(b"v=1\r\n", "sdp-version", 1)
        self.check(b"a=x\r\nv=0\r\n", "sdp-version", 1)
        self.check(b"\r\nm=audio 1 RTP/AVP 0\r\n", "sdp-version", 2)

    def test_origin(self) -> None:
        """
        The o= line has six fields, two of them numbers, and stands before media (RFC 8866 5.2).
        """
        self.check(b"v=0\r\ns=-\r\nt=0 0\r\n", "sdp-origin", 4)
        self.check(b"v=0\r\ns=-\r\nm=audio 1 RTP/AVP 0\r\n", "sdp-origin", 3)
        self.check(b"v=0\r\no=- 1 1 IN IP4\r\n", "sdp-origin", 2)
        self.check(b"v=0\r\no=- x 1 IN IP4 a\r\n", "sdp-origin", 2)
        self.check(b"v=0\r\no=- 1 1_0 IN IP4 a\r\n", "sdp-origin", 2)
        self.check(b"v=0\r\no=- 1 " + b"1" * 21 + b" IN IP4 a\r\n", "sdp-origin", 2)

    def test_duplicate(self) -> None:
        """A second v= or o= line would be another session description."""
        self.check(AUDIO + b"v=0\r\n", "sdp-duplicate", 9)
        self.check(HEAD + b"o=- 1 1 IN IP4 192.0.2.1\r\n", "sdp-duplicate", 6)
        self.check(AUDIO + b"o=- 1 1 IN IP4 192.0.2.1\r\n", "sdp-duplicate", 9)

    def test_connection(self) -> None:
        """A c= line has three fields (RFC 8866 5.7)."""
        self.check(HEAD + b"c=IN IP4\r\n", "sdp-connection", 6)
        self.check(AUDIO + b"c=IN IP4 224.2.1.1/x\r\n", "sdp-connection", 9)

    def test_media_line(self) -> None:
        """An m= line has a media type, a port, a protocol and formats (RFC 8866 5.14)."""
        for value in (
            b"audio",
            b"audio 49170",
            b"audio 49170 RTP/AVP",
            b"audio 65536 RTP/AVP 0",
            b"audio -1 RTP/AVP 0",
            b"audio x RTP/AVP 0",
            b"audio 49170/x RTP/AVP 0",
            b"audio 49170/99999 RTP/AVP 0",
        ):
            self.check(HEAD + b"m=" + value + b"\r\n", "sdp-media-line", 6)

    def test_nul(self) -> None:
        """A NUL within the text is refused (RFC 8866 9, byte-string)."""
        self.check(HEAD + b"a=x\0y\r\n", "sdp-nul", 6)

    def test_limits(self) -> None:
        """The limits hold, and what is just within them is read."""
        self.check(AUDIO + b"a" * MAX_BYTES, "sdp-too-big", None)
        fill = b"a\n" * (MAX_LINES - AUDIO.count(b"\n"))
        self.check(AUDIO + fill.replace(b"a", b"a="), "sdp-too-big", MAX_LINES + 1)
        parse((AUDIO + fill.replace(b"a", b"a="))[:-1])
        media = b"m=audio 0 RTP/AVP 0\r\n" * MAX_MEDIA
        self.assertEqual(len(parse(HEAD + media).media), MAX_MEDIA)
        self.check(HEAD + media + b"m=audio 0 RTP/AVP 0\r\n", "sdp-too-big", 6 + MAX_MEDIA)

    def test_text(self) -> None:
        """The error reads as a sentence with the line in front."""
        error = self.assertRaises(SDPError, parse, b"v=0\r\no=-\r\n")
        self.assertEqual(str(error), "line 2: o= needs 6 fields and has 1")
        self.assertEqual(
            str(self.assertRaises(SDPError, parse, b"")), "the session description is empty"
        )


class ToleratedTests(SynchronousTestCase):
    """What phones send and everybody understands is read, and comes back as it was."""

    def check(self, data: bytes) -> None:
        """Check that ``data`` is read as the audio body, and written back byte for byte."""
        description = parse(data)
        self.assertEqual(description.to_bytes(), data)
        media = description.media[0]
        self.assertEqual((media.port, media.formats), (49170, ["0", "8"]))
        self.assertEqual((media.ptime, media.direction), (20, "sendrecv"))
        self.assertEqual(description.origin.address, "192.0.2.1")

    def test_as_it_should_be(self) -> None:
        """A canonical body needs no tolerance."""
        self.check(AUDIO)

    def test_line_ends(self) -> None:
        """LF or CR alone end a line too, and the last may have no end (RFC 8866 5)."""
        self.check(AUDIO.replace(b"\r\n", b"\n"))
        self.check(AUDIO.replace(b"\r\n", b"\r"))
        self.check(AUDIO[:-2])
        self.check(AUDIO + b"\r\n\r\n")
        self.check(AUDIO + b"\0\0")

    def test_spaces(self) -> None:
        """White space at the end of a line, and more than one space between fields, are nothing."""
        self.check(AUDIO.replace(b"\r\n", b" \t\r\n"))
        self.check(AUDIO.replace(b"49170 RTP", b"49170  RTP"))

    def test_space_in_text(self) -> None:
        """``s= `` keeps its space, which is its value (RFC 3264 5)."""
        self.assertEqual(parse(HEAD.replace(b"s=-", b"s= ")).name, " ")

    def test_missing_lines(self) -> None:
        """Without s= and t= a call is still possible."""
        self.check(AUDIO.replace(b"s=-\r\n", b"").replace(b"t=0 0\r\n", b""))

    def test_unknown_kept(self) -> None:
        """Unknown types and attributes, and bytes that are no UTF-8, stay where they are."""
        data = AUDIO + b"x=1\r\na=\r\na=x-\xff\xfe:\xe4\r\nQ=\r\n"
        self.check(data)
        self.assertEqual(parse(data).media[0].lines[-4:][0], ("x", "1"))

    def test_declined_without_formats(self) -> None:
        """A declined stream without formats is read."""
        media = parse(HEAD + b"m=image 0 udptl\r\n").media[0]
        self.assertEqual((media.is_declined, media.formats), (True, []))

    def test_negative_session_id(self) -> None:
        """Numbers that a device printed as signed ones are read."""
        data = AUDIO.replace(b"- 1 1", b"- -7 -8")
        self.assertEqual(parse(data).origin.session_id, -7)

    def test_other_line_ends_inject_nothing(self) -> None:
        """VT, FF, NEL, U+2028 and their like are text: they cannot begin another line."""
        for letter in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
            data = AUDIO + f"a=X-note:hello{letter}c=IN IP4 203.0.113.66\r\n".encode()
            media = parse(data).media[0]
            self.assertEqual(media.address, "192.0.2.1")
            self.assertEqual(media.attributes.get("X-note"), f"hello{letter}c=IN IP4 203.0.113.66")
