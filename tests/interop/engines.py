# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A real rtpengine for tests."""

from __future__ import annotations

from typing import Any

from sipsess.engine.rtpengine import RTPEngine
from sipsess.flow import Address
from sipsess.transport.engine import EngineSpec

from .peers import Peer
from .sipp import ScenarioTestCase
from .tools import free_port

#: Where it listens.
HOST = "127.0.0.1"


class RTPEngineCase(ScenarioTestCase):
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
