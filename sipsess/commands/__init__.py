# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the subcommands of ``sipsess`` do; :mod:`sipsess.cli` reads the command line."""

from __future__ import annotations

from collections.abc import Sequence
from getopt import GetoptError, getopt

from twisted.python import usage

__all__ = ["CommandOptions"]


class CommandOptions(usage.Options):
    """Options that may stand before and after the words of a command."""

    #: How the command is written.
    synopsis = ""

    def getSynopsis(self) -> str:
        """Return how the command is written, without that of ``sipsess`` before it."""
        return str(self.synopsis)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        :raises UsageError: with what is wrong.
        """
        rest, first, words = list(options or ()), list[str](), list[str]()
        end = rest.index("--") if "--" in rest else len(rest)
        rest, last = rest[:end], rest[end + 1 :]
        while rest:
            if not rest[0].startswith("-") or rest[0] == "-":
                words.append(rest.pop(0))
                continue
            try:
                _, left = getopt(rest, self.shortOpt, self.longOpt)
            except GetoptError as error:
                raise usage.UsageError(str(error)) from error
            taken = len(rest) - len(left)
            first += rest[:taken]
            rest = left
        usage.Options.parseOptions(self, [*first, "--", *words, *last])
