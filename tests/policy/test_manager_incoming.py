# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What becomes a session, and what is refused before one exists."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import Deferred

from sipsess.manager import RETRY_AFTER
from sipsess.session import Session
from sipsess.session.desk import RequestDesk
from sipsess.supplement import SessionSupplement
from sipsess.testing import ScriptedPeer
from tests.policy.agents import US, BoxTestCase, Script, ring


class Bodies(SessionSupplement):
    """A supplement that reads another body type and supports another method."""

    name = "bodies"
    accept = frozenset({"application/x-test"})
    allow = frozenset({"INFO"})
    option_tags = frozenset({"x-test"})


class RoutingTests(BoxTestCase):
    """Which application gets a call."""

    def setUp(self) -> None:
        """Note which application was chosen."""
        self.chosen: list[str] = []

    def choose(self, *uris: str, application: str | None = "script") -> list[int]:
        """Call each URI; return the final statuses."""
        names = ("600", "hello", "+15550123")
        applications = [Script(self._note, name) for name in names]
        self.start(play=self._note, applications=applications, application=application)
        statuses = []
        for uri in uris:
            self.invite(uri=uri)
            refusal = self.answer_to("INVITE")
            self.peer.ack(refusal)
            statuses.append(refusal.status)
        self.finish()
        return statuses

    async def _note(self, session: Session) -> None:
        self.chosen.append(session.runner.name)

    def test_by_user_else_the_default(self) -> None:
        """The user that names an application chooses it; every other gets the default."""
        statuses = self.choose(f"sip:600@{US}", f"sip:nobody@{US}", f"sip:{US}", f"sip:Hello@{US}")
        self.assertEqual(self.chosen, ["600", "script", "script", "script"])
        self.assertEqual(statuses, [480] * 4)

    def test_escapes(self) -> None:
        """19.1.4: an escaped letter is that letter."""
        self.choose(f"sip:h%65llo@{US}")
        self.assertEqual(self.chosen, ["hello"])

    def test_tel(self) -> None:
        """RFC 3966: the number, without visual separators."""
        self.choose("tel:+1-555-0123", "tel:+1-555-0124")
        self.assertEqual(self.chosen, ["+15550123", "script"])

    def test_no_application(self) -> None:
        """8.2.2.1: 404 when nothing here answers that Request-URI."""
        statuses = self.choose(f"sip:nobody@{US}", f"sip:600@{US}", application=None)
        self.assertEqual((statuses, self.chosen), ([404, 480], ["600"]))
        self.assertEqual(self.box.refused, {"no-application": 1})


class RefusalTests(BoxTestCase):
    """INVITEs of which no session is made."""

    def refuse(self, status: int, code: str, **kwargs: object) -> dict[str, str]:
        """Send an INVITE and expect it to be refused, without a session; return the headers."""
        begun = self.box.core.counters.sessions_begun
        self.box.core.counters.refused.clear()
        self.invite(**kwargs)
        refusal = self.peer.expect(status)
        self.peer.ack(refusal)
        self.assertEqual(self.box.refused, {code: 1})
        self.assertEqual(self.box.core.counters.sessions_begun, begun)
        self.assertEqual(self.box.manager.leftovers()[:1], [repr_of(self.box.core.layer)])
        return dict(refusal.headers.items())

    def test_body_type(self) -> None:
        """8.2.3: 415 with Accept; a supplement may read more types."""
        self.start()
        headers = self.refuse(415, "unsupported-body", body="x", content_type="text/plain")
        self.assertEqual(headers["Accept"], "application/sdp")
        self.box.manager.register_supplement(Bodies())
        headers = self.refuse(415, "unsupported-body", body="x", content_type="text/plain")
        self.assertEqual(headers["Accept"], "application/sdp, application/x-test")
        self.finish()

    def test_body_without_type(self) -> None:
        """20.15: a body needs a Content-Type."""
        self.start()
        invite = self.peer.invite(f"sip:bob@{US}")
        invite.headers.remove("Content-Type")
        self.peer.send(invite)
        self.peer.ack(self.peer.expect(415))
        self.finish()

    def test_body_that_is_optional(self) -> None:
        """20.11: a body that need not be understood is no reason to refuse."""
        self.start()
        disposition = "render; Handling = optional"
        self.invite(body="x", content_type="a/b", headers={"Content-Disposition": disposition})
        success = self.peer.expect(200)
        self.peer.ack(success, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.refuse(
            *(415, "unsupported-body"),
            body="x",
            content_type="a/b",
            headers={"Content-Disposition": "session;handling=required"},
        )
        self.finish()

    def test_encoding(self) -> None:
        """8.2.3: 415 with Accept-Encoding; identity is no encoding."""
        self.start()
        headers = self.refuse(415, "unsupported-body", headers={"Content-Encoding": "gzip"})
        self.assertEqual(headers["Accept-Encoding"], "identity")
        self.assertNotIn("Accept", headers)
        self.invite(headers={"Content-Encoding": "Identity"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.finish()

    def test_content_type_with_parameters(self) -> None:
        """7.3.1: parameters and case of a type do not matter."""
        self.start()
        self.invite(content_type="Application/SDP; charset=utf-8")
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.finish()

    def test_accept_of_the_caller(self) -> None:
        """RFC 4475 section 3.3.15: 406 when the caller would not read our answer."""
        self.start()
        for accept in ("text/plain", ""):
            self.refuse(406, "answer-unacceptable", headers={"Accept": accept})
        for accept in ("text/plain, application/SDP;level=1", "*/*", "application/*"):
            self.invite(headers={"Accept": accept})
            success = self.peer.expect(200)
            self.peer.ack(success)
            self.peer.bye(success)
        self.finish()

    def test_contact(self) -> None:
        """8.1.1.8: 400 without Contact, or with one that is no SIP URI, or broken."""
        self.start()
        for contact, code in (
            ("<tel:+1555>", "contact-missing"),
            ("*", "bad-uri"),
            ("<sip:a@b", "bad-address"),
        ):
            self.refuse(400, code, headers={"Contact": contact})
        invite = self.peer.invite(f"sip:bob@{US}")
        invite.headers.remove("Contact")
        self.peer.send(invite)
        refusal = self.peer.expect(400)
        self.assertIn("Contact", refusal.reason)
        self.peer.ack(refusal)
        self.finish()

    def test_record_route(self) -> None:
        """A Record-Route that cannot be read is 400, before any session exists."""
        self.start()
        self.refuse(400, "bad-address", headers={"Record-Route": "<sip:p1;lr>, <<"})
        self.finish()

    def test_too_many_sessions(self) -> None:
        """503 with Retry-After; there is room again when one ends."""
        self.start()
        self.box.manager.max_sessions = 1
        success = self.call()
        self.invite()
        refusal = self.peer.expect(503)
        self.assertEqual(refusal.headers.get("Retry-After"), str(RETRY_AFTER))
        self.peer.ack(refusal)
        self.assertEqual(self.box.refused, {"sessions-full": 1})
        self.peer.bye(success)
        self.answer_to("BYE")
        self.net.run_for(1)
        self.peer.bye(self.call())
        self.finish()

    def test_too_many_of_one_peer(self) -> None:
        """503 for a host that has begun too many; another one still gets through."""
        self.start()
        other = ScriptedPeer(self.net.host("192.0.2.10", name="other"))
        self.box.manager.max_sessions_per_peer = 1
        success = self.call()
        self.invite()
        self.peer.ack(self.peer.expect(503))
        self.assertEqual(self.box.refused, {"peer-sessions-full": 1})
        other.send(other.invite(f"sip:bob@{US}"), (US, 5060))
        second = other.expect(200)
        other.ack(second)
        other.bye(second)
        other.expect(200)
        self.peer.bye(success)
        self.answer_to("BYE")
        self.net.run_for(1)
        self.peer.bye(self.call())
        self.finish()

    def test_our_own_calls_are_not_the_peers(self) -> None:
        """What we have placed to a host counts for nobody's limit."""
        self.start()
        self.box.manager.max_sessions_per_peer = 1
        session = self.box.dial()
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.peer.bye(self.call())
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_too_many_for_our_own_call(self) -> None:
        """A call of ours is not placed either; who dialled hears of it."""
        self.start()
        self.box.manager.max_sessions = 0
        session = self.box.dial()
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual(self.peer.received, [])
        self.box.manager.max_sessions = 1
        self.finish()

    def test_stopping(self) -> None:
        """When the server stops, new calls get 503, live ones are ended."""
        self.start()
        self.call()
        stopped: list[object] = []
        self.box.manager.stop().addCallback(stopped.append)
        bye = self.peer.expect("BYE")
        self.assertNotIn("Retry-After", bye.headers)
        self.refuse_while_stopping()
        self.assertEqual(stopped, [])
        self.peer.reply(bye, 200)
        self.net.run_for(1)
        self.assertEqual(stopped, [None])
        self.box.manager.is_stopping = False
        self.finish()

    def refuse_while_stopping(self) -> None:
        """INVITE and OPTIONS alike (11.2)."""
        self.invite()
        refusal = self.answer_to("INVITE")
        self.peer.ack(refusal)
        self.send("OPTIONS")
        for response in (refusal, self.answer_to("OPTIONS")):
            self.assertEqual(response.status, 503)
            self.assertEqual(response.headers.get("Retry-After"), str(RETRY_AFTER))
        self.assertEqual(self.box.refused, {"stopping": 2})

    def test_stopping_while_it_rings(self) -> None:
        """The refusal of a call that was not answered says when to come back."""
        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        self.box.manager.stop()
        refusal = self.peer.expect(503)
        self.assertEqual(refusal.headers.get("Retry-After"), str(RETRY_AFTER))
        self.peer.ack(refusal)
        self.box.manager.is_stopping = False
        self.finish()

    def test_options_like_an_invite(self) -> None:
        """11.2: OPTIONS to a user whom nobody answers for is 404; to the server it is 200."""
        self.start(application=None)
        for uri, status in ((f"sip:nobody@{US}", 404), (f"sip:script@{US}", 200)):
            self.send("OPTIONS", uri=uri)
            self.assertEqual(self.answer_to("OPTIONS").status, status)
        self.send("OPTIONS", uri=f"sip:{US}")
        self.peer.expect(200)
        self.finish()

    def test_bug_when_a_session_begins(self) -> None:
        """500, a log entry, and nothing of the session is left."""
        self.start()
        for method in ("receive_initial", "_take"):
            with patch.object(RequestDesk, method, side_effect=ZeroDivisionError):
                self.invite()
                refusal = self.peer.expect(500)
            self.peer.ack(refusal)
            self.net.run_for(1)
            self.assertEqual(self.box.manager.sessions, {})
        self.assertEqual(self.box.refused, {"internal-error": 2})
        self.finish(failures=2)


class CapabilityTests(BoxTestCase):
    """What the supplements declare."""

    def test_capabilities_follow_the_supplements(self) -> None:
        """Allow, Accept, Supported and the answers 405 and 420 are computed from them."""
        self.start()
        bodies = Bodies()
        self.box.manager.register_supplement(bodies)
        self.send("OPTIONS", headers={"Require": "x-test"})
        response = self.peer.expect(200)
        self.assertIn("INFO", response.allow)
        self.assertEqual(response.supported, {"100rel", "x-test"})
        self.assertIn("application/x-test", response.headers.values("Accept"))
        self.box.manager.unregister_supplement(bodies)
        self.send("OPTIONS", headers={"Require": "x-test"})
        self.peer.expect(420)
        self.finish()

    def test_options_within_a_call(self) -> None:
        """11.2: within a dialog, what the session supports."""
        self.start(supplements=[Bodies()])
        success = self.call()
        self.peer.send(self.peer.request_within(success, "OPTIONS"))
        response = self.answer_to("OPTIONS")
        self.assertEqual(response.status, 200)
        self.assertIn("INFO", response.allow)
        self.peer.bye(success)
        self.finish()


class BusyTests(BoxTestCase):
    """A call that is being answered."""

    def test_answer_that_takes_time(self) -> None:
        """The INVITE's copies are absorbed meanwhile."""
        going: Deferred[None] = Deferred()

        async def play(session: Session) -> None:
            await going
            await session.send_response(200)
            await Deferred()

        self.start(play=play)
        invite = self.invite()
        self.peer.expect(100)
        self.peer.send(invite)
        self.net.run_for(1)
        self.assertEqual(len(self.box.manager.sessions), 1)
        going.callback(None)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.finish()


def repr_of(layer: object) -> str:
    """Return how the first transaction of a layer describes itself."""
    found: list[str] = layer.leftovers()  # type: ignore[attr-defined]
    return found[0]
