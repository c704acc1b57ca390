# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess plugins``: who is called, in what order, from which file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from twisted.python import usage

from sipsess.commands import CommandOptions
from sipsess.config import load
from sipsess.interfaces import ISDPHandler, ISessionSupplement
from sipsess.registry import Plugins
from sipsess.session import Chain
from sipsess.supplement import MEDIA

#: The four places of a supplement, and what people call them.
DIRECTIONS = (
    ("incoming_request", "incoming requests"),
    ("outgoing_request", "outgoing requests"),
    ("incoming_response", "incoming responses"),
    ("outgoing_response", "outgoing responses"),
)
#: Stands for each method that no supplement names.
OTHER = "any other method"


class Options(CommandOptions):
    """The options of ``sipsess plugins``."""

    synopsis = "Usage: sipsess plugins [options]"
    longdesc = "Prints who is called, in what order, from which file; and what is wrong."

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["plugin-dir"] = []

    def opt_config(self, file: str) -> None:
        """A configuration file; its plugin directories count."""
        loaded = load(file)
        if "plugin_directories" in loaded.broken:
            raise usage.UsageError("\n".join(map(str, loaded.mistakes)))
        self["plugin-dir"] += map(str, loaded.config.plugin_directories)

    def opt_plugin_dir(self, directory: str) -> None:
        """A directory with plugin files of yours, as for twistd sipsess; repeatable."""
        self["plugin-dir"].append(directory)


def describe(plugins: Plugins) -> Iterator[str]:
    """Return the whole listing, line by line."""
    yield from _section("supplements, by direction and method", _supplement_lines(plugins))
    yield from _section("SDP handlers, by media type", _handler_lines(plugins))
    yield from _section("applications", _application_lines(plugins))
    yield from _section("codecs", _simple_lines(plugins, plugins.codecs))
    yield from _section("gates", _simple_lines(plugins, plugins.gates))
    yield from _section("message hooks", _simple_lines(plugins, plugins.hooks))
    yield from _section("endpoint identifiers", _simple_lines(plugins, plugins.identifiers))
    yield from _section("HA1 stores", _simple_lines(plugins, plugins.stores))
    yield from _section("problems (each stops a start)", [str(item) for item in plugins.problems])
    yield from _section("warnings", [str(item) for item in plugins.warnings])


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield f"{title}:"
        yield from (f"  {line}".rstrip() for line in lines)


def _supplement_lines(plugins: Plugins) -> Iterator[str]:
    chain = Chain(plugins.supplements)
    called: set[str] = set()
    for callback, title in DIRECTIONS:
        groups = _groups(chain, callback)
        if groups:
            yield title
        for methods, supplements in groups:
            called.update(item.name for item in supplements)
            yield f"  {', '.join(methods)}"
            yield from _in_order(plugins, supplements, with_media=_passes_media(callback, methods))
    quiet = [item for item in plugins.supplements if item.name not in called]
    if quiet:
        yield "at the beginning and end of sessions only"
        yield from _in_order(plugins, quiet, with_media=False)


def _passes_media(callback: str, methods: Sequence[str]) -> bool:
    return callback == "incoming_request" and "INVITE" in methods


def _groups(chain: Chain, callback: str) -> list[tuple[list[str], list[ISessionSupplement]]]:
    """Return the methods that the same supplements see, in the same order, and these."""
    named = {method for item in chain.supplements for method in item.methods or ()}
    by_name = {item.name: item for item in chain.supplements}
    groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for method in [*sorted(named | {"INVITE"}), OTHER]:
        names = tuple(link.name for link in chain.links(callback, method).every)
        groups.setdefault((names, _passes_media(callback, [method])), []).append(method)
    if len(groups) == 1:
        groups = {key: ["every method"] for key in groups}
    return [
        (methods, [by_name[name] for name in names])
        for (names, _), methods in groups.items()
        if names
    ]


def _in_order(
    plugins: Plugins, supplements: Sequence[ISessionSupplement], *, with_media: bool
) -> Iterator[str]:
    rows = [(item.priority, item.name, _file(plugins, item)) for item in supplements]
    if with_media:
        rows.append((MEDIA, "(media)", "the SDP handlers see an offer"))
    for priority, name, file in sorted(rows):
        yield f"    {priority:4}  {name:<20}  {file}"


def _handler_lines(plugins: Plugins) -> Iterator[str]:
    by_type: dict[str, list[ISDPHandler]] = {}
    for handler in plugins.handlers:
        by_type.setdefault(handler.media_type, []).append(handler)
    for media_type, handlers in by_type.items():
        yield media_type
        for handler in handlers:
            yield f"    {handler.priority:4}  {handler.name:<20}  {_file(plugins, handler)}"


def _application_lines(plugins: Plugins) -> Iterator[str]:
    for application in plugins.applications:
        uri = f"sip:{application.name}@HOST"
        yield f"{uri:<28}  {_file(plugins, application)}"


def _simple_lines(plugins: Plugins, found: Iterable[Any]) -> Iterator[str]:
    for plugin in found:
        yield f"{plugin.name:<28}  {_file(plugins, plugin)}"


def _file(plugins: Plugins, plugin: object) -> str:
    """Return the file of a plugin, relative to where we are when that is shorter."""
    file = plugins.file_of(plugin)
    return min(file, os.path.relpath(file), key=len)
