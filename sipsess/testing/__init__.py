# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The test kit: a network that is also the clock, and a SIP peer that does what a test says.

It is part of the public interface: tests of plugins use it as the tests of sipsess do.
"""

from sipsess.testing.agent import Agent
from sipsess.testing.host import VirtualHost, VirtualPort
from sipsess.testing.ladder import Step, format_ladder
from sipsess.testing.network import LOOPBACK, Link, TraceEvent, VirtualNetwork
from sipsess.testing.pair import CallPair, PlacedCall
from sipsess.testing.peer import ScriptedPeer

__all__ = [
    "LOOPBACK",
    "Agent",
    "CallPair",
    "Link",
    "PlacedCall",
    "ScriptedPeer",
    "Step",
    "TraceEvent",
    "VirtualHost",
    "VirtualNetwork",
    "VirtualPort",
    "format_ladder",
]
