# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""rtpengine carries the media: what it hands out, moves, transcodes, records, and when it dies."""

from __future__ import annotations

import os
import pathlib
import socket
import struct
from typing import Any

from twisted.internet.task import deferLater

from sipsess.applications.b2bua import B2BUAApplication, BridgeOptions
from sipsess.applications.dial import DialApplication, DialOptions
from sipsess.applications.early import EarlyApplication
from sipsess.applications.echo import EchoApplication
from sipsess.applications.ring import RingApplication
from sipsess.engine import REASONS, MediaEngineError, MediaOptions
from sipsess.engine.rtpengine import RTPEngine
from sipsess.flow import Address
from sipsess.sdp import parse
from sipsess.transport.engine import EngineSpec

from .engines import HOST, RTPEngineCase
from .peers import PATIENCE, Peer, PeerTestCase, reactor, sip_port, until
from .tools import SIPP_MEDIA, free_port

PLAIN = MediaOptions()
#: Calls without media, one after the other.
SHORT_CALLS = 500 if os.environ.get("SIPSESS_LONG") else 10
#: Calls with media at a time.
CALLS = 20 if os.environ.get("SIPSESS_LONG") else 5
#: Bytes of a packet of G.711: the header, and 20 ms.
PACKET = 172


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


class CallTests(RTPEngineCase):
    """SIPp calls SIPp by way of ``dial``; only the configuration says that there is an engine."""

    async def start_calls(self, *addresses: Address) -> RTPEngine:
        """Start a callee that echoes, and the server between."""
        self.require("sipp")
        port = free_port()
        command = ["sipp", "-sn", "uas", "-i", HOST, "-p", str(port), "-nostdin", "-rtp_echo"]
        await self.start("uas", [*command, "-mp", str(free_port())]).bound(port)
        dial = DialApplication(DialOptions(f"sip:{{dialled}}@{HOST}:{port}"))
        self.server = self.serve_all(dial, engine=EngineSpec(addresses))
        engine = self.server.manager.media_engine
        assert isinstance(engine, RTPEngine)
        return engine

    def caller(self, *options: str) -> Peer:
        """Start a caller."""
        command = ["sipp", f"{HOST}:{sip_port(self.server)}", "-i", HOST, "-p", str(free_port())]
        command += ["-mp", str(free_port()), "-nostdin", "-timeout", "20s", "-timeout_error"]
        return self.start("uac", [*command, *options])

    async def test_media(self) -> None:
        """A recording goes there by rtpengine and comes back; nothing is left anywhere."""
        _, address = await self.engine()
        if os.getuid() != 0:
            self.miss("SIPp plays recordings through a raw socket, which only root may open")
        (self.folder / "pcap").symlink_to(SIPP_MEDIA)
        engine = await self.start_calls(address)
        uac = self.caller("-sn", "uac_pcap", "-m", str(CALLS), "-r", "10")
        await until(lambda: len(engine.calls) == CALLS, uac.tail)
        calls = engine.calls
        heard = [0]
        while min(heard) < 50:
            await deferLater(reactor, 0.1)
            heard = [number for call_id in calls for number in await self.heard(engine, call_id)]
        self.assertEqual(len(heard), 2 * CALLS)
        self.assertEqual(await uac.ended(), 0, uac.tail())
        await self.quiet(self.server)
        await self.forgotten(engine, *calls)
        self.assertEqual(self.server.core.counters.refused, {})
        self.assertEqual(self.server.core.counters.rtp_received, 0)

    async def heard(self, engine: RTPEngine, call_id: str) -> list[int]:
        """Return how many packets came from either side of a call."""
        reply: Any = await engine.nodes[0].request("query", {"call-id": call_id})
        sides = [side[b"medias"][0][b"streams"][0] for side in reply[b"tags"].values()]
        return [side[b"stats"][b"packets"] for side in sides]

    async def test_failover(self) -> None:
        """When one dies the other one has the calls; without any they are refused with 503."""
        (first, second), addresses = zip(*[await self.engine() for _ in range(2)], strict=True)
        engine = await self.start_calls(*addresses)
        await first.stop()
        uac = self.caller("-sn", "uac", "-m", str(SHORT_CALLS), "-r", "40")
        self.assertEqual(await uac.ended(PATIENCE), 0, uac.tail())
        await self.quiet(self.server)
        self.assertEqual(engine.calls, ())
        await second.stop()
        uac = self.caller("-sn", "uac", "-m", "1")
        self.assertNotEqual(await uac.ended(), 0, uac.tail())
        self.assertIn("503", uac.output)
        await self.quiet(self.server)
        self.assertIn("engine-down", self.server.core.counters.refused)

    async def test_scenarios(self) -> None:
        """Hold, early media and CANCEL go by it, whoever connects; then it has no call left."""
        _, address = await self.engine()
        held = {"direction": "sendonly", "answer": "recvonly", "address": HOST}
        for scenario, application, keys in (
            ("uac_hold.xml", EchoApplication(), held),
            ("uac_prack.xml", EarlyApplication(0.1), {}),
            ("uac_cancel.xml", RingApplication(30), {}),
            ("uac_cancel_too_late.xml", EchoApplication(), {}),
        ):
            far = self.serve_all(application)
            target = f"sip:{{dialled}}@{HOST}:{sip_port(far)}"
            for between in (
                DialApplication(DialOptions(target)),
                B2BUAApplication(BridgeOptions((target,))),
            ):
                near = self.serve_all(between, engine=EngineSpec((address,)))
                engine = near.manager.media_engine
                assert isinstance(engine, RTPEngine)
                await self.calls(near, scenario, **keys)
                await self.quiet(far)
                self.assertEqual(engine.calls, ())
                refused = near.core.counters.refused
                self.assertEqual([code for code in refused if code in REASONS], [])
