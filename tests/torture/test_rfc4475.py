# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Every message of :rfc:`4475` under its name, with the RFC's verdict.

Three verdicts: valid messages parse, validate and hold the values that the RFC names; invalid ones
are refused with a reason code, by ``parse()``, ``validate()`` or the accessor of the header that is
broken; the messages of sections 3.2 to 3.4 that only the application can refuse (416, 420, 415...)
parse, and hold what the application needs to do so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import (
    SIPURI,
    MessageError,
    OtherURI,
    Request,
    Response,
    build_response,
    parse,
)

_HERE = Path(__file__).parent


def load(name: str) -> bytes:
    """Return the bytes of one message."""
    return (_HERE / "rfc4475" / f"{name}.dat").read_bytes()


class TortureTestCase(SynchronousTestCase):
    """Helpers for the verdicts."""

    def request(self, name: str) -> Request:
        """Parse and validate a request; untouched, it leaves as it came."""
        data = load(name)
        message = parse(data)
        assert isinstance(message, Request)
        message.validate()
        self.assertTrue(data.startswith(message.copy().to_bytes()))
        return message

    def response(self, name: str) -> Response:
        """Parse and validate a response; untouched, it leaves as it came."""
        data = load(name)
        message = parse(data)
        assert isinstance(message, Response)
        message.validate()
        self.assertEqual(message.copy().to_bytes(), data)
        return message

    def refused(self, name: str, reason_code: str, status: int = 400) -> MessageError:
        """Expect ``parse()`` to refuse, with enough of the message to answer it."""
        error: MessageError = self.assertRaises(MessageError, parse, load(name))
        self.assertEqual((error.reason_code, error.status), (reason_code, status))
        return error

    def invalid(self, name: str, reason_code: str) -> MessageError:
        """Expect ``parse()`` to accept, and ``validate()`` to refuse."""
        error: MessageError = self.assertRaises(MessageError, parse(load(name)).validate)
        self.assertEqual((error.reason_code, error.status), (reason_code, 400))
        return error

    def answer(self, error: MessageError) -> Response:
        """Build the answer that the error asks for, from what could be read."""
        assert isinstance(error.message, Request)
        answer = parse(build_response(error.message, error.status, to_tag="t").to_bytes())
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, error.status)
        return answer


class ValidTests(TortureTestCase):
    """Section 3.1.1: valid messages."""

    def test_wsinv(self) -> None:
        """3.1.1.1: folding, odd white space, compact forms and unknown headers are all legal."""
        invite = self.request("wsinv")
        self.assertEqual(invite.uri, "sip:vivekg@chair-dnrc.example.com;unknownparam")
        self.assertEqual(invite.to_tag, "1918181833n")
        self.assertEqual(invite.to.uri, "sip:vivekg@chair-dnrc.example.com")
        self.assertEqual(invite.from_.display_name, 'J Rosenberg \\"')
        self.assertEqual(invite.from_tag, "98asjd8")
        self.assertEqual(invite.max_forwards, 68)
        self.assertEqual((invite.cseq.number, invite.cseq.method), (9, "INVITE"))
        vias = [(via.transport, via.host, via.branch) for via in invite.vias]
        self.assertEqual(
            vias,
            [
                ("UDP", "192.0.2.2", "390skdjuw"),
                ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
                ("UDP", "192.168.255.111", "z9hG4bK30239"),
            ],
        )
        self.assertEqual(invite.headers.get("Subject"), "")
        folded = invite.headers.get("NewFangledHeader")
        self.assertEqual(folded, "newfangled value continued newfangled value")
        self.assertEqual(invite.headers.get("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
        route = invite.routes[0].parsed_uri
        assert isinstance(route, SIPURI)
        self.assertIn("lr", route.params)
        self.assertEqual(route.params.get("unknownwith"), "value")
        contact = invite.contact
        assert contact is not None
        self.assertEqual(contact.display_name, 'Quoted string ""')
        self.assertEqual(contact.params.get("newparam"), "newvalue")
        self.assertEqual(contact.params.get("secondparam"), "")
        self.assertEqual(contact.params.get("q"), "0.33")
        self.assertEqual(len(invite.body), 150)

    def test_intmeth(self) -> None:
        """3.1.1.2: methods, tags, names and URIs of the strangest legal characters."""
        message = self.request("intmeth")
        self.assertEqual(message.method, "!interesting-Method0123456789_*+`.%indeed'~")
        uri = message.request_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual(uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
        self.assertEqual(uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        self.assertEqual(message.via.branch, "z9hG4bK-.!%66*_+`'~")
        self.assertEqual(message.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f")
        self.assertEqual(message.from_.display_name, "token1~` token2'+_ token3*%!.-")
        self.assertEqual(message.from_.params.get("fromParam''~+*_!.-%"), "работающий")
        self.assertEqual(message.from_tag, "_token~1'+`*%!-.")
        self.assertEqual(message.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        self.assertEqual(message.max_forwards, 255)
        self.assertEqual(message.headers.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電")

    def test_intmeth_can_be_answered(self) -> None:
        """3.1.1.2: the 501 copies the escaped NUL of To, and adds a tag."""
        answer = parse(build_response(self.request("intmeth"), 501, to_tag="t").to_bytes())
        self.assertEqual(answer.to_tag, "t")
        self.assertEqual(answer.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f")

    def test_esc01(self) -> None:
        """3.1.1.3: escapes are resolved once in user parts and parameters."""
        invite = self.request("esc01")
        uri, to, from_ = invite.request_uri, invite.to.parsed_uri, invite.from_.parsed_uri
        assert isinstance(uri, SIPURI) and isinstance(to, SIPURI) and isinstance(from_, SIPURI)
        self.assertEqual(uri.user_text, "sips:user@example.com")
        self.assertEqual((to.user_text, from_.user_text), ("user", "I have spaces"))
        assert invite.contact is not None
        contact = invite.contact.parsed_uri
        assert isinstance(contact, SIPURI)
        self.assertEqual(contact.user_text, "caller")
        self.assertIn("lr", contact.params)
        self.assertEqual(contact.params.get("name"), "value%41")

    def test_escnull(self) -> None:
        """3.1.1.4: escaped NULs do not end a user part; the two Contacts differ."""
        register = self.request("escnull")
        to = register.to.parsed_uri
        assert isinstance(to, SIPURI)
        self.assertEqual(to.user_text, "null-\0-null")
        first, second = (contact.parsed_uri for contact in register.contacts)
        self.assertNotEqual(first, second)

    def test_esc02(self) -> None:
        """3.1.1.5: a percent sign in a method or a header name is no escape."""
        message = self.request("esc02")
        self.assertEqual(message.method, "RE%47IST%45R")
        self.assertEqual(message.to.display_name, "%Z%45")
        uris = [contact.uri for contact in message.contacts]
        self.assertEqual(uris, ["sip:alias1@host1.example.com", "sip:alias3@host3.example.com"])
        self.assertEqual(message.via.branch, "z9hG4bK209%fzsnel234")

    def test_lwsdisp(self) -> None:
        """3.1.1.6: no white space is needed between a display name and its bracket."""
        self.assertEqual(self.request("lwsdisp").from_.display_name, "caller")

    def test_longreq(self) -> None:
        """3.1.1.7: long values are kept whole, and 34 Vias in all spellings are found."""
        invite = self.request("longreq")
        self.assertEqual(
            [via.host for via in invite.vias],
            [f"sip{number}.example.com" for number in range(33, 0, -1)] + ["host.example.com"],
        )
        self.assertEqual(invite.vias[-1].branch, "very" + 50 * "long" + "branchvalue")
        self.assertEqual(invite.from_tag, "12" + 50 * "982" + "424")
        self.assertEqual(invite.call_id, "longreq.one" + 20 * "really" + "longcallid")

    def test_dblreq(self) -> None:
        """3.1.1.8: what follows the body in a datagram is noise."""
        register = self.request("dblreq")
        self.assertEqual((register.method, register.body), ("REGISTER", b""))
        self.assertNotIn(b"INVITE", register.to_bytes())

    def test_semiuri(self) -> None:
        """3.1.1.9: a semicolon before the @ is of the user part."""
        uri = self.request("semiuri").request_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual(uri.user_text, "user;par=u@example.net")
        self.assertEqual(len(uri.params), 0)
        self.assertEqual(len(self.request("semiuri").headers.values("Accept")), 6)

    def test_transports(self) -> None:
        """3.1.1.10: transports may have any name."""
        transports = [via.transport for via in self.request("transports").vias]
        self.assertEqual(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"])

    def test_mpart01(self) -> None:
        """3.1.1.11: a body may be binary, with NULs in it."""
        message = self.request("mpart01")
        self.assertEqual(len(message.body), 553)
        self.assertIn(b"\0", message.body)
        self.assertTrue(message.body.endswith(b"--7a9cbec02ceef655--\r\n"))
        self.assertEqual(message.content_type, "multipart/mixed")
        self.assertEqual(message.date, datetime(2005, 10, 15, 4, 44, 56, tzinfo=UTC))
        self.assertIn("rport", message.via.params)
        self.assertIsNone(message.via.rport)

    def test_unreason(self) -> None:
        """3.1.1.12: a reason phrase may be any text."""
        response = self.response("unreason")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.reason, "= 2**3 * 5**2 но сто девяносто девять - простое")

    def test_noreason(self) -> None:
        """3.1.1.13: a reason phrase may be empty."""
        response = self.response("noreason")
        self.assertEqual((response.status, response.reason), (100, ""))


class InvalidTests(TortureTestCase):
    """Section 3.1.2: invalid messages."""

    def test_badinv01(self) -> None:
        """3.1.2.1: separators without anything between them are refused."""
        self.answer(self.invalid("badinv01", "bad-parameter"))
        invite = parse(load("badinv01"))
        self.assertRaises(MessageError, lambda: invite.contact)

    def test_clerr(self) -> None:
        """3.1.2.2: a Content-Length larger than the datagram is answered with 400."""
        answer = self.answer(self.refused("clerr", "body-too-short"))
        self.assertEqual(answer.call_id, "clerr.0ha0isndaksdjweiafasdk3")

    def test_ncl(self) -> None:
        """3.1.2.3: a negative Content-Length is answered with 400, and so is one in letters."""
        self.answer(self.refused("ncl", "bad-content-length"))
        data = load("ncl").replace(b"-999", b"five")
        self.assertRaises(MessageError, parse, data)

    def test_scalar02(self) -> None:
        """3.1.2.4: a CSeq beyond 2**31 is answered with 400; Max-Forwards is refused as well."""
        self.answer(self.invalid("scalar02", "bad-cseq"))
        register = parse(load("scalar02"))
        self.assertRaises(MessageError, lambda: register.max_forwards)

    def test_scalarlg(self) -> None:
        """3.1.2.5: a response with such a CSeq is dropped; Retry-After is refused as well."""
        self.invalid("scalarlg", "bad-cseq")
        response = parse(load("scalarlg"))
        self.assertRaises(MessageError, lambda: response.retry_after)

    def test_quotbal(self) -> None:
        """3.1.2.6: a quoted string without an end is answered with 400."""
        self.answer(self.invalid("quotbal", "bad-address"))

    def test_ltgtruri(self) -> None:
        """3.1.2.7: a Request-URI in angle brackets is answered with 400."""
        self.answer(self.invalid("ltgtruri", "bad-request-uri"))

    def test_lwsruri(self) -> None:
        """3.1.2.8: white space in the Request-URI is answered with 400."""
        self.answer(self.refused("lwsruri", "bad-start-line"))

    def test_lwsstart(self) -> None:
        """3.1.2.9: several spaces in the request line are answered with 400."""
        self.answer(self.refused("lwsstart", "bad-start-line"))

    def test_trws(self) -> None:
        """3.1.2.10: spaces after the version are answered with 400."""
        self.answer(self.refused("trws", "bad-start-line"))

    def test_escruri(self) -> None:
        """3.1.2.11: headers in the Request-URI are answered with 400."""
        self.answer(self.invalid("escruri", "bad-request-uri"))

    def test_baddate(self) -> None:
        """3.1.2.12: a Date in another zone is refused only when someone asks for it."""
        invite = self.request("baddate")
        error = self.assertRaises(MessageError, lambda: invite.date)
        self.assertEqual(error.reason_code, "bad-date")

    def test_regbadct(self) -> None:
        """3.1.2.13: a Contact with headers in its URI needs angle brackets."""
        register = self.request("regbadct")
        error = self.assertRaises(MessageError, lambda: register.contacts)
        self.assertEqual(error.reason_code, "bad-address")

    def test_badaspec(self) -> None:
        """3.1.2.14: spaces within an address are answered with 400."""
        self.answer(self.invalid("badaspec", "bad-address"))

    def test_baddn(self) -> None:
        """3.1.2.15: a display name that is no row of tokens needs quotation marks."""
        self.answer(self.invalid("baddn", "bad-address"))

    def test_badvers(self) -> None:
        """3.1.2.16: another version is answered with 505."""
        answer = self.answer(self.refused("badvers", "bad-version", 505))
        self.assertEqual(answer.headers.get("Via"), "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw")

    def test_mismatch01(self) -> None:
        """3.1.2.17: a CSeq with another method is answered with 400."""
        self.answer(self.invalid("mismatch01", "cseq-method-mismatch"))

    def test_mismatch02(self) -> None:
        """3.1.2.18: the same with an unknown method may be answered with 400."""
        error = self.invalid("mismatch02", "cseq-method-mismatch")
        assert isinstance(error.message, Request)
        self.assertEqual(error.message.method, "NEWMETHOD")

    def test_bigcode(self) -> None:
        """3.1.2.19: a response with a huge status is dropped."""
        self.assertIsNone(self.refused("bigcode", "bad-start-line").message)


class TransactionTests(TortureTestCase):
    """Section 3.2: transaction layer semantics."""

    def test_badbranch(self) -> None:
        """3.2.1: a branch of the magic cookie alone parses; it names no transaction."""
        self.assertEqual(self.request("badbranch").via.branch, "z9hG4bK")


class ApplicationTests(TortureTestCase):
    """Section 3.3: application layer semantics."""

    def test_insuf(self) -> None:
        """3.3.1: without From, To and Call-ID a request is answered with 400 as far as possible."""
        answer = self.answer(self.invalid("insuf", "missing-header"))
        self.assertEqual(answer.via.branch, "z9hG4bKkdj.insuf")
        self.assertNotIn("To", answer.headers)

    def test_unkscm(self) -> None:
        """3.3.2: an unknown scheme parses, for a 416."""
        uri = self.request("unkscm").request_uri
        self.assertEqual(uri, OtherURI("nobodyknowsthisscheme", "totallyopaquecontent"))

    def test_novelsc(self) -> None:
        """3.3.3: so does a known scheme that is not of SIP."""
        uri = self.request("novelsc").request_uri
        self.assertEqual(uri, OtherURI("soap.beep", "//192.0.2.103:3002"))

    def test_unksm2(self) -> None:
        """3.3.4: unknown schemes in To, From and Contact parse; registering them is refused."""
        register = self.request("unksm2")
        self.assertEqual(register.to.parsed_uri, OtherURI("isbn", "2983792873"))
        self.assertEqual(register.from_.parsed_uri, OtherURI("http", "//www.example.com"))
        self.assertEqual(register.contacts[0].parsed_uri, OtherURI("name", "John_Smith"))

    def test_bext01(self) -> None:
        """3.3.5: unknown option tags are read, for a 420."""
        tags = self.request("bext01").require
        self.assertEqual(tags, {"nothingsupportsthis", "nothingsupportsthiseither"})

    def test_invut(self) -> None:
        """3.3.6: an unknown type of body parses, for a 415."""
        invite = self.request("invut")
        self.assertEqual(invite.content_type, "application/unknownformat")
        self.assertEqual(len(invite.body), 40)

    def test_regaut01(self) -> None:
        """3.3.7: an unknown authorization scheme parses, for a challenge."""
        value = self.request("regaut01").headers.get("Authorization")
        self.assertEqual(value, "NoOneKnowsThisScheme opaque-data=here")

    def test_multi01(self) -> None:
        """3.3.8: headers that may stand once but stand twice are answered with 400."""
        self.answer(self.invalid("multi01", "duplicate-header"))

    def test_mcl01(self) -> None:
        """3.3.9: two Content-Lengths are answered with 400."""
        self.answer(self.refused("mcl01", "duplicate-header"))

    def test_bcast(self) -> None:
        """3.3.10: a response for a broadcast address parses; that Via is never used to send."""
        hosts = [via.host for via in self.response("bcast").vias]
        self.assertEqual(hosts, ["192.0.2.198", "255.255.255.255"])

    def test_zeromf(self) -> None:
        """3.3.11: Max-Forwards 0 is fine for the one who is asked."""
        self.assertEqual(self.request("zeromf").max_forwards, 0)

    def test_cparam01(self) -> None:
        """3.3.12: without brackets a parameter is of the header."""
        contact = self.request("cparam01").contacts[0]
        self.assertIn("unknownparam", contact.params)
        self.assertEqual(contact.uri, "sip:+19725552222@gw1.example.net")

    def test_cparam02(self) -> None:
        """3.3.13: within brackets it is of the URI."""
        contact = self.request("cparam02").contacts[0]
        self.assertNotIn("unknownparam", contact.params)
        uri = contact.parsed_uri
        assert isinstance(uri, SIPURI)
        self.assertIn("unknownparam", uri.params)

    def test_regescrt(self) -> None:
        """3.3.14: a header in the URI of a Contact is kept."""
        uri = self.request("regescrt").contacts[0].parsed_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual(uri.headers, (("Route", "%3Csip:sip.example.com%3E"),))

    def test_sdp01(self) -> None:
        """3.3.15: what the caller accepts is read; without a common type it gets 406 or 488."""
        self.assertEqual(self.request("sdp01").headers.values("Accept"), ["text/nobodyKnowsThis"])


class CompatibilityTests(TortureTestCase):
    """Section 3.4: backward compatibility."""

    def test_inv2543(self) -> None:
        """3.4.1: a request of RFC 2543 has no branch, no tag, no Max-Forwards; it is accepted."""
        invite = self.request("inv2543")
        self.assertIsNone(invite.via.branch)
        self.assertIsNone(invite.from_tag)
        self.assertIsNone(invite.max_forwards)
        self.assertEqual(len(invite.body), 105)


class CompletenessTests(TortureTestCase):
    """The list itself."""

    def test_every_message_has_its_test(self) -> None:
        """The RFC has 49 messages; each is here, and each has a test of its name."""
        names = {path.stem for path in (_HERE / "rfc4475").glob("*.dat")}
        self.assertEqual(len(names), 49)
        classes = (
            ValidTests,
            InvalidTests,
            TransactionTests,
            ApplicationTests,
            CompatibilityTests,
        )
        self.assertEqual(
            [name for name in names if not any(hasattr(c, f"test_{name}") for c in classes)], []
        )
