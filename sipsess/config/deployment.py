# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Brings a plan into force: at the start, and at each reload while calls go on.

Theory of operation
    What a reload changes counts for the calls that begin from then on: a session keeps the
    endpoint, the application and the plugins that it began with. First the plugins are asked to
    take their tables, which they may refuse; then those that have taken one get their old one back,
    and nothing has changed. All that follows cannot fail.

    Some things are what a server is made of: where it listens, which RTP ports it has, where its
    plugins come from. A reload leaves them as they are and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TextIO

from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.errors import LocalError
from sipsess.server import SIPServer

from .call_records import KeptRecords
from .logs import ConfiguredLog, open_log
from .mistakes import ConfigError, Mistake
from .model import Config, LimitsTable
from .plan import Configured, Plan

#: The keys that are read once, at the start.
FIXED_KEYS = (
    *("listeners", "advertise", "local_networks", "keep_alive", "keep_alive_interval"),
    *("registrar", "registrations", "defence", "rtp", "media", "control"),
)
#: Tables that count at each reload, but that there is one at all is said once, at the start: who
#: writes the log to twistd, and who keeps records to the calls.
SWITCHES = ("logging", "cdr")
#: Those that count at each reload; ``plugins`` are looked at one by one.
LIVE_KEYS = (
    *("application", "routes", "endpoints", "identifiers", "anonymous", "digest"),
    *("limits", "required_plugins"),
)

_log = Logger()


class Deployment:
    """
    The configuration of a server.

    :param server: that obeys it.
    :param plan: what holds from the start.
    :raises ConfigError: when a plugin refuses its table.
    """

    def __init__(self, server: SIPServer, plan: Plan) -> None:
        self.server = server
        self.plan = plan
        #: What the server was started with, and is made of until it is started again.
        self._begun = plan
        table = plan.config.logging
        #: The log, or ``None`` when it is that of ``twistd``.
        self.log = None if table is None else ConfiguredLog(table, _open_log(plan))
        #: The call records, if somebody wants any.
        self.records = KeptRecords(server, plan)
        _configure(plan, [])
        self._install()
        self._install_gates()

    def reload(self, plan: Plan) -> list[str]:
        """
        Let another plan hold.

        :return: what has changed, and what takes a restart; a sentence each.
        :raises ConfigError: when it cannot hold; then the one before holds still.
        """
        old = self.plan
        before, after = old.config, plan.config
        if after.plugin_directories != before.plugin_directories:
            text = "other plugins take a restart; nothing was changed"
            raise ConfigError([plan.source.mistake(("plugin_directories",), text)])
        stream = None if self.log is None else _open_log(plan)
        try:
            changed = _configure(plan, self.plan.tables)
        except ConfigError:
            if stream is not None:
                stream.close()
            raise
        if self.log is not None and after.logging is not None:
            self.log.configure(after.logging, stream)
        self.plan = plan
        self._install()
        if _changes_gates(before, after):
            self._install_gates()
        said = [*_describe_changes(old, plan, changed), *_describe_leftovers(self._begun, plan)]
        return [*said, *self._reload_certificates(), *self.records.reload(plan)]

    def _install(self) -> None:
        manager = self.server.manager
        manager.router = self.plan.router
        manager.core.endpoints = self.plan.endpoints
        _set_limits(self.server, self.plan.config.limits)

    def _install_gates(self) -> None:
        """Let the gates stand that know the endpoints; those of plugins are asked before."""
        self.server.core.gates = (*self.plan.plugins.gates, self.plan.make_gate())

    def _reload_certificates(self) -> Iterator[str]:
        """Read all certificates again; yield what is wrong with them, and so stays as it was."""
        try:
            self.server.reload_certificates()
        except LocalError as error:
            yield f"not changed, certificates: {error}"


def _open_log(plan: Plan) -> TextIO | None:
    """
    Open the log of a plan.

    :raises ConfigError: when that cannot be.
    """
    table = plan.config.logging
    try:
        return None if table is None else open_log(table)
    except OSError as error:
        text = f"{table.file if table else ''} cannot be opened: {os.strerror(error.errno or 0)}"
        raise ConfigError([plan.source.mistake(("logging", "file"), text)]) from error


def _changes_gates(before: Config, after: Config) -> bool:
    """Tell whether peers are told apart in another way; users that have proven theirs need not."""
    has_files = after.digest is not None and bool(after.digest.files)
    keys = ("endpoints", "identifiers", "anonymous", "digest")
    return has_files or any(_differs(key, before, after) for key in keys)


def _set_limits(server: SIPServer, limits: LimitsTable) -> None:
    manager, layer = server.manager, server.core.layer
    manager.max_sessions = limits.sessions
    manager.max_sessions_per_peer = limits.sessions_per_peer or _most(limits.sessions)
    manager.dial_limit = limits.dial
    layer.limit = limits.transactions
    layer.peer_limit = limits.transactions_per_peer or _most(limits.transactions)
    layer.byte_limit = limits.transaction_bytes
    server.drain_limit = limits.drain


def _most(number: int) -> int:
    """Return what one peer may have of a number: room is left for others."""
    return max(1, number * 3 // 4)


def _configure(plan: Plan, before: Sequence[Configured]) -> list[str]:
    """
    Give each plugin its table when it is not the one that it has.

    :return: the names of the plugins that got another.
    :raises ConfigError: when one refuses; the others have their old ones again.
    """
    known = {id(item.plugin): item for item in before}
    done: list[Configured] = []
    for item in plan.tables:
        old = known.get(id(item.plugin))
        if old is not None and old.table == item.table:
            continue
        try:
            item.plugin.configure(item.table)
        except Exception as error:
            for other in reversed(done):
                _restore(other, known.get(id(other.plugin)))
            raise ConfigError([_refusal(plan, item.name, error)]) from error
        done.append(item)
    return [item.name for item in done]


def _refusal(plan: Plan, name: str, error: Exception) -> Mistake:
    """Return what a plugin has against its table; what is no refusal is its bug, and logged."""
    text = str(error)
    if not isinstance(error, ValueError):
        _log.failure(
            "the plugin {name} could not take its table", failure=Failure(error), name=name
        )
        text = f"the plugin failed: {type(error).__name__}: {error}"
    return plan.source.mistake(("plugins", name), text)


def _restore(item: Configured, old: Configured | None) -> None:
    """Give a plugin the table that it had before; at a start it had none."""
    if old is None:
        return
    try:
        item.plugin.configure(old.table)
    except Exception:
        _log.failure("the plugin {name} does not take its old table back", name=item.name)


def _describe_changes(old: Plan, new: Plan, plugins: list[str]) -> Iterator[str]:
    """Yield what a reload has done."""
    before, after = old.config, new.config
    changed = [key for key in LIVE_KEYS if _differs(key, before, after)]
    for key in SWITCHES:
        if _differs(key, before, after) and not _is_switched(key, before, after):
            changed.append(key)
    changed += [f"plugins.{name}" for name in plugins]
    yield f"changed: {', '.join(changed)}" if changed else "nothing has changed"


def _describe_leftovers(begun: Plan, new: Plan) -> Iterator[str]:
    """Yield what waits for a restart, since this reload or an earlier one."""
    before, after = begun.config, new.config
    fixed = [key for key in FIXED_KEYS if _differs(key, before, after)]
    fixed += [key for key in SWITCHES if _is_switched(key, before, after)]
    if begun.accounts != new.accounts and "registrations" not in fixed:
        # An endpoint of theirs has changed, such as its password.
        fixed.append("registrations")
    if fixed:
        yield f"not changed before a restart: {', '.join(fixed)}"


def _is_switched(key: str, before: Config, after: Config) -> bool:
    """Tell whether a table is there now and was not before, or the other way round."""
    return (getattr(before, key) is None) != (getattr(after, key) is None)


def _differs(key: str, before: Config, after: Config) -> bool:
    return bool(getattr(before, key) != getattr(after, key))
