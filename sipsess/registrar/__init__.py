# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The registrar: where users are reached (:rfc:`3261#section-10`), and how they are called."""

from __future__ import annotations

from .binding import Binding, Source
from .registrar import Registrar
from .rules import Limits
from .store import MemoryStore, StoreError, StoreFullError

__all__ = [
    "Binding",
    "Limits",
    "MemoryStore",
    "Registrar",
    "Source",
    "StoreError",
    "StoreFullError",
]
