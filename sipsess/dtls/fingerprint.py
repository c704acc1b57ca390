# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Fingerprints of certificates in session descriptions (:rfc:`8122#section-5`).

::

    a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:...

The certificate of DTLS is signed by nobody; that its fingerprint stands in the description is all
that is known of whoever has it. So there is no tolerance here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sipsess.errors import RemoteError

#: Why fingerprints cannot be taken, for people.
REASONS: dict[str, str] = {
    "fingerprint-missing": "An offer or answer of keys by DTLS has no a=fingerprint.",
    "fingerprint-malformed": "An a=fingerprint line cannot be read, or has the wrong length.",
    "fingerprint-unknown-hash": "No a=fingerprint line has a hash that is strong and known: "
    "sha-256, sha-384 or sha-512.",
}

#: Lines of one description that are looked at: one for each hash is enough.
MAX_LINES = 16

#: The hashes that are taken, by their names in SDP, the strongest last. RFC 8122 5 forbids MD2 and
#: MD5; SHA-1 has had its time as well.
_HASHES: dict[str, str] = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}


class FingerprintError(RemoteError):
    """Fingerprints that we cannot take; :data:`REASONS` explains the codes."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate."""

    #: Its name in SDP, in lower case.
    algorithm: str
    digest: bytes

    @classmethod
    def of(cls, certificate: bytes, algorithm: str = "sha-256") -> Fingerprint:
        """Return that of a certificate (DER)."""
        return cls(algorithm, hashlib.new(_HASHES[algorithm], certificate).digest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint | None:
        """
        Read the value of a line; ``None`` for a hash that is not taken.

        :raises FingerprintError: when it cannot be read.
        """
        algorithm, _, digits = text.partition(" ")
        algorithm = algorithm.lower()
        if algorithm not in _HASHES:
            return None
        try:
            pairs = [bytes.fromhex(pair) for pair in digits.strip(" ").split(":")]
        except ValueError:
            pairs = []
        digest = b"".join(pairs)
        size = hashlib.new(_HASHES[algorithm]).digest_size
        if len(pairs) != size or len(digest) != size:
            raise FingerprintError("fingerprint-malformed", "a=fingerprint cannot be read")
        return cls(algorithm, digest)

    def __str__(self) -> str:
        """Return the value of the line."""
        return f"{self.algorithm} {self.digest.hex(':').upper()}"


def read_fingerprints(values: Iterable[str]) -> tuple[Fingerprint, ...]:
    """
    Return the fingerprints of a description that have its strongest hash.

    A certificate fits when it has one of them (:rfc:`8122#section-5.1`).

    :raises FingerprintError: when there is none, or one of them cannot be read.
    """
    lines = list(values)[:MAX_LINES]
    if not lines:
        raise FingerprintError("fingerprint-missing", "there is no a=fingerprint")
    found = [item for item in map(Fingerprint.parse, lines) if item is not None]
    for algorithm in reversed(_HASHES):
        strongest = tuple(item for item in found if item.algorithm == algorithm)
        if strongest:
            return strongest
    raise FingerprintError("fingerprint-unknown-hash", "no a=fingerprint has a known strong hash")


def fits(fingerprints: Sequence[Fingerprint], certificate: bytes) -> bool:
    """Tell whether a certificate (DER) is the one that a description means."""
    return any(
        hmac.compare_digest(item.digest, Fingerprint.of(certificate, item.algorithm).digest)
        for item in fingerprints
    )
