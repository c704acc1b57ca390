# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The project's own source as data, for the tests that read it: files, syntax trees, imports."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

#: The top of the checkout.
ROOT = pathlib.Path(__file__).resolve().parent.parent

#: Folders that hold what people wrote.
FOLDERS = (
    *("sipsess", "twisted", "tests", "docs", "examples", "benchmarks", "tools"),
    *("newsfragments", ".ci"),
)

_TEXT_SUFFIXES = {
    ".py",
    ".rst",
    ".md",
    ".cfg",
    ".toml",
    ".ini",
    ".txt",
    ".yaml",
    ".dot",
    ".xml",
    "",
}
_BUILT = {"__pycache__", "_api", "work", ".git"}


def text_files() -> list[pathlib.Path]:
    """Return every file of the project that people read, sorted."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(
        path
        for path in found
        if path.suffix in _TEXT_SUFFIXES
        and not _BUILT.intersection(path.relative_to(ROOT).parts)
        and not path.name.startswith(".coverage")
    )


def python_files() -> list[pathlib.Path]:
    """Return every Python file of the project, sorted."""
    return [path for path in text_files() if path.suffix == ".py"]


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: where, what, and whether it happens when the file is imported."""

    line: int
    module: str
    is_at_module_level: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the package."""

    name: str
    path: pathlib.Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def where(self, line: int) -> str:
        """Return ``path:line``, as editors like it."""
        return f"{self.path.relative_to(ROOT)}:{line}"

    def imports(self) -> Iterator[Import]:
        """
        Yield each import; ``from a import b`` gives ``a.b``, as ``b`` may be a module.

        Imports inside functions count too: the rings hold for them as well.
        """
        for node, is_at_module_level in _walk(self.tree, True):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, is_at_module_level)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parents = self.package.split(".")
                    parents = parents[: len(parents) - node.level + 1]
                    base = ".".join([*parents, base]).rstrip(".")
                for alias in node.names:
                    yield Import(node.lineno, f"{base}.{alias.name}", is_at_module_level)


def _walk(node: ast.AST, is_at_module_level: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, is_at_module_level
        yield from _walk(child, is_at_module_level and not is_function)


@cache
def package_modules() -> tuple[Module, ...]:
    """Return every module of ``sipsess``, sorted by name, read once."""
    modules = []
    for path in sorted((ROOT / "sipsess").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        modules.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(modules)
