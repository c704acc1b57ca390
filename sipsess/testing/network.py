# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A network and a clock for tests: deterministic, without sockets, faster than real time.

Theory of operation
    :class:`VirtualNetwork` owns one heap. Everything that will happen lies in it: delayed calls,
    datagrams in flight, ports that are about to close. ``run_for`` takes the first entry, sets the
    clock to *its* time and runs it, so a retransmission timer fires at 0.5, 1.5 and 3.5 s and not
    once at the end. Entries of the same time run in the order in which they were made. The only
    source of chance is one seeded ``random.Random``: the same seed gives the same trace.

    A :class:`VirtualHost` is a machine: it has addresses and ports of its own and shares the time.
    What runs on a reactor runs on a host, because a host provides ``IReactorTime``,
    ``IReactorUDP`` and ``IReactorTCP``::

        net = VirtualNetwork(seed=7, link=Link(delay=0.02, jitter=0.8, loss=0.3))
        alice, bob = net.host("192.0.2.1"), net.host("192.0.2.2", "2001:db8::2")
        alice.listenUDP(5060, SomeProtocol())
        net.filters.append(lambda source, target, data: data.startswith(b"ACK"))    # lose every ACK
        net.run_for(40)
        net.assert_quiet()

    An exception out of ``datagramReceived`` or a delayed call is raised by ``run_for``; nothing is
    swallowed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sipsess.flow import Address
from sipsess.testing.host import VirtualHost, VirtualPort, normal_host
from sipsess.testing.ladder import Step, format_ladder

#: Events at one instant; more means that two parts feed each other without letting time pass.
MAX_EVENTS_PER_INSTANT = 100_000

#: Events that the trace keeps; beyond it the older half is forgotten, so that hours of RTP fit in
#: memory.
MAX_TRACE = 200_000

#: ``filter(source, target, data)``: true means that this datagram is lost.
Filter: TypeAlias = Callable[[Address, Address, bytes], bool]

IN_FLIGHT = "in flight"
DELIVERED = "delivered"
LOST = "lost"
DUPLICATED = "duplicated"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Link:
    """
    What happens to datagrams on their way, in one direction.

    :raises ValueError: when a time is negative or a share is not one.
    """

    #: Seconds that each needs at least.
    delay: float = 0.01
    #: Seconds more at most, evenly spread; more jitter than distance between two datagrams changes
    #: their order.
    jitter: float = 0.0
    #: The share that is lost, 0 to 1.
    loss: float = 0.0
    #: The share that arrives twice, 0 to 1.
    duplicate: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay, self.jitter) < 0:
            raise ValueError("delay and jitter are seconds, 0 or more")
        if not (0 <= self.loss <= 1 and 0 <= self.duplicate <= 1):
            raise ValueError("loss and duplicate are shares between 0 and 1")


#: Inside one host: quick and perfect, but never instantaneous, so that time goes on.
LOOPBACK = Link(delay=0.0001)


@dataclass(slots=True)
class TraceEvent:
    """One datagram, as the network saw it."""

    #: When it was sent.
    time: float
    source: Address
    target: Address
    data: bytes
    #: ``"in flight"``, then ``"delivered"``, ``"duplicated"`` (delivered, and a copy), ``"lost"``,
    #: or ``"refused"`` (nobody listened there).
    fate: str = IN_FLIGHT
    #: When it arrived, or ``None``.
    arrival: float | None = None
    is_copy: bool = False


@dataclass(slots=True)
class _Flight:
    """A datagram on its way: the port that sent it and the host that will get it."""

    event: TraceEvent
    sender: VirtualPort
    host: VirtualHost


class Watched(Protocol):
    """What :meth:`VirtualNetwork.watch` takes."""

    def leftovers(self) -> list[str]:
        """Say what is still alive, one line each; empty when at rest."""


@implementer(IReactorTime)
class VirtualNetwork:
    """
    Clock and network in one.

    :param seed: the seed of all chance in it.
    :param link: how datagrams travel between two hosts for which :meth:`set_link` said nothing.
    """

    def __init__(self, seed: int = 0, link: Link | None = None) -> None:
        self.random = random.Random(seed)
        self.link = link or Link()
        #: Predicates ``(source, target, data)``; one that is true loses the datagram.
        self.filters: list[Filter] = []
        #: What was sent, in order; bounded by :data:`MAX_TRACE`.
        self.trace: list[TraceEvent] = []
        #: Each host made by :meth:`host`.
        self.hosts: list[VirtualHost] = []
        self._by_address: dict[str, VirtualHost] = {}
        self._links: dict[tuple[VirtualHost, VirtualHost], Link] = {}
        self._partitions: set[frozenset[VirtualHost]] = set()
        self._watched: list[Watched] = []
        self._now = 0.0
        self._heap: list[tuple[float, int, DelayedCall | _Flight | VirtualPort]] = []
        self._serial = itertools.count()
        self._calls: dict[DelayedCall, None] = {}
        self._flights = 0
        self._at_this_instant = 0
        self._is_running = False

    def host(self, *addresses: str, name: str | None = None) -> VirtualHost:
        """
        Make a machine.

        :param addresses: its IPv4 and IPv6 addresses; the first of a family is its default one.
            Each host also has 127.0.0.1, and ::1 when it has an IPv6 address.
        :param name: what ladders call it; the first address otherwise.
        :raises ValueError: when there is no address, one is broken, or another host has it.
        """
        host = VirtualHost(self, addresses, name)
        taken = [address for address in host.addresses if address in self._by_address]
        if taken:
            raise ValueError(f"{taken[0]} belongs to {self._by_address[taken[0]]!r}")
        self._by_address.update(dict.fromkeys(host.addresses, host))
        self.hosts.append(host)
        return host

    # -- the links

    def set_link(
        self, a: VirtualHost, b: VirtualHost, link: Link, back: Link | None = None
    ) -> None:
        """
        Say how datagrams travel between two hosts.

        :param link: from ``a`` to ``b``.
        :param back: from ``b`` to ``a``; the same when ``None``.
        """
        self._links[a, b] = link
        self._links[b, a] = back or link

    def partition(self, a: VirtualHost, b: VirtualHost) -> None:
        """Lose all that is sent between two hosts from now on; what is in flight still arrives."""
        self._partitions.add(frozenset((a, b)))

    def heal(self, a: VirtualHost | None = None, b: VirtualHost | None = None) -> None:
        """End the partition between two hosts, or of one host, or each when none is named."""
        named = {host for host in (a, b) if host is not None}
        self._partitions = {pair for pair in self._partitions if not named <= pair}

    # -- IReactorTime

    def seconds(self) -> float:
        """Return the virtual time, in seconds; it starts at 0."""
        return self._now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """
        Call ``callable(*args, **kwargs)`` after ``delay`` seconds of virtual time.

        :raises ValueError: when ``delay`` is negative.
        """
        if delay < 0:
            raise ValueError(f"callLater({delay!r}): a delay is 0 or more seconds")
        call = DelayedCall(
            self._now + delay, callable, args, kwargs, self._calls.pop, self._reset, self.seconds
        )
        self._calls[call] = None
        self._push(call.getTime(), call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Return the delayed calls that wait, the first one first."""
        return sorted(self._calls, key=DelayedCall.getTime)

    def _reset(self, call: DelayedCall) -> None:
        self._push(call.getTime(), call)

    def _push(self, when: float, item: DelayedCall | _Flight | VirtualPort) -> None:
        heapq.heappush(self._heap, (when, next(self._serial), item))

    # -- time passes

    def run_for(self, seconds: float) -> None:
        """
        Let time pass, from one deadline to the next.

        :param seconds: how long; 0 runs what is due now.
        :raises Exception: whatever a callback raises, at once; the clock then stands where it
            happened.
        """
        end = self._now + seconds
        while self._step(end):
            pass
        self._set_clock(end)

    def run_until(self, predicate: Callable[[], object], limit: float = 60.0) -> None:
        """
        Let time pass until something is true.

        :param predicate: asked before the first and after each event.
        :param limit: seconds to wait at most.
        :raises AssertionError: when it is not true in time; the text has the ladder.
        """
        if not self.wait_for(predicate, limit):
            raise AssertionError(f"not true after {limit:g} s\n{self.ladder()}")

    def wait_for(self, predicate: Callable[[], object], limit: float) -> bool:
        """Let time pass as :meth:`run_until` does, and say whether ``predicate`` came true."""
        end = self._now + limit
        while not predicate():
            if not self._step(end):
                self._set_clock(end)
                return bool(predicate())
        return True

    def _step(self, end: float) -> bool:
        """Run the first event if it is due until ``end``; false when there is none."""
        if self._is_running:
            raise RuntimeError("run_for() and run_until() cannot be called from a callback")
        heap = self._heap
        while heap and heap[0][0] <= end:
            when, _, item = heapq.heappop(heap)
            if isinstance(item, DelayedCall):
                if item.cancelled or item.called:
                    continue
                if item.getTime() > when:
                    item.activate_delay()
                    self._push(item.getTime(), item)
                    continue
            self._set_clock(when)
            self._run(item)
            return True
        return False

    def _set_clock(self, when: float) -> None:
        if when > self._now:
            self._now = when
            self._at_this_instant = 0

    def _run(self, item: DelayedCall | _Flight | VirtualPort) -> None:
        self._at_this_instant += 1
        if self._at_this_instant > MAX_EVENTS_PER_INSTANT:
            raise AssertionError(
                f"over {MAX_EVENTS_PER_INSTANT} events at {self._now} s: time cannot go on\n"
                + self.ladder()[-2000:]
            )
        self._is_running = True
        try:
            if isinstance(item, DelayedCall):
                del self._calls[item]
                item.called = 1
                item.func(*item.args, **item.kw)
            elif isinstance(item, _Flight):
                self._arrive(item)
            else:
                item.close()
        finally:
            self._is_running = False

    # -- datagrams; the ports of this package call these

    def find_host(self, address: str) -> VirtualHost | None:
        """Return the host that has this address, or ``None``."""
        return self._by_address.get(normal_host(address))

    def send(self, sender: VirtualPort, source: Address, target: Address, data: bytes) -> None:
        """Take one datagram from a port and decide its fate."""
        event = TraceEvent(self._now, source, target, data)
        self._record(event)
        host = sender.host if sender.host.is_loopback(target[0]) else self.find_host(target[0])
        link = self.find_link(sender.host, host) if host else None
        # Each filter is asked, also when an earlier one lost it: some of them count.
        is_lost = any([lose(source, target, data) for lose in self.filters])
        if (
            host is None
            or link is None
            or is_lost
            or (link.loss and self.random.random() < link.loss)
        ):
            event.fate = LOST
        else:
            self._launch(event, sender, host, link)
            if link.duplicate and self.random.random() < link.duplicate:
                copy = TraceEvent(self._now, source, target, data, is_copy=True)
                self._record(copy)
                self._launch(copy, sender, host, link)

    def close_soon(self, port: VirtualPort) -> None:
        """Close a port in the next step, as a reactor does."""
        self._push(self._now, port)

    def record_stream(self, source: Address, target: Address, data: bytes) -> None:
        """Trace what was written to a connection; it arrives sooner or later."""
        self._record(TraceEvent(self._now, source, target, data, DELIVERED))

    def _record(self, event: TraceEvent) -> None:
        self.trace.append(event)
        if len(self.trace) > MAX_TRACE:
            del self.trace[: MAX_TRACE // 2]

    def find_link(self, a: VirtualHost, b: VirtualHost) -> Link | None:
        """Return the link from ``a`` to ``b``, or ``None`` when there is no way."""
        if frozenset((a, b)) in self._partitions:
            return None
        return self._links.get((a, b)) or (LOOPBACK if a is b else self.link)

    def _launch(
        self, event: TraceEvent, sender: VirtualPort, host: VirtualHost, link: Link
    ) -> None:
        delay = link.delay + (self.random.uniform(0, link.jitter) if link.jitter else 0.0)
        self._flights += 1
        self._push(self._now + delay, _Flight(event, sender, host))

    def _arrive(self, flight: _Flight) -> None:
        event = flight.event
        self._flights -= 1
        event.arrival = self._now
        port = flight.host.find_port(event.target, event.source)
        if port is None:
            event.fate = REFUSED
            flight.sender.refused(event.target)
        else:
            event.fate = DUPLICATED if event.is_copy else DELIVERED
            port.deliver(event.data, event.source)

    # -- what tests ask

    def ladder(self) -> str:
        """Return the trace as a ladder diagram: SIP start lines, RTP folded into counts."""
        names = {address: host.name for host in self.hosts for address in host.addresses}
        return format_ladder(
            [Step(e.time, e.source, e.target, e.data, e.fate) for e in self.trace], names=names
        )

    def watch(self, thing: Watched) -> None:
        """Let :meth:`assert_quiet` ask this object for ``leftovers()`` too."""
        self._watched.append(thing)

    def leftovers(self) -> list[str]:
        """Return what is still alive: of watched objects, delayed calls, datagrams in flight."""
        lines = [line for thing in self._watched for line in thing.leftovers()]
        lines += [f"delayed call: {call}" for call in self.getDelayedCalls()]
        if self._flights:
            lines.append(f"{self._flights} datagram(s) in flight")
        return lines

    def open_ports(self) -> list[str]:
        """Return the ports and connections that are open, such as ``"0.0.0.0:5060 of bob"``."""
        return [
            f"{item} of {host.name}"
            for host in self.hosts
            for item in (
                *host.ports.values(),
                *host.streams.ports.values(),
                *host.streams.connections,
            )
        ]

    def assert_quiet(self) -> None:
        """
        Check that nothing is left: end each test with it.

        :raises AssertionError: with the list of what is left, and the ladder.
        """
        self._assert_none(self.leftovers())

    def assert_closed(self) -> None:
        """
        Check that nothing is left and that each port and connection is closed.

        :raises AssertionError: with the list of what is left, and the ladder.
        """
        self._assert_none(self.leftovers() + [f"open port: {port}" for port in self.open_ports()])

    def _assert_none(self, lines: list[str]) -> None:
        if lines:
            text = "\n".join(f"  - {line}" for line in lines)
            raise AssertionError(f"not quiet at {self._now:.3f} s:\n{text}\n{self.ladder()}")
