# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Check and explain a session description: ``python -m sipsess.sdp FILE``, or ``-`` for standard
input.

The exit status is 0 when it can be read, 1 when it cannot, with the number of the wrong line, and 2
when there is no such file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from sipsess.sdp.check import Problem, find_problems
from sipsess.sdp.errors import SDPError
from sipsess.sdp.explain import Explanation, explain_rows, printable
from sipsess.sdp.limits import MAX_BYTES
from sipsess.sdp.lines import mask_secrets
from sipsess.sdp.parser import parse, split_lines

USAGE = """\
usage: python -m sipsess.sdp FILE

Check the session description in FILE (or - for standard input) and explain it line by line.
Exit status: 0 it can be read, 1 it is wrong, 2 there is no such file.
"""


def main(arguments: Sequence[str], source: BinaryIO, out: TextIO, err: TextIO) -> int:
    """
    Run the command.

    :param arguments: the command line without the program.
    :param source: standard input, in bytes.
    :return: the exit status.
    """
    if list(arguments) in (["-h"], ["--help"]):
        out.write(USAGE)
        return 0
    if len(arguments) != 1:
        err.write(USAGE)
        return 2
    try:
        data = _read(arguments[0], source)
    except OSError as error:
        err.write(f"{printable(arguments[0])} cannot be read: {error.strerror}\n")
        return 2
    try:
        return _report(data, out)
    except SDPError as error:
        _report_broken(data, error, out)
        err.write(f"wrong: {printable(str(error))} ({error.reason_code})\n")
        return 1


def _read(name: str, source: BinaryIO) -> bytes:
    # One byte more than is allowed shows that it is too big.
    if name == "-":
        return source.read(MAX_BYTES + 1)
    with Path(name).open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _report(data: bytes, out: TextIO) -> int:
    description = parse(data)
    problems = find_problems(data)
    for line in explain_rows(split_lines(data), description.media):
        _write(line, out)
        for problem in problems:
            if problem.line_number == line.line_number:
                _note(problem, out)
    for problem in problems:
        if problem.line_number is None:
            _note(problem, out)
    count = len(problems)
    out.write(f"It can be read; {count} note{'' if count == 1 else 's'}.\n")
    return 0


def _report_broken(data: bytes, error: SDPError, out: TextIO) -> None:
    """Explain the lines before the wrong one."""
    if error.reason_code in ("sdp-too-big", "sdp-nul"):
        return
    for line in explain_rows(split_lines(data)[: error.line_number], ()):
        if line.line_number != error.line_number:
            _write(line, out)
        else:
            out.write(f"{line.line_number:4}  {mask_secrets(line.line)}\n")


def _write(line: Explanation, out: TextIO) -> None:
    shown = mask_secrets(line.line)
    out.write(f"{line.line_number:4}  {shown}\n      {line.meaning}\n")


def _note(problem: Problem, out: TextIO) -> None:
    out.write(f"      note: {printable(problem.text)}\n")


if __name__ == "__main__":  # pragma: no cover
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout, sys.stderr))
