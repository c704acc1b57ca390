# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""An offer of ours in a PRACK (RFC 3262 5, RFC 6337 2.2): when it goes, and what becomes of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from sipsess.message import Request
from sipsess.sdphandler import NegotiationFailed
from sipsess.session import Session, SessionEnded
from tests.policy.sessions import Handler, SessionTestCase

#: A peer that takes PRACK, and no UPDATE.
ALLOW = "INVITE, ACK, BYE, CANCEL, PRACK"


class PrackOfferTests(SessionTestCase):
    """A caller whose wish waits while the callee sends reliable responses."""

    def begin(self, create: Any = None) -> Session:
        """Place a call."""
        self.handler = Handler(create=create)
        self.start(handlers=[self.handler])
        session, self.dialled = self.placed()
        self.rseq = 0
        return session

    def reliable(self, body: str | bytes = b"", headers: dict[str, str] | None = None) -> Request:
        """Send the next reliable response; return its PRACK."""
        self.rseq += 1
        more = {"Allow": ALLOW} if headers is None else headers
        more = {**more, "Require": "100rel", "RSeq": str(self.rseq)}
        self.peer.reply(self.dialled, 183, to_tag="a", body=body, headers=more)
        return self.peer.expect("PRACK")

    def take(self, session: Session) -> None:
        """Answer the call and end it."""
        self.peer.reply(self.dialled, 200, to_tag="a", body=b"")
        self.peer.expect("ACK")
        self.hang_up(session)
        self.finish()

    def test_it_goes_with_the_prack(self) -> None:
        """The PRACK brings the offer, its 200 the answer, and the wish is done."""
        session = self.begin()
        done = session.send_update({"X": "y"}, with_offer=True)
        prack = self.reliable(self.peer.sdp())
        self.assertTrue(prack.body)
        self.assertEqual(prack.headers.get("X"), "y")
        self.peer.reply(prack, 200, body=self.peer.sdp(40010))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.peer.count("UPDATE"), 0)
        self.assertEqual(self.remote_port(session), 40010)
        self.assertEqual(self.handler.log, ["create", "apply", "create", "apply"])
        self.take(session)

    def remote_port(self, session: Session) -> int:
        """Return where media goes."""
        stream = session.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        return stream.active_remote.port

    def test_update_is_preferred(self) -> None:
        """A peer that allows UPDATE, or has not said, gets one."""
        for headers in ({"Allow": ALLOW + ", UPDATE"}, {}):
            session = self.begin()
            done = session.send_update(with_offer=True)
            prack = self.reliable(self.peer.sdp(), headers)
            self.assertEqual(prack.body, b"")
            self.peer.reply(prack, 200)
            update = self.peer.expect("UPDATE")
            self.peer.reply(update, 200, body=self.peer.sdp(40010))
            self.net.run_for(0.1)
            self.assertEqual(self.successResultOf(done).status, 200)
            self.take(session)

    def test_not_before_the_first_answer(self) -> None:
        """While the INVITE's own offer has no answer, a PRACK brings none."""
        session = self.begin()
        done = session.send_update(with_offer=True)
        self.peer.reply(self.without_offer(self.reliable()), 200)
        prack = self.reliable(self.peer.sdp())
        self.assertTrue(prack.body)
        self.peer.reply(prack, 200, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.take(session)

    def without_offer(self, prack: Request) -> Request:
        """Check that a PRACK has no body."""
        self.assertEqual(prack.body, b"")
        return prack

    def test_refused(self) -> None:
        """A PRACK that is refused leaves the media as they were (RFC 6141), and the call."""
        for status in (488, 481):
            session = self.begin()
            done = session.send_update(with_offer=True)
            prack = self.reliable(self.peer.sdp())
            self.peer.reply(prack, status)
            self.net.run_for(0.1)
            self.assertEqual(self.successResultOf(done).status, status)
            self.assertFalse(session.media.is_open)
            self.assertEqual(self.remote_port(session), 40000)
            self.take(session)

    def test_glare(self) -> None:
        """After 491 the offer goes again, as an UPDATE, when the call stands."""
        session = self.begin()
        done = session.send_update(with_offer=True)
        self.peer.reply(self.reliable(self.peer.sdp()), 491)
        self.peer.reply(self.dialled, 200, to_tag="a", body=b"")
        self.peer.expect("ACK")
        update = self.peer.expect("UPDATE")
        self.peer.reply(update, 200, body=self.peer.sdp())
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.hang_up(session)
        self.finish()

    def test_bad_answer(self) -> None:
        """An answer that does not fit costs the call."""
        session = self.begin()
        done = session.send_update(with_offer=True)
        prack = self.reliable(self.peer.sdp())
        self.peer.reply(prack, 200, body=self.peer.sdp() + "m=audio 2 RTP/AVP 0\r\n")
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(self.dialled, 487, to_tag="a")
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertIn("bad answer", str(session.end_reason))
        self.finish()

    def test_no_answer(self) -> None:
        """A PRACK that nobody answers: the wish fails, the callee gives up by itself."""
        session = self.begin()
        done = session.send_update(with_offer=True)
        self.reliable(self.peer.sdp())
        self.net.run_for(40)
        self.failureResultOf(done)
        self.assertFalse(session.is_over)
        self.assertFalse(session.media.is_open)
        self.peer.reply(self.dialled, 504, to_tag="a")
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_handler_has_nothing(self) -> None:
        """The PRACK goes without an offer, and the wish fails."""

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if self.handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            raise NegotiationFailed("no")

        session = self.begin(create)
        done = session.send_update(with_offer=True)
        prack = self.reliable(self.peer.sdp())
        self.failureResultOf(done, NegotiationFailed)
        self.assertEqual(prack.body, b"")
        self.peer.reply(prack, 200)
        self.take(session)

    def test_refused_while_the_offer_is_made(self) -> None:
        """The INVITE is over meanwhile: no PRACK, and the wish fails."""
        slow: list[Deferred[Any]] = []

        def create(session: Session, stream: Any, sdp: Any) -> Any:
            if self.handler.log.count("create") == 1:
                return sdp.media("audio", 40000, "RTP/AVP", ["0"])
            slow.append(Deferred())
            return slow[0]

        session = self.begin(create)
        failed: list[object] = []
        done = session.send_update(with_offer=True)
        done.addErrback(lambda failure: failed.append(failure.type))
        self.rseq += 1
        headers = {"Require": "100rel", "RSeq": "1", "Allow": ALLOW}
        self.peer.reply(self.dialled, 183, to_tag="a", body=self.peer.sdp(), headers=headers)
        self.net.run_for(1)
        self.assertEqual((self.peer.count("PRACK"), len(slow)), (0, 1))
        self.peer.reply(self.dialled, 486, to_tag="a")
        self.peer.expect("ACK")
        self.assertEqual(failed, [SessionEnded])
        self.assertEqual(self.peer.count("PRACK"), 0)
        self.assertTrue(session.is_over)
        self.finish()
