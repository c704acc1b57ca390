# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Recording: each frame where its timestamp puts it."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.recorder import MAX_GAP, Recorder
from sipsess.media.wav import WAVWriter, read_wav

ONE, TWO = b"\x01\x00" * 160, b"\x02\x00" * 160


class RecorderTests(SynchronousTestCase):
    """What is in the file."""

    def setUp(self) -> None:
        """Record into memory."""
        self.file = io.BytesIO()
        self.ends: list[bool] = []
        self.recorder = Recorder(WAVWriter(self.file), done=self.ends.append)

    def heard(self) -> bytes:
        """Close and read back."""
        self.recorder.close()
        return read_wav(io.BytesIO(self.file.getvalue()))

    def test_frames_follow_each_other(self) -> None:
        """Without gaps the file is the frames."""
        self.recorder.write(ONE, 5000)
        self.recorder.write(TWO, 5160)
        self.assertEqual(self.recorder.seconds, 0.04)
        self.assertEqual(self.heard(), ONE + TWO)

    def test_gap_is_silence(self) -> None:
        """Lost packets leave a hole of their length."""
        self.recorder.write(ONE, 5000)
        self.recorder.write(TWO, 5000 + 4 * 160)
        self.assertEqual(self.heard(), ONE + bytes(3 * 320) + TWO)

    def test_long_gap(self) -> None:
        """Silence suppression of ten seconds is ten seconds."""
        self.recorder.write(ONE, 5000)
        self.recorder.write(TWO, 5160 + 80000)
        self.assertEqual(self.heard(), ONE + bytes(160000) + TWO)

    def test_roll_over(self) -> None:
        """Timestamps count modulo 2**32."""
        self.recorder.write(ONE, 0xFFFFFFFF - 159)
        self.recorder.write(TWO, 160)
        self.assertEqual(self.heard(), ONE + bytes(320) + TWO)

    def test_too_late(self) -> None:
        """A frame whose place has been written is dropped."""
        self.recorder.write(ONE, 5160)
        self.recorder.write(TWO, 5000)
        self.assertEqual(self.heard(), ONE)

    def test_clock_jumps(self) -> None:
        """A jump that no silence explains, forward or back, leaves no hole."""
        self.recorder.write(ONE, 5_000_000)
        self.recorder.write(TWO, 5_000_160 + round(MAX_GAP * 8000) + 1)
        self.recorder.write(ONE, 17)
        self.assertEqual(self.heard(), ONE + TWO + ONE)

    def test_restart(self) -> None:
        """Another sender's timestamps mean nothing beside the old ones."""
        self.recorder.write(ONE, 5000)
        self.recorder.restart()
        self.recorder.write(TWO, 9000)
        self.assertEqual(self.heard(), ONE + TWO)

    def test_full(self) -> None:
        """The recording ends by itself, exactly at its limit, and says so once."""
        recorder = Recorder(WAVWriter(self.file), max_time=0.03, done=self.ends.append)
        recorder.write(ONE, 0)
        self.assertEqual(self.ends, [])
        recorder.write(TWO, 160)
        recorder.write(TWO, 320)
        self.assertEqual((self.ends, recorder.is_closed, recorder.seconds), ([True], True, 0.03))
        recorder.close()
        self.assertEqual(self.ends, [True])

    def test_gap_cannot_exceed_the_limit(self) -> None:
        """Silence counts for the limit, too."""
        recorder = Recorder(WAVWriter(self.file), max_time=0.5)
        recorder.write(ONE, 0)
        recorder.write(ONE, 400_000)
        self.assertEqual((recorder.seconds, recorder.is_closed), (0.5, True))

    def test_close(self) -> None:
        """Closing ends it, once, as not full."""
        self.recorder.close()
        self.recorder.close()
        self.recorder.write(ONE, 0)
        self.assertEqual(self.ends, [False])
