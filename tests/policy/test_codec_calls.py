# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls with other codecs than G.711: what is negotiated, heard and pressed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.codec import CODECS, Codec
from sipsess.endpoint import Endpoint
from sipsess.media import PCMA, PCMU, RTPPacket, WAVWriter, tone
from sipsess.media.g722 import G722
from sipsess.media.l16 import L16_16000
from sipsess.media.opus import OPUS, OpusCodec
from sipsess.message import Response
from sipsess.sdphandlers.audio import find_audio
from sipsess.testing import Agent, CallPair, VirtualNetwork
from tests.policy.phone import Phone, sdp_of
from tests.policy.test_endpoint_calls import gate_for
from tests.pure.codecs import Plain
from tests.pure.extras import skip_without
from tests.pure.signals import amplitude, rms

WIDE = Plain("wide", 48000, channels=2, sample_rate=16000, fmtp="ours=1")


class Waiting(Application):
    """Answers, and does nothing until the caller hangs up."""

    name = "waiting"

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        await call.answer()
        await call.ended


class PhoneTests(SynchronousTestCase):
    """A telephone calls an endpoint that may speak this and that."""

    def setUp(self) -> None:
        """A network with a telephone."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)

    def start(self, *codecs: Codec, application: Any = None, **fields: Any) -> None:
        """Begin; everybody is an endpoint that may speak all these codecs."""
        endpoint = Endpoint("trunk", codecs=tuple(codec.name for codec in codecs), **fields)
        application = application or EchoApplication()
        self.agent = Agent(
            self.net.host("192.0.2.1"),
            codecs=codecs,
            gates=[gate_for(endpoint)],
            applications=[application],
            application=application.name,
        )

    def call(self, formats: str, *attributes: str) -> Response:
        """Call with an offer of these formats; return the answer."""
        body = self.phone.sdp(formats=formats, extra=[f"a={line}" for line in attributes])
        return self.phone.call(body=body.replace("a=ptime:20\r\n", ""))

    def end(self, answer: Response) -> None:
        """Hang up and check that nothing is left."""
        self.phone.send(self.phone.request_within(answer, "BYE"), ("192.0.2.1", 5060))
        self.phone.expect(200)
        self.net.run_for(70)
        self.net.assert_quiet()

    def test_answer(self) -> None:
        """What is spoken, in the order and with the numbers of the offer, and with our fmtp."""
        self.start(PCMU, WIDE)
        answer = self.call(
            "111 0 110 101",
            *("rtpmap:111 wide/48000/2", "fmtp:111 theirs=2", "rtpmap:101 telephone-event/8000"),
            "rtpmap:110 telephone-event/48000",
        )
        (media,) = sdp_of(answer).media
        self.assertEqual(media.formats, ["111", "0", "110", "101"])
        self.assertEqual(media.attributes.get_all("fmtp"), ["111 ours=1", "110 0-15", "101 0-15"])
        (session,) = self.agent.sessions
        audio = find_audio(session)
        assert audio is not None
        self.assertEqual((audio.codec, audio.sample_rate), (WIDE, 16000))
        self.end(answer)

    def test_what_is_not_installed_is_not_answered(self) -> None:
        """Without its extra a codec is as if the endpoint did not have it."""
        self.start(OpusCodec("no_such_module"), PCMU)
        answer = self.call("111 0", "rtpmap:111 opus/48000/2")
        self.assertEqual(sdp_of(answer).media[0].formats, ["0"])
        self.end(answer)

    def test_nothing_that_is_offered_is_installed(self) -> None:
        """Such a call is refused (488)."""
        self.start(OpusCodec("no_such_module"), PCMU)
        body = self.phone.sdp(formats="111", extra=["a=rtpmap:111 opus/48000/2"])
        self.phone.send(self.phone.invite("sip:x@192.0.2.1", body=body))
        self.phone.ack(self.phone.expect(488))
        self.net.run_for(70)
        self.net.assert_quiet()

    def test_packets_as_the_peer_wants_them(self) -> None:
        """A peer gets packets of its ptime, and never longer ones than its maxptime."""
        for lines, size in (
            (("ptime:40",), 320),
            (("ptime:40", "maxptime:30"), 240),
            (("maxptime:60",), 160),
            (("ptime:10",), 160),
            (("ptime:9999",), 960),
            (("ptime:nonsense", "maxptime:0"), 160),
        ):
            self.setUp()
            self.start(PCMU)
            answer = self.call("0", *lines)
            (session,) = self.agent.sessions
            audio = find_audio(session)
            assert audio is not None
            audio.play(bytes(3840))
            self.net.run_for(0.5)
            sizes = {len(packet.payload) for packet in self.phone.ear.packets}
            self.assertEqual(sizes, {size}, lines)
            self.end(answer)

    def test_packets_of_any_length_are_heard(self) -> None:
        """Whatever the length of a peer's packets is, all that he says is heard."""
        for milliseconds in (10, 30, 40, 60):
            self.setUp()
            self.start(PCMU)
            answer = self.call("0")
            (session,) = self.agent.sessions
            audio = find_audio(session)
            assert audio is not None
            heard: list[bytes] = []
            audio.listen(lambda pcm, rate, heard=heard: heard.append(pcm))  # type: ignore[misc]
            said = tone.generate((1000.0,), 0.6)
            payload, size = PCMU.encode(said), 8 * milliseconds
            port = sdp_of(answer).media[0].port
            for at in range(0, len(payload), size):
                packet = RTPPacket(0, at // size, at, 0x1234, payload[at : at + size])
                self.phone.rtp.write(packet.pack(), ("192.0.2.1", port))
                self.net.run_for(milliseconds / 1000)
            self.net.run_for(0.1)
            whole = b"".join(heard)
            loud = [amplitude(whole[at : at + 320], 1000) for at in range(0, len(whole), 320)]
            frames = sum(value > 0.7 * amplitude(said, 1000) for value in loud)
            self.assertGreaterEqual(frames, 28, milliseconds)
            self.end(answer)


class PairCase(SynchronousTestCase):
    """We call ourselves."""

    def begin(self, *codecs: Codec, application: Any = None) -> None:
        """Start a call in which both sides may speak these codecs."""
        names = tuple(codec.name for codec in codecs)
        self.endpoint = Endpoint("trunk", codecs=names)
        self.pair = CallPair(
            application=application or EchoApplication(),
            codecs={codec.name: codec for codec in (*CODECS, *codecs)}.values(),
            gates=[gate_for(self.endpoint)],
        )
        self.call = self.pair.dial(endpoint=self.endpoint)
        self.pair.net.run_for(1)
        audio = find_audio(self.call.session)
        assert audio is not None
        self.audio = audio

    def end(self) -> None:
        """Hang up and check that nothing is left."""
        self.call.session.terminate()
        self.pair.net.run_for(70)
        self.pair.net.assert_quiet()

    def hear_echo(self, pitch: float) -> None:
        """Say a tone in wideband; it comes back as loud and as high."""
        said = tone.generate((pitch,), 1.0, rate=16000)
        heard: list[bytes] = []
        self.audio.listen(lambda pcm, rate: heard.append(pcm))
        self.audio.play(said, rate=16000)
        self.pair.net.run_for(1.5)
        whole = b"".join(heard)
        at = next(at for at in range(0, len(whole), 2) if whole[at : at + 2] > b"\x00\x00")
        middle = whole[at + 9600 :][:16000]
        self.assertApproximates(rms(middle), rms(said), 1.5)
        expected = amplitude(said, pitch, 16000)
        self.assertApproximates(amplitude(middle, pitch, 16000) / expected, 1.0, 0.2)


class WideTests(PairCase):
    """Codecs that need nothing."""

    def test_l16(self) -> None:
        """A tone above what G.711 carries comes back."""
        self.begin(L16_16000, PCMU)
        self.assertIs(self.audio.codec, L16_16000)
        self.hear_echo(5000.0)
        self.end()

    def test_files(self) -> None:
        """A file is said at the rate of the call, whatever its own is, in pitch and length."""
        path = f"{self.mktemp()}.wav"
        for rate, pitch in ((8000, 3000.0), (16000, 5000.0), (44100, 5000.0)):
            writer = WAVWriter(path, rate=rate)
            writer.write(tone.generate((pitch,), 0.5, rate=rate))
            writer.close()
            self.begin(L16_16000, application=Waiting())
            (session,) = self.pair.callee.sessions
            call = session.channel
            assert call is not None
            heard: list[bytes] = []
            self.audio.listen(lambda pcm, rate, heard=heard: heard.append(pcm))  # type: ignore[misc]
            call.play(path)
            self.pair.net.run_for(1)
            loud = b"".join(pcm for pcm in heard if rms(pcm) > -30)
            self.assertApproximates(len(loud) / 32000, 0.5, 0.05)
            self.assertGreater(amplitude(loud[3200:12800], pitch, 16000), 4000)
            self.end()

    def test_keys(self) -> None:
        """Keys go and come as events at the clock of the codec."""
        self.begin(WIDE, PCMU)
        (callee,) = self.pair.callee.sessions
        far = find_audio(callee)
        assert far is not None
        pressed: list[str] = []
        far.on_digit = pressed.append
        self.assertTrue(self.audio.has_events)
        self.audio.send_digits("12#")
        self.pair.net.run_for(1)
        self.assertEqual(pressed, ["1", "2", "#"])
        self.end()


class G722Tests(PairCase):
    """G.722 from end to end."""

    skip = skip_without(G722)

    def test_echo(self) -> None:
        """A tone above what G.711 carries comes back."""
        self.begin(G722, PCMA)
        self.assertIs(self.audio.codec, G722)
        self.hear_echo(5000.0)
        self.end()


class OpusTests(PairCase):
    """Opus from end to end."""

    skip = skip_without(OPUS)

    def test_echo(self) -> None:
        """A tone above what G.711 carries comes back."""
        self.begin(OPUS, PCMA)
        self.assertIs(self.audio.codec, OPUS)
        self.hear_echo(5000.0)
        self.end()
