# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The pauses of the garbage collector."""

from __future__ import annotations

import gc
import time

from sipsess.collector import OLDEST


class Pauses:
    """
    What the collector takes from now on, until :meth:`stop`.

    In time of the processor, as another program that comes in between is not the collector's doing.
    A server has it look at everything as it starts and when there has been no call for long; nobody
    waits then, and that is not counted.
    """

    def __init__(self) -> None:
        #: Seconds of the longest pause, and of all of them.
        self.longest = 0.0
        self.total = 0.0
        self._begin = 0.0
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Watch no more."""
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2 and gc.get_threshold()[2] == OLDEST:
            return
        now = time.process_time()
        if phase == "start":
            self._begin = now
        else:
            self.longest = max(self.longest, now - self._begin)
            self.total += now - self._begin
