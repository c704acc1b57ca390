# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Plugins: found, verified, ordered; what is wrong is said with file and line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

import sipsess.plugins
from sipsess.application import Application, CallEvents
from sipsess.codec import Codec, Decoder, Encoder, ICodec
from sipsess.endpoint import AnonymousGate
from sipsess.interfaces import IConfigurable, IConfigurableApplication
from sipsess.media import PCMU
from sipsess.plugins import sipsess_builtin
from sipsess.registry import PluginDirectoryError, Plugins, Problem, find_plugins
from sipsess.registry._check import (
    APPLICATION,
    CODEC,
    GATE,
    HANDLER,
    HOOK,
    SUPPLEMENT,
    check_plugin,
)
from sipsess.sdphandler import SDPHandler
from sipsess.supplement import SessionSupplement

STAMP = """
    from sipsess.supplement import SessionSupplement

    class Stamp(SessionSupplement):
        name = "stamp"
        priority = 500

    stamp = Stamp()
"""


class RegistryCase(SynchronousTestCase):
    """The base of tests with plugin directories; they vanish afterwards."""

    def setUp(self) -> None:
        """Make an empty plugin directory."""
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        before = set(sys.modules)
        self.patch(sipsess.plugins, "__path__", list(sipsess.plugins.__path__))

        def forget() -> None:
            for name in set(sys.modules) - before:
                if name.startswith("sipsess.plugins."):
                    del sys.modules[name]
                    vars(sipsess.plugins).pop(name.rpartition(".")[2], None)

        self.addCleanup(forget)

    def write(self, name: str, text: str, directory: Path | None = None) -> str:
        """Write one file of the plugin directory."""
        path = (directory or self.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return str(path)

    def find(self, *directories: Path) -> Plugins:
        """Find the plugins of the directory, or of others."""
        return find_plugins([str(item) for item in directories or (self.directory,)])

    def written(self, plugins: Plugins) -> list[str]:
        """Return the names of the supplements that are not shipped, in order."""
        shipped = vars(sipsess_builtin).values()
        return [item.name for item in plugins.supplements if item not in shipped]

    def problem(self, text: str, name: str = "broken_one.py") -> Problem:
        """Return the one problem with a file."""
        self.write(name, text)
        [problem] = self.find().problems
        return problem


class FindTests(RegistryCase):
    """What is found."""

    def test_shipped_plugins(self) -> None:
        """The shipped plugins have no problem, and the applications of the manual are there."""
        plugins = find_plugins()
        self.assertEqual(plugins.problems, ())
        self.assertEqual(plugins.warnings, ())
        names = {application.name for application in plugins.applications}
        self.assertLessEqual({"hello", "echo", "reject", "ring"}, names)
        self.assertTrue(any(handler.media_type == "audio" for handler in plugins.handlers))

    def test_drop_in(self) -> None:
        """A file in a plugin directory is a plugin; its file is known."""
        file = self.write("stamp.py", STAMP)
        plugins = self.find()
        [stamp] = [item for item in plugins.supplements if item.name == "stamp"]
        self.assertEqual(plugins.file_of(stamp), file)
        self.assertIn("stamp", plugins.names)
        with self.assertRaises(LookupError):
            plugins.file_of(object())

    def test_directory_twice(self) -> None:
        """The same directory given twice is one directory."""
        self.write("stamp.py", STAMP)
        plugins = self.find(self.directory, self.directory)
        self.assertEqual(plugins.problems, ())
        self.assertEqual(sipsess.plugins.__path__.count(str(self.directory)), 1)

    def test_no_cache_is_written(self) -> None:
        """A plugin directory stays as its owner made it: no dropin.cache."""
        self.write("stamp.py", STAMP)
        self.find()
        names = {path.name for path in self.directory.iterdir()} - {"__pycache__"}
        self.assertEqual(names, {"stamp.py"})

    def test_stale_cache_is_not_read(self) -> None:
        """A dropin.cache that somebody left there changes nothing."""
        self.write("stamp.py", STAMP)
        self.write("dropin.cache", "no pickle")
        self.assertIn("stamp", self.find().names)

    def test_helpers_and_tests_are_not_loaded(self) -> None:
        """Files named test_* or _* are never loaded."""
        for name in ("test_stamp.py", "_helper.py"):
            self.write(name, "raise RuntimeError('loaded')")
        self.assertEqual(self.find().problems, ())

    def test_package_as_plugin(self) -> None:
        """A plugin may be a package in the directory."""
        self.write("big/__init__.py", STAMP)
        self.assertIn("stamp", self.find().names)

    def test_order(self) -> None:
        """Supplements are in order of priority, then of name; handlers of type before that."""
        self.write(
            "many.py",
            """
            from sipsess.sdphandler import SDPHandler
            from sipsess.supplement import SessionSupplement

            def make(cls, name, priority, **more):
                return type(name, (cls,), dict(name=name, priority=priority, **more))()

            s1 = make(SessionSupplement, "b", 300)
            s2 = make(SessionSupplement, "a", 300)
            s3 = make(SessionSupplement, "c", 100)
            h1 = make(SDPHandler, "x", 300, media_type="video")
            h2 = make(SDPHandler, "x", 900, media_type="application")
            """,
        )
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        self.assertEqual(self.written(plugins), ["c", "a", "b"])
        types = [item.media_type for item in plugins.handlers]
        self.assertEqual(types, sorted(types))

    def test_imported_twice(self) -> None:
        """One instance in two modules is one plugin."""
        self.write("stamp.py", STAMP)
        self.write("zagain.py", "from sipsess.plugins.stamp import stamp")
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        self.assertEqual(self.written(plugins), ["stamp"])

    def test_gates_and_hooks(self) -> None:
        """Gates and message hooks are plugins too."""
        self.write(
            "gates.py",
            """
            from twisted.plugin import IPlugin
            from zope.interface import implementer
            from sipsess.endpoint import AnonymousGate
            from sipsess.interfaces import IMessageHook

            @implementer(IPlugin)
            class Gate(AnonymousGate):
                name = "gate"

            @implementer(IPlugin, IMessageHook)
            class Hook:
                name = "hook"
                def incoming_request(self, request): pass
                def outgoing_request(self, request): pass
                def incoming_response(self, response): pass
                def outgoing_response(self, response): pass

            gate, hook = Gate(), Hook()
            """,
        )
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        self.assertEqual([item.name for item in plugins.gates], ["gate"])
        self.assertEqual([item.name for item in plugins.hooks], ["hook"])

    def test_codecs(self) -> None:
        """Instances of codecs are plugins; the shipped ones are among them."""
        self.write(
            "codecs.py",
            """
            from sipsess.codec import Codec

            class Silence(Codec):
                pass

            silence = Silence("silence", 8000)
            """,
        )
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        names = [codec.name for codec in plugins.codecs]
        self.assertEqual(
            names, ["G722", "L16/16000", "L16/8000", "OPUS", "PCMA", "PCMU", "SILENCE"]
        )

    def test_identifiers_and_stores(self) -> None:
        """What knows endpoints, and what knows users, are plugins too."""
        self.write(
            "callers.py",
            """
            from sipsess.endpoint import MemoryStore, NetworkIdentifier
            from twisted.plugin import IPlugin
            from zope.interface import implementer

            @implementer(IPlugin)
            class Store(MemoryStore):
                pass

            @implementer(IPlugin)
            class Identifier(NetworkIdentifier):
                pass

            store = Store("users")
            identifier = Identifier()
            """,
        )
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        self.assertEqual([item.name for item in plugins.identifiers], ["network"])
        self.assertEqual([item.name for item in plugins.stores], ["users"])

    def test_missing_directory(self) -> None:
        """A directory that is not there, or no directory, is said to be so."""
        with self.assertRaisesRegex(PluginDirectoryError, "does not exist"):
            find_plugins([str(self.directory / "nowhere")])
        with self.assertRaisesRegex(PluginDirectoryError, "is no directory"):
            find_plugins([self.write("file", "")])


class BrokenTests(RegistryCase):
    """What is wrong with a module."""

    def test_exception(self) -> None:
        """A module that raises is a problem with its line and its reason."""
        problem = self.problem("import os\n\nos.nothing\n")
        self.assertEqual((problem.name, problem.line), ("broken_one", 3))
        self.assertIn("AttributeError", problem.reason)
        self.assertEqual(problem.file, str(self.directory / "broken_one.py"))
        self.assertTrue(str(problem).startswith(f"{problem.file}:3: broken_one: it cannot"))

    def test_exception_in_a_module_that_it_imports(self) -> None:
        """The line is the plugin's own, not that of what it imports."""
        problem = self.problem("\n\nimport no_such_module_anywhere\n")
        self.assertEqual(problem.line, 1)
        self.assertIn("no_such_module_anywhere", problem.reason)

    def test_syntax_error(self) -> None:
        """A module that is no Python is a problem with its line."""
        problem = self.problem("x = 1\ny = (\n")
        self.assertEqual(problem.line, 2)
        self.assertIn("no valid Python", problem.reason)

    def test_exit(self) -> None:
        """A module that wants to end the program is a problem like any other."""
        self.assertIn("SystemExit", self.problem("raise SystemExit").reason)

    def test_the_others_are_found(self) -> None:
        """A broken module hides no other."""
        self.write("stamp.py", STAMP)
        self.problem("1 / 0")
        self.assertIn("stamp", self.find().names)

    def test_problem_without_a_line(self) -> None:
        """A problem that no line is to blame for names the file only."""
        self.assertEqual(str(Problem("a", "f.py", None, "why")), "f.py: a: why")

    def test_name_that_is_none(self) -> None:
        """A file whose name is no module name is not loaded, and that is said."""
        self.write("my-plugin.py", STAMP)
        self.write("1.py", STAMP)
        warnings = self.find().warnings
        self.assertIn("rename it to plugin_1.py", warnings[0].reason)
        self.assertIn("rename it to my_plugin.py", warnings[1].reason)

    def test_same_module_in_two_directories(self) -> None:
        """One module name in two directories: Python sees one of them, so it is a problem."""
        other = self.directory / "other"
        file = self.write("stamp.py", STAMP)
        second = self.write("stamp.py", STAMP, other)
        [problem] = self.find(self.directory, other).problems
        self.assertEqual(problem.file, second)
        self.assertIn(file, problem.reason)

    def test_same_file_by_a_link(self) -> None:
        """The same directory under two names is no problem."""
        self.write("stamp.py", STAMP)
        link = Path(self.mktemp()).resolve()
        link.symlink_to(self.directory)
        self.assertEqual(self.find(self.directory, link).problems, ())


class DuplicateTests(RegistryCase):
    """Names."""

    def test_two_supplements_of_one_name(self) -> None:
        """The second of a name is a problem that names both files, with the line."""
        first = self.write("aaa.py", STAMP)
        second = self.write("bbb.py", STAMP)
        plugins = self.find()
        [problem] = plugins.problems
        self.assertEqual((problem.name, problem.file, problem.line), ("stamp", second, 7))
        self.assertIn(first, problem.reason)
        self.assertEqual(self.written(plugins), ["stamp"])

    def test_handlers_of_two_types(self) -> None:
        """Handlers of different media types may have one name."""
        self.write(
            "handlers.py",
            """
            from sipsess.sdphandler import SDPHandler
            class One(SDPHandler):
                name, media_type = "mine", "video"
            class Two(SDPHandler):
                name, media_type = "mine", "application"
            one: SDPHandler = One()
            two = Two()
            """,
        )
        self.assertEqual(self.find().problems, ())


class WarningTests(RegistryCase):
    """What looks like a mistake."""

    def test_class_without_instance(self) -> None:
        """A class alone does nothing; what to add is said."""
        self.write(
            "stamp.py",
            """
            from sipsess.supplement import SessionSupplement

            class Stamp(SessionSupplement):
                name = "stamp"
            """,
        )
        plugins = self.find()
        self.assertEqual(plugins.problems, ())
        [warning] = plugins.warnings
        self.assertEqual(warning.line, 3)
        self.assertIn("stamp = Stamp()", warning.reason)

    def test_base_class_and_private_class(self) -> None:
        """A class whose subclass has an instance is no mistake, and a private one is not either."""
        self.write(
            "stamp.py",
            """
            from sipsess.supplement import SessionSupplement

            class Base(SessionSupplement):
                pass

            class _Other(SessionSupplement):
                pass

            class Stamp(Base):
                name = "stamp"

            class Helper:
                pass

            stamp = Stamp()
            """,
        )
        self.assertEqual(self.find().warnings, ())

    def test_unknown_kind(self) -> None:
        """A plugin that is nothing of ours is noticed."""
        self.write(
            "other.py",
            """
            from twisted.plugin import IPlugin
            from zope.interface import implementer
            @implementer(IPlugin)
            class Other:
                pass
            globals()["other"] = Other()
            """,
        )
        [warning] = self.find().warnings
        self.assertEqual((warning.name, warning.line), ("other", None))


class VerifyTests(RegistryCase):
    """What a plugin must be."""

    def test_missing_argument(self) -> None:
        """A callback with too few arguments is said in one sentence, with the instance's line."""
        problem = self.problem(
            """
            from sipsess.supplement import SessionSupplement
            class Stamp(SessionSupplement):
                name = "stamp"
                def incoming_request(self, session):
                    pass
            stamp = Stamp()
            """
        )
        self.assertEqual((problem.name, problem.line), ("stamp", 6))
        self.assertIn("ISessionSupplement.incoming_request(session, request)", problem.reason)
        self.assertIn("doesn't allow enough arguments", problem.reason)
        self.assertNotIn("object at 0x", problem.reason)

    def test_every_fault_of_a_plugin(self) -> None:
        """All that is wrong with one plugin is said at once."""

        class Bad(SessionSupplement):
            name = "bad"
            incoming_request = None  # type: ignore[assignment]
            outgoing_request = None  # type: ignore[assignment]

        self.assertEqual(len(list(check_plugin(Bad(), SUPPLEMENT))), 2)

    def check(self, **attributes: object) -> list[str]:
        """Return what is wrong with a supplement that has these attributes."""
        plugin = type("Plugin", (SessionSupplement,), {"name": "plugin", **attributes})()
        return list(check_plugin(plugin, SUPPLEMENT))

    def test_good(self) -> None:
        """Nothing is wrong with the usual things."""
        self.assertEqual(self.check(), [])
        self.assertEqual(self.check(methods=frozenset({"INVITE", "X-OWN"}), priority=0), [])
        self.assertEqual(self.check(allow=frozenset({"INFO"}), priority=1000), [])

    def test_name(self) -> None:
        """A name is printable text, and not empty."""
        for name in ("", None, 7, "a\nb"):
            [reason] = self.check(name=name)
            self.assertIn("name", reason)

    def test_problem_of_a_nameless_plugin(self) -> None:
        """A plugin without a usable name is called by its variable."""
        problem = self.problem(
            """
            from sipsess.supplement import SessionSupplement
            nameless = SessionSupplement()
            """
        )
        self.assertEqual((problem.name, problem.line), ("nameless", 2))

    def test_priority(self) -> None:
        """Priorities are whole numbers from 0 to 1000."""
        for priority in (-1, 1001, 2.5, "100", True):
            [reason] = self.check(priority=priority)
            self.assertIn("whole number from 0 to 1000", reason)

    def test_marks(self) -> None:
        """200 and 400 are nobody's."""
        for priority, mark in ((200, "REDIRECT"), (400, "MEDIA")):
            [reason] = self.check(priority=priority)
            self.assertIn(mark, reason)

    def test_methods(self) -> None:
        """Methods are a frozenset of words, spelt as SIP spells them."""
        for methods in (["INVITE"], "INVITE", frozenset({1}), frozenset({""})):
            self.assertIn("methods is", " ".join(self.check(methods=methods)))
        [reason] = self.check(methods=frozenset({"invite"}))
        self.assertIn("write 'INVITE', not 'invite'", reason)

    def test_declarations(self) -> None:
        """So are the other declarations."""
        [reason] = self.check(allow={"INFO"})
        self.assertIn("allow is", reason)

    def test_coroutines(self) -> None:
        """A callback that nothing waits for cannot be a coroutine; incoming_request can."""

        async def callback(self: object, session: object, message: object) -> None:
            pass

        [reason] = self.check(outgoing_request=callback)
        self.assertIn("outgoing_request is 'async def'", reason)
        self.assertEqual(self.check(incoming_request=callback), [])

    def test_optional_interface(self) -> None:
        """An optional interface that is promised is verified too."""
        problem = self.problem(
            """
            from zope.interface import implementer
            from sipsess.interfaces import ISessionCreate
            from sipsess.supplement import SessionSupplement
            @implementer(ISessionCreate)
            class Veto(SessionSupplement):
                name = "veto"
            veto = Veto()
            """
        )
        self.assertIn("session_create", problem.reason)

    def test_handler(self) -> None:
        """A handler has a media type and a priority."""

        class Handler(SDPHandler):
            name = "handler"
            priority = 5000

        reasons = list(check_plugin(Handler(), HANDLER))
        self.assertEqual(len(reasons), 2)
        self.assertIn("media_type is ''", reasons[1])

    def test_application(self) -> None:
        """An application's handle is a coroutine."""

        class Plain(Application):
            name = "plain"

            def handle(self, call: object) -> None:  # type: ignore[override]
                pass

        [reason] = check_plugin(Plain(), APPLICATION)
        self.assertIn("async def", reason)

    def test_configurable(self) -> None:
        """A plugin that takes a table or options says with a dataclass what may stand there."""

        @dataclass
        class Table:
            pause: float = 1.0

        @frozen
        class Options:
            pause: float = 1.0

        @implementer(IConfigurable, IConfigurableApplication)
        class Menu(Application):
            name = "menu"
            configuration: Any = Table
            options: Any = Options

            async def handle(self, call: object) -> None:
                pass

            def configure(self, configuration: Table) -> None:
                pass

            def with_options(self, options: Options) -> Menu:
                return self

        menu: Any = Menu()
        self.assertEqual(list(check_plugin(menu, APPLICATION)), [])
        menu.configuration, menu.options = dict, Options()
        self.assertEqual(
            list(check_plugin(menu, APPLICATION)),
            [
                "configuration is <class 'dict'>; it is a dataclass",
                f"options is {Options()!r}; it is a dataclass",
            ],
        )
        del Menu.configure
        [reason] = check_plugin(menu, APPLICATION)
        self.assertIn("configure", reason)

    def test_events(self) -> None:
        """Of an application that listens, offers and requests may take time, nothing else."""

        class Listener(CallEvents, Application):
            name = "listener"

            async def on_request(self, call: Any, request: Any) -> Any:
                pass

        self.assertEqual(list(check_plugin(Listener(), APPLICATION)), [])

        class Slow(Listener):
            async def on_provisional(self, call: Any, response: Any) -> Any:  # type: ignore[override]
                pass

        [reason] = check_plugin(Slow(), APPLICATION)
        self.assertIn("on_provisional is 'async def'", reason)

    def test_codec(self) -> None:
        """A codec is one of ours, and 20 ms are whole numbers."""
        self.assertEqual(list(check_plugin(PCMU, CODEC)), [])
        reasons = list(check_plugin(Codec("x", 11025, payload_type=128), CODEC))
        self.assertEqual(len(reasons), 2)
        self.assertIn("128", reasons[0])
        self.assertIn("20 ms", reasons[1])

        @implementer(ICodec)
        class Foreign:
            """Has all that the interface wants."""

            encoding = name = rtpmap = "x"
            clock_rate = sample_rate = 8000
            channels, payload_type, fmtp, missing, key = 1, None, "", "", ("x", 8000, 1)

            def answer_fmtp(self, offered: str) -> str | None:
                return None

            def make_encoder(self, fmtp: str = "") -> Encoder:
                return PCMU

            def make_decoder(self) -> Decoder:
                return PCMU

            def duration(self, payload: bytes) -> int:
                return 0

            def packet_time(self, wanted: int | None, longest: int | None) -> int:
                return 20

        [reason] = check_plugin(Foreign(), CODEC)
        self.assertIn("sipsess.codec.Codec", reason)

    def test_gate(self) -> None:
        """The shipped gate is one."""
        self.assertEqual(list(check_plugin(AnonymousGate(), GATE)), [])
        self.assertTrue(list(check_plugin(object(), HOOK)))

    def test_file_that_went_away(self) -> None:
        """A line that cannot be found is no problem of its own."""
        file = self.write("stamp.py", STAMP)
        [origin] = [item for item in self.find().origins if item.attribute == "stamp"]
        os.unlink(file)
        self.assertIsNone(origin.line)
