# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Digest authentication against the published examples, and what peers make of its grammar."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError
from sipsess.message.challenge import MAX_CHALLENGES, Challenge
from sipsess.message.digest import (
    ALGORITHMS,
    Authorization,
    answer_challenge,
    choose_qop,
    get_authorizations,
    hash_text,
    make_ha1,
)

#: RFC 7616 3.9.1, of which each algorithm has its own response.
HTTP = Authorization(
    "Mufasa",
    "http-auth@example.org",
    "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "/dir/index.html",
    qop="auth",
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    nc="00000001",
)
#: RFC 7616 3.9.2, as erratum 4897 corrects it.
API = Authorization(
    "J\xe4s\xf8n Doe",
    "api@example.org",
    "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
    "/doe.json",
    algorithm="SHA-512-256",
    qop="auth",
    cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    nc="00000001",
    opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
)
#: RFC 2617 3.5.
OLD = Authorization(
    "Mufasa",
    "testrealm@host.com",
    "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "/dir/index.html",
    qop="auth",
    cnonce="0a4f113b",
    nc="00000001",
)
#: RFC 3261 22.4, in the numbers of draft-smith-sipping-auth-examples-01.
BOB = Authorization(
    "bob",
    "biloxi.com",
    "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "sip:bob@biloxi.com",
    cnonce="0a4f113b",
    nc="00000001",
)
BOBS_OFFER = (
    b"v=0\r\no=bob 2890844526 2890844526 IN IP4 media.biloxi.com\r\ns=-\r\n"
    b"c=IN IP4 media.biloxi.com\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    b"m=video 51372 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\n"
    b"m=video 53000 RTP/AVP 32\r\na=rtpmap:32 MPV/90000\r\n"
)
#: The header of 3.9.1 as RFC 7616 prints it, on one line.
PRINTED = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    'algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def compute(authorization: Authorization, password: str, method: str, body: bytes = b"") -> str:
    """Return the response of who knows the password."""
    ha1 = make_ha1(authorization.algorithm, authorization.username, authorization.realm, password)
    return authorization.compute_response(ha1, method, body)


class VectorTests(SynchronousTestCase):
    """What the RFCs print."""

    def test_rfc_7616_md5(self) -> None:
        """The first example of 3.9.1."""
        found = compute(HTTP, "Circle of Life", "GET")
        self.assertEqual(found, "8ca523f5e9506fed4657c9700eebdbec")

    def test_rfc_7616_sha_256(self) -> None:
        """The second example of 3.9.1, and its header as it is printed."""
        expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        parsed = Authorization.parse(PRINTED)
        self.assertEqual(compute(parsed, "Circle of Life", "GET"), expected)
        self.assertEqual(parsed.response, expected)
        self.assertEqual(parsed.count, 1)
        self.assertEqual(
            compute(replace(HTTP, algorithm="SHA-256"), "Circle of Life", "GET"), expected
        )

    def test_rfc_7616_sha_512_256(self) -> None:
        """The example of 3.9.2: UTF-8, a hash for the name, and no SHA-512 that was cut."""
        expected = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        self.assertEqual(compute(API, "Secret, or not?", "GET"), expected)
        challenge = Challenge.parse(
            f'Digest realm="{API.realm}", qop="auth", algorithm=SHA-512-256, '
            f'nonce="{API.nonce}", opaque="{API.opaque}", charset=UTF-8, userhash=true'
        )
        answer = answer_challenge(
            challenge,
            username=API.username,
            password="Secret, or not?",
            method="GET",
            uri=API.uri,
            cnonce=API.cnonce,
        )
        self.assertEqual(answer.response, expected)
        self.assertEqual(
            answer.username, "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        )
        self.assertIn(", userhash=true", str(answer))
        self.assertEqual(Authorization.parse(str(answer)), answer)

    def test_rfc_2617(self) -> None:
        """The example of 3.5, which RFC 3261 refers to."""
        found = compute(OLD, "Circle Of Life", "GET")
        self.assertEqual(found, "6629fae49393a05397450978507c4ef1")

    def test_rfc_3261(self) -> None:
        """SIP: without qop for who knows no better, auth, and auth-int over a body (22.4)."""
        for qop, expected in (
            (None, "bf57e4e0d0bffc0fbaedce64d59add5e"),
            ("auth", "89eb0059246c02b2f6ee02c7961d5ea3"),
            ("auth-int", "bdbeebb2da6adb6bca02599c2239e192"),
        ):
            asked = replace(BOB, qop=qop)
            self.assertEqual(compute(asked, "zanzibar", "INVITE", BOBS_OFFER), expected)

    def test_auth_int_without_body(self) -> None:
        """The hash of nothing counts (:rfc:`3261#section-22.4`, item 4)."""
        asked = replace(BOB, qop="auth-int")
        ha1 = make_ha1("MD5", "bob", "biloxi.com", "zanzibar")
        empty = "d41d8cd98f00b204e9800998ecf8427e"
        ha2 = hash_text("MD5", f"BYE:sip:bob@biloxi.com:{empty}")
        expected = hash_text("MD5", f"{ha1}:{BOB.nonce}:00000001:0a4f113b:auth-int:{ha2}")
        self.assertEqual(compute(asked, "zanzibar", "BYE"), expected)

    def test_algorithms(self) -> None:
        """The strongest comes first (:rfc:`8760#section-2.1`), each with digits of its length."""
        self.assertEqual(list(ALGORITHMS), ["SHA-512-256", "SHA-256", "MD5"])
        lengths = [len(hash_text(name, "")) for name in ALGORITHMS]
        self.assertEqual(lengths, [64, 64, 32])
        self.assertRaises(LookupError, hash_text, "MD5-SESS", "")


class ParseTests(SynchronousTestCase):
    """What peers write."""

    def test_loose_spelling(self) -> None:
        """Case, white space and marks that are not due change nothing."""
        parsed = Authorization.parse(
            'DIGEST\t USERNAME = "bob" ,realm="a, b",Nonce="x=,y",uri="sip:x;y=1",qop="AUTH",'
            'algorithm="sha-256",nc=0000000A,cnonce="c",response="00",x=y'
        )
        self.assertEqual((parsed.username, parsed.realm, parsed.nonce), ("bob", "a, b", "x=,y"))
        self.assertEqual((parsed.algorithm, parsed.qop, parsed.count), ("SHA-256", "auth", 10))
        self.assertEqual(parsed.uri, "sip:x;y=1")

    def test_escapes(self) -> None:
        """A quoted string says what it says without its backslashes, and comes back the same."""
        parsed = Authorization.parse(
            r'Digest username="a\"b\\c", realm="r", nonce="n", uri="sip:x", response="0"'
        )
        self.assertEqual(parsed.username, 'a"b\\c')
        self.assertEqual(Authorization.parse(str(parsed)), parsed)

    def test_empty_answer(self) -> None:
        """A first REGISTER may say who asks, and answer nothing yet."""
        parsed = Authorization.parse(
            'Digest username="bob", realm="r", nonce="", uri="sip:r", response=""'
        )
        self.assertEqual((parsed.nonce, parsed.response, parsed.count), ("", "", 0))

    def test_bad(self) -> None:
        """Another scheme, a parameter that is missing or stands twice, half a qop."""
        good = 'Digest username="b", realm="r", nonce="n", uri="u", response="0"'
        Authorization.parse(good)
        for text in (
            "Basic Ym9iOng=",
            'Basic username="b", realm="r", nonce="n", uri="u", response="0"',
            good.replace('username="b", ', ""),
            good.replace('"b"', '""'),
            good.replace('uri="u"', 'uri=""'),
            good.replace('realm="r", ', ""),
            good.replace('nonce="n", ', ""),
            good.replace(', response="0"', ""),
            good + ', username="root"',
            good + ', REALM="r"',
            good + ", qop=auth",
            good + ', qop=auth, cnonce="c", nc=1',
            good + ', qop=auth, cnonce="c", nc=0000000g',
            good + ', qop=auth, cnonce="", nc=00000001',
            good + ', qop=token, cnonce="c", nc=00000001',
            good + ", qop=auth, nc=00000001",
            good + ", " + good,
            good[:-1],
        ):
            self.assertRaises(MessageError, Authorization.parse, text)

    def test_of_a_request(self) -> None:
        """Those for one realm, in their order; what cannot be read does not hide the others."""
        name = "Authorization"
        value = 'Digest username="{}", realm="{}", nonce="n", uri="u", response="0"'
        headers = Headers(
            [
                (name, value.format("a", "r")),
                (name, "Digest nonsense"),
                (name, value.format("b", "other")),
                (name, value.format("c", "R")),
                (name, value.format("d", "r")),
            ]
        )
        found = get_authorizations(headers, name, "r")
        self.assertEqual([one.username for one in found], ["a", "d"])
        many = Headers([(name, value.format("a", "r"))] * 100)
        self.assertEqual(len(get_authorizations(many, name, "r")), MAX_CHALLENGES)

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Whatever a peer writes is read, or refused as the peer's mistake."""
        try:
            Authorization.parse(f"Digest {text}")
        except MessageError:
            pass


class AnswerTests(SynchronousTestCase):
    """What a UAC answers."""

    def answer(self, challenge: str, username: str = "bob") -> str:
        """Return the answer to a challenge."""
        return str(
            answer_challenge(
                Challenge.parse(challenge),
                username=username,
                password="zanzibar",
                method="INVITE",
                uri="sip:bob@biloxi.com",
                body=BOBS_OFFER,
                cnonce="0a4f113b",
                count=0x1F,
            )
        )

    def test_quotes(self) -> None:
        """What the grammar quotes is quoted, and nothing else (:rfc:`3261#section-25.1`)."""
        text = self.answer('Digest realm=r, nonce=n, qop="auth", opaque="", algorithm=md5')
        self.assertEqual(
            text.replace(Authorization.parse(text).response, "*"),
            'Digest username="bob", realm="r", nonce="n", uri="sip:bob@biloxi.com", '
            'response="*", cnonce="0a4f113b", opaque="", algorithm=MD5, qop=auth, nc=0000001f',
        )

    def test_without_qop(self) -> None:
        """Who offers no qop gets none, and neither cnonce nor nc (:rfc:`3261#section-22.4`)."""
        text = self.answer(f'Digest realm="biloxi.com", nonce="{BOB.nonce}"')
        self.assertIn("bf57e4e0d0bffc0fbaedce64d59add5e", text)
        for word in ("qop", "nc=", "opaque"):
            self.assertNotIn(word, text)

    def test_qop(self) -> None:
        """The body is protected only when nothing else is offered."""
        for offered, expected in (
            ("auth", "auth"),
            ("auth-int", "auth-int"),
            ("AUTH-INT, auth", "auth"),
            ("x,,auth-int", "auth-int"),
        ):
            challenge = Challenge.parse(f'Digest realm="r", nonce="n", qop="{offered}"')
            self.assertEqual(choose_qop(challenge), expected)
        for offered in ("", "token"):
            challenge = Challenge.parse(f'Digest realm="r", nonce="n", qop="{offered}"')
            self.assertRaises(LookupError, choose_qop, challenge)

    def test_unknown_algorithm(self) -> None:
        """It cannot be answered."""
        for algorithm in ("AKAv1-MD5", "MD5-sess", "SHA-256-sess"):
            text = f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}'
            self.assertRaises(LookupError, self.answer, text)

    def test_no_injection(self) -> None:
        """No name of a user or of a realm brings a header, or a parameter, of its own."""
        text = self.answer('Digest realm="r", nonce="n"', 'bob", realm="x')
        self.assertEqual(Authorization.parse(text).realm, "r")
        self.assertRaises(HeaderValueError, self.answer, 'Digest realm="r", nonce="n"', "b\r\nX: y")
