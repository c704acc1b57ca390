# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The ``sipsess`` command: the test phone, the listing of plugins, the operator's questions."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import sipsess
from sipsess import cli, srtp
from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import HelloApplication
from sipsess.applications.reject import RejectApplication
from sipsess.call import Call
from sipsess.commands import CommandOptions, ask
from sipsess.commands import call as call_command
from sipsess.commands.call import LadderTrace, Options, Phone, describe_failure
from sipsess.commands.plugins import describe
from sipsess.control import ControlError
from sipsess.endpoint import (
    AnonymousGate,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    MemoryStore,
)
from sipsess.errors import TransportError
from sipsess.flow import Flow
from sipsess.interfaces import ISDPHandler, ISessionSupplement, ITrace
from sipsess.media import read_clip, read_wav
from sipsess.media.opus import OpusCodec
from sipsess.registry import Origin, Plugins, Problem, find_plugins
from sipsess.sdphandler import SDPHandler
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import EndReason, SessionEnded
from sipsess.supplement import SessionSupplement
from sipsess.testing import VirtualNetwork

from .configurations import ABSENT
from .reactors import FakeReactor
from .test_registry import STAMP, RegistryCase


class CommandCase(RegistryCase):
    """The base: what a command prints is kept."""

    def run_command(self, *words: str) -> tuple[int, list[str], list[str]]:
        """Return the exit status and the lines of standard output and standard error."""
        output, errors = StringIO(), StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        status = cli.main(words)
        return status, output.getvalue().splitlines(), errors.getvalue().splitlines()

    def mistake(self, *words: str) -> str:
        """Return the one line of a command that fails."""
        status, output, [line] = self.run_command(*words)
        self.assertEqual((status, output), (1, []))
        self.assertTrue(line.startswith("sipsess: "), line)
        return line


class MainTests(CommandCase):
    """The command line."""

    def test_nothing(self) -> None:
        """Without a command the commands are named."""
        names = "call, plugins, calls, explain, counters, status, check, doctor, reload, bans"
        self.assertIn(names, self.mistake())

    def test_unknown(self) -> None:
        """An unknown command or option is one line."""
        self.assertIn("nonsense", self.mistake("nonsense"))
        self.assertIn("--nonsense", self.mistake("--nonsense"))
        self.assertIn("(see sipsess call --help)", self.mistake("call", "--nonsense"))
        self.assertIn("--nonsense", self.mistake("plugins", "--nonsense"))

    def test_arguments_of_the_process(self) -> None:
        """Without arguments those of the process count."""
        self.patch(sys, "argv", ["sipsess", "plugins"])
        self.patch(sys, "stdout", StringIO())
        self.assertEqual(cli.main(), 0)

    def test_help(self) -> None:
        """--help shows the commands and examples; each command has its own."""
        for words in (["--help"], *([name, "--help"] for name in cli.COMMANDS)):
            output = StringIO()
            self.patch(sys, "stdout", output)
            with self.assertRaises(SystemExit) as caught:
                cli.main(words)
            self.assertEqual(caught.exception.code, 0)
            self.assertEqual(output.getvalue().count("Usage: sipsess"), 1)
        self.assertIn("sipsess call sip:hello@127.0.0.1", str(cli.Options()))

    def test_version(self) -> None:
        """--version is ours."""
        output = StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit):
            cli.main(["--version"])
        self.assertEqual(output.getvalue(), f"sipsess {sipsess.__version__}\n")

    def test_reader_that_went_away(self) -> None:
        """A pipe whose reader has heard enough is no traceback."""
        duplicates: list[int] = []

        class Broken(StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError(errno.EPIPE, "broken")

            def fileno(self) -> int:
                return 1000

        def dup2(old: int, new: int) -> None:
            os.close(old)
            duplicates.append(new)

        self.patch(sys, "stdout", Broken())
        self.patch(os, "dup2", dup2)
        self.assertEqual(cli.main(["plugins"]), 1)
        self.assertEqual(duplicates, [1000])


class CheckTests(CommandCase):
    """sipsess check."""

    def check(self, text: str, *words: str) -> tuple[int, list[str]]:
        """Return the exit status and the lines for a file with this text, its name left out."""
        file = self.write("sipsess.toml", text)
        status, output, errors = self.run_command("check", *(words or (file,)))
        self.assertEqual(errors, [])
        return status, [line.replace(file, "FILE") for line in output]

    def test_good(self) -> None:
        """A good file is told in short."""
        status, lines = self.check(
            """
            listeners = ["udp:5060", "udp:5070"]
            endpoints = [{ name = "trunk" }]
            [[routes]]
            user = "1000"
            application = "echo"
            [[routes]]
            pattern = "2.*"
            application = "ring"
            """
        )
        self.assertEqual(status, 0)
        self.assertEqual(
            lines,
            [
                "FILE is good",
                "  listeners:            udp:5060, udp:5070",
                "  routes:               1000, /2.*/",
                "  all others:           refused (404)",
                "  endpoints:            trunk",
                "  plugins with a table: none",
                "  RTP ports:            10000-29999",
            ],
        )

    def test_many(self) -> None:
        """Of many things the first are named; without routes there is no line of them."""
        endpoints = "".join(f'[[endpoints]]\nname = "e{number}"\n' for number in range(8))
        _, lines = self.check(endpoints)
        self.assertIn("  endpoints:            e0, e1, e2, e3, e4, e5 and 2 more", lines)
        self.assertIn("  all others:           hello", lines)
        self.assertNotIn("routes", "".join(lines))

    def test_missing_encryption(self) -> None:
        """Encryption that has yet to be installed is no mistake either."""
        self.patch(srtp, "is_available", lambda: False)
        endpoint = '[[endpoints]]\nname = "desk"\nmedia_encryption = "sdes"\n'
        status, lines = self.check(endpoint)
        self.assertEqual(status, 0)
        text = "SRTP (media_encryption = sdes) is not installed, so these calls cannot be"
        self.assertEqual(lines[-2:], [f"  {text}", "    -> install sipsess[srtp]"])
        self.patch(srtp, "is_available", lambda: True)
        self.assertNotIn("SRTP", "".join(self.check(endpoint)[1]))

    def test_missing_websocket(self) -> None:
        """A listener whose extra is absent could not be opened: that is a mistake."""
        known = dict(sys.modules)
        self.addCleanup(sys.modules.update, known)
        sys.modules.pop("sipsess.transport.websocket", None)
        sys.modules["wsproto"] = None  # type: ignore[assignment]
        status, lines = self.check('listeners = ["ws:8080"]')
        self.assertEqual(status, 1)
        self.assertIn("pip install 'sipsess[ws]'", lines[0])

    def test_missing_codecs(self) -> None:
        """A codec that has yet to be installed is no mistake; what to install is told."""
        self.write("absent.py", ABSENT)
        status, lines = self.check(
            """
            plugin_directories = ["."]
            [[endpoints]]
            name = "trunk"
            codecs = ["ABSENT", "PCMU"]
            """
        )
        self.assertEqual(status, 0)
        self.assertEqual(lines[-2:], ["  without ABSENT:       trunk", "    -> install it"])

    def test_bad(self) -> None:
        """Each mistake is a line, and the last line counts them."""
        status, lines = self.check('advertize = "x"\napplication = "hallo"\n')
        self.assertEqual(status, 1)
        self.assertEqual(
            lines,
            [
                "FILE:1: advertize: unknown key 'advertize', did you mean 'advertise'?",
                "FILE:2: application: there is no application 'hallo', did you mean 'hello'?",
                "2 mistakes",
            ],
        )
        self.assertEqual(self.check("rtp = 1\n")[1][-1], "1 mistake")

    def test_usual_name(self) -> None:
        """Without a name it is sipsess.toml, here."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.directory)
        self.write("sipsess.toml", "")
        self.assertEqual(self.run_command("check")[1][0], "sipsess.toml is good")

    def test_two_files(self) -> None:
        """One at a time."""
        self.assertIn("check one file at a time", self.mistake("check", "a", "b"))


class AnyOrderTests(SynchronousTestCase):
    """Options before and after words."""

    class Some(CommandOptions):
        """Some options."""

        optFlags = [["flag", "f", "a flag"]]
        optParameters = [["value", "v", None, "a value"]]

        def parseArgs(self, *words: str) -> None:
            """Keep them."""
            self["words"] = words

    def parse(self, *words: str) -> tuple[object, object, object]:
        """Return what was read."""
        options = self.Some()
        options.parseOptions(list(words))
        return bool(options["flag"]), options["value"], options["words"]

    def test_orders(self) -> None:
        """All orders mean the same."""
        for words in (
            ("a", "b", "--flag", "--value", "1"),
            ("--flag", "a", "-v", "1", "b"),
            ("-f", "--value=1", "a", "b"),
            ("a", "-fv1", "b"),
            ("a", "--flag", "-v1", "--", "b"),
        ):
            self.assertEqual(self.parse(*words), (True, "1", ("a", "b")), words)

    def test_dashes(self) -> None:
        """What follows -- is a word, whatever it looks like; and a lone dash is one."""
        self.assertEqual(self.parse("a", "--", "--flag"), (False, None, ("a", "--flag")))
        self.assertEqual(self.parse(), (False, None, ()))
        self.assertEqual(self.parse("-", "--flag")[0], True)

    def test_mistake(self) -> None:
        """A mistake is found wherever it stands."""
        for words in (("a", "--nonsense"), ("--value",), ("a", "-x", "b")):
            with self.assertRaises(usage.UsageError):
                self.parse(*words)
        with self.assertRaises(SystemExit):
            self.patch(sys, "stdout", StringIO())
            self.parse("a", "--help")


class PluginsTests(CommandCase):
    """``sipsess plugins``."""

    def describe(self, *plugins: Any, problems: Iterable[Problem] = ()) -> list[str]:
        """Return the listing of these plugins, which are all in one file."""
        origins = tuple(Origin(plugin, "m", "a", "/p/file.py") for plugin in plugins)
        supplements = [item for item in plugins if ISessionSupplement.providedBy(item)]
        handlers = [item for item in plugins if ISDPHandler.providedBy(item)]
        found = Plugins(
            supplements=tuple(supplements),
            handlers=tuple(handlers),
            origins=origins,
            problems=tuple(problems),
        )
        return [" ".join(line.split()) for line in describe(found)]

    def test_shipped(self) -> None:
        """The shipped plugins are listed with their files, and nothing is wrong with them."""
        status, output, errors = self.run_command("plugins")
        self.assertEqual((status, errors), (0, []))
        text = "\n".join(output)
        self.assertIn("sip:hello@HOST", text)
        self.assertIn("sipsess_builtin.py", text)

    def test_order(self) -> None:
        """Per direction and method: who, in what order, with the place of the media."""

        class Early(SessionSupplement):
            name, priority, methods = "early", 100, frozenset({"INVITE", "BYE"})

            def incoming_request(self, session: object, request: object) -> None:
                pass

        class Late(SessionSupplement):
            name, priority = "late", 900

            def incoming_request(self, session: object, request: object) -> None:
                pass

            def outgoing_response(self, session: object, response: object) -> None:
                pass

        class Silent(SessionSupplement):
            name = "silent"

            def session_begin(self, session: object) -> None:
                pass

        self.assertEqual(
            self.describe(Early(), Late(), Silent()),
            [
                "supplements, by direction and method:",
                "incoming requests",
                "BYE",
                "100 early /p/file.py",
                "900 late /p/file.py",
                "INVITE",
                "100 early /p/file.py",
                "400 (media) the SDP handlers see an offer",
                "900 late /p/file.py",
                "any other method",
                "900 late /p/file.py",
                "outgoing responses",
                "every method",
                "900 late /p/file.py",
                "at the beginning and end of sessions only",
                "500 silent /p/file.py",
            ],
        )

    def test_handlers(self) -> None:
        """SDP handlers are listed by media type, in order."""

        class Camera(SDPHandler):
            name, media_type, priority = "camera", "video", 10

        self.assertEqual(
            self.describe(Camera()),
            ["SDP handlers, by media type:", "video", "10 camera /p/file.py"],
        )

    def test_gates_and_hooks(self) -> None:
        """Gates and hooks are listed too, and applications with what calls them."""
        self.write("stamp.py", STAMP)
        file = self.write(
            "gate.py",
            """
            from twisted.plugin import IPlugin
            from zope.interface import implementer
            from sipsess.endpoint import AnonymousGate

            @implementer(IPlugin)
            class Gate(AnonymousGate):
                name = "mygate"

            gate = Gate()
            """,
        )
        lines = list(describe(find_plugins([str(self.directory)])))
        [line] = [line for line in lines if "mygate" in line]
        self.assertTrue(line.endswith(min(file, os.path.relpath(file), key=len)))
        self.assertIn("gates:", lines)

    def test_problems(self) -> None:
        """A broken plugin is listed with file, line and reason; the exit status is 1."""
        file = self.write("broken_listing.py", "x = 0\n1 / x\n")
        self.write("my-plugin.py", "")
        status, output, errors = self.run_command("plugins", "--plugin-dir", str(self.directory))
        self.assertEqual((status, errors), (1, []))
        self.assertIn(
            f"  {file}:2: broken_listing: it cannot be loaded: ZeroDivisionError: division by zero",
            output,
        )
        self.assertIn("warnings:", output)

    def test_directories_of_a_file(self) -> None:
        """The plugin directories of a configuration count, unless they cannot be read."""
        self.write("stamp.py", STAMP)
        file = self.write("sipsess.toml", 'plugin_directories = ["."]\nnonsense = 1\n')
        status, output, _ = self.run_command("plugins", "--config", file)
        self.assertEqual(status, 0)
        self.assertTrue(any(" stamp " in line for line in output))
        file = self.write("sipsess.toml", "plugin_directories = 5\n")
        self.assertIn(
            f"{file}:1: plugin_directories: is an array", self.mistake("plugins", "--config", file)
        )

    def test_missing_directory(self) -> None:
        """A directory that is not there is one line."""
        self.assertIn("does not exist", self.mistake("plugins", "--plugin-dir", "/nowhere"))


class QuestionTests(CommandCase):
    """``sipsess calls``, ``explain``, ``counters``, ``reload`` and ``bans``."""

    def answer(self, result: object) -> None:
        """Let the server answer."""
        self.asked: list[tuple[object, ...]] = []

        def fake(command: str, path: str | None = None, **arguments: str) -> object:
            self.asked.append((command, path, arguments))
            if isinstance(result, Exception):
                raise result
            return result

        self.patch(ask, "ask", fake)

    def test_calls(self) -> None:
        """The calls are a table."""
        call = {"call_id": "abc", "title": "call from sip:a@b", "state": "confirmed"}
        call_too = {**call, "seconds": 2.0, "application": None, "remote": "192.0.2.2 5060"}
        self.answer([call_too, {**call_too, "application": "echo"}])
        status, output, _ = self.run_command("calls", "--control", "/x")
        self.assertEqual(status, 0)
        self.assertEqual(self.asked, [("calls", "/x", {})])
        head, first, second = (line.split() for line in output)
        self.assertEqual(head, ["for", "state", "application", "with", "call"])
        self.assertEqual(first[:5], ["2.0s", "confirmed", "-", "192.0.2.2", "5060"])
        self.assertEqual(second[2], "echo")

    def test_no_calls(self) -> None:
        """No calls are said to be none."""
        self.answer([])
        self.assertEqual(self.run_command("calls")[1], ["no calls"])

    def test_explain(self) -> None:
        """The record is printed as it comes; without a Call-ID that of the last call."""
        self.answer(["call", "  0.000  began"])
        self.assertEqual(self.run_command("explain", "abc")[1], ["call", "  0.000  began"])
        self.run_command("explain")
        self.assertEqual([item[2] for item in self.asked], [{"call_id": "abc"}, {}])
        self.assertIn("one call at a time", self.mistake("explain", "a", "b"))

    def test_counters(self) -> None:
        """Counters by name, refusals with their meaning, the most frequent first."""
        refused = {"no-application": 1, "unheard-of": 2}
        self.answer({"sessions_begun": 7, "refused": refused})
        _, output, _ = self.run_command("counters")
        lines = [" ".join(line.split()) for line in output]
        self.assertEqual(lines[:3], ["7 sessions begun", "refused or dropped:", "2 unheard-of"])
        self.assertRegex(lines[3], "^1 no-application: .*404")
        self.answer({"refused": {}})
        self.assertEqual(self.run_command("counters")[1], [])

    def test_reload(self) -> None:
        """What has changed is printed; each mistake is a line."""
        self.answer(["changed: routes"])
        status, output, _ = self.run_command("reload", "--control", "/x")
        self.assertEqual((status, output), (0, ["changed: routes"]))
        self.assertEqual(self.asked, [("reload", "/x", {})])
        self.answer(ControlError("x.toml:1: a: no\nx.toml:2: b: no"))
        status, output, errors = self.run_command("reload")
        self.assertEqual((status, output), (1, []))
        self.assertEqual(errors, ["sipsess: x.toml:1: a: no", "sipsess: x.toml:2: b: no"])

    def test_bans(self) -> None:
        """The bans are a table, and one can be lifted."""
        self.answer([{"address": "192.0.2.66", "seconds": 59.9, "count": 2}])
        _, output, _ = self.run_command("bans")
        lines = [line.split() for line in output]
        self.assertEqual(lines, [["for", "bans", "address"], ["60s", "2", "192.0.2.66"]])
        self.answer([])
        output = self.run_command("bans", "--lift", "192.0.2.66")[1]
        self.assertEqual(output, ["nobody is banned"])
        self.assertEqual(self.asked, [("bans", None, {"lift": "192.0.2.66"})])

    def test_no_server(self) -> None:
        """Nobody answers: one line."""
        self.answer(ControlError("no server answers"))
        self.assertEqual(self.mistake("calls"), "sipsess: no server answers")


class CallOptionsTests(CommandCase):
    """The options of ``sipsess call``."""

    def parse(self, *words: str) -> Options:
        """Read them."""
        options = Options()
        options.parseOptions(list(words))
        return options

    def test_uri(self) -> None:
        """The URI's scheme may be left out."""
        self.assertEqual(self.parse("sip:a@b:5070")["uri"], "sip:a@b:5070")
        self.assertEqual(self.parse("a@b:5070")["uri"], "sip:a@b:5070")

    def test_everything(self) -> None:
        """Each option is read."""
        folder = Path(self.mktemp())
        folder.mkdir()
        options = self.parse(
            *("sip:a@b", "--dtmf", "12a#", "--save", str(folder / "x.wav"), "--ladder"),
            *("--duration", "2.5", "--timeout", "7", "--no-tone", "--from", "Al <sip:al@b>"),
        )
        self.assertEqual((options["dtmf"], options["duration"]), ("12A#", 2.5))
        self.assertEqual((options["timeout"], options["from"]), (7.0, "Al <sip:al@b>"))

    def test_codecs(self) -> None:
        """Names of codecs in any case; one that is not installed is a mistake."""
        self.assertEqual(
            self.parse("sip:a@b", "--codecs", "l16/16000, PCMA")["endpoint"].codecs,
            ("L16/16000", "PCMA"),
        )
        self.patch(call_command, "CODECS", [OpusCodec("no_such_module")])
        self.assertIn("--codecs OPUS: install", self.mistake("call", "sip:a@b", "--codecs", "opus"))

    def test_mistakes(self) -> None:
        """Each mistake is found before anybody is called."""
        for words, text in (
            ((), "say whom to call"),
            (("sip:a@b", "sip:c@d"), "say whom to call"),
            (("sip:a@b", "--dtmf", "x"), "--dtmf x"),
            (("sip:a@b", "--codecs", "PCMU,G729"), "--codecs PCMU,G729: these are known: G722"),
            (("sip:a@b", "--duration", "0"), "--duration 0: write a number"),
            (("sip:a@b", "--timeout", "x"), "--timeout x: write a number"),
            (("sip:a@b", "--save", "/nowhere/x.wav"), "no file can be written"),
            (("sip:a@b", "--save", "/"), "no file can be written"),
            (("sip:a@b", "--from", "me"), "--from me: write a URI"),
            (("sip:a@b", "--from", "<"), "--from <: write a URI"),
            (("sip:a@b", "--user", "al"), "--user al: put the password into the first line"),
            (("sip:a@b", "--user", "al", "--password-file", "/nowhere"), "No such file"),
            (("sip:a@b", "--password-file", "/nowhere"), "say whose password it is"),
        ):
            self.assertIn(text, self.mistake("call", *words))


class Mute(Application):
    """Answers, then drops dead: nothing of it ever leaves again."""

    name = "mute"

    def __init__(self, net: VirtualNetwork) -> None:
        self.net = net

    async def handle(self, call: Call) -> None:
        """Answer."""
        await call.answer()
        await call.wait(2)
        self.net.filters.append(lambda source, target, data: True)
        await call.wait(1000)


class PhoneTests(SynchronousTestCase):
    """``sipsess call`` against a server on the virtual network."""

    def setUp(self) -> None:
        """Make both."""
        self.net = VirtualNetwork()
        self.reactor = FakeReactor(self.net.host("192.0.2.2", name="phone"))
        applications = [HelloApplication(), EchoApplication(), RejectApplication(), Mute(self.net)]
        self.server = SIPServer(
            self.net.host("192.0.2.1", name="server"),
            handlers=[AudioHandler()],
            applications=applications,
        )
        self.server.startService()
        self.lines: list[str] = []

    def phone(self, *words: str) -> Phone:
        """Return the phone of a command line."""
        options = Options()
        options.parseOptions(list(words))
        host = self.reactor.host
        return Phone(
            self.reactor,
            options,
            self.lines.append,
            seconds=host.seconds,
            find_source=host.source_address,
        )

    def call(self, *words: str, seconds: float = 60) -> int:
        """Call, and return the exit status."""
        running = Deferred.fromCoroutine(self.phone(*words).run())
        self.net.run_for(seconds)
        status: int = self.successResultOf(running)
        self.assertEqual(self.reactor.host.ports, {})
        return status

    def test_hello(self) -> None:
        """The call of the manual: keys are sent, the far end hangs up, the ladder says how."""
        status = self.call("sip:hello@192.0.2.1", "--dtmf", "12#", "--ladder")
        self.assertEqual(status, 0)
        self.assertRegex(
            self.lines[-1],
            r"^answered, ended by the far end after \d\.\d s; heard \d\.\d s of audio$",
        )
        ladder = "\n".join(self.lines[:-1])
        for text in ("INVITE sip:hello", "180 Ringing", "200 OK", "ACK", '"1" "2" "#"', "BYE"):
            self.assertIn(text, ladder)
        self.assertIn("RFC 4733", ladder)

    def test_wideband(self) -> None:
        """With a codec of 16 kHz what comes back has that rate."""
        anybody = Endpoint("anybody", codecs=("L16/16000",))
        self.server.core.gates = (AnonymousGate(anybody),)
        path = self.mktemp()
        status = self.call(
            *("echo@192.0.2.1", "--codecs", "L16/16000", "--duration", "3", "--save", path)
        )
        self.assertEqual(status, 0, self.lines)
        self.assertEqual(read_clip(path, 48000).rate, 16000)

    def test_echo(self) -> None:
        """The phone hangs up when its time is over; what it said came back, keys too."""
        path = self.mktemp()
        status = self.call("echo@192.0.2.1", "--dtmf", "5", "--duration", "3", "--save", path)
        self.assertEqual(status, 0)
        self.assertEqual(
            self.lines,
            [
                "answered, hanging up after 3 s unless the far end does",
                "answered, ended by this side after 3.0 s; heard 0.5 s of audio and the keys 5",
            ],
        )
        self.assertGreater(len(read_wav(path)), 16000 * 0.4)

    def test_silent(self) -> None:
        """A phone that says nothing hears nothing from an echo."""
        self.assertEqual(self.call("sip:echo@192.0.2.1", "--no-tone", "--duration", "1"), 0)
        self.assertIn("heard 0.0 s", self.lines[-1])

    def test_refused(self) -> None:
        """A refusal is one line with status and reason."""
        self.assertEqual(self.call("sip:reject@192.0.2.1"), 1)
        self.assertEqual(self.lines, ["refused: 603 Decline"])

    def test_unknown_user(self) -> None:
        """So is a user that is not there."""
        self.assertEqual(self.call("sip:nobody@192.0.2.1"), 1)
        self.assertEqual(self.lines, ["refused: 404 Not Found"])

    def test_nobody_there(self) -> None:
        """Nothing at all comes back: within the time that was given, that is said."""
        self.assertEqual(self.call("sip:x@192.0.2.1:5070", "--timeout", "2", seconds=7), 1)
        self.assertEqual(
            self.lines, ["no answer: nothing at all came back from 192.0.2.1 port 5070"]
        )

    def test_password(self) -> None:
        """Who is asked for a password has it from a file or the environment."""
        users = MemoryStore()
        users.add("al", "pbx", "zanzibar")
        endpoints = [Endpoint("phones", digest_users=frozenset({"al"}))]
        gate = DigestGate(Portal(EndpointRealm(endpoints), [HA1Checker([users])]), "pbx")
        self.server.core.gates = (gate,)
        words = ("sip:echo@192.0.2.1", "--duration", "1", "--user", "al")
        file = Path(self.mktemp())
        file.write_text("zanzibar\nmore\n")
        self.assertEqual(self.call(*words, "--password-file", str(file)), 0)
        self.patch(os, "environ", {"SIPSESS_PASSWORD": "zanzibar"})
        self.assertEqual(self.call(*words), 0)
        self.patch(os, "environ", {"SIPSESS_PASSWORD": "guess"})
        self.assertEqual(self.call(*words), 1)
        self.assertEqual(self.lines[-1], "refused: 401 Unauthorized")
        self.assertEqual(self.call("sip:echo@192.0.2.1"), 1)
        self.assertNotIn("zanzibar", "".join(self.lines))

    def test_no_such_name(self) -> None:
        """A name that is not known, or a URI that is none."""
        self.assertEqual(self.call("sip:x@nowhere.example"), 1)
        self.assertIn("nowhere.example is not known", self.lines[0])
        self.assertEqual(self.call("mailto:x"), 1)
        self.assertIn("mailto:x", self.lines[1])

    def test_far_end_that_dies(self) -> None:
        """A BYE that nobody answers is no clean end."""
        self.assertEqual(self.call("sip:mute@192.0.2.1", "--duration", "5"), 1)
        self.assertIn("not ended cleanly", self.lines[-1])
        self.assertIn("our BYE was not answered", self.lines[-1])

    def test_file_that_cannot_be_written(self) -> None:
        """A recording that fails ends the call, and that is said."""
        path = Path(self.mktemp())
        phone = self.phone("sip:echo@192.0.2.1", "--save", str(path))
        path.mkdir()
        running = Deferred.fromCoroutine(phone.run())
        self.net.run_for(20)
        self.assertEqual(self.successResultOf(running), 1)
        self.assertIn("not ended cleanly", self.lines[-1])
        self.assertIn(str(path), self.lines[-1])

    def test_interrupted(self) -> None:
        """Ctrl-C hangs up first."""
        phone = self.phone("sip:echo@192.0.2.1")
        self.assertIsNone(phone.stop())
        running = Deferred.fromCoroutine(phone.run())
        self.net.run_for(2)
        stopping = phone.stop()
        assert stopping is not None
        self.net.run_for(2)
        self.successResultOf(stopping)
        self.assertEqual(self.successResultOf(running), 0)
        self.assertIn("ended by this side", self.lines[-1])
        self.assertEqual(self.server.manager.sessions, {})

    def test_command(self) -> None:
        """The command runs a reactor; the phone's status becomes the program's."""
        ran: list[Any] = []

        def react(main: Any, arguments: Any) -> None:
            ran.append(main(self.reactor, *arguments))

        output = StringIO()
        self.patch(sys, "stdout", output)
        self.patch(cli, "react", react)
        for uri, status in (("sip:nobody@nowhere.example", 1), ("sip:echo@192.0.2.1", 0)):
            cli.main(["call", uri, "--duration", "1"])
            self.net.run_for(20)
            if status:
                self.assertEqual(self.failureResultOf(ran[-1], SystemExit).value.code, 1)
        self.assertEqual(len(self.reactor.triggers), 2)
        self.assertIsNone(self.reactor.triggers[0]())
        self.assertIn("not known", output.getvalue())


class TraceTests(SynchronousTestCase):
    """The ladder while it grows."""

    def test_interface(self) -> None:
        """It is a trace; what makes no line is ignored."""
        lines: list[str] = []
        trace: Any = LadderTrace(lines.append)
        verifyObject(ITrace, trace)
        flow = Flow("UDP", ("192.0.2.1", 1), ("192.0.2.2", 2))
        trace.message_refused("x", flow, 0.0)
        trace.plugin_verdict("a", "b", "c", "d", 0.0)
        trace.session_begun(None, 0.0)
        trace.session_ended(None, 0.0)
        self.assertEqual(lines, [])

    def test_lines(self) -> None:
        """Who sends first stands left; times count from there; tones are no events."""
        lines: list[str] = []
        trace = LadderTrace(lines.append)
        flow = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
        trace.bytes_received(flow, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", 100.0)
        trace.bytes_sent(flow, b"SIP/2.0 200 OK\r\n\r\n", 100.5)
        trace.digits_sent("1", 101.0)
        head, first, second, third = lines
        self.assertEqual(head.split(), ["192.0.2.2", "192.0.2.1"])
        self.assertIn("OPTIONS", first)
        self.assertTrue(second.endswith("200 OK   0.500"), second)
        self.assertTrue(third.endswith("1.000   as tones"), third)


class FailureTests(SynchronousTestCase):
    """Why nobody answered, in one line."""

    def test_reasons(self) -> None:
        """Who refused, or what did not work."""
        for reason, text in (
            (EndReason("remote", "INVITE", 486, "Busy Here"), "refused: 486 Busy Here"),
            (EndReason("network", "INVITE", 408, "timer B"), "no answer: timer B"),
            (EndReason("network", "INVITE"), "no answer: nothing came back"),
            (EndReason("local", "CANCEL", 408, "nobody answered"), "no answer: nobody answered"),
            (EndReason("local", "CANCEL"), "no answer: cancelled"),
        ):
            self.assertEqual(describe_failure(SessionEnded(reason)), text)
        self.assertEqual(describe_failure(TransportError("no way")), "not called: no way")
