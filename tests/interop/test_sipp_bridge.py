# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIPp calls SIPp by way of our application ``dial``."""

from __future__ import annotations

import os

from sipsess.applications.dial import DialApplication, DialOptions

from .peers import PATIENCE, Peer, sip_port
from .sipp import LIMIT, ScenarioTestCase
from .tools import free_port

#: Calls, and how many of them begin in a second.
COUNT = 500 if os.environ.get("SIPSESS_LONG") else 60
RATE = 40


class BridgeTests(ScenarioTestCase):
    """Many calls at a time."""

    def sipp(self, name: str, port: int, *options: str) -> Peer:
        """Start one of SIPp's own scenarios."""
        self.require("sipp")
        command = ["sipp", "-sn", name, "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
        command += ["-mp", str(free_port()), "-m", str(COUNT), "-timeout", f"{LIMIT}s"]
        return self.start(name, [*command, "-timeout_error", *options])

    async def test_calls(self) -> None:
        """Each call goes through and is hung up on the other side, and nothing is left."""
        port = free_port()
        uas = self.sipp("uas", port)
        await uas.bound(port)
        target = f"sip:{{dialled}}@127.0.0.1:{port}"
        server = self.serve_all(DialApplication(DialOptions(target)))
        rate = ("-r", str(RATE), "-d", "200", "-s", "bob")
        uac = self.sipp("uac", free_port(), f"127.0.0.1:{sip_port(server)}", *rate)
        for sipp in (uac, uas):
            self.assertEqual(await sipp.ended(LIMIT + PATIENCE), 0, sipp.tail())
        self.assertEqual(server.core.counters.sessions_answered, 2 * COUNT)
        await self.quiet(server)
