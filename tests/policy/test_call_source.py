# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the source: a program hears the peer, within bounds, until the call ends."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.call import AudioSource, Call
from sipsess.call.source import MAX_FRAMES
from sipsess.errors import DialogStateError, LocalError
from sipsess.media import PCMU
from sipsess.session import SessionEnded
from tests.policy.calls import TENTH, CallTestCase, answer
from tests.pure.signals import amplitude, samples, to_pcm

SECOND = TENTH * 10


class SourceTests(CallTestCase):
    """A callee who speaks, and a caller whose program listens."""

    def setUp(self) -> None:
        """Open a source on a call that stands."""
        self.start(answer)
        self.source = self.caller.audio_in()

    @property
    def callee(self) -> Call:
        """The other side."""
        assert self.script.call is not None
        return self.script.call

    def collect(self, source: AudioSource) -> tuple[list[bytes], Deferred[None]]:
        """Return a list that the frames are added to, and what fires when there are no more."""

        async def listen() -> None:
            async for frame in source:
                frames.append(frame)

        frames: list[bytes] = []
        return frames, Deferred.fromCoroutine(listen())

    def test_frames(self) -> None:
        """The program hears what is said, in order, 20 ms at a time."""
        frames, over = self.collect(self.source)
        self.callee.play(SECOND)
        self.net.run_for(2)
        self.assertEqual({len(frame) for frame in frames}, {320})
        self.assertIn(PCMU.decode(PCMU.encode(SECOND)), b"".join(frames))
        self.assertNoResult(over)
        self.hang_up()
        self.successResultOf(over)

    def test_rate(self) -> None:
        """The program hears at the rate that it wants."""
        wide = self.caller.audio_in(16000)
        frames, _ = self.collect(wide)
        self.callee.play_tone([440], 1)
        self.net.run_for(1)
        self.assertEqual({len(frame) for frame in frames}, {640})
        # Every other sample is the tone at 8 kHz.
        half = to_pcm(list(samples(b"".join(frames[10:20])))[::2])
        self.assertGreater(amplitude(half, 440), 1000)
        self.assertRaises(LocalError, self.caller.audio_in, 1)
        self.hang_up()

    def test_peer_hangs_up(self) -> None:
        """The loop ends when the peer hangs up."""
        frames, over = self.collect(self.source)
        self.net.run_for(0.1)
        self.assertEqual(frames, [])
        self.placed.hang_up_callee()
        self.net.run_for(1)
        self.successResultOf(over)
        self.assertEqual(self.successResultOf(self.source.read()), b"")
        self.assertRaises(SessionEnded, self.caller.audio_in)
        self.hang_up()

    def test_bounded(self) -> None:
        """A program that does not keep up loses the oldest frames, and can tell how many."""
        self.callee.play(SECOND * 5)
        self.net.run_for(5)
        self.assertGreater(self.source.dropped, 100)
        dropped = self.source.dropped
        frames, _ = self.collect(self.source)
        self.assertEqual(len(frames), MAX_FRAMES)
        self.assertEqual(self.source.dropped, dropped)
        self.hang_up()

    def test_newest(self) -> None:
        """What is left for a program that was behind is what was said last."""
        self.callee.play(b"\x00\x10" * 24000 + b"\x00\x30" * 8000)
        self.net.run_for(4.1)
        frames, _ = self.collect(self.source)
        loud = [max(samples(frame)) > 8000 for frame in frames]
        self.assertApproximates(loud.count(True), 50, 2)
        self.hang_up()

    def test_one_reader(self) -> None:
        """Two cannot take frames at the same time; who is cancelled makes room."""
        reading = self.source.read()
        self.assertRaises(DialogStateError, self.source.read)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertNoResult(self.source.read())
        self.hang_up()

    def test_close(self) -> None:
        """A source that was closed ends the loop, and costs nothing any more."""
        frames, over = self.collect(self.source)
        self.callee.play(SECOND)
        self.net.run_for(0.5)
        count = len(frames)
        self.source.close()
        self.source.close()
        self.successResultOf(over)
        self.net.run_for(0.1)
        self.assertEqual(len(frames), count)
        self.assertEqual(self.successResultOf(self.source.read()), b"")
        self.assert_unheard()
        self.hang_up()

    def assert_unheard(self) -> None:
        """Fail when anybody listens to the stream."""
        assert self.caller.audio is not None
        self.assertIsNone(self.caller.audio._hearing)

    def test_context(self) -> None:
        """Leaving the context closes the source; two may be open at once."""
        with self.caller.audio_in() as other:
            frames, over = self.collect(other)
            self.callee.play(SECOND)
            self.net.run_for(0.5)
        self.successResultOf(over)
        self.assertGreater(len(frames), 10)
        self.assertFalse(self.source.is_closed)
        self.hang_up()

    def test_nobody_holds_it(self) -> None:
        """A source that the program has forgotten stops to listen."""
        del self.source
        gc.collect()
        self.assert_unheard()
        self.hang_up()

    def test_forgotten_between_frames(self) -> None:
        """A loop that was left leaves nothing behind."""

        async def listen() -> bytes:
            async for frame in self.caller.audio_in():
                return frame
            return b""

        del self.source
        self.callee.play(SECOND)
        heard = Deferred.fromCoroutine(listen())
        self.net.run_for(0.5)
        self.assertEqual(len(self.successResultOf(heard)), 320)
        gc.collect()
        self.assert_unheard()
        self.hang_up()

    def test_another_peer(self) -> None:
        """When the call moves the program hears the new peer, whether it waits or not."""
        idle = self.caller.audio_in()
        frames, _ = self.collect(self.source)
        self.move()
        self.assertNoResult(idle.read())
        self.callee.play(SECOND)
        self.net.run_for(0.5)
        self.assertGreater(len(frames), 10)
        self.assertEqual(len(self.successResultOf(idle.read())), 320)
        self.hang_up()

    def test_no_audio(self) -> None:
        """A call that has lost its audio is silent until it ends."""
        assert self.caller.audio is not None
        self.caller.session.media.streams[0] = None
        reading = self.source.read()
        self.assertNoResult(reading)
        self.assertRaises(DialogStateError, self.caller.audio_in)

    def test_application(self) -> None:
        """An application that listens is cancelled when its caller hangs up, and cleans up."""
        log: list[Any] = []

        async def application(call: Call) -> None:
            await call.answer()
            try:
                async for frame in call.audio_in():
                    log.append(frame)
                log.append("over")
            finally:
                log.append("cleans up")

        self.hang_up()
        self.start(application)
        self.caller.play(TENTH)
        self.net.run_for(1)
        self.assertGreater(len(log), 4)
        self.hang_up()
        self.assertIsInstance(self.script.error, CancelledError)
        self.assertEqual(log[-1], "cleans up")
        self.assertNotIn("over", log)

    def test_echo(self) -> None:
        """What is heard can be played: a source is a sound."""
        self.source.close()

        async def application(call: Call) -> None:
            await call.answer()
            await call.play(frames(call))

        async def frames(call: Call) -> AsyncIterator[bytes]:
            async for frame in call.audio_in():
                yield frame

        self.hang_up()
        self.start(application)
        heard, _ = self.collect(self.caller.audio_in())
        self.caller.play(TENTH * 3)
        self.net.run_for(2)
        self.assertIn(PCMU.decode(PCMU.encode(TENTH * 2)), b"".join(heard))
        self.hang_up()
