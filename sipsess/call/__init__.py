# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The call: what an application holds of a session."""

from .bridge import bridge
from .call import MAX_DIGITS, Call, Recording
from .dial import DialFailed
from .sound import Sound, load

__all__ = ["MAX_DIGITS", "Call", "DialFailed", "Recording", "Sound", "bridge", "load"]
