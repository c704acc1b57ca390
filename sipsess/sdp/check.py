# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Find what :func:`sipsess.sdp.parse` tolerates although :rfc:`8866` does not allow it, or nobody
meant it.

It is slower than reading and meant for people, so it runs only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from sipsess.sdp.description import MediaDescription, SessionDescription
from sipsess.sdp.limits import MAX_PAYLOAD_TYPE
from sipsess.sdp.parser import parse, split_lines
from sipsess.sdp.section import MEDIA_ORDER, SESSION_ORDER
from sipsess.sdp.values import (
    DIRECTIONS,
    STATIC_PAYLOAD_TYPES,
    RTPMap,
    read_number,
    split_fields,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that was tolerated.

    ``line_number`` counts from 1; it is ``None`` when a line is missing, so that there is nothing
    to point at.
    """

    line_number: int | None
    text: str

    def __str__(self) -> str:
        """Return the sentence, with the line number in front when there is one."""
        return self.text if self.line_number is None else f"line {self.line_number}: {self.text}"


#: Types that stand once in the session section, and once in a media section
#: (:rfc:`8866#section-5`).
_SINGLE = ("siuczk", "ik")

#: The order of types; t= may follow r=, as each belongs to a t=.
_RANKS = (
    {kind: min(SESSION_ORDER.index(kind), SESSION_ORDER.index("t")) for kind in "vosiuepcbtrz"}
    | {"k": len(SESSION_ORDER), "a": len(SESSION_ORDER) + 1},
    {kind: rank for rank, kind in enumerate(MEDIA_ORDER)},
)


def find_problems(data: bytes) -> list[Problem]:
    """
    Return what is odd in a body that can be read, in the order of its lines.

    :raises SDPError: when it cannot be read at all.
    """
    description = parse(data)
    problems = [*_check_ends(data), *_check_rows(split_lines(data), description)]
    return sorted(problems, key=lambda problem: problem.line_number or 0)


def _check_ends(data: bytes) -> Iterator[Problem]:
    text = data.rstrip(b"\0")
    if len(text) < len(data):
        yield Problem(None, "NUL bytes follow the last line")
    for number, row in enumerate(text.split(b"\r\n"), 1):
        if b"\n" in row or b"\r" in row:
            yield Problem(number, "the line does not end in CRLF")
            break
    if not text.endswith((b"\n", b"\r")):
        yield Problem(len(split_lines(data)), "the last line has no line end")


class _Walk:
    """Where the check is, and what it has seen of the present section."""

    __slots__ = ("description", "has_direction", "index", "last_rank", "seen")

    def __init__(self, description: SessionDescription) -> None:
        self.description = description
        #: The m= line we are in, -1 before the first.
        self.index = -1
        self.begin()

    def begin(self) -> None:
        self.seen: set[str] = set()
        self.last_rank = -1
        self.has_direction = False

    @property
    def is_media(self) -> bool:
        return self.index >= 0

    @property
    def media(self) -> MediaDescription:
        return self.description.media[self.index]


def _check_rows(rows: list[str], description: SessionDescription) -> Iterator[Problem]:
    walk = _Walk(description)
    # Blank lines at the end disturb nobody.
    last = max(number for number, row in enumerate(rows, 1) if row.strip(" \t"))
    for number, row in enumerate(rows[:last], 1):
        if not row.strip(" \t"):
            yield Problem(number, "the line is blank")
            continue
        kind, value = row[0], row[2:]
        if row[-1] in " \t" and kind not in "si":
            yield Problem(number, "the line ends in white space")
        if kind == "m":
            walk.index += 1
            walk.begin()
        for text in _check_place(walk, kind):
            yield Problem(number, text)
        check = _CHECKS.get(kind)
        if check is not None:
            for text in check(walk, value.rstrip(" \t")):
                yield Problem(number, text)
    for kind, what in (("s", "name of the session"), ("t", "time of the session")):
        if description.head.value(kind) is None:
            yield Problem(None, f"there is no {kind}= line, the {what}")


def _check_place(walk: _Walk, kind: str) -> Iterator[str]:
    rank = _RANKS[walk.is_media].get(kind)
    if rank is None:
        yield f"{kind}= is not a type of RFC 8866 in this place; it is kept and has no effect"
        return
    if rank < walk.last_rank:
        yield f"{kind}= stands too late; RFC 8866 fixes the order"
    walk.last_rank = max(rank, walk.last_rank)
    if kind in walk.seen and kind in _SINGLE[walk.is_media]:
        yield f"this is a second {kind}= line; the first counts"
    walk.seen.add(kind)


def _check_connection(walk: _Walk, value: str) -> Iterator[str]:
    fields = split_fields(value)
    if len(fields) > 3:
        yield "fields after the address are ignored"
    yield from _check_address(*fields[:3])


def _check_origin(walk: _Walk, value: str) -> Iterator[str]:
    yield from _check_address(*split_fields(value)[3:])


def _check_address(net_type: str, address_type: str, address: str) -> Iterator[str]:
    host = address.partition("/")[0]
    if net_type != "IN":
        yield f"{net_type} is not a known kind of network; IN is the internet"
    elif address_type not in ("IP4", "IP6"):
        yield f"{address_type} is not a known type of address; there are IP4 and IP6"
    elif not _is_host(address_type, host):
        yield f"{host} is not an address of type {address_type}"


def _is_host(address_type: str, host: str) -> bool:
    """Whether ``host`` is such an address, or may be a name."""
    looks_like = ":" in host or host.replace(".", "").isdigit()
    try:
        (IPv6Address if address_type == "IP6" else IPv4Address)(host)
    except ValueError:
        return not looks_like
    return True


def _check_bandwidth(walk: _Walk, value: str) -> Iterator[str]:
    try:
        read_number(value.partition(":")[2], 2**63)
    except ValueError as error:
        yield str(error)


def _check_media(walk: _Walk, value: str) -> Iterator[str]:
    media = walk.media
    if not media.formats:
        yield "a declined stream should still name a format"
    if not media.is_declined and media.connection is None:
        yield "no c= line says where to send this stream"
    for name in media.formats if media.is_rtp else ():
        if not (name.isascii() and name.isdigit() and int(name[:4]) <= MAX_PAYLOAD_TYPE):
            yield f"{name} is not a payload type from 0 to {MAX_PAYLOAD_TYPE}"
        elif not media.is_declined and media.rtpmap(name) is None:
            yield f"nothing says what payload type {name} is"


def _check_attribute(walk: _Walk, value: str) -> Iterator[str]:
    name, _, text = value.partition(":")
    if not name:
        yield "the attribute has no name"
    elif name in DIRECTIONS:
        if walk.has_direction:
            yield "this is a second direction"
        walk.has_direction = True
    elif name in _ATTRIBUTE_CHECKS:
        if walk.is_media:
            yield from _ATTRIBUTE_CHECKS[name](walk.media, text.strip(" "))
        else:
            yield f"a={name} belongs to an m= line"


def _check_format(media: MediaDescription, text: str) -> Iterator[str]:
    name = text.partition(" ")[0]
    if name not in media.formats:
        yield f"format {name} is not in the m= line"


def _check_rtpmap(media: MediaDescription, text: str) -> Iterator[str]:
    yield from _check_format(media, text)
    name, _, codec = text.partition(" ")
    try:
        rtpmap = RTPMap.parse(codec.strip(" "))
    except ValueError as error:
        yield str(error)
        return
    static = STATIC_PAYLOAD_TYPES.get(name)
    if static is not None and not static.matches(rtpmap):
        yield f"payload type {name} is always {static}"


def _check_ptime(media: MediaDescription, text: str) -> Iterator[str]:
    if media.ptime is None:
        yield f"{text[:20]!r} is not a number of milliseconds"


_CHECKS: dict[str, Callable[[_Walk, str], Iterator[str]]] = {
    "o": _check_origin,
    "c": _check_connection,
    "b": _check_bandwidth,
    "m": _check_media,
    "a": _check_attribute,
}

_ATTRIBUTE_CHECKS: dict[str, Callable[[MediaDescription, str], Iterator[str]]] = {
    "rtpmap": _check_rtpmap,
    "fmtp": _check_format,
    "ptime": _check_ptime,
}
