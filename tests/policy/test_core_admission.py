# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Admission: the gates, and that every request gets exactly one final answer."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from sipsess.admission import GATE_LIMIT, Admission, Answered
from sipsess.endpoint import ANONYMOUS, AnonymousGate, Endpoint
from sipsess.errors import RemoteError
from sipsess.interfaces import IRequestGate
from sipsess.message import build_cancel
from sipsess.supplement import Reject, Verdict
from tests.policy.agents import US, BoxTestCase, Gate, ring


class Unready:
    """An awaitable that is neither a Deferred nor a coroutine."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Be awaited by somebody else."""
        yield


def _return(value: object, admission: Admission) -> object:
    return value


def _note_and_refuse(seen: list[Admission], admission: Admission) -> Verdict:
    seen.append(admission)
    raise Reject(403)


class GateTests(BoxTestCase):
    """One gate, and what it says at once."""

    def test_continue_and_none(self) -> None:
        """Both let the next gate decide; all are asked once, in order."""
        order: list[str] = []
        first = Gate(lambda admission: order.append("first"))

        def admit(admission: Admission) -> Verdict:
            order.append("second")
            return Verdict.CONTINUE

        second = Gate(admit)
        self.start(gates=[first, second])
        success = self.call()
        self.assertEqual(order, ["first", "second"])
        self.peer.bye(success)
        self.finish()

    def test_gates_that_are_replaced(self) -> None:
        """A request that waits at a gate passes those that stood when it came, and no others."""
        waiting: Deferred[Verdict] = Deferred()
        first = Gate(lambda admission: waiting)
        second, other = Gate(lambda admission: None), Gate(lambda admission: None)
        self.start(gates=[first, second])
        self.invite()
        self.net.run_for(0.1)
        self.box.core.gates = (other,)
        waiting.callback(Verdict.CONTINUE)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.assertEqual([gate.asked for gate in (second, other)], [["INVITE"], []])
        self.peer.bye(success)
        self.finish()

    def test_what_is_answered_is_let_go(self) -> None:
        """Nothing that a transaction keeps for copies holds the request, whoever answered it."""
        seen: list[Admission] = []
        for gate in (Gate(seen.append), Gate(lambda admission: _note_and_refuse(seen, admission))):
            self.start(gates=[gate])
            self.send("OPTIONS")
            self.answer_to("OPTIONS")
            self.assertIsInstance(seen[-1].transaction.user, Answered)
            self.box.core.gates = ()
            self.finish()

    def test_cancelled_too_late(self) -> None:
        """9.2: the 200 for the CANCEL has the To tag of the refusal."""
        self.start(gates=[Gate(lambda admission: _note_and_refuse([], admission))])
        invite = self.invite()
        refusal = self.peer.expect(403)
        self.peer.send(build_cancel(invite), (US, 5060))
        self.assertEqual(self.answer_to("CANCEL").to_tag, refusal.to_tag)
        self.peer.ack(refusal)
        self.box.core.gates = ()
        self.finish()

    def test_every_method_but_ack_and_cancel(self) -> None:
        """REGISTER and OPTIONS pass the gates, in-dialog requests too; ACK and CANCEL do not."""
        gate = Gate(lambda admission: None)
        self.start(gates=[gate])
        success = self.call()
        self.send("REGISTER")
        self.send("OPTIONS")
        self.peer.bye(success)
        self.net.run_for(1)
        self.assertEqual(gate.asked, ["INVITE", "REGISTER", "OPTIONS", "BYE"])
        self.finish()

    def test_reject(self) -> None:
        """A Reject is the answer, with its reason and headers; the next gate is not asked."""
        answer = Reject(403, "Not you", {"X-Why": "because"})
        later = Gate(lambda admission: None)
        self.start(gates=[Gate(lambda admission: self._raise(answer)), later])
        self.invite()
        refusal = self.peer.expect(403)
        self.assertEqual((refusal.reason, refusal.headers.get("X-Why")), ("Not you", "because"))
        self.peer.ack(refusal)
        self.assertEqual(later.asked, [])
        self.assertEqual(self.box.refused, {"gate-refused": 1})
        self.box.core.gates = ()
        self.finish()

    def test_gate_that_raises(self) -> None:
        """It costs the request, 500, and a log entry with its name; the server goes on."""
        self.start(gates=[Gate(lambda admission: self._raise(ZeroDivisionError()))])
        self.send("OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.assertEqual(self.box.core.counters.plugin_errors, 1)
        self.box.core.gates = ()
        self.finish(failures=1)

    def test_gate_that_finds_the_peer_wrong(self) -> None:
        """A RemoteError is the peer's fault: 400 with its text, counted and not logged."""
        error = RemoteError("bad-uri", "what is this?")
        self.start(gates=[Gate(lambda admission: self._raise(error))])
        self.send("OPTIONS")
        self.assertEqual(self.peer.expect(400).reason, "Bad Request (what is this?)")
        self.assertEqual(self.box.refused, {"bad-uri": 1})
        self.box.core.gates = ()
        self.finish()

    def test_gate_that_answers_itself(self) -> None:
        """HANDLED after an answer: the answer counts, no deadline is left."""
        self.start(gates=[Gate(self._answer_and_claim)])
        self.send("OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS").status, 486)
        self.box.core.gates = ()
        self.finish()

    def _answer_and_claim(self, admission: Admission) -> Verdict:
        admission.respond(486)
        admission.respond(487)
        return Verdict.HANDLED

    def test_gate_that_answers_and_continues(self) -> None:
        """An answered request goes no further, whatever the gate says."""
        later = Gate(lambda admission: None)
        self.start(gates=[Gate(lambda admission: admission.respond(486)), later])
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.net.run_for(1)
        self.assertEqual((later.asked, self.box.manager.sessions), ([], {}))
        self.box.core.gates = ()
        self.finish()

    def test_last_gate_that_answers_and_continues(self) -> None:
        """The same for the last gate."""
        self.start(gates=[Gate(lambda admission: admission.respond(486))])
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.net.run_for(1)
        self.assertEqual(self.box.manager.sessions, {})
        self.box.core.gates = ()
        self.finish()

    def test_handled_and_never_answered(self) -> None:
        """A gate that claims and forgets: 500 at the deadline, and its name in the log."""
        self.start(gates=[Gate(lambda admission: Verdict.HANDLED, "forgetful")])
        self.send("OPTIONS")
        self.net.run_for(GATE_LIMIT - 1)
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.assertEqual(self.box.refused, {"gate-overdue": 1})
        self.assertEqual(self.box.core.counters.plugin_errors, 1)
        self.box.core.gates = ()
        self.finish()

    def test_what_is_no_verdict(self) -> None:
        """A gate that returns nonsense has a bug."""
        for nonsense in (True, 0, "CONTINUE"):
            self.start(gates=[Gate(partial(_return, nonsense))])
            self.send("OPTIONS")
            self.assertEqual(self.answer_to("OPTIONS").status, 500)
            self.box.core.gates = ()
            self.finish(failures=1)

    def test_awaitable_that_cannot_be_awaited(self) -> None:
        """Only Deferreds and coroutines can be waited for."""
        self.start(gates=[Gate(lambda admission: Unready())])
        self.send("OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.box.core.gates = ()
        self.finish(failures=1)

    def test_refusal_with_a_line_break(self) -> None:
        """A header or reason that cannot be written must not leave the peer without an answer."""
        refusals = (
            lambda admission: admission.respond(403, None, {"X-Why": "a\r\nVia: b"}),
            lambda admission: admission.respond(403, "a\r\nb"),
        )
        for refuse in refusals:
            self.start(gates=[Gate(refuse)])
            self.send("OPTIONS")
            self.assertEqual(self.answer_to("OPTIONS").status, 500)
            self.box.core.gates = ()
            self.finish(failures=1)

    def test_endpoint_of_the_gate(self) -> None:
        """The endpoint that a gate sets is the session's; anonymous when none does."""
        friend = Endpoint("friend", is_trusted=True)
        gates = [Gate(lambda admission: setattr(admission, "endpoint", friend)), AnonymousGate()]
        for chosen, endpoint in ((gates, friend), (gates[1:], ANONYMOUS), ([], ANONYMOUS)):
            self.start(gates=chosen)
            success = self.call()
            self.assertEqual([s.endpoint for s in self.box.manager.sessions], [endpoint])
            self.peer.bye(success)
            self.finish()

    def test_the_gates_keep_their_interface(self) -> None:
        """The shipped gate and the one of these tests provide IRequestGate."""
        verifyObject(IRequestGate, AnonymousGate())
        verifyObject(IRequestGate, Gate(lambda admission: None))

    def _raise(self, error: Exception) -> None:
        raise error


class DeferredGateTests(BoxTestCase):
    """A gate that takes its time."""

    def wait(self, **kwargs: Any) -> Deferred[Verdict | None]:
        """Start a box whose gate waits for the Deferred that is returned."""
        self.is_cancelled = False
        deferred: Deferred[Verdict | None] = Deferred(self._cancelled)
        self.start(gates=[Gate(lambda admission: deferred, "slow")], **kwargs)
        return deferred

    def _cancelled(self, deferred: Deferred[Verdict | None]) -> None:
        self.is_cancelled = True

    def test_it_goes_on_when_it_has_fired(self) -> None:
        """The request goes on as if nothing had been; 100 comes meanwhile for an INVITE."""
        deferred = self.wait()
        self.invite()
        self.peer.expect(100)
        self.peer.expect_silence(5)
        deferred.callback(Verdict.CONTINUE)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.box.core.gates = ()
        self.finish()

    def test_coroutine(self) -> None:
        """A gate may be a coroutine function."""
        inner: Deferred[None] = Deferred()

        async def admit(admission: Admission) -> Verdict:
            await inner
            return Verdict.CONTINUE

        self.start(gates=[Gate(admit)])
        self.send("OPTIONS")
        self.peer.expect_silence(1)
        inner.callback(None)
        self.peer.expect(200)
        self.box.core.gates = ()
        self.finish()

    def test_deferred_that_has_fired_already(self) -> None:
        """It is as good as a verdict at once; the gates after it are asked."""
        later = Gate(lambda admission: succeed(None))
        self.start(gates=[Gate(lambda admission: succeed(Verdict.CONTINUE)), later])
        self.send("OPTIONS")
        self.peer.expect(200)
        self.assertEqual(later.asked, ["OPTIONS"])
        self.finish()

    def test_reject_later(self) -> None:
        """A Reject that comes later is an answer too."""
        deferred = self.wait()
        self.invite()
        self.peer.expect(100)
        deferred.errback(Reject(403))
        self.peer.ack(self.peer.expect(403))
        self.assertEqual(self.box.refused, {"gate-refused": 1})
        self.box.core.gates = ()
        self.finish()

    def test_failure_later(self) -> None:
        """Any other failure is the gate's bug, a BaseException as well."""
        for error in (ZeroDivisionError(), KeyboardInterrupt()):
            deferred = self.wait()
            self.send("OPTIONS")
            self.net.run_for(1)
            deferred.errback(error)
            self.assertEqual(self.answer_to("OPTIONS").status, 500)
            self.box.core.gates = ()
            self.finish(failures=1)

    def test_gate_that_cancels_itself(self) -> None:
        """A Deferred that its own gate cancels is a failure: the peer gets 500, not silence."""
        deferred = self.wait()
        self.send("OPTIONS")
        self.net.run_for(1)
        deferred.cancel()
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.box.core.gates = ()
        self.finish(failures=1)

    def test_handled_later(self) -> None:
        """HANDLED that comes later starts the deadline anew."""
        deferred = self.wait()
        self.send("OPTIONS")
        self.net.run_for(1)
        deferred.callback(Verdict.HANDLED)
        self.assertEqual(self.answer_to("OPTIONS", within=30).status, 500)
        self.box.core.gates = ()
        self.finish()

    def test_it_never_fires(self) -> None:
        """At the deadline the core answers 500 and cancels the Deferred."""
        self.wait()
        self.send("OPTIONS")
        self.net.run_for(GATE_LIMIT - 1)
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.assertTrue(self.is_cancelled)
        self.assertEqual(self.box.refused, {"gate-overdue": 1})
        self.assertEqual(self.box.core.counters.late_verdicts, 0)
        self.box.core.gates = ()
        self.finish()

    def test_verdict_after_the_deadline(self) -> None:
        """One that answers its cancellation is counted as late and changes nothing."""
        deferred: Deferred[Verdict] = Deferred(lambda self: self.callback(Verdict.CONTINUE))
        self.start(gates=[Gate(lambda admission: deferred)])
        self.invite()
        refusal = self.peer.expect(500, within=GATE_LIMIT + 1)
        self.peer.ack(refusal)
        self.assertEqual(self.box.core.counters.late_verdicts, 1)
        self.assertEqual(self.box.manager.sessions, {})
        self.box.core.gates = ()
        self.finish()

    def test_cancel_while_it_waits(self) -> None:
        """9.2: 200 for the CANCEL, 487 for the INVITE, one To tag; the Deferred is cancelled."""
        self.wait()
        invite = self.invite()
        self.peer.expect(100)
        self.peer.cancel(invite)
        to_cancel = self.answer_to("CANCEL")
        to_invite = self.answer_to("INVITE")
        self.assertEqual((to_cancel.status, to_invite.status), (200, 487))
        self.assertEqual(to_cancel.to_tag, to_invite.to_tag)
        self.peer.ack(to_invite)
        self.assertTrue(self.is_cancelled)
        self.box.core.gates = ()
        self.finish()

    def test_cancel_in_the_turn_in_which_it_fires(self) -> None:
        """The CANCEL goes to whoever has the INVITE by then: the session that has just begun."""
        deferred = self.wait(play=ring)
        invite = self.invite()
        self.peer.expect(100)
        flow = self.box.flow_to(self.peer.address)
        with self.box.core.turn:
            deferred.callback(None)
            wire = build_cancel(invite).to_bytes()
            self.box.core.receive_datagram(wire, flow, self.net.seconds())
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 487)
        self.peer.ack(refusal)
        self.assertEqual(self.box.core.counters.sessions_ended, 1)
        self.box.core.gates = ()
        self.finish()

    def test_copies_are_absorbed(self) -> None:
        """Copies of the request neither ask the gate again nor get another answer."""
        deferred = self.wait()
        invite = self.invite()
        for _ in range(5):
            self.net.run_for(1)
            self.peer.send(invite)
        self.assertEqual(self.box.core.gates[0].asked, ["INVITE"])  # type: ignore[attr-defined]
        deferred.callback(None)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.assertEqual(self.box.core.counters.request_retransmissions_received, 5)
        self.assertEqual(self.box.core.counters.sessions_begun, 1)
        self.box.core.gates = ()
        self.finish()

    def test_the_flow_is_lost_meanwhile(self) -> None:
        """What cannot be answered any more is let go of."""
        self.wait()
        self.invite()
        self.net.run_for(1)
        flow = self.box.flow_to(self.peer.address)
        self.box.core.flow_lost(flow, self.net.seconds())
        self.assertTrue(self.is_cancelled)
        self.peer.ack(self.peer.expect(503))
        self.box.core.gates = ()
        self.finish()

    def test_failure_that_has_fired_already(self) -> None:
        """A Deferred that failed before it is returned."""
        self.start(gates=[Gate(lambda admission: fail(Reject(403)))])
        self.send("OPTIONS")
        self.peer.expect(403)
        self.box.core.gates = ()
        self.finish()
