# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""An rtpengine on the virtual network: it speaks the ng protocol, and carries nothing."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from sipsess.engine.bencode import decode, encode
from sipsess.flow import Address
from sipsess.testing.host import VirtualHost

PORT = 2223


class VirtualRTPEngine(DatagramProtocol):
    """
    Answers as rtpengine does; a copy of a request gets a copy of its answer.

    :param host: where it is.
    :param interface: the address of its ng socket.
    """

    def __init__(self, host: VirtualHost, interface: str = "") -> None:
        self.host = host
        #: Each request that was not a copy.
        self.asked: list[dict[str, Any]] = []
        #: Datagrams that came, copies included.
        self.datagrams = 0
        #: Call-IDs that were offered and not deleted.
        self.calls: set[bytes] = set()
        #: What is said instead of ``ok``, to all but pings.
        self.result: dict[str, Any] | None = None
        #: Answers nothing, like an engine that hangs.
        self.is_deaf = False
        #: Answers with this instead, after the cookie.
        self.raw: bytes | None = None
        self._answers: dict[bytes, bytes] = {}
        self._port: Any = host.listenUDP(PORT, self, interface, 65_535)

    def stop(self) -> None:
        """Go away, as a process that ends."""
        self._port.stopListening()

    @property
    def commands(self) -> list[str]:
        """What was asked for, without pings."""
        return [item["command"].decode() for item in self.asked if item["command"] != b"ping"]

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Answer."""
        self.datagrams += 1
        if self.is_deaf:
            return
        cookie, _, text = datagram.partition(b" ")
        if cookie not in self._answers:
            fields: Any = decode(text)
            asked = {key.decode(): value for key, value in fields.items()}
            self.asked.append(asked)
            self._answers[cookie] = self.raw or encode(self._answer(asked))
        assert self.transport is not None
        self.transport.write(cookie + b" " + self._answers[cookie], addr)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["command"] == b"ping":
            return {"result": "pong"}
        if self.result is not None:
            return self.result
        call_id = asked["call-id"]
        if asked["command"] == b"offer":
            self.calls.add(call_id)
        elif call_id not in self.calls:
            return {"result": "error", "error-reason": "Unknown call-id"}
        if asked["command"] == b"delete":
            self.calls.discard(call_id)
        if asked["command"] == b"query":
            return {"result": "ok", "totals": {"RTP": {"packets": 5, "bytes": 860, "errors": 1}}}
        if "sdp" not in asked:
            return {"result": "ok"}
        here = self.host.source_address("192.0.2.1").encode()
        rows = [
            b"c=IN IP4 " + here if row[:2] == b"c=" else row for row in asked["sdp"].split(b"\r\n")
        ]
        return {"result": "ok", "sdp": b"\r\n".join(rows)}
