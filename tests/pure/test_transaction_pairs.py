# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Client and server transactions against each other, over a network that loses and doubles."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import IllegalTransition
from sipsess.flow import Flow
from sipsess.message import Request
from sipsess.transaction import ServerTransaction
from tests.pure.transactions import TCP, UDP, World, answer, label, make_request, request_bytes

#: How long any exchange may last: the answer, 64*T1 on both sides, and the lingering.
LONGEST = 120.0


class Pair:
    """
    Two worlds; what one sends the other receives after 10 to 410 ms, or never, or twice.

    With more than T1 of delay, the last copy of a request could come after 64*T1 and rightly look
    new.
    """

    def __init__(self, seed: int, flow: Flow, loss: float, answers: list[int]) -> None:
        self.random = random.Random(seed)
        self.flow = flow
        self.loss = loss
        #: The method or status of which the first copy is lost.
        self.lost_once = ""
        self.answers = answers
        self.client, self.server = World(), World()
        self.taken = {id(self.client): 0, id(self.server): 0}
        self.under_way: list[tuple[float, World, bytes]] = []
        self.transactions: list[ServerTransaction] = []
        self.acks = 0

    def run(self) -> None:
        """Let time pass from one arrival or deadline to the next."""
        while self.client.now < LONGEST:
            self._collect(self.client, self.server)
            self._collect(self.server, self.client)
            times = [when for when, _, _ in self.under_way]
            times += [
                world.timers.next_deadline() or LONGEST for world in (self.client, self.server)
            ]
            now = min([*times, LONGEST])
            for world in (self.client, self.server):
                world.run_for(now - world.now)
                world.now = now
            due = [item for item in self.under_way if item[0] <= now]
            self.under_way = [item for item in self.under_way if item[0] > now]
            for _, world, wire in due:
                self._deliver(world, wire)

    def _collect(self, source: World, target: World) -> None:
        for _, _, wire in source.sent[self.taken[id(source)] :]:
            copies = 1
            if label(wire) == self.lost_once:
                self.lost_once = ""
                continue
            if not self.flow.is_reliable:
                copies = self.random.choices((0, 1, 2), (self.loss, 1 - self.loss, 0.2))[0]
            for _ in range(copies):
                delay = 0.01 + (0.0 if self.flow.is_reliable else 0.4 * self.random.random())
                self.under_way.append((source.now + delay, target, wire))
        self.taken[id(source)] = len(source.sent)

    def _deliver(self, world: World, wire: bytes) -> None:
        message = world.receive(wire, self.flow)
        if isinstance(message, Request):
            if message.method == "ACK":
                self.acks += 1
                return
            with world.turn:
                transaction = world.layer.create_server(message, self.flow, world.now, user=world)
            self.transactions.append(transaction)
            for status in self.answers:
                world.respond(transaction, status)


class PairTests(SynchronousTestCase):
    """What we send, our own other side accepts; and everything ends."""

    def check(self, seed: int, method: str, flow: Flow, loss: float, answers: list[int]) -> Pair:
        """Run one exchange and check what must always hold."""
        pair = Pair(seed, flow, loss, answers)
        client = pair.client
        with client.turn:
            client.layer.create_client(make_request(method), flow, client, 0.0)
        pair.run()
        names = [name for _, name, _ in client.calls]
        final = answers[-1]
        finals = [what for _, name, what in client.calls if name == "response_received"]
        finals = [what for what in finals if isinstance(what, int) and what >= 200]
        # An INVITE that got a 180 and then lost its only 2xx waits for the TU (13.3.1.4).
        is_waiting = client.layer.leftovers() == ["<INVITE_CLIENT PROCEEDING INVITE z9hG4bKabc>"]
        if not is_waiting:
            self.assertTrue(client.is_quiet(), client.layer.leftovers())
            self.assertEqual(names.count("client_terminated"), 1)
            self.assertEqual(names[-1], "client_terminated")
            self.assertNotEqual(bool(finals), "client_failed" in names)
        else:
            self.assertIn(180, answers)
        if final >= 300 or method != "INVITE":
            self.assertLessEqual(len(finals), 1)
        self.assertTrue(pair.server.is_quiet(), pair.server.layer.leftovers())
        self.assertLessEqual(len(pair.transactions), 1, "a copy looked new")
        return pair

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.sampled_from(("INVITE", "OPTIONS")),
        st.sampled_from((0.0, 0.3, 0.7)),
        st.sampled_from((200, 302, 486, 603)),
        st.booleans(),
    )
    def test_bad_network(
        self, seed: int, method: str, loss: float, final: int, is_ringing: bool
    ) -> None:
        """With loss, delay and copies both sides end, with one outcome, and no copy looks new."""
        answers = [180, final] if is_ringing and method == "INVITE" else [final]
        self.check(seed, method, UDP, loss, answers)

    def test_reliable(self) -> None:
        """On a reliable flow each message goes once."""
        for method in ("INVITE", "OPTIONS"):
            for final in (200, 486):
                pair = self.check(0, method, TCP, 0.0, [final])
                self.assertEqual(pair.server.sent_labels(), [str(final)])
                is_acknowledged = method == "INVITE" and final == 486
                expected = [method, "ACK"] if is_acknowledged else [method]
                self.assertEqual(pair.client.sent_labels(), expected)

    def test_lost_ack(self) -> None:
        """RFC 3261 17.1.1.2: when the ACK is lost, the copy of the 486 fetches another one."""
        pair = Pair(0, UDP, 0.0, [486])
        pair.lost_once = "ACK"
        with pair.client.turn:
            pair.client.layer.create_client(make_request(), UDP, pair.client, 0.0)
        pair.run()
        self.assertGreater(pair.client.sent_labels().count("ACK"), 1)
        self.assertEqual([name for _, name, _ in pair.server.calls], ["server_terminated"])


class RandomEventTests(SynchronousTestCase):
    """A TU and a peer without sense."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(("INVITE", "OPTIONS")),
        st.sampled_from((UDP, TCP)),
        st.lists(
            st.one_of(
                st.sampled_from(("copy", "ack", "lose", "abandon")),
                st.sampled_from((100, 180, 200, 408, 486)),
                st.sampled_from((0.1, 0.5, 5.0, 32.0)),
            ),
            max_size=12,
        ),
    )
    def test_server(self, method: str, flow: Flow, story: list[str | int | float]) -> None:
        """Whatever happens in whatever order, only the TU's own bugs raise, and all ends."""
        world = World()
        transaction = world.serve(method, flow)
        for item in story:
            if isinstance(item, float):
                world.run_for(item)
            elif isinstance(item, int):
                try:
                    world.respond(transaction, item)
                except IllegalTransition:
                    continue
            elif item == "copy":
                world.receive(request_bytes(method), flow)
            elif item == "ack":
                world.receive(request_bytes("ACK", to_tag="to"), flow)
            elif item == "lose":
                world.lose(flow)
            else:
                with world.turn:
                    transaction.abandon(world.now)
        with world.turn:
            transaction.abandon(world.now)
        world.run_for(40)
        self.assertTrue(world.is_quiet())
        self.assertEqual([name for _, name, _ in world.calls].count("server_terminated"), 1)

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(("INVITE", "OPTIONS")),
        st.sampled_from((UDP, TCP)),
        st.lists(
            st.one_of(
                st.sampled_from(("lose", "abandon")),
                st.sampled_from((100, 180, 200, 202, 486, 603)),
                st.sampled_from((0.1, 0.5, 5.0, 32.0)),
            ),
            max_size=12,
        ),
    )
    def test_client(self, method: str, flow: Flow, story: list[str | int | float]) -> None:
        """Whatever the peer sends in whatever order, nothing raises, and there is one outcome."""
        world = World()
        transaction = world.call(method, flow)
        for item in story:
            if isinstance(item, float):
                world.run_for(item)
            elif isinstance(item, int):
                world.receive(answer(transaction.request, item).to_bytes(), flow)
            elif item == "lose":
                world.lose(flow)
            else:
                with world.turn:
                    transaction.abandon(world.now)
        with world.turn:
            transaction.abandon(world.now)
        world.run_for(40)
        self.assertTrue(world.is_quiet())
        names = [name for _, name, _ in world.calls]
        self.assertEqual((names.count("client_terminated"), names[-1]), (1, "client_terminated"))
        finals = [what for _, _, what in world.calls if isinstance(what, int) and what >= 200]
        self.assertFalse(finals and "client_failed" in names)
