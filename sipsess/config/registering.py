# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Who registers: phones here, with ``[registrar]``; and we, with ``[[registrations]]``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from sipsess.datadir import data_directory
from sipsess.endpoint import ANONYMOUS
from sipsess.errors import LocalError
from sipsess.interfaces import IBindingStore
from sipsess.registrar import MemoryStore, RegistrarOptions
from sipsess.registration import Account
from sipsess.server import SIPServer

from .mistakes import Path, suggest
from .model import Config, RegistrarTable
from .reading import Loaded

#: The file of the registrar's bindings, in the data directory.
BINDINGS = "bindings.sqlite"


def plan_accounts(loaded: Loaded, note: Callable[[Path, str], object]) -> tuple[Account, ...]:
    """
    Return where this server shall register.

    :param note: is told each mistake.
    """
    endpoints = {endpoint.name: endpoint for endpoint in loaded.config.endpoints}
    accounts: dict[str, Account] = {}
    for number, table in loaded.enumerate("registrations"):
        place = ("registrations", number)
        endpoint = ANONYMOUS if table.endpoint is None else endpoints.get(table.endpoint)
        if endpoint is None:
            if "endpoints" not in loaded.broken:
                text = (
                    f"there is no endpoint {table.endpoint!r}{suggest(table.endpoint, endpoints)}"
                )
                note((*place, "endpoint"), text)
            continue
        if table.aor in accounts:
            note((*place, "aor"), f"{table.aor} is registered already")
        try:
            accounts[table.aor] = Account(
                table.aor, table.registrar, table.user, table.expires, endpoint, table.proxy
            )
        except LocalError as error:
            note(place, str(error))
    return tuple(accounts.values())


def add_registering(server: SIPServer, config: Config, accounts: Iterable[Account]) -> None:
    """
    Let phones register, and the server itself, as a configuration says.

    :raises LocalError: when there is no directory for the file of bindings, or there are too many
        accounts.
    """
    if config.registrar is not None:
        server.users.add_registrar(_make_options(config.registrar, server))
    for account in accounts:
        server.users.add_account(account)


def _make_options(table: RegistrarTable, server: SIPServer) -> RegistrarOptions:
    store: IBindingStore = MemoryStore()
    if not table.in_memory:
        # Here, as only this way of starting needs a database.
        from sipsess.registrar.sqlite import SQLiteStore

        path = table.bindings or os.path.join(data_directory(), BINDINGS)
        store = SQLiteStore(str(path), server.reactor)
    return RegistrarOptions(store, table.domains, table.limits, table.admits_anybody)
