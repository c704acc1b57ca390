# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTP ports on real sockets: loopback only."""

from __future__ import annotations

from typing import cast

from twisted.internet import reactor as the_reactor  # noqa: TID251  trial's own, real sockets
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import TestCase

from sipsess.flow import Address
from sipsess.transport.rtp import RTPPorts

reactor: object = the_reactor


class LoopbackTests(TestCase):
    """Two ports talk over the loopback interface."""

    timeout = 10

    async def _round_trip(self, host: str) -> None:
        ports = RTPPorts(reactor, 42000, 44000)
        self.addCleanup(ports.close)
        arrived: Deferred[tuple[bytes, Address]] = Deferred()
        events: list[object] = []
        observer = cast("ILogObserver", events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        one = ports.open(host, lambda data, source, now: arrived.callback((data, source)))
        other = ports.open(host, lambda data, source, now: None)
        other.send(b"packet", (host, one.port))
        data, source = await arrived
        self.assertEqual((data, source), (b"packet", (host, other.port)))
        one.close()
        other.close()
        self.assertEqual(len(ports), 0)
        self.assertEqual(events, [], "a port of a call is no news for the log")

    async def test_ipv4(self) -> None:
        """A packet arrives over IPv4, and nothing is logged."""
        await self._round_trip("127.0.0.1")

    async def test_ipv6(self) -> None:
        """A packet arrives over IPv6, and nothing is logged."""
        await self._round_trip("::1")
