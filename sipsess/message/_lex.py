# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The small rules that all values share: tokens, quoted strings, lists, text that may be written.

Everything here is linear in its input: a peer chooses that.
"""

from __future__ import annotations

import re

from sipsess.errors import HeaderValueError
from sipsess.message._errors import MessageError

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
ALPHANUMERIC = _LETTERS + DIGITS

#: The characters of a token (:rfc:`3261#section-25.1`); ``not text.strip(TOKEN)`` says that text is
#: one.
TOKEN = ALPHANUMERIC + "-.!%*_+`'~"
#: The same for a set of characters in a regular expression.
CLASS_TOKEN = re.escape(TOKEN)

#: What no text of a header may hold when this side writes it.
#: NUL may stand behind a backslash, in a quoted string; nobody needs it, but the grammar allows it.
_CONTROL = re.compile(r"[\r\n]|(?<!\\)\0")
#: What must not stand in any URI: it would end the URI or the value around it.
_URI_BREAKERS = re.compile(r'[\0-\x20"<>\x7f]')
_QUOTE_OR_ESCAPE = re.compile(r'["\\]')
_COMMA_OR_OPENING = re.compile(r'[,"<]')
_SEMICOLON_OR_QUOTE = re.compile(r'[;"]')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r'(["\\\0])')


def is_token(text: str) -> bool:
    """Say whether ``text`` is a token: at least one character, and none that separates."""
    return bool(text) and not text.strip(TOKEN)


def has_uri_breaker(text: str) -> bool:
    """Say whether ``text`` holds what no URI may: white space, controls, ``"``, ``<``, ``>``."""
    return _URI_BREAKERS.search(text) is not None


def has_control(text: str) -> bool:
    """Say whether ``text`` holds CR, LF, or a NUL that is not escaped."""
    return _CONTROL.search(text) is not None


def check_text(text: str) -> str:
    """
    Return ``text`` if it may be written into a header or a start line.

    :raises HeaderValueError: it holds CR, LF or NUL, or a character that has no bytes.
    """
    if text.isprintable():
        return text  # neither controls nor half characters are printable
    if has_control(text):
        raise HeaderValueError(f"{text!r} holds a line break or a NUL")
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise HeaderValueError(f"{text!r} holds half a character") from None
    return text


def check_token(text: str, what: str) -> str:
    """
    Return ``text`` if it is a token.

    :raises HeaderValueError: it is not; the error says that ``what`` must be one.
    """
    if not is_token(text):
        raise HeaderValueError(f"{text!r} is no {what}")
    return text


def unfold(text: str) -> str:
    """Return a raw header value on one line, without the white space around it."""
    if "\r\n" in text:
        text = " ".join([part.strip(" \t") for part in text.split("\r\n")])
    return text.strip(" \t")


def find_quote_end(text: str, start: int) -> int:
    """
    Return the index after the quoted string that begins at ``start``.

    :return: -1 when the string does not end.
    """
    position = start + 1
    while match := _QUOTE_OR_ESCAPE.search(text, position):
        if match.group() == '"':
            return match.end()
        position = match.end() + 1
    return -1


def unquote(text: str) -> str:
    """
    Return what a quoted string says; other text comes back as it is.

    :param text: with the quotation marks around it, if any.
    """
    if text[:1] != '"':
        return text
    text = text[1:-1]
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def quote(text: str) -> str:
    """
    Return ``text`` as a quoted string.

    :raises HeaderValueError: it holds CR or LF, which no quoted string may.
    """
    return check_text('"' + _TO_ESCAPE.sub(r"\\\1", text) + '"')


def split_list(text: str) -> list[str]:
    """
    Split a header value at its commas, but not inside quoted strings and angle brackets.

    :return: the parts without white space around them; an empty part stays, so that it can be
        refused.
    """
    if "," not in text:
        return [text.strip(" \t")]
    if '"' not in text and "<" not in text:
        return [part.strip(" \t") for part in text.split(",")]
    parts = []
    begin = position = 0
    while match := _COMMA_OR_OPENING.search(text, position):
        found = match.group()
        position = match.end()
        if found == ",":
            parts.append(text[begin : position - 1].strip(" \t"))
            begin = position
        elif found == '"':
            position = find_quote_end(text, position - 1)
        else:
            position = text.find(">", position)
        if position < 0:
            break
    parts.append(text[begin:].strip(" \t"))
    return parts


def split_semicolons(text: str) -> list[str]:
    """
    Split parameters at their semicolons, but not inside quoted strings.

    :raises MessageError: a quoted string does not end.
    """
    if '"' not in text:
        return text.split(";")
    parts = []
    begin = position = 0
    while match := _SEMICOLON_OR_QUOTE.search(text, position):
        position = match.end()
        if match.group() == ";":
            parts.append(text[begin : position - 1])
            begin = position
        else:
            position = find_quote_end(text, position - 1)
            if position < 0:
                raise MessageError("bad-parameter", "a quoted string does not end")
    parts.append(text[begin:])
    return parts
