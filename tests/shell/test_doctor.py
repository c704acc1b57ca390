# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the doctor finds: ports, addresses, media, the running server, the configuration."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.commands import doctor as command
from sipsess.config.values import PortRange
from sipsess.control import ControlError
from sipsess.doctor import (
    NOTE,
    OK,
    WRONG,
    Finding,
    Machine,
    Running,
    ask_server,
    examine_listeners,
    examine_media,
    examine_server,
    machine,
)
from sipsess.doctor.findings import write_findings
from sipsess.server import SIPServer
from sipsess.tap import describe_listeners
from sipsess.testing import VirtualNetwork
from sipsess.transport.listen import ListenSpec, parse_listen

from .configurations import ABSENT
from .test_cli import CommandCase

NOBODY = "no server answers"
RTP = "10000-29999"


class FakeMachine(Machine):
    """A machine of which a test says everything."""

    def __init__(
        self,
        *,
        errors: Mapping[tuple[str, int], int] | None = None,
        sources: Mapping[int, str] | None = None,
        own: tuple[str, ...] = (),
        files: int | None = 1_000_000,
        given: tuple[int, int] | None = None,
        answers: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.errors = errors or {}
        self.sources = {4: "8.8.4.4", 6: "2606:4700::1"} if sources is None else sources
        self.own = own
        self.files = files
        self.given = given
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []

    def bind(self, transport: str, host: str, port: int) -> OSError | None:
        """Answer as the test says."""
        number = self.errors.get((host, port))
        return None if number is None else OSError(number, os.strerror(number))

    def has_address(self, host: str) -> bool:
        """Answer as the test says."""
        return host in self.own

    def source_address(self, version: int) -> str | None:
        """Answer as the test says."""
        return self.sources.get(version)

    def file_limit(self) -> int | None:
        """Answer as the test says."""
        return self.files

    def local_ports(self) -> tuple[int, int] | None:
        """Answer as the test says."""
        return self.given

    def ask(self, command: str, path: str | None) -> Any:
        """Answer as the test says."""
        self.asked.append((command, path))
        if self.answers is None:
            raise ControlError(NOBODY)
        return self.answers[command]


class ListenerTests(SynchronousTestCase):
    """Ports and addresses."""

    def examine(
        self,
        fake: FakeMachine,
        listen: str = "udp:5060",
        advertise: str | None = None,
        running: Running | str = NOBODY,
    ) -> list[tuple[str, str, str]]:
        """Return the findings of one listener: level, text, advice."""
        spec = parse_listen(listen)
        found = list(examine_listeners(fake, (spec,), advertise, RTP, running))
        self.assertEqual({item.subject for item in found}, {f"listener {spec.name}"})
        return [(item.level, item.text, item.advice) for item in found]

    def test_public(self) -> None:
        """A machine with public addresses is well."""
        found = self.examine(FakeMachine())
        self.assertEqual(
            found,
            [
                (OK, "0.0.0.0:5060 can be opened", ""),
                (OK, "far ends see 8.8.4.4:5060 in Via and Contact, and 8.8.4.4 in SDP", ""),
                (OK, "[::]:5060 can be opened", ""),
                (
                    OK,
                    "far ends see [2606:4700::1]:5060 in Via and Contact, and 2606:4700::1 in SDP",
                    "",
                ),
            ],
        )

    def test_any_port(self) -> None:
        """A free port has no number yet."""
        found = self.examine(FakeMachine(), "udp:0:interface=8.8.4.4")
        self.assertIn("far ends see 8.8.4.4:(any port) in Via", found[1][1])

    def test_ports_that_cannot_be_opened(self) -> None:
        """In use, not allowed, no such address, and anything else."""
        for number, listen, text, advice in (
            (
                errno.EADDRINUSE,
                "udp:5060:interface=8.8.4.4",
                "8.8.4.4:5060 is in use by another program",
                "stop that one (ss -lnp tells which), or take another port",
            ),
            (
                errno.EACCES,
                "udp:5060:interface=8.8.4.4",
                "8.8.4.4:5060 needs a privilege",
                "take a port above 1023, or start as root",
            ),
            (
                errno.EADDRNOTAVAIL,
                "udp:5060:interface=8.8.4.4",
                "this machine has no address 8.8.4.4",
                "leave interface out to listen on all that it has",
            ),
            (
                errno.ENOBUFS,
                "udp:5060:interface=8.8.4.4",
                "8.8.4.4:5060 cannot be opened: No buffer space available",
                "",
            ),
        ):
            fake = FakeMachine(errors={("8.8.4.4", 5060): number})
            found = self.examine(fake, listen)
            self.assertEqual(found[0], (WRONG, text, advice))
            # An address that is not there is not judged any further.
            is_there = number in (errno.EADDRINUSE, errno.EACCES)
            self.assertEqual(len(found), 2 if is_there else 1)

    def test_port_of_the_running_server(self) -> None:
        """A port that the server itself has open is not in the way."""
        fake = FakeMachine(errors={("0.0.0.0", 5060): errno.EADDRINUSE}, sources={})
        running = Running(listeners=frozenset({("UDP", "0.0.0.0", 5060)}))
        found = self.examine(fake, running=running)
        self.assertEqual(found[0], (OK, "0.0.0.0:5060 is open in the running server", ""))
        other = Running(listeners=frozenset({("TCP", "0.0.0.0", 5060)}))
        self.assertEqual(self.examine(fake, running=other)[0][0], WRONG)

    def test_no_ipv6(self) -> None:
        """A machine without IPv6 is merely noted."""
        fake = FakeMachine(errors={("::", 5060): errno.EAFNOSUPPORT})
        self.assertEqual(self.examine(fake)[-1], (NOTE, "this machine has no IPv6", ""))

    def test_no_route(self) -> None:
        """Without a default route nobody far away can be reached."""
        found = self.examine(FakeMachine(sources={4: "8.8.4.4"}))
        self.assertEqual(
            found[-1],
            (NOTE, "there is no IPv6 route to other networks: far ends see ours only", ""),
        )

    def test_private(self) -> None:
        """A private address is right or the cause of one-way audio; what to do is said."""
        for source in ("10.1.2.3", "192.168.1.5", "100.64.0.7", "172.16.0.1"):
            found = self.examine(FakeMachine(sources={4: source}))
            self.assertEqual(
                found[1],
                (
                    NOTE,
                    f"far ends see {source}:5060 in Via and Contact, and {source} in SDP, a "
                    "private address; beyond a NAT that means one-way audio, and calls that end "
                    "after 32 seconds",
                    'behind a NAT: advertise = "ITS PUBLIC ADDRESS", and let it forward UDP 5060 '
                    f"and UDP 10000-29999 to {source}; without a NAT all is well",
                ),
            )

    def test_link_local(self) -> None:
        """An address that the machine gave itself reaches nobody."""
        level, text, advice = self.examine(FakeMachine(sources={4: "169.254.3.4"}))[1]
        self.assertEqual(level, WRONG)
        self.assertIn("an address that this machine gave itself", text)
        self.assertEqual(advice, "give it an address of its network, by DHCP or by hand")

    def test_loopback(self) -> None:
        """A listener for this machine alone is one."""
        found = self.examine(FakeMachine(), r"udp:5060:interface=\:\:1")
        self.assertEqual(
            found[1:],
            [
                (
                    NOTE,
                    "far ends see [::1]:5060 in Via and Contact, and ::1 in SDP: only this machine "
                    "can call",
                    "",
                )
            ],
        )

    def test_other_route(self) -> None:
        """A listener on one address, while packets leave by another."""
        level, text, advice = self.examine(FakeMachine(), "udp:5060:interface=9.9.9.9")[1]
        self.assertEqual(level, NOTE)
        self.assertEqual(
            text,
            "it listens on 9.9.9.9 alone, but packets to other networks leave from 8.8.4.4",
        )
        self.assertIn("listen without interface", advice)

    def test_advertised(self) -> None:
        """An advertised address is judged instead of our own."""
        fake = FakeMachine(own=("9.9.9.9",))
        start = "far ends see {}:5060 in Via and Contact, and {} in SDP"
        for host, level, end in (
            ("9.9.9.9", OK, ", an address of this machine"),
            ("1.1.1.1", NOTE, ", which is not an address of this machine"),
            ("203.0.113.5", WRONG, ", which is an address for examples, and nobody's"),
            ("0.0.0.0", WRONG, ", where nobody can be reached"),
            ("224.0.0.1", WRONG, ", where nobody can be reached"),
            (
                "127.0.0.1",
                WRONG,
                ": others would call themselves, with one-way audio, and calls that end after 32 "
                "seconds",
            ),
        ):
            found = self.examine(fake, "udp:5060:interface=8.8.4.4", host)
            self.assertEqual(found[1][:2], (level, start.format(host, host) + end))
        [_, (_, _, advice)] = self.examine(fake, "udp:5060:interface=8.8.4.4", "1.1.1.1")
        self.assertEqual(
            advice,
            "the NAT that has it must forward UDP 5060 and UDP 10000-29999 to the same ports, "
            "which a symmetric NAT does not do by itself; otherwise one-way audio, and calls that "
            "end after 32 seconds",
        )

    def test_advertised_by_a_listener(self) -> None:
        """What a listener says itself goes before what is said for all."""
        listen = "udp:5060:interface=8.8.4.4:advertise=9.9.9.9"
        found = self.examine(FakeMachine(own=("9.9.9.9",)), listen, "1.1.1.1")
        self.assertIn("9.9.9.9:5060", found[1][1])

    def test_advertised_loopback_of_a_loopback_listener(self) -> None:
        """A test on one machine may advertise itself."""
        fake = FakeMachine(own=("127.0.0.1",))
        found = self.examine(fake, "udp:5060:interface=127.0.0.2", "127.0.0.1")
        self.assertEqual(found[1][0], OK)

    def test_advertised_address_of_the_other_version(self) -> None:
        """It is used for the listeners of its version only."""
        fake = FakeMachine(own=("9.9.9.9",))
        found = self.examine(fake, "udp:5060", "9.9.9.9")
        self.assertEqual([item[0] for item in found], [OK] * 4)
        self.assertIn("2606:4700::1", found[3][1])
        found = self.examine(fake, "udp:5060:interface=8.8.4.4", "2606:4700::9")
        self.assertEqual(
            found[1],
            (
                WRONG,
                "advertise = '2606:4700::9' is of another IP version than the listener: unused",
                "advertise an IPv4 address",
            ),
        )
        self.assertIn("8.8.4.4:5060", found[2][1])


class MediaTests(SynchronousTestCase):
    """RTP ports."""

    def examine(
        self, fake: FakeMachine, ports: PortRange, running: Running | str = NOBODY
    ) -> list[tuple[str, str]]:
        """Return level and text of each finding."""
        found = examine_media(fake, ports, 0, running)
        return [(item.level, item.text) for item in found]

    def test_good(self) -> None:
        """Enough files, free ports."""
        ports = PortRange(10000, 29999)
        self.assertEqual(
            self.examine(FakeMachine(), ports),
            [(OK, "10000 RTP ports, and 1000000 files can be open")],
        )
        self.assertEqual(
            self.examine(FakeMachine(files=None), ports),
            [(OK, "10000 RTP ports, and as many files as it takes can be open")],
        )

    def test_files(self) -> None:
        """Each port is an open file."""
        ports = PortRange(10000, 19999)
        [finding] = examine_media(FakeMachine(files=1024), ports, 0, NOBODY)
        self.assertEqual(finding.level, WRONG)
        self.assertEqual(finding.text, "only 1024 files can be open, too few for 5000 RTP ports")
        self.assertIn("LimitNOFILE=", finding.advice)
        [finding] = examine_media(FakeMachine(files=8000), ports, 0, NOBODY)
        self.assertEqual(finding.level, OK)
        [finding] = examine_media(FakeMachine(files=8000), ports, 4096, NOBODY)
        self.assertEqual(
            finding.text,
            "only 8000 files can be open, too few for 5000 RTP ports and 4096 connections",
        )

    def test_ports_of_the_system(self) -> None:
        """Ports that the system gives out, in part or in whole."""
        for low, high, count in ((30000, 40000, 1), (33000, 34000, 1), (10000, 32767, 0)):
            found = self.examine(FakeMachine(given=(32768, 60999)), PortRange(low, high))
            self.assertEqual([item[0] for item in found], [OK] + [NOTE] * count)
        self.assertIn(
            "gives ports 32768-60999 to any program",
            self.examine(FakeMachine(given=(32768, 60999)), PortRange(40000, 40100))[1][1],
        )

    def test_ports_that_cannot_be_opened(self) -> None:
        """A port of another program is skipped; one that is not allowed is a mistake."""
        errors = {
            ("0.0.0.0", 1000): errno.EACCES,
            ("0.0.0.0", 1002): errno.EADDRINUSE,
        }
        found = self.examine(FakeMachine(errors=errors), PortRange(999, 1003))
        self.assertEqual(
            found[1:],
            [
                (WRONG, "RTP port 1000 cannot be opened: Permission denied"),
                (NOTE, "RTP port 1002 is in use by another program, and skipped"),
            ],
        )
        self.assertEqual(
            len(self.examine(FakeMachine(errors=errors), PortRange(999, 1003), Running())), 1
        )


class ServerTests(SynchronousTestCase):
    """The running server."""

    def examine(self, counters: dict[str, Any], *listeners: tuple[str, str, int]) -> list[Finding]:
        """Return what is found of a server with these counters."""
        running = Running(counters, frozenset(listeners))
        first, *found = examine_server(
            running, (ListenSpec("UDP", 5060), ListenSpec("UDP", 0)), RTP
        )
        self.assertEqual((first.level, first.text), (OK, "answers on its control socket"))
        return found

    def test_nobody(self) -> None:
        """No server is no fault."""
        [finding] = examine_server(NOBODY, (), RTP)
        self.assertEqual((finding.level, finding.text), (OK, f"there is none to ask: {NOBODY}"))

    def test_well(self) -> None:
        """A server that hears and is heard."""
        counters = {"rtp_sent": 5, "rtp_received": 5, "refused": {"busy": 1}, "send_errors": 0}
        self.assertEqual(self.examine(counters, ("UDP", "0.0.0.0", 5060)), [])

    def test_symptoms(self) -> None:
        """Each counter that tells of trouble, with the usual cause."""
        counters = {
            "rtp_sent": 50,
            "rtp_received": 0,
            "send_errors": 3,
            "refused": {"ack-missing": 2, "no-media-port": 4},
        }
        found = self.examine(counters, ("UDP", "0.0.0.0", 5060))
        self.assertEqual(
            [(item.level, item.text) for item in found],
            [
                (WRONG, "2 of its calls ended after 32 seconds, as no ACK came for our 200"),
                (WRONG, "it has sent 50 RTP packets, and none has come: nobody is heard"),
                (WRONG, "4 calls were refused for want of an RTP port"),
                (NOTE, "3 messages could not be sent"),
            ],
        )
        self.assertIn("Record-Route", found[0].advice)
        self.assertIn("let UDP 10000-29999 in", found[1].advice)
        self.assertTrue(all(item.advice for item in found))

    def test_other_listeners(self) -> None:
        """A listener that only the file has."""
        [finding] = self.examine({}, ("UDP", "0.0.0.0", 5070))
        self.assertEqual(
            (finding.level, finding.text, finding.advice),
            (
                NOTE,
                "it does not listen on udp:5060",
                "a listener takes a restart, not a reload",
            ),
        )

    def test_asking(self) -> None:
        """The server is asked for its counters and listeners, or why it cannot be asked is kept."""
        fake = FakeMachine()
        self.assertEqual(ask_server(fake, "/x"), NOBODY)
        listeners = [{"transport": "UDP", "host": "::", "port": 5060}]
        fake.answers = {"counters": {"rtp_sent": 1}, "listeners": listeners}
        running = ask_server(fake, "/x")
        assert isinstance(running, Running)
        self.assertEqual(running.counters, {"rtp_sent": 1})
        self.assertTrue(running.has("UDP", "::", 5060))
        self.assertEqual(fake.asked[1:], [("counters", "/x"), ("listeners", "/x")])


class MachineTests(SynchronousTestCase):
    """The real machine, on its loopback addresses."""

    def test_bind(self) -> None:
        """A port that is free, one that is not, an address that is not there."""
        real = Machine()
        for transport, kind in (("UDP", socket.SOCK_DGRAM), ("TCP", socket.SOCK_STREAM)):
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if transport == "TCP":
                    taken.listen(1)
                port = taken.getsockname()[1]
                error = real.bind(transport, "127.0.0.1", port)
                self.assertEqual(error and error.errno, errno.EADDRINUSE)
            self.assertIsNone(real.bind(transport, "127.0.0.1", port))
            self.assertIsNone(real.bind(transport, "127.0.0.1", port))
        error = real.bind("UDP", "192.0.2.77", 0)
        self.assertEqual(error and error.errno, errno.EADDRNOTAVAIL)

    def test_addresses(self) -> None:
        """Which addresses are ours."""
        self.assertTrue(Machine().has_address("127.0.0.1"))
        self.assertFalse(Machine().has_address("192.0.2.77"))
        version_6 = Machine().bind("UDP", "::1", 0)
        self.assertEqual(Machine().has_address("::1"), version_6 is None)

    def test_source_address(self) -> None:
        """The kernel's choice; nothing without a route."""
        asked: list[str] = []

        def probe(remote: str) -> str:
            asked.append(remote)
            if ":" in remote:
                raise OSError(errno.ENETUNREACH, "no route")
            return "198.18.0.1"

        self.patch(machine, "probe_source_address", probe)
        self.assertEqual(Machine().source_address(4), "198.18.0.1")
        self.assertIsNone(Machine().source_address(6))
        self.assertEqual(asked, ["192.0.2.1", "2001:db8::1"])

    def test_file_limit(self) -> None:
        """The hard limit; none where there is no limit or the system knows none."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        expected = None if hard == resource.RLIM_INFINITY else hard
        self.assertEqual(Machine().file_limit(), expected)
        limits = (7, resource.RLIM_INFINITY)
        self.patch(resource, "getrlimit", lambda which: limits)
        self.assertIsNone(Machine().file_limit())
        self.patch(machine, "_resource", None)
        self.assertIsNone(Machine().file_limit())

    def test_local_ports(self) -> None:
        """The two numbers of a file; nothing when it is not there or says something else."""
        path = Path(self.mktemp())
        self.assertIsNone(Machine(path).local_ports())
        path.write_text("32768\t60999\n")
        self.assertEqual(Machine(path).local_ports(), (32768, 60999))
        path.write_text("nonsense")
        self.assertIsNone(Machine(path).local_ports())

    def test_ask(self) -> None:
        """A running server is asked by its control socket."""
        self.patch(machine, "ask", lambda name, path: [name, path])
        self.assertEqual(Machine().ask("counters", "/x"), ["counters", "/x"])


class CommandTests(CommandCase):
    """The whole of it."""

    def examine(self, *words: str, fake: FakeMachine | None = None) -> tuple[list[str], bool]:
        """Return what is printed, and whether all is well."""
        options = command.Options()
        options.parseOptions(list(words))
        lines, is_well = command.doctor(options, fake or FakeMachine())
        return list(lines), is_well

    def test_well(self) -> None:
        """Without a file, with nothing wrong."""
        lines, is_well = self.examine()
        self.assertTrue(is_well)
        heads = [line for line in lines if not line.startswith(" ")]
        self.assertEqual(
            heads,
            [
                *("configuration", "plugins", "the running server", "listener udp:5060", "media"),
                "0 wrong, 0 to be noted",
            ],
        )
        self.assertIn("  ok     there is no file", lines)

    def test_file(self) -> None:
        """The file says what is looked at: listeners, addresses, ports, the control socket."""
        self.write("my-plugin.py", "")
        file = self.write(
            "sipsess.toml",
            """
            listeners = ["udp:5070:interface=8.8.4.4"]
            advertise = "203.0.113.5"
            plugin_directories = ["."]
            control = "run.sock"
            cdr.path = "calls"
            rtp.ports = "40000-40100"
            """,
        )
        fake = FakeMachine(given=(32768, 60999))
        lines, is_well = self.examine(file, fake=fake)
        self.assertFalse(is_well)
        self.assertIn(f"  ok     {file} is good", lines)
        self.assertIn("listener udp:5070:interface=8.8.4.4", lines)
        self.assertIn(f"  ok     {self.directory / 'calls'} can be written", lines)
        self.assertEqual(lines[-1], "1 wrong, 2 to be noted")
        self.assertTrue(any("my_plugin.py" in line for line in lines))
        self.assertEqual(fake.asked, [("counters", str(self.directory / "run.sock"))])
        self.examine(file, "--control", "/x", fake=fake)
        self.assertEqual(fake.asked[-1], ("counters", "/x"))

    def test_missing_codecs(self) -> None:
        """What has to be installed, and who is without it until then."""
        self.write("absent.py", ABSENT)
        tables = "".join(
            f'[[endpoints]]\nname = "e{number}"\ncodecs = ["ABSENT"]\n' for number in range(8)
        )
        lines, is_well = self.examine(
            self.write("sipsess.toml", f'plugin_directories = ["."]\n{tables}')
        )
        self.assertTrue(is_well)
        at = lines.index("  note   no ABSENT with e0, e1, e2, e3, e4, e5 and 2 more")
        self.assertEqual(lines[at + 1].strip(), "-> install it")

    def test_mistakes(self) -> None:
        """Each mistake of the file is told, and the rest is looked at all the same."""
        file = self.write("sipsess.toml", 'nonsense = 1\napplication = "hallo"\n')
        lines, is_well = self.examine(file)
        self.assertFalse(is_well)
        self.assertEqual(sum(line.startswith(f"  WRONG  {file}:") for line in lines), 2)
        self.assertIn("listener udp:5060", lines)

    def test_secrets(self) -> None:
        """Files with passwords, hashes and keys are nobody else's."""
        text = """
            [[endpoints]]
            name = "trunk"
            credentials = [{ realm = "*", user = "me", password = { file = "secret" } }]
            digest_users = ["anna"]
            [digest]
            realm = "pbx.example"
            files = ["users", "gone"]
            [[listeners]]
            transport = "tls"
            port = 5061
            tls = { certificate = "c.pem", key = "k.pem" }
        """
        file = self.write("sipsess.toml", text)
        names = ("secret", "users", "k.pem")
        for name in names:
            os.chmod(self.write(name, "sesame\n"), 0o600)
        lines, _ = self.examine(file)
        self.assertIn("  ok     files: 4, none of them open to everybody", lines)
        for name, mode in zip(names, (0o604, 0o602, 0o666), strict=True):
            os.chmod(self.directory / name, mode)
        lines, _ = self.examine(file)
        for name in names:
            path = self.directory / name
            at = lines.index(f"  note   {path} can be read by everybody on this machine")
            self.assertEqual(lines[at + 1], f"         -> chmod o= {path}")

    def test_registrations(self) -> None:
        """Calls of a provider that nothing tells from a stranger's would not be taken."""
        text = """
            [[endpoints]]
            name = "provider"
            {networks}
            [[endpoints]]
            name = "desk"
            networks = ["192.0.2.7"]
            [[registrations]]
            aor = "sip:4711@provider.example"
            {endpoint}
        """
        known = 'networks = ["203.0.113.0/24"]'
        for networks, endpoint, first, is_noted in (
            ("", 'endpoint = "provider"', "", True),
            ("", "", "", True),
            (known, 'endpoint = "provider"', "", False),
            ("", 'endpoint = "provider"', 'anonymous = "allow"', False),
        ):
            filled = first + text.format(networks=networks, endpoint=endpoint)
            lines, is_well = self.examine(self.write("sipsess.toml", filled))
            notes = [line for line in lines if "nothing tells who sends" in line]
            self.assertEqual(len(notes), int(is_noted), lines)
            self.assertTrue(is_well)

    def test_usual_file(self) -> None:
        """sipsess.toml is looked at when it is here."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.write("sipsess.toml", "")
        self.assertIn("  ok     sipsess.toml is good", self.examine()[0])

    def test_connections(self) -> None:
        """Connections need files, too."""
        file = self.write("sipsess.toml", 'listeners = ["tcp:5060"]\nrtp.ports = "10000-10100"\n')
        lines, _ = self.examine(file, fake=FakeMachine(files=1000))
        self.assertTrue(any("RTP ports and 4096 connections" in line for line in lines), lines)
        file = self.write("sipsess.toml", 'rtp.ports = "10000-10100"\n')
        self.assertTrue(self.examine(file, fake=FakeMachine(files=1000))[1])

    def test_command(self) -> None:
        """The exit status says whether something is wrong; one file at a time."""
        self.patch(command, "Machine", FakeMachine)
        self.assertEqual(self.run_command("doctor")[0], 0)
        status, output, _ = self.run_command("doctor", self.write("x.toml", "nonsense = 1\n"))
        self.assertEqual((status, output[-1]), (1, "1 wrong, 0 to be noted"))
        self.assertIn("examine one file at a time", self.mistake("doctor", "a", "b"))

    def test_report(self) -> None:
        """Findings are put together by subject, with the advice below each."""
        findings = [
            Finding(OK, "a", "fine"),
            Finding(WRONG, "b", "bad", "do this"),
            Finding(NOTE, "a", "hm"),
        ]
        self.assertEqual(
            list(write_findings(findings)),
            ["a", "  ok     fine", "  note   hm", "b", "  WRONG  bad", "         -> do this"],
        )


class ControlTests(SynchronousTestCase):
    """What the server tells the doctor."""

    def test_listeners(self) -> None:
        """Transport, address and port of each open port."""
        net = VirtualNetwork()
        server = SIPServer(
            net.host("192.0.2.1", "2001:db8::1"), ["udp:5070", r"tcp:5060:interface=192.0.2.1"]
        )
        server.startService()
        self.assertEqual(
            describe_listeners(server),
            [
                {"transport": "UDP", "host": "0.0.0.0", "port": 5070},
                {"transport": "UDP", "host": "::", "port": 5070},
                {"transport": "TCP", "host": "192.0.2.1", "port": 5060},
            ],
        )
        stopping = server.stopService()
        net.run_for(1)
        self.successResultOf(stopping)
