# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Redirections (RFC 3261 8.1.3.4): which targets are tried, in which order, and how many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from sipsess.endpoint import ANONYMOUS
from sipsess.interfaces import IRedirectPolicy
from sipsess.message import SIPURI, Request, Response
from sipsess.session import Session
from sipsess.supplement import Reject, SessionSupplement
from sipsess.supplements.redirect import COOKIE, MAX_CONTACTS, Redirect
from tests.policy.agents import PEER
from tests.policy.sessions import Probe, SessionTestCase


def at(user: str) -> str:
    """Return the URI of a user of the peer."""
    return f"sip:{user}@{PEER}"


@implementer(IRedirectPolicy)
class Policy(SessionSupplement):
    """Lets calls go nowhere near some users."""

    name = "policy"

    def __init__(self, *forbidden: str, is_broken: bool = False) -> None:
        self.forbidden = forbidden
        self.is_broken = is_broken

    def redirect_requested(self, session: Session, response: Response, uri: SIPURI) -> None:
        """See the interface."""
        if self.is_broken:
            raise RuntimeError("broken")
        if uri.user in self.forbidden:
            raise Reject(403)


class RedirectTests(SessionTestCase):
    """The shipped supplement."""

    def redirected(self, *contacts: str, status: int = 302, **kwargs: Any) -> Session:
        """Place a call that the peer redirects."""
        session, invite = self.placed(**kwargs)
        self.redirect(invite, *contacts, status=status)
        return session

    def redirect(self, invite: Request, *contacts: str, status: int = 302) -> None:
        """Redirect an INVITE."""
        self.peer.reply(invite, status, headers=[("Contact", value) for value in contacts])
        self.peer.expect("ACK")

    def next(self) -> Request:
        """Return the INVITE that comes next."""
        return self.peer.expect("INVITE")

    def refuse(self, status: int) -> str:
        """Refuse the next INVITE; return whom it was for."""
        invite = self.next()
        self.peer.reply(invite, status)
        self.peer.expect("ACK")
        return invite.uri

    def is_refused(self, session: Session, status: int) -> None:
        """Check that the call ended with that."""
        self.net.run_for(0.1)
        self.assertEqual(session.end_reason and session.end_reason.status, status)
        self.finish()

    def test_followed(self) -> None:
        """The INVITE goes to the Contact: same dialog ids, new branch, CSeq + 1."""
        self.start(Redirect())
        session, first = self.placed()
        self.redirect(first, f"<{at('carol')}>")
        second = self.next()
        self.assertEqual(second.uri, at("carol"))
        self.assertEqual(second.headers.get("To"), first.headers.get("To"))
        self.assertEqual((second.call_id, second.from_tag), (first.call_id, first.from_tag))
        self.assertEqual(second.cseq.number, 2)
        self.assertIn("redirected", self.lines(session.call_id))
        self.peer.reply(second, 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_order(self) -> None:
        """The highest q first, none means 1; equals in their order; each one after a failure."""
        self.start(Redirect())
        session = self.redirected(
            f"<{at('d')}>;q=0.1", f"<{at('b')}>", f"<{at('c')}>;q=1.0", f"<{at('a')}>;q=7"
        )
        tried = [self.refuse(status) for status in (404, 486, 503, 480)]
        self.assertEqual(tried, [at("b"), at("c"), at("a"), at("d")])
        self.is_refused(session, 480)

    def test_bad_q(self) -> None:
        """A q that cannot be read counts as 1."""
        self.start(Redirect())
        session = self.redirected(f"<{at('b')}>;q=0.9", f"<{at('a')}>;q=high")
        self.assertEqual([self.refuse(486), self.refuse(486)], [at("a"), at("b")])
        self.is_refused(session, 486)

    def test_no_answer(self) -> None:
        """A target that never answers has failed, too."""
        self.start(Redirect())
        session = self.redirected("<sip:gone@192.0.2.77>", f"<{at('b')};q=0.5>")
        second = self.peer.expect("INVITE", within=40)
        self.assertEqual(second.uri, f"{at('b')};q=0.5")
        self.peer.reply(second, 486)
        self.is_refused(session, 486)

    def test_redirected_again(self) -> None:
        """What a target adds is tried before the others, and nobody is tried twice."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>", f"<{at('z')}>;q=0.5")
        self.redirect(self.next(), f"<{at('a')}>", f"<{at('b')}>", f"<{at('peer')}>")
        self.assertEqual([self.refuse(486), self.refuse(486)], [at("b"), at("z")])
        self.is_refused(session, 486)

    def test_loop(self) -> None:
        """Two that redirect to each other are each asked once."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>")
        self.redirect(self.next(), f"<{at('peer')}>")
        self.is_refused(session, 302)

    def test_limit(self) -> None:
        """The endpoint says how many redirections are followed."""
        self.start(Redirect())
        endpoint = replace(ANONYMOUS, max_redirects=2)
        session = self.redirected(f"<{at('a')}>", endpoint=endpoint)
        self.redirect(self.next(), f"<{at('b')}>")
        self.redirect(self.next(), f"<{at('c')}>")
        self.assertIn("redirection not followed", self.lines(session.call_id))
        self.is_refused(session, 302)

    def test_never(self) -> None:
        """An endpoint may allow none at all."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>", endpoint=replace(ANONYMOUS, max_redirects=0))
        self.is_refused(session, 302)

    def test_everywhere_refused(self) -> None:
        """A 6xx ends the search (21.6)."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>", f"<{at('b')}>")
        self.assertEqual(self.refuse(603), at("a"))
        self.is_refused(session, 603)

    def test_what_is_not_followed(self) -> None:
        """Other schemes, what cannot be read, and no Contact at all: the 3xx counts."""
        for contact in ("<tel:+358555>", "<mailto:a@b.example>", "<sip:>", "*"):
            self.start(Redirect())
            self.is_refused(self.redirected(contact), 302)
        self.start(Redirect())
        self.is_refused(self.redirected(status=305), 305)

    def test_headers_and_method(self) -> None:
        """What the URI wants in our request is left out (19.1.5)."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')};method=BYE;x=y?Subject=no&Route=%3Csip:evil%3E>")
        invite = self.next()
        self.assertEqual(invite.uri, f"{at('a')};x=y")
        self.assertNotIn("Subject", invite.headers)
        self.peer.reply(invite, 486)
        self.is_refused(session, 486)

    def test_many_contacts(self) -> None:
        """Only so many are looked at."""
        self.start(Redirect())
        contacts = [f"<{at(f'u{number}')}>" for number in range(MAX_CONTACTS + 5)]
        session = self.redirected(*contacts)
        invite = self.next()
        self.assertEqual(len(session.cookies.get(COOKIE).waiting), MAX_CONTACTS - 1)
        self.peer.reply(invite, 600)
        self.is_refused(session, 600)

    def test_tls_stays(self) -> None:
        """A call that asked for TLS goes to no URI without it."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>", uri=f"sips:peer@{PEER}:5060")
        self.is_refused(session, 302)

    def test_policy(self) -> None:
        """A supplement may refuse a target; one that is broken refuses it, too."""
        self.start(Redirect(), Policy("premium"))
        session = self.redirected(f"<{at('premium')}>", f"<{at('b')}>")
        self.assertEqual(self.refuse(486), at("b"))
        self.assertIn("by policy", self.lines(session.call_id))
        self.is_refused(session, 486)
        self.start(Redirect(), Policy(is_broken=True))
        session = self.redirected(f"<{at('b')}>")
        self.net.run_for(0.1)
        self.assertEqual(session.end_reason and session.end_reason.status, 302)
        self.finish(failures=1)

    def test_who_sees_it(self) -> None:
        """Supplements above the mark do not see a 3xx that is followed."""
        below, above = Probe("below", 150), Probe("above", 300)
        self.start(below, above, Redirect())
        session = self.redirected(f"<{at('a')}>")
        self.assertEqual(self.refuse(486), at("a"))
        self.net.run_for(0.1)
        self.assertEqual(below.count("incoming_response 302 INVITE"), 1)
        self.assertEqual(above.count("incoming_response 302 INVITE"), 0)
        self.is_refused(session, 486)

    def test_within_the_call(self) -> None:
        """A 3xx to a re-INVITE is a refusal like any other."""
        self.start(Redirect())
        session, _ = self.answered()
        session.send_reinvite()
        self.redirect(self.next(), f"<{at('a')}>")
        self.net.run_for(1)
        self.assertEqual(self.peer.count("INVITE"), 2)
        session.send_reinvite()
        self.peer.reply(self.next(), 486)
        self.net.run_for(0.1)
        self.hang_up(session)
        self.finish()

    def test_a_telephone_number(self) -> None:
        """A call to a tel URI may be redirected like any other."""
        self.start(Redirect())
        session = self.redirected(f"<{at('a')}>", uri="tel:+358555")
        self.assertEqual(self.refuse(486), at("a"))
        self.is_refused(session, 486)
