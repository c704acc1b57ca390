# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two servers: one registers with the other, is called, restarts, and goes."""

from __future__ import annotations

from typing import Any

from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.endpoint import Endpoint
from sipsess.errors import LocalError
from sipsess.registrar import MemoryStore, RegistrarOptions
from sipsess.registration import Account
from sipsess.server import DRAIN_LIMIT, SIPServer
from tests.policy.agents import Gate
from tests.shell.test_server import ServerCase

BOB = "sip:192.0.2.1"


def identify(admission: Any) -> None:
    """Take everybody for the trunk's customer."""
    admission.endpoint = Endpoint("customer", aors=frozenset({"echo"}))


class RegistrationTests(ServerCase):
    """Bob has the registrar, alice registers her application "echo"."""

    def setUp(self) -> None:
        """Start both."""
        super().setUp()
        self.store = MemoryStore()
        self.registrar = self.start_registrar()
        self.customer = SIPServer(self.alice, applications=[EchoApplication()])
        self.line = self.customer.users.add_account(Account("sip:echo@192.0.2.1", expires=600))
        self.customer.startService()
        self.net.run_for(0.1)

    def start_registrar(self) -> SIPServer:
        """Return the server with the registrar."""
        server = SIPServer(self.bob, gates=[Gate(identify)])
        server.users.add_registrar(RegistrarOptions(store=self.store), wall_time=self.net.seconds)
        server.startService()
        return server

    def halt(self, server: SIPServer) -> None:
        """Stop one."""
        stopping = server.stopService()
        self.net.run_for(DRAIN_LIMIT + 1)
        self.assertIsNone(self.successResultOf(stopping))

    def uris(self) -> list[str]:
        """Return what is bound."""
        found = self.successResultOf(self.store.find("echo", self.net.seconds()))
        return [binding.uri for binding in found]

    def test_called(self) -> None:
        """What is registered is called, and is gone when it stops."""
        self.assertEqual(
            (self.line.state, self.uris()), ("REGISTERED", ["sip:echo@192.0.2.2:5060"])
        )
        calling = self.registrar.users.dial("echo")
        self.net.run_for(0.2)
        call = self.successResultOf(calling)
        assert isinstance(call, Call)
        call.hangup()
        self.net.run_for(1)
        self.halt(self.customer)
        self.assertEqual(self.uris(), [])
        self.halt(self.registrar)
        self.net.run_for(40)
        self.net.assert_closed()

    def test_registrar_restarts(self) -> None:
        """A registrar that comes back without its bindings gets them at the next refresh."""
        self.halt(self.registrar)
        self.store = MemoryStore()
        self.registrar = self.start_registrar()
        self.assertEqual(self.uris(), [])
        self.net.run_for(600)
        self.assertEqual(len(self.uris()), 1)
        self.halt(self.customer)
        self.halt(self.registrar)

    def test_registrar_is_gone(self) -> None:
        """A registrar that does not answer is not waited for longer than for calls."""
        self.net.partition(self.alice, self.bob)
        stopping = self.customer.stopService()
        self.net.run_for(DRAIN_LIMIT - 0.5)
        self.assertNoResult(stopping)
        self.net.run_for(1)
        self.assertIsNone(self.successResultOf(stopping))
        self.halt(self.registrar)

    def test_twice(self) -> None:
        """One address of record is registered once."""
        with self.assertRaisesRegex(LocalError, "is registered already"):
            self.customer.users.add_account(Account("sip:echo@192.0.2.1"))
        self.halt(self.customer)
        self.halt(self.registrar)
