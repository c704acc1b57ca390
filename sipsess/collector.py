# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Keeps the pauses of Python's garbage collector short, in a process that is a server.

Theory of operation
    A call leaves no cycle of references, so the collector finds nothing; but to find that out it
    looks at every object, and with 20,000 calls held that takes a good part of a second, in which
    nobody is answered. So what lives is put out of its sight every second while there are calls
    (``gc.freeze``, which takes no time); it then looks only at what is new. What plugins may have
    left in cycles is collected when there have been no calls for a while, the transactions of the
    last ones are gone too, and a pause disturbs nobody. Then the system gets back what is free.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

#: Seconds between two looks.
INTERVAL = 1.0
#: New objects that make the collector look at the youngest: those of some 50 calls. The usual 700
#: make it look after each few messages.
YOUNGEST = 5_000
#: So many collections of the youngest make it look at the middle generation: at 15,000 objects at
#: most, which takes 7 ms. The usual 10 would be 25 ms.
MIDDLE = 1
#: So many collections of the middle generation make it look at all: never.
OLDEST = 1_000_000
#: Looks without a call after which all is collected: longer than a transaction lives.
QUIET = 40


def find_trim(library: Any) -> Callable[[int], object] | None:
    """
    Return what gives free memory back to the system: glibc's ``malloc_trim``.

    :param library: the C library; others than glibc have none, and need none.
    """
    return getattr(library, "malloc_trim", None)


class Collector(Service):
    """
    Tunes the garbage collector from start to stop.

    :param reactor: gives the time.
    :param count_calls: how many calls there are.
    :param collector: the module ``gc``, or what stands for it.
    :param library: the C library, or what stands for it.
    """

    def __init__(
        self,
        reactor: Any,
        count_calls: Callable[[], int],
        collector: Any = gc,
        library: Any = ctypes.pythonapi,
    ) -> None:
        self._collector = collector
        self._trim = find_trim(library)
        self._count_calls = count_calls
        self._before: tuple[int, ...] = ()
        #: Looks that may pass without a call; 0 when all was collected since the last one.
        self._left = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Put what the start has made out of sight, and look from time to time."""
        Service.startService(self)
        collector = self._collector
        self._before = collector.get_threshold()
        collector.set_threshold(YOUNGEST, MIDDLE, OLDEST)
        collector.collect()
        collector.freeze()
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Leave the collector as it was."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
            self._collector.unfreeze()
            self._collector.set_threshold(*self._before)

    def _look(self) -> None:
        if self._count_calls():
            self._left = QUIET
        if self._left:
            self._left -= 1
            if not self._left:
                self._collector.unfreeze()
                self._collector.collect()
                if self._trim is not None:
                    self._trim(0)
            self._collector.freeze()
