# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Recording: what is heard is in the file."""

from __future__ import annotations

import io
import wave

from twisted.trial.unittest import SynchronousTestCase

from sipsess.media import tone
from sipsess.media.recorder import Recorder
from sipsess.media.wav import WAVWriter, read_wav
from tests.pure.signals import amplitude

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

    def test_rate(self) -> None:
        """Audio of another rate is converted to that of the file, and lasts as long."""
        file = io.BytesIO()
        recorder = Recorder(WAVWriter(file, rate=16000))
        for rate in (8000, 16000):
            recorder.write(tone.generate([440.0], 0.5, rate=rate), rate)
        self.assertEqual(recorder.seconds, 1.0)
        recorder.close()
        pcm = read_wav(io.BytesIO(file.getvalue()))
        for at in (2000, 10000):
            self.assertGreater(amplitude(pcm[at : at + 3200], 440), 4000)

    def test_both(self) -> None:
        """Both sides are recorded, the peer on the left, up to the limit."""
        file = io.BytesIO()
        recorder = Recorder(WAVWriter(file, channels=2), max_time=0.03, done=self.ends.append)
        recorder.write_both(ONE, TWO)
        recorder.write_both(TWO, ONE)
        self.assertEqual((self.ends, recorder.seconds), ([True], 0.03))
        with wave.open(io.BytesIO(file.getvalue())) as reader:
            self.assertEqual(reader.getparams()[:4], (2, 2, 8000, 240))
            pcm = reader.readframes(240)
        self.assertEqual(pcm, b"\x01\0\x02\0" * 160 + b"\x02\0\x01\0" * 80)

    def test_close(self) -> None:
        """Closing ends it, once, as not full."""
        self.recorder.close()
        self.recorder.close()
        self.recorder.write(ONE, 8000)
        self.assertEqual(self.ends, [False])
