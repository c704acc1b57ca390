# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""sipvicious looks for a server, for its users and for their passwords, and finds none of them."""

from __future__ import annotations

import pathlib
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from sipsess.applications.echo import EchoApplication
from sipsess.defence import DefenceSettings
from sipsess.endpoint import DigestGate, Endpoint, EndpointRealm, HA1Checker, MemoryStore
from sipsess.endpoint.identify import IdentifyGate
from sipsess.interfaces import IRequestGate
from sipsess.registrar import RegistrarOptions
from sipsess.routing import Router
from sipsess.server import SIPServer

from .peers import PeerTestCase, reactor, sip_port
from .tools import free_port, read_statistics

#: Where others call from meanwhile.
OTHER = "127.0.0.2"
#: Whom the scanner asks for.
USERS = "100-399"
PASSWORDS = ("-u", "105", "-r", "100-999", "--maximumtime", "3")
#: Calls that others place meanwhile.
CALLS = 50
#: Seconds that a scan takes at most.
LIMIT = 60.0


#: What the user that the scanner looks for is called, and what its password is.
USER, PASSWORD = "105", "150"
REALM = "sipsess.example"


def make_gate() -> IdentifyGate:
    """Return a gate that asks for the user's password, unless who calls is the other."""
    users = MemoryStore()
    users.add(USER, REALM, PASSWORD)
    user = Endpoint(USER, digest_users=frozenset({USER}))
    other = Endpoint("other", networks=(OTHER,))
    portal = Portal(EndpointRealm([user]), [HA1Checker([users])])
    # The scanner knows no other algorithm.
    digest = DigestGate(portal, REALM, algorithms=("MD5",))
    return IdentifyGate([user, other], digest=digest, anonymous="challenge")


class ScannerTests(PeerTestCase):
    """A server that trusts nobody, not even this machine."""

    timeout = 180

    def begin(self, *gates: IRequestGate, **settings: Any) -> SIPServer:
        """Start a server that has one user within the range that is scanned."""
        self.require("svmap", "svwar", "svcrack", "sipp")
        user, echo = EchoApplication(), EchoApplication()
        user.name = USER
        server = self.serve(
            *(user, echo), gates=gates or None, defence=DefenceSettings(trusted=(), **settings)
        )
        # The scanner believes to be in when a REGISTER is answered with 200.
        server.users.add_registrar(RegistrarOptions()).start()
        return server

    async def scan(self, server: SIPServer, program: str, *words: str) -> str:
        """Let a scanner do its work while others call; return what it printed."""
        port = sip_port(server)
        # Only the two users are there.
        server.manager.router = Router(server.manager.router.routes)
        command = [program, *words, "-p", str(port), "-P", str(free_port()), "-b", "127.0.0.1"]
        scanner = self.start(program, [*command, "-t", "0.005", "127.0.0.1"])
        path = self.folder / "statistics.csv"
        caller = self.start("sipp", self._calls(port, path))
        endings = [Deferred.fromCoroutine(peer.ended(LIMIT)) for peer in (scanner, caller)]
        for ending in endings:
            await ending
        found = read_statistics(path)
        self.assertEqual((found.failed, found.successful), (0, CALLS), caller.tail())
        return scanner.output

    def _calls(self, port: int, path: pathlib.Path) -> list[str]:
        """Return what places some calls from another address."""
        command = ["sipp", "-sn", "uac", f"127.0.0.1:{port}", "-i", OTHER, "-p", str(free_port())]
        command += ["-s", "echo", "-m", str(CALLS), "-r", "25", "-d", "100", "-nostdin"]
        return [*command, "-trace_stat", "-stf", str(path), "-fd", "1"]

    def count(self, server: SIPServer, reason: str) -> int:
        """Return how often something was refused for a reason."""
        return server.core.counters.refused.get(reason, 0)

    def check_banned(self, server: SIPServer) -> None:
        """Check that the scanner is banned, and nobody else."""
        perimeter = server.core.perimeter
        assert perimeter is not None
        bans = perimeter.bans.active(reactor.seconds())
        self.assertEqual([ban.address for ban in bans], ["127.0.0.1"])
        self.assertGreater(self.count(server, "banned"), 100)

    async def test_map(self) -> None:
        """A server that does not answer a scanner is not found."""
        server = self.begin()
        self.assertIn("found nothing", await self.scan(server, "svmap"))
        self.assertGreater(self.count(server, "scanner"), 0)

    async def test_users_behind_a_challenge(self) -> None:
        """Whoever is asked for gets the same challenge, so no user is told from a nobody."""
        for method in ("REGISTER", "INVITE"):
            server = self.begin(make_gate(), scanner_agents=())
            output = await self.scan(server, "svwar", "-e", USERS, "-m", method, "--force")
            self.assertIn("found nothing", output, method)
            self.assertNotRegex(output, rf"\| *{USER} *\|", method)

    async def test_users_of_an_open_server(self) -> None:
        """Without a challenge a user can be asked for, but not many: the scanner is banned."""
        for method, guesses in (("OPTIONS", 35), ("INVITE", 70)):
            server = self.begin(scanner_agents=())
            await self.scan(server, "svwar", "-e", USERS, "-m", method)
            self.assertLess(self.count(server, "no-application"), guesses, method)
            self.check_banned(server)

    async def test_passwords(self) -> None:
        """Who tries passwords is banned after some thirty."""
        server = self.begin(make_gate(), scanner_agents=())
        self.assertIn("found nothing", await self.scan(server, "svcrack", *PASSWORDS))
        self.assertLess(self.count(server, "digest-wrong"), 35)
        self.check_banned(server)

    async def test_passwords_without_a_ban(self) -> None:
        """It is the ban that does it: a password like this one is found without."""
        server = self.begin(make_gate(), scanner_agents=(), failures_per_minute=0.0)
        output = await self.scan(server, "svcrack", *PASSWORDS)
        self.assertRegex(output, rf"\| *{USER} *\| *{PASSWORD} *\|")
