# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Opus: the lengths of packets, what a peer may want, and the signal."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import Codec, MediaError, tone
from sipsess.media.codec import load_extra
from sipsess.media.opus import OPUS, OpusCodec
from tests.pure.extras import skip_without
from tests.pure.signals import amplitude, rms


class DescriptionTests(SynchronousTestCase):
    """What it says of itself."""

    def test_sdp(self) -> None:
        """It is always opus/48000/2 (RFC 7587 section 7); PCM is at 16 kHz."""
        self.assertEqual(OPUS.rtpmap, "opus/48000/2")
        self.assertEqual((OPUS.name, OPUS.sample_rate, OPUS.payload_type), ("OPUS", 16000, None))

    def test_without_the_extra(self) -> None:
        """It says which extra and which library it wants."""
        self.assertIn("sipsess[opus]", OpusCodec("no_such_module").missing)

    def test_a_binding_without_its_library(self) -> None:
        """Whatever an import raises, the codec is not there."""

        class Finder:
            """Finds one module, whose import fails as that of the binding does."""

            @staticmethod
            def find_spec(name: str, path: Any, target: Any = None) -> None:
                """Raise for the one."""
                if name == "sipsess_without_library":
                    raise RuntimeError("Could not find the library.")

        self.patch(sys, "meta_path", [Finder, *sys.meta_path])
        self.assertIsNone(load_extra("sipsess_without_library"))

    def test_durations(self) -> None:
        """The first byte says how long a frame is, and how many there are (RFC 6716 3.1)."""
        for payload, milliseconds in (
            (b"\x00", 10),
            (bytes([3 << 3]), 60),
            (bytes([11 << 3 | 1]), 120),
            (bytes([12 << 3]), 10),
            (bytes([15 << 3]), 20),
            (bytes([16 << 3]), 2.5),
            (bytes([31 << 3 | 2]), 40),
            (bytes([31 << 3 | 3, 6]), 120),
            (bytes([1 << 3 | 3, 0xC3]), 60),
        ):
            self.assertEqual(OPUS.duration(payload), 48 * milliseconds, payload)

    def test_no_packets(self) -> None:
        """No bytes, no count, no frames, and more than 120 ms are no packets."""
        for payload in (b"", b"\x03", b"\x03\x00", bytes([31 << 3 | 3, 7]), b"\xff\xff\xff"):
            self.assertEqual(OPUS.duration(payload), 0, payload)

    def test_packet_times(self) -> None:
        """Packets are multiples of 20 ms; what a peer wants is rounded down."""
        times = [OPUS.packet_time(wanted, None) for wanted in (None, 10, 30, 40, 60, 500)]
        self.assertEqual(times, [20, 20, 20, 40, 60, 120])
        self.assertEqual(Codec("x", 8000).packet_time(30, None), 30)
        self.assertEqual(OPUS.packet_time(60, 50), 40)
        self.assertEqual(OPUS.packet_time(None, 10), 20)


class FakeEncoder:
    """What the library keeps of a stream."""

    def __init__(self, rate: int, channels: int, application: str) -> None:
        self.made = (rate, channels, application)


class FakeLibrary(ModuleType):
    """Keeps what is set."""

    BANDWIDTH_NARROWBAND = 1101
    BANDWIDTH_MEDIUMBAND = 1102

    def __init__(self) -> None:
        super().__init__("sipsess_fake_opus")
        self.encoders: list[Any] = []

    def Encoder(self, *arguments: Any) -> FakeEncoder:
        """Return an encoder, and keep it."""
        self.encoders.append(FakeEncoder(*arguments))
        found: FakeEncoder = self.encoders[-1]
        return found


class ParameterTests(SynchronousTestCase):
    """What a peer's a=fmtp changes (RFC 7587 section 6.1)."""

    def settings_for(self, fmtp: str) -> dict[str, Any]:
        """Return what is set in the library."""
        library = FakeLibrary()
        self.patch(sys, "modules", {**sys.modules, library.__name__: library})
        OpusCodec(library.__name__).make_encoder(fmtp)
        found = dict(vars(library.encoders[0]))
        self.assertEqual(found.pop("made"), (16000, 1, "voip"))
        return found

    def test_nothing_is_said(self) -> None:
        """Then the bit rate is ours."""
        self.assertEqual(self.settings_for(""), {"bitrate": 32000, "complexity": 5})

    def test_bit_rate(self) -> None:
        """A peer may want less, but not more, nor what Opus has not."""
        for text, expected in (
            *(("6000", 6000), ("20000", 20000), ("64000", 32000)),
            *(("5999", 32000), ("much", 32000), ("1" * 30, 32000), ("٣٠٠٠٠", 32000)),
        ):
            found = self.settings_for(f"maxaveragebitrate={text}")
            self.assertEqual(found["bitrate"], expected, text)

    def test_error_correction(self) -> None:
        """It is made for who can use it."""
        found = self.settings_for("minptime=10; useinbandfec=1")
        self.assertEqual((found["inband_fec"], found["packet_loss_perc"]), (1, 5))
        self.assertNotIn("inband_fec", self.settings_for("useinbandfec=0"))

    def test_constant_bit_rate(self) -> None:
        """As it is wanted."""
        self.assertEqual(self.settings_for("CBR = 1")["vbr"], 0)

    def test_bandwidth(self) -> None:
        """No more is sent than the peer can play."""
        for rate, expected in (("8000", 1101), ("12000", 1102), ("16000", None), ("x", None)):
            found = self.settings_for(f"maxplaybackrate={rate}")
            self.assertEqual(found.get("max_bandwidth"), expected)


class SignalTests(SynchronousTestCase):
    """What is encoded is heard."""

    skip = skip_without(OPUS)

    def test_wideband(self) -> None:
        """Tones below and above what G.711 can carry come back as loud as they went."""
        self.assertEqual(OPUS.missing, "")
        for pitch in (400.0, 3000.0, 6000.0):
            said = tone.generate((pitch,), 0.5, rate=16000)
            encoder, decoder, heard = OPUS.make_encoder(), OPUS.make_decoder(), b""
            for at in range(0, len(said), 640):
                payload = encoder.encode(said[at : at + 640])
                self.assertEqual(OPUS.duration(payload), 960)
                heard += decoder.decode(payload)
            self.assertEqual(len(heard), len(said))
            self.assertApproximates(rms(heard[6400:]), rms(said[6400:]), 1.5, str(pitch))
            expected = amplitude(said[6400:], pitch, 16000)
            self.assertApproximates(
                amplitude(heard[6400:], pitch, 16000) / expected, 1.0, 0.2, str(pitch)
            )

    def test_lengths_that_opus_has_not(self) -> None:
        """Of 30 ms, 20 are sent, and the rest with what comes next; nothing is lost."""
        encoder = OPUS.make_encoder()
        packets = [encoder.encode(bytes(960)) for _ in range(4)]
        self.assertEqual([OPUS.duration(packet) for packet in packets], [960, 1920, 960, 1920])

    def test_less_than_a_packet(self) -> None:
        """A millisecond is no packet yet."""
        encoder = OPUS.make_encoder()
        self.assertEqual(
            [len(encoder.encode(bytes(32))) > 0 for _ in range(3)], [False, False, True]
        )

    def test_too_much(self) -> None:
        """What a program says at once beyond all bounds is not kept."""
        encoder = OPUS.make_encoder()
        encoder.encode(bytes(100_000))
        lengths = [OPUS.duration(encoder.encode(b"")) for _ in range(3)]
        self.assertEqual(lengths, [5760, 0, 0])

    def test_long_packets(self) -> None:
        """The longest packet of a peer is decoded whole."""
        payload = OPUS.make_encoder().encode(bytes(3840))
        self.assertEqual(len(OPUS.make_decoder().decode(payload)), 3840)

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever a peer sends is decoded or refused, and lasts as long as it says."""
        try:
            pcm = OPUS.make_decoder().decode(data)
        except MediaError as error:
            self.assertEqual(error.reason_code, "opus-broken")
        else:
            self.assertEqual(len(pcm), 2 * OPUS.duration(data) // 3)

    def test_refused_bytes(self) -> None:
        """What has the length of a packet and is none is refused by the library."""
        decoder = OPUS.make_decoder()
        for payload in (b"", bytes([1 << 3 | 2, 9]), bytes([31 << 3 | 3, 0x83, 250])):
            self.assertRaises(MediaError, decoder.decode, payload)
