# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess status``: where this server is registered, and who is registered here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sipsess.commands import ask
from sipsess.control import MAX_LISTED_BINDINGS
from sipsess.control import ask as ask_server


class Options(ask.Options):
    """The options of ``sipsess status``."""

    synopsis = "Usage: sipsess status [options]"


def status(options: Options) -> Iterator[str]:
    """
    Return the registrations of the server and the bindings of its registrar as two tables.

    :raises ControlError: when no server answers.
    """
    found = ask_server("status", options["control"])
    yield from _registrations(found["registrations"])
    if found["bindings"] is not None:
        yield from _bindings(found["bindings"])


def _registrations(registrations: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not registrations:
        yield "this server registers nowhere"
        return
    yield f"{'state':<14} {'valid for':>9} {'next in':>9}  registration"
    for one in registrations:
        error = f" -- {one['error']}" if one["error"] else ""
        yield (
            f"{one['state']:<14} {_seconds(one['seconds'])} {_seconds(one['next'])}  "
            f"{one['aor']} at {one['registrar']}{error}"
        )


def _bindings(bindings: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield ""
    if not bindings:
        yield "nobody is registered here"
        return
    yield f"{'user':<14} {'endpoint':<12} {'valid for':>9}     q  contact"
    for one in bindings:
        source = f" from {one['source']}" if one["source"] else ""
        path = f" by {', '.join(one['path'])}" if one["path"] else ""
        agent = f" ({one['user_agent']})" if one["user_agent"] else ""
        yield (
            f"{one['user']:<14} {one['endpoint']:<12} {_seconds(one['seconds'])} {one['q']:5.3g}  "
            f"{one['uri']}{source}{path}{agent}"
        )
    if len(bindings) == MAX_LISTED_BINDINGS:
        yield f"no more than {MAX_LISTED_BINDINGS} are listed"


def _seconds(number: float | None) -> str:
    return f"{'-':>9}" if number is None else f"{number:8.0f}s"
