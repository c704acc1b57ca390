# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls through kamailio, a proxy that records its route; see ``kamailio_proxy.cfg``."""

from __future__ import annotations

import pathlib

from sipsess.registrar import RegistrarOptions
from sipsess.server import SIPServer

from .desk import Desk
from .peers import sip_port
from .sipp import ScenarioTestCase
from .tools import free_port

#: Lets SIPp speak TCP.
TCP = ("-t", "t1")


class ProxyTests(ScenarioTestCase):
    """SIPp and we, with a proxy between us."""

    async def start_proxy(self, server: int, callee: int = 9) -> int:
        """
        Start kamailio; return its port.

        :param server: the port of our server.
        :param callee: where the user "sipp" is.
        """
        self.require("kamailio")
        port = free_port()
        text = pathlib.Path(__file__).with_name("kamailio_proxy.cfg").read_text()
        for name, number in (("PORT", port), ("SERVER", server), ("CALLEE", callee)):
            text = text.replace(f"@{name}@", str(number))
        configuration = self.folder / "kamailio.cfg"
        configuration.write_text(text)
        command = ["kamailio", "-f", str(configuration), "-DD", "-E", "-m", "16", "-M", "8"]
        command += ["-Y", str(self.folder), "-P", str(self.folder / "kamailio.pid")]
        proxy = self.start("kamailio", command)
        await proxy.bound(port)
        return port

    async def _called(self, *options: str) -> None:
        """Let SIPp call us through the proxy, hold it, and let it hang up."""
        desk = Desk()
        server = self.serve_all(desk)

        async def story() -> None:
            call = await desk.answered()
            response = await call.session.hold()
            self.assertEqual(response.status, 200)
            await call.ended

        port = await self.start_proxy(sip_port(server))
        await self.calls_port(port, "uac_proxied.xml", story, options=options)
        await self.quiet(server)

    async def test_called_over_udp(self) -> None:
        """Our hold and SIPp's BYE go through the proxy."""
        await self._called()

    async def test_called_over_tcp(self) -> None:
        """SIPp speaks TCP: the proxy names itself twice, once for each side of it."""
        await self._called(*TCP)

    async def test_calling(self) -> None:
        """Our ACK, hold and BYE go through the proxy."""
        await self._calling()

    async def test_calling_over_tcp(self) -> None:
        """We speak TCP to the proxy, which speaks UDP to SIPp; no byte of ours goes another way."""
        server = await self._calling(";transport=tcp")
        [listener] = server.listeners
        self.assertEqual(listener.kind, "UDP")
        self.assertEqual(len(server.connections), 1)

    async def _calling(self, suffix: str = "") -> SIPServer:
        """Call SIPp through the proxy, hold it, and hang up; return our server."""
        server = self.serve_all()
        port = free_port()
        proxy = await self.start_proxy(sip_port(server), port)

        async def story(uri: str) -> None:
            call = await server.dial(f"sip:sipp@127.0.0.1:{proxy}{suffix}")
            response = await call.session.hold()
            self.assertEqual(response.status, 200)
            await call.hangup()

        await self.called(server, "uas_proxied.xml", story, port=port)
        return server

    async def test_registered(self) -> None:
        """A phone registers through the proxy, and is called through it (RFC 3327)."""
        server = self.serve_all()
        server.users.add_registrar(RegistrarOptions(admits_anybody=True)).start()
        proxy, phone = await self.start_proxy(sip_port(server)), free_port()

        async def story(uri: str) -> None:
            await self.calls_port(proxy, "reg_proxied.xml", phone=str(phone))
            call = await server.users.dial("sipp")
            response = await call.session.hold()
            self.assertEqual(response.status, 200)
            await call.hangup()

        await self.called(server, "uas_proxied.xml", story, port=phone)
