# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Recording: what is heard is in the file."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.recorder import Recorder
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
        """The file is the frames."""
        self.recorder.write(ONE, 8000)
        self.recorder.write(TWO, 8000)
        self.assertEqual(self.recorder.seconds, 0.04)
        self.assertEqual(self.heard(), ONE + TWO)

    def test_full(self) -> None:
        """The recording ends by itself, exactly at its limit, and says so once."""
        recorder = Recorder(WAVWriter(self.file), max_time=0.03, done=self.ends.append)
        recorder.write(ONE, 8000)
        self.assertEqual(self.ends, [])
        recorder.write(TWO, 8000)
        recorder.write(TWO, 8000)
        self.assertEqual((self.ends, recorder.is_closed, recorder.seconds), ([True], True, 0.03))
        recorder.close()
        self.assertEqual(self.ends, [True])

    def test_close(self) -> None:
        """Closing ends it, once, as not full."""
        self.recorder.close()
        self.recorder.close()
        self.recorder.write(ONE, 8000)
        self.assertEqual(self.ends, [False])
