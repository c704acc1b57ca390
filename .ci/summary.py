# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Print the end of the gate: what failed or was skipped, trial's closing lines, and one plain line.

``python .ci/summary.py LOG [FAILED-STEP...]``; the exit status is that of the gate.
"""

from __future__ import annotations

import pathlib
import re
import sys

_COUNTS = re.compile(r"^(PASSED|FAILED)(?: \((.*)\))?$", re.MULTILINE)
_SKIPPED = re.compile(r"^\[SKIPPED\]\n(.*?)\n\n?((?:tests\.\S+\n)+)", re.MULTILINE | re.DOTALL)


def counts_of(log: str) -> tuple[str, dict[str, int]]:
    """Return trial's closing lines, and its numbers by name; empty when trial never finished."""
    endings = list(_COUNTS.finditer(log))
    if not endings:
        return "", {}
    found = endings[-1]
    numbers = {}
    for item in (found[2] or "").split(", "):
        name, _, number = item.partition("=")
        if number:
            numbers[name] = int(number)
    ran = re.findall(r"^Ran \d+ tests in .*$", log[: found.start()], re.MULTILINE)
    return "\n".join([*ran[-1:], found[0]]), numbers


def skipped_peers(log: str) -> list[str]:
    """Return a line for each skipped test that calls a real peer; the gate must never skip one."""
    lines = []
    for reason, tests in _SKIPPED.findall(log):
        peers = [test for test in tests.split() if test.startswith("tests.interop.")]
        lines += [f"{test}: {reason}" for test in peers]
    return lines


def main(arguments: list[str]) -> int:
    """Print the end of the gate and return its exit status."""
    path, *failed_steps = arguments
    log = pathlib.Path(path).read_text(errors="replace") if pathlib.Path(path).exists() else ""
    closing, numbers = counts_of(log)
    failed = sum(numbers.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    passed = numbers.get("successes", 0) + numbers.get("expectedFailures", 0)
    peers = skipped_peers(log)
    if peers:
        print("skipped in the gate, which must never happen to a test with a real peer:")
        print("\n".join(f"    {line}" for line in peers))
    if failed_steps:
        print(f"failed: {', '.join(failed_steps)}")
    print(closing or "trial never finished")
    is_green = passed > 0 and not failed and not failed_steps and not peers
    # A step that failed outside trial counts as one failure, so that the line never looks green.
    if not failed and not is_green:
        failed = max(1, len(failed_steps) + len(peers))
    print(f"{passed} passed, {failed} failed, {numbers.get('skips', 0)} skipped")
    return 0 if is_green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
