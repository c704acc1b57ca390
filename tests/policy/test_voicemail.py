# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the application voicemail, and of its boxes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.applications import mailbox
from sipsess.applications.mailbox import BoxError, Mailbox, VoiceMessage
from sipsess.applications.voicemail import VoicemailApplication
from sipsess.applications.voicemail_options import MailOptions, VoicemailOptions
from sipsess.interfaces import IApplication, IConfigurableApplication
from sipsess.media import load_sound, read_wav
from sipsess.testing import CallPair, PlacedCall

MAIL = MailOptions("pbx@example.com", "anna@example.com")
FROM = "sip:bert@example.com"


class VoicemailCase(SynchronousTestCase):
    """A server with boxes."""

    def setUp(self) -> None:
        """Make an empty directory."""
        self.directory = Path(self.mktemp())
        self.sent: list[tuple[MailOptions, VoiceMessage]] = []
        self.sending: Callable[[], Deferred[None]] = lambda: succeed(None)

    def send(self, mail: MailOptions, message: VoiceMessage) -> Deferred[None]:
        """Note a mail."""
        self.sent.append((mail, message))
        return self.sending()

    def serve(self, **options: Any) -> None:
        """Start a server with options."""
        how = VoicemailOptions(**{"directory": self.directory, "min_free": 0, **options})
        self.application = VoicemailApplication(self.send).with_options(how)
        self.pair = CallPair(application=self.application)
        self.net = self.pair.net

    def dial(self, to: str = "anna", from_: str = FROM) -> PlacedCall:
        """Call a box, and let it answer and beep."""
        placed = self.pair.dial(f"sip:{to}@192.0.2.1", from_=from_)
        self.net.run_for(2)
        return placed

    def speak(self, placed: PlacedCall, seconds: float) -> None:
        """Say something."""
        placed.phone.play_tone([440.0], seconds)
        self.net.run_for(seconds + 0.2)

    def files(self) -> list[str]:
        """Return the files of all boxes."""
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.directory)) for path in found)


class MessageTests(VoicemailCase):
    """Messages that are taken."""

    def test_message(self) -> None:
        """A message is kept when a key ends it, and its caller hears goodbye."""
        self.serve(mail=MAIL)
        placed = self.dial()
        self.assertTrue(self.files()[0].endswith(".part"))
        self.speak(placed, 2)
        placed.phone.send_digits("#")
        self.net.run_for(0.5)
        self.assertFalse(placed.is_over)
        self.net.run_until(lambda: placed.is_over)
        self.assertEqual(self.files(), ["anna/0001-bert.wav"])
        [(mail, message)] = self.sent
        self.assertEqual(mail, MAIL)
        self.assertEqual((message.box, message.caller), ("anna", FROM))
        self.assertEqual(message.path, self.directory / "anna" / "0001-bert.wav")
        self.assertApproximates(len(read_wav(message.path)) / 16000, message.seconds, 0.01)
        self.assertGreater(message.seconds, 2)
        self.assertEqual(message.path.stat().st_mode & 0o077, 0)
        self.pair.settle()

    def test_hang_up(self) -> None:
        """Who hangs up has left his message; without mail nobody is told."""
        self.serve(greeting="beep")
        for _ in range(2):
            placed = self.dial()
            self.speak(placed, 2)
            placed.hang_up()
            self.net.run_for(1)
        self.assertEqual(self.files(), ["anna/0001-bert.wav", "anna/0002-bert.wav"])
        self.assertEqual(self.sent, [])
        self.assertEqual(len(self.application.busy), 0)
        self.pair.settle()

    def test_nothing_said(self) -> None:
        """A message that is too short leaves nothing; so does none at all."""
        self.serve(min_seconds=1.0, mail=MAIL)
        for seconds in (0.5, 0.0):
            placed = self.dial()
            if seconds:
                self.speak(placed, seconds)
            placed.hang_up()
            self.net.run_for(1)
        self.assertEqual((self.files(), self.sent), ([], []))
        self.pair.settle()

    def test_longest(self) -> None:
        """A message ends by itself."""
        self.serve(max_seconds=3.0)
        placed = self.dial()
        begun = self.net.seconds()
        placed.phone.play_tone([440.0], 10)
        self.net.run_until(lambda: placed.is_over)
        # It began with the end of the beep, before dial() was through; and then comes goodbye.
        taken = self.net.seconds() - begun - len(load_sound("goodbye")) / 16000
        length = len(read_wav(self.directory / "anna" / "0001-bert.wav")) / 16000
        self.assertApproximates(length, taken, 0.2)
        self.assertApproximates(taken, 3 - 1.7, 0.2)
        self.pair.settle()

    def test_names(self) -> None:
        """What a caller calls himself does no harm in the name of a file."""
        self.serve(box="all")
        for from_ in ("sip:..%2f..%2fx@example.com", "sip:example.com", "tel:+4930123"):
            placed = self.dial(from_=from_)
            self.speak(placed, 2)
            placed.hang_up()
            self.net.run_for(1)
        self.assertEqual(
            self.files(), ["all/0001-....x.wav", "all/0002-unknown.wav", "all/0003-+4930123.wav"]
        )
        self.pair.settle()

    def test_failing_mail(self) -> None:
        """When nobody can be told the message is kept; log and record say so, with the reason."""
        log = Mock()
        self.patch(mailbox, "_log", log)

        def broken() -> Deferred[None]:
            raise OSError("boom")

        self.serve(mail=MAIL)
        for sending in (lambda: fail(OSError("no relay")), broken):
            self.sending = sending
            placed = self.dial()
            self.speak(placed, 2)
            placed.hang_up()
            self.net.run_for(1)
        self.assertEqual(len(self.files()), 2)
        errors = [call.kwargs["error"] for call in log.warn.call_args_list]
        self.assertEqual(errors, ["no relay", "boom"])
        for call in log.warn.call_args_list:
            (record,) = self.pair.callee.manager.records.find(call.kwargs["call_id"])
            said = f"voicemail +nobody was told: {call.kwargs['error']}"
            self.assertRegex("\n".join(record.lines()), said)
        self.pair.settle()


class RefusalTests(VoicemailCase):
    """Messages that are not taken."""

    def assert_refused(self, outcome: tuple[int, str], to: str = "anna") -> None:
        """Check how a call is refused."""
        placed = self.dial(to)
        self.assertEqual(placed.outcome, outcome)
        self.pair.settle()

    def test_without_directory(self) -> None:
        """Without options it writes nothing: it is not there."""
        self.pair = CallPair(application=VoicemailApplication())
        self.net = self.pair.net
        self.assert_refused((404, "Not Found"))

    def test_full(self) -> None:
        """A box that is full refuses; who is speaking just now counts."""
        self.serve(max_messages=1)
        placed = self.dial()
        self.assertEqual(self.dial().outcome, (480, "Mailbox Full"))
        self.speak(placed, 2)
        placed.hang_up()
        self.net.run_for(1)
        self.assert_refused((480, "Mailbox Full"))

    def test_boxes(self) -> None:
        """There are not more boxes than there may be; those that are there go on."""
        self.serve(max_boxes=1)
        placed = self.dial()
        placed.hang_up()
        self.net.run_for(1)
        self.assertEqual(self.dial("bob").outcome, (480, "Temporarily Unavailable"))
        self.assertEqual(os.listdir(self.directory), ["anna"])
        again = self.dial()
        self.assertEqual(again.outcome, (200, "OK"))
        again.hang_up()
        self.pair.settle()

    def test_full_disk(self) -> None:
        """A disk that is nearly full takes nothing more."""
        self.serve(min_free=1 << 62)
        self.assert_refused((480, "Temporarily Unavailable"))

    def test_names(self) -> None:
        """A user that cannot be the name of a box has none."""
        self.serve()
        for name in ("..", ".hidden", "%2e%2e%2fx", "a" * 65):
            self.assert_refused((404, "Not Found"), name)
        self.assertEqual(self.files(), [])

    def test_no_directory(self) -> None:
        """A directory that cannot be made is a refusal, and a note in the call's record."""
        self.directory.write_text("a file")
        self.serve()
        self.assert_refused((480, "Temporarily Unavailable"))


class CheckTests(VoicemailCase):
    """Options."""

    def test_interfaces(self) -> None:
        """It is a configurable application."""
        verifyObject(IApplication, VoicemailApplication())
        verifyObject(IConfigurableApplication, VoicemailApplication())

    def test_senseless(self) -> None:
        """Each mistake is said in a sentence."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"directory": None}, "directory is needed"),
            (
                {"max_seconds": 1.0},
                "min_seconds is less than max_seconds, and that is at most 3600",
            ),
            (
                {"max_seconds": 3601.0},
                "min_seconds is less than max_seconds, and that is at most 36",
            ),
            ({"box": "../x"}, "box is letters, digits and"),
            ({"end_keys": "x"}, "end_keys are of 0 1"),
            ({"max_messages": 0}, "max_messages and max_boxes are at least 1, and"),
            ({"min_free": -1}, "max_messages and max_boxes are at least 1, and"),
            ({"greeting": "x"}, "x.wav: is none of the sounds of sipsess"),
        ]
        for options, text in cases:
            error = self.assertRaises(ValueError, self.serve, **options)
            self.assertTrue(str(error).startswith(text), str(error))

    def test_mail_without_a_sender(self) -> None:
        """Options ask for no mail where nothing sends it."""
        how = VoicemailOptions(directory=self.directory, mail=MAIL)
        error = self.assertRaises(ValueError, VoicemailApplication().with_options, how)
        self.assertEqual(str(error), "mail: nothing here sends mail")


class BoxTests(VoicemailCase):
    """Boxes, when something goes wrong with files."""

    def box(self) -> Mailbox:
        """Return an open box."""
        box = Mailbox(self.directory, "anna")
        box.open(1, 0)
        return box

    def test_begin(self) -> None:
        """A box that went away takes no message."""
        box = self.box()
        box.path.rmdir()
        error = self.assertRaises(BoxError, box.begin)
        self.assertIn("No such file", str(error))

    def test_finish(self) -> None:
        """A message whose file went away is none."""
        box = self.box()
        error = self.assertRaises(BoxError, box.finish, box.path / ".x.part", FROM, "bert", 1.0)
        self.assertIn("No such file", str(error))

    def test_numbers(self) -> None:
        """Files of somebody else have no number, and a number is never used twice."""
        box = self.box()
        for name in ("notes.wav", "9999-x.wav", "10000-y.wav"):
            (box.path / name).touch()
        self.assertEqual(box.messages[0].name, "notes.wav")
        part = box.begin()
        found = box.finish(part, FROM, "", 0.0)
        assert found is not None
        self.assertEqual(found.path.name, "10001-unknown.wav")

    def test_long_user(self) -> None:
        """Of a caller's name the file takes no more than fits into the name of one."""
        box = self.box()
        found = box.finish(box.begin(), FROM, "b" * 300, 0.0)
        assert found is not None
        self.assertEqual(found.path.name, f"0001-{'b' * 64}.wav")
        self.assertEqual(box.messages, [found.path])

    def test_lost_message(self) -> None:
        """When the file goes away during the call, its record says so, and nothing else happens."""
        self.serve()
        placed = self.dial()
        session = placed.callee
        assert session is not None
        for path in self.directory.rglob("*.part"):
            path.unlink()
        placed.hang_up()
        self.net.run_for(1)
        self.assertRegex("\n".join(session.record.lines()), "voicemail .*No such file")
        self.pair.settle()
