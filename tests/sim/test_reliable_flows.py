# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Two cores over fake reliable flows: what changes where nothing is lost or reordered (17.1, 17.2).

The flows stand for streams: nothing is lost or doubled, and each message is handed over whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.core import SIPCore
from sipsess.endpoint import AnonymousGate
from sipsess.flow import Flow
from sipsess.ids import IdSource
from sipsess.manager import DialogManager
from sipsess.sdp import MediaDescription, SessionDescription
from sipsess.sdphandler import SDPHandler, StreamVerdict
from sipsess.session import LocalDescription, Session, SessionStream

DELAY = 0.01


class Silence(SDPHandler):
    """Agrees to audio and opens nothing."""

    name = "silence"
    media_type = "audio"

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """Claim all."""
        return StreamVerdict.HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> MediaDescription:
        """Describe."""
        return sdp.media("audio", 40000, "RTP/AVP", ["0"])


class Answering(Application):
    """Answers and stays."""

    name = "answering"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.answer()
        await Deferred()


class Busy(Application):
    """Refuses."""

    name = "busy"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.reject(486)


class Side:
    """One core at one end of a connection."""

    def __init__(self, clock: Clock, name: str, flow: Flow) -> None:
        self.clock = clock
        self.flow = flow
        self.other: Side | None = None
        self.sent: list[tuple[float, str]] = []
        #: Tells whether what is sent is swallowed, as by a peer that hangs.
        self.swallows: Callable[[bytes], bool] = lambda data: False
        self.core = SIPCore(
            transmit=self._transmit,
            seconds=clock.seconds,
            ids=IdSource(random.Random(name)),
            gates=[AnonymousGate()],
        )
        self.manager = DialogManager(
            self.core,
            handlers=[Silence()],
            applications=[Answering(), Busy()],
            application="answering",
        )

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        words = wire.split(b"\r\n", 1)[0].decode().split()
        self.sent.append(
            (round(self.clock.seconds(), 2), words[1] if words[0] == "SIP/2.0" else words[0])
        )
        if not self.swallows(wire):
            self.clock.callLater(DELAY, self._deliver, wire)

    def _deliver(self, wire: bytes) -> None:
        assert self.other is not None
        self.other.core.receive_message(wire, self.other.flow, self.clock.seconds())

    def labels(self) -> list[str]:
        """Return what was sent, without the times."""
        return [label for _, label in self.sent]


class ReliableFlowTests(SynchronousTestCase):
    """Calls over a connection."""

    def setUp(self) -> None:
        """Connect two cores."""
        self.clock = Clock()
        here, there = ("192.0.2.1", 40001), ("192.0.2.2", 5060)
        self.caller = Side(self.clock, "caller", Flow("TCP", here, there, "tcp", None, True, 1))
        self.callee = Side(self.clock, "callee", Flow("TCP", there, here, "tcp", None, True, 1))
        self.caller.other, self.callee.other = self.callee, self.caller

    def run_for(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.clock.seconds() + seconds
        sides = (self.caller, self.callee)
        while True:
            deadlines = [side.core.next_deadline() for side in sides]
            calls = [call.getTime() for call in self.clock.getDelayedCalls()]
            due = min([when for when in (*deadlines, *calls) if when is not None], default=end)
            if due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.seconds()))
            for side in sides:
                side.core.handle_timeout(self.clock.seconds())
            if not calls and not any(when is not None for when in deadlines):
                break
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def dial(self, user: str = "answering") -> Session:
        """Place a call."""
        session = self.caller.manager.dial(f"sip:{user}@192.0.2.2", self.caller.flow)
        session.invite_client.answered.addErrback(lambda failure: None)
        return session

    def assert_nothing_left(self) -> None:
        """Both sides are empty."""
        self.assertEqual(self.caller.manager.leftovers() + self.callee.manager.leftovers(), [])

    def test_a_call(self) -> None:
        """Each message is sent once, and the Contact says the transport."""
        session = self.dial()
        self.run_for(1)
        self.assertEqual(session.contact, "<sip:192.0.2.1:40001;transport=tcp>")
        session.terminate()
        self.run_for(40)
        self.assertEqual(self.caller.labels(), ["INVITE", "ACK", "BYE"])
        self.assertEqual(self.callee.labels(), ["200", "200"])
        self.assert_nothing_left()

    def test_no_timer_a(self) -> None:
        """:rfc:`3261#section-17.1.1.2`: an INVITE is not repeated; Timer B still ends it."""
        self.caller.swallows = lambda data: True
        session = self.dial()
        self.run_for(40)
        self.assertEqual(self.caller.sent, [(0.0, "INVITE")])
        self.assertEqual(str(session.end_reason)[:29], "INVITE by the network: 408 no")
        self.assert_nothing_left()

    def test_no_timer_g(self) -> None:
        """17.2.1: a refusal is not repeated though its ACK never comes; Timer H ends it."""
        self.caller.swallows = lambda data: data.startswith(b"ACK")
        self.dial("busy")
        self.run_for(40)
        self.assertEqual(self.callee.labels(), ["486"])
        self.assert_nothing_left()

    def test_no_timer_e(self) -> None:
        """17.1.2.2: a BYE is not repeated; Timer F ends the call."""
        session = self.dial()
        self.run_for(1)
        self.caller.swallows = lambda data: data.startswith(b"BYE")
        session.terminate()
        self.run_for(40)
        self.assertEqual(self.caller.labels(), ["INVITE", "ACK", "BYE"])
        self.assertTrue(session.is_over)
        self.callee.manager.stop()
        self.run_for(80)
        self.assert_nothing_left()

    def test_success_is_repeated_all_the_same(self) -> None:
        """13.3.1.4: the 200 to INVITE is repeated until its ACK comes, on any transport."""
        self.caller.swallows = lambda data: data.startswith(b"ACK")
        self.dial()
        self.run_for(2)
        self.assertEqual(self.callee.sent, [(0.01, "200"), (0.51, "200"), (1.51, "200")])
        self.caller.swallows = lambda data: False
        self.caller.manager.stop()
        self.run_for(100)
        self.assert_nothing_left()

    def test_flow_lost_ends_what_waits_on_it(self) -> None:
        """17.1.4: transactions of a lost connection fail at once; the call that rings is over."""
        self.callee.swallows = lambda data: True
        session = self.dial()
        self.run_for(1)
        self.caller.core.flow_lost(self.caller.flow, self.clock.seconds())
        self.assertTrue(session.is_over)
        self.assertIn("by the network: 503", str(session.end_reason))
        self.callee.core.flow_lost(self.callee.flow, self.clock.seconds())
        self.run_for(100)
        self.assert_nothing_left()
