# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The spelling of values, and what is said about one that is spelled otherwise."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.config import values
from sipsess.config.values import PortRange


class ValueCase(SynchronousTestCase):
    """The base: a value is refused with a sentence."""

    def refuse(self, read: Callable[..., object], *arguments: Any) -> str:
        """Return what is said."""
        return str(self.assertRaises(ValueError, read, *arguments))


class PlainTests(ValueCase):
    """Truth values, numbers, strings, tables."""

    def test_good(self) -> None:
        """Each is what TOML says it is."""
        self.assertIs(values.read_bool(False), False)
        self.assertEqual(values.read_int(-3), -3)
        self.assertEqual(values.read_count(1), 1)
        self.assertEqual(values.read_str("x"), "x")
        self.assertEqual(values.read_table({"x": 1}), {"x": 1})

    def test_other_kinds(self) -> None:
        """Nothing is taken for something else, and what was found is named, not shown."""
        found = datetime.datetime(2026, 1, 1)
        for read, value, text in (
            (values.read_bool, "yes", "is true or false, without quotes, and not a string"),
            (values.read_bool, 1, "is true or false, without quotes, and not a number"),
            (values.read_int, "5", "is a whole number, and not a string"),
            (values.read_int, 5.0, "is a whole number, and not a number"),
            (values.read_int, True, "is a whole number, and not a truth value"),
            (values.read_count, 0, "is at least 1, and not 0"),
            (values.read_str, 5, "is a string, in quotes, and not a number"),
            (values.read_str, found, "is a string, in quotes, and not a date or time"),
            (values.read_table, [], "is a table, and not an array"),
        ):
            self.assertEqual(self.refuse(read, value), text)


class TimeTests(ValueCase):
    """Times."""

    def test_good(self) -> None:
        """A number is seconds; a string has a unit."""
        for value, seconds in (
            *((30, 30.0), (1.5, 1.5), ("30s", 30.0), ("250ms", 0.25), ("1.5 s", 1.5)),
            *(("5m", 300.0), ("2h", 7200.0), ("1d", 86400.0)),
        ):
            self.assertEqual(values.read_float(value), seconds)
            self.assertEqual(values.read_seconds(value), seconds)
        self.assertEqual(values.read_float(-0.5), -0.5)

    def test_bad(self) -> None:
        """What to write is said."""
        start = 'is a number of seconds or a time such as "30s", "5m" or "1h", not '
        for value, shown in (
            ("30 seconds", "'30 seconds'"),
            ("", "''"),
            (True, "a truth value"),
            (float("inf"), "inf"),
            ([], "an array"),
        ):
            self.assertEqual(self.refuse(values.read_float, value), start + shown)
        for value in (0, -1, "0s"):
            self.assertEqual(
                self.refuse(values.read_seconds, value), f"is more than no time, and not {value!r}"
            )


class SizeTests(ValueCase):
    """Sizes."""

    def test_good(self) -> None:
        """A number is bytes; a string has a unit."""
        for value, size in (
            (1, 1),
            ("7B", 7),
            ("2kB", 2000),
            ("64 MiB", 64 << 20),
            ("1GiB", 1 << 30),
        ):
            self.assertEqual(values.read_size(value), size)

    def test_bad(self) -> None:
        """What to write is said."""
        start = 'is a number of bytes or a size such as "64MiB", not '
        for value, shown in (
            ("64mb", "'64mb'"),
            (0, "0"),
            ("0B", "0"),
            (1.5, "a number"),
            (True, "True"),
        ):
            self.assertEqual(self.refuse(values.read_size, value), start + shown)


class PortTests(ValueCase):
    """Ranges of ports."""

    def test_good(self) -> None:
        """The first and the last."""
        self.assertEqual(values.read_ports("10000-29999"), PortRange(10000, 29999))
        self.assertEqual(str(PortRange(1, 2)), "1-2")

    def test_bad(self) -> None:
        """A range without an even port is none."""
        for value in ("1000", "2000-1000", "0-10", "5001-5001", "1-70000", "a-b", "1-2-3", "-5"):
            text = self.refuse(values.read_ports, value)
            self.assertEqual(
                text,
                'is "LOW-HIGH" with at least one even port between 1 and 65535, such as '
                f'"10000-29999", not {value!r}',
            )
        self.assertIn("not a number", self.refuse(values.read_ports, 5000))


class NetworkTests(ValueCase):
    """Networks."""

    def test_good(self) -> None:
        """An address is a network of one."""
        for text in ("192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "::1"):
            self.assertEqual(values.read_network(text), ip_network(text))

    def test_bad(self) -> None:
        """Host bits are not left out silently."""
        self.assertEqual(
            self.refuse(values.read_network, "192.0.2.1/24"),
            "'192.0.2.1/24' is an address within a network: write '192.0.2.0/24'",
        )
        self.assertEqual(
            self.refuse(values.read_network, "pbx.example"),
            "is an address or a network, such as 192.0.2.0/24 or 2001:db8::/32, not 'pbx.example'",
        )


class PathTests(ValueCase):
    """Names of files."""

    def test_relative(self) -> None:
        """A relative name is below the directory of the file; home directories are known."""
        here = Path("/etc/sipsess")
        self.assertEqual(values.read_path("plugins", here), Path("/etc/sipsess/plugins"))
        self.assertEqual(values.read_path("/x/y", here), Path("/x/y"))
        self.assertEqual(values.read_path("~/x", here), Path.home() / "x")

    def test_bad(self) -> None:
        """An empty name, and one that no file has."""
        for text in ("", "a\0b"):
            said = self.refuse(values.read_path, text, Path())
            self.assertEqual(said, f"is the name of a file, not {text!r}")


class SecretTests(ValueCase):
    """Secrets: from elsewhere, and never shown."""

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, data: bytes) -> Path:
        """Write the file "secret"."""
        path = self.directory / "secret"
        path.write_bytes(data)
        return path

    def read(self, value: object, **environment: str) -> str:
        """Return the secret that a value stands for."""
        return values.read_secret(value, self.directory, environment).reveal()

    def refuse_secret(self, value: object, **environment: str) -> str:
        """Return what is said about a value; the secret is not in it."""
        text = self.refuse(values.read_secret, value, self.directory, environment)
        self.assertNotIn("sesame", text)
        return text

    def test_environment(self) -> None:
        """A variable of the process."""
        self.assertEqual(self.read({"env": "TRUNK"}, TRUNK="sesame"), "sesame")
        self.assertEqual(
            self.refuse_secret({"env": "TRUNK"}), "the environment has no variable TRUNK"
        )
        for bad in ("", "sesame\nsesame", "sesame" * 1000):
            self.assertEqual(
                self.refuse_secret({"env": "TRUNK"}, TRUNK=bad),
                "the variable TRUNK does not hold one line with a secret",
            )

    def test_file(self) -> None:
        """The one line of a file, below the directory of the configuration."""
        path = self.write(b"sesame\n")
        self.assertEqual(self.read({"file": "secret"}), "sesame")
        self.assertEqual(self.read({"file": str(path.absolute())}), "sesame")
        for bad in (b"", b"\n", b"sesame\nsesame\n"):
            self.write(bad)
            self.assertEqual(
                self.refuse_secret({"file": "secret"}),
                f"{path} does not hold one line with a secret",
            )
        self.write(b"sesame\xff")
        self.assertEqual(self.refuse_secret({"file": "secret"}), f"{path} is no text in UTF-8")
        os.unlink(path)
        self.assertEqual(
            self.refuse_secret({"file": "secret"}), f"cannot read {path}: No such file or directory"
        )

    def test_in_the_file_itself(self) -> None:
        """A secret does not stand in the configuration, and is not repeated when it does."""
        said = (
            'does not stand in this file: write { env = "NAME" } or { file = "PATH" }, one of them'
        )
        for value in ("sesame", {}, {"env": "A", "file": "B"}, {"password": "sesame"}, ["sesame"]):
            self.assertEqual(self.refuse_secret(value), said)
        self.assertIn("is a string", self.refuse_secret({"env": 5}))
