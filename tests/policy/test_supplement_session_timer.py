# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The shipped supplement for session timers (:rfc:`4028`), both roles, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import fail

from sipsess.errors import DialogStateError
from sipsess.message import Request, Response
from sipsess.session import EndReason, Session
from sipsess.session.reason import NETWORK
from sipsess.supplements.session_timer import SessionTimer, get_timer
from sipsess.testing import CallPair
from tests.policy.sessions import Probe, SessionTestCase

SUPPORTED = {"Supported": "timer"}


class Wanting(SessionTimer):
    """Asks for timers, short ones."""

    is_wanted = True
    interval = 200


class TimerTestCase(SessionTestCase):
    """One box with the supplement, and what its session ended with."""

    def start(self, *supplements: object, **kwargs: object) -> object:  # type: ignore[override]
        """Begin anew; without arguments, with the supplement as it is shipped."""
        self.ended: EndReason | None = None
        probe = Probe("end", methods=(), session_end=self.note_end)
        chosen = supplements or (SessionTimer(),)
        return super().start(*chosen, probe, **kwargs)  # type: ignore[arg-type]

    def note_end(self, session: Session) -> None:
        """Keep the reason."""
        self.ended = session.end_reason

    def called(self, interval: str | None = "200", supports: bool = True) -> Response:
        """Let the peer call with a Session-Expires; return the 2xx."""
        headers = dict(SUPPORTED) if supports else {}
        if interval is not None:
            headers["Session-Expires"] = interval
        self.invite(headers=headers)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def calling(
        self, headers: Mapping[str, str] | None = None, asked: Mapping[str, str] | None = None
    ) -> Session:
        """Place a call that the peer answers with these headers."""
        session, invite = self.placed(headers=asked)
        self.peer.reply(invite, 200, headers=headers or {})
        self.peer.expect("ACK")
        return session

    def refresh(self, expires: str, within: float = 150.0) -> Request:
        """Wait for our refresh, check what it says, and return it."""
        request = self.peer.expect(is_refresh, within)
        assert isinstance(request, Request)
        self.assertEqual(request.headers.get("Session-Expires"), expires)
        self.assertIn("timer", request.supported)
        return request

    def accept(self, request: Request, expires: str | None) -> None:
        """Accept a refresh of ours."""
        headers = {} if expires is None else {"Session-Expires": expires}
        self.peer.reply(request, 200, headers=headers)
        if request.method == "INVITE":
            self.peer.expect("ACK")

    def expires(self, message: Request | Response) -> str | None:
        """Return a message's Session-Expires."""
        return message.headers.get("Session-Expires")

    def expect_bye(self, within: float) -> Request:
        """Wait for the BYE of an expired session and answer it."""
        bye = self.peer.expect("BYE", within)
        text = 'SIP;cause=408;text="Session timer expired"'
        self.assertEqual(bye.headers.get("Reason"), text)
        self.peer.reply(bye, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.ended, EndReason(NETWORK, "BYE", 408, "the session timer expired"))
        return bye


def is_refresh(message: Request | Response) -> bool:
    """Tell whether a message is a refresh of ours."""
    return isinstance(message, Request) and message.method in ("INVITE", "UPDATE")


class UASTests(TimerTestCase):
    """The peer calls."""

    def test_nobody_asks(self) -> None:
        """Section 9: without Session-Expires there is no timer, no Require and no state."""
        self.start()
        success = self.called(None)
        self.assertIsNone(self.expires(success))
        self.assertNotIn("Require", success.headers)
        self.assertIn("timer", success.supported)
        self.assertIsNone(get_timer(self.session))
        self.net.run_for(4000)
        self.peer.bye(success)
        self.finish()

    def test_refresher_table(self) -> None:
        """Section 9, table 2: who refreshes, and when the 2xx requires timer."""
        for supports, asked, chosen, requires in (
            (False, "200", "200;refresher=uas", False),
            (True, "200", "200;refresher=uac", True),
            (True, "200;refresher=uac", "200;refresher=uac", True),
            (True, "200;refresher=uas", "200;refresher=uas", True),
        ):
            with self.subTest(supports=supports, asked=asked):
                self.start()
                success = self.called(asked, supports)
                self.assertEqual(self.expires(success), chosen)
                self.assertEqual("timer" in success.require, requires)
                self.peer.bye(success)
                self.finish()

    def test_too_short(self) -> None:
        """Section 6 and 9: an interval below ours: 422 with Min-SE, and a longer one is taken."""
        self.start()
        self.invite(headers={**SUPPORTED, "Session-Expires": "89"})
        refusal = self.answer_to("INVITE")
        self.assertEqual((refusal.status, refusal.headers.get("Min-SE")), (422, "90"))
        self.assertEqual(refusal.reason, "Session Interval Too Small")
        self.peer.ack(refusal)
        success = self.called("90")
        self.assertEqual(self.expires(success), "90;refresher=uac")
        self.peer.bye(success)
        self.finish()

    def test_own_minimum(self) -> None:
        """Section 5: an endpoint may want more than 90 s."""
        timer = SessionTimer()
        timer.minimum = 600
        self.start(timer)
        self.invite(headers={**SUPPORTED, "Session-Expires": "599"})
        refusal = self.answer_to("INVITE")
        self.assertEqual((refusal.status, refusal.headers.get("Min-SE")), (422, "600"))
        self.peer.ack(refusal)
        self.finish()

    def test_too_short_for_who_knows_no_timers(self) -> None:
        """Section 9: a caller without timer cannot use a 422; the header of a proxy is ignored."""
        self.start()
        success = self.called("30", supports=False)
        self.assertIsNone(self.expires(success))
        self.net.run_for(100)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.bye(success)
        self.finish()

    def test_garbage(self) -> None:
        """A Session-Expires or Min-SE that is no number: 400."""
        self.start()
        self.invite(headers={**SUPPORTED, "Session-Expires": "soon"})
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 400)
        self.assertEqual(self.box.refused["bad-session-expires"], 1)
        self.peer.ack(refusal)
        self.finish()

    def test_required(self) -> None:
        """Section 7.1: Require: timer is understood."""
        self.start()
        self.invite(headers={"Require": "timer", "Session-Expires": "200"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.assertEqual(self.expires(success), "200;refresher=uac")
        self.peer.bye(success)
        self.finish()

    def test_peer_does_not_refresh(self) -> None:
        """Section 10: no refresh by the end less the third, at most 32 s: BYE with Reason."""
        for interval, at in (("90", 60.0), ("200", 168.0)):
            self.start()
            self.called(interval)
            self.net.run_for(at - 1)
            self.assertEqual(self.peer.count("BYE"), 0)
            self.expect_bye(1.5)
            self.finish()

    def test_peer_refreshes(self) -> None:
        """Section 10: each re-INVITE begins a new interval with the roles as they are."""
        self.start()
        success = self.called()
        for _ in range(3):
            self.net.run_for(100)
            headers = {**SUPPORTED, "Session-Expires": "200;refresher=uac"}
            self.request_within(success, "INVITE", headers=headers, body=self.peer.sdp())
            answer = self.answer_to("INVITE")
            self.assertEqual(self.expires(answer), "200;refresher=uac")
            self.peer.ack(answer)
        self.expect_bye(169)
        self.finish()

    def test_peer_refreshes_by_update(self) -> None:
        """Section 9: the 2xx to an UPDATE says who refreshes, and one without a timer ends it."""
        self.start()
        success = self.called()
        self.net.run_for(100)
        headers = {**SUPPORTED, "Session-Expires": "300;refresher=uac"}
        self.request_within(success, "UPDATE", headers=headers)
        answer = self.answer_to("UPDATE")
        self.assertEqual((answer.status, self.expires(answer)), (200, "300;refresher=uac"))
        self.assertIn("timer", answer.require)
        self.request_within(success, "UPDATE", headers={**headers, "Session-Expires": "80"})
        answer = self.answer_to("UPDATE")
        self.assertEqual((answer.status, answer.headers.get("Min-SE")), (422, "90"))
        self.net.run_for(260)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.request_within(success, "UPDATE", headers=SUPPORTED)
        self.assertIsNone(self.expires(self.answer_to("UPDATE")))
        self.net.run_for(1000)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.bye(success)
        self.finish()

    def test_refresh_without_a_refresher_keeps_the_roles(self) -> None:
        """Section 7.4: who refreshed goes on to, when the request leaves it open."""
        for before, after in (("uac", "uac"), ("uas", "uas")):
            self.start()
            success = self.called(f"200;refresher={before}")
            headers = {**SUPPORTED, "Session-Expires": "300"}
            self.request_within(success, "INVITE", headers=headers, body=self.peer.sdp())
            answer = self.answer_to("INVITE")
            self.assertEqual(self.expires(answer), f"300;refresher={after}")
            self.peer.ack(answer)
            self.net.run_for(0.1)
            self.peer.bye(success)
            self.finish()

    def test_refresh_that_is_too_short(self) -> None:
        """Section 9: a 422 to a refresh changes nothing; the call and its timer go on."""
        self.start()
        success = self.called()
        self.net.run_for(100)
        headers = {**SUPPORTED, "Session-Expires": "60"}
        self.request_within(success, "INVITE", headers=headers, body=self.peer.sdp())
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 422)
        self.peer.ack(refusal)
        self.expect_bye(69)
        self.finish()

    def test_refresh_that_is_refused_later(self) -> None:
        """A re-INVITE that somebody else refuses is no refresh."""
        self.start()
        success = self.called()
        self.net.run_for(100)
        headers = {**SUPPORTED, "Session-Expires": "200"}
        self.request_within(
            success, "INVITE", headers=headers, body=b"v=0\r\nx", content_type="application/sdp"
        )
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 400)
        self.peer.ack(refusal)
        self.expect_bye(69)
        self.finish()

    def test_timer_ends_when_the_refresher_stops_it(self) -> None:
        """Section 9: a re-INVITE of the refresher without Session-Expires ends the timer."""
        self.start()
        success = self.called()
        for _ in range(2):
            self.request_within(success, "INVITE", headers=SUPPORTED, body=self.peer.sdp())
            answer = self.answer_to("INVITE")
            self.assertIsNone(self.expires(answer))
            self.peer.ack(answer)
            self.net.run_for(300)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.bye(success)
        self.finish()

    def test_our_timer_goes_on(self) -> None:
        """What this side refreshes goes on when the peer's re-INVITE does not speak of it."""
        self.start()
        success = self.called("200;refresher=uas")
        self.request_within(success, "INVITE", body=self.peer.sdp())
        answer = self.answer_to("INVITE")
        self.assertEqual(self.expires(answer), "200;refresher=uas")
        self.assertNotIn("Require", answer.headers)
        self.peer.ack(answer)
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.finish()

    def test_other_supplement_requires_timer_too(self) -> None:
        """Require: timer is written once."""
        add = Probe("add", 20, outgoing_response=lambda s, r: r.headers.set("Require", "timer"))
        self.start(SessionTimer(), add)
        success = self.called()
        self.assertEqual(success.headers.values("Require"), ["timer"])
        self.peer.bye(success)
        self.finish()

    def test_wanted(self) -> None:
        """Section 9: a callee that wants a timer adds it, refreshes, and keeps the Min-SE."""
        self.start(Wanting())
        self.invite(headers={"Min-SE": "300"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.assertEqual(self.expires(success), "300;refresher=uas")
        request = self.refresh("300;refresher=uac", 151)
        self.accept(request, "300;refresher=uac")
        self.net.run_for(1)
        self.peer.bye(success)
        self.finish()


class UACTests(TimerTestCase):
    """This side calls."""

    def test_nothing_is_asked_for(self) -> None:
        """Section 7.1: timers are supported, and not asked for; a 2xx without one begins none."""
        self.start()
        session, invite = self.placed()
        self.assertIn("timer", invite.supported)
        self.assertIsNone(self.expires(invite))
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.assertIsNone(get_timer(session))
        self.net.run_for(4000)
        self.hang_up(session)
        self.finish()

    def test_peer_wants_us_to_refresh(self) -> None:
        """Section 7.2 and 10: refresher=uac: we refresh after half of the interval, for ever."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac", "Require": "timer"})
        for _ in range(3):
            self.peer.expect_silence(99)
            self.accept(self.refresh("200;refresher=uac", 2), "200;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_peer_refreshes(self) -> None:
        """Section 10: refresher=uas: we wait for the peer, and hang up when nothing comes."""
        self.start()
        self.calling({"Session-Expires": "90;refresher=uas"})
        self.peer.expect_silence(59)
        self.expect_bye(1.5)
        self.finish()

    def test_refresher_is_missing(self) -> None:
        """A 2xx that forgets to say who refreshes: we do."""
        self.start()
        session = self.calling({"x": "200"})
        self.accept(self.refresh("200;refresher=uac", 101), "200;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_own_reinvite_keeps_the_roles(self) -> None:
        """Section 7.4: a re-INVITE of ours says that the peer refreshes, when it does."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uas"})
        self.net.run_for(100)
        session.send_reinvite()
        self.accept(self.refresh("200;refresher=uas", 1), "200;refresher=uas")
        self.net.run_for(160)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.expect_bye(10)
        self.finish()

    def test_absence_ends_the_timer(self) -> None:
        """Section 7.2: a 2xx to a refresh without Session-Expires: the session has no timer."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac"})
        self.accept(self.refresh("200;refresher=uac", 101), None)
        self.peer.expect_silence(1000)
        self.hang_up(session)
        self.finish()

    def test_garbage_in_a_success(self) -> None:
        """What cannot be read in a 2xx says nothing; the call stands."""
        self.start()
        session = self.calling({"Session-Expires": "soon"})
        self.assertIsNone(get_timer(session))
        self.hang_up(session)
        self.finish()

    def test_interval_below_what_is_allowed(self) -> None:
        """Section 5: a peer cannot make us refresh more often than 90 s allow."""
        self.start()
        session = self.calling({"Session-Expires": "1;refresher=uac"})
        self.peer.expect_silence(44)
        self.accept(self.refresh("90;refresher=uac", 2), "90;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_asked_by_the_application(self) -> None:
        """Section 7.1: a Session-Expires that the application sets is left alone."""
        self.start(Wanting())
        session, invite = self.placed(headers={"Session-Expires": "7200"})
        self.assertEqual(invite.headers.get_all("Session-Expires"), ["7200"])
        self.peer.reply(invite, 200, headers={"Session-Expires": "7200;refresher=uas"})
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_422(self) -> None:
        """Section 7.3: after a 422 the INVITE comes again with Min-SE and an interval that fits."""
        self.start()
        session, invite = self.placed(headers={"Session-Expires": "120"})
        self.peer.reply(invite, 422, headers={"Min-SE": "300"})
        self.peer.expect("ACK")
        again = self.peer.expect("INVITE")
        self.assertEqual((self.expires(again), again.headers.get("Min-SE")), ("300", "300"))
        self.assertEqual(again.call_id, invite.call_id)
        self.assertEqual(again.cseq.number, invite.cseq.number + 1)
        self.peer.reply(again, 422, headers={"Min-SE": "400"})
        self.peer.expect("ACK")
        again = self.peer.expect("INVITE")
        self.assertEqual((self.expires(again), again.headers.get("Min-SE")), ("400", "400"))
        self.peer.reply(again, 200, headers={"Session-Expires": "400;refresher=uac"})
        self.peer.expect("ACK")
        refresh = self.refresh("400;refresher=uac", 201)
        self.assertEqual(refresh.headers.get("Min-SE"), "400")
        self.accept(refresh, "400;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_422_that_teaches_nothing(self) -> None:
        """Section 7.3: without a Min-SE, or with the same one again, the 422 is the answer."""
        for headers in ({}, {"Min-SE": "x"}, {"Min-SE": "300"}):
            self.start()
            session, invite = self.placed(headers={"Session-Expires": "200"})
            if headers == {"Min-SE": "300"}:
                self.peer.reply(invite, 422, headers=headers)
                self.peer.expect("ACK")
                invite = self.peer.expect("INVITE")
            self.peer.reply(invite, 422, headers=headers)
            self.peer.expect("ACK")
            self.net.run_for(0.1)
            self.assertTrue(session.is_over)
            self.finish()

    def test_422_though_a_proxy_asked(self) -> None:
        """Section 7.3: a 422 to what a proxy has added is followed too; ours keep the larger."""
        for supplement, asked in ((SessionTimer(), "150"), (Wanting(), "200")):
            self.start(supplement)
            session, invite = self.placed()
            self.peer.reply(invite, 422, headers={"Min-SE": "150"})
            self.peer.expect("ACK")
            again = self.peer.expect("INVITE")
            self.assertEqual(self.expires(again), asked)
            self.peer.reply(again, 486)
            self.peer.expect("ACK")
            self.net.run_for(0.1)
            self.assertTrue(session.is_over)
            self.finish()

    def test_422_to_a_refresh(self) -> None:
        """Section 7.4: a refresh comes again too, with its role and the larger interval."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac"})
        request = self.refresh("200;refresher=uac", 101)
        self.peer.reply(request, 422, headers={"Min-SE": "600"})
        again = self.refresh("600;refresher=uac", 1)
        self.assertEqual(again.headers.get("Min-SE"), "600")
        self.accept(again, "600;refresher=uac")
        self.net.run_for(250)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.hang_up(session)
        self.finish()

    def test_refresh_by_update(self) -> None:
        """Section 7.4: a peer that allows UPDATE gets one, without an offer; a 422 is followed."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac", "Allow": "INVITE, UPDATE"})
        request = self.refresh("200;refresher=uac", 101)
        self.assertEqual((request.method, request.body), ("UPDATE", b""))
        self.assertEqual(request.headers.values("Supported").count("timer"), 1)
        self.peer.reply(request, 422, headers={"Min-SE": "300"})
        request = self.refresh("300;refresher=uac", 1)
        self.accept(request, "300;refresher=uac")
        self.peer.expect_silence(149)
        self.accept(self.refresh("300;refresher=uac", 2), "300;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_update_gone_wrong_ends_the_call(self) -> None:
        """Section 10: 481 or no answer to a refresh by UPDATE: BYE."""
        for status in (481, None):
            self.start()
            self.calling({"Session-Expires": "200;refresher=uac", "Allow": "UPDATE"})
            request = self.refresh("200;refresher=uac", 101)
            if status is not None:
                self.peer.reply(request, status)
            self.peer.reply(self.peer.expect("BYE", 40), 200)
            self.finish()

    def test_refresh_gone_wrong_ends_the_call(self) -> None:
        """Section 10: 408, 481 or no answer to a refresh: BYE."""
        for status in (408, 481, None):
            self.start()
            self.calling({"Session-Expires": "200;refresher=uac"})
            request = self.refresh("200;refresher=uac", 101)
            if status is not None:
                self.peer.reply(request, status)
            bye = self.peer.expect("BYE", 40)
            self.peer.reply(bye, 200)
            self.finish()

    def test_refresh_refused_is_tried_again(self) -> None:
        """Section 10: another refusal ends nothing; half of the time that is left later, again."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac"})
        self.peer.reply(self.refresh("200;refresher=uac", 101), 500)
        self.peer.expect("ACK")
        self.peer.expect_silence(30)
        self.accept(self.refresh("200;refresher=uac", 5), "200;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_refresh_always_refused(self) -> None:
        """Section 10: when all refreshes are refused the session ends at its time."""
        self.start()
        self.calling({"Session-Expires": "200;refresher=uac"})
        count = 0
        while not self.peer.count("BYE"):
            found = self.peer.expect(lambda item: is_refresh(item) or is_bye(item), 101)
            if is_bye(found):
                break
            assert isinstance(found, Request)
            count += 1
            self.peer.reply(found, 500)
            self.net.run_for(0.5)
        assert isinstance(found, Request)
        self.peer.reply(found, 200)
        self.assertLessEqual(count, 5)
        self.assertEqual(self.ended, None)
        self.net.run_for(0.1)
        self.assertEqual(self.ended, EndReason(NETWORK, "BYE", 408, "the session timer expired"))
        self.finish()

    def test_refresh_that_cannot_be_made(self) -> None:
        """A refresh that fails on this side is tried again as well."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac"})
        timer = get_timer(session)
        assert timer is not None
        supplement = next(item for item in session.chain.supplements if item.name != "end")
        assert isinstance(supplement, SessionTimer)
        supplement.refresh = lambda session: fail(DialogStateError("no"))  # type: ignore[method-assign]
        self.net.run_for(101)
        del supplement.refresh
        self.assertIn("not refreshed", self.lines(session.call_id))
        self.accept(self.refresh("200;refresher=uac", 40), "200;refresher=uac")
        self.hang_up(session)
        self.finish()

    def test_no_refresh_when_the_call_is_ending(self) -> None:
        """Section 10: nothing is refreshed while our BYE waits for its answer."""
        self.start()
        session = self.calling({"Session-Expires": "200;refresher=uac"})
        self.net.run_for(95)
        session.terminate()
        self.net.run_for(20)
        self.assertEqual(self.peer.count(is_refresh), 1)
        self.finish()

    def test_other_forks(self) -> None:
        """13.2.2.4: the 2xx of a fork that is hung up changes nothing in the timer."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 200, headers={"Session-Expires": "200;refresher=uas"})
        self.peer.expect("ACK")
        self.peer.reply(
            invite, 200, headers={"Session-Expires": "90;refresher=uac"}, to_tag="other"
        )
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        timer = get_timer(session)
        assert timer is not None
        assert timer.current is not None
        self.assertEqual((timer.current.interval, timer.is_refresher), (200, False))
        self.hang_up(session)
        self.finish()


def is_bye(message: Request | Response) -> bool:
    """Tell whether a message is a BYE."""
    return isinstance(message, Request) and message.method == "BYE"


class PairTests(TimerTestCase):
    """Two agents of ours."""

    def test_both_sides_agree(self) -> None:
        """A wanted timer keeps a call alive over many intervals, without a word in between."""
        pair = CallPair(caller_supplements=[Wanting()], callee_supplements=[SessionTimer()])
        call = pair.dial()
        pair.net.run_for(2000)
        self.assertFalse(call.is_over)
        assert call.callee is not None
        ours, theirs = get_timer(call.session), get_timer(call.callee)
        assert ours is not None
        assert theirs is not None
        self.assertEqual((ours.is_refresher, theirs.is_refresher), (True, False))
        call.hang_up()
        pair.settle()
