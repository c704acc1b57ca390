# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the core answers by itself, in the order of RFC 3261 section 8.2."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from sipsess.admission import Admission, reason_of
from sipsess.core import KNOWN_METHODS, RETRY_AFTER, IgnoringUser
from sipsess.flow import Flow
from sipsess.interfaces import ISIPService
from sipsess.message import Request, Response, parse
from sipsess.testing import ScriptedPeer
from sipsess.transaction import TransactionLayer
from tests.policy.agents import PEER, US, BoxTestCase, ring


@implementer(ISIPService)
class Service:
    """A service that takes one method, and does what a test says."""

    option_tags = frozenset({"gruu"})
    accept = frozenset({"application/pidf+xml"})

    def __init__(self, method: str, act: Any, name: str = "test") -> None:
        self.name = name
        self.allow = frozenset({method})
        self._act = act

    def handle_request(self, admission: Admission) -> bool:
        """Take its method."""
        if admission.request.method not in self.allow:
            return False
        return bool(self._act(admission))

    def handle_ack(self, request: Request, flow: Flow) -> bool:
        """Take none."""
        return False

    def handle_stray_response(self, response: Response, flow: Flow) -> bool:
        """Take none."""
        return False


class Bad(Service):
    """A service with a bug."""

    def handle_ack(self, request: Request, flow: Flow) -> bool:
        """Fail."""
        raise ZeroDivisionError


class MethodTests(BoxTestCase):
    """8.2.1: the method, and what is supported."""

    def test_options(self) -> None:
        """11.2: OPTIONS outside a dialog is answered with our capabilities."""
        self.start()
        self.send("OPTIONS")
        response = self.peer.expect(200)
        self.assertEqual(
            response.allow, {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"} | self.box.core.allow
        )
        self.assertEqual(response.headers.values("Accept"), ["application/sdp"])
        self.assertEqual(response.headers.values("Accept-Encoding"), ["identity"])
        self.assertIn("Supported", response.headers)
        self.assertIsNotNone(response.to_tag)
        self.finish()

    def test_options_with_services(self) -> None:
        """The capabilities are those of all services together."""
        self.start()
        self.box.core.register_service(Service("REGISTER", None))
        self.send("OPTIONS")
        response = self.peer.expect(200)
        self.assertIn("REGISTER", response.allow)
        self.assertEqual(response.supported, {"100rel", "gruu"})
        bodies = response.headers.values("Accept")
        self.assertEqual(bodies, ["application/pidf+xml", "application/sdp"])
        self.finish()

    def test_known_method(self) -> None:
        """8.2.1: 405 with Allow for a method that SIP knows and we do not support."""
        self.start()
        for method in sorted(KNOWN_METHODS - self.box.core.allow - {"BYE", "INFO", "PRACK"}):
            if method == "UPDATE":
                continue
            self.send(method)
            refusal = self.answer_to(method)
            self.assertEqual((refusal.status, refusal.allow), (405, self.box.core.allow), method)
        self.assertGreater(self.box.refused["method-not-allowed"], 2)
        self.finish()

    def test_unknown_method(self) -> None:
        """21.5.2: 501 with Allow for any other, whatever its letters; methods have a case."""
        self.start()
        for method in ("NF", "invite", "!%*_+`'~"):
            self.send(method)
            refusal = self.answer_to(method)
            self.assertEqual((refusal.status, refusal.allow), (501, self.box.core.allow), method)
        self.finish()

    def test_method_before_require(self) -> None:
        """8.2: the method is inspected before the extensions."""
        self.start()
        self.send("REGISTER", headers={"Require": "nothing"})
        self.assertEqual(self.answer_to("REGISTER").status, 405)
        self.finish()

    def test_dialog_methods_outside_dialogs(self) -> None:
        """15.1.2, RFC 3262, 3311, 6086: 481 without a dialog, with and without a To tag."""
        self.start()
        methods = ("BYE", "INFO", "PRACK", "UPDATE")
        for method in methods:
            for to in (f"<sip:{US}>", f"<sip:{US}>;tag=nobody"):
                self.send(method, to=to)
                self.assertEqual(self.answer_to(method).status, 481, method)
        self.assertEqual(self.box.refused, {"dialog-unknown": 8})
        self.finish()

    def test_any_method_of_an_unknown_dialog(self) -> None:
        """12.2.2: a To tag that nobody gave is 481, for a re-INVITE and OPTIONS too."""
        self.start()
        for method in ("INVITE", "OPTIONS", "REGISTER", "NF"):
            self.send(method, to=f"<sip:{US}>;tag=nobody")
            self.assertEqual(self.answer_to(method).status, 481, method)
        self.finish()


class InspectionTests(BoxTestCase):
    """8.2.2: the headers."""

    def test_urn(self) -> None:
        """8.2.2.1: a Request-URI of an unknown scheme is 416."""
        self.start()
        for method in ("INVITE", "OPTIONS"):
            self.send(method, uri="urn:service:sos", to="<sip:sos@example.com>")
            refusal = self.answer_to(method)
            self.assertEqual(refusal.status, 416)
            if method == "INVITE":
                self.peer.ack(refusal)
        self.assertEqual(self.box.refused, {"unsupported-scheme": 2})
        self.finish()

    def test_tel(self) -> None:
        """A tel: URI is routed like any other."""
        self.start()
        self.invite(uri="tel:+1-555-0123")
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.finish()

    def test_merged(self) -> None:
        """8.2.2.2: the same request over two ways is a call and a 482."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        twin = invite.copy()
        twin.headers.set("Via", f"SIP/2.0/UDP {PEER}:5060;branch=z9hG4bKother;rport")
        self.peer.send(twin)
        self.peer.ack(self.peer.expect(482))
        self.assertEqual(self.box.refused, {"merged-request": 1})
        self.assertEqual(len(self.box.manager.sessions), 1)
        self.peer.send(invite)
        self.peer.cancel(invite)
        self.peer.send(parse(invite.to_bytes()))
        self.answer_to("CANCEL")
        self.peer.expect(487)
        self.net.run_for(40)
        self.finish()

    def test_merged_is_not_in_dialogs(self) -> None:
        """8.2.2.2: with a To tag there is no merging; the CSeq decides (12.2.2)."""
        self.start()
        success = self.call()
        for status in (200, 500):
            request = self.peer.request_within(success, "OPTIONS", cseq=7)
            self.peer.send(request)
            self.assertEqual(self.answer_to("OPTIONS").status, status)
        self.peer.bye(success)
        self.finish()

    def test_require(self) -> None:
        """8.2.2.3: 420 with all that is not supported in Unsupported, and nothing else."""
        self.start()
        self.box.core.register_service(Service("REGISTER", lambda admission: False))
        self.send("OPTIONS", headers={"Require": "b-ext, GRUU, a-ext"})
        refusal = self.peer.expect(420)
        self.assertEqual(refusal.headers.values("Unsupported"), ["a-ext", "b-ext"])
        self.send("OPTIONS", headers={"Require": "gruu"})
        self.peer.expect(200)
        self.assertEqual(self.box.refused, {"bad-extension": 1})
        self.finish()

    def test_require_in_ack_and_cancel(self) -> None:
        """8.2.2.3: Require is ignored in ACK and CANCEL."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        self.peer.cancel(invite, headers={"Require": "nothing"})
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(self.peer.expect(487), headers={"Require": "nothing"})
        self.finish()

    def test_proxy_require_is_not_ours(self) -> None:
        """20.29: Proxy-Require is the proxies' affair."""
        self.start()
        self.send("OPTIONS", headers={"Proxy-Require": "nothing"})
        self.peer.expect(200)
        self.finish()

    def test_max_forwards_zero(self) -> None:
        """A UAS answers it; only who forwards refuses (16.3)."""
        self.start()
        self.send("OPTIONS", headers={"Max-Forwards": "0"})
        self.peer.expect(200)
        self.finish()


class CancelTests(BoxTestCase):
    """9.2: CANCEL."""

    def test_stray(self) -> None:
        """A CANCEL that matches no INVITE is 481."""
        self.start()
        invite = self.peer.invite(f"sip:bob@{US}")
        self.peer._sent[invite.call_id, invite.cseq.number] = (invite, (US, 5060))
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 481)
        self.assertEqual(self.box.refused, {"cancel-unmatched": 1})
        self.finish()

    def test_of_something_else(self) -> None:
        """A CANCEL cancels INVITEs only; one with the branch of an OPTIONS matches nothing."""
        self.start()
        options = self.send("OPTIONS")
        self.peer.expect(200)
        self.peer.cancel(options)
        self.assertEqual(self.answer_to("CANCEL").status, 481)
        self.finish()

    def test_after_the_refusal(self) -> None:
        """After a final response it is answered 200 and changes nothing."""
        self.start(application=None)
        invite = self.invite()
        refusal = self.peer.expect(404)
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(refusal)
        self.finish()

    def test_nobody_to_tell(self) -> None:
        """When nobody can be told, the CANCEL is answered all the same."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        server = self.box.core.layer.find_cancelled(invite, self.box.flow_to((PEER, 5060)))
        assert server is not None
        user, server.user = server.user, None
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        server.user = user
        self.box.manager.stop()
        self.peer.ack(self.peer.expect(503))
        self.box.manager.is_stopping = False
        self.finish()


class StrayTests(BoxTestCase):
    """What belongs to nothing."""

    def test_ack(self) -> None:
        """A stray ACK is counted and never answered, with and without a To tag."""
        self.start()
        self.send("ACK")
        self.send("ACK", to=f"<sip:{US}>;tag=nobody")
        self.peer.expect_silence(40)
        self.assertEqual(self.box.refused, {"ack-unmatched": 2})
        self.finish()

    def test_response(self) -> None:
        """A stray response is counted and never answered."""
        self.start()
        request = self.peer.request("OPTIONS", f"sip:{US}")
        for status in (100, 200, 404):
            self.peer.remote = (US, 5060)
            self.peer.reply(request, status)
        self.peer.expect_silence(40)
        self.assertEqual(self.box.refused, {"response-unmatched": 3})
        self.assertEqual(self.box.core.counters.responses_received, 3)
        self.finish()

    def test_what_no_answer_could_name(self) -> None:
        """A request without a CSeq is counted, not answered: nobody could match it (8.2.6.2)."""
        self.start()
        self.peer.send(b"OPTIONS sip:x SIP/2.0\r\nVia: broken\r\n\r\n", (US, 5060))
        self.peer.expect_silence(40)
        self.assertEqual(sum(self.box.refused.values()), 1)
        self.finish()

    def test_success_to_an_invite_of_nobody(self) -> None:
        """A 2xx to an INVITE that we did not send is not acknowledged."""
        self.start()
        self.peer.remote = (US, 5060)
        self.peer.reply(self.peer.invite(f"sip:{US}"), 200)
        self.peer.expect_silence(40)
        self.assertEqual(self.box.refused, {"response-unmatched": 1})
        self.finish()

    def test_all_responses_are_counted(self) -> None:
        """Those that a transaction takes, too."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 180)
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(1)
        self.assertEqual(self.box.core.counters.responses_received, 3)
        self.finish()


class OverloadTests(BoxTestCase):
    """More than there may be."""

    def fill(self, limit: int, peer_limit: int = 100) -> None:
        """Allow that many server transactions."""
        core = self.box.core
        core.layer = TransactionLayer(
            turn=core.turn,
            timers=core.timers,
            counters=core.counters,
            timing=core.timing,
            limit=limit,
            peer_limit=peer_limit,
        )

    def test_too_many_transactions(self) -> None:
        """21.5.4: 503 with Retry-After, without a transaction; room again when one ends."""
        self.start()
        self.fill(2)
        for _ in range(3):
            self.send("OPTIONS")
        self.peer.expect(200)
        self.peer.expect(200)
        refusal = self.peer.expect(503)
        self.assertEqual(refusal.headers.get("Retry-After"), str(RETRY_AFTER))
        self.assertEqual(refusal.via.received, PEER)
        self.assertEqual(self.box.refused, {"transactions-full": 1})
        self.assertEqual(len(self.box.core.layer), 2)
        self.finish()

    def test_too_many_of_one_peer(self) -> None:
        """One host cannot take all of them."""
        self.start()
        self.fill(10, peer_limit=2)
        other = ScriptedPeer(self.net.host("192.0.2.10", name="other"))
        for _ in range(3):
            self.send("OPTIONS")
        self.peer.expect(503)
        self.assertEqual(self.box.refused, {"peer-transactions-full": 1})
        other.send(other.request("OPTIONS", f"sip:{US}"), (US, 5060))
        other.expect(200)
        self.net.run_for(40)
        self.finish()

    def test_same_tag_for_each_copy(self) -> None:
        """8.2.7: a stateless answer to a copy has the same To tag; that to another has its own."""
        self.start()
        self.fill(0)
        invite = self.invite()
        self.net.run_for(0.5)
        self.peer.send(invite)
        self.peer.send(self.peer.invite(f"sip:bob@{US}"))
        self.net.run_for(1)
        tags = [message.to_tag for message in self.peer.received]
        self.assertEqual(len(tags), 3)
        self.assertEqual(tags[0], tags[1])
        self.assertNotEqual(tags[0], tags[2])
        self.fill(10)
        self.finish()

    def test_the_ack_of_a_stateless_answer(self) -> None:
        """It belongs to nothing, and is dropped."""
        self.start()
        self.fill(0)
        self.invite()
        self.peer.ack(self.peer.expect(503))
        self.peer.expect_silence(5)
        self.assertEqual(self.box.refused["ack-unmatched"], 1)
        self.fill(10)
        self.finish()


class WayTests(BoxTestCase):
    """18.2.1, 18.2.2, RFC 3581: where answers go."""

    def answered_at(self, via: str, method: str = "OPTIONS", source: int = 40000) -> str:
        """Send from a port of a host that listens on several; say which one got the answer."""
        self.start()
        host = self.net.host("192.0.2.20", "2001:db8::20", name="nat")
        peers = {port: ScriptedPeer(host, port) for port in (source, 5060, 5070)}
        request = peers[source].request(method, f"sip:{US}")
        request.headers.set("Via", via)
        peers[source].send(request, (US, 5060))
        self.net.run_for(1)
        found = [port for port, peer in peers.items() if peer.received]
        self.assertEqual(len(found), 1)
        answer = peers[found[0]].received[0]
        assert isinstance(answer, Response)
        self.answer = answer
        self.finish()
        return f"{found[0]} {str(answer.via).partition(' ')[2]}"

    def test_rport(self) -> None:
        """RFC 3581 section 4: with rport, back to the source port; both are filled in."""
        self.assertEqual(
            self.answered_at("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa;rport"),
            "40000 10.0.0.1:5070;branch=z9hG4bKa;rport=40000;received=192.0.2.20",
        )

    def test_port_of_the_sent_by(self) -> None:
        """18.2.2: without rport, to the source address and the port of the sent-by."""
        self.assertEqual(
            self.answered_at("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa"),
            "5070 10.0.0.1:5070;branch=z9hG4bKa;received=192.0.2.20",
        )

    def test_default_port(self) -> None:
        """18.2.2: or to 5060; a sent-by that is right gets no received."""
        via = "192.0.2.20;branch=z9hG4bKa"
        self.assertEqual(self.answered_at(f"SIP/2.0/UDP {via}"), f"5060 {via}")

    def test_maddr(self) -> None:
        """An maddr is not followed: it would let a request point our answers at anybody."""
        found = self.answered_at("SIP/2.0/UDP 192.0.2.20:5070;maddr=192.0.2.9;branch=z9hG4bKa")
        self.assertTrue(found.startswith("5070 "))

    def test_malformed_request(self) -> None:
        """The 400 to a request without Call-ID goes the same way, its Via stamped."""
        self.start()
        via = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa;rport"
        data = f"OPTIONS sip:a SIP/2.0\r\nVia: {via}\r\nCSeq: 1 OPTIONS\r\n\r\n".encode()
        self.peer.send(data, (US, 5060))
        self.peer.close()
        self.net.run_for(1)
        got = [event.data for event in self.net.trace if event.data != data]
        self.assertTrue(got[0].startswith(b"SIP/2.0 400 Bad Request (there is no From header)"))
        self.assertIn(b";rport=5060;received=192.0.2.9\r\n", got[0])

    def test_ipv6(self) -> None:
        """The same over IPv6; received has no brackets (RFC 5118 section 4.5)."""
        self.start()
        peer = ScriptedPeer(self.net.host("2001:db8::9", name="six"))
        request = peer.request("OPTIONS", "sip:[2001:db8::1]")
        peer.send(request)
        answer = peer.expect(200)
        self.assertEqual((answer.via.received, answer.via.rport), ("2001:db8::9", 5060))
        self.assertIn(b";received=2001:db8::9", answer.to_bytes())
        self.finish()

    def test_call_over_ipv6(self) -> None:
        """A whole call over IPv6: Contact and Via have brackets."""
        self.start()
        peer = ScriptedPeer(self.net.host("2001:db8::9", name="six"))
        peer.send(peer.invite("sip:bob@[2001:db8::1]"))
        success = peer.expect(200)
        assert success.contact is not None
        self.assertEqual(success.contact.uri, "sip:[2001:db8::1]:5060")
        peer.ack(success)
        self.net.run_for(1)
        [session] = self.box.manager.sessions
        session.terminate()
        bye = peer.expect("BYE")
        self.assertTrue(str(bye.via).startswith("SIP/2.0/UDP [2001:db8::1]:5060;rport"))
        peer.reply(bye, 200)
        self.finish()


class ServiceTests(BoxTestCase):
    """Services, and what goes wrong in them."""

    def test_order(self) -> None:
        """Services are asked in the order of registration; the first that claims it has it."""
        self.start()
        asked: list[str] = []
        declines = Service("REGISTER", lambda admission: asked.append("declines"), "declines")
        claims = Service("REGISTER", lambda admission: [admission.respond(202)], "claims")
        last = Service("REGISTER", lambda admission: asked.append("last"), "last")
        for service in (declines, claims, last):
            self.box.core.register_service(service)
        self.send("REGISTER")
        self.assertEqual(self.answer_to("REGISTER").status, 202)
        self.assertEqual(asked, ["declines"])
        self.box.core.unregister_service(claims)
        self.send("REGISTER")
        self.assertEqual(self.answer_to("REGISTER").status, 501)
        self.assertEqual(
            (asked, self.box.refused), (["declines", *asked[:1], "last"], {"request-unclaimed": 1})
        )
        self.finish()

    def test_bug(self) -> None:
        """A bug in a service is 500 for that request, and logged; the next one is served."""
        self.start()
        self.box.core.register_service(Service("REGISTER", lambda admission: 1 // 0))
        self.send("REGISTER")
        self.assertEqual(self.answer_to("REGISTER").status, 500)
        self.assertEqual(self.box.refused, {"internal-error": 1})
        self.finish(failures=1)

    def test_bug_after_the_answer(self) -> None:
        """One answer is enough."""
        self.start()
        act = lambda admission: (admission.respond(202), 1 // 0)  # noqa: E731
        self.box.core.register_service(Service("REGISTER", act))
        self.send("REGISTER")
        self.assertEqual(self.answer_to("REGISTER").status, 202)
        self.finish(failures=1)

    def test_header_of_the_peer(self) -> None:
        """A header that the service cannot read is the peer's fault: 400, nothing logged."""
        self.start()
        act = lambda admission: bool(admission.request.contacts)  # noqa: E731
        self.box.core.register_service(Service("REGISTER", act))
        self.send("REGISTER", headers={"Contact": "<sip:a@b"})
        refusal = self.answer_to("REGISTER")
        self.assertEqual(refusal.status, 400)
        self.assertTrue(refusal.reason.startswith("Bad Request ("))
        self.assertEqual(self.box.refused, {"bad-address": 1})
        self.finish()

    def test_bug_in_an_ack(self) -> None:
        """An ACK is never answered, whatever happens."""
        self.start()
        self.box.core.register_service(Bad("REGISTER", None))
        self.send("ACK")
        self.peer.expect_silence(5)
        self.assertEqual(self.box.refused, {"internal-error": 1})
        self.finish(failures=1)

    def test_bug_in_an_upcall(self) -> None:
        """An upcall that raises is logged, and the turn goes on."""
        self.start()
        with self.box.core.turn:
            self.box.core.turn.later(lambda: 1 // 0)
        self.assertEqual(self.box.refused, {"internal-error": 1})
        self.finish(failures=1)

    def test_what_cannot_be_sent(self) -> None:
        """A transmit that raises loses one message, and is counted."""
        self.start()
        flow = Flow("UDP", (US, 5060), (PEER, 5060), "gone")
        with self.box.core.turn:
            self.box.core.send(flow, b"lost")
            self.box.core.send(self.box.flow_to((PEER, 5060)), b"\r\n\r\n")
        self.assertEqual(self.box.core.counters.send_errors, 1)
        self.assertEqual(self.box.core.counters.messages_sent, 2)
        self.finish()


class FlowTests(BoxTestCase):
    """Where requests within dialogs go."""

    def test_flow_to(self) -> None:
        """An address is gone to, a name goes the way that the peer's messages came."""
        self.start()
        core = self.box.core
        flow = self.box.flow_to((PEER, 5060))
        for uri, remote in (
            ("sip:a@192.0.2.50", ("192.0.2.50", 5060)),
            ("sip:a@192.0.2.50:5090;transport=udp", ("192.0.2.50", 5090)),
            ("sips:a@192.0.2.50", ("192.0.2.50", 5061)),
            ("sip:a@[2001:db8::7]", ("2001:db8::7", 5060)),
            ("sip:192.0.2.9", (PEER, 5060)),
            ("sip:a@example.com", (PEER, 5060)),
            ("tel:+1555", (PEER, 5060)),
            ("<<", (PEER, 5060)),
        ):
            self.assertEqual(core.flow_to(uri, flow).remote, remote, uri)
        self.assertIs(core.flow_to("sip:192.0.2.9", flow), flow)
        self.assertEqual(core.flow_to("sip:a@[2001:db8::7]", flow).local[0], "2001:db8::1")

    def test_numbers_that_are_no_address(self) -> None:
        """A host of digits and dots is no address but in the usual form, and is never sent to."""
        self.start()
        core = self.box.core
        datagrams = self.box.flow_to((PEER, 5060))
        stream = Flow("TCP", (US, 5060), (PEER, 40000), is_reliable=True, serial=1)
        for host in (
            "127.0.4294967295.1",
            "2130706433",
            "127.1",
            "1.2.3.4.5",
            "010.0.0.1",
            "1.2.3.256",
        ):
            for flow in (datagrams, stream):
                self.assertIs(core.flow_to(f"sip:a@{host};transport=udp", flow), flow, host)

    def test_streams_are_kept(self) -> None:
        """What came on a stream goes back on it, if it leads there or nothing else does."""
        self.start()
        core = self.box.core
        flow = Flow("TCP", (US, 5060), (PEER, 40000), is_reliable=True, serial=1)
        for uri in (f"sip:{PEER}", "sip:b.example", "sip:192.0.2.50;transport=tcp", "tel:1"):
            self.assertIs(core.flow_to(uri, flow), flow)
        self.assertIs(core.flow_to("sip:192.0.2.50", flow, is_direct=True), flow)
        self.assertEqual(core.flow_to("sip:192.0.2.50", flow).transport, "UDP")

    def test_no_way_there(self) -> None:
        """Without a listener of the other family, the way that we know is as good as any."""
        self.start()
        flow = self.box.flow_to((PEER, 5060))
        for flow_for in (None, lambda transport, address: None):
            self.box.core.flows.flow_for = flow_for
            self.assertIs(self.box.core.flow_to("sip:[2001:db8::7]", flow), flow)


class SmallTests(BoxTestCase):
    """Small parts."""

    def test_the_ignoring_user(self) -> None:
        """It takes everything and does nothing: a CANCEL's outcome changes nothing."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 180)
        self.net.run_for(1)
        session.terminate()
        cancel = self.peer.expect("CANCEL")
        self.assertIsInstance(self.box.core.ignoring_user, IgnoringUser)
        self.peer.reply(invite, 487)
        self.net.run_for(40)
        self.assertGreater(self.peer.count("CANCEL"), 5)
        self.peer.reply(cancel, 200)
        self.finish()

    def test_reason_of(self) -> None:
        """What is wrong stands in the reason phrase, printable and short."""
        self.assertIsNone(reason_of(400, ""))
        self.assertEqual(reason_of(400, "no \r\n\0 way"), "Bad Request (no ??? way)")
        self.assertLess(len(reason_of(400, "x" * 10_000) or ""), 250)
