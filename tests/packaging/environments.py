# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Virtual environments outside the checkout, made in a fraction of a second.

The wheel and the sdist are built once, from a copy of the tree, so that the checkout stays clean.
An environment gets Twisted and its dependencies copied from the one that runs the tests, then
sipsess by pip, without network. What is prepared once is cloned for each test, which may break it.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from functools import cache

from twisted.trial.unittest import SkipTest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

#: What is not copied before a build: results of earlier work.
_NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".tox",
    ".venv",
    "venv",
    ".*_cache",
    ".hypothesis",
    "_trial_temp*",
    "__pycache__",
    "build",
    "dist",
    "*.egg-info",
    "dropin.cache",
    "_api",
    "work",
)

#: The console scripts of Twisted that look for plugins, as their entry points say.
_SCRIPTS = {
    "twistd": "from twisted.scripts.twistd import run; run()",
    "twist": "from twisted.application.twist._twist import Twist; Twist.main()",
    "trial": "from twisted.scripts.trial import run; run()",
}


@cache
def workspace() -> pathlib.Path:
    """Return a directory outside the checkout that is removed when the tests have ended."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sipsess-packaging-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    (path / "outside").mkdir()
    return path


def run(*command: object, cwd: pathlib.Path | None = None) -> str:
    """
    Run a command outside the checkout, with an environment that tells nothing about it.

    :return: its standard output and error together.
    :raises AssertionError: when it fails; the text holds the whole output.
    """
    hidden = re.compile(r"PYTHON|COV|VIRTUAL_ENV|TOX|PIP_")
    surroundings = {name: value for name, value in os.environ.items() if not hidden.match(name)}
    surroundings |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd or workspace() / "outside",
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _is_at_least(distribution: str, version: tuple[int, ...]) -> bool:
    try:
        found = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, re.findall(r"\d+", found)[: len(version)])) >= version


def skip_without_tools() -> None:
    """Skip the calling test, with a reason, when the tools for building are missing."""
    for distribution, version in (("setuptools", (70, 1)), ("pip", (23, 1))):
        if not _is_at_least(distribution, version):
            wanted = ".".join(map(str, version))
            raise SkipTest(f"{distribution} {wanted} is not installed: pip install sipsess[test]")


def source(name: str = "source") -> pathlib.Path:
    """Return a copy of the checkout; each ``name`` is a copy of its own."""
    target = workspace() / name
    if not target.exists():
        shutil.copytree(ROOT, target, ignore=_NOT_COPIED)
    return target


@cache
def wheel() -> pathlib.Path:
    """Return the wheel, built from the tree."""
    return build(source(), "bdist_wheel", "wheel")


@cache
def sdist() -> pathlib.Path:
    """Return the sdist, built from the tree."""
    return build(source(), "sdist", "sdist")


def build(tree: pathlib.Path, kind: str, name: str) -> pathlib.Path:
    """Build ``tree`` with its own build backend; return the one file that this gives."""
    target = workspace() / name
    hook = {"bdist_wheel": "build_wheel", "sdist": "build_sdist"}[kind]
    program = f"import setuptools.build_meta as b; b.{hook}({str(target)!r})"
    target.mkdir()
    run(sys.executable, "-c", program, cwd=tree)
    (result,) = target.iterdir()
    return result


def _closure(names: list[str]) -> list[importlib.metadata.Distribution]:
    """Return the distributions of these names and all that they require without extras."""
    found: dict[str, importlib.metadata.Distribution] = {}
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # its marker does not hold on this Python; "pip check" tells otherwise
        for requirement in found[name].requires or ():
            bare, _, marker = requirement.partition(";")
            match = re.match(r"[\w.-]+", bare)
            if match and "extra" not in marker:
                names.append(match[0])
    return list(found.values())


class Environment:
    """A virtual environment."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.python = path / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = path / "lib" / version / "site-packages"

    def pip(self, *arguments: object) -> str:
        """Run pip, which is not installed there, on this environment; it never asks the network."""
        return run(sys.executable, "-m", "pip", "--python", self.python, *arguments)

    def install(self, *what: object) -> str:
        """Install without network; all that sipsess requires must be there."""
        return self.pip(
            "install", "-q", "--no-index", "--no-build-isolation", "--no-compile", *what
        )

    def script(self, name: str, *arguments: object) -> str:
        """Run ``twistd``, ``twist`` or ``trial`` as the console script does."""
        return run(self.python, self.path / "bin" / name, *arguments)

    def evaluate(self, program: str) -> str:
        """Run a Python program and return what it printed, stripped."""
        return run(self.python, "-c", program).strip()

    def clone(self, name: str) -> Environment:
        """Return a copy that the caller may break."""
        target = workspace() / "clones" / name
        shutil.copytree(self.path, target, symlinks=True)
        return Environment(target)


@cache
def bare() -> Environment:
    """Return an environment with what sipsess requires and setuptools in it, and no sipsess."""
    environment = Environment(workspace() / "bare")
    venv.create(environment.path, symlinks=True)
    for distribution in _closure(["cattrs", "twisted", "setuptools"]):
        for item in distribution.files or ():
            if ".." in item.parts or "test" in item.parts:
                continue
            target = environment.site / str(item)
            target.parent.mkdir(parents=True, exist_ok=True)
            original = pathlib.Path(str(item.locate()))
            if original.is_file():
                shutil.copy2(original, target)
    for name, program in _SCRIPTS.items():
        (environment.path / "bin" / name).write_text(program + "\n")
    return environment


@cache
def normal() -> Environment:
    """Return an environment with the wheel installed."""
    environment = bare().clone("normal")
    environment.install(wheel())
    return environment


@cache
def from_sdist() -> Environment:
    """Return an environment with sipsess installed from the sdist."""
    environment = bare().clone("from-sdist")
    environment.install(sdist())
    return environment


@cache
def editable() -> Environment:
    """Return an environment with an editable installation of a copy of the tree."""
    environment = bare().clone("editable")
    environment.install("-e", source("editable-source"))
    return environment
