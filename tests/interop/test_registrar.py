# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Phones register with our server and are called by it; our server registers with kamailio."""

from __future__ import annotations

import re
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from sipsess.applications.echo import EchoApplication
from sipsess.control import ask, is_alive
from sipsess.endpoint import (
    DigestCredentials,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    Login,
    MemoryStore,
)
from sipsess.interfaces import IRequestGate
from sipsess.registrar import RegistrarOptions
from sipsess.registrar.sqlite import SQLiteStore
from sipsess.registration import Account
from sipsess.server import SIPServer
from sipsess.session import SessionEnded

from .peers import Kamailio, PeerTestCase, reactor, start_baresip, start_kamailio, until
from .sipp import ScenarioTestCase
from .sounds import write_tone
from .tools import ROOT, server_command


class PhoneTests(ScenarioTestCase):
    """SIPp and baresip register with us."""

    def serve_registrar(self, *gates: IRequestGate) -> tuple[SIPServer, int]:
        """
        Return a server on which phones register, and its port.

        :param gates: that let them in; without any, anybody may register.
        """
        server = SIPServer(reactor, ["udp:0:interface=127.0.0.1"], gates=gates or None)
        store = SQLiteStore(str(self.folder / "bindings.sqlite"), reactor)
        server.users.add_registrar(RegistrarOptions(store=store, admits_anybody=not gates))
        server.startService()
        self.addCleanup(self._stop, server)
        return server, server.listeners[0].address[1]

    async def bindings(self, server: SIPServer, user: str) -> list[str]:
        """Return the contacts of a user."""
        assert server.manager.registrar is not None
        return [binding.uri for binding in await server.manager.registrar.find(user)]

    async def test_sipp(self) -> None:
        """A phone registers, refreshes, looks and leaves."""
        server, port = self.serve_registrar()
        await self.calls_port(port, "reg_phone.xml")
        self.assertEqual(await self.bindings(server, "sipp"), ["sip:sipp@10.0.0.7:5062"])

    async def test_baresip(self) -> None:
        """baresip registers, is called at its binding, and unregisters when it goes."""
        await self.baresip_registers(*self.serve_registrar())

    async def test_baresip_with_password(self) -> None:
        """So it does when it is asked for its password, by an algorithm that it knows."""
        users = MemoryStore()
        users.add("phone", "pbx", "zanzibar")
        endpoint = Endpoint("phones", digest_users=frozenset({"phone", "other"}))
        portal = Portal(EndpointRealm([endpoint]), [HA1Checker([users])])
        # Whoever offers SHA-256 too is given up by baresip 1.0.
        gate = DigestGate(portal, "pbx", algorithms=("MD5",))
        await self.baresip_registers(*self.serve_registrar(gate), "zanzibar")

    async def baresip_registers(self, server: SIPServer, port: int, password: str = "") -> None:
        """Let baresip register, call it, and let it go."""
        self.require("baresip")
        phone = await start_baresip(self, write_tone(self.folder), port, password)
        await until(lambda: server.core.counters.registrations_accepted == 1, phone.process.tail)
        [uri] = await self.bindings(server, "phone")
        self.assertIn(f":{phone.port}", uri)
        call = await server.users.dial("phone")
        await phone.control.expect("CALL_ESTABLISHED")
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
        await self.quiet(server)
        await phone.process.stop()
        self.assertEqual(await self.bindings(server, "phone"), [])

    async def test_nobody_answers(self) -> None:
        """A phone that is not there any more is a call that fails, in the time that was given."""
        server, port = self.serve_registrar()
        await self.calls_port(port, "reg_phone.xml")
        calling: Deferred[Any] = server.users.dial("sipp", timeout=1.0)
        with self.assertRaises(SessionEnded):
            await calling


class RestartTests(ScenarioTestCase):
    """The process."""

    async def test_restart(self) -> None:
        """Bindings in a file survive the server, and ``sipsess status`` shows them."""
        control = str(self.folder / "control.sock")
        file = str(self.folder / "bindings.sqlite")
        options = ("--control", control, "--registrar", "--bindings", file, "--register-anybody")
        first, port = await self.start_server(*options)
        await self.calls_port(port, "reg_phone.xml")
        [before] = ask("status", control)["bindings"]
        self.assertEqual(await first.stop(), 0, first.tail())
        self.assertNotIn("Traceback", first.output)
        second, _ = await self.start_server(*options)
        await until(lambda: is_alive(control), second.tail)
        [after] = ask("status", control)["bindings"]
        self.assertEqual(after["uri"], "sip:sipp@10.0.0.7:5062")
        self.assertLessEqual(after["seconds"], before["seconds"])
        self.assertEqual(await second.stop(), 0, second.tail())

    async def test_broken_file(self) -> None:
        """A file that is no database is one line and an exit status that is not 0."""
        file = self.folder / "bindings.sqlite"
        file.write_text("no database " * 100)
        server = self.start(
            "sipsess",
            server_command("--registrar", "--bindings", str(file), application="echo"),
            ROOT,
        )
        self.assertNotEqual(await server.ended(), 0)
        self.assertRegex(server.output, "cannot be used for bindings .*move it away")
        self.assertNotIn("Traceback", server.output)


class KamailioTests(PeerTestCase):
    """We register with kamailio."""

    def register(self, kamailio: Kamailio, password: str = Kamailio.password) -> SIPServer:
        """Return a server that registers its application "echo" there."""
        server = self.serve_all(EchoApplication())
        credentials = DigestCredentials((Login("pbx", "echo", password),))
        server.users.add_account(
            Account(
                aor=f"sip:echo@127.0.0.1:{kamailio.port}",
                registrar=kamailio.uri,
                expires=30,
                endpoint=Endpoint("kamailio", credentials=credentials),
            )
        )
        assert server.manager.registrations is not None
        server.manager.registrations.start()
        return server

    async def reaches(self, server: SIPServer, state: str) -> None:
        """Wait until the registration is in a state."""
        assert server.manager.registrations is not None
        [line] = server.manager.registrations.clients
        await until(lambda: line.state == state, lambda: f"{line.state}: {line.error}")

    async def registered_and_called(self, **options: Any) -> None:
        """Register, be called by way of kamailio, and unregister."""
        kamailio = await start_kamailio(self, **options)
        server = self.register(kamailio)
        await self.reaches(server, "REGISTERED")
        caller = self.serve_all()
        call = await caller.dial(f"sip:echo@127.0.0.1:{kamailio.port}")
        self.assertEqual(len(server.manager.sessions), 1)
        self.assertTrue(call.session.dialog and call.session.dialog.route_set)
        await call.hangup()
        await self.quiet(server)
        await self.quiet(caller)
        assert server.manager.registrations is not None
        await server.manager.registrations.stop()
        with self.assertRaisesRegex(SessionEnded, "404"):
            await caller.dial(f"sip:echo@127.0.0.1:{kamailio.port}")
        self.assertEqual(re.findall("CRITICAL|ERROR", kamailio.process.output), [])

    async def test_md5(self) -> None:
        """With digest (MD5), and a 423 for the time that is too short."""
        await self.registered_and_called()

    async def test_sha_256(self) -> None:
        """With digest (SHA-256, RFC 8760)."""
        await self.registered_and_called(algorithm="SHA-256")

    async def test_wrong_password(self) -> None:
        """A password that is wrong is tried once, and then not again soon."""
        kamailio = await start_kamailio(self)
        server = self.register(kamailio, "wrong")
        await self.reaches(server, "WAITING")
        assert server.manager.registrations is not None
        [line] = server.manager.registrations.clients
        self.assertRegex(line.error, "401 .*refused the credentials")

    async def test_restart(self) -> None:
        """A registrar that was away is found again."""
        kamailio = await start_kamailio(self)
        server = self.register(kamailio)
        await self.reaches(server, "REGISTERED")
        await kamailio.process.stop()
        assert server.manager.registrations is not None
        [line] = server.manager.registrations.clients
        assert line.flow is not None
        line.flow_lost(line.flow)
        await self.reaches(server, "REGISTERING")
        await start_kamailio(self, port=kamailio.port)
        await self.reaches(server, "REGISTERED")
