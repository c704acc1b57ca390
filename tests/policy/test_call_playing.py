# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of what is played: stopping it, clearing it, marks, and the iterators that give it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.call import Call
from sipsess.errors import DialogStateError
from sipsess.session import SessionEnded
from tests.policy.calls import TENTH, CallTestCase, answer

#: One frame each, told apart by their samples.
ONE, TWO, THREE = (bytes((0, level)) * 160 for level in (16, 32, 48))


class HandleTests(CallTestCase):
    """The handle of a sound."""

    def setUp(self) -> None:
        """Let a call stand, whose callee hears."""
        self.start(answer)
        self.heard = self.hear()

    def test_stop(self) -> None:
        """Who stops a sound is told False, at once, and the next sound goes on."""
        playing = self.caller.play(TENTH * 100)
        behind = self.outcome(self.caller.play(ONE))
        self.net.run_for(0.1)
        count = self.sent
        playing.stop()
        self.assertIs(self.successResultOf(playing), False)
        self.net.run_for(0.1)
        self.assertEqual(behind, [True])
        self.assertEqual(self.sent, count + 1)
        self.hang_up()

    def test_rate(self) -> None:
        """PCM of another rate is converted, and lasts as long."""
        playing = self.outcome(self.caller.play(TENTH * 2, rate=16000))
        self.net.run_for(0.2)
        self.assertEqual((len(self.heard), playing), (5, [True]))
        self.caller.play(self.file("menu.wav"), rate=16000)
        self.net.run_for(0.2)
        self.assertEqual(len(self.heard), 10)
        self.hang_up()

    def test_stop_twice(self) -> None:
        """Stopping what is over does nothing."""
        playing = self.caller.play(ONE)
        self.net.run_for(0.1)
        playing.stop()
        self.assertIs(self.successResultOf(playing), True)
        playing.stop()
        self.hang_up()

    def test_clear(self) -> None:
        """Clearing drops what is played and what waits; not a frame more is heard."""
        order: list[tuple[bool, str]] = []

        def note(done: bool, name: str) -> None:
            order.append((done, name))

        for name in ("first", "second"):
            self.caller.play(TENTH * 100).addCallback(note, name)
        mark = self.caller.mark()
        self.net.run_for(0.1)
        count = self.sent
        self.assertEqual(self.caller.clear(), 3)
        self.assertIs(self.successResultOf(mark), False)
        self.assertEqual(order, [(False, "second"), (False, "first")])
        self.net.run_for(1)
        self.assertEqual(self.sent, count)
        self.assertEqual(self.caller.clear(), 0)
        self.hang_up()

    def test_clear_leaves_digits(self) -> None:
        """Keys that are being pressed are no sound."""
        self.caller.play(TENTH)
        self.caller.send_digits("12")
        self.net.run_for(0.05)
        self.caller.clear()
        self.net.run_for(1)
        assert self.script.call is not None
        self.assertEqual(self.script.call.keypad.waiting, "12")
        self.hang_up()

    def test_marks(self) -> None:
        """Marks fire in order, each when what was queued before it has been sent."""
        order: list[tuple[str, float]] = []
        begin = self.net.seconds()

        def note(done: bool, name: str) -> None:
            self.assertIs(done, True)
            order.append((name, round(self.net.seconds() - begin, 2)))

        self.caller.mark().addCallback(note, "now")
        self.caller.play(TENTH)
        self.caller.mark().addCallback(note, "one")
        self.caller.play(TENTH)
        self.caller.mark().addCallback(note, "two")
        self.net.run_for(1)
        self.assertEqual([name for name, _ in order], ["now", "one", "two"])
        for (_, when), expected in zip(order, (0.0, 0.1, 0.2), strict=True):
            self.assert_near(when, expected)
        self.hang_up()

    def test_call_ends(self) -> None:
        """A sound fails when the call ends."""
        result = self.outcome(self.caller.play(TENTH * 100))
        mark = self.outcome(self.caller.mark())
        assert self.placed.callee is not None
        self.placed.hang_up_callee()
        self.net.run_for(1)
        for (error,) in (result, mark):
            self.assertIsInstance(error.value, SessionEnded)
        self.assertRaises(SessionEnded, self.caller.clear)
        self.hang_up()

    def test_another_peer(self) -> None:
        """What was played ends with False when the call moves to another peer."""
        result = self.outcome(self.caller.play(TENTH * 100))
        self.move()
        self.assertEqual(result, [False])
        self.hang_up()

    def test_another_peer_who_rings(self) -> None:
        """What was played ends when the new peer answers, not when the old one is gone."""

        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait(2)
            await answer(call)

        result = self.outcome(self.caller.play(TENTH * 100))
        self.script.function = ring
        first, self.placed = self.placed, self.pair.dial()
        self.net.run_for(1)
        self.caller.move_to(self.placed.session)
        first.hang_up()
        self.net.run_for(0.5)
        self.assertEqual(result, [])
        self.net.run_for(1)
        self.caller.move_to(self.placed.session)
        self.assertEqual(result, [False])
        waiting = self.outcome(self.caller.wait(1))
        self.caller.move_to(self.placed.session)
        self.net.run_for(1)
        self.assertEqual(waiting, [None])
        self.hang_up()

    def test_too_many(self) -> None:
        """What cannot be queued is told at once, and nothing waits for it."""
        assert self.caller.audio is not None
        self.patch(type(self.caller.audio), "play", _refuse)
        self.assertRaises(DialogStateError, self.caller.play, ONE)
        self.assertEqual(self.caller.waits, {})
        self.hang_up()


def _refuse(*args: Any) -> None:
    raise DialogStateError("no")


class IteratorTests(CallTestCase):
    """Sounds that come in pieces."""

    def setUp(self) -> None:
        """Let a call stand, whose callee hears."""
        self.start(answer)
        self.heard = self.hear()
        self.log: list[str] = []

    def pcm(self) -> list[bytes]:
        """Return what was heard, frame by frame, without silence."""
        return [pcm[:2] for _, pcm in self.heard if any(pcm)]

    def test_asynchronous(self) -> None:
        """The pieces of an asynchronous iterator are played without a gap."""

        async def pieces() -> AsyncIterator[bytes]:
            for piece in (ONE, TWO, THREE):
                yield piece
                await self.caller.wait(0.01)

        playing = self.outcome(self.caller.play(pieces()))
        self.net.run_for(1)
        self.assertEqual(playing, [True])
        times = [when for when, _ in self.heard]
        self.assertEqual(len(times), 3)
        self.assertAlmostEqual(times[2] - times[0], 0.04)
        self.hang_up()

    def test_one_piece_ahead(self) -> None:
        """The iterator is asked for one piece more than is being played, not for all."""

        async def pieces() -> AsyncIterator[bytes]:
            for index in range(100):
                self.log.append(str(index))
                yield TENTH

        playing = self.caller.play(pieces())
        self.net.run_for(0.05)
        self.assertEqual(self.log, ["0", "1"])
        playing.stop()
        self.hang_up()

    def test_slow(self) -> None:
        """While no piece comes nothing is sent; then the sound goes on."""

        async def pieces() -> AsyncIterator[bytes]:
            yield ONE
            await self.caller.wait(1)
            yield TWO

        playing = self.outcome(self.caller.play(pieces()))
        self.net.run_for(0.9)
        self.assertEqual((len(self.heard), playing), (1, []))
        self.net.run_for(0.5)
        self.assertEqual((len(self.heard), playing), (2, [True]))
        self.assert_near(self.heard[1][0] - self.heard[0][0], 1.0)
        self.hang_up()

    def test_raises(self) -> None:
        """What an iterator raises is what its sound fails with, and the next one is played."""

        async def later() -> AsyncIterator[bytes]:
            yield ONE
            raise ZeroDivisionError

        def at_once() -> Iterator[bytes]:
            yield ONE
            raise ZeroDivisionError

        for pieces in (later(), at_once()):
            playing = self.outcome(self.caller.play(pieces))
            behind = self.outcome(self.caller.play(TWO))
            self.net.run_for(0.2)
            self.assertIsInstance(playing[0].value, ZeroDivisionError)
            self.assertEqual(behind, [True])
        self.assertEqual(len(self.heard), 4)
        self.hang_up()

    async def careful(self) -> AsyncIterator[bytes]:
        """Say what becomes of it."""
        try:
            yield ONE
            self.log.append("waits")
            await self.caller.wait(100)
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise
        finally:
            self.log.append("cleans up")

    def test_stopped_while_it_waits(self) -> None:
        """An iterator that waits is cancelled when its sound is stopped, and cleans up."""
        playing = self.caller.play(self.careful())
        self.net.run_for(0.1)
        playing.stop()
        self.assertIs(self.successResultOf(playing), False)
        self.assertEqual(self.log, ["waits", "CancelledError", "cleans up"])
        self.hang_up()

    def test_stopped_between_two_pieces(self) -> None:
        """An iterator that has given a piece is closed when its sound is stopped."""

        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield TENTH
            finally:
                self.log.append("cleans up")

        playing = self.caller.play(pieces())
        self.net.run_for(0.1)
        self.caller.clear()
        self.assertIs(self.successResultOf(playing), False)
        self.assertEqual(self.log, ["cleans up"])
        self.hang_up()

    def test_stopped_by_itself(self) -> None:
        """An iterator may stop its own sound, and ends afterwards."""
        playings: list[Any] = []

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield ONE
                playings[0].stop()
                yield TWO
            finally:
                self.log.append("cleans up")

        playings.append(self.caller.play(pieces()))
        self.net.run_for(0.2)
        self.assertIs(self.successResultOf(playings[0]), False)
        self.assertEqual(self.log, ["cleans up"])
        self.assertLessEqual(len(self.heard), 1)
        self.hang_up()

    def test_call_ends(self) -> None:
        """The iterator of a sound cleans up when the peer hangs up."""
        playing = self.outcome(self.caller.play(self.careful()))
        self.net.run_for(0.1)
        self.placed.hang_up_callee()
        self.net.run_for(1)
        self.assertIsInstance(playing[0].value, SessionEnded)
        self.assertEqual(self.log[-1], "cleans up")
        self.hang_up()

    def test_cancelled(self) -> None:
        """Cancelling a sound cancels its iterator."""
        playing = self.caller.play(self.careful())
        self.net.run_for(0.1)
        playing.cancel()
        self.failureResultOf(playing, CancelledError)
        self.assertEqual(self.log, ["waits", "CancelledError", "cleans up"])
        self.hang_up()

    def test_clean_up_fails(self) -> None:
        """An iterator that raises while it cleans up is reported, and harms nothing."""

        async def waiting() -> AsyncIterator[bytes]:
            try:
                yield ONE
                await Deferred()
            finally:
                raise ZeroDivisionError

        async def between() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield TENTH
            finally:
                raise ZeroDivisionError

        for pieces in (waiting(), between()):
            playing = self.caller.play(pieces)
            self.net.run_for(0.1)
            playing.stop()
            self.assertIs(self.successResultOf(playing), False)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.hang_up()

    def test_plain_iterator(self) -> None:
        """An asynchronous iterator that cannot be closed is asked no more."""

        class Endless:
            """Gives the same piece for ever."""

            def __aiter__(self) -> Endless:
                return self

            async def __anext__(self) -> bytes:
                return ONE

        playing = self.caller.play(Endless())
        self.net.run_for(0.1)
        playing.stop()
        count = self.sent
        self.net.run_for(0.1)
        self.assertEqual(self.sent, count)
        self.hang_up()

    def test_prompt(self) -> None:
        """A prompt may come from an asynchronous iterator, which a key ends."""

        async def application(call: Call) -> str:
            await call.answer()
            return await call.read_digits(1, prompt=self.careful())

        self.hang_up()
        self.start(application)
        self.caller.send_digits("5")
        self.net.run_for(1)
        self.assertEqual(self.script.result, "5")
        self.assertEqual(self.log[-1], "cleans up")
        self.hang_up()
