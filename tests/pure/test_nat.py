# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What addresses, Vias and responses tell about a NAT."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Advertised, Flow
from sipsess.message import Request, Via, build_request
from sipsess.nat import is_hidden, is_translated
from sipsess.transaction.mirror import MIRROR_LIFE, Mirror
from sipsess.transaction.via import is_behind_nat

FLOW = Flow("UDP", ("10.0.0.2", 5060), ("203.0.113.9", 5060), "udp:5060")


class AddressTests(SynchronousTestCase):
    """Addresses of one side of a NAT."""

    def test_hidden(self) -> None:
        """A private address of a peer that is seen at a public one leads nowhere."""
        for written, seen, expected in (
            ("10.0.0.2", "203.0.113.9", True),
            ("192.168.1.2", "203.0.113.9", True),
            ("172.31.0.1", "203.0.113.9", True),
            ("100.64.0.1", "203.0.113.9", True),
            ("fd00::2", "2001:db8::9", True),
            ("172.32.0.1", "203.0.113.9", False),
            ("198.51.100.1", "203.0.113.9", False),
            ("10.0.0.2", "10.0.0.3", False),
            ("10.0.0.2", "192.168.1.1", False),
            ("10.0.0.2", "127.0.0.1", False),
            ("203.0.113.9", "203.0.113.9", False),
            ("pbx.example", "203.0.113.9", False),
        ):
            self.assertEqual(is_hidden(written, seen), expected, (written, seen))

    def test_translated(self) -> None:
        """Another address than the written one is seen; a name says nothing."""
        for written, seen, expected in (
            ("10.0.0.2", "10.9.9.9", True),
            ("203.0.113.9", "203.0.113.9", False),
            ("2001:DB8::1", "2001:db8::1", False),
            ("pbx.example", "203.0.113.9", False),
        ):
            self.assertEqual(is_translated(written, seen), expected, (written, seen))


class RequestTests(SynchronousTestCase):
    """A caller behind a NAT."""

    def request(self, *vias: str) -> Request:
        """Return a request that came over these hops."""
        request = build_request(
            "INVITE",
            "sip:a@b.example",
            via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            from_="<sip:a@b.example>;tag=1",
            to="<sip:a@b.example>",
            call_id="1",
            cseq=1,
        )
        request.headers.remove("Via")
        for host in vias:
            request.headers.add("Via", f"SIP/2.0/UDP {host};branch=z9hG4bK{host[-1]}")
        return request

    def test_via(self) -> None:
        """Its only Via names another address than the one it is seen at."""
        for vias, expected in (
            (["10.0.0.1:5060"], True),
            (["203.0.113.9:5080"], False),
            (["phone.example"], False),
            (["10.0.0.1:5060", "10.0.0.2:5060"], False),
        ):
            self.assertEqual(is_behind_nat(self.request(*vias), FLOW), expected, vias)


class MirrorTests(SynchronousTestCase):
    """Where a peer sees us (RFC 3581)."""

    def setUp(self) -> None:
        """Begin without any knowledge."""
        self.mirror = Mirror(limit=2)

    def note(self, params: str, flow: Flow = FLOW, now: float = 0.0) -> None:
        """Take the Via of a response."""
        self.mirror.note(Via.parse(f"SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1{params}"), flow, now)

    def test_learnt(self) -> None:
        """What differs from our own address is where we are seen, for a while, by that peer."""
        self.note(";rport=40000;received=198.51.100.7")
        self.assertEqual(self.mirror.seen(FLOW, 1.0), "198.51.100.7:40000")
        self.assertIsNone(self.mirror.seen(FLOW.to(("203.0.113.10", 5060)), 1.0))
        self.assertIsNone(self.mirror.seen(FLOW, MIRROR_LIFE))

    def test_no_nat(self) -> None:
        """A peer that sees us where we are has nothing to tell, and takes back what it told."""
        self.note(";rport=40000;received=2001:db8::7")
        self.assertEqual(self.mirror.seen(FLOW, 1.0), "[2001:db8::7]:40000")
        self.note(";rport=5060;received=10.0.0.2")
        self.assertIsNone(self.mirror.seen(FLOW, 1.0))

    def test_nonsense(self) -> None:
        """What is no address and no port is not believed; nor is half of it."""
        for params in (
            "",
            ";rport=40000",
            ";received=198.51.100.7",
            ";rport;received=198.51.100.7",
            ";rport=x;received=198.51.100.7",
            ";rport=400000;received=198.51.100.7",
            ";rport=1;received=evil.example",
        ):
            self.note(params)
            self.assertIsNone(self.mirror.seen(FLOW, 1.0), params)

    def test_streams_and_advertised(self) -> None:
        """A stream needs no such thing, and what the operator says comes first."""
        stream = Flow("TCP", FLOW.local, FLOW.remote, "tcp:5060", is_reliable=True, serial=1)
        self.note(";rport=40000;received=198.51.100.7", stream)
        self.assertIsNone(self.mirror.seen(stream, 1.0))
        told = Flow("UDP", FLOW.local, FLOW.remote, "udp:5060", Advertised("198.51.100.1"))
        self.note(";rport=40000;received=198.51.100.7", told)
        self.assertIsNone(self.mirror.seen(told, 1.0))

    def test_limit(self) -> None:
        """Only so many peers are remembered."""
        for number in range(5):
            flow = FLOW.to((f"203.0.113.{number}", 5060))
            self.note(";rport=40000;received=198.51.100.7", flow)
        self.assertIsNone(self.mirror.seen(FLOW.to(("203.0.113.2", 5060)), 1.0))
        self.assertIsNotNone(self.mirror.seen(FLOW.to(("203.0.113.4", 5060)), 1.0))
