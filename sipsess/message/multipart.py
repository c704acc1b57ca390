# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Bodies of several parts (:rfc:`2046#section-5.1`), as SIP uses them (:rfc:`5621`).

::

    Content-Type: multipart/mixed;boundary=b1

    --b1
    Content-Type: application/sdp

    v=0...
    --b1
    Content-Type: application/vnd.example
    Content-Disposition: render;handling=optional

    ...
    --b1--

A part may be a body of several parts itself. Everything is bounded: parts in all, depth, headers.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

from sipsess.errors import HeaderValueError
from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import unfold
from sipsess.message._message import Request, Response
from sipsess.message._params import Params
from sipsess.message._parser import read_headers

#: Parts of one body, those within parts included; SIP-I and emergency calls have up to five.
MAX_PARTS = 16
#: How deep parts may stand within parts; a body that was forwarded twice has three.
MAX_DEPTH = 3
#: Bytes of a boundary (:rfc:`2046#section-5.1.1`).
MAX_BOUNDARY = 70

_BOUNDARY_CHARACTERS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=? "
)
#: Encodings that change nothing (:rfc:`5621#section-3.2`: SIP is 8-bit clean, base64 is not used).
_PLAIN = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Part:
    """One body, or one part of a body."""

    #: ``"type/subtype"`` in lower case.
    content_type: str
    body: bytes
    #: Its own headers, Content-Type included.
    headers: Headers = field(default_factory=Headers, compare=False)

    @property
    def disposition(self) -> str | None:
        """The type of its Content-Disposition in lower case, or ``None`` when absent."""
        return read_disposition(self.headers)[0]

    @property
    def is_optional(self) -> bool:
        """Whether it may be ignored by who does not understand it (``handling=optional``)."""
        return read_disposition(self.headers)[1]

    @property
    def is_multipart(self) -> bool:
        """Whether it has parts itself."""
        return self.content_type.startswith("multipart/")

    @property
    def is_plain(self) -> bool:
        """Whether its bytes are what it says, in no encoding of a kind."""
        encoding = self.headers.get("Content-Transfer-Encoding") or "binary"
        content = {value.lower() for value in self.headers.values("Content-Encoding")}
        return encoding.lower() in _PLAIN and not content - {"identity"}

    def parts(self) -> tuple[Part, ...]:
        """
        Return its own parts; none when it is no multipart.

        :raises MessageError: they cannot be read, or are too many.
        """
        if not self.is_multipart:
            return ()
        return parse_multipart(self.headers.get("Content-Type") or "", self.body)


def read_disposition(headers: Headers) -> tuple[str | None, bool]:
    """
    Return the type of a Content-Disposition, and whether the body may be ignored.

    Without ``handling`` it must be understood (:rfc:`3261#section-20.11`); so must one that cannot
    be read.
    """
    text = headers.get("Content-Disposition")
    if text is None:
        return None, False
    kind, _, rest = text.partition(";")
    try:
        params = Params.parse(rest) if rest else Params()
    except MessageError:
        params = Params()
    return kind.strip(" \t").lower(), (params.get("handling") or "").lower() == "optional"


def whole_body(message: Request | Response) -> Part:
    """Return the body of a message as if it were the only part; one without a type is text."""
    return Part(message.content_type or "text/plain", message.body, message.headers)


def walk(part: Part) -> Iterator[Part]:
    """
    Yield a part and all that are within it, in order.

    :raises MessageError: ``bad-multipart`` when they cannot be read or are too many.
    """
    yield from _walk(part, 0, [0])


def _walk(part: Part, depth: int, count: list[int]) -> Iterator[Part]:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_PARTS:
        raise MessageError("bad-multipart", "the body has too many parts")
    yield part
    for inner in part.parts():
        yield from _walk(inner, depth + 1, count)


def find_part(part: Part, content_type: str, dispositions: Container[str | None]) -> Part | None:
    """
    Return the first part of a type that may be used, or ``None``.

    :param content_type: in lower case.
    :param dispositions: what its Content-Disposition may be; ``None`` stands for no such header.
    :raises MessageError: see :func:`walk`.
    """
    for item in walk(part):
        if item.content_type == content_type and item.disposition in dispositions and item.is_plain:
            return item
    return None


def find_obstacle(part: Part, accept: Container[str]) -> Part | None:
    """
    Return the part for which a request must be refused with 415, or ``None`` (:rfc:`5621`).

    That is one that is not optional and not of an accepted type. Of ``multipart/alternative`` one
    part must do; a whole multipart that is optional is not looked into.

    :param accept: types in lower case; ``multipart`` itself need not be among them.
    :raises MessageError: the body cannot be read.
    """
    for _ in walk(part):
        pass  # Within all bounds; what follows need not count.
    return _find_obstacle(part, accept)


def _find_obstacle(part: Part, accept: Container[str]) -> Part | None:
    if part.is_optional:
        return None
    if not part.is_multipart:
        return None if part.content_type in accept and part.is_plain else part
    obstacles = [_find_obstacle(inner, accept) for inner in part.parts()]
    if part.content_type == "multipart/alternative" and None in obstacles:
        return None
    return next((item for item in obstacles if item is not None), None)


def parse_multipart(content_type: str, body: bytes) -> tuple[Part, ...]:
    """
    Read a body of several parts; what stands before and after them is ignored.

    :param content_type: the whole value of Content-Type, with its boundary.
    :raises MessageError: ``bad-multipart`` when there is no boundary, no closing delimiter, no or
        too many parts, or a part's headers cannot be read.
    """
    marker = b"\r\n--" + _boundary(content_type)
    contents: list[bytes] = []
    # A delimiter begins a line, and the first one may begin the body.
    for piece in (b"\r\n" + body).split(marker, MAX_PARTS + 2)[1:]:
        line, _, content = piece.partition(b"\r\n")
        tail = line.rstrip(b" \t")
        if tail == b"--" and contents:
            return tuple([_parse_part(content) for content in contents])
        if not tail:
            contents.append(content)
        elif contents:
            # No delimiter: that of a part within, whose boundary begins with this one.
            contents[-1] += marker + piece
    raise MessageError("bad-multipart", "the body has no parts, no end, or too many of them")


def _boundary(content_type: str) -> bytes:
    _, _, rest = content_type.partition(";")
    boundary = Params.parse(rest).get("boundary") if rest else None
    if not boundary or not is_boundary(boundary):
        raise MessageError("bad-multipart", "the body has no proper boundary")
    return boundary.encode("ascii")


def is_boundary(text: str) -> bool:
    """Tell whether a text may be a boundary (:rfc:`2046#section-5.1.1`)."""
    return (
        0 < len(text) <= MAX_BOUNDARY and text[-1] != " " and _BOUNDARY_CHARACTERS.issuperset(text)
    )


def _parse_part(content: bytes) -> Part:
    if content.startswith(b"\r\n"):
        # RFC 2046 5.1: a part without headers is plain text.
        return Part("text/plain", content[2:])
    head, end, body = content.partition(b"\r\n\r\n")
    if not end:
        raise MessageError("bad-multipart", "a part of the body has no end of headers")
    headers = read_headers(head)
    kind = unfold(headers.get("Content-Type") or "text/plain").partition(";")[0]
    major, slash, minor = kind.partition("/")
    return Part(f"{major.strip()}{slash}{minor.strip()}".lower(), body, headers)


def build_multipart(parts: Sequence[Part], boundary: str) -> bytes:
    """
    Return the body of these parts; its type is ``multipart/mixed;boundary="..."``, say.

    :param parts: at least one; their headers are written, Content-Type first.
    :param boundary: must not occur in any of them.
    :raises HeaderValueError: it does occur, or is none.
    """
    if not is_boundary(boundary):
        raise HeaderValueError(f"{boundary!r} is no boundary")
    marker = b"--" + boundary.encode("ascii")
    pieces = []
    for part in parts:
        headers = part.headers.copy()
        if "Content-Type" not in headers:
            headers.prepend("Content-Type", part.content_type)
        lines = headers.to_text().encode("utf-8", "surrogateescape")
        pieces.append(lines + b"\r\n" + part.body)
        if marker in pieces[-1]:
            raise HeaderValueError("the boundary occurs in a part")
    return b"".join(marker + b"\r\n" + piece + b"\r\n" for piece in pieces) + marker + b"--\r\n"
