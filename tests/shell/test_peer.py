# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the scripted peer: two of them talk to each other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import MessageError, Request, Response
from sipsess.testing import Link, ScriptedPeer, VirtualNetwork


class PeerTests(SynchronousTestCase):
    """Alice calls Bob."""

    def setUp(self) -> None:
        """Make the two."""
        self.net = VirtualNetwork()
        self.alice = ScriptedPeer(self.net.host("192.0.2.1", name="alice"))
        self.bob = ScriptedPeer(self.net.host("192.0.2.2", name="bob"))

    def call(self) -> tuple[Request, Response]:
        """Set up a call; return the INVITE as Bob got it and the 200 as Alice got it."""
        self.alice.send(self.alice.invite("sip:bob@192.0.2.2"))
        invite = self.bob.expect("INVITE")
        self.bob.reply(invite, 180)
        self.bob.reply(invite, 200)
        self.alice.expect(180)
        return invite, self.alice.expect(200)

    def test_whole_call(self) -> None:
        """A call with 180, 200, ACK and a BYE of the caller leaves a quiet network."""
        invite, answer = self.call()
        self.alice.ack(answer)
        ack = self.bob.expect("ACK")
        self.assertEqual(ack.cseq.number, invite.cseq.number)
        self.assertNotEqual(ack.via.branch, invite.via.branch)
        self.assertEqual(ack.uri, self.bob.uri)
        self.alice.bye(answer)
        bye = self.bob.expect("BYE")
        self.assertEqual((bye.cseq.number, bye.to_tag), (2, answer.to_tag))
        self.bob.reply(bye, 200)
        self.alice.expect(200)
        self.net.assert_quiet()

    def test_late_ack(self) -> None:
        """The ACK has the INVITE's CSeq number, and the numbers of other requests go on."""
        _, answer = self.call()
        self.alice.send(self.alice.request_within(answer, "INFO"))
        self.assertEqual(self.alice.ack(answer).cseq.number, 1)
        self.assertEqual(self.alice.bye(answer).cseq.number, 3)

    def test_bye_of_the_callee(self) -> None:
        """The called side swaps From and To, with its own tag (RFC 3261 section 12.2.1.1)."""
        invite, answer = self.call()
        self.alice.ack(answer)
        self.bob.bye(invite, headers={"Reason": "SIP;cause=200"})
        bye = self.alice.expect("BYE")
        self.assertEqual(bye.uri, self.alice.uri)
        self.assertEqual((bye.from_tag, bye.to_tag), (answer.to_tag, invite.from_tag))
        self.assertEqual(bye.headers.get("Reason"), "SIP;cause=200")

    def test_request_after_reinvite(self) -> None:
        """A request that follows a re-INVITE of the other side has each tag once."""
        invite, answer = self.call()
        self.alice.send(self.alice.request_within(answer, "INVITE", body=self.alice.sdp()))
        again = self.bob.expect("INVITE")
        self.bob.reply(again, 200)
        self.bob.send(self.bob.request_within(again, "INFO", body="hi", content_type="text/x"))
        info = self.alice.expect("INFO")
        self.assertEqual((info.from_tag, info.to_tag), (answer.to_tag, invite.from_tag))
        self.assertEqual((info.content_type, info.body), ("text/x", b"hi"))

    def test_reject(self) -> None:
        """The ACK of a rejection is the transaction's (RFC 3261 section 17.1.1.3)."""
        self.alice.send(self.alice.invite("sip:bob@192.0.2.2"))
        invite = self.bob.expect("INVITE")
        self.assertEqual(self.bob.reply(invite, 183, body=b"hello").body, b"hello")
        sent = self.bob.reply(invite, 486, "Not Now", headers={"Retry-After": "5"}, to_tag="t")
        self.assertEqual((sent.body, sent.to_tag), (b"", "t"))
        busy = self.alice.expect(486)
        self.assertEqual((busy.reason, busy.headers.get("Retry-After")), ("Not Now", "5"))
        self.alice.ack(busy, headers=[("X-A", "1"), ("X-A", "2")])
        ack = self.bob.expect("ACK")
        self.assertEqual(ack.via.branch, invite.via.branch)
        self.assertEqual(ack.headers.get_all("X-A"), ["1", "2"])

    def test_cancel(self) -> None:
        """CANCEL has the branch and CSeq number of the INVITE (RFC 3261 section 9.1)."""
        invite = self.alice.invite("sip:bob@192.0.2.2", body=b"")
        self.assertEqual(invite.body, b"")
        self.alice.send(invite)
        self.alice.cancel(invite, headers={"Reason": "SIP;cause=487"})
        cancel = self.bob.expect("CANCEL")
        self.assertEqual(cancel.via.branch, invite.via.branch)
        self.assertEqual(self.bob.reply(cancel, 200).cseq.method, "CANCEL")
        self.bob.reply(self.bob.expect("INVITE"), 487)
        self.alice.ack(self.alice.expect(487))
        self.bob.expect("ACK")

    def test_record_route(self) -> None:
        """Record-Route makes the route set, turned round for the caller (RFC 3261 section 12.1)."""
        routes = [("Record-Route", "<sip:192.0.2.2;lr>"), ("Record-Route", "<sip:p.example;lr>")]
        self.alice.send(self.alice.invite("sip:bob@192.0.2.2", headers=routes))
        invite = self.bob.expect("INVITE")
        self.bob.reply(invite, 200)
        answer = self.alice.expect(200)
        bye = self.alice.request_within(answer, "BYE")
        proxies = ["sip:192.0.2.2;lr", "sip:p.example;lr"]
        self.assertEqual([route.uri for route in bye.routes], proxies[::-1])
        self.alice.bye(answer)
        self.bob.expect("BYE")
        bye = self.bob.request_within(invite, "BYE")
        self.assertEqual([route.uri for route in bye.routes], proxies)

    def test_no_contact(self) -> None:
        """Without a Contact the peer's address is the remote target."""
        options = self.alice.request("OPTIONS", "sip:192.0.2.2")
        self.alice.send(options)
        self.bob.reply(self.bob.expect("OPTIONS"), 200)
        answer = self.alice.expect(200)
        self.assertEqual(self.alice.request_within(answer, "INFO").uri, "sip:192.0.2.2:5060")

    def test_defaults_can_be_replaced(self) -> None:
        """Each part of a request can be given."""
        request = self.alice.request(
            "INVITE",
            "sip:x@example.org",
            from_="<sip:a@b>;tag=1",
            to="<sip:c@d>;tag=2",
            call_id="id",
            cseq=7,
            branch="z9hG4bKx",
            headers={"Contact": "<sip:other@host>"},
            body="v=0\r\n",
        )
        self.assertEqual((request.from_tag, request.to_tag, request.call_id), ("1", "2", "id"))
        self.assertEqual((request.cseq.number, request.via.branch), (7, "z9hG4bKx"))
        self.assertEqual(request.headers.get_all("Contact"), ["<sip:other@host>"])
        self.assertEqual(request.content_type, "application/sdp")
        self.assertEqual(self.alice.request("INFO", "sip:x", call_id="id").cseq.number, 8)

    def test_where_requests_go(self) -> None:
        """Requests go to the first Route or the Request-URI, else to whom the peer last talked."""
        with self.assertRaisesRegex(ValueError, "has not talked"):
            self.alice.send(self.alice.request("OPTIONS", "sip:example.org"))
        with self.assertRaisesRegex(ValueError, "has not talked"):
            self.alice.send(b"raw")
        self.alice.send(
            self.alice.request("OPTIONS", "sip:example.org", route_set=["<sip:192.0.2.2;lr>"])
        )
        self.bob.expect("OPTIONS")
        self.alice.send(self.alice.request("OPTIONS", "tel:+123"))
        self.bob.expect("OPTIONS")
        self.alice.send(b"\r\n\r\n")
        self.alice.send(b"\r\n\r\n", self.bob.address)
        self.net.run_for(1)
        self.assertEqual(self.bob.count("OPTIONS"), 2)

    def test_copies_are_not_expected_twice(self) -> None:
        """A copy is received and counted, but never unread; each message can be expected once."""
        options = self.alice.request("OPTIONS", "sip:192.0.2.2")
        self.alice.send(options)
        self.alice.send(options)
        self.bob.expect("OPTIONS")
        self.bob.expect_silence(1)
        self.assertEqual(self.bob.count("OPTIONS"), 2)
        self.assertEqual(len(self.bob.received), 2)

    def test_order_does_not_matter(self) -> None:
        """What came too early can be expected later."""
        _, _ = self.call()
        self.bob.reply(self.bob.received[0], 183)  # type: ignore[arg-type]
        self.bob.reply(self.bob.received[0], 199)  # type: ignore[arg-type]
        self.alice.expect(199)
        self.alice.expect(lambda message: isinstance(message, Response) and message.status == 183)

    def test_failed_expectation(self) -> None:
        """What does not come is told with what came instead, and the ladder."""
        self.alice.send(self.alice.request("OPTIONS", "sip:192.0.2.2"))
        with self.assertRaises(AssertionError) as caught:
            self.bob.expect("INVITE", within=2)
        text = str(caught.exception)
        self.assertIn("192.0.2.2:5060 waited 2 s for INVITE; unread: OPTIONS\n  alice", text)
        self.assertIn("OPTIONS sip:192.0.2.2       ----", text)
        self.assertEqual(self.net.seconds(), 2)
        with self.assertRaisesRegex(AssertionError, "that the predicate takes; unread: n"):
            self.alice.expect(lambda message: False)
        self.bob.reply(self.bob.expect("OPTIONS"), 404)
        with self.assertRaisesRegex(AssertionError, "192.0.2.1:5060 got 404 Not Found"):
            self.alice.expect_silence(1)

    def test_garbage_is_an_error(self) -> None:
        """What is not SIP makes the test fail where time passes."""
        self.alice.send(b"hello", self.bob.address)
        self.assertRaises(MessageError, self.net.run_for, 1)

    def test_incomplete_message(self) -> None:
        """A message without From cannot be answered within a dialog."""
        invite, _ = self.call()
        broken = invite.copy()
        broken.headers.remove("From")
        with self.assertRaisesRegex(ValueError, "no From"):
            self.bob.request_within(broken, "BYE")

    def test_sdp(self) -> None:
        """The version of an SDP goes up when it changes (RFC 3264 section 8)."""
        first, again = self.alice.sdp(), self.alice.sdp()
        self.assertEqual(first, again)
        self.assertIn("o=alice 1 1 IN IP4 192.0.2.1\r\n", first)
        held = self.alice.sdp(direction="sendonly", extra=["a=mid:1"])
        self.assertIn("o=alice 1 2 IN", held)
        self.assertTrue(held.endswith("a=sendonly\r\na=mid:1\r\n"))
        self.assertIn("m=audio 0 RTP/AVP 8\r\n", self.alice.sdp(0, formats="8"))

    def test_ipv6(self) -> None:
        """A peer of a host with IPv6 first speaks IPv6."""
        carol = ScriptedPeer(self.net.host("2001:db8::3"), 0)
        dave = ScriptedPeer(self.net.host("2001:db8::4"))
        carol.send(carol.invite("sip:dave@[2001:db8::4]"))
        invite = dave.expect("INVITE")
        self.assertEqual(invite.contact and invite.contact.uri, "sip:peer@[2001:db8::3]:49152")
        self.assertIn(b"c=IN IP6 2001:db8::3", invite.body)
        self.assertEqual(repr(carol), "<ScriptedPeer [2001:db8::3]:49152>")

    def test_close(self) -> None:
        """A closed peer leaves a closed network."""
        closing = [self.alice.close(), self.bob.close()]
        self.net.run_for(0)
        self.net.assert_closed()
        for deferred in [*closing, self.alice.close()]:
            self.assertIsNone(self.successResultOf(deferred))

    def test_user(self) -> None:
        """The user part can be given."""
        peer = ScriptedPeer(self.net.host("192.0.2.3"), user="zoe")
        self.assertEqual(peer.uri, "sip:zoe@192.0.2.3:5060")

    def test_bad_network(self) -> None:
        """Jitter changes the order of messages, and expect does not mind."""
        net = VirtualNetwork(3, Link(jitter=2, duplicate=0.5))
        alice, bob = ScriptedPeer(net.host("192.0.2.1")), ScriptedPeer(net.host("192.0.2.2"))
        alice.send(alice.invite("sip:192.0.2.2"))
        invite = bob.expect("INVITE")
        for status in (180, 183, 200):
            bob.reply(invite, status)
        for status in (180, 183, 200):
            alice.expect(status)
        alice.expect_silence(5)
