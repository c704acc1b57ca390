# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Digest credentials: which challenge they answer, and with what."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.endpoint import ANONYMOUS, DigestCredentials, Login
from sipsess.endpoint.credentials import MAX_NONCES
from sipsess.interfaces import ICredentials
from sipsess.message import Request, build_request
from sipsess.message.challenge import Challenge
from sipsess.message.digest import Authorization, make_ha1
from sipsess.supplements.credentials import Credentials
from tests.policy.sessions import SessionTestCase

PBX = Login("pbx", "bob", "zanzibar")


def invite() -> Request:
    """Return an INVITE with a body."""
    request = build_request(
        "INVITE",
        "sip:alice@pbx",
        via="SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1",
        from_="<sip:bob@pbx>;tag=1",
        to="<sip:alice@pbx>",
        call_id="1",
        cseq=1,
    )
    request.set_body("application/sdp", b"v=0")
    return request


def challenge(realm: str = "pbx", nonce: str = "n", more: str = ', qop="auth"') -> Challenge:
    """Return a challenge."""
    return Challenge.parse(f'Digest realm="{realm}", nonce="{nonce}"{more}')


class DigestCredentialsTests(SynchronousTestCase):
    """The answers, one by one."""

    def answer(self, credentials: DigestCredentials, asked: Challenge) -> Authorization | None:
        """Return the answer, whose digest was checked."""
        request = invite()
        text = credentials.answer_challenge(request, asked)
        if text is None:
            return None
        found = Authorization.parse(text)
        login = next(item for item in credentials.logins if item.user == found.username)
        ha1 = make_ha1(found.algorithm, login.user, asked.realm, login.password)
        self.assertEqual(found.response, found.compute_response(ha1, "INVITE", request.body))
        self.assertEqual((found.realm, found.nonce), (asked.realm, asked.nonce))
        self.assertEqual(found.uri, request.uri)
        return found

    def test_the_interface(self) -> None:
        """It is what an endpoint holds, and tells nobody its passwords."""
        credentials = DigestCredentials((PBX,))
        verifyObject(ICredentials, credentials)
        self.assertNotIn("zanzibar", repr(credentials))
        self.assertEqual(credentials, DigestCredentials((PBX,)))

    def test_each_algorithm(self) -> None:
        """MD5, which goes without saying, and the two of :rfc:`8760#section-2.1`."""
        credentials = DigestCredentials((PBX,))
        for more, expected in (
            ("", "MD5"),
            (", algorithm=SHA-256", "SHA-256"),
            (', algorithm=sha-512-256, qop="auth"', "SHA-512-256"),
        ):
            found = self.answer(credentials, challenge(more=more))
            self.assertEqual(found and found.algorithm, expected)

    def test_auth_int_only(self) -> None:
        """The body is protected when the peer wants nothing else."""
        found = self.answer(DigestCredentials((PBX,)), challenge(more=', qop="auth-int"'))
        self.assertEqual(found and found.qop, "auth-int")

    def test_not_answered(self) -> None:
        """Another realm, scheme, algorithm or qop, no nonce, an algorithm that is not wanted."""
        credentials = DigestCredentials((PBX,), algorithms=frozenset({"SHA-256"}))
        self.assertIsNotNone(self.answer(credentials, challenge(more=", algorithm=SHA-256")))
        for asked in (
            challenge("PBX", more=", algorithm=SHA-256"),
            challenge("", more=", algorithm=SHA-256"),
            challenge(nonce="", more=", algorithm=SHA-256"),
            challenge(more=', algorithm=SHA-256, qop="token"'),
            challenge(more=", algorithm=MD5-sess"),
            challenge(),
            Challenge.parse('Basic realm="pbx", nonce="n", algorithm=SHA-256'),
        ):
            self.assertIsNone(self.answer(credentials, asked))
        every = DigestCredentials((PBX,), algorithms=frozenset({"MD5-SESS"}))
        self.assertIsNone(self.answer(every, challenge(more=", algorithm=MD5-sess")))

    def test_any_realm(self) -> None:
        """Only who says so gives a password to whoever asks; the very realm goes first."""
        anybody = Login("*", "guest", "1234")
        credentials = DigestCredentials((anybody, PBX))
        for realm, user in (("pbx", "bob"), ("elsewhere", "guest")):
            found = self.answer(credentials, challenge(realm))
            self.assertEqual(found and found.username, user)

    def test_count(self) -> None:
        """A nonce that is used again is counted; each answer has a cnonce of its own."""
        credentials = DigestCredentials((PBX, Login("*", "guest", "1234")))
        found = [
            self.answer(credentials, challenge(realm, nonce))
            for realm, nonce in (("pbx", "n"), ("pbx", "n"), ("x", "n"), ("pbx", "n"), ("pbx", "m"))
        ]
        self.assertEqual([one and one.count for one in found], [1, 2, 1, 3, 1])
        self.assertEqual(len({one and one.cnonce for one in found}), 5)

    def test_bounded(self) -> None:
        """However many realms ask, the nonces of a few are remembered."""
        credentials = DigestCredentials((Login("*", "guest", "1234"),))
        for number in range(MAX_NONCES + 1):
            self.answer(credentials, challenge(f"r{number}"))
        self.assertEqual(len(credentials._nonces), MAX_NONCES)
        last = self.answer(credentials, challenge(f"r{MAX_NONCES}"))
        self.assertEqual(last and last.count, 2)


class InCallsTests(SessionTestCase):
    """Together with the supplement that asks them."""

    def test_strongest(self) -> None:
        """MD5 is the last choice even of a peer that names it first (:rfc:`8760#section-2.4`)."""
        self.start(Credentials())
        credentials = DigestCredentials((PBX,))
        session, request = self.placed(endpoint=replace(ANONYMOUS, credentials=credentials))
        values = [
            'Digest realm="pbx", nonce="1", qop="auth"',
            'Digest realm="pbx", nonce="2", qop="auth", algorithm=AKAv2-SHA-256',
            'Digest realm="pbx", nonce="3", qop="auth", algorithm=SHA-256',
            'Digest realm="pbx", nonce="4", qop="auth", algorithm=SHA-512-256',
        ]
        headers = [("WWW-Authenticate", value) for value in values]
        self.peer.reply(request, 401, headers=headers)
        again = self.peer.expect("INVITE")
        (text,) = again.headers.get_all("Authorization")
        found = Authorization.parse(text)
        self.assertEqual((found.nonce, found.algorithm), ("3", "SHA-256"))
        ha1 = make_ha1("SHA-256", "bob", "pbx", "zanzibar")
        self.assertEqual(found.response, found.compute_response(ha1, "INVITE", again.body))
        self.peer.reply(again, 486)
        self.net.run_for(0.1)
        self.finish()
        self.assertTrue(session.is_over)
