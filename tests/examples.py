# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a page or an example tells a reader to save as a file, for the tests that run it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import sipsess
from tests.source import ROOT
from tests.test_docs import markdown_pages, rst_pages, snippets

EXAMPLES = ROOT / "examples"

_PYTHON = {"python", "py", "python3"}
#: The first line of a block that is a file: ``# plugins/doorman.py``.
_MARK = "# "
_SUFFIXES = (".py", ".cfg", ".toml")


def load(path: pathlib.Path) -> ModuleType:
    """Import a file anew, under its own name, without leaving it in ``sys.modules``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(name: str) -> ModuleType:
    """Import ``examples/NAME.py`` anew."""
    return load(EXAMPLES / f"{name}.py")


def pages() -> list[pathlib.Path]:
    """Return every page that people read."""
    return [*markdown_pages(), *rst_pages()]


def python_blocks(page: pathlib.Path) -> Iterator[str]:
    """Yield each block of Python of a page, doctests apart."""
    for language, code in snippets(page):
        if language in _PYTHON and not code.lstrip().startswith(">>>"):
            yield code


def file_name(code: str) -> str | None:
    """Return the name of the file that a block is, or ``None``."""
    first = code.partition("\n")[0]
    name = first.removeprefix(_MARK)
    is_name = name != first and " " not in name and name.endswith(_SUFFIXES)
    return name if is_name and not name.startswith("/") else None


def files(page: pathlib.Path) -> dict[str, str]:
    """
    Return the files of a page by name.

    A later block of the same name takes the place of the earlier one, as the reader's own would.
    """
    found: dict[str, str] = {}
    for _, code in snippets(page):
        name = file_name(code)
        if name is not None:
            found[name] = code.rstrip("\n") + "\n"
    return found


def write_files(page: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """Save the files of a page below a folder, and return where they are."""
    written = []
    for name, code in files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
        written.append(path)
    return written


def surroundings(folder: pathlib.Path) -> dict[str, str]:
    """Return an environment in which sipsess is the one that is tested here."""
    place = str(pathlib.Path(sipsess.__file__).resolve().parent.parent)
    return {
        **os.environ,
        "PYTHONPATH": place,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "XDG_RUNTIME_DIR": str(folder),
    }


def run_trial(folder: pathlib.Path, *modules: str) -> subprocess.CompletedProcess[str]:
    """Run trial in a folder, as the reader of a page does."""
    return subprocess.run(
        [sys.executable, "-m", "twisted.trial", *modules],
        cwd=folder,
        env=surroundings(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
