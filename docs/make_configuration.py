# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Write ``docs/configuration.rst`` from the classes that the configuration file is read into.

The sentence of each key is the ``#:`` comment above the field. Run ``python
docs/make_configuration.py`` after a field has changed; a test fails when the page is stale.
"""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from ipaddress import IPv4Network
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import attrs

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE / "configuration.rst"

HEAD = """\
The keys of the configuration file
==================================

`Configure a server <how-to/configure.rst>`_ says how the file is used, and
`examples/sipsess.toml <../examples/sipsess.toml>`_ is one with every key. One that is left out has
its default. A time is a number of seconds, or ``"250ms"``, ``"30s"``, ``"5m"``, ``"2h"``, ``"1d"``;
a size is a number of bytes, or ``"64KiB"``, ``"64MiB"``, ``"1GiB"``. Names of files are below the
directory of the configuration file. A secret is ``{ env = "NAME" }``, a variable of the
environment, or ``{ file = "PATH" }``, a file with one line.

The page is made by ``docs/make_configuration.py`` from the classes that the file is read into, and
a test fails when it is stale.
"""

_ROLE = re.compile(r":(?!rfc)\w+:`[~.]*([^`]+)`")
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")


class Key(NamedTuple):
    """One key of a table."""

    name: str
    kind: str
    #: As people read it; empty when the key must be given.
    default: str
    text: str


def comments_of(kind: type) -> dict[str, str]:
    """Return the ``#:`` comment above each field of a class."""
    lines = inspect.getsource(kind).split("\n")
    [tree] = ast.parse(inspect.cleandoc("\n".join(lines))).body
    found = {}
    for node in tree.body if isinstance(tree, ast.ClassDef) else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above, number = list[str](), node.lineno - 2
            while lines[number].strip().startswith("#:"):
                above.insert(0, lines[number].strip().removeprefix("#:").strip())
                number -= 1
            found[node.target.id] = _ROLE.sub(r"``\1``", " ".join(above))
    return found


def keys_of(kind: type) -> Iterator[Key]:
    """Yield the keys of a table, and those of tables in it that have no section of their own."""
    from sipsess.config.structure import KEYS, can_stand_in_file, field_names

    hints, comments = get_type_hints(kind), comments_of(kind)
    for field in field_names(kind):
        if not can_stand_in_file(hints[field]):
            continue
        name, text = KEYS.get((kind, field), field), comments.get(field, "")
        said = _DEFAULT.search(text)
        default = said[1] if said else _write_default(_default_of(kind, field), hints[field])
        yield Key(name, describe(hints[field]), default, _DEFAULT.sub("", text))
        inner = inner_table(hints[field])
        for key in () if inner is None else keys_of(inner):
            yield key._replace(name=f"{name}.{key.name}")


def inner_table(kind: Any) -> type | None:
    """Return the class of a table, or of an array of tables, that has no section of its own."""
    from sipsess.config.structure import CREDENTIALS, LoginTable
    from sipsess.config.values import PortRange, SocketAddress

    if kind == CREDENTIALS:
        return LoginTable
    if get_origin(kind) in (tuple, list):
        kind = get_args(kind)[0]
    is_table = isinstance(kind, type) and (attrs.has(kind) or is_dataclass(kind))
    shown_elsewhere = {PortRange, SocketAddress, *(section[2] for section in sections())}
    return kind if is_table and kind not in shown_elsewhere else None


def _write_default(value: Any, kind: Any) -> str:
    from sipsess.config.values import PortRange, Size, SocketAddress

    if value is MISSING:
        return ""
    if value is None or value == () or value == {} or value == frozenset():
        return "none"
    if attrs.has(type(value)) or (
        is_dataclass(value) and not isinstance(value, PortRange | SocketAddress)
    ):
        return "see below"
    if isinstance(value, bool):
        return f"``{str(value).lower()}``"
    if kind is Size:
        return f'``"{value >> 20}MiB"``'
    if isinstance(value, int | float):
        return f"``{value:g}``" if isinstance(value, float) else f"``{value}``"
    if isinstance(value, tuple | frozenset):
        words = (
            sorted(map(_name_of, value)) if isinstance(value, frozenset) else map(_name_of, value)
        )
        return f"``[{', '.join(words)}]``"
    return f"``{_name_of(value)}``"


def _name_of(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return f'"{getattr(value, "name", value)}"'


def _default_of(kind: type, name: str) -> Any:
    if is_dataclass(kind):
        [found] = [item for item in fields(kind) if item.name == name]
        if found.default_factory is not MISSING:
            return found.default_factory()
        return found.default
    default = attrs.fields_dict(kind)[name].default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default.factory()
    return MISSING if default is attrs.NOTHING else default


def describe(kind: Any) -> str:
    """Return what people call a type."""
    from sipsess.config import values
    from sipsess.config.structure import CREDENTIALS
    from sipsess.secret import Secret

    plain: dict[Any, str] = {
        **{bool: "true or false", int: "number", float: "number or time", str: "string"},
        **{values.Seconds: "time", values.Count: "number from 1", values.Size: "size"},
        **{values.PortRange: '"LOW-HIGH"', pathlib.Path: "name of a file", Secret: "secret"},
        **{values.SocketAddress: '"ADDRESS:PORT"', Any: "anything"},
        CREDENTIALS: "array of tables",
    }
    if kind in plain:
        return plain[kind]
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = [item for item in inside if item is not NoneType]
        return "address or network" if IPv4Network in inner else describe(inner[0])
    if origin is Literal:
        return " or ".join(f'"{word}"' for word in inside)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = inside[1]
        return "table" if get_origin(inner) or inner is Any else f"table of {describe(inner)}"
    if origin in (tuple, list, frozenset, set):
        return f"array of {_plural(describe(inside[0]))}"
    return "table"


def _plural(word: str) -> str:
    words = {"name of a file": "names of files", "address or network": "addresses or networks"}
    return word if word.startswith('"') else words.get(word, f"{word}s")


def sections() -> Iterator[tuple[str, str, type]]:
    """Yield the title, a sentence and the class of each table."""
    from sipsess.config import model
    from sipsess.defence import DefenceSettings
    from sipsess.endpoint import Endpoint
    from sipsess.transport.listen import ListenSpec

    yield "The top of the file", "", model.Config
    yield (
        "[[listeners]]",
        'A string such as ``"udp:5060:interface=127.0.0.1"``, or a table:',
        ListenSpec,
    )
    yield (
        "[[routes]]",
        "Users come before patterns, patterns in their order; the first that the endpoint may use "
        "counts.",
        model.RouteTable,
    )
    yield (
        "[[endpoints]]",
        "The one that is called ``anonymous`` is everybody whom nothing else is known of.",
        Endpoint,
    )
    yield (
        "[digest]",
        "Endpoints name the users in ``digest_users``; see `authenticate callers "
        "<how-to/authenticate-callers.rst>`_.",
        model.DigestTable,
    )
    yield "[defence]", "A change takes a restart.", DefenceSettings
    yield (
        "[registrar]",
        "With this table phones register here, as their endpoints allow.",
        model.RegistrarTable,
    )
    yield (
        "[[registrations]]",
        "Where this server registers, and so can be called.",
        model.RegistrationTable,
    )
    yield "[cdr]", "", model.CallRecordTable
    yield "[rtp]", "", model.RTPTable
    yield "[media]", "A change takes a restart.", model.MediaTable
    yield "[limits]", "", model.LimitsTable
    yield (
        "[logging]",
        "Without this table ``twistd`` makes the log; with it, its ``--logfile`` still says where. "
        "``twist`` writes its own besides.",
        model.LoggingTable,
    )


def options() -> Iterator[tuple[str, type]]:
    """Yield the shipped applications that have options, by name, and the class of these."""
    from sipsess.interfaces import IConfigurableApplication
    from sipsess.plugins import sipsess_builtin

    for plugin in vars(sipsess_builtin).values():
        if not inspect.isclass(plugin) and IConfigurableApplication.providedBy(plugin):
            yield plugin.name, plugin.options


def _section(title: str, sentence: str, kind: type) -> Iterator[str]:
    yield from (title, "-" * len(title), "")
    if sentence:
        yield from (sentence, "")
    for key in keys_of(kind):
        default = f", default {key.default}" if key.default else ", needed"
        yield f"``{key.name}`` ({key.kind}{default})"
        yield f"    {key.text}"
    yield ""


def build() -> str:
    """Return the page."""
    lines = [HEAD]
    for section in sections():
        lines += _section(*section)
    lines += ["Options of the shipped applications", "-" * 35, ""]
    lines += ["They stand in a route: ``options = { seconds = 5 }``.", ""]
    by_class: dict[type, list[str]] = {}
    for name, kind in options():
        by_class.setdefault(kind, []).append(name)
    for kind, names in by_class.items():
        for key in keys_of(kind):
            title = ", ".join(f"``{name}``" for name in names)
            lines += [f"{title}: ``{key.name}`` ({key.kind}, default {key.default})"]
            lines += [f"    {key.text}"]
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(build(), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
