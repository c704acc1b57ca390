# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Typed views, changes, freezing and copies of messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import FrozenMessageError, HeaderValueError
from sipsess.message import (
    SIPURI,
    Headers,
    Message,
    MessageError,
    NameAddr,
    Request,
    Response,
    Via,
    parse,
)
from tests.pure.test_message_parser import INVITE, RINGING, parse_request, swap


class ViewTests(SynchronousTestCase):
    """Typed views of the headers."""

    def test_views_are_read_once(self) -> None:
        """The same object comes back until a header changes."""
        message = parse_request(INVITE)
        for name in ("via", "from_", "to", "cseq", "contact", "request_uri", "call_id"):
            self.assertIs(getattr(message, name), getattr(message, name), name)
        via = message.via
        message.headers.set("X-New", "1")
        self.assertIsNot(message.via, via)
        self.assertEqual(message.via, via)

    def test_stamping_the_via_leaves_the_other_views(self) -> None:
        """A new top Via is seen at once, and nothing else is read again."""
        message = parse_request(INVITE)
        others = [(name, getattr(message, name)) for name in ("from_", "to", "cseq", "contact")]
        self.assertEqual((len(message.vias), message.to_tag), (1, None))
        stamped = message.via.with_param("received", "192.0.2.1")
        message.set_top_via(stamped)
        self.assertEqual((message.via, message.vias), (stamped, [stamped]))
        for name, view in others:
            self.assertIs(getattr(message, name), view, name)

    def test_lists_belong_to_the_caller(self) -> None:
        """Changing a list that was handed out changes no message."""
        message = parse(swap(b"Contact:", b"Route: <sip:r>\r\nRecord-Route: <sip:q>\r\nContact:"))
        for name in ("vias", "contacts", "routes", "record_routes"):
            getattr(message, name).clear()
            self.assertEqual(len(getattr(message, name)), 1, name)

    def test_several_values_on_lines_and_in_lines(self) -> None:
        """Values are split at commas and joined over the lines (:rfc:`3261#section-7.3.1`)."""
        message = parse(
            swap(
                b"Contact: ",
                b'm: "A, x" <sip:a@h,i>,\r\n <sip:b@h>\r\nv: SIP/2.0/TCP h2\r\nContact: ',
            )
        )
        self.assertEqual(
            [contact.uri for contact in message.contacts],
            ["sip:a@h,i", "sip:b@h", "sip:alice@pc33.atlanta.example.com"],
        )
        self.assertEqual([via.transport for via in message.vias], ["UDP", "TCP"])

    def test_empty_value_in_a_list_is_refused(self) -> None:
        """Two commas in a row are a mistake of the peer."""
        message = parse(swap(b"Contact: ", b"Contact: , "))
        self.assertRaises(MessageError, lambda: message.contact)

    def test_absent_headers(self) -> None:
        """What may be absent is None or empty."""
        message = parse(swap(b"Contact: <sip:alice@pc33.atlanta.example.com>\r\n", b""))
        for name in ("contact", "content_type", "retry_after", "date", "to_tag"):
            self.assertIsNone(getattr(message, name), name)
        self.assertEqual((message.contacts, message.routes), ([], []))
        self.assertEqual(message.require, frozenset())

    def test_missing_mandatory_headers_raise(self) -> None:
        """What must be there raises when it is not."""
        message = Request("BYE", "sip:a@b")
        for name in ("via", "from_", "to", "from_tag", "to_tag", "call_id", "cseq"):
            error = self.assertRaises(MessageError, lambda name=name: getattr(message, name))
            self.assertEqual(error.reason_code, "missing-header")

    def test_tokens(self) -> None:
        """Option tags are lower-cased, methods are kept, empty elements do not matter."""
        lines = b"k: Replaces,, 100REL\r\nSupported: timer\r\nRequire: X\r\nAllow: INVITE, Ack\r\n"
        message = parse(swap(b"Contact:", lines + b"Contact:"))
        self.assertEqual(message.supported, {"replaces", "100rel", "timer"})
        self.assertIs(message.supported, message.supported)
        self.assertEqual(message.require, {"x"})
        self.assertEqual(message.allow, {"INVITE", "Ack"})

    def test_content_type_without_parameters(self) -> None:
        """Type and subtype are lower-cased; parameters and white space are left out."""
        message = parse(swap(b"Contact:", b"c: Multipart / Mixed ;boundary=X\r\nContact:"))
        self.assertEqual(message.content_type, "multipart/mixed")

    def test_retry_after(self) -> None:
        """The seconds are read with or without comment and parameters."""
        for value, seconds in ((b"18", 18), (b"120 (I'm in a meeting)", 120), (b"5;duration=3", 5)):
            message = parse(swap(b"Contact:", b"Retry-After: " + value + b"\r\nContact:", RINGING))
            self.assertEqual(message.retry_after, seconds)
        for bad in (b"", b"x", b"-1", b"4294967296"):
            message = parse(swap(b"Contact:", b"Retry-After: " + bad + b"\r\nContact:", RINGING))
            error = self.assertRaises(MessageError, lambda message=message: message.retry_after)
            self.assertEqual(error.reason_code, "bad-retry-after")

    def test_top_via_can_be_stamped(self) -> None:
        """The top Via is replaced, others on its line stay (:rfc:`3581#section-4`)."""
        more = b"asdhds;rport ,\r\n SIP/2.0/TCP h2\r\nVia: SIP/2.0/TLS h3\r\n"
        message = parse(swap(b"asdhds\r\n", more))
        self.assertIsNone(message.via.rport)
        stamped = message.via.with_param("received", "192.0.2.1").with_param("rport", "5062")
        message.set_top_via(stamped)
        self.assertIs(message.via, stamped)
        wire = message.to_bytes()
        self.assertIn(
            b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds;rport=5062"
            b";received=192.0.2.1, SIP/2.0/TCP h2\r\nVia: SIP/2.0/TLS h3\r\n",
            wire,
        )
        self.assertEqual([via.transport for via in parse(wire).vias], ["UDP", "TCP", "TLS"])

    def test_base_class_has_no_wire_form(self) -> None:
        """A Message is a Request or a Response."""
        self.assertRaises(NotImplementedError, Message().to_bytes)
        self.assertRaises(NotImplementedError, Message().validate)


class ChangeTests(SynchronousTestCase):
    """Changing and serialising."""

    def test_untouched_message_leaves_as_it_came(self) -> None:
        """Not a byte changes, odd white space and names included."""
        data = swap(b"To: Bob", b"tO  :\r\n\t Bob")
        self.assertEqual(parse(data).to_bytes(), data)
        self.assertEqual(parse(data).copy().to_bytes(), data)

    def test_changed_message_keeps_the_other_headers(self) -> None:
        """Only what was changed is written anew."""
        data = swap(b"To: Bob", b"tO  :\r\n\t Bob")
        message = parse(data)
        message.headers.set("max-forwards", "69")
        self.assertEqual(message.to_bytes(), data.replace(b"Max-Forwards: 70", b"max-forwards: 69"))

    def test_request_uri_can_be_replaced(self) -> None:
        """The Request-URI changes with its parts, and a broken one is refused."""
        request = parse_request(INVITE)
        self.assertIsInstance(request.request_uri, SIPURI)
        request.uri = "sip:carol@chicago.example.com"
        uri = request.request_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual(uri.user, "carol")
        start = b"INVITE sip:carol@chicago.example.com SIP/2.0\r\n"
        self.assertTrue(request.to_bytes().startswith(start))

    def test_body_can_be_replaced(self) -> None:
        """The length follows the body, in the place where it stood."""
        message = parse(INVITE)
        message.set_body("text/plain", b"hello")
        self.assertEqual(message.body, b"hello")
        wire = message.to_bytes()
        self.assertIn(b"\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello", wire)

    def test_body_can_be_removed(self) -> None:
        """Without a type there is no body."""
        message = parse(swap(b"Contact:", b"c: text/plain\r\nContact:"))
        message.set_body("", b"ignored")
        self.assertEqual((message.body, message.content_type), (b"", None))
        self.assertTrue(message.to_bytes().endswith(b"\r\nContent-Length: 0\r\n\r\n"))

    def test_wrong_and_double_lengths_are_corrected(self) -> None:
        """What leaves has one Content-Length, the right one."""
        headers = Headers([("Content-Length", "99"), ("l", "0"), ("X", "y")])
        request = Request("INFO", "sip:a@b", headers)
        self.assertEqual(
            request.to_bytes(), b"INFO sip:a@b SIP/2.0\r\nContent-Length: 0\r\nX: y\r\n\r\n"
        )
        twice = Request("INFO", "sip:a@b", Headers([("Content-Length", "0"), ("l", "0")]))
        self.assertEqual(twice.to_bytes(), b"INFO sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n")

    def test_serialised_message_is_frozen(self) -> None:
        """What was sent cannot change; its wire form is kept."""
        request = parse_request(INVITE)
        self.assertFalse(request.is_frozen)
        wire = request.to_bytes()
        self.assertTrue(request.is_frozen)
        self.assertTrue(request.headers.is_frozen)
        self.assertIs(request.to_bytes(), wire)
        headers = request.headers
        changes = [
            lambda: headers.set("X", "y"),
            lambda: headers.add("X", "y"),
            lambda: headers.prepend("X", "y"),
            lambda: headers.remove("X"),
            lambda: headers.replace_first("X", "y"),
            lambda: headers.extend_first("To", "y"),
            lambda: headers.copy_from(headers, "To"),
            lambda: request.set_body("text/plain", b""),
            lambda: request.set_top_via(Via("UDP", "h")),
            lambda: setattr(request, "uri", "sip:x"),
        ]
        for change in changes:
            self.assertRaises(FrozenMessageError, change)
        self.assertEqual(request.uri, "sip:bob@biloxi.example.com")

    def test_copy_is_thawed_and_independent(self) -> None:
        """A Retry changes a copy; the attempt goes along, the original stays."""
        request = parse_request(INVITE)
        request.attempt = 2
        request.to_bytes()
        twin = request.copy()
        self.assertEqual((twin.attempt, twin.body, twin.is_frozen), (2, b"v=0\n", False))
        twin.headers.set("CSeq", "314160 INVITE")
        self.assertEqual((request.cseq.number, twin.cseq.number), (314159, 314160))
        self.assertIn(b"CSeq: 314160 INVITE", twin.to_bytes())

    def test_copy_of_a_changed_message_has_the_changes(self) -> None:
        """A copy is of what the message is now, not of what it was."""
        response = parse(RINGING)
        response.headers.set("X-New", "1")
        twin = response.copy()
        self.assertEqual(twin.to_bytes(), response.to_bytes())
        self.assertEqual(twin.body, b"v=0\n")
        request = parse_request(INVITE)
        request.uri = "sip:new"
        self.assertTrue(request.copy().to_bytes().startswith(b"INVITE sip:new SIP"))


class InjectionTests(SynchronousTestCase):
    """No value can end its line."""

    def test_request_line(self) -> None:
        """Method and URI hold no separator."""
        for uri in (
            "",
            "sip:a b",
            "sip:a\r\nX: y",
            "sip:a\0",
            "<sip:a>",
            "sip:a\x7f",
            "sip:\ud800",
        ):
            self.assertRaises(HeaderValueError, Request, "INVITE", uri)
            request = parse_request(INVITE)
            self.assertRaises(HeaderValueError, setattr, request, "uri", uri)
        for method in ("", "INVITE sip:b", "INV\r\n"):
            self.assertRaises(HeaderValueError, Request, method, "sip:a@b")

    def test_status_line(self) -> None:
        """A reason phrase holds no line break, and a status is one."""
        for reason in ("OK\r\nX: y", "OK\n", "OK\r", "OK\0", "OK\ud800"):
            self.assertRaises(HeaderValueError, Response, 200, reason)
        for status in (99, 700):
            self.assertRaises(HeaderValueError, Response, status)

    def test_reason_has_a_default(self) -> None:
        """The usual phrase is taken; an empty one is kept."""
        self.assertEqual(Response(486).reason, "Busy Here")
        self.assertEqual(Response(486, "").to_bytes(), b"SIP/2.0 486 \r\nContent-Length: 0\r\n\r\n")

    def test_top_via(self) -> None:
        """A Via that cannot be written is refused."""
        message = parse(INVITE)
        self.assertRaises(HeaderValueError, message.set_top_via, Via("UDP", "h\r\nX: y"))
        self.assertRaises(HeaderValueError, message.set_top_via, Via("U DP", "h"))

    def test_addresses(self) -> None:
        """An address that cannot be written is refused."""
        for uri in ("", "sip:a\r\n", "sip:a>;tag=x", "sip:\ud800"):
            self.assertRaises(HeaderValueError, str, NameAddr(None, uri))
        self.assertRaises(HeaderValueError, str, NameAddr("A\r\nX: y", "sip:a"))
