# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The call: what an application holds of a session."""

from .call import MAX_DIGITS, Call, Recording
from .sound import Sound, load

__all__ = ["MAX_DIGITS", "Call", "Recording", "Sound", "load"]
