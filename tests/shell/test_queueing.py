# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How long datagrams wait: what is asked of the system, and what when it does not answer."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from sipsess.transport import queueing
from sipsess.transport.queueing import measure_queue


class FakeSocket(socket.socket):
    """A socket that is never used."""


class QueueTests(SynchronousTestCase):
    """With a system of the tests' own."""

    def measure(self, *answers: bytes | OSError) -> Callable[[], float]:
        """Return what is made of these answers of the system, one for each question."""
        left = list(answers)

        def ioctl(descriptor: int, request: int, data: bytes) -> bytes:
            answer = left.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        self.patch(queueing, "ioctl", ioctl)
        self.patch(time, "time", lambda: 1000.5)
        self.patch(sys, "platform", "linux")
        handle = FakeSocket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(handle.close)
        return measure_queue(handle)

    def test_waited(self) -> None:
        """The difference between now and the time that the system noted; never less than 0."""
        at_first = FileNotFoundError(errno.ENOENT, "no datagram yet")
        early, late = struct.pack("@ll", 1000, 0), struct.pack("@ll", 1001, 5)
        waited = self.measure(at_first, early, late, OSError(errno.EBADF, "closed"))
        self.assertEqual([waited(), waited(), waited()], [0.5, 0.0, 0.0])

    def test_not_told(self) -> None:
        """A system that does not tell, or is another one: nothing ever waits."""
        self.assertEqual(self.measure(OSError(errno.EINVAL, "no"))(), 0.0)
        self.patch(sys, "platform", "darwin")
        handle = FakeSocket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(handle.close)
        self.assertEqual(measure_queue(handle)(), 0.0)
