# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Streams whose codecs have other rates than 8 kHz, by the signal."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media import PCMA, PCMU, AudioStream, Codec, Playback, RTPPacket, tone
from sipsess.media.hearing import Hearing
from sipsess.media.jitter import WINDOW
from sipsess.media.telephone_event import MAX_DURATION, DigitSender
from tests.pure.codecs import Plain
from tests.pure.signals import amplitude, rms
from tests.pure.test_media_stream import HERE, THERE, digit, hear, make, rtp

#: As G.722 has it (RFC 3551 4.5.2), and as Opus (RFC 7587 4.1).
ODD = Plain("ODD", 8000, sample_rate=16000, payload_type=97)
WIDE = Plain("WIDE", 48000, payload_type=98)


def send_all(stream: AudioStream, ticks: int = 100) -> list[RTPPacket]:
    """Return what leaves within some ticks."""
    made = (stream.tick(number / 50) for number in range(ticks))
    return [RTPPacket.parse(data) for data in made if data is not None]


class SendTests(SynchronousTestCase):
    """What is played at one rate leaves at that of the codec."""

    def test_a_tone_keeps_level_and_pitch(self) -> None:
        """8 kHz become the codec's rate: the same tone, as loud, for as long."""
        for codec in (ODD, WIDE):
            stream, played = make(codec), tone.generate((1000.0,), 0.5)
            stream.play(played)
            packets = send_all(stream)
            said = b"".join(packet.payload for packet in packets)
            self.assertEqual((stream.sample_rate, len(packets)), (codec.sample_rate, 25))
            self.assertApproximates(rms(said), rms(played), 0.5)
            self.assertApproximates(
                amplitude(said, 1000, codec.sample_rate), amplitude(played, 1000), 300
            )

    def test_a_rate_of_its_own(self) -> None:
        """PCM of 16 kHz is said over G.711 at half as many samples."""
        stream, played = make(), tone.generate((1000.0,), 0.5, rate=16000)
        stream.play(played, rate=16000)
        said = b"".join(PCMU.decode(packet.payload) for packet in send_all(stream))
        self.assertEqual(len(said), len(played) // 2)
        self.assertApproximates(rms(said), rms(played), 0.5)

    def test_the_timestamp_counts_the_rtp_clock(self) -> None:
        """20 ms are 160 units at a clock of 8 kHz, whatever is sampled, and 960 at 48 kHz."""
        for codec, ticks in ((ODD, 160), (WIDE, 960)):
            stream = make(codec)
            stream.play(bytes(640))
            one, two = send_all(stream)[:2]
            self.assertEqual(two.timestamp - one.timestamp & 0xFFFFFFFF, ticks)

    def test_a_silence_counts_the_rtp_clock(self) -> None:
        """After a second without packets the timestamp has gone on by a second."""
        stream = make(WIDE)
        stream.play(bytes(320))
        first = send_all(stream, 1)[0]
        stream.play(bytes(320))
        data = stream.tick(1.0)
        assert data is not None
        second = RTPPacket.parse(data)
        self.assertEqual((second.timestamp - first.timestamp & 0xFFFFFFFF), 48000)
        self.assertTrue(second.marker)

    def test_another_codec_while_playing(self) -> None:
        """What is left of a prompt goes on at the rate of the new codec."""
        stream, played = make(), tone.generate((1000.0,), 0.4)
        stream.play(played)
        send_all(stream, 10)
        stream.set_format(WIDE, 98, None)
        packets = [RTPPacket.parse(stream.tick(number / 50) or b"") for number in range(10, 20)]
        said = b"".join(packet.payload for packet in packets)
        self.assertEqual({len(packet.payload) for packet in packets}, {1920})
        self.assertApproximates(rms(said), rms(played), 0.5)
        self.assertApproximates(amplitude(said, 1000, 48000), amplitude(played, 1000), 300)

    def test_a_rate_that_cannot_be_converted(self) -> None:
        """It is refused at once, not while it is sent."""
        self.assertRaises(LocalError, make().play, b"", None, 10)

    def test_keys_as_tones(self) -> None:
        """Without telephone-event the tones are made at the codec's rate."""
        stream = make(WIDE, None)
        stream.send_digits("5")
        said = b"".join(packet.payload for packet in send_all(stream))[:9600]
        strengths = {hz: amplitude(said, hz, 48000) for hz in (697, 770, 852, 1209, 1336, 1477)}
        self.assertEqual(sorted(sorted(strengths, key=strengths.__getitem__)[-2:]), [770, 1336])


class RestTests(SynchronousTestCase):
    """A playback whose frames get another rate."""

    def test_what_was_begun_is_converted(self) -> None:
        """A piece that was cut in half is said at the new rate, and then the next ones."""
        playback = Playback(iter([bytes(480), bytes(320)]), None)
        self.assertEqual(len(playback.next_frame() or b""), 320)
        lengths = [len(playback.next_frame(640, 16000) or b"") for _ in range(2)]
        self.assertEqual(lengths, [640, 640])
        self.assertIsNone(playback.next_frame(640, 16000))

    def test_back_at_its_own_rate(self) -> None:
        """At the rate of the PCM nothing is converted."""
        playback = Playback(iter([bytes(320), b"\x01\x02" * 160]), None)
        playback.next_frame(640, 16000)
        self.assertEqual(playback.next_frame(), b"\x01\x02" * 160)


class EchoTests(SynchronousTestCase):
    """What comes in one codec goes back in another."""

    def echo(self, codec: Codec, accepts: dict[int, Codec | None]) -> AudioStream:
        """Return a stream that echoes into :attr:`sent`."""
        stream = make(codec, remote=HERE, accepts=accepts)
        stream.echo = True
        self.sent: list[bytes] = []
        stream.send_now = lambda data, address: self.sent.append(RTPPacket.parse(data).payload)
        return stream

    def test_between_rates(self) -> None:
        """A tone that comes in G.711 goes back at 48 kHz, as loud and as high."""
        stream = self.echo(WIDE, {8: PCMA})
        played = tone.generate((1000.0,), 0.4)
        for number in range(20):
            frame = PCMA.encode(played[320 * number : 320 * number + 320])
            stream.receive(rtp(number, frame, kind=8), HERE, number / 50)
        said = b"".join(self.sent)
        self.assertApproximates(rms(said), rms(played), 0.5)
        self.assertApproximates(amplitude(said, 1000, 48000), amplitude(played, 1000), 300)

    def test_what_means_nothing_is_not_sent(self) -> None:
        """A payload that cannot be decoded makes no packet."""
        stream = self.echo(PCMU, {98: WIDE})
        stream.receive(rtp(1, b"a", kind=98), HERE, 0.0)
        self.assertEqual(self.sent, [])

    def test_other_codecs_take_another_transcoder(self) -> None:
        """Frames of two codecs, and a new format, each get what decodes and encodes them."""
        stream = self.echo(WIDE, {8: PCMA, 0: PCMU})
        for number, kind in enumerate((8, 8, 0, 0)):
            if number == 3:
                stream.set_format(ODD, 97, None)
            stream.receive(rtp(number, b"\x55" * 160, kind=kind), HERE, number / 50)
        self.assertEqual([len(payload) for payload in self.sent], [1920, 1920, 1920, 640])


class HearTests(SynchronousTestCase):
    """Listeners are told the rate of what is heard."""

    def test_the_rate_of_the_codec(self) -> None:
        """Frames of 20 ms come at the rate of the codec that is heard."""
        for codec in (ODD, WIDE):
            stream = make(codec)
            heard: list[tuple[int, int]] = []
            stream.listen(lambda pcm, rate, heard=heard: heard.append((len(pcm), rate)))  # type: ignore[misc]
            frame, ticks = bytes(codec.sample_rate // 25), codec.clock_rate // 50
            for number in range(10):
                packet = rtp(number, frame, kind=codec.payload_type or 0, timestamp=number * ticks)
                stream.receive(packet, THERE, number / 50)
                stream.tick(number / 50)
            self.assertEqual(set(heard), {(len(frame), codec.sample_rate)})

    def test_another_codec_while_listening(self) -> None:
        """The frames have the rate of the old codec, then that of the new one, and are whole."""
        stream, heard = make(accepts={98: WIDE}), list[tuple[int, int]]()
        stream.listen(lambda pcm, rate: heard.append((len(pcm), rate)))
        for number in range(40):
            is_old = number < 20
            frame = b"\xff" * 160 if is_old else bytes(1920)
            kind, stamp = (0, 160 * number) if is_old else (98, 3200 + 160 * (number - 20))
            stream.receive(rtp(number, frame, kind=kind, timestamp=stamp), THERE, number / 50)
            stream.tick(number / 50)
        rates = [rate for _, rate in heard]
        self.assertEqual(set(heard), {(320, 8000), (1920, 48000)})
        self.assertEqual(rates, sorted(rates))

    def test_another_clock_while_listening(self) -> None:
        """A codec whose timestamps count otherwise is heard from its first packet on."""
        stream, heard = make(accepts={98: WIDE}), list[int]()
        stream.listen(lambda pcm, rate: heard.append(rate if any(pcm) else 0))
        for number in range(40):
            is_old = number < 20
            frame = b"\x00" * 160 if is_old else b"\x10" * 1920
            kind, stamp = (0, 160 * number) if is_old else (98, 960 * number)
            stream.receive(rtp(number, frame, kind=kind, timestamp=stamp), THERE, number / 50)
            stream.tick(number / 50)
        self.assertEqual([heard.count(8000), heard.count(48000)], [18, 18])

    def test_another_codec_while_catching_up(self) -> None:
        """Where a frame is left out between two codecs, the newer one is heard whole."""
        hearing, heard = Hearing(), list[tuple[int, int]]()
        hearing.add(lambda pcm, rate: heard.append((len(pcm), rate)), lambda listening: None)
        # On so steady a network one frame of the first delay is skipped.
        count = 3 * WINDOW
        for number in range(count):
            codec, payload = (PCMU, b"\xff" * 160) if number % 2 else (ODD, bytes(640))
            packet = RTPPacket(0, number, 160 * number, 9, payload)
            hearing.receive(codec, packet, is_newest=True, now=number / 50)
            hearing.tick(number / 50)
        # The first delay is nobody's silence.
        self.assertEqual(len(heard), count - 2)
        self.assertEqual(set(heard), {(320, 8000), (640, 16000)})
        same = [one for one, two in pairwise(heard[4:]) if one == two]
        self.assertEqual(len(same), 1)

    def test_a_payload_that_means_nothing(self) -> None:
        """It is concealed as if it were lost: nothing raises, and each frame is whole."""
        stream, heard = make(WIDE), list[bytes]()
        hear(stream, heard)
        for number in range(10):
            payload = b"abc" if number == 5 else b"\x10\x10" * 960
            packet = rtp(number, payload, kind=98, timestamp=number * 960)
            stream.receive(packet, THERE, number / 50)
            stream.tick(number / 50)
        self.assertGreaterEqual(len(heard), 8)
        self.assertEqual({len(pcm) for pcm in heard}, {1920})


class EventTests(SynchronousTestCase):
    """Keys at the clock of the audio (RFC 4733 section 2.1)."""

    def test_durations_count_the_rtp_clock(self) -> None:
        """At 48 kHz 100 ms are 4800 units."""
        sender = DigitSender("1")
        packets = [sender.next_packet(960 * number, 960) for number in range(9)]
        lengths = [int.from_bytes(packet.payload[2:]) for packet in packets if packet is not None]
        self.assertEqual(lengths, [960, 1920, 2880, 3840, 4800, 4800, 4800])

    def test_a_late_key_is_known_by_the_rtp_clock(self) -> None:
        """A key of most of a second before the newest one comes too late, at 48 kHz too."""
        stream = make(WIDE, accepts={98: WIDE, 101: None})
        heard: list[str] = []
        stream.on_digit = heard.append
        for sequence, code, timestamp in ((11, 5, 90000), (10, 4, 90000 - 40000), (12, 6, 98000)):
            stream.receive(digit(code, sequence, timestamp, True), THERE, 1.0)
        self.assertEqual(heard, ["5", "6"])

    def test_a_long_key_ends_where_its_bits_end(self) -> None:
        """Two seconds at 48 kHz would not fit into 16 bits."""
        sender = DigitSender("1", duration=2.0)
        packets = [sender.next_packet(960 * number, 960) for number in range(110)]
        lengths = [int.from_bytes(packet.payload[2:]) for packet in packets if packet is not None]
        self.assertEqual(max(lengths), MAX_DURATION // 960 * 960)


class DescriptionTests(SynchronousTestCase):
    """What a codec says of itself."""

    def test_defaults(self) -> None:
        """A name in capitals, PCM at the clock, one channel."""
        codec = Codec("Odd", 16000)
        self.assertEqual(
            (codec.name, codec.rtpmap, repr(codec)), ("ODD", "Odd/16000", "<codec ODD>")
        )
        self.assertEqual(codec.key, ("odd", 16000, 1))
        self.assertEqual((codec.sample_rate, codec.duration(b"abc")), (16000, 3))

    def test_two_channels(self) -> None:
        """The number of channels stands in a=rtpmap unless it is one (RFC 8866 section 6.6)."""
        codec = Codec("opus", 48000, channels=2)
        self.assertEqual((codec.rtpmap, codec.key), ("opus/48000/2", ("opus", 48000, 2)))

    def test_who_encodes_is_not_said(self) -> None:
        """The base knows no payloads."""
        codec = Codec("odd", 8000)
        self.assertRaises(NotImplementedError, codec.make_encoder)
        self.assertRaises(NotImplementedError, codec.make_decoder)
