# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The call: what an application holds of a session."""

from .bridge import bridge
from .call import Call
from .dial import DialFailed
from .keypad import MAX_DIGITS, Keypad
from .passing import HeaderPolicy
from .playing import Playing
from .recording import Recorded, Recording
from .sink import AudioSink
from .sound import Sound, load
from .source import AudioSource

__all__ = [
    "MAX_DIGITS",
    "AudioSink",
    "AudioSource",
    "Call",
    "DialFailed",
    "HeaderPolicy",
    "Keypad",
    "Playing",
    "Recorded",
    "Recording",
    "Sound",
    "bridge",
    "load",
]
