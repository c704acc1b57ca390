# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Watches the garbage collector, for ``twistd sipsess --plugin-dir``; it holds no plugin.

When the process ends, one line on standard error says how long the longest pause was, and how much
time all of them took.
"""

import atexit
import os

from benchmarks.pauses import Pauses

_pauses = Pauses()


def _tell() -> None:
    """Write the line; what is called standard error may be a log by now."""
    line = f"gc: longest {_pauses.longest:.6f} s, all {_pauses.total:.6f} s\n"
    os.write(2, line.encode("ascii"))


atexit.register(_tell)
