# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Two agents that call each other: what most tests of plugins need.

::

    pair = CallPair(callee_supplements=[doorman])
    call = pair.dial(from_="Anonymous <sip:anonymous@anonymous.invalid>")
    pair.net.run_for(1)
    self.assertEqual(call.outcome, (433, "Anonymity Disallowed"))
    pair.settle()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sipsess.application import Application
from sipsess.interfaces import IApplication, ISDPHandler, ISessionSupplement
from sipsess.message import Response
from sipsess.session import EndReason, Session
from sipsess.testing.agent import Agent
from sipsess.testing.network import Link, VirtualNetwork

if TYPE_CHECKING:
    from sipsess.call import Call

#: Longer than any transaction is kept: 64*T1 and what timers D, I, J and K add.
LINGER = 40.0


class AnsweringApplication(Application):
    """Answers at once, and waits until the caller hangs up."""

    name = "answer"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.answer()
        await call.ended


class PlacedCall:
    """
    A call that :meth:`CallPair.dial` placed.

    :param pair: that placed it.
    :param session: the caller's.
    """

    def __init__(self, pair: CallPair, session: Session) -> None:
        self.pair = pair
        #: The caller's session.
        self.session = session
        #: Each provisional response that the caller got, 100 apart.
        self.provisional: list[tuple[int, str]] = []
        #: What the INVITE failed with when no final response came, or ``None``.
        self.error: BaseException | None = None
        session.on_provisional = self._progress
        session.invite_client.answered.addErrback(self._failed)

    @property
    def outcome(self) -> tuple[int, str] | None:
        """The final response to the INVITE, status and reason; ``None`` while there is none."""
        response = self.session.final_response
        return None if response is None else (response.status, response.reason)

    @property
    def callee(self) -> Session | None:
        """The callee's session, while it lives."""
        sessions = self.pair.callee.manager.sessions
        return next((item for item in sessions if item.call_id == self.session.call_id), None)

    @property
    def phone(self) -> Call:
        """What the caller holds of the call: with it he presses keys, speaks and listens."""
        return self.session.channel or self.pair.caller.manager.make_call(self.session)

    @property
    def is_over(self) -> bool:
        """Whether the caller's session has ended."""
        return self.session.is_over

    @property
    def end_reason(self) -> EndReason | None:
        """Why the caller's session ended."""
        return self.session.end_reason

    def hang_up(self, headers: Mapping[str, str] | None = None) -> None:
        """Hang up, or cancel, as the caller."""
        self.session.terminate(headers=headers)

    def hang_up_callee(self, headers: Mapping[str, str] | None = None) -> None:
        """
        Hang up, or refuse, as the callee.

        :raises AssertionError: when the callee has no such call.
        """
        session = self.callee
        if session is None:
            raise AssertionError(f"the callee has no call\n{self.pair.net.ladder()}")
        session.terminate(headers=headers)

    def _progress(self, response: Response) -> None:
        if response.status > 100:
            self.provisional.append((response.status, response.reason))

    def _failed(self, failure: Any) -> None:
        self.error = failure.value


class CallPair:
    """
    A network with a caller and a callee.

    :param callee_supplements: of the one who is called.
    :param caller_supplements: of the one who calls.
    :param application: what the callee does; left out, it answers and waits.
    :param callee_handlers: the callee's SDP handlers; left out, the shipped audio handler.
    :param caller_handlers: the caller's, likewise.
    :param seed: of all chance.
    :param link: how datagrams travel.
    :param agent_options: more arguments for both agents.
    """

    def __init__(
        self,
        *,
        callee_supplements: Iterable[ISessionSupplement] = (),
        caller_supplements: Iterable[ISessionSupplement] = (),
        application: IApplication | None = None,
        callee_handlers: Iterable[ISDPHandler] | None = None,
        caller_handlers: Iterable[ISDPHandler] | None = None,
        seed: int = 0,
        link: Link | None = None,
        **agent_options: Any,
    ) -> None:
        #: The network, which is also the clock.
        self.net = VirtualNetwork(seed, link)
        chosen = application or AnsweringApplication()
        #: Who calls, at 192.0.2.2, and who is called, at 192.0.2.1.
        self.caller = Agent(
            self.net.host("192.0.2.2", name="caller"),
            supplements=caller_supplements,
            handlers=caller_handlers,
            **agent_options,
        )
        self.callee = Agent(
            self.net.host("192.0.2.1", name="callee"),
            supplements=callee_supplements,
            handlers=callee_handlers,
            applications=[chosen],
            application=chosen.name,
            **agent_options,
        )

    def dial(
        self, to: str = "sip:callee@192.0.2.1", *, from_: str | None = None, **options: Any
    ) -> PlacedCall:
        r"""
        Place a call from the caller; let time pass to see what comes of it.

        :param to: whom to call.
        :param from\_: the From value.
        :param options: as for :meth:`.DialogManager.dial`.
        """
        return PlacedCall(self, self.caller.dial(to, from_=from_, **options))

    def settle(self) -> None:
        """
        Let all transactions come to their end, and check that nothing is left: end tests with it.

        :raises AssertionError: with what is left, and the ladder.
        """
        self.net.run_for(LINGER)
        self.net.assert_quiet()
