# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Throw-away environments: one for each package to compare with, so that none disturbs another."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import venv

from tests.interop.tools import ROOT

#: Where they are kept for the next time, unless another folder is named.
DEFAULT_CACHE = ROOT / ".ci" / "work" / "benchmark-peers"

#: Seconds that an installation may take.
_PATIENCE = 300


class MissingError(Exception):
    """A peer cannot be run on this machine; the text says what to do."""


def python_with(requirement: str, cache: pathlib.Path) -> str:
    """
    Return the interpreter of an environment in which a package is installed.

    :param requirement: such as ``sippy==2.5.0``; fetched the first time.
    :param cache: the folder for all environments.
    :raises MissingError: when it cannot be installed.
    """
    version = ".".join(map(str, sys.version_info[:2]))
    folder = cache / f"{requirement.replace('==', '-')}-python{version}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return str(python)
    venv.create(folder, clear=True, with_pip=True)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", requirement],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if installed.returncode:
        last = (installed.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise MissingError(f"pip install {requirement} failed: {last}")
    done.touch()
    return str(python)
