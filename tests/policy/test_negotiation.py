# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Media negotiation: which SDP handler is asked, in which order, and what a failure leaves."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription, parse
from sipsess.sdphandler import NegotiationFailed, SDPHandler, StreamVerdict
from sipsess.session import Session, SessionEnded, SessionStream
from tests.policy.agents import ring
from tests.policy.sessions import Handler, SessionTestCase, audio

WHOLE_LIFE = ["claim", "create", "apply", "stop", "destroy"]


def sdp_of(message: Request | Response) -> SessionDescription:
    """Return the session description of a message."""
    return parse(message.body)


def ports(message: Request | Response) -> list[int]:
    """Return the ports of the m-lines."""
    return [media.port for media in sdp_of(message).media]


class OfferTests(SessionTestCase):
    """Offers of the peer in its first INVITE."""

    def _call(self, body: str) -> Response:
        self.invite(body=body)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def test_life_of_a_stream(self) -> None:
        """Claim, create, apply, stop, destroy: in this order, each once."""
        handler = Handler()
        self.start(handlers=[handler])
        self._call(audio())
        self.assertEqual(handler.log, WHOLE_LIFE[:3])
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log, WHOLE_LIFE)
        self.finish()

    def test_several_handlers_of_a_type(self) -> None:
        """They are asked in order of priority and name until one claims the m-line."""
        order: list[str] = []

        def handler(name: str, priority: int, verdict: StreamVerdict) -> Handler:
            def claim(*args: object) -> StreamVerdict:
                order.append(name)
                return verdict

            return Handler(name, priority, claim=claim)

        no, yes = StreamVerdict.NOT_HANDLED, StreamVerdict.HANDLED
        all_of_them = [
            handler("never", 300, yes),
            handler("second", 200, yes),
            handler("b", 100, no),
            handler("a", 100, no),
        ]
        self.start(handlers=all_of_them)
        self._call(audio())
        self.assertEqual(order, ["a", "b", "second"])
        self.hang_up(self.session)
        self.net.run_for(0.1)
        logs = {item.name: item.log for item in all_of_them}
        self.assertEqual(logs, {"never": [], "second": WHOLE_LIFE, "a": ["claim"], "b": ["claim"]})
        self.finish()

    def test_two_streams_of_a_type_are_two(self) -> None:
        """Each m-line is a stream with its own index, cookies and end."""
        seen: list[tuple[int, str, str | None]] = []

        def create(session: Session, stream: SessionStream, sdp: Any) -> Any:
            stream.cookies.add("port", stream.index)
            seen.append((stream.index, stream.media_type, stream.mid))
            return sdp.media("audio", 40000 + 2 * stream.index, "RTP/AVP", ["0"])

        handler = Handler(create=create)
        self.start(handlers=[handler])
        lines = "m=audio 40000 RTP/AVP 0\r\na=mid:x\r\nm=audio 40002 RTP/AVP 0\r\n"
        success = self._call(audio(count=0) + lines)
        self.assertEqual(ports(success), [40000, 40002])
        self.assertEqual(seen, [(0, "audio", "x"), (1, "audio", None)])
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log.count("destroy"), 2)
        self.finish()

    def test_what_nobody_wants_is_declined(self) -> None:
        """Unknown, unclaimed and offered-as-declined m-lines are answered with port 0 (3264 6)."""
        handler = Handler()
        self.start(handlers=[handler, Handler("shy", media_type="text", claim=_not_handled)])
        success = self._call(
            audio() + "m=image 9 udptl t38\r\nm=text 9 RTP/AVP 98\r\nm=audio 0 RTP/AVP 0\r\n"
        )
        self.assertEqual(ports(success), [40000, 0, 0, 0])
        self.assertEqual(handler.log, WHOLE_LIFE[:3])
        self.hang_up(self.session)
        self.finish()

    def test_nothing_wanted(self) -> None:
        """When no stream is left the call is refused: 488, and why in a Warning and the record."""
        for handlers in ([], [Handler(claim=_not_handled)]):
            self.start(handlers=handlers)
            self.invite(body=audio())
            refusal = self.peer.expect(488)
            self.peer.ack(refusal)
            warning = refusal.headers.get("Warning") or ""
            why = "no handler for the offered media: audio"
            self.assertIn(f'304 192.0.2.1:5060 "{why}', warning)
            self.assertRegex(self.lines(refusal.call_id), f"media refused +{why}")
            self.assertEqual(self.box.refused["media-refused"], 1)
            self.finish()

    def test_only_declined_streams_are_no_failure(self) -> None:
        """An offer of port 0 alone asks for a call without media."""
        self.start(handlers=[Handler()])
        self.assertEqual(ports(self._call(audio(0))), [0])
        self.hang_up(self.session)
        self.finish()

    def test_negotiation_failed(self) -> None:
        """NegotiationFailed in claim or create refuses the whole offer, with its status."""

        def refuse(*args: object) -> Any:
            raise NegotiationFailed('no "good" codec', 305, 503)

        for handler in (Handler(claim=refuse), Handler(create=refuse)):
            self.start(handlers=[handler])
            self.invite(body=audio())
            refusal = self.peer.expect(503)
            self.peer.ack(refusal)
            self.assertEqual(
                refusal.headers.get("Warning"), r'305 192.0.2.1:5060 "no \"good\" codec"'
            )
            self.assertEqual(handler.log.count("destroy"), handler.log.count("create"))
            self.finish()

    def test_a_refusal_that_comes_too_late(self) -> None:
        """NegotiationFailed at apply cannot refuse any more; the record says whose stream it is."""

        def fail(session: Session, stream: SessionStream) -> None:
            raise NegotiationFailed("no route to that address")

        self.start(handlers=[Handler("deaf", apply=fail)])
        self._call(audio())
        self.assertIn("deaf: no route to that address", "\n".join(self.session.record.lines()))
        self.hang_up(self.session)
        self.finish()

    def test_not_handled_after_all(self) -> None:
        """A handler may decline when it is to create; the others' streams go on."""

        def create(session: Session, stream: SessionStream, sdp: Any) -> Any:
            if stream.index == 0:
                return StreamVerdict.NOT_HANDLED
            return sdp.media("audio", 40002, "RTP/AVP", ["0"])

        handler = Handler(create=create)
        self.start(handlers=[handler])
        self.assertEqual(ports(self._call(audio(count=2))), [0, 40002])
        self.assertEqual(handler.log.count("destroy"), 1)
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log.count("destroy"), 2)
        handler.create = lambda *args: StreamVerdict.NOT_HANDLED
        self.invite(body=audio())
        self.peer.ack(self.peer.expect(488))
        self.finish()

    def test_too_many_streams(self) -> None:
        """Over 32 m-lines no handler is even asked."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=audio(count=33))
        self.peer.ack(self.peer.expect(488))
        self.assertEqual(handler.log, [])
        self.finish()

    def test_the_base_class_claims_nothing(self) -> None:
        """A handler that overrides nothing is asked and passed."""
        idle = SDPHandler()
        idle.name, idle.media_type = "idle", "audio"
        self.start(handlers=[idle])
        self.invite(body=audio())
        self.peer.ack(self.peer.expect(488))
        session, answered = self._dial()
        self.failureResultOf(answered, NegotiationFailed)
        self.assertTrue(session.is_over)
        self.finish()

    def _dial(self) -> tuple[Session, Deferred[Response]]:
        flow = self.box.flow_to(("192.0.2.9", 5060))
        session = self.box.manager.dial("sip:peer@192.0.2.9", flow)
        return session, session.invite_client.answered

    def test_a_veto_by_the_handlers(self) -> None:
        """A call of ours that no handler can describe is not placed."""

        def refuse(*args: object) -> Any:
            raise NegotiationFailed("no port")

        self.start(handlers=[Handler(create=refuse)])
        _, answered = self._dial()
        self.failureResultOf(answered, NegotiationFailed)
        self.peer.expect_silence(1)
        self.finish()

    def test_the_next_handler_may_offer(self) -> None:
        """For an offer of ours the first handler that describes a stream owns it."""
        shy = Handler("shy", 100, create=lambda *args: StreamVerdict.NOT_HANDLED)
        bold = Handler("bold", 200)
        self.start(handlers=[shy, bold])
        session, invite = self.answered()
        self.assertEqual(ports(invite), [40000])
        self.assertEqual((shy.log, bold.log), (["create", "destroy"], ["create", "apply"]))
        self.hang_up(session)
        self.finish()


def _not_handled(*args: object) -> StreamVerdict:
    return StreamVerdict.NOT_HANDLED


class DeferredTests(SessionTestCase):
    """Handlers that take their time."""

    def _start(self) -> Handler:
        self.cancelled: list[bool] = []
        self.port: Deferred[int] = Deferred()

        async def create(session: Session, stream: SessionStream, sdp: Any) -> Any:
            try:
                port = await self.port
            except CancelledError:
                self.cancelled.append(True)
                raise
            return sdp.media("audio", port, "RTP/AVP", ["0"])

        handler = Handler(create=create)
        self.start(handlers=[handler])
        return handler

    def test_the_answer_waits(self) -> None:
        """The 200 leaves when the port is there; 100 goes out meanwhile."""
        self._start()
        self.invite(body=audio())
        self.peer.expect(100)
        self.port.callback(41000)
        success = self.peer.expect(200)
        self.assertEqual(ports(success), [41000])
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.hang_up(self.session)
        self.finish()

    def test_cancel(self) -> None:
        """CANCEL cancels the Deferred; the stream is destroyed, nothing leaks."""
        handler = self._start()
        invite = self.invite(body=audio())
        self.peer.expect(100)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(self.cancelled, [True])
        self.assertEqual(handler.log, ["claim", "create", "destroy"])
        handler.create = None
        self.finish()

    def test_the_application_hears_of_it(self) -> None:
        """Who waits for the answer gets SessionEnded when the caller has gone."""
        errors: list[BaseException] = []

        async def play(session: Session) -> None:
            try:
                await session.send_response(200)
            except SessionEnded as error:
                errors.append(error)
                raise

        handler = Handler(create=lambda *args: Deferred())
        self.start(handlers=[handler], play=play)
        invite = self.invite(body=audio())
        self.peer.expect(100)
        with self.assertRaises(Exception) as caught:
            self.session.send_response(200)
        self.assertIn("being answered already", str(caught.exception))
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(len(errors), 1)
        handler.create = None
        self.finish()

    def test_reject_while_the_answer_is_made(self) -> None:
        """A refusal while a handler works on the answer cancels it."""
        handler = self._start()
        self.invite(body=audio())
        self.peer.expect(100)
        self.session.send_response(486)
        self.peer.ack(self.peer.expect(486))
        self.assertEqual(self.cancelled, [True])
        self.assertEqual(handler.log, ["claim", "create", "destroy"])
        handler.create = None
        self.finish()

    def test_a_handler_that_gives_up_by_itself(self) -> None:
        """A handler whose own work was cancelled is a failure: 500."""
        handler = self._start()
        self.invite(body=audio())
        self.peer.expect(100)
        self.port.cancel()
        self.peer.ack(self.peer.expect(500))
        self.assertEqual(handler.log, ["claim", "create", "destroy"])
        handler.create = None
        self.finish()

    def test_cancel_of_a_reinvite(self) -> None:
        """CANCEL of a re-INVITE whose handler works: 487, and the stream in force lives on."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()
        waiting: Deferred[Any] = Deferred()
        handler.create = lambda *args: waiting
        reinvite = self.request_within(success, "INVITE", body=audio(41000))
        self.peer.expect(100)
        stream = self.session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 40000)
        assert stream.remote is not None
        self.assertEqual(stream.remote.port, 41000)
        self.peer.cancel(reinvite)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(stream.remote.port, 40000)
        self.assertNotIn("destroy", handler.log)
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log.count("destroy"), 1)
        handler.create = None
        self.finish()

    def test_a_late_offer_that_waits(self) -> None:
        """The 2xx to our INVITE without offer brings one; the ACK waits for our answer."""
        self._start()
        session, invite = self.placed(offered_media=())
        self.assertEqual(invite.body, b"")
        success = self.peer.reply(invite, 200)
        self.peer.send(success)
        self.peer.expect_silence(1)
        self.port.callback(41000)
        ack = self.peer.expect("ACK")
        self.assertEqual(ports(ack), [41000])
        self.peer.send(success)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count("ACK"), 2)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_hang_up_while_the_late_answer_is_made(self) -> None:
        """Hanging up meanwhile cancels the handler: ACK with an answer that declines, then BYE."""
        self._start()
        session, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200)
        self.net.run_for(0.1)
        session.terminate()
        self.assertEqual(ports(self.peer.expect("ACK")), [0])
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.assertEqual(self.cancelled, [True])
        self.finish()

    def test_bye_while_the_late_answer_is_made(self) -> None:
        """A BYE meanwhile ends all; nothing is acknowledged any more."""
        self._start()
        _, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200)
        self.net.run_for(0.1)
        self.request_within(invite, "BYE")
        self.answer_to("BYE")
        self.assertEqual(self.cancelled, [True])
        self.finish()

    def test_a_late_answer_that_never_comes(self) -> None:
        """The handler has its time; then the call is acknowledged, declined and ended."""
        self._start()
        session, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200)
        self.assertEqual(ports(self.peer.expect("ACK", 29)), [0])
        bye = self.peer.expect("BYE")
        self.assertIn("488", bye.headers.get("Reason") or "")
        self.peer.reply(bye, 200)
        self.assertIn("took too long", str(session.end_reason))
        self.finish()

    def test_a_late_offer_that_nobody_wants(self) -> None:
        """An offer in the 2xx that cannot be used: a declining answer in the ACK, then BYE."""
        self.start(handlers=[Handler()])
        for body, answer in ((audio(kind="image"), [0]), ("garbage", [])):
            _, invite = self.placed(offered_media=())
            self.peer.reply(invite, 200, body=body, content_type="application/sdp")
            ack = self.peer.expect("ACK")
            self.assertEqual(ports(ack) if ack.body else [], answer)
            self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_no_offer_at_all(self) -> None:
        """A 2xx without offer to an INVITE without offer makes a call without media."""
        self.start(handlers=[Handler()])
        session, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200, body=b"")
        self.assertEqual(self.peer.expect("ACK").body, b"")
        self.hang_up(session)
        self.finish()


class LateOfferTests(SessionTestCase):
    """INVITEs of the peer without an offer."""

    def test_offer_in_200_answer_in_ack(self) -> None:
        """Media flows when the ACK has brought the answer, not before."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=b"")
        success = self.peer.expect(200)
        self.assertEqual(ports(success), [40000])
        self.assertEqual(handler.log, ["create"])
        self.peer.ack(success, body=audio())
        self.net.run_for(0.1)
        self.assertEqual(handler.log, ["create", "apply"])
        self.hang_up(self.session)
        self.finish()

    def test_bad_answers_in_the_ack(self) -> None:
        """No answer, garbage, or one that does not fit: BYE, and everything is closed."""
        for body in ("", "garbage", audio(count=2), audio(kind="video")):
            handler = Handler()
            self.start(handlers=[handler])
            self.invite(body=b"")
            success = self.peer.expect(200)
            self.peer.ack(success, body=body)
            bye = self.peer.expect("BYE")
            self.assertIn("Bad answer in ACK", bye.headers.get("Reason") or "")
            self.peer.reply(bye, 200)
            self.net.run_for(0.1)
            self.assertEqual(handler.log, ["create", "destroy"])
            self.finish()

    def test_nothing_to_offer(self) -> None:
        """Without a handler for what we would offer the call is refused with 488."""
        self.start(handlers=[])
        self.invite(body=b"")
        self.peer.ack(self.peer.expect(488))
        self.finish()

    def test_an_answer_that_declines(self) -> None:
        """A declined stream is destroyed; the call stands."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=b"")
        self.peer.ack(self.peer.expect(200), body=audio(0))
        self.net.run_for(0.1)
        self.assertEqual(handler.log, ["create", "destroy"])
        self.hang_up(self.session)
        self.finish()

    def test_reinvite_before_the_ack_of_a_late_offer(self) -> None:
        """While our offer is open a re-INVITE gets 491 (14.1)."""
        self.start(handlers=[Handler()])
        self.invite(body=b"")
        success = self.peer.expect(200)
        self.request_within(success, "INVITE", body=audio())
        self.peer.ack(self.peer.expect(491))
        self.peer._sent[success.call_id, 1] = self.peer._sent[success.call_id, 2]
        self.peer.ack(success, body=audio())
        self.net.run_for(0.1)
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.hang_up(self.session)
        self.finish()


class ReofferTests(SessionTestCase):
    """Re-INVITEs of the peer."""

    def _reinvite(self, success: Response, **kwargs: Any) -> Response:
        self.request_within(success, "INVITE", **kwargs)
        answer = self.answer_to("INVITE")
        self.peer.ack(answer)
        self.net.run_for(0.1)
        return answer

    def test_same_handler_same_stream(self) -> None:
        """The stream's own handler is asked first, and keeps its stream."""
        first, second = Handler("a", 100, claim=_not_handled), Handler("b", 200)
        self.start(handlers=[first, second])
        success = self.call()
        stream = self.session.media.streams[0]
        answer = self._reinvite(success, body=audio(41000, version=2))
        self.assertEqual(answer.status, 200)
        self.assertIs(self.session.media.streams[0], stream)
        self.assertEqual(first.log, ["claim"])
        self.assertEqual(second.log, WHOLE_LIFE[:3] * 2)
        self.hang_up(self.session)
        self.finish()

    def test_without_sdp(self) -> None:
        """A re-INVITE without SDP gets an offer of what is in force (14.2)."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()
        self.request_within(success, "INVITE")
        answer = self.answer_to("INVITE")
        self.assertEqual(ports(answer), [40000])
        self.peer.ack(answer, body=audio(42000))
        self.net.run_for(0.1)
        stream = self.session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        self.assertEqual(stream.active_remote.port, 42000)
        self.assertEqual(handler.log, [*WHOLE_LIFE[:3], "create", "apply"])
        self.hang_up(self.session)
        self.finish()

    def test_fewer_m_lines(self) -> None:
        """An offer with fewer m-lines is refused with 488; the call and its media stay (3264 8)."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=audio(count=2))
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(self._reinvite(success, body=audio(version=2)).status, 488)
        self.assertEqual(len(self.session.media.streams), 2)
        self.assertNotIn("destroy", handler.log)
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.hang_up(self.session)
        self.finish()

    def test_a_failed_offer_puts_all_back(self) -> None:
        """A handler's refusal leaves the streams in force untouched, and destroys the new ones."""
        handler = Handler()
        self.start(handlers=[handler])
        success = self.call()

        def create(session: Session, stream: SessionStream, sdp: Any) -> Any:
            if stream.index == 1:
                raise NegotiationFailed("one is enough")
            return sdp.media("audio", 43000, "RTP/AVP", ["0"])

        handler.create = create
        answer = self._reinvite(success, body=audio(41000, 2, version=2))
        self.assertEqual(answer.status, 488)
        stream = self.session.media.streams[0]
        assert stream is not None and stream.local is not None and stream.remote is not None
        self.assertEqual((stream.local.port, stream.remote.port), (40000, 40000))
        self.assertEqual(handler.log.count("apply"), 1)
        self.assertEqual(handler.log.count("destroy"), 1)
        handler.create = None
        self.assertEqual(self._reinvite(success, body=audio(version=3)).status, 200)
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log.count("destroy"), 2)
        self.finish()

    def test_another_type_in_the_slot(self) -> None:
        """A slot that changes its type changes its handler; the old stream ends at *apply*."""
        sound, picture = Handler(), Handler("picture", media_type="video")
        self.start(handlers=[sound, picture])
        success = self.call()
        answer = self._reinvite(success, body=audio(kind="video", version=2))
        self.assertEqual(answer.status, 200)
        self.assertEqual(sound.log, WHOLE_LIFE)
        self.assertEqual(picture.log, WHOLE_LIFE[:3])
        self.hang_up(self.session)
        self.finish()

    def test_its_own_handler_does_not_want_it_any_more(self) -> None:
        """When the owner passes, the next handler of the type is asked."""
        first, second = Handler("a", 100), Handler("b", 200)
        self.start(handlers=[first, second])
        success = self.call()
        first.claim = StreamVerdict.NOT_HANDLED
        self._reinvite(success, body=audio(version=2))
        self.assertEqual(first.log, [*WHOLE_LIFE[:3], "claim", "stop", "destroy"])
        self.assertEqual(second.log, WHOLE_LIFE[:3])
        self.hang_up(self.session)
        self.finish()

    def test_a_stream_goes_and_comes_back(self) -> None:
        """Port 0 ends a stream, its place stays; offered again it is a new one."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=audio(count=2))
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        gone = audio(version=2) + "m=audio 0 RTP/AVP 0\r\n"
        self.assertEqual(ports(self._reinvite(success, body=gone)), [40000, 0])
        self.assertEqual(handler.log.count("destroy"), 1)
        self.assertIsNone(self.session.media.streams[1])
        session = self.session
        result = session.send_reinvite()
        reinvite = self.peer.expect("INVITE")
        self.assertEqual(ports(reinvite), [40000, 0])
        self.peer.reply(reinvite, 200, body=audio(version=3) + "m=audio 0 RTP/AVP 0\r\n")
        self.peer.expect("ACK")
        self.successResultOf(result)
        back = self._reinvite(success, body=audio(count=2, version=4))
        self.assertEqual(ports(back), [40000, 40000])
        self.hang_up(session)
        self.net.run_for(0.1)
        self.assertEqual(handler.log.count("destroy"), 3)
        self.finish()

    def test_a_handler_that_declines_what_it_has(self) -> None:
        """NOT_HANDLED from create of a re-offer ends the stream with the exchange."""
        handler = Handler()
        self.start(handlers=[handler])
        self.invite(body=audio(count=2))
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        handler.create = lambda session, stream, sdp: (
            StreamVerdict.NOT_HANDLED
            if stream.index == 0
            else sdp.media("audio", 40000, "RTP/AVP", ["0"])
        )
        answer = self._reinvite(success, body=audio(count=2, version=2))
        self.assertEqual(ports(answer), [0, 40000])
        self.assertEqual(handler.log.count("destroy"), 1)
        handler.create = None
        self.hang_up(self.session)
        self.finish()

    def test_garbage(self) -> None:
        """A re-INVITE whose SDP cannot be read is refused; the call stays."""
        self.start(handlers=[Handler()])
        success = self.call()
        answer = self._reinvite(success, body="garbage", content_type="application/sdp")
        self.assertIn(answer.status, (400, 488))
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.hang_up(self.session)
        self.finish()

    def test_early_media_is_not_touched_by_ringing(self) -> None:
        """While it rings nothing is opened."""
        handler = Handler()
        self.start(handlers=[handler], play=ring)
        invite = self.invite(body=audio())
        self.peer.expect(180)
        self.assertEqual(handler.log, ["claim"])
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(handler.log, ["claim", "destroy"])
        self.finish()
