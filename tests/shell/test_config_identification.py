# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Endpoints of a file: how peers are told apart, prove who they are, and what a reload keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sipsess.endpoint import (
    ANONYMOUS,
    AnonymousGate,
    DigestCredentials,
    HtdigestFile,
    IdentifyGate,
    Login,
)
from sipsess.endpoint.checkers import format_lines
from sipsess.supplements.credentials import Credentials

from .configurations import ConfigCase
from .test_config_deployment import DeploymentCase
from .test_config_plan import PlanCase

BY_NUMBER = """
    from sipsess.interfaces import IEndpointIdentifier
    from twisted.plugin import IPlugin
    from zope.interface import implementer

    @implementer(IPlugin, IEndpointIdentifier)
    class ByNumber:
        name = "by-number"
        endpoints = ()

        def set_endpoints(self, endpoints):
            self.endpoints = endpoints

        def identify(self, admission):
            return None

    by_number = ByNumber()
"""

PHONES = """
    [[endpoints]]
    name = "phones"
    digest_users = ["anna"]
    [digest]
    realm = "pbx.example"
    users = [{ name = "anna", password = { file = "secret" } }]
"""


class GateTests(PlanCase):
    """Which gate a file describes."""

    def gate(self, text: str) -> Any:
        """Return the gate of a file."""
        return self.plan(text).make_gate()

    def test_nobody_is_told_apart(self) -> None:
        """Without anything to go by everybody is anonymous, as without a file."""
        for text in ("", '[[endpoints]]\nname = "trunk"\nis_trusted = true\n'):
            gate = self.gate(text)
            assert isinstance(gate, AnonymousGate)
            self.assertEqual(gate.endpoint, ANONYMOUS)
        gate = self.gate('[[endpoints]]\nname = "anonymous"\nmax_redirects = 0\n')
        self.assertEqual(gate.endpoint, replace(ANONYMOUS, max_redirects=0))

    def test_networks(self) -> None:
        """An endpoint with a network makes a gate, which refuses all others unless told not to."""
        trunk = '[[endpoints]]\nname = "trunk"\nnetworks = ["192.0.2.0/24"]\n'
        anonymous = '[[endpoints]]\nname = "anonymous"\n'
        gate = self.gate(trunk + anonymous)
        assert isinstance(gate, IdentifyGate)
        self.assertEqual([item.name for item in gate.endpoints], ["trunk", "anonymous"])
        self.assertEqual(gate.anonymous, "refuse")
        names = [item.name for item in gate.identifiers]
        self.assertEqual(names, ["network", "user", "header"])
        self.assertEqual(self.gate('anonymous = "allow"\n' + trunk).anonymous, "allow")

    def test_order(self) -> None:
        """Identifiers are asked in the order of the file, those of plugins by their names."""
        self.write("by_number.py", BY_NUMBER)
        plan = self.plan(
            """
            identifiers = ["by-number", "header", "network"]
            plugin_directories = ["."]
            anonymous = "refuse"
            [[endpoints]]
            name = "trunk"
            """
        )
        [identifier] = plan.plugins.identifiers
        plugin: Any = identifier
        self.assertEqual(plugin.endpoints, ())
        gate: Any = plan.make_gate()
        self.assertEqual(
            [item.name for item in gate.identifiers], ["by-number", "header", "network"]
        )
        self.assertEqual([item.name for item in plugin.endpoints], ["trunk"])

    def test_digest(self) -> None:
        """The table of digest reaches the gate."""
        self.write("secret", "sesame\n")
        gate = self.gate(
            PHONES
            + """
    algorithms = ["SHA-256"]
    qop = ["auth-int", "auth"]
    lifetime = "1m"
    binds_source = true
    in_dialog = "always"
    domains = ["PBX.example"]
"""
        )
        digest = gate.digest
        self.assertEqual(
            (digest.realm, digest.algorithms, digest.qop, digest.lifetime),
            ("pbx.example", ("SHA-256",), ("auth-int", "auth"), 60.0),
        )
        self.assertEqual(
            (digest.binds_source, digest.in_dialog, digest.domains),
            (True, "always", frozenset({"pbx.example"})),
        )
        self.assertIn("digest", [item.name for item in gate.identifiers])
        self.assertEqual(gate.anonymous, "challenge")
        self.assertEqual(self.gate('anonymous = "refuse"\n' + PHONES).anonymous, "refuse")

    def test_algorithms(self) -> None:
        """What all users of all files can answer is offered, the best first."""
        self.write("secret", "sesame\n")
        self.assertEqual(self.gate(PHONES).digest.algorithms, ("SHA-256", "MD5"))
        md5 = [line for line in format_lines("bert", "pbx.example", "x") if ":MD5" in line]
        self.write("users.htdigest", "\n".join(md5))
        text = PHONES.replace('"anna"]', '"anna", "bert"]') + 'files = ["users.htdigest"]\n'
        gate = self.gate(text)
        self.assertEqual(gate.digest.algorithms, ("MD5",))
        [checker] = set(gate.digest.portal.checkers.values())
        self.assertIsInstance(checker.stores[1], HtdigestFile)

    def test_credentials(self) -> None:
        """An endpoint answers challenges with logins, whose passwords stand elsewhere."""
        loaded = self.load(
            """
            [[endpoints]]
            name = "trunk"
            credentials = [
                { realm = "*", user = "me", password = { env = "TRUNK" } },
            ]
            """,
            {"TRUNK": "sesame"},
        )
        self.assertEqual(loaded.mistakes, ())
        [endpoint] = loaded.config.endpoints
        self.assertEqual(endpoint.credentials, DigestCredentials((Login("*", "me", "sesame"),)))
        self.assertNotIn("sesame", repr(loaded.config))


class MistakeTests(PlanCase):
    """What is wrong with who may come in."""

    def test_nobody_can_prove_it(self) -> None:
        """Users without a table of passwords, and a challenge that nobody could answer."""
        self.assertEqual(
            self.refuse(
                'anonymous = "challenge"\n[[endpoints]]\nname = "x"\ndigest_users = ["anna"]\n'
            ),
            [
                "1: anonymous: nobody can be asked for a proof: there is no table [digest]",
                "4: endpoints[0].digest_users: nobody can prove to be one of these: there is no "
                "table [digest]",
            ],
        )

    def test_broken_digest_is_not_missed(self) -> None:
        """A table that could not be read is not said to be missing."""
        found = self.refuse(
            '[[endpoints]]\nname = "x"\ndigest_users = ["anna"]\n[digest]\nrealms = "x"\n'
        )
        self.assertEqual(
            found,
            [
                "4: digest.realm: is missing",
                "5: digest.realms: unknown key 'realms', did you mean 'realm'?",
            ],
        )

    def test_claimed(self) -> None:
        """What anybody can write into his From is no proof."""
        self.assertEqual(
            self.refuse('[[endpoints]]\nname = "x"\nusers = ["anna"]\n'),
            [
                "3: endpoints[0].users: whoever writes one of these into his From would be this "
                "endpoint; give it networks, headers or digest_users as well"
            ],
        )

    def test_nobody_is_told_apart(self) -> None:
        """Who is nobody is known by nothing."""
        self.assertEqual(
            self.refuse('[[endpoints]]\nname = "anonymous"\nnetworks = ["192.0.2.0/24"]\n'),
            ["1: endpoints[0]: 'anonymous' is who is nobody: nothing can tell that it is"],
        )

    def test_users(self) -> None:
        """Users of no endpoint, users without a password, users who are there twice."""
        self.write("secret", "sesame\n")
        found = self.refuse(
            """\
            [[endpoints]]
            name = "phones"
            digest_users = ["anna", "brt"]
            [digest]
            realm = "pbx.example"
            [[digest.users]]
            name = "anna"
            password = { file = "secret" }
            [[digest.users]]
            name = "bert"
            password = { file = "secret" }
            [[digest.users]]
            name = "anna"
            password = { file = "secret" }
            """
        )
        self.assertEqual(
            found,
            [
                "3: endpoints[0].digest_users: there is no user 'brt' in [digest], did you mean "
                "'bert'?",
                "10: digest.users[1].name: 'bert' is of no endpoint: name it in the digest_users "
                "of one",
                "12: digest.users[2]: 'anna' stands in digest.users[0]",
            ],
        )

    def test_files(self) -> None:
        """A file of users that is not there, or that is none."""
        self.write("bad", "anna:pbx.example:sesame\n")
        found = self.refuse('[digest]\nrealm = "pbx.example"\nfiles = ["gone", "bad"]\n')
        self.assertEqual(len(found), 2)
        self.assertRegex(found[0], r"^3: digest.files\[0\]: /.*/gone cannot be read: ")
        self.assertRegex(found[1], r"^3: digest.files\[1\]: /.*/bad, line 1: a HA1 of MD5 is 32")
        self.assertNotIn("sesame", "".join(found))

    def test_realm(self) -> None:
        """A realm that cannot stand in a challenge."""
        [line] = self.refuse("[digest]\nrealm = 'a\"b'\n")
        self.assertRegex(line, r"^1: digest: 'a\"b' is no realm: ")

    def test_identifiers(self) -> None:
        """An identifier that is not there."""
        self.assertEqual(
            self.refuse('identifiers = ["network", "hedder"]\n'),
            ["1: identifiers[1]: there is no 'hedder', did you mean 'header'?"],
        )


class ListenerTests(ConfigCase):
    """Certificates of a file."""

    def test_names_of_files(self) -> None:
        """They are below the directory of the configuration, in strings and in tables."""
        loaded = self.load(
            """
            listeners = [
                "tls:5061:cert=c.pem:key=/etc/k.pem",
                { transport = "tls", port = 5062, tls = { certificate = "c.pem", key = "k.pem" } },
            ]
            """
        )
        self.assertEqual(loaded.mistakes, ())
        first, second = (spec.files for spec in loaded.config.listeners)
        here = self.directory
        self.assertEqual((first.certificate, first.key), (str(here / "c.pem"), "/etc/k.pem"))
        self.assertEqual(
            (second.certificate, second.key, second.ca),
            (str(here / "c.pem"), str(here / "k.pem"), ""),
        )

    def test_missing(self) -> None:
        """TLS needs a certificate, which must be one."""
        [line] = self.mistakes('listeners = [{ transport = "tls", port = 5061 }]')
        self.assertIn("1: listeners[0]: ", line)
        self.assertIn("TLS needs a certificate and its key", line)


class ReadableTests(PlanCase):
    """Certificates are read before anything changes."""

    def test_certificate_that_cannot_be_read(self) -> None:
        """What is wrong with a certificate is a mistake of its listener."""
        [line] = self.refuse('listeners = ["udp:5060", "tls:5061:cert=gone.pem:key=gone.pem"]')
        self.assertTrue(line.startswith("1: listeners[1]: "), line)
        self.assertIn("gone.pem", line)


class CallTests(DeploymentCase):
    """Calls that must prove who they are."""

    TABLE = '[plugins.greeter]\ngreeting = "hi"\n'

    def setUp(self) -> None:
        """Write the password, and let the client know one."""
        super().setUp()
        self.write("secret", "sesame\n")
        self.alice.manager.register_supplement(Credentials())

    def place(self, password: str) -> int | None:
        """Return the status that a call with a password is refused with; ``None`` for none."""
        credentials = DigestCredentials((Login("pbx.example", "anna", password),))
        flow = self.alice.flow_for("UDP", ("192.0.2.1", 5060))
        assert flow is not None
        session = self.alice.manager.dial(
            "sip:echo@192.0.2.1", flow, endpoint=replace(ANONYMOUS, credentials=credentials)
        )
        session.invite_client.answered.addErrback(lambda failure: None)
        self.net.run_for(1)
        if session.is_answered:
            session.terminate()
            self.net.run_for(1)
            return None
        assert session.end_reason is not None
        return session.end_reason.status

    def test_reload(self) -> None:
        """A password that a reload changes counts from then on; otherwise the gate stays."""
        deployment = self.deploy(PHONES + self.TABLE)
        server = deployment.server
        self.assertEqual([self.place("sesame"), self.place("guess")], [None, 401])
        gates = server.core.gates
        self.reload(deployment, PHONES + self.TABLE.replace("hi", "hello"))
        self.assertIs(server.core.gates, gates)
        self.write("secret", "mellon\n")
        done = self.reload(deployment, PHONES + self.TABLE)
        self.assertEqual(done, ["changed: digest, plugins.greeter"])
        self.assertEqual([self.place("sesame"), self.place("mellon")], [401, None])
        done = self.reload(deployment, self.TABLE)
        self.assertEqual(done, ["changed: endpoints, digest"])
        self.assertEqual(self.place("guess"), None)
        self.stop(deployment)

    def test_anonymous_of_the_file(self) -> None:
        """Who is nobody is the endpoint ``anonymous`` of the file."""
        text = """
            anonymous = "allow"
            endpoints = [
                { name = "trunk", networks = ["198.51.100.0/24"] },
                { name = "anonymous", applications = ["hello"] },
            ]
        """
        deployment = self.deploy(text + self.TABLE)
        self.assertEqual(self.place("x"), 404)
        self.reload(deployment, text.replace('["hello"]', '["echo"]') + self.TABLE)
        self.assertIsNone(self.place("x"))
        self.stop(deployment)

    def test_files_are_read_again(self) -> None:
        """A file of users is read again by each reload, though its name has not changed."""
        text = PHONES.split("users = [{")[0] + 'files = ["users"]\n' + self.TABLE
        self.write("users", "\n".join(format_lines("anna", "pbx.example", "sesame")))
        deployment = self.deploy(text)
        self.assertEqual([self.place("sesame"), self.place("mellon")], [None, 401])
        self.write("users", "\n".join(format_lines("anna", "pbx.example", "mellon")))
        self.assertEqual(self.reload(deployment, text), ["nothing has changed"])
        self.assertEqual([self.place("sesame"), self.place("mellon")], [401, None])
        self.stop(deployment)
