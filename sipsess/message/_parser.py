# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
From bytes to a message.

Only the start line, the names of the headers and Content-Length are looked at here. A message whose
first line or headers are broken is refused, but what could be read goes along in
:attr:`MessageError.message`, so that a request can still be answered with 400.
"""

from __future__ import annotations

import re

from sipsess.message._errors import MessageError
from sipsess.message._headers import KEYS, Headers, header_key
from sipsess.message._lex import DIGITS, TOKEN, has_control
from sipsess.message._message import Request, Response
from sipsess.message.limits import MAX_HEADERS, MAX_LINE, MAX_MESSAGE

_VERSION = "SIP/2.0"
#: Returns the key of what a header line begins with, for the usual spellings.
_find_key = {f"{name}:": key for name, key in KEYS.items()}.get
_find_beginnings = re.compile(r"\r\n([^:\r\n]+:)").findall
_CONTROL_TO_MARK = str.maketrans("\r\n\0", "???")


def parse(data: bytes) -> Request | Response:
    """
    Read the message in one datagram.

    Line breaks before it are skipped (:rfc:`3261#section-7.5`). The body ends where Content-Length
    says, and what follows is dropped (:rfc:`3261#section-18.3`); without Content-Length it is all
    the rest. Headers are indexed only: see :meth:`~sipsess.message.Message.validate`.

    :raises MessageError: it is no SIP/2.0 message, is cut short, or exceeds a limit.
    """
    if len(data) > MAX_MESSAGE:
        raise MessageError("message-too-large", f"{len(data)} bytes", 513)
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    if not data:
        raise MessageError("empty-message", "there is no message")
    end = data.find(b"\r\n\r\n")
    message = parse_head(data if end < 0 else data[:end])
    if end < 0:
        raise _refusal("no-end-of-headers", "the empty line after the headers is missing", message)
    body = data[end + 4 :]
    length = content_length(message)
    if length is not None and length != len(body):
        if length > len(body):
            text = f"Content-Length is {length}, but only {len(body)} bytes arrived"
            raise _refusal("body-too-short", text, message)
        body = body[:length]
        data = data[: end + 4 + length]
    message._body = body
    message._source = data
    return message


def parse_head(head: bytes) -> Request | Response:
    """
    Read a start line and headers, up to but without the empty line.

    :raises MessageError: the start line or a header line is broken, or a limit is exceeded.
    """
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    headers = _index_usual(text, lines)
    problem = None
    if headers is None:
        lines, problem = _repair(text, lines)
        headers = Headers()
        problem = _index(lines, headers) or problem
    message = _start(lines[0], headers)
    if problem is not None:
        raise _refusal(*problem, message)
    return message


def read_headers(head: bytes) -> Headers:
    """
    Read header lines without a start line, such as those of a part of a body.

    :raises MessageError: a line is broken, or a limit is exceeded.
    """
    lines = ["", *head.decode("utf-8", "surrogateescape").split("\r\n")]
    headers = Headers()
    problem = _index(_join_folded(lines), headers)
    if problem is None and any(has_control(line) for line in lines):
        problem = ("bare-line-break", "a CR, LF or NUL stands alone in the headers of a part")
    if problem is not None:
        raise MessageError(*problem)
    return headers


def content_length(message: Request | Response) -> int | None:
    """
    Return Content-Length, or ``None`` when absent.

    :raises MessageError: it is no number, or stands twice: two could be read differently by two
        elements (:rfc:`4475#section-3.3.9`).
    """
    headers = message.headers
    text = headers.get("Content-Length")
    if text is None:
        return None
    if headers.count("Content-Length") > 1:
        raise _refusal("duplicate-header", "there is more than one Content-Length", message)
    if not text.isdecimal() or not text.isascii():
        raise _refusal("bad-content-length", f"{text!r} is no Content-Length", message)
    # Ten digits are more than any limit here, and safe to convert.
    return int(text.lstrip("0")[:10] or "0")


def _index_usual(text: str, lines: list[str]) -> Headers | None:
    """Return the headers when each is whole, on one line and within the limits, else ``None``."""
    breaks = len(lines) - 1
    if len(text) > MAX_LINE or breaks > MAX_HEADERS or "\0" in text:
        return None
    if text.count("\n") != breaks or text.count("\r") != breaks:
        return None
    beginnings = _find_beginnings(text)
    keys = [_find_key(beginning) or _read_key(beginning) for beginning in beginnings]
    return None if "" in keys or len(keys) < breaks else Headers.of_lines(keys, lines[1:])


def _read_key(line: str) -> str:
    """Return the key of a header line, empty when it is none."""
    name, colon, _ = line.partition(":")
    key = header_key(name)
    return "" if not colon or key.strip(TOKEN) or name[:1] in (" ", "\t") else key


def _repair(text: str, lines: list[str]) -> tuple[list[str], tuple[str, str] | None]:
    """Return lines without stray controls and with their continuations, and the first problem."""
    breaks = len(lines) - 1
    problem = None
    if text.count("\n") != breaks or text.count("\r") != breaks:
        problem = ("bare-line-break", "a CR or LF stands alone in the headers")
    elif "\0" in text and any(map(has_control, lines)):
        problem = ("bare-nul", "a NUL stands in the headers without an escape")
    if problem is not None:
        # What goes along with the error must be fit to be copied into an answer.
        lines = [line.translate(_CONTROL_TO_MARK) for line in lines]
    if "\r\n " in text or "\r\n\t" in text:
        lines = _join_folded(lines)
    return lines, problem


def _join_folded(lines: list[str]) -> list[str]:
    """Put continuation lines back to the line before them, the line breaks kept."""
    joined: list[list[str]] = [[lines[0]]]
    for line in lines[1:]:
        if line[:1] in (" ", "\t"):
            joined[-1].append(line)
        else:
            joined.append([line])
    return ["\r\n".join(parts) for parts in joined]


def _index(lines: list[str], headers: Headers) -> tuple[str, str] | None:
    """Fill ``headers`` with what can be read; return the first problem, or ``None``."""
    problem = None
    if len(lines) > MAX_HEADERS + 1:
        problem = ("too-many-headers", f"{len(lines) - 1} header lines")
        lines = lines[: MAX_HEADERS + 1]
    if max(map(len, lines)) > MAX_LINE:
        problem = ("line-too-long", f"a line of {max(map(len, lines))} characters")
    for line in lines[1:]:
        key = _find_key(line[: line.find(":") + 1]) or _read_key(line)
        if key:
            name, _, raw = line.partition(":")
            headers.add_raw(key, name, raw)
        else:
            problem = problem or ("bad-header-line", f"{line[:80]!r} is no header")
    return problem


def _start(line: str, headers: Headers) -> Request | Response:
    """Read the start line; it has no continuation lines."""
    if "\r\n" in line:
        raise _bad_start("bad-start-line", "the first line is folded", line, headers)
    if line[:4].upper() == "SIP/":
        return _start_response(line, headers)
    words = line.split(" ")
    if len(words) != 3 or not words[0] or words[0].strip(TOKEN) or not words[1]:
        raise _bad_start("bad-start-line", f"{line[:80]!r} is no request line", line, headers)
    if words[2] != _VERSION and words[2].upper() != _VERSION:
        if words[2][:4].upper() == "SIP/":
            raise _bad_start("bad-version", f"{words[2][:80]!r} is not SIP/2.0", line, headers, 505)
        raise _bad_start("bad-start-line", f"{line[:80]!r} is no request line", line, headers)
    return Request._parsed(words[0], words[1], headers)


def _start_response(line: str, headers: Headers) -> Response:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version.upper() != _VERSION:
        raise MessageError("bad-version", f"{version[:80]!r} is not SIP/2.0", 505)
    if len(status) != 3 or status.strip(DIGITS) or not "100" <= status <= "699":
        raise MessageError("bad-start-line", f"{line[:80]!r} is no status line")
    response = Response(int(status), "", headers)
    response.reason = reason
    return response


def _bad_start(
    code: str, text: str, line: str, headers: Headers, status: int = 400
) -> MessageError:
    """Return the error for a broken request line, with all the rest of the request to answer it."""
    words = line.split()
    method = words[0] if words else ""
    if not method or method.strip(TOKEN):
        return MessageError(code, text, status)
    request = Request._parsed(method, words[1] if len(words) > 1 else "", headers)
    return _refusal(code, text, request, status)


def _refusal(code: str, text: str, message: Request | Response, status: int = 400) -> MessageError:
    """Return an error that carries the message if a Via says where an answer would go."""
    return MessageError(code, text, status, message if "via" in message.headers else None)
