# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is being opened: an attempt to reach a target, and what waits for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from sipsess.errors import ConnectFailed
from sipsess.flow import Address, Flow
from sipsess.transport.address import normal_host
from sipsess.transport.stream import Target

#: Bytes that may wait for one connection to be opened.
MAX_QUEUED = 262_144


def make_target(transport: str, address: Address, name: str) -> Target:
    """
    Return what a connection is looked for by.

    :param name: whom the far end must prove to be; only a secure one has proven anything. Left out,
        it is the address.
    """
    host = normal_host(address[0])
    if transport not in ("TLS", "WSS"):
        return transport, (host, address[1]), ""
    return transport, (host, address[1]), (name or host).lower().rstrip(".")


class Opening:
    """
    An attempt to open a connection.

    :param target: where it shall lead.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        #: Who waits for the flow.
        self.waiters: dict[Deferred[Flow], None] = {}
        #: What waits to be sent, and on which flows.
        self.queue: list[tuple[Flow, bytes]] = []
        #: Why it came to nothing.
        self.error: ConnectFailed | None = None
        #: To be cancelled when nobody shall be reached any more.
        self.attempt: Deferred[Any] | None = None
        self._size = 0

    def wait(self) -> Deferred[Flow]:
        """Return a Deferred of one who waits; cancelling it leaves the others alone."""
        waiter: Deferred[Flow] = Deferred(lambda waiter: self.waiters.pop(waiter, None))
        self.waiters[waiter] = None
        return waiter

    def add(self, flow: Flow, wire: bytes) -> bool:
        """Let a message wait; ``False`` when too much waits already."""
        if self._size + len(wire) > MAX_QUEUED:
            return False
        self._size += len(wire)
        self.queue.append((flow, wire))
        return True

    def succeed(self, flow: Flow) -> None:
        """Tell all who wait."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            waiter.callback(flow)

    def fail(self, error: ConnectFailed) -> None:
        """Tell all who wait why there is no connection."""
        self.error = error
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            waiter.errback(error)
