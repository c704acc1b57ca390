# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
History-Info (:rfc:`7044`): the Request-URIs that a request has had on its way, and why.

::

    History-Info: <sip:bob@pbx.example?Reason=SIP%3Bcause%3D302>;index=1,
      <sip:carol@pbx.example>;index=1.1;mp=1

The indices make a tree: ``1.2`` is the second one to which ``1`` has led.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipsess.errors import HeaderValueError
from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import ALPHANUMERIC
from sipsess.message._params import escape, unescape
from sipsess.message._uri import SIPURI, parse_uri
from sipsess.message._values import NameAddr, read_number
from sipsess.message.reason import Reason, parse_reasons

#: Entries of one message that are looked at, and levels of an index.
MAX_ENTRIES = 64
MAX_LEVELS = 32
_MAX_NUMBER = 9999
#: How a URI follows from another one: by a registration, by a map of users, or without a change of
#: the user (section 5).
_CHANGES = ("rc", "mp", "np")
#: What needs no escape in a header of a URI (``hvalue``, :rfc:`3261#section-25.1`).
_HVALUE = ALPHANUMERIC + "-_.!~*'()[]/?:+$"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One Request-URI of the past; ``str()`` is the wire form."""

    #: Without the headers Reason and Privacy, which stand in the wire form.
    uri: str
    #: Such as ``(1, 2)`` for ``1.2``.
    index: tuple[int, ...]
    #: Why it was left again; several when there were several answers.
    reasons: tuple[Reason, ...] = ()
    #: ``"rc"``, ``"mp"`` or ``"np"``, or ``None`` when it does not say.
    change: str | None = None
    #: The index that it follows from.
    origin: tuple[int, ...] = ()
    #: Whether it shall not be told further (``Privacy: history``, section 10.1.2).
    is_private: bool = False
    #: May be empty.
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> HistoryEntry:
        """
        Read one value.

        :raises MessageError: when it has no URI, or no index.
        """
        address = NameAddr.parse(text)
        uri, headers = _split_headers(address)
        index = _read_index(address.params.get("index"))
        if not index:
            raise MessageError("bad-history", f"{text[:80]!r} has no index")
        change = next((name for name in _CHANGES if name in address.params), None)
        origin = () if change is None else _read_index(address.params.get(change))
        privacy = (headers.get("Privacy") or "").lower()
        is_private = "history" in privacy
        reasons = parse_reasons(headers)
        return cls(uri, index, reasons, change, origin, is_private, address.display_name or "")

    @property
    def cause(self) -> int | None:
        """Why the call was sent here (``cause`` of the URI, :rfc:`4458`), or ``None``."""
        parsed = parse_uri(self.uri)
        text = parsed.params.get("cause") if isinstance(parsed, SIPURI) else None
        return read_number(text or "", _MAX_NUMBER)

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        if not self.index:
            raise HeaderValueError("an entry of History-Info has an index")
        found = [("Privacy", "history")] if self.is_private else []
        found += [("Reason", str(reason)) for reason in self.reasons]
        query = "&".join(f"{name}={escape(value, _HVALUE)}" for name, value in found)
        # A tel URI has no headers: what would stand there is left out.
        has_headers = bool(query) and self.uri.lower().startswith(("sip:", "sips:"))
        address = NameAddr(self.name or None, f"{self.uri}?{query}" if has_headers else self.uri)
        text = f"{address};index={_format_index(self.index)}"
        return f"{text};{self.change}={_format_index(self.origin)}" if self.change else text


def get_history(headers: Headers) -> tuple[HistoryEntry, ...]:
    """Return the entries of a message in their order, without those that cannot be read."""
    found = []
    for value in headers.values("History-Info")[:MAX_ENTRIES]:
        try:
            found.append(HistoryEntry.parse(value))
        except MessageError:
            continue
    return tuple(found)


def _split_headers(address: NameAddr) -> tuple[str, Headers]:
    """
    Return the URI without headers, and these.

    :raises MessageError: when it is no URI.
    """
    uri = address.parsed_uri
    headers = Headers()
    if not isinstance(uri, SIPURI) or not uri.headers:
        return address.uri, headers
    for name, value in uri.headers:
        try:
            headers.add(unescape(name), unescape(value))
        except HeaderValueError:
            continue  # A line break, in escapes: nothing that anybody means.
    return str(replace(uri, headers=())), headers


def _read_index(text: str | None) -> tuple[int, ...]:
    """Return the numbers of an index; none when it cannot be read."""
    parts = (text or "").split(".", MAX_LEVELS)
    numbers = [read_number(part, _MAX_NUMBER) for part in parts]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(parts) <= MAX_LEVELS else ()


def _format_index(index: tuple[int, ...]) -> str:
    return ".".join(map(str, index))
