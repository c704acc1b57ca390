# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIPp calls SIPp by way of our back-to-back user agent, and nothing is left behind."""

from __future__ import annotations

import os

from sipsess.applications.b2bua import B2BUAApplication
from sipsess.applications.b2bua_options import BridgeOptions
from sipsess.engine import REASONS
from sipsess.engine.rtpengine import RTPEngine
from sipsess.routing import Route, Router
from sipsess.server import SIPServer
from sipsess.transaction import Timing
from sipsess.transport.engine import EngineSpec

from .engines import RTPEngineCase
from .peers import PATIENCE, Peer, sip_port, until
from .sipp import LIMIT
from .tools import free_port

IS_LONG = bool(os.environ.get("SIPSESS_LONG"))
#: Calls of each scenario, of which there are five, and how many begin in a second.
COUNT = 100 if IS_LONG else 5
RATE = 10
#: Plain calls.
MANY = 500 if IS_LONG else 60
#: Caller and callee of each story, when descriptions go across.
ACROSS = {
    "hold": ("b2b_near_hold.xml", "b2b_far_hold.xml"),
    "glare": ("b2b_near_glare_across.xml", "b2b_far_glare.xml"),
    "cancel": ("uac_cancel.xml", "b2b_far_cancel.xml"),
    "late": ("b2b_near_late.xml", "b2b_far_late.xml"),
    "refer": ("uac_refer.xml", "b2b_far_stays.xml"),
}
#: Transactions are over after some seconds, and not after 32.
TIMING = Timing(t1=0.05, t2=0.4, t4=0.5)


class BridgeTests(RTPEngineCase):
    """Many calls at a time."""

    def setUp(self) -> None:
        """Know nobody yet."""
        super().setUp()
        self.peers: list[Peer] = []

    def callee(self, scenario: str, count: int = COUNT) -> int:
        """Let SIPp be called; return its port. Without a scenario it is SIPp's own ``uas``."""
        port = free_port()
        limits = ("-m", str(count), "-timeout", f"{2 * LIMIT + COUNT // 10}s")
        if scenario:
            self.peers.append(self._play(scenario, port, limits, {}))
        else:
            self.require("sipp")
            command = ["sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
            self.peers.append(self.start("uas", [*command, "-mp", str(free_port()), *limits]))
        return port

    def caller(self, server: SIPServer, user: str, scenario: str, **keys: str) -> None:
        """Let SIPp call a user."""
        options = ("-m", str(COUNT), "-r", str(RATE), "-s", user)
        limits = ("-timeout", f"{2 * LIMIT + COUNT // 10}s")
        target = f"127.0.0.1:{sip_port(server)}"
        self.peers.append(self._play(scenario, free_port(), (target, *options, *limits), keys))

    async def bridge(
        self,
        media: str,
        stories: dict[str, tuple[str, str]],
        target: str,
        engine: EngineSpec | None = None,
    ) -> SIPServer:
        """
        Play caller and callee of each story at once, and wait until nothing is left.

        :param stories: the caller's scenario and the callee's, by name.
        :param target: the scenario of whom ``refer`` leads to.
        """
        routes = []
        for name, (_, callee) in stories.items():
            port = self.callee(callee)
            await self.peers[-1].bound(port)
            how = BridgeOptions(targets=(f"sip:{{dialled}}@127.0.0.1:{port}",), media=media)  # type: ignore[arg-type]
            routes.append(Route(B2BUAApplication().with_options(how), user=name))
        server = self.serve_all(B2BUAApplication(), timing=TIMING, engine=engine)
        server.manager.router = Router(routes)
        for name, (caller, _) in stories.items():
            keys = {}
            if name == "refer":
                third = self.callee(target)
                await self.peers[-1].bound(third)
                keys["target"] = f"127.0.0.1:{third}"
            self.caller(server, name, caller, **keys)
        for sipp in self.peers:
            status = await sipp.ended(2 * LIMIT + COUNT // 10 + PATIENCE)
            self.assertEqual(status, 0, "\n".join([sipp.name, *self._what_sipp_says(sipp)]))
        await self.nothing_left(server)
        return server

    async def nothing_left(self, server: SIPServer) -> None:
        """Wait until no leg, no port, no transaction and no timer is there any more."""
        await until(lambda: not server.leftovers(), lambda: f"left: {server.leftovers()}")
        counters = server.core.counters
        self.assertEqual(counters.sessions_begun, counters.sessions_ended)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_through_the_server(self) -> None:
        """Hold, glare, CANCEL, a late offer and a transfer, media relayed."""
        await self.bridge(
            "relay",
            {
                "hold": ("b2b_near_hold.xml", "b2b_far_hold.xml"),
                "glare": ("b2b_near_glare.xml", "b2b_far_glare.xml"),
                "cancel": ("uac_cancel.xml", "b2b_far_cancel.xml"),
                "late": ("b2b_near_late.xml", ""),
                "refer": ("uac_refer.xml", "b2b_far_plain.xml"),
            },
            "b2b_far_third.xml",
        )

    async def test_from_peer_to_peer(self) -> None:
        """The same, media left to the peers."""
        await self.bridge("passthrough", ACROSS, "b2b_far_third_across.xml")

    async def test_by_rtpengine(self) -> None:
        """The same, media carried by rtpengine, which has no call left then."""
        _, address = await self.engine()
        spec = EngineSpec((address,))
        server = await self.bridge("engine", ACROSS, "b2b_far_third_across.xml", spec)
        engine = server.manager.media_engine
        assert isinstance(engine, RTPEngine)
        self.assertEqual(engine.calls, ())
        self.assertEqual([code for code in server.core.counters.refused if code in REASONS], [])

    async def test_many(self) -> None:
        """Each plain call goes through and is hung up on the other side."""
        port = self.callee("", MANY)
        await self.peers[-1].bound(port)
        how = BridgeOptions(targets=(f"sip:{{dialled}}@127.0.0.1:{port}",))
        server = self.serve_all(B2BUAApplication().with_options(how), timing=TIMING)
        command = ["sipp", "-sn", "uac", f"127.0.0.1:{sip_port(server)}", "-i", "127.0.0.1"]
        command += ["-p", str(free_port()), "-mp", str(free_port()), "-m", str(MANY), "-nostdin"]
        command += ["-r", "40", "-d", "200", "-s", "bob", "-timeout", f"{LIMIT}s"]
        self.peers.append(self.start("uac", [*command, "-timeout_error"]))
        for sipp in self.peers:
            self.assertEqual(await sipp.ended(LIMIT + PATIENCE), 0, sipp.tail())
        self.assertEqual(server.core.counters.sessions_answered, 2 * MANY)
        await self.nothing_left(server)
