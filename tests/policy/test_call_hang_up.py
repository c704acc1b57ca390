# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of applications whose caller hangs up: cancelled where they wait, and nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.call import Call
from tests.policy.calls import TENTH, CallTestCase

LONG = TENTH * 600

Waits = Callable[[Call], Awaitable[Any]]


class HangUpTests(CallTestCase):
    """One test for each thing that an application can wait for."""

    def check(self, wait: Waits, *, is_answered: bool = True) -> None:
        """Let the caller hang up while the application waits, and look at what remains."""
        log: list[object] = []

        async def application(call: Call) -> None:
            if is_answered:
                await call.answer()
            try:
                await wait(call)
                log.append("went on")
            except BaseException as error:
                log.append(type(error))
                raise
            finally:
                log.append("cleaned up")

        self.start(application)
        self.net.run_for(0.5)
        self.assertEqual(log, [])
        self.hang_up()
        self.assertEqual(log, [CancelledError, "cleaned up"])
        call = self.script.call
        assert call is not None
        self.assertEqual((call.waits, self.flushLoggedErrors()), ({}, []))
        self.assertEqual(self.pair.callee.core.counters.plugin_errors, 0)

    def test_ringing(self) -> None:
        """Time that passes before the answer."""
        self.check(lambda call: call.wait(100), is_answered=False)

    def test_end(self) -> None:
        """The end of the call itself."""
        self.check(lambda call: call.ended)

    def test_play(self) -> None:
        """A sound, whole, and what waits behind it."""
        self.check(lambda call: call.play(LONG))

        async def marked(call: Call) -> None:
            call.play(LONG)
            await call.mark()

        self.check(marked)

    def test_iterator(self) -> None:
        """A sound whose iterator waits itself, and cleans up."""
        log: list[str] = []

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield TENTH
                await Deferred()
            finally:
                log.append("closed")

        self.check(lambda call: call.play(pieces()))
        self.assertEqual(log, ["closed"])

    def test_sink(self) -> None:
        """A writer that was held up, and a mark."""
        self.check(lambda call: call.audio_out().write(LONG))

        async def marked(call: Call) -> None:
            sink = call.audio_out()
            sink.write(LONG)
            await sink.mark()

        self.check(marked)

    def test_source(self) -> None:
        """A frame that has not come."""
        self.check(lambda call: call.audio_in().read())

    def test_record(self) -> None:
        """A recording, of one side or both."""
        self.check(lambda call: call.record(self.mktemp()))
        self.check(lambda call: call.record(self.mktemp(), stereo=True))

    def test_digits(self) -> None:
        """Keys, with and without a prompt, and keys of ours."""
        self.check(lambda call: call.read_digits(4, timeout=60))
        self.check(lambda call: call.read_digits(4, prompt=LONG))
        self.check(lambda call: call.read_digits(4, prompt=LONG, interruptible=False))
        self.check(lambda call: call.send_digits("1234567890" * 10))

    def test_echo(self) -> None:
        """The echo."""
        self.check(lambda call: call.echo())

    def test_several(self) -> None:
        """All at once, of which the application awaits one."""

        async def several(call: Call) -> None:
            sink = call.audio_out()
            sink.write(LONG)
            sink.mark()
            call.play(LONG)
            call.mark()
            call.record(self.mktemp(), stereo=True)
            source = call.audio_in()
            async for _ in source:
                pass

        self.check(several)
