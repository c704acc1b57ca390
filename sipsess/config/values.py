# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How a value of a configuration is spelled: times, sizes, ports, networks, paths, secrets.

Each reader raises :class:`ValueError` with one sentence that says what to write; a value of a
secret never stands in it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, NewType

from sipsess.flow import format_address
from sipsess.secret import Secret

#: More than nothing; in the file a number of seconds, or ``"30s"``.
Seconds = NewType("Seconds", float)
#: 1 or more.
Count = NewType("Count", int)
#: Bytes; in the file a number, or ``"64MiB"``.
Size = NewType("Size", int)

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+) ?(B|kB|KiB|MB|MiB|GB|GiB)")
_SIZES = {
    **{"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3},
    **{"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3},
}
#: The longest secret.
MAX_SECRET = 4096

#: What people call the kinds of values; what is none of these is a date or a time.
_WORDS: Mapping[type, str] = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports, the first and the last."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """An IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address((self.host, self.port))


def word_for(value: object) -> str:
    """Return what people call a value that was found: its kind, never itself."""
    return _WORDS.get(type(value), "a date or time")


def read_bool(value: object) -> bool:
    """Read ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"is true or false, without quotes, and not {word_for(value)}")
    return value


def read_int(value: object) -> int:
    """Read a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"is a whole number, and not {word_for(value)}")
    return value


def read_count(value: object) -> Count:
    """Read a whole number from 1."""
    number = read_int(value)
    if number < 1:
        raise ValueError(f"is at least 1, and not {number}")
    return Count(number)


def read_str(value: object) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError(f"is a string, in quotes, and not {word_for(value)}")
    return value


def read_float(value: object) -> float:
    """Read a number, or a time such as ``"30s"``, which becomes seconds."""
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        if found is not None:
            return float(found[1]) * _UNITS[found[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    shown = repr(value) if isinstance(value, str | float) else word_for(value)
    raise ValueError(f'is a number of seconds or a time such as "30s", "5m" or "1h", not {shown}')


def read_seconds(value: object) -> Seconds:
    """Read a time that is more than nothing."""
    seconds = read_float(value)
    if seconds <= 0:
        raise ValueError(f"is more than no time, and not {value!r}")
    return Seconds(seconds)


def read_size(value: object) -> Size:
    """Read a number of bytes."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        return read_size(int(found[1]) * _SIZES[found[2]])
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Size(value)
    shown = repr(value) if isinstance(value, str | int) else word_for(value)
    raise ValueError(f'is a number of bytes or a size such as "64MiB", not {shown}')


def read_ports(value: object) -> PortRange:
    """Read a range of ports with an even one in it."""
    text = value if isinstance(value, str) else ""
    low, _, high = text.partition("-")
    if low.isdecimal() and high.isdecimal() and text.isascii() and len(text) <= 11:
        found = PortRange(int(low), int(high))
        if 0 < found.low <= found.high < 65536 and found.low + found.low % 2 <= found.high:
            return found
    shown = repr(value) if isinstance(value, str) else word_for(value)
    raise ValueError(
        f'is "LOW-HIGH" with at least one even port between 1 and 65535, such as '
        f'"10000-29999", not {shown}'
    )


def read_address(value: object) -> SocketAddress:
    """Read an IP address with a port."""
    text = read_str(value)
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host)
        is_good = (address.version == 6) == (host[:1] == "[") and port.isascii()
    except ValueError:
        is_good = False
    if is_good and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536:
        return SocketAddress(str(address), int(port))
    raise ValueError(
        f"is an IP address and a port, such as 127.0.0.1:2223 or [::1]:2223, not {text!r}"
    )


def read_network(value: object) -> IPv4Network | IPv6Network:
    """Read an address or a network."""
    text = read_str(value)
    try:
        return ip_network(text)
    except ValueError:
        pass  # said below, with what could have been meant
    try:
        near = ip_interface(text).network
    except ValueError:
        raise ValueError(
            f"is an address or a network, such as 192.0.2.0/24 or 2001:db8::/32, not {text!r}"
        ) from None
    raise ValueError(f"{text!r} is an address within a network: write {str(near)!r}")


def read_path(value: object, directory: Path) -> Path:
    """Read the name of a file or directory; a relative one is below that of the configuration."""
    text = read_str(value)
    if not text or "\0" in text:
        raise ValueError(f"is the name of a file, not {text!r}")
    return directory / Path(text).expanduser()


def read_secret(value: object, directory: Path, environment: Mapping[str, str]) -> Secret:
    """
    Read a secret from the place that a table names.

    :param directory: that relative names of files are below.
    :param environment: of the process.
    """
    if not isinstance(value, dict) or len(value) != 1 or not {*value} <= {"env", "file"}:
        raise ValueError(
            'does not stand in this file: write { env = "NAME" } or { file = "PATH" }, one of them'
        )
    if "env" in value:
        name = read_str(value["env"])
        text = environment.get(name)
        if text is None:
            raise ValueError(f"the environment has no variable {name}")
        where = f"the variable {name}"
    else:
        path = read_path(value["file"], directory)
        text, where = _read_secret_file(path), str(path)
    if not text or len(text) > MAX_SECRET or not text.isprintable():
        raise ValueError(f"{where} does not hold one line with a secret")
    return Secret(text)


def _read_secret_file(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            # One more than is allowed, and a line break at the end.
            text = stream.read(MAX_SECRET + 3)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    return text.rstrip("\r\n")


def read_table(value: object) -> Mapping[str, Any]:
    """Read a table whose keys are nobody's business here."""
    if not isinstance(value, dict):
        raise ValueError(f"is a table, and not {word_for(value)}")
    return value
