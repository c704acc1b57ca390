# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The audio of a call as a stream of JSON messages over a WebSocket, for voice agents."""

from .link import ABNORMAL, NORMAL, Connector, Link, LinkClosed, LinkTarget

__all__ = [
    "ABNORMAL",
    "NORMAL",
    "Connector",
    "Link",
    "LinkClosed",
    "LinkTarget",
]
