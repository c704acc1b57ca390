# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tables become objects, by the types of their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from sipsess.config.mistakes import ConfigError, Source, format_path, suggest
from sipsess.config.structure import Structurer, can_stand_in_file, field_names
from sipsess.config.values import Count, PortRange, Seconds, Size
from sipsess.endpoint import Endpoint
from sipsess.interfaces import IApplication, ICredentials
from sipsess.secret import Secret


@frozen
class Inner:
    """A table in a table."""

    number: int = 7


@dataclass(frozen=True)
class Outer:
    """A table with a key of each kind."""

    name: str
    numbers: tuple[int, ...] = ()
    words: frozenset[str] = frozenset()
    times: Mapping[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    more: list[Inner] = field(default_factory=list)
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    password: Secret | None = None
    size: Size | None = None
    count: Count | None = None
    wait: Seconds | None = None
    ports: PortRange | None = None
    file: Path | None = None
    mode: Literal["slow", "fast"] = "slow"
    anything: Mapping[str, Any] = field(default_factory=dict)
    application: IApplication | None = None
    hidden: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("that is no name")


class StructureCase(SynchronousTestCase):
    """The base: a table is read."""

    def setUp(self) -> None:
        """Make a reader."""
        self.structurer = Structurer(Path("/here"), {"SECRET": "sesame"})

    def read(self, **table: Any) -> Any:
        """Return what a table becomes."""
        return self.structurer.read(table, Outer, Source("file", {}), ())

    def refuse(self, **table: Any) -> list[str]:
        """Return what is wrong with a table that has a name."""
        table.setdefault("name", "x")
        error = self.assertRaises(ConfigError, self.read, **table)
        return [f"{format_path(item.path)}: {item.text}" for item in error.mistakes]


class GoodTests(StructureCase):
    """What is right."""

    def test_defaults(self) -> None:
        """What is left out has its default."""
        self.assertEqual(self.read(name="x"), Outer("x"))

    def test_everything(self) -> None:
        """A key of each kind."""
        found = self.read(
            name="x",
            numbers=[1, 2],
            words=["a", "b"],
            times={"short": "1s", "long": 60},
            inner={"number": 1},
            more=[{}, {"number": 2}],
            networks=["192.0.2.0/24", "::1"],
            password={"env": "SECRET"},
            size="1KiB",
            count=3,
            wait="5m",
            ports="1000-2000",
            file="log",
            mode="fast",
            anything={"x": [1]},
        )
        expected = Outer(
            "x",
            numbers=(1, 2),
            words=frozenset({"a", "b"}),
            times={"short": 1.0, "long": 60.0},
            inner=Inner(1),
            more=[Inner(7), Inner(2)],
            networks=(IPv4Network("192.0.2.0/24"), IPv6Network("::1")),
            password=Secret("sesame"),
            size=Size(1024),
            count=Count(3),
            wait=Seconds(300.0),
            ports=PortRange(1000, 2000),
            file=Path("/here/log"),
            mode="fast",
            anything={"x": [1]},
        )
        self.assertEqual(found, expected)
        self.assertNotIn("sesame", repr(found))

    def test_endpoint(self) -> None:
        """Each field of an endpoint is a key."""
        endpoint = self.structurer.read({"name": "x"}, Endpoint, Source("", {}), ())
        self.assertEqual(endpoint, Endpoint("x"))
        keys = self.structurer.known_keys[Endpoint]
        self.assertEqual(list(keys), [item.name for item in fields(Endpoint)])
        self.assertTrue(all(name == key for name, key in keys.items()))


class BadTests(StructureCase):
    """What is wrong, all of it at once."""

    def test_all_at_once(self) -> None:
        """Each mistake has its place; the good parts are not spoken of."""
        found = self.refuse(
            numbers=[1, "2", 3.5],
            words="abc",
            times={"short": "soon", "long": 1},
            inner={"numbr": 1},
            more=[{"number": "1"}, {}, {"x": 1, "number": False}, 5],
            networks=["192.0.2.0/24", "192.0.2.1/24"],
            mode="fats",
            nmbers=[],
        )
        self.assertEqual(
            set(found),
            {
                "numbers[1]: is a whole number, and not a string",
                "numbers[2]: is a whole number, and not a number",
                "words: is an array, in square brackets, not a string",
                'times.short: is a number of seconds or a time such as "30s", "5m" or "1h", '
                "not 'soon'",
                "inner.numbr: unknown key 'numbr', did you mean 'number'?",
                "more[0].number: is a whole number, and not a string",
                "more[2].x: unknown key 'x'; there are: number",
                "more[2].number: is a whole number, and not a truth value",
                "more[3]: is a table, and not a number",
                "networks[1]: '192.0.2.1/24' is an address within a network: write '192.0.2.0/24'",
                "mode: there is no 'fats' here, did you mean 'fast'?",
                "nmbers: unknown key 'nmbers', did you mean 'numbers'?",
            },
        )
        self.assertEqual(len(found), 12)

    def test_missing(self) -> None:
        """A key without a default."""
        error = self.assertRaises(ConfigError, self.read)
        self.assertEqual(str(error), "file: name: is missing")

    def test_no_table(self) -> None:
        """Something else where a table belongs; and a word of several."""
        self.assertEqual(self.refuse(inner=5), ["inner: is a table, and not a number"])
        self.assertEqual(self.refuse(times=[]), ["times: is a table, and not an array"])
        self.assertEqual(
            self.refuse(mode=5), ["mode: is one of slow, fast, in quotes, not a number"]
        )

    def test_objection_of_a_class(self) -> None:
        """What a class itself objects to belongs to its table."""
        error = self.assertRaises(ConfigError, self.read, name="bad")
        self.assertEqual(str(error), "file: that is no name")

    def test_fields_that_are_none(self) -> None:
        """Neither an interface nor what the constructor does not take can stand in a file."""
        said = "unknown key 'application'"
        self.assertIn(said, self.refuse(application="x")[0])
        self.assertIn("unknown key 'hidden'", self.refuse(hidden=1)[0])
        self.assertEqual(field_names(Inner), ["number"])
        self.assertFalse(can_stand_in_file(IApplication | None))
        self.assertFalse(can_stand_in_file(Callable[[], int]))
        self.assertTrue(can_stand_in_file(ICredentials | None))
        self.assertTrue(can_stand_in_file(int | None))


class MistakeTests(SynchronousTestCase):
    """How mistakes are written."""

    def test_path(self) -> None:
        """As in programs; a key that needs quotes has them."""
        self.assertEqual(format_path(("a", 1, "b-c", 0)), "a[1].b-c[0]")
        self.assertEqual(format_path(("a", "x y", "z")), 'a."x y".z')
        self.assertEqual(format_path(()), "")

    def test_suggestion(self) -> None:
        """The nearest word, or all of them, or that there are none."""
        self.assertEqual(
            suggest("Advertize", ["advertise", "listen"]), ", did you mean 'advertise'?"
        )
        self.assertEqual(suggest("zzz", ["b", "a"]), "; there are: a, b")
        self.assertEqual(suggest("zzz", []), "; there are none")

    def test_line(self) -> None:
        """A place without a line has that of the nearest around it."""
        source = Source("x.toml", {("a",): 3, ("a", 0): 4})
        self.assertEqual(str(source.mistake(("a", 0, "b"), "no")), "x.toml:4: a[0].b: no")
        self.assertEqual(str(source.mistake(("a", 1), "no")), "x.toml:3: a[1]: no")
        self.assertEqual(str(source.mistake(("b",), "no")), "x.toml: b: no")
        self.assertEqual(str(Source("", {}).mistake(("b",), "no")), "b: no")
        self.assertEqual(str(Source("x.toml", {}).mistake((), "no")), "x.toml: no")

    def test_order(self) -> None:
        """They are told in the order of the file."""
        source = Source("x", {("a",): 2, ("b",): 1})
        error = ConfigError([source.mistake((key,), "no") for key in ("a", "b", "c")])
        self.assertEqual(str(error), "x: c: no\nx:1: b: no\nx:2: a: no")
