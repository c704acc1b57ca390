# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Digits in the body of an INFO request, as telephones sent them before there was a standard.

``application/dtmf-relay``::

    Signal=5
    Duration=160

``application/dtmf`` holds the key alone, or the same two lines. Keys are 0-9, ``*``, ``#``, A-D;
some write the codes of :rfc:`4733` instead (10 is ``*``, 16 a hook flash). No standard says more,
so the reader is tolerant in all but the key itself.
"""

from __future__ import annotations

from sipsess.media.rtp import MediaError
from sipsess.media.telephone_event import DIGITS, check_digits

#: The types of such bodies.
DTMF_RELAY = "application/dtmf-relay"
DTMF = "application/dtmf"
#: The body says that the hook was pressed; there is no digit of that name.
HOOK_FLASH = "application/hook-flash"
#: Longer bodies say something else.
MAX_BODY = 256
#: Digits of a duration in milliseconds; more than ten minutes are no press of a key.
_MAX_DIGITS = 6

#: The codes of RFC 4733 that are no digits themselves.
_CODES = {str(code): digit for code, digit in enumerate(DIGITS) if code > 9}
_FLASHES = frozenset({"!", "16", "HF", "FLASH", "R"})


def parse_dtmf_body(body: bytes) -> str:
    """
    Return the digit of a body; ``""`` for a hook flash.

    :raises MediaError: ``bad-dtmf-body`` when there is none.
    """
    text = body[: MAX_BODY + 1].decode("ascii", "replace")
    key = _find_key(text).upper()
    if len(body) <= MAX_BODY:
        if key in _FLASHES:
            return ""
        if len(key) == 1 and key in DIGITS:
            return key
        if key in _CODES:
            return _CODES[key]
    raise MediaError("bad-dtmf-body", f"{text[:40]!r} names no key of a telephone")


def _find_key(text: str) -> str:
    return _find_value(text, "signal") if "=" in text else text.strip()


def _find_value(text: str, wanted: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == wanted:
            return value.strip()
    return ""


def parse_duration(body: bytes) -> float | None:
    """Return the seconds that a body says its key was pressed; ``None`` when it does not."""
    text = body[:MAX_BODY].decode("ascii", "replace")
    number = _find_value(text, "duration")
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    return int(number) / 1000 if is_number else None


def build_dtmf_relay(digit: str, duration: float = 0.1) -> bytes:
    """
    Return the ``application/dtmf-relay`` body of one digit.

    :param duration: seconds.
    :raises LocalError: when it is no digit.
    """
    return f"Signal={check_digits(digit)}\r\nDuration={round(duration * 1000)}\r\n".encode("ascii")
