# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess check``: what is wrong with a configuration file, or in short what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.python import usage

from sipsess.commands import CommandOptions
from sipsess.config import DEFAULT_FILE, ConfigError, load
from sipsess.config.plan import Plan, find_configured_plugins, make_plan
from sipsess.doctor import examine_encryption


class Options(CommandOptions):
    """The options of ``sipsess check``."""

    synopsis = f"Usage: sipsess check [options] [FILE]    (without FILE: {DEFAULT_FILE})"
    longdesc = (
        "Prints all that is wrong with a configuration file, a line each; or, when nothing is, "
        "what the file says. No port is opened, no running server is asked."
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)

    def parseArgs(self, file: str = DEFAULT_FILE, *more: str) -> None:
        """
        Take the file.

        :raises UsageError: when there is more than one.
        """
        if more:
            raise usage.UsageError("check one file at a time: sipsess check FILE")
        self["file"] = file


def check(file: str) -> tuple[Sequence[str], bool]:
    """
    Look at a file.

    :return: what to print, and whether the file is good.
    """
    loaded = load(file)
    plugins, mistakes = find_configured_plugins(loaded)
    try:
        plan = make_plan(loaded, plugins, mistakes)
    except ConfigError as error:
        count = len(error.mistakes)
        return [*map(str, error.mistakes), f"{count} mistake{'s' if count > 1 else ''}"], False
    return [f"{file} is good", *_summary(plan)], True


def _summary(plan: Plan) -> Iterator[str]:
    """Yield what a file says, in short."""
    config = plan.config
    yield _line("listeners", (spec.name for spec in config.listeners))
    if config.routes:
        users = (route.user or f"/{route.pattern}/" for route in config.routes)
        yield _line("routes", users)
    default = plan.router.default
    yield _line("all others", [default.name if default else "refused (404)"])
    yield _line("endpoints", plan.endpoints)
    yield _line("plugins with a table", config.plugins)
    yield _line("RTP ports", [str(config.rtp.ports)])
    for codec, names in plan.missing_codecs():
        yield _line(f"without {codec.name}", names)
        yield f"    -> {codec.missing}"
    for finding in examine_encryption(plan.endpoints.values(), config.listeners):
        if finding.advice:
            yield f"  {finding.text}"
            yield f"    -> {finding.advice}"


def _line(title: str, values: Any) -> str:
    """Return a line with some values; of many the first ones, and how many there are."""
    words = list(values)
    shown = ", ".join(words[:6])
    more = f" and {len(words) - 6} more" if len(words) > 6 else ""
    return f"  {title + ':':<22}{shown or 'none'}{more}"
