# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The way of a registration: from server to server, and through a NAT."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from sipsess.flow import Address, Flow
from sipsess.keepalive import INTERVAL
from sipsess.locating import Avoided, NextHop, Target
from sipsess.message import Request, Via
from sipsess.registration import Account, Registrations
from sipsess.registration.client import BASE_DELAY
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US
from tests.policy.test_registration import REGISTRAR, RegistrationCase

OTHER = "192.0.2.10"
PING = b"\r\n\r\n"


class ServersTests(RegistrationCase):
    """A registrar of several servers (RFC 3263 4.3)."""

    def begin_with(self, *hosts: str) -> Request:
        """Start with a registrar at these hosts; return the first REGISTER."""
        self.start()
        self.other = ScriptedPeer(self.net.host(OTHER, name="other"))
        self.avoided = Avoided(self.net.seconds)
        targets = [Target("UDP", host, 5060, "example.com") for host in hosts]

        def find(uri: str) -> Deferred[NextHop]:
            hop = NextHop(targets, lambda _, address, name: self.connect(address), self.avoided)
            return Deferred.fromCoroutine(hop.advance())

        self.registrations = Registrations(self.box.core, find)
        self.client = self.registrations.add(Account("sip:alice@example.com", REGISTRAR))
        self.registrations.start()
        return self.next_register()

    def connect(self, address: Address) -> Deferred[Flow]:
        """Return our flow to an address."""
        return succeed(self.box.flow_to(address))

    def test_after_503(self) -> None:
        """The next server gets the REGISTER at once."""
        self.refuse(self.begin_with(PEER, OTHER), 503)
        second = self.other.expect("REGISTER", within=0.1)
        self.other.reply(second, 200, headers={"Contact": second.headers.get("Contact") or ""})
        self.net.run_for(0.1)
        self.assertEqual((self.client.state, self.client.failures), ("REGISTERED", 0))
        assert self.client.flow is not None
        self.assertEqual(self.client.flow.remote, (OTHER, 5060))
        stopping = self.registrations.stop()
        self.other.reply(self.other.expect("REGISTER"), 200)
        self.net.run_for(0.1)
        self.successResultOf(stopping)
        self.finish()

    def test_after_a_timeout(self) -> None:
        """So it does when the first one does not answer."""
        self.begin_with(PEER, OTHER)
        self.net.run_for(31)
        self.assertEqual(self.other.received, [])
        self.refuse_at_other(403)
        self.assertEqual(self.client.state, "WAITING")
        self.finish()

    def refuse_at_other(self, status: int) -> None:
        """Let the second server refuse."""
        self.other.reply(self.other.expect("REGISTER"), status)
        self.net.run_for(0.1)

    def test_no_server_is_left(self) -> None:
        """When the last one fails the back-off begins; the first is asked again after it."""
        self.refuse(self.begin_with(PEER, OTHER), 503)
        self.refuse_at_other(503)
        self.assertEqual((self.client.state, self.client.failures), ("WAITING", 1))
        self.assertLessEqual(self.delay, BASE_DELAY)
        self.grant(self.next_register(within=BASE_DELAY))
        self.finish()

    def test_a_server_without_a_way(self) -> None:
        """A server that cannot be reached ends the attempt like any failure."""
        self.refuse(self.begin_with(PEER, "192.0.2.10"), 503)
        self.refuse_at_other(500)
        self.assertIn("500", self.client.error)
        self.finish()


class NATTests(RegistrationCase):
    """A registration from behind a NAT."""

    def answer(self, request: Request, port: int = 40001, *, seconds: int = 600) -> None:
        """Grant, and tell that we are seen at another address."""
        via = request.via
        params = via.params.with_("received", "203.0.113.7").with_("rport", str(port))
        request.set_top_via(Via(via.transport, via.host, via.port, params))
        self.grant(request, seconds)

    def contacts(self, request: Request) -> list[str]:
        """Return the Contacts of a REGISTER."""
        return request.headers.get_all("Contact")

    def test_moved(self) -> None:
        """The address that the registrar sees is registered at once, the first one taken back."""
        first = self.begin()
        self.assertEqual(self.contacts(first), [f"<sip:alice@{US}:5060>"])
        self.answer(first)
        second = self.next_register(within=0.1)
        self.assertEqual(
            self.contacts(second),
            ["<sip:alice@203.0.113.7:40001>", f"<sip:alice@{US}:5060>;expires=0"],
        )
        self.peer.reply(
            second, 200, headers={"Contact": "<sip:alice@203.0.113.7:40001>;expires=600"}
        )
        self.net.run_for(0.1)
        self.assertEqual(self.client.state, "REGISTERED")
        self.assertEqual(self.contacts(self.waits(360, 510)), ["<sip:alice@203.0.113.7:40001>"])
        self.finish()

    def test_a_nat_that_changes_its_mind(self) -> None:
        """A NAT with another port each time makes no storm: one REGISTER more for each refresh."""
        self.answer(self.begin(), 40001)
        self.answer(self.next_register(within=0.1), 40002)
        self.answer(self.waits(360, 510), 40003)
        self.next_register(within=0.1)
        self.finish()

    def test_kept_open(self) -> None:
        """Calls come in by the flow of the registration: it is kept open until the end."""
        self.answer(self.begin())
        self.answer(self.next_register(within=0.1))
        self.net.run_for(3 * INTERVAL)
        pings = [event for event in self.net.trace if event.data == PING]
        self.assertIn(len(pings), (3, 4))
        self.finish()
        self.assertEqual(len(self.box.core.keep_alives), 0)

    def test_no_nat(self) -> None:
        """Without a NAT there is one REGISTER, and nothing is kept open."""
        self.grant(self.begin())
        self.assertGreater(self.delay, 300)
        self.assertEqual(len(self.box.core.keep_alives), 0)
        self.finish()
