# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Keys in session descriptions: ``a=crypto`` (:rfc:`4568`).

::

    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20 WSH=64

One key for each direction, without a master key identifier: that is what telephones send. A line
that asks for more is not an error, it is a line that we cannot take, and another one may do.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sipsess.errors import RemoteError

#: Why a line cannot be taken, for people.
REASONS: dict[str, str] = {
    "crypto-malformed": "An a=crypto line cannot be read, or its key has the wrong length.",
    "crypto-unknown-suite": "An a=crypto line names a crypto suite that is not known here.",
    "crypto-unsupported": "An a=crypto line asks for several keys, a master key identifier or a "
    "session parameter that is not supported.",
}

#: Lines of one description that are looked at; each suite once is enough.
MAX_LINES = 16
#: Characters of the longest line that makes sense: a key of 46 bytes and some parameters.
MAX_LINE = 512
#: The digits of the longest tag (:rfc:`4568#section-9.1`).
_MAX_TAG = 9

#: The session parameters that change nothing for a receiver: the window may be any size.
_HINTS = ("WSH=",)


@dataclass(frozen=True, slots=True)
class Suite:
    """A crypto suite: its name in SDP, and the bytes of master key and master salt."""

    name: str
    key: int
    salt: int

    @property
    def length(self) -> int:
        """The bytes of key and salt together, as they stand in SDP."""
        return self.key + self.salt


#: What is known, the one that is preferred first; of :rfc:`4568#section-6.2` and
#: :rfc:`7714#section-14.2`.
SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("AEAD_AES_256_GCM", 32, 12),
        Suite("AEAD_AES_128_GCM", 16, 12),
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14),
        Suite("AES_CM_128_HMAC_SHA1_32", 16, 14),
    )
}

#: What is offered: a tag of 32 bits is taken from who wants nothing better, and not proposed.
OFFERED = tuple(suite for suite in SUITES.values() if not suite.name.endswith("_32"))


class CryptoError(RemoteError):
    """An ``a=crypto`` line that we cannot take; :data:`REASONS` explains the codes."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One line: what who wrote it encrypts with."""

    #: What tells the lines of an offer apart; the answer repeats it.
    tag: str
    suite: Suite
    #: Master key and master salt; never printed.
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Crypto:
        """
        Read the value of a line.

        :raises CryptoError: when we cannot take it; the text never holds a key.
        """
        fields = text.split()
        if len(text) > MAX_LINE or len(fields) < 3:
            raise CryptoError("crypto-malformed", "a=crypto has no tag, suite and key")
        tag, name, keys, *parameters = fields
        if not (tag.isascii() and tag.isdecimal() and len(tag) <= _MAX_TAG):
            raise CryptoError("crypto-malformed", "the tag of a=crypto is no number")
        suite = SUITES.get(name)
        if suite is None:
            raise CryptoError("crypto-unknown-suite", "a=crypto names an unknown suite")
        # RFC 4568 6.3: "-" before a name says that it may be ignored.
        if not all(item.startswith(("-", *_HINTS)) for item in parameters):
            raise CryptoError("crypto-unsupported", "a=crypto has session parameters")
        return cls(tag, suite, _read_key(keys, suite))

    def __str__(self) -> str:
        """Return the value of the line with its key; for SDP only."""
        return f"{self.tag} {self.suite.name} inline:{b64encode(self.key).decode()}"


def _read_key(text: str, suite: Suite) -> bytes:
    method, _, info = text.partition(":")
    if method.lower() != "inline" or ";" in info:
        raise CryptoError("crypto-unsupported", "a=crypto does not have one inline key")
    key, *more = info.split("|")
    # RFC 4568 6.1: a lifetime, then perhaps "MKI:length". Ours are shorter than any lifetime.
    if any(":" in item for item in more):
        raise CryptoError("crypto-unsupported", "a=crypto has a master key identifier")
    try:
        found = b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise CryptoError("crypto-malformed", "the key of a=crypto is no base64") from None
    if len(found) != suite.length:
        raise CryptoError("crypto-malformed", f"the key of a=crypto has {len(found)} bytes")
    return found


def read_cryptos(values: Iterable[str]) -> list[Crypto]:
    """Return the lines of a description that can be taken, in their order."""
    found = []
    for text in list(values)[:MAX_LINES]:
        try:
            found.append(Crypto.parse(text))
        except CryptoError:
            continue
    return found
