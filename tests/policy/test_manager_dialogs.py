# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Dialogs on the wire: routes, targets, sequence numbers, peers of RFC 2543, forks."""

from __future__ import annotations

from sipsess.message import Request, Response
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US, BoxTestCase

PROXY = "192.0.2.30"


class CalleeTests(BoxTestCase):
    """Calls that came to us."""

    def hang_up(self) -> Request:
        """Let the box hang up; return its BYE, which is answered."""
        for session in tuple(self.box.manager.sessions):
            session.terminate()
        bye = self.peer.expect("BYE")
        self.peer.reply(bye, 200)
        return bye

    def answer_with(self, **kwargs: object) -> Response:
        """Make a call with more headers."""
        self.invite(**kwargs)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def pass_on(self, proxy: ScriptedPeer) -> None:
        """Let the proxy do its work on the ACK."""
        proxy.send(proxy.expect("ACK"), (US, 5060))
        self.net.run_for(0.1)

    def test_record_route_is_copied(self) -> None:
        """12.1.1: the 2xx has the Record-Route of the INVITE, in its order."""
        self.start()
        routes = "<sip:192.0.2.9;lr>, <sip:p1.example.com;lr>"
        success = self.answer_with(headers={"Record-Route": routes})
        self.assertEqual(success.headers.get("Record-Route"), routes)
        bye = self.hang_up()
        self.assertEqual(bye.headers.values("Route"), routes.split(", "))
        self.assertEqual(bye.uri, self.peer.uri)
        self.finish()

    def test_loose_route_is_the_next_hop(self) -> None:
        """12.2.1.1: the request is sent to the first route, not to the target."""
        self.start()
        proxy = ScriptedPeer(self.net.host(PROXY, name="proxy"))
        self.answer_with(headers={"Record-Route": f"<sip:{PROXY};lr>"})
        self.pass_on(proxy)
        [session] = self.box.manager.sessions
        session.terminate()
        bye = proxy.expect("BYE")
        self.assertEqual(bye.uri, self.peer.uri)
        proxy.reply(bye, 200)
        self.finish()

    def test_strict_route(self) -> None:
        """12.2.1.1: a strict router is the Request-URI, the target the last Route."""
        self.start()
        proxy = ScriptedPeer(self.net.host(PROXY, name="proxy"))
        self.answer_with(headers={"Record-Route": f"<sip:{PROXY}>"})
        self.pass_on(proxy)
        [session] = self.box.manager.sessions
        session.terminate()
        bye = proxy.expect("BYE")
        self.assertEqual(bye.uri, f"sip:{PROXY}")
        self.assertEqual(bye.headers.values("Route"), [f"<{self.peer.uri}>"])
        proxy.reply(bye, 200)
        self.finish()

    def test_target_refresh(self) -> None:
        """12.2.2: a re-INVITE with another Contact moves the target."""
        self.start()
        success = self.answer_with()
        moved = ScriptedPeer(self.net.host("192.0.2.40", name="moved"))
        contact = {"Contact": "<sip:new@192.0.2.40>"}
        request = self.peer.request_within(
            success, "INVITE", headers=contact, body=self.peer.sdp(40002)
        )
        self.peer.send(request)
        self.peer.ack(self.peer.expect(200))
        self.net.run_for(0.1)
        [session] = self.box.manager.sessions
        session.terminate()
        bye = moved.expect("BYE")
        self.assertEqual(bye.uri, "sip:new@192.0.2.40")
        moved.reply(bye, 200)
        self.finish()

    def test_target_refresh_that_cannot_be_used(self) -> None:
        """A Contact that is broken or no SIP URI leaves the target, and the call, as they are."""
        self.start()
        success = self.answer_with()
        for contact in ("<sip:a@b", "<tel:+1555>"):
            headers = {"Contact": contact}
            request = self.peer.request_within(
                success, "INVITE", headers=headers, body=self.peer.sdp()
            )
            self.peer.send(request)
            answer = self.answer_to("INVITE")
            self.peer.ack(answer)
            self.net.run_for(0.1)
        self.assertEqual(self.hang_up().uri, self.peer.uri)
        self.finish()

    def test_sequence(self) -> None:
        """12.2.2: a number that is not above the last one is 500; gaps are fine."""
        self.start()
        success = self.answer_with()
        for number, status in ((5, 200), (5, 500), (4, 500), (1, 500), (900, 200), (0, 500)):
            self.peer.send(self.peer.request_within(success, "OPTIONS", cseq=number))
            self.assertEqual(self.answer_to("OPTIONS").status, status, number)
        self.assertEqual(self.box.refused, {"cseq-too-low": 4})
        self.peer.send(self.peer.request_within(success, "BYE", cseq=901))
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.finish()

    def test_peer_of_rfc_2543(self) -> None:
        """A caller without From tag and cookie: the call stands, its BYE is found."""
        self.start()
        self.invite(from_=f"<{self.peer.uri}>", branch="1")
        success = self.peer.expect(200)
        self.assertIsNone(success.from_tag)
        self.peer.ack(success)
        self.net.run_for(0.1)
        [session] = self.box.manager.sessions
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.peer.send(self.peer.request_within(success, "BYE"))
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.finish()

    def test_own_bye_to_a_peer_of_rfc_2543(self) -> None:
        """Our BYE to it has no To tag."""
        self.start()
        self.invite(from_=f"<{self.peer.uri}>")
        self.peer.ack(self.peer.expect(200))
        self.net.run_for(0.1)
        self.assertIsNone(self.hang_up().to_tag)
        self.finish()

    def test_wrong_tags(self) -> None:
        """12.2.2: the right Call-ID with a wrong tag is no dialog: 481."""
        self.start()
        success = self.answer_with()
        request = self.peer.request_within(success, "BYE")
        for name in ("From", "To"):
            wrong = request.copy()
            wrong.headers.set(name, f"{(request.headers.get(name) or '').partition(';')[0]};tag=x")
            wrong.headers.set("Via", f"SIP/2.0/UDP {PEER};branch=z9hG4bK{name}")
            self.peer.send(wrong)
            self.assertEqual(self.answer_to("BYE").status, 481)
        self.peer.send(request)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.finish()

    def test_find_session(self) -> None:
        """The session of a dialog is found by Call-ID and tags, while it lives."""
        self.start()
        success = self.answer_with()
        manager = self.box.manager
        key = (success.call_id, success.to_tag or "", success.from_tag or "")
        self.assertEqual([manager.find_session(*key)], list(manager.sessions))
        self.assertIsNone(manager.find_session("x", *key[1:]))
        self.peer.bye(success)
        self.answer_to("BYE")
        self.net.run_for(1)
        self.assertIsNone(manager.find_session(*key))
        self.finish()


class CallerTests(BoxTestCase):
    """Calls of ours."""

    def test_route_set_reversed(self) -> None:
        """12.1.2: ACK and BYE take the Record-Route of the 2xx in reverse order."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        routes = {"Record-Route": "<sip:p1.example.com;lr>, <sip:192.0.2.9;lr>"}
        self.peer.reply(invite, 200, headers=routes)
        ack = self.peer.expect("ACK")
        wanted = ["<sip:192.0.2.9;lr>", "<sip:p1.example.com;lr>"]
        self.assertEqual((ack.headers.values("Route"), ack.uri), (wanted, self.peer.uri))
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.headers.values("Route"), wanted)
        self.assertEqual(bye.cseq.number, invite.cseq.number + 1)
        self.peer.reply(bye, 200)
        self.finish()

    def test_success_that_breaks_the_rules(self) -> None:
        """A 2xx with broken Contact or Record-Route is acknowledged, and the call can be ended."""
        self.start()
        for headers in ({"Contact": "<sip:a@b"}, {"Contact": "<>"}, {"Record-Route": "<<"}):
            session = self.box.dial()
            self.peer.reply(self.peer.expect("INVITE"), 200, headers=headers)
            self.peer.expect("ACK")
            self.assertEqual(session.usage.state, "CONFIRMED")
            session.terminate()
            self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_callee_of_rfc_2543(self) -> None:
        """A 2xx without To tag makes a dialog whose remote tag is null."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        answer = self.peer.reply(invite, 180)
        plain = Response(200)
        for name in ("Via", "From", "Call-ID", "CSeq", "Contact"):
            plain.headers.set(name, answer.headers.get(name) or "")
        plain.headers.set("To", invite.headers.get("To") or "")
        plain.set_body("application/sdp", self.peer.sdp().encode())
        self.peer.send(plain)
        self.assertIsNone(self.peer.expect("ACK").to_tag)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_forks(self) -> None:
        """13.2.2.4: each 2xx is acknowledged; the first is the call, the others get a BYE."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        for tag in ("one", "two", "three"):
            self.peer.reply(invite, 180, to_tag=tag)
        self.net.run_for(0.1)
        self.assertEqual(set(session.dialogs), {"one", "two", "three"})
        for tag in ("two", "one"):
            self.peer.reply(invite, 200, to_tag=tag)
        self.net.run_for(0.1)
        acks = [self.peer.expect("ACK").to_tag for _ in range(2)]
        self.assertEqual(acks, ["two", "one"])
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.to_tag, "one")
        self.peer.reply(bye, 200)
        assert session.dialog is not None
        self.assertEqual(session.dialog.remote_tag, "two")
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.to_tag, "two")
        self.peer.reply(bye, 200)
        self.finish()

    def test_late_copies_of_the_success(self) -> None:
        """13.2.2.4: each copy of a 2xx gets its ACK again, after the transaction's end too."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        success = self.peer.reply(invite, 200)
        first = self.peer.expect("ACK")
        self.peer.send(success, (US, 5060))
        self.net.run_for(40)
        self.peer.send(success, (US, 5060))
        self.net.run_for(1)
        acks = [m for m in self.peer.received if isinstance(m, Request) and m.method == "ACK"]
        self.assertEqual([ack.to_bytes() for ack in acks], [first.to_bytes()] * 3)
        other = success.copy()
        other.headers.set("To", f"<sip:peer@{PEER}>;tag=other")
        self.peer.send(other, (US, 5060))
        self.net.run_for(1)
        self.assertEqual(self.box.refused, {"response-unmatched": 1})
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()
