# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of applications and plugins that await asyncio: the loop turns, the time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.call import Call
from sipsess.media import PCMU
from sipsess.supplement import SessionSupplement
from tests.policy.calls import TENTH, CallTestCase, answer

#: Turns of the loop after each frame: what goes to asyncio and back takes a few.
TURNS = 5


def in_asyncio(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Run a coroutine of asyncio for one of Twisted, as the documentation says."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))


class AsyncioTests(CallTestCase):
    """Calls inside a loop."""

    def run_loop(self, test: Callable[[], Awaitable[None]]) -> None:
        """Run a test in a loop of its own."""

        async def run() -> None:
            await test()

        asyncio.run(run())
        self.assertEqual(self.flushLoggedErrors(), [])

    async def pass_time(self, seconds: float) -> None:
        """Let time pass on the network, and the loop turn meanwhile."""
        for _ in range(round(seconds * 50)):
            self.net.run_for(0.02)
            for _ in range(TURNS):
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Hang up, and check that nothing is left."""
        self.placed.hang_up()
        await self.pass_time(2)
        self.assertTrue(self.script.is_over)
        self.pair.settle()

    def test_conversation(self) -> None:
        """A coroutine of asyncio answers, hears and speaks, without losing a frame."""

        async def talk(call: Call) -> str:
            loop = asyncio.get_running_loop()
            await call.answer().asFuture(loop)
            sink = call.audio_out()
            with call.audio_in() as source:
                for _ in range(15):
                    frame = await source.read().asFuture(loop)
                    await sink.write(frame).asFuture(loop)
                await sink.mark().asFuture(loop)
            return await call.read_digits(1).asFuture(loop)

        async def test() -> None:
            self.start(lambda call: in_asyncio(talk(call)))
            await self.pass_time(0.1)
            heard: list[bytes] = []
            assert self.caller.audio is not None
            self.caller.audio.listen(lambda pcm, rate: heard.append(pcm))
            self.caller.play(TENTH * 2)
            await self.pass_time(2)
            self.assertIn(PCMU.decode(PCMU.encode(TENTH)), b"".join(heard))
            self.caller.send_digits("7")
            await self.pass_time(1)
            self.assertEqual(self.script.result, "7")
            await self.settle()

        self.run_loop(test)

    def test_caller_hangs_up(self) -> None:
        """The task is cancelled where it waits, its finally runs, and that is no failure."""
        log: list[str] = []

        async def talk(wait: Callable[[], Awaitable[Any]]) -> None:
            try:
                await wait()
            except asyncio.CancelledError:
                log.append("cancelled")
                raise
            finally:
                log.append("cleans up")

        async def test() -> None:
            loop = asyncio.get_running_loop()
            for wait in (
                lambda call: loop.create_future(),
                lambda call: call.play(TENTH * 1000).asFuture(loop),
                lambda call: call.audio_in().read().asFuture(loop),
            ):

                async def application(call: Call, wait: Any = wait) -> None:
                    await call.answer()
                    await in_asyncio(talk(lambda: wait(call)))

                log.clear()
                self.start(application)
                await self.pass_time(0.1)
                await self.settle()
                self.assertEqual(log, ["cancelled", "cleans up"])
                self.assertIsInstance(self.script.error, asyncio.CancelledError)
                self.assertEqual(self.pair.callee.core.counters.plugin_errors, 0)

        self.run_loop(test)

    def test_failure(self) -> None:
        """What a coroutine of asyncio raises is a failure of the application."""

        async def fail() -> None:
            raise ZeroDivisionError

        async def application(call: Call) -> None:
            await call.ring()
            await in_asyncio(fail())

        async def test() -> None:
            self.start(application)
            await self.pass_time(1)
            self.assertEqual(self.placed.outcome, (500, "Server Internal Error"))
            await self.settle()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        self.run_loop(test)

    def test_iterator(self) -> None:
        """A sound may come from a queue of asyncio; stopping it is no failure."""

        async def test() -> None:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            log: list[str] = []

            async def pieces() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield await in_asyncio(queue.get())
                finally:
                    log.append("cleans up")

            self.start(answer)
            heard = self.hear()
            playing = self.caller.play(pieces())
            for _ in range(3):
                queue.put_nowait(TENTH)
            await self.pass_time(0.5)
            self.assertEqual(len(heard), 15)
            playing.stop()
            await self.pass_time(0.1)
            self.assertEqual((log, self.successResultOf(playing)), (["cleans up"], False))
            await self.settle()

        self.run_loop(test)

    def test_supplement(self) -> None:
        """A supplement that asks asyncio is cancelled with the INVITE, and that is no verdict."""
        asked: list[asyncio.Future[None]] = []

        class Asking(SessionSupplement):
            name = "asking"
            methods = frozenset({"INVITE"})

            async def incoming_request(self, session: Any, request: Any) -> None:
                asked.append(asyncio.get_running_loop().create_future())
                await Deferred.fromFuture(asked[-1])

        async def test() -> None:
            self.start(answer, callee_supplements=[Asking()])
            await self.pass_time(0.1)
            self.placed.hang_up()
            await self.pass_time(2)
            self.assertTrue(asked[0].cancelled())
            self.assertEqual(self.placed.outcome, (487, "Request Terminated"))
            self.assertEqual(self.pair.callee.core.counters.late_verdicts, 0)
            self.pair.settle()

        self.run_loop(test)
