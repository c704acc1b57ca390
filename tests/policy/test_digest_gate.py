# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The digest gate: who is asked, who is let in, and that nobody learns anything else."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.admission import Admission
from sipsess.endpoint import (
    ANONYMOUS,
    DigestCredentials,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    Login,
    MemoryStore,
)
from sipsess.endpoint.nonces import MAX_USED
from sipsess.errors import LocalError
from sipsess.ids import IdSource
from sipsess.interfaces import IDigestProof, IEndpoint, IRequestGate
from sipsess.message import Request, Response
from sipsess.message.challenge import Challenge, get_challenges
from sipsess.message.digest import Authorization, answer_challenge
from sipsess.session import Session
from sipsess.supplements.credentials import Credentials
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US, BoxTestCase, Gate, ring

REALM = "pbx.example"
BOB = Endpoint("bob", digest_users=frozenset({"bob"}))
CAROL = Endpoint("carol", digest_users=frozenset({"carol"}))
PASSWORDS = {"bob": "zanzibar", "carol": "kampala"}


def make_portal() -> Portal:
    """Return a portal that knows Bob and Carol."""
    store = MemoryStore()
    for user, password in PASSWORDS.items():
        store.add(user, REALM, password)
    return Portal(EndpointRealm([BOB, CAROL]), [HA1Checker([store])])


def _set_endpoint(endpoint: Endpoint, admission: Admission) -> None:
    admission.endpoint = endpoint


@implementer(ICredentialsChecker)
class Slow:
    """A checker that waits for the test."""

    credentialInterfaces = (IDigestProof,)

    def __init__(self) -> None:
        self.answer: Deferred[Any] = Deferred()

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Wait."""
        return self.answer


class GateTestCase(BoxTestCase):
    """A box behind a digest gate."""

    def begin(
        self, *, portal: Portal | None = None, first: Gate | None = None, **options: Any
    ) -> None:
        """Start the box; ``first`` is a gate before, and what is left goes to the digest gate."""
        box = {name: options.pop(name) for name in ("play", "supplements") if name in options}
        ids = IdSource(random.Random(3))
        self.gate = DigestGate(portal or make_portal(), REALM, ids=ids, **options)
        self.seen: list[str | None] = []

        def note(admission: Admission) -> None:
            self.seen.append(admission.endpoint.name if admission.endpoint else None)

        last = Gate(note)
        gates = [first] if first is not None else []
        self.start(gates=[*gates, self.gate, last], **box)

    def ask(self, method: str = "OPTIONS", uri: str = f"sip:{US}", **kwargs: Any) -> Response:
        """Send a request and return its final answer, acknowledged."""
        request = self.peer.request(method, uri, **kwargs)
        return self.put(request)

    def put(self, request: Request, peer: ScriptedPeer | None = None) -> Response:
        """Send a request, return its final answer, acknowledged."""
        peer = peer or self.peer
        peer.send(request, (US, 5060))
        number = request.cseq
        found = peer.expect(
            lambda message: (
                isinstance(message, Response) and message.status >= 200 and message.cseq == number
            )
        )
        assert isinstance(found, Response)
        if request.method == "INVITE" and found.status >= 300:
            peer.ack(found)
        return found

    def challenges(self, response: Response) -> list[Challenge]:
        """Return the challenges of a 401."""
        self.assertEqual(response.status, 401)
        return get_challenges(response.headers, "WWW-Authenticate")

    def authorize(
        self,
        request: Request,
        challenge: Challenge,
        user: str = "bob",
        password: str | None = None,
        count: int = 1,
        **changes: Any,
    ) -> Request:
        """Give a request the right credentials, or those with some changes."""
        answer = answer_challenge(
            challenge,
            username=user,
            password=PASSWORDS.get(user, "") if password is None else password,
            method=request.method,
            uri=request.uri,
            body=request.body,
            cnonce="0a4f113b",
            count=count,
        )
        request.headers.set("Authorization", str(replace(answer, **changes)))
        return request

    def answer(self, asked: Response, /, method: str = "OPTIONS", **kwargs: Any) -> Response:
        """Answer the first challenge of a 401 in a new request; return what becomes of it."""
        uri = kwargs.pop("target", f"sip:{US}")
        names = ("call_id", "body", "content_type")
        more = {name: kwargs.pop(name) for name in names if name in kwargs}
        request = self.peer.request(method, uri, **more)
        return self.put(self.authorize(request, self.challenges(asked)[0], **kwargs))

    def refusals(self) -> dict[str, int]:
        """Return what was refused, by reason."""
        return dict(self.box.refused)

    def end(self) -> None:
        """Let all timers end, and check that nothing is left."""
        self.net.run_for(70)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.net.assert_quiet()


class ChallengeTests(GateTestCase):
    """Who is asked, and how."""

    def test_the_interface(self) -> None:
        """It is a gate."""
        self.begin()
        verifyObject(IRequestGate, self.gate)

    def test_challenges(self) -> None:
        """One challenge per algorithm, the best first, each of one nonce (RFC 8760 2.3)."""
        self.begin()
        found = self.challenges(self.ask())
        self.assertEqual([one.algorithm for one in found], ["SHA-256", "MD5"])
        for one in found:
            self.assertEqual((one.realm, one.qop, one.is_stale), (REALM, ("auth",), False))
        self.assertEqual(self.refusals(), {"digest-missing": 1})
        self.assertEqual(self.seen, [])
        self.end()

    def test_each_method(self) -> None:
        """Whatever the method, and whether or not it would have been answered."""
        self.begin()
        for method in ("INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NONSENSE"):
            self.challenges(self.ask(method, f"sip:nobody@{US}"))
        self.end()

    def test_nothing_is_kept(self) -> None:
        """A flood of requests without credentials, or with made-up ones, fills no table."""
        self.begin()
        response = self.ask()
        for number in range(50):
            response = self.answer(response, user=f"user{number}", call_id=f"call{number}")
            self.ask(call_id=f"other{number}")
        self.assertEqual(len(self.gate._uses), 0)
        self.assertEqual(len(self.gate._attempts), 50)
        self.end()

    def test_ack_and_cancel(self) -> None:
        """Neither is ever challenged: neither can be sent again (RFC 3261 22.1)."""
        self.begin(play=ring)
        response = self.ask("INVITE", f"sip:bob@{US}", headers={"Content-Length": "0"})
        invite = self.peer.invite(f"sip:bob@{US}")
        self.peer.send(self.authorize(invite, self.challenges(response)[0]), (US, 5060))
        self.peer.expect(180)
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 487)
        self.peer.ack(refused)
        self.peer.send(self.peer.request("ACK", f"sip:{US}"), (US, 5060))
        self.net.run_for(1)
        self.assertEqual(self.refusals(), {"digest-missing": 1, "ack-unmatched": 1})
        self.end()

    def test_endpoint_without_users(self) -> None:
        """A gate before has admitted who needs no proof."""
        for endpoint in (ANONYMOUS, Endpoint("trunk")):
            self.begin(first=Gate(partial(_set_endpoint, endpoint)))
            self.assertEqual(self.ask().status, 200)
            self.assertEqual(self.seen, [endpoint.name])
            self.end()

    def test_bad_options(self) -> None:
        """What could not work is refused when the gate is made."""
        portal = make_portal()
        for realm in ("", 'a"b', "a\\b", "a:b", "a\r\nX: b"):
            self.assertRaises(LocalError, DigestGate, portal, realm)
        for names in ((), ("SHA-1",), ("MD5-SESS",), ("MD5", "MD5")):
            self.assertRaises(LocalError, DigestGate, portal, REALM, algorithms=names)
        self.assertRaises(LocalError, DigestGate, portal, REALM, qop=("token",))
        self.assertRaises(LocalError, DigestGate, portal, REALM, qop=())


class ProofTests(GateTestCase):
    """Who is let in."""

    def test_right(self) -> None:
        """Who knows the password is its endpoint, with each algorithm."""
        self.begin(algorithms=("SHA-512-256", "SHA-256", "MD5"))
        for place in range(3):
            challenge = self.challenges(self.ask())[place]
            request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), challenge)
            self.assertEqual(self.put(request).status, 200)
        self.assertEqual(self.seen, ["bob"] * 3)
        self.end()

    def test_call(self) -> None:
        """A call has the endpoint of the proven user, and goes on without further proofs."""
        self.begin()
        response = self.ask("INVITE", f"sip:x@{US}", body=self.peer.sdp())
        success = self.answer(
            response, "INVITE", target=f"sip:x@{US}", user="carol", body=self.peer.sdp()
        )
        self.assertEqual(success.status, 200)
        (session,) = self.box.manager.sessions
        self.assertEqual(session.endpoint, CAROL)
        self.peer.ack(success)
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.seen, ["carol", "carol"])
        self.end()

    def test_auth_int(self) -> None:
        """When bodies are protected, one that was changed on its way is noticed."""
        self.begin(qop=("auth-int",))
        response = self.ask()
        for body, expected in ((b"good", 200), (b"evil", 401)):
            request = self.peer.request(
                "OPTIONS", f"sip:{US}", body=b"good", content_type="text/plain"
            )
            self.authorize(request, self.challenges(response)[0])
            request.set_body("text/plain", body)
            response = self.put(request)
            self.assertEqual(response.status, expected)
            response = self.ask()
        self.assertEqual(self.refusals()["digest-wrong"], 1)
        self.end()

    def test_wrong(self) -> None:
        """A wrong password, and a user that there is not: the same answer, byte for byte."""
        self.begin()
        answers = []
        for user in ("bob", "eve"):
            response = self.answer(self.ask(), user=user, password="wrong", call_id=user)
            for challenge in self.challenges(response):
                self.assertFalse(challenge.is_stale)
            lines = response.to_bytes().decode().split("\r\n")
            answers.append(
                [
                    line.replace(self.challenges(response)[0].nonce, "*")
                    for line in lines
                    if not line.startswith(("Via", "Call-ID", "From", "To", "CSeq"))
                ]
            )
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.refusals(), {"digest-missing": 2, "digest-wrong": 2})
        self.end()

    def test_unfit(self) -> None:
        """Another algorithm, quality of protection or user in ``uri``: asked again."""
        self.begin()
        unfit: tuple[dict[str, Any], ...] = (
            {"algorithm": "SHA-512-256"},
            {"algorithm": "MD5-SESS"},
            {"qop": None},
            {"qop": "auth-int"},
            {"uri": f"sip:premium@{US}"},
            {"uri": "urn:service:sos"},
            {"uri": "nonsense"},
            {"uri": "tel:1"},
        )
        for number, changes in enumerate(unfit):
            self.challenges(self.answer(self.ask(), call_id=str(number), **changes))
        self.assertEqual(self.refusals()["digest-unfit"], 8)
        self.end()

    def test_uri_that_a_proxy_changed(self) -> None:
        """The host of ``uri`` may be another one than the Request-URI's, unless that is fixed."""
        for domains, host, is_right in (
            ((), "anywhere.example", True),
            (("PBX.example",), "pbx.example", True),
            (("pbx.example",), "evil.example", False),
        ):
            self.begin(domains=domains)
            challenge = self.challenges(self.ask())[0]
            there = self.authorize(
                self.peer.request("INVITE", f"sip:x@{host}"), challenge
            ).headers.get("Authorization")
            request = self.peer.request(
                "INVITE", f"sip:x@{US}", headers={"Authorization": there or ""}
            )
            success = self.put(request)
            self.assertEqual(success.status, 200 if is_right else 401)
            if is_right:
                self.peer.ack(success)
                self.peer.bye(success)
            self.end()

    def test_uri_without_a_user(self) -> None:
        """A peer that leaves the user out of ``uri`` is let in where that is not looked at."""
        for checks_uri, expected in ((True, 401), (False, 200)):
            self.begin(checks_uri=checks_uri)
            challenge = self.challenges(self.ask())[0]
            given = self.authorize(self.peer.request("INVITE", f"sip:{US}"), challenge).headers
            value = given.get("Authorization") or ""
            invite = self.peer.request("INVITE", f"sip:x@{US}", headers={"Authorization": value})
            response = self.put(invite)
            self.assertEqual(response.status, expected)
            if expected == 200:
                self.peer.ack(response)
                self.peer.bye(response)
            self.end()

    def test_tel_uri(self) -> None:
        """The number of a ``tel`` URI is compared without what only separates its digits."""
        self.begin()
        challenge = self.challenges(self.ask())[0]
        given = self.authorize(self.peer.request("INVITE", "tel:+1-555"), challenge).headers
        request = self.peer.request(
            "INVITE", "tel:+1555", headers={"Authorization": given.get("Authorization") or ""}
        )
        success = self.put(request)
        self.assertEqual(success.status, 200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.end()

    def test_several_headers(self) -> None:
        """Credentials for other realms are nobody's business; of ours the first one counts."""
        self.begin()
        challenge = self.challenges(self.ask())[0]
        request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), challenge)
        good = request.headers.get("Authorization") or ""
        bad = good.replace('username="bob"', 'username="carol"')
        for values, expected in (
            ((good.replace(REALM, "elsewhere"), "Digest nonsense", good, bad), 200),
            ((bad, good), 401),
            ((good + ', username="carol"',), 401),
            ((f"{good}, {good}",), 401),
            ((good.replace("Digest", "Basic"),), 401),
        ):
            again = self.peer.request("OPTIONS", f"sip:{US}")
            for value in values:
                again.headers.add("Authorization", value)
            self.assertEqual(self.put(again).status, expected, values)
        self.end()

    def test_huge_values(self) -> None:
        """Values as long as a line may be cost an answer, and nothing else."""
        self.begin()
        for name in ("username", "nonce", "uri", "response", "cnonce"):
            value = "sip:" + "x" * 7000
            response = self.answer(self.ask(call_id=name), call_id=name, **{name: value})
            self.assertEqual(response.status, 401, name)
        self.end()

    def test_slow_checker(self) -> None:
        """A checker may take its time; a CANCEL of the caller ends it."""
        slow = Slow()
        verifyObject(ICredentialsChecker, slow)
        self.begin(portal=Portal(EndpointRealm([BOB]), [slow]))
        challenge = self.challenges(self.ask())[0]
        request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), challenge)
        self.peer.send(request, (US, 5060))
        self.net.run_for(1)
        slow.answer.callback(b"bob")
        self.assertEqual(self.answer_to("OPTIONS").status, 200)
        slow.answer = Deferred()
        invite = self.authorize(self.peer.invite(f"sip:x@{US}"), challenge, count=2)
        self.peer.send(invite, (US, 5060))
        self.net.run_for(1)
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 487)
        self.peer.ack(refused)
        self.end()

    def test_broken_realm(self) -> None:
        """A realm that gives something else than an endpoint costs the request, and is logged."""

        @implementer(IRealm)
        class Broken:
            """Gives its own."""

            def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
                """Give nonsense."""
                return IEndpoint, "bob", lambda: None

        checker = make_portal().checkers[IDigestProof]
        self.begin(portal=Portal(Broken(), [checker]))
        self.assertEqual(self.answer(self.ask()).status, 500)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.end()


class NonceTests(GateTestCase):
    """Old, foreign and used nonces."""

    def test_stale(self) -> None:
        """Too old a nonce, with the right password: a new one, and ``stale`` (RFC 7616 3.3)."""
        self.begin(lifetime=60)
        response = self.ask()
        self.net.run_for(61)
        response = self.answer(response)
        self.assertTrue(all(one.is_stale for one in self.challenges(response)))
        self.assertEqual(self.answer(response).status, 200)
        self.assertEqual(self.refusals()["digest-stale"], 1)
        self.end()

    def test_stale_and_wrong(self) -> None:
        """Too old a nonce does not tell who does not know the password that it is old."""
        self.begin(lifetime=60)
        response = self.ask()
        self.net.run_for(61)
        response = self.answer(response, password="wrong")
        self.assertFalse(self.challenges(response)[0].is_stale)
        self.end()

    def test_foreign(self) -> None:
        """A nonce of ours before a restart, or of nobody: stale, as the password is right."""
        self.begin()
        self.ask()
        foreign = Challenge.parse(f'Digest realm="{REALM}", nonce="made-up", qop="auth"')
        request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), foreign)
        self.assertTrue(self.challenges(self.put(request))[0].is_stale)
        self.end()

    def test_replay(self) -> None:
        """Credentials that were seen are good for nothing, whoever sends them."""
        self.begin()
        challenge = self.challenges(self.ask())[0]
        request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), challenge)
        stolen = request.headers.get("Authorization") or ""
        self.assertEqual(self.put(request).status, 200)
        thief = ScriptedPeer(self.net.host("192.0.2.66", name="thief"))
        replayed = thief.request("OPTIONS", f"sip:{US}", headers={"Authorization": stolen})
        self.challenges(self.put(replayed, thief))
        self.assertEqual(self.refusals()["digest-replayed"], 1)
        self.end()

    def test_mutations(self) -> None:
        """No change of credentials that were seen makes them good again, or makes any trouble."""
        self.begin(max_failures=10**6)
        challenge = self.challenges(self.ask())[0]
        request = self.authorize(self.peer.request("OPTIONS", f"sip:{US}"), challenge)
        seen = request.headers.get("Authorization") or ""
        self.assertEqual(self.put(request).status, 200)
        chance = random.Random(11)
        letters = '"\\,;=<> \tAa0/+-_:@%\xe4\0'
        for _ in range(400):
            text = list(seen)
            for _ in range(chance.randint(1, 3)):
                place = chance.randrange(len(text))
                text[place] = chance.choice(("", chance.choice(letters), text[place] * 2))
            wire = self.peer.request("OPTIONS", f"sip:{US}").to_bytes()
            line = f"Authorization: {''.join(text)}\r\n\r\n".encode()
            self.peer.send(wire.replace(b"\r\n\r\n", b"\r\n" + line), (US, 5060))
            found = self.peer.expect(lambda message: isinstance(message, Response))
            assert isinstance(found, Response)
            self.assertIn(found.status, (400, 401), "".join(text))
            self.net.run_for(0.5)
        self.end()

    def test_counted(self) -> None:
        """A nonce may be used again with a higher count, and out of order (RFC 7616 3.4)."""
        self.begin()
        challenge = self.challenges(self.ask())[0]
        for count, expected in ((1, 200), (3, 200), (2, 200), (2, 401), (0, 401), (4, 200)):
            request = self.peer.request("OPTIONS", f"sip:{US}")
            self.authorize(request, challenge, count=count)
            self.assertEqual(self.put(request).status, expected, count)
        self.end()

    def test_bound_to_source(self) -> None:
        """Optionally a nonce is good for one host only."""
        for binds_source, expected in ((False, 200), (True, 401)):
            self.begin(binds_source=binds_source)
            challenge = self.challenges(self.ask())[0]
            other = ScriptedPeer(self.net.host("192.0.2.66", name="other"))
            request = self.authorize(other.request("OPTIONS", f"sip:{US}"), challenge)
            self.assertEqual(self.put(request, other).status, expected)
            self.end()

    def test_bounded_table(self) -> None:
        """What is remembered of used nonces has a limit."""
        self.begin()
        self.assertEqual(self.gate._uses._limit, MAX_USED)


class LoopTests(GateTestCase):
    """Who goes on and on."""

    def test_limit(self) -> None:
        """After some wrong answers of one call there is no other challenge, but 403."""
        self.begin(max_failures=3)
        response = self.ask(call_id="x")
        for _ in range(3):
            response = self.answer(response, password="wrong", call_id="x")
        last = self.challenges(response)[0]
        for user in ("bob", "eve"):
            request = self.peer.request("OPTIONS", f"sip:{US}", call_id="x")
            self.authorize(request, last, user, "wrong")
            refused = self.put(request)
            self.assertEqual(refused.status, 403)
            self.assertNotIn("WWW-Authenticate", refused.headers)
        self.assertEqual(self.refusals()["digest-loop"], 2)
        # Who has found the password by now is let in all the same, and begins anew.
        self.assertEqual(self.answer(self.ask(call_id="x"), call_id="x").status, 200)
        self.challenges(self.answer(self.ask(call_id="x"), password="wrong", call_id="x"))
        self.end()

    def test_unreadable(self) -> None:
        """Credentials that cannot be read, or are for others, count as wrong ones."""
        self.begin(max_failures=2)
        for expected in (401, 401, 403):
            request = self.peer.request(
                "OPTIONS", f"sip:{US}", call_id="x", headers={"Authorization": "Digest nc=1"}
            )
            self.assertEqual(self.put(request).status, expected)
        self.assertEqual(self.refusals(), {"digest-unfit": 2, "digest-loop": 1})
        self.end()

    def test_other_calls(self) -> None:
        """It counts for the call, so that nobody can keep others out."""
        self.begin(max_failures=1)
        response = self.answer(self.ask(call_id="x"), password="wrong", call_id="x")
        self.challenges(response)
        self.challenges(self.answer(response, password="wrong", call_id="y"))
        self.end()


class DialogTests(GateTestCase):
    """Requests within a dialog."""

    def stand(self, **options: Any) -> Response:
        """Make a call."""
        self.begin(**options)
        response = self.ask("INVITE", f"sip:x@{US}", body=self.peer.sdp())
        success = self.answer(response, "INVITE", target=f"sip:x@{US}", body=self.peer.sdp())
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def test_elsewhere(self) -> None:
        """A request of the dialog from another host needs a proof."""
        success = self.stand()
        other = ScriptedPeer(self.net.host("192.0.2.66", name="other"))
        bye = self.peer.request_within(success, "BYE")
        self.challenges(self.put(bye, other))
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.end()

    def test_early(self) -> None:
        """A PRACK within the early dialog is let in (:rfc:`3262#section-3`)."""

        async def play(session: Session) -> None:
            await session.send_response(183, reliable=True)
            await session.send_response(200)
            await session.when_ended()

        self.begin(play=play)
        headers = {"Supported": "100rel"}
        response = self.ask("INVITE", f"sip:x@{US}", body=self.peer.sdp(), headers=headers)
        invite = self.peer.invite(f"sip:x@{US}", headers=headers)
        self.peer.send(self.authorize(invite, self.challenges(response)[0]), (US, 5060))
        early = self.peer.expect(183)
        rack = f"{early.headers.get('RSeq')} {early.cseq}"
        prack = self.peer.request_within(early, "PRACK", headers={"RAck": rack})
        self.assertEqual(self.put(prack).status, 200)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.assertEqual(self.refusals(), {"digest-missing": 1})
        self.end()

    def test_no_dialog(self) -> None:
        """A To tag alone opens nothing: no registrar, and no dialog (481) without a proof."""
        success = self.stand()
        for method in ("REGISTER", "INVITE", "MESSAGE", "BYE"):
            request = self.peer.request(method, f"sip:{US}", to=f"<sip:{US}>;tag=made-up")
            self.challenges(self.put(request))
        self.peer.bye(success)
        self.end()

    def test_always(self) -> None:
        """Optionally each request of a dialog needs a proof."""
        success = self.stand(in_dialog="always")
        bye = self.peer.request_within(success, "BYE")
        challenge = self.challenges(self.put(bye))[0]
        again = self.authorize(self.peer.request_within(success, "BYE"), challenge)
        self.assertEqual(self.put(again).status, 200)
        self.end()

    def test_named_endpoint(self) -> None:
        """Who was named by a gate before must prove to be that one, and no other."""
        names: dict[str, Endpoint] = {"bob": BOB, "carol": CAROL}

        def name(admission: Admission) -> None:
            uri = admission.request.from_.uri
            admission.endpoint = names[uri.partition(":")[2].partition("@")[0]]

        self.begin(first=Gate(name))
        for user, status in (("bob", 200), ("carol", 403)):
            from_ = "<sip:bob@pbx.example>;tag=1"
            challenge = self.challenges(self.ask(from_=from_))[0]
            request = self.peer.request("OPTIONS", f"sip:{US}", from_=from_)
            self.assertEqual(self.put(self.authorize(request, challenge, user)).status, status)
        self.assertEqual(self.seen, ["bob"])
        self.assertEqual(self.refusals()["digest-other-user"], 1)
        self.end()


class BothSidesTests(GateTestCase):
    """Our own caller against our own gate."""

    def test_call(self) -> None:
        """What one side answers the other one accepts, for the call, and for the next one."""
        self.begin(in_dialog="always")
        self.peer.close()
        from tests.policy.agents import Box

        caller = Box(self.net.host("192.0.2.77", name="caller"), supplements=[Credentials()])
        credentials = DigestCredentials((Login(REALM, "bob", "zanzibar"),))
        for _ in range(2):
            session = caller.manager.dial(
                f"sip:x@{US}",
                caller.flow_to((US, 5060)),
                endpoint=replace(ANONYMOUS, credentials=credentials),
            )
            session.invite_client.answered.addErrback(lambda failure: None)
            self.net.run_for(1)
            self.assertTrue(session.is_answered)
            session.terminate()
            self.net.run_for(1)
            self.assertTrue(session.is_over)
        self.assertEqual(self.seen, ["bob"] * 4)
        self.assertEqual(self.refusals(), {"digest-missing": 4})
        self.net.run_for(70)
        self.net.assert_quiet()

    def test_parsed(self) -> None:
        """The answer is one that our own parser takes."""
        credentials = DigestCredentials((Login(REALM, "bob", "zanzibar"),))
        self.begin()
        request = self.peer.request("OPTIONS", f"sip:{PEER}")
        text = credentials.answer_challenge(request, self.challenges(self.ask())[0])
        self.assertEqual(Authorization.parse(text or "").username, "bob")
        self.end()
