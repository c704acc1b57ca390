# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Diversion (:rfc:`5806`): whose calls come here, because he has sent them on.

::

    Diversion: "Bob" <sip:bob@pbx.example>;reason=no-answer;counter=1;privacy=off

The first value is the last diversion. It is what gateways to the telephone network speak, where
:rfc:`7044` (:mod:`.history_info`) is the standard.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import is_token, quote
from sipsess.message._params import Params
from sipsess.message._values import NameAddr, read_number

#: Diversions of one message that are looked at.
MAX_DIVERSIONS = 16
#: Counters and limits are small; a larger one is none.
_MAX_COUNTER = 999


@dataclass(frozen=True, slots=True)
class Diversion:
    """One diversion; ``str()`` is the wire form."""

    #: Who has diverted the call.
    uri: str
    #: His display name; may be empty.
    name: str = ""
    #: ``"unconditional"``, ``"user-busy"``, ``"no-answer"``, ``"deflection"``..., in lower case.
    reason: str = "unknown"
    #: How often the call was diverted to get here; ``None`` when it does not say, which means once.
    counter: int | None = None
    #: How often it may be.
    limit: int | None = None
    #: ``"full"``, ``"name"``, ``"uri"`` or ``"off"``, in lower case.
    privacy: str | None = None
    #: ``"yes"`` when somebody has checked who it was, else ``"no"``.
    screen: str | None = None

    @classmethod
    def parse(cls, text: str) -> Diversion:
        """
        Read one value.

        :raises MessageError: when it is no address, or its URI cannot be read.
        """
        address = NameAddr.parse(text)
        _ = address.parsed_uri
        params = address.params
        return cls(
            address.uri,
            address.display_name or "",
            (params.get("reason") or "unknown").lower(),
            read_number(params.get("counter") or "", _MAX_COUNTER),
            read_number(params.get("limit") or "", _MAX_COUNTER),
            _lower(params.get("privacy")),
            _lower(params.get("screen")),
        )

    @property
    def is_private(self) -> bool:
        """Whether its address shall not be shown."""
        return self.privacy in ("full", "uri", "name")

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        address = NameAddr(self.name or None, self.uri)
        reason = self.reason if is_token(self.reason) else quote(self.reason)
        text = f"{address};reason={reason}"
        for name in ("counter", "limit"):
            number = getattr(self, name)
            text += "" if number is None else f";{name}={number}"
        params = Params()
        for name in ("privacy", "screen"):
            value = getattr(self, name)
            params = params if value is None else params.with_(name, value)
        return f"{text}{params}"


def get_diversions(headers: Headers) -> tuple[Diversion, ...]:
    """Return the diversions of a message, the last one first, without those that are unreadable."""
    found = []
    for value in headers.values("Diversion")[:MAX_DIVERSIONS]:
        try:
            found.append(Diversion.parse(value))
        except MessageError:
            continue
    return tuple(found)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
