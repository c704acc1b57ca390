# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
``python -m benchmarks [--short] [--json FILE] [--profile]``: print what everything costs.

Compare figures of the same machine only, and believe a difference only when the ranges do not
overlap.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pathlib
import platform
import pstats

import twisted
from benchmarks import inprocess, processes
from benchmarks.results import HEADING, Result, format_result
from sipsess import __version__


def profile(count: int) -> None:
    """Print where the time of a basic call in process goes."""
    calls = inprocess.Calls()
    calls.operate(count // 4)
    profiler = cProfile.Profile()
    profiler.enable()
    calls.operate(count)
    profiler.disable()
    print(f"{count} basic calls in process:")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(40)


def collect(is_short: bool) -> list[Result]:
    """Run everything, and print each result as it comes."""
    results = []
    rounds = 3 if is_short else 7
    print(f"microseconds of processor time for one operation, {rounds} rounds")
    print(HEADING)
    for result in inprocess.run(rounds, 0.3 if is_short else 1.0):
        print(format_result(result), flush=True)
        results.append(result)
    for result in processes.run(200 if is_short else 500, 2 if is_short else 5):
        print(format_result(result), flush=True)
        results.append(result)
    return results


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="less than a minute, less exact")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--profile", action="store_true", help="instead show where the time of a call goes"
    )
    options = parser.parse_args()
    if options.profile:
        profile(2000)
        return
    about = {
        "sipsess": __version__,
        "python": platform.python_version(),
        "twisted": twisted.__version__,
        "machine": platform.machine(),
    }
    print(", ".join(f"{name} {version}" for name, version in about.items()))
    results = collect(options.short)
    if options.json is not None:
        data = {"about": about, "microseconds": [result.as_dict() for result in results]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
