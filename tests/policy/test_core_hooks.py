# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Message hooks and traces: who sees what, in which order, and what happens when one raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.interfaces import IMessageHook, ITrace
from sipsess.message import Request, Response, build_request
from sipsess.session import Session
from sipsess.supplement import Reject, SessionSupplement, Verdict
from sipsess.trace import GuardedTrace
from sipsess.transaction import ClientTransaction
from tests.policy.agents import PEER, US, BoxTestCase, Gate, ring


@implementer(IMessageHook)
class Hook:
    """Writes down what it sees, and does what a test says."""

    def __init__(self, name: str, log: list[str], act: Callable[[Any], None] | None = None) -> None:
        self.name = name
        self._log = log
        self._act = act

    def _see(self, callback: str, message: Request | Response) -> None:
        what = message.method if isinstance(message, Request) else str(message.status)
        self._log.append(f"{self.name} {callback} {what}")
        if self._act is not None:
            self._act(message)

    def incoming_request(self, request: Request) -> None:
        """See it."""
        self._see("incoming_request", request)

    def outgoing_request(self, request: Request) -> None:
        """See it."""
        self._see("outgoing_request", request)

    def incoming_response(self, response: Response) -> None:
        """See it."""
        self._see("incoming_response", response)

    def outgoing_response(self, response: Response) -> None:
        """See it."""
        self._see("outgoing_response", response)


class Asker:
    """The user of a request of ours outside sessions."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Note it."""
        self.heard.append(str(response.status))

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """Note it."""
        self.heard.append(type(error).__name__)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Note it."""
        self.heard.append("end")


class HookTests(BoxTestCase):
    """The messages outside sessions."""

    def test_the_hook_of_these_tests(self) -> None:
        """It provides IMessageHook."""
        verifyObject(IMessageHook, Hook("a", []))

    def test_order(self) -> None:
        """Hooks are called in the order given, request before response."""
        log: list[str] = []
        self.start(hooks=[Hook("a", log), Hook("b", log)])
        self.send("OPTIONS")
        self.peer.expect(200)
        self.assertEqual(
            log,
            [
                *("a incoming_request OPTIONS", "b incoming_request OPTIONS"),
                *("a outgoing_response 200", "b outgoing_response 200"),
            ],
        )
        self.finish()

    def test_sessions_are_not_theirs(self) -> None:
        """What belongs to a session goes to its supplements, not here."""
        log: list[str] = []
        self.start(hooks=[Hook("a", log)])
        self.peer.bye(self.call())
        self.answer_to("BYE")
        self.assertEqual(log, [])
        self.finish()

    def test_refusals_outside_sessions_are(self) -> None:
        """An answer given before a session exists is seen."""
        log: list[str] = []
        self.start(hooks=[Hook("a", log)], application=None)
        self.invite()
        self.peer.ack(self.peer.expect(404))
        self.assertEqual(log, ["a outgoing_response 404"])
        self.finish()

    def test_change_of_a_response(self) -> None:
        """A response may be changed until it is serialised."""

        def stamp(message: Request | Response) -> None:
            if isinstance(message, Response):
                message.headers.set("Server", "test")

        self.start(hooks=[Hook("a", [], stamp)])
        self.send("OPTIONS")
        self.assertEqual(self.peer.expect(200).headers.get("Server"), "test")
        self.finish()

    def test_reject(self) -> None:
        """A Reject refuses the request; the hooks after it do not see it, but all the answer."""
        log: list[str] = []
        error = Reject(403, headers={"X-Why": "x"})
        first = Hook("a", log, lambda message: self._raise(message, error))
        self.start(hooks=[first, Hook("b", log)])
        self.send("OPTIONS")
        self.assertEqual(self.peer.expect(403).headers.get("X-Why"), "x")
        self.assertEqual(
            log,
            ["a incoming_request OPTIONS", "a outgoing_response 403", "b outgoing_response 403"],
        )
        self.assertEqual(self.box.refused, {"hook-refused": 1})
        self.box.core.hooks = ()
        self.finish()

    def _raise(self, message: Request | Response, error: Exception) -> None:
        if isinstance(message, Request):
            raise error

    def test_hook_that_raises(self) -> None:
        """It is logged with its name; the request is served as if it were not there."""
        log: list[str] = []

        def fail(message: object) -> None:
            raise ZeroDivisionError

        self.start(hooks=[Hook("bad", log, fail), Hook("good", log)])
        self.send("OPTIONS")
        self.peer.expect(200)
        self.assertEqual(len(log), 4)
        self.assertEqual(self.box.core.counters.plugin_errors, 2)
        self.box.core.hooks = ()
        self.finish(failures=2)

    def test_requests_of_ours(self) -> None:
        """A request outside sessions is seen when it leaves, its responses when they come."""
        log: list[str] = []
        for hooks, seen in (([Hook("a", log)], 2), ([], 0)):
            log.clear()
            self.start(hooks=hooks)
            asker = Asker()
            self._ask(asker)
            self.peer.reply(self.peer.expect("OPTIONS"), 200)
            self.net.run_for(40)
            self.assertEqual(asker.heard, ["200", "end"])
            self.assertEqual(len(log), seen)
            self.box.core.hooks = ()
            self.finish()

    def test_requests_of_ours_without_answer(self) -> None:
        """The user hears of the time-out."""
        self.start(hooks=[Hook("a", [])])
        asker = Asker()
        self._ask(asker)
        self.net.run_for(40)
        self.assertEqual(asker.heard, ["Timeout", "end"])
        self.finish()

    def _ask(self, asker: Asker) -> None:
        request = build_request(
            "OPTIONS",
            f"sip:{PEER}",
            from_=f"<sip:{US}>;tag=x",
            to=f"<sip:{PEER}>",
            call_id="a",
            cseq=1,
        )
        self.box.core.send_request(request, self.box.flow_to((PEER, 5060)), asker)


@implementer(ITrace)
class RecordingTrace:
    """Writes down each point that is called."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.points: list[str] = []
        self.facts: list[tuple[Any, ...]] = []
        self._is_broken = is_broken

    def _note(self, point: str, *facts: Any) -> None:
        self.points.append(point)
        self.facts.append((point, *facts))
        if self._is_broken:
            raise ZeroDivisionError

    def bytes_received(self, flow: Flow, data: bytes, now: float) -> None:
        """Note it."""
        self._note("bytes_received", data[:7], now)

    def bytes_sent(self, flow: Flow, wire: bytes, now: float) -> None:
        """Note it."""
        self._note("bytes_sent", wire[:11], now)

    def message_refused(self, reason_code: str, flow: Flow, now: float) -> None:
        """Note it."""
        self._note("message_refused", reason_code)

    def plugin_verdict(
        self, plugin: str, callback: str, verdict: str, call_id: str, now: float
    ) -> None:
        """Note it."""
        self._note("plugin_verdict", plugin, callback, verdict)

    def session_begun(self, session: Session, now: float) -> None:
        """Note it."""
        self._note("session_begun", session.call_id)

    def session_ended(self, session: Session, now: float) -> None:
        """Note it."""
        self._note("session_ended", session.call_id)


POINTS = {
    *("bytes_received", "bytes_sent", "message_refused"),
    *("plugin_verdict", "session_begun", "session_ended"),
}


def refuse_options(admission: Any) -> Verdict | None:
    """Be a gate that refuses OPTIONS."""
    if admission.request.method == "OPTIONS":
        raise Reject(403)
    return None


class TraceTests(BoxTestCase):
    """The fixed points at which the core can be watched."""

    def play(self, trace: ITrace) -> None:
        """Let everything happen that a trace can see."""
        self.start(trace=trace, gates=[Gate(refuse_options)])
        self.send("OPTIONS")
        self.peer.expect(403)
        success = self.call()
        self.peer.bye(success)
        self.answer_to("BYE")
        self.net.run_for(40)

    def test_interface(self) -> None:
        """The trace of this test and the guard around it provide ITrace."""
        verifyObject(ITrace, RecordingTrace())
        verifyObject(ITrace, GuardedTrace(RecordingTrace(), lambda *args: None))

    def test_all_points(self) -> None:
        """Every point of the interface is called, in the order of what happens."""
        trace = RecordingTrace()
        self.play(trace)
        self.assertEqual(set(trace.points), POINTS)
        self.assertEqual(
            trace.facts[:4],
            [
                ("bytes_received", b"OPTIONS", 0.01),
                ("plugin_verdict", "gate gate", "admit", "403 Forbidden"),
                ("message_refused", "gate-refused"),
                ("bytes_sent", b"SIP/2.0 403", 0.01),
            ],
        )
        begun = [fact for fact in trace.facts if fact[0].startswith("session_")]
        self.assertEqual([fact[0] for fact in begun], ["session_begun", "session_ended"])
        self.box.core.gates = ()
        self.finish()

    def test_retransmissions_are_seen(self) -> None:
        """Copies that a transaction absorbs, and our own repetitions, pass the points."""
        trace = RecordingTrace()
        self.start(trace=trace, play=ring)
        invite = self.invite()
        self.peer.expect(180)
        for _ in range(3):
            self.peer.send(invite)
        self.net.run_for(1)
        self.assertEqual(trace.points.count("bytes_received"), 4)
        self.assertEqual(trace.points.count("bytes_sent"), 4)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.box.core.watch(None)
        self.finish()

    def test_handled_by_a_gate(self) -> None:
        """HANDLED is a verdict that is traced, CONTINUE is not."""
        trace = RecordingTrace()
        self.start(trace=trace, gates=[Gate(self._handle)])
        self.send("OPTIONS")
        self.peer.expect(200)
        verdicts = [fact for fact in trace.facts if fact[0] == "plugin_verdict"]
        self.assertEqual(verdicts, [("plugin_verdict", "gate gate", "admit", "handled")])
        self.assertEqual(self.box.core.counters.late_verdicts, 0)
        self.box.core.gates = ()
        self.finish()

    def _handle(self, admission: Any) -> Deferred[Verdict]:
        admission.respond(200)
        return succeed(Verdict.HANDLED)

    def test_handled_without_trace(self) -> None:
        """Without a trace the same happens."""
        self.start(gates=[Gate(self._handle)])
        self.send("OPTIONS")
        self.peer.expect(200)
        self.box.core.gates = ()
        self.finish()

    def test_trace_that_raises(self) -> None:
        """What a trace raises is logged and counted, not too often, and changes nothing."""
        trace = RecordingTrace(is_broken=True)
        self.play(trace)
        for _ in range(10):
            self.send("OPTIONS")
            self.peer.expect(403)
        self.assertEqual(set(trace.points), POINTS)
        self.assertEqual(self.box.core.counters.plugin_errors, len(trace.points))
        logged = self.flushLoggedErrors(ZeroDivisionError)
        self.assertLess(len(logged), 6 * len(POINTS))
        self.box.core.watch(None)
        self.box.core.gates = ()
        self.finish()


class Failing(SessionSupplement):
    """A supplement that fails at each response."""

    name = "failing"

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Fail."""
        raise ZeroDivisionError


class LogLimitTests(BoxTestCase):
    """A plugin that always fails must not fill the log."""

    def test_five_a_minute(self) -> None:
        """Five failures of one callback are logged a minute, and all are counted."""
        self.start(supplements=[Failing()])
        for _ in range(8):
            self.peer.bye(self.call())
            self.answer_to("BYE")
        self.assertEqual(self.box.core.counters.plugin_errors, 16)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)
        self.net.run_for(61)
        self.peer.bye(self.call())
        self.answer_to("BYE")
        self.finish(failures=2)
