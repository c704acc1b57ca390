# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A call by name, with a real name server on loopback: NAPTR, SRV, aliases and failover."""

from __future__ import annotations

import pathlib
from typing import Any

from twisted.internet import reactor as the_reactor  # noqa: TID251  trial's own, real sockets
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from sipsess.applications.echo import EchoApplication
from sipsess.flow import Address
from sipsess.locating import (
    Answer,
    CachingResolver,
    Locator,
    LookupFailed,
    Question,
    Target,
    UnreachableError,
)
from sipsess.locating.names import NEGATIVE_TTL, SystemResolver
from sipsess.locating.records import MAX_RECORDS
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer

reactor: Any = the_reactor
HERE = "127.0.0.1"
SOA = dns.Record_SOA(
    mname=b"ns.pbx.example",
    rname=b"root.pbx.example",
    serial=1,
    refresh=3600,
    retry=600,
    expire=86400,
    minimum=300,
    ttl=120,
)


class Zone(FileAuthority):
    """An authority whose records a test gives."""

    def __init__(self, records: dict[bytes, list[Any]]) -> None:
        self._given = {name.lower(): items for name, items in records.items()}
        FileAuthority.__init__(self, "")

    def loadFile(self, filename: str) -> None:
        """Take what was given; there is no file."""
        # Twisted declares both as None.
        this: Any = self
        this.soa = (b"pbx.example", SOA)
        this.records = {b"pbx.example": [SOA], **self._given}


class Silent(DatagramProtocol):
    """A server that answers nothing, and counts."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.came: Deferred[bytes] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Count."""
        self.received.append(datagram)
        if not self.came.called:
            self.came.callback(datagram)


class NameServerTests(TestCase):
    """What the default resolver makes of a real name server's answers."""

    timeout = 30

    def serve_names(self, records: dict[bytes, list[Any]]) -> None:
        """Start the name server, and a resolver that asks it."""
        factory = DNSServerFactory(authorities=[Zone(records)])
        factory.noisy = False
        protocol = dns.DNSDatagramProtocol(factory)
        protocol.noisy = False
        udp = reactor.listenUDP(0, protocol, interface=HERE)
        tcp = reactor.listenTCP(udp.getHost().port, factory, interface=HERE)
        self.addCleanup(udp.stopListening)
        self.addCleanup(tcp.stopListening)
        hosts = pathlib.Path(self.mktemp())
        hosts.write_text("127.0.0.9 listed.example\n")
        self.address: Address = (HERE, udp.getHost().port)
        self.names = SystemResolver(reactor, servers=[self.address], hosts=str(hosts))
        self.resolver = CachingResolver(self.names, reactor.seconds)

    def serve_calls(self) -> SIPServer:
        """Start a server that echoes; return it."""
        return self.start(applications=[EchoApplication()], application="echo")

    def start(self, **options: Any) -> SIPServer:
        """Start a server on a free port."""
        server = SIPServer(
            reactor,
            [f"udp:0:interface={HERE}"],
            handlers=[AudioHandler()],
            resolver=getattr(self, "resolver", None),
            **options,
        )
        server.startService()
        self.addCleanup(server.stopService)
        return server

    def records(self, *ports: int) -> dict[bytes, list[Any]]:
        """Return the records of a domain with a server on each port, in this order of priority."""
        return {
            b"pbx.example": [
                SOA,
                dns.Record_NAPTR(10, 1, b"s", b"SIPS+D2T", b"", b"_sips._tcp.pbx.example", ttl=60),
                dns.Record_NAPTR(20, 1, b"s", b"SIP+D2U", b"", b"_sip._udp.pbx.example", ttl=60),
            ],
            b"_sip._udp.pbx.example": [
                dns.Record_SRV(priority, 10, port, b"gate.pbx.example", ttl=60)
                for priority, port in enumerate(ports)
            ],
            b"gate.pbx.example": [dns.Record_CNAME(b"host.pbx.example", ttl=60)],
            b"host.pbx.example": [dns.Record_A(HERE, ttl=45)],
            b"many.pbx.example": [dns.Record_A(f"127.0.1.{n}", ttl=60) for n in range(1, 200)],
        }

    async def test_call(self) -> None:
        """A call to a domain finds its server by NAPTR, SRV and an alias."""
        server = self.serve_calls()
        self.serve_names(self.records(server.listeners[0].address[1]))
        call = await self.start().dial("sip:anybody@pbx.example")
        self.assertEqual(call.session.flow.remote, server.listeners[0].address)
        await call.hangup()

    async def test_failover(self) -> None:
        """A server that refuses with 503 is passed over for the next one."""
        busy, server = self.serve_calls(), self.serve_calls()
        busy.manager.max_sessions = 0
        self.serve_names(self.records(*(item.listeners[0].address[1] for item in (busy, server))))
        call = await self.start().dial("sip:anybody@pbx.example")
        self.assertEqual(call.session.flow.remote, server.listeners[0].address)
        self.assertEqual(busy.core.counters.refused["sessions-full"], 1)
        await call.hangup()

    async def test_targets(self) -> None:
        """The targets bear the name that was asked for; a second search asks nobody."""
        self.serve_names(self.records(5070))
        locator = Locator(self.resolver, lambda: {"UDP"}, reactor, self.start().core.ids.random)
        targets = await locator.locate("sip:anybody@PBX.example")
        self.assertEqual(targets, [Target("UDP", HERE, 5070, "pbx.example")])
        self.names.lookup = None  # type: ignore[method-assign, assignment]
        self.assertEqual(await locator.locate("sip:anybody@pbx.example"), targets)

    async def test_truncated_answer(self) -> None:
        """An answer that is too long for a datagram comes over TCP."""
        self.serve_names(self.records())
        answer = await self.names.lookup(Question("A", "many.pbx.example"))
        self.assertEqual(len(answer.records), 4 * MAX_RECORDS)
        for connection in self.names._client.connections:
            connection.transport.loseConnection()

    async def test_nothing(self) -> None:
        """What is not there is certain for as long as the SOA says, if there is one."""
        self.serve_names(self.records(5070))
        answer = await self.names.lookup(Question("AAAA", "host.pbx.example"))
        self.assertEqual(answer, Answer((), 45.0))
        answer = await self.names.lookup(Question("A", "none.pbx.example"))
        self.assertEqual(answer, Answer((), NEGATIVE_TTL))
        client = self.start()
        with self.assertRaises(UnreachableError) as caught:
            await client.dial("sip:anybody@none.pbx.example")
        self.assertEqual(str(caught.exception), "the name none.pbx.example is not known")

    async def test_hosts_file(self) -> None:
        """The hosts file comes before the name server."""
        self.serve_names(self.records(5070))
        answer = await self.names.lookup(Question("A", "listed.example"))
        self.assertEqual(answer.records, ("127.0.0.9",))

    async def test_silent_name_server(self) -> None:
        """A name server that does not answer is given up in a few seconds."""
        silent = Silent()
        port = reactor.listenUDP(0, silent, interface=HERE)
        self.addCleanup(port.stopListening)
        names = SystemResolver(reactor, servers=[(HERE, port.getHost().port)], hosts="")
        with self.assertRaises(LookupFailed):
            await names.lookup(Question("A", "b.example"))
        self.assertEqual(len(silent.received), 2)
