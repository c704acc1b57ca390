# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The server to compare with on aiosipua: 180, 200 with an SDP, BYE; run where aiosipua is installed.

Run it with ``python -O``: on Python 3.11 one of its assertions about asyncio does not hold.
"""

from __future__ import annotations

import asyncio
import sys

from aiosipua import IncomingCall, SipUAS, parse_sdp
from aiosipua.transport import UdpSipTransport


async def serve(port: int, answer: str) -> None:
    """Answer every call with the same SDP."""
    description = parse_sdp(answer)

    def ring_and_answer(call: IncomingCall) -> None:
        call.ringing()
        call.accept(description)

    server = SipUAS(UdpSipTransport(local_addr=("127.0.0.1", port)))
    server.on_invite = ring_and_answer
    await server.start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended: PORT, and the file with the SDP."""
    with open(sys.argv[2], encoding="ascii", newline="") as stream:
        asyncio.run(serve(int(sys.argv[1]), stream.read()))


if __name__ == "__main__":
    main()
