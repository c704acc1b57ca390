# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The lines of a section as they are written, and what is read from them once.

Most calls bring the same attributes as the calls before: those of a trunk, or of one model of
telephone. Small blocks of lines are therefore looked up (:func:`share_lines`), so that what was
read from them for one call serves the next, and is kept in memory once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from sipsess.sdp.limits import MAX_SHARED_BLOCKS, MAX_SHARED_CHARACTERS, MAX_SHARED_LINES
from sipsess.sdp.values import DIRECTIONS, Connection, RTPMap

#: How lines with secrets begin: keys of SRTP (:rfc:`4568`), passwords of ICE.
SECRETS = ("a=crypto:", "a=ice-pwd:")

#: One line: its type, which is one letter, and its value as it was written.
Line = tuple[str, str]


class Lines:
    """
    Some lines in their order; they never change, so that many sections may share them.

    :param rows: the lines without their ends, ``"t=0 0"``; each begins with a letter and ``=``.
    """

    __slots__ = ("_codecs", "_connections", "_parameters", "_values", "rows")

    def __init__(self, rows: tuple[str, ...]) -> None:
        self.rows = rows
        # Made on demand, all of them.
        self._values: dict[str, list[str]] | None = None
        self._codecs: dict[str, RTPMap] | None = None
        self._parameters: dict[str, str] | None = None
        self._connections: tuple[Connection, ...] | None = None

    @property
    def connections(self) -> tuple[Connection, ...]:
        """What the c= lines say."""
        connections = self._connections
        if connections is None:
            connections = self._connections = tuple(
                [Connection.parse(row[2:]) for row in self.rows if row[0] == "c"]
            )
        return connections

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The values of all attributes by name; a flag has the value ``""``."""
        values = self._values
        if values is None:
            values = self._values = {}
            for row in self.rows:
                if row[0] == "a":
                    name, _, value = row[2:].partition(":")
                    values.setdefault(name, []).append(value.lstrip(" "))
        return values

    @property
    def direction(self) -> str | None:
        """The direction that an attribute says, or ``None``."""
        attributes = self.attributes
        for direction in DIRECTIONS:
            if direction in attributes:
                return direction
        return None

    @property
    def codecs(self) -> Mapping[str, RTPMap]:
        """The first readable ``a=rtpmap`` of each format."""
        codecs = self._codecs
        if codecs is None:
            codecs = self._codecs = {}
            for name, text in _pairs(self.attributes.get("rtpmap", ())):
                if name not in codecs:
                    try:
                        codecs[name] = RTPMap.parse(text)
                    except ValueError:
                        continue
        return codecs

    @property
    def parameters(self) -> Mapping[str, str]:
        """The first ``a=fmtp`` of each format."""
        parameters = self._parameters
        if parameters is None:
            parameters = self._parameters = {}
            for name, text in _pairs(self.attributes.get("fmtp", ())):
                parameters.setdefault(name, text)
        return parameters


def _pairs(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for value in values:
        name, _, text = value.partition(" ")
        yield name, text.strip(" ")


def share_lines(rows: tuple[str, ...]) -> Lines:
    """
    Return the lines, the same object as the last time when they are few and short.

    Secrets are of one call, and are not kept beyond it.
    """
    if len(rows) > MAX_SHARED_LINES or sum(map(len, rows)) > MAX_SHARED_CHARACTERS:
        return Lines(rows)
    for row in rows:
        if row.startswith(SECRETS):
            return Lines(rows)
    return _known(rows)


def mask_secrets(row: str) -> str:
    """Return a line as it may be shown: without the secret that it holds."""
    if not row.startswith(SECRETS):
        return row
    name, _, value = row.partition(":")
    shown, inline, _ = value.partition("inline:")
    return f"{name}:{shown}inline:***" if inline else f"{name}:***"


_known = lru_cache(maxsize=MAX_SHARED_BLOCKS)(Lines)
