# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The key of a transaction, read from raw bytes.

A copy of a message that a transaction has already seen is answered or absorbed by key alone, and no
message is built for it. The scan is cautious: whenever it could read something else than the parser
would (continuation lines, white space in odd places, quotation marks in the Via, rare methods), it
gives ``None`` and the caller parses.
"""

from __future__ import annotations

from typing import NamedTuple

_METHODS = {
    name.encode(): name
    for name in (
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "PRACK",
        "UPDATE",
        "INFO",
        "MESSAGE",
        "REFER",
        "NOTIFY",
        "SUBSCRIBE",
        "PUBLISH",
    )
}


class Peek(NamedTuple):
    """What tells one transaction from the others (:rfc:`3261#section-17.1.3`, 17.2.3)."""

    is_request: bool
    #: The request's method, or the one in a response's CSeq.
    method: str
    #: The top Via's branch, byte for byte.
    branch: str
    #: The top Via's host and port in lower case, as :attr:`~sipsess.message.Via.sent_by`.
    sent_by: str
    #: The response's status code; 0 for a request.
    status: int


def peek(data: bytes) -> Peek | None:
    """
    Read method, top branch and sent-by of one datagram; a few microseconds.

    :return: ``None`` when the scan is not sure; then only :func:`~sipsess.message.parse` knows.
    """
    end = data.find(b"\r\n")
    if end < 0:
        return None
    words = data[:end].split(b" ", 2)
    if len(words) != 3:
        return None
    status = 0
    if words[0] == b"SIP/2.0":
        code = words[1]
        if len(code) != 3 or not code.isdigit() or not b"100" <= code <= b"699":
            return None
        status = int(code)
        method = _peek_cseq(data)
    else:
        method = _METHODS.get(words[0]) if words[2] == b"SIP/2.0" else None
    value = _find_via(data, end + 2)
    if method is None or value is None:
        return None
    return _read_via(value, method, status)


def _find_via(data: bytes, position: int) -> bytes | None:
    """Return the value of the first Via line, or ``None`` when that is not plain to see."""
    while True:
        first = data[position : position + 1]
        end = data.find(b"\r\n", position)
        if end <= position or first == b" " or first == b"\t":
            return None
        if first == b"V" or first == b"v":
            name, colon, value = data[position:end].partition(b":")
            name = name.lower()
            if name == b"via" or name == b"v":
                after = data[end + 2 : end + 3]
                return None if after == b" " or after == b"\t" or not colon else value
            if name.rstrip(b" \t") in (b"via", b"v"):
                return None
        position = end + 2


def _read_via(value: bytes, method: str, status: int) -> Peek | None:
    if b'"' in value or value.lower().count(b"branch") != 1:
        return None
    text = value.partition(b",")[0].decode("utf-8", "surrogateescape")
    front, _, tail = text.partition(";")
    words = front.split()
    if len(words) != 2 or words[0][:8] != "SIP/2.0/" or ":0" in words[1]:
        return None
    if tail[:9] == "branch=z9":
        branch = tail[7:].partition(";")[0].rstrip()
    else:
        branch = ""
        for part in tail.split(";"):
            name, _, found = part.partition("=")
            if name.strip().lower() == "branch":
                branch = found.strip()
                break
    if not branch:
        return None
    return Peek(not status, method, branch, words[1].lower(), status)


def _peek_cseq(data: bytes) -> str | None:
    """Return the method of the CSeq line, or ``None`` when that is not plain to see."""
    begin = data.find(b"\r\nCSeq:")
    if begin < 0:
        return None
    words = data[begin + 7 : data.find(b"\r\n", begin + 7)].split()
    return _METHODS.get(words[1]) if len(words) == 2 else None
