# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Files with secrets: whether others can read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from sipsess.config import Loaded

from .findings import NOTE, OK, Finding

SUBJECT = "secrets"


def examine_secrets(loaded: Loaded) -> Iterator[Finding]:
    """Yield each file with passwords or keys that is open to everybody."""
    files = sorted({*loaded.structurer.secret_files, *_more_files(loaded)})
    is_open = [file for file in files if _is_open(file)]
    for file in is_open:
        text = f"{file} can be read by everybody on this machine"
        yield Finding(NOTE, SUBJECT, text, f"chmod o= {file}")
    if files and not is_open:
        yield Finding(OK, SUBJECT, f"files: {len(files)}, none of them open to everybody")


def _more_files(loaded: Loaded) -> Iterator[Path]:
    """Yield the files with secrets that others read: hashes of users, keys of certificates."""
    config = loaded.config
    if config.digest is not None:
        yield from config.digest.files
    for spec in config.listeners:
        if spec.files.key:
            yield Path(spec.files.key)


def _is_open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False  # that it is not there is a mistake of the configuration
