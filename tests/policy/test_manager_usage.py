# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The INVITE usage on the wire: each cell of its table that does something, as a call.

The table itself is checked in ``tests/pure/test_dialog_usage.py``; here real messages lead to its
cells. ``tests/sim/test_cells.py`` checks that none is left out.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipsess.dialog.usage import TERMINATED
from sipsess.message import Request
from sipsess.session import Session
from tests.policy.agents import BoxTestCase, ring


async def answer_and_leave(session: Session) -> None:
    """Answer, and hang up before the ACK can come."""
    await session.send_response(200)


async def refuse(session: Session) -> None:
    """Refuse by a response."""
    await session.send_response(486)
    await Deferred()


class UsageTests(BoxTestCase):
    """Calls through the table, both roles."""

    def states(self) -> list[str]:
        """Return the states of the live sessions."""
        return [session.usage.state for session in self.box.manager.sessions]

    def dial(self) -> tuple[Session, Request]:
        """Call the peer; return the session and the INVITE."""
        self.start()
        session = self.box.dial()
        return session, self.peer.expect("INVITE")

    # -- callee

    def test_answered_and_hung_up_by_the_caller(self) -> None:
        """INCOMING, ACCEPTED, CONFIRMED, and the peer's BYE."""
        self.start()
        self.invite()
        success = self.peer.expect(200)
        self.assertEqual(self.states(), ["ACCEPTED"])
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(self.states(), ["CONFIRMED"])
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.states(), [])
        self.finish()

    def test_refused(self) -> None:
        """INCOMING: the application refuses by a response."""
        self.start(play=refuse)
        self.invite()
        self.peer.ack(self.peer.expect(486))
        self.net.run_for(0.1)
        self.assertEqual(self.states(), [])
        self.finish()

    def test_hung_up_unanswered(self) -> None:
        """INCOMING: hanging up before an answer is a refusal."""
        self.start(play=ring)
        self.invite()
        self.peer.expect(180)
        [session] = self.box.manager.sessions
        session.terminate(603)
        self.peer.ack(self.peer.expect(603))
        self.finish()

    def test_cancelled(self) -> None:
        """INCOMING: 200 for the CANCEL, 487 for the INVITE, one To tag (9.2)."""
        self.start(play=ring)
        invite = self.invite()
        tag = self.peer.expect(180).to_tag
        self.peer.cancel(invite)
        to_cancel, to_invite = self.answer_to("CANCEL"), self.answer_to("INVITE")
        self.assertEqual((to_cancel.status, to_invite.status), (200, 487))
        self.assertEqual((to_cancel.to_tag, to_invite.to_tag), (tag, tag))
        self.peer.ack(to_invite)
        self.finish()

    def test_bye_in_the_early_dialog(self) -> None:
        """INCOMING: the caller's BYE is 200, its INVITE 487 (15.1.2)."""
        self.start(play=ring)
        self.invite()
        ringing = self.peer.expect(180)
        self.peer.send(self.peer.request_within(ringing, "BYE"))
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_cancel_too_late(self) -> None:
        """ACCEPTED: a CANCEL after the 200 is answered and changes nothing."""
        self.start()
        invite = self.invite()
        success = self.peer.expect(200)
        self.peer.cancel(invite)
        self.assertEqual(self.answer_to("CANCEL").status, 200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(self.states(), ["CONFIRMED"])
        self.peer.bye(success)
        self.finish()

    def test_no_ack(self) -> None:
        """ACCEPTED: without ACK the 200 is repeated for 64*T1, then BYE (13.3.1.4)."""
        self.start()
        self.invite()
        self.peer.expect(200)
        bye = self.peer.expect("BYE", within=33)
        self.assertEqual(round(self.net.seconds(), 2), 32.02)
        self.assertEqual(self.peer.count(200), 11)
        self.assertEqual(self.states(), ["TERMINATING"])
        self.peer.reply(bye, 200)
        self.assertEqual(self.box.refused, {"ack-missing": 1})
        self.finish()

    def test_bye_before_the_ack(self) -> None:
        """ACCEPTED: the caller may hang up without an ACK."""
        self.start()
        self.invite()
        success = self.peer.expect(200)
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.states(), [])
        self.finish()

    def test_hung_up_before_the_ack(self) -> None:
        """ENDING: the callee's BYE waits for the ACK (15), and the BYE's answer for the end."""
        self.start(play=answer_and_leave)
        self.invite()
        success = self.peer.expect(200)
        self.net.run_for(5)
        self.assertEqual((self.states(), self.peer.count("BYE")), (["ENDING"], 0))
        self.peer.ack(success)
        bye = self.peer.expect("BYE")
        self.assertEqual(self.states(), ["TERMINATING"])
        self.peer.reply(bye, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.states(), [])
        self.finish()

    def test_hung_up_and_no_ack(self) -> None:
        """ENDING: or for the end of the 200's repetition."""
        self.start(play=answer_and_leave)
        self.invite()
        self.peer.expect(200)
        self.peer.reply(self.peer.expect("BYE", within=33), 200)
        self.finish()

    def test_hung_up_and_bye(self) -> None:
        """ENDING: or the caller's BYE ends it."""
        self.start(play=answer_and_leave)
        self.invite()
        self.peer.bye(self.peer.expect(200))
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(self.states(), [])
        self.finish()

    # -- caller

    def test_ring_answer_hang_up(self) -> None:
        """CALLING, PROCEEDING, CONFIRMED, TERMINATING, TERMINATED."""
        session, invite = self.dial()
        self.assertEqual(session.usage.state, "CALLING")
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        self.assertEqual(session.usage.state, "PROCEEDING")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.assertEqual(session.usage.state, "CONFIRMED")
        session.terminate()
        self.assertEqual(session.usage.state, "TERMINATING")
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual(session.usage.state, TERMINATED)
        self.finish()

    def test_answered_at_once(self) -> None:
        """CALLING: a 200 without a provisional response; the callee hangs up."""
        session, invite = self.dial()
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.bye(invite)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(session.usage.state, TERMINATED)
        self.finish()

    def test_refused_by_the_callee(self) -> None:
        """CALLING and PROCEEDING: a final failure ends it."""
        for has_ringing in (False, True):
            session, invite = self.dial()
            if has_ringing:
                self.peer.reply(invite, 180)
            self.peer.reply(invite, 486)
            self.peer.expect("ACK")
            self.assertEqual(session.usage.state, TERMINATED)
            self.finish()

    def test_nobody_there(self) -> None:
        """CALLING: no answer at all; Timer B."""
        session, _ = self.dial()
        self.net.run_for(33)
        self.assertEqual(session.usage.state, TERMINATED)
        self.finish()

    def test_cancel_waits_for_a_provisional_response(self) -> None:
        """CANCEL_WAITING: no CANCEL before a 1xx (9.1), then at once."""
        session, invite = self.dial()
        session.terminate()
        self.net.run_for(3)
        self.assertEqual((session.usage.state, self.peer.count("CANCEL")), ("CANCEL_WAITING", 0))
        self.peer.reply(invite, 100)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.assertEqual(session.usage.state, TERMINATED)
        self.finish()

    def test_cancel_wanted_and_refused(self) -> None:
        """CANCEL_WAITING: a final failure, or nothing at all, needs no CANCEL."""
        for is_answered in (True, False):
            session, invite = self.dial()
            session.terminate()
            if is_answered:
                self.peer.reply(invite, 486)
                self.peer.expect("ACK")
            self.net.run_for(33)
            self.assertEqual((session.usage.state, self.peer.count("CANCEL")), (TERMINATED, 0))
            self.finish()

    def test_cancel_wanted_and_answered(self) -> None:
        """CANCEL_WAITING: a 200 is acknowledged, then BYE."""
        session, invite = self.dial()
        session.terminate()
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual((session.usage.state, self.peer.count("CANCEL")), (TERMINATED, 0))
        self.finish()

    def test_success_crosses_cancel(self) -> None:
        """CANCELLING: a 200 that crosses is acknowledged, then BYE (RFC 5407 3.1.2)."""
        session, invite = self.dial()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.assertEqual(session.usage.state, "CANCELLING")
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        bye = self.peer.expect("BYE")
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(bye, 200)
        self.finish()

    def test_cancelled_and_forgotten(self) -> None:
        """CANCELLING: 64*T1 after the CANCEL the INVITE is given up, without answer (9.1)."""
        session, invite = self.dial()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.net.run_for(33)
        self.assertEqual(session.usage.state, TERMINATED)
        self.net.run_for(40)
        self.finish()

    def test_early_bye_of_the_callee(self) -> None:
        """PROCEEDING: the callee must not send it (15); it is answered, the INVITE goes on."""
        session, invite = self.dial()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        self.peer.bye(invite)
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(session.usage.state, "PROCEEDING")
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.finish()

    def test_bye_crosses_bye(self) -> None:
        """TERMINATING: each side answers the other's BYE (RFC 5407 3.2.1)."""
        session, invite = self.dial()
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        session.terminate()
        self.peer.bye(invite)
        bye = self.peer.expect("BYE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.peer.reply(bye, 481)
        self.finish()

    def test_bye_without_answer(self) -> None:
        """TERMINATING: a BYE that nobody answers ends it as well."""
        session, invite = self.dial()
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        session.terminate()
        self.net.run_for(31)
        self.assertEqual(session.usage.state, "TERMINATING")
        self.net.run_for(3)
        self.assertEqual(session.usage.state, TERMINATED)
        self.finish()
