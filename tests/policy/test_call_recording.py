# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of recordings: what is in the file, and what ends them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError

from sipsess.call import Recorded, Recording
from sipsess.media import PCMU, WAVWriter
from sipsess.session import SessionEnded
from tests.policy.calls import TENTH, CallTestCase, answer
from tests.pure.signals import amplitude, samples, to_pcm


class RecordingTests(CallTestCase):
    """A caller's side that records; the callee speaks."""

    def setUp(self) -> None:
        """Let a call stand."""
        self.start(answer)
        assert self.script.call is not None
        self.callee = self.script.call
        self.path = Path(self.mktemp() + ".wav")

    def record(self, **options: Any) -> Recorded:
        """Begin to record."""
        return self.caller.record(self.path, **options)

    def channels(self) -> tuple[bytes, ...]:
        """Return what was recorded, channel by channel."""
        with wave.open(str(self.path)) as reader:
            count, rate = reader.getnchannels(), reader.getframerate()
            self.assertEqual(rate, 8000)
            values = samples(reader.readframes(reader.getnframes()))
        return tuple(to_pcm(list(values[at::count])) for at in range(count))

    def test_stereo(self) -> None:
        """Both sides are in the file, the peer on the left, each when it was said."""
        recorded = self.record(stereo=True)
        self.net.run_for(0.5)
        self.callee.play_tone([440], 0.5)
        self.net.run_for(1)
        self.caller.play_tone([1000], 0.5)
        self.net.run_for(1)
        recorded.stop()
        recording = self.successResultOf(recorded)
        self.assertEqual(recording.ended_by, "stop")
        left, right = self.channels()
        self.assertEqual(len(left), len(right))
        self.assertApproximates(recording.seconds, 2.5, 0.03)
        # Seconds to bytes.
        for pcm, pitch, begin in ((left, 440, 0.5), (right, 1000, 1.5)):
            inside = pcm[int((begin + 0.1) * 16000) : int((begin + 0.45) * 16000)]
            self.assertGreater(amplitude(inside, pitch), 4000)
            self.assertFalse(any(pcm[: int((begin - 0.02) * 16000)]))
            self.assertFalse(any(pcm[int((begin + 0.65) * 16000) : int((begin + 0.9) * 16000)]))
        self.hang_up()

    def test_stereo_of_a_bridge(self) -> None:
        """What is relayed to the peer is on the right."""
        other = self.pair.dial()
        self.net.run_for(1)
        far = self.pair.caller.manager.make_call(other.session)
        self.caller.bridge(far).addErrback(lambda failure: failure.trap(CancelledError))
        recorded = self.record(stereo=True)
        assert self.script.call is not None
        # The callee of the second call speaks.
        self.script.call.play(TENTH * 5)
        self.net.run_for(1)
        recorded.stop()
        self.successResultOf(recorded)
        left, right = self.channels()
        self.assertIn(PCMU.decode(PCMU.encode(TENTH * 5)), right)
        self.assertFalse(any(left))
        self.hang_up()

    def test_stop(self) -> None:
        """The program ends a recording when it likes; stopping twice is stopping once."""
        recorded = self.record()
        self.callee.play(TENTH)
        self.net.run_for(0.5)
        recorded.stop()
        recording = self.successResultOf(recorded)
        self.assertEqual(recording[0:1] + recording[2:], (self.path, "", "stop"))
        recorded.stop()
        self.caller.record(self.path).addErrback(lambda _: None)
        self.hang_up()

    def end(self, recorded: Recorded, seconds: float) -> Recording:
        """Return a recording that must end by itself."""
        self.net.run_for(seconds)
        recording: Recording = self.successResultOf(recorded)
        return recording

    def test_silence(self) -> None:
        """A recording ends when the peer has said nothing for a while."""
        for stereo in (False, True):
            recorded = self.record(max_silence=2.0, stereo=stereo)
            self.callee.play(b"\x00\x40" * 8000)
            self.net.run_for(2.5)
            self.assertNoResult(recorded)
            recording = self.end(recorded, 1)
            self.assertEqual(recording.ended_by, "silence")
            self.assertApproximates(recording.seconds, 3.1, 0.1)

        self.hang_up()

    def test_pauses(self) -> None:
        """Each word begins the silence anew: pauses are not added up."""
        recorded = self.record(max_silence=1.0)
        word, pause = b"\x00\x40" * 800, bytes(2 * 4800)
        self.callee.play((word + pause) * 4)
        self.net.run_for(2.9)
        self.assertNoResult(recorded)
        self.assertEqual(self.end(recorded, 1).ended_by, "silence")
        self.hang_up()

    def test_loud_either_way(self) -> None:
        """A wave that swings to one side only is no silence."""
        for sample in (b"\x00\x40", b"\x00\xc0"):
            recorded = self.record(max_silence=1.0)
            self.callee.play(sample * 16000)
            self.net.run_for(1.9)
            self.assertNoResult(recorded)
            self.assertEqual(self.end(recorded, 1.2).ended_by, "silence")
        self.hang_up()

    def test_quiet_noise_is_silence(self) -> None:
        """The noise of a line does not keep a recording alive."""
        recorded = self.record(max_silence=1.0)
        self.callee.play(b"\x40\x00\xc0\xff" * 16000)
        self.assertEqual(self.end(recorded, 1.5).ended_by, "silence")
        self.hang_up()

    def test_nothing_comes(self) -> None:
        """A peer that never sends anything is silent by the clock."""
        recording = self.end(self.record(max_silence=2.0), 2)
        self.assertEqual((recording.ended_by, recording.seconds), ("silence", 0))
        self.hang_up()

    def test_time(self) -> None:
        """A recording ends when its time is up, also when the peer has paused meanwhile."""
        recorded = self.record(max_silence=0.5, max_seconds=1.5)
        assert self.callee.audio is not None
        self.callee.play(b"\x00\x40" * 80000)
        self.net.run_for(1)
        self.assertNoResult(recorded)
        self.assertEqual(self.end(recorded, 1).ended_by, "time")
        recorded = self.record(max_silence=5, max_seconds=1)
        self.assertEqual(self.end(recorded, 1.1).ended_by, "time")
        self.hang_up()

    def test_hold(self) -> None:
        """On hold nothing is heard, and the time goes on."""
        self.callee.play(TENTH)
        recorded = self.record(max_silence=0.5, max_seconds=2)
        self.net.run_for(0.2)
        self.caller.hold().addErrback(lambda _: None)
        self.net.run_for(1)
        self.assertNoResult(recorded)
        self.assertEqual(self.end(recorded, 1).ended_by, "time")
        self.hang_up()

    def test_key(self) -> None:
        """The key that ends it is told."""
        recorded = self.record(stop_on="*#")
        self.callee.send_digits("*")
        recording = self.end(recorded, 1)
        self.assertEqual((recording.digit, recording.ended_by), ("*", "key"))
        self.hang_up()

    def test_call_ends(self) -> None:
        """When the call ends the recording fails, and its file is complete."""
        recorded = self.outcome(self.record(stereo=True))
        self.callee.play(b"\x00\x40" * 8000)
        self.net.run_for(0.5)
        self.hang_up()
        self.assertIsInstance(recorded[0].value, SessionEnded)
        left, _ = self.channels()
        self.assertApproximates(len(left) / 16000, 0.5, 0.05)

    def test_cancel(self) -> None:
        """Cancelling ends it, and leaves nobody listening."""
        recorded = self.record(stereo=True)
        recorded.cancel()
        self.failureResultOf(recorded, CancelledError)
        assert self.caller.audio is not None
        self.assertFalse(self.caller.audio.wants_ticks)
        self.assertEqual(self.caller.waits, {})
        self.hang_up()

    def test_another_peer(self) -> None:
        """A recording ends when the call moves to another peer."""
        recorded = self.record()
        self.move()
        self.assertEqual(self.successResultOf(recorded).ended_by, "stop")
        self.hang_up()

    def test_disk_is_full(self) -> None:
        """A file that cannot be written any more ends the recording, not the call."""

        def refuse(writer: WAVWriter, *arguments: object) -> None:
            raise OSError("no space is left")

        recorded = self.outcome(self.record())
        self.patch(WAVWriter, "write", refuse)
        self.callee.play(TENTH)
        self.net.run_for(0.5)
        self.assertIsInstance(recorded[0].value, OSError)
        self.assertEqual(self.caller.waits, {})
        self.assertTrue(self.caller.is_answered)
        self.hang_up()

    def test_file_cannot_be_closed(self) -> None:
        """A file whose end cannot be written is noted; the recording is what it is."""

        def refuse(writer: WAVWriter) -> None:
            raise OSError("no space is left")

        recorded = self.record()
        self.patch(WAVWriter, "close", refuse)
        recorded.stop()
        self.assertEqual(self.successResultOf(recorded).seconds, 0)
        self.assertIn("no space is left", "\n".join(self.caller.session.record.lines()))
        self.hang_up()
