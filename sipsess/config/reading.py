# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Reads a configuration file: TOML to :class:`.Config`, or all that is wrong with it."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs

from sipsess.errors import LocalError
from sipsess.flow import parse_networks
from sipsess.keepalive import check_keep_alive
from sipsess.pattern import PatternError, compile_pattern
from sipsess.transport.address import normal_host
from sipsess.transport.files import TLSFiles
from sipsess.transport.listen import ListenError, ListenSpec, check_spec, parse_listen

from .lines import find_lines
from .mistakes import ConfigError, Mistake, PlacedError, Source, suggest
from .mistakes import Path as Place
from .model import Config, RouteTable
from .structure import Structurer

#: The name of the file when nobody says another.
DEFAULT_FILE = "sipsess.toml"
#: The longest file, in bytes.
MAX_FILE = 16 * 1024 * 1024

_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read of a configuration; when there are mistakes, the rest of it."""

    config: Config
    source: Source
    #: Reads what the file alone does not explain: the tables of plugins.
    structurer: Structurer
    mistakes: tuple[Mistake, ...] = ()
    #: The keys at the top that are not as the file says, as something in them is wrong.
    broken: frozenset[str] = frozenset()
    #: By key at the top, which elements of an array are left when some are wrong.
    kept: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def enumerate(self, key: str) -> Iterator[tuple[int, Any]]:
        """Yield the elements of an array that could be read, each with its number in the file."""
        values = getattr(self.config, key)
        return zip(self.kept.get(key, range(len(values))), values, strict=True)


def no_file() -> Loaded:
    """Return what holds without a file."""
    return Loaded(Config(), Source("", {}), make_structurer(Path(), {}))


def load(file: str, environment: Mapping[str, str] | None = None) -> Loaded:
    """
    Read a configuration file.

    :param environment: where secrets may stand; that of the process when ``None``.
    :return: what could be read; ``mistakes`` says what is wrong with the rest.
    """
    environment = os.environ if environment is None else environment
    structurer = make_structurer(Path(file).absolute().parent, environment)
    try:
        tables, source = _parse(file)
    except ConfigError as error:
        broken = frozenset(field.name for field in attrs.fields(Config))
        return Loaded(Config(), Source(file, {}), structurer, error.mistakes, broken)
    loaded = _read(tables, source, structurer)
    found = [source.mistake(*one) for one in _check(loaded)]
    return dataclasses.replace(loaded, mistakes=(*loaded.mistakes, *found))


def _read(tables: dict[str, Any], source: Source, structurer: Structurer) -> Loaded:
    """Read the tables; when something is wrong, read them without what it is in."""
    try:
        return Loaded(structurer.read(tables, Config, source, ()), source, structurer)
    except ConfigError as error:
        mistakes = error.mistakes
    left, kept = dict(tables), dict[str, tuple[int, ...]]()
    for key in {str(mistake.path[0]) for mistake in mistakes}:
        wrong = {
            mistake.path[1] for mistake in mistakes if mistake.path[1:] and mistake.path[0] == key
        }
        value = left.pop(key, None)
        if isinstance(value, list) and wrong:
            kept[key] = tuple(index for index in range(len(value)) if index not in wrong)
            left[key] = [value[index] for index in kept[key]]
    config = structurer.read(left, Config, source, ())
    broken = frozenset(str(mistake.path[0]) for mistake in mistakes)
    return Loaded(config, source, structurer, mistakes, broken, kept)


def make_structurer(directory: Path, environment: Mapping[str, str]) -> Structurer:
    """Return who reads the tables of a file in ``directory``."""
    structurer = Structurer(directory, environment)
    converter = structurer.converter
    read_spec = converter.get_structure_hook(ListenSpec)
    converter.register_structure_hook(
        ListenSpec,
        lambda value, kind: _read_listener(value, lambda: read_spec(value, kind), directory),
    )
    read_route = converter.get_structure_hook(RouteTable)
    converter.register_structure_hook(
        RouteTable, lambda value, kind: _check_route(read_route(value, kind))
    )
    return structurer


def _parse(file: str) -> tuple[dict[str, Any], Source]:
    """Return what a file holds."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError([Mistake(file, None, (), f"has more than {MAX_FILE} bytes")])
        text = data.decode("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([Mistake(file, None, (), _cannot_read(error))]) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Mistake(file, line, (), "this is no UTF-8")]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _PLACE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        what = _PLACE.sub("", str(error))
        raise ConfigError([Mistake(file, line, (), f"this is no TOML: {what}")]) from error
    return tables, Source(file, find_lines(text))


def _cannot_read(error: OSError) -> str:
    text = f"cannot be read: {os.strerror(error.errno or 0)}"
    return f"{text}; say which file to read" if isinstance(error, FileNotFoundError) else text


def _read_listener(value: object, read: Any, directory: Path) -> ListenSpec:
    """Read where to listen: a string, or a table that :func:`parse_listen` could read as one."""
    try:
        if isinstance(value, str):
            spec = parse_listen(value)
        else:
            spec = read()
            checked = parse_listen(spec.name)
            spec = dataclasses.replace(spec, transport=checked.transport)
        check_spec(spec)
    except ListenError as error:
        raise ValueError(str(error)) from None
    return dataclasses.replace(spec, files=_place_files(spec.files, directory))


def _place_files(files: TLSFiles, directory: Path) -> TLSFiles:
    """Return the names of certificates as they are from everywhere."""

    def place(name: str) -> str:
        return str(directory / name) if name else ""

    return dataclasses.replace(
        files, certificate=place(files.certificate), key=place(files.key), ca=place(files.ca)
    )


def _check_route(route: RouteTable) -> RouteTable:
    """Refuse a route that is for nobody, or for whom nobody can tell."""
    if (route.user is None) == (route.pattern is None):
        raise ValueError('has either user = "..." or pattern = "..."')
    if route.user == "":
        raise PlacedError(("user",), "is not empty")
    if route.pattern is not None:
        try:
            compile_pattern(route.pattern)
        except PatternError as error:
            raise PlacedError(("pattern",), str(error)) from None
    return route


def _check(loaded: Loaded) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong between parts of a file."""
    config = loaded.config
    yield from _check_advertised(loaded)
    if not config.listeners and "listeners" not in loaded.broken:
        yield ("listeners",), 'is not empty; leave it out for "udp:5060"'
    yield from _check_twice(loaded, "listeners")
    yield from _check_twice(loaded, "endpoints")
    names = {endpoint.name for endpoint in config.endpoints}
    for number, route in loaded.enumerate("routes"):
        for index, name in enumerate(route.endpoints):
            if name not in names and "endpoints" not in loaded.broken:
                place = ("routes", number, "endpoints", index)
                yield place, f"there is no endpoint {name!r} in this file{suggest(name, names)}"
    yield from _check_useless_routes(loaded)


def _check_advertised(loaded: Loaded) -> Iterator[tuple[Place, str]]:
    hosts: list[tuple[Place, str | None]] = [(("advertise",), loaded.config.advertise)]
    for number, spec in loaded.enumerate("listeners"):
        hosts.append((("listeners", number, "advertise"), spec.advertised))
    for place, host in hosts:
        try:
            normal_host(host or "::")
        except ValueError:
            yield place, f"is an IP address, such as 203.0.113.5, not {host!r}"
    for index, network in enumerate(loaded.config.local_networks):
        try:
            parse_networks([network])
        except LocalError as error:
            yield ("local_networks", index), f"is wrong: {error}"
    try:
        check_keep_alive(loaded.config.keep_alive, loaded.config.keep_alive_interval)
    except LocalError as error:
        yield ("keep_alive_interval",), f"is wrong: {error}"


def _check_twice(loaded: Loaded, key: str) -> Iterator[tuple[Place, str]]:
    first: dict[str, int] = {}
    for number, item in loaded.enumerate(key):
        other = first.setdefault(item.name, number)
        if other != number:
            yield (key, number), f"{item.name!r} stands in {key}[{other}] already"


def _check_useless_routes(loaded: Loaded) -> Iterator[tuple[Place, str]]:
    """Yield each route that is never used: one before it takes the same calls, of everybody."""
    first: dict[tuple[str | None, str | None], int] = {}
    for number, route in loaded.enumerate("routes"):
        key = (route.user, route.pattern)
        if key in first:
            yield ("routes", number), f"is never used: routes[{first[key]}] takes the same calls"
        elif not route.endpoints:
            first[key] = number
