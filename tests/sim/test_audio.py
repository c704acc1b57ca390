# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Audio, proved by the signal: what is said is heard at its pitch, level and time."""

from __future__ import annotations

import os
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.media.codecs import FRAME_TIME, SAMPLE_RATE
from sipsess.media.tone import generate
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import Session
from sipsess.testing import CallPair, Link
from tests.pure.signals import amplitude, rms
from tests.pure.speech import BANDS, clarity, correlation, find_delay, speech

#: Seconds of the call that is to stay in time.
CALL_TIME = 600 if os.environ.get("SIPSESS_LONG") else 60
#: Seconds of speech, said again and again: much longer than any delay.
PERIOD = 5
#: Seconds in which the jitter buffer finds its delay.
SETTLING = 4
#: Seconds of the pieces that are compared, and the longest delay that is looked for.
PIECE, LONGEST = 0.5, 0.3
#: What two ways and the jitter buffer take at most on a good network, in seconds.
SHORT = 0.13


class Talker(Application):
    """Says something, and keeps what it hears."""

    name = "talker"

    def __init__(self, speech: bytes) -> None:
        self.speech = speech
        self.heard = bytearray()

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.answer()
        _listen(call.session, self.heard)
        await call.play(self.speech)
        await call.ended


def _listen(session: Session, heard: bytearray) -> None:
    stream = find_audio(session)
    assert stream is not None
    stream.listen(lambda pcm, rate: heard.extend(pcm))


def _bytes(seconds: float) -> int:
    return 2 * round(seconds * SAMPLE_RATE)


class AudioTestCase(SynchronousTestCase):
    """A caller who speaks and hears."""

    def converse(
        self, said: bytes, application: Application, link: Link | None = None, seed: int = 0
    ) -> bytes:
        """
        Let the caller say something and half a second more pass.

        :param link: how packets travel once the call stands.
        :return: what he heard from the moment on at which he began.
        """
        pair = CallPair(application=application, seed=seed)
        placed = pair.dial()
        pair.net.run_until(lambda: find_audio(placed.session) and placed.outcome)
        calm = pair.net.link
        pair.net.link = link or calm
        heard = bytearray()
        _listen(placed.session, heard)
        # Not in step with the far end's clock: no two machines are.
        pair.net.run_for(0.005)
        heard.clear()
        began = pair.net.seconds()
        placed.phone.play(said)
        pair.net.run_until(lambda: heard)
        # The first frame is heard when it has come.
        heard[:0] = bytes(_bytes(pair.net.seconds() - began))
        pair.net.run_for(began + len(said) / 2 / SAMPLE_RATE + 0.5 - pair.net.seconds())
        passed = pair.net.seconds() - began
        # The last frame is whole, and none is missing or too many.
        ahead = len(heard) - _bytes(passed)
        self.assertTrue(0 < ahead <= _bytes(FRAME_TIME), ahead)
        pair.net.link = calm
        placed.hang_up()
        pair.settle()
        return bytes(heard)


class EchoTests(AudioTestCase):
    """What comes back from the echo, through both jitter buffers' worth of rules, without loss."""

    def assert_in_place(self, said: bytes, heard: bytes, times: Iterable[float]) -> None:
        """Fail unless the same is heard at each time, as loud, and always equally late."""
        delays = set()
        for when in times:
            piece = said[_bytes(when) : _bytes(when + PIECE)]
            delay = find_delay(piece, heard[_bytes(when) : _bytes(when + PIECE + LONGEST)], LONGEST)
            begin = when + delay
            came = heard[_bytes(begin) : _bytes(begin + PIECE)]
            self.assertGreater(correlation(piece, came), 0.95, when)
            self.assertLess(abs(rms(came) - rms(piece)), 0.5, when)
            delays.add(delay)
        self.assertEqual(len(delays), 1, delays)
        self.assertLess(max(delays), SHORT)

    def test_speech_stays_in_place(self) -> None:
        """A minute of speech: alike to 0.95, within 0.5 dB, and not a sample of drift."""
        said = speech(PERIOD) * (CALL_TIME // PERIOD)
        heard = self.converse(said, EchoApplication())
        last = CALL_TIME - 2 * PIECE
        times = [SETTLING + part * (last - SETTLING) / 6 for part in range(7)]
        self.assert_in_place(said, heard, times)

    def test_pitch_and_level(self) -> None:
        """Each tone comes back as that tone, as loud, and nothing beside it."""
        for frequency in BANDS:
            said = generate((float(frequency),), 2.0)
            heard = self.converse(said, EchoApplication())[_bytes(1) : _bytes(1.5)]
            said = said[: len(heard)]
            self.assertLess(abs(rms(heard) - rms(said)), 0.5, frequency)
            level = amplitude(said, frequency)
            self.assertLess(abs(amplitude(heard, frequency) / level - 1), 0.05, frequency)
            for other in (frequency - 20, frequency + 20, *(set(BANDS) - {frequency})):
                self.assertLess(amplitude(heard, other), 0.02 * level, (frequency, other))


class BadNetworkTests(AudioTestCase):
    """
    Five packets of a hundred are lost, and each is up to 60 ms late.

    The measure is :func:`tests.pure.speech.clarity`.
    """

    def clarities(self, link: Link, seed: int) -> list[float]:
        """Return how clear each side of a conversation is for the other."""
        mine, yours = speech(PERIOD), speech(PERIOD, 2)
        far = Talker(yours)
        near = self.converse(mine, far, link, seed)
        # The far end began to speak a moment before the network became bad. What it hears begins
        # with the first sound, and the first packets may be lost.
        return [clarity(mine, bytes(_bytes(0.1)) + far.heard), clarity(yours, near)]

    def test_speech_is_clear(self) -> None:
        """Both understand each other."""
        for seed in range(3):
            found = self.clarities(Link(delay=0.02, jitter=0.06, loss=0.05), seed)
            self.assertGreater(min(found), 0.95, seed)

    def test_the_echo_is_clear(self) -> None:
        """What has gone the bad way twice is understood still: the echo keeps order and losses."""
        said = speech(PERIOD)
        for seed in range(3):
            link = Link(delay=0.02, jitter=0.06, loss=0.05)
            self.assertGreater(
                clarity(said, self.converse(said, EchoApplication(), link, seed)), 0.9
            )

    def test_the_measure(self) -> None:
        """Of speech that is not clear the measure says so: half is lost, or it is another."""
        self.assertLess(max(self.clarities(Link(delay=0.02, jitter=0.06, loss=0.5), 0)), 0.85)
        self.assertLess(clarity(speech(PERIOD), speech(PERIOD, 2)), 0.5)
