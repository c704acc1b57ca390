# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Sessions in the corners: what crosses what, and who does two things at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError, TransportError
from sipsess.message import Request, Response
from sipsess.sdp import MediaDescription
from sipsess.sdphandler import NegotiationFailed, StreamVerdict
from sipsess.session import EndReason, LocalDescription, Session, SessionEnded, SessionStream
from sipsess.session.reason import fail_quietly
from sipsess.supplement import Retry, Verdict
from tests.policy.agents import US, ring
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio
from tests.policy.test_core_hooks import RecordingTrace


class IncomingTests(SessionTestCase):
    """Calls to us."""

    def test_a_waiting_request_that_was_answered_meanwhile(self) -> None:
        """What waits behind an INVITE that takes minutes is answered in its own time."""
        verdict: Deferred[None] = Deferred()
        probe = Probe(methods=["INVITE"])
        self.start(probe)
        success = self.call()
        probe.acts["incoming_request"] = lambda session, request: verdict
        self.request_within(success, "INVITE", body=audio(version=2))
        self.net.run_for(0.1)
        self.request_within(success, "OPTIONS")
        self.net.run_for(29)
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        verdict.callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count(500), 1)
        self.hang_up(self.session)
        self.finish()

    def test_cancel_after_the_refusal(self) -> None:
        """A CANCEL that crosses our refusal gets 200 and changes nothing (9.2)."""
        probe = Probe()
        self.start(probe, play=ring)
        invite = self.invite()
        self.peer.expect(180)
        self.session.terminate(486)
        self.peer.cancel(invite)
        refusal = self.peer.expect(486)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(refusal)
        self.assertNotIn("incoming_request CANCEL", probe.seen)
        self.finish()

    def test_cancel_after_the_200(self) -> None:
        """A CANCEL that crosses our 200 changes nothing: the call stands (9.2)."""
        self.start()
        invite = self.invite()
        success = self.peer.expect(200)
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.hang_up(self.session)
        self.finish()

    def test_an_ack_twice(self) -> None:
        """A copy of an ACK is counted and ignored."""
        probe = Probe()
        self.start(probe)
        self.invite()
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(probe.count("incoming_request ACK"), 1)
        self.assertEqual(self.box.refused["ack-unexpected"], 1)
        self.hang_up(self.session)
        self.finish()

    def test_who_answers_when_he_is_cancelled(self) -> None:
        """A plugin that answers in its clean-up takes the place of the 487."""

        async def think(session: Session, request: Request) -> None:
            try:
                await Deferred()
            except CancelledError:
                session.send_response(480)
                raise

        self.start(Probe(methods=["INVITE"], incoming_request=think))
        invite = self.invite()
        self.peer.expect(100)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(480))
        self.assertEqual(self.peer.count(487), 0)
        self.finish()

    def test_answering_what_was_just_refused(self) -> None:
        """Who refuses the call cannot answer it in the same breath."""

        def act(session: Session, request: Request) -> Verdict:
            session.terminate(486)
            self.assertRaises(DialogStateError, session.send_response, 200)
            self.assertRaises(SessionEnded, session.start_timer, 1, print)
            return Verdict.HANDLED

        self.start(Probe(incoming_request=act))
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.finish()

    def test_a_handler_that_ends_the_call(self) -> None:
        """A handler may end the call while it describes a stream; no 200 leaves."""

        def create(session: Session, stream: SessionStream, sdp: LocalDescription) -> Any:
            self.assertTrue(sdp.is_answer)
            session.terminate(503)
            return sdp.media("audio", 40000, "RTP/AVP", ["0"])

        handler = Handler(create=create)
        self.start(handlers=[handler])
        self.invite(body=audio())
        self.peer.ack(self.peer.expect(503))
        self.assertEqual(self.peer.count(200), 0)
        self.assertEqual(handler.log.count("destroy"), 1)
        handler.create = None
        self.finish()

    def test_garbage_before_media(self) -> None:
        """A supplement below MEDIA that answers an INVITE with broken SDP: it is refused."""

        async def handle(session: Session, request: Request) -> Verdict:
            try:
                await session.send_response(200)
            except Exception:
                errors.append(Failure())
            return Verdict.HANDLED

        errors: list[Failure] = []
        self.start(Probe(priority=100, methods=["INVITE"], incoming_request=handle))
        self.invite(body="garbage", content_type="application/sdp")
        refusal = self.answer_to("INVITE")
        self.assertIn(refusal.status, (400, 488))
        self.peer.ack(refusal)
        self.assertEqual(len(errors), 1)
        self.finish()

    def test_trace(self) -> None:
        """A trace sees each session begin and end, and each verdict that is not CONTINUE."""

        def reject(session: Session, request: Request) -> Any:
            if request.method == "OPTIONS":
                session.send_response(200, request)
                return Verdict.HANDLED
            return None

        trace = RecordingTrace()
        self.start(Probe("clerk", incoming_request=reject), trace=trace)
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.answer_to("OPTIONS")
        self.hang_up(self.session)
        self.net.run_for(0.1)
        names = [fact[0] for fact in trace.facts]
        self.assertIn("session_begun", names)
        self.assertIn("session_ended", names)
        self.assertIn(("plugin_verdict", "clerk", "incoming_request", "handled"), trace.facts)
        self.box.core.watch(None)
        self.finish()


class OutgoingTests(SessionTestCase):
    """Calls of ours."""

    def test_a_long_call(self) -> None:
        """The limit of dialling does not end a call that was answered."""
        self.start()
        session, _ = self.answered()
        self.net.run_for(400)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_terminate_on_the_final_response(self) -> None:
        """Who hangs up when he sees the refusal, or the answer, causes no CANCEL."""
        for status in (486, 200):

            def act(session: Session, response: Response) -> None:
                if response.status >= 200:
                    session.terminate()

            self.start(Probe(methods=["INVITE"], priority=100, incoming_response=act))
            _, invite = self.placed()
            self.peer.reply(invite, 180)
            self.peer.reply(invite, status)
            self.peer.expect("ACK")
            if status == 200:
                self.peer.reply(self.peer.expect("BYE"), 200)
            self.net.run_for(1)
            self.assertEqual(self.peer.count("CANCEL"), 0)
            self.finish()

    def test_a_provisional_answer_to_bye(self) -> None:
        """A 1xx to our BYE ends nothing yet."""
        self.start()
        session, _ = self.answered()
        session.terminate()
        bye = self.peer.expect("BYE")
        self.peer.reply(bye, 100)
        self.peer.reply(bye, 183)
        self.net.run_for(0.1)
        self.assertEqual(session.usage.state, "TERMINATING")
        self.peer.reply(bye, 200)
        self.finish()

    def test_bye_and_bye_in_one_turn(self) -> None:
        """A BYE that comes when ours is about to leave: ours is not sent any more."""
        self.start()
        session, invite = self.answered()
        self.request_within(invite, "BYE")
        probe = Probe(methods=["BYE"], incoming_request=lambda s, request: s.terminate())
        session.chain = type(session.chain)([probe])
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.finish()

    def test_a_flow_lost_under_a_request(self) -> None:
        """A transport error fails the request, and the call goes on: another may get through."""
        self.start()
        session, _ = self.answered()
        result = session.send_request("INFO")
        self.net.run_for(0.1)
        self.box.core.flow_lost(session.flow, self.net.seconds())
        self.failureResultOf(result, TransportError)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_a_fork_that_asks_for_a_retry(self) -> None:
        """A Retry of what nobody waits for any more is not sent."""
        self.start(
            Probe(incoming_response=lambda s, r: Retry({"X": "y"}) if r.status >= 300 else None)
        )
        session, _ = self.answered()
        session.send_reinvite().addErrback(lambda failure: None)
        reinvite = self.peer.expect("INVITE")
        session.terminate()
        bye = self.peer.expect("BYE")
        self.peer.reply(reinvite, 500)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count("INVITE"), 2)
        self.box.manager.unregister_supplement(self.box.manager.chain.supplements[0])
        session.chain = self.box.manager.chain
        self.peer.reply(bye, 200)
        self.finish()

    def test_a_late_answer_that_is_none(self) -> None:
        """A handler whose m-line fits no offer costs the call: ACK, BYE, and a line in the log."""
        wrong = Handler(create=lambda s, t, sdp: sdp.media("video", 1, "RTP/AVP", ["0"]))
        self.start(handlers=[wrong])
        _, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        wrong.create = None
        self.finish(failures=1)

    def test_a_stream_declined_in_an_answer(self) -> None:
        """A stream in force that the peer declines in its answer ends with the exchange."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()
        session.send_reinvite()
        self.peer.reply(self.peer.expect("INVITE"), 200, body=audio(0, version=2))
        self.net.run_for(0.1)
        self.assertEqual(handler.log[-2:], ["stop", "destroy"])
        self.assertEqual(session.media.streams, [None])
        self.failureResultOf(session.send_reinvite(), NegotiationFailed)
        self.hang_up(session)
        self.finish()


class PartTests(SessionTestCase):
    """Parts of a session, by themselves."""

    def test_media(self) -> None:
        """Closing twice is harmless; without an offer there is no answer."""
        handler = Handler()
        self.start(handlers=[handler])
        self.call()
        session = self.session
        self.assertTrue(session.media.is_established)
        self.failureResultOf(
            Deferred.fromCoroutine(session.media.create_answer()), NegotiationFailed
        )
        self.hang_up(session)
        self.net.run_for(0.1)
        session.media.close()
        self.assertEqual(handler.log.count("destroy"), 1)
        self.finish()

    def test_an_exchange_that_was_given_up(self) -> None:
        """What a handler describes after the rollback is not taken."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()

        def create(session: Session, stream: SessionStream, sdp: LocalDescription) -> Any:
            session.media.rollback()
            return sdp.media("audio", 45000, "RTP/AVP", ["0"])

        handler.create = create
        self.failureResultOf(session.send_reinvite(), NegotiationFailed)
        stream = session.media.streams[0]
        assert stream is not None and stream.local is not None
        self.assertEqual(stream.local.port, 40000)
        self.assertNotIn("destroy", handler.log)
        self.hang_up(session)
        self.finish()

    def test_a_bug_of_ours(self) -> None:
        """A bug while a call is prepared or worked on is logged, and ends that call only."""
        self.start()
        session, _ = self.answered()

        async def bug() -> None:
            raise ZeroDivisionError

        async def ended() -> None:
            raise SessionEnded(EndReason("local", "BYE"))

        session.work_on(ended())
        self.assertEqual(session.usage.state, "CONFIRMED")
        session.reinvites._work.run(session, bug())
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.assertEqual(str(session.end_reason), "BYE by this side: internal error")
        self.finish(failures=1)

    def test_who_no_longer_waits_for_the_end(self) -> None:
        """A cancelled ``when_ended`` does not disturb the others."""
        self.start()
        session, _ = self.answered()
        gone, there = session.when_ended(), session.when_ended()
        gone.addErrback(lambda failure: None)
        gone.cancel()
        self.hang_up(session)
        self.net.run_for(0.1)
        self.assertEqual(str(self.successResultOf(there)), "BYE by this side: hung up")
        self.finish()

    def test_fail_quietly(self) -> None:
        """A Deferred that has fired is left alone."""
        done = succeed(1)
        fail_quietly(done, ValueError())
        self.assertEqual(self.successResultOf(done), 1)

    def test_reasons_for_people(self) -> None:
        """One line says who, how and why."""
        for reason, line in (
            (EndReason("local", "BYE", text="done"), "BYE by this side: done"),
            (EndReason("remote", "BYE"), "BYE by the far end"),
            (EndReason("network", "INVITE", 408), "INVITE by the network: 408"),
        ):
            self.assertEqual(str(reason), line)

    def test_an_extra_stream_is_no_crime(self) -> None:
        """m-lines of a type nobody handles are declined in a call to us, and the rest goes on."""
        self.start(handlers=[Handler(claim=StreamVerdict.HANDLED)])
        self.invite(body=audio() + "m=message 9 TCP/MSRP *\r\n", uri=f"sip:x@{US}")
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        streams = self.session.media.streams
        self.assertIsNone(streams[1])
        assert streams[0] is not None
        self.assertIsInstance(streams[0].local, MediaDescription)
        self.hang_up(self.session)
        self.finish()
