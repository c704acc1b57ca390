# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests that need an extra: skipped where somebody has not installed it, and never in the gate."""

from __future__ import annotations

import os

from sipsess.media import Codec


def skip_without(codec: Codec) -> str | None:
    """Return why tests of a codec are skipped, ``None`` for not at all."""
    return None if "CI" in os.environ else codec.missing or None
