# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A voice agent in the same process: an asyncio service answers what the caller says.

Run it with twistd --reactor asyncio. The service stands for yours: it reads PCM, and writes PCM.
"""

import asyncio
from array import array

from twisted.internet.defer import Deferred

from sipsess.application import Application

LOUD, PAUSE = 1000, 25  # a sample of speech; the quiet frames that end what was said


async def frames(call):
    """Yield what the caller says, within asyncio."""
    with call.audio_in() as ears:
        while frame := await ears.read().asFuture(asyncio.get_running_loop()):
            yield frame


class VoiceAgent(Application):
    name = "voice_agent"
    service = ("127.0.0.1", 9000)

    async def handle(self, call):
        await call.answer()
        await Deferred.fromFuture(asyncio.create_task(self.converse(call)))

    async def converse(self, call):
        """Answer what is said between two pauses; who speaks interrupts the answer."""
        mouth, said, quiet = call.audio_out(), b"", 0
        answer = asyncio.create_task(asyncio.sleep(0))
        try:
            async for frame in frames(call):
                if max(map(abs, array("h", frame))) > LOUD:
                    answer.cancel()
                    mouth.clear()
                    said, quiet = said + frame, 0
                elif said and (quiet := quiet + 1) == PAUSE:
                    answer, said = asyncio.create_task(self.answer(said, mouth)), b""
        finally:
            answer.cancel()

    async def answer(self, said, mouth):
        reader, writer = await asyncio.open_connection(*self.service)
        try:
            writer.write(said)
            writer.write_eof()
            while pcm := await reader.read(320):
                await mouth.write(pcm).asFuture(asyncio.get_running_loop())
        finally:
            writer.close()


voice_agent = VoiceAgent()
