# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What is kept of a call: who, when, how it ended, what was heard.

The names of the fields are those of the keys in the file, and stay as they are: a later
:data:`VERSION` may add some, and takes none away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

#: Of the fields.
VERSION = 1

_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class CallRecord(NamedTuple):
    """One session that is over."""

    #: :data:`VERSION`.
    version: int
    #: The Call-ID and the tags of the dialog; a tag is ``""`` when there was none.
    call_id: str
    local_tag: str
    remote_tag: str
    #: The Call-ID of the call for which this one was dialled, or ``""``.
    dialled_for: str
    #: ``"incoming"`` or ``"outgoing"``.
    direction: str
    #: The URIs of From, To, and of the Request-URI.
    caller: str
    callee: str
    dialled: str
    #: Who the peer is, as far as it is believed: a URI, and the header that says so.
    identity: str
    identity_source: str
    #: The names of the endpoint and of the application; the latter may be ``""``.
    endpoint: str
    application: str
    #: ``"UDP"``, ``"TCP"``, ``"TLS"``, ``"WS"`` or ``"WSS"``, and the two addresses.
    transport: str
    local_address: str
    remote_address: str
    #: ISO 8601, UTC, milliseconds. ``ringing``: the first 101 to 199; ``answered``: the 2xx.
    begin: str
    ringing: str | None
    answered: str | None
    end: str
    #: Seconds from ``begin`` to ``end``, and from ``answered`` to ``end``; of a steady clock.
    seconds: float
    answered_seconds: float
    #: ``"local"``, ``"remote"`` or ``"network"``; the method that did it; the status of a refusal.
    ended_by: str
    ended_with: str
    status: int | None
    #: For people.
    text: str
    #: The Reason values of the peer (:rfc:`3326`): ``"Q.850 17 User busy"``.
    reasons: tuple[str, ...]
    #: One for each audio stream: ``codec``, packets and so on.
    media: tuple[Mapping[str, Any], ...]

    def to_json(self) -> str:
        """Return it as one line, without its end."""
        return _to_json(self._asdict())


def format_time(seconds: float) -> str:
    """Return a time of the wall clock, as in a record."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_format_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=64)
def _format_second(second: int) -> str:
    """Return a second as in a record; the calls of one moment have the same ones."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
