# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the tests of configurations share: a directory, and files in it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from sipsess.config import Loaded, load
from sipsess.config.mistakes import format_path
from sipsess.config.plan import Plan, find_configured_plugins, make_plan

from .test_registry import RegistryCase

#: Two plugins that have tables of their own.
GREETER = """
    from dataclasses import dataclass
    from zope.interface import implementer
    from sipsess.interfaces import IConfigurable
    from sipsess.secret import Secret
    from sipsess.supplement import SessionSupplement

    @dataclass(frozen=True)
    class Table:
        greeting: str
        pause: float = 1.5
        password: Secret | None = None

    @implementer(IConfigurable)
    class Greeter(SessionSupplement):
        name = "greeter"
        priority = 500
        configuration = Table

        def __init__(self):
            self.tables = []

        def configure(self, table):
            if table.greeting == "rude":
                raise ValueError("a greeting is polite")
            if table.greeting == "fatal":
                raise KeyError("boom")
            self.tables.append(table)

    @dataclass(frozen=True)
    class Counting:
        start: int = 0

    @implementer(IConfigurable)
    class Counter(SessionSupplement):
        name = "a-counter"
        priority = 510
        configuration = Counting

        def __init__(self):
            self.starts = []
            self.refuses = False

        def configure(self, table):
            if self.refuses:
                raise RuntimeError("no more")
            self.starts.append(table.start)

    counter = Counter()
    greeter = Greeter()
"""


#: A codec that has yet to be installed.
ABSENT = """
    from sipsess.codec import Codec

    class Absent(Codec):
        missing = "install it"

    absent = Absent("absent", 8000)
"""


class ConfigCase(RegistryCase):
    """The base: a file can be written, read, and made a plan of."""

    def save(self, text: str, name: str = "sipsess.toml") -> str:
        """Write a configuration file; return its name."""
        return self.write(name, dedent(text))

    def load(self, text: str, environment: Mapping[str, str] | None = None) -> Loaded:
        """Return what is read of a file with this text."""
        return load(self.save(text), environment or {})

    def mistakes(self, text: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """Return what is wrong with a file, without its name: line, place, sentence."""
        loaded = self.load(text, environment)
        return [f"{item.line}: {format_path(item.path)}: {item.text}" for item in loaded.mistakes]

    def plan(self, text: str) -> Plan:
        """Return the plan that a file makes with the plugins that there are."""
        loaded = self.load(text)
        return make_plan(loaded, *find_configured_plugins(loaded))
