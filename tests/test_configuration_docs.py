# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The example of a configuration, and the page of its keys, are complete and up to date."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import tomllib
from types import ModuleType
from typing import Any, get_type_hints

import attrs
from twisted.trial.unittest import SynchronousTestCase

import sipsess.plugins
from sipsess.commands.check import check
from sipsess.config import load, model
from sipsess.config.plan import find_configured_plugins, make_plan
from sipsess.config.values import PortRange
from sipsess.defence import DefenceSettings
from sipsess.endpoint import Endpoint
from sipsess.transport.listen import ListenSpec
from tests.examples import load as load_module
from tests.examples import write_files
from tests.source import ROOT

EXAMPLE = ROOT / "examples" / "sipsess.toml"

#: A key that is left out begins with "#" and no space; so do the lines of an array that is.
_LEFT_OUT = re.compile(r"(?m)^( *)#(?! |$)|^#(?=    \{)")


def generator() -> ModuleType:
    """Return the program that makes the page."""
    return load_module(ROOT / "docs" / "make_configuration.py")


def keys_of(kind: type) -> set[str]:
    """Return the keys of a table, and those of tables in it that have no section of their own."""
    return {key.name for key in generator().keys_of(kind)}


def keys_in(tables: list[Any], known: set[str], path: str = "") -> set[str]:
    """Return the keys that stand in some tables, and those in tables of these that are known."""
    found = set()
    for table in tables:
        for key, value in table.items() if isinstance(table, dict) else ():
            found.add(path + key)
            if any(name.startswith(f"{path}{key}.") for name in known):
                inner = value if isinstance(value, list) else [value]
                found |= keys_in(inner, known, f"{path}{key}.")
    return found


class ExampleTests(SynchronousTestCase):
    """examples/sipsess.toml."""

    def everything(self) -> str:
        """Return the example with the keys that are left out in it."""
        return _LEFT_OUT.sub("", EXAMPLE.read_text(encoding="utf-8"))

    def test_it_is_good(self) -> None:
        """The file is good as it stands, with the shipped plugins alone."""
        loaded = load(str(EXAMPLE), {})
        self.assertEqual(loaded.mistakes, ())
        plan = make_plan(loaded, *find_configured_plugins(loaded))
        self.assertEqual(len(plan.router.routes), len(loaded.config.routes))

    def test_other_examples(self) -> None:
        """So is each other configuration among the examples."""
        paths = sorted(EXAMPLE.parent.glob("*.toml"))
        self.assertGreater(len(paths), 1)
        for path in paths:
            loaded = load(str(path), {})
            self.assertEqual(loaded.mistakes, (), path.name)
            make_plan(loaded, *find_configured_plugins(loaded))

    def test_every_key(self) -> None:
        """Each key of the model stands in the file, and no other; those that are left out, too."""
        tables = tomllib.loads(self.everything())
        for kind, found in (
            (model.Config, [tables]),
            (ListenSpec, tables["listeners"]),
            (model.RouteTable, tables["routes"]),
            (Endpoint, tables["endpoints"]),
            (model.DigestTable, [tables["digest"]]),
            (DefenceSettings, [tables["defence"]]),
            (model.RegistrarTable, [tables["registrar"]]),
            (model.RegistrationTable, tables["registrations"]),
            (model.CallRecordTable, [tables["cdr"]]),
            (model.MediaTable, [tables["media"]]),
            (model.RTPTable, [tables["rtp"]]),
            (model.LimitsTable, [tables["limits"]]),
            (model.LoggingTable, [tables["logging"]]),
        ):
            known = keys_of(kind)
            self.assertEqual(keys_in(found, known), known, kind.__name__)

    def test_what_is_left_out_is_the_default(self) -> None:
        """What the file shows of a number or word that is left out is what holds without it."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(self.everything())
        secrets = {f"{name}_PASSWORD": "x" for name in ("DOORMAN", "ANNA", "BERT")}
        pathlib.Path(path).with_name("desk.secret").write_text("x\n")
        shown = load(path, secrets)
        self.assertEqual(shown.mistakes, ())
        assert shown.config.registrar is not None
        self.assertEqual(shown.config.defence, DefenceSettings())
        self.assertEqual(shown.config.registrar.limits, model.RegistrarTable().limits)
        for name in ("rtp", "limits", "logging", "digest", "registrar"):
            table: Any = getattr(shown.config, name)
            for field in attrs.fields(type(table)):
                if field.name.endswith("_per_peer"):
                    whole = getattr(table, field.name.removesuffix("_per_peer"))
                    self.assertEqual(getattr(table, field.name), whole * 3 // 4)
                elif isinstance(field.default, bool | int | float | str | PortRange):
                    self.assertEqual(getattr(table, field.name), field.default, field.name)
        self.assertEqual(shown.config.endpoints[0], Endpoint("anonymous"))


class HowToTests(SynchronousTestCase):
    """docs/how-to/configure.rst."""

    PAGE = ROOT / "docs" / "how-to" / "configure.rst"

    def setUp(self) -> None:
        """Save the files of the page, and go there."""
        folder = pathlib.Path(self.mktemp()).resolve()
        write_files(self.PAGE, folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.file = folder / "sipsess.toml"
        self.patch(sipsess.plugins, "__path__", list(sipsess.plugins.__path__))
        self.addCleanup(sys.modules.pop, "sipsess.plugins.doorman", None)

    def test_file_is_good(self) -> None:
        """The file of the page is good together with its plugin, which takes a table."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write('[plugins.doorman]\nrefused = ["eve"]\n')
        lines, is_good = check("sipsess.toml")
        self.assertTrue(is_good, lines)
        loaded = load("sipsess.toml")
        plan = make_plan(loaded, *find_configured_plugins(loaded))
        [table] = [item.table for item in plan.tables if item.name == "doorman"]
        self.assertEqual(table.refused, frozenset({"eve"}))

    def test_mistakes_are_as_shown(self) -> None:
        """The mistakes that the page shows are what is said about them."""
        text = self.file.read_text(encoding="utf-8")
        text = text.replace('"echo"', '"ecko"').replace("sessions", "sesions")
        self.file.write_text(text, encoding="utf-8")
        lines, is_good = check("sipsess.toml")
        self.assertFalse(is_good)
        page = self.PAGE.read_text(encoding="utf-8")
        for line in lines:
            self.assertIn(f"\n    {line}\n", page)


class PageTests(SynchronousTestCase):
    """docs/configuration.rst."""

    def test_page_is_up_to_date(self) -> None:
        """Run docs/make_configuration.py when this fails."""
        page = (ROOT / "docs" / "configuration.rst").read_text(encoding="utf-8")
        self.assertEqual(page, generator().build())

    def test_every_key_is_explained(self) -> None:
        """Each key has a sentence that was written for it."""
        for _, _, kind in generator().sections():
            for key in generator().keys_of(kind):
                self.assertRegex(key.text, r"^[A-Z0-9].*\.$", f"{kind.__name__}.{key.name}")

    def test_every_table_has_a_section(self) -> None:
        """A table that is added to the model is added to the page."""
        shown = {kind for _, _, kind in generator().sections()}
        inside = {generator().inner_table(hint) for kind in shown for hint in hints_of(kind)}
        tables = {item for item in vars(model).values() if attrs.has(item)}
        self.assertEqual(tables - shown - inside, set())


def hints_of(kind: type) -> list[Any]:
    """Return the types of the fields of a class."""
    return list(get_type_hints(kind).values())
