# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Challenges (RFC 3261 22) and who answers them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.endpoint import ANONYMOUS
from sipsess.interfaces import ICredentials
from sipsess.message import Request
from sipsess.message.challenge import Challenge
from sipsess.session import Session
from sipsess.supplements.credentials import Credentials
from sipsess.supplements.redirect import Redirect
from tests.policy.agents import PEER
from tests.policy.sessions import SessionTestCase

WWW, PROXY = "WWW-Authenticate", "Proxy-Authenticate"


@implementer(ICredentials)
class Book:
    """Knows some realms, and one algorithm."""

    def __init__(self, *realms: str) -> None:
        self.realms = realms
        self.asked: list[tuple[str, str, str]] = []

    def answer_challenge(self, request: Request, challenge: Challenge) -> str | None:
        """See the interface."""
        algorithm = challenge.params.get("algorithm") or "MD5"
        self.asked.append((request.method, challenge.realm, algorithm))
        if challenge.realm not in self.realms or algorithm != "MD5":
            return None
        nonce = challenge.params.get("nonce")
        return f'Digest realm="{challenge.realm}", nonce="{nonce}", uri="{request.uri}"'


def digest(realm: str, nonce: str = "1", more: str = "") -> str:
    """Return a challenge."""
    return f'Digest realm="{realm}", nonce="{nonce}"{more}'


class CredentialsTests(SessionTestCase):
    """The shipped supplement."""

    def begin(self, *realms: str) -> tuple[Session, Request]:
        """Place a call with credentials for these realms."""
        self.start(Credentials(), Redirect())
        self.book = Book(*realms)
        return self.placed(endpoint=replace(ANONYMOUS, credentials=self.book))

    def challenge(self, request: Request, status: int, *challenges: str) -> None:
        """Challenge a request."""
        name = WWW if status == 401 else PROXY
        self.peer.reply(request, status, headers=[(name, text) for text in challenges])

    def is_refused(self, session: Session, status: int) -> None:
        """Check that the call ended with that."""
        self.net.run_for(0.1)
        self.assertEqual(session.end_reason and session.end_reason.status, status)
        self.finish()

    def given(self, request: Request, name: str = "Authorization") -> list[str]:
        """Return the realms and nonces that a request has credentials for."""
        found = [Challenge.parse(text) for text in request.headers.get_all(name)]
        return [f"{one.realm} {one.params.get('nonce')}" for one in found]

    def test_the_interface(self) -> None:
        """What the tests use is what the interface says."""
        verifyObject(ICredentials, Book())

    def test_401(self) -> None:
        """The INVITE comes again with credentials, and its ACK repeats them (13.2.2.4)."""
        session, invite = self.begin("pbx")
        self.challenge(invite, 401, digest("pbx"))
        again = self.peer.expect("INVITE")
        self.assertEqual(self.given(again), ["pbx 1"])
        self.peer.reply(again, 200)
        ack = self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
        self.assertEqual(ack.headers.get("Authorization"), again.headers.get("Authorization"))
        self.hang_up(session)
        self.finish()

    def test_proxies_and_callee(self) -> None:
        """Two proxies and the callee challenge, one after the other; all answers are kept."""
        session, invite = self.begin("p1", "p2", "pbx")
        self.challenge(invite, 407, digest("p1"), digest("p2", "2"))
        again = self.peer.expect("INVITE")
        self.assertEqual(self.given(again, "Proxy-Authorization"), ["p1 1", "p2 2"])
        self.challenge(again, 401, digest("pbx", "3"))
        third = self.peer.expect("INVITE")
        self.assertEqual(self.given(third, "Proxy-Authorization"), ["p1 1", "p2 2"])
        self.assertEqual(self.given(third), ["pbx 3"])
        self.challenge(third, 407, digest("p2", "4", ", stale=true"))
        fourth = self.peer.expect("INVITE")
        self.assertEqual(self.given(fourth, "Proxy-Authorization"), ["p1 1", "p2 4"])
        self.peer.reply(fourth, 486)
        self.is_refused(session, 486)

    def test_the_first_that_can_be_answered(self) -> None:
        """Several challenges of a realm: one is answered, the first that can be (RFC 8760 2.4)."""
        session, invite = self.begin("pbx")
        self.challenge(
            invite,
            401,
            digest("pbx", "1", ", algorithm=SHA-256"),
            digest("pbx", "2", ", algorithm=MD5"),
            digest("pbx", "3"),
        )
        again = self.peer.expect("INVITE")
        self.assertEqual(self.given(again), ["pbx 2"])
        self.assertEqual(len(self.book.asked), 2)
        self.peer.reply(again, 486)
        self.is_refused(session, 486)

    def test_refused_credentials(self) -> None:
        """A realm that challenges again does not like them, whatever nonce it has now."""
        session, invite = self.begin("pbx")
        self.challenge(invite, 401, digest("pbx"))
        again = self.peer.expect("INVITE")
        self.challenge(again, 401, digest("pbx", "2"))
        self.assertEqual(len(self.book.asked), 1)
        self.is_refused(session, 401)

    def test_endless_stale(self) -> None:
        """Even a peer whose nonces are always stale is not asked for ever."""
        session, invite = self.begin("pbx")
        for number in range(20):
            self.challenge(invite, 401, digest("pbx", str(number), ", stale=true"))
            self.net.run_for(0.1)
            if session.is_over:
                break
            invite = self.peer.expect("INVITE")
        self.is_refused(session, 401)

    def test_not_answered(self) -> None:
        """An unknown realm, no challenge that can be read, none at all: a refusal."""
        for challenges in ([digest("elsewhere")], ["Digest"], ["x"], []):
            session, invite = self.begin("pbx")
            self.challenge(invite, 401, *challenges)
            self.is_refused(session, 401)

    def test_other_refusals(self) -> None:
        """Nobody is asked about them."""
        session, invite = self.begin("pbx")
        self.peer.reply(invite, 403, headers=[(WWW, digest("pbx"))])
        self.is_refused(session, 403)
        self.assertEqual(self.book.asked, [])

    def test_no_credentials(self) -> None:
        """An endpoint without any takes a challenge as a refusal."""
        self.start(Credentials())
        session, invite = self.placed()
        self.challenge(invite, 407, digest("pbx"))
        self.is_refused(session, 407)

    def test_no_answer_at_all(self) -> None:
        """A time-out is nobody's challenge."""
        session, _ = self.begin("pbx")
        self.net.run_for(40)
        self.is_refused(session, 408)

    def test_within_the_call(self) -> None:
        """A BYE may be challenged as well; the call is over when it was answered."""
        session, invite = self.begin("pbx")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        session.terminate()
        self.challenge(self.peer.expect("BYE"), 401, digest("pbx"))
        again = self.peer.expect("BYE")
        self.assertEqual(self.given(again), ["pbx 1"])
        self.peer.reply(again, 200)
        self.finish()

    def redirected(self, *supplements: Any, user: str = "x", host: str = "192.0.2.9") -> Request:
        """Place a call that is redirected; return the INVITE that comes then."""
        self.start(*supplements, Redirect())
        self.book = Book("pbx")
        _, invite = self.placed(
            uri="sip:peer@pbx.example", endpoint=replace(ANONYMOUS, credentials=self.book)
        )
        contact = f"<sip:{user}@{host}>"
        self.peer.reply(invite, 302, headers=[("Contact", contact)])
        again = self.peer.expect("INVITE")
        assert isinstance(again, Request)
        return again

    def test_redirected_elsewhere(self) -> None:
        """Whoever a call was redirected to learns nothing of the password, now or later."""
        again = self.redirected(Credentials())
        self.challenge(again, 401, digest("pbx"))
        self.net.run_for(1)
        self.assertEqual(self.box.manager.sessions, {})
        again = self.redirected(Credentials())
        self.peer.reply(again, 200)
        self.peer.expect("ACK")
        self.session.terminate()
        self.challenge(self.peer.expect("BYE"), 401, digest("pbx"))
        self.net.run_for(1)
        self.assertEqual(self.book.asked, [])
        self.finish()

    def test_answers_elsewhere(self) -> None:
        """A provider may redirect calls from its name to its addresses."""
        trusting = Credentials()
        trusting.answers_elsewhere = True
        for supplement, host in ((trusting, PEER), (Credentials(), "PBX.example")):
            again = self.redirected(supplement, host=host)
            self.challenge(again, 401, digest("pbx"))
            third = self.peer.expect("INVITE")
            self.assertEqual(self.given(third), ["pbx 1"])
            self.peer.reply(third, 486)
            self.net.run_for(1)
            self.finish()

    def test_redirected_after_a_challenge(self) -> None:
        """Credentials are for one URI: the next one gets none of them, and may ask for its own."""
        session, invite = self.begin("pbx")
        self.challenge(invite, 401, digest("pbx"))
        self.challenge(self.peer.expect("INVITE"), 407, digest("pbx"))
        answered = self.peer.expect("INVITE")
        self.assertEqual(self.given(answered, "Proxy-Authorization"), ["pbx 1"])
        self.peer.reply(answered, 302, headers=[("Contact", f"<sip:other@{PEER}>")])
        redirected = self.peer.expect("INVITE")
        self.assertEqual(self.given(redirected), [])
        self.assertEqual(self.given(redirected, "Proxy-Authorization"), [])
        self.challenge(redirected, 401, digest("pbx", "2"))
        last = self.peer.expect("INVITE")
        self.assertEqual(self.given(last), ["pbx 2"])
        self.peer.reply(last, 486)
        self.is_refused(session, 486)

    def test_a_challenge_is_no_failure(self) -> None:
        """A redirected call answers a target's challenge before it tries the next (8.1.3.5)."""
        session, invite = self.begin("pbx")
        contacts = [("Contact", f"<sip:{user}@{PEER}>") for user in ("a", "b")]
        self.peer.reply(invite, 302, headers=contacts)
        second = self.peer.expect("INVITE")
        self.challenge(second, 401, digest("pbx"))
        third = self.peer.expect("INVITE")
        self.assertEqual((third.uri, self.given(third)), (second.uri, ["pbx 1"]))
        self.peer.reply(third, 486)
        fourth = self.peer.expect("INVITE")
        self.assertEqual(fourth.uri, f"sip:b@{PEER}")
        self.peer.reply(fourth, 486)
        self.is_refused(session, 486)
