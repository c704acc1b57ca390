# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls for tests: a caller and a callee whose application is the test's coroutine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.media import Codec, RTPPacket, WAVWriter
from sipsess.testing import CallPair
from sipsess.testing.pair import PlacedCall

#: A tenth of a second of PCM.
TENTH = bytes(range(1, 161)) * 10


class Script(Application):
    """
    Runs a test's coroutine.

    :param function: the coroutine function.
    """

    name = "script"

    def __init__(self, function: Callable[[Call], Awaitable[Any]]) -> None:
        self.function = function
        self.call: Call | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        #: Whether each step was resumed inside a turn.
        self.is_over = False

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        self.call = call
        try:
            self.result = await self.function(call)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.is_over = True


class CallTestCase(SynchronousTestCase):
    """A caller and a callee whose application is the test's."""

    def start(self, function: Callable[[Call], Awaitable[Any]], **options: Any) -> Call:
        """Place a call to ``function`` and let a second pass; return the caller's side."""
        self.script = Script(function)
        self.pair = CallPair(application=self.script, **options)
        self.net = self.pair.net
        self.placed = self.pair.dial()
        self.caller = Call(self.placed.session)
        self.net.run_for(1)
        return self.caller

    def hang_up(self) -> None:
        """Hang up as the caller, if the call still stands, and check that nothing is left."""
        self.placed.hang_up()
        self.pair.settle()

    def assert_near(self, when: float, expected: float) -> None:
        """Fail when two times differ by more than two frames."""
        self.assertLess(abs(when - expected), 0.05, (when, expected))

    def outcome(self, deferred: Deferred[Any]) -> list[Any]:
        """Return a list that will hold what the Deferred fires with."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        return results

    def hear(self) -> list[tuple[float, bytes]]:
        """Return a list that the audio which reaches the callee is added to, with its time."""
        heard: list[tuple[float, bytes]] = []

        def keep(codec: Codec, packet: RTPPacket, now: float) -> None:
            heard.append((now, codec.make_decoder().decode(packet.payload)))

        assert self.script.call is not None
        assert self.script.call.audio is not None
        self.script.call.audio.on_packet = keep
        return heard

    @property
    def sent(self) -> int:
        """How many packets of audio the caller's side has sent."""
        assert self.caller.audio is not None
        return self.caller.audio.packets_sent

    def move(self) -> PlacedCall:
        """Let the caller's side go on in another call to the same callee; return the first."""
        first, self.placed = self.placed, self.pair.dial()
        self.net.run_for(1)
        self.caller.move_to(self.placed.session)
        first.hang_up()
        self.net.run_for(0.1)
        return first

    def file(self, name: str, pcm: bytes = TENTH) -> Path:
        """Write a WAV file."""
        path = Path(self.mktemp())
        path.mkdir()
        writer = WAVWriter(path / name)
        writer.write(pcm)
        writer.close()
        return path / name


async def answer(call: Call) -> None:
    """Answer and wait for the end."""
    await call.answer()
    await call.ended
