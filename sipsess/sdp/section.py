# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A section of a session description: an ordered list of ``(type, value)`` lines, and views of it.

The lines are the truth: what is not understood stays where it is, and typed values are made from
the lines when somebody asks. :rfc:`8866#section-5` fixes the order of types within a section; it is
used to place a new line, never to move one that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.lines import Line, Lines, share_lines
from sipsess.sdp.values import Connection, check_text, check_token, read_number

#: The order of types in a session section and in a media section (:rfc:`8866#section-5`).
SESSION_ORDER = "vosiuepcbtrzka"
MEDIA_ORDER = "micbka"

#: An attribute to be written: ``"sendonly"``, ``"ptime:20"``, ``("ptime", "20")`` or ``("sendonly",
#: None)``.
AttributeLike = str | tuple[str, str | None]


def attribute_value(attribute: AttributeLike) -> str:
    """
    Return the value of the a= line for ``attribute``.

    :raises LocalSDPError: when it cannot be written.
    """
    name, separator, value = (
        attribute.partition(":")
        if isinstance(attribute, str)
        else (attribute[0], "" if attribute[1] is None else ":", attribute[1] or "")
    )
    if ":" in check_token(name):
        raise LocalSDPError(f"{name!r} is not the name of an attribute")
    return check_text(f"{name}{separator}{value}")


class AttributeLines:
    """
    Attributes that were checked once and can be written for any number of streams.

    :raises LocalSDPError: when one of them cannot be written.
    """

    __slots__ = ("lines",)

    def __init__(self, attributes: Iterable[AttributeLike]) -> None:
        #: The a= lines.
        self.lines = share_lines(tuple(["a=" + attribute_value(item) for item in attributes]))


class Section:
    """
    The lines before the first m= line, or those of one m= line.

    A change replaces :attr:`_lines`, which other sections may share.

    :param first: the lines that only it has: v= and o=, or m=.
    :param lines: those after them, in order.
    """

    __slots__ = ("_first", "_lines", "is_touched")

    #: The types in the order in which new lines are placed.
    order: ClassVar[str] = SESSION_ORDER

    def __init__(self, first: tuple[str, ...], lines: Lines) -> None:
        self._first = first
        self._lines = lines
        #: Whether a line was changed since the section was made.
        self.is_touched = False

    @property
    def rows(self) -> tuple[str, ...]:
        """All lines in order, as they are written, without their ends."""
        return self._first + self._lines.rows

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines in order, those of unknown types too."""
        return tuple([(row[0], row[2:]) for row in self.rows])

    def values(self, line_type: str) -> list[str]:
        """Return the values of all lines of a type, in order."""
        return [row[2:] for row in self.rows if row[0] == line_type]

    def value(self, line_type: str) -> str | None:
        """Return the value of the first line of a type, or ``None``."""
        for row in self.rows:
            if row[0] == line_type:
                return row[2:]
        return None

    def add_line(self, line_type: str, value: str) -> None:
        """
        Add a line after the last one that may stand before it (:rfc:`8866#section-5`).

        :raises LocalSDPError: when it would not be one line, or belongs to a typed setter (v=, o=,
            m=).
        """
        self._insert(_checked_row(line_type, value))

    def set_line(self, line_type: str, value: str) -> None:
        """
        Replace all lines of a type by one, in the place of the first.

        :raises LocalSDPError: as for :meth:`add_line`.
        """
        self._replace(_checked_row(line_type, value))

    def remove_lines(self, line_type: str) -> None:
        """
        Remove all lines of a type; none is no error.

        :raises LocalSDPError: when it is v=, o= or m=.
        """
        _checked_row(line_type, "IN IP4 -")
        rows = [row for row in self._lines.rows if row[0] != line_type]
        if len(rows) != len(self._lines.rows):
            self._change(rows)

    @property
    def attributes(self) -> Attributes:
        """The a= lines of this section."""
        return Attributes(self)

    @property
    def own_connection(self) -> Connection | None:
        """The first c= line of this section, or ``None``."""
        connections = self._lines.connections
        return connections[0] if connections else None

    @property
    def connections(self) -> list[Connection]:
        """
        All c= lines of this section: a media section may have several (:rfc:`8866#section-5.7`).
        """
        return list(self._lines.connections)

    @property
    def bandwidths(self) -> dict[str, int]:
        """
        The b= lines, by name: ``{"AS": 64}`` in kbit/s, ``{"TIAS": 64000}`` in bit/s; odd ones are
        left out.
        """
        result = {}
        for value in self.values("b"):
            name, _, number = value.partition(":")
            try:
                result[name] = read_number(number, 2**63)
            except ValueError:
                continue
        return result

    def _change(self, rows: Iterable[str]) -> None:
        self._lines = Lines(tuple(rows))
        self.is_touched = True

    def _rank(self, kind: str) -> int:
        rank = self.order.find(kind)
        return rank if rank >= 0 else len(self.order)

    def _insert(self, row: str) -> None:
        rank = self._rank(row[0])
        rows = list(self._lines.rows)
        place = len(rows)
        while place and self._rank(rows[place - 1][0]) > rank:
            place -= 1
        rows.insert(place, row)
        self._change(rows)

    def _replace(self, row: str) -> None:
        kind = row[0]
        before = self._lines.rows
        rows = [item for item in before if item[0] != kind]
        if len(rows) == len(before):
            self._insert(row)
            return
        # Nothing of the type stands before the first, so that its place stays the same.
        rows.insert([item[0] for item in before].index(kind), row)
        self._change(rows)


class Attributes:
    """
    The a= lines of one section, by name; names know case (:rfc:`8866#section-5.13`).

    A flag such as ``a=sendonly`` has the value ``""``.
    """

    __slots__ = ("_section",)

    def __init__(self, section: Section) -> None:
        self._section = section

    def get(self, name: str) -> str | None:
        """Return the first value of ``name``, ``""`` for a flag, ``None`` when there is none."""
        values = self._section._lines.attributes.get(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Return all values of ``name``, in order."""
        return list(self._section._lines.attributes.get(name, ()))

    def add(self, name: str, value: str | None = None) -> None:
        """
        Append ``a=name:value``, or ``a=name`` without a value.

        :raises LocalSDPError: when it cannot stand in one line.
        """
        self._section.add_line("a", attribute_value((name, value)))

    def set(self, name: str, value: str | None = None) -> None:
        """
        Replace all of ``name`` by one, in the place of the first.

        :raises LocalSDPError: when it cannot stand in one line.
        """
        text = attribute_value((name, value))
        self.replace((name,), text)

    def remove(self, *names: str) -> None:
        """Remove all attributes of these names; none is no error."""
        self.replace(names, None)

    def replace(self, names: Iterable[str], text: str | None) -> None:
        """
        Put ``a=text``, or nothing, in the place of the first of ``names``, and remove the others.
        """
        section = self._section
        wanted = frozenset(names)
        rows: list[str] = []
        for row in section._lines.rows:
            if row[0] != "a" or row[2:].partition(":")[0] not in wanted:
                rows.append(row)
            elif text is not None:
                rows.append("a=" + check_text(text))
                text = None
        if tuple(rows) != section._lines.rows:
            section._change(rows)
        if text is not None:
            section.add_line("a", text)

    def __contains__(self, name: object) -> bool:
        return name in self._section._lines.attributes

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Iterate over ``(name, value)`` in the order of the lines."""
        for text in self._section.values("a"):
            name, _, value = text.partition(":")
            yield name, value.lstrip(" ")

    def __len__(self) -> int:
        return len(self._section.values("a"))


def _checked_row(kind: str, value: str) -> str:
    if len(kind) != 1 or not (kind.isascii() and kind.isalpha()):
        raise LocalSDPError(f"{kind!r} is not the type of a line")
    if kind in "vom":
        raise LocalSDPError(f"{kind}= lines are not set as text")
    if kind == "c":
        try:
            Connection.parse(value)
        except ValueError as error:
            raise LocalSDPError(str(error)) from error
    return f"{kind}={check_text(value)}"
