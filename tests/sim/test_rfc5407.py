# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The race conditions of :rfc:`5407`, each as a scenario that is made to happen.

Two agents where both sides of the crossing are things that sipsess does, one agent and a scripted
peer where one side is something that only others do. The ladders are drawn as the test makes them
happen; ``--x`` is a message that is lost. Alice is the caller, Bob the callee. *Moratorium* is the
time between a 2xx and its ACK, *mortal* the time after the BYE.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.call import Call
from sipsess.message import Response, parse
from sipsess.session import Session, SessionEnded
from sipsess.session.negotiation import MediaNegotiation
from sipsess.supplements.refer import Refer
from sipsess.testing import CallPair, Link
from sipsess.testing.network import LOST, TraceEvent
from sipsess.testing.pair import PlacedCall
from tests.policy.agents import US, Box, BoxTestCase
from tests.policy.sessions import audio


class RingThenAnswer(Application):
    """Rings, answers after a second, and waits until the call is over."""

    name = "patient"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        await ring_then_answer(call.session)


async def ring_then_answer(session: Session) -> None:
    """Ring, answer after a second, and stay."""
    await session.send_response(180)
    pause: Deferred[None] = Deferred()
    session.start_timer(1.0, pause.callback, None)
    await pause
    await session.send_response(200)
    await Deferred()


def what(data: bytes) -> str:
    """Return a method, or a status and the method that it answers."""
    message = parse(data)
    if isinstance(message, Response):
        return f"{message.status} {message.cseq.method}"
    return message.method


class CrossingTestCase(SynchronousTestCase):
    """Alice and Bob are both sipsess."""

    def begin(self, *, can_refer: bool = False, **kwargs: object) -> PlacedCall:
        """Let Alice call Bob, and stop before anything has arrived."""
        self.pair = CallPair(
            application=RingThenAnswer(),
            callee_supplements=[Refer()] if can_refer else [],
            caller_supplements=[Refer()] if can_refer else [],
        )
        self.net = self.pair.net
        self.shown = 0
        return self.pair.dial(**kwargs)  # type: ignore[arg-type]

    def talk(self, **kwargs: bool) -> PlacedCall:
        """Let Alice and Bob have a call that stands, and forget how it came to be."""
        call = self.begin(**kwargs)
        self.net.run_for(3)
        self.assertEqual(call.outcome, (200, "OK"))
        self.shown = len(self.net.trace)
        return call

    def bob(self, call: PlacedCall) -> Session:
        """Return Bob's session."""
        session = call.callee
        assert session is not None
        return session

    @property
    def sent(self) -> list[TraceEvent]:
        """The SIP messages that were sent since the scenario began."""
        return [event for event in self.net.trace[self.shown :] if event.target[1] == 5060]

    @property
    def ladder(self) -> list[str]:
        """The same, such as ``"Alice: INVITE"``."""
        names = {"192.0.2.2": "Alice", "192.0.2.1": "Bob"}
        return [
            f"{names[event.source[0]]}: {what(event.data)}" + (" --x" if event.fate == LOST else "")
            for event in self.sent
        ]

    def run_until_sent(self, line: str) -> None:
        """Stop as soon as a message has left, so that it has not arrived."""
        self.net.run_until(lambda: line in self.ladder)

    def lose_first(self, method: bytes) -> None:
        """Lose the first request of a method."""
        left = [1]

        def lose(source: object, target: object, data: bytes) -> bool:
            if left[0] and data.startswith(method):
                left[0] = 0
                return True
            return False

        self.net.filters.append(lose)

    def assert_crossed(self, one: str, other: str) -> None:
        """Check that each of two messages left before the other one arrived."""
        first, second = (self.sent[self.ladder.index(line)] for line in (one, other))
        assert first.arrival is not None and second.arrival is not None
        self.assertLess(first.time, second.arrival, self.net.ladder())
        self.assertLess(second.time, first.arrival, self.net.ladder())

    def tearDown(self) -> None:
        """Nothing may be left after any crossing."""
        self.pair.settle()
        self.assertEqual(self.pair.caller.sessions + self.pair.callee.sessions, [])
        for agent in (self.pair.caller, self.pair.callee):
            self.assertNotIn("internal-error", agent.core.counters.refused)


class MoratoriumTests(CrossingTestCase):
    """Section 3.1, what both sides of can be played by sipsess."""

    def test_3_1_1_initial_invite_again(self) -> None:
        r"""
        A copy of the INVITE reaches Bob after his 200: it makes no second call (3.1.1).

        ::

            Alice                      Bob
              | INVITE                  |
              |------------------------>|
              |        180 (slow), 200  | Bob's call is answered
              |    INVITE (copy)  <-----|
              |-------------------\-/-->| moratorium: absorbed
              |<-------------------/    |
              | ACK                     |
              |------------------------>|
        """
        call = self.begin()
        callee, caller = self.pair.callee.host, self.pair.caller.host
        self.net.set_link(callee, caller, Link(delay=2.0), Link(delay=0.01))
        self.net.run_until(lambda: self.ladder.count("Alice: INVITE") == 3)
        self.assertIn("Bob: 200 INVITE", self.ladder)
        (session,) = self.pair.callee.sessions
        self.assertEqual(session.usage.state, "ACCEPTED")
        self.net.set_link(callee, caller, Link(delay=0.01))
        self.net.run_for(3)
        self.assertEqual(call.outcome, (200, "OK"))
        self.assertEqual(self.pair.callee.sessions, [session])
        self.assertEqual(self.ladder.count("Bob: 200 INVITE"), self.ladder.count("Alice: ACK"))
        call.hang_up()

    def test_3_1_2_cancel_crosses_200(self) -> None:
        r"""
        Alice's CANCEL crosses Bob's 200: she acknowledges it and hangs up (3.1.2).

        ::

            Alice                      Bob
              | INVITE                  |
              |------------------------>|
              |                     180 |
              |<------------------------|
              | CANCEL       200 INVITE |
              |-----------\/----------->| moratorium: too late to cancel
              |<----------/\------------|
              | ACK          200 CANCEL |
              |-----------\/----------->|
              | BYE                     |
              |------------------------>|
              |                 200 BYE |
        """
        call = self.begin()
        self.run_until_sent("Bob: 200 INVITE")
        call.hang_up()
        self.net.run_for(1)
        self.assert_crossed("Alice: CANCEL", "Bob: 200 INVITE")
        self.assertEqual(
            self.ladder[:2] + sorted(self.ladder[2:4]) + sorted(self.ladder[4:7]),
            [
                "Alice: INVITE",
                "Bob: 180 INVITE",
                "Alice: CANCEL",
                "Bob: 200 INVITE",
                "Alice: ACK",
                "Alice: BYE",
                "Bob: 200 CANCEL",
            ],
        )
        self.assertEqual(self.ladder[7:], ["Bob: 200 BYE"])
        self.assertEqual(str(call.end_reason), "CANCEL by this side: cancelled")

    def test_3_1_4_reinvite_before_ack_with_agreed_media(self) -> None:
        """
        The ACK is lost, Alice's re-INVITE comes first; the media is agreed: Bob answers (3.1.4).

        ::

            Alice                      Bob
              | INVITE (offer)          |
              |------------------------>|
              |            200 (answer) |
              |<------------------------|
              | ACK --x                 |
              | re-INVITE (offer)       |
              |------------------------>| moratorium
              |            200 (answer) |
              |<------------------------|
              | ACK                     |
              |------------------------>|
              |         first 200 again |
              |<------------------------|
              | first ACK again         |
              |------------------------>|
        """
        call = self.begin()
        self.lose_first(b"ACK")
        self.run_until_sent("Alice: ACK --x")
        replies: list[Response | Failure] = []
        call.session.send_reinvite().addBoth(replies.append)
        self.net.run_for(2)
        (reply,) = replies
        assert isinstance(reply, Response)
        self.assertEqual(reply.status, 200)
        self.assertEqual(
            self.ladder[2:],
            [
                "Bob: 200 INVITE",
                "Alice: ACK --x",
                "Alice: INVITE",
                "Bob: 200 INVITE",
                "Alice: ACK",
                "Bob: 200 INVITE",
                "Alice: ACK",
            ],
        )
        numbers = [parse(event.data).cseq.number for event in self.sent[2:]]
        self.assertEqual(numbers, [1, 1, 2, 2, 2, 1, 1])
        self.assertEqual(self.bob(call).usage.state, "CONFIRMED")
        call.hang_up()

    def test_3_1_5_reinvite_before_ack_with_an_open_offer(self) -> None:
        """
        The ACK with the answer to Bob's offer is lost: Alice's re-INVITE gets 491 (3.1.5).

        ::

            Alice                      Bob
              | INVITE (no offer)       |
              |------------------------>|
              |             200 (offer) |
              |<------------------------|
              | ACK (answer) --x        |
              | re-INVITE (offer)       |
              |------------------------>| moratorium, his offer is open
              |                     491 |
              |<------------------------|
              | ACK                     |
              |------------------------>|
              |         first 200 again |
              |<------------------------|
              | ACK (answer) again      |
              |------------------------>|
              | re-INVITE (offer), 2.1 to 4 s later
              |------------------------>|
              |            200 (answer) |
        """
        call = self.begin(offered_media=())
        self.lose_first(b"ACK")
        self.run_until_sent("Alice: ACK --x")
        call.session.send_reinvite()
        self.net.run_for(1)
        self.assertEqual(
            self.ladder[2:],
            [
                "Bob: 200 INVITE",
                "Alice: ACK --x",
                "Alice: INVITE",
                "Bob: 491 INVITE",
                "Alice: ACK",
                "Bob: 200 INVITE",
                "Alice: ACK",
            ],
        )
        refused = self.sent[self.ladder.index("Bob: 491 INVITE")]
        again = len(self.ladder)
        self.net.run_for(5)
        self.assertEqual(self.ladder[again:], ["Alice: INVITE", "Bob: 200 INVITE", "Alice: ACK"])
        waited = self.sent[again].time - refused.time
        self.assertTrue(2.1 <= waited <= 4.1, waited)
        call.hang_up()

    def test_3_1_6_bye_before_ack(self) -> None:
        """
        The ACK is lost and Alice hangs up: Bob answers the BYE and repeats his 200 no more (3.1.6).

        ::

            Alice                      Bob
              | INVITE                  |
              |------------------------>|
              |                     200 |
              |<------------------------|
              | ACK --x                 |
              | BYE                     |
              |------------------------>| moratorium
              |                 200 BYE |
              |<------------------------|
        """
        call = self.begin()
        self.lose_first(b"ACK")
        self.run_until_sent("Alice: ACK --x")
        call.hang_up()
        self.net.run_for(10)
        self.assertEqual(
            self.ladder[2:], ["Bob: 200 INVITE", "Alice: ACK --x", "Alice: BYE", "Bob: 200 BYE"]
        )


class MortalTests(CrossingTestCase):
    """Section 3.2: something arrives after the BYE."""

    def test_3_2_1_bye_crosses_bye(self) -> None:
        r"""
        Both hang up at once: each answers the other's BYE with 200 (3.2.1).

        ::

            Alice                      Bob
              | BYE                 BYE |
              |-----------\/----------->| both are mortal
              |<----------/\------------|
              | 200                 200 |
              |-----------\/----------->|
              |<----------/\------------|
        """
        call = self.talk()
        call.hang_up_callee()
        call.hang_up()
        self.net.run_for(1)
        self.assert_crossed("Alice: BYE", "Bob: BYE")
        self.assertCountEqual(
            self.ladder, ["Alice: BYE", "Bob: BYE", "Alice: 200 BYE", "Bob: 200 BYE"]
        )

    def test_3_2_2_reinvite_crosses_bye(self) -> None:
        r"""
        Alice's re-INVITE reaches Bob after his BYE: 481, which she acknowledges (3.2.2).

        ::

            Alice                      Bob
              | re-INVITE           BYE |
              |-----------\/----------->| mortal
              |<----------/\------------|
              | 200 BYE      481 INVITE |
              |-----------\/----------->|
              |<----------/\------------|
              | ACK                     |
              |------------------------>|
        """
        call = self.talk()
        outcome: list[object] = []
        call.session.send_reinvite().addBoth(outcome.append)
        call.hang_up_callee()
        self.net.run_for(1)
        self.assert_crossed("Alice: INVITE", "Bob: BYE")
        self.assertCountEqual(
            self.ladder,
            ["Alice: INVITE", "Bob: BYE", "Alice: 200 BYE", "Bob: 481 INVITE", "Alice: ACK"],
        )
        self.assertIsInstance(outcome[0], Failure)
        self.assertEqual(str(call.end_reason), "BYE by the far end")

    def test_3_2_3_200_of_reinvite_crosses_bye(self) -> None:
        r"""
        Alice's 200 to Bob's re-INVITE reaches him after his BYE: he still acknowledges it (3.2.3).

        ::

            Alice                      Bob
              |               re-INVITE |
              |<------------------------|
              | 200 INVITE          BYE |
              |-----------\/----------->| mortal
              |<----------/\------------|
              | 200 BYE             ACK |
              |-----------\/----------->|
              |<----------/\------------|
        """
        call = self.talk()
        self.bob(call).send_reinvite().addErrback(lambda failure: None)
        self.run_until_sent("Alice: 200 INVITE")
        call.hang_up_callee()
        self.net.run_for(5)
        self.assert_crossed("Alice: 200 INVITE", "Bob: BYE")
        self.assertCountEqual(
            self.ladder,
            ["Bob: INVITE", "Alice: 200 INVITE", "Bob: BYE", "Alice: 200 BYE", "Bob: ACK"],
        )

    def test_3_2_4_ack_after_bye(self) -> None:
        r"""
        Alice's BYE overtakes her ACK: the ACK reaches a call that is over, without effect (3.2.4).

        ::

            Alice                      Bob
              |                     200 |
              |<------------------------|
              | ACK (slow)              |
              |------\                  |
              | BYE   \                 |
              |--------\--------------->|
              |         \       200 BYE |
              |<---------\--------------|
              |           \------------>| mortal: ignored
        """
        call = self.begin()
        caller, callee = self.pair.caller.host, self.pair.callee.host
        self.run_until_sent("Bob: 200 INVITE")
        self.net.set_link(caller, callee, Link(delay=0.3), Link(delay=0.01))
        self.run_until_sent("Alice: ACK")
        self.net.set_link(caller, callee, Link(delay=0.01))
        call.hang_up()
        self.net.run_for(5)
        self.assertEqual(
            self.ladder[2:], ["Bob: 200 INVITE", "Alice: ACK", "Alice: BYE", "Bob: 200 BYE"]
        )
        ack, bye = (self.sent[self.ladder.index(line)] for line in ("Alice: ACK", "Alice: BYE"))
        assert ack.arrival is not None and bye.arrival is not None
        self.assertLess(bye.arrival, ack.arrival)


class OtherCrossingTests(CrossingTestCase):
    """Section 3.3: neither side is in a state of its own, but both ask at once."""

    def test_3_3_1_reinvite_crosses_reinvite(self) -> None:
        r"""
        Both re-INVITE at once: both get 491, and each tries again in its own time (3.3.1).

        ::

            Alice                      Bob
              | re-INVITE     re-INVITE |
              |-----------\/----------->|
              |<----------/\------------|
              | 491                 491 |
              |-----------\/----------->|
              |<----------/\------------|
              | ACK                 ACK |
              |-----------\/----------->|
              |<----------/\------------|
              |               re-INVITE | 0 to 2 s later: Bob does not own the Call-ID
              |<------------------------|
              | 200, ACK                |
              | re-INVITE               | 2.1 to 4 s later: Alice does
              |------------------------>|
              |                200, ACK |
        """
        call = self.talk()
        statuses: list[int] = []
        for session in (call.session, self.bob(call)):
            session.send_reinvite().addCallback(lambda response: statuses.append(response.status))
        self.net.run_for(6)
        self.assert_crossed("Alice: INVITE", "Bob: INVITE")
        self.assertCountEqual(
            self.ladder[:6],
            [
                *("Alice: INVITE", "Bob: INVITE"),
                *("Alice: 491 INVITE", "Bob: 491 INVITE"),
                *("Alice: ACK", "Bob: ACK"),
            ],
        )
        self.assertEqual(
            self.ladder[6:],
            [
                *("Bob: INVITE", "Alice: 200 INVITE", "Bob: ACK"),
                *("Alice: INVITE", "Bob: 200 INVITE", "Alice: ACK"),
            ],
        )
        self.assertEqual(statuses, [200, 200])
        call.hang_up()

    def test_3_3_2_update_crosses_reinvite(self) -> None:
        r"""
        Alice's UPDATE with an offer crosses Bob's re-INVITE: both get 491, and try again (3.3.2).

        ::

            Alice                      Bob
              | UPDATE        re-INVITE |
              |-----------\/----------->|
              |<----------/\------------|
              | 491 INVITE   491 UPDATE |
              |-----------\/----------->|
              |<----------/\------------|
              |                     ACK |
              |<------------------------|
              |               re-INVITE | 0 to 2 s later: Bob does not own the Call-ID
              |<------------------------|
              | 200, ACK                |
              | UPDATE                  | 2.1 to 4 s later: Alice does
              |------------------------>|
              |              200 UPDATE |
        """
        call = self.talk()
        statuses: list[int] = []
        for deferred in (
            call.session.send_update(with_offer=True),
            self.bob(call).send_reinvite(),
        ):
            deferred.addCallback(lambda response: statuses.append(response.status))
        self.net.run_for(6)
        self.assert_crossed("Alice: UPDATE", "Bob: INVITE")
        self.assertCountEqual(
            self.ladder[:5],
            [
                *("Alice: UPDATE", "Bob: INVITE"),
                *("Alice: 491 INVITE", "Bob: 491 UPDATE"),
                "Bob: ACK",
            ],
        )
        self.assertEqual(
            self.ladder[5:],
            [
                *("Bob: INVITE", "Alice: 200 INVITE", "Bob: ACK"),
                *("Alice: UPDATE", "Bob: 200 UPDATE"),
            ],
        )
        self.assertEqual(statuses, [200, 200])
        call.hang_up()

    def test_update_crosses_update(self) -> None:
        r"""
        Both send an UPDATE with an offer: both get 491, and try again (3.3.2, 3311 5.2).

        ::

            Alice                      Bob
              | UPDATE           UPDATE |
              |-----------\/----------->|
              |<----------/\------------|
              | 491                 491 |
              |-----------\/----------->|
              |<----------/\------------|
        """
        call = self.talk()
        statuses: list[int] = []
        for session in (call.session, self.bob(call)):
            session.send_update(with_offer=True).addCallback(
                lambda response: statuses.append(response.status)
            )
        self.net.run_for(6)
        self.assert_crossed("Alice: UPDATE", "Bob: UPDATE")
        self.assertCountEqual(
            self.ladder[:4],
            ["Alice: UPDATE", "Bob: UPDATE", "Alice: 491 UPDATE", "Bob: 491 UPDATE"],
        )
        self.assertEqual(
            self.ladder[4:],
            ["Bob: UPDATE", "Alice: 200 UPDATE", "Alice: UPDATE", "Bob: 200 UPDATE"],
        )
        self.assertEqual(statuses, [200, 200])
        call.hang_up()

    def test_update_crosses_bye(self) -> None:
        r"""
        Alice's UPDATE reaches Bob after his BYE: 481 (as 3.2.2, App. D).

        ::

            Alice                      Bob
              | UPDATE              BYE |
              |-----------\/----------->| mortal
              |<----------/\------------|
              | 200 BYE      481 UPDATE |
              |-----------\/----------->|
              |<----------/\------------|
        """
        call = self.talk()
        outcome: list[object] = []
        call.session.send_update().addBoth(outcome.append)
        call.hang_up_callee()
        self.net.run_for(1)
        self.assert_crossed("Alice: UPDATE", "Bob: BYE")
        self.assertCountEqual(
            self.ladder, ["Alice: UPDATE", "Bob: BYE", "Alice: 200 BYE", "Bob: 481 UPDATE"]
        )
        self.assertIsInstance(outcome[0], Failure)

    def test_3_3_3_refer_crosses_bye(self) -> None:
        r"""
        Alice's REFER reaches Bob after his BYE: 481, and he calls nobody (3.3.3).

        ::

            Alice                      Bob
              | REFER               BYE |
              |-----------\/----------->| mortal
              |<----------/\------------|
              | 200 BYE       481 REFER |
              |-----------\/----------->|
              |<----------/\------------|
        """
        call = self.talk(can_refer=True)
        outcome: list[object] = []
        call.phone.transfer("sip:carol@192.0.2.3").addBoth(outcome.append)
        call.hang_up_callee()
        self.net.run_for(5)
        self.assert_crossed("Alice: REFER", "Bob: BYE")
        self.assertCountEqual(
            self.ladder, ["Alice: REFER", "Bob: BYE", "Alice: 200 BYE", "Bob: 481 REFER"]
        )
        (failure,) = outcome
        assert isinstance(failure, Failure)
        failure.trap(SessionEnded)


class EarlyByeTests(BoxTestCase):
    """What sipsess itself never sends, from a scripted Alice: a BYE in the early dialog."""

    def begin(self) -> Box:
        """Let Alice call Bob, who rings and answers after a second."""
        return self.start(play=ring_then_answer)

    def assert_all_quiet(self, seconds: float) -> None:
        """Check that the peer hears nothing more for a while, not even copies."""
        before = len(self.net.trace)
        self.net.run_for(seconds)
        after = [what(event.data) for event in self.net.trace[before:] if event.source[0] == US]
        self.assertEqual(after, [], self.net.ladder())

    def test_3_1_3_bye_of_early_dialog_crosses_200(self) -> None:
        r"""
        Alice's BYE for the early dialog crosses Bob's 200: the call is over (3.1.3).

        ::

            Alice                      Bob
              |                     180 |
              |<------------------------|
              | BYE          200 INVITE |
              |-----------\/----------->| moratorium
              |<----------/\------------|
              | ACK             200 BYE |
              |-----------\/----------->| late, ignored
              |<----------/\------------|
        """
        self.begin()
        self.invite()
        ringing = self.peer.expect(180)
        self.net.run_until(
            lambda: any(what(event.data) == "200 INVITE" for event in self.net.trace)
        )
        self.assertEqual(self.peer.count(200), 0)
        self.peer.bye(ringing)
        success = self.answer_to("INVITE")
        self.assertEqual(self.answer_to("BYE").status, 200)
        self.peer.ack(success)
        self.assertFalse(self.box.manager.sessions)
        self.net.run_for(10)
        self.assertEqual(self.peer.count(200), 2, "the 200 was repeated")
        self.finish()

    def test_appendix_a_bye_in_the_early_dialog(self) -> None:
        """
        Alice's BYE for the early dialog, nothing crosses: 200 to it, 487 to the INVITE (App. A).

        ::

            Alice                      Bob
              |                     180 |
              |<------------------------|
              | BYE                     |
              |------------------------>|
              |     200 BYE, 487 INVITE |
              |<------------------------|
              | ACK                     |
              |------------------------>|
        """
        self.begin()
        self.invite()
        self.peer.bye(self.peer.expect(180))
        self.assertEqual(self.answer_to("BYE").status, 200)
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 487)
        self.peer.ack(refused)
        self.assert_all_quiet(5)
        self.finish()

    def test_appendix_b_bye_overlaps_a_reinvite(self) -> None:
        """
        Alice hangs up while her re-INVITE is open: 200 to the BYE, 487 to the re-INVITE (App. B).

        ::

            Alice                      Bob
              | re-INVITE               |
              |------------------------>| Bob takes his time
              | BYE                     |
              |------------------------>|
              |  200 BYE, 487 re-INVITE |
              |<------------------------|
              | ACK                     |
              |------------------------>|
        """
        self.begin()
        success = self.call()
        self.session_describes_slowly()
        invite = self.peer.request_within(success, "INVITE", body=audio(version=2))
        self.peer.send(invite)
        self.net.run_for(0.1)
        self.peer.bye(success)
        self.assertEqual(self.answer_to("BYE").status, 200)
        refused = self.answer_to("INVITE")
        self.assertEqual(refused.status, 487)
        self.peer.ack(refused)
        self.assert_all_quiet(5)
        self.finish()

    def session_describes_slowly(self) -> None:
        """Let the next answer of Bob's session take for ever."""

        async def forever(media: MediaNegotiation) -> None:
            await Deferred()

        self.patch(MediaNegotiation, "create_answer", forever)

    def test_appendix_c_cancel_before_anything_came(self) -> None:
        """
        Bob, calling, gives up at once: his CANCEL waits for a provisional response (App. C).

        ::

            Bob                       Peer
              | INVITE                  |
              |------------------------>|
              | (gives up)              |
              |                     100 |
              |<------------------------|
              | CANCEL                  |
              |------------------------>|
              |     200 CANCEL, 487     |
              |<------------------------|
              | ACK                     |
        """
        self.begin()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        session.terminate()
        self.peer.expect_silence(0.4)
        self.peer.reply(invite, 100)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.finish()

    def test_appendix_d_other_requests_in_the_mortal_state(self) -> None:
        r"""
        Bob has sent his BYE: an INFO and an OPTIONS that cross it get 481 (App. D).

        ::

            Alice                      Bob
              | INFO                BYE |
              |-----------\/----------->| mortal
              |<----------/\------------|
              |                481 INFO |
              |<------------------------|
              | 200 BYE                 |
              |------------------------>|
        """
        self.begin()
        success = self.call()
        (session,) = self.box.manager.sessions
        session.terminate()
        for method in ("INFO", "OPTIONS"):
            self.peer.send(self.peer.request_within(success, method), (US, 5060))
            self.assertEqual(self.answer_to(method).status, 481)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_appendix_e_new_to_tags_of_forks(self) -> None:
        """
        Bob calls, two forks ring and both answer: the second call is hung up (App. E).

        ::

            Bob              fork one  fork two
              | INVITE            |        |
              |------------------>|------->|
              |       180, tag 1  |        |
              |<------------------|        |
              |       180, tag 2  |        |
              |<---------------------------|
              |       200, tag 2  |        |
              |<---------------------------|  this is the call
              | ACK               |        |
              |--------------------------->|
              |       200, tag 1  |        |
              |<------------------|        |
              | ACK, BYE          |        |
              |------------------>|        |
        """
        self.begin()
        session = self.box.dial()
        invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 180, to_tag="one")
        self.peer.reply(invite, 180, to_tag="two")
        self.peer.reply(invite, 200, to_tag="two")
        self.assertEqual(self.peer.expect("ACK").to_tag, "two")
        self.peer.reply(invite, 200, to_tag="one")
        self.assertEqual(self.peer.expect("ACK").to_tag, "one")
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.to_tag, "one")
        self.peer.reply(bye, 200)
        self.net.run_for(1)
        self.assertEqual(session.usage.state, "CONFIRMED")
        session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.to_tag, "two")
        self.peer.reply(bye, 200)
        self.finish()

    def test_ack_after_the_bye_that_follows_its_absence(self) -> None:
        r"""
        No ACK in 64*T1, so Bob hangs up; the ACK that comes now has no effect (3.2.4, 13.3.1.4).

        ::

            Alice                      Bob
              |                     200 | 11 times in 32 s
              |<------------------------|
              | ACK                 BYE |
              |-----------\/----------->| mortal: ignored
              |<----------/\------------|
              | 200 BYE                 |
              |------------------------>|
        """
        self.begin()
        self.invite()
        success = self.peer.expect(200)
        bye = self.peer.expect("BYE", within=40)
        self.peer.ack(success)
        self.assert_all_quiet(0.2)
        self.peer.reply(bye, 200)
        self.assertEqual(self.box.refused["ack-missing"], 1)
        self.finish()
