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

    __slots__ = ("_fields", "_is_changed", "_is_frozen", "_keys", "cache")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        #: For each header its key; parallel to ``_fields``, so that a look-up is one search in C.
        self._keys: list[str] = []
        #: For each header what stands before and after the colon, raw.
        self._fields: list[tuple[str, str]] = []
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
        return unfold(self._fields[keys.index(key)][1])

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers of that name, one for each line, unfolded."""
        key = KEYS.get(name) or header_key(name)
        if key not in self._keys:
            return []
        return [
            unfold(raw)
            for found, (_, raw) in zip(self._keys, self._fields, strict=True)
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

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (KEYS.get(name) or header_key(name)) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def items(self) -> Iterator[tuple[str, str]]:
        """Iterate over name as written and value, unfolded, in order."""
        for name, raw in self._fields:
            yield name.rstrip(" \t"), unfold(raw)

    def set(self, name: str, value: str) -> None:
        """
        Replace all headers of that name by one, in the place of the first; else add it at the end.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, item = self._prepare(name, value)
        if key not in self._keys:
            self._keys.append(key)
            self._fields.append(item)
            return
        place = self._keys.index(key)
        if self._keys.count(key) > 1:
            self._delete(key)
            self._keys.insert(place, key)
            self._fields.insert(place, item)
        else:
            self._fields[place] = item

    def add(self, name: str, value: str) -> None:
        """
        Add a header at the end.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, item = self._prepare(name, value)
        self._keys.append(key)
        self._fields.append(item)

    def prepend(self, name: str, value: str) -> None:
        """
        Add a header before the first of that name, else at the top: for Via, Route, Record-Route.

        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        key, item = self._prepare(name, value)
        place = self._keys.index(key) if key in self._keys else 0
        self._keys.insert(place, key)
        self._fields.insert(place, item)

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
        key, (name, raw) = self._prepare(name, value)
        if key not in self._keys:
            self._keys.insert(0, key)
            self._fields.insert(0, (name, raw))
            return
        place = self._keys.index(key)
        old_name, old_raw = self._fields[place]
        others = split_list(unfold(old_raw))[1:]
        self._fields[place] = (old_name, ", ".join([raw, *others]))

    def copy_from(self, other: Headers, name: str, *, top_only: bool = False) -> None:
        """Add the headers of that name of another message, raw: as they came, byte for byte."""
        self._change()
        key = KEYS.get(name) or header_key(name)
        for found, item in zip(other._keys, other._fields, strict=True):
            if found == key:
                self._keys.append(key)
                self._fields.append(item)
                if top_only:
                    return

    def extend_first(self, name: str, suffix: str) -> None:
        """
        Write ``suffix`` behind the first header of that name, such as ``;tag=...`` behind To.

        :raises HeaderValueError: the suffix holds CR, LF or NUL.
        :raises FrozenMessageError: the message was serialised.
        """
        check_text(suffix)
        self._change()
        place = self._keys.index(KEYS.get(name) or header_key(name))
        written, raw = self._fields[place]
        self._fields[place] = (written, raw.rstrip(" \t\r\n") + suffix)

    def add_raw(self, key: str, name: str, raw: str) -> None:
        """Add what the parser read, without a check; for the parser only."""
        self._keys.append(key)
        self._fields.append((name, raw))

    def copy(self) -> Headers:
        """Return a copy that can be changed."""
        twin = Headers()
        twin._keys = self._keys.copy()
        twin._fields = self._fields.copy()
        return twin

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
        return "".join([f"{name}:{raw}\r\n" for name, raw in self._fields])

    def _prepare(self, name: str, value: str) -> tuple[str, tuple[str, str]]:
        key = KEYS.get(name)
        if key is None:
            key = header_key(check_token(name, "header name"))
        check_text(value)
        self._change()
        return key, (name, " " + value.strip(" \t"))

    def _change(self) -> None:
        if self._is_frozen:
            raise FrozenMessageError("the message was serialised; change a copy() of it")
        self._is_changed = True
        if self.cache:
            self.cache.clear()

    def _delete(self, key: str) -> None:
        if key in self._keys:
            self._fields = [
                item for found, item in zip(self._keys, self._fields, strict=True) if found != key
            ]
            self._keys = [found for found in self._keys if found != key]
