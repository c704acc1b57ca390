# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Mutations: functions from the bytes of a message to those of a worse one.

Each takes the source of chance first, so that a seed says what comes. They know SIP only as far as
lines, words and an empty line before the body; :mod:`tests.fuzz.relatives` knows more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tests.fuzz.dictionary import HEADERS, METHODS, NUMBERS, SDP_LINES, STATUSES, TOKENS, URIS

#: No datagram is longer than UDP allows.
MAX_LENGTH = 65_000
#: How many mutations a message suffers: few, as what is spoilt much is refused at its first line.
DEGREES = (1, 1, 1, 2, 2, 4)

Mutation: TypeAlias = Callable[[random.Random, bytes], bytes]

_WORD = re.compile(rb"[A-Za-z0-9.\-]+")
_NUMBER = re.compile(rb"\d+")
_URI = re.compile(rb"(?:sips?|tel):[^>\s;,\"]*")


def _place(rng: random.Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def _range(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = _place(rng, data)
    return begin, min(len(data), begin + int(rng.expovariate(1 / 20)) + 1)


def _replace(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], new: bytes) -> bytes:
    """Put something in the place of one match of a pattern."""
    found = list(pattern.finditer(data))
    if not found:
        return data
    begin, end = rng.choice(found).span()
    return data[:begin] + new + data[end:]


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """Flip some bits."""
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        spoilt[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def insert_bytes(rng: random.Random, data: bytes) -> bytes:
    """Put random bytes in."""
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]


def delete_range(rng: random.Random, data: bytes) -> bytes:
    """Take some bytes out."""
    begin, end = _range(rng, data)
    return data[:begin] + data[end:]


def repeat_range(rng: random.Random, data: bytes) -> bytes:
    """Repeat some bytes, a few times or many."""
    begin, end = _range(rng, data)
    return data[:end] + data[begin:end] * rng.choice((1, 2, 50, 500)) + data[end:]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """Cut the end off."""
    return data[: _place(rng, data)]


def insert_token(rng: random.Random, data: bytes) -> bytes:
    """Put a word of the dictionary in."""
    at = _place(rng, data)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def swap_token(rng: random.Random, data: bytes) -> bytes:
    """Put a word of the dictionary in the place of a word."""
    return _replace(rng, data, _WORD, rng.choice(TOKENS))


def swap_number(rng: random.Random, data: bytes) -> bytes:
    """Put an extreme number in the place of a number."""
    return _replace(rng, data, _NUMBER, rng.choice(NUMBERS))


def swap_uri(rng: random.Random, data: bytes) -> bytes:
    """Put another URI in the place of one."""
    return _replace(rng, data, _URI, rng.choice(URIS))


def _with_lines(rng: random.Random, data: bytes, change: Callable[[list[bytes]], object]) -> bytes:
    """Change the header lines; the start line is the first of them."""
    head, gap, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    change(lines)
    return b"\r\n".join(lines) + gap + body


def repeat_header(rng: random.Random, data: bytes) -> bytes:
    """Let a header line come twice."""
    return _with_lines(rng, data, lambda lines: lines.insert(_any(rng, lines), rng.choice(lines)))


def drop_header(rng: random.Random, data: bytes) -> bytes:
    """Leave a header line out."""
    return _with_lines(rng, data, lambda lines: lines.pop(rng.randrange(len(lines))))


def move_headers(rng: random.Random, data: bytes) -> bytes:
    """Bring the header lines into another order."""

    def shuffle(lines: list[bytes]) -> None:
        rest = lines[1:]
        rng.shuffle(rest)
        lines[1:] = rest

    return _with_lines(rng, data, shuffle)


def add_header(rng: random.Random, data: bytes) -> bytes:
    """Add a header line of the dictionary."""
    return _with_lines(rng, data, lambda lines: lines.insert(_any(rng, lines), rng.choice(HEADERS)))


def fold_header(rng: random.Random, data: bytes) -> bytes:
    """Continue a header line on the next, at a space."""
    return _replace(rng, data, re.compile(rb"(?<=[:;,]) ?"), rng.choice((b"\r\n ", b" \r\n\t \t")))


def change_start(rng: random.Random, data: bytes) -> bytes:
    """Change the method, or the status."""
    if data.startswith(b"SIP/2.0 "):
        return data[:8] + rng.choice(STATUSES) + data[11:]
    method, space, rest = data.partition(b" ")
    new = rng.choice(METHODS)
    if rng.random() < 0.7:
        rest = re.sub(rb"(CSeq: *\d+ )" + re.escape(method), lambda m: m[1] + new, rest)
    return new + space + rest


def change_line_ends(rng: random.Random, data: bytes) -> bytes:
    """End the lines in another way."""
    return data.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r")))


def spoil_body(rng: random.Random, data: bytes) -> bytes:
    """Change lines of the body, and let its length be told right."""
    head, gap, body = data.partition(b"\r\n\r\n")
    lines = body.split(b"\r\n") if body else [b"v=0"]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        choice = rng.randrange(3)
        if choice == 0:
            lines[at] = rng.choice(SDP_LINES)
        elif choice == 1:
            lines.insert(at, rng.choice(SDP_LINES))
        elif len(lines) > 1:
            del lines[at]
    return with_body(head, gap, b"\r\n".join(lines))


def with_body(head: bytes, gap: bytes, body: bytes) -> bytes:
    """Return a message with the Content-Length of its body."""
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"(?im)^(?:content-length|l)[ \t]*:[^\r\n]*", length, head) + gap + body


def _any(rng: random.Random, lines: Sequence[bytes]) -> int:
    return rng.randint(1, max(1, len(lines)))


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bits, insert_bytes, delete_range, repeat_range, truncate, insert_token, swap_token),
    *(swap_number, swap_uri, repeat_header, drop_header, move_headers, add_header, fold_header),
    *(change_start, change_line_ends, spoil_body),
    # These leave a message that is read to its end more often than the others do.
    *(swap_token, swap_number, add_header, change_start, spoil_body),
)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Begin as one message and end as another, cut between lines or anywhere."""
    if rng.random() < 0.5:
        return data[: _place(rng, data)] + other[_place(rng, other) :]
    one, two = data.split(b"\r\n"), other.split(b"\r\n")
    return b"\r\n".join(one[: rng.randint(1, len(one))] + two[rng.randrange(len(two)) :])


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """
    Return a message that has suffered some mutations.

    :param others: what it may be spliced with.
    """
    if others and rng.random() < 0.1:
        data = splice(rng, data, rng.choice(others))
    for _ in range(rng.choice(DEGREES)):
        data = rng.choice(MUTATIONS)(rng, data)[:MAX_LENGTH]
    return data
