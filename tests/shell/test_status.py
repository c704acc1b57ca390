# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess status``: what the control socket says of registrations, and how it is printed."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from sipsess.commands import status
from sipsess.control import MAX_LISTED_BINDINGS, ControlFactory, answer
from sipsess.registrar import RegistrarOptions
from sipsess.registration import Account
from sipsess.server import SIPServer
from sipsess.testing import ScriptedPeer
from tests.policy.registrars import SlowStore
from tests.shell.test_server import ServerCase


class StatusCase(ServerCase):
    """A server, and a peer that is phone and trunk."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.server = SIPServer(self.bob)
        self.peer = ScriptedPeer(self.net.host("192.0.2.9", name="peer"))

    def begin(self) -> None:
        """Start the server."""
        self.server.startService()
        self.net.run_for(0.1)

    def ask(self) -> Any:
        """Return what the socket answers."""
        found = answer(self.server.manager, b'{"command": "status"}')
        if isinstance(found, Deferred):
            found = self.successResultOf(found)
        return json.loads(json.dumps(found))

    def lines(self, found: Any = None) -> list[str]:
        """Return what the command prints."""
        found = found or self.ask()["result"]
        self.patch(status, "ask_server", lambda command, path: found)
        make: Any = status.Options
        options = make()
        return list(status.status(options))

    def halt(self) -> None:
        """Stop the server."""
        self.server.stopService()
        self.net.run_for(6)


class StatusTests(StatusCase):
    """What is told."""

    def test_nothing(self) -> None:
        """A server without registrar and registrations says so."""
        self.begin()
        self.assertEqual(self.ask(), {"result": {"registrations": [], "bindings": None}})
        self.assertEqual(self.lines(), ["this server registers nowhere"])
        self.halt()

    def test_registrations(self) -> None:
        """Each registration of ours with its state, its end, and what comes next."""
        for name in ("good", "bad"):
            self.server.users.add_account(Account(f"sip:{name}@192.0.2.9", expires=600))
        self.begin()
        self.peer.reply(self.peer.expect("REGISTER"), 200)
        self.peer.reply(self.peer.expect("REGISTER"), 503, headers={"Retry-After": "100"})
        self.net.run_for(0.1)
        good, bad = self.ask()["result"]["registrations"]
        self.assertEqual((good["state"], good["error"], good["failures"]), ("registered", "", 0))
        self.assertTrue(599 <= good["seconds"] <= 600 and 360 <= good["next"] + 1 <= 511)
        self.assertEqual((bad["state"], bad["seconds"], bad["failures"]), ("waiting", None, 1))
        head, first, second = self.lines()
        self.assertTrue(head.startswith("state "))
        self.assertRegex(first, r"^registered +600s +\d+s  sip:good@192.0.2.9 at sip:192.0.2.9$")
        self.assertRegex(second, r"^waiting +- +1\d\ds  .* -- 503 Service Unavailable$")
        self.halt()

    def test_bindings(self) -> None:
        """Each binding with its user, its end, and the way to it."""
        self.server.users.add_registrar(
            RegistrarOptions(admits_anybody=True), wall_time=self.net.seconds
        )
        self.begin()
        self.assertEqual(self.lines()[1:], ["", "nobody is registered here"])
        for headers in (
            {"Contact": "<sip:a@192.0.2.9>;q=0.5", "User-Agent": "Phone"},
            {"Contact": "<sip:a@10.0.0.7>", "Path": "<sip:p.example;lr>"},
        ):
            request = self.peer.request(
                "REGISTER", "sip:192.0.2.1", to="<sip:alice@192.0.2.1>", headers=headers
            )
            self.peer.send(request)
            self.peer.expect(200)
        *_, first, second = self.lines()
        self.assertRegex(
            first,
            r"^alice +anonymous +3600s +0.5  sip:a@192.0.2.9 from UDP 192.0.2.9:5060 \(Phone\)$",
        )
        self.assertRegex(
            second, r"^alice +anonymous +3600s +1  sip:a@10.0.0.7 by <sip:p.example;lr>$"
        )
        self.halt()

    def test_cut(self) -> None:
        """A list that was cut says so."""
        one = {"user": "a", "uri": "sip:a@b", "seconds": 1, "q": 1, "path": [], "source": None}
        one.update(user_agent="", endpoint="phones")
        found = {"registrations": [], "bindings": [one] * MAX_LISTED_BINDINGS}
        self.assertEqual(self.lines(found)[-1], "no more than 10000 are listed")


class OrderTests(StatusCase):
    """A command that takes time."""

    def connect(self) -> tuple[Any, StringTransport]:
        """Return a connection to the socket, and what it writes to."""
        protocol: Any = ControlFactory(self.server.manager).buildProtocol(None)
        protocol.callLater = self.bob.callLater
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_order(self) -> None:
        """The answers come in the order of the requests, though the first one takes longer."""
        pending: list[Deferred[Any]] = []
        store = SlowStore()

        def listed(limit: int, now: float) -> Deferred[Any]:
            pending.append(Deferred())
            return pending[-1]

        store.list_bindings = listed  # type: ignore[method-assign]
        self.server.users.add_registrar(RegistrarOptions(store=store))
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "status"}\n{"command": "calls"}\n')
        self.assertEqual(transport.value(), b"")
        pending[0].callback([])
        first, second = transport.value().splitlines()
        self.assertEqual(json.loads(first)["result"]["bindings"], [])
        self.assertEqual(json.loads(second), {"result": []})
        protocol.connectionLost()

    def test_failure(self) -> None:
        """A store that fails is a line in the log, and the connection goes on."""
        store = SlowStore()
        self.server.users.add_registrar(RegistrarOptions(store=store))
        protocol, transport = self.connect()

        def broken(limit: int, now: float) -> Deferred[Any]:
            raise OSError("disk full")

        store.list_bindings = broken  # type: ignore[method-assign]
        protocol.dataReceived(b'{"command": "status"}\n{"command": "calls"}\n')
        first, second = transport.value().splitlines()
        self.assertIn("its log says why", json.loads(first)["error"])
        self.assertEqual(json.loads(second), {"result": []})
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        protocol.connectionLost()
