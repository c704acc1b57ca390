# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The audio of a call as a stream of JSON messages over a WebSocket, for voice agents."""

from .conversation import Agent, Conversation
from .link import ABNORMAL, NORMAL, Connector, Link, LinkClosed, LinkTarget
from .messages import REASONS, AudioFormat, l16, mulaw
from .parameters import fill_parameters

__all__ = [
    "ABNORMAL",
    "NORMAL",
    "REASONS",
    "Agent",
    "AudioFormat",
    "Connector",
    "Conversation",
    "Link",
    "LinkClosed",
    "LinkTarget",
    "fill_parameters",
    "l16",
    "mulaw",
]
