# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``python -m tests.fuzz``: a long run by hand."""

from __future__ import annotations

import argparse
import resource
import sys

from tests.fuzz.campaign import Result, run
from tests.fuzz.corpus import load

#: Fields between two lines that say how far it is.
TELLING = 20


def _tell(result: Result) -> None:
    if result.fields % TELLING:
        return
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sys.stdout.write(
        f"{result.datagrams} datagrams and {result.streams} messages of streams in "
        f"{result.fields} fields, {result.seconds:.0f} s, at most {megabytes} MB\n"
    )
    sys.stdout.flush()


def main() -> int:
    """Run as the command line says; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="datagrams")
    parser.add_argument("--seconds", type=float, default=3600.0, help="no longer than this")
    parser.add_argument("--seed", type=int, default=0, help="of the first field")
    options = parser.parse_args()
    try:
        result = run(
            load(), seed=options.seed, count=options.count, seconds=options.seconds, tell=_tell
        )
    except AssertionError as error:
        sys.stdout.write(f"FOUND {error}\n")
        return 1
    sys.stdout.write(f"{result}\nnothing found\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
