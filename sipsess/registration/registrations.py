# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""All registrations of ours: started apart, and removed together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred

from sipsess.core import SIPCore
from sipsess.errors import LocalError
from sipsess.flow import Flow
from sipsess.locating import NextHop

from .account import Account
from .client import RegistrationClient

#: Accounts of one server.
MAX_ACCOUNTS = 1000
#: Seconds between the first REGISTERs of two accounts.
START_GAP = 0.05


class Registrations:
    """
    Keeps accounts registered.

    :param core: that sends the requests.
    :param find: finds the next hop to a URI.
    """

    def __init__(self, core: SIPCore, find: Callable[[str], Awaitable[Flow | NextHop]]) -> None:
        self.clients: list[RegistrationClient] = []
        core.flow_watchers.append(self.flow_lost)
        self._core = core
        self._find = find

    def add(self, account: Account) -> RegistrationClient:
        """
        Add an account; it is registered from :meth:`start` on.

        :raises LocalError: when there is such a one, or there are too many.
        """
        if any(client.account.aor == account.aor for client in self.clients):
            raise LocalError(f"{account.aor} is registered already")
        if len(self.clients) >= MAX_ACCOUNTS:
            raise LocalError(f"there are more than {MAX_ACCOUNTS} accounts")
        client = RegistrationClient(self._core, account, self._find)
        self.clients.append(client)
        return client

    def start(self) -> None:
        """Register all."""
        for number, client in enumerate(self.clients):
            client.start(number * START_GAP)

    def stop(self) -> Deferred[None]:
        """
        Remove all bindings.

        :return: fires when each registrar has answered, or does not.
        """
        return Deferred.fromCoroutine(_all([client.stop() for client in self.clients]))

    def abandon(self) -> None:
        """Wait for no registrar any more."""
        for client in self.clients:
            client.abandon()

    @property
    def flows(self) -> set[Flow]:
        """The flows by which we are reached."""
        return {client.flow for client in self.clients if client.flow is not None}

    def flow_lost(self, flow: Flow) -> None:
        """Register those anew whose flow is lost."""
        for client in self.clients:
            client.flow_lost(flow)


async def _all(endings: Sequence[Deferred[None]]) -> None:
    for ending in endings:
        await ending
