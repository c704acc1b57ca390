# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The registrar: where users are reached (:rfc:`3261#section-10`), and how they are called."""

from __future__ import annotations

from .binding import Binding, Source
from .calls import UserCalls
from .registrar import Registrar, RegistrarOptions
from .rules import Limits
from .store import MemoryStore, StoreError, StoreFullError

__all__ = [
    "Binding",
    "Limits",
    "MemoryStore",
    "Registrar",
    "RegistrarOptions",
    "Source",
    "StoreError",
    "StoreFullError",
    "UserCalls",
]
