# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The model of a session description: :class:`SessionDescription` and its :class:`MediaDescription`
objects.

::

    SessionDescription
        head: Section                  v= o= s= ... the lines before the first m=
        media: (MediaDescription, ...) each one m= line and the lines that belong to it

What was read and not touched is written back byte for byte; what was changed or built is written in
the canonical form, each line with CRLF.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.lines import Lines, share_lines
from sipsess.sdp.section import (
    MEDIA_ORDER,
    AttributeLike,
    AttributeLines,
    Attributes,
    Section,
    attribute_value,
)
from sipsess.sdp.values import (
    DIRECTIONS,
    STATIC_PAYLOAD_TYPES,
    Connection,
    MediaLine,
    Origin,
    RTPMap,
    check_origin,
    check_text,
)


class MediaDescription(Section):
    """
    One m= line with its lines (:rfc:`8866#section-5.14`); made by :func:`parse` or :meth:`build`.

    :param first: the m= line as it is written.
    :param lines: the lines after it.
    :param line: the fields of the m= line.
    :param head: the session's lines, to fall back to, or ``None``.
    """

    __slots__ = ("_head", "_line")

    order: ClassVar[str] = MEDIA_ORDER

    def __init__(
        self,
        first: tuple[str, ...],
        lines: Lines,
        line: MediaLine,
        head: Section | None = None,
    ) -> None:
        self._first = first
        self._lines = lines
        self._line = line
        self._head = head
        self.is_touched = False

    @classmethod
    def build(
        cls,
        media: str,
        port: int,
        proto: str,
        formats: Iterable[str],
        *,
        host: str | None = None,
        attributes: Iterable[AttributeLike] | AttributeLines = (),
        port_count: int = 1,
    ) -> MediaDescription:
        """
        Make the description of one stream.

        :param host: the address or name for a c= line of its own; ``None`` leaves it to the
            session.
        :param attributes: ``"ptime:20"``, or ``("ptime", "20")``, ``("sendonly", None)``; or those
            of many streams, checked once.
        :raises LocalSDPError: when something cannot be written.
        """
        line = MediaLine.build(media, port, port_count, proto, formats)
        if not isinstance(attributes, AttributeLines):
            attributes = AttributeLines(attributes)
        lines = attributes.lines
        if host is not None:
            lines = share_lines((f"c={Connection.build(host)}", *lines.rows))
        return cls((f"m={line}",), lines, line)

    @classmethod
    def declined(cls, offered: MediaDescription) -> MediaDescription:
        """
        Return the answer that declines ``offered``: port 0, its formats, its ``a=mid``
        (:rfc:`3264#section-6`).
        """
        line = offered._line._replace(port=0, port_count=1)
        rows = [f"a=mid:{mid}" for mid in offered.attributes.get_all("mid")]
        return cls((f"m={line}",), share_lines(tuple(rows)), line)

    def copy(self, head: Section | None = None) -> MediaDescription:
        """Return a copy that falls back to ``head``, the lines of its session."""
        return MediaDescription(self._first, self._lines, self._line, head)

    @property
    def media(self) -> str:
        """
        The media type: ``"audio"``, ``"video"``, ``"image"``, ``"application"``, ``"message"``...
        """
        return self._line.media

    @property
    def port(self) -> int:
        """The port to send to; 0 declines or ends the stream."""
        return self._line.port

    @port.setter
    def port(self, port: int) -> None:
        self._write(self._line._replace(port=port))

    @property
    def port_count(self) -> int:
        """How many ports, 1 unless written as ``49170/2``."""
        return self._line.port_count

    @property
    def proto(self) -> str:
        """The transport protocol, as in ``"RTP/AVP"``."""
        return self._line.proto

    @property
    def formats(self) -> list[str]:
        """
        The formats, best first: payload types for RTP, names for others. A copy; set it to change
        it.
        """
        return list(self._line.formats)

    @formats.setter
    def formats(self, formats: Iterable[str]) -> None:
        self._write(self._line._replace(formats=tuple(formats)))

    @property
    def connection(self) -> Connection | None:
        """The first c= line, the session's when there is none here, else ``None``."""
        own = self.own_connection
        if own is None and self._head is not None:
            return self._head.own_connection
        return own

    @connection.setter
    def connection(self, connection: Connection) -> None:
        self.set_line("c", str(connection))

    @property
    def address(self) -> str | None:
        """
        The host of :attr:`connection`: an address or a name; ``None`` when no c= line says one.
        """
        connection = self.connection
        return None if connection is None else connection.address

    @property
    def direction(self) -> str:
        """
        One of :data:`DIRECTIONS`, seen by the one that wrote this: here, else in the session, else
        ``"sendrecv"``.

        (:rfc:`8866#section-6.7`)
        """
        direction = self._lines.direction
        if direction is None and self._head is not None:
            direction = self._head._lines.direction
        return direction or "sendrecv"

    @direction.setter
    def direction(self, direction: str) -> None:
        if direction not in DIRECTIONS:
            raise LocalSDPError(f"{direction!r} is not a direction")
        self.attributes.replace(DIRECTIONS, direction)

    @property
    def is_declined(self) -> bool:
        """
        Whether the port is 0: the stream is declined, ended, or not used (:rfc:`3264#section-8.2`).
        """
        return self._line.port == 0

    @property
    def is_held(self) -> bool:
        """
        Whether the one that wrote this does not want to receive: ``sendonly``, ``inactive``, or
        ``c=0.0.0.0``.

        (:rfc:`3264#section-8.4`.) With ICE, ``0.0.0.0`` only says that no candidate is known yet
        (:rfc:`8840`); a declined stream is not held, it is not there.
        """
        if self.is_declined:
            return False
        if self.direction in ("sendonly", "inactive"):
            return True
        connection = self.connection
        is_black_hole = connection is not None and connection.is_black_hole
        return is_black_hole and not self.inherited("ice-ufrag")

    def inherited(self, name: str) -> list[str]:
        """Return the values of an attribute that may stand in the session: here, else there."""
        values = self.attributes.get_all(name)
        if not values and self._head is not None:
            return self._head.attributes.get_all(name)
        return values

    @property
    def is_rtp(self) -> bool:
        """Whether the formats are payload types of RTP."""
        return "RTP/" in self._line.proto.upper()

    @property
    def ptime(self) -> int | None:
        """The wanted length of a packet in milliseconds, as ``a=ptime`` says it, or ``None``."""
        return self._milliseconds("ptime")

    @property
    def maxptime(self) -> int | None:
        """The longest packet in milliseconds, as ``a=maxptime`` says it, or ``None``."""
        return self._milliseconds("maxptime")

    def _milliseconds(self, name: str) -> int | None:
        text = self.attributes.get(name)
        if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 4):
            return None
        return int(text) or None

    def rtpmap(self, format: str) -> RTPMap | None:
        """
        Return what the format is: from its first readable ``a=rtpmap``, else from the static ones
        of :rfc:`3551`.

        :return: ``None`` when nothing says it.
        """
        found = self._lines.codecs.get(format)
        if found is None and self.is_rtp:
            return STATIC_PAYLOAD_TYPES.get(format)
        return found

    def fmtp(self, format: str) -> str | None:
        """Return the parameters of the format, as its first ``a=fmtp`` writes them, or ``None``."""
        return self._lines.parameters.get(format)

    def _write(self, line: MediaLine) -> None:
        self._line = MediaLine.build(*line)
        self._first = (f"m={self._line}",)
        self.is_touched = True


class SessionDescription:
    """
    A session description; made by :func:`parse`, :meth:`build`, or the builders of offers and
    answers.

    :param head: the lines before the first m= line.
    :param media: the m= lines; they must fall back to ``head``.
    :param wire: the bytes that were read, or ``None``.
    """

    __slots__ = ("_media", "_wire", "head")

    def __init__(
        self, head: Section, media: Iterable[MediaDescription], wire: bytes | None = None
    ) -> None:
        #: The session-level lines.
        self.head = head
        self._media = tuple(media)
        self._wire = wire

    @classmethod
    def build(
        cls,
        origin: Origin,
        *,
        name: str = "-",
        connection: Connection | None = None,
        timing: Iterable[str] = ("0 0",),
        attributes: Iterable[AttributeLike] = (),
        media: Iterable[MediaDescription] = (),
    ) -> SessionDescription:
        """
        Make a description; the media are copied.

        :param name: the s= line, ``-`` when the session has none (:rfc:`3264#section-5`).
        :param timing: the t= lines; ``0 0`` is a session without bounds.
        :raises LocalSDPError: when something cannot be written.
        """
        rows = [f"s={check_text(name)}"]
        if connection is not None:
            rows.append(f"c={check_text(str(connection))}")
        rows += ["t=" + check_text(value) for value in timing]
        rows += ["a=" + attribute_value(attribute) for attribute in attributes]
        head = Section(("v=0", _origin_row(origin)), share_lines(tuple(rows)))
        return cls(head, [item.copy(head) for item in media])

    def copy(self) -> SessionDescription:
        """Return a copy that shares nothing that can change."""
        copy = self.with_media(self._media)
        copy._wire = None if self._is_touched else self._wire
        return copy

    def with_media(self, media: Iterable[MediaDescription]) -> SessionDescription:
        """Return a copy with other m= lines, which are copied too."""
        head = Section(self.head._first, self.head._lines)
        return SessionDescription(head, [item.copy(head) for item in media])

    @property
    def media(self) -> tuple[MediaDescription, ...]:
        """The m= lines, in order; :meth:`add_media` and :meth:`replace_media` change them."""
        return self._media

    def add_media(self, media: MediaDescription) -> MediaDescription:
        """Append a copy of ``media`` and return the copy, which falls back to this session."""
        item = media.copy(self.head)
        self._media = (*self._media, item)
        self._wire = None
        return item

    def replace_media(self, index: int, media: MediaDescription) -> MediaDescription:
        """Put a copy of ``media`` in the place ``index`` and return the copy."""
        item = media.copy(self.head)
        items = list(self._media)
        items[index] = item
        self._media = tuple(items)
        self._wire = None
        return item

    @property
    def origin(self) -> Origin:
        """The o= line: who made this, and which edition it is."""
        return Origin.parse(self.head.value("o") or "")

    @origin.setter
    def origin(self, origin: Origin) -> None:
        self._set_origin(_origin_row(origin))

    def set_version(self, session_id: int, version: int) -> None:
        """Set the two numbers of the o= line, as :attr:`origin` does with all of it."""
        user, _, _, *address = check_origin(self.head.value("o") or "")
        self._set_origin(f"o={user} {session_id} {version} {' '.join(address)}")

    def _set_origin(self, row: str) -> None:
        if len(self.head._first) > 1:
            self.head._first = ("v=0", row)
            self.head.is_touched = True
        else:
            self.head._replace(row)

    @property
    def name(self) -> str:
        """The s= line; ``"-"`` when it is missing."""
        value = self.head.value("s")
        return "-" if value is None else value

    @property
    def attributes(self) -> Attributes:
        """The a= lines before the first m= line."""
        return self.head.attributes

    @property
    def connection(self) -> Connection | None:
        """The c= line before the first m= line, or ``None``."""
        return self.head.own_connection

    @connection.setter
    def connection(self, connection: Connection) -> None:
        self.head.set_line("c", str(connection))

    @property
    def _is_touched(self) -> bool:
        return self.head.is_touched or any(item.is_touched for item in self._media)

    def to_bytes(self) -> bytes:
        """Return the body: the very bytes that were read when nothing was changed."""
        wire = self._wire
        if wire is None or self._is_touched:
            rows = [*self.head.rows]
            for item in self._media:
                rows += item.rows
            return "\r\n".join([*rows, ""]).encode("utf-8", "surrogateescape")
        return wire

    def is_same_as(self, other: SessionDescription) -> bool:
        """Whether both say the same, line by line, apart from their o= lines."""
        return (
            len(self._media) == len(other._media)
            and _rows_but_origin(self) == _rows_but_origin(other)
            and all(
                mine.rows == theirs.rows
                for mine, theirs in zip(self._media, other._media, strict=True)
            )
        )


def _rows_but_origin(description: SessionDescription) -> list[str]:
    return [row for row in description.head.rows if row[0] != "o"]


def _origin_row(origin: Origin) -> str:
    text = check_text(str(origin))
    try:
        check_origin(text)
    except ValueError as error:
        raise LocalSDPError(str(error)) from error
    return f"o={text}"
