# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Challenges, as WWW-Authenticate and Proxy-Authenticate bring them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import HeaderValueError
from sipsess.message import Headers, MessageError
from sipsess.message.challenge import (
    MAX_CHALLENGES,
    Challenge,
    format_challenge,
    get_challenges,
)


class ChallengeTests(SynchronousTestCase):
    """One challenge."""

    def test_parse(self) -> None:
        """Scheme and parameters, of which some are quoted and may hold commas (RFC 3261 22.4)."""
        text = 'Digest realm="a, b", nonce="x=,y", qop="auth,auth-int", stale=TRUE'
        challenge = Challenge.parse(text)
        self.assertEqual(challenge.scheme, "Digest")
        self.assertEqual(challenge.realm, "a, b")
        self.assertEqual(challenge.params.get("nonce"), "x=,y")
        self.assertEqual(challenge.params.get("qop"), "auth,auth-int")
        self.assertTrue(challenge.is_stale)

    def test_little(self) -> None:
        """Neither realm nor stale need be there."""
        challenge = Challenge.parse("Digest nonce=1")
        self.assertEqual((challenge.realm, challenge.is_stale), ("", False))
        self.assertEqual((challenge.algorithm, challenge.opaque), ("MD5", None))
        self.assertEqual((challenge.qop, challenge.wants_userhash), (None, False))
        self.assertEqual(Challenge.parse("Digest realm=r").nonce, "")

    def test_spelling(self) -> None:
        """Case and white space mean nothing (:rfc:`3261#section-7.3.1`)."""
        challenge = Challenge.parse(
            'dIGEST\tREALM="R", algorithm="sha-256", QOP=" Auth , auth-INT,", Userhash=TRUE'
        )
        self.assertTrue(challenge.is_digest)
        self.assertEqual((challenge.realm, challenge.algorithm), ("R", "SHA-256"))
        self.assertEqual(challenge.qop, ("auth", "auth-int"))
        self.assertTrue(challenge.wants_userhash)
        self.assertFalse(Challenge.parse("Basic realm=R").is_digest)

    def test_format(self) -> None:
        """What is written can be read, and is quoted as the grammar has it (RFC 3261 25.1)."""
        text = format_challenge('a "b", c', "n", algorithm="SHA-256", qop=("auth", "auth-int"))
        self.assertEqual(
            text, r'Digest realm="a \"b\", c", nonce="n", qop="auth,auth-int", algorithm=SHA-256'
        )
        challenge = Challenge.parse(text)
        self.assertEqual((challenge.realm, challenge.is_stale), ('a "b", c', False))
        stale = Challenge.parse(format_challenge("r", "n", algorithm="MD5", is_stale=True))
        self.assertTrue(stale.is_stale)
        for realm, algorithm in (("r\r\nX: y", "MD5"), ("r", "MD5, x=y")):
            self.assertRaises(HeaderValueError, format_challenge, realm, "n", algorithm=algorithm)

    def test_bad(self) -> None:
        """What is no challenge is refused."""
        for text in ("", "Digest", "Digest ", "@ a=b", "Digest a b=c", "Digest a=b,,c=d"):
            self.assertRaises(MessageError, Challenge.parse, text)
        many = ", ".join(f"p{number}=1" for number in range(1000))
        self.assertRaises(MessageError, Challenge.parse, f"Digest {many}")


class HeadersTests(SynchronousTestCase):
    """The challenges of a response."""

    def test_order(self) -> None:
        """All that can be read, in their order, but not without end."""
        name = "WWW-Authenticate"
        values = ["Digest realm=a", "nonsense", "Digest realm=b"]
        headers = Headers([(name, value) for value in values])
        self.assertEqual([one.realm for one in get_challenges(headers, name)], ["a", "b"])
        many = Headers([(name, "Digest realm=a")] * 100)
        self.assertEqual(len(get_challenges(many, name)), MAX_CHALLENGES)
