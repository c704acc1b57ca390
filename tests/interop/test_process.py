# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The programs as processes: ``twistd sipsess``, ``twist sipsess`` and ``sipsess``."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import sys
import textwrap
from typing import Any

from sipsess.media import read_wav

from .peers import Peer, PeerTestCase, until
from .tools import LISTENING, ROOT, phone_command

#: Both runners of Twisted; twist writes JSON unless it is told otherwise.
RUNNERS = {
    "twistd": ("from twisted.scripts.twistd import run; run()", "-n", "--pidfile="),
    "twist": (
        "from twisted.application.twist._twist import Twist; Twist.main()",
        "--log-format=text",
    ),
}

#: Seconds within which a signal ends the server, live calls included.
LIMIT = 5.0

FREE = "udp:0:interface=127.0.0.1"


class ProcessCase(PeerTestCase):
    """Starts servers with either runner."""

    def run_server(self, runner: str, *options: str) -> Peer:
        """Start one that may well fail."""
        program, *own = RUNNERS[runner]
        command = [sys.executable, "-u", "-c", program, *own, "sipsess", *options]
        return self.start(runner, command, ROOT)

    async def serve_with(self, runner: str, *options: str) -> tuple[Peer, int]:
        """Start one, and return it with its port once it can be called."""
        where = () if "--listen" in options else ("--listen", FREE)
        path = str(self.folder / f"{runner}.sock")
        server = self.run_server(runner, *where, "--control", path, *options)
        found = await server.expect(LISTENING)
        await server.expect("ControlFactory starting")
        return server, int(found[1])

    def phone(self, port: int, user: str, *options: str) -> Peer:
        """Let a test phone call."""
        return self.start("phone", phone_command(f"sip:{user}@127.0.0.1:{port}", *options), ROOT)

    async def sipsess(self, *words: str) -> tuple[int, str]:
        """Run a command of ``sipsess`` to its end; return its status and what it printed."""
        peer = self.start("sipsess", [sys.executable, "-u", "-m", "sipsess.cli", *words], ROOT)
        return await peer.ended(), peer.output

    def assert_one_line(self, peer: Peer, pattern: str) -> None:
        """Check that there is one line of this kind, no traceback, and a failing status."""
        self.assertNotIn("Traceback", peer.output)
        self.assertNotEqual(peer.status, 0)
        lines = [line for line in peer.output.splitlines() if "[" not in line or "critical" in line]
        self.assertEqual(len(lines), 1, peer.output)
        self.assertRegex(lines[0], pattern)

    async def signal(self, peer: Peer, number: int) -> None:
        """Send a signal as a terminal or a service manager does."""
        os.kill(peer.pid, number)


class SignalTests(ProcessCase):
    """Ctrl-C and TERM."""

    async def test_idle_server(self) -> None:
        """Either signal ends either runner with status 0, where stock Twisted dies by it."""
        servers = []
        for runner in RUNNERS:
            for number in (signal.SIGINT, signal.SIGTERM):
                path = self.folder / f"{runner}-{number}.sock"
                server = self.run_server(runner, "--listen", FREE, "--control", str(path))
                servers.append((server, number, path))
        for server, number, path in servers:
            await server.expect(LISTENING)
            await self.ready(path)
            await self.signal(server, number)
            self.assertEqual(await server.ended(LIMIT), 0, server.tail())
            self.assertIn(f"{signal.Signals(number).name}: ending 0 calls", server.output)
            self.assertNotIn("Traceback", server.output)
            self.assertNotIn("Exception ignored", server.output)

    async def ready(self, path: pathlib.Path) -> None:
        """Wait until the reactor runs: only then are the signals ours."""
        await until(path.exists, lambda: f"{path} never appeared")
        status, output = await self.sipsess("calls", "--control", str(path))
        self.assertEqual((status, output), (0, "no calls\n"))

    async def test_live_call(self) -> None:
        """A live call gets a BYE; the server exits 0 within 5 s, and so does the phone."""
        for runner, number in (("twistd", signal.SIGTERM), ("twist", signal.SIGINT)):
            server, port = await self.serve_with(runner)
            phone = self.phone(port, "echo", "--duration", "60", "--ladder")
            await phone.expect("ACK")
            await self.signal(server, number)
            self.assertEqual(await server.ended(LIMIT), 0, server.tail())
            self.assertEqual(await phone.ended(), 0)
            self.assertRegex(phone.output, "<-+ BYE")
            self.assertIn("answered, ended by the far end", phone.output)

    async def test_second_signal(self) -> None:
        """While a BYE waits for its answer, a second signal forces the exit."""
        for runner in RUNNERS:
            server, port = await self.serve_with(runner)
            caller = self.serve()
            await caller.dial(f"sip:echo@127.0.0.1:{port}")
            await caller.listeners[0].stop()  # gone: it answers no BYE
            await self.signal(server, signal.SIGTERM)
            await server.expect("ending 1 call")
            self.assertIsNone(server.status)
            await self.signal(server, signal.SIGTERM)
            self.assertEqual(await server.ended(2.0), 1, server.tail())

    async def test_peer_that_is_gone(self) -> None:
        """One signal is enough when the peer never answers the BYE: still within 5 s, with 0."""
        server, port = await self.serve_with("twistd")
        caller = self.serve()
        await caller.dial(f"sip:echo@127.0.0.1:{port}")
        await caller.listeners[0].stop()
        await self.signal(server, signal.SIGTERM)
        self.assertEqual(await server.ended(LIMIT), 0, server.tail())


class MistakeTests(ProcessCase):
    """Each mistake is one line that says what to do."""

    async def test_port_in_use(self) -> None:
        """A port in use, with both runners."""
        _, port = await self.serve_with("twistd")
        where = f"udp:{port}:interface=127.0.0.1"
        for runner in RUNNERS:
            second = self.run_server(runner, "--listen", where)
            self.assertEqual(await second.ended(), 1)
            self.assert_one_line(second, rf"udp:{port} \(127.0.0.1\): the port is in use.*--listen")

    async def test_port_in_use_as_a_daemon(self) -> None:
        """A daemon tells it to who started it, and in its log; nothing of it stays."""
        _, port = await self.serve_with("twistd")
        log, pid = self.folder / "log", self.folder / "pid"
        program = RUNNERS["twistd"][0]
        command = [sys.executable, "-c", program, f"--pidfile={pid}", f"--logfile={log}"]
        where = f"udp:{port}:interface=127.0.0.1"
        daemon = self.start("twistd", [*command, "sipsess", "--listen", where], ROOT)
        self.assertEqual(await daemon.ended(), 1)
        self.assertIn(f"cannot listen on udp:{port}", daemon.output)
        self.assertNotIn("Traceback", daemon.output + log.read_text())
        self.assertIn("is in use by another program", log.read_text())
        # Who started it is told before the daemon has tidied up.
        await until(lambda: not pid.exists(), lambda: f"{pid} stays")

    async def test_bad_option(self) -> None:
        """A bad option, with both runners: not the whole help, but one line."""
        started = [
            (self.run_server(runner, *options), text)
            for runner in RUNNERS
            for options, text in (
                (["--listen", "sctp:5060"], "write udp:5060"),
                (["--application", "nonsense"], "no application 'nonsense'"),
                (["--rtp-ports", "7"], "write LOW-HIGH"),
                (["--nonsense"], "--nonsense"),
            )
        ]
        for server, text in started:
            self.assertEqual(await server.ended(), 1)
            self.assert_one_line(server, f"^sipsess: .*{text}")

    async def test_broken_plugin(self) -> None:
        """A plugin that cannot be loaded stops the start, with its file and line."""
        file = self.folder / "bad_plugin.py"
        file.write_text("x = 0\n1 / x\n")
        for runner in RUNNERS:
            server = self.run_server(runner, "--plugin-dir", str(self.folder))
            self.assertEqual(await server.ended(), 1)
            self.assert_one_line(server, f"^sipsess: {file}:2: bad_plugin: it cannot be loaded")

    async def test_missing_plugin(self) -> None:
        """A plugin that is required and not there stops the start."""
        server = self.run_server("twistd", "--require-plugin", "doorman")
        self.assertEqual(await server.ended(), 1)
        self.assert_one_line(server, "^sipsess: the plugin 'doorman' was not found")

    async def test_help(self) -> None:
        """--help shows the options and examples, with both runners and an alternative reactor."""
        for runner in RUNNERS:
            program, *own = RUNNERS[runner]
            words = [sys.executable, "-c", program, *own, "--reactor=poll", "sipsess", "--help"]
            peer = self.start(runner, words, ROOT)
            self.assertEqual(await peer.ended(), 0)
            self.assertIn("--require-plugin", peer.output)
            self.assertIn("Examples:", peer.output)


class ConfigTests(ProcessCase):
    """A configuration file."""

    async def test_reload(self) -> None:
        """Either runner reads it again, by command and by HUP, and a mistake changes nothing."""
        for runner in RUNNERS:
            await self.check_reload(runner)

    async def check_reload(self, runner: str) -> None:
        """Let one runner read its file again."""
        file, log = self.folder / f"{runner}.toml", self.folder / f"{runner}.log"
        text = f'application = "{{}}"\n[logging]\nfile = "{log.name}"\nformat = "json"\n'
        control = ("--control", str(self.folder / f"{runner}.sock"))
        file.write_text(text.format("busy"))
        server = self.run_server(runner, "--config", str(file), "--listen", FREE, *control)
        await until(pathlib.Path(control[1]).exists, server.tail)
        self.assertEqual(await self.sipsess("calls", *control), (0, "no calls\n"))
        self.assertTrue(any(" -- call sip:busy@" in line for line in self.texts(log)))
        file.write_text(text.format("nobody"))
        status, output = await self.sipsess("reload", *control)
        self.assertEqual(status, 1)
        self.assertIn(f"sipsess: {file}:1: application: there is no application", output)
        file.write_text(text.format("ring"))
        self.assertEqual(await self.sipsess("reload", *control), (0, "changed: application\n"))
        file.write_text(text.format("echo"))
        await self.signal(server, signal.SIGHUP)
        last = f"{file} was read again: changed: application"
        await until(lambda: self.texts(log).count(last) == 2, server.tail)
        await self.signal(server, signal.SIGTERM)
        self.assertEqual(await server.ended(LIMIT), 0, server.tail())

    def texts(self, log: pathlib.Path) -> list[str]:
        """Return what stands in a log of JSON."""
        return [json.loads(line)["text"] for line in log.read_text().splitlines()]

    async def test_check(self) -> None:
        """The commands that need no server say with their status whether all is well."""
        file = self.folder / "sipsess.toml"
        file.write_text('listeners = ["udp:0:interface=127.0.0.1"]\n')
        for command in ("check", "doctor"):
            status, output = await self.sipsess(command, str(file))
            self.assertEqual((status, f"{file} is good" in output), (0, True), output)
        file.write_text("nonsense = 1\n")
        for command in ("check", "doctor"):
            status, output = await self.sipsess(command, str(file))
            self.assertEqual(status, 1, output)
            self.assertIn(f"{file}:1: nonsense: unknown key 'nonsense'", output)


class PluginTests(ProcessCase):
    """A drop-in in a directory of its own."""

    async def test_drop_in(self) -> None:
        """It is found and called; test_* and _* beside it are not loaded; no cache is written."""
        plugins = self.folder / "plugins"
        plugins.mkdir()
        (plugins / "doorman.py").write_text(
            textwrap.dedent(
                """
                from sipsess.supplement import Reject, SessionSupplement

                class Doorman(SessionSupplement):
                    name = "doorman"
                    priority = 100

                    def incoming_request(self, session, request):
                        if session.is_initial(request):
                            raise Reject(486, "The Doorman Is Asleep")

                doorman = Doorman()
                """
            )
        )
        (plugins / "test_doorman.py").write_text("raise RuntimeError\n")
        (plugins / "_doorman.py").write_text("raise RuntimeError\n")
        options = ("--plugin-dir", str(plugins), "--require-plugin", "doorman")
        _, port = await self.serve_with("twistd", *options)
        phone = self.phone(port, "echo")
        self.assertEqual(await phone.ended(), 1)
        self.assertEqual(phone.output, "refused: 486 The Doorman Is Asleep\n")
        self.assertNotIn("dropin.cache", os.listdir(plugins))
        status, output = await self.sipsess("plugins", "--plugin-dir", str(plugins))
        self.assertEqual(status, 0)
        self.assertRegex(output, rf"100  doorman +\S*{plugins.name}/doorman.py")


class CallTests(ProcessCase):
    """``sipsess call`` and the operator's questions, against a server that runs."""

    async def test_hello(self) -> None:
        """The call of the manual, with what was heard in a file."""
        _, port = await self.serve_with("twistd", "--application", "hello")
        file = self.folder / "heard.wav"
        phone = self.phone(port, "anybody", "--dtmf", "12#", "--ladder", "--save", str(file))
        self.assertEqual(await phone.ended(), 0)
        self.assertRegex(phone.output, r"answered, ended by the far end after \d+\.\d s; heard \d")
        self.assertGreater(len(read_wav(file)), 8000)

    async def test_failures(self) -> None:
        """What fails is one line and status 1, and no traceback."""
        _, port = await self.serve_with("twistd")
        for words, pattern in (
            ([f"sip:reject@127.0.0.1:{port}"], r"^refused: 603 Decline$"),
            ([f"sip:a@127.0.0.1:{port};transport=tcp"], "no TCP connection to 127.0.0.1"),
            (["sip:a@no-such-host.invalid"], "not known"),
            ([], "^sipsess: say whom to call"),
        ):
            status, output = await self.sipsess("call", *words)
            self.assertEqual(status, 1)
            [line] = output.splitlines()
            self.assertRegex(line, pattern)

    async def test_interrupted_phone(self) -> None:
        """Ctrl-C in the phone hangs up: the server has no call any more."""
        _, port = await self.serve_with("twistd")
        phone = self.phone(port, "echo", "--duration", "60", "--ladder")
        await phone.expect("ACK")
        await self.signal(phone, signal.SIGINT)
        await phone.ended()
        self.assertRegex(phone.output, "BYE sip:.*->")
        self.assertNotIn("Traceback", phone.output)
        self.assertEqual(await self.ask("calls"), "no calls\n")

    async def ask(self, *words: str) -> str:
        """Return what a command prints about the server."""
        path = str(self.folder / "twistd.sock")
        status, output = await self.sipsess(*words, "--control", path)
        self.assertEqual(status, 0, output)
        return output

    async def test_questions(self) -> None:
        """A live call is listed and explained; counters count; the socket is its user's alone."""
        _, port = await self.serve_with("twistd")
        caller = self.serve()
        call: Any = await caller.dial(f"sip:echo@127.0.0.1:{port}")
        call_id = call.session.call_id
        self.assertIn(call_id, await self.ask("calls"))
        mode = stat.S_IMODE(os.stat(self.folder / "twistd.sock").st_mode)
        self.assertEqual(mode, 0o600)
        self.assertIn("confirmed", await self.ask("explain", call_id))
        self.assertIn("1  sessions begun", await self.ask("counters"))

    async def test_second_server(self) -> None:
        """The socket of a live server stays its own; one that was left behind is replaced."""
        first, _ = await self.serve_with("twistd")
        path = str(self.folder / "twistd.sock")
        second = self.run_server("twistd", "--listen", FREE, "--control", path)
        self.assertEqual(await second.ended(), 1)
        self.assertIn("another server answers on", second.output)
        self.assertEqual(await self.ask("calls"), "no calls\n")
        await self.signal(first, signal.SIGKILL)
        await first.ended()
        self.assertTrue(pathlib.Path(path).exists())
        await self.serve_with("twistd")
        self.assertEqual(await self.ask("calls"), "no calls\n")
