# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls through a NAT: Contacts that lead nowhere, our own Contact, and keep-alives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.keepalive import INTERVAL, MAX_FLOWS
from sipsess.message import Request, Response, Via
from sipsess.session import Session
from tests.policy.agents import PEER, US, BoxTestCase

#: The address of the peer on its side of the NAT.
INSIDE = "10.7.7.7"
PING = b"\r\n\r\n"


class NATCase(BoxTestCase):
    """A box and a peer, between which there is a NAT."""

    def call_in(self, *, contact: str = f"<sip:peer@{INSIDE}:5060>", vias: int = 1) -> Response:
        """Call from behind the NAT, and return the 2xx."""
        invite = self.peer.invite(f"sip:bob@{US}", headers={"Contact": contact})
        self.hide(invite, vias)
        self.peer.send(invite, (US, 5060))
        self.success = self.peer.expect(200)
        ack = self.peer.request_within(self.success, "ACK", cseq=1)
        self.hide(ack, vias)
        self.peer.send(ack, (US, 5060))
        self.net.run_for(0.1)
        return self.success

    def hide(self, request: Request, vias: int = 1) -> None:
        """Let the Via name the address behind the NAT."""
        via = request.via
        request.set_top_via(Via(via.transport, INSIDE, 5060, via.params))
        for number in range(1, vias):
            request.headers.add("Via", f"SIP/2.0/UDP {INSIDE};branch=z9hG4bKx{number}")

    @property
    def session(self) -> Session:
        """The one live session."""
        (session,) = self.box.manager.sessions
        return session

    def hang_up(self, to: Address = (PEER, 5060)) -> None:
        """Hang up, and see where the BYE goes."""
        session = self.session
        session.terminate()
        self.net.run_for(0.1)
        [last] = [event for event in self.net.trace if event.data.startswith(b"BYE")][-1:]
        self.assertEqual(last.target, to)

    def pings(self) -> list[float]:
        """Return when keep-alives were sent."""
        return [event.time for event in self.net.trace if event.data == PING]


class CallerTests(NATCase):
    """A caller behind a NAT."""

    def test_bye(self) -> None:
        """Our BYE goes to where the INVITE came from; its Request-URI is still the Contact."""
        self.start()
        self.call_in()
        self.hang_up()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.uri, f"sip:peer@{INSIDE}:5060")
        self.peer.reply(bye, 200)
        self.finish()

    def test_between_private_networks(self) -> None:
        """The Via tells of a NAT between two private networks, too, whatever the Contact is."""
        self.start()
        self.call_in(contact="<sip:peer@198.51.100.9>")
        self.hang_up()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_proxy(self) -> None:
        """Behind a proxy the Contact is where the caller wants to be reached."""
        self.start()
        self.call_in(contact="<sip:peer@198.51.100.9>", vias=2)
        self.hang_up(("198.51.100.9", 5060))
        self.net.run_for(40)

    def test_private_contact_behind_a_proxy(self) -> None:
        """But a private address there is tried at the proxy, as nobody reaches it from here."""
        self.start()
        self.call_in(vias=2)
        self.hang_up()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_another_port(self) -> None:
        """When the NAT gives the caller another port the next request shows it."""
        self.start()
        success = self.call_in()
        other = type(self.peer)(self.peer.host, 6060)
        options = self.peer.request_within(success, "OPTIONS")
        self.hide(options)
        other.send(options, (US, 5060))
        other.expect(200)
        self.hang_up((PEER, 6060))
        other.reply(other.expect("BYE"), 200)
        other.close()
        self.finish()


class CalleeTests(NATCase):
    """A callee behind a NAT."""

    def test_private_contact(self) -> None:
        """ACK and BYE go to where the answer came from."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        answer = self.peer.reply(invite, 200, headers={"Contact": f"<sip:peer@{INSIDE}>"})
        self.assertIn(INSIDE, answer.headers.get("Contact") or "")
        ack = self.peer.expect("ACK")
        self.assertEqual(ack.uri, f"sip:peer@{INSIDE}")
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()


class ContactTests(NATCase):
    """Our Contact when we are behind a NAT ourselves (RFC 3581)."""

    def answer(self, request: Request, status: int = 200) -> None:
        """Answer, and tell that we are seen at another address."""
        params = request.via.params.with_("received", "203.0.113.7").with_("rport", "40001")
        via = request.via
        request.set_top_via(Via(via.transport, via.host, via.port, params))
        self.peer.reply(request, status)

    def contact(self, request: Request) -> str:
        """Return the Contact of a request."""
        return request.headers.get("Contact") or ""

    def test_learnt(self) -> None:
        """After the first response our Contact is where that peer sees us; the media stay."""
        self.start()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        self.assertIn(f"{US}:5060", self.contact(invite))
        self.answer(invite)
        self.peer.expect("ACK")
        self.net.run_for(0.1)
        session.send_reinvite().addErrback(lambda _: None)
        again = self.peer.expect("INVITE")
        self.assertEqual(self.contact(again), "<sip:203.0.113.7:40001>")
        self.assertIn(US, again.via.sent_by)
        self.answer(again)
        self.peer.expect("ACK")
        self.net.run_for(INTERVAL)
        self.assertEqual(len(self.pings()), 1)
        session.terminate()
        self.answer(self.peer.expect("BYE"))
        second = self.box.dial()
        invite = self.peer.expect("INVITE")
        self.assertEqual(self.contact(invite), "<sip:203.0.113.7:40001>")
        self.peer.reply(invite, 486)
        self.net.run_for(1)
        self.assertTrue(second.is_over)
        self.finish()


class KeepAliveTests(NATCase):
    """What keeps a NAT open."""

    def begin(self, kind: str = "crlf", interval: float = INTERVAL, **options: Any) -> Response:
        """Let a call come in from behind the NAT."""
        self.start(**options)
        self.box.core.keep_alives.configure(kind, interval)
        return self.call_in()

    def end(self) -> None:
        """End the call; nothing is sent any more."""
        self.hang_up()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(1)
        count = len(self.pings())
        self.finish()
        self.assertEqual(len(self.pings()), count)
        self.assertEqual(len(self.box.core.keep_alives), 0)

    def test_empty_lines(self) -> None:
        """An empty line leaves each half minute while the call lives (RFC 5626 4.4)."""
        self.begin()
        self.net.run_for(300)
        times = self.pings()
        self.assertGreaterEqual(len(times), 10)
        gaps = [after - before for before, after in pairwise(times)]
        self.assertGreaterEqual(min(gaps), 0.8 * INTERVAL)
        self.assertLessEqual(max(gaps), INTERVAL)
        self.end()

    def test_options(self) -> None:
        """An OPTIONS may be sent instead; whether it is answered does not matter."""
        self.begin("options", 10.0)
        options = self.peer.expect("OPTIONS", within=10)
        self.assertEqual(options.uri, f"sip:{PEER}:5060")
        self.peer.reply(options, 404)
        self.peer.expect("OPTIONS", within=10)
        self.assertEqual(self.pings(), [])
        self.end()

    def test_off(self) -> None:
        """Or nothing at all."""
        self.begin("off")
        self.net.run_for(300)
        self.assertEqual(self.pings(), [])
        self.end()

    def test_no_nat(self) -> None:
        """A call without a NAT needs none."""
        self.start()
        self.peer.ack(self.call())
        self.net.run_for(300)
        self.assertEqual(self.pings(), [])
        self.session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_holders(self) -> None:
        """A flow is kept alive while anybody holds it, once for all of them."""
        self.start()
        keep = self.box.core.keep_alives
        flow = self.box.flow_to((PEER, 5060))
        other = self.box.flow_to((PEER, 5070))
        with self.box.core.turn:
            keep.hold("a", flow)
            keep.hold("a", flow)
            keep.hold("b", flow)
        self.assertEqual(len(keep), 1)
        keep.release("a")
        keep.release("nobody")
        self.assertEqual(len(keep), 1)
        with self.box.core.turn:
            keep.hold("b", other)
        self.assertEqual(len(keep), 1)
        keep.release("b")
        self.assertEqual(len(keep), 0)
        self.finish()

    def test_limits(self) -> None:
        """Flows are counted off, and nobody can ask for a flood."""
        self.start()
        keep = self.box.core.keep_alives
        with self.box.core.turn:
            for number in range(MAX_FLOWS + 5):
                keep.hold(number, self.box.flow_to((PEER, 1 + number)))
        self.assertEqual(len(keep), MAX_FLOWS)
        for number in range(MAX_FLOWS + 5):
            keep.release(number)
        for kind, interval in (("crlf", 0.5), ("stun", INTERVAL)):
            with self.assertRaises(LocalError):
                keep.configure(kind, interval)
        self.finish()

    def test_streams(self) -> None:
        """A connection is kept alive by who has opened it."""
        self.start()
        flow = self.box.flow_to((PEER, 5060))
        stream = type(flow)("TCP", flow.local, flow.remote, flow.listener, is_reliable=True)
        self.box.core.keep_alives.hold("a", stream)
        self.assertEqual(len(self.box.core.keep_alives), 0)
        self.finish()
