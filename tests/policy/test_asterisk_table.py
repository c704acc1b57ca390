# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Probes that other SIP servers are known to answer wrongly or not at all, with the RFC's answer.

Each test is one probe on the wire: a scripted peer sends it to an agent as it is shipped, with the
audio handler and the supplements for INFO and session timers, and looks at what comes back.
"""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.message import Request, Response, build_ack
from sipsess.sdp import SessionDescription, parse
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.session_timer import SessionTimer
from sipsess.testing import Link, ScriptedPeer, VirtualNetwork
from sipsess.testing.agent import Agent
from sipsess.testing.pair import AnsweringApplication

US = ("192.0.2.1", 5060)


class Ringing(Application):
    """Rings, and never answers."""

    name = "ringing"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.session.send_response(180)
        await Deferred()


class Early(Application):
    """Sends media before it answers, which it never does."""

    name = "early"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.session.send_response(183, with_media=True)
        await Deferred()


class Digits(Application):
    """Answers, and writes down each key."""

    name = "digits"

    def __init__(self) -> None:
        self.pressed = ""

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await call.answer()
        while True:
            self.pressed += await call.read_digits(1, timeout=30)


class ProbeTestCase(SynchronousTestCase):
    """An agent as shipped, and a scripted peer."""

    def setUp(self) -> None:
        """Begin anew."""
        self.net = VirtualNetwork(link=Link(delay=0.01))
        self.digits = Digits()
        self.agent = Agent(
            self.net.host(US[0], name="agent"),
            supplements=[DigitInfo(), SessionTimer()],
            applications=[AnsweringApplication(), Ringing(), Early(), self.digits],
            application="answer",
        )
        self.peer = ScriptedPeer(self.net.host("192.0.2.9", name="peer"))

    def invite(self, user: str = "answer", **kwargs: object) -> Request:
        """Send an INVITE."""
        uri = kwargs.pop("uri", f"sip:{user}@{US[0]}")
        invite = self.peer.invite(uri, **kwargs)  # type: ignore[arg-type]
        self.peer.send(invite, US)
        return invite

    def call(self, user: str = "answer") -> Response:
        """Make a call that stands; return its 200."""
        self.invite(user)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def within(self, success: Response, method: str, **kwargs: object) -> Response:
        """Send a request within the call and return its final response."""
        request = self.peer.request_within(success, method, **kwargs)  # type: ignore[arg-type]
        self.peer.send(request, US)
        return self.answer_to(request)

    def answer_to(self, request: Request) -> Response:
        """Return the final response to a request."""
        found = self.peer.expect(
            lambda message: (
                isinstance(message, Response)
                and message.status >= 200
                and message.cseq == request.cseq
                and message.call_id == request.call_id
                and message.via.branch == request.via.branch
            )
        )
        assert isinstance(found, Response)
        return found

    def hang_up(self, success: Response) -> None:
        """End the call, which must still stand."""
        self.assertEqual(len(self.agent.sessions), 1)
        self.assertEqual(self.within(success, "BYE").status, 200)
        self.finish()

    def finish(self) -> None:
        """Nothing is left."""
        self.net.run_for(40)
        self.assertEqual(self.agent.sessions, [])
        self.net.assert_quiet()


def described(message: Response) -> SessionDescription:
    """Return the SDP of a message."""
    return parse(message.body)


class InDialogTests(ProbeTestCase):
    """Requests within a call: each gets its answer, and the call stands."""

    def test_info_with_unknown_content_type(self) -> None:
        """An INFO whose body nobody reads gets 415 with Accept (:rfc:`3261#section-8.2.3`)."""
        success = self.call()
        refused = self.within(success, "INFO", body="<x/>", content_type="application/x-unknown")
        self.assertEqual(refused.status, 415)
        self.assertIn("application/dtmf-relay", refused.headers.get("Accept") or "")
        self.hang_up(success)

    def test_info_of_unknown_package(self) -> None:
        """An INFO of a package that nobody takes gets 469 (:rfc:`6086#section-4.2.2`)."""
        success = self.call()
        refused = self.within(success, "INFO", headers={"Info-Package": "nobody"}, body="x")
        self.assertEqual(refused.status, 469)
        self.assertIn("Recv-Info", refused.headers)
        self.hang_up(success)

    def test_unknown_method(self) -> None:
        """A method that nobody knows gets 501 with Allow (:rfc:`3261#section-21.5.2`)."""
        success = self.call()
        refused = self.within(success, "NONSENSE")
        self.assertEqual(refused.status, 501)
        self.assertIn("BYE", refused.headers.get("Allow") or "")
        self.hang_up(success)

    def test_subscribe(self) -> None:
        """A SUBSCRIBE for an unknown package gets 489 (:rfc:`6665#section-4.2.1.1`)."""
        success = self.call()
        refused = self.within(success, "SUBSCRIBE", headers={"Event": "nobody"})
        self.assertEqual(refused.status, 489)
        self.hang_up(success)

    def test_publish(self) -> None:
        """A PUBLISH is known but not supported: 405 with Allow (:rfc:`3261#section-8.2.1`)."""
        success = self.call()
        refused = self.within(success, "PUBLISH", headers={"Event": "presence"})
        self.assertEqual(refused.status, 405)
        self.assertIn("INVITE", refused.headers.get("Allow") or "")
        self.hang_up(success)

    def test_method_that_is_part_of_another(self) -> None:
        """``NF`` is no INFO: 501, and the digit in it reaches nobody (:rfc:`3261#section-7.1`)."""
        success = self.call("digits")
        body = {"body": "Signal=5\r\nDuration=160\r\n", "content_type": "application/dtmf-relay"}
        self.assertEqual(self.within(success, "NF", **body).status, 501)
        self.assertEqual(self.digits.pressed, "")
        self.assertEqual(self.within(success, "INFO", **body).status, 200)
        self.assertEqual(self.digits.pressed, "5")
        self.hang_up(success)

    def test_stray_prack(self) -> None:
        """A PRACK that matches no reliable response gets 481 (:rfc:`3262#section-3`)."""
        success = self.call()
        refused = self.within(success, "PRACK", headers={"RAck": "4711 1 INVITE"})
        self.assertEqual(refused.status, 481)
        self.hang_up(success)

    def test_lower_cseq(self) -> None:
        """A CSeq number lower than the last one gets 500 (:rfc:`3261#section-12.2.2`)."""
        success = self.call()
        self.assertEqual(self.within(success, "OPTIONS", cseq=9).status, 200)
        self.assertEqual(self.within(success, "OPTIONS", cseq=5).status, 500)
        self.assertEqual(self.within(success, "OPTIONS", cseq=10).status, 200)
        self.hang_up(success)

    def test_unknown_dialog(self) -> None:
        """A request of a dialog that nobody has gets 481 (:rfc:`3261#section-12.2.2`)."""
        success = self.call()
        self.assertEqual(self.within(success, "BYE").status, 200)
        self.assertEqual(self.within(success, "OPTIONS").status, 481)
        self.finish()


class SetUpTests(ProbeTestCase):
    """How calls begin, and do not begin."""

    def test_merged_invite(self) -> None:
        """The same INVITE by two ways makes one call; 482 (:rfc:`3261#section-8.2.2.2`)."""
        invite = self.invite("ringing")
        self.peer.expect(180)
        merged = self.peer.invite(
            invite.uri,
            from_=str(invite.from_),
            call_id=invite.call_id,
            cseq=invite.cseq.number,
        )
        self.peer.send(merged, US)
        refused = self.answer_to(merged)
        self.assertEqual(refused.status, 482)
        self.assertEqual(len(self.agent.sessions), 1)
        self.peer.send(build_ack(merged, refused), US)
        (session,) = self.agent.sessions
        session.terminate(486)
        self.peer.send(build_ack(invite, self.answer_to(invite)), US)
        self.finish()

    def test_urn_in_the_request_uri(self) -> None:
        """A Request-URI that is neither sip nor tel gets 416 (:rfc:`3261#section-8.2.2.1`)."""
        invite = self.invite(uri="urn:service:sos")
        refused = self.answer_to(invite)
        self.assertEqual(refused.status, 416)
        self.peer.ack(refused)
        self.finish()

    def test_garbage_sdp(self) -> None:
        """A body that is no SDP gets 400, and a word on why (:rfc:`3261#section-21.4.1`)."""
        refused = self.answer_to(self.invite(body="v=nonsense", content_type="application/sdp"))
        self.assertEqual(refused.status, 400)
        self.assertIn("(", refused.reason)
        self.peer.ack(refused)
        self.finish()

    def test_488_has_a_warning(self) -> None:
        """A refused offer says why in a Warning (:rfc:`3261#section-13.3.1.3`)."""
        refused = self.answer_to(self.invite(body=self.peer.sdp(formats="18")))
        self.assertEqual(refused.status, 488)
        self.assertRegex(refused.headers.get("Warning") or "", r'^3\d\d [^ ]+ "[^"]+"$')
        self.peer.ack(refused)
        self.finish()

    def test_unknown_required_extension(self) -> None:
        """An option tag that nobody knows gets 420 (:rfc:`3261#section-8.2.2.3`)."""
        refused = self.answer_to(self.invite(headers={"Require": "nobody-knows-it"}))
        self.assertEqual(refused.status, 420)
        self.assertEqual(refused.headers.get("Unsupported"), "nobody-knows-it")
        self.peer.ack(refused)
        self.finish()

    def test_session_interval_too_small(self) -> None:
        """A Session-Expires below our Min-SE gets 422 with it (:rfc:`4028#section-9`)."""
        refused = self.answer_to(
            self.invite(headers={"Supported": "timer", "Session-Expires": "30", "Min-SE": "30"})
        )
        self.assertEqual(refused.status, 422)
        self.assertGreaterEqual(int(refused.headers.get("Min-SE") or 0), 90)
        self.peer.ack(refused)
        self.finish()

    def test_cancel(self) -> None:
        """A cancelled INVITE gets 487, its CANCEL 200 (:rfc:`3261#section-9.2`)."""
        invite = self.invite("ringing")
        self.peer.expect(180)
        cancel = self.peer.cancel(invite)
        self.assertEqual(self.answer_to(cancel).status, 200)
        refused = self.answer_to(invite)
        self.assertEqual(refused.status, 487)
        self.peer.ack(refused)
        self.finish()

    def test_bye_in_the_early_dialog(self) -> None:
        """A BYE while it rings gets 200, the INVITE 487 (:rfc:`3261#section-15.1.2`)."""
        invite = self.invite("ringing")
        ringing = self.peer.expect(180)
        self.assertEqual(self.answer_to(self.peer.bye(ringing)).status, 200)
        refused = self.answer_to(invite)
        self.assertEqual(refused.status, 487)
        self.peer.send(build_ack(invite, refused), US)
        self.finish()

    def test_success_is_repeated(self) -> None:
        """The 200 comes again after T1, doubling up to T2 (:rfc:`3261#section-13.3.1.4`)."""
        self.invite()
        success = self.peer.expect(200)
        self.net.run_for(12)
        times = [event.time for event in self.net.trace if event.data.startswith(b"SIP/2.0 200")]
        gaps = [round(after - before, 2) for before, after in pairwise(times)]
        self.assertEqual(gaps, [0.5, 1.0, 2.0, 4.0, 4.0])
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.hang_up(success)

    def test_reliable_183_is_repeated(self) -> None:
        """It comes again after T1, doubling without a limit (:rfc:`3262#section-3`)."""
        self.invite("early", headers={"Supported": "100rel"})
        progress = self.peer.expect(183)
        self.assertIn("100rel", progress.require)
        self.net.run_for(20)
        times = [event.time for event in self.net.trace if event.data.startswith(b"SIP/2.0 183")]
        self.assertEqual(
            [round(time - times[0], 2) for time in times], [0, 0.5, 1.5, 3.5, 7.5, 15.5]
        )
        rack = {"RAck": f"{progress.headers.get('RSeq')} {progress.cseq.number} INVITE"}
        self.assertEqual(self.within(progress, "PRACK", headers=rack).status, 200)
        self.assertEqual(self.within(progress, "BYE").status, 200)
        self.peer.expect(487)
        self.finish()

    def test_copy_of_an_invite_that_was_answered(self) -> None:
        """A late copy of the INVITE makes no second call (:rfc:`6026#section-7.1`)."""
        invite = self.invite()
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.send(invite, US)
        self.peer.expect_silence(2)
        self.hang_up(success)


class MediaTests(ProbeTestCase):
    """Offers and answers."""

    def test_reinvite_with_fewer_m_lines(self) -> None:
        """A new offer may not drop lines: refused, and the call stands (:rfc:`3264#section-8`)."""
        two = self.peer.sdp(extra=["m=video 0 RTP/AVP 31"])
        self.invite(body=two)
        success = self.peer.expect(200)
        self.peer.ack(success)
        refused = self.within(success, "INVITE", body=self.peer.sdp())
        self.assertIn(refused.status, (400, 488))
        self.peer.ack(refused)
        self.assertEqual(self.within(success, "INVITE", body=two).status, 200)
        self.peer.ack(success_of(self.peer))
        self.hang_up(success)

    def test_reinvite_before_the_ack(self) -> None:
        """With the offer answered a re-INVITE is taken (:rfc:`5407#section-3.1.4`)."""
        self.invite()
        success = self.peer.expect(200)
        second = self.within(success, "INVITE", body=self.peer.sdp(direction="sendonly"))
        self.assertEqual(second.status, 200)
        self.peer.ack(second)
        self.peer.ack(success)
        self.net.run_for(1)
        self.hang_up(success)

    def test_the_answer_has_our_own_session_id(self) -> None:
        """Who makes a description chooses its id (:rfc:`8866#section-5.2`)."""
        success = self.call()
        origin = described(success).origin
        self.assertNotEqual(origin.session_id, "1")
        again = self.within(success, "INVITE", body=self.peer.sdp())
        self.peer.ack(again)
        self.assertEqual(described(again).origin, origin)
        held = self.within(success, "INVITE", body=self.peer.sdp(direction="sendonly"))
        self.peer.ack(held)
        self.assertEqual(described(held).origin.session_id, origin.session_id)
        self.assertEqual(int(described(held).origin.version), int(origin.version) + 1)
        self.hang_up(success)

    def test_late_offer(self) -> None:
        """An INVITE without an offer gets ours in the 200 (:rfc:`3261#section-13.3.1`)."""
        self.invite(body=b"")
        success = self.peer.expect(200)
        self.assertEqual(described(success).media[0].direction, "sendrecv")
        self.peer.ack(success, body=self.peer.sdp())
        self.net.run_for(1)
        self.hang_up(success)

    def test_update(self) -> None:
        """An UPDATE with an offer gets the answer in its 200 (:rfc:`3311#section-5.2`)."""
        success = self.call()
        answer = self.within(success, "UPDATE", body=self.peer.sdp(direction="sendonly"))
        self.assertEqual(answer.status, 200)
        self.assertEqual(described(answer).media[0].direction, "recvonly")
        self.assertEqual(self.within(success, "UPDATE").body, b"")
        self.hang_up(success)

    def test_hold(self) -> None:
        """``sendonly`` is answered ``recvonly``, ``inactive`` too (:rfc:`3264#section-8.4`)."""
        success = self.call()
        for offered, answered in (
            ("sendonly", "recvonly"),
            ("inactive", "inactive"),
            ("sendrecv", "sendrecv"),
        ):
            answer = self.within(success, "INVITE", body=self.peer.sdp(direction=offered))
            self.peer.ack(answer)
            self.assertEqual(described(answer).media[0].direction, answered)
        self.hang_up(success)


def success_of(peer: ScriptedPeer) -> Response:
    """Return the last 200 to an INVITE that a peer got."""
    return next(
        message
        for message in reversed(peer.received)
        if isinstance(message, Response)
        and message.status == 200
        and message.cseq.method == "INVITE"
    )
