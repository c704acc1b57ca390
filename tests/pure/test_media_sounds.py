# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The prompts that are shipped: all there, readable, audible and short."""

from __future__ import annotations

from importlib.resources import files

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media.sounds import load_digit, load_sound
from sipsess.media.wav import WAVError, read_wav
from tests.pure.signals import rms

FOLDER = files("sipsess") / "sounds"
NAMES = sorted(item.name for item in FOLDER.iterdir() if item.name.endswith(".wav"))


class SoundTests(SynchronousTestCase):
    """The files."""

    def test_all_are_there(self) -> None:
        """Each key has a prompt, and there are a welcome, a farewell and a beep."""
        expected = [*"0123456789abcd", "star", "pound", "hello", "goodbye", "beep"]
        self.assertEqual(NAMES, sorted(f"{name}.wav" for name in expected))

    def test_each_is_small_mulaw_at_8_khz(self) -> None:
        """The files are what a telephone speaks, so nothing is lost or gained."""
        for name in NAMES:
            data = (FOLDER / name).read_bytes()
            form = data.index(b"fmt ") + 8
            self.assertEqual(data[form : form + 8], b"\x07\0\x01\0\x40\x1f\0\0", name)

    def test_each_is_audible_and_short(self) -> None:
        """Loud enough to be heard, not so loud that it is distorted, and over in 12 s."""
        for name in NAMES:
            with (FOLDER / name).open("rb") as file:
                pcm = read_wav(file)
            self.assertTrue(0.2 < len(pcm) / 16000 < 12, name)
            self.assertTrue(-30 < rms(pcm) < -9, f"{name}: {rms(pcm)}")

    def test_welcome_takes_its_time(self) -> None:
        """Three sentences cannot be spoken in less than four seconds."""
        self.assertGreater(len(load_sound("hello")) / 16000, 4)

    def test_loaded_once(self) -> None:
        """Each prompt is read from the disk once."""
        self.assertIs(load_sound("hello"), load_sound("hello"))

    def test_unknown(self) -> None:
        """A name that does not exist is named in the error."""
        error = self.assertRaises(WAVError, load_sound, "nonsense")
        self.assertIn("nonsense.wav", str(error))

    def test_digits(self) -> None:
        """Keys are found by what is printed on them."""
        self.assertEqual(load_digit("7"), load_sound("7"))
        self.assertEqual(load_digit("*"), load_sound("star"))
        self.assertEqual(load_digit("#"), load_sound("pound"))
        self.assertEqual(load_digit("B"), load_sound("b"))
        self.assertRaises(LocalError, load_digit, "hello")
