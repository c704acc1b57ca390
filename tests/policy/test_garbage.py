# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A call that is over leaves nothing for the garbage collector: no object that holds itself."""

from __future__ import annotations

import gc
from collections.abc import Callable

from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.interfaces import IApplication
from sipsess.message import Request
from sipsess.plugins import sipsess_builtin
from sipsess.session import Session, SessionEnded
from sipsess.supplement import SessionSupplement
from sipsess.testing import CallPair
from tests.policy.sessions import SessionTestCase

#: All that are shipped.
SHIPPED = [item for item in vars(sipsess_builtin).values() if isinstance(item, SessionSupplement)]

#: Calls of each kind; enough that one object each would be noticed among what Python itself leaves.
CALLS = 20


class GarbageTests(SessionTestCase):
    """With the collector switched off, everything of a call goes by itself."""

    def setUp(self) -> None:
        """Switch the collector off."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def check(
        self, play: Callable[[CallPair], None], application: IApplication | None = None
    ) -> None:
        """
        Play calls of both sides; nothing may be left that only the collector could take away.

        :param play: one whole call, to its end.
        :param application: the callee's, when it shall not answer.
        """
        pair = CallPair(
            callee_supplements=SHIPPED, caller_supplements=SHIPPED, application=application
        )
        play(pair)
        pair.net.run_for(70)
        gc.collect()
        for _ in range(CALLS):
            play(pair)
            pair.net.run_for(70)
        self.assertLess(gc.collect(), CALLS)
        pair.settle()

    def test_hung_up_by_the_caller(self) -> None:
        """The application is cancelled where it waits."""

        def play(pair: CallPair) -> None:
            call = pair.dial()
            pair.net.run_for(1)
            self.assertTrue(call.session.is_answered)
            call.hang_up()
            pair.net.run_for(1)

        self.check(play)

    def test_hung_up_by_the_callee(self) -> None:
        """The BYE is ours."""

        def play(pair: CallPair) -> None:
            pair.dial()
            pair.net.run_for(1)
            (session,) = pair.callee.sessions
            session.terminate()
            pair.net.run_for(1)

        self.check(play)

    def test_cancelled(self) -> None:
        """The call never was."""

        def play(pair: CallPair) -> None:
            call = pair.dial()
            call.hang_up()
            pair.net.run_for(1)

        self.check(play)

    def test_cancelled_while_it_rings(self) -> None:
        """The application waits for the end, and is cancelled there."""

        def play(pair: CallPair) -> None:
            call = pair.dial()
            pair.net.run_for(1)
            call.hang_up()
            pair.net.run_for(1)

        self.check(play, RingApplication())

    def test_refused(self) -> None:
        """The application raises."""

        def play(pair: CallPair) -> None:
            call = pair.dial()
            pair.net.run_for(1)
            self.assertEqual(call.outcome, (603, "Decline"))

        self.check(play, RejectApplication())

    def test_held(self) -> None:
        """With re-INVITEs."""

        def play(pair: CallPair) -> None:
            call = pair.dial()
            pair.net.run_for(1)
            for request in (call.session.hold, call.session.unhold):
                request()
                pair.net.run_for(1)
            call.hang_up()
            pair.net.run_for(1)

        self.check(play)


class PartedTests(SessionTestCase):
    """What may still be asked of a session of which nothing is left."""

    def ended(self) -> Session:
        """Return the session of a call that is over, parted from what belonged to it."""
        self.start()
        success = self.call()
        session = self.session
        self.timer = session.start_timer(1000, lambda: None)
        self.peer.bye(success)
        self.answer_to("BYE")
        self.assertTrue(session.is_parted)
        return session

    def test_questions(self) -> None:
        """It says why it ended, and stays so."""
        session = self.ended()
        reason = self.successResultOf(session.when_ended())
        self.assertEqual(str(reason), "BYE by the far end")
        self.failureResultOf(session.when_confirmed(), SessionEnded)
        self.assertTrue(session.is_over)
        self.assertFalse(session.is_answered)
        self.assertEqual(session.get_identity().user, "peer")
        session.note("looked at")
        self.assertIn("looked at", self.lines(session.call_id))
        self.finish()

    def test_wishes(self) -> None:
        """What cannot be done any more says so; ending it again or stopping a timer is harmless."""
        session = self.ended()
        for wish in (
            lambda: session.send_response(200),
            lambda: session.send_request("INFO"),
            lambda: session.send_reinvite(),
            lambda: session.start_timer(1, lambda: None),
            lambda: session.wait(session.when_ended()),
        ):
            self.assertRaises(SessionEnded, wish)
        session.terminate()
        session.cancel_timer(self.timer)
        self.finish()

    def test_an_application_that_lingers(self) -> None:
        """The session is parted when its application is done, however long that takes."""
        from twisted.internet.defer import CancelledError, Deferred

        slow: Deferred[None] = Deferred()

        async def linger(session: Session) -> None:
            await session.send_response(200)
            try:
                await Deferred()
            except CancelledError:
                await slow

        self.start(play=linger)
        success = self.call()
        session = self.session
        self.peer.bye(success)
        self.answer_to("BYE")
        self.assertFalse(session.is_parted)
        slow.callback(None)
        self.assertTrue(session.is_parted)
        self.finish()


class KeptTests(SessionTestCase):
    """What a standing call keeps of its INVITE."""

    def test_it_is_parsed_again(self) -> None:
        """A received INVITE is kept as bytes, and is the same when somebody asks, Via included."""
        self.start()
        invite = self.invite()
        success = self.peer.expect(200)
        before = self.session.invite
        self.peer.ack(success)
        self.net.run_for(40)
        after = self.session.invite
        self.assertIsNot(after, before)
        self.assertEqual(list(after.headers.items()), list(before.headers.items()))
        self.assertEqual((after.body, after.uri), (before.body, invite.uri))
        self.assertIs(self.session.invite, after)
        self.peer.bye(success)
        self.answer_to("BYE")
        self.finish()

    def test_ours(self) -> None:
        """An INVITE that this side has built is kept as it is."""
        self.start()
        session, _ = self.answered()
        self.assertIs(session.invite, session.invite)
        self.assertIsNone(session.invite.source)
        self.hang_up(session)
        self.finish()


class AnsweredTests(SessionTestCase):
    """What is kept of answered requests for the 32 s that their transactions live on."""

    def parsed(self, method: str) -> list[Request]:
        """Return the requests of the peer that are kept as objects, and not as their bytes."""
        return [
            item
            for item in gc.get_objects()
            if isinstance(item, Request)
            and item.source is not None
            and (item.method, item.call_id) == (method, self.session.call_id)
        ]

    def test_answered_requests(self) -> None:
        """Their bytes."""
        self.start()
        success = self.call()
        self.request_within(success, "OPTIONS")
        self.net.run_for(0.1)
        self.assertGreaterEqual(self.peer.count(200), 1)
        self.assertEqual(self.parsed("OPTIONS"), [])
        self.hang_up(self.session)
        self.finish()
