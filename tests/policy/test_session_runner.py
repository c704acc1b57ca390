# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application of a session: returns, raises, is cancelled; and what is explained of it all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipsess.application import Application
from sipsess.errors import DialogStateError, Timeout
from sipsess.session import Session
from sipsess.supplement import Reject
from tests.policy.agents import US, answer
from tests.policy.sessions import Probe, SessionTestCase

Play = Callable[[Session], Awaitable[object]]


class RunnerTests(SessionTestCase):
    """How an application ends, and what the caller hears of it."""

    def _refused(self, play: Play, status: int, failures: int = 0) -> str:
        probe = Probe()
        self.start(probe, play=play)
        self.invite()
        self.peer.ack(self.peer.expect(status))
        self.finish(failures=failures)
        return self.lines(probe.sessions[0].call_id)

    def test_returns_without_an_answer(self) -> None:
        """480: nobody is there."""

        async def play(session: Session) -> None:
            return

        told = self._refused(play, 480)
        self.assertIn("INVITE by this side: 480 Temporarily Unavailable", told)

    def test_rejects(self) -> None:
        """Reject gives status, reason and headers."""

        async def play(session: Session) -> None:
            raise Reject(302, headers={"Contact": "<sip:elsewhere@192.0.2.7>"})

        told = self._refused(play, 302)
        self.assertIn("302 Moved Temporarily by application script", told)
        self.assertIn("INVITE by this side: 302 Moved Temporarily", told)

    def test_raises(self) -> None:
        """A bug of the application is a 500, and the log names it."""

        async def play(session: Session) -> None:
            raise ValueError("bug")

        told = self._refused(play, 500, failures=1)
        self.assertIn("application script.handle: ValueError('bug')", told)

    def test_fails_with_an_error_of_ours(self) -> None:
        """A time-out of something it waited for is its status, and no bug."""

        async def play(session: Session) -> None:
            raise Timeout("nobody home")

        self.assertIn("nobody home", self._refused(play, 408))

    def test_is_no_coroutine(self) -> None:
        """A plain function, or one that raises at once, costs its call only."""

        class Plain(Application):
            name = "plain"

            def handle(self, call: Any) -> Any:
                return None

        class Broken(Application):
            name = "broken"

            def handle(self, call: Any) -> Any:
                raise ValueError("bug")

        self.start(applications=[Plain(), Broken()])
        for name in ("plain", "broken"):
            self.invite(uri=f"sip:{name}@{US}")
            self.peer.ack(self.peer.expect(500))
        self.finish(failures=2)

    def test_returns_after_the_answer(self) -> None:
        """When it is done the call is hung up."""

        async def play(session: Session) -> None:
            await session.send_response(200)
            done: Deferred[None] = Deferred()
            session.start_timer(1, done.callback, None)
            await done

        probe = Probe()
        self.start(probe, play=play)
        self.call()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        reason = probe.sessions[0].end_reason
        self.assertEqual(str(reason), "BYE by this side: the application is done")
        self.finish()

    def test_raises_after_the_answer(self) -> None:
        """A bug in the call is a BYE and a line in the log."""

        async def play(session: Session) -> None:
            await session.send_response(200)
            raise ValueError("bug")

        self.start(play=play)
        self.invite()
        self.peer.ack(self.peer.expect(200))
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish(failures=1)

    def test_cancelled_where_it_waits(self) -> None:
        """CANCEL and BYE cancel it where it waits; its ``finally`` runs; it is not a failure."""
        done: list[str] = []

        async def play(session: Session) -> None:
            try:
                if "answer" in session.invite.uri:
                    await session.send_response(200)
                else:
                    await session.send_response(180)
                await Deferred()
            except CancelledError:
                done.append("cancelled")
                self.assertTrue(session.is_over)
                self.assertRaises(DialogStateError, session.send_response, 486)
                raise
            finally:
                done.append("finally")

        self.start(play=play)
        invite = self.invite()
        self.peer.expect(180)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.assertEqual(done, ["cancelled", "finally"])
        self.invite(uri=f"sip:answer@{US}")
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.assertEqual(done, ["cancelled", "finally"] * 2)
        self.finish()

    def test_a_bug_in_its_cleanup(self) -> None:
        """What it raises when it is cancelled is logged with its name; nothing is left."""

        async def play(session: Session) -> None:
            try:
                await session.send_response(180)
                await Deferred()
            finally:
                raise ValueError("bug")

        self.start(play=play)
        invite = self.invite()
        self.peer.expect(180)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish(failures=1)

    def test_the_call_ends_while_it_runs(self) -> None:
        """Who ends the call itself is not cancelled in the middle, but where it waits next."""
        done: list[str] = []

        async def play(session: Session) -> None:
            session.terminate(486)
            with session.core.turn:
                pass
            done.append("still running")
            try:
                await Deferred()
            finally:
                done.append("cancelled")

        self.start(play=play)
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.net.run_for(0.1)
        self.assertEqual(done, ["still running", "cancelled"])
        self.finish()

    def test_woken_from_outside_a_turn(self) -> None:
        """An application that is woken by the world, not by SIP, and ends there."""
        world: Deferred[None] = Deferred()
        done: list[str] = []

        async def play(session: Session) -> None:
            await session.send_response(200)
            await world
            session.terminate()
            done.append("still running")
            await Deferred()

        self.start(play=play)
        self.call()
        world.callback(None)
        self.assertEqual(done, ["still running"])
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_woken_from_outside_a_turn_and_refusing(self) -> None:
        """The call is over before the application waits again: it is cancelled a moment later."""
        world: Deferred[None] = Deferred()
        done: list[str] = []

        async def play(session: Session) -> None:
            await world
            session.terminate(486)
            done.append("over" if session.is_finished else "open")
            try:
                await Deferred()
            finally:
                done.append("cancelled")

        self.start(play=play)
        self.invite()
        self.peer.expect(100)
        world.callback(None)
        self.assertEqual(done, ["over"])
        self.peer.ack(self.peer.expect(486))
        self.assertEqual(done, ["over", "cancelled"])
        self.finish()

    def test_waits_for_something_else(self) -> None:
        """What is no Deferred cannot be awaited: the application hears so, and may go on."""

        class Other:
            """Something of another framework."""

            def __await__(self) -> Any:
                yield self

        errors: list[str] = []

        async def play(session: Session) -> None:
            try:
                await Other()
            except TypeError as error:
                errors.append(str(error))
            raise Reject(486)

        self._refused(play, 486)
        self.assertEqual(len(errors), 1)
        self.assertIn("cannot be awaited here", errors[0])

    def test_context(self) -> None:
        """Its context variables are its own, and the same after each wait."""
        owner: ContextVar[str] = ContextVar("owner", default="nobody")
        seen: list[str] = []

        async def play(session: Session) -> None:
            seen.append(owner.get())
            owner.set(session.call_id)
            done: Deferred[None] = Deferred()
            session.start_timer(1, done.callback, None)
            await done
            seen.append(owner.get())
            raise Reject(486)

        self.start(play=play)
        for _ in range(2):
            self.invite()
        calls = [self.peer.expect(486) for _ in range(2)]
        for refused in calls:
            self.peer.ack(refused)
        self.assertEqual(seen, ["nobody", "nobody", *(refused.call_id for refused in calls)])
        self.assertEqual(owner.get(), "nobody")
        self.finish()

    def test_none(self) -> None:
        """A call of ours without application is its caller's affair."""
        self.start()
        session, _ = self.answered()
        self.assertEqual(session.runner.name, "none")
        self.assertIsNone(session.channel)
        session.runner.start()
        self.assertIsNone(session.channel)
        self.hang_up(session)
        self.finish()


class ExplainTests(SessionTestCase):
    """What is told of a call afterwards."""

    def test_lines(self) -> None:
        """The record says who was asked, what was decided, and why it ended."""
        self.start(play=answer)
        success = self.call()
        self.net.run_for(1)
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.assertEqual(
            self.lines(success.call_id).split("\n"),
            [
                f"call from sip:peer@192.0.2.9:5060 (Call-ID {success.call_id})",
                "    0.000  began                  endpoint anonymous, application script",
                "    0.000  offer                  audio RTP/AVP 0/101 port 40000",
                "    0.000  application            script",
                "    0.000  answered               200 OK",
                "    0.020  confirmed",
                "    1.120  ended                  BYE by the far end",
            ],
        )
        self.finish()

    def test_a_call_of_ours(self) -> None:
        """The same for a call that we place."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.peer.reply(invite, 404)
        self.peer.expect("ACK")
        lines = self.lines(session.call_id).split("\n")
        self.assertTrue(lines[0].startswith("call to sip:peer@192.0.2.9"))
        self.assertIn("provisional            180 Ringing", lines[2])
        self.assertIn("ended                  INVITE by the far end: 404 Not Found", lines[-1])
        self.finish()

    def test_identity_of_the_session(self) -> None:
        """The caller, or the callee before and after its answer."""
        self.start()
        success = self.call()
        self.assertEqual(self.session.get_identity().uri, "sip:peer@192.0.2.9:5060")
        self.request_within(success, "BYE")
        self.answer_to("BYE")
        self.net.run_for(0.1)
        session, invite = self.placed()
        self.assertEqual(session.get_identity().user, "peer")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.assertEqual(session.get_identity().source, "To")
        self.assertEqual(session.get_identity(invite).source, "From")
        self.hang_up(session)
        self.finish()
