# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls to registered users: find their bindings, and let a hunt call them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from sipsess.endpoint import ANONYMOUS
from sipsess.flow import Flow, format_host
from sipsess.locating import NextHop
from sipsess.manager import DIAL_LIMIT, DialogManager, MediaMaker
from sipsess.message import escape_user
from sipsess.session import EndReason, Session, SessionEnded
from sipsess.session.reason import LOCAL

from .binding import Binding, Source
from .hunt import Hunt
from .location import PhoneFinder, group_by_q

if TYPE_CHECKING:
    from .registrar import Registrar


class UserCalls:
    """
    Calls users.

    :param manager: that places the calls; its registrar knows the users.
    :param flow_of: returns the flow of a source, or ``None`` when it is gone.
    :param resolve: finds the way to a URI.
    """

    def __init__(
        self,
        manager: DialogManager,
        flow_of: Callable[[Source], Flow | None],
        resolve: Callable[[str], Awaitable[Flow | NextHop]],
    ) -> None:
        self._manager = manager
        self._finder = PhoneFinder(flow_of, resolve)

    def dial(
        self,
        user: str,
        *,
        timeout: float = DIAL_LIMIT,
        from_: str | None = None,
        headers: Mapping[str, str] | None = None,
        placed: Callable[[Session], None] | None = None,
        media: MediaMaker | None = None,
    ) -> Deferred[Session]:
        """
        See :meth:`.Users.dial`; this fires with the session.

        :param placed: called with the session of each phone that is called.
        :param media: makes who negotiates its media, as for :meth:`.DialogManager.dial`.
        """
        dialling = self._dial(user, timeout, from_, headers or {}, placed, media)
        return Deferred.fromCoroutine(dialling)

    async def _dial(
        self,
        user: str,
        timeout: float,
        from_: str | None,
        headers: Mapping[str, str],
        placed: Callable[[Session], None] | None,
        media: MediaMaker | None,
    ) -> Session:
        registrar = self._manager.registrar
        bindings = [] if registrar is None else await registrar.find(user)
        if registrar is None or not bindings:
            text = f"nobody is registered as {user}"
            raise SessionEnded(EndReason(LOCAL, "INVITE", 480, text))

        async def place(phone: Sequence[Binding]) -> Session:
            target = await self._finder.find(phone)
            hop = NextHop.of(target.flow)
            all_headers = {"To": _address_of(registrar, user, hop.flow), **headers}
            if target.route_set:
                all_headers["Route"] = ", ".join(target.route_set)
            session = self._manager.dial(
                target.uri,
                hop,
                from_=from_,
                headers=all_headers,
                is_pinned=target.is_pinned,
                endpoint=self._manager.core.endpoints.get(phone[0].endpoint, ANONYMOUS),
                media=media,
            )
            if placed is not None:
                placed(session)
            return session

        return await Hunt(self._manager.core, group_by_q(bindings), place, timeout).start()


def _address_of(registrar: Registrar, user: str, flow: Flow) -> str:
    """Return the To value of a call: the user's address of record, not the phone's."""
    return f"<sip:{escape_user(user)}@{registrar.domain or format_host(flow.host)}>"
