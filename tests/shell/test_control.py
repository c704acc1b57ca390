# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The control socket: where it is, who may have it, what it answers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipsess import control
from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.control import (
    MAX_CONNECTIONS,
    ControlError,
    ControlFactory,
    ControlProtocol,
    ControlService,
    answer,
    ask,
    check_directory,
    default_path,
    find_server,
    is_alive,
)
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.testing import VirtualNetwork

from .reactors import FakeReactor


class ControlCase(SynchronousTestCase):
    """The base: a server with a call, and a directory for sockets with a short name."""

    def setUp(self) -> None:
        """Make both; a Unix socket's path has room for some hundred letters only."""
        self.directory = tempfile.mkdtemp(prefix="sipsess-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.patch(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": self.directory})
        self.net = VirtualNetwork()
        host = self.net.host("192.0.2.1")
        self.reactor = FakeReactor(host)
        self.server = SIPServer(
            host, handlers=[AudioHandler()], applications=[EchoApplication()], application="echo"
        )
        self.server.startService()
        self.manager = self.server.manager
        self.messages: list[str] = []

        def observe(event: Any) -> None:
            self.messages.append(str(event.get("log_format") or "").format(**event))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def path(self, name: str) -> str:
        """Return a path in the directory."""
        return os.path.join(self.directory, name)

    def listen(self, name: str, reply: Callable[[bytes], bytes] | None = None) -> str:
        """Open a real socket that answers one request, or is merely there."""
        path = self.path(name)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listening.close)
        listening.bind(path)
        listening.listen()
        if reply is not None:
            function = reply

            def serve() -> None:
                while True:
                    connection, _ = listening.accept()
                    with connection, connection.makefile("rb") as stream:
                        line = stream.readline()
                        if line:  # not one that only looks whether somebody is there
                            connection.sendall(function(line))
                            return

            thread = threading.Thread(target=serve)
            thread.start()
            self.addCleanup(thread.join)
        return path

    def leave(self, name: str) -> str:
        """Leave a socket behind on which nobody answers."""
        path = self.path(name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(path)
        return path


class PathTests(ControlCase):
    """Where it is."""

    def test_runtime_directory(self) -> None:
        """It is in XDG_RUNTIME_DIR when that is there, else in a directory in /tmp."""
        self.assertEqual(default_path(), self.path("sipsess.sock"))
        self.assertEqual(default_path({}, 7), "/tmp/sipsess-7/control.sock")
        elsewhere = {"XDG_RUNTIME_DIR": self.path("nowhere")}
        self.assertEqual(default_path(elsewhere, 7), "/tmp/sipsess-7/control.sock")

    def test_directory_is_made(self) -> None:
        """The directory is made for the user alone, and used again."""
        path = self.path("mine")
        for _ in range(2):
            check_directory(path)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700)

    def test_unsafe_directory(self) -> None:
        """A directory that others can write to, or that is a link, is refused."""
        os.mkdir(self.path("open"))
        os.chmod(self.path("open"), 0o777)
        os.mkdir(self.path("mine"), 0o700)
        os.symlink(self.path("mine"), self.path("link"))
        for name in ("open", "link"):
            with self.assertRaisesRegex(ControlError, "not a directory of yours"):
                check_directory(self.path(name))

    def test_directory_of_another_user(self) -> None:
        """So is another user's."""
        os.mkdir(self.path("mine"), 0o700)
        self.patch(os, "getuid", lambda: 12345)
        with self.assertRaisesRegex(ControlError, "not a directory of yours"):
            check_directory(self.path("mine"))

    def test_directory_that_cannot_be_made(self) -> None:
        """That is said with the reason."""
        with self.assertRaisesRegex(ControlError, "cannot make .* No such file"):
            check_directory(self.path("a/b"))

    def test_alive(self) -> None:
        """A socket is alive when somebody listens; a full queue is a sign of life too."""
        self.assertTrue(is_alive(self.listen("alive")))
        self.assertFalse(is_alive(self.leave("dead")))
        self.assertFalse(is_alive(self.path("none")))

        class Busy:
            def __init__(self, *args: object) -> None:
                pass

            def __enter__(self) -> Busy:
                return self

            def __exit__(self, *args: object) -> None:
                pass

            def settimeout(self, seconds: float) -> None:
                pass

            def connect(self, path: str) -> None:
                raise TimeoutError

        self.patch(socket, "socket", Busy)
        self.assertTrue(is_alive("x"))


class ServiceTests(ControlCase):
    """Listening."""

    def start(self, path: str | None = None) -> ControlService:
        """Return a service that runs."""
        service = ControlService(self.reactor, self.manager, path)
        service.startService()
        return service

    def test_start_and_stop(self) -> None:
        """It listens with mode 0600 and closes its connections when it stops."""
        service = self.start()
        factory, mode = self.reactor.unix[self.path("sipsess.sock")]
        self.assertEqual(mode, 0o600)
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertIsNone(self.successResultOf(service.stopService()))
        self.assertTrue(transport.disconnecting)
        self.assertFalse(os.path.exists(service.path))
        protocol.connectionLost()

    def test_stale_socket(self) -> None:
        """A socket that was left behind is replaced."""
        path = self.leave("sipsess.sock")
        self.assertEqual(self.start().path, path)
        self.assertIn(path, self.reactor.unix)

    def test_second_server(self) -> None:
        """The socket of a live server is left alone; the second one has a name of its own."""
        taken = self.listen("sipsess.sock")
        own = self.path(f"sipsess-{os.getpid()}.sock")
        with open(own, "w"):
            pass  # of an older process with the same number
        service = self.start()
        self.assertEqual(service.path, own)
        self.assertTrue(is_alive(taken))
        self.assertTrue(any(own in message for message in self.messages))

    def test_chosen_path(self) -> None:
        """A path that was chosen and is a live server's stops the start."""
        path = self.listen("chosen")
        with self.assertRaisesRegex(ControlError, "another server answers on .*--control"):
            self.start(path)

    def test_no_socket(self) -> None:
        """A file that is no socket is never removed."""
        path = self.path("file")
        with open(path, "w") as file:
            file.write("precious")
        with self.assertRaisesRegex(ControlError, "no socket"):
            self.start(path)
        self.assertTrue(os.path.exists(path))

    def test_usual_path_that_cannot_be_used(self) -> None:
        """At the usual path a failure is a warning: calls matter more."""
        with open(self.path("sipsess.sock"), "w"):
            pass
        service = self.start()
        self.assertTrue(any("no control socket" in message for message in self.messages))
        self.assertIsNone(self.successResultOf(service.stopService()))

    def test_own_directory(self) -> None:
        """Without XDG_RUNTIME_DIR the directory is made."""
        path = self.path("sipsess-1/control.sock")
        self.patch(control, "default_path", lambda: path)
        self.start()
        self.assertIn(path, self.reactor.unix)

    def test_path_that_cannot_be_bound(self) -> None:
        """What the system says is passed on."""
        with self.assertRaisesRegex(ControlError, "cannot listen on .*No such file"):
            self.start(self.path("no/such/directory"))


class ProtocolTests(ControlCase):
    """One connection."""

    def connect(self, factory: ControlFactory | None = None) -> tuple[Any, StringTransport]:
        """Return a connection and what it writes to."""
        protocol = (factory or ControlFactory(self.manager)).buildProtocol(None)
        transport = StringTransport()
        if protocol is not None:
            clock: Any = self.reactor.host
            protocol.callLater = clock.callLater  # type: ignore[method-assign]
            connection: Any = protocol
            connection.makeConnection(transport)
        return protocol, transport

    def test_requests(self) -> None:
        """Requests in one or several pieces get an answer each, in order."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "calls"}\n{"comm')
        protocol.dataReceived(b'and": "nonsense"}\n')
        first, second = transport.value().splitlines()
        self.assertEqual(json.loads(first), {"result": []})
        self.assertIn("no command 'nonsense'", json.loads(second)["error"])
        protocol.connectionLost()

    def test_more_commands(self) -> None:
        """A server may answer more than the usual commands; the list of them names all."""
        reactor: Any = self.reactor
        service = ControlService(
            reactor, self.manager, self.path("x"), {"more": lambda manager, request: request["a"]}
        )
        service.startService()
        [(factory, _)] = self.reactor.unix.values()
        protocol, transport = self.connect(factory)
        protocol.dataReceived(b'{"command": "more", "a": 1}\n{"command": "x"}\n')
        first, second = transport.value().splitlines()
        self.assertEqual(json.loads(first), {"result": 1})
        self.assertIn(
            "there are: calls, explain, counters, status, bans, more", json.loads(second)["error"]
        )
        protocol.connectionLost()
        self.successResultOf(service.stopService())

    def test_long_request(self) -> None:
        """A request that never ends closes the connection."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"x" * 20_000)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()

    def test_idle(self) -> None:
        """A connection that asks nothing is closed after a minute."""
        protocol, transport = self.connect()
        self.net.run_for(59)
        protocol.dataReceived(b"{}\n")
        self.net.run_for(59)
        self.assertFalse(transport.disconnecting)
        self.net.run_for(2)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()

    def test_limit(self) -> None:
        """There are so many connections at a time, and no more."""
        factory = ControlFactory(self.manager)
        protocols = [self.connect(factory)[0] for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.connect(factory)[0])
        for protocol in protocols:
            self.assertIsInstance(protocol, ControlProtocol)
            protocol.connectionLost()
        self.assertEqual(factory.connections, set())


class AnswerTests(ControlCase):
    """What is answered."""

    def call(self) -> Call:
        """Let somebody call; return his side."""
        caller = SIPServer(self.net.host("192.0.2.2"), handlers=[AudioHandler()])
        caller.startService()
        dialled = caller.dial("sip:echo@192.0.2.1")
        self.net.run_for(2)
        return self.successResultOf(dialled)

    def ask(self, **request: object) -> Any:
        """Return the answer to a request, as it goes over the wire."""
        return json.loads(json.dumps(answer(self.manager, json.dumps(request).encode())))

    def test_calls(self) -> None:
        """Each live call with its Call-ID, state, age, application and peer."""
        self.call()
        [call] = self.ask(command="calls")["result"]
        [session] = self.manager.sessions
        self.assertEqual(call["call_id"], session.call_id)
        self.assertEqual(call["application"], "echo")
        self.assertEqual(call["remote"], "192.0.2.2 5060")
        self.assertEqual(call["state"], "confirmed")
        self.assertAlmostEqual(call["seconds"], 2, delta=0.5)

    def test_call_without_application(self) -> None:
        """A call that the program drives itself has no application."""
        self.server.dial("sip:echo@192.0.2.1").addErrback(lambda failure: None)
        self.net.run_for(1)
        self.assertIn(None, [call["application"] for call in self.ask(command="calls")["result"]])

    def test_explain(self) -> None:
        """The decision record of a call."""
        self.call()
        [session] = self.manager.sessions
        lines = self.ask(command="explain", call_id=session.call_id)["result"]
        self.assertIn(session.call_id, lines[0])
        self.assertTrue(any("confirmed" in line for line in lines))

    def test_explain_nothing(self) -> None:
        """A Call-ID that is unknown or no text is an error, in one sentence."""
        error = self.ask(command="explain", call_id="x")["error"]
        self.assertRegex(error, "Call-ID x; .* `sipsess counters`")
        self.assertIn("is a string", self.ask(command="explain", call_id=7)["error"])

    def test_explain_the_last_call(self) -> None:
        """Without a Call-ID the last call is meant, ended or not."""
        self.assertRegex(self.ask(command="explain")["error"], "no call yet; .* `sipsess counters`")
        self.call()
        [session] = self.manager.sessions
        self.assertIn(session.call_id, self.ask(command="explain")["result"][0])

    def test_counters(self) -> None:
        """All counters by name."""
        self.call()
        counters = self.ask(command="counters")["result"]
        self.assertEqual(counters["sessions"], 1)
        self.assertGreater(counters["messages_received"], 1)
        self.assertEqual(counters["refused"], {})

    def test_counters_of_live_calls(self) -> None:
        """RTP is counted while a call lives, and not once more when it has ended."""
        call = self.call()
        call.play_tone(seconds=1.0)
        self.net.run_for(2)
        for _ in range(2):
            counters = self.ask(command="counters")["result"]
            self.assertEqual((counters["rtp_received"], counters["rtp_sent"]), (50, 50))
            call.session.terminate()
            self.net.run_for(1)
        self.assertEqual(counters["sessions"], 0)

    def test_bans(self) -> None:
        """Who is banned and for how long; a ban can be lifted."""
        perimeter = self.server.core.perimeter
        assert perimeter is not None
        for host in ("192.0.2.66", "192.0.2.67"):
            perimeter.bans.ban(host, host, "failures", "UDP", self.net.seconds())
        self.net.run_for(10)
        found = self.ask(command="bans", lift="192.0.2.67")["result"]
        self.assertEqual(found, [{"address": "192.0.2.66", "seconds": 50.0, "count": 1}])
        self.assertIn("is not banned", self.ask(command="bans", lift="192.0.2.67")["error"])
        self.assertIn("no IP address", self.ask(command="bans", lift="bob")["error"])
        self.server.core.perimeter = None
        self.assertIn("bans nobody", self.ask(command="bans")["error"])

    def test_nonsense(self) -> None:
        """Whatever comes gets an answer."""
        for line in (b"", b"\xff", b"[]", b"7", b'{"command": []}', b'{"command": null}'):
            self.assertIn("error", answer(self.manager, line))

    def test_bug(self) -> None:
        """A command that fails is logged, and answered all the same."""

        def fail(manager: object, request: object) -> None:
            raise ZeroDivisionError

        self.patch(control, "COMMANDS", {"fail": fail})
        self.assertIn("log says why", self.ask(command="fail")["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AskTests(ControlCase):
    """The client's side."""

    def test_ask(self) -> None:
        """A request goes out as one line of JSON, and its result comes back."""
        requests: list[bytes] = []

        def reply(line: bytes) -> bytes:
            requests.append(line)
            return b'{"result": [1, 2]}\n'

        path = self.listen("socket", reply)
        self.assertEqual(ask("explain", path, call_id="x"), [1, 2])
        self.assertEqual(json.loads(requests[0]), {"command": "explain", "call_id": "x"})

    def test_error(self) -> None:
        """An error of the server is raised with its sentence."""
        path = self.listen("socket", lambda line: b'{"error": "no such call"}\n')
        with self.assertRaisesRegex(ControlError, "^no such call$"):
            ask("explain", path)

    def test_nonsense(self) -> None:
        """A server that answers nonsense, or hangs up, is said to."""
        for text in (b"hello\n", b"\n"):
            path = self.listen(f"socket{len(text)}", lambda line, text=text: text)  # type: ignore[misc]
            with self.assertRaisesRegex(ControlError, "does not answer"):
                ask("calls", path)

    def test_nobody(self) -> None:
        """Nobody answers: at a chosen path, and at the usual one."""
        with self.assertRaisesRegex(ControlError, f"no server answers on {self.path('x')}$"):
            find_server(self.path("x"))
        with self.assertRaisesRegex(ControlError, "is it running"):
            find_server()

    def test_usual_server(self) -> None:
        """The usual path comes first."""
        self.listen("sipsess-1.sock")
        path = self.listen("sipsess.sock")
        self.assertEqual(find_server(), path)

    def test_other_server(self) -> None:
        """The only other server of the user is found; of two, one must be chosen."""
        self.leave("sipsess.sock")
        self.leave("sipsess-2.sock")
        path = self.listen("sipsess-1.sock")
        self.assertEqual(find_server(), path)
        self.listen("sipsess-3.sock")
        with self.assertRaisesRegex(ControlError, "choose with --control: .*-1.*-3"):
            find_server()
