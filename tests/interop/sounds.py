# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What telephones say, and whether it was heard."""

from __future__ import annotations

import pathlib

from sipsess.media import WAVWriter
from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.tone import generate
from tests.pure.signals import amplitude
from tests.pure.speech import speech

#: What the telephone says again and again when it says no tone.
SPEECH = speech(5.0)
#: What the telephone says, and what we say, in Hz; and something that nobody says.
THEIRS, OURS, NOBODYS = 440.0, 1000.0, 700.0


def write_tone(
    folder: pathlib.Path, frequency: float = THEIRS, rate: int = SAMPLE_RATE
) -> pathlib.Path:
    """Write a minute of what the telephone says; return the WAV file."""
    path = folder / "tone.wav"
    writer = WAVWriter(path, rate=rate)
    writer.write(generate((frequency,), 60.0, rate=rate))
    writer.close()
    return path


def write_speech(folder: pathlib.Path, seconds: int) -> pathlib.Path:
    """Write so much of something like speech, :data:`SPEECH` again and again; return the file."""
    path = folder / "speech.wav"
    writer = WAVWriter(path)
    writer.write(SPEECH * (seconds // 5 + 2))
    writer.close()
    return path


def has_tone(pcm: bytes, frequency: float, seconds: float = 0.5, rate: int = SAMPLE_RATE) -> bool:
    """Tell whether the last half second is that tone, and hardly anything else."""
    length = int(seconds * rate) * 2
    last = pcm[len(pcm) % 2 :][-length:]
    if len(last) < length:
        return False
    strength = amplitude(last, frequency, rate)
    return strength > 1000 and strength > 20 * amplitude(last, NOBODYS, rate)
