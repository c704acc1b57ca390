# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What an SDP handler may do besides: let a re-offer wait, and fix addresses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipsess.interfaces import IDeferOffer, IMediaAddress
from sipsess.message import Request
from sipsess.sdp import Connection, MediaDescription, SessionDescription, parse
from sipsess.sdphandler import NegotiationFailed, StreamVerdict
from sipsess.session import Session, SessionStream
from sipsess.session.incoming import SETUP_LIMIT
from sipsess.supplement import Verdict
from tests.policy.sessions import Handler, Probe, SessionTestCase


@implementer(IDeferOffer)
class Careful(Handler):
    """Lets re-offers wait, or does what a test says."""

    def __init__(self, defer: Callable[[], Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.waits: list[Deferred[None]] = []
        self.cancelled = 0
        self.defer = defer or self.wait

    def wait(self) -> Deferred[None]:
        """Wait for the test."""
        self.waits.append(Deferred(lambda _: self.note()))
        return self.waits[-1]

    def note(self) -> None:
        """Count what is waited for no more."""
        self.cancelled += 1

    def defer_incoming_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> Any:
        """See the interface."""
        self.log.append(f"defer {sdp.media[stream.index].port}")
        return self.defer()


class DeferTests(SessionTestCase):
    """A re-offer that waits."""

    def begin(self, *handlers: Handler, **kwargs: Any) -> Session:
        """Make a call with such a handler."""
        self.handler = Careful(**kwargs)
        self.start(handlers=[self.handler, *handlers])
        self.success = self.call()
        return self.session

    def reoffer(self, method: str = "INVITE", port: int = 40002) -> Request:
        """Let the peer offer again."""
        request = self.request_within(self.success, method, body=self.peer.sdp(port))
        self.net.run_for(0.1)
        return request

    def end(self, session: Session, failures: int = 0) -> None:
        """Hang up and look for what is left."""
        self.hang_up(session)
        self.finish(failures=failures)

    def test_the_reinvite_waits(self) -> None:
        """It gets 100 and is answered when the Deferred has fired; its copies are absorbed."""
        session = self.begin()
        invite = self.reoffer()
        for _ in range(3):
            self.net.run_for(1)
            self.peer.send(invite)
        self.assertEqual(self.handler.log, ["claim", "create", "apply", "defer 40002"])
        self.assertGreaterEqual(self.peer.count(100), 1)
        self.handler.waits[0].callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.assertEqual(self.handler.log[4:], ["claim", "create", "apply"])
        self.assertIn("offer deferred", self.lines(session.call_id))
        self.end(session)

    def test_a_server_that_is_thrown_away(self) -> None:
        """What waits is closed without a word when nobody has its server any more."""
        session = self.begin()
        self.reoffer()
        waiting = [
            item
            for item in gc.get_objects()
            if isinstance(item, CoroutineType) and item.__name__ == "_receive_later"
        ]
        self.assertEqual(len(waiting), 1)
        waiting.pop().close()
        self.assertEqual(self.handler.cancelled, 0)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.end(session)

    def test_the_first_offer_does_not(self) -> None:
        """Only what keeps a stream in force can be deferred."""
        session = self.begin()
        self.assertEqual(self.handler.log, ["claim", "create", "apply"])
        self.end(session)

    def test_another_invite_meanwhile(self) -> None:
        """It gets 500 with Retry-After (14.2), and ours waits."""
        session = self.begin()
        self.reoffer()
        self.reoffer(port=40004)
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 500)
        self.assertTrue(0 <= int(refused.headers.get("Retry-After") or "x") <= 10)
        done = session.hold()
        self.net.run_for(1)
        self.assertEqual(self.peer.count("INVITE"), 0)
        self.handler.waits[0].callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.peer.reply(self.peer.expect("INVITE"), 200)
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(done).status, 200)
        self.end(session)

    def test_an_invite_that_waits_for_its_turn(self) -> None:
        """Of two INVITEs behind a slow request the second gets 500 at once (14.2)."""
        slow: Deferred[None] = Deferred()
        self.handler = Careful(defer=lambda: None)
        probe = Probe(methods=["INFO"], incoming_request=lambda *args: slow)
        probe.allow = frozenset({"INFO"})
        self.start(probe, handlers=[self.handler])
        self.success = self.call()
        session = self.session
        self.request_within(self.success, "INFO")
        self.reoffer()
        self.reoffer(port=40004)
        self.assertEqual(self.answer_to("INVITE").status, 500)
        slow.callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.end(session)

    def test_cancelled(self) -> None:
        """CANCEL cancels the Deferred, and the call is as before."""
        session = self.begin()
        self.peer.cancel(self.reoffer())
        self.assertEqual(self.answer_to("INVITE").status, 487)
        self.assertEqual(self.handler.cancelled, 1)
        self.assertFalse(session.media.is_open)
        self.end(session)

    def test_hung_up(self) -> None:
        """So does a BYE."""
        self.begin()
        self.reoffer()
        self.request_within(self.success, "BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.handler.cancelled, 1)
        self.finish()

    def test_for_ever(self) -> None:
        """It waits for no longer than a caller would; then 500, and the call goes on."""
        session = self.begin()
        self.reoffer()
        refused = self.peer.expect(500, within=SETUP_LIMIT + 5)
        self.assertEqual(refused.cseq.method, "INVITE")
        self.assertEqual(self.handler.cancelled, 1)
        self.end(session, failures=0)

    def test_refused_in_the_end(self) -> None:
        """A refusal may come late: 488 with the handler's words."""
        session = self.begin()
        self.reoffer()
        self.handler.waits[0].errback(NegotiationFailed("not now"))
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 488)
        self.assertIn("not now", refused.headers.get("Warning") or "")
        self.end(session)

    def test_update(self) -> None:
        """An UPDATE cannot wait: 504, and the Deferred is cancelled (RFC 3311 5.2)."""
        session = self.begin()
        self.reoffer("UPDATE")
        self.assertEqual(self.answer_to("UPDATE").status, 504)
        self.assertEqual(self.handler.cancelled, 1)
        self.end(session)

    def test_update_at_once(self) -> None:
        """When nothing defers it, it is answered."""
        session = self.begin(defer=lambda: None)
        self.reoffer("UPDATE")
        self.assertEqual(self.answer_to("UPDATE").status, 200)
        self.end(session)

    def test_a_coroutine(self) -> None:
        """It may be an ``async def``; when the first refuses, the others are let go."""
        done: list[str] = []

        async def wait() -> None:
            done.append("waited")

        session = self.begin(defer=wait)
        self.reoffer()
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.assertEqual(done, ["waited"])
        self.end(session)

    def test_several_streams(self) -> None:
        """All are waited for; when one refuses, the others are cancelled."""
        session = self.begin()
        both = self.peer.sdp() + "m=audio 40006 RTP/AVP 0\r\n"
        self.request_within(self.success, "INVITE", body=both)
        self.net.run_for(0.1)
        self.handler.waits[0].callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.request_within(self.success, "INVITE", body=both)
        self.net.run_for(0.1)
        self.handler.waits[1].errback(NegotiationFailed("no"))
        self.assertEqual(self.answer_to("INVITE").status, 488)
        self.assertEqual(self.handler.cancelled, 1)
        self.end(session)

    def test_a_declined_stream(self) -> None:
        """A stream that the offer ends is nothing to wait for."""
        session = self.begin()
        self.reoffer(port=0)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.assertNotIn("defer 0", self.handler.log)
        self.end(session)

    def test_broken(self) -> None:
        """What is broken is logged once, with the handler's name, and gets 500."""

        async def late() -> None:
            raise ValueError("broken")

        for defer in (lambda: 1 / 0, lambda: 42, late):
            session = self.begin(defer=defer)
            self.reoffer()
            self.assertEqual(self.answer_to("INVITE").status, 500)
            self.end(session, failures=1)

    def test_a_supplement_that_answers_by_itself(self) -> None:
        """The offer waits, too, when a supplement accepts the re-INVITE before the media mark."""

        def accept(session: Session, request: Request) -> Verdict | None:
            if session.is_initial(request):
                return None
            session.send_response(200, request)
            return Verdict.HANDLED

        self.handler = Careful()
        self.start(
            Probe(priority=100, methods=["INVITE"], incoming_request=accept),
            handlers=[self.handler],
        )
        self.success = self.call()
        session = self.session
        self.reoffer()
        self.assertEqual(self.peer.count(200), 1)
        self.handler.waits[0].callback(None)
        self.peer.ack(self.answer_to("INVITE"))
        self.net.run_for(0.1)
        self.end(session)


@implementer(IMediaAddress)
class Outside(Handler):
    """Claims nothing, and gives media another address."""

    def __init__(self, fix: Callable[[MediaDescription], Any], **kwargs: Any) -> None:
        super().__init__("outside", claim=StreamVerdict.NOT_HANDLED, **kwargs)
        self.fix = fix
        self.create = lambda *args: StreamVerdict.NOT_HANDLED

    def change_outgoing_sdp_stream_media_address(
        self, session: Session, stream: SessionStream, media: MediaDescription
    ) -> Any:
        """See the interface."""
        return self.fix(media)


def elsewhere(media: MediaDescription) -> MediaDescription:
    """Return a copy that leads to another address and port."""
    copy = media.copy()
    copy.connection = Connection("203.0.113.7")
    copy.port = 50000
    return copy


class AddressTests(SessionTestCase):
    """The last word on where the peer sends."""

    def begin(self, fix: Callable[[MediaDescription], Any], priority: int = 600) -> None:
        """Start with a handler and one that fixes addresses."""
        self.start(handlers=[Handler(), Outside(fix, priority=priority)])

    def address(self, body: bytes) -> tuple[str | None, int]:
        """Return where the peer is told to send."""
        (media,) = parse(body).media
        return media.address, media.port

    def test_offer_and_answer(self) -> None:
        """Both say the other address, whatever the place of the one who fixes it."""
        for priority in (100, 900):
            self.begin(elsewhere, priority)
            success = self.call()
            self.assertEqual(self.address(success.body), ("203.0.113.7", 50000))
            self.session.send_reinvite()
            invite = self.peer.expect("INVITE")
            self.assertEqual(self.address(invite.body), ("203.0.113.7", 50000))
            self.peer.reply(invite, 200)
            self.peer.expect("ACK")
            self.hang_up(self.session)
            self.finish()

    def test_nothing_to_fix(self) -> None:
        """``None`` leaves the m-line alone."""
        self.begin(lambda media: None)
        self.assertEqual(self.address(self.call().body), ("192.0.2.1", 40000))
        self.hang_up(self.session)
        self.finish()

    def test_broken(self) -> None:
        """What is no m-line, or raises, gets 500 and a line in the log."""
        for fix in (lambda media: "203.0.113.7", lambda media: 1 / 0):
            self.begin(fix)
            self.invite()
            self.assertEqual(self.answer_to("INVITE").status, 500)
            self.finish(failures=1)
