# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The limit of open files: each RTP port is one.

A program is started with a soft limit, often of 1024, and may raise it to the hard one by itself.
"""

from __future__ import annotations

from typing import Any

try:
    import resource as _resource
except ImportError:  # pragma: no cover  a system without such limits
    _resource = None  # type: ignore[assignment]

#: Files that are open besides RTP ports: logs, listeners, the control socket, recordings.
SPARE_FILES = 64


def raise_file_limit(needed: int, resource: Any = _resource) -> int | None:
    """
    Raise the soft limit of open files to the hard one.

    :param needed: files that shall be open at a time.
    :param resource: the standard module of this name.
    :return: the limit when it is below ``needed``, else ``None``.
    """
    if resource is None:
        return None
    unlimited = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the hard limit is infinite, some systems still refuse to have none at all.
    for wanted in (hard, needed):
        is_higher = soft != unlimited and (wanted == unlimited or wanted > soft)
        if is_higher and (hard == unlimited or wanted <= hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError):
                continue
            soft = wanted
    return None if soft == unlimited or soft >= needed else soft
