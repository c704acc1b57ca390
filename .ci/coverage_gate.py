# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Measure branch coverage and compare each ring with its threshold (``COVERAGE`` in tests/rings.py).

``python .ci/coverage_gate.py`` runs every test package except those that call real peers or build
packages: they are slow, and what they reach must be reached by a small test too. ``--report`` only
reads the last measurement.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".ci" / "work" / "coverage"
RCFILE = ROOT / ".ci" / "coverage.ini"
NOT_MEASURED = {"interop", "packaging"}
#: Stories on a bad network reach the same lines with few seeds as with many, in a long run too.
SEEDS = "5"

sys.path.insert(0, str(ROOT))

from tests.rings import COVERAGE, ring_of  # noqa: E402


def test_packages() -> list[str]:
    """Return the dotted names of all test packages and modules that are measured."""
    names = []
    for path in sorted((ROOT / "tests").iterdir()):
        if path.suffix == ".py" and path.name.startswith("test_"):
            names.append(f"tests.{path.stem}")
        elif (path / "__init__.py").exists() and path.name not in NOT_MEASURED:
            names.append(f"tests.{path.name}")
    return names


def coverage(*arguments: str) -> int:
    """Run ``coverage`` with our configuration and return its exit status."""
    command = [sys.executable, "-m", "coverage", arguments[0], f"--rcfile={RCFILE}", *arguments[1:]]
    return subprocess.run(command, cwd=ROOT).returncode


def measure() -> int:
    """Run the tests under coverage; return trial's exit status."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    os.environ["SIPSESS_COVERAGE"] = "1"
    os.environ["SIPSESS_SEEDS"] = SEEDS
    os.environ.pop("SIPSESS_LONG", None)
    # Twisted itself passes what pyOpenSSL deprecates.
    tolerated = "ignore:Passing pyOpenSSL:DeprecationWarning"
    os.environ["PYTHONWARNINGS"] = f"error::DeprecationWarning,{tolerated}"
    trial = ["-m", "twisted.trial", "--temp-directory", str(WORK / "trial"), "--reporter=text"]
    status = coverage("run", *trial, *test_packages())
    coverage("combine", "--quiet")
    # Plugins that a test wrote into a temporary directory are gone by now.
    coverage("json", "--quiet", "--ignore-errors", "-o", str(WORK / "coverage.json"))
    return status


def compare() -> bool:
    """Print what each ring reached and what is missing; return whether it is enough everywhere."""
    report = json.loads((WORK / "coverage.json").read_text())
    reached: dict[str, list[int]] = {ring: [0, 0] for ring in COVERAGE}
    gaps: dict[str, list[str]] = {ring: [] for ring in COVERAGE}
    for name, data in sorted(report["files"].items()):
        if not name.startswith("sipsess/"):
            # A plugin that a test wrote into a temporary directory.
            continue
        summary = data["summary"]
        ring = ring_of(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        covered = summary["covered_lines"] + summary.get("covered_branches", 0)
        wanted = summary["num_statements"] + summary.get("num_branches", 0)
        reached[ring][0] += covered
        reached[ring][1] += wanted
        if covered < wanted:
            lines = ", ".join(map(str, data["missing_lines"][:12]))
            branches = ", ".join(f"{a}->{b}" for a, b in data.get("missing_branches", [])[:8])
            missing = f"lines {lines or '-'}  branches {branches or '-'}"
            gaps[ring].append(f"    {name}: {covered}/{wanted}  {missing}")
    passed = True
    for ring, threshold in COVERAGE.items():
        covered, wanted = reached[ring]
        percent = 100.0 * covered / wanted if wanted else 100.0
        is_enough = percent >= threshold
        passed = passed and is_enough
        verdict = "enough" if is_enough else "TOO LITTLE"
        print(f"coverage of the {ring} ring: {percent:.2f} % (at least {threshold:g} %): {verdict}")
        if not is_enough or ring == "pure":
            print("\n".join(gaps[ring]) or "    nothing is missing")
    return passed


def main(arguments: list[str]) -> int:
    """Measure, compare, and return the exit status of the gate."""
    status = 0 if "--report" in arguments else measure()
    if status:
        print(f"coverage: the tests failed (trial ended with {status})")
    return 0 if compare() and not status else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
