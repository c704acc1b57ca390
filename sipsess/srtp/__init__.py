# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Encrypted RTP: keys in SDP (SDES), and the port that protects and unprotects packets."""

from __future__ import annotations

from .context import Context, is_available
from .crypto import REASONS, SUITES, Crypto, Suite, read_cryptos
from .port import SRTPPort

__all__ = [
    "REASONS",
    "SUITES",
    "Context",
    "Crypto",
    "SRTPPort",
    "Suite",
    "is_available",
    "read_cryptos",
]
