# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The defence of a server on a public address: access lists, rates, bans, and answers that cannot be
aimed at others.
"""

from .access import AccessList, NetworkSet
from .bans import Ban, Bans
from .perimeter import REASONS, Perimeter
from .settings import SCANNER_AGENTS, DefenceSettings

__all__ = [
    "REASONS",
    "SCANNER_AGENTS",
    "AccessList",
    "Ban",
    "Bans",
    "DefenceSettings",
    "NetworkSet",
    "Perimeter",
]
