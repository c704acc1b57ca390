# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""URIs: parts, wire form, and the comparison of :rfc:`3261#section-19.1.4`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import (
    SIPURI,
    MessageError,
    OtherURI,
    TelURI,
    URIParams,
    escape_user,
    parse_uri,
)


def sip(text: str) -> SIPURI:
    """Parse what is known to be a SIP URI."""
    uri = parse_uri(text)
    assert isinstance(uri, SIPURI)
    return uri


class SIPURITests(SynchronousTestCase):
    """The parts of a SIP URI (:rfc:`3261#section-19.1.1`)."""

    def test_all_parts(self) -> None:
        """Each part is found and kept as written."""
        uri = sip("SIPS:alice:s%20x@Atlanta.com:5061;transport=TCP;lr?Subject=a%20b&X=")
        self.assertEqual((uri.scheme, uri.is_secure), ("sips", True))
        self.assertEqual((uri.user, uri.password), ("alice", "s%20x"))
        self.assertEqual((uri.host, uri.port), ("Atlanta.com", 5061))
        self.assertEqual((uri.params.get("Transport"), uri.params.get("lr")), ("TCP", ""))
        self.assertEqual(uri.headers, (("Subject", "a%20b"), ("X", "")))

    def test_least_parts(self) -> None:
        """A host is enough."""
        uri = sip("sip:atlanta.com")
        self.assertEqual((uri.user, uri.password, uri.port, uri.headers), (None, None, None, ()))
        self.assertEqual((uri.user_text, uri.is_secure, len(uri.params)), (None, False, 0))

    def test_text_is_kept_until_a_part_changes(self) -> None:
        """An untouched URI leaves as it came; a changed one is written anew."""
        text = "SIP:%61lice:pw@[2001:DB8::1]:05060;X=%41;lr?a=b&c=d"
        uri = sip(text)
        self.assertEqual(str(uri), text)
        changed = replace(uri, port=None, params=uri.params.without("x").with_("Y", "a;b"))
        self.assertEqual(str(changed), "sip:%61lice:pw@[2001:DB8::1];lr;Y=a%3Bb?a=b&c=d")
        self.assertEqual(str(SIPURI("sip", None, None, "h", 5060)), "sip:h:5060")

    def test_odd_but_usual_users(self) -> None:
        """Phones send number signs, UTF-8 and brackets in user parts."""
        for user in ("*98#", "björn", "a;b=c", "a/b?c", "+1(555)"):
            self.assertEqual(sip(f"sip:{user}@h").user, user)

    def test_bad_uris(self) -> None:
        """What is no URI is refused."""
        for text in (
            *("", "alice", "sip:", ":a", "1sip:a", "si p:a", "sip:a b", "sip:a\x00", "sip:<a>"),
            *("sip:@h", "sip:a@", "sip:a@b@c", "sip:a:b@c@h", "sip:%4@h"),
            *(
                "sip:a:%zz@h",
                "sip:h;n%6",
                "sip:h;%=1",
                "sip:h:",
                "sip:h:x",
                "sip:h:65536",
                "sip:h:000080",
                "sip:a@h,i",
            ),
            *("sip:[::1", "sip:[::1]5060", "sip:[1.2.3.4]", "sip:[fe80::1%25eth0]", "sip:[]"),
            *("sip:[::1%eth0]", "sip:h;", "sip:h;;lr", "sip:h;=x", "sip:h;x=%4", "sip:h;a@b=c"),
            *("sip:h?", "sip:h?a", "sip:h?=", "sip:h?a=b&", "sip:h?a=%4", "sip:h?%4=a"),
            *("sip:h;lr;LR", "sip:h;l%72;lr", "sip:h;" + ";".join(f"p{n}" for n in range(65))),
            *("tel:", "tel:x", "tel:+", "tel:555;", "tel:---"),
        ):
            self.assertRaises(MessageError, parse_uri, text)

    def test_parts_that_cannot_be_written(self) -> None:
        """A URI that was built of bad parts does not leave."""
        good = SIPURI("sip", "a", "b", "h", 1, headers=(("x", "y"),))
        self.assertEqual(str(good), "sip:a:b@h:1?x=y")
        for bad in (
            replace(good, scheme="http"),
            replace(good, user="a@b"),
            replace(good, user=""),
            replace(good, user="a\r\nX: y"),
            replace(good, password="a@b"),
            replace(good, host="h:1"),
            replace(good, host="h\r\n"),
            replace(good, host=""),
            replace(good, host="::x"),
            replace(good, headers=(("x", "y&z"),)),
            replace(good, headers=(("x<", "y"),)),
            replace(good, headers=(("", "y"),)),
        ):
            self.assertRaises(HeaderValueError, str, bad)

    def test_any_text_can_be_a_user(self) -> None:
        """Escaped text goes through the wire and back."""
        text = 'a@b: "<ö>\r\n%'
        uri = sip(str(SIPURI("sip", escape_user(text), None, "h")))
        self.assertEqual(uri.user_text, text)


class ComparisonTests(SynchronousTestCase):
    """Every example of :rfc:`3261#section-19.1.4`, and the rules behind them."""

    def assert_equal(self, one: str, other: str) -> None:
        """Expect equality both ways, and equal hashes."""
        self.assertEqual(parse_uri(one), parse_uri(other))
        self.assertEqual(parse_uri(other), parse_uri(one))
        self.assertEqual(hash(parse_uri(one)), hash(parse_uri(other)))

    def assert_different(self, one: str, other: str) -> None:
        """Expect difference both ways."""
        self.assertNotEqual(parse_uri(one), parse_uri(other))
        self.assertNotEqual(parse_uri(other), parse_uri(one))

    def test_equal_escapes_and_case(self) -> None:
        """Escapes of unreserved characters and the case of host and parameters do not matter."""
        self.assert_equal(
            "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"
        )

    def test_equal_without_unknown_parameters(self) -> None:
        """Parameters that only one has are ignored; so equality is not transitive."""
        uris = (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com;newparam=5",
            "sip:carol@chicago.com;security=on",
        )
        for one in uris:
            for other in uris:
                self.assert_equal(one, other)
        self.assert_equal("sip:carol@chicago.com", "sip:carol@chicago.com;security=off")
        self.assert_different(
            "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"
        )

    def test_equal_in_any_order_of_parameters(self) -> None:
        """The order of parameters does not matter."""
        self.assert_equal(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        )

    def test_equal_in_any_order_of_headers(self) -> None:
        """The order of headers does not matter."""
        self.assert_equal(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        )

    def test_different_users(self) -> None:
        """The case of the user part matters."""
        self.assert_different(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"
        )

    def test_different_ports(self) -> None:
        """No port is not the default port."""
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060")

    def test_different_transports(self) -> None:
        """No transport is not the default transport."""
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp")

    def test_different_ports_and_transports(self) -> None:
        """Both together differ as well."""
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp")

    def test_different_headers(self) -> None:
        """Headers are never ignored."""
        self.assert_different(
            "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"
        )

    def test_different_hosts_even_if_they_resolve_to_the_same(self) -> None:
        """Names are not looked up."""
        self.assert_different("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4")

    def test_decisive_parameters(self) -> None:
        """user, ttl, method and maddr in only one URI make a difference, even by default value."""
        for param in ("user=ip", "ttl=1", "method=INVITE", "maddr=h", "transport=udp"):
            self.assert_different("sip:a@h", f"sip:a@h;{param}")

    def test_schemes_and_passwords(self) -> None:
        """sip is not sips, and a password counts, with its case."""
        self.assert_different("sip:a@h", "sips:a@h")
        self.assert_different("sip:a@h", "sip:a:p@h")
        self.assert_different("sip:a:P@h", "sip:a:p@h")
        self.assert_equal("sip:a:%70@h", "sip:a:p@h")

    def test_reserved_characters(self) -> None:
        """The escape of a reserved character is not that character."""
        self.assert_different("sip:a%3bb@h", "sip:a;b@h")
        self.assert_equal("sip:a%3bb@h", "sip:a%3Bb@h")

    def test_ipv6(self) -> None:
        """IPv6 addresses compare by value (:rfc:`5954#section-4.2`)."""
        self.assert_equal("sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]")
        self.assert_different("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]")

    def test_other_types(self) -> None:
        """A URI is never equal to another kind of thing."""
        self.assertNotEqual(sip("sip:a@h"), "sip:a@h")
        self.assertNotEqual(parse_uri("tel:+1"), "tel:+1")
        self.assertNotEqual(parse_uri("tel:+1"), sip("sip:+1@h"))


class TelURITests(SynchronousTestCase):
    """Telephone numbers (:rfc:`3966`)."""

    def test_parts(self) -> None:
        """Number and parameters are found."""
        uri = parse_uri("TEL:+1-201-555-0123;phone-context=example.com")
        assert isinstance(uri, TelURI)
        self.assertEqual((uri.scheme, uri.number), ("tel", "+1-201-555-0123"))
        self.assertEqual(uri.digits, "+12015550123")
        self.assertEqual(uri.params.get("phone-context"), "example.com")
        self.assertEqual(str(uri), "TEL:+1-201-555-0123;phone-context=example.com")

    def test_built(self) -> None:
        """A number that is none is not written."""
        params = URIParams().with_("ext", "12")
        self.assertEqual(str(TelURI("555", params)), "tel:555;ext=12")
        self.assertRaises(HeaderValueError, str, TelURI("5 5\r\n"))

    def test_comparison(self) -> None:
        """Visual separators do not matter, parameters do (:rfc:`3966#section-5.1.1`)."""
        one, other = parse_uri("tel:+1-(201).5"), parse_uri("tel:+12015")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(parse_uri("tel:5;ext=1"), parse_uri("tel:5"))
        self.assertEqual(parse_uri("tel:5;ext=a;lr"), parse_uri("tel:5;LR;ext=A"))


class OtherURITests(SynchronousTestCase):
    """Schemes that SIP says nothing about."""

    def test_kept_opaque(self) -> None:
        """Scheme and rest, nothing more."""
        uri = parse_uri("URN:service:sos")
        self.assertEqual(uri, OtherURI("urn", "service:sos"))
        self.assertEqual(str(uri), "urn:service:sos")

    def test_bad_ones_are_not_written(self) -> None:
        """No line break leaves."""
        for bad in (OtherURI("urn", "a\r\nX: y"), OtherURI("u:", "x"), OtherURI("", "x")):
            self.assertRaises(HeaderValueError, str, bad)
