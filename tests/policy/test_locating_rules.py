# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""From a URI to its targets (RFC 3263 section 4), without a clock and without a network."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

from twisted.trial.unittest import SynchronousTestCase

from sipsess.locating import NAPTR, SRV, Answer, Question, Target, UnreachableError, parse_target
from sipsess.locating.records import MAX_RECORDS
from sipsess.locating.rules import MAX_SERVERS, MAX_TARGETS, find_targets
from sipsess.locating.weights import order_servers
from tests.policy.zones import Zone, naptr, srv

ALL = ("UDP", "TCP", "TLS", "WS", "WSS")

#: The examples of RFC 3263 4.1 and 4.2, with addresses.
EXAMPLE: Zone = {
    "NAPTR example.com": [
        naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
        naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
        naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
    ],
    "SRV _sip._tcp.example.com": [
        srv(0, 1, 5060, "server1.example.com"),
        srv(0, 2, 5060, "server2.example.com"),
    ],
    "SRV _sip._udp.example.com": [srv(0, 0, 5080, "server1.example.com")],
    "SRV _sips._tcp.example.com": [srv(0, 0, 5061, "server1.example.com")],
    "A server1.example.com": ["192.0.2.1"],
    "AAAA server1.example.com": ["2001:db8::1"],
    "A server2.example.com": ["192.0.2.2"],
    "A example.com": ["192.0.2.99"],
}


class RulesCase(SynchronousTestCase):
    """Answers questions from a zone."""

    def find(
        self, uri: str, zone: Zone, transports: Collection[str] = ALL, seed: int = 1
    ) -> list[Target]:
        """Return the targets of a URI; the questions, round by round, are kept."""
        self.rounds: list[list[str]] = []
        asking = find_targets(parse_target(uri, transports), random.Random(seed))
        try:
            questions = next(asking)
            while True:
                self.rounds.append([f"{item.kind} {item.name}" for item in questions])
                questions = asking.send([self._answer(zone, item) for item in questions])
        except StopIteration as found:
            targets: list[Target] = found.value
            return targets

    def _answer(self, zone: Zone, question: Question) -> Answer | None:
        records = zone.get(f"{question.kind} {question.name}", [])
        return None if records is None else Answer(tuple(records))

    def brief(self, uri: str, zone: Zone, transports: Collection[str] = ALL) -> list[str]:
        """Return the targets, written shortly."""
        return [
            f"{item.transport} {item.host} {item.port}" for item in self.find(uri, zone, transports)
        ]

    def failing(self, uri: str, zone: Zone, transports: Collection[str] = ALL) -> str:
        """Return why a URI leads nowhere."""
        with self.assertRaises(UnreachableError) as caught:
            self.find(uri, zone, transports)
        return str(caught.exception)


class NumericTests(RulesCase):
    """A host that is an address (4.1, 4.2): nobody is asked."""

    def test_table(self) -> None:
        """UDP for SIP and TLS for SIPS, unless the URI says a transport; the port likewise."""
        for uri, target in (
            ("sip:a@192.0.2.1", "UDP 192.0.2.1 5060"),
            ("sip:a@192.0.2.1:5070", "UDP 192.0.2.1 5070"),
            ("sip:[2001:db8::1]", "UDP 2001:db8::1 5060"),
            ("sip:[2001:DB8:0::1]:7", "UDP 2001:db8::1 7"),
            ("sip:[::ffff:192.0.2.1]", "UDP 192.0.2.1 5060"),
            ("sip:192.0.2.1;transport=TCP", "TCP 192.0.2.1 5060"),
            ("sip:192.0.2.1;transport=tls", "TLS 192.0.2.1 5061"),
            ("sip:192.0.2.1;transport=ws", "WS 192.0.2.1 80"),
            ("sip:192.0.2.1:8080;transport=ws", "WS 192.0.2.1 8080"),
            ("sips:192.0.2.1", "TLS 192.0.2.1 5061"),
            ("sips:192.0.2.1;transport=tcp", "TLS 192.0.2.1 5061"),
            ("sips:192.0.2.1;transport=ws", "WSS 192.0.2.1 443"),
            ("sip:a@b.example;maddr=192.0.2.7", "UDP 192.0.2.7 5060"),
            ("sip:a@b.example:5070;maddr=192.0.2.7", "UDP 192.0.2.7 5070"),
        ):
            self.assertEqual(self.brief(uri, {}), [target], uri)
            self.assertEqual(self.rounds, [])

    def test_without_udp(self) -> None:
        """Where there is no UDP the next transport that is there is taken."""
        self.assertEqual(self.brief("sip:192.0.2.1", {}, ["TLS", "TCP"]), ["TCP 192.0.2.1 5060"])

    def test_name_of_the_target(self) -> None:
        """The name for the TLS identity is what was asked for, not what the DNS makes of it."""
        [target] = self.find("sips:example.com", EXAMPLE)[:1]
        self.assertEqual((target.name, target.address), ("example.com", ("2001:db8::1", 5061)))
        [target] = self.find("sips:192.0.2.1", {})
        self.assertEqual(target.name, "192.0.2.1")
        [target] = self.find("sips:B.example.;maddr=192.0.2.1", {})
        self.assertEqual((target.host, target.name), ("192.0.2.1", "b.example"))


class ConnectableTests(SynchronousTestCase):
    """Transports without a listener, over which a connection can be opened all the same."""

    def test_demanded(self) -> None:
        """A URI may demand them; the choice of the DNS is among those of the listeners."""
        for uri, transports, wanted, choice in (
            ("sip:b.example", ["UDP"], None, ("UDP",)),
            ("sip:b.example;transport=tcp", ["UDP"], "TCP", ("UDP",)),
            ("sips:b.example", ["UDP"], None, ("TLS",)),
            ("sips:192.0.2.1", ["UDP"], "TLS", ("TLS",)),
            ("sip:192.0.2.1", [], "TCP", ("TCP", "TLS")),
        ):
            found = parse_target(uri, transports, ["TCP", "TLS"])
            self.assertEqual((found.transport, found.transports), (wanted, choice), uri)


class RefusalTests(RulesCase):
    """URIs that lead nowhere, and what is said."""

    def test_no_uri(self) -> None:
        """What is no SIP URI is refused before anybody is asked."""
        for uri, text in (
            ("nonsense", "no SIP URI"),
            ("tel:+4912345", "names no host"),
            ("sip:a@b_-.example..", "neither an IP address nor a domain name"),
            ("sip:a@" + "b" * 64 + ".example", "neither an IP address nor a domain name"),
            ("sip:a@" + "b.c" * 85, "neither an IP address nor a domain name"),
        ):
            self.assertIn(text, self.failing(uri, EXAMPLE), uri)

    def test_transports_that_are_not_there(self) -> None:
        """The sentence says what is asked for and what is there."""
        for uri, transports, text in (
            (
                "sip:a@b;transport=tcp",
                ["UDP"],
                "asks for TCP, and there is only UDP here",
            ),
            ("sips:a@b", ["TCP", "UDP"], "asks for TLS, and there is only UDP, TCP here"),
            ("sip:a@b;transport=sctp", ["UDP"], "asks for SCTP, and there is only UDP here"),
            ("sips:a@b;transport=udp", ALL, "TLS over UDP, and there is no such"),
            ("sip:a@b", [], "asks for UDP, and there is no listener"),
        ):
            self.assertIn(text, self.failing(uri, {}, transports), uri)


class ServiceTests(RulesCase):
    """NAPTR: which transport a domain prefers (4.1)."""

    def test_example(self) -> None:
        """Without TLS the client takes TCP, and asks for the SRV records of that alone."""
        found = self.brief("sip:user@example.com", EXAMPLE, ["TCP", "UDP"])
        self.assertEqual(found[-1].split()[0], "TCP")
        self.assertEqual(self.rounds[:2], [["NAPTR example.com"], ["SRV _sip._tcp.example.com"]])
        self.assertEqual(
            sorted(found),
            ["TCP 192.0.2.1 5060", "TCP 192.0.2.2 5060", "TCP 2001:db8::1 5060"],
        )

    def test_each_transport(self) -> None:
        """A client goes where it can, a sips: URI to TLS only."""
        for uri, transports, first in (
            ("sip:example.com", ["UDP"], "UDP 2001:db8::1 5080"),
            ("sip:example.com", ALL, "TLS 2001:db8::1 5061"),
            ("sips:example.com", ALL, "TLS 2001:db8::1 5061"),
        ):
            self.assertEqual(self.brief(uri, EXAMPLE, transports)[0], first, uri)
            self.assertEqual(self.rounds[0], ["NAPTR example.com"])

    def test_websocket(self) -> None:
        """SIP+D2W is a WebSocket, SIPS+D2W a secure one (RFC 7118 6)."""
        zone: Zone = {
            "NAPTR b.example": [
                naptr(1, 2, "SIPS+D2W", "_sips._ws.b.example"),
                naptr(1, 1, "sip+d2w", "_sip._ws.b.example", "S"),
            ],
            "SRV _sip._ws.b.example": [srv(1, 1, 8080, "ws.b.example")],
            "SRV _sips._ws.b.example": [srv(1, 1, 8443, "ws.b.example")],
            "A ws.b.example": ["192.0.2.1"],
        }
        self.assertEqual(
            self.brief("sip:b.example", zone), ["WS 192.0.2.1 8080", "WSS 192.0.2.1 8443"]
        )
        self.assertEqual(self.brief("sips:b.example", zone), ["WSS 192.0.2.1 8443"])
        self.assertEqual(self.brief("sip:b.example;transport=ws", zone), ["WS 192.0.2.1 8080"])

    def test_next_order(self) -> None:
        """Records of the next order count when those before lead nowhere, and only then."""
        zone: Zone = {
            **EXAMPLE,
            "NAPTR example.com": [
                naptr(20, 1, "SIP+D2U", "_sip._udp.example.com"),
                naptr(10, 1, "SIP+D2T", "_sip._tcp.gone.example"),
            ],
        }
        self.assertEqual(self.brief("sip:example.com", zone)[0], "UDP 2001:db8::1 5080")

    def test_useless_records(self) -> None:
        """Other services, other flags and broken names are passed over; then SRV is asked for."""
        zone: Zone = {
            **EXAMPLE,
            "NAPTR example.com": [
                naptr(1, 1, "SIP+D2S", "_sip._sctp.example.com"),
                naptr(2, 1, "E2U+sip", "_sip._udp.example.com"),
                naptr(3, 1, "SIP+D2U", "server2.example.com", "a"),
                naptr(4, 1, "SIP+D2U", "example.com", ""),
                naptr(5, 1, "SIP+D2U", "two words.example"),
                naptr(6, 1, "SIP+D2U", ""),
                "192.0.2.66",
            ],
        }
        self.assertEqual(self.brief("sip:example.com", zone, ["UDP"])[0], "UDP 2001:db8::1 5080")
        self.assertEqual(self.rounds[:2], [["NAPTR example.com"], ["SRV _sip._udp.example.com"]])


class ServerTests(RulesCase):
    """SRV: which servers (4.1, 4.2)."""

    def test_without_naptr(self) -> None:
        """All transports that are here are asked for, the preferred one is tried first."""
        zone = {key: value for key, value in EXAMPLE.items() if not key.startswith("NAPTR")}
        found = self.brief("sip:example.com", zone)
        self.assertEqual(found[0], "UDP 2001:db8::1 5080")
        self.assertEqual([item.split()[0] for item in found][-2:], ["TLS", "TLS"])
        self.assertEqual(
            self.rounds[1],
            [
                "SRV _sip._udp.example.com",
                "SRV _sip._tcp.example.com",
                "SRV _sips._tcp.example.com",
                "SRV _sip._ws.example.com",
                "SRV _sips._ws.example.com",
            ],
        )

    def test_transport_parameter(self) -> None:
        """A URI with a transport asks for that one at once, without NAPTR."""
        self.brief("sip:example.com;transport=tcp", EXAMPLE)
        self.assertEqual(self.rounds[0], ["SRV _sip._tcp.example.com"])
        self.brief("sips:example.com;transport=tcp", EXAMPLE)
        self.assertEqual(self.rounds[0], ["SRV _sips._tcp.example.com"])

    def test_port(self) -> None:
        """A URI with a port is asked for its addresses alone (4.2)."""
        self.assertEqual(self.brief("sip:example.com:5070", EXAMPLE), ["UDP 192.0.2.99 5070"])
        self.assertEqual(self.rounds, [["AAAA example.com", "A example.com"]])
        self.assertEqual(self.brief("sips:Example.COM.:5070", EXAMPLE), ["TLS 192.0.2.99 5070"])

    def test_addresses_of_the_domain(self) -> None:
        """Without any SRV record the domain's own addresses and the default port do."""
        zone: Zone = {"A b.example": ["192.0.2.1", "192.0.2.2"], "AAAA b.example": ["2001:db8::1"]}
        self.assertEqual(
            self.brief("sip:b.example", zone),
            ["UDP 2001:db8::1 5060", "UDP 192.0.2.1 5060", "UDP 192.0.2.2 5060"],
        )
        self.assertEqual(self.brief("sips:b.example", zone)[0], "TLS 2001:db8::1 5061")
        self.assertEqual(self.brief("sip:b.example;transport=tcp", zone)[0], "TCP 2001:db8::1 5060")

    def test_service_that_is_not_there(self) -> None:
        """A target of "." says so, and the domain's addresses are not tried (RFC 2782)."""
        zone: Zone = {"SRV _sip._udp.b.example": [srv(0, 0, 0, "")], "A b.example": ["192.0.2.1"]}
        self.assertIn("SRV", self.failing("sip:b.example", zone, ["UDP"]))

    def test_naptr_that_leads_to_no_address(self) -> None:
        """When the servers that NAPTR leads to have no address, nothing else is tried."""
        zone: Zone = {
            "NAPTR b.example": [naptr(1, 1, "SIP+D2U", "_sip._udp.b.example")],
            "SRV _sip._udp.b.example": [srv(0, 0, 5060, "gone.example")],
            "A b.example": ["192.0.2.1"],
        }
        self.assertIn("SRV", self.failing("sip:b.example", zone))
        self.assertEqual(len(self.rounds), 3)

    def test_nothing_is_known(self) -> None:
        """An unknown name is told apart from a name service that does not answer."""
        self.assertEqual(self.failing("sip:b.example", {}), "the name b.example is not known")
        silent: Zone = {"A b.example": None}
        self.assertIn("does not say where b.example is", self.failing("sip:b.example", silent))

    def test_nobody_answers_for_naptr(self) -> None:
        """A name server that knows no NAPTR does not keep anybody from being called."""
        zone = {**EXAMPLE, "NAPTR example.com": None}
        self.assertEqual(self.brief("sip:example.com", zone, ["UDP"])[0], "UDP 2001:db8::1 5080")


class LieTests(RulesCase):
    """What strangers write into the DNS does no harm."""

    def test_many_records(self) -> None:
        """Records, servers and targets are counted off."""
        zone: Zone = {
            "SRV _sip._udp.b.example": [
                srv(n, 0, 5060, f"s{n}.b.example") for n in range(MAX_RECORDS + 50)
            ],
            **{f"A s{n}.b.example": [f"192.0.2.{m}" for m in range(90)] for n in range(90)},
        }
        self.assertEqual(len(self.find("sip:b.example", zone, ["UDP"])), MAX_TARGETS)
        self.assertEqual(len(self.rounds[2]), 2 * MAX_SERVERS)
        zone = {"A b.example": [f"192.0.2.{n}" for n in range(90)]}
        self.assertEqual(len(self.find("sip:b.example", zone)), MAX_TARGETS)

    def test_loops(self) -> None:
        """Servers that name each other, or the service itself, are names like any other."""
        zone: Zone = {
            "NAPTR b.example": [naptr(1, 1, "SIP+D2U", "b.example")],
            "SRV b.example": [srv(0, 0, 5060, "b.example")],
        }
        self.failing("sip:b.example", zone)
        self.assertLessEqual(len(self.rounds), 3)

    def test_wrong_kinds(self) -> None:
        """Records of another kind than the one that was asked for are passed over."""
        zone: Zone = {
            "NAPTR b.example": [srv(0, 0, 5060, "b.example")],
            "SRV _sip._udp.b.example": ["192.0.2.66", naptr(1, 1, "SIP+D2U", "b.example")],
            "A b.example": [srv(0, 0, 1, "c.example"), "192.0.2.1"],
        }
        self.assertEqual(self.brief("sip:b.example", zone, ["UDP"]), ["UDP 192.0.2.1 5060"])

    def test_numbers(self) -> None:
        """Ports that are none are passed over; huge weights are numbers like others."""
        zone: Zone = {
            "SRV _sip._udp.b.example": [
                srv(0, 10**30, 5062, "s.b.example"),
                srv(0, 65535, 0, "s.b.example"),
                srv(0, 1, 70000, "s.b.example"),
            ],
            "A s.b.example": ["192.0.2.1"],
        }
        self.assertEqual(self.brief("sip:b.example", zone, ["UDP"]), ["UDP 192.0.2.1 5062"])

    def test_addresses_of_many_hosts(self) -> None:
        """Nothing is sent to a group, to everybody or to nobody."""
        zone: Zone = {
            "A b.example": ["224.0.0.1", "0.0.0.0", "255.255.255.255", "192.0.2.1"],
            "AAAA b.example": ["ff02::1", "::"],
        }
        self.assertEqual(self.brief("sip:b.example", zone, ["UDP"]), ["UDP 192.0.2.1 5060"])


class WeightTests(SynchronousTestCase):
    """The order of servers (RFC 2782)."""

    def order(self, *servers: SRV, seed: int = 1) -> list[str]:
        """Return the targets in their order."""
        return [item.target for item in order_servers(servers, random.Random(seed))]

    def test_priority(self) -> None:
        """The lowest priority is first, whatever the weights."""
        found = self.order(srv(20, 100, 1, "c"), srv(10, 0, 1, "a"), srv(15, 5, 1, "b"))
        self.assertEqual(found, ["a", "b", "c"])

    def test_all_are_there(self) -> None:
        """Each server comes exactly once."""
        servers = [srv(n % 3, n * 7 % 11, 1, str(n)) for n in range(30)]
        for seed in range(20):
            found = self.order(*servers, seed=seed)
            self.assertEqual(sorted(found), sorted(item.target for item in servers))

    def test_proportion(self) -> None:
        """Weights 1 and 3: the second is first three times as often."""
        firsts = Counter(
            self.order(srv(0, 10, 1, "a"), srv(0, 30, 1, "b"), seed=seed)[0] for seed in range(4000)
        )
        self.assertTrue(0.70 < firsts["b"] / 4000 < 0.77, firsts)

    def test_zero_weight(self) -> None:
        """A weight of 0 is hardly ever first, but not never."""
        firsts = Counter(
            self.order(srv(0, 99, 1, "a"), srv(0, 0, 1, "b"), seed=seed)[0] for seed in range(4000)
        )
        self.assertTrue(0 < firsts["b"] < 100, firsts)

    def test_nothing(self) -> None:
        """No servers have no order."""
        self.assertEqual(self.order(), [])


class RecordTests(SynchronousTestCase):
    """Questions and records are values."""

    def test_equality(self) -> None:
        """The same question is the same key."""
        self.assertEqual({Question("A", "b.example")}, {Question("A", "b.example")})
        self.assertEqual(NAPTR(1, 1, "s", "SIP+D2U", "b"), naptr(1, 1, "SIP+D2U", "b"))
