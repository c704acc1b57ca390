# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Both legs of a stream: aligned, whatever comes when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.codec import Codec, Decoder
from sipsess.media.codecs import PCMA, PCMU
from sipsess.media.legs import MAX_WAITING, Leg, Legs
from sipsess.media.rtp import MediaError, RTPPacket
from sipsess.media.stream import AudioStream
from tests.pure.test_media_stream import HERE, THERE, make, rtp

SILENCE = bytes(320)
#: Frames that survive mu-law.
ONE, TWO = (PCMU.decode(PCMU.encode(bytes((0, level)) * 160)) for level in (16, 32))


class Broken(Codec):
    """A codec of which no payload means anything."""

    def make_decoder(self) -> Decoder:
        """Return itself."""
        return self

    def decode(self, payload: bytes) -> bytes:
        """Refuse."""
        raise MediaError("rtp-too-short", "it means nothing")


class LegsTests(SynchronousTestCase):
    """A stream both of whose sides are heard."""

    def setUp(self) -> None:
        """Listen to a stream."""
        self.now = 0.0
        self.pairs: list[tuple[bytes, bytes]] = []
        self.stream = make()
        self.legs = self.stream.listen_both(self.hear, 8000)

    def hear(self, heard: bytes, said: bytes) -> None:
        """Keep a pair of frames."""
        self.pairs.append((heard, said))

    def tick(self, count: int = 1) -> list[tuple[bytes, bytes]]:
        """Let frames pass; return what was heard meanwhile."""
        self.pairs.clear()
        for _ in range(count):
            self.now += 0.02
            self.stream.tick(self.now)
        return list(self.pairs)

    def receive(self, sequence: int, pcm: bytes = ONE) -> None:
        """Let a packet of the peer come."""
        self.stream.receive(rtp(sequence, PCMU.encode(pcm)), THERE, self.now)

    def test_silence(self) -> None:
        """Each tick gives a frame of each side, from the beginning on."""
        self.assertTrue(self.stream.wants_ticks)
        self.assertEqual(self.tick(3), [(SILENCE, SILENCE)] * 3)

    def test_both(self) -> None:
        """What is heard and what is said in the same tick is side by side."""
        self.stream.play(TWO * 3)
        for sequence in range(3):
            self.receive(sequence)
        pairs = self.tick(8)
        self.assertEqual([said for _, said in pairs], [TWO] * 3 + [SILENCE] * 5)
        self.assertEqual([heard for heard, _ in pairs].count(ONE), 3)
        self.assertEqual(len(pairs), 8)

    def test_echo(self) -> None:
        """What is echoed is said."""
        self.stream.echo = True
        self.stream.send_now = lambda data, address: None
        self.receive(0)
        self.assertIn(ONE, [said for _, said in self.tick(2)])

    def test_hold(self) -> None:
        """On hold time passes in silence."""
        self.stream.direction = "inactive"
        self.stream.play(TWO)
        self.receive(0)
        self.assertEqual(self.tick(3), [(SILENCE, SILENCE)] * 3)

    def test_rate(self) -> None:
        """Both sides come at the rate that is wanted."""
        wide: list[tuple[bytes, bytes]] = []
        self.stream.listen_both(lambda *pair: wide.append(pair), 16000)
        self.stream.play(TWO * 3)
        self.receive(0)
        self.tick(3)
        self.assertEqual({(len(heard), len(said)) for heard, said in wide}, {(640, 640)})
        self.assertTrue(any(any(said) for _, said in wide))

    def test_other_codec(self) -> None:
        """Another codec of ours is decoded as such."""
        self.stream.play(TWO)
        self.assertEqual(self.tick()[0][1], TWO)
        self.stream.set_format(PCMA, 8, None)
        self.stream.play(TWO)
        self.assertIn(PCMA.decode(PCMA.encode(TWO)), [said for _, said in self.tick(2)])

    def test_relay(self) -> None:
        """What is relayed to the peer is said, as it came: together or late, but in order."""
        sent: list[bytes] = []
        self.stream.send_now = lambda data, address: sent.append(data)
        for sequence, pcm in enumerate((ONE, TWO, ONE)):
            packet = RTPPacket(0, sequence, sequence * 160, 7, PCMU.encode(pcm))
            self.stream.forward(PCMU, packet, self.now)
        self.assertEqual(len(sent), 3)
        self.assertEqual([said for _, said in self.tick(4)], [ONE, TWO, ONE, SILENCE])

    def test_nonsense(self) -> None:
        """What is relayed and means nothing is silence."""
        self.legs.say(Broken("X", 8000), b"x")
        self.assertEqual(self.tick(), [(SILENCE, SILENCE)])

    def test_stop(self) -> None:
        """Stopping is idempotent, leaves nothing, and does not touch another listener."""
        other: list[bytes] = []
        both = self.stream.listen_both(lambda heard, said: other.append(said), 8000)
        self.legs.stop()
        self.legs.stop()
        self.stream.play(TWO)
        self.assertEqual(self.tick(2), [])
        self.assertEqual(other[0], TWO)
        both.stop()
        self.assertIsNone(self.stream._sender.on_audio)
        self.assertFalse(self.stream.wants_ticks)

    def test_close(self) -> None:
        """Closing the stream stops them; a closed one is not heard at all."""
        self.stream.close()
        self.assertEqual(self.tick(2), [])
        late = self.stream.listen_both(self.hear, 8000)
        self.assertIsNone(late.listening)
        self.assertFalse(self.stream.wants_ticks)

    def test_alone(self) -> None:
        """Legs that no stream feeds can be stopped."""
        stopped: list[Legs] = []
        legs = Legs(8000, self.hear, stopped.append)
        legs.stop()
        self.assertEqual(stopped, [legs])

    def test_source_is_right(self) -> None:
        """A stranger's packets are on neither leg."""
        self.stream.receive(rtp(0, PCMU.encode(ONE)), HERE, self.now)
        self.assertEqual(self.tick(2), [(SILENCE, SILENCE)] * 2)
        self.assertIsInstance(self.stream, AudioStream)


class LegTests(SynchronousTestCase):
    """What waits of one leg."""

    def test_rest(self) -> None:
        """Half a frame waits one tick for its rest, and is not cut when that comes."""
        leg = Leg(8000)
        leg.add(ONE[:200], 8000)
        self.assertEqual(leg.take(320), SILENCE)
        leg.add(ONE[200:] + TWO[:200], 8000)
        self.assertEqual(leg.take(320), ONE)
        self.assertEqual(leg.take(320), SILENCE)
        self.assertEqual(leg.take(320), TWO[:200] + bytes(120))
        self.assertEqual(leg.take(320), SILENCE)

    def test_bounded(self) -> None:
        """When more comes than time passes, the oldest goes."""
        leg = Leg(8000)
        leg.add(ONE * 5, 8000)
        leg.add(TWO * MAX_WAITING, 8000)
        self.assertEqual([leg.take(320) for _ in range(MAX_WAITING)], [TWO] * MAX_WAITING)
        self.assertEqual(leg.take(320), SILENCE)
