# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the agents and pairs of them that tests of plugins use."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.errors import LocalError, Timeout
from sipsess.session import SessionEnded
from sipsess.testing import Agent, CallPair, Link, VirtualNetwork
from sipsess.testing.pair import AnsweringApplication


class AgentTests(SynchronousTestCase):
    """One agent."""

    def setUp(self) -> None:
        """Build two."""
        self.net = VirtualNetwork()
        self.caller = Agent(self.net.host("192.0.2.2", "2001:db8::2", name="caller"))
        self.callee = Agent(
            self.net.host("192.0.2.1", "2001:db8::1", name="callee"),
            applications=[AnsweringApplication(), RejectApplication()],
            application="answer",
        )

    def test_dial(self) -> None:
        """A URI's user may name the application; both IP versions work."""
        for uri, status in (
            ("sip:anybody@192.0.2.1", 200),
            ("sip:anybody@[2001:db8::1]:5060", 200),
            ("sip:reject@[2001:db8::1]", 603),
        ):
            session = self.caller.dial(uri)
            session.invite_client.answered.addErrback(lambda failure: None)
            self.net.run_for(1)
            assert session.final_response is not None
            self.assertEqual(session.final_response.status, status)
            session.terminate()
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_no_application(self) -> None:
        """Without an application the answer is 404."""
        session = self.callee.dial("sip:x@192.0.2.2")
        self.net.run_for(1)
        assert session.final_response is not None
        self.assertEqual(session.final_response.status, 404)

    def test_cannot_dial(self) -> None:
        """A URI that is no SIP URI, or that no listener reaches, is refused at once."""
        self.assertRaises(LocalError, self.caller.dial, "tel:+1555")
        agent = Agent(self.net.host("192.0.2.3", name="old"))
        error = self.assertRaises(LocalError, agent.dial, "sip:x@[2001:db8::1]")
        self.assertIn("old has no listener", str(error))
        self.assertEqual(repr(agent), "<Agent old>")

    def test_leftovers(self) -> None:
        """What is alive is told with the host's name."""
        self.caller.dial("sip:x@192.0.2.1")
        self.net.run_for(1)
        self.assertEqual(len(self.callee.sessions), 1)
        error = self.assertRaises(AssertionError, self.net.assert_quiet)
        self.assertIn("callee: session", str(error))
        self.assertIn("caller: session", str(error))

    def test_stop(self) -> None:
        """Stopping ends the calls and closes all ports."""
        session = self.caller.dial("sip:x@192.0.2.1")
        self.net.run_for(1)
        stopped = self.callee.stop()
        self.net.run_for(1)
        self.successResultOf(stopped)
        self.assertTrue(session.is_over)
        other = self.caller.stop()
        self.net.run_for(40)
        self.successResultOf(other)
        self.net.assert_closed()


class PairTests(SynchronousTestCase):
    """Two agents."""

    def test_answered(self) -> None:
        """The callee answers unless told otherwise; either side can hang up."""
        pair = CallPair()
        call = pair.dial()
        self.assertIsNone(call.outcome)
        pair.net.run_for(1)
        self.assertEqual(call.outcome, (200, "OK"))
        self.assertFalse(call.is_over)
        call.hang_up_callee()
        pair.net.run_for(1)
        self.assertTrue(call.is_over)
        self.assertEqual(str(call.end_reason), "BYE by the far end")
        error = self.assertRaises(AssertionError, call.hang_up_callee)
        self.assertIn("the callee has no call", str(error))
        pair.settle()

    def test_provisional(self) -> None:
        """Provisional responses are noted, 100 Trying is not."""
        pair = CallPair(application=RingApplication(1.0), link=Link(delay=0.15))
        call = pair.dial()
        pair.net.run_for(0.8)
        self.assertEqual(call.provisional, [(180, "Ringing")])
        call.hang_up()
        pair.settle()
        self.assertIsInstance(call.error, SessionEnded)

    def test_nobody_answers(self) -> None:
        """A callee that is unreachable gives no outcome but a reason."""
        pair = CallPair()
        pair.net.partition(pair.caller.host, pair.callee.host)
        call = pair.dial()
        pair.settle()
        self.assertIsNone(call.outcome)
        assert call.end_reason is not None
        self.assertEqual(call.end_reason.status, Timeout.status_hint)

    def test_trying(self) -> None:
        """A callee that takes its time sends 100 by itself, which is nobody's news."""
        pair = CallPair(application=Thinking())
        call = pair.dial()
        pair.net.run_for(1)
        self.assertEqual(call.provisional, [])
        call.hang_up()
        pair.settle()

    def test_same_seed(self) -> None:
        """The same seed gives the same messages."""
        ladders = []
        for _ in range(2):
            pair = CallPair(seed=5, link=Link(loss=0.3, jitter=0.1))
            pair.dial().session.start_timer(2, lambda: None)
            pair.net.run_for(5)
            ladders.append(b"".join(event.data for event in pair.net.trace))
        self.assertEqual(*ladders)


class Thinking(RingApplication):
    """Does nothing for a while."""

    name = "thinking"

    async def handle(self, call: object) -> None:
        """See IApplication."""
        await call.wait(10)  # type: ignore[attr-defined]
