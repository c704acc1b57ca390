# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Finds the plugins, once, at start-up.

Theory of operation
    Plugins are Twisted's: objects that provide ``twisted.plugin.IPlugin``, at the top of a module
    of the drop-in package :mod:`sipsess.plugins`, whose directories may belong to several
    distributions. Each module is imported here, so that the file, line and reason of a broken one
    are known, and its plugins are read from it as ``twisted.plugin.getPlugins`` reads them for its
    cache. The cache itself (``dropin.cache``) is neither read nor written: all modules are loaded
    anyway, a stale cache hides plugins, and a directory that cannot be written, or that is the
    user's own, needs no such file.

    :func:`find_plugins` never raises because of a plugin. Everything that is wrong is in
    :attr:`Plugins.problems`; whoever starts a server refuses to when there is one.
"""

from __future__ import annotations

import ast
import inspect
import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from twisted.plugin import IPlugin
from twisted.python.modules import PythonModule, getModule

from sipsess.codec import Codec
from sipsess.errors import LocalError
from sipsess.interfaces import (
    IApplication,
    IEndpointIdentifier,
    IHA1Store,
    IMessageHook,
    IRequestGate,
    ISDPHandler,
    ISessionSupplement,
)

from ._check import (
    APPLICATION,
    CODEC,
    GATE,
    HANDLER,
    HOOK,
    IDENTIFIER,
    KINDS,
    STORE,
    SUPPLEMENT,
    Kind,
    check_plugin,
)

__all__ = ["Origin", "PluginDirectoryError", "Plugins", "Problem", "find_plugins"]

PACKAGE = "sipsess.plugins"

#: Files that lie beside plugins and are none: helpers and tests.
IGNORED_PREFIXES = ("_", "test_")


class PluginDirectoryError(LocalError):
    """A plugin directory is not there, or is no directory."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a plugin or its module."""

    #: Of the plugin, or of the module when it cannot be loaded.
    name: str
    file: str
    #: In the file, or ``None`` when no line is to blame.
    line: int | None
    #: One sentence.
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin was found."""

    plugin: Any
    #: Dotted, below :mod:`sipsess.plugins`.
    module: str
    #: The name that the plugin has in the module.
    attribute: str
    file: str

    @property
    def line(self) -> int | None:
        """The line at which the plugin gets its name, or ``None``."""
        return _line_of(self.file, self.attribute)


@dataclass(frozen=True, slots=True)
class Plugins:
    """What was found, each tuple in the order in which it is called."""

    supplements: tuple[ISessionSupplement, ...] = ()
    #: By media type, then in order.
    handlers: tuple[ISDPHandler, ...] = ()
    applications: tuple[IApplication, ...] = ()
    codecs: tuple[Codec, ...] = ()
    gates: tuple[IRequestGate, ...] = ()
    hooks: tuple[IMessageHook, ...] = ()
    #: For :class:`.IdentifyGate`; the configuration orders them.
    identifiers: tuple[IEndpointIdentifier, ...] = ()
    #: For :class:`.HA1Checker`.
    stores: tuple[IHA1Store, ...] = ()
    origins: tuple[Origin, ...] = ()
    #: Each of them stops a start.
    problems: tuple[Problem, ...] = ()
    #: What looks like a mistake, and stops nothing.
    warnings: tuple[Problem, ...] = ()

    def file_of(self, plugin: object) -> str:
        """
        Return the file that a plugin came from.

        :raises LookupError: when it is none of these.
        """
        for origin in self.origins:
            if origin.plugin is plugin:
                return origin.file
        raise LookupError(f"{plugin!r} was not found here")

    @property
    def names(self) -> frozenset[str]:
        """The names of all plugins, of whatever kind."""
        return frozenset(origin.plugin.name for origin in self.origins)


def find_plugins(directories: Iterable[str] = ()) -> Plugins:
    """
    Load every module of the drop-in package and collect the plugins in it.

    :param directories: more directories with drop-in modules; they stay part of the package.
    :raises PluginDirectoryError: when one of them is no directory.
    """
    package = import_module(PACKAGE)
    for directory in directories:
        _add_directory(package, directory)
    finder = _Finder()
    finder.check_files(package)
    for found in getModule(PACKAGE).iterModules():
        if not found.name.rpartition(".")[2].startswith(IGNORED_PREFIXES):
            finder.load(found)
    return finder.result()


def _add_directory(package: ModuleType, directory: str) -> None:
    path = os.path.abspath(directory)
    if not os.path.isdir(path):
        what = "is no directory" if os.path.exists(path) else "does not exist"
        raise PluginDirectoryError(f"the plugin directory {directory} {what}")
    if path not in package.__path__:
        package.__path__.append(path)


class _Finder:
    """Collects plugins and problems, module after module."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._classes: list[tuple[type, str]] = []

    # -- modules ---------------------------------------------------------------------------

    def check_files(self, package: ModuleType) -> None:
        """Notice what Python's import would silently leave out."""
        seen: dict[str, str] = {}
        for file in _candidates(package):
            name = os.path.basename(file).removesuffix(".py")
            first = seen.setdefault(name, file)
            if not name.isidentifier():
                reason = f"it is not loaded; rename it to {_identifier(name)}.py"
                self.warnings.append(Problem(name, file, None, reason))
            elif os.path.realpath(first) != os.path.realpath(file):
                reason = f"{first} has the same module name and hides it; rename one of them"
                self.problems.append(Problem(name, file, None, reason))

    def load(self, found: PythonModule) -> None:
        """Import a module and take the plugins in it."""
        file = _source(found.filePath.path)
        try:
            module = import_module(found.name)
        except (Exception, SystemExit) as error:
            name = found.name.rpartition(".")[2]
            self.problems.append(_import_problem(name, file, error))
            return
        for attribute, value in list(vars(module).items()):
            if inspect.isclass(value):
                if value.__module__ == module.__name__:
                    self._classes.append((value, file))
            elif IPlugin.providedBy(value) and not attribute.startswith("__"):
                self._take(Origin(value, module.__name__, attribute, file))

    def _take(self, origin: Origin) -> None:
        """Take a plugin unless it was found in another module before."""
        if any(origin.plugin is known.plugin for known in self.origins):
            return
        kinds = _kinds(origin.plugin)
        if not kinds:
            text = "it is a plugin, but of no kind that sipsess knows"
            self.warnings.append(Problem(origin.attribute, origin.file, origin.line, text))
            return
        reasons = [reason for kind in kinds for reason in check_plugin(origin.plugin, kind)]
        if not reasons:
            self.origins.append(origin)
        for reason in reasons:
            problem = Problem(_name_of(origin), origin.file, origin.line, reason)
            self.problems.append(problem)

    # -- the whole -------------------------------------------------------------------------

    def result(self) -> Plugins:
        """Look at all plugins together, and put them in order."""
        self._check_names()
        self._check_classes()
        return Plugins(
            supplements=self._in_order(SUPPLEMENT),
            handlers=self._in_order(HANDLER),
            applications=self._in_order(APPLICATION),
            codecs=self._in_order(CODEC),
            gates=self._in_order(GATE),
            hooks=self._in_order(HOOK),
            identifiers=self._in_order(IDENTIFIER),
            stores=self._in_order(STORE),
            origins=tuple(self.origins),
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
        )

    def _check_names(self) -> None:
        """Refuse every plugin but the first of a name; handlers are told apart by type as well."""
        first: dict[tuple[object, ...], Origin] = {}
        for origin in list(self.origins):
            for kind in _kinds(origin.plugin):
                known = first.setdefault((kind, *_identity(origin.plugin, kind)), origin)
                if known is not origin:
                    text = f"there is another {kind.word} of this name in {known.file}"
                    problem = Problem(_name_of(origin), origin.file, origin.line, text)
                    self.problems.append(problem)
                    if origin in self.origins:
                        self.origins.remove(origin)

    def _check_classes(self) -> None:
        """Warn of classes of which nobody made an instance: the class alone does nothing."""
        broken = {problem.file for problem in self.problems}
        for cls, file in self._classes:
            is_plugin = IPlugin.implementedBy(cls) and any(
                kind.interface.implementedBy(cls) for kind in KINDS
            )
            is_used = any(isinstance(origin.plugin, cls) for origin in self.origins)
            if (
                is_plugin
                and not is_used
                and not cls.__name__.startswith("_")
                and file not in broken
            ):
                word = cls.__name__.lower()
                text = f"a class alone does nothing; add the line: {word} = {cls.__name__}()"
                line = inspect.getsourcelines(cls)[1]
                self.warnings.append(Problem(cls.__name__, file, line, text))

    def _in_order(self, kind: Kind) -> tuple[Any, ...]:
        found = [item.plugin for item in self.origins if kind.interface.providedBy(item.plugin)]
        return tuple(sorted(found, key=_sort_key))


def _kinds(plugin: object) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if kind.interface.providedBy(plugin))


def _identity(plugin: Any, kind: Kind) -> tuple[str, ...]:
    return (plugin.media_type, plugin.name) if kind is HANDLER else (plugin.name,)


def _sort_key(plugin: Any) -> tuple[str, int, str]:
    """Media type, priority, name; what a kind does not have counts for nothing."""
    return getattr(plugin, "media_type", ""), getattr(plugin, "priority", 0), plugin.name


def _name_of(origin: Origin) -> str:
    name = getattr(origin.plugin, "name", None)
    return name if isinstance(name, str) and name else origin.attribute


def _candidates(package: ModuleType) -> Iterator[str]:
    """Yield the source files in the directories of the package, helpers and tests apart."""
    for directory in dict.fromkeys(package.__path__):
        if not os.path.isdir(directory):
            continue
        for name in sorted(os.listdir(directory)):
            if name.endswith(".py") and not name.startswith(IGNORED_PREFIXES):
                yield os.path.join(directory, name)


def _identifier(name: str) -> str:
    text = "".join(letter if letter.isalnum() else "_" for letter in name)
    return text if text.isidentifier() else f"plugin_{text}"


def _source(path: str) -> str:
    return path[:-1] if path.endswith((".pyc", ".pyo")) else path


def _import_problem(name: str, file: str, error: BaseException) -> Problem:
    """Say where and why a module cannot be loaded: the innermost line of its own file."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return Problem(name, file, error.lineno, f"it is no valid Python: {error.msg}")
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    text = " ".join(str(error).split())
    reason = f"it cannot be loaded: {type(error).__name__}: {text}".rstrip(": ")
    return Problem(name, file, lines[-1] if lines else None, reason)


def _line_of(file: str, attribute: str) -> int | None:
    """Return the line that gives ``attribute`` its value, or imports it, or ``None``."""
    try:
        with open(file, encoding="utf-8") as source:
            tree = ast.parse(source.read())
    except (OSError, ValueError, SyntaxError):
        return None
    found = None
    for node in tree.body:
        names: list[str | None] = []
        if isinstance(node, ast.Assign):
            names = [item.id for item in node.targets if isinstance(item, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.asname or alias.name for alias in node.names]
        if attribute in names:
            found = node.lineno
    return found
