# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for :mod:`sipsess.transaction.via`."""

from __future__ import annotations

from typing import Unpack

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Advertised, Flow
from sipsess.message import Via, parse
from sipsess.transaction.via import client_via, reply_flow, stamp_received
from tests.pure.transactions import TCP, UDP, Details, make_request

#: A datagram from behind a NAT.
NAT = UDP.to(("203.0.113.7", 61234))


class ClientViaTests(SynchronousTestCase):
    """The Via of our own requests."""

    def test_datagram(self) -> None:
        """RFC 3261 18.1.1 and RFC 3581 3: transport, sent-by, branch, and rport without value."""
        via = Via.parse(client_via(UDP, "z9hG4bKx"))
        self.assertEqual(
            (via.transport, via.host, via.port, via.branch),
            ("UDP", "192.0.2.1", 5060, "z9hG4bKx"),
        )
        self.assertIn("rport", via.params)

    def test_advertised_host(self) -> None:
        """What the peer shall see is the advertised host, and the stream's transport."""
        seen = Advertised("sip.example")
        flow = Flow("TLS", ("2001:db8::1", 5061), ("2001:db8::2", 1), advertised=seen)
        self.assertTrue(client_via(flow, "b").startswith("SIP/2.0/TLS sip.example:5061;"))


class StampTests(SynchronousTestCase):
    """What is written into the top Via of a request that came."""

    def stamped(self, flow: Flow, **details: Unpack[Details]) -> Via:
        """Return the top Via after the stamping; it must be on the wire as well."""
        request = make_request("OPTIONS", **details)
        stamp_received(request, flow)
        self.assertEqual(parse(request.to_bytes()).via, request.via)
        return request.via

    def test_same_address(self) -> None:
        """RFC 3261 18.2.1: nothing is added when the sent-by is the source address."""
        via = self.stamped(UDP)
        self.assertEqual((via.received, "rport" in via.params), (None, False))

    def test_same_ipv6_address(self) -> None:
        """Two ways to write one IPv6 address are the same address."""
        flow = UDP.to(("2001:db8::1", 5060))
        self.assertIsNone(self.stamped(flow, sent_by="[2001:DB8:0::1]:5060").received)

    def test_other_address(self) -> None:
        """RFC 3261 18.2.1: received is added for another address, and for a host name."""
        self.assertEqual(self.stamped(NAT).received, "203.0.113.7")
        self.assertEqual(self.stamped(UDP, sent_by="phone.example").received, "192.0.2.2")

    def test_rport(self) -> None:
        """RFC 3581 4: with rport both the port and the address are written."""
        for flow in (UDP, NAT):
            via = self.stamped(flow, branch="z9hG4bKx;rport")
            self.assertEqual((via.received, via.rport), (flow.remote[0], flow.remote[1]))


class ReplyFlowTests(SynchronousTestCase):
    """Where responses go (RFC 3261 18.2.2)."""

    def check(self, flow: Flow, sent_by: str, branch: str, remote: tuple[str, int]) -> None:
        """Assert where the response to a request goes."""
        request = make_request("OPTIONS", sent_by=sent_by, branch=branch)
        self.assertEqual(reply_flow(request, flow), flow.to(remote))
        stamp_received(request, flow)
        self.assertEqual(reply_flow(request, flow), flow.to(remote))

    def test_port_of_sent_by(self) -> None:
        """Without rport: the source address, the port of the sent-by, 5060 if there is none."""
        self.check(NAT, "10.0.0.1:5070", "z9hG4bKx", ("203.0.113.7", 5070))
        self.check(NAT, "10.0.0.1", "z9hG4bKx", ("203.0.113.7", 5060))

    def test_rport(self) -> None:
        """RFC 3581 4: with rport, the source port."""
        self.check(NAT, "10.0.0.1:5070", "z9hG4bKx;rport", ("203.0.113.7", 61234))

    def test_maddr_is_not_followed(self) -> None:
        """A request cannot point our answers at somebody else."""
        self.check(UDP, "192.0.2.2", "z9hG4bKx;maddr=198.51.100.1", ("192.0.2.2", 5060))

    def test_stream(self) -> None:
        """On a stream the response takes the connection that the request came on."""
        request = make_request("OPTIONS", sent_by="10.0.0.1:5070")
        self.assertIs(reply_flow(request, TCP), TCP)
