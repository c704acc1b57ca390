# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Registrations over bad networks: what holds whatever is lost, doubled, late or away."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Request, Response, parse
from sipsess.registrar import MemoryStore, RegistrarOptions
from sipsess.registration import Account
from sipsess.server import SIPServer
from sipsess.testing import Link, VirtualNetwork
from sipsess.testing.network import DELIVERED, TraceEvent

#: Networks that are tried.
SEEDS = 300 if os.environ.get("SIPSESS_LONG") else 30
#: Longer than the longest back-off and a whole transaction.
RECOVERY = 1900.0
#: Bad, but most messages get through in the end.
BAD = Link(delay=0.02, jitter=0.8, loss=0.3, duplicate=0.2)


class Scene:
    """
    A customer who registers two users with a registrar.

    :param seed: of all chance.
    :param link: between the two.
    """

    def __init__(self, seed: int, link: Link) -> None:
        self.net = VirtualNetwork(seed, link)
        self.store = MemoryStore()
        self.there, self.here = self.net.host("192.0.2.1"), self.net.host("192.0.2.2")
        self.registrar = self.start_registrar()
        self.customer = SIPServer(self.here)
        for user in ("alice", "bob"):
            self.customer.users.add_account(Account(f"sip:{user}@192.0.2.1", expires=120))
        self.customer.startService()

    def start_registrar(self) -> SIPServer:
        """Start the registrar."""
        server = SIPServer(self.there)
        options = RegistrarOptions(store=self.store, admits_anybody=True)
        server.users.add_registrar(options, wall_time=self.net.seconds)
        server.startService()
        return server

    def restart_registrar(self) -> None:
        """Let the registrar go and come back, without what it knew."""
        self.registrar.stopService()
        self.net.run_for(6)
        self.store = MemoryStore()
        self.registrar = self.start_registrar()

    def heal(self) -> None:
        """Let the network be good again, for long enough."""
        self.net.heal()
        self.net.set_link(self.there, self.here, Link(delay=0.01))
        self.net.run_for(RECOVERY)

    def bound(self) -> list[str]:
        """Return who is bound, with his contact."""
        found = self.store.list_bindings(100, self.net.seconds())
        result: list[str] = []
        found.addCallback(lambda bindings: result.extend(one.uri for one in bindings))
        return result

    def stop(self) -> None:
        """End both."""
        self.customer.stopService()
        self.net.run_for(6)

    def overlaps(self) -> list[str]:
        """Return each REGISTER that left while another of its registration was outstanding."""
        outstanding: dict[str, tuple[int, float]] = {}
        found = []
        for time, message in sorted(self._messages(), key=lambda item: item[0]):
            if isinstance(message, Request):
                number, since = outstanding.get(message.call_id, (0, 0.0))
                # After Timer F the request is over, though nothing of that is seen.
                if number and number != message.cseq.number and time - since < 31.9:
                    found.append(f"{time:.3f}: {message.cseq} while {number} was outstanding")
                if number != message.cseq.number:
                    outstanding[message.call_id] = (message.cseq.number, time)
            elif outstanding.get(message.call_id, (0, 0.0))[0] == message.cseq.number:
                del outstanding[message.call_id]
        return found

    def _messages(self) -> Iterable[tuple[float, Request | Response]]:
        """Yield what the customer sent, and what came to him, with the time."""
        for event in self.net.trace:
            message = parse(event.data)
            if isinstance(message, Request):
                yield event.time, message
            elif came(event):
                yield event.arrival or 0.0, message


def came(event: TraceEvent) -> bool:
    """Tell whether a datagram arrived."""
    return event.arrival is not None and event.fate in (DELIVERED, "duplicated")


class WeatherTests(SynchronousTestCase):
    """Whatever happens between them."""

    def check(self, scene: Scene) -> None:
        """Check what always holds, and that all is well in the end."""
        scene.heal()
        self.assertEqual(
            scene.bound(),
            ["sip:alice@192.0.2.2:5060", "sip:bob@192.0.2.2:5060"],
            scene.net.ladder()[-4000:],
        )
        scene.stop()
        self.assertEqual(scene.bound(), [])
        self.assertEqual(scene.overlaps(), [])
        scene.registrar.stopService()
        scene.net.run_for(40)
        scene.net.assert_closed()

    def test_bad_network(self) -> None:
        """On a network that loses a third both users end up bound, once, and then not at all."""
        for seed in range(SEEDS):
            scene = Scene(seed, BAD)
            scene.net.run_for(random.Random(seed).uniform(10, 600))
            self.check(scene)

    @settings(max_examples=SEEDS, deadline=None, derandomize=True)
    @given(
        st.integers(0, 2**16),
        st.lists(
            st.tuples(
                st.sampled_from(["partition", "heal", "restart", "nothing"]), st.floats(0, 200)
            ),
            max_size=8,
        ),
    )
    def test_stories(self, seed: int, story: list[tuple[str, float]]) -> None:
        """The network goes and comes, the registrar restarts: all is well in the end."""
        scene = Scene(seed, Link(delay=0.02, jitter=0.2, loss=0.1))
        for event, seconds in story:
            if event == "partition":
                scene.net.partition(scene.there, scene.here)
            elif event == "heal":
                scene.net.heal()
            elif event == "restart":
                scene.restart_registrar()
            scene.net.run_for(seconds)
        self.check(scene)
