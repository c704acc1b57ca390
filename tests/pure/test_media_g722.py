# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""G.722, by the signal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import PCMU, RTPPacket, tone
from sipsess.media.g722 import G722, G722Codec
from tests.pure.extras import skip_without
from tests.pure.signals import amplitude, rms
from tests.pure.test_media_stream import THERE, make, rtp


class DescriptionTests(SynchronousTestCase):
    """What it says of itself."""

    def test_two_rates(self) -> None:
        """It samples at 16 kHz, and its RTP clock is 8 kHz (RFC 3551 section 4.5.2)."""
        self.assertEqual((G722.rtpmap, G722.payload_type), ("G722/8000", 9))
        self.assertEqual((G722.sample_rate, G722.duration(bytes(160))), (16000, 160))

    def test_without_the_extra(self) -> None:
        """It says which extra it wants."""
        self.assertIn("sipsess[g722]", G722Codec("no_such_module").missing)


class SignalTests(SynchronousTestCase):
    """What is encoded is heard."""

    skip = skip_without(G722)

    def test_wideband(self) -> None:
        """Tones below and above what G.711 can carry come back as loud as they went."""
        self.assertEqual(G722.missing, "")
        for pitch in (400.0, 3000.0, 6000.0):
            said = tone.generate((pitch,), 0.4, rate=16000)
            encoder, decoder, heard = G722.make_encoder(), G722.make_decoder(), b""
            for at in range(0, len(said), 640):
                payload = encoder.encode(said[at : at + 640])
                self.assertEqual(len(payload), 160)
                heard += decoder.decode(payload)
            self.assertEqual(len(heard), len(said))
            self.assertApproximates(rms(heard[3200:]), rms(said[3200:]), 1.0)
            expected = amplitude(said[3200:], pitch, 16000)
            self.assertApproximates(
                amplitude(heard[3200:], pitch, 16000) / expected, 1.0, 0.15, str(pitch)
            )

    def test_streams_have_a_state_each(self) -> None:
        """Two encoders do not disturb each other."""
        one, two, noise = G722.make_encoder(), G722.make_encoder(), bytes(range(256)) * 3
        first = one.encode(noise) + one.encode(noise)
        other = two.encode(noise)
        one.encode(noise[::-1])
        self.assertEqual(other + two.encode(noise), first)

    def test_across_a_bridge(self) -> None:
        """Between G.711 and G.722 a tone is relayed without seams, in both directions."""
        said = tone.generate((1000.0,), 1.0)
        for source, target in ((PCMU, G722), (G722, PCMU)):
            near, far = make(source, None), make(target, None, seed=2)
            payloads: list[bytes] = []
            far.send_now = lambda data, address, kept=payloads: kept.append(
                RTPPacket.parse(data).payload
            )
            near.on_packet = far.forward
            near_rate, far_rate = source.sample_rate, target.sample_rate
            pcm = tone.generate((1000.0,), 1.0, rate=near_rate)
            encoder, decoder = source.make_encoder(), target.make_decoder()
            for number in range(50):
                frame = pcm[number * near_rate // 25 :][: near_rate // 25]
                packet = rtp(number, encoder.encode(frame), kind=source.payload_type or 0)
                near.receive(packet, THERE, number / 50)
            heard = b"".join(map(decoder.decode, payloads))[far_rate // 5 :]
            self.assertEqual({len(payload) for payload in payloads}, {160})
            self.assertApproximates(rms(heard), rms(said), 1.0)
            # What the tone does not have is 30 dB below it: no clicks, no gaps.
            power = 10 ** (rms(heard) / 20) * 32768 * 2**0.5
            self.assertApproximates(amplitude(heard, 1000.0, far_rate) / power, 1.0, 0.002)

    @settings(deadline=None)
    @given(st.binary(max_size=330))
    def test_any_bytes(self, data: bytes) -> None:
        """Each byte is two samples, whatever a peer sends; odd ends of PCM are dropped."""
        self.assertEqual(len(G722.make_decoder().decode(data)), 4 * len(data))
        self.assertEqual(len(G722.make_encoder().encode(data)), len(data) // 4)
