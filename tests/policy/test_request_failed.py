# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Requests of ours that come to nothing: the hook for failover, and the way to another host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipsess.errors import SIPError, Timeout, TransportError
from sipsess.interfaces import IRequestFailed
from sipsess.locating import NextHop
from sipsess.message import Request, Response
from sipsess.sdphandler import StreamVerdict
from sipsess.session import Session
from sipsess.session.outgoing import MAX_ATTEMPTS
from sipsess.supplement import Retry
from sipsess.testing import ScriptedPeer
from tests.policy.sessions import Handler, Probe, SessionTestCase

#: Another server, and how it is reached.
OTHER = "192.0.2.10"
OTHER_URI = f"sip:{OTHER}"

Outcome = Response | SIPError
Wish = Callable[[Session, Request, Outcome], Any]


@implementer(IRequestFailed)
class Failover(Probe):
    """Notes what failed, and does what a test says."""

    def __init__(self, wish: Wish, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wish = wish
        self.failed: list[tuple[str, object]] = []

    def request_failed(self, session: Session, request: Request, outcome: Outcome) -> Retry | None:
        """See the interface."""
        what = outcome.status if isinstance(outcome, Response) else type(outcome)
        self.failed.append((request.method, what))
        wanted: Retry | None = self.wish(session, request, outcome)
        return wanted


def to_other(session: Session, request: Request, outcome: Outcome) -> Retry | None:
    """Try the other server, once."""
    return Retry(next_hop=OTHER_URI) if request.attempt == 0 else None


class FailoverTestCase(SessionTestCase):
    """A supplement that has the last word, and a second server."""

    def begin(self, wish: Wish = to_other, **kwargs: Any) -> Failover:
        """Start with the supplement."""
        failover = Failover(wish, **kwargs)
        self.start(failover)
        self.other = ScriptedPeer(self.net.host(OTHER, name="other"))
        return failover

    def take(self, invite: Request, session: Session) -> None:
        """Let the other server answer, and end the call."""
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        self.assertEqual(session.usage.state, "CONFIRMED")
        session.terminate()
        self.other.reply(self.other.expect("BYE"), 200)
        self.finish()


class FailoverTests(FailoverTestCase):
    """The next server (RFC 3263 4.3)."""

    def test_after_503(self) -> None:
        """The same request goes to another server: the Request-URI stays, the CSeq counts on."""
        failover = self.begin()
        session, first = self.placed()
        self.peer.reply(first, 503)
        second = self.other.expect("INVITE")
        self.assertEqual((second.uri, second.cseq.number), (first.uri, 2))
        self.assertNotEqual(first.via.branch, second.via.branch)
        self.assertEqual(failover.failed, [("INVITE", 503)])
        self.take(second, session)

    def test_after_a_timeout(self) -> None:
        """No answer in 64*T1 is a failure as well (8.1.3.1)."""
        failover = self.begin()
        session = self.box.dial()
        second = self.other.expect("INVITE", within=40)
        self.assertEqual(failover.failed, [("INVITE", Timeout)])
        self.take(second, session)

    def test_nobody_is_left(self) -> None:
        """When no retry is wanted, the last outcome counts."""
        failover = self.begin()
        session, first = self.placed()
        self.peer.reply(first, 503)
        self.other.reply(self.other.expect("INVITE"), 486)
        self.net.run_for(0.1)
        self.assertEqual(failover.failed, [("INVITE", 503), ("INVITE", 486)])
        self.assertEqual(str(session.end_reason), "INVITE by the far end: 486 Busy Here")
        self.finish()

    def test_a_timeout_at_the_end(self) -> None:
        """A failure without an answer is told as one when no retry is wanted."""
        self.begin(lambda *args: None)
        session = self.box.dial()
        self.net.run_for(40)
        self.assertEqual(
            str(session.end_reason),
            "INVITE by the network: 408 no final response to INVITE in 32 s",
        )
        self.finish()

    def test_not_after_cancel(self) -> None:
        """Once the call was cancelled its INVITE is not sent elsewhere, and nobody is asked."""
        failover = self.begin()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 503)
        self.net.run_for(1)
        self.assertEqual((failover.failed, self.other.received), ([], []))
        self.finish()

    def test_incoming_response_comes_first(self) -> None:
        """Nobody has failed while a supplement wants the request again for the response's sake."""
        failover = self.begin(
            incoming_response=lambda s, r: Retry({"X": "y"}) if r.status == 422 else None
        )
        session, first = self.placed()
        self.peer.reply(first, 422)
        again = self.peer.expect("INVITE")
        self.assertEqual((again.headers.get("X"), failover.failed), ("y", []))
        self.peer.reply(again, 486)
        self.finish_refused(session)

    def finish_refused(self, session: Session) -> None:
        """Check the end of a call that was refused after the other server was tried."""
        self.net.run_for(0.1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_requests_within_the_call(self) -> None:
        """The hook sees every method; ``methods`` and the attempt bound it."""
        failover = self.begin(lambda *args: Retry({"X": "y"}), methods={"INFO"})
        session, _ = self.answered()
        session.send_request("INFO")
        for _ in range(MAX_ATTEMPTS):
            self.peer.reply(self.peer.expect("INFO"), 403)
        self.net.run_for(0.1)
        # The last one is not tried again; nor is the BYE asked about.
        self.assertEqual(failover.failed, [("INFO", 403)] * MAX_ATTEMPTS)
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 403)
        self.finish()

    def test_several_values(self) -> None:
        """A header may be set to several values, each on its own line."""
        self.begin(lambda s, r, o: Retry({"X": ["a", "b"]}) if r.attempt == 0 else None)
        session, first = self.placed()
        self.peer.reply(first, 407)
        again = self.peer.expect("INVITE")
        self.assertEqual(again.headers.get_all("X"), ["a", "b"])
        self.peer.reply(again, 486)
        self.finish_refused(session)

    def test_a_broken_plugin(self) -> None:
        """What raises, or gives nonsense, is logged with its name; the outcome counts."""
        for wish in (lambda *args: 1 / 0, lambda *args: "again", lambda *args: _late()):
            self.begin(wish)
            session, invite = self.placed()
            self.peer.reply(invite, 503)
            self.net.run_for(0.1)
            self.assertEqual(session.end_reason and session.end_reason.status, 503)
            self.finish(failures=1)


async def _late() -> None:
    """Nobody waits for it."""


class OtherHostTests(FailoverTestCase):
    """The way to the host of a new URI may have to be looked for."""

    def resolving(self, wish: Wish) -> tuple[Failover, Deferred[NextHop]]:
        """Start with a name service that answers when a test says."""
        failover = self.begin(wish)
        found: Deferred[NextHop] = Deferred()
        self.asked: list[str] = []

        async def locate(uri: str) -> NextHop:
            self.asked.append(uri)
            return await found

        self.box.manager.locate = locate
        return failover, found

    def named(self, session: Session, request: Request, outcome: Outcome) -> Retry | None:
        """Go to a host by name, once."""
        return Retry(uri="sip:bob@other.example") if request.attempt == 0 else None

    def test_a_name(self) -> None:
        """The INVITE leaves when the name is known, and the call's own flow is the new one."""
        _, found = self.resolving(self.named)
        session, first = self.placed()
        self.peer.reply(first, 302)
        self.net.run_for(1)
        self.assertEqual(self.asked, ["sip:bob@other.example"])
        self.assertEqual(self.other.received, [])
        found.callback(NextHop.along(self.box.flow_to((OTHER, 5060))))
        second = self.other.expect("INVITE")
        self.assertEqual(second.uri, "sip:bob@other.example")
        self.assertEqual(session.flow.remote, (OTHER, 5060))
        self.take(second, session)

    def test_an_unknown_name(self) -> None:
        """It is one more failure, and the last one counts."""
        failover, found = self.resolving(self.named)
        session, first = self.placed()
        self.peer.reply(first, 302)
        self.net.run_for(0.1)
        found.errback(TransportError("the name is not known"))
        self.assertEqual(failover.failed, [("INVITE", 302), ("INVITE", TransportError)])
        self.assertIn("the name is not known", str(session.end_reason))
        self.finish()

    def test_a_slow_name_service(self) -> None:
        """It is waited for, but not for ever."""
        failover, _ = self.resolving(self.named)
        session, first = self.placed()
        self.peer.reply(first, 302)
        self.net.run_for(40)
        self.assertEqual(failover.failed[1:], [("INVITE", TransportError)])
        self.assertTrue(session.is_over)
        self.finish()

    def test_hung_up_meanwhile(self) -> None:
        """Nothing is sent any more, there is nothing to cancel, and the call is over."""
        _, found = self.resolving(self.named)
        session, first = self.placed()
        self.peer.reply(first, 302)
        self.net.run_for(0.1)
        session.terminate()
        found.callback(NextHop.along(self.box.flow_to((OTHER, 5060))))
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual((self.other.received, self.peer.count("CANCEL")), ([], 0))
        self.finish()

    def test_stopped_meanwhile(self) -> None:
        """The name service is asked no longer when the session is over."""
        _, found = self.resolving(self.named)
        session, first = self.placed()
        self.peer.reply(first, 302)
        self.net.run_for(0.1)
        with self.box.core.turn:
            session.ending.fail(session.reason_or_unknown())
        self.assertTrue(found.called)
        self.finish()


class OtherAddressTests(FailoverTestCase):
    """The INVITE may leave from another address of ours."""

    def moving(self, session: Session, request: Request, outcome: Outcome) -> Retry | None:
        """Go to the peer's IPv6 address, once."""
        return Retry(next_hop="sip:[2001:db8::9]") if request.attempt == 0 else None

    def test_the_media_move_along(self) -> None:
        """Contact and session description name the new address; the old stream is destroyed."""
        handler = Handler()
        self.start(Failover(self.moving), handlers=[handler])
        six = ScriptedPeer(self.net.host("2001:db8::9", name="six"))
        session, first = self.placed()
        self.peer.reply(first, 503)
        second = six.expect("INVITE")
        self.assertIn(b"c=IN IP6 2001:db8::1", second.body)
        self.assertIn("[2001:db8::1]", second.headers.get("Contact") or "")
        self.assertEqual(handler.log, ["create", "destroy", "create"])
        six.reply(second, 200)
        six.expect("ACK")
        session.terminate()
        six.reply(six.expect("BYE"), 200)
        self.finish()

    def test_no_media_from_there(self) -> None:
        """When nothing can be offered from the new address, the call fails."""
        handler = Handler()
        self.start(Failover(self.moving), handlers=[handler])
        session, first = self.placed()
        handler.create = lambda *args: StreamVerdict.NOT_HANDLED
        self.peer.reply(first, 503)
        self.net.run_for(0.1)
        self.assertIn("no media can be offered", str(session.end_reason))
        self.finish()

    def test_without_an_offer(self) -> None:
        """A late offer needs none from the new address either."""
        self.start(Failover(self.moving))
        six = ScriptedPeer(self.net.host("2001:db8::9", name="six"))
        session, first = self.placed(offered_media=())
        self.peer.reply(first, 503)
        self.assertEqual(six.expect("INVITE").body, b"")
        session.terminate()
        self.net.run_for(40)
        self.finish()
