# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Who is told who calls, and who is not: identities, privacy, and the history of calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sipsess.endpoint import Endpoint
from sipsess.message import Request, Response
from sipsess.message.diversion import get_diversions
from sipsess.message.history_info import get_history
from sipsess.session import Session
from sipsess.supplements.anonymity import Anonymity
from sipsess.supplements.history import History
from sipsess.supplements.identity import Identity
from sipsess.supplements.redirect import Redirect
from tests.policy.agents import PEER, US
from tests.policy.sessions import Probe, SessionTestCase
from tests.policy.test_endpoint_calls import gate_for

PAI, PPI, RPID = "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"
ALICE = '"Alice" <sip:alice@x.example>'
BOSS = '"Boss" <sip:boss@x.example>'
#: A From without the tag.
NOBODY = '"Anonymous" <sip:anonymous@anonymous.invalid>'


class CallingTestCase(SessionTestCase):
    """One box that places calls to an endpoint of these fields."""

    def place(
        self, *supplements: Any, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> tuple[Session, Request]:
        """Place a call from Alice, and return the INVITE that came."""
        self.endpoint = Endpoint("trunk", **fields)
        self.start(*(supplements or (Identity(),)), gates=[gate_for(self.endpoint)])
        return self.placed(endpoint=self.endpoint, from_=ALICE, headers=headers)

    def told(self, message: Request | Response) -> dict[str, list[str]]:
        """Return the headers of a message that say who somebody is."""
        found = {name: message.headers.get_all(name) for name in (PAI, PPI, RPID)}
        return {name: values for name, values in found.items() if values}

    def refuse(self, session: Session, request: Request) -> None:
        """End a call that was not answered."""
        self.peer.reply(request, 486)
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()


class AssertTests(CallingTestCase):
    """What leaves about who calls."""

    def test_nobody_is_told_by_default(self) -> None:
        """An endpoint that is not trusted with it gets no identity (RFC 3325 section 5)."""
        given = {PAI: BOSS, PPI: BOSS, RPID: BOSS}
        self.refuse(*self.place(headers=given))
        session, invite = self.place(headers=given)
        self.assertEqual(self.told(invite), {})
        self.assertTrue(str(invite.from_).startswith(ALICE))
        self.refuse(session, invite)

    def test_ways(self) -> None:
        """Who calls is told in the one way of the endpoint, whichever way the program says it."""
        rpid = ";party=calling;screen=yes;privacy=off"
        for way, given, expected in (
            ("pai", {}, {PAI: [ALICE]}),
            ("pai", {PAI: BOSS}, {PAI: [BOSS]}),
            ("pai", {RPID: f"{BOSS};party=calling;privacy=full"}, {PAI: [BOSS]}),
            ("pai", {PAI: f"{BOSS}, <tel:+1>, <tel:+2>"}, {PAI: [BOSS, "<tel:+1>"]}),
            ("pai", {PAI: "nonsense", PPI: BOSS}, {PAI: [BOSS]}),
            ("ppi", {PAI: BOSS}, {PPI: [BOSS]}),
            ("rpid", {}, {RPID: [ALICE + rpid]}),
            ("rpid", {PAI: f"{BOSS}, <tel:+1>"}, {RPID: [BOSS + rpid]}),
        ):
            session, invite = self.place(headers=given, sends_identity=way)
            self.assertEqual(self.told(invite), expected, (way, given))
            self.refuse(session, invite)

    def test_last_word(self) -> None:
        """What a plugin writes gets no further than what the program writes."""

        def leak(session: Session, request: Request) -> None:
            request.headers.set(PAI, BOSS)
            request.headers.set("Diversion", BOSS)

        probe = Probe(priority=900, outgoing_request=leak)
        session, invite = self.place(Identity(), probe)
        self.assertEqual(self.told(invite), {})
        self.assertNotIn("Diversion", invite.headers)
        self.refuse(session, invite)

    def test_responses(self) -> None:
        """Who has answered is told when the program says it, and the endpoint is told."""
        for way, expected in (
            ("no", {}),
            ("pai", {PAI: [BOSS]}),
            ("rpid", {RPID: [f"{BOSS};party=called;screen=yes;privacy=off"]}),
        ):
            endpoint = Endpoint("trunk", sends_identity=way)  # type: ignore[arg-type]

            async def answer(session: Session) -> None:
                await session.send_response(200, headers={PAI: BOSS})
                await session.when_ended()

            self.start(Identity(), gates=[gate_for(endpoint)], play=answer)
            success = self.call()
            self.assertEqual(self.told(success), expected)
            self.peer.bye(success)
            self.finish()

    def test_within_the_call(self) -> None:
        """An UPDATE tells it as the INVITE did, or somebody else (:rfc:`5876#section-3`)."""
        session, invite = self.place(sends_identity="pai", headers={PAI: BOSS})
        self.peer.reply(invite, 200, headers={"Allow": "INVITE, ACK, BYE, UPDATE"})
        ack = self.peer.expect("ACK")
        self.assertEqual(self.told(ack), {})
        for headers, expected in (
            ({}, BOSS),
            ({PAI: "<sip:new@x.example>"}, "<sip:new@x.example>"),
        ):
            session.send_update(headers)
            update = self.peer.expect("UPDATE")
            self.assertEqual(self.told(update), {PAI: [expected]})
            self.peer.reply(update, 200)
            self.net.run_for(1)
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(self.told(bye), {})
        self.peer.reply(bye, 200)
        self.finish()

    def test_callee(self) -> None:
        """A request of ours in a call that came says that it is from whom was called."""
        endpoint = Endpoint("trunk", sends_identity="pai")
        self.start(Identity(), gates=[gate_for(endpoint)])
        success = self.call()
        self.session.send_reinvite()
        invite = self.peer.expect("INVITE")
        assert isinstance(invite, Request)
        self.assertEqual(self.told(invite), {PAI: [f"<sip:bob@{US}>"]})
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.bye(success)
        self.finish()


class PrivacyTests(CallingTestCase):
    """A caller who does not want to be known."""

    def test_hidden(self) -> None:
        """From is nobody's, and what else names the user does not leave (RFC 3323 4.1)."""
        more = {
            "Subject": "me",
            "User-Agent": "alice's",
            "Organization": "x",
            "Diversion": BOSS,
            "X-Other": "stays",
        }
        for value in ("id", "user", "header;session"):
            session, invite = self.place(
                headers={**more, "Privacy": value}, sends_history="diversion"
            )
            self.assertEqual(str(invite.from_).partition(";tag=")[0], NOBODY)
            self.assertEqual(invite.from_tag, session.local_tag)
            self.assertEqual(self.told(invite), {})
            self.assertEqual(invite.headers.get("Privacy"), value)
            self.assertNotIn(b"lice", invite.to_bytes())
            kept = {name for name in more if name in invite.headers}
            self.assertEqual(kept, {"X-Other"})
            self.refuse(session, invite)

    def test_not_hidden(self) -> None:
        """Privacy that hides nothing of the user changes nothing."""
        for value in ("none", "session"):
            session, invite = self.place(headers={"Privacy": value, "Subject": "me"})
            self.assertTrue(str(invite.from_).startswith(ALICE))
            self.assertIn("Subject", invite.headers)
            self.refuse(session, invite)

    def test_told_in_confidence(self) -> None:
        """Who is trusted with identities gets it, and Privacy with it (RFC 3325 section 7)."""
        for way, expected in (
            ("pai", {PAI: [ALICE]}),
            ("ppi", {PPI: [ALICE]}),
            ("rpid", {RPID: [f"{ALICE};party=calling;screen=yes;privacy=full"]}),
        ):
            session, invite = self.place(headers={"Privacy": "id"}, sends_identity=way)
            self.assertTrue(str(invite.from_).startswith(NOBODY))
            self.assertEqual(self.told(invite), expected)
            self.refuse(session, invite)

    def test_whole_call(self) -> None:
        """Later attempts and later requests hide it as well."""
        session, invite = self.place(
            Identity(), Redirect(), headers={"Privacy": "id"}, sends_identity="pai"
        )
        self.peer.reply(invite, 302, headers=[("Contact", f"<sip:other@{PEER}>")])
        again = self.peer.expect("INVITE")
        assert isinstance(again, Request)
        self.assertTrue(str(again.from_).startswith(NOBODY))
        self.assertEqual(self.told(again), {PAI: [ALICE]})
        self.peer.reply(again, 200, headers={"Allow": "UPDATE"})
        self.peer.expect("ACK")
        session.send_update()
        update = self.peer.expect("UPDATE")
        assert isinstance(update, Request)
        self.assertTrue(str(update.from_).startswith(NOBODY))
        self.assertEqual(self.told(update), {PAI: [ALICE]})
        self.assertEqual(update.headers.get("Privacy"), "id")
        self.peer.reply(update, 200)
        self.hang_up(session)
        self.finish()


class AnonymityTests(SessionTestCase):
    """Endpoints that want no anonymous calls (:rfc:`5079`)."""

    def test_refused(self) -> None:
        """433 for who comes as nobody, or asks to be hidden; all others are let in."""
        nobody = f"{NOBODY};tag=1"
        for accepts, is_trusted, from_, headers, status in (
            (False, False, nobody, {}, 433),
            (False, False, None, {"Privacy": "id"}, 433),
            (False, True, None, {PAI: BOSS, "Privacy": "id"}, 433),
            (False, True, nobody, {PAI: BOSS}, 200),
            (False, False, None, {}, 200),
            (True, False, nobody, {"Privacy": "id"}, 200),
        ):
            endpoint = Endpoint("x", is_trusted, accepts_anonymous=accepts)
            self.start(Anonymity(), gates=[gate_for(endpoint)])
            self.invite(from_=from_, headers=headers)
            response = self.answer_to("INVITE")
            self.assertEqual(response.status, status, (from_, headers))
            self.peer.ack(response)
            if status == 200:
                again = self.request_within(response, "INVITE", headers={"Privacy": "id"})
                self.assertEqual(self.answer_to("INVITE").status, 200)
                self.peer.send(
                    self.peer.request_within(response, "ACK", cseq=again.cseq.number), (US, 5060)
                )
                self.peer.bye(response)
            self.finish()


class HistoryTests(CallingTestCase):
    """Whom a call was for."""

    def redirect(
        self, way: str, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, Request]:
        """Let a call be redirected to a, who is busy, then to b, who redirects it to c."""
        session, invite = self.place(
            History(), Redirect(), Identity(), headers=headers, sends_history=way
        )
        for name in ("History-Info", "Diversion"):
            self.assertEqual(invite.headers.get(name), (headers or {}).get(name))
        contacts = [("Contact", f"<sip:{user}@{PEER}>") for user in ("a", "b")]
        self.peer.reply(invite, 302, headers=contacts)
        self.peer.reply(self.peer.expect("INVITE"), 486)
        self.peer.reply(self.peer.expect("INVITE"), 301, headers=[("Contact", f"<sip:c@{PEER}>")])
        last = self.peer.expect("INVITE")
        assert isinstance(last, Request)
        self.assertEqual(last.uri, f"sip:c@{PEER}")
        return session, last

    def test_history_info(self) -> None:
        """Each Request-URI that the call has had, what came of it, and from what it follows."""
        session, invite = self.redirect("history-info")
        found = [
            (entry.uri.partition("@")[0], entry.index, entry.origin, entry.reasons[:1])
            for entry in get_history(invite.headers)
        ]
        self.assertEqual(
            [
                (user, index, origin, [one.cause for one in why])
                for user, index, origin, why in found
            ],
            [
                ("sip:peer", (1,), (), [302]),
                ("sip:a", (1, 1), (1,), [486]),
                ("sip:b", (1, 2), (1,), [301]),
                ("sip:c", (1, 2, 1), (1, 2), []),
            ],
        )
        self.assertNotIn("Diversion", invite.headers)
        self.refuse(session, invite)

    def test_history_that_is_known(self) -> None:
        """What the program knows of the history comes first, and ours follows from it."""
        session, invite = self.redirect("history-info", {"History-Info": "<sip:z@x>;index=1"})
        found = [entry.index for entry in get_history(invite.headers)]
        self.assertEqual(found, [(1,), (1, 1), (1, 1, 1), (1, 1, 2), (1, 1, 2, 1)])
        self.refuse(session, invite)

    def test_diversion(self) -> None:
        """Who has sent the call on, the last one first, and why."""
        session, invite = self.redirect("diversion", {"Diversion": "<sip:z@x>"})
        found = [
            (item.uri.partition("@")[0], item.reason) for item in get_diversions(invite.headers)
        ]
        expected = [("sip:b", "unconditional"), ("sip:peer", "deflection"), ("sip:z", "unknown")]
        self.assertEqual(found, expected)
        self.assertNotIn("History-Info", invite.headers)
        self.refuse(session, invite)

    def test_not_told(self) -> None:
        """Neither who is not told, nor when the history is private (:rfc:`7044#section-10.1.2`)."""
        session, invite = self.redirect("no")
        self.assertEqual(get_history(invite.headers) + get_diversions(invite.headers), ())
        self.refuse(session, invite)
        session, invite = self.redirect("history-info", {"Privacy": "history"})
        self.assertEqual(get_history(invite.headers), ())
        self.refuse(session, invite)

    def test_other_messages(self) -> None:
        """Calls that come, and requests within a call, have no history of ours."""
        self.start(History(), gates=[gate_for(Endpoint("x", sends_history="history-info"))])
        success = self.call()
        self.session.send_reinvite()
        invite = self.peer.expect("INVITE")
        assert isinstance(invite, Request)
        self.assertNotIn("History-Info", invite.headers)
        self.peer.reply(invite, 488)
        self.peer.expect("ACK")
        self.peer.bye(success)
        self.finish()
