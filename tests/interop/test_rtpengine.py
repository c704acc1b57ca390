# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""rtpengine carries the media: what it hands out, moves, transcodes, records, and when it dies."""

from __future__ import annotations

import pathlib
import socket
import struct
from typing import Any

from twisted.internet.task import deferLater

from sipsess.engine import MediaEngineError, MediaOptions
from sipsess.engine.rtpengine import RTPEngine
from sipsess.flow import Address
from sipsess.sdp import parse
from sipsess.transport.engine import EngineSpec

from .peers import Peer, PeerTestCase, reactor, until
from .tools import free_port

HOST = "127.0.0.1"
PLAIN = MediaOptions()
#: Bytes of a packet of G.711: the header, and 20 ms.
PACKET = 172


class RTPEngineCase(PeerTestCase):
    """Starts rtpengine, in user space and on loopback addresses."""

    async def engine(self, *options: str) -> tuple[Peer, Address]:
        """Start one; return it and where its ng socket is."""
        self.require("rtpengine")
        port = free_port()
        command = ["rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--table=-1"]
        command += [f"--interface={HOST}", f"--listen-ng={HOST}:{port}", "--log-level=4"]
        command += ["--port-min=20000", "--port-max=29999", "--delete-delay=0", *options]
        peer = self.start("rtpengine", command)
        await peer.bound(port)
        return peer, (HOST, port)

    async def forgotten(self, engine: RTPEngine, *calls: str) -> None:
        """Check that no rtpengine has some calls any more, nor has our side."""
        self.assertEqual(engine.calls, ())
        for node in engine.nodes:
            for call_id in calls:
                reply = await node.request("query", {"call-id": call_id})
                self.assertEqual(reply.get(b"error-reason"), b"Unknown call-id")

    def connected(self, *addresses: Address, **options: Any) -> RTPEngine:
        """Return the media engine of a server that has some rtpengines."""
        self.server = self.serve(engine=EngineSpec(addresses, **options))
        engine = self.server.manager.media_engine
        assert isinstance(engine, RTPEngine)
        return engine


class Phone:
    """
    A UDP socket that sends and counts packets of one kind.

    :param test: closes it.
    :param payload_type: of what it sends.
    """

    def __init__(self, test: PeerTestCase, payload_type: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        test.addCleanup(self._socket.close)
        self._socket.bind((HOST, 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._type = payload_type
        self._number = 0
        #: The payload type of each packet that came.
        self.heard: list[int] = []

    def sdp(self, *rtpmaps: str) -> bytes:
        """Return its description."""
        maps = rtpmaps or ("0 PCMU/8000",)
        formats = " ".join(line.split()[0] for line in maps)
        rows = ["v=0", f"o=- 1 1 IN IP4 {HOST}", "s=-", f"c=IN IP4 {HOST}", "t=0 0"]
        rows += [f"m=audio {self.port} RTP/AVP {formats}", *(f"a=rtpmap:{row}" for row in maps)]
        return "\r\n".join([*rows, ""]).encode()

    def speak(self, port: int) -> None:
        """Send a packet."""
        self._number += 1
        header = struct.pack(
            "!BBHII", 0x80, self._type, self._number, self._number * 160, self.port
        )
        self._socket.sendto(header + bytes(PACKET - len(header)), (HOST, port))

    def listen(self) -> int:
        """Take what has come; return how much came until now."""
        try:
            while True:
                self.heard.append(self._socket.recv(2000)[1] & 0x7F)
        except BlockingIOError:
            return len(self.heard)


def port_of(description: bytes) -> int:
    """Return where audio shall be sent."""
    return parse(description).media[0].port


class MediaTests(RTPEngineCase):
    """Packets through a real one."""

    async def talk(self, **talking: tuple[Phone, int]) -> None:
        """Let each speak to a port until each has heard the others."""
        phones = [phone for phone, _ in talking.values()]
        for phone in phones:
            phone.listen()
            phone.heard.clear()
        for _ in range(100):
            for phone, port in talking.values():
                phone.speak(port)
            await deferLater(reactor, 0.02)
            if all(phone.listen() >= 3 for phone in phones):
                return
        self.fail(f"heard: { {name: phone.heard for name, (phone, _) in talking.items()} }")

    async def test_call(self) -> None:
        """Both hear each other by its ports; it counts the packets, and forgets the call."""
        _, address = await self.engine()
        engine = self.connected(address)
        near, far = Phone(self), Phone(self)
        to_far = port_of(await engine.offer("call", "near", near.sdp(), PLAIN))
        to_near = port_of(await engine.answer("call", "near", "far", far.sdp(), PLAIN))
        await self.talk(near=(near, to_near), far=(far, to_far))
        found = await engine.query("call")
        self.assertGreaterEqual(found.packets, 6)
        self.assertGreaterEqual(found.octets, 6 * PACKET)
        self.assertEqual(found.errors, 0)
        await engine.delete("call")
        await self.forgotten(engine, "call")

    async def test_moved(self) -> None:
        """Another answer of a fork, and a peer who takes a place, have the media of that side."""
        _, address = await self.engine()
        engine = self.connected(address)
        near, first, second, third = (Phone(self) for _ in range(4))
        to_far = port_of(await engine.offer("call", "near", near.sdp(), PLAIN))
        for phone in (first, second):
            to_near = port_of(await engine.answer("call", "near", "far", phone.sdp(), PLAIN))
            await self.talk(near=(near, to_near), far=(phone, to_far))
        to_near = port_of(await engine.offer("call", "far", third.sdp(), PLAIN))
        to_far = port_of(await engine.answer("call", "far", "near", near.sdp(), PLAIN))
        await self.talk(near=(near, to_near), far=(third, to_far))
        heard = (first.listen(), second.listen())
        await self.talk(near=(near, to_near), far=(third, to_far))
        self.assertEqual((first.listen(), second.listen()), heard)

    async def test_transcoded(self) -> None:
        """Who speaks mu-law only hears who speaks A-law only, when the engine may transcode."""
        _, address = await self.engine()
        engine = self.connected(address, transcode=("PCMA",))
        near, far = Phone(self, 0), Phone(self, 8)
        offer = await engine.offer("call", "near", near.sdp(), PLAIN)
        self.assertEqual(parse(offer).media[0].formats, ["0", "8"])
        answer = await engine.answer("call", "near", "far", far.sdp("8 PCMA/8000"), PLAIN)
        self.assertEqual(parse(answer).media[0].formats, ["0"])
        await self.talk(near=(near, port_of(answer)), far=(far, port_of(offer)))
        self.assertEqual((set(near.heard), set(far.heard)), ({0}, {8}))

    async def test_encrypted(self) -> None:
        """One side is offered SRTP with keys, the other one gets an answer without."""
        _, address = await self.engine()
        engine = self.connected(address)
        near, far = Phone(self), Phone(self)
        offer = parse(await engine.offer("call", "near", near.sdp(), MediaOptions("RTP/SAVP")))
        self.assertEqual(offer.media[0].proto, "RTP/SAVP")
        keys = offer.media[0].attributes.get_all("crypto")
        [key] = [line for line in keys if "AES_CM_128_HMAC_SHA1_80" in line]
        secured = far.sdp().replace(b"RTP/AVP", b"RTP/SAVP") + f"a=crypto:{key}\r\n".encode()
        answer = parse(await engine.answer("call", "near", "far", secured, PLAIN))
        self.assertEqual(answer.media[0].proto, "RTP/AVP")
        self.assertNotIn("crypto", answer.media[0].attributes)

    async def test_recorded(self) -> None:
        """A call is recorded into the directory of the engine: each, or while it is wanted."""
        folder = self.folder / "recordings"
        folder.mkdir()
        _, address = await self.engine(f"--recording-dir={folder}", "--recording-method=pcap")
        for records in (True, False):
            engine = self.connected(address, records=records)
            call_id = f"call-{records}"
            near, far = Phone(self), Phone(self)
            to_far = port_of(await engine.offer(call_id, "near", near.sdp(), PLAIN))
            to_near = port_of(await engine.answer(call_id, "near", "far", far.sdp(), PLAIN))
            if not records:
                await engine.start_recording(call_id)
            await self.talk(near=(near, to_near), far=(far, to_far))
            if not records:
                await engine.stop_recording(call_id)
            await engine.delete(call_id)
            recording = await self.recording_of(call_id, folder)
            self.assertGreater(recording.stat().st_size, 3 * PACKET)

    async def recording_of(self, call_id: str, folder: pathlib.Path) -> pathlib.Path:
        """Return the recording of a call, as soon as it is written."""
        await until(
            lambda: any(folder.rglob(f"{call_id}-*.pcap")), lambda: str(list(folder.rglob("*")))
        )
        [found] = folder.rglob(f"{call_id}-*.pcap")
        return found

    async def test_refused(self) -> None:
        """What it cannot read it refuses, with its words."""
        _, address = await self.engine()
        engine = self.connected(address)
        failure = await self.assertFailure(
            engine.offer("call", "near", b"no description", PLAIN), MediaEngineError
        )
        self.assertIn("Failed to parse SDP", str(failure))
        self.assertEqual(self.server.core.counters.refused, {"engine-refused": 1})
        await engine.delete("call")
