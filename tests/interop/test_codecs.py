# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip speaks G.722 and Opus with us; what is heard is judged by its pitch and its level."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.codec import Codec
from sipsess.endpoint import Endpoint
from sipsess.media import tone
from sipsess.media.g722 import G722
from sipsess.media.opus import OPUS
from sipsess.media.wav import read_clip
from sipsess.sdphandlers.audio import find_audio
from sipsess.server import SIPServer
from tests.policy.test_endpoint_calls import gate_for
from tests.pure.extras import skip_without
from tests.pure.signals import amplitude, rms

from .peers import Baresip, PeerTestCase, sip_port, start_baresip, until
from .sounds import has_tone, write_tone

#: Tones that G.711 cannot carry, in Hz: what the telephone says, and what we say.
THEIRS, OURS = 5000.0, 6000.0


class Talking(Application):
    """Says a tone, records what it hears, and then waits for a key."""

    name = "talking"

    def __init__(self, path: str) -> None:
        self.path = path
        self.recorded: Deferred[None] = Deferred()
        self.digit: Deferred[str] = Deferred()

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.answer()
        call.play(tone.generate((OURS,), 30.0, rate=16000), rate=16000)
        await call.record(self.path, max_seconds=1.5)
        self.recorded.callback(None)
        self.digit.callback(await call.read_digits(1, timeout=30))
        await call.ended


class CodecTestCase(PeerTestCase):
    """Calls with one codec."""

    async def begin(self, codec: Codec, rate: int, application: Application) -> None:
        """Let a telephone that speaks nothing but a codec call the application."""
        self.require("baresip")
        endpoint = Endpoint("phone", codecs=(codec.name, "PCMU"))
        self.server = self.serve(application, gates=[gate_for(endpoint)])
        said = write_tone(self.folder, THEIRS, rate)
        name = f"{codec.encoding.lower()}/{rate}/{codec.channels}"
        self.phone = await start_baresip(self, said, codec=name)
        await self.dial(self.phone, self.server, application.name)
        (session,) = self.server.manager.sessions
        audio = find_audio(session)
        assert audio is not None
        self.assertIs(audio.codec, codec)

    async def dial(self, phone: Baresip, server: SIPServer, user: str) -> None:
        """Let the telephone call the server."""
        await phone.control.command("dial", f"sip:{user}@127.0.0.1:{sip_port(server)}")
        await phone.control.expect("CALL_ESTABLISHED")

    async def hears(self, frequency: float) -> None:
        """Wait until the telephone hears a tone, as loud as it is said."""
        phone = self.phone

        def is_heard() -> bool:
            clip = phone.heard_clip()
            return has_tone(clip.pcm, frequency, rate=clip.rate)

        await until(is_heard, lambda: f"no {frequency} Hz:\n{phone.process.tail()}")
        clip = phone.heard_clip()
        said = tone.generate((frequency,), 0.5, rate=16000)
        self.assertApproximates(rms(clip.pcm[-clip.rate :]), rms(said), 2.0)

    async def end(self) -> None:
        """Hang up."""
        await self.phone.control.command("hangup")
        await self.quiet(self.server)

    async def talk(self, codec: Codec, rate: int) -> None:
        """The telephone hears us, we hear it, and its key comes."""
        application = Talking(str(self.folder / "heard.wav"))
        await self.begin(codec, rate, application)
        await self.hears(OURS)
        await application.recorded
        await self.phone.control.command("sndcode", "7")
        self.assertEqual(await application.digit, "7")
        clip = read_clip(application.path, 48000)
        self.assertEqual(clip.rate, codec.sample_rate)
        middle = clip.pcm[clip.rate :][: clip.rate]
        said = tone.generate((THEIRS,), 0.5, rate=16000)
        self.assertApproximates(rms(middle), rms(said), 2.0)
        expected = amplitude(said, THEIRS, 16000)
        self.assertApproximates(amplitude(middle, THEIRS, clip.rate) / expected, 1.0, 0.25)
        await self.end()


class G722Tests(CodecTestCase):
    """G.722."""

    skip = skip_without(G722)

    async def test_echo(self) -> None:
        """A tone of 5 kHz comes back as it was said."""
        await self.begin(G722, 16000, EchoApplication())
        await self.hears(THEIRS)
        await self.end()

    async def test_both_ways(self) -> None:
        """Each side hears the other in wideband, and keys come as events."""
        await self.talk(G722, 16000)


class OpusTests(CodecTestCase):
    """Opus."""

    skip = skip_without(OPUS)

    async def test_echo(self) -> None:
        """A tone of 5 kHz comes back as it was said."""
        await self.begin(OPUS, 48000, EchoApplication())
        await self.hears(THEIRS)
        await self.end()

    async def test_both_ways(self) -> None:
        """Each side hears the other in wideband, and keys come as events."""
        await self.talk(OPUS, 48000)
