# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A voice agent on asyncio, with the WebSocket library that most of them use; a peer of tests.

It speaks for five seconds, with a mark after each half; when it hears the caller it stops and says
something else. What happens is printed, one JSON object a line.

Usage: ``agent.py [CERTIFICATE KEY]``
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

#: What mu-law makes of silence and next to it.
QUIET = {0xFF, 0x7F, 0xFE, 0x7E, 0xFD, 0x7D}


def tell(**facts: Any) -> None:
    """Print something that has happened."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Talk:
    """
    One connection.

    :param socket: the connection.
    """

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.stream = ""
        self.has_cleared = False

    async def say(self, seconds: float, byte: int, mark: str) -> None:
        """Say something, with a mark after it."""
        payload = base64.b64encode(bytes([byte]) * round(8000 * seconds)).decode()
        await self.send("media", {"payload": payload})
        await self.send("mark", {"name": mark})

    async def send(self, event: str, content: Any = None) -> None:
        """Send a message."""
        message = {"event": event, "streamSid": self.stream}
        await self.socket.send(json.dumps({**message, event: content} if content else message))

    async def run(self) -> None:
        """Do what an agent does, until the stream is over."""
        async for text in self.socket:
            message = json.loads(text)
            event = message["event"]
            if event == "start":
                self.stream = message["streamSid"]
                tell(event=event, parameters=message["start"]["customParameters"])
                for number in range(10):
                    await self.say(0.5, 0x11, str(number))
            elif event == "media":
                await self.hear(base64.b64decode(message["media"]["payload"]))
            elif event in ("mark", "dtmf"):
                tell(event=event, **message[event])
            elif event == "stop":
                tell(event=event)

    async def hear(self, payload: bytes) -> None:
        """Stop speaking when the caller speaks."""
        if not self.has_cleared and not set(payload) <= QUIET:
            self.has_cleared = True
            await self.send("clear")
            await self.say(0.2, 0x22, "after")


async def talk(socket: ServerConnection) -> None:
    """Take a connection."""
    assert socket.request is not None
    headers = socket.request.headers
    tell(event="open", path=socket.request.path, authorization=headers.get("Authorization"))
    await Talk(socket).run()
    tell(event="closed", code=socket.close_code)


async def main() -> None:
    """Listen until it is ended."""
    context = None
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:])
    async with serve(talk, "127.0.0.1", 0, ssl=context) as server:
        tell(event="listening", port=server.sockets[0].getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
