# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Phones that register over a connection are called over it, and over no other (RFC 5626)."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.call import Call
from sipsess.errors import TransportError
from sipsess.ids import IdSource
from sipsess.message import Request, Response, StreamFramer, build_response, parse
from sipsess.registrar import RegistrarOptions
from sipsess.registrar.registrar import FLOW_TIMER, PURGE_PERIOD
from sipsess.registration import Account
from sipsess.registration.client import LOST_DELAY
from sipsess.server import SIPServer
from sipsess.transport.stream import IDLE_LIMIT
from tests.shell.streams import RawPeer, StreamCase

URN = '+sip.instance="<urn:uuid:1>"'
ANSWER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n"


class PhoneCase(StreamCase):
    """The base: bob's server takes registrations; alice has a phone behind a NAT."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        self.stop_and_restart()
        self.number = 0

    def stop_and_restart(self) -> None:
        """Begin anew, with a registrar."""
        stopping = self.server.stopService()
        self.net.run_for(6)
        self.successResultOf(stopping)
        self.server = SIPServer(self.bob, listen=self.listen)
        options = RegistrarOptions(admits_anybody=True)
        self.server.users.add_registrar(options, wall_time=self.net.seconds)
        self.server.startService()

    def register(self, phone: RawPeer, params: str = "", more: str = "") -> Response:
        """Register alice at an address that nobody can reach."""
        self.number += 1
        text = (
            "REGISTER sip:192.0.2.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/TCP 10.0.0.7:5062;branch=z9hG4bK{self.number}\r\n"
            "From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:alice@192.0.2.1>\r\n"
            f"Call-ID: {self.number}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:alice@10.0.0.7:5062;transport=tcp>{params}\r\n{more}"
            "Content-Length: 0\r\n\r\n"
        )
        response = parse(self.say(phone, text.encode()))
        assert isinstance(response, Response)
        self.assertEqual(response.status, 200)
        return response

    def heard(self, phone: RawPeer) -> list[Request | Response]:
        """Return all messages that a phone has heard."""
        framer = StreamFramer()
        return [parse(item) for item in framer.feed(phone.heard) if len(item) > 4]

    def last(self, phone: RawPeer, method: str) -> Request:
        """Return the last request of a method."""
        self.net.run_for(0.5)
        found = [m for m in self.heard(phone) if isinstance(m, Request) and m.method == method]
        self.assertTrue(found, phone.heard)
        return found[-1]

    def answer(self, phone: RawPeer, request: Request, body: bytes = b"") -> None:
        """Answer 200."""
        response = build_response(request, 200, to_tag="phone")
        response.headers.set("Contact", "<sip:alice@10.0.0.7:5062;transport=tcp>")
        if body:
            response.set_body("application/sdp", body)
        phone.write(response.to_bytes())
        self.net.run_for(0.5)

    def talk(self, phone: RawPeer) -> Call:
        """Call alice; her phone answers. Return the call."""
        calling: Deferred[Call] = self.server.users.dial("alice")
        invite = self.last(phone, "INVITE")
        self.assertEqual(invite.uri, "sip:alice@10.0.0.7:5062;transport=tcp")
        self.answer(phone, invite, ANSWER + b"m=audio 40000 RTP/AVP 0\r\n")
        self.last(phone, "ACK")
        return self.successResultOf(calling)

    def drop(self, phone: RawPeer) -> None:
        """Lose a connection."""
        phone.wire.abortConnection()
        self.net.run_for(0.5)


class CallTests(PhoneCase):
    """Calls."""

    def test_called(self) -> None:
        """INVITE, ACK and BYE take the connection, whatever the Contact says."""
        phone = self.connect()
        self.register(phone)
        self.talk(phone).hangup()
        self.answer(phone, self.last(phone, "BYE"))
        self.net.run_for(40)
        self.assertEqual(len(self.server.connections), 1)

    def test_two_flows(self) -> None:
        """An instance with two flows rings on the latest, and on the other when that is lost."""
        one, two = self.connect(), self.connect()
        supported = "Supported: outbound, path\r\n"
        for number, phone in enumerate((one, two), 1):
            response = self.register(phone, f";{URN};reg-id={number}", supported)
            self.assertEqual(response.headers.get("Require"), "outbound")
            self.assertEqual(response.headers.get("Flow-Timer"), str(FLOW_TIMER))
        self.talk(two).hangup()
        self.answer(two, self.last(two, "BYE"))
        self.assertNotIn(b"INVITE sip:", one.heard)
        self.drop(two)
        self.talk(one).hangup()
        self.answer(one, self.last(one, "BYE"))

    def test_flow_is_gone(self) -> None:
        """A flow of RFC 5626 that is gone is not replaced by the Contact (5.3)."""
        phone = self.connect()
        self.register(phone, f";{URN};reg-id=1", "Supported: outbound\r\n")
        self.drop(phone)
        calling = self.server.users.dial("alice")
        self.net.run_for(0.5)
        self.assertRegex(str(self.failureResultOf(calling, TransportError).value), "is gone")

    def test_other_connection(self) -> None:
        """Without it the Contact is tried; another connection of the same host is never taken."""
        phone, other = self.connect(), self.connect()
        self.register(phone)
        self.drop(phone)
        calling = self.server.users.dial("alice")
        self.net.run_for(30)
        self.failureResultOf(calling, TransportError)
        self.assertNotIn(b"INVITE", other.heard)


class IdleTests(PhoneCase):
    """How long a connection is kept."""

    def test_kept(self) -> None:
        """A connection that a binding needs is kept; when that has expired it is closed."""
        phone, other = self.connect(), self.connect()
        self.register(phone, ";expires=1500")
        self.register(other, ";expires=60")
        self.net.run_for(IDLE_LIMIT + 2)
        self.assertIsNone(phone.lost)
        self.assertIsNotNone(other.lost)
        self.net.run_for(1500 - IDLE_LIMIT + PURGE_PERIOD)
        self.assertIsNotNone(phone.lost)


class ClientTests(StreamCase):
    """A registration of ours over TCP."""

    def setUp(self) -> None:
        """Start alice, who registers with bob."""
        super().setUp()
        stopping = self.server.stopService()
        self.net.run_for(6)
        self.successResultOf(stopping)
        self.server = SIPServer(self.bob, listen=self.listen)
        self.server.users.add_registrar(RegistrarOptions(admits_anybody=True), self.net.seconds)
        self.server.startService()
        # It waits a random time before it registers anew.
        ids = IdSource(random.Random(2))
        self.customer = SIPServer(self.alice, listen=self.listen, ids=ids)
        account = Account("sip:alice@192.0.2.1", "sip:192.0.2.1;transport=tcp", expires=3600)
        self.line = self.customer.users.add_account(account)
        self.customer.startService()
        self.net.run_for(1)

    def tearDown(self) -> None:
        """Stop alice first."""
        stopping = self.customer.stopService()
        self.net.run_for(6)
        self.successResultOf(stopping)
        super().tearDown()

    def bindings(self) -> list[Any]:
        """Return what bob knows."""
        assert self.server.manager.registrar is not None
        found = self.successResultOf(self.server.manager.registrar.find("alice"))
        return list(found)

    def test_registered(self) -> None:
        """It registers over TCP, and the connection is kept while it is needed."""
        self.assertEqual(self.line.state, "REGISTERED")
        [binding] = self.bindings()
        self.assertEqual(binding.uri, "sip:alice@192.0.2.2:5060;transport=tcp")
        self.assertEqual(binding.source.transport, "TCP")
        self.net.run_for(IDLE_LIMIT + 2)
        self.assertEqual(len(self.customer.connections), 1)

    def test_connection_lost(self) -> None:
        """When the connection is lost it registers anew soon, over another one."""
        [before] = self.bindings()
        for end in tuple(self.alice.streams.connections):
            end.abortConnection()
        self.net.run_for(0.2)
        self.assertEqual(self.line.state, "WAITING")
        self.net.run_for(LOST_DELAY + 1)
        self.assertEqual(self.line.state, "REGISTERED")
        [after] = self.bindings()
        self.assertNotEqual(before.source, after.source)
