# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The parameters of header values and of URIs: ordered, immutable, names case-insensitive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sipsess.message._errors import MessageError
from sipsess.message._lex import (
    ALPHANUMERIC,
    CLASS_TOKEN,
    TOKEN,
    check_text,
    check_token,
    find_quote_end,
    is_token,
    quote,
    split_semicolons,
    unquote,
)
from sipsess.message.limits import MAX_PARAMS

#: What a value outside quotation marks may hold: a token, a host with brackets, and a few
#: characters more that peers send and that separate nothing.
_VALUE = TOKEN + "[]:/@?&=$()#{}|^"
_MARKS = "-_.!~*'()"
#: The characters of a URI parameter that need no escape (``paramchar``, :rfc:`3261#section-25.1`).
_URI_VALUE = ALPHANUMERIC + _MARKS + "[]/:&+$"
#: Nearly every parameter: a name, and a value that holds nothing that needs a closer look.
_USUAL_PARAM = re.compile(rf"([{CLASS_TOKEN}]+)(?:=([{CLASS_TOKEN}\[\]:]*))?").fullmatch
_USUAL_URI_PARAM = re.compile(
    rf"([{re.escape(_URI_VALUE)}]+)(?:=([{re.escape(_URI_VALUE)}]*))?"
).fullmatch
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")

_P = TypeVar("_P", bound="Params")


def has_bad_escape(text: str) -> bool:
    """Say whether a percent sign in ``text`` stands without two hexadecimal digits after it."""
    return "%" in text and _BAD_PERCENT.search(text) is not None


def unescape(text: str) -> str:
    """Return ``text`` with its percent escapes resolved (:rfc:`3261#section-19.1.2`)."""
    if "%" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def escape(text: str, safe: str) -> str:
    """Return ``text`` with each character that is not in ``safe`` as percent escapes."""
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe)


class Params:
    """
    The parameters of a header value.

    A parameter without a value (a flag, such as ``;rport``) has the value ``""``; ask ``name in
    params``.

    :param items: lower-case name to (name as written, raw value or ``None`` for a flag), in order.
    """

    __slots__ = ("_items",)

    def __init__(self, items: dict[str, tuple[str, str | None]] | None = None) -> None:
        self._items = items or {}

    @classmethod
    def parse(cls: type[_P], text: str) -> _P:
        """
        Read what follows the first semicolon of a value.

        :raises MessageError: a parameter is empty, without a proper name, or stands twice.
        """
        items: dict[str, tuple[str, str | None]] = {}
        for part in split_semicolons(text):
            usual = _USUAL_PARAM(part)
            name, raw = usual.groups() if usual else _read_param(part)
            key = name.lower()
            if key in items or len(items) >= MAX_PARAMS:
                raise _refusal(key in items, name)
            items[key] = (name, raw)
        return cls(items)

    def get(self, name: str) -> str | None:
        """Return the value without quotation marks, ``""`` for a flag, ``None`` when absent."""
        item = self._items.get(name.lower())
        if item is None:
            return None
        raw = item[1] or ""
        return unquote(raw) if raw[:1] == '"' else raw

    def with_(self: _P, name: str, value: str | None = None) -> _P:
        """
        Return a copy with this parameter replaced in its place, or added at the end.

        :param value: quoted when it needs it; ``None`` makes a flag.
        :raises HeaderValueError: the name is no token, or the value holds CR, LF or NUL.
        """
        check_token(name, "parameter name")
        items = dict(self._items)
        items[name.lower()] = (name, value if value is None else self._write(value))
        return type(self)(items)

    @staticmethod
    def _write(value: str) -> str:
        return value if is_token(value) or _is_host_like(value) else quote(value)

    def without(self: _P, name: str) -> _P:
        """Return a copy without this parameter."""
        items = dict(self._items)
        items.pop(name.lower(), None)
        return type(self)(items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in lower case."""
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __str__(self) -> str:
        """The wire form, each parameter with its semicolon."""
        return "".join(
            [f";{name}" if raw is None else f";{name}={raw}" for name, raw in self._items.values()]
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Params):
            return NotImplemented
        return {key: self.get(key) for key in self} == {key: other.get(key) for key in other}

    def __hash__(self) -> int:
        return hash(frozenset(self._items))


class URIParams(Params):
    """The parameters of a URI: percent escapes instead of quoted strings."""

    __slots__ = ()

    @classmethod
    def parse(cls: type[_P], text: str) -> _P:
        """
        Read what follows the first semicolon after the host.

        :raises MessageError: a parameter is empty, holds what no URI may, or stands twice.
        """
        items: dict[str, tuple[str, str | None]] = {}
        for part in text.split(";"):
            usual = _USUAL_URI_PARAM(part)
            name, raw = usual.groups() if usual else _read_uri_param(part)
            key = unescape(name).lower()
            if key in items or len(items) >= MAX_PARAMS:
                raise _refusal(key in items, name)
            items[key] = (name, raw)
        return cls(items)

    def get(self, name: str) -> str | None:
        """Return the value without escapes, ``""`` for a flag, ``None`` when absent."""
        item = self._items.get(name.lower())
        return None if item is None else unescape(item[1] or "")

    @staticmethod
    def _write(value: str) -> str:
        return escape(check_text(value), _URI_VALUE)


def is_uri_text(text: str) -> bool:
    """Say whether ``text`` holds only what stands in a URI parameter, or bytes beyond ASCII."""
    rest = text.strip(_URI_VALUE + "%")
    return not rest or not _URI_BREAKERS.intersection(rest)


#: What would end or split a URI or the value around it; other odd characters are let through.
_URI_BREAKERS = frozenset('\0\t\r\n "<>@,;?\\' + "".join(map(chr, range(1, 32))) + "\x7f")
_VALUE_BREAKERS = frozenset(' "<>,;\\\x7f' + "".join(map(chr, range(32))))


def _is_host_like(value: str) -> bool:
    """Tell whether a value is an IPv6 address, in brackets or bare as in ``received`` (20.42)."""
    is_whole = (value[:1] == "[" and value[-1:] == "]") or value.count(":") > 1
    return is_whole and not value.strip("[]:.0123456789abcdefABCDEF")


def _refusal(is_repeated: bool, name: str) -> MessageError:
    """Return the error of one parameter more than there may be."""
    if is_repeated:
        return MessageError("duplicate-parameter", f"the parameter {name!r} stands twice")
    return MessageError("too-many-parameters", f"more than {MAX_PARAMS} parameters")


def _read_param(part: str) -> tuple[str, str | None]:
    """
    Return name and raw value of one parameter of a header.

    :raises MessageError: it has no proper name, or a value that cannot be read.
    """
    name, equals, value = part.partition("=")
    name = name.strip()
    if not name or name.strip(TOKEN):
        raise MessageError("bad-parameter", f"{part.strip()!r} is no parameter")
    if not equals:
        return name, None
    raw = value.strip()
    if raw.strip(TOKEN):
        _check_value(raw)
    return name, raw


def _read_uri_param(part: str) -> tuple[str, str | None]:
    """
    Return name and value of one parameter of a URI, escapes included.

    :raises MessageError: it has no name, or holds what no URI may.
    """
    name, equals, raw = part.partition("=")
    if (
        not name
        or has_bad_escape(part)
        or (part.strip(TOKEN) and not (is_uri_text(name) and is_uri_text(raw)))
    ):
        raise MessageError("bad-uri", f"{part!r} is no URI parameter")
    return name, raw if equals else None


def _check_value(raw: str) -> None:
    """Refuse a raw value that is neither a whole quoted string nor free of separators."""
    if raw[0] == '"':
        if find_quote_end(raw, 0) == len(raw):
            return
    elif not raw.strip(_VALUE) or not _VALUE_BREAKERS.intersection(raw):
        return
    raise MessageError("bad-parameter", f"the parameter value {raw!r} cannot be read")


#: No parameters.
NO_PARAMS = Params()
NO_URI_PARAMS = URIParams()
