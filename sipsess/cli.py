# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The ``sipsess`` command: a test phone, and what an operator asks.

The server itself is ``twistd sipsess``. Importing this module never imports the reactor; only
``sipsess call`` runs one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python import usage

from sipsess import __version__
from sipsess.commands import ask, call, check, doctor, plugins, status
from sipsess.errors import LocalError
from sipsess.registry import find_plugins

EXAMPLES = """Examples:
  twistd -n sipsess                                   start a server (see twistd sipsess --help)
  sipsess call sip:hello@127.0.0.1 --dtmf '12#' --ladder
  sipsess call sip:echo@192.0.2.10:5070 --save heard.wav --duration 5
  sipsess plugins --plugin-dir ./plugins
  sipsess calls; sipsess explain CALL-ID; sipsess counters; sipsess status
  sipsess check sipsess.toml && sipsess reload
  sipsess doctor                                      why is there no audio?
"""


class Options(usage.Options):
    """The options of ``sipsess``."""

    synopsis = "Usage: sipsess COMMAND [options]"
    longdesc = "A SIP session server: `twistd sipsess` runs it, this command talks to it."
    subCommands: Sequence[tuple[str, None, type[usage.Options], str]] = [
        ("call", None, call.Options, "Call somebody: a test phone"),
        ("plugins", None, plugins.Options, "Who is called, in what order, from which file"),
        ("calls", None, ask.CallsOptions, "The calls of the running server"),
        ("explain", None, ask.ExplainOptions, "What was decided about a call, and why"),
        ("counters", None, ask.CountersOptions, "What the running server has counted"),
        ("status", None, status.Options, "Who is registered here, and where this server is"),
        ("check", None, check.Options, "What is wrong with a configuration file"),
        ("doctor", None, doctor.Options, "What is likely to go wrong here, and what to do"),
        ("reload", None, ask.ReloadOptions, "Let the running server read its file again"),
        ("bans", None, ask.BansOptions, "Who is banned, for how long; and to lift a ban"),
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)

    def opt_version(self) -> NoReturn:
        """Print the version, and do nothing else."""
        print(f"sipsess {__version__}")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of ``--help``."""
        text: str = usage.Options.getUsage(self, width)
        return f"{text.rstrip()}\n\n{EXAMPLES}"

    def postOptions(self) -> None:
        """
        Check that there is a command.

        :raises UsageError: when there is none.
        """
        if not self.subCommand:
            names = ", ".join(item[0] for item in self.subCommands)
            raise usage.UsageError(f"say what to do: {names}")


def _list_plugins(options: Any) -> int:
    found = find_plugins(options["plugin-dir"])
    _print_all(plugins.describe(found))
    return 1 if found.problems else 0


def _check(options: Any) -> int:
    lines, is_good = check.check(options["file"])
    _print_all(lines)
    return 0 if is_good else 1


def _doctor(options: Any) -> int:
    lines, is_well = doctor.doctor(options)
    _print_all(lines)
    return 0 if is_well else 1


def _printing(function: Callable[[Any], Iterable[str]]) -> Callable[[Any], int]:
    """Make a command of a function that returns lines."""

    def run(options: Any) -> int:
        _print_all(function(options))
        return 0

    return run


def _print_all(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _call(options: call.Options) -> int:
    react(_run_phone, (options,))


def _run_phone(reactor: Any, options: call.Options) -> Deferred[None]:
    """Let the phone ring; what it returns becomes the exit status."""
    phone = call.Phone(reactor, options, lambda line: print(line, flush=True))
    reactor.addSystemEventTrigger("before", "shutdown", phone.stop)
    return Deferred.fromCoroutine(phone.run()).addCallback(_exit)


def _exit(status: int) -> None:
    """Let ``react`` end with a status."""
    if status:
        raise SystemExit(status)


COMMANDS: dict[str, Callable[[Any], int]] = {
    "call": _call,
    "plugins": _list_plugins,
    "calls": _printing(ask.calls),
    "explain": _printing(ask.explain),
    "counters": _printing(ask.counters),
    "status": _printing(status.status),
    "check": _check,
    "doctor": _doctor,
    "reload": _printing(ask.reload),
    "bans": _printing(ask.bans),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: without the program's name; those of the process when ``None``.
    :return: the exit status: 0, or 1 when something is wrong, which a line on standard error says.
    """
    options = Options()
    try:
        usage.Options.parseOptions(options, sys.argv[1:] if arguments is None else list(arguments))
        status = COMMANDS[str(options.subCommand)](options.subOptions)
        sys.stdout.flush()
        return status
    except usage.UsageError as error:
        command = f"sipsess {options.subCommand or ''}".rstrip()
        print(f"sipsess: {error} (see {command} --help)", file=sys.stderr)
    except LocalError as error:
        for line in str(error).split("\n"):
            print(f"sipsess: {line}", file=sys.stderr)
    except BrokenPipeError:
        # Whoever reads has heard enough; the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    sys.exit(main())
