# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the shipped applications, and of the module that makes plugins of them."""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import PATIENCE, HelloApplication
from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.call import Call
from sipsess.interfaces import IApplication, IConfigurableApplication, ISDPHandler
from sipsess.media import load_digit, load_sound
from sipsess.plugins import sipsess_builtin
from sipsess.testing import CallPair


class ApplicationTestCase(SynchronousTestCase):
    """A call to an application."""

    def call(self, application: Application) -> Call:
        """Call it; return the caller's side."""
        self.pair = CallPair(application=application)
        self.net = self.pair.net
        self.placed = self.pair.dial()
        self.heard: list[bytes] = []
        return Call(self.placed.session)

    def listen(self, call: Call) -> None:
        """Note the audio of each packet from now on."""
        audio = call.audio
        assert audio is not None
        audio.on_packet = lambda codec, packet, now: self.heard.append(
            codec.make_decoder().decode(packet.payload)
        )


class OptionTests(SynchronousTestCase):
    """Options that a route may give."""

    def test_options(self) -> None:
        """Each gives an application of the same name; the one that was asked stays as it is."""
        cases: list[tuple[Any, str, float]] = [
            (sipsess_builtin.ring, "seconds", 9.0),
            (sipsess_builtin.early, "seconds", 9.0),
            (sipsess_builtin.busy, "status", 600),
            (sipsess_builtin.reject, "status", 404),
        ]
        for application, field, value in cases:
            verifyObject(IConfigurableApplication, application)
            plain: Any = application.with_options(application.options())
            self.assertEqual(vars(plain), vars(application))
            changed: Any = application.with_options(application.options(value))
            self.assertEqual(vars(changed), {**vars(application), field: value})
            self.assertNotEqual(getattr(application, field), value)

    def test_senseless(self) -> None:
        """What makes no sense is refused with a sentence."""
        cases: list[tuple[Any, float, str]] = [
            (sipsess_builtin.ring, 0.0, "seconds is more than 0, and at most 180"),
            (sipsess_builtin.early, 181.0, "seconds is more than 0, and at most 180"),
            (sipsess_builtin.reject, 200, "status is 400 to 699, not 200"),
            (sipsess_builtin.busy, 700, "status is 400 to 699, not 700"),
        ]
        for application, value, text in cases:
            options = application.options(value)
            error = self.assertRaises(ValueError, application.with_options, options)
            self.assertEqual(str(error), text)


class HelloTests(ApplicationTestCase):
    """The greeter."""

    def test_call(self) -> None:
        """It rings, answers, greets, repeats each key, and ends with # and a reason."""
        call = self.call(HelloApplication())
        self.net.run_until(lambda: self.placed.outcome)
        self.assertEqual(self.placed.provisional, [(180, "Ringing")])
        self.net.run_for(0.05)
        self.listen(call)
        prompt = -(-len(load_sound("hello")) // 320)
        self.net.run_for(prompt * 0.02 + 0.5)
        before = len(self.heard)
        self.assertGreater(before, prompt - 10)
        call.send_digits("5")
        self.net.run_for(2)
        self.assertEqual(len(self.heard) - before, -(-len(load_digit("5")) // 320))
        call.send_digits("#")
        self.net.run_for(5)
        reason = self.placed.end_reason
        assert reason is not None
        self.assertEqual((reason.method, reason.text), ("BYE", 'SIP;cause=200;text="#"'))
        self.pair.settle()

    def test_key_interrupts_the_greeting(self) -> None:
        """Who knows the greeting need not hear it."""
        call = self.call(HelloApplication())
        self.net.run_for(0.5)
        self.listen(call)
        call.send_digits("1")
        self.net.run_for(2)
        self.assertLess(len(self.heard), len(load_sound("hello")) // 320)
        self.placed.hang_up()
        self.pair.settle()

    def test_nobody_there(self) -> None:
        """It hangs up when no key is pressed for long."""
        self.call(HelloApplication())
        self.net.run_for(PATIENCE + 15)
        reason = self.placed.end_reason
        assert reason is not None
        self.assertIn("no key was pressed", reason.text)
        self.pair.settle()


class EchoTests(ApplicationTestCase):
    """The echo."""

    def test_echo(self) -> None:
        """What is said comes back."""
        call = self.call(EchoApplication())
        self.net.run_for(0.5)
        self.listen(call)
        call.play(b"\x00\x20" * 800)
        self.net.run_for(1)
        self.assertEqual(len(self.heard), 5)
        self.assertNotEqual(self.heard[0], bytes(320))
        self.placed.hang_up()
        self.pair.settle()


class RingTests(ApplicationTestCase):
    """The telephone that rings for a while."""

    def test_ring(self) -> None:
        """It rings for three seconds, answers, and echoes."""
        call = self.call(RingApplication())
        self.net.run_for(2.9)
        self.assertEqual(self.placed.provisional, [(180, "Ringing")])
        self.assertIsNone(self.placed.outcome)
        self.net.run_for(0.5)
        self.assertEqual(self.placed.outcome, (200, "OK"))
        self.listen(call)
        call.play(bytes(320))
        self.net.run_for(0.5)
        self.assertEqual(len(self.heard), 1)
        self.placed.hang_up()
        self.pair.settle()

    def test_cancel(self) -> None:
        """A caller who gives up while it rings leaves nothing behind."""
        self.call(RingApplication(30.0))
        self.net.run_for(1)
        self.placed.hang_up()
        self.net.run_for(1)
        self.assertEqual(self.placed.outcome, (487, "Request Terminated"))
        self.pair.settle()


class RejectTests(ApplicationTestCase):
    """Refusals."""

    def test_reject(self) -> None:
        """The status is the instance's."""
        for application, outcome in (
            (RejectApplication(), (603, "Decline")),
            (RejectApplication("busy", 486), (486, "Busy Here")),
        ):
            self.call(application)
            self.net.run_for(1)
            self.assertEqual(self.placed.outcome, outcome)
            self.pair.settle()


class BuiltinTests(SynchronousTestCase):
    """The shipped plugins."""

    def test_plugins(self) -> None:
        """Each instance is a plugin, provides its interface and has a name of its own."""
        plugins: list[Any] = list(filter(IPlugin.providedBy, vars(sipsess_builtin).values()))
        applications = list(filter(IApplication.providedBy, plugins))
        handlers = list(filter(ISDPHandler.providedBy, plugins))
        for item in applications:
            verifyObject(IApplication, item)
        for item in handlers:
            verifyObject(ISDPHandler, item)
        names = sorted(item.name for item in applications)
        self.assertEqual(
            names,
            [
                *("b2bua", "busy", "dial", "early", "echo", "hello", "menu", "playback"),
                *("registered", "reject", "ring", "voicemail", "websocket"),
            ],
        )
        self.assertEqual([item.name for item in handlers], ["audio"])
