# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls whose far end sends no audio any more."""

from __future__ import annotations

from dataclasses import replace

from sipsess.endpoint import ANONYMOUS, AnonymousGate
from sipsess.errors import LocalError
from sipsess.testing import Agent
from tests.policy.phone import audio_at
from tests.policy.test_audio import AudioTestCase, Waiting


class TimeoutTests(AudioTestCase):
    """The setting ``audio_timeout``."""

    def make_agent(self, **options: object) -> Agent:
        """Return an agent that allows ten seconds of silence."""
        return Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Waiting()],
            application="waiting",
            gates=[AnonymousGate(replace(ANONYMOUS, audio_timeout=10.0))],
        )

    def test_silence_ends_the_call(self) -> None:
        """Packets keep it; ten seconds after the last one it ends, with that reason."""
        where = audio_at(self.phone.call())
        session = self.session
        for _ in range(6):
            self.net.run_for(4)
            self.phone.speak(where)
        self.assertEqual(len(self.agent.sessions), 1)
        self.net.run_for(14)
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual(self.agent.sessions, [])
        self.assertIn("no audio came for 10 s", str(session.end_reason))
        self.finish()

    def test_hold_is_silent(self) -> None:
        """On hold nothing needs to come; the silence is counted anew afterwards."""
        answer = self.phone.call()
        for direction, seconds in (("sendonly", 60), ("sendrecv", 7)):
            body = self.phone.sdp(direction=direction)
            self.phone.send(self.phone.request_within(answer, "INVITE", body=body))
            self.phone.ack(self.phone.expect(200))
            self.net.run_for(seconds)
            self.assertEqual(len(self.agent.sessions), 1)
        self.finish()

    def test_stream_is_over(self) -> None:
        """Nobody looks any more when the call has ended before, or the audio alone."""
        answer = self.phone.call()
        (stream,) = [item for item in self.session.media.streams if item is not None]
        stream.cookies.get("audio").close()
        self.net.run_for(30)
        self.assertEqual(len(self.agent.sessions), 1)
        self.phone.send(self.phone.request_within(answer, "BYE"))
        self.phone.expect(200)
        self.finish()

    def test_too_short(self) -> None:
        """A time that a network's gaps would reach is refused."""
        for seconds in (-1.0, 4.9, float("nan")):
            self.assertRaises(LocalError, replace, ANONYMOUS, audio_timeout=seconds)
