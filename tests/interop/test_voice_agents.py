# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Voice agents on asyncio, over real sockets."""

from __future__ import annotations

import json
import pathlib
import sys
from struct import pack
from typing import Any

from sipsess.applications.websocket import WebSocketApplication
from sipsess.applications.websocket_options import WebSocketOptions
from sipsess.call import Call
from sipsess.media import PCMU, Codec, RTPPacket
from sipsess.mediastream.playout import Playout
from sipsess.secret import Secret
from sipsess.websocket import WebSocketConnector
from tests.certificates import Authority, names

from .peers import Peer, PeerTestCase, sip_port, until

AGENT = pathlib.Path(__file__).with_name("agent.py")


class AgentTests(PeerTestCase):
    """Calls whose agent is a program with the library ``websockets``."""

    async def call(self, scheme: str, *files: str, ca: pathlib.Path | None = None) -> Call:
        """Start an agent, and a server with the application; call."""
        self.agent: Peer = self.start("agent", [sys.executable, str(AGENT), *files])
        port = (await self.agent.expect(r'"port": (\d+)'))[1]
        options = WebSocketOptions(
            f"{scheme}://localhost:{port}/calls?x=1", Secret("Bearer abc"), ca=ca
        )
        application = WebSocketApplication(WebSocketConnector()).with_options(options)
        server = self.serve(application)
        client = self.serve()
        self.heard: list[bytes] = []
        call = await client.dial(f"sip:anna@127.0.0.1:{sip_port(server)}")
        assert call.audio is not None
        call.audio.on_packet = self.hear
        self.missed = call.audio.packets_received
        return call

    def hear(self, codec: Codec, packet: RTPPacket, now: float) -> None:
        """Keep what the caller hears."""
        self.heard.append(bytes(packet.payload))

    def facts(self, event: str) -> list[dict[str, Any]]:
        """Return what the agent has printed of an event."""
        lines = [line for line in self.agent.printed.splitlines() if line.startswith("{")]
        return [fact for fact in map(json.loads, lines) if fact["event"] == event]

    async def test_barge_in(self) -> None:
        """
        The caller interrupts: no more than 40 ms are sent after the agent's clear, marks return.

        All comes back in order, and the agent is told of keys and of the end.
        """
        sent: list[int] = []
        clear = Playout.clear

        def count(playout: Playout) -> None:
            stream = playout._sink._call.audio
            assert stream is not None
            clear(playout)
            sent.append(stream.packets_sent)

        self.patch(Playout, "clear", count)
        call = await self.call("ws")
        await self.agent.expect('"name": "1"')
        await call.send_digits("5")
        await call.play_tone([440.0], 0.2)
        await self.agent.expect('"name": "after"')
        call.hangup()
        await self.agent.expect('"closed"')
        names = [fact["name"] for fact in self.facts("mark")]
        self.assertEqual(names, [*map(str, range(10)), "after"])
        self.assertEqual([fact["digit"] for fact in self.facts("dtmf")], ["5"])
        self.assertEqual(self.facts("closed")[0]["code"], 1000)
        [opened] = self.facts("open")
        self.assertEqual((opened["path"], opened["authorization"]), ("/calls?x=1", "Bearer abc"))
        first = self.heard.index(b"\x22" * 160)
        self.assertEqual(set(self.heard[first:]), {b"\x22" * 160})
        self.assertIn(self.missed + first - sent[0], (0, 1, 2))
        self.assertLess(first, 230)
        self.assertEqual(len(self.facts("stop")), 1)

    async def test_secure(self) -> None:
        """The same over TLS; the certificate is that of the name, and its authority is ours."""
        authority = Authority(self.folder)
        files = authority.issue("agent", names(domains=["localhost"]))
        call = await self.call("wss", *files, ca=pathlib.Path(authority.ca))
        await self.agent.expect('"name": "0"')
        call.hangup()
        await self.agent.expect('"stop"')
        await until(lambda: bool(self.facts("closed")), self.agent.tail)


class AsyncioTests(PeerTestCase):
    """examples/voice_agent.py, on asyncio's reactor."""

    async def test_conversation(self) -> None:
        """The caller is answered, interrupts the answer, and is answered again; nothing is left."""
        script = pathlib.Path(__file__).with_name("asyncio_agent.py")
        command = [sys.executable, "-m", f"tests.interop.{script.stem}"]
        server = self.start("server", command, script.parents[2])
        port = (await server.expect(r"port (\d+)"))[1]
        client = self.serve()
        call = await client.dial(f"sip:voice_agent@127.0.0.1:{port}")
        assert call.audio is not None
        heard: list[int] = []
        call.audio.on_packet = lambda codec, packet, now: heard.append(packet.payload[0])
        answers = [PCMU.encode(pack("<h", 2000 * number))[0] for number in (1, 2)]
        for answer in answers:
            await call.play_tone([440.0], 0.3)
            await until(lambda: heard[-20:] == [answer] * 20, server.tail)  # noqa: B023  it is now
        call.hangup()
        await call.ended
        first, second = map(heard.count, answers)
        # It would have been 150 frames.
        self.assertLess(first, 100)
        self.assertEqual(heard.index(answers[1]), len(heard) - second)
        said = [int(line.split()[1]) for line in server.printed.splitlines() if "said" in line]
        self.assertEqual(len(said), 2)
        for samples in said:
            self.assertApproximates(samples / 8000, 0.3, 0.1)
        self.assertNotIn("Traceback", server.output)
        await server.stop()
