# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""One file with all that the pages show together: listeners, phones, a trunk, the defence."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.endpoint import (
    DigestCredentials,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    Login,
)
from sipsess.endpoint import MemoryStore as Users
from sipsess.registration import Account
from sipsess.server import SIPServer
from sipsess.session import SessionEnded
from sipsess.supplements.credentials import Credentials
from sipsess.tap import ServerService
from sipsess.testing import ScriptedPeer
from tests.certificates import Authority, names

from .test_tap import TapCase

PBX, PROVIDER = "192.0.2.1", "192.0.2.30"
REALM, TRUNK = "pbx.example", "provider.example"
PHONES = ("anna", "bert", "carl")

FILE = """
listeners = [
    "udp:5060",
    "tcp:5060",
    {{ transport = "tls", port = 5061, tls = {{ certificate = "{cert}", key = "{key}" }} }},
    {{ transport = "ws", port = 8080 }},
]
application = "registered"

[[routes]]
user = "1000"
application = "{application}"

[[endpoints]]
name = "phones"
digest_users = ["anna", "bert", "carl"]

[[endpoints]]
name = "provider"
networks = ["192.0.2.30"]
credentials = [{{ realm = "provider.example", user = "4711", password = {{ file = "secret" }} }}]

[digest]
realm = "pbx.example"
users = [
    {{ name = "anna", password = {{ file = "secret" }} }},
    {{ name = "bert", password = {{ file = "secret" }} }},
    {{ name = "carl", password = {{ file = "secret" }} }},
]

[registrar]
domains = ["pbx.example", "192.0.2.1"]
in_memory = true

[[registrations]]
aor = "sip:4711@provider.example"
registrar = "sip:192.0.2.30"
user = "1000"
endpoint = "provider"
expires = 600

[defence]
failures_per_minute = 10
"""


class WholeFileTests(TapCase):
    """A server with such a file, three phones over three transports, and a provider."""

    def setUp(self) -> None:
        """Start the provider, then the server, then the phones."""
        super().setUp()
        self.authority = Authority(self.directory)
        self.files = self.authority.issue("pbx", names(addresses=[PBX]))
        self.write("secret", "sesame\n")
        self.provider = self.start_provider()
        self.service = self.start_service()
        self.server = self.service.server
        self.phones = {
            name: self.start_phone(name, f"192.0.2.{number}", transport)
            for number, (name, transport) in enumerate(
                zip(PHONES, ("udp", "tcp", "tls"), strict=True), 10
            )
        }
        self.net.run_for(2)
        self.addCleanup(self.stop_all)

    def stop_all(self) -> None:
        """Stop all of them, the phones first."""
        for service in (*self.phones.values(), self.service, self.provider):
            stopping = service.stopService()
            self.net.run_for(10)
            self.successResultOf(stopping)

    def save(self, application: str = "echo", text: str = FILE) -> str:
        """Write the file; return its name."""
        cert, key = self.files
        return self.write("sipsess.toml", text.format(cert=cert, key=key, application=application))

    def start_service(self) -> ServerService:
        """Start what ``twistd sipsess --config`` starts."""
        service = self.make("--config", self.save())
        service.startService()
        self.net.run_for(0.1)
        return service

    def start_provider(self) -> SIPServer:
        """Start a server that asks its customer for a password."""
        users = Users()
        users.add("4711", TRUNK, "sesame")
        customer = Endpoint("customer", digest_users=frozenset({"4711"}))
        portal = Portal(EndpointRealm([customer]), [HA1Checker([users])])
        server = SIPServer(self.net.host(PROVIDER), gates=[DigestGate(portal, TRUNK)])
        server.users.add_registrar()
        server.startService()
        return server

    def start_phone(self, name: str, host: str, transport: str) -> SIPServer:
        """Start a phone that registers over a transport."""
        phone = SIPServer(
            self.net.host(host),
            ["udp:5060", "tcp:5060"],
            supplements=[Credentials()],
            applications=[EchoApplication()],
            application="echo",
            trust=self.authority.ca,
        )
        uri = f"sip:{PBX}:{5061 if transport == 'tls' else 5060};transport={transport}"
        phone.users.add_account(
            Account(f"sip:{name}@pbx.example", uri, endpoint=self.known_as(name))
        )
        phone.startService()
        return phone

    def known_as(self, name: str) -> Endpoint:
        """Return the server as a phone knows it."""
        return Endpoint("pbx", credentials=DigestCredentials((Login(REALM, name, "sesame"),)))

    def dial(self, name: str, uri: str) -> Any:
        """Let a phone place a call; return it once it stands, or why it does not."""
        calling: Deferred[Any] = self.phones[name].dial(uri, endpoint=self.known_as(name))
        calling.addErrback(lambda failure: failure.value)
        self.net.run_for(2)
        return self.successResultOf(calling)

    def test_all_are_registered(self) -> None:
        """Phones over UDP, TCP and TLS are bound, and the server is at its provider."""
        assert self.server.manager.registrar is not None
        for name in PHONES:
            [binding] = self.successResultOf(self.server.manager.registrar.find(name))
            self.assertIn(name, binding.uri)
            calling = self.server.users.dial(name)
            self.net.run_for(1)
            call = self.successResultOf(calling)
            assert isinstance(call, Call)
            self.assertTrue(call.is_answered)
            call.hangup()
            self.net.run_for(1)
        assert self.server.manager.registrations is not None
        [line] = self.server.manager.registrations.clients
        self.assertEqual(line.state, "REGISTERED")

    def test_the_provider_calls(self) -> None:
        """A call that comes in by the registration is not asked for a password."""
        calling = self.provider.users.dial("4711")
        self.net.run_for(1)
        call = self.successResultOf(calling)
        assert isinstance(call, Call)
        self.assertTrue(call.is_answered)
        [session] = self.server.manager.sessions
        self.assertEqual(session.endpoint.name, "provider")
        call.hangup()
        self.net.run_for(1)

    def test_reload_while_a_call_over_tls_stands(self) -> None:
        """The call goes on, new ones get what the file says now, and the phones stay registered."""
        uri = f"sip:1000@{PBX}:5061;transport=tls"
        first = self.dial("carl", uri)
        self.assertTrue(first.is_answered)
        self.save("busy")
        self.assertIn("routes", " ".join(self.service.reload()))
        self.net.run_for(5)
        refused = self.dial("carl", uri)
        self.assertIsInstance(refused, SessionEnded)
        self.assertIn("486", str(refused))
        [session] = self.server.manager.sessions
        self.assertEqual(session.flow.transport, "TLS")
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(first.session.is_over)

    def test_reload_while_a_challenge_is_pending(self) -> None:
        """A nonce from before is stale, which the phone sees to; it is no failure of its."""
        calling: Deferred[Any] = self.phones["anna"].dial(
            f"sip:1000@{PBX}", endpoint=self.known_as("anna")
        )
        refused = self.server.core.counters.refused
        before = refused["digest-missing"]
        for _ in range(1000):
            if refused["digest-missing"] > before:
                break
            self.net.run_for(0.001)
        text = FILE.replace('realm = "pbx.example"', 'realm = "pbx.example"\nlifetime = "2m"')
        self.save("echo", text)
        self.assertIn("digest", " ".join(self.service.reload()))
        self.net.run_for(2)
        self.assertEqual(refused["digest-stale"], 1)
        call = self.successResultOf(calling)
        self.assertTrue(call.is_answered)
        call.hangup()
        self.net.run_for(1)

    def test_wrong_password(self) -> None:
        """Who guesses is banned; a reload lifts no ban, and nobody else notices."""
        guesser = ScriptedPeer(self.net.host("192.0.2.66"))
        for _ in range(250):
            guesser.send(guesser.request("OPTIONS", f"sip:1000@{PBX}"), (PBX, 5060))
            self.net.run_for(0.01)
        refused = self.server.core.counters.refused
        self.assertGreater(refused["banned"], 100)
        self.service.reload()
        before = refused["banned"]
        guesser.send(guesser.request("OPTIONS", f"sip:1000@{PBX}"), (PBX, 5060))
        self.net.run_for(0.1)
        self.assertEqual(refused["banned"], before + 1)
        call = self.dial("anna", f"sip:1000@{PBX}")
        self.assertTrue(call.is_answered)
        call.hangup()
        self.net.run_for(1)
