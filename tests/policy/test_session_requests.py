# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Requests within the call, in both directions: none is left without an answer."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.errors import DialogStateError, HeaderValueError, Timeout
from sipsess.message import Request, Response
from sipsess.session import Session
from sipsess.session.outgoing import MAX_ATTEMPTS
from sipsess.supplement import Retry
from sipsess.testing import ScriptedPeer
from tests.policy.agents import US, ring
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio


def find_sessions() -> list[Session]:
    """Return all sessions of this process."""
    return [item for item in gc.get_objects() if type(item) is Session]


class IncomingTests(SessionTestCase):
    """What the peer asks within a dialog."""

    def _table(self, success: Response, table: dict[tuple[str, str], int]) -> None:
        for (method, body), status in table.items():
            headers = {"Event": "presence"} if method in ("SUBSCRIBE", "NOTIFY") else {}
            self.request_within(success, method, body=body, headers=headers)
            answer = self.answer_to(method)
            self.assertEqual((method, body, answer.status), (method, body, status))
            if status == 405:
                self.assertIn("INVITE", answer.headers.get("Allow") or "")

    def test_nobody_supports_it(self) -> None:
        """Each method that no plugin declares gets its own refusal (8.2.1, 21.5.2)."""
        self.start()
        success = self.call()
        self._table(
            success,
            {
                ("INFO", "Signal=1"): 405,
                ("INFO", ""): 405,
                ("UPDATE", ""): 200,
                ("REFER", ""): 405,
                ("PRACK", ""): 481,
                ("MESSAGE", "hello"): 405,
                ("SUBSCRIBE", ""): 489,
                ("NOTIFY", ""): 489,
                ("PUBLISH", ""): 405,
                ("OPTIONS", ""): 200,
                ("FOO", ""): 501,
            },
        )
        self.hang_up(self.session)
        self.finish()

    def test_nobody_wants_it(self) -> None:
        """A method that a plugin declares, and then lets pass, is refused all the same."""
        probe = Probe()
        probe.allow = frozenset({"INFO", "MESSAGE", "FOO"})
        probe.recv_info = frozenset({"dtmf"})
        self.start(probe)
        success = self.call()
        self._table(
            success,
            {
                ("INFO", "Signal=1"): 415,
                ("INFO", ""): 200,
                ("MESSAGE", "hello"): 415,
                ("FOO", ""): 501,
            },
        )
        self.request_within(success, "INFO", headers={"Info-Package": "odd"}, body="x")
        refusal = self.answer_to("INFO")
        self.assertEqual((refusal.status, refusal.headers.get("Recv-Info")), (469, "dtmf"))
        self.assertIn("unclaimed", self.lines(success.call_id))
        self.hang_up(self.session)
        self.finish()

    def test_no_package_at_all(self) -> None:
        """Who takes no INFO package says so with ``nil`` (RFC 6086 4.2.2, 5.2.2)."""
        probe = Probe()
        probe.allow = frozenset({"INFO"})
        self.start(probe)
        success = self.call()
        self.request_within(success, "INFO", headers={"Info-Package": "odd"}, body="x")
        refusal = self.answer_to("INFO")
        self.assertEqual((refusal.status, refusal.headers.get("Recv-Info")), (469, "nil"))
        self.hang_up(self.session)
        self.finish()

    def test_options_says_what_the_session_supports(self) -> None:
        """OPTIONS within the dialog is answered by the session (11.2)."""
        self.start()
        success = self.call()
        self.request_within(success, "OPTIONS")
        answer = self.answer_to("OPTIONS")
        self.assertEqual(
            answer.headers.get("Allow"), "ACK, BYE, CANCEL, INVITE, OPTIONS, PRACK, UPDATE"
        )
        self.assertEqual(answer.headers.get("Accept"), "application/sdp")
        self.assertEqual(answer.to_tag, success.to_tag)
        self.hang_up(self.session)
        self.finish()

    def test_too_low_a_cseq(self) -> None:
        """A request out of order gets 500 and reaches no supplement (12.2.2)."""
        probe = Probe()
        self.start(probe)
        success = self.call()
        self.request_within(success, "OPTIONS", cseq=10)
        self.answer_to("OPTIONS")
        self.request_within(success, "OPTIONS", cseq=9)
        self.assertEqual(self.answer_to("OPTIONS").status, 500)
        self.assertEqual(probe.count("incoming_request OPTIONS"), 1)
        self.assertEqual(self.box.refused["cseq-too-low"], 1)
        self.peer._cseq[success.call_id] = 10
        self.hang_up(self.session)
        self.finish()

    def test_a_bye_that_a_supplement_answers(self) -> None:
        """A 200 to BYE ends the call, whoever sends it; a refusal on purpose keeps the call."""

        def refuse(session: Session, request: Request) -> Any:
            from sipsess.supplement import Verdict

            session.send_response(statuses.pop(), request)
            return Verdict.HANDLED

        statuses = [200, 401]
        self.start(Probe(methods=["BYE"], incoming_request=refuse))
        success = self.call()
        self.request_within(success, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 401)
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.request_within(success, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.net.run_for(0.1)
        self.assertEqual(list(self.box.manager.sessions), [])
        self.finish()

    def test_send_response_checks(self) -> None:
        """Statuses and headers that cannot be sent are refused at once, and nothing is sent."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        session = self.session
        for status in (99, 100, 700):
            self.assertRaises(ValueError, session.send_response, status)
        self.assertRaises(HeaderValueError, session.send_response, 486, headers={"X": "a\nb"})
        self.assertRaises(HeaderValueError, session.send_response, 200, reason="a\nb")
        foreign = self.peer.request("INFO", f"sip:{US}")
        self.assertRaises(DialogStateError, session.send_response, 200, foreign)
        self.successResultOf(session.send_response(183, headers={"X-Early": "yes"}))
        self.assertEqual(self.peer.expect(183).headers.get("X-Early"), "yes")
        response = self.successResultOf(session.send_response(486, reason="Engaged"))
        self.assertEqual(response.reason, "Engaged")
        self.peer.ack(self.peer.expect(486))
        self.assertRaises(DialogStateError, session.send_response, 486)
        del invite
        self.finish()

    def test_a_lost_flow(self) -> None:
        """A request whose flow is lost before it has an answer is forgotten."""
        self.start(Probe(methods=["INVITE", "OPTIONS"]))
        success = self.call()
        session = self.session
        probe = self.box.manager.chain.supplements[0]
        assert isinstance(probe, Probe)
        probe.acts["incoming_request"] = lambda session, request: Deferred()
        self.request_within(success, "INVITE", body=self.peer.sdp())
        self.net.run_for(0.1)
        self.box.core.flow_lost(session.flow, self.net.seconds())
        self.assertIsNone(session.invite_server.current)
        self.assertIn("answer lost", self.lines(success.call_id))
        del probe.acts["incoming_request"]
        self.hang_up(session)
        self.finish()

    def test_a_lost_flow_ends_what_was_not_answered(self) -> None:
        """The first INVITE is the call: it ends with its flow."""
        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        session = self.session
        self.box.core.flow_lost(session.flow, self.net.seconds())
        self.assertEqual(session.end_reason and session.end_reason.by, "network")
        self.assertEqual(list(self.box.manager.sessions), [])
        self.finish()


class OutgoingTests(SessionTestCase):
    """What this side asks within a dialog."""

    def test_send_request(self) -> None:
        """It leaves at once, in call order, and gives the final response, whatever it says."""
        self.start()
        session, _ = self.answered()
        first = session.send_request("INFO", headers={"X": "1"}, body=b"1", content_type="text/x")
        second = session.send_request("MESSAGE", body=b"2")
        info, message = self.peer.expect("INFO"), self.peer.expect("MESSAGE")
        self.assertLess(info.cseq.number, message.cseq.number)
        self.assertEqual((info.headers.get("X"), info.content_type), ("1", "text/x"))
        self.assertEqual(message.content_type, "application/octet-stream")
        self.peer.reply(message, 500)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(second).status, 500)
        self.assertNoResult(first)
        self.peer.reply(info, 100)
        self.net.run_for(0.1)
        self.assertNoResult(first)
        self.peer.reply(info, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(first).status, 200)
        self.hang_up(session)
        self.finish()

    def test_what_is_not_sent_so(self) -> None:
        """INVITE, ACK, BYE and CANCEL have their own calls; without dialog nothing is sent."""
        self.start()
        session, invite = self.placed()
        self.assertRaises(DialogStateError, session.send_request, "INFO")
        for method in ("INVITE", "ACK", "BYE", "CANCEL"):
            self.assertRaises(DialogStateError, session.send_request, method)
        self.peer.reply(invite, 486)
        self.finish()

    def test_481_and_408_end_the_call(self) -> None:
        """The peer knows no such dialog: the call is over (12.2.1.2)."""
        for status in (481, 408):
            self.start()
            session, _ = self.answered()
            result = session.send_request("INFO")
            self.peer.reply(self.peer.expect("INFO"), status)
            self.peer.reply(self.peer.expect("BYE"), 200)
            self.assertEqual(self.successResultOf(result).status, status)
            self.assertIn(f"INFO by the far end: {status}", str(session.end_reason))
            self.finish()

    def test_no_answer_ends_the_call(self) -> None:
        """No response at all is a 408 (12.2.1.2)."""
        self.start()
        session, _ = self.answered()
        result = session.send_request("INFO")
        self.net.run_for(33)
        self.failureResultOf(result, Timeout)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.assertEqual(str(session.end_reason), "INFO by the network: 408 no answer")
        self.finish()

    def test_the_end_fails_what_waits(self) -> None:
        """When the call ends, its requests fail with SessionEnded, quietly if nobody looks."""
        self.start()
        session, invite = self.answered()
        watched = session.send_request("INFO")
        outcome: list[Any] = []
        watched.addErrback(outcome.append)
        session.send_request("MESSAGE")
        cancelled = session.send_request("MESSAGE")
        cancelled.addErrback(lambda failure: None)
        cancelled.cancel()
        self.request_within(invite, "BYE")
        self.answer_to("BYE")
        self.assertEqual(str(outcome[0].value.reason), "BYE by the far end")
        self.peer.reply(self.peer.expect("INFO"), 200)
        self.finish()

    def test_cancelled_deferreds_hurt_nobody(self) -> None:
        """Who cancels the Deferred of a request hears nothing more of it."""
        self.start()
        session, _ = self.answered()
        for outcome in (200, None):
            result = session.send_request("OPTIONS")
            result.addErrback(lambda failure: None)
            result.cancel()
            options = self.peer.expect("OPTIONS")
            if outcome is not None:
                self.peer.reply(options, outcome)
            else:
                self.net.run_for(33)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()


class RetryTests(SessionTestCase):
    """A supplement that asks for another attempt."""

    def test_422(self) -> None:
        """The INVITE comes again: new branch, CSeq + 1, same dialog ids, nothing doubled."""
        attempts: list[int] = []

        def stamp(session: Session, request: Request) -> None:
            request.headers.add("X-Stamp", "once")
            attempts.append(request.attempt)

        def retry(session: Session, response: Response) -> Retry | None:
            if response.status != 422:
                return None
            return Retry({"Session-Expires": response.headers.get("Min-SE"), "X-Old": None})

        self.start(Probe(outgoing_request=stamp, incoming_response=retry))
        session, first = self.placed(headers={"Session-Expires": "90", "X-Old": "1"})
        self.peer.reply(first, 180)
        self.peer.reply(first, 422, headers={"Min-SE": "1800"})
        second = self.peer.expect("INVITE")
        self.assertEqual(second.headers.get_all("Session-Expires"), ["1800"])
        self.assertNotIn("X-Old", second.headers)
        self.assertEqual(second.headers.get_all("X-Stamp"), ["once"])
        self.assertEqual(second.headers.get_all("Via")[1:], [])
        self.assertEqual((first.cseq.number, second.cseq.number), (1, 2))
        self.assertNotEqual(first.via.branch, second.via.branch)
        self.assertEqual(first.call_id, second.call_id)
        self.assertEqual(first.from_tag, second.from_tag)
        self.assertEqual(first.body, second.body)
        self.assertEqual(session.dialogs, {})
        self.peer.reply(second, 200)
        ack = self.peer.expect(lambda m: isinstance(m, Request) and m.cseq.number == 2)
        self.assertEqual(ack.cseq.method, "ACK")
        self.net.run_for(0.1)
        self.assertEqual(attempts, [0, 1, 0])
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.cseq.number, 3)
        self.peer.reply(bye, 200)
        self.finish()

    def test_limit(self) -> None:
        """A peer that always asks for more loses after MAX_ATTEMPTS."""
        self.start(Probe(incoming_response=lambda *args: Retry({"Authorization": "x"})))
        session, invite = self.placed()
        for _ in range(MAX_ATTEMPTS - 1):
            self.peer.reply(invite, 401)
            invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 401)
        self.net.run_for(0.5)
        self.assertEqual(self.peer.count("INVITE"), MAX_ATTEMPTS)
        self.assertEqual(str(session.end_reason), "INVITE by the far end: 401 Unauthorized")
        self.assertIn("no more retries", self.lines(session.call_id))
        self.finish()

    def test_other_uri(self) -> None:
        """A redirection may be followed: another Request-URI."""

        def follow(session: Session, response: Response) -> Retry | None:
            return Retry(uri="sip:other@192.0.2.9") if response.status == 302 else None

        self.start(Probe(incoming_response=follow))
        _, invite = self.placed()
        self.peer.reply(invite, 302)
        second = self.peer.expect("INVITE")
        self.assertEqual(second.uri, "sip:other@192.0.2.9")
        self.peer.reply(second, 200)
        self.peer.expect(lambda m: m.cseq.method == "ACK" and m.cseq.number == 2)
        (session,) = self.box.manager.sessions
        self.hang_up(session)
        self.finish()

    def test_other_host(self) -> None:
        """A redirection to another host is sent there."""

        def follow(session: Session, response: Response) -> Retry | None:
            return Retry(uri="sip:other@192.0.2.77") if response.status == 302 else None

        self.start(Probe(incoming_response=follow))
        other = ScriptedPeer(self.net.host("192.0.2.77", name="other"))
        session, invite = self.placed()
        self.peer.reply(invite, 302)
        self.peer.expect("ACK")
        second = other.expect("INVITE")
        self.assertEqual(second.cseq.number, 2)
        other.reply(second, 486)
        other.expect("ACK")
        self.assertEqual(str(session.end_reason), "INVITE by the far end: 486 Busy Here")
        self.finish()

    def test_not_after_cancel(self) -> None:
        """A call that is being cancelled is not tried again."""
        self.start(Probe(incoming_response=lambda *args: Retry({"X": "y"})))
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.flushLoggedErrors(TypeError)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 481)
        self.peer.reply(invite, 487)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("INVITE"), 1)
        self.assertEqual(self.peer.count("CANCEL"), 1)
        self.finish(failures=1)

    def test_within_the_call(self) -> None:
        """Requests within the call, re-INVITE and BYE too, count on with the dialog's CSeq."""
        self.start(
            Probe(
                incoming_response=lambda session, response: (
                    Retry({"Authorization": "x"}) if response.status == 401 else None
                )
            )
        )
        session, _ = self.answered()
        result = session.send_request("INFO")
        for status in (401, 200):
            self.peer.reply(self.peer.expect("INFO"), status)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(result).status, 200)
        reinvited = session.send_reinvite()
        for status in (401, 200):
            self.peer.reply(self.peer.expect("INVITE"), status)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(reinvited).status, 200)
        ack = [m for m in self.peer.received if m.cseq.method == "ACK"][-1]
        self.assertEqual(ack.headers.get("Authorization"), "x")
        waiting = session.send_request("INFO")
        info = self.peer.expect("INFO")
        session.terminate()
        bye = self.peer.expect("BYE")
        self.peer.reply(info, 401)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(waiting).status, 401)
        self.peer.reply(bye, 401)
        second = self.peer.expect("BYE")
        self.assertEqual(second.cseq.number, bye.cseq.number + 1)
        self.peer.reply(second, 200)
        self.finish()


class IncomingReinviteTests(SessionTestCase):
    """Re-INVITEs of the peer."""

    def test_body_of_another_type(self) -> None:
        """A body that is not understood gets 415 with Accept; the call goes on."""
        self.start()
        success = self.call()
        self.request_within(success, "INVITE", body="hello", content_type="text/plain")
        refusal = self.peer.expect(415)
        self.peer.ack(refusal)
        self.assertEqual(refusal.headers.get("Accept"), "application/sdp")
        self.hang_up(self.session)
        self.finish()

    def test_an_accepted_body_is_no_offer(self) -> None:
        """A body that a plugin reads is not taken for SDP: the 200 brings our offer."""
        probe = Probe()
        probe.accept = frozenset({"text/plain"})
        self.start(probe)
        self.invite(body="hello", content_type="text/plain")
        success = self.peer.expect(200)
        self.assertIn(b"m=audio", success.body)
        self.peer.ack(success, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.hang_up(self.session)
        self.finish()

    def test_answered_while_a_supplement_thinks(self) -> None:
        """An application that answers does not wait for a supplement; there is one 200."""
        described: Deferred[None] = Deferred()
        waiting: list[Deferred[None]] = [Deferred()]

        def think(session: Session, request: Request) -> Any:
            return waiting[0] if request.to_tag else None

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            media = sdp.media("audio", 40000, "RTP/AVP", ["0"])
            is_first = handler.log.count("create") == 1
            return media if is_first else described.addCallback(lambda _: media)

        handler = Handler(create=create)
        self.start(Probe(methods=["INVITE"], incoming_request=think), handlers=[handler])
        success = self.call()
        self.request_within(success, "INVITE", body=audio(version=2))
        self.net.run_for(0.1)
        self.session.send_response(200)
        waiting.pop().callback(None)
        described.callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(1)
        self.assertEqual(self.peer.count(200), 2)
        self.hang_up(self.session)
        self.finish()
        # An error that nobody has heard is logged now.
        gc.collect()

    def test_while_the_first_is_unanswered(self) -> None:
        """A second INVITE before the first is answered gets 500 with Retry-After (14.2)."""
        self.start(play=ring)
        first = self.invite()
        ringing = self.peer.expect(180)
        self.request_within(ringing, "INVITE", body=audio())
        refusal = self.peer.expect(500)
        self.assertIn(int(refusal.headers.get("Retry-After") or "99"), range(11))
        self.peer.ack(refusal)
        self.peer.cancel(first)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_expires(self) -> None:
        """An INVITE that nobody answers before its Expires gets 487 (13.3.1)."""
        self.start(play=ring)
        self.invite(headers={"Expires": "20"})
        self.peer.expect(180)
        self.peer.expect_silence(19)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_a_provisional_response_each_minute(self) -> None:
        """13.3.1.1: who rings for long says so each minute, with the last thing that he said."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        self.net.run_for(150)
        self.assertEqual(self.peer.count(180), 3)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_a_silent_application_is_heard_of_too(self) -> None:
        """13.3.1.1: when nothing was said for a minute, a 183 is."""

        async def wait(session: Session) -> None:
            await Deferred()

        self.start(play=wait)
        invite = self.invite()
        self.net.run_for(61)
        self.peer.expect(183)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_reinvite_while_our_invite_is_pending(self) -> None:
        """14.2: 491, in the early dialog too, whether or not an offer is open."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 183, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.request_within(invite, "INVITE")
        refusal = self.peer.expect(491)
        self.peer.ack(refusal)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.finish()

    def test_unacknowledged_reinvites_are_limited(self) -> None:
        """A peer that re-INVITEs and never acknowledges is told to wait."""
        self.start()
        success = self.call()
        for _ in range(2):
            self.request_within(success, "INVITE", body=audio(41000))
            self.answer_to("INVITE")
        self.request_within(success, "INVITE", body=audio(41000))
        refusal = self.peer.expect(500)
        self.assertEqual(refusal.headers.get("Retry-After"), "5")
        self.peer.ack(refusal)
        self.net.run_for(33)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_a_session_that_is_over_is_let_go(self) -> None:
        """The peer's transactions live on for 32 s, but they do not hold the session."""
        # Other tests may hold sessions of theirs, with the same Call-ID.
        before = find_sessions()
        self.start()
        success = self.call()
        self.peer.bye(success)
        self.answer_to("BYE")
        self.net.run_for(0.1)
        self.assertNotEqual(self.box.core.layer.leftovers(), [])
        gc.collect()
        after = [item.call_id for item in find_sessions() if item not in before]
        self.assertEqual(after, [])
        self.finish()

    def test_no_bye_before_the_ack_of_a_reinvite(self) -> None:
        """15: our BYE waits for the ACK of our 200 to a re-INVITE."""
        self.start()
        success = self.call()
        self.request_within(success, "INVITE", body=audio(41000))
        answer = self.answer_to("INVITE")
        self.session.terminate()
        self.net.run_for(1)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.ack(answer)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_expires_of_an_answered_call(self) -> None:
        """Once the call is answered, the Expires of its INVITE says nothing; nor does a bad one."""
        for expires in ("1", "soon", "9" * 20):
            self.start()
            self.invite(headers={"Expires": expires})
            success = self.peer.expect(200)
            self.peer.ack(success)
            self.net.run_for(5)
            self.assertTrue(self.session.is_answered)
            self.hang_up(self.session)
            self.finish()

    def test_a_handler_that_never_comes(self) -> None:
        """A re-INVITE whose handler hangs is answered at last, and the media is as before."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()
        handler.create = lambda *args: Deferred()
        self.request_within(success, "INVITE", body=audio(41000))
        self.net.run_for(181)
        self.peer.ack(self.answer_to("INVITE"))
        self.assertFalse(self.session.media.is_open)
        handler.create = None
        self.hang_up(self.session)
        self.finish()
