# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a server shall be: a configuration and the plugins that were found, looked at together.

Making a plan changes nothing; so a file with a mistake, at the start or at a reload, changes
nothing either.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen

from sipsess.codec import Codec
from sipsess.endpoint import Endpoint
from sipsess.errors import LocalError
from sipsess.interfaces import (
    IApplication,
    IConfigurable,
    IConfigurableApplication,
    IRequestGate,
)
from sipsess.pattern import compile_pattern
from sipsess.registration import Account
from sipsess.registry import Origin, PluginDirectoryError, Plugins, find_plugins
from sipsess.routing import Route, Router, route_by_name
from sipsess.transport.engine import EngineSpec
from sipsess.transport.files import load_credentials
from sipsess.transport.listen import SECURE, ListenError, check_extra

from .engines import plan_engine
from .identification import plan_gate
from .mistakes import ConfigError, Mistake, Source, suggest
from .model import Config, RouteTable
from .reading import Loaded
from .registering import plan_accounts


@frozen
class Configured:
    """A plugin and the table that it gets."""

    plugin: Any
    table: Any

    @property
    def name(self) -> str:
        """The plugin's name."""
        return str(self.plugin.name)


@frozen
class Plan:
    """What holds when a configuration is in force."""

    config: Config
    source: Source
    plugins: Plugins
    router: Router
    endpoints: Mapping[str, Endpoint]
    #: Makes the gate that knows the endpoints.
    make_gate: Callable[[], IRequestGate]
    #: Where this server registers.
    accounts: tuple[Account, ...]
    #: The media engines, if there are any.
    engine: EngineSpec | None
    tables: tuple[Configured, ...]

    def missing_codecs(self) -> Iterator[tuple[Codec, list[str]]]:
        """Yield each codec that needs something first, and the endpoints that are without it."""
        for codec in self.plugins.codecs:
            names = [item.name for item in self.endpoints.values() if codec.name in item.codecs]
            if names and codec.missing:
                yield codec, names


def find_configured_plugins(loaded: Loaded) -> tuple[Plugins, tuple[Mistake, ...]]:
    """Return the plugins in the directories of a configuration, and what is wrong with these."""
    mistakes = []
    directories = []
    for number, directory in enumerate(loaded.config.plugin_directories):
        if os.path.isdir(directory):
            directories.append(str(directory))
        else:
            what = "is no directory" if directory.exists() else "does not exist"
            place = loaded.source.place_if_said(("plugin_directories", number))
            text = f"the plugin directory {directory} {what}"
            mistakes.append(loaded.source.mistake(place, text))
    try:
        plugins = find_plugins(directories)
    except PluginDirectoryError as error:
        # It went away just now.
        return Plugins(), (loaded.source.mistake(("plugin_directories",), str(error)),)
    for problem in plugins.problems:
        mistakes.append(
            Mistake(problem.file, problem.line, (), f"{problem.name}: {problem.reason}")
        )
    return plugins, tuple(mistakes)


def make_plan(loaded: Loaded, plugins: Plugins, mistakes: tuple[Mistake, ...] = ()) -> Plan:
    """
    Return what a server shall be.

    :param mistakes: that are known of the plugins.
    :raises ConfigError: with all that is wrong, what was known before included.
    """
    planner = _Planner(loaded, plugins, is_complete=not mistakes)
    plan = planner.plan()
    found = (*loaded.mistakes, *mistakes, *planner.mistakes)
    if found:
        raise ConfigError(found)
    return plan


class _Planner:
    """Makes one plan, and collects what is wrong."""

    def __init__(self, loaded: Loaded, plugins: Plugins, *, is_complete: bool) -> None:
        self._loaded = loaded
        self._plugins = plugins
        #: All plugins were found that shall be: whoever is not there does not exist.
        self._is_complete = is_complete and "plugin_directories" not in loaded.broken
        self._applications = {item.name: item for item in plugins.applications}
        self.mistakes: list[Mistake] = []

    def plan(self) -> Plan:
        """Return the plan; it is good when there are no mistakes."""
        config = self._loaded.config
        self._check_required()
        self._check_listeners()
        self._check_endpoints()
        return Plan(
            config,
            self._loaded.source,
            self._plugins,
            self._make_router(),
            {endpoint.name: endpoint for endpoint in config.endpoints},
            plan_gate(self._loaded, self._plugins.identifiers, self._note),
            plan_accounts(self._loaded, self._note),
            plan_engine(config.media, self._note),
            tuple(self._read_tables()),
        )

    def _note(self, place: tuple[str | int, ...], text: str) -> None:
        self.mistakes.append(self._loaded.source.mistake(place, text))

    def _attempt(self, place: tuple[str | int, ...], make: Callable[..., Any], *args: Any) -> Any:
        """Return what is made, or ``None`` after what is wrong was noted."""
        try:
            return make(*args, place)
        except ConfigError as error:
            self.mistakes += error.mistakes
        except ValueError as error:
            self._note(place, str(error))
        return None

    def _check_required(self) -> None:
        for number, name in enumerate(self._loaded.config.required_plugins):
            if name not in self._plugins.names and self._is_complete:
                text = f"the plugin {name!r} was not found{suggest(name, self._plugins.names)}"
                place = self._loaded.source.place_if_said(("required_plugins", number))
                self._note(place, text)

    # -- listeners -------------------------------------------------------------------------

    def _check_listeners(self) -> None:
        """Read the certificates of each listener that needs some, and see that extras are there."""
        for number, spec in self._loaded.enumerate("listeners"):
            try:
                check_extra(spec)
            except ListenError as error:
                self._note(("listeners", number), str(error))
            if spec.transport in SECURE:
                try:
                    load_credentials(spec.files)
                except LocalError as error:
                    self._note(("listeners", number), str(error))

    def _check_endpoints(self) -> None:
        """Notice applications and codecs that an endpoint may have, and nobody has."""
        codecs = [codec.name for codec in self._plugins.codecs]
        for number, endpoint in self._loaded.enumerate("endpoints"):
            for name in endpoint.codecs:
                if name not in codecs and self._is_complete:
                    text = f"there is no codec {name!r}{suggest(name, codecs)}"
                    self._note(("endpoints", number, "codecs"), text)
            for name in sorted(endpoint.applications):
                self._find(name, ("endpoints", number, "applications"))

    # -- routes ----------------------------------------------------------------------------

    def _make_router(self) -> Router:
        name = self._loaded.config.default_application
        place = self._loaded.source.place_if_said(("application",))
        default = None if name is None else self._find(name, place)
        if not self._loaded.config.routes:
            return route_by_name(self._applications.values(), default)
        routes = [self._make_route(*item) for item in self._loaded.enumerate("routes")]
        return Router([route for route in routes if route is not None], default)

    def _find(self, name: str, place: tuple[str | int, ...]) -> IApplication | None:
        application = self._applications.get(name)
        if application is None and self._is_complete:
            self._note(
                place, f"there is no application {name!r}{suggest(name, self._applications)}"
            )
        return application

    def _make_route(self, number: int, table: RouteTable) -> Route | None:
        application = self._find(table.application, ("routes", number, "application"))
        if application is None:
            return None
        place = ("routes", number, "options")
        if IConfigurableApplication.providedBy(application):
            application = self._attempt(place, self._with_options, application, table.options)
        elif table.options:
            self._note(place, f"the application {table.application!r} has no options")
        if application is None:
            return None
        return Route(
            application,
            user=table.user or "",
            pattern=None if table.pattern is None else compile_pattern(table.pattern),
            endpoints=frozenset(table.endpoints),
        )

    def _with_options(
        self, application: Any, options: Mapping[str, Any], place: tuple[str | int, ...]
    ) -> IApplication:
        read = self._read(options, application.options, place)
        made: IApplication = application.with_options(read)
        return made

    def _read(self, value: object, kind: type[Any], place: tuple[str | int, ...]) -> Any:
        return self._loaded.structurer.read(value, kind, self._loaded.source, place)

    # -- tables of plugins -----------------------------------------------------------------

    def _read_tables(self) -> Iterator[Configured]:
        tables = self._loaded.config.plugins
        configurable = [item for item in self._plugins.origins if _is_configurable(item)]
        names = {origin.plugin.name for origin in configurable}
        for name in tables:
            if name in self._plugins.names - names:
                self._note(("plugins", name), f"the plugin {name!r} has no table")
            elif name not in names and self._is_complete:
                text = f"there is no plugin {name!r} with a table{suggest(name, names)}"
                self._note(("plugins", name), text)
        if "plugins" in self._loaded.broken:
            return
        for origin in configurable:
            plugin = origin.plugin
            table = tables.get(plugin.name, {})
            place = ("plugins", plugin.name)
            read = self._attempt(place, self._read, table, plugin.configuration)
            if read is not None:
                yield Configured(plugin, read)


def _is_configurable(origin: Origin) -> bool:
    return bool(IConfigurable.providedBy(origin.plugin))
