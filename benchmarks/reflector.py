# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The least that can answer a basic call with Twisted: no parser, no state, no timers.

It gives the scale: what it costs is Python, the reactor and the kernel; what a real server costs
above it is SIP. ``python -m benchmarks.reflector PORT [STREAMS]`` serves on 127.0.0.1, and sends
back what comes to as many more ports as there shall be streams.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from benchmarks.messages import make_sdp

_COPIED = (b"via:", b"from:", b"call-id:", b"cseq:")
_SDP = make_sdp("127.0.0.1", 40000)


class Reflector(DatagramProtocol):
    """Answers INVITE with 180 and 200, all else but ACK with 200."""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Copy what a response needs."""
        lines = datagram.split(b"\r\n")
        method = lines[0].partition(b" ")[0]
        if method == b"ACK":
            return
        head = [line for line in lines if line.lower().startswith(_COPIED)]
        to = next(line for line in lines if line.lower().startswith(b"to:"))
        head.append(to if b";tag=" in to else to + b";tag=reflector")
        transport: Any = self.transport
        if method == b"INVITE":
            host = transport.getHost()
            head.append(b"Contact: <sip:%s:%d>" % (host.host.encode(), host.port))
            transport.write(_build(b"180 Ringing", head, b""), addr)
        transport.write(_build(b"200 OK", head, _SDP if method == b"INVITE" else b""), addr)


class Echo(DatagramProtocol):
    """Sends back what comes."""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send it back."""
        transport: Any = self.transport
        transport.write(datagram, addr)


def _build(status: bytes, head: list[bytes], body: bytes) -> bytes:
    content = [b"Content-Type: application/sdp"] if body else []
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"SIP/2.0 " + status, *head, *content, length, b"", body])


def main() -> None:
    """Serve until the process is ended."""
    from twisted.internet import reactor as installed  # noqa: TID251  this is the program

    reactor: Any = installed
    number, streams = [*map(int, sys.argv[1:]), 0][:2]
    echoes = [reactor.listenUDP(0, Echo(), "127.0.0.1") for _ in range(streams)]
    print("rtp ports:", *(echo.getHost().port for echo in echoes))
    port = reactor.listenUDP(number, Reflector(), "127.0.0.1", 65535)
    print(f"listening on udp:{port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
