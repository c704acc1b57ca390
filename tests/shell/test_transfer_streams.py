# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Transfers over TCP and TLS on virtual hosts, and what becomes of them without a connection."""

from __future__ import annotations

import pathlib

from twisted.internet.defer import Deferred

from sipsess.applications.echo import EchoApplication
from sipsess.applications.reject import RejectApplication
from sipsess.call import Call
from sipsess.message.refer import StatusLine
from sipsess.plugins import sipsess_builtin
from sipsess.server import SIPServer
from sipsess.session import Session
from tests.certificates import Authority, names
from tests.shell.test_server import Ringing, ServerCase

ALICE, BOB, CAROL = "192.0.2.2", "192.0.2.1", "192.0.2.3"


class TransferCase(ServerCase):
    """The base of tests: alice calls bob and carol; each is a server of its own."""

    #: Where each listens.
    listen: tuple[str, ...] = ("udp:5060", "tcp:5060")
    #: How each is called.
    uri = "sip:echo@{};transport=tcp"

    def setUp(self) -> None:
        """Start the three."""
        super().setUp()
        self.hosts = {
            ALICE: self.alice,
            BOB: self.bob,
            CAROL: self.net.host(CAROL, name="carol"),
        }
        self.servers = {address: self.start(address) for address in self.hosts}

    def start(self, address: str) -> SIPServer:
        """Start one, with what is needed for transfers."""
        return self.serve(
            self.hosts[address],
            listen=self.listen_at(address),
            supplements=[sipsess_builtin.refer, sipsess_builtin.replaces],
            applications=[EchoApplication(), RejectApplication(), Ringing()],
        )

    def listen_at(self, address: str) -> tuple[str, ...]:
        """Return where one listens."""
        return self.listen

    def call(self, caller: str, callee: str) -> Call:
        """Return a call that stands."""
        dialled = self.servers[caller].dial(self.uri.format(callee))
        self.net.run_for(1)
        return self.successResultOf(dialled)

    def sessions(self, address: str) -> list[Session]:
        """Return the sessions of one."""
        return list(self.servers[address].manager.sessions)

    def transports(self, address: str) -> set[str]:
        """Return the transports of the sessions of one."""
        return {session.flow.transport for session in self.sessions(address)}

    def break_all(self, address: str) -> None:
        """Lose all connections of one."""
        for end in tuple(self.hosts[address].streams.connections):
            end.abortConnection()
        self.net.run_for(0.2)

    def check_moved(self, outcome: Deferred[StatusLine], transport: str) -> None:
        """Check that bob and carol talk with each other, and alice with nobody."""
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(outcome).status, 200)
        (bob,), (carol,) = self.sessions(BOB), self.sessions(CAROL)
        self.assertEqual(self.sessions(ALICE), [])
        self.assertEqual(bob.call_id, carol.call_id)
        self.assertEqual({bob.flow.transport, carol.flow.transport}, {transport})
        self.assertEqual({bob.runner.name, carol.runner.name}, {"echo"})

    def tearDown(self) -> None:
        """Hang up and stop: nothing may be left."""
        for address in self.servers:
            for session in self.sessions(address):
                session.terminate()
        self.net.run_for(40)
        for server in self.servers.values():
            self.assertEqual(server.core.counters.plugin_errors, 0)
            stopping = server.stopService()
            self.net.run_for(8)
            self.successResultOf(stopping)
        self.net.assert_closed()


class TCPTests(TransferCase):
    """Over TCP."""

    transport = "TCP"

    def test_blind(self) -> None:
        """The new call goes where Refer-To says, and over what it says (RFC 3263 4.1)."""
        call = self.call(ALICE, BOB)
        self.check_moved(call.transfer(self.uri.format(CAROL)), self.transport)

    def test_blind_by_caller(self) -> None:
        """The side that was called may transfer the caller."""
        self.call(ALICE, BOB)
        (session,) = self.sessions(BOB)
        assert session.channel is not None
        outcome = session.channel.transfer(self.uri.format(CAROL))
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(outcome).status, 200)
        self.assertEqual(self.transports(ALICE), {self.transport})
        self.assertEqual(self.sessions(BOB), [])
        self.assertEqual(len(self.sessions(CAROL)), 1)

    def test_refused(self) -> None:
        """Who hears that the target has refused still has the call (RFC 5589 6)."""
        call = self.call(ALICE, BOB)
        outcome = call.transfer(self.uri.format(CAROL).replace("echo", "reject"))
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(outcome).status, 603)
        self.assertEqual(self.transports(BOB), {self.transport})

    def test_attended(self) -> None:
        """
        The new call replaces the one with carol, on a connection of its own (RFC 3891 3).

        Refer-To is the Contact of carol, which says over what she is called.
        """
        calls = [self.call(ALICE, callee) for callee in (BOB, CAROL)]
        self.check_moved(calls[0].transfer(replaces=calls[1]), self.transport)

    def test_lost_before(self) -> None:
        """REFER and NOTIFYs take new connections when that of the call is lost (RFC 5589 7)."""
        calls = [self.call(ALICE, callee) for callee in (BOB, CAROL)]
        self.break_all(ALICE)
        self.check_moved(calls[0].transfer(replaces=calls[1]), self.transport)

    def test_lost_meanwhile(self) -> None:
        """The outcome is told on a new connection when that of the call is lost meanwhile."""
        call = self.call(ALICE, BOB)
        outcome = call.transfer(self.uri.format(CAROL).replace("echo", "ringing"))
        self.net.run_for(0.5)
        self.assertNoResult(outcome)
        self.break_all(ALICE)
        (carol,) = self.sessions(CAROL)
        carol.terminate(486)
        self.net.run_for(0.5)
        self.assertEqual(self.successResultOf(outcome).status, 486)
        self.assertEqual(self.transports(BOB), {self.transport})

    def test_lost_with_the_outcome(self) -> None:
        """A NOTIFY that its connection takes away is sent once more (RFC 6665 4.2.2)."""
        call = self.call(ALICE, BOB)
        outcome = call.transfer(self.uri.format(CAROL).replace("echo", "ringing"))
        self.net.run_for(0.5)
        (carol,) = self.sessions(CAROL)
        carol.terminate(486)
        self.net.run_for(0.015)
        self.break_all(ALICE)
        self.net.run_for(0.5)
        self.assertEqual(self.successResultOf(outcome).status, 486)
        self.assertEqual(self.transports(BOB), {self.transport})


class TLSTests(TCPTests):
    """Over TLS: the URIs are sips URIs."""

    transport = "TLS"
    uri = "sips:echo@{}"

    def setUp(self) -> None:
        """Make certificates for the three."""
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)
        super().setUp()

    def listen_at(self, address: str) -> tuple[str, ...]:
        """Return where one listens, with a certificate for its address."""
        cert, key = self.authority.issue(address, names(addresses=[address]))
        return ("udp:5060", f"tls:5061:cert={cert}:key={key}:ca={self.authority.ca}")

    def test_insecure_target(self) -> None:
        """A sips call may be transferred to a sip URI, which is a call of its own."""
        call = self.call(ALICE, BOB)
        self.check_moved(call.transfer(f"sip:echo@{CAROL}"), "UDP")
