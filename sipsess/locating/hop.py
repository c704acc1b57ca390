# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The next hop of a request: the flow to the server that is tried, and those that may be tried yet.

A request keeps to that flow; when it fails, :meth:`NextHop.advance` goes on to the next target
(:rfc:`3263#section-4.3`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from sipsess.errors import SIPError
from sipsess.flow import Address, Flow
from sipsess.locating.avoided import Avoided, is_failure
from sipsess.locating.locator import Locator
from sipsess.locating.target import Target, UnreachableError
from sipsess.message import Response

#: ``connect(transport, address, name)`` opens or finds the flow to a target; it may fail with a
#: :class:`.SIPError`.
Connect: TypeAlias = Callable[[str, Address, str], Awaitable[Flow]]


class NextHop:
    """
    Goes through the targets of one URI; :meth:`advance` finds the first flow, too.

    :param targets: in their order.
    :param connect: opens the flow to one of them.
    :param avoided: remembers which ones have failed, for those who come later.
    """

    __slots__ = ("_avoided", "_connect", "_flow", "_waiting", "target")

    def __init__(self, targets: Iterable[Target], connect: Connect, avoided: Avoided) -> None:
        self._waiting = avoided.sort(targets)
        self._connect: Connect | None = connect
        self._avoided: Avoided | None = avoided
        self._flow: Flow | None = None
        #: The one to which the flow leads; ``None`` when nobody was looked for.
        self.target: Target | None = None

    @classmethod
    def of(cls, found: Flow | NextHop) -> NextHop:
        """Return a next hop as it is, and of a flow the one at its end."""
        return found if isinstance(found, NextHop) else cls.along(found)

    @classmethod
    def along(cls, flow: Flow) -> NextHop:
        """Return the next hop at the end of one flow, without any other target."""
        hop = cls.__new__(cls)
        hop._waiting, hop._connect, hop._avoided = [], None, None
        hop._flow, hop.target = flow, None
        return hop

    def __repr__(self) -> str:
        return f"<NextHop {self.target or self._flow}, {len(self._waiting)} more>"

    @property
    def flow(self) -> Flow:
        """The flow to the present target."""
        assert self._flow is not None  # advance() has not found one yet
        return self._flow

    def goes_on_after(self, outcome: Response | SIPError) -> bool:
        """
        Hear what became of the request, and tell whether another target shall be tried.

        A target that has failed is avoided for a while.
        """
        if self.target is None or not is_failure(outcome):
            return False
        assert self._avoided is not None
        self._avoided.add(self.target, outcome)
        return bool(self._waiting)

    async def advance(self) -> NextHop:
        """
        Go on to the next target that can be reached.

        :return: this next hop, whose flow is another one.
        :raises UnreachableError: when none can be; it says why the last one cannot.
        """
        error: SIPError = UnreachableError("no server is left")
        while self._waiting:
            assert self._connect is not None and self._avoided is not None
            target = self._waiting.pop(0)
            try:
                self._flow = await self._connect(target.transport, target.address, target.name)
            except SIPError as failure:
                self._avoided.add(target, failure)
                error = failure
            else:
                self.target = target
                return self
        raise UnreachableError(str(error)) from error


class NextHopFinder:
    """
    Finds the next hops of one server, which remember together whom to avoid.

    :param locator: finds the targets.
    :param connect: opens the flow to one of them.
    :param seconds: the monotonic clock.
    """

    def __init__(self, locator: Locator, connect: Connect, seconds: Callable[[], float]) -> None:
        self._locator = locator
        self._connect = connect
        self._avoided = Avoided(seconds)

    async def find(self, uri: str) -> NextHop:
        """
        Return the next hop to a URI (:rfc:`3263`): the flow to the first server that is reached.

        :raises UnreachableError: when the URI leads nowhere.
        """
        targets = await self._locator.locate(uri)
        return await NextHop(targets, self._connect, self._avoided).advance()
