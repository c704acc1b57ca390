# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Call records: one for each session, when it is over.

:class:`CallRecords` is the supplement that makes them, :class:`RecordFile` writes them down, one
JSON object in each line; :class:`.ICallRecords` is for whoever wants to do something else.
"""

from .file import REASONS, RecordFile, open_file
from .record import VERSION, CallRecord
from .supplement import CallRecords

__all__ = ["REASONS", "VERSION", "CallRecord", "CallRecords", "RecordFile", "open_file"]
