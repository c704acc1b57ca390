# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess doctor``: what is likely to go wrong here, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from twisted.python import usage

from sipsess.commands import CommandOptions
from sipsess.config import DEFAULT_FILE, ConfigError, Loaded, load, no_file
from sipsess.config.plan import find_configured_plugins, make_plan
from sipsess.doctor import (
    NOTE,
    OK,
    WRONG,
    Finding,
    Machine,
    ask_server,
    examine_call_records,
    examine_encryption,
    examine_engines,
    examine_listeners,
    examine_media,
    examine_registrations,
    examine_secrets,
    examine_server,
)
from sipsess.doctor.codecs import examine_codecs
from sipsess.doctor.findings import write_findings
from sipsess.registry import Plugins
from sipsess.transport.connections import MAX_CONNECTIONS


class Options(CommandOptions):
    """The options of ``sipsess doctor``."""

    synopsis = f"Usage: sipsess doctor [options] [FILE]    (without FILE: {DEFAULT_FILE}, if any)"
    longdesc = (
        "Prints which addresses far ends will see, whether ports can be opened, and the usual "
        "causes of one-way audio and of calls that end after 32 seconds. Sends nothing but a ping "
        "to each media engine. The exit status is 1 when something is wrong."
    )
    optParameters = [
        ["control", "c", None, "The server's control socket. [default: as the file says]"],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)

    def parseArgs(self, file: str = "", *more: str) -> None:
        """
        Take the file.

        :raises UsageError: when there is more than one.
        """
        if more:
            raise usage.UsageError("examine one file at a time: sipsess doctor FILE")
        self["file"] = file


def doctor(options: Options, machine: Machine | None = None) -> tuple[Sequence[str], bool]:
    """
    Look at the machine, the configuration and the running server.

    :return: what to print, and whether all is well.
    """
    found = list(_examine(options["file"], options["control"], machine or Machine()))
    counts = {level: sum(item.level == level for item in found) for level in (WRONG, NOTE)}
    summary = f"{counts[WRONG]} wrong, {counts[NOTE]} to be noted"
    return [*write_findings(found), summary], not counts[WRONG]


def _examine(file: str, control: str | None, machine: Machine) -> Iterator[Finding]:
    if not file and os.path.exists(DEFAULT_FILE):
        file = DEFAULT_FILE
    loaded = load(file) if file else no_file()
    yield from _examine_configuration(file, loaded)
    config = loaded.config
    path = control or (None if config.control is None else str(config.control))
    running = ask_server(machine, path)
    ports = str(config.rtp.ports)
    yield from examine_server(running, config.listeners, ports)
    yield from examine_listeners(machine, config.listeners, config.advertise, ports, running)
    has_streams = any(spec.transport != "UDP" for spec in config.listeners)
    connections = MAX_CONNECTIONS if has_streams else 0
    yield from examine_media(machine, config.rtp.ports, connections, running)
    yield from examine_encryption(config.endpoints, config.listeners)
    yield from examine_engines(machine, config.media)
    yield from examine_call_records(None if config.cdr is None else config.cdr.path)


def _examine_configuration(file: str, loaded: Loaded) -> Iterator[Finding]:
    """Yield the mistakes of a file, and what looks odd in plugins."""
    subject = "configuration"
    plugins, mistakes = find_configured_plugins(loaded)
    try:
        plan = make_plan(loaded, plugins, mistakes)
    except ConfigError as error:
        for mistake in error.mistakes:
            yield Finding(WRONG, subject, str(mistake))
    else:
        yield Finding(OK, subject, f"{file} is good" if file else "there is no file")
        yield from examine_codecs(plan)
    yield from examine_secrets(loaded)
    yield from examine_registrations(loaded)
    yield from _examine_plugins(plugins)


def _examine_plugins(plugins: Plugins) -> Iterator[Finding]:
    subject = "plugins"
    kinds = {
        "supplements": plugins.supplements,
        "SDP handlers": plugins.handlers,
        "applications": plugins.applications,
    }
    counts = ", ".join(f"{word}: {len(found)}" for word, found in kinds.items())
    yield Finding(OK, subject, f"{counts} (see `sipsess plugins`)")
    for warning in plugins.warnings:
        yield Finding(NOTE, subject, str(warning))
