# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Supplements: who is called for what, in which order, and what a verdict does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from sipsess.errors import DialogStateError, FrozenMessageError, LocalError
from sipsess.message import Request, Response
from sipsess.sdphandler import StreamVerdict
from sipsess.session import Session
from sipsess.session.desk import MAX_WAITING_REQUESTS
from sipsess.supplement import Reject, SessionSupplement, Verdict
from tests.policy.agents import US, answer, ring
from tests.policy.sessions import Handler, Probe, SessionTestCase


class ChainTests(SessionTestCase):
    """Who is called."""

    def test_order_is_priority_then_name(self) -> None:
        """Lowest priority first, names break ties, whatever the order of registration."""
        order: list[str] = []

        def note(name: str) -> Probe:
            return Probe(
                name,
                {"late": 900}.get(name, 100),
                incoming_request=lambda session, request: order.append(f"in {name}"),
                outgoing_response=lambda session, response: order.append(f"out {name}"),
            )

        self.start(note("late"), note("b"), note("a"))
        self.call()
        self.assertEqual(order[:6], ["in a", "in b", "in late", "out a", "out b", "out late"])
        self.session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_methods_match_exactly(self) -> None:
        """A supplement of INFO sees no NF, INF or info, and a response goes by its CSeq."""
        probe = Probe(methods={"INFO"})
        probe.allow = frozenset({"INFO", "NF", "INF", "info"})
        self.start(probe)
        success = self.call()
        for method in ("NF", "INF", "info"):
            self.request_within(success, method)
            self.answer_to(method)
        self.request_within(success, "INFO")
        self.answer_to("INFO")
        self.session.send_request("INFO").addErrback(self.fail)
        self.peer.reply(self.peer.expect("INFO"), 200)
        self.hang_up(self.session)
        self.finish()
        self.assertEqual(
            probe.seen,
            [
                "session_begin",
                "incoming_request INFO",
                "outgoing_response 200 INFO",
                "outgoing_request INFO",
                "incoming_response 200 INFO",
                "session_end",
                "session_destroy",
            ],
        )

    def test_below_media_before_the_handlers_above_it_after(self) -> None:
        """The MEDIA mark stands at 400, for requests and for responses."""
        log: list[str] = []

        def note(name: str, priority: int) -> Probe:
            return Probe(
                name,
                priority,
                ["INVITE"],
                incoming_request=lambda session, request: log.append(name),
                incoming_response=lambda session, response: log.append(f"response {name}"),
            )

        def claim(*args: object) -> StreamVerdict:
            log.append("claim")
            return StreamVerdict.HANDLED

        handler = Handler(
            claim=claim,
            apply=lambda *args: log.append("apply"),
        )
        self.start(note("below", 399), note("above", 401), handlers=[handler])
        self.call()
        self.assertEqual(log, ["below", "claim", "above", "apply"])
        self.hang_up(self.session)
        del log[:]
        session, _ = self.answered()
        self.assertEqual(log, ["response below", "apply", "response above"])
        self.hang_up(session)
        self.finish()

    def test_only_what_is_overridden_is_called(self) -> None:
        """A callback of the base class, which does nothing, is not in the chain."""

        class Idle(SessionSupplement):
            name = "idle"

        class Busy(SessionSupplement):
            name = "busy"

            def incoming_request(self, session: Session, request: Request) -> None:
                """Override it."""

        self.start(Idle(), Busy())
        chain = self.box.manager.chain
        links = chain.links("incoming_request", "INVITE")
        self.assertEqual([link.name for link in links.after_media], ["busy"])
        self.assertEqual(links.before_media, ())
        self.assertEqual(chain.links("outgoing_request", "INVITE").after_media, ())

    def test_overridden_on_the_instance(self) -> None:
        """A callback set on the instance counts, too."""
        idle = SessionSupplement()
        idle.name = "idle"
        seen: list[str] = []
        idle.session_begin = lambda session: seen.append("begin")  # type: ignore[method-assign]
        self.start(idle, play=ring)
        invite = self.invite()
        self.peer.expect(180)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish()
        self.assertEqual(seen, ["begin"])

    def test_methods_from_the_wire_are_not_kept_without_bound(self) -> None:
        """The links of made-up methods are computed, not remembered for ever."""
        self.start(Probe())
        chain = self.box.manager.chain
        for number in range(500):
            self.assertEqual(len(chain.incoming(f"M{number}")), 1)
        self.assertLess(len(chain._links), 65)

    def test_headers_on_everything(self) -> None:
        """A header is on each request and response, once: ACK, CANCEL, BYE and their answers."""
        stamp = Probe(
            outgoing_request=lambda session, request: request.headers.add("X-Stamp", "seen"),
            outgoing_response=lambda session, response: response.headers.add("X-Stamp", "seen"),
        )
        self.start(stamp)
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.answer_to("OPTIONS")
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        session, invite = self.answered()
        session.send_reinvite()
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        for message in self.peer.received:
            is_trying = isinstance(message, Response) and message.status == 100
            values = message.headers.get_all("X-Stamp")
            if not (is_trying or _is_ack_of_487(message, self.peer.received)):
                self.assertEqual(values, ["seen"], str(message))
            else:
                self.assertEqual(values, [], str(message))
        self.assertIn("outgoing_request CANCEL", stamp.seen)
        self.assertIn("incoming_response 200 CANCEL", stamp.seen)
        stamp.acts.clear()
        self.finish()

    def test_trying_is_not_shown(self) -> None:
        """The transaction's own 100 does not pass the chain (17.2.1), nor does a received one."""
        probe = Probe()
        self.start(probe, play=lambda session: Deferred())
        invite = self.invite()
        self.peer.expect(100)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        session, invite = self.placed()
        self.peer.reply(invite, 100)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.finish()
        self.assertFalse([seen for seen in probe.seen if " 100 " in seen])

    def test_retransmissions_are_not_shown(self) -> None:
        """Copies of requests and responses never reach a supplement, in either direction."""
        probe = Probe()
        self.start(probe, play=ring)
        invite = self.invite()
        self.peer.expect(180)
        for _ in range(3):
            self.peer.send(invite, (US, 5060))
            self.net.run_for(0.1)
        self.assertEqual(probe.count("incoming_request INVITE"), 1)
        self.assertEqual(probe.count("outgoing_response 180 INVITE"), 1)
        self.session.terminate(486)
        self.net.run_for(3)
        self.assertGreater(self.peer.count(486), 2)
        self.assertEqual(probe.count("outgoing_response 486 INVITE"), 1)
        self.peer.ack(self.peer.expect(486))
        session, invite = self.placed()
        success = self.peer.reply(invite, 200)
        self.net.run_for(0.1)
        for _ in range(3):
            self.peer.send(success)
            self.net.run_for(0.1)
        self.assertEqual(self.peer.count("ACK"), 4)
        self.assertEqual(probe.count("outgoing_request ACK"), 1)
        self.assertEqual(probe.count("incoming_response 200 INVITE"), 1)
        self.hang_up(session)
        self.finish()

    def test_messages_are_frozen_once_sent(self) -> None:
        """Who keeps a message and changes it later is told so."""
        kept: list[Response] = []
        self.start(Probe(outgoing_response=lambda session, response: kept.append(response)))
        self.call()
        self.assertRaises(FrozenMessageError, kept[0].headers.set, "X-Late", "yes")
        self.hang_up(self.session)
        self.finish()

    def test_a_live_session_keeps_what_it_began_with(self) -> None:
        """Registering and unregistering count for the sessions that begin later."""
        first, second = Probe("first"), Probe("second")
        self.start(first)
        success = self.call()
        self.box.manager.register_supplement(second)
        self.box.manager.unregister_supplement(first)
        self.assertRaises(LocalError, self.box.manager.register_supplement, Probe("second"))
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.call()
        self.hang_up(self.session)
        self.finish()
        for probe in (first, second):
            self.assertEqual(probe.count("session_begin"), 1)
            self.assertEqual(probe.count("session_end"), 1)
            self.assertEqual(probe.count("session_destroy"), 1)
        self.assertIn("incoming_request BYE", first.seen)
        self.assertNotIn("incoming_request BYE", second.seen)

    def test_declared_support_is_announced(self) -> None:
        """Allow, Supported and Recv-Info are computed from the supplements (RFC 6086 5.2.1)."""
        probe = Probe()
        probe.allow = frozenset({"INFO", "REFER"})
        probe.option_tags = frozenset({"timer"})
        probe.accept = frozenset({"text/plain"})
        probe.recv_info = frozenset({"conference", "dtmf"})
        self.start(probe)
        success = self.call()
        _, invite = self.placed(uri="sip:peer@192.0.2.9")
        for message in (success, invite):
            self.assertEqual(
                message.headers.get("Allow"),
                "ACK, BYE, CANCEL, INFO, INVITE, OPTIONS, PRACK, REFER, UPDATE",
            )
            self.assertEqual(message.headers.get("Supported"), "100rel, timer")
            self.assertEqual(message.headers.get("Recv-Info"), "conference, dtmf")
        self.request_within(success, "MESSAGE")
        refusal = self.answer_to("MESSAGE")
        self.assertEqual(refusal.status, 405)
        self.assertIn("REFER", refusal.headers.get("Allow") or "")
        self.request_within(success, "INFO", body="x", content_type="text/odd")
        refusal = self.answer_to("INFO")
        self.assertEqual(
            (refusal.status, refusal.headers.get("Accept")), (415, "application/sdp, text/plain")
        )
        self.request_within(success, "OPTIONS", headers={"Require": "timer, odd"})
        refusal = self.answer_to("OPTIONS")
        self.assertEqual((refusal.status, refusal.headers.get("Unsupported")), (420, "odd"))
        for live in list(self.box.manager.sessions):
            live.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.peer.reply(invite, 486)
        self.finish()

    def test_no_recv_info_when_there_is_none(self) -> None:
        """Who takes no INFO package does not speak of RFC 6086."""
        self.start()
        self.assertNotIn("Recv-Info", self.call().headers)
        self.hang_up(self.session)
        self.finish()


def _is_ack_of_487(message: Request | Response, received: list[Any]) -> bool:
    if message.cseq.method != "ACK":
        return False
    return any(
        item.cseq.method == "CANCEL" and item.call_id == message.call_id for item in received
    )


class VerdictTests(SessionTestCase):
    """What ``incoming_request`` may give."""

    def test_reject(self) -> None:
        """Reject answers, is counted, ends the session; no later supplement sees the request."""
        rejected: list[str] = []

        def reject(session: Session, request: Request) -> None:
            if session.get_identity(request).user == "eve":
                rejected.append(session.call_id)
                raise Reject(403, "Not You", {"X-Why": "listed"})

        later = Probe("later")
        self.start(Probe("doorman", 100, incoming_request=reject), later)
        self.invite(from_="<sip:eve@192.0.2.9>;tag=1")
        refusal = self.peer.expect(403)
        self.assertEqual((refusal.reason, refusal.headers.get("X-Why")), ("Not You", "listed"))
        self.peer.ack(refusal)
        self.assertEqual(len(rejected), 1)
        self.assertNotIn("incoming_request INVITE", later.seen)
        self.assertIn("outgoing_response 403 INVITE", later.seen)
        self.assertIn("403 Not You by doorman", self.lines(refusal.call_id))
        self.assertEqual(self.box.core.counters.refused, {"supplement-refused": 1})
        self.call()
        self.hang_up(self.session)
        self.finish()

    def test_verdicts(self) -> None:
        """None and CONTINUE go on, at once, as a Deferred or as a coroutine."""

        async def later(session: Session, request: Request) -> Verdict:
            return Verdict.CONTINUE

        for act in (
            lambda session, request: None,
            lambda session, request: Verdict.CONTINUE,
            lambda session, request: succeed(None),
            lambda session, request: succeed(Verdict.CONTINUE),
            later,
        ):
            self.start(Probe(incoming_request=act))
            self.call()
            self.request_within(self.peer.received[-1], "OPTIONS")
            self.assertEqual(self.answer_to("OPTIONS").status, 200)
            self.hang_up(self.session)
            self.finish()

    def test_wrong_verdicts(self) -> None:
        """What is no verdict is the plugin's mistake: 500, and the log names it."""

        async def wrong(session: Session, request: Request) -> Any:
            return 1

        class Promise:
            def __await__(self) -> Any:
                yield

        for act in (
            lambda session, request: 0,
            lambda session, request: succeed("yes"),
            lambda session, request: Promise(),
            wrong,
        ):
            probe = Probe("odd", 100, ["INVITE"], incoming_request=act)
            self.start(probe)
            self.invite()
            self.peer.ack(self.peer.expect(500))
            self.assertEqual(self.box.core.counters.plugin_errors, 1)
            self.assertIn("odd.incoming_request", self.lines(probe.sessions[0].call_id))
            self.finish(failures=1)

    def test_deferred_reject(self) -> None:
        """A Deferred or coroutine may fail with Reject; 100 goes out meanwhile."""

        verdict: Deferred[None] = Deferred()

        async def think(session: Session, request: Request) -> None:
            await verdict

        self.start(Probe(incoming_request=think))
        self.invite()
        self.peer.expect(100)
        verdict.errback(Reject(486))
        self.peer.ack(self.peer.expect(486))
        self.finish()

    def test_failed_deferred(self) -> None:
        """A Deferred that fails with anything else is a 500 with the plugin's name in the log."""
        self.start(Probe(incoming_request=lambda session, request: fail(ValueError("no"))))
        self.invite()
        self.peer.ack(self.peer.expect(500))
        self.finish(failures=1)

    def test_reject_that_cannot_be_sent(self) -> None:
        """408 to a non-INVITE is forbidden (RFC 4320); it becomes a 500, and a line in the log."""

        def reject(session: Session, request: Request) -> None:
            raise Reject(408)

        self.start(Probe(methods=["OPTIONS"], incoming_request=reject))
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.hang_up(self.session)
        self.flushLoggedErrors()
        self.box.manager.unregister_supplement(self.box.manager.chain.supplements[0])
        self.finish()

    def test_handled_and_answered(self) -> None:
        """HANDLED with an answer ends the request; the application never hears of the call."""

        def handle(session: Session, request: Request) -> Verdict:
            if not session.is_initial(request):
                return Verdict.CONTINUE
            session.send_response(486)
            self.assertRaises(DialogStateError, session.send_response, 486)
            self.assertRaises(DialogStateError, session.send_response, 200, request)
            return Verdict.HANDLED

        played: list[Session] = []

        async def play(session: Session) -> None:
            played.append(session)

        self.start(Probe(incoming_request=handle), play=play)
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.assertEqual(played, [])
        self.finish()

    def test_handled_with_a_200_before_media(self) -> None:
        """A supplement below MEDIA may answer the call itself; the answer has its SDP."""

        def handle(session: Session, request: Request) -> Verdict:
            if request.method != "INVITE":
                return Verdict.CONTINUE
            session.send_response(200, reason="Fine", headers={"X-By": "probe"})
            return Verdict.HANDLED

        self.start(Probe(priority=100, incoming_request=handle))
        success = self.call()
        self.assertEqual((success.reason, success.headers.get("X-By")), ("Fine", "probe"))
        self.assertIn(b"m=audio 40000", success.body)
        self.hang_up(self.session)
        self.finish()

    def test_terminated_and_handled(self) -> None:
        """A supplement may end the call from its callback, whatever it then returns."""
        verdicts: list[Any] = [Verdict.HANDLED, Verdict.CONTINUE, Deferred()]
        for verdict in verdicts:

            def handle(session: Session, request: Request, verdict: Any = verdict) -> Any:
                session.terminate(603)
                return verdict

            self.start(Probe(incoming_request=handle))
            self.invite()
            self.peer.ack(self.peer.expect(603))
            self.finish()

    def test_terminated_in_session_begin(self) -> None:
        """A supplement may refuse the call before any callback of its request."""
        probe = Probe(session_begin=lambda session: session.terminate(480))
        self.start(probe)
        self.invite()
        self.peer.ack(self.peer.expect(480))
        self.assertNotIn("incoming_request INVITE", probe.seen)
        self.finish()

    def test_handled_and_never_answered(self) -> None:
        """After the deadline the core answers 500, and log and record name the plugin."""
        for method, limit in (("INVITE", 180), ("OPTIONS", 28)):
            probe = Probe(
                "lazy",
                methods=[method],
                incoming_request=lambda session, request: Verdict.HANDLED,
            )
            self.start(probe)
            if method == "INVITE":
                self.invite()
            else:
                self.request_within(self.call(), method)
            self.net.run_for(limit - 1)
            self.assertEqual(self.peer.count(500), 0)
            refusal = self.answer_to(method)
            self.assertEqual(refusal.status, 500)
            if method == "INVITE":
                self.peer.ack(refusal)
            else:
                self.hang_up(self.session)
            self.assertIn(f"{method}: lazy did not answer in time", self.lines(refusal.call_id))
            self.assertEqual(self.box.refused["answer-overdue"], 1)
            probe.acts.clear()
            self.finish()

    def test_verdict_overdue(self) -> None:
        """A verdict that does not come in time is cancelled, and the request answered 500."""
        cancelled: list[str] = []

        async def think(session: Session, request: Request) -> Verdict:
            try:
                return await Deferred()
            finally:
                cancelled.append(request.method)

        self.start(
            Probe("a", methods=["OPTIONS"], incoming_request=think),
        )
        success = self.call()
        self.request_within(success, "OPTIONS")
        refusal = self.answer_to("OPTIONS", 30)
        self.assertEqual((refusal.status, cancelled), (500, ["OPTIONS"]))
        self.hang_up(self.session)
        self.assertEqual(self.box.core.counters.late_verdicts, 0)
        self.box.manager.unregister_supplement(self.box.manager.chain.supplements[0])
        self.finish()

    def test_late_verdicts_are_dropped(self) -> None:
        """Whatever a plugin gives after its request is over is counted, and logged nowhere."""
        for outcome in (Verdict.CONTINUE, Reject(403), ValueError("late")):
            again: Deferred[Any] = Deferred()

            async def think(session: Session, request: Request, again: Any = again) -> Any:
                try:
                    return await Deferred()
                except CancelledError:
                    return await again

            self.start(Probe(incoming_request=think))
            invite = self.invite()
            self.peer.expect(100)
            self.peer.cancel(invite)
            self.peer.ack(self.peer.expect(487))
            if isinstance(outcome, Exception):
                again.errback(outcome)
            else:
                again.callback(outcome)
            self.assertEqual(self.box.core.counters.late_verdicts, 1)
            self.finish()

    def test_cancel_cancels_a_pending_verdict(self) -> None:
        """CANCEL: 200, 487 for the INVITE, and the plugin is cancelled where it waits (9.2)."""
        cancelled: list[bool] = []

        async def think(session: Session, request: Request) -> None:
            try:
                await Deferred()
            finally:
                cancelled.append(True)

        probe = Probe(methods=["INVITE"], incoming_request=think)
        self.start(probe)
        invite = self.invite()
        self.peer.expect(100)
        self.peer.cancel(invite, headers={"Reason": "SIP;cause=200"})
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(cancelled, [True])
        self.assertEqual(self.box.core.counters.late_verdicts, 0)
        self.assertEqual(str(probe.sessions[0].end_reason), "CANCEL by the far end: SIP;cause=200")
        self.finish()

    def test_cancel_of_a_reinvite(self) -> None:
        """CANCEL of a re-INVITE whose verdict is pending: 487, and the call goes on."""
        probe = Probe(methods=["INVITE"])
        self.start(probe)
        success = self.call()
        probe.acts["incoming_request"] = lambda session, request: Deferred()
        reinvite = self.request_within(success, "INVITE", body=self.peer.sdp())
        self.peer.expect(100)
        self.peer.cancel(reinvite)
        self.peer.ack(self.peer.expect(487))
        del probe.acts["incoming_request"]
        again = self.request_within(success, "INVITE", body=self.peer.sdp())
        self.peer.ack(self.answer_to("INVITE"))
        self.assertEqual(again.cseq.number, 3)
        self.net.run_for(0.1)
        self.hang_up(self.session)
        self.finish()


class QueueTests(SessionTestCase):
    """Requests of a dialog while a verdict is pending."""

    def _busy(self) -> tuple[Deferred[None], Response]:
        verdict: Deferred[None] = Deferred()
        self.order: list[str] = []

        def think(session: Session, request: Request) -> Any:
            self.order.append(f"{request.method} {request.cseq.number}")
            return verdict if len(self.order) == 1 else None

        self.start(Probe(methods=["OPTIONS"], incoming_request=think))
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.net.run_for(0.1)
        return verdict, success

    def test_fifo(self) -> None:
        """Later requests wait, in order, and go on when the verdict has come."""
        verdict, success = self._busy()
        for _ in range(3):
            self.request_within(success, "OPTIONS")
        self.net.run_for(1)
        self.assertEqual(self.order, ["OPTIONS 2"])
        verdict.callback(None)
        for number in (2, 3, 4, 5):
            self.assertEqual(self.answer_to("OPTIONS").cseq.number, number)
        self.assertEqual(self.order, [f"OPTIONS {number}" for number in (2, 3, 4, 5)])
        self.hang_up(self.session)
        self.finish()

    def test_bound(self) -> None:
        """Over the limit a request gets 500 with Retry-After."""
        _, success = self._busy()
        for _ in range(MAX_WAITING_REQUESTS + 1):
            self.request_within(success, "OPTIONS")
        refusal = self.answer_to("OPTIONS")
        self.assertEqual((refusal.status, refusal.headers.get("Retry-After")), (500, "5"))
        self.assertEqual(self.box.refused["session-busy"], 1)
        self.request_within(success, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        for _ in range(MAX_WAITING_REQUESTS + 1):
            self.assertEqual(self.answer_to("OPTIONS").status, 487)
        self.finish()

    def test_waiting_has_a_deadline(self) -> None:
        """A request that waits behind a slow one is answered before its sender gives up."""
        _, success = self._busy()
        self.net.run_for(20)
        self.request_within(success, "OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS", 9).cseq.number, 2)
        self.assertEqual(self.answer_to("OPTIONS", 1).status, 200)
        self.hang_up(self.session)
        self.finish()

    def test_bye_passes(self) -> None:
        """BYE does not wait; what waits gets 487 (15.1.2), and the verdict is cancelled."""
        verdict, success = self._busy()
        self.request_within(success, "OPTIONS")
        self.request_within(success, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual([self.answer_to("OPTIONS").status for _ in range(2)], [487, 487])
        self.assertTrue(verdict.called)
        self.finish()

    def test_our_bye_ends_what_waits(self) -> None:
        """Hanging up from this side answers what waits, too."""
        _, success = self._busy()
        self.request_within(success, "OPTIONS")
        self.net.run_for(0.1)
        self.hang_up(self.session)
        self.assertEqual([self.answer_to("OPTIONS").status for _ in range(2)], [487, 487])
        self.finish()

    def test_answer_then_next(self) -> None:
        """An application that answers is not held up by a busy dialog."""
        self.start(play=answer)
        success = self.call()
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.finish()
