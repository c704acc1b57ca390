# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Every callback of every plugin raising in turn: the call ends or goes on, and nothing is left."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed

from sipsess.message import Response
from sipsess.session import Session
from sipsess.supplement import Reject, Retry, Verdict
from tests.policy.sessions import Handler, Probe, SessionTestCase, audio


class Boom(Exception):
    """What a broken plugin raises."""


def boom(*args: object) -> None:
    """Be a broken plugin."""
    raise Boom("boom")


class SupplementFailureTests(SessionTestCase):
    """A supplement that raises."""

    def _whole_call(self, probe: Probe) -> None:
        """Make a call to us and one of ours, each with an OPTIONS, and end them."""
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.answer_to("OPTIONS")
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        session, _ = self.answered()
        session.send_request("OPTIONS")
        self.peer.reply(self.peer.expect("OPTIONS"), 200)
        self.hang_up(session)
        self.net.run_for(1)
        self.assertEqual(list(self.box.manager.sessions), [])

    def test_each_callback_that_cannot_refuse(self) -> None:
        """The call goes on; log, record and counter name the plugin; the next call works."""
        for callback, times in (
            ("session_begin", 2),
            ("session_end", 2),
            ("session_destroy", 2),
            ("outgoing_request", 4),
            ("outgoing_response", 3),
            ("incoming_response", 3),
        ):
            probe, healthy = Probe("broken", acts={callback: boom}), Probe("healthy", 600)
            self.start(probe, healthy)
            self._whole_call(probe)
            self.assertEqual(self.box.core.counters.plugin_errors, times, callback)
            logged = self.flushLoggedErrors(Boom)
            self.assertEqual(len(logged), min(times, 5))
            seen = [what for what in healthy.seen if what.startswith(callback)]
            self.assertEqual(len(seen), times, f"{callback} of the next one")
            told = "".join(self.lines(session.call_id) for session in probe.sessions)
            self.assertIn(f"broken.{callback}", told)
            probe.acts.clear()
            self._whole_call(probe)
            self.assertEqual(self.box.core.counters.plugin_errors, times)
            self.finish()

    def test_incoming_request(self) -> None:
        """Each request is answered 500; a BYE ends the call all the same, as the peer is gone."""
        for method in ("INVITE", "OPTIONS", "BYE"):
            probe = Probe("broken", methods=[method], incoming_request=boom)
            self.start(probe)
            if method == "INVITE":
                self.invite()
            else:
                self.request_within(self.call(), method)
            answer = self.answer_to(method)
            self.assertEqual(answer.status, 500)
            if method == "INVITE":
                self.peer.ack(answer)
            if method == "OPTIONS":
                self.hang_up(self.session)
            self.net.run_for(0.1)
            self.assertEqual(list(self.box.manager.sessions), [])
            self.assertIn("broken.incoming_request", self.lines(answer.call_id))
            probe.acts.clear()
            self.finish(failures=1)

    def test_observers_of_ack_and_cancel(self) -> None:
        """Who raises over an ACK or a CANCEL stops nothing, at once or later."""

        async def later(*args: object) -> None:
            boom()

        for act in (boom, later):
            self.start(Probe("broken", methods=["ACK", "CANCEL"], incoming_request=act))
            self.call()
            self.assertEqual(self.session.usage.state, "CONFIRMED")
            self.hang_up(self.session)
            self.assertEqual(len(self.flushLoggedErrors(Boom)), 1)
            self.finish()

    def test_a_reject_of_an_ack_is_only_noted(self) -> None:
        """An ACK cannot be refused; a supplement of all methods need not know."""

        def reject(session: Session, request: Any) -> None:
            if request.method == "ACK":
                raise Reject(403)

        self.start(Probe("doorman", incoming_request=reject))
        success = self.call()
        self.assertIn("ACK by doorman", self.lines(success.call_id))
        self.hang_up(self.session)
        self.finish()

    def test_a_promise_where_none_is_kept(self) -> None:
        """A coroutine from a synchronous callback is a mistake, and is not left behind."""

        async def later(*args: object) -> None:
            boom()

        for callback in ("session_begin", "outgoing_response", "outgoing_request"):
            self.start(Probe("odd", acts={callback: later}))
            session, _ = self.answered()
            self.hang_up(session)
            self.call()
            self.hang_up(self.session)
            self.assertTrue(self.flushLoggedErrors(TypeError))
            self.box.manager.unregister_supplement(self.box.manager.chain.supplements[0])
            self.finish()

    def test_wrong_response_verdicts(self) -> None:
        """HANDLED, a coroutine, or the Retry of a 200 are mistakes; the response counts."""

        async def later(*args: object) -> None:
            boom()

        for act in (
            lambda session, response: Verdict.HANDLED,
            lambda session, response: Retry({"X": "y"}),
            lambda session, response: succeed(None),
            later,
        ):
            probe = Probe("odd", incoming_response=act)
            self.start(probe)
            session, _ = self.answered()
            probe.acts.clear()
            self.assertTrue(session.is_answered)
            self.hang_up(session)
            self.finish(failures=1)

    def test_a_broken_retry(self) -> None:
        """A Retry that cannot be written raises where it is made, in the plugin."""
        self.start(Probe("odd", incoming_response=lambda *args: Retry({"X": "a\r\nb"})))
        _, invite = self.placed()
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.finish(failures=1)

    def test_answering_twice(self) -> None:
        """Who answers from ``outgoing_response`` what is being answered takes its place, once."""

        def interfere(session: Session, response: Response) -> None:
            if response.status == 200 and response.cseq.method == "INVITE":
                session.send_response(486)

        self.start(Probe(outgoing_response=interfere))
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.assertEqual(self.peer.count(200), 0)
        self.finish()

    def test_ending_the_call_while_it_is_answered(self) -> None:
        """Who ends the call when the 200 is about to leave gets a refusal instead."""

        def interfere(session: Session, response: Response) -> None:
            if response.status == 200 and response.cseq.method == "INVITE":
                session.terminate(603)

        self.start(Probe(outgoing_response=interfere))
        self.invite()
        self.peer.ack(self.peer.expect(603))
        self.assertEqual(self.peer.count(200), 0)
        self.finish()

    def test_cookies(self) -> None:
        """A cookie's ``destroy`` that raises is logged with its name; the others are destroyed."""
        destroyed: list[object] = []

        def begin(session: Session) -> None:
            session.cookies.add("first", 1, destroyed.append)
            session.cookies.add("broken", 2, boom)
            session.cookies.add("last", 3, destroyed.append)

        self.start(Probe(session_begin=begin))
        success = self.call()
        self.hang_up(self.session)
        self.net.run_for(1)
        self.assertEqual(destroyed, [3, 1])
        self.assertIn("cookie broken.destroy", self.lines(success.call_id))
        self.box.manager.unregister_supplement(self.box.manager.chain.supplements[0])
        self.finish(failures=1)

    def test_timer(self) -> None:
        """What a plugin's timer raises is logged with the callback's name; the call goes on."""
        self.start()
        success = self.call()
        self.session.start_timer(1, boom)
        self.net.run_for(2)
        self.assertIn("timer boom", self.lines(success.call_id))
        self.hang_up(self.session)
        self.finish(failures=1)


class HandlerFailureTests(SessionTestCase):
    """An SDP handler that raises."""

    def test_refusing_callbacks(self) -> None:
        """Claim or create that raises: 500, the log names the handler, nothing is left."""
        for callback in ("claim", "create"):
            handler = Handler("broken", acts={callback: boom})
            self.start(handlers=[handler])
            self.invite()
            refusal = self.peer.expect(500)
            self.peer.ack(refusal)
            self.assertEqual(self.box.core.counters.plugin_errors, 1)
            self.assertIn("SDP handler broken", self.lines(refusal.call_id))
            self.assertEqual(handler.log.count("destroy"), handler.log.count("create"))
            handler.acts.clear()
            handler.claim = Handler().claim
            handler.create = None
            self.call()
            self.hang_up(self.session)
            self.finish(failures=1)

    def test_callbacks_that_cannot_refuse(self) -> None:
        """Apply, stop and destroy that raise are logged; the call and its end go on."""
        for callback in ("apply", "stop", "destroy"):
            handler = Handler("broken", acts={callback: boom})
            other = Handler("other", media_type="video")
            self.start(handlers=[handler, other])
            self.invite(body=audio() + "m=video 40002 RTP/AVP 31\r\n")
            success = self.peer.expect(200)
            self.peer.ack(success)
            self.net.run_for(0.1)
            self.hang_up(self.session)
            self.net.run_for(0.1)
            self.assertEqual(other.log, ["claim", "create", "apply", "stop", "destroy"])
            self.assertEqual(handler.log, other.log)
            self.box.manager.unregister_sdp_handler(handler)
            self.box.manager.register_sdp_handler(Handler())
            self.finish(failures=1)

    def test_wrong_results(self) -> None:
        """A claim that is no verdict and a description that is none are 500s."""
        for wrong in (
            Handler("odd", claim=1),
            Handler("odd", create=lambda *args: "m=audio"),
            Handler("odd", create=lambda *args: succeed(None)),
            Handler("odd", create=lambda s, t, sdp: sdp.media("video", 1, "RTP/AVP", ["0"])),
        ):
            self.start(handlers=[wrong])
            self.invite()
            self.peer.ack(self.peer.expect(500))
            self.box.manager.unregister_sdp_handler(wrong)
            self.flushLoggedErrors(TypeError)
            self.assertEqual(wrong.log.count("destroy"), wrong.log.count("create"))
            self.finish()

    def test_create_that_fails_later(self) -> None:
        """A Deferred that fails is a 500, too; the application's answer fails with it."""
        port: Deferred[Any] = Deferred()
        handler = Handler("broken", create=lambda *args: port)
        self.start(handlers=[handler])
        self.invite()
        self.peer.expect(100)
        port.errback(Boom("no port"))
        self.peer.ack(self.peer.expect(500))
        self.assertEqual(handler.log, ["claim", "create", "destroy"])
        self.assertEqual(len(self.flushLoggedErrors(Boom)), 1)
        handler.create = None
        self.finish()

    def test_stream_cookies(self) -> None:
        """A stream's cookie that cannot be destroyed is logged with its name."""
        handler = Handler(create=lambda session, stream, sdp: _with_cookie(stream, sdp))
        self.start(handlers=[handler])
        success = self.call()
        self.hang_up(self.session)
        self.net.run_for(0.1)
        self.assertIn("cookie port.destroy", self.lines(success.call_id))
        handler.create = None
        self.finish(failures=1)


def _with_cookie(stream: Any, sdp: Any) -> Any:
    stream.cookies.add("port", 1, boom)
    return sdp.media("audio", 40000, "RTP/AVP", ["0"])


class OwnFailureTests(SessionTestCase):
    """A bug of ours."""

    def test_bye(self) -> None:
        """A BYE that cannot be made ends the call all the same, and nothing of it is left."""
        self.start()
        session, _ = self.answered()
        with patch.object(type(session), "flow_to", boom):
            session.terminate()
            self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual(self.box.core.counters.refused, {"internal-error": 1})
        self.assertEqual(len(self.flushLoggedErrors(Boom)), 1)
        self.finish()
