# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The turn: one FIFO, run to completion, then the bytes leave.

Theory of operation
    Everything that happens (a datagram, a timer, a call of the public API, a Deferred that fires)
    enters the core inside ``with turn:``. Table steps of the state machines never call plugins or
    each other: they append *upcalls* with :meth:`Turn.later` and *outputs* with :meth:`Turn.send`.
    When the outermost block ends, the upcalls run in order until none is left, and only then are
    the outputs handed to the shell. So every state is final before a byte leaves, and a plugin
    never runs in the middle of a transition.

    The outputs are flushed in a ``finally``, so that what was decided leaves even when an upcall
    fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sipsess.flow import Flow

#: Upcalls in one turn; reaching it means that two parts feed each other without end.
MAX_UPCALLS = 100_000


class Turn:
    """
    The FIFO of one core.

    :param transmit: called for each output after the upcalls have run: ``transmit(flow, wire)``. It
        must not raise; a failure to send is reported to the core as a new event of a later turn.
    :param failed: called with the exception that an upcall raised, which is a bug of this side; it
        logs.
    :param seconds: the monotonic clock, read once per turn.
    :param closing: see :attr:`closing`.
    """

    __slots__ = (
        "_depth",
        "_failed",
        "_last",
        "_outputs",
        "_seconds",
        "_transmit",
        "_upcalls",
        "closing",
        "now",
    )

    def __init__(
        self,
        transmit: Callable[[Flow, bytes], None],
        failed: Callable[[BaseException], None],
        seconds: Callable[[], float],
        closing: Callable[[], None] | None = None,
    ) -> None:
        self._transmit = transmit
        self._failed = failed
        self._seconds = seconds
        #: The time of this turn in seconds, read once when it began.
        self.now = seconds()
        #: Called when the outermost block ends, after the outputs: the shell re-arms its one timer
        #: here.
        self.closing = closing
        self._depth = 0
        self._upcalls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._last: dict[Callable[[], object], None] = {}
        self._outputs: list[tuple[Flow, bytes]] = []

    def time(self) -> float:
        """Return the time of this turn; between two turns, what the clock says."""
        return self.now if self._depth else self._seconds()

    def later(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` in this turn, after the present step; FIFO."""
        self._upcalls.append((function, args))

    def last(self, function: Callable[[], object]) -> None:
        """Run ``function()`` when nothing else is left to do in this turn, once."""
        self._last[function] = None

    def send(self, flow: Flow, wire: bytes) -> None:
        """Let ``wire`` leave on ``flow`` when this turn ends."""
        self._outputs.append((flow, wire))

    def __enter__(self) -> None:
        if not self._depth:
            self.now = self._seconds()
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            self._drain()
        finally:
            self._depth -= 1
            if self._outputs:
                outputs, self._outputs = self._outputs, []
                for flow, wire in outputs:
                    self._transmit(flow, wire)
            if self.closing is not None:
                self.closing()

    def _drain(self) -> None:
        upcalls, last = self._upcalls, self._last
        budget = MAX_UPCALLS
        while upcalls or last:
            function, args = upcalls.popleft() if upcalls else (last.popitem()[0], ())
            try:
                function(*args)
            except Exception as error:
                self._failed(error)
            budget -= 1
            if not budget and upcalls:
                upcalls.clear()
                self._failed(
                    RuntimeError(f"a turn made {MAX_UPCALLS} upcalls; the rest is dropped")
                )
