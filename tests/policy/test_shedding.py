# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A core that has too much to do refuses new calls, and nothing else (RFC 5390)."""

from __future__ import annotations

from sipsess.message import Request, Response, build_ack, parse
from sipsess.overload import INTERVAL, LINGER, PATIENCE, RETRY_AFTER, TARGET
from tests.policy.agents import PEER, US, BoxTestCase, ring

LONG, TOO_LONG = TARGET * 2, PATIENCE * 2


class SheddingTests(BoxTestCase):
    """The core, told how long each INVITE has waited."""

    def feed(self, message: Request | bytes, waited: float) -> None:
        """Let a message of the peer be read after it has waited so long."""
        data = message if isinstance(message, bytes) else message.to_bytes()
        flow = self.box.flow_to((PEER, 5060))
        self.box.core.receive_datagram(data, flow, self.net.seconds(), waited)
        self.net.run_for(0.02)

    def make_invite(self) -> Request:
        """Return an INVITE that the peer could send."""
        return self.peer.invite(f"sip:bob@{US}")

    def overload(self) -> None:
        """Let the queue stand for long enough."""
        for _ in range(3):
            self.feed(self.make_invite(), LONG)
            self.net.run_for(INTERVAL)
        self.assertTrue(self.box.core.shedder.control.is_active)

    def end(self) -> None:
        """Let the calls that were taken end, as nobody acknowledges them; then all is as ever."""
        self.net.run_for(100)
        self.finish()

    def test_refused_and_dropped(self) -> None:
        """After a while of long waits a new call gets 503, one that has waited longer nothing."""
        self.start()
        self.overload()
        calls = len(self.box.manager.sessions)
        refused = self.make_invite()
        self.feed(refused, LONG)
        answer = self.peer.expect(lambda m: m.call_id == refused.call_id)
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.headers.get("Retry-After"), str(RETRY_AFTER))
        dropped = self.make_invite()
        self.feed(dropped, TOO_LONG)
        self.assertEqual(self.peer.count(lambda m: m.call_id == dropped.call_id), 0)
        self.assertEqual(len(self.box.manager.sessions), calls)
        self.assertEqual(self.box.refused["overload-dropped"], 1)
        self.assertGreaterEqual(self.box.refused["overload-refused"], 1)
        self.end()

    def test_copies(self) -> None:
        """A copy of a refused INVITE gets the same refusal, and the ACK costs nothing (8.2.7)."""
        self.start()
        self.overload()
        invite = self.make_invite()
        for _ in range(2):
            self.feed(invite, LONG)
        answers = [m for m in self.peer.received if m.call_id == invite.call_id]
        self.assertEqual(len(answers), 2)
        self.assertEqual(answers[0].to_bytes(), answers[1].to_bytes())
        unmatched = self.box.refused.get("ack-unmatched", 0)
        assert isinstance(answers[0], Response)
        self.feed(build_ack(invite, answers[0]), 0.0)
        self.assertEqual(self.box.refused.get("ack-unmatched", 0), unmatched)
        self.end()

    def test_what_was_begun_is_finished(self) -> None:
        """A copy of an INVITE that was taken, and all within a call, is never refused."""
        self.start(play=ring)
        taken = self.make_invite()
        self.feed(taken, 0.0)
        ringing = self.peer.expect(180)
        self.overload()
        self.feed(taken, TOO_LONG)
        copies = self.peer.count(lambda m: m.call_id == taken.call_id and m.cseq.number == 1)
        self.assertGreaterEqual(copies, 2)
        self.assertNotIn("overload-dropped", self.box.refused)
        again = self.peer.request_within(ringing, "INVITE", body=self.peer.sdp())
        self.feed(again, TOO_LONG)
        # The call is not answered yet (14.2): it was read, at least.
        self.assertEqual(self.answer_to_call(again).status, 500)
        self.feed(self.peer.request("OPTIONS", f"sip:{US}"), TOO_LONG)
        self.assertEqual(self.answer_to("OPTIONS").status, 200)
        for session in list(self.box.manager.sessions):
            session.terminate()
        self.end()

    def answer_to_call(self, request: Request) -> Response:
        """Return the final response to that very request."""
        found = self.peer.expect(
            lambda m: (
                isinstance(m, Response)
                and (m.call_id, m.cseq.number) == (request.call_id, request.cseq.number)
                and m.status >= 200
            )
        )
        assert isinstance(found, Response)
        return found

    def test_over(self) -> None:
        """The first INVITE that has not waited ends it; nobody asks any more after a while."""
        self.start()
        self.overload()
        welcome = self.make_invite()
        self.feed(welcome, 0.0)
        self.assertEqual(self.answer_to_call(welcome).status, 200)
        self.assertFalse(self.box.core.shedder.control.is_active)
        self.net.run_for(LINGER)
        self.feed(self.make_invite(), 0.0)
        self.assertTrue(self.box.core.shedder.control.is_calm)
        self.end()

    def test_what_must_be_parsed(self) -> None:
        """An INVITE that the bytes do not show plainly is read, and answered, all the same."""
        self.start()
        self.overload()
        data = (
            self.make_invite().to_bytes().replace(b"\r\nMax-Forwards", b"\r\n ;x=y\r\nMax-Forwards")
        )
        self.feed(data, LONG)
        request = parse(data)
        assert isinstance(request, Request)
        self.assertEqual(self.answer_to_call(request).status, 200)
        self.end()
