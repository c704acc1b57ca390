# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The command line goes before the file: what ``twistd sipsess`` was told besides ``--config``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attrs import evolve

from sipsess.transport.listen import parse_listen

from .mistakes import Mistake
from .model import LoggingTable, RegistrarTable
from .reading import Loaded

#: What ``--bindings`` says for none.
MEMORY = "memory"


def override(loaded: Loaded, options: Mapping[str, Any], twistd: Mapping[str, Any]) -> Loaded:
    """
    Return a configuration with what the command line says in the place of what the file says.

    :param options: of ``twistd sipsess``, checked.
    :param twistd: those of ``twistd`` itself.
    :return: with more mistakes, if options and file do not fit.
    """
    config, mistakes = loaded.config, list(loaded.mistakes)
    changes: dict[str, Any] = {}
    if options["listen"]:
        changes["listeners"] = tuple(map(parse_listen, options["listen"]))
    for name in ("application", "control"):
        if options[name] is not None:
            changes[name] = options[name]
    if options["rtp-ports"] is not None:
        changes["rtp"] = evolve(config.rtp, ports=options["rtp-ports"])
    changes["plugin_directories"] = (*config.plugin_directories, *options["plugin-dir"])
    changes["required_plugins"] = (*config.required_plugins, *options["require-plugin"])
    changes["registrar"] = _find_registrar(config.registrar, options, mistakes)
    if config.logging is not None:
        changes["logging"] = table = _place_log(config.logging, twistd)
        if table.file is None and not twistd.get("nodaemon", True):
            text = (
                "in the background standard output is nowhere: name a file, or start twistd with -n"
            )
            mistakes.append(loaded.source.mistake(("logging", "file"), text))
    kept = {key: places for key, places in loaded.kept.items() if key not in changes}
    return replace(loaded, config=evolve(config, **changes), mistakes=tuple(mistakes), kept=kept)


def _find_registrar(
    table: RegistrarTable | None, options: Mapping[str, Any], mistakes: list[Mistake]
) -> RegistrarTable | None:
    """Return the registrar that the file and the options want, or ``None``."""
    bindings: str | None = options["bindings"]
    if options["registrar"] and table is None:
        table = RegistrarTable()
    if table is None:
        if bindings or options["register-anybody"]:
            text = "--bindings and --register-anybody need --registrar"
            mistakes.append(Mistake("", None, (), text))
        return None
    if options["register-anybody"]:
        table = evolve(table, admits_anybody=True)
    if bindings == MEMORY:
        return evolve(table, in_memory=True)
    if bindings:
        return evolve(table, in_memory=False, bindings=Path(bindings).absolute())
    return table


def _place_log(table: LoggingTable, twistd: Mapping[str, Any]) -> LoggingTable:
    """Return where the log goes when ``twistd`` has a say."""
    name = twistd.get("logfile")
    if not name:
        return table
    return evolve(table, file=None if name == "-" else Path(name).absolute())
