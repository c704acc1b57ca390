# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The data directory: what outlives the process stands there.

``$STATE_DIRECTORY`` when a service manager gives one (``StateDirectory=`` of systemd); else
``sipsess`` in ``$XDG_STATE_HOME``, or in ``~/.local/state``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sipsess.errors import LocalError


def data_directory(environment: Mapping[str, str] | None = None) -> str:
    """
    Return the data directory, made for its user alone if need be.

    :raises LocalError: when it cannot be made.
    """
    environment = os.environ if environment is None else environment
    # systemd names several, separated by colons; the first one is ours.
    path = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if not path:
        state = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        path = os.path.join(state, "sipsess")
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make the data directory {path}: {error.strerror}") from error
    return path
