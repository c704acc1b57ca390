# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls to registered users: a server with a registrar, and phones that registered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from sipsess.applications.b2bua import B2BUAApplication
from sipsess.applications.b2bua_options import BridgeOptions
from sipsess.applications.dial import DialApplication
from sipsess.applications.registered import RegisteredApplication
from sipsess.call import Call
from sipsess.endpoint import Endpoint
from sipsess.interfaces import ISessionCreate
from sipsess.locating import UnreachableError
from sipsess.message import Request, Response
from sipsess.registrar import MemoryStore, RegistrarOptions, StoreError
from sipsess.registrar.hunt import RING_LIMIT
from sipsess.routing import route_by_name
from sipsess.server import SIPServer
from sipsess.session import Session, SessionEnded
from sipsess.supplement import Reject, SessionSupplement
from sipsess.testing import ScriptedPeer
from tests.policy.agents import Gate
from tests.shell.test_server import ServerCase

BOB = "192.0.2.1"


def identify(admission: Any) -> None:
    """Take everybody for alice."""
    admission.endpoint = Endpoint("alice")


@implementer(ISessionCreate)
class Veto(SessionSupplement):
    """Lets no call be placed."""

    name = "veto"
    asked = 0

    def session_create(self, session: Session) -> None:
        """See the interface."""
        self.asked += 1
        raise Reject(603)


class BrokenStore(MemoryStore):
    """A store that cannot be opened."""

    def open(self) -> None:
        """Fail."""
        raise StoreError("the disk is gone")


class UserCase(ServerCase):
    """The base: a server at 192.0.2.1 with a registrar."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.server = self.registrar_server()
        self.phones: list[ScriptedPeer] = []

    def registrar_server(self, **options: Any) -> SIPServer:
        """Return a server that runs, where everybody is alice."""
        server = SIPServer(
            self.bob,
            listen=["udp:5060"],
            gates=[Gate(identify)],
            application="registered",
            applications=[RegisteredApplication()],
            **options,
        )
        server.users.add_registrar(RegistrarOptions(), wall_time=self.net.seconds)
        server.startService()
        return server

    def phone(self, contact: str | None = None, params: str = "", **headers: str) -> ScriptedPeer:
        """Return a phone that has registered, at that URI or its own."""
        number = 20 + len(self.phones)
        phone = ScriptedPeer(self.net.host(f"192.0.2.{number}", name=f"phone{number}"))
        self.phones.append(phone)
        uri = contact or f"sip:alice@{phone.sent_by}"
        request = phone.request(
            "REGISTER",
            f"sip:{BOB}",
            to=f"<sip:alice@{BOB}>",
            headers={"Contact": f"<{uri}>{params}", **headers},
        )
        phone.send(request, (BOB, 5060))
        phone.expect(200)
        return phone

    def dial(self, **options: Any) -> Deferred[Call]:
        """Call alice."""
        return self.server.users.dial("alice", **options)

    def refused(self, calling: Deferred[Call], status: int) -> SessionEnded:
        """Check what a call failed with."""
        self.net.run_for(0.1)
        error = self.failureResultOf(calling, SessionEnded).value
        assert isinstance(error, SessionEnded)
        self.assertEqual(error.reason.status, status)
        return error

    def cancelled(self, phone: ScriptedPeer, invite: Request) -> Request:
        """Take and answer a CANCEL."""
        cancel = phone.expect("CANCEL")
        phone.reply(cancel, 200)
        phone.reply(invite, 487)
        phone.expect("ACK")
        return cancel

    def hang_up(self, calling: Deferred[Call], phone: ScriptedPeer) -> None:
        """End the call, from our side."""
        self.net.run_for(0.1)
        call = self.successResultOf(calling)
        call.hangup()
        phone.reply(phone.expect("BYE"), 200)

    def finish(self) -> None:
        """Stop, and see that nothing is left."""
        self.net.run_for(70)
        stopping = self.server.stopService()
        self.net.run_for(6)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(self.server.leftovers(), [])


class DialTests(UserCase):
    """dial_user."""

    def test_first_answer_wins(self) -> None:
        """All phones ring; the others are cancelled as "Call completed elsewhere" (RFC 3326)."""
        one, two = self.phone(), self.phone()
        calling = self.dial(headers={"Subject": "hello"})
        invites = [phone.expect("INVITE") for phone in (one, two)]
        self.assertEqual(
            [invite.uri for invite in invites],
            [f"sip:alice@{one.sent_by}", f"sip:alice@{two.sent_by}"],
        )
        self.assertEqual({str(invite.to.uri) for invite in invites}, {f"sip:alice@{BOB}"})
        self.assertEqual({i.headers.get("Subject") for i in invites}, {"hello"})
        for phone, invite in zip((one, two), invites, strict=True):
            phone.reply(invite, 180)
        two.reply(invites[1], 200)
        two.expect("ACK")
        cancel = self.cancelled(one, invites[0])
        self.assertEqual(
            cancel.headers.get("Reason"), 'SIP;cause=200;text="Call completed elsewhere"'
        )
        self.hang_up(calling, two)
        self.finish()

    def test_answers_cross(self) -> None:
        """A phone that answers in the same moment gets its ACK and a BYE."""
        one, two = self.phone(), self.phone()
        calling = self.dial()
        for phone in (one, two):
            phone.reply(phone.expect("INVITE"), 200)
        self.net.run_for(0.1)
        call = self.successResultOf(calling)
        loser = next(p for p in (one, two) if p.address != call.session.flow.remote)
        loser.expect("ACK")
        loser.reply(loser.expect("BYE"), 200)
        call.hangup()
        winner = one if loser is two else two
        winner.expect("ACK")
        winner.reply(winner.expect("BYE"), 200)
        self.finish()

    def test_endpoint(self) -> None:
        """A phone is called as the endpoint that it registered as, when that is known yet."""
        phone = self.phone()
        endpoint = Endpoint("alice", codecs=("PCMA",))
        self.server.core.endpoints = {"alice": endpoint}
        calling = self.dial()
        invite = phone.expect("INVITE")
        [session] = self.server.manager.sessions
        self.assertIs(session.endpoint, endpoint)
        phone.reply(invite, 486)
        self.refused(calling, 486)
        self.finish()

    def test_nobody(self) -> None:
        """Without phones, or without a registrar, it is 480 at once."""
        self.refused(self.dial(), 480)
        self.refused(SIPServer(self.alice).users.dial("alice"), 480)
        self.finish()

    def test_best_refusal(self) -> None:
        """When all refuse, the best answer counts (16.7 step 6): 486 before 503."""
        one, two = self.phone(), self.phone()
        calling = self.dial()
        one.reply(one.expect("INVITE"), 503)
        self.net.run_for(0.1)
        self.assertNoResult(calling)
        two.reply(two.expect("INVITE"), 486)
        self.refused(calling, 486)
        self.finish()

    def test_refusal_for_all(self) -> None:
        """A 6xx ends the hunt (16.7 step 5)."""
        one, two, three = self.phone(), self.phone(), self.phone(params=";q=0.1")
        calling = self.dial()
        invite = two.expect("INVITE")
        two.reply(invite, 180)
        one.reply(one.expect("INVITE"), 603)
        self.refused(calling, 603)
        self.cancelled(two, invite)
        three.expect_silence(RING_LIMIT)
        self.finish()

    def test_refused_here(self) -> None:
        """A supplement that refuses such calls for everybody ends the hunt, too."""
        one, two = self.phone(), self.phone()
        veto = Veto()
        self.server.manager.register_supplement(veto)
        self.net.run_for(0.1)
        failure = self.failureResultOf(self.dial(), Reject)
        self.assertEqual(failure.value.status, 603)
        self.assertEqual(veto.asked, 1)
        for phone in (one, two):
            phone.expect_silence(1)
        self.finish()

    def test_lower_q_later(self) -> None:
        """Phones of a lower q ring when the others have refused."""
        one, two = self.phone(params=";q=0.3"), self.phone()
        calling = self.dial()
        self.net.run_for(1)
        self.assertEqual(one.count("INVITE"), 0)
        two.reply(two.expect("INVITE"), 486)
        invite = one.expect("INVITE")
        one.reply(invite, 200)
        one.expect("ACK")
        self.hang_up(calling, one)
        self.finish()

    def test_lower_q_after_a_while(self) -> None:
        """So they do when the others have rung long enough; these ring no more."""
        one, two = self.phone(params=";q=0.3"), self.phone()
        calling = self.dial()
        invite = two.expect("INVITE")
        two.reply(invite, 180)
        later = one.expect("INVITE", RING_LIMIT + 1)
        self.cancelled(two, invite)
        one.reply(later, 486)
        self.refused(calling, 408)
        self.finish()

    def test_timeout(self) -> None:
        """When nobody answers in time it is 408, and all phones are cancelled."""
        phone = self.phone()
        calling = self.dial(timeout=6.0)
        invite = phone.expect("INVITE")
        phone.reply(invite, 180)
        self.net.run_for(6)
        self.refused(calling, 408)
        self.cancelled(phone, invite)
        self.finish()

    def test_given_up(self) -> None:
        """Cancelling the Deferred cancels all calls; a call that was not placed is not."""
        phone = self.phone()
        calling = self.dial()
        invite = phone.expect("INVITE")
        phone.reply(invite, 180)
        self.net.run_for(0.1)
        calling.cancel()
        self.failureResultOf(calling, CancelledError)
        self.cancelled(phone, invite)
        self.finish()

    def test_unreachable(self) -> None:
        """A phone that cannot be reached counts as one that refused."""
        self.phone("sip:alice@192.0.2.20;transport=tcp")
        calling = self.dial()
        self.net.run_for(0.1)
        self.failureResultOf(calling, UnreachableError)
        self.finish()


class WayTests(UserCase):
    """NAT and Path."""

    def test_nat(self) -> None:
        """A phone behind a NAT is called where its REGISTER came from, in the call too."""
        phone = self.phone("sip:alice@10.0.0.7:5062")
        calling = self.dial()
        invite = phone.expect("INVITE")
        self.assertEqual(invite.uri, "sip:alice@10.0.0.7:5062")
        phone.reply(invite, 200, headers={"Contact": "<sip:alice@10.0.0.7:5062>"})
        self.assertEqual(phone.expect("ACK").uri, "sip:alice@10.0.0.7:5062")
        self.hang_up(calling, phone)
        self.finish()

    def test_path(self) -> None:
        """A phone that registered by way of a proxy is called by it, with its Path as Route."""
        proxy = self.phone(
            "sip:alice@10.0.0.7", Path="<sip:p@192.0.2.20;lr>, <sip:edge.example;lr>"
        )
        calling = self.dial()
        invite = proxy.expect("INVITE")
        self.assertEqual(invite.uri, "sip:alice@10.0.0.7")
        routes = [route.uri for route in invite.routes]
        self.assertEqual(routes, ["sip:p@192.0.2.20;lr", "sip:edge.example;lr"])
        proxy.reply(invite, 200)
        self.assertEqual(proxy.expect("ACK").routes, [])
        self.hang_up(calling, proxy)
        self.finish()

    def test_listener_is_gone(self) -> None:
        """A binding of a listener that is no more has no flow; its Contact is tried."""
        self.phone("sip:alice@10.0.0.7")
        [binding] = self.bindings()
        self.assertIsNone(self.server.users.flow_of(replace(binding.source, listener="udp:9")))
        self.server.manager.registrar = None
        self.assertIsNone(self.server.users.flow_of(replace(binding.source, transport="TCP")))

    def bindings(self) -> Any:
        """Return alice's bindings."""
        assert self.server.manager.registrar is not None
        return self.successResultOf(self.server.manager.registrar.find("alice"))


class RedirectTests(UserCase):
    """The application "registered"."""

    def call(self, user: str = "alice") -> Response:
        """Call a user from elsewhere; return the final answer."""
        caller = ScriptedPeer(self.net.host(f"192.0.2.{90 + len(self.net.hosts)}"))
        invite = caller.invite(f"sip:{user}@{BOB}")
        caller.send(invite)
        found = caller.expect(lambda message: getattr(message, "status", 0) >= 300)
        assert isinstance(found, Response)
        caller.ack(found)
        return found

    def test_moved(self) -> None:
        """The caller is told the phones that he can reach, with their q (302)."""
        self.phone(params=';q=0.25;+sip.instance="<urn:uuid:1>"')
        self.phone("sip:alice@10.0.0.7")
        self.phone()
        response = self.call()
        self.assertEqual(response.status, 302)
        self.assertEqual(
            response.headers.values("Contact"),
            ["<sip:alice@192.0.2.20:5060>;q=0.25", "<sip:alice@192.0.2.22:5060>;q=1"],
        )
        self.finish()

    def test_unavailable(self) -> None:
        """480 when nobody is registered, or only behind a NAT; 404 for nobody."""
        self.assertEqual(self.call().status, 480)
        self.phone("sip:alice@10.0.0.7")
        self.assertEqual(self.call().status, 480)
        self.finish()

    def test_no_registrar(self) -> None:
        """404 where nobody can register."""
        self.server.manager.registrar = None
        self.assertEqual(self.call().status, 404)


class JoinedTests(UserCase):
    """The application ``dial``: a caller is connected with a registered user."""

    def setUp(self) -> None:
        """Let it have all calls."""
        super().setUp()
        application = DialApplication()
        self.server.manager.router = route_by_name([application], application)
        self.caller = ScriptedPeer(self.alice)

    def test_first_answer_counts(self) -> None:
        """All phones ring, the caller hears of it, and is joined with the first that answers."""
        first, second = self.phone(), self.phone()
        invite = self.caller.invite(f"sip:alice@{BOB}")
        self.caller.send(invite, (BOB, 5060))
        leg, other = first.expect("INVITE"), second.expect("INVITE")
        self.assertEqual(leg.from_.uri, self.caller.uri)
        second.reply(other, 180)
        self.caller.expect(180)
        first.reply(leg, 200, body=first.sdp())
        first.expect("ACK")
        self.cancelled(second, other)
        answer = self.caller.expect(200)
        self.caller.ack(answer)
        self.caller.bye(answer)
        first.reply(first.expect("BYE"), 200)
        self.finish()

    def test_caller_gives_up(self) -> None:
        """No phone rings on."""
        phone = self.phone()
        invite = self.caller.invite(f"sip:alice@{BOB}")
        self.caller.send(invite, (BOB, 5060))
        leg = phone.expect("INVITE")
        phone.reply(leg, 180)
        self.caller.expect(180)
        self.caller.cancel(invite)
        self.cancelled(phone, leg)
        self.finish()


class StartTests(UserCase):
    """Start and stop."""

    def test_broken_store(self) -> None:
        """A store that cannot be used stops the start, and nothing stays open."""
        server = SIPServer(self.alice)
        server.users.add_registrar(RegistrarOptions(store=BrokenStore()))
        with self.assertRaisesRegex(StoreError, "the disk is gone"):
            server.startService()
        self.net.run_for(1)
        self.assertEqual(self.alice.ports, {})
        self.finish()


class BridgeTests(UserCase):
    """The application b2bua, whose target is whoever has registered, media left to the peers."""

    def setUp(self) -> None:
        """Route all calls to it."""
        super().setUp()
        how = BridgeOptions(targets=("registered",), media="passthrough")
        application = B2BUAApplication().with_options(how)
        self.server.manager.router = route_by_name([application], application)
        self.phones_of_alice = [self.phone(), self.phone()]
        self.caller = ScriptedPeer(self.net.host("192.0.2.9", name="caller"))
        self.caller.send(self.caller.invite(f"sip:alice@{BOB}"), (BOB, 5060))
        self.invites = [phone.expect("INVITE") for phone in self.phones_of_alice]

    def said(self, message: Request | Response) -> list[str]:
        """Return a description without its o= line."""
        return [row for row in message.body.decode().splitlines() if row[0] != "o"]

    def talk(self, *, early: bool) -> None:
        """Let the second phone answer, while the first one rings."""
        (one, two), (first, second) = self.phones_of_alice, self.invites
        self.assertEqual(self.said(first), self.said(second))
        if early:
            one.reply(first, 183, body=one.sdp(port=46000))
            self.caller.expect(183)
        else:
            one.reply(first, 180)
        answer = two.sdp(port=47000)
        two.reply(second, 200, body=answer)
        two.expect("ACK")
        self.cancelled(one, first)
        self.ok = self.caller.expect(200)
        self.caller.ack(self.ok)

    def hang_up_all(self) -> None:
        """End the call, and see that nothing is left."""
        self.caller.bye(self.ok)
        two = self.phones_of_alice[1]
        two.reply(two.expect("BYE"), 200)
        self.finish()

    def test_answered(self) -> None:
        """All phones are offered what the caller offers; he hears of the one that answers."""
        self.talk(early=False)
        self.assertIn("m=audio 47000 RTP/AVP 0 101", self.said(self.ok))
        self.hang_up_all()

    def test_another_one_was_heard(self) -> None:
        """Who heard another phone before is told of the one that has answered."""
        self.talk(early=True)
        two = self.phones_of_alice[1]
        asked = two.expect("INVITE")
        self.assertEqual(asked.body, b"")
        two.reply(asked, 200, body=two.sdp(port=47000))
        again = self.caller.expect("INVITE")
        self.assertIn("m=audio 47000 RTP/AVP 0 101", self.said(again))
        self.caller.reply(again, 200)
        self.caller.expect("ACK")
        two.expect("ACK")
        self.hang_up_all()
