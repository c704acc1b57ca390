# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Calls over connections that are slow, and lost at any moment: everything ends, and nothing is left.

Each seed is one story. One that fails is printed, and becomes a test of its own.
"""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.call import Call
from sipsess.errors import SIPError
from sipsess.sdphandler import NegotiationFailed
from sipsess.server import SIPServer
from sipsess.session import Session
from sipsess.testing import Link, VirtualHost, VirtualNetwork
from sipsess.transport.connections import CONNECT_LIMIT

#: Stories, and steps of each.
SEEDS = 60
STEPS = 25
CALLER, CALLEE = "192.0.2.2", "192.0.2.1"


class Ringing(Application):
    """Rings for a while, then answers."""

    name = "ringing"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.ring()
        await call.wait(3)
        await call.answer()
        await call.ended


class Story:
    """
    Two servers that call each other over TCP while their connections come and go.

    :param seed: of all chance in it.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        link = Link(delay=0.02, jitter=0.3, loss=self.random.choice([0.0, 0.1, 0.3]))
        self.net = VirtualNetwork(seed=seed, link=link)
        self.servers = [self.serve(self.net.host(host)) for host in (CALLER, CALLEE)]
        self.calls = 0

    def serve(self, host: VirtualHost) -> SIPServer:
        """Start one side."""
        server = SIPServer(
            host,
            ["udp:5060", "tcp:5060"],
            applications=[EchoApplication(), Ringing()],
        )
        server.startService()
        return server

    def step(self) -> None:
        """Do something, and let some time pass."""
        self.random.choice([self.dial, self.dial, self.end, self.ask, self.hold, self.lose])()
        self.net.run_for(self.random.choice([0.0, 0.05, 0.3, 2.0, 10.0]))

    def dial(self) -> None:
        """Call the other side, by TCP, or by a request that is too large for UDP."""
        index = self.random.randrange(2)
        user = self.random.choice(["echo", "ringing", "nobody"])
        uri = f"sip:{user}@{(CALLEE, CALLER)[index]}"
        headers = {}
        if self.random.random() < 0.5:
            uri += ";transport=tcp"
        else:
            headers["Subject"] = "x" * 1500
        _forget(self.servers[index].dial(uri, headers=headers, timeout=20))
        self.calls += 1

    def session(self) -> Session | None:
        """Return one of the sessions of a side."""
        sessions = list(self.random.choice(self.servers).manager.sessions)
        return self.random.choice(sessions) if sessions else None

    def end(self) -> None:
        """Hang up, cancel or refuse."""
        session = self.session()
        if session is not None:
            session.terminate(486)

    def ask(self) -> None:
        """Send a request within a call."""
        session = self.session()
        if session is not None and session.is_answered and session.dialog is not None:
            _forget(session.send_request("INFO", body=b"x" * self.random.choice([1, 2000])))

    def hold(self) -> None:
        """Send a re-INVITE."""
        session = self.session()
        if session is not None and session.is_answered and not session.is_over:
            _forget(self.random.choice([session.hold, session.unhold])())

    def lose(self) -> None:
        """Lose the connections of a side, all or one."""
        ends = list(self.random.choice(self.servers).reactor.streams.connections)
        for end in self.random.sample(ends, self.random.randint(0, len(ends))):
            end.abortConnection()

    def finish(self) -> list[str]:
        """Let all come to its end, and return what is wrong."""
        self.net.run_for(CONNECT_LIMIT + 1)
        for session in [item for server in self.servers for item in server.manager.sessions]:
            session.terminate()
        self.net.run_for(200)
        wrong = [line for server in self.servers for line in server.manager.leftovers()]
        for server in self.servers:
            counters = server.core.counters
            if counters.sessions_begun != counters.sessions_ended:
                wrong.append(f"{counters.sessions_begun} began, {counters.sessions_ended} ended")
            if counters.plugin_errors or "internal-error" in counters.refused:
                wrong.append(f"errors: {counters}")
            wrong += [f"failures: {server.connections.failures}"] * server.connections.failures
            server.stopService()
        self.net.run_for(10)
        self.net.assert_closed()
        return wrong


def _forget(deferred: Deferred[Any]) -> None:
    """Take any end of a wish that is an answer, or a failure that may happen."""
    deferred.addErrback(lambda failure: failure.trap(SIPError, NegotiationFailed) and None)


class StoryTests(SynchronousTestCase):
    """Many stories."""

    def test_stories(self) -> None:
        """Whatever is lost, each call ends on both sides, and nothing is left."""
        calls = 0
        for seed in range(SEEDS):
            story = Story(seed)
            for _ in range(STEPS):
                story.step()
            wrong = story.finish()
            self.assertEqual(wrong, [], f"seed {seed}\n{story.net.ladder()[-3000:]}")
            calls += story.calls
        self.assertGreater(calls, SEEDS)
