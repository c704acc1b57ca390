# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIP over TLS on virtual hosts: certificates, identities, and what is none of them."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import ConnectFailed, LocalError
from sipsess.flow import Flow
from sipsess.message import Request, parse
from sipsess.server import SIPServer
from sipsess.session import Session
from sipsess.testing import VirtualNetwork
from sipsess.transport import stream
from sipsess.transport.files import TLSFiles, load_credentials
from sipsess.transport.listen import ListenError, ListenSpec, parse_listen
from tests.certificates import Authority, names
from tests.shell.streams import RawPeer, StreamCase, options

BOB = "192.0.2.1"


class TLSCase(StreamCase):
    """The base of tests: bob shows a certificate for his address and for bob.example."""

    def setUp(self) -> None:
        """Make certificates, and start the server."""
        folder = self.folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)
        self.cert, self.key = self.authority.issue(
            "bob", names(addresses=[BOB, "2001:db8::1"], domains=["bob.example"])
        )
        self.listen = ("udp:5060", self.spell())
        super().setUp()

    def spell(self, *more: str) -> str:
        """Return where bob listens."""
        return ":".join([f"tls:5061:cert={self.cert}:key={self.key}", *more])

    def caller(self, *listen: str, trust: str | None = None) -> SIPServer:
        """Return a client that trusts the authority; it is stopped with the test."""
        trust = self.authority.ca if trust is None else trust
        caller = self.client(listen=listen, trust=trust)
        self.addCleanup(self.stop_only, caller)
        return caller

    def stop_only(self, server: SIPServer) -> None:
        """Stop one server."""
        stopping = server.stopService()
        self.net.run_for(8)
        self.successResultOf(stopping)

    def connect_to(self, caller: SIPServer, name: str = "") -> Deferred[Flow]:
        """Begin a connection, and let time pass."""
        connecting = caller.connect("TLS", (BOB, 5061), name)
        self.net.run_for(1)
        return connecting

    def call(self, caller: SIPServer, uri: str) -> Session:
        """Return a call that stands."""
        dialled = caller.dial(uri)
        self.net.run_for(1)
        return self.successResultOf(dialled).session

    def hang_up(self, session: Session) -> None:
        """End a call."""
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)

    def tearDown(self) -> None:
        """Stop the callers before the server."""
        self.doCleanups()
        super().tearDown()


class CallTests(TLSCase):
    """Calls."""

    def test_call(self) -> None:
        """A call stands, and its requests go over the connection; Contact is a sips URI."""
        caller = self.caller()
        for uri, contact in (
            ("sips:echo@192.0.2.1", "<sips:192.0.2.1:5061>"),
            ("sip:echo@192.0.2.1:5061;transport=tls", "<sip:192.0.2.1:5061;transport=tls>"),
            ("sips:echo@[2001:db8::1]", "<sips:[2001:db8::1]:5061>"),
        ):
            session = self.call(caller, uri)
            assert session.dialog is not None
            self.assertEqual(f"<{session.dialog.remote_target}>", contact)
            self.assertEqual(session.flow.transport, "TLS")
            self.hang_up(session)
        self.assertEqual(len(self.server.connections), 2)
        clear = [e.data for e in self.net.trace if b"SIP/2.0" in e.data]
        self.assertEqual(clear, [])

    def test_callee_hangs_up(self) -> None:
        """The callee's requests come back over the same connection."""
        session = self.call(self.caller(), "sips:echo@192.0.2.1")
        next(iter(self.server.manager.sessions)).terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)

    def test_lost(self) -> None:
        """A call outlives its connection; a new one proves the same name."""
        caller = self.caller()
        session = self.call(caller, "sips:echo@192.0.2.1")
        for end in tuple(self.bob.streams.connections):
            end.abortConnection()
        self.net.run_for(1)
        self.assertFalse(session.is_over)
        answered = session.send_request("INFO")
        self.net.run_for(1)
        # A client without a port to listen on has nothing to show for a new connection.
        self.failureResultOf(answered)
        other = self.caller(self.spell(f"ca={self.authority.ca}").replace("5061", "5071"))
        session = self.call(other, "sips:echo@192.0.2.1")
        for end in tuple(self.bob.streams.connections):
            end.abortConnection()
        self.net.run_for(1)
        self.hang_up(session)


class IdentityTests(TLSCase):
    """Who is at the far end (RFC 5922)."""

    def test_names(self) -> None:
        """The name that was asked for must be in the certificate; each is a connection."""
        caller = self.caller()
        for name in ("bob.example", BOB, "BOB.example."):
            self.successResultOf(self.connect_to(caller, name))
        self.assertEqual(len(self.server.connections), 2)

    def test_mismatch(self) -> None:
        """Nothing is sent to who is somebody else, and the error says so."""
        caller = self.caller()
        error = self.failureResultOf(self.connect_to(caller, "carol.example"), ConnectFailed)
        self.assertIn("the certificate is not that of carol.example", str(error.value))
        self.assertEqual(self.refusals(caller), {"certificate-mismatch": 1, "connect-failed": 1})
        self.assertEqual(len(caller.connections), 0)

    def test_not_trusted(self) -> None:
        """A certificate of an authority that we do not trust is none."""
        folder = self.folder / "other"
        folder.mkdir()
        caller = self.caller(trust=Authority(folder).ca)
        self.failureResultOf(self.connect_to(caller), ConnectFailed)
        self.assertEqual(self.refusals(), {"connection-handshake-failed": 1})

    def test_missing_trust(self) -> None:
        """A file of authorities that is not there is named."""
        caller = self.caller(trust="/nowhere/ca.pem")
        error = self.failureResultOf(self.connect_to(caller), ConnectFailed)
        self.assertIn("/nowhere/ca.pem cannot be read", str(error.value))

    def test_mutual(self) -> None:
        """A server that verifies takes only who shows a certificate that it trusts."""
        self.stop_only(self.server)
        self.server = self.serve(listen=[self.spell(f"ca={self.authority.ca}", "verify=yes")])
        nobody = self.caller()
        self.connect_to(nobody)
        self.net.run_for(2)
        self.assertEqual(len(self.server.connections), 0)
        cert, key = self.authority.issue("alice", names(uris=["sip:alice.example"]))
        alice = self.caller(f"tls:5061:cert={cert}:key={key}:ca={self.authority.ca}")
        flow = self.successResultOf(self.connect_to(alice))
        self.assertEqual(flow.sent_by, "192.0.2.2:5061")
        self.hang_up(self.call(alice, "sips:echo@192.0.2.1"))

    def test_alias(self) -> None:
        """RFC 5923 8: a connection is reused for the domains that its certificate has proven."""
        self.stop_only(self.server)
        self.server = self.serve(listen=[self.spell(f"ca={self.authority.ca}", "verify=yes")])
        cert, key = self.authority.issue("alice", names(uris=["sip:alice.example"]))
        alice = self.caller(f"tls:5061:cert={cert}:key={key}:ca={self.authority.ca}")
        flow = self.successResultOf(self.connect_to(alice))
        request = parse(options())
        assert isinstance(request, Request)
        wire = options().replace(b"TCP 192.0.2.2:5060", b"TLS 192.0.2.2:5061;alias")
        alice.core.send(flow, wire)
        with alice.core.turn:
            pass
        self.net.run_for(1)
        table = self.server.connections
        self.assertIsNotNone(table.find("TLS", ("192.0.2.2", 5061), "alice.example"))
        self.assertIsNone(table.find("TLS", ("192.0.2.2", 5061), "carol.example"))
        self.assertIsNone(table.find("TLS", ("192.0.2.2", 5061)))


class GarbageTests(TLSCase):
    """Peers that do not speak TLS, or not to the end."""

    def test_plain_sip(self) -> None:
        """Who speaks SIP, HTTP or nothing of that to a TLS port is gone at once, and counted."""
        for data in (options(), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
            peer = self.connect(port=5061)
            self.say(peer, data, 1)
            self.assertIsNotNone(peer.lost, data)
        self.assertEqual(self.refusals(), {"connection-handshake-failed": 3})

    def test_slow_hand_shake(self) -> None:
        """A hand-shake that does not come to its end has a limit."""
        peer = self.connect(port=5061)
        self.say(peer, b"\x16\x03\x01")
        self.net.run_for(stream.HANDSHAKE_LIMIT - 3)
        self.assertIsNone(peer.lost)
        self.net.run_for(4)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {"connection-handshake-slow": 1})

    def test_gone_at_once(self) -> None:
        """A port scan is counted, and no more."""
        peer = self.connect(port=5061)
        peer.wire.abortConnection()
        self.net.run_for(1)
        self.assertEqual(self.refusals(), {"connection-handshake-failed": 1})


class SilentServerTests(TLSCase):
    """A far end that takes the connection and says nothing."""

    def test_no_hand_shake(self) -> None:
        """The attempt has a limit, and says what took too long."""
        silent = RawPeer()
        factory = ServerFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: silent  # type: ignore[method-assign]
        listening = self.bob.listenTCP(5099, factory)
        caller = self.caller()
        connecting = caller.connect("TLS", (BOB, 5099))
        self.net.run_for(stream.HANDSHAKE_LIMIT - 2)
        self.assertNoResult(connecting)
        self.net.run_for(4)
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertIn("it took too long", str(error))
        self.assertIsNotNone(silent.lost)
        listening.stopListening()


class ReloadTests(TLSCase):
    """New certificates without a new server."""

    def test_reload(self) -> None:
        """New connections see the new certificate, and calls go on over the old ones."""
        caller = self.caller()
        session = self.call(caller, "sips:echo@192.0.2.1")
        self.authority.issue("bob", names(domains=["new.example"]))
        self.server.reload_certificates()
        self.successResultOf(self.connect_to(self.caller(), "new.example"))
        self.failureResultOf(self.connect_to(self.caller(), "bob.example"), ConnectFailed)
        self.hang_up(session)

    def test_broken(self) -> None:
        """A file that cannot be used is named, and what there was stays."""
        pathlib.Path(self.cert).write_text("nonsense")
        with self.assertRaisesRegex(LocalError, "bob.pem is no PEM file"):
            self.server.reload_certificates()
        self.successResultOf(self.connect_to(self.caller(), "bob.example"))

    def test_own_trust(self) -> None:
        """The authorities of a client are read again, too."""
        caller = self.caller()
        self.successResultOf(self.connect_to(caller, "bob.example"))
        folder = self.folder / "other"
        folder.mkdir()
        pathlib.Path(self.authority.ca).write_bytes(pathlib.Path(Authority(folder).ca).read_bytes())
        caller.reload_certificates()
        self.failureResultOf(self.connect_to(caller, BOB), ConnectFailed)


class FileTests(SynchronousTestCase):
    """Files that cannot be used."""

    def setUp(self) -> None:
        """Make certificates."""
        self.folder = pathlib.Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority(self.folder)
        self.cert, self.key = self.authority.issue("bob", names(domains=["bob.example"]))

    def assert_refused(self, pattern: str, **files: Any) -> None:
        """Expect one line that says what is wrong."""
        good = {"certificate": self.cert, "key": self.key, "ca": self.authority.ca}
        with self.assertRaisesRegex(LocalError, pattern):
            load_credentials(TLSFiles(**good | files))

    def test_files(self) -> None:
        """Each is named, with what is wrong."""
        load_credentials(TLSFiles(self.cert, self.key, self.authority.ca))
        _, other = self.authority.issue("other", names(domains=["o.example"]))
        locked = self.folder / "locked.key"
        locked.write_text(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        broken = self.folder / "broken.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assert_refused("/nowhere.pem cannot be read: No such file", certificate="/nowhere.pem")
        self.assert_refused("cannot be used together", key=other)
        self.assert_refused("locked.key cannot be used because of its passphrase", key=str(locked))
        self.assert_refused("broken.pem cannot be used because of its content", ca=str(broken))
        self.assert_refused("bob.pem cannot be used", key=self.cert)

    def test_extra_is_absent(self) -> None:
        """Without the packages of the extra, what to install is said."""
        known = dict(sys.modules)
        self.addCleanup(sys.modules.update, known)
        sys.modules.pop("sipsess.transport.tls", None)
        sys.modules["OpenSSL"] = None  # type: ignore[assignment]
        with self.assertRaisesRegex(LocalError, r"OpenSSL is missing.*'sipsess\[tls\]'"):
            load_credentials(TLSFiles())

    def test_spelling(self) -> None:
        """A TLS listener says where its files are."""
        spec = parse_listen(r"tls:5061:cert=a\:b.pem:key=k:ca=c:verify=yes:interface=\:\:1")
        self.assertEqual(
            spec, ListenSpec("TLS", 5061, "::1", None, TLSFiles("a:b.pem", "k", "c", True))
        )
        self.assertEqual(spec.name, r"tls:5061:interface=\:\:1")
        host = VirtualNetwork().host(BOB)
        for text, pattern in (
            ("tls:5061", "TLS needs a certificate and its key; write tls:5061:cert=FILE:key=FILE"),
            ("tls:5061:cert=a.pem", "TLS needs a certificate"),
            ("tls:5061:cert=a:key=b:verify=maybe", "verify= is yes or no; write tls:5061"),
            ("tcp:5060:cert=a", "only interface=, advertise= and local= can follow"),
        ):
            with self.assertRaisesRegex(ListenError, pattern):
                SIPServer(host, [text])
        with self.assertRaisesRegex(ListenError, "tls:5061: /nowhere cannot be read"):
            server = SIPServer(host, ["tls:5061:cert=/nowhere:key=/nowhere"])
            server.startService()
