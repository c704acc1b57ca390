# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Challenges, as WWW-Authenticate and Proxy-Authenticate bring them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Headers, MessageError
from sipsess.message.challenge import MAX_CHALLENGES, Challenge, get_challenges


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
