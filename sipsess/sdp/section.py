# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A section of a session description: an ordered list of ``(type, value)`` lines, and views of it.

The lines are the truth: what is not understood stays where it is, and typed values are made from
the lines when somebody asks. :rfc:`8866#section-5` fixes the order of types within a section; it is
used to place a new line, never to move one that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.values import Connection, check_text, check_token, read_number

#: The order of types in a session section and in a media section (:rfc:`8866#section-5`).
SESSION_ORDER = "vosiuepcbtrzka"
MEDIA_ORDER = "micbka"

#: One line: its type, which is one letter, and its value as it was written.
Line = tuple[str, str]

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


class Section:
    """
    The lines before the first m= line, or those of one m= line.

    :param lines: the lines, in order; the list then belongs to the section.
    :param order: the types in the order in which new lines are placed.
    """

    __slots__ = ("_index", "_lines", "_order", "is_touched")

    def __init__(self, lines: list[Line], order: str = SESSION_ORDER) -> None:
        self._lines = lines
        self._order = order
        self._index: dict[str, list[str]] | None = None
        #: Whether a line was changed since the section was made.
        self.is_touched = False

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines in order, those of unknown types too."""
        return tuple(self._lines)

    def values(self, line_type: str) -> list[str]:
        """Return the values of all lines of a type, in order."""
        return [value for kind, value in self._lines if kind == line_type]

    def value(self, line_type: str) -> str | None:
        """Return the value of the first line of a type, or ``None``."""
        for kind, value in self._lines:
            if kind == line_type:
                return value
        return None

    def add_line(self, line_type: str, value: str) -> None:
        """
        Add a line after the last one that may stand before it (:rfc:`8866#section-5`).

        :raises LocalSDPError: when it would not be one line, or belongs to a typed setter (v=, o=,
            m=).
        """
        self._insert(*_checked_line(line_type, value))

    def set_line(self, line_type: str, value: str) -> None:
        """
        Replace all lines of a type by one, in the place of the first.

        :raises LocalSDPError: as for :meth:`add_line`.
        """
        self._replace(*_checked_line(line_type, value))

    def remove_lines(self, line_type: str) -> None:
        """
        Remove all lines of a type; none is no error.

        :raises LocalSDPError: when it is v=, o= or m=.
        """
        _checked_line(line_type, "IN IP4 -")
        self._keep([line for line in self._lines if line[0] != line_type])

    @property
    def attributes(self) -> Attributes:
        """The a= lines of this section."""
        return Attributes(self)

    @property
    def own_connection(self) -> Connection | None:
        """The first c= line of this section, or ``None``."""
        value = self.value("c")
        return None if value is None else Connection.parse(value)

    @property
    def connections(self) -> list[Connection]:
        """
        All c= lines of this section: a media section may have several (:rfc:`8866#section-5.7`).
        """
        return [Connection.parse(value) for value in self.values("c")]

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

    def attribute_index(self) -> dict[str, list[str]]:
        """Return the values of all attributes by name, made once; a flag has the value ``""``."""
        index = self._index
        if index is None:
            index = self._index = {}
            for kind, text in self._lines:
                if kind == "a":
                    name, _, value = text.partition(":")
                    values = index.get(name)
                    if values is None:
                        index[name] = [value.lstrip(" ")]
                    else:
                        values.append(value.lstrip(" "))
        return index

    def text(self) -> str:
        """Return the lines as they are written, each with its CRLF."""
        return "".join([f"{kind}={value}\r\n" for kind, value in self._lines])

    def _touch(self) -> None:
        self._index = None
        self.is_touched = True

    def _keep(self, lines: list[Line]) -> None:
        if len(lines) != len(self._lines):
            self._lines = lines
            self._touch()

    def _rank(self, kind: str) -> int:
        rank = self._order.find(kind)
        return rank if rank >= 0 else len(self._order)

    def _insert(self, kind: str, value: str) -> None:
        rank = self._rank(kind)
        place = len(self._lines)
        while place and self._rank(self._lines[place - 1][0]) > rank:
            place -= 1
        self._lines.insert(place, (kind, value))
        self._touch()

    def _replace(self, kind: str, value: str) -> None:
        lines: list[Line] = []
        is_missing = True
        for line in self._lines:
            if line[0] != kind:
                lines.append(line)
            elif is_missing:
                lines.append((kind, value))
                is_missing = False
        self._lines = lines
        if is_missing:
            self._insert(kind, value)
        self._touch()


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
        values = self._section.attribute_index().get(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Return all values of ``name``, in order."""
        return list(self._section.attribute_index().get(name, ()))

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
        lines: list[Line] = []
        for line in section._lines:
            if line[0] != "a" or line[1].partition(":")[0] not in wanted:
                lines.append(line)
            elif text is not None:
                lines.append(("a", check_text(text)))
                text = None
        if lines != section._lines:
            section._lines = lines
            section._touch()
        if text is not None:
            section.add_line("a", text)

    def __contains__(self, name: object) -> bool:
        return name in self._section.attribute_index()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Iterate over ``(name, value)`` in the order of the lines."""
        for kind, text in self._section._lines:
            if kind == "a":
                name, _, value = text.partition(":")
                yield name, value.lstrip(" ")

    def __len__(self) -> int:
        return sum(kind == "a" for kind, _ in self._section._lines)


def _checked_line(kind: str, value: str) -> Line:
    if len(kind) != 1 or not (kind.isascii() and kind.isalpha()):
        raise LocalSDPError(f"{kind!r} is not the type of a line")
    if kind in "vom":
        raise LocalSDPError(f"{kind}= lines are not set as text")
    if kind == "c":
        try:
            Connection.parse(value)
        except ValueError as error:
            raise LocalSDPError(str(error)) from error
    return kind, check_text(value)
