# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A reactor for the tests of programs: a virtual host that can also be stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError

from sipsess.testing import VirtualHost


class FakeUNIXPort:
    """A Unix socket that is a mere file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def stopListening(self) -> Deferred[None]:
        """Remove the file."""
        os.unlink(self.path)
        return succeed(None)


class FakeReactor:
    """
    What ``tap`` and the commands need of a reactor.

    :param host: gives time and UDP.
    """

    def __init__(self, host: VirtualHost) -> None:
        self.host = host
        self.unix: dict[str, tuple[Any, int]] = {}
        self.when_running: list[Callable[[], object]] = []
        self.triggers: list[Callable[[], object]] = []
        self.stops = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)

    def listenUNIX(self, path: str, factory: Any, mode: int = 0o666) -> FakeUNIXPort:
        """Note what listens where."""
        try:
            with open(path, "x"):
                pass
        except OSError as error:
            raise CannotListenError(None, path, error) from error
        self.unix[path] = (factory, mode)
        return FakeUNIXPort(path)

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        """Keep it."""
        self.when_running.append(function)

    def addSystemEventTrigger(self, phase: str, event: str, function: Callable[[], object]) -> None:
        """Keep it."""
        self.triggers.append(function)

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        """Call it."""
        function(*args)

    def stop(self) -> None:
        """Count it."""
        self.stops += 1
