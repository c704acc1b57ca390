# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The page of supported RFCs does not lie: it is up to date, and each test that it names exists."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from tests.rfc import ALL, DONE, NOT, RFC, STATUSES, Section
from tests.source import ROOT, package_modules

#: RFCs that the source names in passing: a format, a name, or what came before or beside.
MENTIONED = frozenset(
    {
        *(768, 1035, 1918, 2543, 2606, 3398, 3403, 3959, 4193, 4855, 5888, 6598, 8289, 8840),
        9110,
    }
)

_ROLE = re.compile(r":rfc:`(\d+)")


@cache
def tests_of(module: str) -> dict[str, set[str]] | None:
    """Return class to tests of a module below ``tests``, or ``None`` when there is no such one."""
    path = ROOT / "tests" / (module.replace(".", "/") + ".py")
    if not path.is_file():
        return None
    return {
        node.name: {
            item.name
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            and item.name.startswith("test")
        }
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


def exists(name: str) -> bool:
    """Tell whether there is such a test, such a class with tests, or such a module with tests."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        found = tests_of(".".join(parts[:length]))
        if found is None:
            continue
        rest = parts[length:]
        if not rest:
            return any(found.values())
        tests = found.get(rest[0], set())
        return bool(tests) if len(rest) == 1 else len(rest) == 2 and rest[1] in tests
    return False


def faults(rfcs: tuple[RFC, ...]) -> list[str]:
    """Return what is wrong with a table."""
    found = []
    for item in rfcs:
        for section in item.sections:
            where = f"RFC {item.number} {section.number or section.title}"
            if section.status not in STATUSES:
                found.append(f"{where}: what is {section.status!r}?")
            if section.status != NOT and not section.tests:
                found.append(f"{where} is {section.status} without any test")
            if (section.status == DONE) is bool(section.note):
                found.append(f"{where} is {section.status}: what is missing must be said, then")
            found += [f"{where}: no test {name}" for name in section.tests if not exists(name)]
        keys = [(section.number, section.title) for section in item.sections]
        found += [f"RFC {item.number} {key} twice" for key in set(keys) if keys.count(key) > 1]
    numbers = [item.number for item in rfcs]
    found += [f"RFC {number} twice" for number in set(numbers) if numbers.count(number) > 1]
    return found


class TableTests(SynchronousTestCase):
    """The table is right, and what checks it sees what is not."""

    def test_no_faults(self) -> None:
        """Each name is that of a test, and each claim has one."""
        self.assertEqual(faults(ALL), [], "\n" + "\n".join(faults(ALL)))

    def test_faults_are_found(self) -> None:
        """A claim with no test, with a test that is none, or without a word is not let through."""
        real = "test_supported_rfcs.TableTests.test_no_faults"
        for section in (
            Section("1", "x", DONE),
            Section("1", "x", "perhaps", (real,), "y"),
            Section("1", "x", DONE, (real,), "but not quite"),
            Section("1", "x", NOT),
            *(
                Section("1", "x", DONE, (name,))
                for name in (
                    "nowhere",
                    "rfc",
                    "test_supported_rfcs.TableTests.test_nothing",
                    "test_supported_rfcs.Nobody",
                    "test_supported_rfcs.TableTests.test_no_faults.more",
                )
            ),
        ):
            self.assertEqual(len(faults((RFC(1, "x", (section,)),))), 1, section)
        good = RFC(1, "x", (Section("1", "x", DONE, (real, "test_supported_rfcs.TableTests")),))
        self.assertEqual(faults((good,)), [])
        self.assertEqual(faults((good, good)), ["RFC 1 twice"])
        self.assertEqual(len(faults((RFC(1, "x", good.sections * 2),))), 1)

    def test_what_the_source_names_is_there(self) -> None:
        """Each RFC that a docstring of the source points to is in the table."""
        named = {
            int(number)
            for module in package_modules()
            for number in _ROLE.findall(module.path.read_text(encoding="utf-8"))
        }
        self.assertEqual(named - {item.number for item in ALL} - MENTIONED, set())


class PageTests(SynchronousTestCase):
    """The page against the table."""

    def test_page_is_up_to_date(self) -> None:
        """``python docs/make_supported_rfcs.py`` would change nothing."""
        path = ROOT / "docs" / "make_supported_rfcs.py"
        spec = importlib.util.spec_from_file_location("make_supported_rfcs", path)
        assert spec is not None and spec.loader is not None
        maker = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(maker)
        self.assertEqual(maker.PAGE.read_text(encoding="utf-8"), maker.build())
