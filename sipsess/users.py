# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Users who are reached by registration: those of others here, and ours elsewhere.

A server has one :class:`Users`. It has no registrar and no account until somebody adds them::

    server.users.add_registrar(RegistrarOptions(admits_anybody=True))
    server.users.add_account(Account("sip:echo@trunk.example"))
    call = await server.users.dial("alice")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipsess.flow import Address, Flow
from sipsess.locating import NextHop
from sipsess.manager import DIAL_LIMIT, DialogManager
from sipsess.registrar import Registrar, RegistrarOptions, Source, UserCalls
from sipsess.registration import Account, RegistrationClient, Registrations

if TYPE_CHECKING:
    from sipsess.call import Call


class Users:
    """
    The users of one server.

    :param manager: that places the calls.
    :param datagram_flow: returns the flow of a listener, by its name, to an address; ``None`` when
        there is no such listener.
    :param resolve: finds the way to a URI.
    :param wall_time: the wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        manager: DialogManager,
        datagram_flow: Callable[[str, Address], Flow | None],
        resolve: Callable[[str], Awaitable[Flow | NextHop]],
        wall_time: Callable[[], float],
    ) -> None:
        self._wall_time = wall_time
        self._manager = manager
        self._datagram_flow = datagram_flow
        self._resolve = resolve
        self._calls = manager.user_calls = UserCalls(manager, self.flow_of, resolve)

    # -- before the start ------------------------------------------------------------------

    def add_registrar(
        self,
        options: RegistrarOptions | None = None,
        wall_time: Callable[[], float] | None = None,
    ) -> Registrar:
        """
        Let phones register, from the start on; without it REGISTER is refused (405).

        :param wall_time: another wall clock than the server's.
        """
        clock = wall_time or self._wall_time
        registrar = Registrar(self._manager.core, options or RegistrarOptions(), clock)
        self._manager.registrar = registrar
        return registrar

    def add_account(self, account: Account) -> RegistrationClient:
        """
        Register with a trunk or a PBX, from the start on.

        :raises LocalError: when that address of record has an account already.
        """
        if self._manager.registrations is None:
            self._manager.registrations = Registrations(self._manager.core, self._resolve)
        return self._manager.registrations.add(account)

    # -- calls -----------------------------------------------------------------------------

    def dial(
        self,
        user: str,
        *,
        from_: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DIAL_LIMIT,
    ) -> Deferred[Call]:
        r"""
        Call a registered user: all phones at once, those of a lower q after the others.

        :param user: the user part of the address of record.
        :param from\_: a From value without tag.
        :param headers: more headers of the INVITEs.
        :param timeout: seconds until the call is given up when nobody has answered.
        :return: fires with the call of the phone that answered first; the others are cancelled.
            Fails with :class:`.SessionEnded` when nobody is registered (480), or with the best of
            the refusals; with :class:`.TransportError` when no phone could be reached. Cancelling
            it ends all.
        """
        answered = self._calls.dial(user, timeout=timeout, from_=from_, headers=headers)
        return answered.addCallback(self._manager.make_call)

    def flow_of(self, source: Source) -> Flow | None:
        """Return the flow by which a REGISTER came; ``None`` when it is gone."""
        if source.transport == "UDP":
            return self._datagram_flow(source.listener, source.remote)
        registrar = self._manager.registrar
        return None if registrar is None else registrar.flow_of(source)

    @property
    def flows(self) -> set[Flow]:
        """The flows that registrations need, theirs and ours."""
        owners = (self._manager.registrar, self._manager.registrations)
        return {flow for owner in owners if owner is not None for flow in owner.flows}

    # -- what the server says --------------------------------------------------------------

    def start(self) -> None:
        """
        Answer REGISTER, and register.

        :raises StoreError: when the store of bindings cannot be used; nothing has begun then.
        """
        if self._manager.registrar is not None:
            self._manager.registrar.start()
        if self._manager.registrations is not None:
            self._manager.registrations.start()

    def unregister(self) -> Deferred[None]:
        """
        Remove our bindings.

        :return: fires when each registrar has answered, or does not.
        """
        registrations = self._manager.registrations
        return succeed(None) if registrations is None else registrations.stop()

    def close(self) -> Deferred[None]:
        """
        Wait for no registrar any more, and answer REGISTER no more.

        :return: fires when the store of bindings is closed.
        """
        if self._manager.registrations is not None:
            self._manager.registrations.abandon()
        registrar = self._manager.registrar
        return succeed(None) if registrar is None else registrar.stop()
