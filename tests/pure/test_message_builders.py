# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Requests, responses, ACK and CANCEL that follow from others."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import (
    NameAddr,
    Request,
    Via,
    build_ack,
    build_cancel,
    build_request,
    build_response,
    parse,
    parse_uri,
)
from tests.pure.test_message_parser import INVITE, parse_request, swap

ROUTED = swap(
    b"Max-Forwards",
    b"Via: SIP/2.0/TCP h2;branch=z9hG4bKother\r\nRoute: <sip:p1;lr>,\r\n <sip:p2;lr>\r\n"
    b"Record-Route: <sip:p3;lr>\r\nTimestamp: 54\r\nMax-Forwards",
)


class RequestTests(SynchronousTestCase):
    """New requests (:rfc:`3261#section-8.1.1`)."""

    def build(self, **changes: object) -> Request:
        """Build a BYE with some arguments changed."""
        arguments: dict[str, object] = {
            "from_": NameAddr("A", "sip:a@h").with_param("tag", "1"),
            "to": "<sip:b@h>;tag=2",
            "call_id": "c",
            "cseq": 7,
        }
        return build_request("BYE", "sip:b@h", **(arguments | changes))  # type: ignore[arg-type]

    def test_mandatory_headers(self) -> None:
        """What is demanded is there; the result is valid once it has a Via."""
        request = self.build(via=Via("UDP", "h").with_param("branch", "z9hG4bK1"))
        self.assertEqual(
            request.to_bytes(),
            b"BYE sip:b@h SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
            b"Max-Forwards: 70\r\n"
            b'From: "A" <sip:a@h>;tag=1\r\n'
            b"To: <sip:b@h>;tag=2\r\n"
            b"Call-ID: c\r\n"
            b"CSeq: 7 BYE\r\n"
            b"Content-Length: 0\r\n\r\n",
        )
        parse(request.to_bytes()).validate()

    def test_route_set_and_uri_object(self) -> None:
        """Routes are written in order; the Request-URI may be an object."""
        arguments = {"from_": "<sip:a@h>;tag=1", "to": "<sip:b@h>", "call_id": "c"}
        routes: list[NameAddr | str] = [NameAddr(None, "sip:p1;lr"), "<sip:p2;lr>"]
        request = build_request(
            "INVITE", parse_uri("SIP:b@h"), cseq=1, max_forwards=3, route_set=routes, **arguments
        )
        self.assertEqual(request.uri, "SIP:b@h")
        self.assertEqual([route.uri for route in request.routes], ["sip:p1;lr", "sip:p2;lr"])
        self.assertEqual(request.max_forwards, 3)
        self.assertNotIn("Via", request.headers)

    def test_bad_parts_are_refused(self) -> None:
        """Numbers out of range and texts that break their line are mistakes of this side."""
        for changes in (
            {"cseq": -1},
            {"cseq": 2**31},
            {"max_forwards": 256},
            {"max_forwards": -1},
            {"call_id": ""},
            {"call_id": "a b"},
            {"to": "<sip:b>\r\nX: y"},
        ):
            self.assertRaises(HeaderValueError, self.build, **changes)


class ResponseTests(SynchronousTestCase):
    """Responses (:rfc:`3261#section-8.2.6`)."""

    def test_headers_are_copied(self) -> None:
        """Via, From, To, Call-ID and CSeq come along raw; To gets its tag."""
        response = build_response(parse_request(ROUTED), 486, to_tag="x")
        self.assertEqual(
            response.to_bytes(),
            b"SIP/2.0 486 Busy Here\r\n"
            b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds\r\n"
            b"Via: SIP/2.0/TCP h2;branch=z9hG4bKother\r\n"
            b"From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
            b"To: Bob <sip:bob@biloxi.example.com>;tag=x\r\n"
            b"Call-ID: a84b4c76e66710\r\n"
            b"CSeq: 314159 INVITE\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_record_route_from_101_to_299(self) -> None:
        """Responses that make a dialog copy Record-Route (:rfc:`3261#section-12.1.1`)."""
        request = parse_request(ROUTED)
        for status, is_there in ((100, False), (101, True), (180, True), (299, True), (300, False)):
            response = build_response(request, status)
            self.assertEqual("Record-Route" in response.headers, is_there)

    def test_timestamp_in_100_only(self) -> None:
        """A 100 copies Timestamp (:rfc:`3261#section-8.2.6.1`)."""
        request = parse_request(ROUTED)
        self.assertEqual(build_response(request, 100).headers.get("Timestamp"), "54")
        self.assertNotIn("Timestamp", build_response(request, 180).headers)

    def test_tag_is_added_only_when_there_is_none(self) -> None:
        """Within a dialog To has its tag (:rfc:`3261#section-8.2.6.2`)."""
        request = parse_request(swap(b"<sip:bob@biloxi.example.com>", b"<sip:bob@b>;tag=old"))
        self.assertEqual(build_response(request, 200, to_tag="new").to_tag, "old")

    def test_tag_behind_an_address_without_brackets(self) -> None:
        """The tag is a parameter of the header in both forms."""
        request = parse_request(swap(b"Bob <sip:bob@biloxi.example.com>", b"sip:bob@b \r\n "))
        self.assertEqual(build_response(request, 200, "Fine", to_tag="n").to_tag, "n")

    def test_tag_behind_an_empty_continuation_line(self) -> None:
        """The tag does not begin a line of its own."""
        request = parse_request(swap(b"To: Bob <sip:bob@biloxi.example.com>", b"To: sip:b\r\n "))
        response = parse(build_response(request, 200, to_tag="n").to_bytes())
        self.assertEqual(response.headers.get("To"), "sip:b;tag=n")

    def test_broken_requests_are_answered(self) -> None:
        """A To that cannot be read is copied as it is; what is missing is left out."""
        request = parse_request(swap(b"To: Bob <sip", b"To: Bob sip"))
        response = build_response(request, 400, to_tag="n")
        self.assertEqual(response.headers.get("To"), "Bob sip:bob@biloxi.example.com>")
        bare = parse_request(b"BYE sip:a@b SIP/2.0\r\n\r\n")
        self.assertEqual(len(build_response(bare, 400, to_tag="n").headers), 0)

    def test_bad_tag_is_refused(self) -> None:
        """A tag is a token."""
        self.assertRaises(
            HeaderValueError, build_response, parse_request(INVITE), 200, to_tag="a\r\nX: y"
        )


class AckAndCancelTests(SynchronousTestCase):
    """ACK of a failure and CANCEL."""

    def test_ack(self) -> None:
        """The ACK of a non-2xx has To of the response, all else of the INVITE (17.1.1.3)."""
        invite = parse_request(ROUTED)
        invite.to_bytes()
        ack = build_ack(invite, build_response(invite, 486, to_tag="x"))
        self.assertEqual(
            ack.to_bytes(),
            b"ACK sip:bob@biloxi.example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds\r\n"
            b"Max-Forwards: 70\r\n"
            b"Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\n"
            b"From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
            b"Call-ID: a84b4c76e66710\r\n"
            b"CSeq: 314159 ACK\r\n"
            b"To: Bob <sip:bob@biloxi.example.com>;tag=x\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_cancel(self) -> None:
        """A CANCEL has one Via and the INVITE's To, without a body (:rfc:`3261#section-9.1`)."""
        cancel = build_cancel(parse_request(ROUTED))
        self.assertEqual((cancel.method, cancel.uri), ("CANCEL", "sip:bob@biloxi.example.com"))
        self.assertEqual(len(cancel.vias), 1)
        self.assertIsNone(cancel.to_tag)
        self.assertEqual(str(cancel.cseq), "314159 CANCEL")
        self.assertEqual(len(cancel.routes), 2)
        parse(cancel.to_bytes()).validate()
