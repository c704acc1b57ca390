# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The top Via: what it is stamped with, and where answers go (RFC 3261 section 18.2, RFC 3581)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Advertised, Flow
from sipsess.message import Request, Via, parse
from sipsess.transaction.via import client_via, reply_flow, stamp_received

FROM_4 = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.9", 32000), "udp:5060")
FROM_6 = Flow("UDP", ("2001:db8::1", 5060), ("2001:db8::9", 32000), "udp6:5060")


def make(via: str) -> Request:
    """Return a request with that top Via, and one below it."""
    message = parse(
        f"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\n"
        "Via: SIP/2.0/UDP below.example.com;branch=z9hG4bKb;rport\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


class ClientViaTests(SynchronousTestCase):
    """The Via of our own requests."""

    def test_it_asks_for_rport(self) -> None:
        """RFC 3581 section 3: the client that sends from the port it listens on asks for rport."""
        via = Via.parse(client_via(FROM_4, "z9hG4bKx"))
        self.assertEqual((via.transport, via.host, via.port), ("UDP", "192.0.2.1", 5060))
        self.assertEqual(via.branch, "z9hG4bKx")
        self.assertIn("rport", via.params)
        self.assertEqual(via.params.get("rport"), "")

    def test_ipv6_is_in_brackets(self) -> None:
        """RFC 3261 section 25.1: an IPv6 sent-by has brackets."""
        self.assertIn(" [2001:db8::1]:5060;", client_via(FROM_6, "b"))

    def test_the_advertised_host_is_named(self) -> None:
        """Behind a NAT the Via names what the peer shall see."""
        seen = Advertised("sip.example.com")
        flow = Flow("TLS", ("10.0.0.1", 5061), ("192.0.2.9", 1), advertised=seen)
        self.assertTrue(client_via(flow, "b").startswith("SIP/2.0/TLS sip.example.com:5061;"))


class StampTests(SynchronousTestCase):
    """What the receiver writes into the top Via."""

    def stamp(self, via: str, flow: Flow = FROM_4) -> str:
        """Return the top Via after the stamp."""
        request = make(via)
        stamp_received(request, flow)
        self.assertEqual(len(request.vias), 2)
        below = request.headers.get_all("Via")[1]
        self.assertNotIn("received", below)
        return str(request.via).partition(" ")[2]

    def test_same_address(self) -> None:
        """18.2.1: the sent-by is the source address, so there is nothing to add."""
        via = "192.0.2.9:5060;branch=z9hG4bKa"
        self.assertEqual(self.stamp(via), via)

    def test_another_address(self) -> None:
        """18.2.1: received is added when the sent-by's address is another."""
        self.assertEqual(self.stamp("10.1.1.1;branch=z9"), "10.1.1.1;branch=z9;received=192.0.2.9")

    def test_a_name(self) -> None:
        """18.2.1: received is added when the sent-by is a name."""
        self.assertEqual(self.stamp("pc.example.com"), "pc.example.com;received=192.0.2.9")

    def test_rport(self) -> None:
        """RFC 3581 section 4: both are filled in, even for the same address."""
        self.assertEqual(
            self.stamp("192.0.2.9:5060;rport;branch=z9"),
            "192.0.2.9:5060;rport=32000;branch=z9;received=192.0.2.9",
        )

    def test_what_the_peer_claims_is_replaced(self) -> None:
        """A received or rport that came with the request is not believed."""
        stamped = self.stamp("10.1.1.1;received=203.0.113.1;rport=1;branch=z9")
        self.assertEqual(stamped, "10.1.1.1;received=192.0.2.9;rport=32000;branch=z9")

    def test_ipv6(self) -> None:
        """RFC 5118 section 4.5: received has no brackets; spellings of an address are equal."""
        via = "[2001:DB8:0::9]:5060;branch=z9"
        self.assertEqual(self.stamp(via, FROM_6), via)
        stamped = self.stamp("[2001:db8::aa];rport;branch=z9", FROM_6)
        self.assertEqual(stamped, "[2001:db8::aa];rport=32000;branch=z9;received=2001:db8::9")


class ReplyTests(SynchronousTestCase):
    """Where the responses go."""

    def remote(self, via: str, flow: Flow = FROM_4) -> object:
        """Return the address that a response is sent to."""
        reply = reply_flow(make(via), flow)
        self.assertEqual((reply.local, reply.listener), (flow.local, flow.listener))
        return reply.remote

    def test_rport(self) -> None:
        """RFC 3581 section 4: back to the source port; the very same flow."""
        self.assertIs(reply_flow(make("10.1.1.1:5080;rport"), FROM_4), FROM_4)

    def test_port_of_the_sent_by(self) -> None:
        """18.2.2: without rport, to the source address at the port of the sent-by."""
        self.assertEqual(self.remote("10.1.1.1:5080"), ("192.0.2.9", 5080))

    def test_default_port(self) -> None:
        """18.2.2: or at 5060 when it names none."""
        self.assertEqual(self.remote("10.1.1.1"), ("192.0.2.9", 5060))

    def test_ipv6(self) -> None:
        """The same over IPv6."""
        self.assertEqual(self.remote("[2001:db8::aa]:5070", FROM_6), ("2001:db8::9", 5070))

    def test_maddr_is_not_followed(self) -> None:
        """A request cannot point our answers at anybody else."""
        self.assertEqual(self.remote("10.1.1.1;maddr=203.0.113.7"), ("192.0.2.9", 5060))

    def test_a_stream(self) -> None:
        """18.2.2: over a reliable transport, back on the connection."""
        flow = Flow("TCP", ("192.0.2.1", 5060), ("192.0.2.9", 4711), is_reliable=True, serial=3)
        self.assertIs(reply_flow(make("10.1.1.1:5080"), flow), flow)
