# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Locating SIP servers (:rfc:`3263`): from a URI to the addresses that a request may go to, in order.

Theory of operation
    :mod:`.target` reads a URI, :mod:`.rules` says which DNS questions it needs and what their
    answers mean, :mod:`.weights` puts servers in order: all of that without a clock or a socket.
    The :class:`Locator` lets an :class:`.INameResolver` answer the questions and gives the ordered
    targets. A :class:`NextHop` goes through them: it holds the flow to the present one, and finds
    the next one when that has failed, which is then avoided for a while.

    The system's own resolver is in :mod:`sipsess.locating.names`, behind a cache
    (:mod:`sipsess.locating.cache`); tests give another one.
"""

from sipsess.locating.avoided import Avoided
from sipsess.locating.cache import CachingResolver
from sipsess.locating.hop import NextHop, NextHopFinder
from sipsess.locating.locator import Locator
from sipsess.locating.records import NAPTR, SRV, Answer, LookupFailed, Question
from sipsess.locating.send import send_over
from sipsess.locating.target import Target, UnreachableError, next_hop_of, parse_target

__all__ = [
    "NAPTR",
    "SRV",
    "Answer",
    "Avoided",
    "CachingResolver",
    "Locator",
    "LookupFailed",
    "NextHop",
    "NextHopFinder",
    "Question",
    "Target",
    "UnreachableError",
    "next_hop_of",
    "parse_target",
    "send_over",
]
