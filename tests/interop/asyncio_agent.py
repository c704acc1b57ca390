# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A server on asyncio's loop with examples/voice_agent.py, and its service; a peer of tests.

The service answers with three seconds of a sound that is louder each time.
"""

from __future__ import annotations

import asyncio
import sys
from struct import pack

from twisted.internet import asyncioreactor

from tests.examples import example


def tell(text: str) -> None:
    """Print something that has happened."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Service:
    """Answers whatever is said."""

    def __init__(self) -> None:
        self.count = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read all that was said, and answer."""
        said = await reader.read(-1)
        self.count += 1
        tell(f"said {len(said) // 2}")
        writer.write(pack("<h", 2000 * self.count) * 24000)
        writer.close()


async def main() -> None:
    """Serve until the process is ended."""
    from twisted.internet import reactor  # noqa: TID251  it is asyncio's

    from sipsess.sdphandlers.audio import AudioHandler
    from sipsess.server import SIPServer

    service = await asyncio.start_server(Service().answer, "127.0.0.1", 0)
    agent = example("voice_agent").VoiceAgent()
    agent.service = service.sockets[0].getsockname()
    server = SIPServer(
        reactor,
        ["udp:0:interface=127.0.0.1"],
        handlers=[AudioHandler()],
        applications=[agent],
        application=agent.name,
    )
    server.startService()
    tell(f"port {server.listeners[0].address[1]}")


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    tasks = [loop.create_task(main())]
    from twisted.internet import reactor as installed  # noqa: TID251  it is asyncio's

    installed.run()
    tasks.clear()
