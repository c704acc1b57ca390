# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Makes typed objects of tables: ``attrs`` classes and dataclasses, by the types of their fields.

Theory of operation
    A ``cattrs`` converter with a hook for each kind of value. Its own rules are too kind for a
    configuration: they would take ``"5"`` for 5 and a string for an array of letters. A class is
    read by its fields, whatever module it is from; the name of a field is its key, but for
    :data:`KEYS`. A field whose type cannot stand in a file, such as an interface, has no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen
from cattrs import Converter, IterableValidationError
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override
from zope.interface.interface import InterfaceClass

from sipsess.endpoint import DigestCredentials, Endpoint, Login
from sipsess.interfaces import ICredentials
from sipsess.secret import Secret
from sipsess.transport.listen import ListenSpec

from . import values
from .mistakes import ConfigError, Source, list_errors, suggest
from .mistakes import Path as Place

Thing = TypeVar("Thing")

#: Keys that are not called as the field is.
KEYS: Mapping[tuple[type, str], str] = {
    (ListenSpec, "advertised"): "advertise",
    (ListenSpec, "files"): "tls",
}

#: Fields that hold strings, and what these must be.
_STRINGS: Mapping[tuple[type, str], Any] = {
    (Endpoint, "networks"): tuple[IPv4Network | IPv6Network, ...],
}

#: What answers challenges is made of logins.
CREDENTIALS = ICredentials | None

_SEQUENCES = (tuple, list, frozenset, set)


@frozen(kw_only=True)
class LoginTable:
    """A user and password of ours, and who may ask for them."""

    #: The realm as its challenges spell it, or ``"*"`` for any.
    realm: str
    #: The user.
    user: str
    #: The password.
    password: Secret


class Structurer:
    """
    Reads tables into classes.

    :param directory: that relative names of files are below.
    :param environment: where secrets may stand.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.converter = converter = Converter()
        self._directory = directory
        self._environment = environment
        #: The files that secrets were read from.
        self.secret_files: list[Path] = []
        #: The keys of each class that was met, by attribute.
        self.known_keys: dict[type, dict[str, str]] = {}
        for kind, read in _plain_readers(directory, self._read_secret).items():
            if isinstance(kind, type):
                converter.register_structure_hook(kind, _hook(read))
            else:
                converter.register_structure_hook_func(_is(kind), _hook(read))
        converter.register_structure_hook_func(_is(CREDENTIALS), self._read_credentials)
        converter.register_structure_hook_factory(_is_literal, lambda kind: _read_literal)
        converter.register_structure_hook_factory(_is_sequence, self._make_sequence_hook)
        converter.register_structure_hook_factory(_is_mapping, self._make_mapping_hook)
        converter.register_structure_hook_factory(_is_class, self._make_class_hook)

    def read(self, value: object, kind: type[Thing], source: Source, place: Place) -> Thing:
        """
        Return the object that a value describes.

        :param kind: its class.
        :param place: of the value.
        :raises ConfigError: with all that is wrong.
        """
        try:
            return self.converter.structure(value, kind)
        except Exception as error:
            found = list_errors(error, self.known_keys, place)
            raise ConfigError(source.mistake(*one) for one in found) from None

    def _make_class_hook(self, kind: type) -> Callable[[Any, Any], Any]:
        hints = get_type_hints(kind)
        fields = [name for name in field_names(kind) if can_stand_in_file(hints[name])]
        keys = self.known_keys[kind] = {name: KEYS.get((kind, name), name) for name in fields}
        overrides: dict[str, Any] = {
            name: override(
                rename=keys.get(name),
                omit=name not in keys,
                struct_hook=self._make_string_hook(_STRINGS.get((kind, name))),
            )
            for name in field_names(kind)
        }
        structure: Any = make_dict_structure_fn(
            kind,
            self.converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=True,
            **overrides,
        )

        def read(value: Any, kind: Any) -> Any:
            values.read_table(value)
            return structure(value, kind)

        return read

    def _make_string_hook(self, kind: Any) -> Callable[[Any, Any], Any] | None:
        """Return who reads strings that are checked as something else."""
        if kind is None:
            return None
        return lambda value, _: tuple(map(str, self.converter.structure(value, kind)))

    def _read_secret(self, value: Any) -> Secret:
        secret = values.read_secret(value, self._directory, self._environment)
        if "file" in value:
            self.secret_files.append(values.read_path(value["file"], self._directory))
        return secret

    def _read_credentials(self, value: Any, kind: Any) -> DigestCredentials:
        tables = self.converter.structure(value, tuple[LoginTable, ...])
        return DigestCredentials(
            tuple(Login(item.realm, item.user, item.password.reveal()) for item in tables)
        )

    def _make_sequence_hook(self, kind: Any) -> Callable[[Any, Any], Any]:
        make = get_origin(kind)
        inner = get_args(kind)[0]

        def read(value: Any, kind: Any) -> Any:
            if not isinstance(value, list):
                raise ValueError(f"is an array, in square brackets, not {values.word_for(value)}")
            return make(self._read_all(list(enumerate(value)), inner).values())

        return read

    def _make_mapping_hook(self, kind: Any) -> Callable[[Any, Any], Any]:
        inner = get_args(kind)[1]

        def read(value: Any, kind: Any) -> Any:
            return self._read_all(list(values.read_table(value).items()), inner)

        return read

    def _read_all(self, items: list[tuple[Any, Any]], kind: Any) -> dict[Any, Any]:
        """Read each value; the errors of all of them are raised together."""
        done: dict[Any, Any] = {}
        errors: list[Exception] = []
        for place, value in items:
            try:
                done[place] = self.converter.structure(value, kind)
            except Exception as error:
                error.__notes__ = [IterableValidationNote("", place, kind)]
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, kind)
        return done


def field_names(kind: type) -> list[str]:
    """Return the fields of a class, those that are not for its constructor left out."""
    if is_dataclass(kind):
        return [name for name, field in kind.__dataclass_fields__.items() if field.init]
    return [field.name for field in attrs.fields(kind) if field.init]


def can_stand_in_file(kind: Any) -> bool:
    """Tell whether a value of a type can be written in a file: not one of most interfaces."""
    if kind == CREDENTIALS:
        return True
    if isinstance(kind, InterfaceClass):
        return False
    if get_origin(kind) in (Union, UnionType):
        return all(can_stand_in_file(item) for item in get_args(kind))
    return get_origin(kind) is not Callable


def _plain_readers(
    directory: Path, read_secret: Callable[[Any], Secret]
) -> dict[Any, Callable[[Any], Any]]:
    """Return who reads a value of each type that is no class of ours."""
    return {
        bool: values.read_bool,
        int: values.read_int,
        float: values.read_float,
        str: values.read_str,
        values.Seconds: values.read_seconds,
        values.Count: values.read_count,
        values.Size: values.read_size,
        values.PortRange: values.read_ports,
        values.SocketAddress: values.read_address,
        IPv4Network | IPv6Network: values.read_network,
        Path: lambda value: values.read_path(value, directory),
        Secret: read_secret,
        dict: values.read_table,
    }


def _hook(read: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, kind: read(value)


def _is(wanted: Any) -> Callable[[Any], bool]:
    return lambda kind: bool(kind == wanted)


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _read_literal(value: Any, kind: Any) -> Any:
    words = [str(word) for word in get_args(kind)]
    if not isinstance(value, str):
        raise ValueError(f"is one of {', '.join(words)}, in quotes, not {values.word_for(value)}")
    if value not in words:
        raise ValueError(f"there is no {value!r} here{suggest(value, words)}")
    return value


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in _SEQUENCES


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_class(kind: Any) -> bool:
    return isinstance(kind, type) and (attrs.has(kind) or is_dataclass(kind))
