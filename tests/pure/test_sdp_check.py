# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.check`, :mod:`sipsess.sdp.explain` and ``python -m sipsess.sdp``."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import REASONS, SDPError
from sipsess.sdp.__main__ import USAGE, main
from sipsess.sdp.check import find_problems
from sipsess.sdp.explain import explain_rows, printable
from sipsess.sdp.limits import MAX_BYTES
from sipsess.sdp.parser import parse, split_lines

GOOD = b"""v=0
o=alice 1 2 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
b=AS:64
t=0 0
a=group:LS a
m=audio 49170 RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=sendrecv
""".replace(b"\n", b"\r\n")


def _with(*lines: str) -> bytes:
    """Return the good body with more lines."""
    return GOOD + "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


class ProblemTests(SynchronousTestCase):
    """What is tolerated is reported."""

    def check(self, data: bytes, *expected: str) -> None:
        """Check that exactly these problems are found."""
        self.assertEqual([str(problem) for problem in find_problems(data)], list(expected))

    def test_nothing(self) -> None:
        """A good body has none; t= and r= may alternate (RFC 8866 5)."""
        self.check(GOOD)
        self.check(GOOD.replace(b"t=0 0", b"t=1 2\r\nr=1\r\nt=3 4\r\nz=0 0"))
        self.check(GOOD + b"\r\n\r\n")

    def test_unreadable(self) -> None:
        """What cannot be read raises."""
        self.assertRaises(SDPError, find_problems, b"v=0\r\n")

    def test_line_ends(self) -> None:
        """LF or CR alone are reported once, a missing end and NULs too."""
        self.check(GOOD.replace(b"s=-\r\n", b"s=-\n"), "line 3: the line does not end in CRLF")
        self.check(GOOD.replace(b"\r\n", b"\r"), "line 1: the line does not end in CRLF")
        self.check(GOOD[:-2], "line 13: the last line has no line end")
        self.check(GOOD + b"\0", "NUL bytes follow the last line")

    def test_white_space(self) -> None:
        """White space at the end and blank lines are reported, ``s= `` is not."""
        self.check(
            GOOD.replace(b"a=ptime:20", b"a=ptime:20 "), "line 12: the line ends in white space"
        )
        self.check(GOOD.replace(b"s=-", b"s= "))
        self.check(GOOD.replace(b"a=ptime", b"\r\na=ptime"), "line 12: the line is blank")

    def test_missing(self) -> None:
        """s= and t= are mandatory in the RFC (8866 5)."""
        self.check(
            GOOD.replace(b"s=-\r\n", b"").replace(b"t=0 0\r\n", b""),
            "there is no s= line, the name of the session",
            "there is no t= line, the time of the session",
        )

    def test_place(self) -> None:
        """Unknown types, types too late, and second ones are reported."""
        self.check(
            _with("x=1", "i=late", "i=again"),
            "line 14: x= is not a type of RFC 8866 in this place; it is kept and has no effect",
            "line 15: i= stands too late; RFC 8866 fixes the order",
            "line 16: i= stands too late; RFC 8866 fixes the order",
            "line 16: this is a second i= line; the first counts",
        )

    def test_addresses(self) -> None:
        """Addresses are checked against their type; names are not."""
        for address, problem in (
            ("IN IP4 999.2.0.1", "999.2.0.1 is not an address of type IP4"),
            ("IN IP4 2001:db8::1", "2001:db8::1 is not an address of type IP4"),
            ("IN IP6 192.0.2.1", "192.0.2.1 is not an address of type IP6"),
            ("IN IP5 192.0.2.1", "IP5 is not a known type of address; there are IP4 and IP6"),
            ("ATM NSAP 47", "ATM is not a known kind of network; IN is the internet"),
            ("IN IP4 192.0.2.1 x", "fields after the address are ignored"),
        ):
            self.check(
                GOOD.replace(b"c=IN IP4 192.0.2.1", f"c={address}".encode()), f"line 4: {problem}"
            )
        for address in ("IN IP4 a.example", "IN IP6 2001:db8::1", "IN IP4 224.2.1.1/127"):
            self.check(GOOD.replace(b"c=IN IP4 192.0.2.1", f"c={address}".encode()))
        self.check(
            GOOD.replace(b"2 IN IP4 192", b"2 IN IP4 292"),
            "line 2: 292.0.2.1 is not an address of type IP4",
        )

    def test_bandwidth(self) -> None:
        """A bandwidth is a number."""
        self.check(
            GOOD.replace(b"AS:64", b"AS:x"),
            f"line 5: 'x' is not a number from 0 to {2**63}",
        )

    def test_media(self) -> None:
        """Payload types, their maps and the address of a stream are checked."""
        self.check(
            _with("m=audio 1 RTP/AVP 300 x 99", "m=audio 0 RTP/AVP 99", "m=image 0 udptl"),
            "line 14: 300 is not a payload type from 0 to 127",
            "line 14: x is not a payload type from 0 to 127",
            "line 14: nothing says what payload type 99 is",
            "line 16: a declined stream should still name a format",
        )
        self.check(
            GOOD.replace(b"c=IN IP4 192.0.2.1\r\n", b""),
            "line 7: no c= line says where to send this stream",
        )

    def test_attributes(self) -> None:
        """Attributes that cannot mean anything are reported."""
        self.check(
            _with(
                "a=",
                "a=sendonly",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:0 PCMA/8000",
                "a=rtpmap:101",
                "a=fmtp:9 x",
            ),
            "line 14: the attribute has no name",
            "line 15: this is a second direction",
            "line 16: format 8 is not in the m= line",
            "line 17: payload type 0 is always PCMU/8000",
            "line 18: '' is not encoding/clock rate",
            "line 19: format 9 is not in the m= line",
        )
        self.check(
            GOOD.replace(b"ptime:20", b"ptime:x"), "line 12: 'x' is not a number of milliseconds"
        )
        self.check(
            GOOD.replace(b"a=group:LS a", b"a=ptime:20"), "line 7: a=ptime belongs to an m= line"
        )


class ExplainTests(SynchronousTestCase):
    """Each line gets a sentence."""

    def check(self, row: str, meaning: str) -> None:
        """Check what one line means."""
        [explanation] = explain_rows([row], ())
        self.assertEqual(explanation.meaning, meaning)

    def test_lines(self) -> None:
        """Values are read where that helps."""
        for row, meaning in (
            ("v=0", "The version of SDP; there is only 0."),
            ("o=- 1 2 IN IP4 a", "Made at a: session 1, version 2."),
            ("o=al 1 2 IN IP4 a", "Made by al at a: session 1, version 2."),
            ("o=-", "Cannot be read: o= needs 6 fields and has 1."),
            ("c=IN IP4 a", "Send media to a."),
            ("c=IN IP4 0.0.0.0", "Send nothing: an old way of putting a stream on hold."),
            ("c=IN IP4 224.2.1.1/127/3", "Multicast: 3 group(s) from 224.2.1.1 on."),
            ("c=IN IP6 FF15::101/3", "Multicast: 3 group(s) from FF15::101 on."),
            ("b=AS:64", "The bandwidth AS is 64 kbit/s."),
            ("b=X-YZ:64", "The bandwidth X-YZ is 64 (unit unknown)."),
            ("t=0 0", "The session has no fixed time."),
            ("t=1 2", "When the session begins and ends, in seconds since 1900."),
            ("m=audio 0 RTP/AVP 0", "Stream audio, declined or ended: its port is 0."),
            ("m=video 2/2 x 31", "Stream video to 2 ports from 2 on by x; best first: 31."),
            ("a=rtpmap:96 opus/48000/2", "Payload type 96 is opus, 48000 Hz, 2 channels."),
            (
                "a=rtpmap:0 PCMU/8000",
                "Payload type 0 is PCMU, 8000 Hz. It is so without this line, too.",
            ),
            ("a=fmtp:96 x=1", "Parameters of 96: x=1."),
            ("a=x-odd:1", "An attribute that we do not know; it is kept."),
            ("x=1", "Not a type of RFC 8866."),
        ):
            self.check(row, meaning)

    def test_names_of_formats(self) -> None:
        """With the m= line at hand, formats get their names."""
        lines = explain_rows(split_lines(GOOD), parse(GOOD).media)
        self.assertEqual(len(lines), 13)
        self.assertEqual(
            lines[7].meaning,
            "Stream audio to port 49170 by RTP/AVP; best first: PCMU (0), telephone-event (101).",
        )
        self.assertEqual(lines[10].meaning, "Parameters of telephone-event (101): 0-16.")

    def test_blank_lines(self) -> None:
        """Blank lines are explained, except those at the end."""
        lines = explain_rows(["v=0", "", "s=-", " ", ""], ())
        self.assertEqual([line.line_number for line in lines], [1, 2, 3])
        self.assertEqual(lines[1].meaning, "A blank line; it is skipped.")

    def test_printable(self) -> None:
        """Nothing reaches a terminal that it would act on, or that cannot be printed."""
        self.assertEqual(printable("a\x1b[31mb\u2028\udcff"), "a\\x1b[31mb\\u2028\\udcff")
        self.assertEqual(printable("Zürich"), "Zürich")


class CommandTests(SynchronousTestCase):
    """``python -m sipsess.sdp``."""

    def run_command(self, *arguments: str, data: bytes = b"") -> tuple[int, str, str]:
        """Run the command and return its status, output and errors."""
        out, err = StringIO(), StringIO()
        return main(arguments, BytesIO(data), out, err), out.getvalue(), err.getvalue()

    def test_good(self) -> None:
        """A good body is explained from a file or from standard input."""
        path = Path(self.mktemp())
        path.write_bytes(GOOD)
        status, out, err = self.run_command(str(path))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("   5  b=AS:64\n      The bandwidth AS is 64 kbit/s.\n", out)
        self.assertTrue(out.endswith("It can be read; 0 notes.\n"))
        self.assertEqual(self.run_command("-", data=GOOD), (status, out, err))

    def test_secrets_are_masked(self) -> None:
        """Keys are not printed, whether the body is good or wrong (RFC 4568 section 8)."""
        data = GOOD + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n"
        for body in (data, data + b"m=x\r\n"):
            out = self.run_command("-", data=body)[1]
            self.assertIn("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***\n", out)
            self.assertNotIn("c2VjcmV0", out)

    def test_notes(self) -> None:
        """Notes stand below their lines, those without a line at the end."""
        data = GOOD.replace(b"20", b"x").replace(b"s=-\r\n", b"")
        status, out, _ = self.run_command("-", data=data)
        self.assertEqual(status, 0)
        self.assertIn("milliseconds.\n      note: 'x' is not a number of milliseconds\n", out)
        self.assertTrue(out.endswith("name of the session\nIt can be read; 2 notes.\n"))
        _, out, _ = self.run_command("-", data=GOOD[:-2])
        self.assertTrue(out.endswith("It can be read; 1 note.\n"))

    def test_wrong(self) -> None:
        """A wrong body is explained up to the wrong line; the status is 1."""
        status, out, err = self.run_command("-", data=GOOD.replace(b"49170", b"x"))
        self.assertEqual(status, 1)
        self.assertTrue(out.endswith("   8  m=audio x RTP/AVP 0 101\n"))
        self.assertEqual(
            err, "wrong: line 8: 'x' is not a number from 0 to 65535 (sdp-media-line)\n"
        )

    def test_too_wrong(self) -> None:
        """What cannot even be split is only refused."""
        for data, code in (
            (b"v=0\r\na\0b", "sdp-nul"),
            (b"a" * (MAX_BYTES + 9), "sdp-too-big"),
            (b"", "sdp-empty"),
        ):
            status, out, err = self.run_command("-", data=data)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"({code})", err)

    def test_usage(self) -> None:
        """Help goes to the output, a wrong command line or file to the errors with status 2."""
        self.assertEqual(self.run_command("--help"), (0, USAGE, ""))
        self.assertEqual(self.run_command(), (2, "", USAGE))
        status, out, err = self.run_command("/no/such/\x1bfile")
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(err, "/no/such/\\x1bfile cannot be read: No such file or directory\n")


class ReasonTests(SynchronousTestCase):
    """The reason codes."""

    def test_sentences(self) -> None:
        """Each code is in kebab-case and has one sentence."""
        for code, text in REASONS.items():
            self.assertRegex(code, r"\A[a-z]+(-[a-z]+)*\Z")
            self.assertRegex(text, r"\A[A-Z].*\.\Z")
