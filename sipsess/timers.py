# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
All timers of one core in one queue, without a clock.

Theory of operation
    SIP knows about ten distinct delays, and timers of equal delay expire in the order in which they
    were started. So each protocol delay has a *lane*, a FIFO in which start and cancel cost the
    same however many timers run. All other delays share one heap. A cancelled timer lets go of its
    callback and payload at once; its empty shell leaves its lane when it comes to the front, or
    when more than half of the lane are shells, so that a mass cancel leaves nothing behind.

    Nobody reads a clock here: ``now`` is an argument, in seconds, and should never go back; a timer
    that would be out of order in its lane because it did goes to the heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias

#: The delays of :rfc:`3261` with the default T1, T2 and T4: 100 Trying, T1 and its doubles up to
#: 64*T1, T4, and Timer D.
PROTOCOL_DELAYS = (0.2, 0.5, 1.0, 2.0, 3.5, 4.0, 5.0, 8.0, 16.0, 32.0, 32.5)

#: Timers of these delays end what lives on for the sake of copies only (Timers D, I, J, K, L), or
#: give up after 64*T1. They may be late by :data:`SLACK` seconds, so that many fire at once
#: rather than each with a wake-up of its own.
PATIENT_DELAYS = (5.0, 32.0, 32.5)
SLACK = 0.25

#: Fewer shells of cancelled timers than this are not worth a clean-up.
MIN_SHELLS = 64

#: Later than any deadline.
NEVER = float("inf")

Callback: TypeAlias = Callable[[Any, float], object]


class Timer:
    """One started timer; keep it to cancel it."""

    __slots__ = ("_callback", "_home", "_payload", "when")

    def __init__(
        self, when: float, callback: Callback, payload: object, home: _Lane | _Heap
    ) -> None:
        #: When it is due, on the clock given to :meth:`TimerQueue.start`.
        self.when = when
        self._callback: Callback | None = callback
        self._payload = payload
        self._home = home

    @property
    def is_active(self) -> bool:
        """Whether it will still fire."""
        return self._callback is not None


class _Lane:
    """Timers of one delay, in the order of start; the first one is always alive."""

    __slots__ = ("entries", "shells")

    def __init__(self) -> None:
        self.entries: deque[Timer] = deque()
        self.shells = 0

    def first(self) -> float:
        """Return when the first one is due; there must be one."""
        return self.entries[0].when

    def pop(self) -> Timer:
        timer = self.entries.popleft()
        if self.shells:
            self.tidy()
        return timer

    def tidy(self) -> None:
        """Drop the shells at the front, or all when they are the larger part."""
        entries = self.entries
        while entries and entries[0]._callback is None:
            entries.popleft()
            self.shells -= 1
        if self.shells > MIN_SHELLS and self.shells * 2 > len(entries):
            self.entries = deque(timer for timer in entries if timer._callback is not None)
            self.shells = 0


class _Heap:
    """Timers of any delay; the first one is always alive."""

    __slots__ = ("entries", "serial", "shells")

    def __init__(self) -> None:
        #: The serial number keeps timers of the same time in the order of start.
        self.entries: list[tuple[float, int, Timer]] = []
        self.serial = 0
        self.shells = 0

    def push(self, timer: Timer) -> None:
        self.serial += 1
        heappush(self.entries, (timer.when, self.serial, timer))

    def first(self) -> float:
        """Return when the first one is due; there must be one."""
        return self.entries[0][0]

    def pop(self) -> Timer:
        timer = heappop(self.entries)[2]
        if self.shells:
            self.tidy()
        return timer

    def tidy(self) -> None:
        """Drop the shells at the front, or all when they are the larger part."""
        entries = self.entries
        while entries and entries[0][2]._callback is None:
            heappop(entries)
            self.shells -= 1
        if self.shells > MIN_SHELLS and self.shells * 2 > len(entries):
            self.entries = [entry for entry in entries if entry[2]._callback is not None]
            heapify(self.entries)
            self.shells = 0


class TimerQueue:
    """
    Starts, cancels and fires timers.

    :param delays: the delays, in seconds, that get a lane of their own.
    """

    __slots__ = ("_heap", "_homes", "_lanes", "_live", "_slacks")

    def __init__(self, delays: Iterable[float] = PROTOCOL_DELAYS) -> None:
        self._lanes = {delay: _Lane() for delay in delays}
        self._heap = _Heap()
        self._homes: tuple[_Lane | _Heap, ...] = (*self._lanes.values(), self._heap)
        #: How late the timers of each home may fire.
        slacks = [SLACK if delay in PATIENT_DELAYS else 0.0 for delay in self._lanes]
        self._slacks = (*slacks, 0.0)
        self._live = 0

    def __len__(self) -> int:
        """Return how many timers will still fire."""
        return self._live

    def start(self, now: float, delay: float, callback: Callback, payload: object) -> Timer:
        """
        Start a timer.

        :param now: seconds, monotonic.
        :param delay: seconds from ``now``; zero or less is due at once, in :meth:`fire_due`.
        :param callback: called once as ``callback(payload, now)``, unless cancelled.
        """
        self._live += 1
        when = now + delay
        lane = self._lanes.get(delay)
        if lane is not None:
            entries = lane.entries
            if not entries or entries[-1].when <= when:
                timer = Timer(when, callback, payload, lane)
                entries.append(timer)
                return timer
        timer = Timer(when, callback, payload, self._heap)
        self._heap.push(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """
        Cancel a timer; does nothing to ``None`` and to one that fired or was cancelled.

        The timer lets go of its callback and payload at once.
        """
        if timer is None or timer._callback is None:
            return
        timer._callback = timer._payload = None
        self._live -= 1
        home = timer._home
        home.shells += 1
        home.tidy()

    def next_deadline(self) -> float | None:
        """
        Return when the first timer is due.

        :return: seconds on the clock given to :meth:`start`, or ``None`` when none runs.
        """
        home = self._first_home()
        return None if home is None else home.first()

    def next_wake(self) -> float | None:
        """
        Return when :meth:`fire_due` should be called at the latest.

        :return: as for :meth:`next_deadline`, but a little later when nothing urgent is due.
        """
        best = NEVER
        for home, slack in zip(self._homes, self._slacks, strict=True):
            if home.entries:
                when = home.first() + slack
                if when < best:
                    best = when
        return None if best == NEVER else best

    def fire_due(self, now: float) -> int:
        """
        Call each callback that is due at ``now``, in order of time.

        A timer started meanwhile is called too if it is due; but no more callbacks are called than
        timers ran at the beginning, so that one which starts itself again without a delay cannot
        hold this loop for ever. An exception of a callback passes; the others stay due.

        :return: how many were called.
        """
        budget = self._live
        fired = 0
        while fired < budget:
            home = self._first_home()
            if home is None or home.first() > now:
                break
            timer = home.pop()
            callback, payload = timer._callback, timer._payload
            assert callback is not None  # the first one is always alive
            timer._callback = timer._payload = None
            self._live -= 1
            fired += 1
            callback(payload, now)
        return fired

    def _first_home(self) -> _Lane | _Heap | None:
        """Return the lane whose first timer is due before all others; ``None`` if none runs."""
        result: _Lane | _Heap | None = None
        best = NEVER
        for home in self._homes:
            if home.entries:
                when = home.first()
                if when < best:
                    result, best = home, when
        return result
