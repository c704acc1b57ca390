# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Where this server registers: whether the calls that come in by it will be taken."""

from __future__ import annotations

from collections.abc import Iterator

from sipsess.config import Loaded
from sipsess.config.identification import needs_identification
from sipsess.endpoint import ANONYMOUS

from .findings import NOTE, Finding

SUBJECT = "registrations"


def examine_registrations(loaded: Loaded) -> Iterator[Finding]:
    """Yield each registration whose calls would be those of any stranger, who is not let in."""
    config = loaded.config
    if not needs_identification(config) or config.anonymous == "allow":
        return
    endpoints = {endpoint.name: endpoint for endpoint in config.endpoints}
    for table in config.registrations:
        endpoint = endpoints.get(table.endpoint or "", ANONYMOUS)
        if not endpoint.is_shown:
            text = (
                f"nothing tells who sends the calls for {table.aor}: they are challenged or refused"
            )
            hint = "networks = [...] in its endpoint, with the addresses that they come from"
            yield Finding(NOTE, SUBJECT, text, hint)
