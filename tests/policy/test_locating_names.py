# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The name service of this machine: hosts file, resolv.conf, and answers that may lie."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.interfaces import INameResolver
from sipsess.locating import NAPTR, SRV, Answer, CachingResolver, LookupFailed, Question
from sipsess.locating.names import (
    HOSTS_TTL,
    MAX_ALIASES,
    NEGATIVE_TTL,
    NoResolver,
    SystemResolver,
    find_resolver,
)
from sipsess.testing import VirtualNetwork


def header(name: str, payload: Any, ttl: int = 30) -> dns.RRHeader:
    """Return a record."""
    return dns.RRHeader(name.encode(), payload.TYPE, dns.IN, ttl, payload)


class Client:
    """Stands for a client of name servers: answers from a dictionary."""

    def __init__(self, answers: dict[str, Any], servers: Iterable[Any] = ()) -> None:
        self.answers = answers
        self.servers = list(servers)
        self.asked: list[str] = []

    def __getattr__(self, method: str) -> Any:
        def look_up(name: str, timeout: tuple[int, ...]) -> Deferred[Any]:
            self.asked.append(f"{method} {name}")
            answer = self.answers.get(name, ([], [], []))
            return fail(answer) if isinstance(answer, Exception) else succeed(answer)

        return look_up


@implementer(IReactorPluggableNameResolver)
class NamingReactor:
    """A reactor of a machine that has names."""

    nameResolver: Any = None

    def installNameResolver(self, resolver: Any) -> Any:
        """Never called here."""


class NamesCase(SynchronousTestCase):
    """The base of tests: files of their own, and a client that stands for the name servers."""

    def setUp(self) -> None:
        """Write the files."""
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.hosts = folder / "hosts"
        self.hosts.write_text("192.0.2.7 Pbx.example pbx # ours\n2001:db8::7 pbx.example\n")
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text("nameserver 192.0.2.53\n")
        self.answers: dict[str, Any] = {}
        self.clients: list[Client] = []

        def make(*, servers: list[Any], **how: Any) -> Client:
            self.clients.append(Client(self.answers, servers))
            return self.clients[-1]

        self.patch(SystemResolver, "make_client", staticmethod(make))
        self.names = SystemResolver(
            object(), hosts=str(self.hosts), resolv_conf=str(self.resolv_conf)
        )

    def ask(self, kind: str, name: str) -> Answer:
        """Return an answer."""
        return self.successResultOf(self.names.lookup(Question(kind, name)))


class HostsTests(NamesCase):
    """The hosts file."""

    def test_addresses(self) -> None:
        """A name of the file has the addresses there, whatever the case."""
        self.assertEqual(self.ask("A", "pbx.example"), Answer(("192.0.2.7",), HOSTS_TTL))
        self.assertEqual(self.ask("AAAA", "pbx.example").records, ("2001:db8::7",))
        self.assertEqual(self.ask("AAAA", "pbx").records, ())

    def test_services(self) -> None:
        """A name of the file has no services, and nobody else is asked about them."""
        self.assertEqual(self.ask("NAPTR", "pbx.example").records, ())
        self.assertEqual(self.ask("SRV", "_sip._udp.pbx.example").records, ())
        self.assertEqual(self.clients, [])

    def test_special_names(self) -> None:
        """localhost is this machine, and nothing is invalid (RFC 6761 6.3, 6.4)."""
        self.assertEqual(self.ask("A", "localhost").records, ("127.0.0.1",))
        self.assertEqual(self.ask("AAAA", "a.localhost").records, ("::1",))
        self.assertEqual(self.ask("A", "no.such.invalid").records, ())
        self.assertEqual(self.clients, [])

    def test_no_file(self) -> None:
        """Without the file all names are asked of the servers."""
        self.hosts.unlink()
        self.assertEqual(self.ask("A", "pbx.example").records, ())
        self.assertEqual(self.clients[0].asked, ["lookupAddress pbx.example"])


class ServersTests(NamesCase):
    """Which name servers are asked."""

    def servers(self) -> list[Any]:
        """Return those that are asked now."""
        self.ask("A", "b.example")
        return self.clients[-1].servers

    def test_resolv_conf(self) -> None:
        """The first three of the file, IPv6 too; what is no address is passed over."""
        self.resolv_conf.write_text(
            "# ours\nsearch example\nnameserver\nnameserver two\nnameserver 2001:db8::53\n"
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
        )
        expected = [("2001:db8::53", 53), ("192.0.2.1", 53), ("192.0.2.2", 53)]
        self.assertEqual(self.servers(), expected)

    def test_change(self) -> None:
        """The file is read again when it has changed, and only then."""
        self.servers()
        self.servers()
        self.assertEqual(len(self.clients), 1)
        self.resolv_conf.write_text("nameserver 192.0.2.54\n")
        os.utime(self.resolv_conf, (1, 1))
        self.assertEqual(self.servers(), [("192.0.2.54", 53)])

    def test_no_file(self) -> None:
        """Without the file, or a server in it, this machine is asked."""
        self.resolv_conf.unlink()
        self.assertEqual(self.servers(), [("127.0.0.1", 53)])

    def test_given(self) -> None:
        """Servers that are given are those."""
        self.names = SystemResolver(object(), servers=[("192.0.2.5", 5353)], hosts="")
        self.assertEqual(self.servers(), [("192.0.2.5", 5353)])

    def test_choice(self) -> None:
        """A reactor of a real machine has its names; on another no name is known."""
        net = VirtualNetwork()
        self.assertIsInstance(find_resolver(NamingReactor(), net.seconds), CachingResolver)
        none = find_resolver(net.host("192.0.2.1"), net.seconds)
        verifyObject(INameResolver, none)
        verifyObject(INameResolver, self.names)
        self.assertIsInstance(none, NoResolver)
        self.assertEqual(self.successResultOf(none.lookup(Question("A", "b"))), Answer())


class AnswerTests(NamesCase):
    """What the servers say."""

    def test_records(self) -> None:
        """Each kind of record, with the shortest time to live."""
        for kind, payloads, records in (
            (
                "A",
                [dns.Record_A("192.0.2.1"), dns.Record_A("192.0.2.2")],
                ("192.0.2.1", "192.0.2.2"),
            ),
            ("AAAA", [dns.Record_AAAA("2001:db8::1")], ("2001:db8::1",)),
            ("SRV", [dns.Record_SRV(1, 2, 3, b"S.b.example.")], (SRV(1, 2, 3, "s.b.example"),)),
            ("SRV", [dns.Record_SRV(1, 2, 3, b".")], (SRV(1, 2, 3, ""),)),
            (
                "NAPTR",
                [dns.Record_NAPTR(1, 2, b"S", b"SIP+D2U", b"", b"_sip._udp.b.example")],
                (NAPTR(1, 2, "s", "sip+d2u", "_sip._udp.b.example"),),
            ),
        ):
            found = [header("b.example", item, ttl) for ttl, item in enumerate(payloads, 20)]
            self.answers["b.example"] = (found, [], [])
            self.assertEqual(self.ask(kind, "b.example"), Answer(records, 20.0))

    def test_nothing(self) -> None:
        """No such name, or nothing of that kind: the SOA says for how long (RFC 2308 5)."""
        soa = header("example", dns.Record_SOA(minimum=300), ttl=90)
        message = dns.Message()
        message.authority = [soa]
        self.answers = {
            "none.example": ([], [soa], []),
            "gone.example": DNSNameError(message),
            "bare.example": ([], [], []),
        }
        for name, ttl in (("none", 90.0), ("gone", 90.0), ("bare", NEGATIVE_TTL)):
            self.names._client = None
            self.assertEqual(self.ask("A", f"{name}.example"), Answer((), ttl))

    def test_failures(self) -> None:
        """Whatever goes wrong on the way to an answer is one kind of failure."""
        for error in (
            DNSQueryTimeoutError(1),
            DNSServerError(dns.Message()),
            ConnectionRefusedError(),
            OSError("no route"),
        ):
            self.answers["b.example"] = error
            self.failureResultOf(self.names.lookup(Question("A", "b.example")), LookupFailed)

    def test_alias(self) -> None:
        """Aliases within the answer are followed, and those beyond it are asked for."""
        self.answers["b.example"] = (
            [
                header("c.example", dns.Record_CNAME(b"d.example"), 7),
                header("B.example", dns.Record_CNAME(b"c.example"), 9),
            ],
            [],
            [],
        )
        self.answers["d.example"] = ([header("d.example", dns.Record_A("192.0.2.4"))], [], [])
        self.assertEqual(self.ask("A", "b.example"), Answer(("192.0.2.4",), 7.0))
        self.assertEqual(
            self.clients[0].asked, ["lookupAddress b.example", "lookupAddress d.example"]
        )

    def test_alias_to_nothing(self) -> None:
        """An alias of what is not there is not there."""
        self.answers["b.example"] = (
            [header("b.example", dns.Record_CNAME(b"c.example"), 7)],
            [],
            [],
        )
        self.assertEqual(self.ask("A", "b.example"), Answer((), 7.0))


class LieTests(NamesCase):
    """Answers that lie."""

    def test_loops(self) -> None:
        """Aliases in a circle, within one answer or from answer to answer, come to an end."""
        self.answers["b.example"] = (
            [
                header("b.example", dns.Record_CNAME(b"c.example")),
                header("c.example", dns.Record_CNAME(b"b.example")),
            ],
            [],
            [],
        )
        self.answers["x.example"] = ([header("x.example", dns.Record_CNAME(b"y.example"))], [], [])
        self.answers["y.example"] = ([header("y.example", dns.Record_CNAME(b"x.example"))], [], [])
        self.assertEqual(self.ask("A", "b.example").records, ())
        failure = self.failureResultOf(self.names.lookup(Question("A", "x.example")), LookupFailed)
        self.assertIn("aliases", str(failure.value))
        self.assertLessEqual(len(self.clients[0].asked), 1 + MAX_ALIASES)

    def test_other_names(self) -> None:
        """Records of a name that nobody asked for do not count, nor those of another kind."""
        self.answers["b.example"] = (
            [
                header("other.example", dns.Record_A("192.0.2.66")),
                header("b.example", dns.Record_AAAA("2001:db8::66")),
                dns.RRHeader(b"b.example", dns.A, dns.IN, 9, dns.UnknownRecord(b"x")),
            ],
            [],
            [],
        )
        self.assertEqual(self.ask("A", "b.example").records, ())

    def test_names_that_are_none(self) -> None:
        """Bytes that are no text make a name that nobody has."""
        record = dns.Record_SRV(1, 1, 1, b"\xff\x00.example")
        self.answers["b.example"] = ([header("b.example", record)], [], [])
        [found] = self.ask("SRV", "b.example").records
        assert isinstance(found, SRV)
        self.assertEqual(found.target, "\ufffd\x00.example")
