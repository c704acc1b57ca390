# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The file of call records: whether it can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .findings import OK, WRONG, Finding

SUBJECT = "call records"


def examine_call_records(path: Path | None) -> Iterator[Finding]:
    """
    Yield whether whoever asks may write the file; it is neither made nor opened.

    :param path: ``None`` when there is none.
    """
    if path is None:
        return
    place = path if path.exists() else path.parent
    if place == path.parent and not place.is_dir():
        text = f"there is no directory {place}, so the server does not start"
        yield Finding(
            WRONG, SUBJECT, text, f"make it, and let the server's user write there: {place}"
        )
    elif path.is_dir() or not os.access(place, os.W_OK):
        text = f"{path} cannot be written by who asks"
        yield Finding(
            WRONG, SUBJECT, text, "run doctor as the server's user, or let him write there"
        )
    else:
        yield Finding(OK, SUBJECT, f"{path} can be written")
