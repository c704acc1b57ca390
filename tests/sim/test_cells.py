# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Every cell of every state table that a peer or the network can lead a whole agent to.

The first classes are the odd ones: messages that come late, twice, for nothing, or not at all.
``CoverageTests`` runs them and some other stories, and compares what was met with the tables; the
cells that no story can reach stand in ``UNREACHED``, with the reason; ``test_stories`` checks that
none of those that it makes up does.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred

from sipsess.message import Response, build_ack
from sipsess.session import Session
from sipsess.supplement import Verdict
from sipsess.testing import ScriptedPeer
from tests.cells import Place, legal_cells, load_tables, met_by
from tests.policy.agents import PEER, ring
from tests.policy.sessions import Probe, SessionTestCase, audio
from tests.shell.test_server import ServerCase


async def refuse(session: Session) -> None:
    """Refuse."""
    await session.send_response(486)


class StrayTests(SessionTestCase):
    """Messages that mean nothing where they come; the agent lives on, and nothing is left."""

    def again(self, response: Response, status: int) -> None:
        """Send another response to the request that ``response`` answered."""
        self.peer.send(self.other(response.to_bytes(), status))

    def other(self, wire: bytes, status: int) -> bytes:
        """Return a response with another status."""
        return b"SIP/2.0 %d Whatever" % status + wire[wire.index(b"\r\n") :]

    def test_refusal_after_the_success(self) -> None:
        """The INVITE is answered 200 and then 486: the call stands (:rfc:`6026#section-7.2`)."""
        self.start()
        session, invite = self.placed()
        success = self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.again(success, 486)
        self.peer.expect_silence(1)
        self.assertEqual(session.usage.state, "CONFIRMED")
        self.hang_up(session)
        self.finish()

    def test_other_responses_after_the_refusal(self) -> None:
        """After a 486 no 180 or 200 changes anything; its copy gets the ACK again (17.1.1.2)."""
        self.start()
        session, invite = self.placed()
        refusal = self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.again(refusal, 180)
        self.again(refusal, 200)
        self.peer.send(refusal)
        self.peer.expect_silence(1)
        self.assertEqual(self.peer.count("ACK"), 2)
        self.assertTrue(session.is_over)
        self.finish()

    def test_ack_with_the_branch_of_its_invite(self) -> None:
        """Some send the ACK of a 2xx with the INVITE's branch: it counts (17.1.1.3, 13.2.2.4)."""
        self.start()
        invite = self.invite()
        success = self.peer.expect(200)
        self.peer.send(build_ack(invite, success))
        self.net.run_for(0.1)
        self.assertEqual(self.session.usage.state, "CONFIRMED")
        self.hang_up(self.session)
        self.finish()

    def test_ack_before_any_answer(self) -> None:
        """An ACK that comes while it rings is dropped (17.2.1)."""
        self.start(play=ring)
        invite = self.invite()
        ringing = self.peer.expect(180)
        self.peer.send(build_ack(invite, ringing))
        self.peer.expect_silence(1)
        self.assertEqual(self.session.usage.state, "INCOMING")
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_invite_after_the_ack_of_its_refusal(self) -> None:
        """Copies of an INVITE that was refused, and of its ACK, are dropped (17.2.1)."""
        self.start(play=refuse)
        invite = self.invite()
        refusal = self.peer.expect(486)
        self.peer.ack(refusal)
        self.net.run_for(0.1)
        self.peer.send(invite)
        self.peer.ack(refusal)
        self.peer.expect_silence(1)
        self.assertEqual(self.peer.count(486), 1)
        self.finish()

    def test_provisional_response_after_the_final_one(self) -> None:
        """A 100 after the 200 to a BYE is dropped (17.1.2.2)."""
        self.start()
        session, _ = self.answered()
        session.terminate()
        done = self.peer.reply(self.peer.expect("BYE"), 200)
        self.again(done, 100)
        self.peer.expect_silence(1)
        self.finish()

    def test_bye_that_gets_a_100_only(self) -> None:
        """Trying is no answer to a BYE: it is sent every T2 and given up after 64*T1 (17.1.2.2)."""
        self.start()
        session, _ = self.answered()
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 100)
        self.net.run_for(40)
        self.assertEqual(self.peer.count("BYE"), 9)
        self.assertTrue(session.is_over)
        self.finish()

    def test_copies_of_a_request_that_waits(self) -> None:
        """
        While a supplement thinks, copies get nothing, and later the 100 again (4320 4.1, 17.2.2).
        """
        decided: Deferred[Verdict | None] = Deferred()
        probe = Probe(methods=["INFO"], incoming_request=lambda *args: decided)
        probe.allow = frozenset({"INFO"})
        self.start(probe)
        request = self.request_within(self.call(), "INFO")
        self.peer.send(request)
        self.peer.expect_silence(3)
        self.peer.expect(100)
        self.peer.send(request)
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count(100), 2)
        decided.callback(None)
        self.assertEqual(self.answer_to("INFO").status, 200)
        self.assertEqual(probe.count("incoming_request INFO"), 1)
        self.hang_up(self.session)
        self.finish()

    def test_bye_of_the_callee_after_our_cancel(self) -> None:
        """
        A callee that rings on, and sends BYE in the early dialog: the 487 decides (15).
        """
        self.start()
        session, invite = self.placed()
        ringing = self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.send(ringing)
        self.peer.send(self.peer.request_within(invite, "BYE"))
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.assertEqual(session.usage.state, "CANCELLING")
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.finish()


class LateTests(SessionTestCase):
    """The ACK of a re-INVITE, late or never."""

    def reinvited(self) -> Response:
        """Let the peer re-INVITE and keep its ACK; return the 200."""
        self.start()
        success = self.call()
        self.request_within(success, "INVITE", body=audio(version=2))
        return self.answer_to("INVITE")

    def test_never(self) -> None:
        """No ACK for a re-INVITE in 64*T1: the call is ended with BYE (13.3.1.4)."""
        self.reinvited()
        bye = self.peer.expect("BYE", within=40)
        self.assertEqual(round(self.net.seconds()), 32)
        self.peer.reply(bye, 200)
        self.finish()

    def test_never_and_no_answer_to_the_bye(self) -> None:
        """We hang up meanwhile, and that is not answered either: it all ends in time."""
        self.reinvited()
        session = self.session
        session.terminate()
        self.net.run_for(70)
        self.assertEqual(self.box.refused["ack-missing"], 1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_our_bye_waits(self) -> None:
        """We hang up meanwhile; the BYE leaves when the ACK came, and the 200 is not repeated."""
        success = self.reinvited()
        session = self.session
        session.terminate()
        self.net.run_for(1)
        self.assertEqual(self.peer.count("BYE"), 0)
        self.peer.ack(success)
        bye = self.peer.expect("BYE")
        copies = self.peer.count(200)
        self.net.run_for(5)
        self.assertEqual(self.peer.count(200), copies)
        self.peer.reply(bye, 200)
        self.finish()


class GoneTests(SessionTestCase):
    """The peer is gone in the middle of an end."""

    def test_after_the_success_that_crossed_our_cancel(self) -> None:
        """The BYE after a crossing 200 gets no answer; the wait of the CANCEL ends first (9.1)."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.peer.expect("CANCEL")
        self.net.run_for(1)
        self.peer.reply(invite, 200)
        self.peer.expect("BYE")
        self.net.run_for(31.5)
        self.assertEqual(session.usage.state, "TERMINATING")
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_hung_up_while_it_ends(self) -> None:
        """The application hangs up while the BYE for a lost ACK is out: there is no second one."""
        self.start()
        self.invite()
        bye = self.peer.expect("BYE", within=40)
        session = self.session
        session.terminate()
        self.net.run_for(0.2)
        self.assertEqual(self.peer.count("BYE"), 1)
        self.assertEqual(session.end_reason and session.end_reason.method, "ACK")
        self.peer.reply(bye, 200)
        self.finish()

    def test_one_ack_of_two(self) -> None:
        """The ACK of the call never comes, that of its re-INVITE when the BYE is out already."""
        self.start()
        self.invite()
        success = self.peer.expect(200)
        self.net.run_for(10)
        self.request_within(success, "INVITE", body=audio(version=2))
        again = self.answer_to("INVITE")
        bye = self.peer.expect("BYE", within=40)
        self.peer.ack(again)
        self.net.run_for(0.1)
        session = self.session
        self.assertEqual(session.usage.state, "TERMINATING")
        self.peer.reply(bye, 200)
        self.finish()


class StoppedTests(ServerCase):
    """The server stops, and the peer does nothing in time: the call is ended all the same."""

    def called(self) -> Response:
        """Let the peer call the server; return its 200."""
        self.server = self.serve(application="echo")
        self.peer = ScriptedPeer(self.alice)
        self.peer.send(self.peer.invite("sip:echo@192.0.2.1"), ("192.0.2.1", 5060))
        success = self.peer.expect(200)
        assert isinstance(success, Response)
        return success

    def ended_in(self, state: str) -> None:
        """Stop the server, whose call then is in a state until time is up."""
        (session,) = self.server.manager.sessions
        stopping = self.server.stopService()
        self.net.run_for(3)
        self.assertEqual(session.usage.state, state)
        self.net.run_for(2)
        self.assertTrue(session.is_over)
        self.assertIsNone(self.successResultOf(stopping))

    def test_before_the_ack(self) -> None:
        """The BYE waits for the ACK of the 200."""
        self.called()
        self.ended_in("ENDING")

    def test_before_the_ack_of_a_reinvite(self) -> None:
        """And for that of a re-INVITE."""
        success = self.called()
        self.peer.ack(success)
        reinvite = self.peer.request_within(success, "INVITE", body=self.peer.sdp())
        self.peer.send(reinvite)
        self.peer.expect(200)
        self.ended_in("CONFIRMED")

    def test_before_the_answer_to_the_bye(self) -> None:
        """And nobody waits longer for the answer to the BYE."""
        success = self.called()
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.ended_in("TERMINATING")


class LostFlowTests(SessionTestCase):
    """The flow under a transaction is lost, whatever its state; nothing is left behind."""

    def lose(self) -> None:
        """Lose the flow to the peer."""
        self.box.core.flow_lost(self.box.flow_to((PEER, 5060)), self.net.seconds())

    def ended(self, session: Session) -> None:
        """Check that the session ended of it."""
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_before_anything_came(self) -> None:
        """Of an INVITE that has no response yet."""
        self.start()
        session, _ = self.placed()
        self.lose()
        self.ended(session)

    def test_while_ours_rings(self) -> None:
        """Of an INVITE that has a provisional response: the call failed."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        self.lose()
        self.ended(session)

    def test_while_ours_is_cancelled(self) -> None:
        """Of an INVITE that is being cancelled."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        session.terminate()
        self.lose()
        self.ended(session)

    def test_after_a_refusal(self) -> None:
        """Of an INVITE of ours that was refused."""
        self.start()
        session, invite = self.placed()
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.lose()
        self.ended(session)

    def test_of_a_bye(self) -> None:
        """Of a BYE that was answered 100, and of one that was answered 200."""
        for status in (100, 200):
            self.start()
            session, _ = self.answered()
            session.terminate()
            self.peer.reply(self.peer.expect("BYE"), status)
            self.net.run_for(0.1)
            self.lose()
            self.ended(session)

    def test_after_our_refusal(self) -> None:
        """Of an INVITE that we refused, before and after its ACK."""
        for is_acknowledged in (False, True):
            self.start(play=refuse)
            self.invite()
            refusal = self.peer.expect(486)
            if is_acknowledged:
                self.peer.ack(refusal)
                self.net.run_for(0.1)
            self.lose()
            self.finish()

    def test_of_requests_within(self) -> None:
        """Of an INFO before and after its 100, and after its answer."""
        for wait in (0.1, 4.0):
            decided: Deferred[None] = Deferred()
            probe = Probe(methods=["INFO"], incoming_request=lambda *args, d=decided: d)
            probe.allow = frozenset({"INFO"})
            self.start(probe)
            self.request_within(self.call(), "INFO")
            self.net.run_for(wait)
            self.lose()
            self.hang_up(self.session)
            self.finish()
        self.start()
        self.request_within(self.call(), "OPTIONS")
        self.net.run_for(0.1)
        self.lose()
        self.hang_up(self.session)
        self.finish()


CLASSES = ("Stray", "Late", "Gone", "Stopped", "LostFlow")
#: Tests that together meet every cell that can be met; they take a second or two.
STORIES = (
    *(f"tests.sim.test_cells.{name}Tests" for name in CLASSES),
    "tests.sim.test_calls.GoodNetworkTests",
    "tests.sim.test_rfc5407",
    "tests.policy.test_asterisk_table",
    "tests.policy.test_manager_usage.UsageTests",
    *(
        f"tests.policy.test_{name}"
        for name in (
            *("core_requests", "invite_client", "negotiation", "registration", "session_corners"),
            *("session_reliable", "session_requests", "session_supplements"),
        )
    ),
)


def cells(table: str, states: str, events: str) -> Iterable[Place]:
    """Return the cells of each of some states with each of some events."""
    return [(table, state, event) for state in states.split() for event in events.split()]


#: Legal cells that no message leads to, by the reason.
UNREACHED: dict[str, Iterable[Place]] = {
    "only client transactions are abandoned, and before their final response": [
        *cells("invite-server", "PROCEEDING COMPLETED CONFIRMED ACCEPTED", "ABANDON"),
        *cells("non-invite-server", "TRYING PROCEEDING COMPLETED", "ABANDON"),
        *cells("non-invite-client", "COMPLETED", "ABANDON"),
    ],
    "Timer B comes first": cells("invite-client", "CALLING", "ABANDON"),
    "the session repeats the 2xx itself, without the transaction": cells(
        "invite-server", "ACCEPTED", "RESPOND_2XX"
    ),
    "the layer passes the ACK of a 2xx to the session": cells("invite-server", "ACCEPTED", "ACK"),
    "only a bug of ours fails an answered call that nobody has hung up": cells(
        "invite-usage", "ACCEPTED", "FAIL"
    ),
    "the session refuses or drops it before": [
        *cells("offer-answer", "LOCAL_OFFER", "RECEIVE_OFFER"),
        *cells("offer-answer", "REMOTE_OFFER", "RECEIVE_OFFER RECEIVE_ANSWER"),
        *cells("offer-answer", "STABLE", "RECEIVE_ANSWER"),
    ],
}

#: States in which a machine is forgotten: what is left is for calls of the same turn.
OVER = frozenset({"TERMINATED", "OVER"})


class CoverageTests(SessionTestCase):
    """What whole agents meet of the tables, against all that is legal."""

    def test_every_cell_is_met_or_explained(self) -> None:
        """Each legal cell is met by a story, or a reason is given why none can meet it."""
        wanted = {place for place in legal_cells(load_tables()) if place[1] not in OVER}
        explained = {place for places in UNREACHED.values() for place in places}
        met = met_by(STORIES)
        self.flushLoggedErrors()
        self.assertEqual(sorted(wanted - met - explained), [], "no story meets them")
        self.assertEqual(sorted(explained & met), [], "they can be met after all")
        self.assertEqual(sorted(explained - wanted), [], "there are no such cells")
