# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two agents on a bad network, what they do in each story, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.defence import DefenceSettings
from sipsess.session import Session
from sipsess.supplement import SessionSupplement
from sipsess.testing import Link, VirtualNetwork
from sipsess.testing.agent import Agent

#: Longer than any timer: the set-up limit of a call whose caller was never heard again, and 64*T1
#: for each of its transactions in turn.
LONG_ENOUGH = 300.0

CALLER = {4: "192.0.2.1", 6: "2001:db8::1"}
CALLEE = {4: "192.0.2.2", 6: "2001:db8::2"}

BAD_LINK = Link(delay=0.02, jitter=0.3, loss=0.3, duplicate=0.2)


class Census(SessionSupplement):
    """Counts the lives of sessions."""

    name = "census"

    def __init__(self) -> None:
        self.begun: list[Session] = []
        self.ended: list[Session] = []
        self.destroyed: list[Session] = []

    def session_begin(self, session: Session) -> None:
        """Count."""
        self.begun.append(session)

    def session_end(self, session: Session) -> None:
        """Count."""
        self.ended.append(session)

    def session_destroy(self, session: Session) -> None:
        """Count."""
        self.destroyed.append(session)

    def forget(self) -> None:
        """Begin to count anew."""
        for sessions in (self.begun, self.ended, self.destroyed):
            sessions.clear()


class Answering(Application):
    """Rings, answers after a second, and stays until the caller goes."""

    name = "answering"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        session = call.session
        await session.send_response(180)
        pause: Deferred[None] = Deferred()
        session.start_timer(1.0, pause.callback, None)
        await pause
        await session.send_response(200)
        await Deferred()


class Ringing(Application):
    """Rings and never answers."""

    name = "ringing"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.session.send_response(180)
        await Deferred()


class Early(Application):
    """Begins early media, answers after a second, and stays until the caller goes."""

    name = "early"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.ring(reliable=True)
        await call.progress()
        await call.wait(1.0)
        await call.answer()
        await call.ended


class Stage:
    """
    A network with a caller and a callee.

    :param seed: of the network.
    :param family: 4 or 6.
    :param link: how bad it is.
    """

    def __init__(self, seed: int, family: int = 4, link: Link = BAD_LINK) -> None:
        self.seed = seed
        self.net = VirtualNetwork(seed=seed, link=link)
        self.census = Census()
        self.caller = self._agent("caller", CALLER[family])
        self.callee = self._agent("callee", CALLEE[family])
        host = CALLEE[family]
        self.host = f"[{host}]" if family == 6 else host
        self.outcome: list[object] = []

    def _agent(self, name: str, address: str) -> Agent:
        return Agent(
            self.net.host(address, name=name),
            supplements=[self.census],
            applications=[Answering(), Ringing(), Early()],
            application="answering",
            listen="udp:5060:interface=" + address.replace(":", r"\:"),
            defence=DefenceSettings(),
        )

    def dial(self, user: str = "answering", **options: Any) -> Session:
        """Place a call; what becomes of it is put into :attr:`outcome`."""
        session = self.caller.dial(f"sip:{user}@{self.host}", **options)
        session.invite_client.answered.addBoth(self.outcome.append)
        return session

    def lose(self, count: int, predicate: Callable[[bytes], bool]) -> None:
        """Lose the first ``count`` datagrams that a predicate chooses."""
        left = [count]

        def lose(source: object, target: object, data: bytes) -> bool:
            if left[0] and predicate(data):
                left[0] -= 1
                return True
            return False

        self.net.filters.append(lose)

    @property
    def was_answered(self) -> bool:
        """Whether the caller heard an answer."""
        return bool(self.outcome) and not isinstance(self.outcome[0], Failure)

    def check(self, test: SynchronousTestCase) -> None:
        """Let all timers end and check what must hold after any story."""
        self.net.run_for(LONG_ENOUGH)
        try:
            self.net.assert_quiet()
            test.assertEqual(len(self.census.begun), len(self.census.ended))
            test.assertCountEqual(self.census.begun, self.census.ended)
            test.assertCountEqual(self.census.begun, self.census.destroyed)
            for agent in (self.caller, self.callee):
                test.assertEqual(agent.core.counters.plugin_errors, 0)
                test.assertNotIn("internal-error", agent.core.counters.refused)
        except AssertionError as error:
            raise AssertionError(f"seed {self.seed}: {error}\n{self.net.ladder()}") from error
