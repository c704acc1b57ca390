# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Parsing: start lines, header lines, bodies, limits, and what an error still tells."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import (
    REASONS,
    MessageError,
    Request,
    Response,
    build_response,
    parse,
)
from sipsess.message.limits import MAX_HEADERS, MAX_LINE, MAX_MESSAGE, MAX_VALUES

INVITE = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: Bob <sip:bob@biloxi.example.com>\r\n"
    b"From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example.com>\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)
RINGING = INVITE.replace(b"INVITE sip:bob@biloxi.example.com SIP/2.0", b"SIP/2.0 180 Ringing")


def swap(old: bytes, new: bytes, data: bytes = INVITE) -> bytes:
    """Return the INVITE with one part replaced, which must be there."""
    assert old in data
    return data.replace(old, new)


def parse_request(data: bytes) -> Request:
    """Parse what is known to be a request."""
    message = parse(data)
    assert isinstance(message, Request)
    return message


class RefusalTestCase(SynchronousTestCase):
    """Expects refusals."""

    def refused(self, data: bytes, reason_code: str, status: int = 400) -> MessageError:
        """Expect ``parse()`` to refuse with this reason."""
        error: MessageError = self.assertRaises(MessageError, parse, data)
        self.assertEqual((error.reason_code, error.status), (reason_code, status))
        self.assertIn(reason_code, REASONS)
        return error

    def invalid(self, data: bytes, reason_code: str) -> MessageError:
        """Expect ``validate()`` to refuse with this reason and to give the message."""
        message = parse(data)
        error: MessageError = self.assertRaises(MessageError, message.validate)
        self.assertEqual(error.reason_code, reason_code)
        self.assertIn(reason_code, REASONS)
        self.assertIs(error.message, message)
        return error


class StartLineTests(RefusalTestCase):
    """The first line (:rfc:`3261#section-7.1`)."""

    def test_request_has_method_and_uri_as_written(self) -> None:
        """The request line's parts are kept."""
        request = parse_request(INVITE)
        self.assertTrue(request.is_request)
        self.assertEqual((request.method, request.uri), ("INVITE", "sip:bob@biloxi.example.com"))
        self.assertEqual(repr(request), "<Request INVITE sip:bob@biloxi.example.com>")

    def test_response_has_status_and_reason(self) -> None:
        """The status line's parts are kept (:rfc:`3261#section-7.2`)."""
        response = parse(RINGING)
        assert isinstance(response, Response)
        self.assertFalse(response.is_request)
        self.assertEqual((response.status, response.reason), (180, "Ringing"))
        self.assertEqual(repr(response), "<Response 180 Ringing>")

    def test_version_is_case_insensitive(self) -> None:
        """SIP-Version is read in any case (:rfc:`3261#section-7.1`)."""
        parse(swap(b"com SIP/2.0\r\nVia", b"com sip/2.0\r\nVia"))
        parse(swap(b"SIP/2.0 180", b"sip/2.0 180", RINGING))

    def test_missing_reason_with_its_space_is_accepted(self) -> None:
        """A liberal receiver needs no space after the code (:rfc:`4475#section-3.1.1.13`)."""
        response = parse(swap(b"180 Ringing", b"180", RINGING))
        assert isinstance(response, Response)
        self.assertEqual(response.reason, "")

    def test_other_versions_are_refused_with_505(self) -> None:
        """A request of another version gets 505 (:rfc:`3261#section-21.5.6`)."""
        error = self.refused(swap(b"com SIP/2.0\r\nVia", b"com SIP/3.0\r\nVia"), "bad-version", 505)
        self.assertIsInstance(error.message, Request)
        self.assertIsNone(
            self.refused(swap(b"SIP/2.0 180", b"SIP/3.0 180", RINGING), "bad-version", 505).message
        )

    def test_request_lines_of_other_protocols_are_refused(self) -> None:
        """HTTP is not SIP."""
        self.refused(swap(b"com SIP/2.0\r\nVia", b"com HTTP/1.1\r\nVia"), "bad-start-line")

    def test_method_that_is_no_token_is_refused_without_a_request(self) -> None:
        """There is nothing to answer when there is no method."""
        for method in (b"INV(ITE", b"", b" "):
            error = self.refused(swap(b"INVITE sip", method + b" sip"), "bad-start-line")
            self.assertIsNone(error.message if method == b"INV(ITE" else None)

    def test_line_of_one_word_is_refused_with_what_there_is(self) -> None:
        """A method alone makes a partial request, for a 400."""
        data = swap(b"INVITE sip:bob@biloxi.example.com SIP/2.0", b"BYE")
        error = self.refused(data, "bad-start-line")
        assert isinstance(error.message, Request)
        self.assertEqual((error.message.method, error.message.uri), ("BYE", ""))

    def test_empty_first_line_of_blanks_is_refused(self) -> None:
        """A line of blanks is no start line."""
        self.assertIsNone(self.refused(b"   \r\n\r\n", "bad-start-line").message)

    def test_status_codes_out_of_range_are_refused(self) -> None:
        """A status code has three digits, 100 to 699."""
        for code in (b"99", b"099", b"700", b"1x0", b"1800", b""):
            self.refused(swap(b"0 180 ", b"0 " + code + b" ", RINGING), "bad-start-line")


class HeaderLineTests(RefusalTestCase):
    """The lines after the first (:rfc:`3261#section-7.3`)."""

    def test_line_without_colon_is_refused(self) -> None:
        """A header has a colon, whether its name is known or not."""
        for name in (b"Max-Forwards", b"X-What"):
            error = self.refused(swap(b"Max-Forwards: 70", name), "bad-header-line")
            assert isinstance(error.message, Request)
            self.assertEqual(error.message.call_id, "a84b4c76e66710")

    def test_name_that_is_no_token_is_refused(self) -> None:
        """A header name is a token."""
        for name in (b"", b"X What", b"X(", "Ä".encode()):
            self.refused(swap(b"Max-Forwards: 70", name + b": 70"), "bad-header-line")

    def test_first_of_several_problems_is_named(self) -> None:
        """Of several broken lines the first is reported."""
        error = self.refused(
            swap(b"Max-Forwards: 70", b"bad one\r\nbad two\r\nCall-ID"), "bad-header-line"
        )
        self.assertIn("bad one", error.text)

    def test_folded_lines_are_one_header(self) -> None:
        """White space at the start of a line continues the header before it."""
        message = parse(swap(b"To: Bob", b"To:\r\n\t Bob"))
        self.assertEqual(message.to.display_name, "Bob")
        self.assertEqual(message.headers.get("To"), "Bob <sip:bob@biloxi.example.com>")

    def test_folded_start_line_is_refused(self) -> None:
        """A start line has no continuation."""
        self.refused(swap(b"SIP/2.0\r\nVia", b"SIP/2.0\r\n Via"), "bad-start-line")
        self.refused(swap(b"sip:bob@", b"sip:\r\n\tbob@"), "bad-start-line")
        error = self.refused(swap(b"180 Ringing", b"180 \r\n Ringing", RINGING), "bad-start-line")
        self.assertIsNone(error.message)

    def test_bare_line_breaks_are_refused(self) -> None:
        """A lone CR or LF could end a line for one element and not for another."""
        for bare in (b"\r", b"\n", b"\n\r", b"\r\r"):
            data = swap(b"a84b4c76e66710", b"a" + bare + b"X: y")
            error = self.refused(data, "bare-line-break")
            assert isinstance(error.message, Request)
            answer = parse(build_response(error.message, 400).to_bytes())
            self.assertEqual(answer.headers.get("Call-ID"), "a" + len(bare) * "?" + "X: y")

    def test_bare_nul_is_refused(self) -> None:
        """A NUL stands only escaped in a quoted string; that one is kept."""
        self.refused(swap(b"Bob <", b'"B\0b" <'), "bare-nul")
        self.assertEqual(parse(swap(b"Bob <", b'"B\\\0b" <')).to.display_name, "B\0b")

    def test_bytes_that_are_no_utf8_are_kept(self) -> None:
        """Any byte survives the way through."""
        data = swap(b"Bob <", b'"\xe9\xff" <')
        message = parse(data)
        self.assertEqual(message.copy().to_bytes(), data)
        message.headers.set("X-New", "1")
        self.assertIn(b'To: "\xe9\xff" <', message.to_bytes())

    def test_error_without_via_has_no_message(self) -> None:
        """Without a Via nobody knows where to answer."""
        self.assertIsNone(
            self.refused(b"BYE sip:a@b SIP/2.0\r\nbad\r\n\r\n", "bad-header-line").message
        )


class BodyTests(RefusalTestCase):
    """Where the body ends (:rfc:`3261#section-18.3`)."""

    def test_leading_line_breaks_are_skipped(self) -> None:
        """Line breaks before the start line are ignored (:rfc:`3261#section-7.5`)."""
        self.assertEqual(parse(b"\r\n\r\n" + INVITE).to_bytes(), INVITE)

    def test_line_breaks_alone_are_no_message(self) -> None:
        """A keep-alive is no message."""
        self.refused(b"\r\n\r\n", "empty-message")
        self.refused(b"", "empty-message")

    def test_what_follows_the_body_is_dropped(self) -> None:
        """A datagram may hold noise after the body."""
        message = parse(INVITE + b"noise")
        self.assertEqual((message.body, message.to_bytes()), (b"v=0\n", INVITE))

    def test_without_length_the_body_is_the_rest(self) -> None:
        """A datagram needs no Content-Length, and gets none while it is untouched."""
        data = swap(b"Content-Length: 4\r\n", b"")
        message = parse(data)
        self.assertEqual(message.body, b"v=0\n")
        self.assertEqual(message.copy().to_bytes(), data)
        message.headers.set("X-New", "1")
        self.assertIn(b"\r\nContent-Length: 4\r\n\r\nv=0\n", message.to_bytes())

    def test_length_with_leading_zeros_is_read(self) -> None:
        """Zeros in front do not matter, not even ten of them."""
        self.assertEqual(parse(swap(b"Length: 4", b"Length: 00000000000004")).body, b"v=0\n")
        self.assertEqual(parse(swap(b"Length: 4", b"Length: 000")).body, b"")

    def test_length_beyond_the_datagram_is_refused(self) -> None:
        """A body that is cut short is answered with 400, however large the number."""
        for length in (b"5", b"99999999999", 400 * b"9"):
            error = self.refused(swap(b"Length: 4", b"Length: " + length), "body-too-short")
            self.assertIsInstance(error.message, Request)

    def test_bad_lengths_are_refused(self) -> None:
        """Content-Length is digits of ASCII and nothing else."""
        for length in (b"", b"-1", b"+4", b"4 4", b"0x4", "٤".encode()):
            self.refused(swap(b"Length: 4", b"Length: " + length), "bad-content-length")

    def test_two_lengths_are_refused_even_when_equal(self) -> None:
        """Two Content-Lengths invite two readings."""
        self.refused(swap(b"Length: 4", b"Length: 4\r\nl: 4"), "duplicate-header")

    def test_missing_empty_line_is_refused(self) -> None:
        """A message whose headers do not end was cut."""
        error = self.refused(INVITE[: INVITE.index(b"\r\n\r\n")], "no-end-of-headers")
        assert isinstance(error.message, Request)
        answer = build_response(error.message, error.status)
        self.assertEqual(answer.call_id, "a84b4c76e66710")


class LimitTests(RefusalTestCase):
    """What a peer may ask this side to hold."""

    def test_large_messages_are_refused_with_513(self) -> None:
        """More than a datagram holds is refused (:rfc:`3261#section-21.5.7`)."""
        self.refused(INVITE + (MAX_MESSAGE + 1 - len(INVITE)) * b"x", "message-too-large", 513)
        parse(INVITE + (MAX_MESSAGE - len(INVITE)) * b"x")

    def test_many_headers_are_refused(self) -> None:
        """The number of header lines is bounded; the first ones go along."""
        spare = MAX_HEADERS - 8
        parse(swap(b"Max-Forwards", spare * b"X: y\r\n" + b"Max-Forwards"))
        error = self.refused(
            swap(b"Max-Forwards", (spare + 1) * b"X: y\r\n" + b"Max-Forwards"), "too-many-headers"
        )
        assert isinstance(error.message, Request)
        self.assertEqual(len(error.message.headers), MAX_HEADERS)

    def test_long_lines_are_refused(self) -> None:
        """The length of one header is bounded, folded or not."""
        self.refused(swap(b"Max-Forwards", b"X: " + MAX_LINE * b"y" + b"\r\nM"), "line-too-long")
        fold = (MAX_LINE // 4) * b"y\r\n "
        self.refused(swap(b"Max-Forwards", b"X: " + fold + b"y\r\nM"), "line-too-long")

    def test_many_values_are_refused(self) -> None:
        """The values that become objects are bounded over all lines."""
        many = b", ".join((MAX_VALUES + 1) * [b"<sip:a@b>"])
        message = parse(swap(b"<sip:alice@pc33.atlanta.example.com>", many))
        error = self.assertRaises(MessageError, lambda: message.contacts)
        self.assertEqual(error.reason_code, "too-many-values")


class ValidateTests(RefusalTestCase):
    """What every message must have (:rfc:`3261#section-8.1.1`)."""

    def test_good_messages_pass(self) -> None:
        """The usual INVITE and its 180 are valid."""
        parse(INVITE).validate()
        parse(RINGING).validate()

    def test_mandatory_headers(self) -> None:
        """Without one of the five nothing works."""
        for line in INVITE.split(b"\r\n")[1:7]:
            if not line.startswith(b"Max-Forwards"):
                self.invalid(swap(line + b"\r\n", b""), "missing-header")

    def test_max_forwards_may_be_missing(self) -> None:
        """An element of RFC 2543 sends none."""
        parse(swap(b"Max-Forwards: 70\r\n", b"")).validate()

    def test_headers_that_stand_twice(self) -> None:
        """Which of two From headers counts? Neither; whatever form they have."""
        for name in (b"f", b"To", b"Call-ID", b"CSeq", b"Max-Forwards"):
            self.invalid(swap(b"Contact:", name + b": x\r\nContact:"), "duplicate-header")

    def test_broken_values(self) -> None:
        """Each mandatory header is read."""
        self.invalid(swap(b"SIP/2.0/UDP pc33", b"SIP/2.0/UDP p/c33"), "bad-via")
        self.invalid(swap(b"To: Bob <sip", b"To: Bob sip"), "bad-address")
        self.invalid(swap(b"From: Alice <sip", b"From: Alice sip"), "bad-address")
        self.invalid(swap(b"a84b4c76e66710", b"a b"), "bad-call-id")
        self.invalid(swap(b"a84b4c76e66710", b""), "bad-call-id")
        self.invalid(swap(b"314159 INVITE", b"x INVITE"), "bad-cseq")
        self.invalid(swap(b"Max-Forwards: 70", b"Max-Forwards: 256"), "bad-max-forwards")

    def test_request_uri_is_read(self) -> None:
        """A Request-URI that is no URI is refused; so is one with headers."""
        self.invalid(swap(b"sip:bob@biloxi.example.com SIP", b"bob SIP"), "bad-request-uri")
        self.invalid(swap(b"com SIP/2.0\r\n", b"com?a=b SIP/2.0\r\n"), "bad-request-uri")
        parse(swap(b"sip:bob@biloxi.example.com SIP", b"urn:service:sos SIP")).validate()

    def test_cseq_method_of_a_response_may_be_any(self) -> None:
        """Only a request's CSeq has a method to agree with (:rfc:`3261#section-8.1.1.5`)."""
        self.invalid(swap(b"314159 INVITE", b"314159 BYE"), "cseq-method-mismatch")
        parse(swap(b"314159 INVITE", b"314159 BYE", RINGING)).validate()

    def test_error_of_a_response_carries_it(self) -> None:
        """The partial message of a broken response is that response."""
        self.invalid(swap(b"314159 INVITE", b"x", RINGING), "bad-cseq")
