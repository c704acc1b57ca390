# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIPp calls our server, and is called by it."""

from __future__ import annotations

import os
import sys

from sipsess.applications.echo import EchoApplication
from sipsess.media import PCMA
from sipsess.media.codecs import SAMPLE_RATE
from tests.pure.signals import rms
from tests.pure.speech import correlation, find_delay

from .peers import Capture, Peer, PeerTestCase, sip_port
from .tools import (
    ROOT,
    SIPP_MEDIA,
    Statistics,
    free_port,
    phone_command,
    read_statistics,
    uac_command,
)

#: Seconds by which the echo of a recording may be behind, at most.
LONGEST = 1.0
#: How often SIPp may try until no message was sent twice: a busy machine delays us, too.
RUNS = 3


class LoadTests(PeerTestCase):
    """SIPp's basic calls, 100 of them a second."""

    calls = 10_000 if os.environ.get("SIPSESS_LONG") else 1_000
    rate = 100
    timeout = 600 if os.environ.get("SIPSESS_LONG") else 120

    async def run_calls(self, port: int, run: int) -> Statistics:
        """Let SIPp call; check that no call failed."""
        path = self.folder / f"statistics-{run}.csv"
        sipp = self.start("sipp", uac_command(port, self.calls, self.rate, path))
        status = await sipp.ended(self.timeout)
        found = read_statistics(path)
        sys.stdout.write(f"\n    run {run + 1} of SIPp: {found} ")
        self.assertEqual((found.failed, found.successful), (0, self.calls), sipp.tail())
        self.assertEqual(status, 0, sipp.tail())
        return found

    async def test_thousand_calls(self) -> None:
        """No call fails, nothing is sent twice, nothing is left, and SIGTERM ends it with 0."""
        self.require("sipp")
        control = self.folder / "control.sock"
        server, port = await self.start_server("--control", str(control))
        retransmissions = []
        for run in range(RUNS):
            found = await self.run_calls(port, run)
            retransmissions.append(found.retransmissions)
            if not found.retransmissions:
                break
        self.assertEqual(retransmissions[-1], 0, f"retransmissions in each run: {retransmissions}")
        await self.check_nothing_left(server, port, str(control))
        self.assertEqual(await server.stop(), 0, server.tail())
        self.assertNotIn("Traceback", server.output)


class MediaTests(PeerTestCase):
    """SIPp plays a recording."""

    async def test_recording_comes_back(self) -> None:
        """The speech of ``uac_pcap`` comes back unchanged, and its key as RTP events (RFC 4733)."""
        self.require("sipp", "tshark")
        if os.getuid() != 0:
            self.miss("SIPp plays recordings through a raw socket, which only root may open")
        (self.folder / "pcap").symlink_to(SIPP_MEDIA)
        first_rtp, media = free_port(), free_port()
        server = self.serve(EchoApplication(), rtp_ports=(first_rtp, first_rtp))
        port = sip_port(server)
        capture = Capture(self, port, f"udp port {port} or udp port {media}")
        await capture.begin()
        command = ["sipp", "-sn", "uac_pcap", f"127.0.0.1:{port}", "-i", "127.0.0.1"]
        command += ["-p", str(free_port()), "-mp", str(media), "-m", "1", "-nostdin"]
        sipp = self.start("sipp", command)
        self.assertEqual(await sipp.ended(), 0, sipp.tail())
        await self.quiet(server)
        await capture.end()
        audio = "rtp.p_type == 8 && udp.dstport == {}"
        played = await capture.read(audio.format(first_rtp), "rtp.payload")
        heard = await capture.read(audio.format(media), "rtp.payload")
        self.assertGreater(len(played), 200)
        self.assertGreaterEqual(len(heard), len(played) * 0.95)
        contents = {payload for [payload] in played}
        unknown = [payload for [payload] in heard if payload not in contents]
        self.assertLess(len(unknown), len(heard) * 0.05)
        await self.check_signal(capture, audio.format(first_rtp), audio.format(media))
        event = f"rtpevent.event_id == 1 && udp.dstport == {media}"
        ends = await capture.read(f"{event} && rtpevent.end_of_event == 1", "rtp.timestamp")
        self.assertEqual(len(ends), 3, "RFC 4733 2.5.1.4: the end is sent three times")
        self.assertEqual(await capture.problems(port, first_rtp), [])

    async def check_signal(self, capture: Capture, played: str, heard: str) -> None:
        """Check that the sound that was played came back: alike to 0.95, as loud, in its time."""
        fields = ("rtp.payload", "rtp.timestamp")
        said = _sound(await capture.read(played, *fields))
        came = _sound(await capture.read(heard, *fields))
        second = 2 * SAMPLE_RATE
        delay = find_delay(said[second : 2 * second], came[second : 3 * second], LONGEST)
        at = second + 2 * round(delay * SAMPLE_RATE)
        for begin in range(0, len(said) - at - second, second):
            piece, other = said[second + begin :][:second], came[at + begin :][:second]
            self.assertGreater(correlation(piece, other), 0.95, begin)
            self.assertLess(abs(rms(piece) - rms(other)), 0.5, begin)


def _sound(packets: list[list[str]]) -> bytes:
    """Return the sound of captured A-law, each packet where its timestamp says."""
    first = int(packets[0][1])
    sound = bytearray()
    for payload, timestamp in packets:
        pcm = PCMA.decode(bytes.fromhex(payload))
        begin = 2 * ((int(timestamp) - first) & 0xFFFFFFFF)
        sound[len(sound) : begin] = bytes(max(0, begin - len(sound)))
        sound[begin : begin + len(pcm)] = pcm
    return bytes(sound)


class DialTests(PeerTestCase):
    """We call SIPp."""

    async def answering(self, calls: int) -> tuple[Peer, int]:
        """Start SIPp as the callee of so many calls; return its port too."""
        self.require("sipp")
        port = free_port()
        command = ["sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(port)]
        command += ["-mp", str(free_port()), "-m", str(calls), "-nostdin"]
        sipp = self.start("sipp", command)
        await sipp.bound(port)
        return sipp, port

    async def test_dial(self) -> None:
        """Calls are answered and hung up; for SIPp each went as its scenario says."""
        sipp, port = await self.answering(50)
        server = self.serve()
        calls = [server.dial(f"sip:service@127.0.0.1:{port}") for _ in range(50)]
        for deferred in calls:
            call = await deferred
            self.assertTrue(call.is_answered)
            self.assertIsNotNone(call.audio)
            await call.hangup()
        await self.quiet(server)
        self.assertEqual(await sipp.ended(), 0, sipp.tail())

    async def test_command(self) -> None:
        """``sipsess call`` calls SIPp and hangs up after its time."""
        sipp, port = await self.answering(1)
        command = phone_command(f"sip:service@127.0.0.1:{port}", "--duration", "1")
        phone = self.start("sipsess call", command, ROOT)
        self.assertEqual(await phone.ended(), 0, phone.tail())
        self.assertRegex(phone.printed, "answered, ended by this side after 1")
        self.assertEqual(await sipp.ended(), 0, sipp.tail())
