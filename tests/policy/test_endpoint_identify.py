# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Which endpoint a request is from, and what becomes of who is nobody."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.admission import Admission
from sipsess.endpoint import (
    DigestGate,
    DigestIdentifier,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    HeaderIdentifier,
    HeaderMatch,
    IdentifyGate,
    MemoryStore,
    NetworkIdentifier,
    UserIdentifier,
)
from sipsess.errors import LocalError
from sipsess.ids import IdSource
from sipsess.interfaces import IEndpointIdentifier, IRequestGate
from sipsess.message import Request, Response
from sipsess.message.challenge import get_challenges
from sipsess.message.digest import answer_challenge
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US, BoxTestCase, Gate

REALM = "pbx.example"
TRUNK = Endpoint("trunk", networks=("192.0.2.0/28",))
PHONE = Endpoint("phone", users=frozenset({"bob"}), digest_users=frozenset({"bob"}))
APP = Endpoint("app", digest_users=frozenset({"app"}))


def users(*names: str) -> frozenset[str]:
    """Return a set of users."""
    return frozenset(names)


class EndpointTests(SynchronousTestCase):
    """The fields."""

    def test_defaults(self) -> None:
        """Who says nothing of an endpoint has one that is nobody's and trusts nobody."""
        endpoint = Endpoint("x")
        self.assertFalse(endpoint.is_trusted)
        self.assertFalse(endpoint.is_claimed)
        self.assertTrue(endpoint.is_within("203.0.113.1"))

    def test_networks(self) -> None:
        """Addresses and networks of both versions, and IPv4 in the clothes of IPv6."""
        endpoint = Endpoint("x", networks=("192.0.2.0/24", "2001:db8::1"))
        for host, is_within in (
            ("192.0.2.7", True),
            ("::ffff:192.0.2.7", True),
            ("192.0.3.7", False),
            ("2001:db8::1", True),
            ("2001:db8::2", False),
            ("pbx.example", False),
        ):
            self.assertEqual(endpoint.is_within(host), is_within, host)

    def test_bad(self) -> None:
        """A name of nothing, a network that is none: refused, with the endpoint's name."""
        self.assertRaises(LocalError, Endpoint, "")
        self.assertRaises(LocalError, Endpoint, "a\nb")
        for network in ("192.0.2.1/24", "pbx.example", "192.0.2.0/33", ""):
            error = self.assertRaises(LocalError, Endpoint, "trunk", networks=(network,))
            self.assertIn("trunk", str(error))

    def test_secret(self) -> None:
        """A header that tells a peer is not printed."""
        self.assertNotIn("secret", repr(Endpoint("x", headers=(HeaderMatch("X-Key", "secret"),))))


@implementer(IEndpointIdentifier)
class Slow:
    """An identifier that waits for the test."""

    name = "slow"

    def __init__(self) -> None:
        self.answer: Deferred[Endpoint | None] = Deferred()

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Know them."""
        self.endpoints = endpoints

    def identify(self, admission: Admission) -> Deferred[Endpoint | None]:
        """Wait."""
        return self.answer


class IdentifyTestCase(BoxTestCase):
    """A box behind an identify gate, which a last gate watches."""

    def make_digest(self, endpoints: Sequence[Endpoint], **options: Any) -> DigestGate:
        """Return a digest gate where each user has its own name as password."""
        store = MemoryStore()
        for endpoint in endpoints:
            for user in endpoint.digest_users:
                store.add(user, REALM, user)
        portal = Portal(EndpointRealm(endpoints), [HA1Checker([store])])
        return DigestGate(portal, REALM, ids=IdSource(random.Random(5)), **options)

    def begin(
        self,
        *endpoints: Endpoint,
        identifiers: Sequence[Any] | None = None,
        has_digest: bool = True,
        in_dialog: Any = "host",
        **options: Any,
    ) -> None:
        """Start."""
        digest = self.make_digest(endpoints, in_dialog=in_dialog) if has_digest else None
        gate = IdentifyGate(endpoints, identifiers, digest=digest, **options)
        verifyObject(IRequestGate, gate)
        self.seen: list[str] = []

        def note(admission: Admission) -> None:
            self.seen.append(admission.endpoint.name if admission.endpoint else "nothing")

        self.start(gates=[gate, Gate(note)])

    def put(self, request: Request, peer: ScriptedPeer | None = None) -> Response:
        """Send a request, return its final answer."""
        peer = peer or self.peer
        peer.send(request, (US, 5060))
        found = peer.expect(
            lambda message: (
                isinstance(message, Response)
                and message.status >= 200
                and message.cseq == request.cseq
                and message.call_id == request.call_id
            )
        )
        assert isinstance(found, Response)
        return found

    def ask(
        self,
        from_: str = "sip:eve@x.example",
        login: str = "",
        peer: ScriptedPeer | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Send an OPTIONS, with credentials if ``login`` is a user; return the endpoint, or 4xx."""
        peer = peer or self.peer
        self.seen.clear()
        request = peer.request("OPTIONS", f"sip:{US}", from_=f"<{from_}>;tag=1", headers=headers)
        response = self.put(request, peer)
        if login and response.status == 401:
            challenge = get_challenges(response.headers, "WWW-Authenticate")[0]
            again = peer.request("OPTIONS", f"sip:{US}", from_=f"<{from_}>;tag=1", headers=headers)
            answer = answer_challenge(
                challenge,
                username=login,
                password=login,
                method="OPTIONS",
                uri=again.uri,
                cnonce="c",
            )
            again.headers.set("Authorization", str(answer))
            response = self.put(again, peer)
        return self.seen[-1] if self.seen else str(response.status)

    def end(self) -> None:
        """Let all timers end, and check that nothing is left."""
        self.net.run_for(70)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.net.assert_quiet()


class IdentifierTests(IdentifyTestCase):
    """The shipped identifiers."""

    def test_interfaces(self) -> None:
        """They are what a plugin would be."""
        for identifier in (
            NetworkIdentifier(),
            UserIdentifier(),
            HeaderIdentifier(),
            DigestIdentifier(REALM),
            Slow(),
        ):
            verifyObject(IEndpointIdentifier, identifier)

    def test_network(self) -> None:
        """The smallest network that the request comes from."""
        wide = Endpoint("wide", networks=("192.0.2.0/24", "198.51.100.0/24"))
        self.begin(wide, TRUNK, has_digest=False)
        other = ScriptedPeer(self.net.host("198.51.100.7", name="other"))
        third = ScriptedPeer(self.net.host("203.0.113.7", name="third"))
        self.assertEqual(self.ask(), "trunk")
        self.assertEqual(self.ask(peer=other), "wide")
        self.assertEqual(self.ask(peer=third), "403")
        self.assertEqual(self.box.refused, {"endpoint-unknown": 1})
        self.end()

    def test_user(self) -> None:
        """From names the endpoint, and the digest proves it."""
        self.begin(PHONE, APP)
        self.assertEqual(self.ask("sip:bob@x.example", "bob"), "phone")
        self.assertEqual(self.ask("sip:b%6Fb@x.example", "bob"), "phone")
        self.assertEqual(self.ask("sip:bob@x.example"), "401")
        self.assertEqual(self.ask("sip:bob@x.example", "app"), "403")
        self.assertEqual(self.box.refused["digest-other-user"], 1)
        self.end()

    def test_anonymous_user(self) -> None:
        """Who calls as nobody may say whose password he has in P-Preferred-Identity (RFC 3325)."""
        self.begin(PHONE)
        nobody = "sip:anonymous@anonymous.invalid"
        for headers, expected in (
            ([("P-Preferred-Identity", "<sip:bob@x.example>")], "phone"),
            ([("P-Preferred-Identity", "<sip:eve@x.example>")], "403"),
            ([], "403"),
        ):
            self.assertEqual(self.ask(nobody, "bob", headers=headers), expected)
        self.end()

    def test_user_within_a_network(self) -> None:
        """What an endpoint says of itself must hold together; a number counts as a user."""
        desk = Endpoint("desk", users=users("+1555"), networks=(PEER,))
        far = Endpoint("far", users=users("+1555", "mail"), networks=("198.51.100.0/24",))
        self.begin(far, desk, has_digest=False, identifiers=[UserIdentifier()])
        other = ScriptedPeer(self.net.host("198.51.100.7", name="other"))
        self.assertEqual(self.ask("tel:+1-555"), "desk")
        self.assertEqual(self.ask("tel:+1-555", peer=other), "far")
        self.assertEqual(self.ask("sip:mail@x.example"), "403")
        self.assertEqual(self.ask("mailto:mail@x.example"), "403")
        self.end()

    def test_header(self) -> None:
        """All headers, each with its very value."""
        secret = (HeaderMatch("X-Key", "s\xe4cret"), HeaderMatch("x-site", "1"))
        self.begin(Endpoint("site", headers=secret), has_digest=False)
        good = [("x-key", "s\xe4cret"), ("X-Site", "1")]
        self.assertEqual(self.ask(headers=good), "site")
        self.assertEqual(self.ask(headers=[("X-Key", "other"), *good]), "site")
        for headers in (good[:1], good[1:], [("X-Key", "s\xe4cre"), ("X-Site", "1")], []):
            self.assertEqual(self.ask(headers=headers), "403")
        self.end()

    def test_digest(self) -> None:
        """The user of the credentials, whatever From says."""
        self.begin(PHONE, APP)
        self.assertEqual(self.ask("sip:anonymous@anonymous.invalid", "app"), "app")
        self.assertEqual(self.ask("sip:eve@x.example", "eve"), "401")
        # The endpoint of Bob wants a From of Bob.
        self.assertEqual(self.ask("sip:eve@x.example", "bob"), "403")
        self.end()

    def test_transport(self) -> None:
        """An endpoint of another transport is not known over this one, even with its password."""
        secure = Endpoint("secure", networks=(PEER,), transports=frozenset({"TLS"}))
        plain = Endpoint("plain", networks=("192.0.2.0/24",), transports=frozenset({"UDP"}))
        self.begin(secure, plain, has_digest=False)
        self.assertEqual(self.ask(), "plain")
        self.end()
        self.begin(Endpoint("x", digest_users=users("x"), transports=frozenset({"TLS"})))
        self.assertEqual(self.ask(login="x"), "403")
        self.end()

    def test_other_way(self) -> None:
        """A digest gate alone holds an endpoint to its networks and transports as well."""
        home = Endpoint("home", digest_users=users("a"), networks=("198.51.100.0/24",))
        secure = Endpoint("secure", digest_users=users("b"), transports=frozenset({"TLS"}))
        self.begin(home, secure, identifiers=[], anonymous="challenge")
        for user in ("a", "b"):
            self.assertEqual(self.ask(login=user), "403")
        self.assertEqual(self.box.refused["digest-other-way"], 2)
        self.end()

    def test_order(self) -> None:
        """The first identifier that names one counts, in the order that was configured."""
        user = Endpoint("user", users=users("bob"), networks=("192.0.2.0/24",))
        for identifiers, expected in (
            ([NetworkIdentifier(), UserIdentifier()], "trunk"),
            ([UserIdentifier(), NetworkIdentifier()], "user"),
        ):
            self.begin(TRUNK, user, identifiers=identifiers, has_digest=False)
            self.assertEqual(self.ask("sip:bob@x.example"), expected)
            self.assertEqual(self.ask("sip:eve@x.example"), "trunk")
            self.end()

    def test_slow_identifier(self) -> None:
        """An identifier may take its time; when it knows nobody, the next one is asked."""
        for found, login, expected in (
            (TRUNK, "", "trunk"),
            (None, "", "401"),
            (PHONE, "", "401"),
            (None, "app", "app"),
        ):
            slow = Slow()
            identifiers = [slow, DigestIdentifier(REALM)]
            self.begin(PHONE, APP, identifiers=identifiers)
            self.assertEqual(slow.endpoints, (PHONE, APP))
            self.net.callLater(0.5, slow.answer.callback, found)
            self.assertEqual(self.ask(login=login), expected)
            self.end()


class NobodyTests(IdentifyTestCase):
    """Who is no endpoint."""

    def test_policies(self) -> None:
        """Let in, asked, or refused; who has a password is let in as whom it is."""
        for anonymous, expected in (
            ("allow", "anonymous"),
            ("challenge", "401"),
            ("refuse", "403"),
        ):
            self.begin(APP, anonymous=anonymous)
            self.assertEqual(self.ask(), expected)
            if anonymous == "challenge":
                self.assertEqual(self.ask(login="app"), "app")
            self.end()

    def test_nobodys_endpoint(self) -> None:
        """An endpoint of the name ``anonymous`` says how who is nobody is treated."""
        nobody = Endpoint("anonymous", dtmf="none")
        gate = IdentifyGate([TRUNK, nobody], anonymous="allow")
        self.assertIs(gate.nobody, nobody)
        found: list[Endpoint | None] = []
        self.start(gates=[gate, Gate(lambda admission: found.append(admission.endpoint))])
        far = ScriptedPeer(self.net.host("203.0.113.7", name="far"))
        self.assertEqual(self.put(far.request("OPTIONS", f"sip:{US}"), far).status, 200)
        self.assertIs(found[0], nobody)
        self.end()
        for told in (
            Endpoint("anonymous", networks=("192.0.2.0/24",)),
            Endpoint("anonymous", transports=frozenset({"TLS"})),
        ):
            self.assertRaises(LocalError, IdentifyGate, [told])

    def test_who_exists(self) -> None:
        """Who is known by From is asked; so who is not known is, although he would be refused."""
        self.begin(PHONE)
        answers = {
            self.ask(f"sip:{user}@x.example", login)
            for user in ("bob", "eve")
            for login in ("", "eve")
        }
        self.assertEqual(answers, {"401"})
        self.end()

    def test_unsafe(self) -> None:
        """What anybody could be, or nobody could prove, is refused when the gate is made."""
        anybody = Endpoint("anybody", users=users("bob"))
        self.assertRaises(LocalError, IdentifyGate, [anybody])
        self.assertRaises(LocalError, IdentifyGate, [PHONE])
        self.assertRaises(LocalError, IdentifyGate, [TRUNK, TRUNK])
        self.assertRaises(LocalError, IdentifyGate, [], anonymous="challenge")
        everywhere = Endpoint("x", users=users("bob"), networks=("0.0.0.0/0", "::/0"))
        IdentifyGate([everywhere])


class DialogTests(IdentifyTestCase):
    """Requests within a dialog."""

    def test_same_host(self) -> None:
        """They are of the session's endpoint; from elsewhere, of whoever they are."""
        self.begin(TRUNK, has_digest=False)
        success = self.call()
        bye = self.peer.request_within(success, "BYE")
        other = ScriptedPeer(self.net.host("203.0.113.7", name="other"))
        self.assertEqual(self.put(bye, other).status, 403)
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.seen, ["trunk", "trunk"])
        self.end()

    def test_always(self) -> None:
        """When each request of a dialog is to be proven, it is."""
        trusted = Endpoint("t", networks=(PEER,), digest_users=users("t"))
        self.begin(trusted, in_dialog="always")
        invite = self.peer.invite(f"sip:x@{US}")
        challenged = self.put(invite)
        self.peer.ack(challenged)
        again = self.peer.invite(f"sip:x@{US}")
        challenge = get_challenges(challenged.headers, "WWW-Authenticate")[0]
        answer = answer_challenge(
            challenge, username="t", password="t", method="INVITE", uri=again.uri, cnonce="c"
        )
        again.headers.set("Authorization", str(answer))
        success = self.put(again)
        self.assertEqual(success.status, 200)
        self.peer.ack(success)
        bye = self.peer.request_within(success, "BYE")
        self.assertEqual(self.put(bye).status, 401)
        (session,) = self.box.manager.sessions
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.end()
