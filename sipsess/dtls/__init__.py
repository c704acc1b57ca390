# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Keys for SRTP by DTLS (:rfc:`5763`, :rfc:`5764`), and the media port that browsers speak to."""

from __future__ import annotations

from .fingerprint import REASONS, Fingerprint, FingerprintError, read_fingerprints
from .handshake import Handshake, Keys
from .identity import HINT, is_available, our_fingerprint
from .port import DTLSPort

__all__ = [
    "HINT",
    "REASONS",
    "DTLSPort",
    "Fingerprint",
    "FingerprintError",
    "Handshake",
    "Keys",
    "is_available",
    "our_fingerprint",
    "read_fingerprints",
]
