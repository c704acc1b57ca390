# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The replaces supplement: a new call takes the place of another one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.call import Call
from sipsess.errors import DialogStateError
from sipsess.interfaces import IApplication, IChooseApplication, ISessionSupplement
from sipsess.manager import DialogManager
from sipsess.message import Request, Response
from sipsess.message.refer import Replaces, StatusLine
from sipsess.session import Session, SessionEnded
from sipsess.supplement import Reject, SessionSupplement
from sipsess.supplements.refer import Refer
from sipsess.supplements.replaces import MAX_ENDED, ReplacesSupplement
from sipsess.testing import Agent, Link, ScriptedPeer, VirtualNetwork
from sipsess.testing.pair import AnsweringApplication

US, PEER, OTHER = "192.0.2.1", "192.0.2.9", "192.0.2.8"


class Script(Application):
    """Does what a test says."""

    name = "script"

    def __init__(self, play: Any) -> None:
        self.play = play
        self.call: Call | None = None
        #: What became of each call.
        self.done: list[object] = []

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        self.call = call
        try:
            self.done.append(await self.play(call))
        except BaseException as error:
            self.done.append(error)
            raise


async def stay(call: Call) -> object:
    """Answer and wait for the end."""
    await call.answer()
    return await call.ended


class ReplacesTestCase(SynchronousTestCase):
    """An agent with a call from a peer, whose place another peer wants."""

    def start(self, play: Any = stay, *more: SessionSupplement) -> None:
        """Make the network anew."""
        self.net = VirtualNetwork()
        self.application = Script(play)
        self.agent = Agent(
            self.net.host(US, name="agent"),
            supplements=[ReplacesSupplement(), *more],
            applications=[self.application],
        )
        self.peer = ScriptedPeer(self.net.host(PEER, name="peer"))
        self.other = ScriptedPeer(self.net.host(OTHER, name="other"))

    def call(self) -> Response:
        """Let the peer call; return the 200."""
        self.peer.send(self.peer.invite(f"sip:script@{US}"))
        answer = self.peer.expect(200)
        self.peer.ack(answer)
        self.net.run_for(0.1)
        return answer

    def replace(self, value: object, status: int = 200, **options: Any) -> Response:
        """Let the other peer send an INVITE with Replaces; return its final response, ACKed."""
        uri = options.pop("uri", f"sip:{US}:5060")
        headers = [("Replaces", str(value)), *options.pop("more", [])]
        self.other.send(self.other.invite(uri, headers=headers, **options))
        response = self.other.expect(status)
        self.other.ack(response)
        return response

    def finish(self, message: Any = None) -> None:
        """Let the other peer hang up, if it talks to us, and check that nothing is left."""
        if message is not None:
            self.other.bye(message)
            self.other.expect(200)
        self.net.run_for(40)
        self.net.assert_quiet()


def of(response: Response, **options: Any) -> Replaces:
    """Return what replaces the dialog that a response to an INVITE has made, as its UAS sees it."""
    return Replaces(response.call_id, response.to_tag or "", response.from_tag or "", **options)


class ReplacedCallTests(ReplacesTestCase):
    """What becomes of a call that is replaced."""

    def test_confirmed_call(self) -> None:
        """RFC 3891 3: the new call is answered, then the old one gets a BYE; the call goes on."""
        self.start()
        answer = self.call()
        call = self.application.call
        assert call is not None
        new = self.replace(of(answer))
        bye = self.peer.expect("BYE")
        self.peer.reply(bye, 200)
        self.net.run_for(1)
        self.assertEqual(call.session.call_id, new.call_id)
        self.assertEqual(call.session.runner.name, "script")
        self.assertEqual(self.application.done, [])
        self.assertEqual([session.call_id for session in self.agent.sessions], [new.call_id])
        ended = call.ended
        self.finish(new)
        self.assertEqual(len(self.application.done), 1)
        self.assertEqual(self.successResultOf(ended).method, "BYE")

    def test_the_peer_hangs_up_first(self) -> None:
        """A BYE of the old peer that crosses ours changes nothing for the new call."""
        self.start()
        answer = self.call()
        new = self.replace(of(answer))
        self.peer.bye(answer)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.peer.expect(200)
        self.net.run_for(1)
        self.assertEqual(self.application.done, [])
        self.finish(new)

    def test_what_waits_goes_on(self) -> None:
        """Timers and digits go on where they were; what was being played is done."""

        async def play(call: Call) -> object:
            await call.answer()
            waiting = call.wait(5)
            await call.play_tone(seconds=30)
            digits = await call.read_digits(2, timeout=20)
            await waiting
            return digits

        self.start(play)
        answer = self.call()
        self.net.run_for(1)
        new = self.replace(of(answer))
        self.peer.reply(self.peer.expect("BYE"), 200)
        call = self.application.call
        assert call is not None
        call.receive_digit("4")
        call.receive_digit("2")
        self.assertEqual(self.application.done, [])
        self.net.run_for(4)
        self.assertEqual(self.application.done, ["42"])
        self.other.reply(self.other.expect("BYE"), 200)
        self.assertEqual(new.status, 200)
        self.finish()

    def test_recording_ends(self) -> None:
        """What is being recorded ends with the peer who is heard."""
        path = self.mktemp()
        digits: list[str] = []

        async def play(call: Call) -> object:
            await call.answer()
            digits.append((await call.record(path)).digit)
            return await call.ended

        self.start(play)
        answer = self.call()
        new = self.replace(of(answer))
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish(new)
        self.assertEqual(digits, [""])

    def test_late_offer(self) -> None:
        """An INVITE without offer takes the place when its ACK has brought the answer."""
        self.start()
        answer = self.call()
        self.other.send(
            self.other.invite(f"sip:{US}", headers={"Replaces": str(of(answer))}, body=b"")
        )
        response = self.other.expect(200)
        self.peer.expect_silence(0.4)
        self.other.ack(response, body=self.other.sdp())
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish(response)

    def test_late_offer_and_the_old_call_ends(self) -> None:
        """When the old call ends before the ACK has brought the answer, so does the new one."""
        self.start()
        answer = self.call()
        self.other.send(
            self.other.invite(f"sip:{US}", headers={"Replaces": str(of(answer))}, body=b"")
        )
        response = self.other.expect(200)
        self.peer.bye(answer)
        self.peer.expect(200)
        self.other.ack(response, body=self.other.sdp())
        self.other.reply(self.other.expect("BYE"), 200)
        self.finish()

    def test_cancelled(self) -> None:
        """When the new call comes to nothing, the old one goes on."""
        self.start()
        answer = self.call()
        self.replace(
            of(answer),
            488,
            body="v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n"
            "c=IN IP4 1.2.3.4\r\nm=image 9 udptl t38\r\n",
        )
        self.assertEqual(self.application.done, [])
        self.peer.expect_silence(2)
        self.peer.bye(answer)
        self.finish()

    def test_early_call_of_ours(self) -> None:
        """RFC 3891 3: an early dialog that we began is replaced too, and cancelled."""
        self.start()
        session = self.agent.dial(f"sip:peer@{PEER}")
        call = self.agent.manager.make_call(session)
        invite = self.peer.expect("INVITE")
        ringing = self.peer.reply(invite, 180)
        self.net.run_for(0.1)
        value = Replaces(invite.call_id, invite.from_tag or "", ringing.to_tag or "", True)
        new = self.replace(value)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.assertEqual(self.successResultOf(session.invite_client.answered).status, 200)
        self.assertEqual(call.session.call_id, new.call_id)
        self.assertTrue(call.is_answered)
        self.finish(new)
        self.assertTrue(call.is_ended)

    def test_session_without_call(self) -> None:
        """A session that the program drives without a Call is hung up all the same."""
        self.start()
        self.agent.dial(f"sip:peer@{PEER}")
        invite = self.peer.expect("INVITE")
        answer = self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        value = Replaces(invite.call_id, invite.from_tag or "", answer.to_tag or "")
        new = self.replace(value)
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.net.run_for(1)
        self.assertEqual(len(self.agent.sessions), 1)
        self.finish(new)


class RefusalTests(ReplacesTestCase):
    """RFC 3891 3: what is refused, and how; the old call is not touched."""

    def setUp(self) -> None:
        """Call."""
        self.start()
        self.answer = self.call()

    def tearDown(self) -> None:
        """The old call still stands."""
        self.peer.expect_silence(1)
        if self.agent.sessions:
            self.peer.bye(self.answer)
            self.peer.expect(200)
        self.finish()

    def test_no_match(self) -> None:
        """A dialog that is not here: 481; both tags and the Call-ID must match."""
        good = of(self.answer)
        self.replace(Replaces("unknown", good.to_tag, good.from_tag), 481)
        self.replace(Replaces(good.call_id, "x", good.from_tag), 481)
        self.replace(Replaces(good.call_id, good.to_tag, "x"), 481)
        self.replace(Replaces(good.call_id, good.from_tag, good.to_tag), 481)
        self.replace(Replaces(good.call_id, good.to_tag, "0"), 481)

    def test_early_only(self) -> None:
        """early-only, and the dialog is confirmed: 486."""
        self.replace(of(self.answer, early_only=True), 486)

    def test_several(self) -> None:
        """Two Replaces, one beside Join, or one that cannot be read: 400."""
        good = str(of(self.answer))
        self.replace(good, 400, more=[("Replaces", good)])
        self.replace(f"{good}, {good}", 400)
        self.replace(good, 400, more=[("Join", good)])
        self.replace("nonsense", 400)

    def test_not_in_other_requests(self) -> None:
        """In a re-INVITE, or a request that is no INVITE, it means nothing: 400."""
        for method in ("INVITE", "OPTIONS"):
            self.peer.send(
                self.peer.request_within(
                    self.answer, method, headers={"Replaces": str(of(self.answer))}
                )
            )
            refusal = self.peer.expect(400)
            if method == "INVITE":
                self.peer.ack(refusal)

    def test_terminated(self) -> None:
        """A dialog that has ended, or is ending: 603."""
        call = self.application.call
        assert call is not None
        call.hangup()
        bye = self.peer.expect("BYE")
        self.replace(of(self.answer), 603)
        self.peer.reply(bye, 200)
        self.net.run_for(1)
        self.replace(of(self.answer), 603)

    def test_early_call_of_the_peer(self) -> None:
        """An early dialog that we did not begin: 481."""

        async def ring(call: Call) -> None:
            await call.ring()
            await Deferred()

        self.application.play = ring
        invite = self.peer.invite(f"sip:script@{US}")
        self.peer.send(invite)
        ringing = self.peer.expect(180)
        self.replace(of(ringing), 481)
        self.peer.cancel(invite)
        self.peer.expect(200)
        self.peer.ack(self.peer.expect(487))

    def test_option_tag(self) -> None:
        """RFC 3891 5: the option tag is announced, and may be required."""
        self.assertIn("replaces", self.answer.supported)
        self.replace("unknown;to-tag=1;from-tag=2", 481, more=[("Require", "replaces")])


class CornerTests(ReplacesTestCase):
    """What happens between two events."""

    def test_old_call_ends_while_a_supplement_thinks(self) -> None:
        """When the old call ends before the new one is answered, that one is declined."""
        thinking: Deferred[None] = Deferred()

        class Slow(SessionSupplement):
            name = "slow"
            methods = frozenset({"INVITE"})

            def incoming_request(self, session: Session, request: Request) -> Any:
                """Wait, if it is a replacement."""
                return thinking if "Replaces" in request.headers else None

        self.start(stay, Slow())
        answer = self.call()
        self.other.send(self.other.invite(f"sip:{US}", headers={"Replaces": str(of(answer))}))
        self.net.run_for(1)
        self.peer.bye(answer)
        self.peer.expect(200)
        thinking.callback(None)
        self.other.ack(self.other.expect(603))
        self.finish()

    def test_peer_of_rfc_2543(self) -> None:
        """RFC 3891 6.1: a tag of zero may mean that there is none."""
        self.start()
        invite = self.peer.invite(f"sip:script@{US}", from_="<sip:peer@192.0.2.9>")
        self.peer.send(invite)
        answer = self.peer.expect(200)
        self.peer.ack(answer)
        self.net.run_for(0.1)
        new = self.replace(Replaces(answer.call_id, answer.to_tag or "", "0"))
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish(new)

    def test_memory_is_bounded(self) -> None:
        """No more than so many ended dialogs are remembered, the latest ones."""

        class Ended:
            def __init__(self, number: int) -> None:
                self.id = (str(number), "a", "b")
                self.dialogs = {"b": self}

        supplement = ReplacesSupplement()
        for number in range(MAX_ENDED + 5):
            supplement.session_end(Ended(number))  # type: ignore[arg-type]
        known = [(str(n), "a", "b") in supplement._ended for n in range(MAX_ENDED + 6)]
        self.assertEqual(known, [False] * 5 + [True] * MAX_ENDED + [False])

    def test_moving_to_what_is_over(self) -> None:
        """A call cannot move to a session that has ended."""
        self.start()
        answer = self.call()
        call = self.application.call
        assert call is not None
        self.peer.bye(answer)
        self.net.run_for(1)
        with self.assertRaises(SessionEnded):
            call.move_to(call.session)
        with self.assertRaises(SessionEnded):
            call.transfer("sip:a@b")
        self.finish()

    def test_only_answered_calls_can_be_replaced_by_us(self) -> None:
        """An attended transfer needs a second call that was answered."""
        self.start(stay, Refer())
        answer = self.call()
        call = self.application.call
        assert call is not None
        session = self.agent.dial(f"sip:other@{OTHER}")
        session.invite_client.answered.addErrback(lambda _: None)
        second = self.agent.manager.make_call(session)
        with self.assertRaises(DialogStateError):
            call.transfer(replaces=second)
        self.other.reply(self.other.expect("INVITE"), 486)
        self.peer.bye(answer)
        self.finish()


@implementer(IChooseApplication)
class Chooser(SessionSupplement):
    """Chooses what a test says."""

    name = "chooser"

    def __init__(self, choose: Any) -> None:
        self._choose = choose

    def choose_application(self, manager: DialogManager, request: Request) -> IApplication | None:
        """See :meth:`.IChooseApplication.choose_application`."""
        application: IApplication | None = self._choose()
        return application


class ChooseTests(ReplacesTestCase):
    """IChooseApplication, the hook that Replaces stands on."""

    def test_interfaces(self) -> None:
        """The supplement provides it."""
        verifyObject(ISessionSupplement, ReplacesSupplement())
        verifyObject(IChooseApplication, ReplacesSupplement())

    def test_failure_is_500(self) -> None:
        """A supplement that fails over it is logged, and the call refused with 500."""
        for error, status in ((RuntimeError("oops"), 500), (Reject(433), 433)):

            def fail(error: Exception = error) -> None:
                raise error

            self.start(stay, Chooser(fail))
            self.other.send(self.other.invite(f"sip:script@{US}"))
            self.other.ack(self.other.expect(status))
            self.finish()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_registered_later(self) -> None:
        """A supplement that is registered later has its say, until it is taken away."""
        self.start()
        chooser = Chooser(lambda: self.application)
        for _ in range(2):
            self.other.send(self.other.invite(f"sip:nobody@{US}"))
            self.other.ack(self.other.expect(404))
            self.agent.manager.register_supplement(chooser)
            invite = self.other.invite(f"sip:nobody@{US}")
            self.other.send(invite)
            answer = self.other.expect(200)
            self.other.ack(answer)
            self.net.run_for(0.1)
            self.other.bye(answer)
            self.other.expect(200)
            self.agent.manager.unregister_supplement(chooser)
        self.finish()


class ThreePartyTests(SynchronousTestCase):
    """Transfers among three agents, all of them sipsess."""

    def setUp(self) -> None:
        """Make the three."""
        self.start(VirtualNetwork())

    def start(self, net: VirtualNetwork) -> None:
        """Make the three on a network."""
        self.net = net
        supplements = [Refer(), ReplacesSupplement()]
        answering = AnsweringApplication()
        self.alice, self.bob, self.carol = (
            Agent(
                self.net.host(f"192.0.2.{number}", name=name),
                supplements=supplements,
                applications=[answering],
                application="answer",
            )
            for number, name in enumerate(("alice", "bob", "carol"), 1)
        )

    def dial(self, name: str, number: int) -> Call:
        """Let Alice call somebody."""
        session = self.alice.dial(f"sip:{name}@192.0.2.{number}")
        call = self.alice.manager.make_call(session)
        self.net.run_for(5)
        self.assertTrue(call.is_answered)
        return call

    def check_bob_and_carol(self) -> None:
        """Bob and Carol talk with each other and nobody else, Alice with nobody."""
        self.net.run_for(3)
        self.assertEqual(self.alice.sessions, [])
        (bob,), (carol,) = self.bob.sessions, self.carol.sessions
        self.assertEqual(bob.call_id, carol.call_id)
        for session in (bob, carol):
            self.assertTrue(session.is_answered)
            self.assertEqual(session.runner.name, "answer")
            call = session.channel
            assert call is not None
            self.assertIs(call.session, session)
            self.assertIsNotNone(call.audio)
        bob.terminate()
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_attended_transfer(self) -> None:
        """RFC 5589 7.1: Alice connects Bob and Carol, both of whom she talks with."""
        bob, carol = self.dial("bob", 2), self.dial("carol", 3)
        outcome = bob.transfer(replaces=carol)
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(outcome), StatusLine(200, "OK"))
        self.check_bob_and_carol()

    def test_blind_transfer(self) -> None:
        """RFC 5589 6.1: Alice sends Bob to Carol."""
        outcome = self.dial("bob", 2).transfer("sip:carol@192.0.2.3")
        self.net.run_for(1)
        self.assertEqual(self.successResultOf(outcome), StatusLine(200, "OK"))
        self.check_bob_and_carol()

    def test_alice_hangs_up_at_once(self) -> None:
        """Bob is transferred though Alice does not wait for the outcome."""
        call = self.dial("bob", 2)
        outcome = call.transfer("sip:carol@192.0.2.3")
        self.net.run_for(0.0)
        call.hangup()
        self.check_bob_and_carol()
        self.failureResultOf(outcome, SessionEnded)

    def test_carol_has_hung_up(self) -> None:
        """When Carol is gone meanwhile, Alice hears of it and keeps Bob."""
        bob, carol = self.dial("bob", 2), self.dial("carol", 3)
        self.carol.sessions[0].terminate()
        outcome = bob.transfer(replaces=carol)
        self.net.run_for(2)
        self.assertEqual(self.successResultOf(outcome), StatusLine(603, "Decline"))
        self.assertTrue(bob.is_answered)
        bob.hangup()
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_on_a_bad_network(self) -> None:
        """An attended transfer survives the loss of one datagram in five."""
        for seed in range(10):
            self.start(VirtualNetwork(seed, Link(loss=0.2)))
            bob, carol = self.dial("bob", 2), self.dial("carol", 3)
            outcome = bob.transfer(replaces=carol)
            self.net.run_for(10)
            self.assertEqual(self.successResultOf(outcome).status, 200)
            self.check_bob_and_carol()
