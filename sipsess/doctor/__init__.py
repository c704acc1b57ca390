# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What is likely to go wrong on this machine with this configuration, and what to do about it.

Nothing is sent anywhere but a ping to each media engine of the configuration: ports are bound and
given back, the kernel is asked for routes, and a running server is asked by its control socket.
"""

from __future__ import annotations

from .encryption import examine_encryption
from .engines import examine_engines
from .findings import NOTE, OK, WRONG, Finding
from .listening import examine_listeners
from .machine import Machine
from .media import examine_media
from .records import examine_call_records
from .registering import examine_registrations
from .running import Running, ask_server, examine_server
from .secrets import examine_secrets

__all__ = [
    "NOTE",
    "OK",
    "WRONG",
    "Finding",
    "Machine",
    "Running",
    "ask_server",
    "examine_call_records",
    "examine_encryption",
    "examine_engines",
    "examine_listeners",
    "examine_media",
    "examine_registrations",
    "examine_secrets",
    "examine_server",
]
