# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Each reason code in the source is declared, with a sentence for people, and none is stale."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.source import Module, package_modules

_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _name(node: ast.expr) -> str:
    """Return the last part of a dotted name, or ``""``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _remote_errors() -> dict[str, int]:
    """Return each subclass of RemoteError and which positional argument is its reason code."""
    classes = {
        node.name: node
        for module in package_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"RemoteError": 0}
    for _ in classes:  # as deep as the longest chain of subclasses can be
        for name, node in classes.items():
            bases = [found[_name(base)] for base in node.bases if _name(base) in found]
            if bases and name not in found:
                found[name] = _position(node, bases[0])
    return found


def _position(node: ast.ClassDef, inherited: int) -> int:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            names = [argument.arg for argument in item.args.args[1:]]
            return names.index("reason_code") if "reason_code" in names else -1
    return inherited


def _argument(call: ast.Call, position: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == "reason_code":
            return keyword.value
    return call.args[position] if 0 <= position < len(call.args) else None


def _literals(node: ast.expr | None) -> Iterator[str]:
    """Yield the strings that an expression may be; other expressions pass a code on."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _literals(value)
    elif isinstance(node, ast.JoinedStr):
        yield "an f-string: the set of reason codes is fixed"


def _raised(module: Module, errors: dict[str, int]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func)
        if name == "refuse":
            codes = _literals(_argument(node, 0))
        elif name in errors:
            codes = _literals(_argument(node, errors[name]))
        else:
            continue
        for code in codes:
            yield node.lineno, code


def _declared() -> dict[str, dict[str, list[str]]]:
    """Return reason code to sentence to the places that declare it."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module in package_modules():
        for node in module.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(
                node.value, ast.Dict
            ):
                continue
            if any(_name(target) == "REASONS" for target in targets):
                for key, text in ast.literal_eval(node.value).items():
                    found[key][text].append(module.where(node.lineno))
    return found


class ReasonCodeTests(SynchronousTestCase):
    """The REASONS of all rooms against the codes in the source."""

    def test_raised_codes_are_declared(self) -> None:
        """Each literal code that is raised or counted stands in a REASONS table."""
        declared, errors = _declared(), _remote_errors()
        found = [
            f"{module.where(line)}: {code!r}"
            for module in package_modules()
            for line, code in _raised(module, errors)
            if code not in declared
        ]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_declared_codes_are_used(self) -> None:
        """No table keeps a code that nothing in the source says any more."""
        said: dict[str, int] = defaultdict(int)
        for module in package_modules():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    said[node.value] += 1
        stale = [
            f"{places[0]}: {code!r}"
            for code, texts in _declared().items()
            for places in texts.values()
            if said[code] <= sum(map(len, texts.values()))
        ]
        self.assertEqual(stale, [], "\n" + "\n".join(stale))

    def test_codes_are_kebab_case_with_one_sentence(self) -> None:
        """A code is a counter's name; its sentence is the same wherever it is declared."""
        for code, texts in _declared().items():
            self.assertTrue(_KEBAB.fullmatch(code), code)
            self.assertEqual(len(texts), 1, f"{code!r} is explained in two ways: {list(texts)}")
            self.assertGreater(len(next(iter(texts)).split()), 2, code)
