# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTCP with baresip: both tell each other what they hear, and tshark reads what we tell."""

from __future__ import annotations

from sipsess.applications.echo import EchoApplication

from .peers import Capture, PeerTestCase, sip_port, start_baresip, until
from .sounds import write_tone
from .tools import free_port


class ReportTests(PeerTestCase):
    """A call that lasts for a report of each side."""

    async def exchange(self, *, has_mux: bool) -> tuple[str, list[list[str]]]:
        """
        Let both report.

        :return: the record's last line on the audio, and the ports from and to which our reports
            went.
        """
        self.require("baresip", "tshark")
        phone = await start_baresip(self, write_tone(self.folder), has_mux=has_mux)
        media = free_port() & ~1
        server = self.serve(EchoApplication(), rtp_ports=(media, media + 1))
        port = sip_port(server)
        ports = f"udp port {port} or udp port {media} or udp port {media + 1}"
        capture = Capture(self, port, ports)
        await capture.begin()
        await phone.control.command("dial", f"sip:echo@127.0.0.1:{port}")
        await phone.control.expect("CALL_ESTABLISHED")
        [session] = server.manager.sessions
        audio = session.channel.audio if session.channel else None
        assert audio is not None
        await until(
            lambda: audio.statistics().round_trip_ms is not None,
            lambda: f"no round trip in {audio.statistics()}:\n{phone.process.tail()}",
        )
        told = await phone.control.expect("CALL_RTCP")
        self.assertIn("rtcp_stats", told)
        self.assertLess(audio.statistics().round_trip_ms or 0.0, 1000.0)
        await phone.control.command("hangup")
        await self.quiet(server)
        await capture.end()
        ours = f"rtcp && udp.srcport in {{{media}, {media + 1}}}"
        rows = await capture.read(ours, "udp.srcport", "udp.dstport")
        kinds = await capture.read(ours, "rtcp.pt", "rtcp.sdes.text")
        self.assertTrue(any(row[0].startswith("200,202") for row in kinds), kinds)
        self.assertTrue(any("203" in row[0] for row in kinds), kinds)
        self.assertEqual(await capture.problems(port, media), [])
        lines = [line for line in session.record.lines() if " audio " in line]
        shift = [[str(int(row[0]) - media), str(int(row[1]) % 2)] for row in rows]
        return lines[-1], shift

    async def test_port_beside(self) -> None:
        """Reports go from odd port to odd port (RFC 3550 section 11)."""
        line, ports = await self.exchange(has_mux=False)
        self.assertRegex(line, r"the peer lost \d+ \(\d+\.\d%\), jitter .*; round trip \d+ ms$")
        self.assertEqual({tuple(row) for row in ports}, {("1", "1")})

    async def test_shared_port(self) -> None:
        """With rtcp-mux reports share the port of the audio (RFC 5761)."""
        line, ports = await self.exchange(has_mux=True)
        self.assertRegex(line, r"the peer lost \d+ \(\d+\.\d%\), jitter .*; round trip \d+ ms$")
        self.assertEqual({tuple(row) for row in ports}, {("0", "0")})
