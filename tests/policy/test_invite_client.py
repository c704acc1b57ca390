# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls of ours: forks, copies, CANCEL, glare, and the queue of re-INVITEs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.errors import HeaderValueError, PluginError, Timeout
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.session import Session, SessionEnded
from sipsess.session.invite_client import MAX_FORKS
from sipsess.session.reinvites import MAX_GLARES, MAX_WAITING
from sipsess.supplement import Retry
from tests.policy.agents import PEER, US, Box
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio


def is_ack_to(tag: str) -> Callable[[Request | Response], bool]:
    """Return a predicate of the ACKs within one fork's dialog."""
    return lambda message: message.cseq.method == "ACK" and message.to_tag == tag


class ForkTests(SessionTestCase):
    """One INVITE, several callees."""

    def test_several_early_dialogs(self) -> None:
        """Each To tag of a 1xx makes an early dialog; the one that answers is the call."""
        self.start()
        session, invite = self.placed()
        heard: list[int] = []
        session.on_provisional = lambda response: heard.append(response.status)
        for tag in ("a", "b", "c"):
            self.peer.reply(invite, 180, to_tag=tag)
        self.net.run_for(0.1)
        self.assertEqual(sorted(session.dialogs), ["a", "b", "c"])
        self.assertEqual(heard, [180, 180, 180])
        self.assertIsNone(session.dialog)
        self.peer.reply(invite, 200, to_tag="b")
        self.peer.expect(is_ack_to("b"))
        assert session.dialog is not None
        self.assertEqual(session.dialog.remote_tag, "b")
        self.hang_up(session)
        self.finish()

    def test_two_answers(self) -> None:
        """Both 2xx are acknowledged; the second call gets a BYE (13.2.2.4)."""
        probe = Probe()
        self.start(probe)
        session, invite = self.placed()
        self.peer.reply(invite, 200, to_tag="a")
        second = self.peer.reply(invite, 200, to_tag="b")
        self.peer.expect(is_ack_to("a"))
        self.peer.expect(is_ack_to("b"))
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.to_tag, "b")
        self.peer.reply(bye, 200)
        self.peer.send(second)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count(is_ack_to("b")), 2)
        self.assertEqual(probe.count("outgoing_request ACK"), 2)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.assertEqual(sorted(session.dialogs), ["a"])
        self.hang_up(session)
        self.finish()

    def test_a_fork_that_answers_after_the_end(self) -> None:
        """Even when the call is over already the late 2xx is acknowledged and ended."""
        self.start()
        session, invite = self.answered()
        self.hang_up(session)
        self.net.run_for(0.1)
        self.peer.reply(invite, 200, to_tag="late")
        self.peer.expect(is_ack_to("late"))
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_a_200_with_another_cseq(self) -> None:
        """It is no answer to our INVITE, and no other fork: the call that stands goes on."""
        self.start()
        session, invite = self.answered()
        self.peer.reply(invite, 200, headers={"CSeq": "256 INVITE"})
        self.net.run_for(1)
        self.assertEqual(self.peer.count("ACK"), 1)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.assertEqual(self.box.core.counters.refused, {"response-cseq": 1})
        self.hang_up(session)
        self.finish()

    def test_endless_forks(self) -> None:
        """Over the limit forks are ignored, early or answered."""
        self.start()
        session, invite = self.placed()
        for number in range(MAX_FORKS + 5):
            self.peer.reply(invite, 180, to_tag=f"early{number}")
        self.net.run_for(0.1)
        self.assertEqual(len(session.dialogs), MAX_FORKS)
        for number in range(MAX_FORKS + 5):
            self.peer.reply(invite, 200, to_tag=f"late{number}")
        self.net.run_for(0.1)
        byes = [m for m in self.peer.received if isinstance(m, Request) and m.method == "BYE"]
        self.assertEqual(len(byes), MAX_FORKS - 1)
        for bye in byes:
            self.peer.reply(bye, 200)
        self.hang_up_last(session)
        self.finish()

    def hang_up_last(self, session: Session) -> None:
        """End the call whose BYE is not the first that came."""
        session.terminate()
        tag = session.dialog.remote_tag if session.dialog is not None else ""
        self.peer.reply(
            self.peer.expect(lambda m: m.cseq.method == "BYE" and m.to_tag == tag),  # type: ignore[arg-type]
            200,
        )

    def test_requests_of_another_fork(self) -> None:
        """When one fork is the call, the early dialogs of the others are over: 481."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180, to_tag="a")
        self.peer.reply(invite, 200, to_tag="b")
        self.peer.expect("ACK")
        bye = self.peer.request(
            "BYE",
            f"sip:{US}",
            call_id=invite.call_id,
            from_=f"<sip:peer@{PEER}>;tag=a",
            to=invite.headers.get("From"),
        )
        self.peer.send(bye, (US, 5060))
        self.assertEqual(self.answer_to("BYE").status, 481)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_bye_in_an_early_dialog(self) -> None:
        """A callee must not send it (15); it is answered, and the INVITE's end decides."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        self.request_within(invite, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(session.usage.state, "PROCEEDING")
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.finish()

    def test_what_is_open_when_the_invite_is_sent_again(self) -> None:
        """Its early dialogs are over: a request that a supplement thinks about gets 481."""
        decided: Deferred[None] = Deferred()
        probe = Probe(
            incoming_request=lambda session, request: decided,
            incoming_response=lambda session, response: (
                Retry({}) if response.status == 503 else None
            ),
        )
        self.start(probe)
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.peer.send(self.peer.request_within(invite, "BYE"))
        self.net.run_for(0.1)
        self.peer.reply(invite, 503)
        self.peer.expect("ACK")
        self.assertEqual(self.answer_to("BYE").status, 481)
        again = self.peer.expect("INVITE")
        decided.callback(None)
        self.net.run_for(0.1)
        self.assertEqual(session.usage.state, "CALLING")
        self.peer.reply(again, 486)
        self.peer.expect("ACK")
        self.finish()

    def test_what_is_open_when_another_fork_answers(self) -> None:
        """Its early dialog is over, too; what it would have done to the media is not done."""
        decided: Deferred[None] = Deferred()
        self.start(Probe(incoming_request=lambda session, request: decided))
        session, invite = self.placed()
        headers = {"Require": "100rel", "RSeq": "1"}
        self.peer.reply(invite, 183, headers=headers, body=self.peer.sdp())
        self.peer.reply(self.peer.expect("PRACK"), 200)
        self.peer.send(self.peer.request_within(invite, "UPDATE", body=self.peer.sdp(40002)))
        self.net.run_for(0.1)
        self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
        self.peer.expect("ACK")
        self.assertEqual(self.answer_to("UPDATE").status, 481)
        decided.callback(None)
        self.net.run_for(0.1)
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40006)
        self.assertFalse(session.media.is_open)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_the_dialog_is_made_of_what_was_sent(self) -> None:
        """A supplement that hides the caller in From is followed by the whole dialog (12.1.2)."""

        def hide(session: Session, request: Request) -> None:
            if request.method == "INVITE" and request.to_tag is None:
                tag = request.from_tag
                request.headers.set("From", f"<sip:anonymous@anonymous.invalid>;tag={tag}")

        self.start(Probe(outgoing_request=hide))
        session, _ = self.answered()
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertIn("anonymous.invalid", bye.headers.get("From") or "")
        self.peer.reply(bye, 200)
        self.finish()


class AnswerTests(SessionTestCase):
    """The answer to our offer."""

    def test_media_is_applied_before_the_call_stands(self) -> None:
        """Who hears of the answer finds the media in force."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        log: list[list[str]] = []
        session.invite_client.answered.addCallback(lambda _: log.append(list(handler.log)))
        session.when_confirmed().addCallback(lambda _: log.append(list(handler.log)))
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.assertEqual(log, [["create", "apply"]] * 2)
        self.hang_up(session)
        self.finish()

    def test_bad_answers(self) -> None:
        """No answer, garbage, or one that does not fit: ACK, then one BYE that says why."""
        for body in (b"", "garbage", audio(count=2), audio(kind="video")):
            handler = Handler()
            self.start(handlers=[handler])
            session, invite = self.placed()
            self.peer.reply(invite, 200, body=body, content_type="application/sdp")
            self.assertEqual(self.peer.expect("ACK").body, b"")
            bye = self.peer.expect("BYE")
            self.assertIn("488", bye.headers.get("Reason") or "")
            self.peer.reply(bye, 200)
            self.net.run_for(1)
            self.assertEqual(self.peer.count("BYE"), 1)
            self.assertEqual(handler.log, ["create", "destroy"])
            self.assertIn("no common media", str(session.end_reason))
            self.failureResultOf(session.invite_client.answered, SessionEnded)
            self.finish()

    def test_a_crossing_200_opens_nothing(self) -> None:
        """A 200 that crosses our CANCEL is acknowledged and ended, without media (5407 3.1.2)."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.peer.reply(self.peer.expect("CANCEL"), 481)
        self.net.run_for(0.1)
        self.assertEqual(handler.log, ["create", "destroy"])
        self.finish()

    def test_a_crossing_late_offer_is_declined(self) -> None:
        """An offer in such a 200 needs its answer in the ACK: it declines everything."""
        self.start(handlers=[Handler()])
        session, invite = self.placed(offered_media=())
        session.terminate()
        self.peer.reply(invite, 200)
        self.assertIn(b"m=audio 0 ", self.peer.expect("ACK").body)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_copies_of_the_200_for_32_seconds_and_later(self) -> None:
        """Each copy gets the same ACK again, with the transaction and after it."""
        self.start()
        session, invite = self.placed()
        success = self.peer.reply(invite, 200)
        for _ in range(5):
            self.net.run_for(10)
            self.peer.send(success)
        self.net.run_for(0.1)
        acks = [m.to_bytes() for m in self.peer.received if m.cseq.method == "ACK"]
        self.assertEqual((len(acks), len(set(acks))), (6, 1))
        self.hang_up(session)
        self.finish()

    def test_old_acks_are_forgotten(self) -> None:
        """A call with many re-INVITEs keeps the last ACKs only."""
        self.start()
        session, _ = self.answered()
        for _ in range(MAX_FORKS + 5):
            session.send_reinvite()
            self.peer.reply(self.peer.expect("INVITE"), 200)
            self.net.run_for(0.1)
        self.assertLessEqual(len(session.invite_client._acks), MAX_FORKS + 1)
        self.hang_up(session)
        self.finish()


class ReinviteTests(SessionTestCase):
    """INVITEs of ours within the call."""

    def test_accepted(self) -> None:
        """The Deferred and the callback get the response; the media and the target follow."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()
        seen: list[int] = []
        result = session.send_reinvite(
            {"X-Why": "hold"}, lambda response: seen.append(response.status)
        )
        reinvite = self.peer.expect("INVITE")
        self.assertEqual(reinvite.headers.get("X-Why"), "hold")
        self.assertIsNotNone(reinvite.headers.get("Contact"))
        self.assertIn("INVITE", reinvite.headers.get("Allow") or "")
        self.peer.reply(reinvite, 100)
        self.peer.reply(reinvite, 183)
        self.net.run_for(0.1)
        self.assertNoResult(result)
        self.peer.reply(reinvite, 200, headers={"Contact": f"<sip:moved@{PEER}>"})
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(result).status, 200)
        self.assertEqual(seen, [200])
        self.assertEqual(handler.log, ["create", "apply", "create", "apply"])
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.uri, f"sip:moved@{PEER}")
        self.peer.reply(bye, 200)
        self.finish()

    def test_refused(self) -> None:
        """A refusal is a result, not a failure; the media is as before (14.1)."""
        for status in (488, 500):
            handler = Handler()
            self.start(handlers=[handler])
            session, _ = self.answered()
            handler.create = lambda s, t, sdp: sdp.media("audio", 45000, "RTP/AVP", ["0"])
            result = session.send_reinvite()
            self.peer.reply(self.peer.expect("INVITE"), status)
            self.net.run_for(0.1)
            self.assertEqual(self.successResultOf(result).status, status)
            stream = session.media.streams[0]
            assert stream is not None and stream.local is not None
            self.assertEqual(stream.local.port, 40000)
            self.assertEqual(session.usage.state, "CONFIRMED")
            self.hang_up(session)
            self.finish()

    def test_481_and_408_end_the_call(self) -> None:
        """The peer knows no such dialog: BYE, and the Deferred has the response (12.2.1.2)."""
        for status in (481, 408):
            self.start()
            session, _ = self.answered()
            result = session.send_reinvite()
            self.peer.reply(self.peer.expect("INVITE"), status)
            self.peer.reply(self.peer.expect("BYE"), 200)
            self.assertEqual(self.successResultOf(result).status, status)
            self.finish()

    def test_no_answer(self) -> None:
        """A re-INVITE that nobody answers ends the call (14.1)."""
        self.start()
        session, _ = self.answered()
        result = session.send_reinvite()
        self.net.run_for(33)
        self.failureResultOf(result, Timeout)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.assertEqual(
            str(session.end_reason), "INVITE by the network: 408 no answer to a re-INVITE"
        )
        self.finish()

    def test_no_final_response(self) -> None:
        """One that is only being tried is cancelled after three minutes, and the call goes on."""
        self.start()
        session, _ = self.answered()
        result = session.send_reinvite()
        reinvite = self.peer.expect("INVITE")
        self.peer.reply(reinvite, 100)
        self.net.run_for(179)
        self.assertEqual(self.peer.count("CANCEL"), 0)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(reinvite, 487)
        self.peer.expect("ACK")
        self.net.run_for(40)
        self.assertEqual(self.successResultOf(result).status, 487)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_bad_answer(self) -> None:
        """A 200 whose answer cannot be used is acknowledged, and the call ended."""
        self.start()
        session, _ = self.answered()
        result = session.send_reinvite()
        self.peer.reply(self.peer.expect("INVITE"), 200, body="garbage")
        self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.successResultOf(result)
        self.finish()

    def test_queue(self) -> None:
        """One at a time, in order; before the call stands and over the limit, too."""
        self.start()
        session, invite = self.placed()
        results = [session.send_reinvite({"X": str(number)}) for number in range(MAX_WAITING)]
        self.failureResultOf(session.send_reinvite(), PluginError)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count("INVITE"), 1)
        self.peer.reply(invite, 200)
        for number, result in enumerate(results):
            reinvite = self.peer.expect("INVITE")
            self.assertEqual(reinvite.headers.get("X"), str(number))
            self.assertNoResult(result)
            self.peer.reply(reinvite, 200)
            self.net.run_for(0.1)
            self.successResultOf(result)
        self.hang_up(session)
        self.finish()

    def test_waits_for_the_peers_own(self) -> None:
        """While a re-INVITE of the peer is open, or its ACK missing, ours waits (14.1)."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()
        session = self.session
        waiting: Deferred[Any] = Deferred()
        handler.create = lambda *args: waiting
        self.request_within(success, "INVITE", body=audio(version=2))
        self.peer.expect(100)
        result = session.send_reinvite()
        self.net.run_for(0.1)
        handler.create = None
        from sipsess.sdp import MediaDescription

        waiting.callback(MediaDescription.build("audio", 40000, "RTP/AVP", ["0"]))
        answer = self.answer_to("INVITE")
        self.net.run_for(0.3)
        self.assertEqual(self.peer.count("INVITE"), 0)
        self.peer.ack(answer)
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.net.run_for(0.1)
        self.successResultOf(result)
        self.hang_up(session)
        self.finish()

    def test_what_waits_fails_with_the_session(self) -> None:
        """Sent, waiting, or in the glare time: each fails with SessionEnded, quietly."""
        for stage in ("sent", "glare"):
            self.start()
            session, invite = self.answered()
            watched, waiting = session.send_reinvite(), session.send_reinvite()
            errors: list[Any] = []
            watched.addErrback(errors.append)
            reinvite = self.peer.expect("INVITE")
            if stage == "glare":
                self.peer.reply(reinvite, 491)
                self.net.run_for(0.1)
                self.assertFalse(session.reinvites.is_free)
            self.request_within(invite, "BYE")
            self.answer_to("BYE")
            self.assertEqual(len(errors), 1)
            self.assertIsInstance(errors[0].value, SessionEnded)
            self.assertTrue(waiting.called)
            if stage == "sent":
                self.peer.reply(reinvite, 487)
                self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
            self.finish()

    def test_an_unanswered_one_after_the_end(self) -> None:
        """A re-INVITE that rings for ever after the call's end is forgotten after 64*T1."""
        self.start()
        session, invite = self.answered()
        session.send_reinvite()
        self.peer.reply(self.peer.expect("INVITE"), 180)
        self.request_within(invite, "BYE")
        self.answer_to("BYE")
        self.finish()

    def test_a_200_after_the_end(self) -> None:
        """A 200 to a re-INVITE that crosses the end is acknowledged; no media is touched."""
        handler, probe = Handler(), Probe()
        self.start(probe, handlers=[handler])
        session, invite = self.answered()
        session.send_reinvite()
        reinvite = self.peer.expect("INVITE")
        self.request_within(invite, "BYE")
        self.answer_to("BYE")
        log, seen = list(handler.log), list(probe.seen)
        self.peer.reply(reinvite, 200)
        self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
        self.assertEqual((handler.log, probe.seen), (log, seen))
        self.finish()

    def test_a_200_that_crosses_our_bye(self) -> None:
        """A 200 while our BYE is out is acknowledged and not applied."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()
        result = session.send_reinvite()
        result.addErrback(lambda failure: None)
        reinvite = self.peer.expect("INVITE")
        session.terminate()
        self.peer.reply(reinvite, 200)
        self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
        self.assertEqual(handler.log.count("apply"), 1)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_what_cannot_be_sent(self) -> None:
        """Bad headers are refused at once; a handler that has nothing makes it fail."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()
        self.assertRaises(HeaderValueError, session.send_reinvite, {"X": "a\r\nb"})

        def refuse(*args: object) -> Any:
            raise NegotiationFailed("no port")

        handler.create = refuse
        self.failureResultOf(session.send_reinvite(), NegotiationFailed)
        handler.create = lambda *args: Deferred()
        slow, cancelled = session.send_reinvite(), session.send_reinvite()
        cancelled.addErrback(lambda failure: failure.trap(CancelledError))
        cancelled.cancel()
        self.net.run_for(29)
        self.assertIn("too long", str(self.failureResultOf(slow, NegotiationFailed).value))
        handler.create = refuse
        self.net.run_for(29)
        handler.create = None
        self.assertEqual(self.peer.count("INVITE"), 1)
        last = session.send_reinvite()
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.net.run_for(0.1)
        self.successResultOf(last)
        self.hang_up(session)
        self.finish()

    def test_hang_up_while_the_offer_is_made(self) -> None:
        """A re-INVITE whose offer is ready after our BYE is not sent."""
        handler = Handler()
        self.start(handlers=[handler])
        session, _ = self.answered()
        offer: Deferred[Any] = Deferred()
        handler.create = lambda *args: offer
        result = session.send_reinvite()
        session.terminate()
        from sipsess.sdp import MediaDescription

        offer.callback(MediaDescription.build("audio", 40000, "RTP/AVP", ["0"]))
        self.failureResultOf(result, SessionEnded)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count("INVITE"), 1)
        self.finish()

    def test_cancelled_deferreds_hurt_nobody(self) -> None:
        """Who cancels the Deferred of a re-INVITE hears nothing more of it."""
        self.start()
        session, _ = self.answered()
        for status in (200, None):
            result = session.send_reinvite()
            result.addErrback(lambda failure: None)
            result.cancel()
            reinvite = self.peer.expect("INVITE")
            if status is not None:
                self.peer.reply(reinvite, status)
            self.net.run_for(33)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()


class GlareTests(SessionTestCase):
    """Both sides re-INVITE at once (14.1)."""

    def test_ours_comes_again(self) -> None:
        """After 491 the owner of the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s."""
        for is_owner, low, high in ((True, 2.1, 4.0), (False, 0.0, 2.0)):
            self.start()
            if is_owner:
                session, _ = self.answered()
            else:
                self.call()
                session = self.session
            delays = set()
            for _ in range(8):
                result = session.send_reinvite()
                self.peer.reply(self.peer.expect("INVITE"), 491)
                self.peer.expect("ACK")
                began = self.net.seconds()
                again = self.peer.expect("INVITE")
                delays.add(round(self.net.seconds() - began - 0.01, 2))
                self.peer.reply(again, 200)
                self.net.run_for(0.1)
                self.assertEqual(self.successResultOf(result).status, 200)
            self.assertGreater(len(delays), 4)
            self.assertTrue(all(low - 0.02 <= delay <= high for delay in delays), delays)
            self.hang_up(session)
            self.finish()

    def test_endless_glare(self) -> None:
        """A peer that always says 491 is believed after MAX_GLARES."""
        self.start()
        session, _ = self.answered()
        result = session.send_reinvite()
        for _ in range(MAX_GLARES + 1):
            self.peer.reply(self.peer.expect("INVITE"), 491)
        self.net.run_for(10)
        self.assertEqual(self.successResultOf(result).status, 491)
        self.assertEqual(self.peer.count("INVITE"), MAX_GLARES + 2)
        self.hang_up(session)
        self.finish()

    def test_the_order_is_kept(self) -> None:
        """What was wished later does not overtake the one in the glare time."""
        self.start()
        session, _ = self.answered()
        session.send_reinvite({"X": "first"})
        session.send_reinvite({"X": "second"})
        self.peer.reply(self.peer.expect("INVITE"), 491)
        self.net.run_for(0.1)
        session.send_reinvite({"X": "third"})
        for name in ("first", "second", "third"):
            reinvite = self.peer.expect("INVITE")
            self.assertEqual(reinvite.headers.get("X"), name)
            self.peer.reply(reinvite, 200)
        self.net.run_for(0.1)
        self.hang_up(session)
        self.finish()

    def test_theirs_gets_491(self) -> None:
        """A re-INVITE that meets ours gets 491, and ours goes on (14.2)."""
        self.start()
        session, invite = self.answered()
        result = session.send_reinvite()
        ours = self.peer.expect("INVITE")
        self.request_within(invite, "INVITE", body=audio(version=2))
        self.peer.ack(self.peer.expect(491))
        self.peer.reply(ours, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(result).status, 200)
        self.hang_up(session)
        self.finish()

    def test_two_agents(self) -> None:
        """Two of us that re-INVITE at once both get their 200 in the end."""
        box = self.start()
        other = Box(self.net.host("192.0.2.2", name="other"))
        session = box.manager.dial("sip:x@192.0.2.2", box.flow_to(("192.0.2.2", 5060)))
        self.net.run_for(1)
        (theirs,) = other.manager.sessions
        results = [live.send_reinvite() for live in (session, theirs)]
        self.net.run_for(10)
        self.assertEqual([self.successResultOf(result).status for result in results], [200, 200])
        statuses = [event.data[8:11] for event in self.net.trace if event.data[:3] == b"SIP"]
        self.assertEqual(statuses.count(b"491"), 2)
        for identity in (session.get_identity(), theirs.get_identity()):
            self.assertIn(identity.source, ("To", "From"))
        theirs.terminate()
        self.net.run_for(1)
        self.assertEqual(str(session.end_reason), "BYE by the far end")
        self.finish()
