# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``twistd sipsess``: options, mistakes in one line, signals."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import sipsess
from sipsess import tap
from sipsess.control import ControlService, answer
from sipsess.datadir import data_directory
from sipsess.endpoint import DigestCredentials, Login
from sipsess.errors import LocalError
from sipsess.registrar import Limits, MemoryStore, RegistrarOptions, StoreError
from sipsess.registrar.sqlite import SQLiteStore
from sipsess.tap import Options, ServerService, Signals, makeService
from sipsess.testing import VirtualNetwork
from sipsess.transport.filelimit import SPARE_FILES
from sipsess.transport.listen import ListenError

from .reactors import FakeReactor
from .test_registry import STAMP, RegistryCase


class TapCase(RegistryCase):
    """The base: a reactor, a plugin directory, a place for the control socket, and the log."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.net = VirtualNetwork()
        self.reactor = FakeReactor(self.net.host("192.0.2.1", "2001:db8::1"))
        runtime = tempfile.mkdtemp(prefix="sipsess-test-")
        self.addCleanup(shutil.rmtree, runtime)
        #: Where the control socket and the data directory are.
        self.runtime = runtime
        places = {"XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": runtime, "STATE_DIRECTORY": ""}
        self.patch(os, "environ", {**os.environ, **places})
        self.patch(sys, "excepthook", sys.excepthook)
        self.events: list[dict[str, Any]] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self, level: Any = LogLevel.info) -> list[str]:
        """Return what was logged at this level."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.events
            if event["log_level"] == level and event.get("log_format")
        ]

    def options(self, *words: str) -> Options:
        """Read a command line."""
        options = Options()
        options.parseOptions(list(words))
        return options

    def make(self, *words: str) -> ServerService:
        """Return the service of a command line."""
        return makeService(self.options(*words), self.reactor)

    def mistake(self, *words: str) -> str:
        """Return the one line that a command line is refused with."""
        with self.assertRaises(SystemExit) as caught:
            self.make(*words)
        [line] = str(caught.exception.code).split("\n")
        self.assertTrue(line.startswith("sipsess: "), line)
        return line


class RegistrarTests(TapCase):
    """--registrar and what goes with it."""

    def registrar(self, *words: str) -> RegistrarOptions:
        """Return what a command line makes of the registrar."""
        registrar = self.make("--registrar", *words).server.manager.registrar
        assert registrar is not None
        return registrar.options

    def test_none(self) -> None:
        """Nobody registers unless that was asked for."""
        self.assertIsNone(self.make().server.manager.registrar)

    def test_default_file(self) -> None:
        """The bindings stand in the data directory, which is the user's alone."""
        options = self.registrar()
        assert isinstance(options.store, SQLiteStore)
        self.assertEqual(options.store.path, os.path.join(self.runtime, "sipsess/bindings.sqlite"))
        self.assertEqual(os.stat(os.path.dirname(options.store.path)).st_mode & 0o777, 0o700)
        self.assertFalse(options.admits_anybody)

    def test_choices(self) -> None:
        """A file of one's own, none at all, and everybody."""
        options = self.registrar("--bindings", "x.sqlite", "--register-anybody")
        assert isinstance(options.store, SQLiteStore)
        self.assertEqual(options.store.path, os.path.abspath("x.sqlite"))
        self.assertTrue(options.admits_anybody)
        self.assertIsInstance(self.registrar("--bindings", "memory").store, MemoryStore)

    def test_mistakes(self) -> None:
        """What needs a registrar says so; a directory that cannot be made, too."""
        self.assertIn("need --registrar", self.mistake("--bindings", "memory"))
        self.assertIn("need --registrar", self.mistake("--register-anybody"))
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": os.path.abspath(__file__)})
        self.assertIn("cannot make the data directory", self.mistake("--registrar"))

    def test_broken_file(self) -> None:
        """A file that is no database stops the start with one line."""
        path = os.path.join(self.runtime, "broken")
        with open(path, "w", encoding="ascii") as file:
            file.write("no database " * 100)
        service = self.make("--registrar", "--bindings", path)
        with self.assertRaisesRegex(StoreError, "move it away"):
            service.startService()
        self.assertTrue(any("move it away" in line for line in self.lines(LogLevel.critical)))


class RegisteringTests(TapCase):
    """[registrar] and [[registrations]]."""

    def save(self, text: str) -> tuple[str, str]:
        """Write a file; return the words that name it."""
        return "--config", self.write("sipsess.toml", text)

    def registrar(self, *words: str) -> RegistrarOptions:
        """Return what a command line makes of the registrar."""
        registrar = self.make(*words).server.manager.registrar
        assert registrar is not None
        return registrar.options

    def test_table(self) -> None:
        """Each key reaches the registrar."""
        words = self.save(
            """
            [registrar]
            domains = ["pbx.example"]
            bindings = "phones.sqlite"
            admits_anybody = true
            limits = { max_contacts = 2 }
            """
        )
        options = self.registrar(*words)
        assert isinstance(options.store, SQLiteStore)
        self.assertEqual(options.store.path, str(self.directory / "phones.sqlite"))
        self.assertEqual((options.domains, options.admits_anybody), (("pbx.example",), True))
        self.assertEqual(options.limits, Limits(max_contacts=2))

    def test_options_go_before_it(self) -> None:
        """The command line says where bindings are kept, and who may register."""
        words = self.save('[registrar]\nbindings = "phones.sqlite"\n')
        options = self.registrar(*words, "--bindings", "x.sqlite", "--register-anybody")
        assert isinstance(options.store, SQLiteStore)
        self.assertEqual(options.store.path, os.path.abspath("x.sqlite"))
        self.assertTrue(options.admits_anybody)
        self.assertIsInstance(self.registrar(*words, "--bindings", "memory").store, MemoryStore)
        words = self.save("[registrar]\nin_memory = true\n")
        self.assertIsInstance(self.registrar(*words, "--registrar").store, MemoryStore)
        self.assertIsInstance(self.registrar(*words, "--bindings", "x").store, SQLiteStore)

    def test_registrations(self) -> None:
        """This server registers, with the credentials of an endpoint."""
        self.write("secret", "sesame\n")
        words = self.save(
            """
            [[endpoints]]
            name = "provider"
            credentials = [{ realm = "*", user = "me", password = { file = "secret" } }]
            [[registrations]]
            aor = "sip:123@provider.example"
            registrar = "sip:reg.provider.example"
            user = "1000"
            expires = 600
            endpoint = "provider"
            [[registrations]]
            aor = "sip:456@provider.example"
            """
        )
        registrations = self.make(*words).server.manager.registrations
        assert registrations is not None
        first, second = (client.account for client in registrations.clients)
        self.assertEqual(
            (first.aor, first.registrar, first.user, first.expires),
            ("sip:123@provider.example", "sip:reg.provider.example", "1000", 600),
        )
        credentials = DigestCredentials((Login("*", "me", "sesame"),))
        self.assertEqual(first.endpoint.credentials, credentials)
        self.assertEqual(
            (second.aor, second.endpoint.name), ("sip:456@provider.example", "anonymous")
        )

    def test_mistakes(self) -> None:
        """Each registration that cannot be."""
        words = self.save(
            """\
            endpoints = [{ name = "provider" }]
            [[registrations]]
            aor = "provider.example"
            [[registrations]]
            aor = "sip:a@provider.example"
            endpoint = "provder"
            [[registrations]]
            aor = "sip:b@provider.example"
            [[registrations]]
            aor = "sip:b@provider.example"
            """
        )
        with self.assertRaises(SystemExit) as caught:
            self.make(*words)
        lines = str(caught.exception.code).replace(f"sipsess: {words[1]}:", "").split("\n")
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r"^2: registrations\[0\]: aor: .*; write sip:...$")
        self.assertEqual(
            lines[1:],
            [
                "6: registrations[1].endpoint: there is no endpoint 'provder', did you mean "
                "'provider'?",
                "10: registrations[3].aor: sip:b@provider.example is registered already",
            ],
        )

    def test_broken_endpoints_are_not_missed(self) -> None:
        """An endpoint that could not be read is not said to be missing."""
        words = self.save(
            'endpoints = [{ nam = "x" }]\n'
            '[[registrations]]\naor = "sip:a@provider.example"\nendpoint = "x"\n'
        )
        with self.assertRaises(SystemExit) as caught:
            self.make(*words)
        self.assertNotIn("registrations", str(caught.exception.code))


class DataDirectoryTests(SynchronousTestCase):
    """Where the data directory is."""

    def test_places(self) -> None:
        """What systemd says, then XDG, then the home directory."""
        base = os.path.abspath(self.mktemp())
        for environment, path in (
            ({"STATE_DIRECTORY": f"{base}/one:{base}/two", "XDG_STATE_HOME": "/x"}, "one"),
            ({"XDG_STATE_HOME": base}, "sipsess"),
        ):
            self.assertEqual(data_directory(environment), os.path.join(base, path))
        self.patch(os, "environ", {"HOME": base})
        self.assertEqual(data_directory(), f"{base}/.local/state/sipsess")


class OptionsTests(TapCase):
    """The command line."""

    def test_nothing(self) -> None:
        """Without options it is hello on UDP 5060."""
        server = self.make().server
        self.assertEqual([spec.name for spec in server.specs], ["udp:5060"])
        # It defends itself: who is banned cannot connect.
        perimeter = server.core.perimeter
        assert perimeter is not None
        perimeter.bans.ban("192.0.2.66", "192.0.2.66", "failures", "TCP", time.monotonic())
        self.assertEqual(server.core.refusal_of_host("192.0.2.66"), "banned")
        self.assertIsNone(server.core.refusal_of_host("127.0.0.1"))
        self.assertEqual(server.manager.router.sample_user, "hello")
        self.assertEqual(server.media_ports.capacity, 10000)

    def test_everything(self) -> None:
        """Each option reaches the server."""
        self.write("stamp.py", STAMP)
        service = self.make(
            *("--listen", "udp:5070", "--listen", r"udp:5080:interface=\:\:1"),
            *("--application", "echo", "--rtp-ports", "20000-20010"),
            *("--advertise", "udp:5070=203.0.113.5", "--plugin-dir", str(self.directory)),
            *("--local-network", "10.0.0.0/8", "--local-network", "fd00::/8"),
            *("--keep-alive", "options:60"),
            *("--require-plugin", "stamp", "--require-plugin", "echo", "--control", "/x/y"),
        )
        server = service.server
        self.assertEqual([spec.port for spec in server.specs], [5070, 5080])
        self.assertEqual([spec.advertised for spec in server.specs], ["203.0.113.5", None])
        networks = ("10.0.0.0/8", "fd00::/8")
        self.assertEqual([spec.local_networks for spec in server.specs], [networks, networks])
        self.assertEqual(server.manager.router.sample_user, "echo")
        keep = server.core.keep_alives
        self.assertEqual((keep.kind, keep.interval), ("options", 60.0))
        self.assertEqual(server.media_ports.capacity, 6)
        self.assertIn("stamp", [item.name for item in server.manager.chain.supplements])

    def test_advertise_everywhere(self) -> None:
        """An address alone is for every listener; IPv6 is written in its normal form."""
        server = self.make("--advertise", "2001:DB8::0:5").server
        self.assertEqual(server.specs[0].advertised, "2001:db8::5")

    def test_help(self) -> None:
        """--help shows every option, and examples."""
        text = str(Options())
        for option in (
            *("--listen", "--application", "--rtp-ports", "--advertise", "--plugin-dir"),
            *("--require-plugin", "--config", "--control", "--help", "--version"),
            *("--registrar", "--bindings", "--register-anybody"),
        ):
            self.assertIn(option, text)
        self.assertIn("twistd -n sipsess --listen udp:5070", text)

    def test_examples(self) -> None:
        """Each example of --help is a command line that works."""
        for line in str(Options()).split("\n"):
            words = line.strip().replace("'", "").split()
            if words[:3] == ["twistd", "-n", "sipsess"]:
                self.options(*words[3:])

    def test_version(self) -> None:
        """--version is ours, not Twisted's."""
        output = StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            self.options("--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertEqual(output.getvalue(), f"sipsess {sipsess.__version__}\n")

    def test_installed_reactor(self) -> None:
        """The reactor is the one that twistd has installed."""
        from twisted.internet import reactor  # noqa: TID251  what makeService shall find

        self.assertIs(makeService(self.options()).server.reactor, reactor)


class ConfigTests(TapCase):
    """A configuration file."""

    FILE = """
        listeners = ["udp:5070"]
        application = "busy"
        advertise = "203.0.113.1"
        plugin_directories = ["."]
        required_plugins = ["stamp"]
        control = "control.sock"
        rtp.ports = "20000-20010"
    """

    def save(self, text: str) -> str:
        """Write the file; return its name."""
        return self.write("sipsess.toml", text)

    def test_file(self) -> None:
        """What the file says reaches the server."""
        self.write("stamp.py", STAMP)
        service = self.make("--config", self.save(self.FILE))
        server = service.server
        self.assertEqual([spec.name for spec in server.specs], ["udp:5070"])
        self.assertEqual(server.specs[0].advertised, "203.0.113.1")
        self.assertEqual(server.manager.router.sample_user, "busy")
        self.assertEqual(server.media_ports.capacity, 6)
        self.assertIn("stamp", [item.name for item in server.manager.chain.supplements])
        [control] = [item for item in service if isinstance(item, ControlService)]
        self.assertEqual(control.path, str(self.directory / "control.sock"))

    def test_options_go_before_it(self) -> None:
        """The command line has the last word; directories and required plugins are added."""
        self.write("stamp.py", STAMP)
        service = self.make(
            *("--config", self.save(self.FILE), "--listen", "udp:5080", "--application", "echo"),
            *("--advertise", "203.0.113.2", "--rtp-ports", "20000-20002", "--control", "/x/y"),
            *("--require-plugin", "hello", "--plugin-dir", str(self.directory)),
        )
        server, config = service.server, service.deployment.plan.config
        self.assertEqual([spec.name for spec in server.specs], ["udp:5080"])
        self.assertEqual(server.specs[0].advertised, "203.0.113.2")
        self.assertEqual(server.manager.router.sample_user, "echo")
        self.assertEqual(server.media_ports.capacity, 2)
        self.assertEqual(str(config.control), "/x/y")
        self.assertEqual(config.required_plugins, ("stamp", "hello"))
        self.assertEqual(config.plugin_directories, (self.directory, self.directory))

    def test_mistakes(self) -> None:
        """Each mistake of a file, and of the options with it, is a line."""
        file = self.save('nonsense = 1\napplication = "echoo"\n')
        with self.assertRaises(SystemExit) as caught:
            self.make("--config", file, "--require-plugin", "gone")
        lines = str(caught.exception.code).split("\n")
        self.assertEqual(len(lines), 3)
        self.assertIn(f"sipsess: {file}: the plugin 'gone' was not found; there are", lines[0])
        self.assertIn(f"sipsess: {file}:1: nonsense: unknown key 'nonsense'", lines[1])
        self.assertEqual(
            lines[2],
            f"sipsess: {file}:2: application: there is no application 'echoo', did you mean "
            "'echo'?",
        )

    def test_options_in_the_place_of_what_is_broken(self) -> None:
        """A mistake in the file is told, though an option stands in the place of what it is in."""
        line = self.mistake(
            *("--config", self.save('listeners = ["udp:5060", "udp:x", "udp:5070"]\n')),
            *("--listen", "udp:5080"),
        )
        self.assertIn("listeners[1]: cannot listen on 'udp:x'", line)

    def test_relative_name(self) -> None:
        """The name of the file still means the same when twistd has changed the directory."""
        options = self.options("--config", "x.toml")
        self.assertEqual(options["config"], os.path.abspath("x.toml"))

    def test_log(self) -> None:
        """With [logging] the log of twistd is replaced; its --logfile says where."""
        file = self.save('[logging]\nlevel = "warn"\n')
        for twistd, name in (
            ({"nodaemon": True}, None),
            ({"nodaemon": True, "logfile": "-"}, None),
            ({"nodaemon": False, "logfile": str(self.directory / "x.log")}, "x.log"),
        ):
            options: Any = self.options("--config", file)
            options.parent = twistd
            service = makeService(options, self.reactor)
            table = service.deployment.plan.config.logging
            assert table is not None
            self.assertEqual(table.file, name and self.directory / name)
            application: Any = Application("sipsess")
            service.setServiceParent(application)
            log = application.getComponent(ILogObserver)
            self.assertIs(log, service.deployment.log)
            log.configure(table, None)

    def test_log_that_is_in_use(self) -> None:
        """A log that has heard of something already is not asked for a second time."""
        service: Any = self.make("--config", self.save('[logging]\nfile = "x.log"\n'))
        Logger("test", observer=service.deployment.log).info("starting up")
        service.privilegedStartService()
        self.assertNotIn("listening", (self.directory / "x.log").read_text())
        stopping = service.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)
        service.deployment.log.configure(service.deployment.plan.config.logging, None)

    def test_log_of_twist(self) -> None:
        """Under twist, which asks nobody for a log, ours is written besides its own."""
        file = self.save('[logging]\nfile = "x.log"\n')
        service: Any = self.make("--config", file)
        service.privilegedStartService()
        service.startService()
        said = (self.directory / "x.log").read_text()
        self.assertEqual(said.count("listening on udp:5060"), 1)
        stopping = service.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)
        Logger("test").info("after the end")
        self.assertNotIn("after the end", (self.directory / "x.log").read_text())
        service.deployment.log.configure(service.deployment.plan.config.logging, None)

    def test_log_of_twistd(self) -> None:
        """Without [logging] it is twistd that makes the log."""
        application: Any = Application("sipsess")
        self.make().setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))

    def test_log_in_the_background(self) -> None:
        """Nobody reads the standard output of a daemon."""
        file = self.save("[logging]\n")
        options: Any = self.options("--config", file)
        options.parent = {"nodaemon": False}
        with self.assertRaises(SystemExit) as caught:
            makeService(options, self.reactor)
        self.assertEqual(
            caught.exception.code,
            f"sipsess: {file}:1: logging.file: in the background standard output is nowhere: "
            "name a file, or start twistd with -n",
        )


class ReloadTests(TapCase):
    """Reading the file again."""

    def start(self, *words: str) -> ServerService:
        """Start with a file."""
        self.file = self.write("sipsess.toml", 'application = "echo"\n')
        service = self.make("--config", self.file, *words)
        start: Any = service
        start.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: Any) -> None:
        """Stop."""
        stopping = service.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)

    def ask(self, service: ServerService) -> dict[str, Any]:
        """Return what the control socket answers."""
        [(factory, _)] = self.reactor.unix.values()
        found = answer(service.server.manager, b'{"command": "reload"}', factory.commands)
        assert isinstance(found, dict)
        return found

    def test_control(self) -> None:
        """Who asks is told what has changed; the log says it, too."""
        service = self.start()
        self.write("sipsess.toml", 'application = "busy"\nlisteners = ["udp:5070"]\n')
        found = ["changed: application", "not changed before a restart: listeners"]
        self.assertEqual(self.ask(service), {"result": found})
        self.assertEqual(service.server.manager.router.sample_user, "busy")
        for level, line in zip((LogLevel.info, LogLevel.warn), found, strict=True):
            said = [text for text in self.lines(level) if "was read again" in text]
            self.assertEqual(said, [f"{self.file} was read again: {line}"])

    def test_mistakes(self) -> None:
        """A broken file changes nothing, and all mistakes are told to who asks and to the log."""
        service = self.start()
        self.write("sipsess.toml", 'nonsense = 1\napplication = "nobody"\n')
        error = self.ask(service)["error"]
        self.assertEqual(len(error.split("\n")), 2)
        self.assertIn("no application 'nobody'", error)
        self.assertEqual(self.lines(LogLevel.error), [f"{self.file} changes nothing:\n{error}"])
        self.assertEqual(service.server.manager.router.sample_user, "echo")

    def test_options_still_go_before_it(self) -> None:
        """What the command line said is not undone by a reload."""
        service = self.start("--application", "ring")
        self.write("sipsess.toml", 'application = "busy"\n')
        self.assertEqual(self.ask(service), {"result": ["nothing has changed"]})
        self.assertEqual(service.server.manager.router.sample_user, "ring")

    def test_signal(self) -> None:
        """HUP reads the file again; of a broken one the log tells."""
        handlers: dict[int, Any] = {}
        self.patch(signal, "signal", lambda number, handler: handlers.setdefault(number, handler))
        service = self.start()
        self.reactor.when_running[0]()
        self.write("sipsess.toml", 'application = "busy"\n')
        handlers[signal.SIGHUP](signal.SIGHUP)
        self.assertEqual(service.server.manager.router.sample_user, "busy")
        self.write("sipsess.toml", "nonsense = 1\n")
        handlers[signal.SIGHUP](signal.SIGHUP, None)
        self.assertEqual(len(self.lines(LogLevel.error)), 1)
        self.assertEqual(service.server.manager.router.sample_user, "busy")

    def test_without_a_file(self) -> None:
        """Without a file there is nothing to read, and HUP is what it always was."""
        handlers: dict[int, Any] = {}
        self.patch(signal, "signal", lambda number, handler: handlers.setdefault(number, handler))
        service: Any = self.make()
        service.startService()
        self.reactor.when_running[0]()
        self.assertNotIn(signal.SIGHUP, handlers)
        self.assertEqual(
            self.ask(service),
            {"error": "there is nothing to read again: the server has no --config"},
        )
        self.stop(service)


class MistakeTests(TapCase):
    """Each mistake is one line that says what to do."""

    def test_words(self) -> None:
        """An unknown option, a word that is none, an option without its value."""
        self.assertIn("--nonsense", self.mistake("--nonsense"))
        self.assertIn("'udp:5060' is no option", self.mistake("udp:5060"))
        self.assertIn("--listen", self.mistake("--listen"))

    def test_listen(self) -> None:
        """What to write instead is said."""
        self.assertIn("write udp:5070", self.mistake("--listen", "sctp:5070"))

    def test_rtp_ports(self) -> None:
        """A range is two numbers in order with an even one between them."""
        for text in ("1000", "a-b", "2000-1000", "0-10", "1-70000", "5001-5001", "1-2-3", "-5"):
            self.assertIn("write LOW-HIGH", self.mistake(f"--rtp-ports={text}"))

    def test_advertise(self) -> None:
        """An address is an address, of a listener that exists, or for all."""
        self.assertIn("no IP address", self.mistake("--advertise", "pbx.example"))
        self.assertIn("is no network", self.mistake("--local-network", "ten"))
        for text, why in (("stun", "keeps nothing alive"), ("crlf:0", "range"), ("crlf:x", "x")):
            self.assertIn(why, self.mistake("--keep-alive", text))
        self.assertIn("sipsess listens on udp, ", self.mistake("--advertise", "x=203.0.113.5"))
        line = self.mistake("--advertise", "udp:5080=203.0.113.5")
        self.assertIn("nothing listens on udp:5080", line)
        both = ("--advertise", "203.0.113.5", "--advertise", "udp:5060=203.0.113.5")
        self.assertIn("exclude each other", self.mistake(*both))

    def test_application(self) -> None:
        """The applications that there are are named."""
        line = self.mistake("--application", "nonsense")
        self.assertIn("no application 'nonsense'", line)
        self.assertIn("hello", line)

    def test_plugin_directory(self) -> None:
        """A directory that is not there."""
        self.assertIn("does not exist", self.mistake("--plugin-dir", "/nowhere"))

    def test_required_plugin(self) -> None:
        """A plugin that was not found; those that were are named."""
        line = self.mistake("--require-plugin", "stamp")
        self.assertIn("'stamp' was not found", line)
        self.assertIn("hello", line)

    def test_broken_plugin(self) -> None:
        """A broken plugin stops the start with its file and line."""
        file = self.write("bad.py", "x = 0\n1 / x\n")
        line = self.mistake("--plugin-dir", str(self.directory))
        self.assertIn(f"{file}:2: bad: it cannot be loaded: ZeroDivisionError", line)

    def test_every_broken_plugin(self) -> None:
        """Each of several problems has its line."""
        self.write("bad.py", "1 / 0\n")
        self.write("worse.py", "(")
        with self.assertRaises(SystemExit) as caught:
            self.make("--plugin-dir", str(self.directory))
        self.assertEqual(len(str(caught.exception.code).split("\n")), 2)


class ServiceTests(TapCase):
    """Starting and stopping."""

    def start(self, *words: str) -> ServerService:
        """Start as twistd does."""
        service = self.make(*words)
        start: Any = service
        start.privilegedStartService()
        start.startService()
        return service

    def test_start(self) -> None:
        """The first lines say what there is and where to call."""
        service: Any = self.start()
        first, second = self.lines()[:2]
        self.assertRegex(
            first,
            rf"^sipsess {sipsess.__version__}: \d+ supplements?, 1 SDP handler, \d+ applications "
            r"\(see `sipsess plugins`\)$",
        )
        self.assertEqual(
            second, "listening on udp:5060 (0.0.0.0 and ::) -- call sip:hello@192.0.2.1"
        )
        self.assertEqual(len(self.reactor.unix), 1)
        self.assertEqual(len(self.reactor.when_running), 1)
        stopping = service.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)
        self.net.assert_closed()

    def test_warnings(self) -> None:
        """What looks like a mistake in a plugin is logged."""
        self.write("my-plugin.py", STAMP)
        self.start("--plugin-dir", str(self.directory))
        self.assertTrue(any("my_plugin.py" in line for line in self.lines(LogLevel.warn)))

    def test_limit_of_open_files(self) -> None:
        """A limit that is too low for the RTP ports is one line that says what to do."""
        asked: list[int] = []

        def refuse(needed: int) -> int:
            asked.append(needed)
            return 4096

        self.patch(tap, "raise_file_limit", refuse)
        self.start()
        self.assertEqual(asked, [10000 + SPARE_FILES])
        [line] = [line for line in self.lines(LogLevel.warn) if "files can be open" in line]
        self.assertIn("only 4096 files", line)
        self.assertIn("LimitNOFILE=", line)

    def test_port_in_use(self) -> None:
        """The start fails with one line in the log, and no traceback after it."""
        self.start()
        with self.assertRaises(ListenError):
            self.start()
        [line] = self.lines(LogLevel.critical)
        self.assertIn(
            "cannot listen on udp:5060 (0.0.0.0): the port is in use by another program; stop", line
        )
        self.assertIn("--listen", line)
        shown: list[BaseException] = []

        def show(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            shown.append(error)

        self.patch(sys, "__excepthook__", show)
        sys.excepthook(LocalError, LocalError("told already"), None)
        other = ValueError("a bug")
        sys.excepthook(ValueError, other, None)
        self.assertEqual(shown, [other])

    def test_control_path_in_use(self) -> None:
        """So does a control socket that was asked for and cannot be had."""
        path = Path(self.mktemp())
        path.write_text("precious")
        service: Any = self.make("--control", str(path))
        service.privilegedStartService()
        with self.assertRaises(LocalError):
            service.startService()
        self.assertIn("no socket", self.lines(LogLevel.critical)[0])


class SignalTests(TapCase):
    """Ctrl-C and TERM."""

    def setUp(self) -> None:
        """Make the object."""
        super().setUp()
        self.left: list[int] = []
        self.signals = Signals(self.reactor, lambda: 1, self.left.append)

    def test_first(self) -> None:
        """The first signal stops the reactor and says how many calls that ends."""
        self.signals.handle(signal.SIGTERM)
        self.assertEqual(self.reactor.stops, 1)
        self.assertEqual(self.lines(), ["SIGTERM: ending 1 call; once more to leave at once"])
        self.assertEqual(self.left, [])

    def test_second(self) -> None:
        """The second one leaves at once, with status 1."""
        self.signals.handle(signal.SIGTERM)
        self.signals.handle(signal.SIGINT)
        self.assertEqual(self.left, [1])
        self.assertEqual(self.reactor.stops, 1)

    def test_install(self) -> None:
        """Both signals are taken over when the reactor runs."""
        taken: dict[int, Callable[..., object]] = {}
        self.patch(signal, "signal", taken.__setitem__)
        self.signals.install()
        self.assertEqual(set(taken), {signal.SIGINT, signal.SIGTERM})
        taken[signal.SIGINT](signal.SIGINT, None)
        self.assertEqual(self.reactor.stops, 1)

    def test_number_of_calls(self) -> None:
        """The service tells how many calls there are."""
        service: Any = self.make()
        service.startService()
        taken: dict[int, Callable[..., object]] = {}
        self.patch(signal, "signal", taken.__setitem__)
        self.reactor.when_running[0]()
        taken[signal.SIGINT](signal.SIGINT)
        self.assertIn("SIGINT: ending 0 calls; once more to leave at once", self.lines())


class ImportTests(SynchronousTestCase):
    """Importing."""

    def test_make_service_is_what_twistd_looks_for(self) -> None:
        """The names that ServiceMaker wants are there."""
        from twisted.plugins import sipsess_twistd

        self.assertIs(sipsess_twistd.sipsess.options, Options)
        self.assertIs(sipsess_twistd.sipsess.makeService, makeService)
