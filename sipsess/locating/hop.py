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
from sipsess.flow import Flow
from sipsess.locating.avoided import Avoided, is_failure
from sipsess.locating.target import Target, UnreachableError
from sipsess.message import Response

#: Opens, or finds, the flow to a target: ``None`` when no listener of ours reaches it. What takes
#: time, as a connection does, may fail with a :class:`.SIPError`.
Reach: TypeAlias = Callable[[Target], Awaitable[Flow] | Flow | None]


class NextHop:
    """
    Goes through the targets of one URI; :meth:`advance` finds the first flow, too.

    :param targets: in their order.
    :param reach: opens the flow to one of them.
    :param avoided: remembers which ones have failed, for those who come later.
    """

    __slots__ = ("_avoided", "_flow", "_reach", "_waiting", "target")

    def __init__(self, targets: Iterable[Target], reach: Reach, avoided: Avoided) -> None:
        self._waiting = avoided.sort(targets)
        self._reach: Reach | None = reach
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
        hop._waiting, hop._reach, hop._avoided = [], None, None
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
        :raises UnreachableError: when none can be; it says why the last one cannot, or that no
            listener reaches any.
        """
        missed: list[Target] = []
        error: SIPError | None = None
        while self._waiting:
            assert self._reach is not None and self._avoided is not None
            target = self._waiting.pop(0)
            try:
                found = self._reach(target)
                flow = await found if isinstance(found, Awaitable) else found
            except SIPError as failure:
                self._avoided.add(target, failure)
                error = failure
                continue
            if flow is not None:
                self._flow, self.target = flow, target
                return self
            missed.append(target)
        if error is not None:
            raise UnreachableError(str(error)) from error
        raise _no_listener(missed)


def _no_listener(targets: list[Target]) -> UnreachableError:
    """Say what there is, and that no listener goes there."""
    kinds = {f"{'IPv6' if ':' in item.host else 'IPv4'} {item.transport}" for item in targets}
    names = " and ".join(sorted({item.name for item in targets}))
    return UnreachableError(
        f"{names} is at {' and '.join(sorted(kinds))} only, and no listener reaches that"
    )
