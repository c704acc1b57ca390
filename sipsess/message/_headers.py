# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The headers of one message: ordered, raw, and only looked at when asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sipsess.errors import FrozenMessageError
from sipsess.message._lex import check_text, check_token, split_list, unfold

#: Compact form to long name, lower case (:rfc:`3261#section-7.3.3` and the IANA registry).
_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_COMMON = """
    Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authorization Call-ID
    Contact Content-Disposition Content-Encoding Content-Length Content-Type CSeq Date Event
    Expires From History-Info Identity Max-Forwards Min-SE P-Access-Network-Info
    P-Asserted-Identity P-Preferred-Identity Path Privacy Proxy-Authenticate Proxy-Authorization
    Proxy-Require RAck RSeq Reason Record-Route Refer-To Referred-By Remote-Party-ID Replaces
    Require Retry-After Route Server Session-Expires Subscription-State Subject Supported
    Timestamp To Unsupported User-Agent Via Warning WWW-Authenticate
""".split()  # noqa: SIM905 - a table is easier to read than 53 strings

#: Usual spelling of a name to its key; never grows, so a peer cannot fill it.
KEYS = {
    spelling: _COMPACT.get(name.lower(), name.lower())
    for name in (*_COMMON, *_COMPACT)
    for spelling in (name, name.lower(), name.upper())
}


def header_key(name: str) -> str:
    """Return the name that a header is found by: lower case, the compact form made long."""
    name = name.strip(" \t").lower()
    return _COMPACT.get(name, name)


class Headers:
    """
    The headers of one message, in order.

    Names are case-insensitive and their compact forms are equal to the long ones. What came from
    the wire is kept as it came, white space and continuation lines included, until it is replaced.
    After the message was serialised every change raises
    :class:`~sipsess.errors.FrozenMessageError`.

    :param items: names and values to begin with; checked as :meth:`add` does.
    """

    __slots__ = ("_is_changed", "_is_frozen", "_keys", "_lines", "cache")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        #: For each header its key; parallel to ``_lines``, so that a look-up is one search in C.
        self._keys: list[str] = []
        #: Each header as it stands on the wire, raw, without its last CRLF.
        self._lines: list[str] = []
        self._is_frozen = False
        self._is_changed = False
        #: Values that the message has parsed, dropped at each change.
        self.cache: dict[str, Any] = {}
        for name, value in items:
            self.add(name, value)

    def get(self, name: str) -> str | None:
        """Return the value of the first header of that name, unfolded, or ``None``."""
        key = KEYS.get(name) or header_key(name)
        keys = self._keys
        if key not in keys:
            return None
        raw = self._lines[keys.index(key)].partition(":")[2]
        return unfold(raw) if "\r\n" in raw else raw.strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers of that name, one for each line, unfolded."""
        key = KEYS.get(name) or header_key(name)
        if key not in self._keys:
            return []
        return [
            unfold(line.partition(":")[2])
            for found, line in zip(self._keys, self._lines, strict=True)
            if found == key
        ]

    def values(self, name: str) -> list[str]:
        """
        Return the elements of a list header, over all of its lines.

        They are split at commas outside quoted strings and angle brackets; empty ones are left out.
        Ask only for headers that are lists: a Date or a Subject has commas of its own.
        """
        return [part for line in self.get_all(name) for part in split_list(line) if part]

    def count(self, name: str) -> int:
        """Return the number of header lines of that name."""
        return self._keys.count(KEYS.get(name) or header_key(name))

    def keys(self) -> set[str]:
        """Return the names that there are, in lower case, the compact forms made long."""
        return set(self._keys)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (KEYS.get(name) or header_key(name)) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def items(self) -> Iterator[tuple[str, str]]:
        """Iterate over name as written and value, unfolded, in order."""
        for line in self._lines:
            name, _, raw = line.partition(":")
            yield name.rstrip(" \t"), unfold(raw)

    def set(self, name: str, value: str) -> None:
        """
        Replace all headers of that name by one, in the place of the first; else add it at the end.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, line = self._prepare(name, value)
        if key not in self._keys:
            self._keys.append(key)
            self._lines.append(line)
            return
        place = self._keys.index(key)
        if self._keys.count(key) > 1:
            self._delete(key)
            self._keys.insert(place, key)
            self._lines.insert(place, line)
        else:
            self._lines[place] = line

    def add(self, name: str, value: str) -> None:
        """
        Add a header at the end.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, line = self._prepare(name, value)
        self._keys.append(key)
        self._lines.append(line)

    def prepend(self, name: str, value: str) -> None:
        """
        Add a header before the first of that name, else at the top: for Via, Route, Record-Route.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, line = self._prepare(name, value)
        place = self._keys.index(key) if key in self._keys else 0
        self._keys.insert(place, key)
        self._lines.insert(place, line)

    def remove(self, name: str) -> None:
        """
        Remove all headers of that name; none is fine.

        :raises FrozenMessageError: the message was serialised.
        """
        self._change()
        self._delete(KEYS.get(name) or header_key(name))

    def replace_first(self, name: str, value: str) -> None:
        """
        Replace the first element of the first header of that name, such as the top Via.

        :raises HeaderValueError: the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, line = self._prepare(name, value)
        if key not in self._keys:
            self._keys.insert(0, key)
            self._lines.insert(0, line)
            return
        place = self._keys.index(key)
        old_name, _, old_raw = self._lines[place].partition(":")
        others = split_list(unfold(old_raw))[1:]
        self._lines[place] = ", ".join([old_name + line[len(name) :], *others])

    def copy_from(self, other: Headers, *names: str, top_only: bool = False) -> None:
        """Add the headers of these names of another message, raw: as they came, byte for byte."""
        self._change()
        keys, lines = other._keys, other._lines
        for name in names:
            key = KEYS.get(name) or header_key(name)
            if key not in keys:
                continue
            place = keys.index(key)
            self._keys.append(key)
            self._lines.append(lines[place])
            for _ in range(0 if top_only else keys.count(key) - 1):
                place = keys.index(key, place + 1)
                self._keys.append(key)
                self._lines.append(lines[place])

    def extend_first(self, name: str, suffix: str) -> None:
        """
        Write ``suffix`` behind the first header of that name, such as ``;tag=...`` behind To.

        :raises HeaderValueError: the suffix holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        check_text(suffix)
        self._change()
        place = self._keys.index(KEYS.get(name) or header_key(name))
        self._lines[place] = self._lines[place].rstrip(" \t\r\n") + suffix

    def add_raw(self, key: str, name: str, raw: str) -> None:
        """Add what the parser read, without a check; for the parser only."""
        self._keys.append(key)
        self._lines.append(f"{name}:{raw}")

    @classmethod
    def of_lines(cls, keys: list[str], lines: list[str]) -> Headers:
        """Return the headers that the parser read, without a check; for the parser only."""
        headers = cls.__new__(cls)
        headers._keys = keys
        headers._lines = lines
        headers._is_frozen = headers._is_changed = False
        headers.cache = {}
        return headers

    def copy(self) -> Headers:
        """Return a copy that can be changed."""
        return Headers.of_lines(self._keys.copy(), self._lines.copy())

    @property
    def is_changed(self) -> bool:
        """Whether anything was changed since the message was parsed."""
        return self._is_changed

    @property
    def is_frozen(self) -> bool:
        """Whether the message was serialised."""
        return self._is_frozen

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def to_text(self) -> str:
        """Return the header lines, each with its CRLF."""
        return "\r\n".join([*self._lines, ""])

    def _prepare(self, name: str, value: str) -> tuple[str, str]:
        """Return key and line of a header of ours, and note that it changes the message."""
        key = KEYS.get(name)
        if key is None:
            key = header_key(check_token(name, "header name"))
        check_text(value)
        self._change()
        value = value.strip(" \t")
        return key, f"{name}: {value}"

    def _change(self) -> None:
        if self._is_frozen:
            raise FrozenMessageError("the message was serialised; change a copy() of it")
        self._is_changed = True
        if self.cache:
            self.cache.clear()

    def _delete(self, key: str) -> None:
        if key in self._keys:
            self._lines = [
                line for found, line in zip(self._keys, self._lines, strict=True) if found != key
            ]
            self._keys = [found for found in self._keys if found != key]
