# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How long a datagram has waited in the queue of its socket, as Linux tells it."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from fcntl import ioctl

#: ``SIOCGSTAMPNS``: when the datagram that was read last came in; on 64-bit Linux.
_GET_STAMP = 0x8907
#: Seconds and nanoseconds of the wall clock.
_STAMP = struct.Struct("@ll")


def measure_queue(handle: socket.socket) -> Callable[[], float]:
    """
    Return a function that says how many seconds the datagram that was read last has waited.

    It costs 2 microseconds, and returns 0 when the system does not tell.

    :param handle: a UDP socket.
    """
    if not sys.platform.startswith("linux"):
        return float
    descriptor = handle.fileno()
    try:
        # The first question makes the system note the times from now on.
        ioctl(descriptor, _GET_STAMP, bytes(_STAMP.size))
    except FileNotFoundError:
        # There is no datagram yet.
        pass
    except OSError:
        return float
    empty = bytes(_STAMP.size)

    def waited() -> float:
        try:
            seconds, nanoseconds = _STAMP.unpack(ioctl(descriptor, _GET_STAMP, empty))
        except OSError:
            return 0.0
        # The wall clock may be set meanwhile; then one datagram is judged wrongly, at most.
        delay: float = time.time() - seconds - nanoseconds / 1e9
        return max(0.0, delay)

    return waited
