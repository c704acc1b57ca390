# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The server on the reactor of asyncio, with the application that the documentation shows."""

from __future__ import annotations

import sys

from tests.examples import write_files
from tests.source import ROOT

from .peers import PeerTestCase
from .tools import LISTENING, phone_command

PAGE = ROOT / "docs" / "how-to" / "use-asyncio.rst"


class AsyncioTests(PeerTestCase):
    """``twistd --reactor asyncio sipsess``."""

    async def test_parrot(self) -> None:
        """The caller hears himself by way of asyncio; hanging up is no failure of the task."""
        write_files(PAGE, self.folder)
        program = "from twisted.scripts.twistd import run; run()"
        command = [
            *(sys.executable, "-u", "-c", program, "-n", "--pidfile=", "--reactor", "asyncio"),
            *("sipsess", "--listen", "udp:0:interface=127.0.0.1", "--application", "parrot"),
            *("--plugin-dir", str(self.folder / "plugins")),
            *("--control", str(self.folder / "control.sock")),
        ]
        server = self.start("sipsess", command, ROOT)
        found = await server.expect(LISTENING)
        uri = f"sip:parrot@127.0.0.1:{found[1]}"
        phone = self.start("phone", phone_command(uri, "--duration", "2"), ROOT)
        self.assertEqual(await phone.ended(), 0, phone.output)
        heard = float(phone.output.rpartition("heard ")[2].split()[0])
        self.assertGreater(heard, 0.4)
        self.assertEqual(await server.stop(), 0)
        self.assertNotIn("Traceback", server.output)
        self.assertNotIn("failed", server.output)
