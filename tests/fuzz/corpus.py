# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What is mutated: the torture messages of the RFCs, and what real peers have sent.

``corpus/*.sip`` hold what SIPp, baresip and linphone sent to sipsess and sipsess to them; the
messages of a file are parted by a line with a ``%``.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_TORTURE = _HERE.parent / "torture"
#: Between two messages of a file; no message has such a line.
SEPARATOR = b"\n%\n"


def captured() -> list[bytes]:
    """Return what was captured from real peers, in the order of the files."""
    messages: list[bytes] = []
    for path in sorted((_HERE / "corpus").glob("*.sip")):
        messages += path.read_bytes().split(SEPARATOR)
    return [message for message in messages if message]


def torture() -> list[bytes]:
    """Return the messages of :rfc:`4475` and :rfc:`5118`."""
    paths = sorted(_TORTURE.glob("rfc*/*.dat"))
    return [path.read_bytes() for path in paths]


def load() -> list[bytes]:
    """Return the whole corpus, in the same order each time."""
    return captured() + torture()
