# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Bencoding: integers, byte strings, lists and dictionaries as bytes, each one in one way only.

::

    i-12e           the integer -12
    4:spam          the byte string b"spam"
    l4:spami7ee     the list [b"spam", 7]
    d3:keyi1ee      the dictionary {b"key": 1}

What is read may come from anybody: it is small (:data:`MAX_BYTES`), flat (:data:`MAX_DEPTH`) and
strict, and nothing but :class:`BencodeError` is raised for any bytes. The keys of a dictionary may
come in any order, as rtpengine writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

#: What is read: ``int``, ``bytes``, ``list`` or ``dict``.
Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"
#: What is written; text is written as UTF-8.
Writable: TypeAlias = "int | bytes | str | Sequence[Writable] | Mapping[str, Writable]"

#: Bytes of what is read: nothing longer comes in a datagram.
MAX_BYTES = 65_535
#: Lists and dictionaries within each other; rtpengine uses seven.
MAX_DEPTH = 32

_INTEGER = re.compile(rb"i(-?(?:0|[1-9][0-9]{0,18}))e")
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,4}):")


class BencodeError(ValueError):
    """The bytes are no bencoding of anything."""


def encode(value: Writable) -> bytes:
    """Write a value; the keys of a dictionary are sorted, so that there is one way to do it."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Writable, parts: list[bytes]) -> None:
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, bytes | str):
        data = value.encode() if isinstance(value, str) else value
        parts.append(b"%d:%b" % (len(data), data))
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key, item in sorted((key.encode(), item) for key, item in value.items()):
            _encode(key, parts)
            _encode(item, parts)
        parts.append(b"e")
    else:
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")


def decode(data: bytes) -> Value:
    """
    Read one value, which is all that there is.

    :raises BencodeError: the bytes are no value, too many, or more than one value.
    """
    if len(data) > MAX_BYTES:
        raise BencodeError(f"{len(data)} bytes are too many")
    value, end = _decode(data, 0, 0)
    if end != len(data):
        raise BencodeError(f"something follows the value, at {end}")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """Read the value at a place; return it and where it ends."""
    kind = data[at : at + 1]
    if kind == b"l" or kind == b"d":
        if depth >= MAX_DEPTH:
            raise BencodeError(f"too much is within something else, at {at}")
        return (_list if kind == b"l" else _dictionary)(data, at + 1, depth + 1)
    if kind == b"i":
        number = _INTEGER.match(data, at)
        if number is None or number[1] == b"-0":
            raise BencodeError(f"no integer, at {at}")
        return int(number[1]), number.end()
    return _string(data, at)


def _list(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    while data[at : at + 1] != b"e":
        item, at = _decode(data, at, depth)
        items.append(item)
    return items, at + 1


def _dictionary(data: bytes, at: int, depth: int) -> tuple[dict[bytes, Value], int]:
    items: dict[bytes, Value] = {}
    while data[at : at + 1] != b"e":
        begin = at
        key, at = _string(data, at)
        if key in items:
            raise BencodeError(f"a key comes twice, at {begin}")
        items[key], at = _decode(data, at, depth)
    return items, at + 1


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    length = _LENGTH.match(data, at)
    if length is None:
        raise BencodeError(f"no value, at {at}")
    begin, end = length.end(), length.end() + int(length[1])
    if end > len(data):
        raise BencodeError(f"a string ends too soon, at {at}")
    return data[begin:end], end
