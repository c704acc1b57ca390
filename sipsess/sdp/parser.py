# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Read a session description (:rfc:`8866`): strict where a mistake would change the call, tolerant
elsewhere.

Theory of operation
    Bytes become text as UTF-8 with ``surrogateescape``, so that any byte comes back as it was.
    Lines end at CRLF, LF or CR and nowhere else: ``str.splitlines`` also ends them at VT, NEL or
    U+2028, which lets the text of an attribute inject a line. Each line is kept as
    it is in the section it stands in. Only v=, o=, c= and m= are looked into; attributes are
    read when somebody asks for them.

Refused
    no ``v=0`` in front, no o= before the first m=, a second v= or o=, a line that is not
    ``type=value``, a c=, o= or m= line without its fields, a NUL within the text, more than
    :mod:`sipsess.sdp.limits` allows.

Tolerated
    spaces at the end of a line, blank lines, LF or CR alone, no final line end, NULs after the last
    line, no s= or t= line, types out of order, unknown types and attributes.
    :func:`sipsess.sdp.check.find_problems` reports them.
"""

from __future__ import annotations

from sipsess.sdp.description import MediaDescription, SessionDescription
from sipsess.sdp.errors import SDPError
from sipsess.sdp.limits import MAX_BYTES, MAX_LINES, MAX_MEDIA
from sipsess.sdp.lines import Lines, share_lines
from sipsess.sdp.section import Section
from sipsess.sdp.values import MediaLine, check_connection, check_origin


def parse(data: bytes) -> SessionDescription:
    """
    Read one session description.

    :param data: the body of a message, as it came.
    :raises SDPError: with the line number and a sentence; never anything else.
    """
    rows = split_lines(data)
    head: list[str] = []
    media: list[tuple[MediaLine, list[str]]] = []
    section = head
    for number, row in enumerate(rows, 1):
        if row[:2] == "a=" and head and row[-1] not in " \t":
            # Most lines are attributes, and in them nothing is checked.
            section.append(row)
            continue
        if row[1:2] != "=":
            if row.strip(" \t"):
                raise SDPError("sdp-line", f"{row[:40]!r} is not of the form type=value", number)
            continue
        kind = row[0]
        # The text of s= and i= may end in a space: `s= ` is what RFC 3264 section 5 allows.
        line = row.rstrip(" \t") if row[-1] in " \t" and kind not in "si" else row
        if kind == "m":
            section = []
            media.append((_read_media(line[2:], number, len(media), head), section))
        elif not head or kind in "voc":
            _check_line(kind, line[2:], number, head, not media)
        elif not (kind.isalpha() and kind.isascii()):
            raise SDPError("sdp-line", f"{kind!r} is not the type of a line", number)
        section.append(line)
    if not head:
        raise SDPError("sdp-empty", "the session description is empty")
    if not media:
        _require_origin(head, len(rows))
    return _build(head, media, data)


def _build(
    head_rows: list[str], media: list[tuple[MediaLine, list[str]]], data: bytes
) -> SessionDescription:
    # The o= line should be the second one; where it is not, the lines are nobody else's.
    count = 2 if head_rows[1][0] == "o" else 1
    rest = tuple(head_rows[count:])
    head = Section(tuple(head_rows[:count]), share_lines(rest) if count == 2 else Lines(rest))
    return SessionDescription(
        head,
        [
            MediaDescription((rows[0],), share_lines(tuple(rows[1:])), line, head)
            for line, rows in media
        ],
        data,
    )


def split_lines(data: bytes) -> list[str]:
    """
    Return the lines of a body, split at CRLF, LF and CR only.

    :raises SDPError: when it is too big, or holds a NUL elsewhere than at its end.
    """
    if len(data) > MAX_BYTES:
        raise SDPError("sdp-too-big", f"the body has {len(data)} bytes, more than {MAX_BYTES}")
    # Some programs send the NUL that ends a string in C, too.
    text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise SDPError("sdp-nul", "the line holds a NUL", number)
    rows = text.split("\n")
    if len(rows) > MAX_LINES:
        raise SDPError("sdp-too-big", f"the body has more than {MAX_LINES} lines", MAX_LINES + 1)
    return rows


def _read_media(value: str, number: int, count: int, head: list[str]) -> MediaLine:
    if not head:
        _check_line("m", value, number, head, True)
    if not count:
        _require_origin(head, number)
    if count >= MAX_MEDIA:
        raise SDPError("sdp-too-big", f"the body has more than {MAX_MEDIA} m= lines", number)
    try:
        return MediaLine.parse(value)
    except ValueError as error:
        raise SDPError("sdp-media-line", str(error), number) from error


def _require_origin(head: list[str], number: int) -> None:
    if not any(row[0] == "o" for row in head):
        raise SDPError("sdp-origin", "there is no o= line before this one", number)


def _check_line(kind: str, value: str, number: int, head: list[str], is_head: bool) -> None:
    """Check a v=, o= or c= line, or whichever is the first."""
    if not head:
        if (kind, value) != ("v", "0"):
            raise SDPError("sdp-version", "a session description begins with v=0", number)
        return
    try:
        if kind == "c":
            check_connection(value)
            return
        if kind == "v" or not is_head or any(row[0] == "o" for row in head):
            raise SDPError("sdp-duplicate", f"this is a second {kind}= line", number)
        check_origin(value)
    except ValueError as error:
        raise SDPError(
            "sdp-connection" if kind == "c" else "sdp-origin", str(error), number
        ) from error
