# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Every way in which a session ends: each callback exactly once, the reason, and nothing left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.dialog.usage import FAIL
from sipsess.errors import CookieError, DialogStateError, HeaderValueError
from sipsess.message import Request
from sipsess.session import EndReason, Session, SessionEnded
from sipsess.supplement import Reject
from tests.policy.agents import PEER, US, ring
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio


class EndTests(SessionTestCase):
    """The table: what happens, and the reason that everybody hears."""

    def _tell(self, story: Callable[[], None], reason: str, **kwargs: Any) -> None:
        order: list[str] = []

        def begin(session: Session) -> None:
            session.cookies.add("cookie", 1, lambda value: order.append("cookie"))
            session.when_ended().addCallback(lambda why: order.append("ended"))

        def end(session: Session) -> None:
            order.append("end")
            self.assertEqual(session.cookies.get("cookie"), 1)
            self.assertRaises(DialogStateError, session.send_request, "INFO")
            self.assertRaises(SessionEnded, session.send_reinvite)
            self.assertRaises(SessionEnded, session.start_timer, 1, order.append, "no")
            session.terminate()

        probe = Probe(
            session_begin=begin,
            session_end=end,
            session_destroy=lambda session: order.append("destroy"),
        )
        self.start(probe, **kwargs)
        story()
        self.net.run_for(200)
        self.assertEqual(order, ["end", "cookie", "destroy", "ended"])
        self.assertEqual([str(session.end_reason) for session in probe.sessions], [reason])
        (session,) = probe.sessions
        self.assertRaises(CookieError, session.cookies.add, "late", 1)
        self.assertIn(f"ended                  {reason}", self.lines(session.call_id))
        fired: list[EndReason] = []
        session.when_ended().addCallback(fired.append)
        self.assertEqual([str(why) for why in fired], [reason])
        self.assertEqual(self.box.core.counters.sessions_ended, 1)
        self.box.manager.unregister_supplement(probe)
        self.finish()

    def _bye(self) -> None:
        self.request_within(self.call(), "BYE", headers={"Reason": "Q.850;cause=16"})
        self.answer_to("BYE")

    def _hang_up(self) -> None:
        self.call()
        self.hang_up(self.session)

    def _bye_unanswered(self) -> None:
        self.call()
        self.session.terminate(reason="enough")

    def _bye_481(self) -> None:
        self.call()
        self.session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 481)

    def _bye_crosses_bye(self) -> None:
        success = self.call()
        self.session.terminate()
        bye = self.peer.expect("BYE")
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.peer.reply(bye, 481)

    def _refuse(self) -> None:
        self.invite()
        self.peer.expect(180)
        self.session.terminate(486, reason="Engaged")
        self.peer.ack(self.peer.expect(486))

    def _cancel(self) -> None:
        invite = self.invite()
        self.peer.expect(180)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))

    def _bye_in_early_dialog(self) -> None:
        self.invite()
        self.request_within(self.peer.expect(180), "BYE")
        self.answer_to("BYE")
        self.peer.ack(self.peer.expect(487))

    def _no_ack(self) -> None:
        self.invite()
        self.net.run_for(33)
        self.peer.reply(self.peer.expect("BYE"), 200)

    def _hang_up_before_ack(self) -> None:
        self.invite()
        success = self.peer.expect(200)
        self.session.terminate()
        self.net.run_for(1)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.ack(success)
        self.peer.reply(self.peer.expect("BYE"), 200)

    def _bye_before_ack(self) -> None:
        self.invite()
        self.request_within(self.peer.expect(200), "BYE")
        self.answer_to("BYE")

    def _overdue(self) -> None:
        self.invite()
        self.net.run_for(181)
        self.peer.ack(self.peer.expect(480))

    def _media(self) -> None:
        self.invite(body=audio(kind="image"))
        self.peer.ack(self.peer.expect(488))

    def _bad_sdp(self) -> None:
        self.invite(body="v=0\r\ngarbage", content_type="application/sdp")
        self.peer.ack(self.answer_to("INVITE"))

    def test_callee(self) -> None:
        """Calls to us."""
        for story, reason in (
            (self._bye, "BYE by the far end: Q.850;cause=16"),
            (self._hang_up, "BYE by this side: hung up"),
            (self._bye_unanswered, "BYE by this side: enough"),
            (self._bye_481, "BYE by this side: hung up"),
            (self._bye_crosses_bye, "BYE by this side: hung up"),
            (self._no_ack, "ACK by the network: no ACK came for the 200"),
            (self._hang_up_before_ack, "BYE by this side: hung up"),
            (self._bye_before_ack, "BYE by the far end"),
            (self._media, "INVITE by this side: 488 Not Acceptable Here"),
        ):
            self._tell(story, reason)
        for story, reason in (
            (self._refuse, "INVITE by this side: 486 Engaged"),
            (self._cancel, "CANCEL by the far end"),
            (self._bye_in_early_dialog, "BYE by the far end"),
            (self._overdue, "INVITE by this side: 480 Temporarily Unavailable"),
        ):
            self._tell(story, reason, play=ring)

    def test_bad_sdp(self) -> None:
        """An offer that cannot be read refuses the call with 400 and says which line."""
        probe = Probe()
        self.start(probe)
        self._bad_sdp()
        self.assertIn("INVITE by this side: 400 Bad Request (", str(probe.sessions[0].end_reason))
        self.finish()

    def _refused(self) -> None:
        _, invite = self.placed()
        self.peer.reply(invite, 486, "Engaged")
        self.peer.expect("ACK")

    def _nobody(self) -> None:
        self.placed()

    def _cancel_ours(self) -> None:
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")

    def _cancel_ignored(self) -> None:
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate(reason="lost patience")

    def _cancel_before_provisional(self) -> None:
        session, invite = self.placed()
        session.terminate()
        self.net.run_for(0.2)
        self.assertEqual(self.peer.count("CANCEL"), 0)
        self.peer.reply(invite, 180)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")

    def _cancel_and_no_answer_at_all(self) -> None:
        session, _ = self.placed()
        session.terminate()

    def _cancel_crosses_200(self) -> None:
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        cancel = self.peer.expect("CANCEL")
        self.peer.reply(invite, 200)
        self.peer.reply(cancel, 200)
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)

    def _answered_and_hung_up(self) -> None:
        session, _ = self.answered()
        self.hang_up(session)

    def _answered_and_bye(self) -> None:
        _, invite = self.answered()
        self.request_within(invite, "BYE")
        self.answer_to("BYE")

    def _rings_for_ever(self) -> None:
        _, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(181)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")

    def test_caller(self) -> None:
        """Calls of ours."""
        for story, reason in (
            (self._refused, "INVITE by the far end: 486 Engaged"),
            (self._nobody, "INVITE by the network: 408 no final response to INVITE in 32 s"),
            (self._cancel_ours, "CANCEL by this side: cancelled"),
            (self._cancel_ignored, "CANCEL by this side: lost patience"),
            (self._cancel_before_provisional, "CANCEL by this side: cancelled"),
            (self._cancel_and_no_answer_at_all, "CANCEL by this side: cancelled"),
            (self._cancel_crosses_200, "CANCEL by this side: cancelled"),
            (self._answered_and_hung_up, "BYE by this side: hung up"),
            (self._answered_and_bye, "BYE by the far end"),
            (self._rings_for_ever, "CANCEL by this side: 408 nobody answered"),
        ):
            self._tell(story, reason)

    def test_when_confirmed(self) -> None:
        """Several can wait for the ACK and hear of it in order; who comes later hears at once."""
        self.start()
        self.invite()
        answer = self.peer.expect(200)
        heard: list[str] = []
        session = self.session
        session.when_confirmed().addCallback(lambda _: heard.append("first"))
        session.when_confirmed().addCallback(lambda _: heard.append("second"))
        given_up = session.when_confirmed()
        given_up.addErrback(lambda failure: None)
        given_up.cancel()
        self.net.run_for(0.1)
        self.assertEqual(heard, [])
        self.peer.ack(answer)
        self.net.run_for(0.1)
        self.assertEqual(heard, ["first", "second"])
        session.when_confirmed().addCallback(lambda _: heard.append("late"))
        self.assertEqual(heard[2:], ["late"])
        self.hang_up(session)
        self.net.run_for(40)
        self.failureResultOf(session.when_confirmed(), SessionEnded)
        self.finish()

    def test_never_confirmed(self) -> None:
        """Who waits for an ACK that never comes hears that the session has ended, or nothing."""
        self.start()
        self.invite()
        self.peer.expect(200)
        session = self.session
        session.when_confirmed()
        waiting = session.when_confirmed()
        failed: list[object] = []
        waiting.addErrback(lambda failure: failed.append(failure.value))
        session.usage.feed(FAIL)
        self.net.run_for(40)
        self.assertIsInstance(failed[0], SessionEnded)
        self.finish()

    def test_reasons_of_the_peer(self) -> None:
        """What a BYE gives as reasons is known, whatever supplements there are (RFC 3326)."""
        self.start()
        reason = "SIP;cause=200, Q.850;cause=16"
        answer = self.call()
        session = self.session
        self.request_within(answer, "BYE", headers={"Reason": reason})
        self.answer_to("BYE")
        end = session.end_reason
        assert end is not None
        self.assertEqual([str(item) for item in end.reasons], reason.split(", "))
        self.finish()

    def test_terminate_checks_what_it_is_given(self) -> None:
        """A header or status that cannot be sent is refused at once; the call is untouched."""
        self.start()
        self.call()
        session = self.session
        self.assertRaises(HeaderValueError, session.terminate, headers={"Reason": "a\r\nb"})
        self.assertRaises(HeaderValueError, session.terminate, reason="a\nb")
        self.assertRaises(ValueError, session.terminate, 200)
        self.assertEqual(session.usage.state, "CONFIRMED")
        session.terminate(headers={"Reason": "SIP;cause=200"})
        session.terminate(headers={"Reason": "too late"})
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.headers.get("Reason"), "SIP;cause=200")
        self.peer.reply(bye, 200)
        self.finish()

    def test_what_crosses_our_bye_gets_481(self) -> None:
        """After our BYE no re-INVITE asks anybody for an offer (15.1.1)."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()
        self.session.terminate()
        bye = self.peer.expect("BYE")
        self.request_within(success, "INVITE")
        self.peer.ack(self.peer.expect(481))
        self.assertEqual(handler.log, ["claim", "create", "apply", "stop"])
        self.peer.reply(bye, 200)
        self.finish()

    def test_stop_ends_all(self) -> None:
        """The manager's stop refuses what rings and hangs up what talks."""
        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        session, _ = self.answered()
        done: list[None] = []
        self.box.manager.stop().addCallback(done.append)
        self.peer.ack(self.peer.expect(503))
        self.assertEqual(done, [])
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual(done, [None])
        late = self.box.manager.dial(f"sip:peer@{PEER}", session.flow)
        self.assertEqual(self.failureResultOf(late.invite_client.answered).value.status, 503)
        self.box.manager.is_stopping = False
        self.finish()

    def test_listener_that_raises(self) -> None:
        """A bug in what hears of the end first is logged; everybody else hears of it still."""

        class Broken:
            """Fails to hear."""

            def session_ending(self, session: Session) -> None:
                """See :meth:`.EndListener.session_ending`."""

            def session_over(self, reason: EndReason, session: Session) -> None:
                """See :meth:`.EndListener.session_over`."""
                raise ValueError("bug")

        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        heard: list[EndReason] = []
        self.session.listener = Broken()
        self.session.when_ended().addCallback(heard.append)
        self.session.terminate(486)
        self.peer.ack(self.peer.expect(486))
        self.assertEqual([reason.status for reason in heard], [486])
        self.assertEqual(self.box.refused["internal-error"], 1)
        self.finish(failures=1)

    def test_timers_end_with_the_session(self) -> None:
        """A timer fires with its arguments; it can be cancelled; the end stops it."""
        self.start()
        self.call()
        fired: list[object] = []
        session = self.session
        session.start_timer(1, fired.append, "one")
        session.cancel_timer(session.start_timer(1, fired.append, "cancelled"))
        session.cancel_timer(None)
        session.start_timer(2, fired.append, "never")
        session.start_timer(1, session.terminate)
        self.net.run_for(1.1)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(5)
        self.assertEqual(fired, ["one"])
        self.finish()

    def test_a_timer_that_is_due_with_the_end(self) -> None:
        """A timer due at the moment of the end does not fire after it."""
        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        fired: list[object] = []
        session = self.session
        session.start_timer(1, session.terminate, 486)
        session.start_timer(1, fired.append, "never")
        self.net.run_for(1.5)
        self.peer.ack(self.peer.expect(486))
        self.assertEqual(fired, [])
        self.finish()


class BeginTests(SessionTestCase):
    """The veto and the preparation of calls of ours."""

    def _add(self, probe: Probe, name: str, act: Any) -> None:
        from zope.interface import directlyProvides, providedBy

        from sipsess.interfaces import IPrepareRequest, ISessionCreate

        iface = ISessionCreate if name == "session_create" else IPrepareRequest
        setattr(probe, name, act)
        directlyProvides(probe, providedBy(probe), iface)

    def _start(self, name: str, act: Any) -> Probe:
        probe = Probe("clerk")
        self._add(probe, name, act)
        self.start(probe)
        return probe

    def _dial(self) -> tuple[Session, Deferred[Any]]:
        flow = self.box.flow_to((PEER, 5060))
        session = self.box.manager.dial(f"sip:peer@{PEER}", flow)
        return session, session.invite_client.answered

    def test_veto(self) -> None:
        """Reject at once, or later, means that nothing is sent and no session begins."""

        def veto(session: Session) -> None:
            raise Reject(403)

        async def later(session: Session) -> None:
            raise Reject(403)

        for act in (veto, later):
            probe = self._start("session_create", act)
            _, answered = self._dial()
            self.assertEqual(self.failureResultOf(answered, Reject).value.status, 403)
            self.peer.expect_silence(1)
            self.assertEqual(probe.seen, [])
            self.assertEqual(self.box.core.counters.sessions_begun, 0)
            self.finish()

    def test_veto_that_waits(self) -> None:
        """The INVITE leaves when the Deferred has fired."""
        verdict: Deferred[None] = Deferred()
        probe = self._start("session_create", lambda session: verdict)
        session, _ = self._dial()
        self.net.run_for(1)
        self.assertEqual(probe.seen, [])
        verdict.callback(None)
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_veto_that_fails(self) -> None:
        """Anything else is the plugin's fault: logged with its name, and the call is not made."""
        self._start("session_create", lambda session: 1 / 0)
        _, answered = self._dial()
        error = self.failureResultOf(answered).value
        self.assertIn("clerk failed in session_create", str(error))
        self.finish(failures=1)

    def test_hang_up_while_the_veto_waits(self) -> None:
        """Who hangs up meanwhile cancels it, and no session begins, even if it says yes."""

        async def stubborn(session: Session) -> None:
            from twisted.internet.defer import CancelledError

            try:
                await Deferred()
            except CancelledError:
                return

        acts: list[Any] = [stubborn, lambda session: Deferred()]
        for act in acts:
            probe = self._start("session_create", act)
            session, answered = self._dial()
            session.terminate()
            self.failureResultOf(answered, SessionEnded)
            self.peer.expect_silence(1)
            self.assertEqual(probe.seen, [])
            self.finish()

    def test_prepare(self) -> None:
        """The INVITE waits for the preparation and keeps what it has set, in each attempt."""
        done: Deferred[None] = Deferred()

        def prepare(session: Session, request: Request) -> Deferred[None]:
            request.headers.set("Identity", "signed")
            return done

        probe = self._start("prepare_request", prepare)
        session, _ = self._dial()
        self.peer.expect_silence(1)
        self.assertEqual(probe.seen, ["session_begin"])
        done.callback(None)
        invite = self.peer.expect("INVITE")
        self.assertEqual(invite.headers.get("Identity"), "signed")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_prepare_refuses(self) -> None:
        """Reject in the preparation ends the session that has begun."""

        def prepare(session: Session, request: Request) -> None:
            raise Reject(403)

        probe = self._start("prepare_request", prepare)
        _, answered = self._dial()
        self.failureResultOf(answered, Reject)
        self.assertEqual(probe.seen, ["session_begin", "session_end", "session_destroy"])
        self.finish()

    def test_prepare_that_never_comes(self) -> None:
        """The limit of dialling holds for the preparation, too."""
        self._start("prepare_request", lambda session, request: Deferred())
        session, answered = self._dial()
        self.net.run_for(181)
        self.failureResultOf(answered, SessionEnded)
        self.assertEqual(str(session.end_reason), "CANCEL by this side: 408 nobody answered")
        self.finish()

    def test_the_outcome_can_be_asked_for_at_any_time(self) -> None:
        """``answered`` tells whoever asks, before or after, and logs nothing if nobody does."""
        self.start()
        flow = self.box.flow_to((PEER, 5060))
        session = self.box.manager.dial(f"sip:peer@{PEER}", flow)
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(session.invite_client.answered).status, 200)
        self.hang_up(session)
        session = self.box.manager.dial(f"sip:peer@{PEER}", flow)
        early = session.invite_client.answered
        dropped = session.invite_client.answered
        dropped.addErrback(lambda failure: None)
        dropped.cancel()
        self.peer.reply(self.peer.expect("INVITE"), 486)
        self.peer.expect("ACK")
        self.failureResultOf(early, SessionEnded)
        self.failureResultOf(session.invite_client.answered, SessionEnded)
        session = self.box.manager.dial(f"sip:nobody@{US}", flow)
        session.terminate()
        self.finish()
