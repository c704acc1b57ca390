# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for :mod:`sipsess.timers`."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.timers import MIN_SHELLS, PROTOCOL_DELAYS, SLACK, Timer, TimerQueue

DELAYS = (*PROTOCOL_DELAYS[:3], 0.3, 0.7)


class Payload:
    """Something that can be watched."""


class TimerQueueTests(SynchronousTestCase):
    """Starting, cancelling and firing."""

    def setUp(self) -> None:
        """Make a queue and a list of what fired."""
        self.queue = TimerQueue()
        self.fired: list[tuple[object, float]] = []

    def start(self, delay: float, payload: object = None, now: float = 0.0) -> Timer:
        """Start a timer that notes when it fires."""
        return self.queue.start(now, delay, self.note, payload)

    def note(self, payload: object, now: float) -> None:
        """Note what fired."""
        self.fired.append((payload, now))

    def size(self) -> int:
        """Return how many entries, alive or not, the queue holds."""
        return sum(len(home.entries) for home in self.queue._homes)

    def test_idle(self) -> None:
        """An idle queue has no deadline and fires nothing."""
        self.assertIsNone(self.queue.next_deadline())
        self.assertEqual((self.queue.fire_due(1e9), len(self.queue)), (0, 0))

    def test_wake(self) -> None:
        """What only ends a transaction may be late; anything else is not, and wakes it, too."""
        self.assertIsNone(self.queue.next_wake())
        self.start(32.0, "late", now=0.0)
        self.assertEqual((self.queue.next_deadline(), self.queue.next_wake()), (32.0, 32.0 + SLACK))
        self.start(0.7, "any", now=31.4)
        self.assertEqual(self.queue.next_wake(), 32.1)
        self.assertEqual(self.queue.fire_due(32.1), 2)
        self.start(0.5, "soon", now=40.0)
        self.assertEqual(self.queue.next_wake(), 40.5)

    def test_fires_at_its_time(self) -> None:
        """A timer fires when its time has come, not before, and only once."""
        timer = self.start(0.5, "a", now=10.0)
        self.assertEqual((timer.when, timer.is_active, len(self.queue)), (10.5, True, 1))
        self.assertEqual(self.queue.next_deadline(), 10.5)
        self.assertEqual(self.queue.fire_due(10.499), 0)
        self.assertEqual(self.queue.fire_due(10.5), 1)
        self.assertEqual(self.queue.fire_due(99.0), 0)
        self.assertEqual(self.fired, [("a", 10.5)])
        self.assertEqual((timer.is_active, len(self.queue)), (False, 0))

    def test_order_of_time(self) -> None:
        """Timers of lanes and heap fire in order of time, equal delays in order of start."""
        for number, delay in enumerate((32.0, 0.2, 7.7, 0.2, 0.1, 7.7, 4.0)):
            self.start(delay, number)
        self.assertEqual(self.queue.fire_due(100.0), 7)
        self.assertEqual([payload for payload, _ in self.fired], [4, 1, 3, 6, 2, 5, 0])

    def test_cancel(self) -> None:
        """A cancelled timer does not fire and is not counted."""
        for delay in (0.5, 0.3):
            first, second = self.start(delay, 1), self.start(delay, 2)
            self.queue.cancel(first)
            self.assertEqual((first.is_active, second.is_active), (False, True))
            self.assertEqual(len(self.queue), 1)
            self.assertEqual(self.queue.fire_due(1.0), 1)
            self.assertEqual(self.size(), 0)
        self.assertEqual(self.fired, [(2, 1.0), (2, 1.0)])

    def test_cancel_twice_and_nothing(self) -> None:
        """Cancelling is idempotent, also after the timer fired, and takes None."""
        self.queue.cancel(None)
        timer, fired = self.start(0.5), self.start(0.2)
        self.queue.fire_due(0.2)
        for each in (timer, timer, fired, fired):
            self.queue.cancel(each)
        self.assertEqual((len(self.queue), self.queue.next_deadline()), (0, None))

    def test_cancel_behind_the_first(self) -> None:
        """A timer cancelled behind a live one leaves when its turn comes."""
        for delay in (0.5, 0.3):
            self.start(delay, 1)
            self.queue.cancel(self.start(delay, 2))
            self.start(delay, 3)
            self.assertEqual(self.size(), 3)
            self.assertEqual(self.queue.fire_due(1.0), 2)
            self.assertEqual(self.size(), 0)
        self.assertEqual([payload for payload, _ in self.fired], [1, 3, 1, 3])

    def test_mass_cancel_leaves_nothing(self) -> None:
        """Shells of cancelled timers are bounded, even when the first timer never moves."""
        for delay in (32.0, 33.3):
            self.start(delay)
            timers = [self.start(delay) for _ in range(1000)]
            for timer in timers:
                self.queue.cancel(timer)
                self.assertLessEqual(self.size(), 2 * len(self.queue) + 2 * MIN_SHELLS + 2)
            self.assertLess(self.size(), 2 * MIN_SHELLS + 4)
        self.assertEqual(len(self.queue), 2)
        self.assertEqual(self.queue.fire_due(40.0), 2)
        self.assertEqual(self.size(), 0)

    def test_cancel_drops_references(self) -> None:
        """A timer that was cancelled or fired drops its payload, without the collector."""
        gc.disable()
        self.addCleanup(gc.enable)
        kept = self.start(0.5)
        for delay in (0.5, 0.3):
            payload = Payload()
            watch = weakref.ref(payload)
            timer = self.queue.start(0.0, delay, lambda payload, now: None, payload)
            del payload
            self.assertIsNotNone(watch())
            self.queue.cancel(timer)
            self.assertIsNone(watch())
        self.assertTrue(kept.is_active)
        payload = Payload()
        watch = weakref.ref(payload)
        timer = self.queue.start(0.0, 0.2, lambda payload, now: None, payload)
        del payload
        self.queue.fire_due(0.2)
        self.assertEqual((watch(), timer.is_active), (None, False))

    def test_started_meanwhile(self) -> None:
        """A timer that a callback starts waits for its own time."""
        self.queue.start(0.0, 0.2, lambda payload, now: self.start(0.2, "late", now), None)
        self.assertEqual(self.queue.fire_due(0.2), 1)
        self.assertEqual((self.fired, self.queue.next_deadline()), ([], 0.4))
        self.assertEqual(self.queue.fire_due(0.4), 1)

    def test_cancelled_meanwhile(self) -> None:
        """A callback may cancel a timer that is due as well."""
        other = self.start(0.5)
        self.queue.start(0.0, 0.2, lambda payload, now: self.queue.cancel(other), None)
        self.assertEqual((self.queue.fire_due(1.0), self.fired), (1, []))

    def test_self_starter_is_bounded(self) -> None:
        """A timer that starts itself without a delay cannot hold the loop for ever."""

        def again(payload: object, now: float) -> None:
            self.note(payload, now)
            self.queue.start(now, 0.0, again, payload)

        self.queue.start(0.0, 0.0, again, None)
        self.assertEqual(self.queue.fire_due(0.0), 1)
        self.assertEqual(self.queue.next_deadline(), 0.0)

    def test_failing_callback(self) -> None:
        """An exception passes, and the other timers are still due."""
        self.queue.start(0.0, 0.2, lambda payload, now: {}[payload], "missing")
        self.start(0.2, "other")
        self.assertRaises(KeyError, self.queue.fire_due, 1.0)
        self.assertEqual(self.queue.fire_due(1.0), 1)
        self.assertEqual(self.fired, [("other", 1.0)])

    def test_clock_that_went_back(self) -> None:
        """A timer started with an earlier time still fires at its own time."""
        self.start(0.5, "second", now=10.0)
        self.start(0.5, "first", now=9.0)
        self.assertEqual(self.queue.next_deadline(), 9.5)
        self.assertEqual(self.queue.fire_due(9.5), 1)
        self.assertEqual(self.queue.fire_due(10.5), 1)
        self.assertEqual([payload for payload, _ in self.fired], ["first", "second"])

    def test_own_delays(self) -> None:
        """Without lanes the heap does everything."""
        self.queue = TimerQueue(())
        for delay in (2.0, 1.0, 1.0):
            self.start(delay, delay)
        self.queue.fire_due(5.0)
        self.assertEqual([payload for payload, _ in self.fired], [1.0, 1.0, 2.0])


class TimerModelTests(SynchronousTestCase):
    """The queue against a plain list."""

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("start"), st.sampled_from(DELAYS)),
                st.tuples(st.just("cancel"), st.integers(0, 30)),
                st.tuples(st.just("advance"), st.sampled_from((0.1, 0.2, 0.5, 1.0))),
            ),
            max_size=60,
        )
    )
    def test_model(self, story: list[tuple[str, float]]) -> None:
        """Whatever the order of calls, exactly the live timers fire, each when it is due."""
        queue, now = TimerQueue(), 0.0
        timers: list[Timer] = []
        live: dict[int, float] = {}
        fired: list[int] = []
        for word, value in story:
            if word == "start":
                live[len(timers)] = now + value
                timers.append(queue.start(now, value, lambda n, now: fired.append(n), len(timers)))
            elif word == "cancel" and value < len(timers):
                queue.cancel(timers[int(value)])
                live.pop(int(value), None)
            elif word == "advance":
                now += value
                due = [number for number, when in live.items() if when <= now]
                queue.fire_due(now)
                self.assertEqual(sorted(fired), due)
                times = [timers[number].when for number in fired]
                self.assertEqual(times, sorted(times))
                for number in due:
                    del live[number]
                fired.clear()
            self.assertEqual(len(queue), len(live))
            self.assertEqual(queue.next_deadline(), min(live.values(), default=None))
            alive = {number for number, timer in enumerate(timers) if timer.is_active}
            self.assertEqual(alive, set(live))
