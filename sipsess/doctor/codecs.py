# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Codecs that endpoints want, and that are not installed."""

from __future__ import annotations

from collections.abc import Iterator

from sipsess.config.plan import Plan

from .findings import NOTE, Finding

SUBJECT = "codecs"

#: Names of endpoints that are told.
_MAX_NAMES = 6


def examine_codecs(plan: Plan) -> Iterator[Finding]:
    """Yield each codec that calls will be without, and what to install."""
    for codec, names in plan.missing_codecs():
        more = len(names) - _MAX_NAMES
        shown = ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield Finding(NOTE, SUBJECT, f"no {codec.name} with {shown}", codec.missing)
