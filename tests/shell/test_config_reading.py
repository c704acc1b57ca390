# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Configuration files: what holds without one, what each key does, and every mistake at once."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from sipsess.config import Config, load, no_file, reading
from sipsess.config.model import LimitsTable, LoggingTable, RouteTable
from sipsess.config.values import PortRange
from sipsess.endpoint import Endpoint
from sipsess.manager import DIAL_LIMIT, MAX_SESSIONS
from sipsess.server import DEFAULT_RTP_PORTS, DRAIN_LIMIT
from sipsess.transport.listen import ListenSpec

from .configurations import ConfigCase


class DefaultTests(ConfigCase):
    """Nothing said."""

    def test_no_file(self) -> None:
        """Without a file it is as it always was: hello on UDP 5060."""
        config = no_file().config
        self.assertEqual(config.listeners, (ListenSpec("UDP", 5060),))
        self.assertEqual(config.default_application, "hello")
        self.assertEqual(config.rtp.ports, PortRange(*DEFAULT_RTP_PORTS))
        self.assertEqual(config.limits.sessions, MAX_SESSIONS)
        self.assertEqual((config.limits.dial, config.limits.drain), (DIAL_LIMIT, DRAIN_LIMIT))
        self.assertIsNone(config.logging)

    def test_empty_file(self) -> None:
        """An empty file says as little as none."""
        self.assertEqual(self.load("").config, Config())

    def test_default_application(self) -> None:
        """With routes nobody else is taken, unless the file says who takes them."""
        route = '[[routes]]\nuser = "1"\napplication = "echo"\n'
        self.assertIsNone(self.load(route).config.default_application)
        self.assertEqual(
            self.load('application = "ring"\n' + route).config.default_application, "ring"
        )


class GoodTests(ConfigCase):
    """Files that say something."""

    def test_listeners(self) -> None:
        """Strings and tables; both mean the same."""
        loaded = self.load(
            r"""
            listeners = [
                "udp:5060:interface=127.0.0.1:advertise=203.0.113.5",
                'udp:5070:interface=\:\:1',
                { transport = "UDP", port = 5080, interface = "::1", advertise = "2001:db8::5" },
            ]
            """
        )
        self.assertEqual(loaded.mistakes, ())
        self.assertEqual(
            loaded.config.listeners,
            (
                ListenSpec("UDP", 5060, "127.0.0.1", "203.0.113.5"),
                ListenSpec("UDP", 5070, "::1"),
                ListenSpec("UDP", 5080, "::1", "2001:db8::5"),
            ),
        )

    def test_tables_of_listeners(self) -> None:
        """The long way, with a small letter."""
        loaded = self.load('[[listeners]]\ntransport = "udp"\nport = 0\n')
        self.assertEqual(loaded.config.listeners, (ListenSpec("UDP", 0),))

    def test_the_rest(self) -> None:
        """Each table reaches its place; names of files are below the directory of the file."""
        config = self.load(
            """
            advertise = "203.0.113.5"
            plugin_directories = ["plugins", "/opt/plugins"]
            required_plugins = ["doorman"]
            control = "run/control.sock"

            [[routes]]
            pattern = "1[0-9]+"
            application = "ring"
            options = { seconds = 5 }
            endpoints = ["trunk"]

            [[endpoints]]
            name = "trunk"
            is_trusted = true
            reliable = "required"

            [plugins.doorman]
            anything = [1, 2]

            [rtp]
            ports = "20000-20999"

            [limits]
            sessions = 100
            drain = "500ms"

            [logging]
            level = "warn"
            levels = { "sipsess.transport" = "debug" }
            file = "sipsess.log"
            """
        ).config
        here = self.directory
        self.assertEqual(config.plugin_directories, (here / "plugins", Path("/opt/plugins")))
        self.assertEqual(config.control, here / "run/control.sock")
        route = RouteTable(
            pattern="1[0-9]+", application="ring", options={"seconds": 5}, endpoints=("trunk",)
        )
        self.assertEqual(config.routes, (route,))
        endpoint = Endpoint("trunk", is_trusted=True, reliable="required")
        self.assertEqual(config.endpoints, (endpoint,))
        self.assertEqual(config.plugins, {"doorman": {"anything": [1, 2]}})
        self.assertEqual(config.rtp.ports, PortRange(20000, 20999))
        self.assertEqual((config.limits.sessions, config.limits.drain), (100, 0.5))
        self.assertEqual(config.limits.dial, LimitsTable().dial)
        log = LoggingTable(
            level="warn", levels={"sipsess.transport": "debug"}, file=here / "sipsess.log"
        )
        self.assertEqual(config.logging, log)

    def test_environment(self) -> None:
        """Secrets may stand in the environment of the process."""
        self.patch(os, "environ", {"A": "x"})
        self.assertEqual(load(self.save("")).config, Config())


class MistakeTests(ConfigCase):
    """What is wrong, with line, place and what to write."""

    def test_all_at_once(self) -> None:
        """Mistakes of all kinds are told together, also those between parts that are right."""
        found = self.mistakes(
            """\
            advertize = "203.0.113.5"
            listeners = ["udp:5060", "udp:x", "udp:5060"]
            [[endpoints]]
            name = "trunk"
            [[endpoints]]
            name = "trunk"
            [[routes]]
            user = "1"
            application = "echo"
            endpoints = [
                "trunk",
                "trnk",
            ]
            [[routes]]
            usr = "2"
            application = "echo"
            [[routes]]
            user = "1"
            application = "echo"
            endpoints = ["phones"]
            [limits]
            sessions = "many"
            """
        )
        self.assertEqual(
            sorted(found, key=lambda line: int(line.partition(":")[0])),
            [
                "1: advertize: unknown key 'advertize', did you mean 'advertise'?",
                "2: listeners[1]: cannot listen on 'udp:x': the port is a number from 0 to 65535; "
                "write udp:5060",
                "2: listeners[2]: 'udp:5060' stands in listeners[0] already",
                "5: endpoints[1]: 'trunk' stands in endpoints[0] already",
                "12: routes[0].endpoints[1]: there is no endpoint 'trnk' in this file, did you "
                "mean 'trunk'?",
                "15: routes[1].usr: unknown key 'usr', did you mean 'user'?",
                "20: routes[2].endpoints[0]: there is no endpoint 'phones' in this file; there "
                "are: trunk",
                "22: limits.sessions: is a whole number, and not a string",
            ],
        )

    def test_broken_endpoints_are_not_missed(self) -> None:
        """Nobody is told that an endpoint is not there when it could merely not be read."""
        found = self.mistakes(
            """\
            endpoints = [{ name = "trunk", trusted = true }]
            routes = [{ user = "1", application = "echo", endpoints = ["trunk"] }]
            """
        )
        self.assertEqual(
            found,
            ["1: endpoints[0].trusted: unknown key 'trusted', did you mean 'is_trusted'?"],
        )

    def test_listeners(self) -> None:
        """None, a wrong one as a table, an address that is none."""
        self.assertEqual(
            self.mistakes("listeners = []"),
            ['1: listeners: is not empty; leave it out for "udp:5060"'],
        )
        table = '[[listeners]]\ntransport = "carrier-pigeon"\nport = 5060\n'
        [line] = self.mistakes(table)
        self.assertTrue(line.startswith("1: listeners[0]: cannot listen on 'carrier-pigeon:5060'"))
        self.assertEqual(
            self.mistakes('[[listeners]]\nport = "5060"\n'),
            [
                "1: listeners[0].transport: is missing",
                "2: listeners[0].port: is a whole number, and not a string",
            ],
        )
        self.assertEqual(
            self.mistakes('advertise = "pbx.example"\nlisteners = ["udp:1:advertise=x"]'),
            [
                "1: advertise: is an IP address, such as 203.0.113.5, not 'pbx.example'",
                "2: listeners[0].advertise: is an IP address, such as 203.0.113.5, not 'x'",
            ],
        )
        self.assertEqual(
            self.mistakes('local_networks = ["10.0.0.0/8", "ten"]'),
            ["1: local_networks[1]: is wrong: 'ten' is no network; write 10.0.0.0/8 or fd00::/8"],
        )
        self.assertEqual(
            self.mistakes("keep_alive_interval = 0.5"),
            ["1: keep_alive_interval: is wrong: 0.5 s is out of range; write 1 to 3600 seconds"],
        )
        table = '[[listeners]]\ntransport = "udp"\nport = 1\nlocal_networks = ["ten"]\n'
        [line] = self.mistakes(table)
        self.assertIn("'ten' is no network", line)
        self.assertEqual(
            self.mistakes("listeners = 5"),
            ["1: listeners: is an array, in square brackets, not a number"],
        )

    def test_routes(self) -> None:
        """A route is for one user or one pattern, which is quick, and is not hidden."""
        for text, said in (
            ("", 'routes[0]: has either user = "..." or pattern = "..."'),
            ('user = "1"\npattern = "1"', 'routes[0]: has either user = "..." or pattern = "..."'),
            ('user = ""', "routes[0].user: is not empty"),
            (
                'pattern = "1["',
                "routes[0].pattern: '1[' is no regular expression: unterminated character set at "
                "position 1",
            ),
            (
                'pattern = "(a*)*"',
                "routes[0].pattern: '(a*)*' could take too long to match: repeat less, and nothing "
                "that is repeated within itself",
            ),
        ):
            [line] = self.mistakes(f'[[routes]]\napplication = "echo"\n{text}\n')
            self.assertEqual(line.partition(": ")[2], said)
        route = '[[routes]]\napplication = "echo"\nuser = "1"\n'
        self.assertEqual(
            self.mistakes(route * 2),
            ["4: routes[1]: is never used: routes[0] takes the same calls"],
        )

    def test_names_of_endpoints(self) -> None:
        """A name is there, and can be printed."""
        for name, shown in (("", "''"), ("\\u0007", "'\\x07'")):
            self.assertEqual(
                self.mistakes(f'[[endpoints]]\nname = "{name}"\n'),
                [f"1: endpoints[0]: an endpoint needs a name of printable letters, not {shown}"],
            )

    def test_networks_of_endpoints(self) -> None:
        """Each network has its own place."""
        self.assertEqual(
            self.mistakes(
                """\
                [[endpoints]]
                name = "trunk"
                networks = [
                    "192.0.2.0/24",
                    "192.0.2.1/24",
                ]
                """
            ),
            [
                "5: endpoints[0].networks[1]: '192.0.2.1/24' is an address within a network: "
                "write '192.0.2.0/24'"
            ],
        )

    def test_secret_is_not_shown(self) -> None:
        """What stands where a secret's place belongs is in no mistake."""
        text = '[[endpoints]]\nname = "x"\npassword = "sesame"\nis_trusted = "sesame"\n'
        found = self.mistakes(text)
        self.assertEqual(len(found), 2)
        self.assertNotIn("sesame", "".join(found))


class FileTests(ConfigCase):
    """Files that cannot be read at all."""

    def only_mistake(self, file: str) -> str:
        """Return the one thing that is wrong with a file."""
        loaded = load(file)
        self.assertEqual(loaded.config, Config())
        self.assertIn("plugins", loaded.broken)
        [mistake] = loaded.mistakes
        return str(mistake)

    def test_missing(self) -> None:
        """A file that is not there, or is none."""
        self.assertEqual(
            self.only_mistake("/nowhere.toml"),
            "/nowhere.toml: cannot be read: No such file or directory; say which file to read",
        )
        self.assertEqual(
            self.only_mistake(str(self.directory)),
            f"{self.directory}: cannot be read: Is a directory",
        )

    def test_syntax(self) -> None:
        """What TOML does not allow, with the line."""
        file = self.save('a = 1\nb = "x\n')
        said = self.only_mistake(file)
        self.assertTrue(said.startswith(f"{file}:2: this is no TOML: "), said)
        self.assertNotIn("at line", said)
        file = self.save("a = 1\nb = [")
        self.assertTrue(self.only_mistake(file).startswith(f"{file}:2: this is no TOML: "))
        file = self.save("a = " + "[" * 5000)
        self.assertTrue(self.only_mistake(file).startswith(f"{file}:1: this is no TOML: "))

    def test_letters(self) -> None:
        """A file that is no UTF-8, with the line."""
        file = self.directory / "x.toml"
        file.write_bytes(b"a = 1\nb = '\xff'\n")
        self.assertEqual(self.only_mistake(str(file)), f"{file}:2: this is no UTF-8")

    def test_size(self) -> None:
        """A file that is longer than anybody writes."""
        file = self.save("# 123")
        with patch.object(reading, "MAX_FILE", 4):
            self.assertEqual(self.only_mistake(file), f"{file}: has more than 4 bytes")
