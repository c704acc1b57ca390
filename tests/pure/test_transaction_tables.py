# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Every cell of the four transaction tables, by what the world sees of it.

The expectations below are written from the RFCs, not from the tables: for each state and event,
what is seen when a machine in that state is fed that event. And the other way round: each cell is
spoilt in every way, and each time the observation must differ.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import IllegalTransition, TransportError
from sipsess.flow import Flow
from sipsess.machine import Cell, Table, check_complete, recording
from sipsess.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    ClientTransaction,
    ServerTransaction,
    Transaction,
)
from tests.pure.transactions import TCP, UDP, World, answer, label

TABLES: dict[str, Table] = {
    "INVITE_CLIENT": INVITE_CLIENT,
    "INVITE_SERVER": INVITE_SERVER,
    "NON_INVITE_CLIENT": NON_INVITE_CLIENT,
    "NON_INVITE_SERVER": NON_INVITE_SERVER,
}

#: Where a machine is put: the state, and what led there.
SITUATIONS: dict[str, tuple[str, ...]] = {
    "INVITE_CLIENT": (
        "CALLING",
        "PROCEEDING 180",
        "ACCEPTED 200",
        "COMPLETED 486",
        "TERMINATED ABANDON",
    ),
    "INVITE_SERVER": (
        "PROCEEDING",
        "PROCEEDING 180",
        "ACCEPTED 200",
        "COMPLETED 486",
        "CONFIRMED 486 ACK",
        "TERMINATED ABANDON",
    ),
    "NON_INVITE_CLIENT": (
        "TRYING",
        "PROCEEDING 100",
        "COMPLETED 200",
        "TERMINATED ABANDON",
    ),
    "NON_INVITE_SERVER": (
        "TRYING",
        "PROCEEDING TIMER_TRYING",
        "COMPLETED 200",
        "TERMINATED ABANDON",
    ),
}

#: What is seen: the new state; what is sent; the upcalls; when the timers will fire, seconds from
#: now. "=": nothing at all happens. "!": IllegalTransition, and nothing else.
EXPECTED: dict[str, dict[str, dict[str, str]]] = {
    "INVITE_CLIENT": {
        "CALLING": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; ",
            "RESPONSE_2XX": "ACCEPTED; ; response_received 200; 32",
            "RESPONSE_300_699": "COMPLETED; ACK; response_received 486; 32.5",
            "TIMER_A": "CALLING; INVITE; ; 0.5 1 32",
            "TIMER_B": "gone; ; client_failed Timeout, client_terminated ; ",
            "TIMER_D": "!",
            "TIMER_M": "!",
            "TRANSPORT_ERROR": "gone; ; client_failed TransportError, client_terminated ; ",
            "ABANDON": "gone; ; client_terminated ; ",
        },
        "PROCEEDING 180": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; ",
            "RESPONSE_2XX": "ACCEPTED; ; response_received 200; 32",
            "RESPONSE_300_699": "COMPLETED; ACK; response_received 486; 32.5",
            "TIMER_A": "!",
            "TIMER_B": "!",
            "TIMER_D": "!",
            "TIMER_M": "!",
            "TRANSPORT_ERROR": "gone; ; client_failed TransportError, client_terminated ; ",
            "ABANDON": "gone; ; client_terminated ; ",
        },
        "ACCEPTED 200": {
            "RESPONSE_1XX": "=",
            "RESPONSE_2XX": "ACCEPTED; ; response_received 200; 32",
            "RESPONSE_300_699": "=",
            "TIMER_A": "!",
            "TIMER_B": "!",
            "TIMER_D": "!",
            "TIMER_M": "gone; ; client_terminated ; ",
            "TRANSPORT_ERROR": "=",
            "ABANDON": "=",
        },
        "COMPLETED 486": {
            "RESPONSE_1XX": "=",
            "RESPONSE_2XX": "=",
            "RESPONSE_300_699": "COMPLETED; ACK; ; 32.5",
            "TIMER_A": "!",
            "TIMER_B": "!",
            "TIMER_D": "gone; ; client_terminated ; ",
            "TIMER_M": "!",
            "TRANSPORT_ERROR": "gone; ; client_terminated ; ",
            "ABANDON": "=",
        },
    },
    "INVITE_SERVER": {
        "PROCEEDING": {
            "REQUEST": "=",
            "ACK": "=",
            "RESPOND_1XX": "PROCEEDING; 180; ; ",
            "RESPOND_2XX": "ACCEPTED; 200; ; 32",
            "RESPOND_300_699": "COMPLETED; 486; ; 0.5 32",
            "TIMER_TRYING": "PROCEEDING; 100; ; 0.2",
            "TIMER_G": "!",
            "TIMER_H": "!",
            "TIMER_I": "!",
            "TIMER_L": "!",
            "TRANSPORT_ERROR": "PROCEEDING; ; server_failed TransportError; 0.2",
            "ABANDON": "gone; ; server_terminated ; ",
        },
        "PROCEEDING 180": {
            "REQUEST": "PROCEEDING; 180; ; ",
            "ACK": "=",
            "RESPOND_1XX": "PROCEEDING; 180; ; ",
            "RESPOND_2XX": "ACCEPTED; 200; ; 32",
            "RESPOND_300_699": "COMPLETED; 486; ; 0.5 32",
            "TIMER_TRYING": "PROCEEDING; 100; ; ",
            "TIMER_G": "!",
            "TIMER_H": "!",
            "TIMER_I": "!",
            "TIMER_L": "!",
            "TRANSPORT_ERROR": "PROCEEDING; ; server_failed TransportError; ",
            "ABANDON": "gone; ; server_terminated ; ",
        },
        "ACCEPTED 200": {
            "REQUEST": "=",
            "ACK": "=",
            "RESPOND_1XX": "!",
            "RESPOND_2XX": "ACCEPTED; 200; ; 32",
            "RESPOND_300_699": "!",
            "TIMER_TRYING": "!",
            "TIMER_G": "!",
            "TIMER_H": "!",
            "TIMER_I": "!",
            "TIMER_L": "gone; ; server_terminated ; ",
            "TRANSPORT_ERROR": "ACCEPTED; ; server_failed TransportError; 32",
            "ABANDON": "=",
        },
        "COMPLETED 486": {
            "REQUEST": "COMPLETED; 486; ; 0.5 32",
            "ACK": "CONFIRMED; ; ; 5",
            "RESPOND_1XX": "!",
            "RESPOND_2XX": "!",
            "RESPOND_300_699": "!",
            "TIMER_TRYING": "!",
            "TIMER_G": "COMPLETED; 486; ; 0.5 1 32",
            "TIMER_H": "gone; ; server_failed Timeout, server_terminated ; ",
            "TIMER_I": "!",
            "TIMER_L": "!",
            "TRANSPORT_ERROR": "COMPLETED; ; server_failed TransportError; 0.5 32",
            "ABANDON": "=",
        },
        "CONFIRMED 486 ACK": {
            "REQUEST": "=",
            "ACK": "=",
            "RESPOND_1XX": "!",
            "RESPOND_2XX": "!",
            "RESPOND_300_699": "!",
            "TIMER_TRYING": "!",
            "TIMER_G": "!",
            "TIMER_H": "!",
            "TIMER_I": "gone; ; server_terminated ; ",
            "TIMER_L": "!",
            "TRANSPORT_ERROR": "=",
            "ABANDON": "=",
        },
    },
    "NON_INVITE_CLIENT": {
        "TRYING": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; 0.5 32",
            "RESPONSE_FINAL": "COMPLETED; ; response_received 200; 5",
            "TIMER_E": "TRYING; OPTIONS; ; 0.5 1 32",
            "TIMER_F": "gone; ; client_failed Timeout, client_terminated ; ",
            "TIMER_K": "!",
            "TRANSPORT_ERROR": "gone; ; client_failed TransportError, client_terminated ; ",
            "ABANDON": "gone; ; client_terminated ; ",
        },
        "PROCEEDING 100": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; 0.5 32",
            "RESPONSE_FINAL": "COMPLETED; ; response_received 200; 5",
            "TIMER_E": "PROCEEDING; OPTIONS; ; 0.5 4 32",
            "TIMER_F": "gone; ; client_failed Timeout, client_terminated ; ",
            "TIMER_K": "!",
            "TRANSPORT_ERROR": "gone; ; client_failed TransportError, client_terminated ; ",
            "ABANDON": "gone; ; client_terminated ; ",
        },
        "COMPLETED 200": {
            "RESPONSE_1XX": "=",
            "RESPONSE_FINAL": "=",
            "TIMER_E": "!",
            "TIMER_F": "!",
            "TIMER_K": "gone; ; client_terminated ; ",
            "TRANSPORT_ERROR": "=",
            "ABANDON": "=",
        },
    },
    "NON_INVITE_SERVER": {
        "TRYING": {
            "REQUEST": "=",
            "RESPOND_1XX": "!",
            "RESPOND_408": "!",
            "RESPOND_FINAL": "COMPLETED; 200; ; 32",
            "TIMER_TRYING": "PROCEEDING; 100; ; 3.5",
            "TIMER_J": "!",
            "TRANSPORT_ERROR": "TRYING; ; server_failed TransportError; 3.5",
            "ABANDON": "gone; ; server_terminated ; ",
        },
        "PROCEEDING TIMER_TRYING": {
            "REQUEST": "PROCEEDING; 100; ; 3.5",
            "RESPOND_1XX": "!",
            "RESPOND_408": "!",
            "RESPOND_FINAL": "COMPLETED; 200; ; 32",
            "TIMER_TRYING": "!",
            "TIMER_J": "!",
            "TRANSPORT_ERROR": "PROCEEDING; ; server_failed TransportError; 3.5",
            "ABANDON": "gone; ; server_terminated ; ",
        },
        "COMPLETED 200": {
            "REQUEST": "COMPLETED; 200; ; 32",
            "RESPOND_1XX": "!",
            "RESPOND_408": "!",
            "RESPOND_FINAL": "!",
            "TIMER_TRYING": "!",
            "TIMER_J": "gone; ; server_terminated ; ",
            "TRANSPORT_ERROR": "COMPLETED; ; server_failed TransportError; 32",
            "ABANDON": "=",
        },
    },
}

#: What differs on a reliable flow: no Timers A, E, G; D, I, J and K end at once.
RELIABLE: dict[str, dict[str, dict[str, str]]] = {
    "INVITE_CLIENT": {
        "CALLING": {
            "TIMER_A": "CALLING; INVITE; ; 1 32",
            "RESPONSE_300_699": "gone; ACK; response_received 486, client_terminated ; ",
        },
        "PROCEEDING 180": {
            "RESPONSE_300_699": "gone; ACK; response_received 486, client_terminated ; ",
        },
    },
    "INVITE_SERVER": {
        "PROCEEDING": {"RESPOND_300_699": "COMPLETED; 486; ; 32"},
        "PROCEEDING 180": {"RESPOND_300_699": "COMPLETED; 486; ; 32"},
        "COMPLETED 486": {
            "REQUEST": "COMPLETED; 486; ; 32",
            "ACK": "gone; ; server_terminated ; ",
            "TIMER_G": "COMPLETED; 486; ; 1 32",
            "TRANSPORT_ERROR": "COMPLETED; ; server_failed TransportError; 32",
        },
    },
    "NON_INVITE_CLIENT": {
        "TRYING": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; 32",
            "RESPONSE_FINAL": "gone; ; response_received 200, client_terminated ; ",
            "TIMER_E": "TRYING; OPTIONS; ; 1 32",
        },
        "PROCEEDING 100": {
            "RESPONSE_1XX": "PROCEEDING; ; response_received 180; 32",
            "RESPONSE_FINAL": "gone; ; response_received 200, client_terminated ; ",
            "TIMER_E": "PROCEEDING; OPTIONS; ; 4 32",
        },
    },
    "NON_INVITE_SERVER": {
        "TRYING": {"RESPOND_FINAL": "gone; 200; server_terminated ; "},
        "PROCEEDING TIMER_TRYING": {"RESPOND_FINAL": "gone; 200; server_terminated ; "},
    },
}

#: States that a transaction on a reliable flow leaves in the step that enters it.
PASSING = {
    ("INVITE_CLIENT", "COMPLETED 486"),
    ("INVITE_SERVER", "CONFIRMED 486 ACK"),
    ("NON_INVITE_CLIENT", "COMPLETED 200"),
    ("NON_INVITE_SERVER", "COMPLETED 200"),
}

STATUSES = {
    "1XX": 180,
    "2XX": 200,
    "300_699": 486,
    "FINAL": 200,
    "408": 408,
}


class Stage:
    """One machine in one situation."""

    def __init__(self, name: str, situation: str, flow: Flow) -> None:
        self.world = World()
        method = "INVITE" if name.startswith("INVITE") else "OPTIONS"
        self.transaction: Transaction
        if name.endswith("CLIENT"):
            self.transaction = self.world.call(method, flow)
        else:
            self.transaction = self.world.serve(method, flow)
        _, *events = situation.split()
        for event in events:
            self.feed(self.name_event(event))

    def name_event(self, word: str) -> str:
        """Return the event that a word of a situation stands for."""
        if not word.isdigit():
            return word
        transaction = self.transaction
        assert isinstance(transaction, ClientTransaction | ServerTransaction)
        return transaction.classify(int(word))

    def feed(self, event: str) -> None:
        """Feed an event with the payload that belongs to it."""
        payload: object = None
        if event.startswith("RESPON"):
            request = self.world.request_of(self.transaction)
            payload = answer(request, STATUSES[event.partition("_")[2]])
        elif event == "TRANSPORT_ERROR":
            payload = TransportError("lost")
        with self.world.turn:
            self.transaction.step(event, payload, self.world.now)

    def timers(self) -> str:
        """Return when the timers will fire."""
        homes = self.world.timers._homes
        entries = [entry for home in homes for entry in home.entries]
        live = [entry[2] if isinstance(entry, tuple) else entry for entry in entries]
        return " ".join(f"{when:g}" for when in sorted(t.when for t in live if t.is_active))

    def observe(self, event: str) -> str:
        """Feed an event and tell what is seen of it."""
        world, before = self.world, self.timers()
        state = self.transaction.state
        world.sent.clear()
        world.calls.clear()
        try:
            self.feed(event)
        except IllegalTransition as error:
            assert (error.machine, error.state) == (self.transaction.NAME, state)
            return "!" if self.transaction.state == state and not world.sent else "half a step"
        after = self.transaction.state
        if (after, self.timers(), world.sent, world.calls) == (state, before, [], []):
            return "="
        if after == "TERMINATED":
            after = "gone" if world.is_quiet() else "TERMINATED, but not gone"
        sent = " ".join(label(wire) for _, _, wire in world.sent)
        calls = ", ".join(f"{name} {detail}" for _, name, detail in world.calls)
        return f"{after}; {sent}; {calls}; {self.timers()}"


def expectations(flow: Flow) -> Iterator[tuple[str, str, str, str]]:
    """Yield machine, situation, event and what is expected, for each cell."""
    for name, table in TABLES.items():
        for situation in SITUATIONS[name]:
            if flow.is_reliable and (name, situation) in PASSING:
                continue
            state = situation.split()[0]
            for event in table[state]:
                expected = "="
                if state != "TERMINATED":
                    expected = EXPECTED[name][situation][event]
                    if flow.is_reliable and name in RELIABLE:
                        differing = RELIABLE[name].get(situation, {})
                        expected = differing.get(event, expected)
                yield name, situation, event, expected


class CellTests(SynchronousTestCase):
    """Each cell does what the RFCs say."""

    def check_all(self, flow: Flow) -> None:
        """Observe each cell on ``flow``."""
        for name, situation, event, expected in expectations(flow):
            stage = Stage(name, situation, flow)
            self.assertEqual(
                stage.observe(event), expected, f"{name}, {situation}: {event} on {flow.transport}"
            )

    def test_unreliable(self) -> None:
        """RFC 3261 17.1 and 17.2 with RFC 6026 and RFC 4320, on UDP."""
        self.check_all(UDP)

    def test_reliable(self) -> None:
        """The same on a reliable flow: no Timers A, E, G, and zero for D, I, J, K."""
        self.check_all(TCP)

    def test_complete(self) -> None:
        """The tables have exactly the states and events that are expected here."""
        for name, table in TABLES.items():
            states = {situation.split()[0] for situation in SITUATIONS[name]}
            events = {event for cells in EXPECTED[name].values() for event in cells}
            check_complete(table, states, events)

    def test_each_cell_is_observed(self) -> None:
        """No cell escapes the tests above."""
        with recording(TABLES) as seen:
            self.check_all(UDP)
        everything = {
            (name, state, event)
            for name, table in TABLES.items()
            for state, cells in table.items()
            for event in cells
        }
        self.assertEqual(seen, everything)


def spoil(cell: Cell, states: list[str]) -> Iterator[Cell]:
    """Yield every wrong version of a cell."""
    yield cell._replace(legal=not cell.legal)
    if not cell.legal:
        return
    for state in states:
        if state != cell.next_state:
            yield cell._replace(next_state=state)
    for index in range(len(cell.actions)):
        yield cell._replace(actions=cell.actions[:index] + cell.actions[index + 1 :])


class MutationTests(SynchronousTestCase):
    """The expectations notice each change of a table."""

    def is_noticed(self, name: str, state: str, event: str, cell: Cell) -> bool:
        """Return whether some situation shows that ``cell`` is wrong."""
        for flow in (UDP, TCP):
            for machine, situation, fed, expected in expectations(flow):
                if (machine, situation.split()[0], fed) != (name, state, event):
                    continue
                stage = Stage(name, situation, flow)
                cells = TABLES[name][state]
                right, cells[event] = cells[event], cell
                try:
                    seen = stage.observe(event)
                finally:
                    cells[event] = right
                if seen != expected:
                    return True
        return False

    def test_every_mutant_is_killed(self) -> None:
        """Another state, a missing action or the other legality is noticed, in each cell."""
        mutants = 0
        for name, table in TABLES.items():
            for state, cells in table.items():
                for event, cell in list(cells.items()):
                    for mutant in spoil(cell, list(table)):
                        mutants += 1
                        noticed = self.is_noticed(name, state, event, mutant)
                        self.assertTrue(noticed, f"{name} {state} {event}: {mutant} survives")
        self.assertGreater(mutants, 600)
