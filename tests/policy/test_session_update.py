# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""UPDATE in sessions (RFC 3311), early and confirmed, both roles; refresh, hold and unhold."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.errors import PluginError, Timeout
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.session import Session, SessionEnded
from sipsess.supplement import Reject, Retry
from tests.policy.agents import US
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio

REL = {"Supported": "100rel", "Allow": "INVITE, UPDATE, PRACK"}


async def nothing(session: Session) -> None:
    """Leave everything to the test."""
    await Deferred()


class UpdateTestCase(SessionTestCase):
    """Calls with UPDATE."""

    def hang_up(self, session: Session) -> None:
        """End a call from our side, and let our side hear of it."""
        super().hang_up(session)
        self.net.run_for(0.1)

    def update(self, message: Response | Request, **kwargs: Any) -> Response:
        """Send an UPDATE of the peer; return the answer."""
        self.request_within(message, "UPDATE", **kwargs)
        return self.answer_to("UPDATE")

    def early(self, *, reliable: bool = True, media: bool = True, **kwargs: Any) -> Response:
        """Return the 183 that our side sends to the peer's INVITE, acknowledged."""
        self.dialled = self.invite(headers=REL, **kwargs)
        self.net.run_for(0.05)
        self.session.send_response(183, with_media=media, reliable=reliable)
        early = self.peer.expect(183)
        if reliable:
            rack = f"{early.headers.get('RSeq')} {early.cseq.number} INVITE"
            self.request_within(early, "PRACK", headers={"RAck": rack})
            self.answer_to("PRACK")
        return early

    def dialled_early(self, body: str | None = None, rseq: int = 1) -> tuple[Session, Request]:
        """Place a call; the peer answers it with a reliable 183."""
        session, invite = self.placed()
        headers = {"Require": "100rel", "RSeq": str(rseq), "Allow": "INVITE, UPDATE"}
        self.peer.reply(
            invite, 183, headers=headers, body=self.peer.sdp() if body is None else body
        )
        self.peer.reply(self.peer.expect("PRACK"), 200)
        self.net.run_for(0.05)
        return session, invite

    def finish_early(self, session: Session) -> None:
        """Refuse the call that was never answered."""
        session.send_response(486)
        self.peer.ack(self.answer_to("INVITE"))
        self.finish()

    def finish_dialled(self, invite: Request) -> None:
        """Refuse the call of ours."""
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.finish()

    def remote_port(self, session: Session) -> int:
        """Return where our audio goes."""
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        return stream.active_remote.port


class IncomingTests(UpdateTestCase):
    """UPDATEs of the peer (section 5.2)."""

    def test_without_offer(self) -> None:
        """It refreshes the target, and its 200 says what we allow."""
        self.start()
        success = self.call()
        answer = self.update(success, headers={"Contact": "<sip:moved@192.0.2.9>"})
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertIn("UPDATE", answer.allow)
        self.assertTrue(answer.contact)
        self.session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.uri, "sip:moved@192.0.2.9")
        self.peer.reply(bye, 200)
        self.finish()

    def test_with_offer(self) -> None:
        """The offer passes supplements and SDP handlers as that of a re-INVITE does."""
        order: list[str] = []
        handler = Handler(acts={"claim": lambda *args: order.append("media")})
        low = Probe("low", 300, ["UPDATE"], incoming_request=lambda *args: order.append("low"))
        high = Probe("high", 500, ["UPDATE"], incoming_request=lambda *args: order.append("high"))
        self.start(low, high, handlers=[handler])
        success = self.call()
        order.clear()
        answer = self.update(success, body=self.peer.sdp(40002))
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body)
        self.assertEqual(order, ["low", "media", "high"])
        self.assertEqual(self.remote_port(self.session), 40002)
        self.hang_up(self.session)
        self.finish()

    def test_refused_offer_is_rolled_back(self) -> None:
        """RFC 6141: 488, or a supplement's refusal, leaves media and target as they were."""

        def refuse(session: Session, request: Request) -> None:
            if "X-Refuse" in request.headers:
                raise Reject(403)

        handler = Handler()
        self.start(Probe(methods=["UPDATE"], incoming_request=refuse), handlers=[handler])
        success = self.call()
        contact = {"Contact": "<sip:moved@192.0.2.9>"}
        refused = self.update(success, headers=contact, body=audio(40002, kind="video"))
        self.assertEqual(refused.status, 488)
        self.assertIn("Warning", refused.headers)
        headers = {**contact, "X-Refuse": "1"}
        refused = self.update(success, headers=headers, body=self.peer.sdp(40002))
        self.assertEqual(refused.status, 403)
        session = self.session
        self.assertFalse(session.media.is_open)
        self.assertEqual(self.remote_port(session), 40000)
        assert session.dialog is not None
        self.assertEqual(session.dialog.remote_target, self.peer.uri)
        self.assertEqual(self.update(success, body=self.peer.sdp(40004)).status, 200)
        self.hang_up(session)
        self.finish()

    def test_fewer_streams(self) -> None:
        """RFC 3264 8: an offer with fewer m-lines is refused, the call goes on."""
        self.start()
        success = self.call()
        self.assertEqual(self.update(success, body=audio(count=2)).status, 200)
        self.assertEqual(self.update(success, body=audio(count=1, version=2)).status, 488)
        self.hang_up(self.session)
        self.finish()

    def test_body_that_is_not_understood(self) -> None:
        """415, as for a re-INVITE; a broken description is 400."""
        self.start()
        success = self.call()
        for body, kind, status in (("x", "text/odd", 415), ("v=x", "application/sdp", 400)):
            self.assertEqual(self.update(success, body=body, content_type=kind).status, status)
        self.hang_up(self.session)
        self.finish()

    def test_meets_our_offer(self) -> None:
        """491 while an offer of ours has no answer; without an offer it is fine."""
        self.start()
        success = self.call()
        session = self.session
        session.send_reinvite()
        reinvite = self.peer.expect("INVITE")
        self.assertEqual(self.update(success, body=self.peer.sdp(40002)).status, 491)
        self.assertEqual(self.update(success).status, 200)
        self.peer.reply(reinvite, 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_meets_his_own_offer(self) -> None:
        """500 with Retry-After while his earlier offer has no answer; and so for a re-INVITE."""
        slow: list[Deferred[Any]] = []

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            slow.append(Deferred())
            return slow[-1].addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

        handler = Handler(create=create)
        self.start(handlers=[handler])
        success = self.call()
        self.request_within(success, "UPDATE", body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        for method in ("UPDATE", "INVITE"):
            self.request_within(success, method, body=self.peer.sdp(40004))
            refused = self.answer_to(method)
            self.assertEqual(refused.status, 500)
            self.assertTrue(0 <= int(refused.headers.get("Retry-After") or "") <= 10)
            if method == "INVITE":
                self.peer.ack(refused)
        self.assertEqual(self.update(success).status, 500)
        slow[0].callback(None)
        self.assertEqual(self.answer_to("UPDATE").status, 200)
        self.assertEqual(self.remote_port(self.session), 40002)
        self.hang_up(self.session)
        self.finish()

    def test_handler_takes_too_long(self) -> None:
        """An answer that never comes: 500, and the media as before."""

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            return Deferred()

        handler = Handler(create=create)
        self.start(handlers=[handler])
        success = self.call()
        self.request_within(success, "UPDATE", body=self.peer.sdp(40002))
        self.assertEqual(self.answer_to("UPDATE", 40).status, 500)
        self.assertEqual(self.remote_port(self.session), 40000)
        self.request_within(success, "UPDATE", body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.assertEqual(self.answer_to("UPDATE").status, 487)
        self.answer_to("BYE")
        self.finish()

    def test_early_after_a_reliable_answer(self) -> None:
        """Early, it needs an exchange that was completed reliably; the 200 waits for it."""
        self.start(play=nothing)
        early = self.early()
        answer = self.update(early, body=self.peer.sdp(40002))
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body)
        session = self.session
        self.assertEqual(self.remote_port(session), 40002)
        session.send_response(200)
        success = self.answer_to("INVITE")
        self.assertEqual(success.body, b"")
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.hang_up(session)
        self.finish()

    def test_early_before_the_answer(self) -> None:
        """The offer of the INVITE has no answer, or a preview only: 500 with Retry-After."""
        for media in (False, True):
            self.start(play=nothing)
            early = self.early(reliable=False, media=media)
            refused = self.update(early, body=self.peer.sdp(40002))
            self.assertEqual(refused.status, 500)
            self.assertIn("Retry-After", refused.headers)
            self.assertEqual(self.update(early).status, 200)
            self.finish_early(self.session)

    def test_early_to_the_caller(self) -> None:
        """As the caller: 491 while our offer is open, and after a preview; else 200."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.assertEqual(self.update(invite, body=self.peer.sdp(40002)).status, 491)
        self.assertEqual(self.update(invite).status, 200)
        self.peer.reply(invite, 183, body=self.peer.sdp())
        self.assertEqual(self.update(invite, body=self.peer.sdp(40002)).status, 491)
        self.finish_dialled(invite)
        self.assertTrue(session.is_over)
        self.start()
        session, invite = self.dialled_early()
        self.assertEqual(self.update(invite, body=self.peer.sdp(40002)).status, 200)
        self.assertEqual(self.remote_port(session), 40002)
        self.peer.reply(invite, 200, body=b"")
        self.peer.expect("ACK")
        self.assertEqual(self.remote_port(session), 40002)
        self.hang_up(session)
        self.finish()

    def test_reinvite_that_is_thought_about(self) -> None:
        """An UPDATE behind a re-INVITE that a supplement thinks about waits for it."""
        pending: list[Deferred[None]] = []

        def think(session: Session, request: Request) -> Any:
            if request.to_tag is None:
                return None
            pending.append(Deferred())
            return pending[-1]

        self.start(Probe(methods=["INVITE"], incoming_request=think))
        success = self.call()
        self.request_within(success, "INVITE", body=self.peer.sdp(40002))
        self.request_within(success, "UPDATE", body=self.peer.sdp(40004))
        self.net.run_for(0.5)
        pending[0].callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.assertEqual(self.answer_to("UPDATE").status, 200)
        self.hang_up(self.session)
        self.finish()


class OutgoingTests(UpdateTestCase):
    """UPDATEs of ours (section 5.1)."""

    def test_refresh(self) -> None:
        """``refresh`` is an UPDATE without offer when the peer allows it, else a re-INVITE."""
        for allow, method in (("INVITE, UPDATE", "UPDATE"), ("INVITE", "INVITE"), ("", "INVITE")):
            self.start()
            self.invite(headers={"Allow": allow} if allow else {})
            success = self.peer.expect(200)
            self.peer.ack(success)
            self.net.run_for(0.1)
            session = self.session
            done = session.refresh()
            request = self.peer.expect(method)
            self.assertTrue(request.contact)
            self.assertEqual(bool(request.body), method == "INVITE")
            if method == "INVITE":
                # RFC 3264 8: nothing has changed, so the version has not.
                self.assertEqual(request.body.split(b"\n")[1], success.body.split(b"\n")[1])
            self.peer.reply(request, 200, headers={"Contact": "<sip:new@192.0.2.9>"})
            self.net.run_for(0.1)
            self.assertEqual(self.successResultOf(done).status, 200)
            assert session.dialog is not None
            self.assertEqual(session.dialog.remote_target, "sip:new@192.0.2.9")
            self.hang_up(session)
            self.finish()

    def test_with_offer(self) -> None:
        """An UPDATE may re-negotiate the media."""
        self.start()
        session, _ = self.answered()
        done = session.refresh(with_offer=True)
        self.peer.reply(self.peer.expect("INVITE"), 200, headers={"Allow": "UPDATE"})
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(done).status, 200)
        session.refresh(with_offer=True)
        update = self.peer.expect("UPDATE")
        self.assertTrue(update.body)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.remote_port(session), 40002)
        self.hang_up(session)
        self.finish()

    def test_refused(self) -> None:
        """A refusal leaves the media as they were, and the call stands; 481 ends it."""
        for status in (488, 481):
            self.start()
            session, _ = self.answered()
            done = session.send_update({"X": "y"}, with_offer=True)
            update = self.peer.expect("UPDATE")
            self.assertEqual(update.headers.get("X"), "y")
            self.peer.reply(update, status)
            self.net.run_for(0.1)
            self.assertEqual(self.successResultOf(done).status, status)
            self.assertFalse(session.media.is_open)
            if status == 481:
                self.peer.reply(self.peer.expect("BYE"), 200)
                self.assertIn("to an UPDATE", str(session.end_reason))
            else:
                self.assertEqual(self.remote_port(session), 40000)
                self.hang_up(session)
            self.finish()

    def test_glare(self) -> None:
        """491: it is sent again after the time of RFC 3261 14.1, before what waits behind it."""
        self.start()
        session, _ = self.answered()
        first, second = session.send_update(with_offer=True), session.send_reinvite()
        self.peer.reply(self.peer.expect("UPDATE"), 491)
        began = self.net.seconds()
        again = self.peer.expect("UPDATE")
        self.assertGreaterEqual(self.net.seconds() - began, 2.1)
        self.peer.reply(again, 200, body=self.peer.sdp())
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(first).status, 200)
        self.assertEqual(self.successResultOf(second).status, 200)
        self.hang_up(session)
        self.finish()

    def test_bad_answer(self) -> None:
        """A 200 whose answer does not fit ends the call."""
        self.start()
        session, _ = self.answered()
        session.send_update(with_offer=True)
        self.peer.reply(self.peer.expect("UPDATE"), 200, body=audio(count=2))
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertIn("bad answer", str(session.end_reason))
        self.finish()

    def test_no_answer(self) -> None:
        """RFC 3261 12.2.1.2: without any answer the call is ended."""
        self.start()
        session, _ = self.answered()
        failed: list[Failure] = []
        session.send_update().addErrback(failed.append)
        self.peer.expect("UPDATE")
        self.peer.reply(self.peer.expect("BYE", 40), 200)
        self.net.run_for(0.1)
        self.assertTrue(failed[0].check(Timeout))
        self.assertIn("no answer to an UPDATE", str(session.end_reason))
        self.finish()

    def test_end(self) -> None:
        """What waits or is out fails with the session; later there is none."""
        self.start()
        session, invite = self.answered()
        failed: list[Failure] = []
        for _ in range(2):
            session.send_update().addErrback(failed.append)
        self.peer.expect("UPDATE")
        self.request_within(invite, "BYE")
        self.answer_to("BYE")
        self.assertEqual([item.type for item in failed], [SessionEnded] * 2)
        self.assertRaises(SessionEnded, session.send_update)
        self.finish()

    def test_queue_is_bounded(self) -> None:
        """A program that asks without end is told."""
        self.start()
        session, _ = self.answered()
        waits = [session.send_update() for _ in range(18)]
        self.failureResultOf(waits[-1], PluginError)
        for _ in range(17):
            self.peer.reply(self.peer.expect("UPDATE"), 200)
        self.net.run_for(0.1)
        self.hang_up(session)
        self.finish()

    def test_early_as_the_callee(self) -> None:
        """Early with an offer only after the PRACK; the 200 to the INVITE waits for its end."""
        self.start(play=nothing)
        early = self.early()
        session = self.session
        done = session.send_update(with_offer=True)
        session.send_response(200)
        update = self.peer.expect("UPDATE")
        self.assertTrue(update.body)
        self.net.run_for(1)
        self.assertEqual(self.peer.count(200), 1)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        success = self.answer_to("INVITE")
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.remote_port(session), 40002)
        self.peer.bye(early)
        self.answer_to("BYE")
        self.finish()

    def test_early_waits(self) -> None:
        """With an offer it waits for the answered call when nothing was done reliably."""
        self.start(play=nothing)
        early = self.early(reliable=False)
        session = self.session
        with_offer, without = session.send_update(with_offer=True), session.send_update()
        update = self.peer.expect("UPDATE")
        self.assertEqual(update.body, b"")
        self.peer.reply(update, 200)
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(without).status, 200)
        self.assertNoResult(with_offer)
        session.send_response(200)
        self.peer.ack(self.answer_to("INVITE"))
        update = self.peer.expect("UPDATE")
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(with_offer).status, 200)
        self.peer.bye(early)
        self.answer_to("BYE")
        self.finish()

    def test_early_as_the_caller(self) -> None:
        """As the caller likewise: after the PRACK, within that early dialog."""
        self.start()
        session, invite = self.placed()
        waits = session.send_update(with_offer=True)
        self.peer.reply(invite, 180)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("UPDATE"), 0)
        headers = {"Require": "100rel", "RSeq": "1"}
        self.peer.reply(invite, 183, headers=headers, body=self.peer.sdp())
        self.peer.reply(self.peer.expect("PRACK"), 200)
        update = self.peer.expect("UPDATE")
        self.assertEqual(update.cseq.number, 3)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(waits).status, 200)
        self.assertEqual(self.remote_port(session), 40002)
        self.peer.reply(invite, 200, body=b"")
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_later_descriptions_while_an_early_update_is_out(self) -> None:
        """What a 180 repeats of the answer, reliably or not, is no answer to our UPDATE."""
        self.start()
        session, invite = self.dialled_early()
        waits = session.send_update(with_offer=True)
        update = self.peer.expect("UPDATE")
        self.peer.reply(invite, 180, body=self.peer.sdp(40010))
        headers = {"Require": "100rel", "RSeq": "2"}
        self.peer.reply(invite, 180, headers=headers, body=self.peer.sdp(40010))
        self.peer.reply(self.peer.expect("PRACK"), 200)
        self.net.run_for(0.1)
        self.assertTrue(session.media.is_open)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(waits).status, 200)
        self.assertEqual(self.remote_port(session), 40002)
        self.finish_dialled(invite)

    def test_answered_while_an_early_update_is_out(self) -> None:
        """A 200 that crosses our early UPDATE is no answer to its offer."""
        self.start()
        session, invite = self.dialled_early()
        done = session.send_update(with_offer=True)
        update = self.peer.expect("UPDATE")
        self.peer.reply(invite, 200, body=b"")
        self.peer.expect("ACK")
        self.assertTrue(session.is_answered)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.remote_port(session), 40002)
        self.hang_up(session)
        self.finish()

    def test_another_fork_answers(self) -> None:
        """The early dialog of our UPDATE loses: its answer is nothing to the call."""
        self.start()
        session, invite = self.dialled_early()
        done = session.send_update(with_offer=True)
        update = self.peer.expect("UPDATE")
        self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
        self.peer.expect("ACK")
        self.assertEqual(self.remote_port(session), 40006)
        self.peer.reply(update, 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.remote_port(session), 40006)
        self.assertFalse(session.media.is_open)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_a_stream_that_only_a_losing_fork_has_offered(self) -> None:
        """Its handler is told to stop describing it, and it is destroyed."""
        video = Handler("video", media_type="video", create=lambda *args: Deferred())
        self.start(handlers=[Handler(), video])
        session, invite = self.dialled_early(audio())
        offer = audio(version=2) + "m=video 41000 RTP/AVP 31\r\n"
        self.peer.send(self.peer.request_within(invite, "UPDATE", body=offer))
        self.net.run_for(0.1)
        self.assertEqual(video.log, ["claim", "create"])
        self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
        self.peer.expect("ACK")
        self.assertEqual(video.log, ["claim", "create", "destroy"])
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_update_of_a_losing_fork_is_refused(self) -> None:
        """481 or silence for a fork that lost the call does not end the call."""
        for is_answered in (True, False):
            self.start()
            session, invite = self.dialled_early()
            failed: list[Failure] = []
            session.send_update(with_offer=True).addErrback(failed.append)
            update = self.peer.expect("UPDATE")
            self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
            self.peer.expect("ACK")
            if is_answered:
                self.peer.reply(update, 481)
            self.net.run_for(40)
            self.assertFalse(session.is_over)
            self.assertEqual(len(failed), 0 if is_answered else 1)
            session.terminate()
            self.peer.reply(self.peer.expect("BYE"), 200)
            self.finish()

    def test_refused_while_an_early_update_is_out(self) -> None:
        """The refusal of the INVITE ends the UPDATE, too; a retry makes it useless."""

        def again(session: Session, response: Response) -> Any:
            return Retry({"X": "y"}) if response.status == 503 else None

        self.start(Probe(methods=["INVITE"], incoming_response=again))
        session, invite = self.dialled_early()
        done = session.send_update(with_offer=True)
        update = self.peer.expect("UPDATE")
        self.peer.reply(invite, 503)
        second = self.peer.expect("INVITE")
        self.peer.reply(update, 481)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 481)
        self.peer.reply(second, 200, to_tag="new", body=self.peer.sdp(40006))
        self.peer.expect(lambda message: isinstance(message, Request) and message.method == "ACK")
        self.net.run_for(0.1)
        self.assertEqual(self.remote_port(session), 40006)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_slow_offer_and_another_fork(self) -> None:
        """While our early offer is made another fork is heard: the offer is given up."""
        slow: Deferred[Any] = Deferred()

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            return slow.addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

        handler = Handler(create=create)
        self.start(handlers=[handler])
        session, invite = self.dialled_early()
        failed: list[Failure] = []
        session.send_update(with_offer=True).addErrback(failed.append)
        self.peer.reply(invite, 183, to_tag="other", body=self.peer.sdp(40006))
        self.net.run_for(0.1)
        slow.callback(None)
        self.net.run_for(0.1)
        self.assertEqual(len(failed), 1)
        self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
        self.peer.expect("ACK")
        self.assertEqual(self.remote_port(session), 40006)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_preview_is_not_enough(self) -> None:
        """A preview beside a reliable 180 is no answer: our offer waits for the 200."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 183, body=self.peer.sdp())
        self.peer.reply(invite, 180, headers={"Require": "100rel", "RSeq": "1"})
        self.peer.reply(self.peer.expect("PRACK"), 200)
        done = session.send_update(with_offer=True)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("UPDATE"), 0)
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("UPDATE"), 200, body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.hang_up(session)
        self.finish()

    def test_handler_has_nothing_to_offer(self) -> None:
        """Then nothing is sent, and the call stands as it did."""

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            raise NegotiationFailed("no")

        handler = Handler(create=create)
        self.start(handlers=[handler])
        session, _ = self.answered()
        self.failureResultOf(session.send_update(with_offer=True), NegotiationFailed)
        self.assertEqual(self.peer.count("UPDATE"), 0)
        self.assertEqual(self.remote_port(session), 40000)
        self.hang_up(session)
        self.finish()

    def test_hold_and_unhold(self) -> None:
        """They say ``sendonly`` and ``sendrecv`` with a re-INVITE (RFC 3264 8.4)."""
        self.start()
        session, _ = self.answered()
        for method, wanted in ((session.hold, "sendonly"), (session.unhold, "sendrecv")):
            done = method()
            self.peer.reply(self.peer.expect("INVITE"), 200)
            self.peer.expect("ACK")
            self.assertEqual(self.successResultOf(done).status, 200)
            stream = session.media.streams[0]
            assert stream is not None
            self.assertEqual(stream.wanted_direction, wanted)
        self.hang_up(session)
        self.finish()

    def test_outside_any_dialog(self) -> None:
        """An UPDATE that belongs to no dialog: 481."""
        self.start()
        self.peer.send(self.peer.request("UPDATE", f"sip:bob@{US}"), (US, 5060))
        self.assertEqual(self.answer_to("UPDATE").status, 481)
        self.finish()
