# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The transaction's key from raw bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Peek, parse, peek
from tests.pure.test_message_parser import INVITE, RINGING, swap

VIA = b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds"
BRANCH, SENT_BY = "z9hG4bK776asdhds", "pc33.atlanta.example.com"


class PeekTests(SynchronousTestCase):
    """What the scan sees, and when it leaves the matter to the parser."""

    def assert_unsure(self, *messages: bytes) -> None:
        """Expect the scan to give up."""
        for data in messages:
            self.assertIsNone(peek(data), data)

    def test_request(self) -> None:
        """A request's method is in its first line."""
        self.assertEqual(peek(INVITE), Peek(True, "INVITE", BRANCH, SENT_BY, 0))

    def test_response(self) -> None:
        """A response's method is in its CSeq."""
        self.assertEqual(peek(RINGING), Peek(False, "INVITE", BRANCH, SENT_BY, 180))

    def test_spellings_of_via(self) -> None:
        """Case, compact form, port, order and other parameters do not matter."""
        for line in (
            b"v: SIP/2.0/UDP Pc33.Atlanta.example.com ;\tBranch = z9hG4bK776asdhds ;x",
            b"VIA:SIP/2.0/TCP\t[2001:DB8::1]:5061;rport;branch=z9hG4bK776asdhds",
            b"X: y\r\nvIa:  SIP/2.0/UDP h:5060;branch=z9hG4bK776asdhds , SIP/2.0/UDP i\r\nV: x",
            b"Vx: y\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK776asdhds",
        ):
            found = peek(swap(VIA, line))
            assert found is not None
            self.assertEqual(found.branch, BRANCH)
        data = swap(VIA, b"v:SIP/2.0/UDP H:5060;branch=b")
        self.assertEqual(peek(data), Peek(True, "INVITE", "b", "h:5060", 0))

    def test_white_space_behind_the_branch(self) -> None:
        """What the parser takes for white space is none of the branch here, too."""
        for space in (b" \t", b"\x0b", b"\xc2\xa0"):
            data = swap(VIA, VIA + space)
            message = parse(data)
            self.assertEqual(peek(data), Peek(True, "INVITE", BRANCH, SENT_BY, 0))
            self.assertEqual((message.via.branch, message.via.sent_by), (BRANCH, SENT_BY))

    def test_unsure_about_first_lines(self) -> None:
        """Other methods, versions and shapes are the parser's."""
        first = b"INVITE sip:bob@biloxi.example.com SIP/2.0"
        self.assert_unsure(
            b"",
            b"\r\n\r\n" + INVITE,
            b"INVITE",
            b"INVITE\r\n",
            swap(first, b"FOO sip:bob@biloxi.example.com SIP/2.0"),
            swap(first, b"INVITE sip:bob@biloxi.example.com SIP/3.0"),
            swap(first, b"INVITE  sip:bob@biloxi.example.com SIP/2.0"),
            swap(b"180 ", b"18 ", RINGING),
            swap(b"180 ", b"18x ", RINGING),
            swap(b"180 ", b"700 ", RINGING),
            swap(b"180 ", b"099 ", RINGING),
        )

    def test_unsure_about_via(self) -> None:
        """Folding, quotes, odd white space and missing branches are the parser's."""
        self.assert_unsure(
            swap(VIA + b"\r\n", b""),
            swap(VIA, VIA + b"\r\n ;x"),
            swap(VIA, VIA + b"\r\n\t;x"),
            swap(VIA, b"X: y\r\n z\r\n" + VIA),
            swap(VIA, b"X: y\r\n\tz\r\n" + VIA),
            swap(VIA, VIA.replace(b":", b" :", 1)),
            swap(VIA, b"v\t: SIP/2.0/UDP h;branch=b"),
            swap(VIA, b"Via\r\n" + VIA),
            swap(VIA, VIA + b';x="y"'),
            swap(VIA, b"Via: SIP/2.0/UDP h"),
            swap(VIA, b"Via: SIP/2.0/UDP h;branch"),
            swap(VIA, b"Via: SIP/2.0/UDP branch.example.com"),
            swap(VIA, b"Via: SIP / 2.0 / UDP h;branch=b"),
            swap(VIA, b"Via: SIP/3.0/UDP h;branch=b"),
            swap(VIA, b"Via: SIP/2.0/UDP h:05060;branch=b"),
            swap(VIA, b"Via: SIP/2.0/UDP h;branch=a;branch=b"),
            INVITE[: INVITE.index(b"\r\n") + 2] + VIA,
        )

    def test_unsure_about_cseq(self) -> None:
        """A CSeq of another spelling, method or shape is the parser's."""
        for old, new in (
            (b"CSeq: 314159 INVITE", b"cseq: 314159 INVITE"),
            (b"314159 INVITE", b"314159 FOO"),
            (b"314159 INVITE", b"314159"),
        ):
            self.assert_unsure(swap(old, new, RINGING))
