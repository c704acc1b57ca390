# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""ICE for a server on an address that everybody reaches: the lite side of :rfc:`8445`."""

from __future__ import annotations

from .credentials import REASONS, Credentials, ICEError, candidate, read_peer
from .lite import LiteAgent

__all__ = ["REASONS", "Credentials", "ICEError", "LiteAgent", "candidate", "read_peer"]
