# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Reliable provisional responses and early media in sessions (RFC 3262), both roles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.application import Application
from sipsess.applications.early import EarlyApplication
from sipsess.call import Call
from sipsess.core import Admission
from sipsess.endpoint import Endpoint
from sipsess.errors import DialogStateError
from sipsess.message import Request, Response
from sipsess.session import Session, SessionEnded
from sipsess.supplement import Reject, Retry
from sipsess.testing import CallPair, Link
from tests.policy.agents import Gate
from tests.policy.phone import FRAME, Phone, audio_at
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio

REL = {"Supported": "100rel"}
REQUIRED = {"Require": "100rel"}


async def nothing(session: Session) -> None:
    """Leave everything to the test."""
    await Deferred()


def _note(failure: Failure, found: list[type[BaseException]]) -> None:
    """Note the type of what failed."""
    assert failure.type is not None
    found.append(failure.type)


def _admit(endpoint: Endpoint, admission: Admission) -> None:
    """Say who it is."""
    admission.endpoint = endpoint


class ReliableTestCase(SessionTestCase):
    """Calls to and from a peer that speaks 100rel."""

    def called(self, headers: dict[str, str] | None = None, **kwargs: Any) -> Session:
        """Begin a call to an application that does nothing by itself."""
        self.dialled = self.invite(headers=REL if headers is None else headers, **kwargs)
        self.net.run_for(0.05)
        return self.session

    def ringing(self, status: int = 183) -> Response:
        """Return the provisional response that comes next."""
        return self.peer.expect(status)

    def prack(self, response: Response, rack: str = "", **kwargs: Any) -> Request:
        """Acknowledge a reliable response; nobody waits for the answer."""
        number = response.cseq.number
        text = rack or f"{response.headers.get('RSeq')} {number} INVITE"
        return self.request_within(response, "PRACK", headers={"RAck": text}, **kwargs)

    def pracked(self, response: Response, **kwargs: Any) -> Response:
        """Acknowledge a reliable response, and return the answer."""
        self.prack(response, **kwargs)
        return self.answer_to("PRACK")

    def hang_up(self, session: Session) -> None:
        """End a call from our side, and let our side hear of it."""
        super().hang_up(session)
        self.net.run_for(0.1)

    def errors_of(self, *deferreds: Deferred[Any]) -> list[type[BaseException]]:
        """Return what deferreds fail with from now on."""
        found: list[type[BaseException]] = []
        for deferred in deferreds:
            deferred.addErrback(_note, found)
        return found

    def confirm_and_end(self) -> Response:
        """Let the 200 come, acknowledge it, hang up; return the 200."""
        success = self.answer_to("INVITE")
        self.assertEqual(success.status, 200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.answer_to("BYE")
        return success


class CalleeTests(ReliableTestCase):
    """Responses of ours (section 3)."""

    def test_reliable_183(self) -> None:
        """The 183 has Require, RSeq, our answer, Contact and Allow; the 200 has no SDP any more."""
        probe = Probe(methods=["PRACK"])
        self.start(probe, play=nothing)
        session = self.called()
        sent = session.send_response(183, with_media=True)
        first = self.ringing()
        self.assertEqual(self.successResultOf(sent).status, 183)
        self.assertEqual(first.require, {"100rel"})
        self.assertIn("UPDATE", first.allow)
        self.assertTrue(first.contact)
        self.assertTrue(first.body)
        self.assertTrue(1 <= int(first.headers.get("RSeq") or 0) < 2**31)
        self.assertEqual(self.pracked(first).status, 200)
        session.send_response(200)
        self.assertEqual(self.confirm_and_end().body, b"")
        self.assertEqual(probe.seen[1:3], ["incoming_request PRACK", "outgoing_response 200 PRACK"])
        self.finish()

    def test_repeated_until_prack(self) -> None:
        """It comes again after 0.5, 1 and 2 s, without a cap, until its PRACK."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(183, with_media=True)
        first = self.ringing()
        self.net.run_for(9)
        times = [event.time for event in self.net.trace if b" 183 " in event.data[:13]]
        gaps = [round(after - before, 2) for before, after in pairwise(times)]
        self.assertEqual(gaps, [0.5, 1.0, 2.0, 4.0])
        self.pracked(first)
        before = self.peer.count(183)
        self.net.run_for(60)
        self.assertEqual(self.peer.count(183), before)
        session.terminate()
        self.peer.ack(self.answer_to("INVITE"))
        self.finish()

    def test_no_prack(self) -> None:
        """Without PRACK the INVITE is refused with 504 after 64*T1, and what waits fails."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(183, with_media=True)
        waits = self.errors_of(session.send_response(200))
        self.ringing()
        refusal = self.answer_to("INVITE", 40)
        self.peer.ack(refusal)
        self.assertEqual(refusal.status, 504)
        self.assertEqual(waits, [SessionEnded])
        self.assertEqual(self.box.refused["prack-missing"], 1)
        self.finish()

    def test_success_waits(self) -> None:
        """Section 3: no 2xx while a reliable response with SDP is not acknowledged."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(183, with_media=True)
        answered = session.send_response(200)
        first = self.ringing()
        self.net.run_for(5)
        self.assertNoResult(answered)
        self.prack(first)
        self.confirm_and_end()
        order = [event.data[:13] for event in self.net.trace if b"SIP/2.0 200" in event.data[:13]]
        self.assertEqual(len(order), 3)
        self.assertEqual(self.successResultOf(answered).status, 200)
        self.finish()

    def test_success_does_not_wait_without_sdp(self) -> None:
        """A reliable 180 holds nothing back; its PRACK still gets 200, a second one 481."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(180, reliable=True)
        session.send_response(200)
        first, success = self.ringing(180), self.peer.expect(200)
        self.assertTrue(success.body)
        self.assertEqual(self.pracked(first).status, 200)
        self.assertEqual(self.pracked(first).status, 481)
        self.peer.ack(success)
        self.net.run_for(1)
        self.peer.bye(success)
        self.answer_to("BYE")
        self.finish()

    def test_one_at_a_time(self) -> None:
        """The second waits for the PRACK of the first, and has the next RSeq."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(180, reliable=True)
        later = session.send_response(183, with_media=True)
        first = self.ringing(180)
        self.net.run_for(3)
        self.assertEqual(self.peer.count(183), 0)
        self.assertNoResult(later)
        self.pracked(first)
        second = self.ringing()
        numbers = [int(item.headers.get("RSeq") or 0) for item in (first, second)]
        self.assertEqual(numbers[1], numbers[0] + 1)
        self.pracked(second)
        session.send_response(200)
        self.confirm_and_end()
        self.finish()

    def test_policy(self) -> None:
        """Who demands gets all reliably; who supports it only early media; else nothing."""
        for headers, status, media, is_reliable in (
            (REQUIRED, 180, False, True),
            (REL, 180, False, False),
            (REL, 183, True, True),
            ({}, 183, True, False),
        ):
            self.start(play=nothing)
            session = self.called(headers)
            session.send_response(status, with_media=media)
            response = self.ringing(status)
            self.assertEqual("100rel" in response.require, is_reliable, headers)
            self.assertEqual(bool(response.body), media)
            session.terminate()
            self.peer.ack(self.answer_to("INVITE"))
            self.finish()

    def test_endpoint_policy(self) -> None:
        """ "no" refuses who demands it (420); "required" refuses who lacks it (421)."""
        for policy, headers, status in (
            ("no", REQUIRED, 420),
            ("required", {}, 421),
            ("no", REL, 183),
            ("required", REL, 180),
        ):
            endpoint = Endpoint("policy", reliable=policy)  # type: ignore[arg-type]
            gate = Gate(partial(_admit, endpoint))
            self.start(play=nothing, gates=[gate])
            self.invite(headers=headers)
            self.net.run_for(0.1)
            if status >= 300:
                refusal = self.answer_to("INVITE")
                self.assertEqual(refusal.status, status)
                name = "Unsupported" if status == 420 else "Require"
                self.assertEqual(refusal.headers.get(name), "100rel")
                self.peer.ack(refusal)
            else:
                self.session.send_response(status, with_media=status == 183)
                response = self.ringing(status)
                self.assertEqual("100rel" in response.require, policy == "required")
                self.session.send_response(486)
                self.peer.ack(self.answer_to("INVITE"))
            gate._admit = lambda admission: None
            self.finish()

    def test_what_cannot_be_asked_for(self) -> None:
        """100rel needs a caller who knows it; a re-INVITE has no early media."""
        self.start(play=nothing)
        session = self.called({})
        self.assertRaises(DialogStateError, session.send_response, 180, reliable=True)
        session.send_response(200)
        self.confirm_and_end()
        self.finish()
        self.start(Probe(methods=["INVITE"], incoming_request=self.early_for_reinvite))
        success = self.call()
        self.request_within(success, "INVITE", body=self.peer.sdp())
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 500)
        self.peer.ack(refused)
        self.hang_up(self.session)
        self.finish(failures=1)

    def early_for_reinvite(self, session: Session, request: Request) -> None:
        """Ring, and then ask for what there is not."""
        if request.to_tag is not None:
            session.send_response(180, request)
            session.send_response(183, request, with_media=True)

    def test_prack_that_matches_nothing(self) -> None:
        """Section 3: 481; one whose RAck cannot be read 400."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(180, reliable=True)
        first = self.ringing(180)
        for rack, status in (("1 1 INVITE", 481), ("x", 400), ("1", 400)):
            self.prack(first, rack)
            self.assertEqual(self.answer_to("PRACK").status, status)
        self.assertEqual(self.box.refused, {"prack-unmatched": 1, "rack-invalid": 2})
        self.assertEqual(self.pracked(first).status, 200)
        session.send_response(486)
        self.peer.ack(self.answer_to("INVITE"))
        self.finish()

    def test_unreliable_preview(self) -> None:
        """13.2.1: the 200 brings the very answer that an unreliable 183 brought before."""
        handler = Handler()
        self.start(play=nothing, handlers=[handler])
        session = self.called({})
        session.send_response(183, with_media=True)
        session.send_response(183, with_media=True)
        previews = [self.ringing()]
        session.send_response(200)
        success = self.confirm_and_end()
        self.assertEqual(previews[0].body, success.body)
        self.assertEqual(self.peer.count(183), 2)
        self.assertEqual(handler.log.count("apply"), 1)
        self.finish()

    def test_second_reliable_183_has_no_sdp(self) -> None:
        """After the answer no later response brings a description."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(183, with_media=True)
        self.pracked(self.ringing())
        session.send_response(183, with_media=True)
        second = self.ringing()
        self.assertEqual((second.require, second.body), ({"100rel"}, b""))
        self.pracked(second)
        session.send_response(200)
        self.confirm_and_end()
        self.finish()

    def test_late_offer(self) -> None:
        """Section 5: our offer in the 183, the answer in the PRACK, none in 200 and ACK."""
        handler = Handler()
        self.start(play=nothing, handlers=[handler])
        session = self.called(body=b"")
        session.send_response(183, with_media=True)
        session.send_response(200)
        first = self.ringing()
        self.assertEqual(handler.log, ["create"])
        self.assertEqual(self.pracked(first, body=self.peer.sdp()).status, 200)
        self.assertEqual(handler.log, ["create", "apply"])
        self.assertEqual(self.confirm_and_end().body, b"")
        self.finish()

    def test_late_offer_needs_100rel(self) -> None:
        """To a caller without 100rel an offer cannot be made in a 183; the 200 makes it."""
        self.start(play=nothing)
        session = self.called({}, body=b"")
        session.send_response(183, with_media=True)
        self.assertEqual(self.ringing().body, b"")
        session.send_response(200)
        success = self.peer.expect(200)
        self.peer.ack(success, body=self.peer.sdp())
        self.net.run_for(1)
        self.hang_up(session)
        self.finish()

    def test_bad_answer_in_prack(self) -> None:
        """A PRACK without the answer that is due: 400, and so the INVITE."""
        for body in (b"", b"v=0 nonsense", audio(count=3).encode()):
            self.start(play=nothing)
            self.called(body=b"").send_response(183, with_media=True)
            first = self.ringing()
            refused = self.pracked(first, body=body, content_type="application/sdp")
            self.assertEqual(refused.status, 400)
            refusal = self.answer_to("INVITE")
            self.peer.ack(refusal)
            self.assertEqual(refusal.status, 400)
            self.finish()

    def test_supplement_refuses_the_prack_with_the_answer(self) -> None:
        """Then the offer has no answer, and the INVITE is refused."""

        def refuse(session: Session, request: Request) -> None:
            raise Reject(403)

        self.start(Probe(priority=300, methods=["PRACK"], incoming_request=refuse), play=nothing)
        self.called(body=b"").send_response(183, with_media=True)
        self.assertEqual(self.pracked(self.ringing(), body=self.peer.sdp()).status, 403)
        self.peer.ack(self.answer_to("INVITE"))
        self.finish()

    def test_offer_in_prack(self) -> None:
        """Section 5: after the answer a PRACK may bring an offer, whose answer is in its 200."""
        handler = Handler()
        self.start(play=nothing, handlers=[handler])
        session = self.called()
        session.send_response(183, with_media=True)
        first = self.ringing()
        session.send_response(200)
        answer = self.pracked(first, body=self.peer.sdp(40004))
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body)
        self.assertEqual(handler.log, ["claim", "create", "apply"] * 2)
        self.confirm_and_end()
        self.finish()

    def test_offer_in_prack_that_takes_time(self) -> None:
        """The 200 of the INVITE waits for the answer to the PRACK's offer."""
        slow: list[Deferred[Any]] = []

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if len(handler.log) < 3:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            slow.append(Deferred())
            return slow[-1].addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

        handler = Handler(create=create)
        self.start(play=nothing, handlers=[handler])
        session = self.called()
        session.send_response(183, with_media=True)
        self.prack(self.ringing(), body=self.peer.sdp(40004))
        session.send_response(200)
        self.net.run_for(2)
        self.assertEqual(self.peer.count(200), 0)
        slow[0].callback(None)
        self.assertTrue(self.answer_to("PRACK").body)
        self.confirm_and_end()
        self.finish()

    def test_stray_prack_meanwhile(self) -> None:
        """A PRACK that matches nothing changes nothing for the one that is being answered."""
        pending: list[Deferred[None]] = []

        def think(session: Session, request: Request) -> Any:
            pending.append(Deferred())
            return pending[-1]

        probe = Probe(priority=300, methods=["PRACK"], incoming_request=think)
        self.start(probe, play=nothing)
        session = self.called(body=b"")
        session.send_response(183, with_media=True)
        session.send_response(200)
        first = self.ringing()
        self.prack(first, body=self.peer.sdp())
        self.prack(first)
        self.assertEqual(self.answer_to("PRACK").status, 481)
        self.net.run_for(1)
        self.assertEqual(self.peer.count(200), 0)
        pending[0].callback(None)
        self.assertEqual(self.answer_to("PRACK").status, 200)
        self.confirm_and_end()
        self.finish()

    def test_offer_in_prack_is_refused(self) -> None:
        """When nothing of it can be used: 488, and the media stay as they were."""
        handler = Handler()
        self.start(play=nothing, handlers=[handler])
        session = self.called()
        session.send_response(183, with_media=True)
        refused = self.pracked(self.ringing(), body=audio(40004, kind="video"))
        self.assertEqual(refused.status, 488)
        session.send_response(200)
        self.confirm_and_end()
        self.assertEqual(handler.log, ["claim", "create", "apply", "stop", "destroy"])
        self.finish()

    def test_offer_in_prack_before_the_answer(self) -> None:
        """An offer while the INVITE's has no answer: 500 with Retry-After."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(180, reliable=True)
        refused = self.pracked(self.ringing(180), body=self.peer.sdp(40004))
        self.assertEqual(refused.status, 500)
        self.assertIn("Retry-After", refused.headers)
        session.send_response(200)
        self.assertTrue(self.confirm_and_end().body)
        self.finish()

    def test_cancel(self) -> None:
        """A CANCEL ends what waits for a PRACK, and what waits behind it."""
        self.start(play=nothing)
        session = self.called()
        session.send_response(183, with_media=True)
        behind = session.send_response(183, reliable=True)
        failed = self.errors_of(behind, session.send_response(200))
        self.ringing()
        self.peer.cancel(self.dialled)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(1)
        self.assertCountEqual(failed, [DialogStateError, SessionEnded])
        self.finish()

    def test_slow_description(self) -> None:
        """The 200 waits for the 183 whose description takes time; a CANCEL ends both."""
        for is_cancelled in (False, True):
            ready: Deferred[Any] = Deferred()

            def create(
                session: Session, stream: Any, sdp: Any, ready: Deferred[Any] = ready
            ) -> Any:
                return ready.addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

            self.start(play=nothing, handlers=[Handler(create=create)])
            session = self.called({})
            early = session.send_response(183, with_media=True)
            self.assertRaises(DialogStateError, session.send_response, 183, with_media=True)
            failed = self.errors_of(early, session.send_response(200))
            self.net.run_for(1)
            if is_cancelled:
                self.peer.cancel(self.dialled)
                self.peer.ack(self.answer_to("INVITE"))
                self.assertEqual(failed, [SessionEnded] * 2)
            else:
                ready.callback(None)
                self.net.run_for(0.1)
                self.assertEqual(self.successResultOf(early).status, 183)
                self.confirm_and_end()
            self.finish()

    def test_handler_fails(self) -> None:
        """A description that cannot be made refuses the call, as it does in a 200."""

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            raise ValueError("broken")

        self.start(play=nothing, handlers=[Handler(create=create)])
        early = self.called().send_response(183, with_media=True)
        refusal = self.answer_to("INVITE")
        self.peer.ack(refusal)
        self.assertEqual(refusal.status, 500)
        self.failureResultOf(early)
        self.finish(failures=1)

    def test_supplement_answers_instead(self) -> None:
        """A supplement that refuses the INVITE while the 183 leaves: the 183 does not leave."""

        def refuse(session: Session, response: Response) -> None:
            if response.status == 183:
                session.send_response(486)

        self.start(Probe(outgoing_response=refuse), play=nothing)
        early = self.errors_of(self.called().send_response(183, with_media=True))
        refusal = self.answer_to("INVITE")
        self.peer.ack(refusal)
        self.assertEqual((refusal.status, self.peer.count(183)), (486, 0))
        self.assertEqual(early, [])
        self.finish()


class CallerTests(ReliableTestCase):
    """Responses to us (section 4)."""

    def reliable(self, invite: Request, rseq: int, status: int = 183, **kwargs: Any) -> Response:
        """Send a reliable response."""
        headers = {"Require": "100rel", "RSeq": str(rseq)}
        return self.peer.reply(invite, status, headers=headers, **kwargs)

    def acknowledged(self) -> Request:
        """Return the PRACK that comes, answered."""
        prack = self.peer.expect("PRACK")
        self.peer.reply(prack, 200)
        return prack

    def test_prack(self) -> None:
        """We support 100rel, and acknowledge a reliable 183 within its dialog."""
        handler, probe = Handler(), Probe(methods=["PRACK"])
        self.start(probe, handlers=[handler])
        session, invite = self.placed()
        self.assertIn("100rel", invite.supported)
        self.reliable(invite, 4711, body=self.peer.sdp())
        prack = self.acknowledged()
        self.assertEqual(prack.headers.get("RAck"), "4711 1 INVITE")
        self.assertEqual((prack.cseq.number, prack.uri), (2, self.peer.uri))
        self.assertEqual(handler.log, ["create", "apply"])
        self.peer.reply(invite, 200, body=b"")
        self.peer.expect("ACK")
        self.assertTrue(session.is_answered)
        self.assertEqual(probe.seen[1:], ["outgoing_request PRACK", "incoming_response 200 PRACK"])
        self.hang_up(session)
        self.finish()

    def test_order(self) -> None:
        """Section 4: what comes too early is not acknowledged, a copy is ignored."""
        probe = Probe(methods=["INVITE"])
        self.start(probe)
        session, invite = self.placed()
        self.reliable(invite, 5, 180)
        self.acknowledged()
        self.reliable(invite, 7)
        self.reliable(invite, 5, 180)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("PRACK"), 1)
        self.reliable(invite, 6)
        self.acknowledged()
        self.reliable(invite, 7)
        self.assertEqual(self.acknowledged().headers.get("RAck"), "7 1 INVITE")
        self.assertEqual(probe.count("incoming_response 180 INVITE"), 1)
        self.assertEqual(self.box.refused, {"rseq-unexpected": 1})
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.finish()

    def test_never_for_100(self) -> None:
        """A 100 is not acknowledged, whatever it says."""
        self.start()
        session, invite = self.placed()
        self.reliable(invite, 1, 100)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("PRACK"), 0)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.finish()

    def test_endpoint_policy(self) -> None:
        """ "required" demands it, "no" does not speak of it."""
        for policy, name, tags in (("required", "Require", {"100rel"}), ("no", "Supported", None)):
            self.start()
            endpoint = Endpoint("policy", reliable=policy)  # type: ignore[arg-type]
            session, invite = self.placed(endpoint=endpoint)
            value = invite.headers.get(name)
            self.assertEqual(None if value is None else {value}, tags)
            self.peer.reply(invite, 486)
            self.peer.expect("ACK")
            self.assertTrue(session.is_over)
            self.finish()

    def test_preview(self) -> None:
        """The SDP of an unreliable 183 flows; the first answer of the dialog counts."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.peer.reply(invite, 183, body=self.peer.sdp(40010))
        self.net.run_for(0.1)
        self.assertEqual(handler.log, ["create", "apply"])
        self.peer.reply(invite, 183, body=self.peer.sdp(40020))
        self.peer.reply(invite, 200, body=self.peer.sdp(40030))
        self.peer.expect("ACK")
        self.assertEqual(handler.log, ["create", "apply"])
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40010)
        self.hang_up(session)
        self.finish()

    def test_bad_preview(self) -> None:
        """A preview that does not fit is ignored: the answer in the 200 counts."""
        self.start()
        session, invite = self.placed()
        for body in (audio(count=2), "v=0 nonsense"):
            self.peer.reply(invite, 183, body=body, content_type="application/sdp")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.assertTrue(session.is_answered)
        self.assertIn("preview ignored", self.lines(session.call_id))
        self.hang_up(session)
        self.finish()

    def test_bad_answer_in_a_reliable_response(self) -> None:
        """It is acknowledged, and the call is given up with CANCEL."""
        self.start()
        session, invite = self.placed()
        self.reliable(invite, 1, body=audio(count=2))
        self.acknowledged()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_broken_handler(self) -> None:
        """A bug while an offer in a 183 is answered: a PRACK that declines it, CANCEL."""

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            raise ValueError("broken")

        self.start(handlers=[Handler(create=create)])
        _, invite = self.placed(offered_media=())
        self.reliable(invite, 1, body=self.peer.sdp())
        self.assertIn(b"\r\nm=audio 0 ", self.acknowledged().body)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.finish(failures=1)

    def test_late_offer(self) -> None:
        """Section 5: the offer of a reliable 183 is answered in its PRACK; the ACK has none."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed(offered_media=())
        self.peer.reply(invite, 180, body=self.peer.sdp())
        self.reliable(invite, 1, body=self.peer.sdp())
        self.assertTrue(self.acknowledged().body)
        self.assertEqual(handler.log, ["claim", "create", "apply"])
        self.reliable(invite, 2, body=self.peer.sdp(40010))
        self.assertEqual(self.acknowledged().body, b"")
        self.peer.reply(invite, 200, body=self.peer.sdp())
        self.assertEqual(self.peer.expect("ACK").body, b"")
        self.hang_up(session)
        self.finish()

    def test_late_offer_that_takes_time(self) -> None:
        """While an offer is answered another reliable response is not taken; it comes again."""
        ready: Deferred[Any] = Deferred()

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            return ready.addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

        self.start(handlers=[Handler(create=create)])
        session, invite = self.placed(offered_media=())
        self.reliable(invite, 1, body=self.peer.sdp())
        self.net.run_for(1)
        self.reliable(invite, 2, 180)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("PRACK"), 0)
        ready.callback(None)
        self.assertTrue(self.acknowledged().body)
        self.reliable(invite, 2, 180)
        self.acknowledged()
        self.peer.reply(invite, 200, body=b"")
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_refused_while_a_late_offer_is_answered(self) -> None:
        """The answer that nobody wants any more is dropped, and no PRACK leaves."""
        ready: Deferred[Any] = Deferred()

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            return ready

        handler = Handler(create=create)
        self.start(handlers=[handler])
        session, invite = self.placed(offered_media=())
        self.reliable(invite, 1, body=self.peer.sdp())
        self.net.run_for(1)
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.assertTrue(session.is_over)
        self.assertEqual(self.peer.count("PRACK"), 0)
        self.assertEqual(handler.log, ["claim", "create", "destroy"])
        self.finish()

    def test_late_offer_takes_too_long(self) -> None:
        """A handler that never answers costs the call: a PRACK that declines, then CANCEL."""
        self.start(handlers=[Handler(create=lambda *args: Deferred())])
        session, invite = self.placed(offered_media=())
        self.reliable(invite, 1, body=self.peer.sdp())
        prack = self.peer.expect("PRACK", 40)
        self.assertIn(b"\r\nm=audio 0 ", prack.body)
        self.peer.reply(prack, 200)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.net.run_for(1)
        self.assertIn("took too long", str(session.end_reason))
        self.finish()

    def test_preview_while_an_update_is_answered(self) -> None:
        """It waits for the last word of its fork: the other fork's exchange goes first."""
        slow: list[Deferred[Any]] = []

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            slow.append(Deferred())
            return slow[-1].addCallback(lambda _: sdp.media("audio", 40000, "RTP/AVP", ["0"]))

        handler = Handler(create=create)
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.reliable(invite, 1, body=self.peer.sdp())
        self.acknowledged()
        self.request_within(invite, "UPDATE", body=self.peer.sdp(40002))
        self.net.run_for(0.1)
        self.peer.reply(invite, 183, to_tag="other", body=self.peer.sdp(40006))
        self.net.run_for(0.1)
        slow[0].callback(None)
        self.assertEqual(self.answer_to("UPDATE").status, 200)
        self.peer.reply(invite, 200, to_tag="other", body=self.peer.sdp(40006))
        self.peer.expect("ACK")
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40006)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_prack_comes_to_nothing(self) -> None:
        """A PRACK that is refused, or never answered, changes nothing: the callee decides."""
        for is_answered in (True, False):
            self.start()
            session, invite = self.placed()
            self.reliable(invite, 1, 180)
            prack = self.peer.expect("PRACK")
            if is_answered:
                self.peer.reply(prack, 481)
            self.net.run_for(40)
            self.assertFalse(session.is_over)
            self.peer.reply(invite, 200)
            self.peer.expect("ACK")
            self.hang_up(session)
            self.finish()

    def test_prack_is_sent_again_for_a_supplement(self) -> None:
        """A Retry of a PRACK counts the CSeq of its own early dialog."""

        def again(session: Session, response: Response) -> Any:
            return Retry({"Authorization": "x"}) if response.status == 401 else None

        self.start(Probe(methods=["PRACK"], incoming_response=again))
        session, invite = self.placed()
        self.reliable(invite, 1, 180)
        self.peer.reply(self.peer.expect("PRACK"), 401)
        second = self.acknowledged()
        self.assertEqual((second.cseq.number, second.headers.get("Authorization")), (3, "x"))
        self.reliable(invite, 2, 180)
        self.assertEqual(self.acknowledged().cseq.number, 4)
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.assertTrue(session.is_over)
        self.finish()

    def test_forks(self) -> None:
        """Each early dialog has its own order, CSeq and answer; the 2xx chooses."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.reliable(invite, 10, to_tag="a", body=self.peer.sdp(40010))
        self.reliable(invite, 20, to_tag="b", body=self.peer.sdp(40020))
        pracks = [self.acknowledged(), self.acknowledged()]
        self.assertEqual([item.to_tag for item in pracks], ["a", "b"])
        self.assertEqual([item.cseq.number for item in pracks], [2, 2])
        self.peer.reply(invite, 183, to_tag="c", body=self.peer.sdp(40030))
        self.net.run_for(0.1)
        self.peer.reply(invite, 200, to_tag="a", body=b"")
        self.peer.expect("ACK")
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40010)
        self.assertEqual(handler.log, ["create", *["apply"] * 4])
        self.hang_up(session)
        self.assertEqual(handler.log[-2:], ["stop", "destroy"])
        self.finish()

    def test_fork_that_was_silent_answers(self) -> None:
        """The call is with a fork that sent no early media: the answer of its 200 counts."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.peer.reply(invite, 183, to_tag="a", body=self.peer.sdp(0))
        self.peer.reply(invite, 180, to_tag="b")
        self.peer.reply(invite, 200, to_tag="b", body=self.peer.sdp(40020))
        self.peer.expect("ACK")
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40020)
        self.hang_up(session)
        self.assertEqual(handler.log, ["create", "apply", "stop", "destroy"])
        self.finish()

    def test_forks_that_want_different_streams(self) -> None:
        """What only a losing fork wanted is destroyed when another one is chosen."""
        voice, video = Handler("voice"), Handler("video", media_type="video")
        self.start(handlers=[voice, video])
        session, invite = self.placed(offered_media=("audio", "video"))
        head = audio(40010)
        self.peer.reply(invite, 183, to_tag="a", body=head + "m=video 40012 RTP/AVP 0\r\n")
        self.peer.reply(invite, 183, to_tag="b", body=head + "m=video 0 RTP/AVP 0\r\n")
        self.net.run_for(0.1)
        self.assertEqual(video.log, ["create", "apply"])
        self.peer.reply(invite, 200, to_tag="b", body=b"")
        self.peer.expect("ACK")
        self.assertEqual(video.log, ["create", "apply", "stop", "destroy"])
        self.assertEqual(len([item for item in session.media.streams if item]), 1)
        self.hang_up(session)
        self.finish()

    def test_refused_after_early_media(self) -> None:
        """Early media ends with the refusal, exactly once."""
        handler = Handler()
        self.start(handlers=[handler])
        _, invite = self.placed()
        self.peer.reply(invite, 183, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.assertEqual(handler.log, ["create", "apply", "stop", "destroy"])
        self.finish()

    def test_retry_after_early_media(self) -> None:
        """An INVITE that is sent again begins anew: its own dialogs, orders and answers."""

        def again(session: Session, response: Response) -> Any:
            return Retry({"X": "y"}) if response.status == 503 else None

        handler = Handler()
        self.start(Probe(methods=["INVITE"], incoming_response=again), handlers=[handler])
        session, invite = self.placed()
        self.reliable(invite, 9, body=self.peer.sdp(40010))
        self.acknowledged()
        self.peer.reply(invite, 503)
        self.peer.expect("ACK")
        second = self.peer.expect("INVITE")
        self.assertEqual(second.body, invite.body)
        self.reliable(second, 3, body=self.peer.sdp(40020), to_tag="new")
        self.acknowledged()
        self.peer.reply(second, 200, body=b"", to_tag="new")
        self.peer.expect("ACK")
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40020)
        self.hang_up(session)
        self.assertEqual(handler.log[-2:], ["stop", "destroy"])
        self.finish()

    def test_reliable_response_to_a_reinvite(self) -> None:
        """It is acknowledged, too; the answer in it is the answer."""
        self.start()
        session, _ = self.answered()
        done = session.send_reinvite()
        reinvite = self.peer.expect("INVITE")
        self.reliable(reinvite, 77, body=self.peer.sdp(40050))
        self.acknowledged()
        self.peer.reply(reinvite, 200, body=b"")
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(done).status, 200)
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40050)
        self.hang_up(session)
        self.finish()

    def test_prack_to_the_caller(self) -> None:
        """A PRACK to who never sent anything reliably: 481."""
        self.start()
        session, invite = self.answered()
        self.request_within(invite, "PRACK", headers={"RAck": "1 1 INVITE"})
        self.assertEqual(self.answer_to("PRACK").status, 481)
        self.hang_up(session)
        self.finish()

    def test_cancelled_before_the_first_response(self) -> None:
        """A reliable 183 after we gave up is acknowledged, but no media flow; CANCEL follows."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        session.terminate()
        self.reliable(invite, 1, body=self.peer.sdp())
        self.acknowledged()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.net.run_for(1)
        self.assertEqual(handler.log, ["create", "destroy"])
        self.finish()

    def test_bounded(self) -> None:
        """A peer that forks without end is acknowledged so many times and no more."""
        self.start()
        session, invite = self.placed()
        for number in range(40):
            self.reliable(invite, 1, 180, to_tag=f"t{number}")
        self.net.run_for(0.2)
        self.assertLessEqual(self.peer.count("PRACK"), 32)
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.assertTrue(session.is_over)
        self.finish()


class EarlyMediaTests(SessionTestCase):
    """Whole agents with audio streams."""

    def pair_of(self, application: Application, link: Link | None = None) -> CallPair:
        """Return two agents."""
        self.pair = CallPair(application=application, link=link)
        self.net = self.pair.net
        return self.pair

    def test_early_application(self) -> None:
        """183 with PRACK, a tone before the 200, and after three seconds the echo."""
        placed = self.pair_of(EarlyApplication()).dial()
        heard: list[bytes] = []
        self.net.run_for(0.2)
        self.assertEqual(placed.provisional, [(183, "Session Progress")])
        call = Call(placed.session)
        assert call.audio is not None
        call.audio.on_packet = lambda codec, packet, now: heard.append(packet.payload)
        self.net.run_for(2.5)
        self.assertIsNone(placed.outcome)
        self.assertGreater(len(heard), 30)
        self.net.run_for(0.6)
        self.assertEqual(placed.outcome, (200, "OK"))
        before = len(heard)
        call.play(b"\x00\x20" * 800)
        self.net.run_for(1)
        self.assertEqual(len(heard) - before, 5)
        ladder = self.net.ladder()
        self.assertIn("PRACK", ladder)
        placed.hang_up()
        self.pair.settle()

    def test_early_media_to_a_plain_phone(self) -> None:
        """Without 100rel the same tone is heard after an unreliable 183."""
        self.pair_of(EarlyApplication())
        phone = Phone(self.net)
        phone.send(phone.invite("sip:early@192.0.2.1"))
        progress = phone.expect(183)
        self.assertEqual(progress.require, frozenset())
        self.net.run_for(2)
        self.assertGreater(len(phone.ear.packets), 40)
        success = phone.expect(200)
        self.assertEqual(success.body, progress.body)
        phone.ack(success)
        before = len(phone.ear.packets)
        phone.speak(audio_at(success), 3)
        self.net.run_for(0.2)
        self.assertGreaterEqual(len(phone.ear.packets) - before, 3)
        self.assertEqual(phone.ear.packets[-1].payload, FRAME)
        phone.bye(success)
        phone.expect(lambda message: isinstance(message, Response) and message.cseq.method == "BYE")
        self.pair.settle()

    def test_no_early_media_is_possible(self) -> None:
        """An INVITE without offer and 100rel: the call goes on without, and is answered."""
        self.pair_of(EarlyApplication())
        phone = Phone(self.net)
        phone.send(phone.invite("sip:early@192.0.2.1", body=b""))
        self.assertEqual(phone.expect(183).body, b"")
        success = phone.expect(200)
        phone.ack(success, body=phone.sdp())
        self.net.run_for(1)
        phone.bye(success)
        self.net.run_for(1)
        self.pair.settle()

    def scripted(self, play: Callable[[Call], Any]) -> Application:
        """Return an application that does what a function says."""

        class Script(Application):
            name = "script"

            async def handle(self, call: Call) -> None:
                await play(call)

        return Script()

    def test_progress_waits_for_the_prack_of_a_late_offer(self) -> None:
        """``progress`` fires when both sides know each other's media."""
        times: list[float] = []

        async def play(call: Call) -> None:
            await call.ring(reliable=True)
            await call.progress()
            times.append(self.net.seconds())
            assert call.audio is not None
            await call.answer()
            await call.ended

        self.pair_of(self.scripted(play), Link(delay=0.1))
        placed = self.pair.dial(offered_media=())
        self.net.run_for(2)
        self.assertEqual(placed.provisional, [(180, "Ringing"), (183, "Session Progress")])
        self.assertEqual([round(time, 3) for time in times], [0.5])
        self.assertEqual(placed.outcome, (200, "OK"))
        placed.hang_up()
        self.pair.settle()

    def test_status(self) -> None:
        """``progress`` and ``ring`` send provisional responses only."""
        wrong: list[object] = []

        async def play(call: Call) -> None:
            for method in (call.ring, call.progress):
                try:
                    method(200)
                except DialogStateError as error:
                    wrong.append(error)
            raise Reject(486)

        placed = self.pair_of(self.scripted(play)).dial()
        self.net.run_for(1)
        self.assertEqual((len(wrong), placed.outcome), (2, (486, "Busy Here")))
        self.pair.settle()
