# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess calls``, ``explain``, ``counters``, ``bans``, ``reload``: what a server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from twisted.python import usage

from sipsess.commands import CommandOptions
from sipsess.control import ask
from sipsess.reasons import all_reasons


class Options(CommandOptions):
    """The options of a command that asks a running server."""

    optParameters = [
        ["control", "c", None, "The server's control socket. [default: that of your own server]"],
    ]


class CallsOptions(Options):
    """The options of ``sipsess calls``."""

    synopsis = "Usage: sipsess calls [options]"


class CountersOptions(Options):
    """The options of ``sipsess counters``."""

    synopsis = "Usage: sipsess counters [options]"


class ReloadOptions(Options):
    """The options of ``sipsess reload``."""

    synopsis = "Usage: sipsess reload [options]"
    longdesc = (
        "Lets the server read its --config again: what is changed holds for the calls to come. A "
        "file with a mistake changes nothing."
    )


class BansOptions(Options):
    """The options of ``sipsess bans``."""

    synopsis = "Usage: sipsess bans [options]"
    optParameters = [
        ["lift", None, None, "The address of somebody who shall be heard again."],
    ]


class ExplainOptions(Options):
    """The options of ``sipsess explain``."""

    synopsis = "Usage: sipsess explain [options] [CALL-ID]"
    longdesc = "Prints what was decided about a call, or the last one, by whom and when: why 488?"

    def parseArgs(self, call_id: str = "", *more: str) -> None:
        """
        Take the Call-ID.

        :raises UsageError: when there is more than one.
        """
        if more:
            raise usage.UsageError("explain one call at a time: sipsess explain CALL-ID")
        self["call-id"] = call_id


def calls(options: Options) -> Iterator[str]:
    """
    Return the live calls as a table.

    :raises ControlError: when no server answers.
    """
    found = ask("calls", options["control"])
    if not found:
        yield "no calls"
        return
    yield f"{'for':>7}  {'state':<12} {'application':<14} {'with':<24} call"
    for call in found:
        yield (
            f"{call['seconds']:6.1f}s  {call['state']:<12} {call['application'] or '-':<14} "
            f"{call['remote']:<24} {call['title']} (Call-ID {call['call_id']})"
        )


def explain(options: Options) -> Iterator[str]:
    """
    Return the decision record of a call.

    :raises ControlError: when no server answers, or it knows no such call.
    """
    call_id = options["call-id"]
    arguments = {"call_id": call_id} if call_id else {}
    yield from ask("explain", options["control"], **arguments)


def counters(options: Options) -> Iterator[str]:
    """
    Return the counters, the reasons of refusals with their meaning.

    :raises ControlError: when no server answers.
    """
    found: Mapping[str, Any] = ask("counters", options["control"])
    for name, value in found.items():
        if isinstance(value, int):
            yield f"{value:10}  {name.replace('_', ' ')}"
    refused: Mapping[str, int] = found["refused"]
    if refused:
        yield "refused or dropped:"
    meanings = all_reasons()
    for code, count in sorted(refused.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count:10}  {code}: {meanings.get(code, '')}".rstrip(": ")


def reload(options: Options) -> Iterator[str]:
    """
    Let the server read its configuration file again; return what it says has changed.

    :raises ControlError: with all that is wrong, or when no server answers.
    """
    yield from ask("reload", options["control"])


def bans(options: Options) -> Iterator[str]:
    """
    Lift a ban if that is wanted, and return those that are in force.

    :raises ControlError: when no server answers, or that address is not banned.
    """
    arguments = {} if options["lift"] is None else {"lift": options["lift"]}
    found = ask("bans", options["control"], **arguments)
    if not found:
        yield "nobody is banned"
        return
    yield f"{'for':>8}  {'bans':>4}  address"
    for ban in found:
        yield f"{ban['seconds']:7.0f}s  {ban['count']:4}  {ban['address']}"
