# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""From server to server (RFC 3263 4.3): calls, redirections, transfers, requests outside calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.endpoint import DigestCredentials, Endpoint, Login
from sipsess.errors import Timeout
from sipsess.flow import Flow
from sipsess.locating import Answer, UnreachableError, send_over
from sipsess.locating.avoided import AVOID_TIME
from sipsess.message import Request, Response, build_request
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import SessionEnded
from sipsess.supplements.credentials import Credentials
from sipsess.supplements.redirect import Redirect
from sipsess.supplements.refer import Refer
from sipsess.testing import ScriptedPeer, VirtualNetwork
from sipsess.transport.udp import UDPListener, _send_nowhere
from tests.policy.zones import Zone, ZoneResolver, srv

#: Two servers of a domain, the first one preferred; and another domain.
ZONE: Zone = {
    "SRV _sip._udp.b.example": [
        srv(1, 0, 5060, "one.b.example"),
        srv(2, 0, 5060, "two.b.example"),
    ],
    "A one.b.example": ["192.0.2.11"],
    "A two.b.example": ["192.0.2.12"],
    "A c.example": ["192.0.2.13"],
}
URI = "sip:bob@b.example"


class Answering(Application):
    """Answers, and waits for the end."""

    name = "answering"

    async def handle(self, call: Call) -> None:
        """Do it."""
        await call.answer()
        await call.ended


class FailoverCase(SynchronousTestCase):
    """A client that calls by name, and three servers."""

    def setUp(self) -> None:
        """Make the network."""
        self.net = VirtualNetwork(seed=1)
        self.zone = ZoneResolver(ZONE)
        self.one, self.two, self.three = (
            ScriptedPeer(self.net.host(f"192.0.2.1{n}", name=f"server{n}")) for n in (1, 2, 3)
        )
        self.client = SIPServer(
            self.net.host("192.0.2.2", "2001:db8::2", name="client"),
            handlers=[AudioHandler()],
            supplements=[Redirect(), Refer(), Credentials()],
            applications=[Answering()],
            application="answering",
            resolver=self.zone,
        )
        self.client.startService()

    def dial(self, uri: str = URI, **options: Any) -> Deferred[Call]:
        """Place a call."""
        return self.client.dial(uri, **options)

    def refused(self, dialled: Deferred[Call]) -> str:
        """Return why a call was not answered."""
        self.net.run_for(0.1)
        return str(self.failureResultOf(dialled, SessionEnded).value)

    def take(self, peer: ScriptedPeer, dialled: Deferred[Call]) -> Request:
        """Let a server answer the INVITE that comes, and end the call."""
        invite = peer.expect("INVITE")
        peer.reply(invite, 200)
        peer.expect("ACK")
        call = self.successResultOf(dialled)
        call.session.terminate()
        peer.reply(peer.expect("BYE"), 200)
        return invite

    def refuse(self, peer: ScriptedPeer, status: int = 503, **options: Any) -> Request:
        """Let a server refuse the INVITE that comes."""
        invite = peer.expect("INVITE", within=0.5)
        peer.reply(invite, status, **options)
        peer.expect("ACK")
        return invite

    def finish(self) -> None:
        """Stop, and check that nothing is left."""
        self.net.run_for(40)
        for peer in (self.one, self.two, self.three):
            peer.close()
        stopping = self.client.stopService()
        self.net.run_for(5)
        self.successResultOf(stopping)
        self.net.assert_closed()


class CallTests(FailoverCase):
    """Calls of ours."""

    def test_after_503(self) -> None:
        """The next server gets the same INVITE with another branch."""
        dialled = self.dial()
        first = self.refuse(self.one)
        second = self.take(self.two, dialled)
        self.assertNotEqual(first.via.branch, second.via.branch)
        for name in ("CSeq", "Call-ID", "From", "To", "Contact"):
            self.assertEqual(first.headers.get(name), second.headers.get(name), name)
        self.assertEqual((first.uri, first.body), (second.uri, second.body))
        self.finish()

    def test_after_a_timeout(self) -> None:
        """So it does when nothing at all comes back in 64*T1."""
        dialled = self.dial()
        self.one.expect("INVITE")
        self.net.run_for(31.5)
        self.assertEqual(self.two.received, [])
        self.take(self.two, dialled)
        self.finish()

    def test_after_a_transport_error(self) -> None:
        """A server to which there is no way is passed over at once."""
        self.zone.zone["AAAA one.b.example"] = ["2001:db8::11"]
        [six] = (item for item in self.client.listeners if ":" in item.address[0])
        six.stop()
        self.net.run_for(0.1)
        dialled = self.dial()
        self.refuse(self.one)
        self.take(self.two, dialled)
        self.finish()

    def test_each_asks_for_a_password(self) -> None:
        """Servers that share no nonces ask anew, which is no refusal of the password."""
        logins = (Login("b.example", "anna", "sesame"),)
        endpoint = Endpoint("b", credentials=DigestCredentials(logins))
        dialled = self.dial(endpoint=endpoint)
        for peer in (self.one, self.two):
            challenge = f'Digest realm="b.example", nonce="{peer.address}", qop="auth"'
            unasked = self.refuse(peer, 401, headers={"WWW-Authenticate": challenge})
            self.assertNotIn("Authorization", unasked.headers)
            if peer is self.one:
                self.assertIn("Authorization", self.refuse(peer).headers)
        self.assertIn("Authorization", self.take(self.two, dialled).headers)
        self.finish()

    def test_not_after_an_answer(self) -> None:
        """Any other refusal is an answer: nobody else is asked."""
        for status in (404, 486, 500, 504, 603):
            dialled = self.dial()
            self.refuse(self.one, status)
            self.assertIn(str(status), self.refused(dialled))
        self.assertEqual(self.two.received, [])
        self.finish()

    def test_not_after_cancel(self) -> None:
        """A call that is given up goes to nobody else, though its server fails."""
        dialled = self.dial()
        invite = self.one.expect("INVITE")
        self.one.reply(invite, 180)
        self.net.run_for(0.1)
        dialled.cancel()
        self.one.reply(self.one.expect("CANCEL"), 200)
        self.one.reply(invite, 503)
        self.net.run_for(1)
        self.failureResultOf(dialled)
        self.assertEqual(self.two.received, [])
        self.finish()

    def test_all_fail(self) -> None:
        """When no server is left, what the last one said counts."""
        dialled = self.dial()
        self.refuse(self.one, 503, reason="First")
        self.refuse(self.two, 503, reason="Last")
        self.assertIn("503 Last", self.refused(dialled))
        self.finish()

    def test_early_dialogs_end(self) -> None:
        """A server that rang before it failed leaves no early dialog."""
        dialled = self.dial()
        invite = self.one.expect("INVITE")
        self.one.reply(invite, 180)
        self.net.run_for(0.1)
        self.one.reply(invite, 503)
        self.take(self.two, dialled)
        self.finish()

    def test_the_rest_cannot_be_reached(self) -> None:
        """When no listener reaches the other servers, the failure before that counts."""
        self.zone.zone["A two.b.example"] = []
        self.zone.zone["AAAA two.b.example"] = ["2001:db8::12"]
        dialled = self.dial()
        invite = self.one.expect("INVITE")
        every = self.client.listeners
        self.client.listeners = [item for item in every if ":" not in item.address[0]]
        self.one.reply(invite, 503)
        self.assertIn("503", self.refused(dialled))
        self.client.listeners = every
        self.finish()

    def test_avoided(self) -> None:
        """A server that failed is tried last for a while; then it has its place again."""
        dialled = self.dial()
        self.refuse(self.one)
        self.take(self.two, dialled)
        self.take(self.two, self.dial())
        self.net.run_for(AVOID_TIME)
        self.take(self.one, self.dial())
        self.finish()

    def test_all_are_avoided(self) -> None:
        """When all have failed they are tried in their order, as nobody else is there."""
        dialled = self.dial()
        self.refuse(self.one)
        self.refuse(self.two)
        self.refused(dialled)
        self.take(self.one, self.dial())
        self.finish()

    def test_retry_after(self) -> None:
        """A 503 says how long its server is to be avoided."""
        dialled = self.dial()
        self.refuse(self.one, 503, headers={"Retry-After": "5"})
        self.take(self.two, dialled)
        self.net.run_for(5)
        self.take(self.one, self.dial())
        self.finish()

    def test_unreachable(self) -> None:
        """What leads nowhere is said before any session begins."""
        for uri, text in (
            ("sip:x@nowhere.example", "nowhere.example is not known"),
            ("sips:x@b.example;transport=udp", "and there is no such"),
        ):
            failure = self.failureResultOf(self.dial(uri), UnreachableError)
            self.assertIn(text, str(failure.value))
        self.finish()

    def test_route(self) -> None:
        """The INVITE goes to its first Route, whoever is called (RFC 3261 8.1.2)."""
        routes = "<sip:c.example;lr>, <sip:d.example;lr>"
        dialled = self.dial("sip:bob@nowhere.example", headers={"route": routes})
        self.refuse(self.three, 486)
        self.assertIn("486", self.refused(dialled))
        failure = self.failureResultOf(self.dial(headers={"Route": "<sip:c"}), UnreachableError)
        self.assertIn("Route", str(failure.value))
        self.finish()

    def test_given_up_meanwhile(self) -> None:
        """Who gives up while a name is looked for has called nobody."""
        self.zone.slow["NAPTR b.example"] = Deferred()
        dialled = self.dial()
        dialled.cancel()
        self.failureResultOf(dialled, CancelledError)
        self.assertEqual(self.client.manager.sessions, {})
        self.finish()

    def test_no_way_within_a_call(self) -> None:
        """A call that stands outlives a network that is away for a moment: it sends again."""
        dialled = self.dial()
        self.one.reply(self.one.expect("INVITE"), 200)
        self.one.expect("ACK")
        [four] = (item for item in self.client.listeners if ":" not in item.address[0])
        assert isinstance(four, UDPListener)
        send, four._sendto = four._sendto, _send_nowhere
        self.successResultOf(dialled).session.terminate()
        self.assertEqual(four.send_failures, 1)
        self.net.run_for(0.3)
        four._sendto = send
        self.one.reply(self.one.expect("BYE"), 200)
        self.finish()


class ConnectionTests(FailoverCase):
    """Servers that are called over a connection."""

    def serve(self, host: str) -> SIPServer:
        """Start one at an address."""
        server = SIPServer(
            self.net.host(host),
            ["tcp:5060"],
            handlers=[AudioHandler()],
            applications=[Answering()],
            application="answering",
        )
        server.startService()
        return server

    def test_refused_connection(self) -> None:
        """A server that takes no connection is passed over, before any INVITE is sent."""
        server = self.serve("192.0.2.21")
        self.zone.zone["SRV _sip._tcp.d.example"] = [
            srv(1, 0, 5060, "one.b.example"),
            srv(2, 0, 5060, "one.d.example"),
        ]
        self.zone.zone["A one.d.example"] = ["192.0.2.21"]
        dialled = self.dial("sip:bob@d.example;transport=tcp")
        self.net.run_for(1)
        call = self.successResultOf(dialled)
        self.assertEqual(call.session.flow.remote, ("192.0.2.21", 5060))
        self.assertEqual(self.one.received, [])
        stopping = server.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)
        self.finish()

    def test_no_connection_at_all(self) -> None:
        """When no server takes one, the last failure is told."""
        self.zone.zone["SRV _sip._tcp.b.example"] = [
            srv(1, 0, 5061, "one.b.example"),
            srv(2, 0, 5062, "two.b.example"),
        ]
        dialled = self.dial("sip:bob@b.example;transport=tcp")
        self.net.run_for(1)
        failure = self.failureResultOf(dialled, UnreachableError)
        self.assertIn("no TCP connection to 192.0.2.12:5062", str(failure.value))
        self.finish()


class ElsewhereTests(FailoverCase):
    """Calls that go elsewhere."""

    def test_redirected(self) -> None:
        """All servers of one Contact are tried, then the next Contact (RFC 3261 8.1.3.4)."""
        dialled = self.dial("sip:bob@192.0.2.13")
        contacts = "<sip:bob@b.example>;q=0.9, <sip:bob@c.example>;q=0.1"
        self.refuse(self.three, 302, headers={"Contact": contacts})
        self.refuse(self.one)
        self.refuse(self.two)
        self.assertEqual(self.take(self.three, dialled).uri, "sip:bob@c.example")
        self.finish()

    def test_redirected_away(self) -> None:
        """The servers of a URI that has redirected the call are not tried any more."""
        dialled = self.dial()
        self.refuse(self.one, 302, headers={"Contact": "<sip:bob@c.example>"})
        self.refuse(self.three)
        self.assertIn("503", self.refused(dialled))
        self.assertEqual(self.two.received, [])
        self.finish()

    def test_transferred(self) -> None:
        """The call that a REFER asks for fails over, too."""
        self.three.send(self.three.invite("sip:x@192.0.2.2"))
        answer = self.three.expect(200)
        self.three.ack(answer)
        refer = self.three.request_within(answer, "REFER", headers={"Refer-To": f"<{URI}>"})
        self.three.send(refer)
        self.three.expect(202)
        self.refuse(self.one)
        invite = self.two.expect("INVITE")
        self.two.reply(invite, 200)
        self.two.expect("ACK")
        self.net.run_for(0.1)
        notify = self.three.expect("NOTIFY")
        self.three.reply(notify, 200)
        notify = self.three.expect("NOTIFY")
        self.assertIn(b"200 OK", notify.body)
        self.three.reply(notify, 200)
        self.three.bye(answer)
        self.three.expect(200)
        self.two.bye(invite)
        self.finish()


class OutsideTests(FailoverCase):
    """Requests outside calls, such as a REGISTER."""

    def send(self) -> Deferred[Response]:
        """Send a REGISTER to the domain."""

        def build(flow: Flow) -> Request:
            return build_request(
                "REGISTER",
                "sip:b.example",
                from_="<sip:bob@b.example>;tag=1",
                to="<sip:bob@b.example>",
                call_id="one",
                cseq=7,
            )

        async def run() -> Response:
            hop = await self.client.find_next_hop("sip:b.example")
            return await send_over(self.client.core, hop, build)

        return Deferred.fromCoroutine(run())

    def test_failover(self) -> None:
        """The next server gets the same request with another branch."""
        sending = self.send()
        first = self.one.expect("REGISTER")
        self.one.reply(first, 100)
        self.net.run_for(0.1)
        self.one.reply(first, 503)
        second = self.two.expect("REGISTER")
        self.assertEqual(first.headers.get("CSeq"), second.headers.get("CSeq"))
        self.assertNotEqual(first.via.branch, second.via.branch)
        self.two.reply(second, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 200)
        self.finish()

    def test_last_response(self) -> None:
        """A refusal is a response like any other; so is the last 503."""
        sending = self.send()
        self.one.reply(self.one.expect("REGISTER"), 403)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 403)
        sending = self.send()
        self.one.reply(self.one.expect("REGISTER"), 503)
        self.two.reply(self.two.expect("REGISTER"), 503)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 503)
        self.finish()

    def test_nobody_answers(self) -> None:
        """When no server answers the last error is raised."""
        sending = self.send()
        self.net.run_for(70)
        self.failureResultOf(sending, Timeout)
        self.assertEqual(self.one.count("REGISTER"), self.two.count("REGISTER"))
        self.finish()

    def test_the_rest_cannot_be_reached(self) -> None:
        """When no listener reaches the other servers, the failure before that counts."""
        sending = self.send()
        first = self.one.expect("REGISTER")
        self.client.listeners, listeners = [], self.client.listeners
        self.one.reply(first, 503)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 503)
        self.client.listeners = listeners
        self.finish()

    def test_given_up(self) -> None:
        """Giving up ends the transaction; a late answer is dropped."""
        sending = self.send()
        request = self.one.expect("REGISTER")
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.one.reply(request, 503)
        self.net.run_for(1)
        self.assertEqual(self.two.received, [])
        self.finish()

    def test_slow_names(self) -> None:
        """A name that takes time is waited for."""
        slow = self.zone.slow["NAPTR b.example"] = Deferred()
        sending = self.send()
        self.net.run_for(3)
        self.assertEqual(self.one.received, [])
        slow.callback(Answer())
        self.one.reply(self.one.expect("REGISTER"), 200)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 200)
        self.finish()
