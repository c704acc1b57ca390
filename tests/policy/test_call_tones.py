# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Keys that a peer presses as tones, and applications that read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sipsess.application import Application
from sipsess.call import Call
from sipsess.endpoint import ANONYMOUS, AnonymousGate
from sipsess.media import PCMU, load_sound, tone
from sipsess.sdphandlers.audio import find_audio
from sipsess.supplements.info import DigitInfo
from sipsess.testing import Agent
from tests.policy.phone import audio_at
from tests.policy.test_audio import AudioTestCase


class Reading(Application):
    """Reads keys, four at a time, twice; gives a third time up, and waits."""

    name = "reading"

    def __init__(self) -> None:
        self.read: list[str] = []

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        await call.answer()
        for _ in range(2):
            self.read.append(await call.read_digits(4, timeout=2.0, first_timeout=60.0))
        reading = call.read_digits().addErrback(lambda failure: None)
        await call.wait(1.0)
        reading.cancel()
        await call.ended


class ToneTests(AudioTestCase):
    """A phone without RTP events."""

    dtmf: Any = "rfc4733"

    def make_agent(self, **options: Any) -> Agent:
        """Return an agent whose application reads."""
        self.reading = Reading()
        return Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[self.reading],
            application="reading",
            supplements=[DigitInfo()],
            gates=[AnonymousGate(replace(ANONYMOUS, dtmf=self.dtmf))],
        )

    def begin(self, dtmf: str = "rfc4733", formats: str = "0") -> Any:
        """Call a server whose endpoint has this setting; return its answer."""
        self.dtmf = dtmf
        self.setUp()
        self.answer = self.phone.call(body=self.phone.sdp(formats=formats))
        self.where = audio_at(self.answer)
        return self.answer

    def say(self, pcm: bytes) -> None:
        """Let the phone say something."""
        encoder = PCMU.make_encoder()
        for at in range(0, len(pcm) - 319, 320):
            self.phone.speak(self.where, payload=encoder.encode(pcm[at : at + 320]))

    def press(self, keys: str) -> None:
        """Let the phone press keys as tones."""
        self.say(tone.dtmf(keys, 0.08, 0.08) + bytes(3200))

    def inform(self, key: str) -> None:
        """Let the phone press a key by INFO."""
        body = f"Signal={key}\r\nDuration=100\r\n"
        request = self.phone.request_within(
            self.answer, "INFO", body=body, content_type="application/dtmf-relay"
        )
        self.phone.send(request)
        self.phone.expect(200)

    def test_tones_are_keys(self) -> None:
        """Who offers no events is heard pressing keys as tones, also between words."""
        self.begin()
        self.say(load_sound("goodbye"))
        self.press("19*3")
        self.say(load_sound("goodbye"))
        self.press("42")
        self.net.run_for(3)
        self.assertEqual(self.reading.read, ["19*3", "42"])
        self.finish()

    def test_setting(self) -> None:
        """``inband`` hears tones whatever was negotiated; ``info`` and ``none`` never do."""
        for dtmf, formats, read in (
            ("inband", "0 101", ["5678"]),
            ("info", "0", []),
            ("none", "0", []),
            ("rfc4733", "0 101", []),
        ):
            self.begin(dtmf, formats)
            self.press("5678")
            self.assertEqual(self.reading.read, read, dtmf)
            self.finish()

    def is_heard(self) -> bool:
        """Whether anybody listens to the phone."""
        audio = find_audio(self.session)
        assert audio is not None
        return audio._hearing is not None

    def test_nobody_listens_in_vain(self) -> None:
        """Who reads no more, or has given it up, does not listen either."""
        self.begin()
        self.press("12345678")
        self.assertEqual(self.reading.read, ["1234", "5678"])
        self.assertTrue(self.is_heard())
        self.net.run_for(1.0)
        self.assertFalse(self.is_heard())
        self.finish()

    def test_key_that_comes_twice(self) -> None:
        """A key that comes as a tone and by INFO is one, and tones are not heard any more."""
        self.begin()
        self.press("1")
        self.inform("1")
        self.press("1")
        self.inform("1")
        self.inform("2")
        self.press("2")
        self.inform("3")
        self.assertEqual(self.reading.read, ["1123"])
        self.press("4567")
        self.assertEqual(self.reading.read, ["1123"])
        self.finish()

    def test_another_key_by_info(self) -> None:
        """A key by INFO that is another one, or comes much later, is one of its own."""
        for first, wait, second in (("1", 0.0, "2"), ("1", 1.0, "1")):
            self.begin()
            self.press(first)
            self.net.run_for(wait)
            self.inform(second)
            self.net.run_for(3)
            self.assertEqual(self.reading.read, [first + second])
            self.finish()
