# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The refer supplement: transfers that the peer asks for, and those that we ask for."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.call import Call
from sipsess.errors import DialogStateError, Timeout, TransportError
from sipsess.interfaces import ISessionSupplement, ITransfer, ITransferPolicy
from sipsess.locating import NextHop
from sipsess.message import Request, Response
from sipsess.message.refer import SIPFRAG, ReferTo, StatusLine
from sipsess.session import Session, SessionEnded
from sipsess.supplement import Reject, SessionSupplement
from sipsess.supplements.refer import COOKIE, LINGER, OUTCOME_LIMIT, Refer
from sipsess.supplements.replaces import ReplacesSupplement
from sipsess.testing import Agent, ScriptedPeer, VirtualNetwork

US, PEER, OTHER = "192.0.2.1", "192.0.2.9", "192.0.2.8"


@implementer(ITransferPolicy)
class Patient(Application):
    """Answers, echoes until the call is over, and counts both."""

    name = "patient"

    def __init__(self) -> None:
        self.refuses = False
        self.asked: list[str] = []
        self.cancelled = 0
        self.call: Call | None = None

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        self.call = call
        await call.answer()
        try:
            await call.echo()
        except (CancelledError, SessionEnded):
            self.cancelled += 1
            raise

    def transfer_requested(self, call: Call, refer_to: ReferTo) -> None:
        """See :meth:`.ITransferPolicy.transfer_requested`."""
        self.asked.append(str(refer_to.uri))
        if self.refuses:
            raise Reject(603)


class Veto(SessionSupplement):
    """Refuses every REFER."""

    name = "veto"
    methods = frozenset({"REFER"})
    priority = 300

    def incoming_request(self, session: Session, request: Request) -> None:
        """Refuse it."""
        raise Reject(403)


class ReferTestCase(SynchronousTestCase):
    """An agent, a peer that asks or is asked, and another peer that is called."""

    #: The 200 to the peer's INVITE.
    answer: Response

    def start(self, *more: SessionSupplement) -> None:
        """Make the network anew."""
        self.net = VirtualNetwork()
        self.application = Patient()
        self.agent = Agent(
            self.net.host(US, name="agent"),
            supplements=[Refer(), ReplacesSupplement(), *more],
            applications=[self.application],
            application="patient",
        )
        self.peer = ScriptedPeer(self.net.host(PEER, name="peer"))
        self.other = ScriptedPeer(self.net.host(OTHER, name="other"))

    def call(self, *more: SessionSupplement) -> Response:
        """Let the peer call the agent; return the 200."""
        self.start(*more)
        self.peer.send(self.peer.invite(f"sip:patient@{US}"))
        answer = self.peer.expect(200)
        self.peer.ack(answer)
        self.net.run_for(0.1)
        return answer

    def refer(self, to: str = f"<sip:other@{OTHER}>", **headers: str) -> Request:
        """Let the peer send a REFER within the call."""
        items = {"Refer-To": to, **{name.replace("_", "-"): v for name, v in headers.items()}}
        request = self.peer.request_within(self.answer, "REFER", headers=items)
        self.peer.send(request)
        return request

    def notified(self, status: int = 200) -> Request:
        """Return the next NOTIFY that the peer gets, answered."""
        notify = self.peer.expect("NOTIFY", 40)
        self.peer.reply(notify, status)
        return notify

    def final(self, method: str, within: float = 5) -> Response:
        """Return the final response that the peer gets to a method."""
        found = self.peer.expect(
            lambda message: (
                isinstance(message, Response)
                and message.status >= 200
                and message.cseq.method == method
            ),
            within,
        )
        assert isinstance(found, Response)
        return found

    def settle(self) -> None:
        """Let all end, and check that nothing is left."""
        self.net.run_for(40)
        self.net.assert_quiet()

    def hang_up(self, peer: ScriptedPeer, message: Any) -> None:
        """Let a peer hang up, and everything end."""
        peer.bye(message)
        self.settle()


class TransfereeTests(ReferTestCase):
    """The peer transfers us."""

    def setUp(self) -> None:
        """Call."""
        self.answer = self.call()

    def test_blind_transfer(self) -> None:
        """RFC 3515 2.4, RFC 5589 6.1: 202, NOTIFY 100, the call, NOTIFY 200, and the BYE."""
        self.refer(Referred_By="<sip:peer@example.com>")
        self.assertEqual(self.final("REFER").status, 202)
        trying = self.notified()
        self.assertEqual(trying.headers.get("Event"), "refer")
        self.assertTrue((trying.headers.get("Subscription-State") or "").startswith("active"))
        self.assertEqual(trying.content_type, SIPFRAG)
        self.assertEqual(trying.body, b"SIP/2.0 100 Trying\r\n")
        invite = self.other.expect("INVITE")
        self.assertEqual(invite.headers.get("Referred-By"), "<sip:peer@example.com>")
        self.assertEqual(invite.from_.uri, f"sip:patient@{US}")
        self.assertIsNone(invite.headers.get("Replaces"))
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        last = self.notified()
        self.assertEqual(last.body, b"SIP/2.0 200 OK\r\n")
        self.assertEqual(last.headers.get("Subscription-State"), "terminated;reason=noresource")
        self.peer.bye(self.answer)
        self.peer.expect(200)
        self.net.run_for(40)
        self.assertEqual(self.application.asked, [f"sip:other@{OTHER}"])
        self.assertEqual(self.application.cancelled, 0)
        self.assertEqual(len(self.agent.sessions), 1)
        self.hang_up(self.other, invite)
        self.assertEqual(self.application.cancelled, 1)

    def test_application_moves(self) -> None:
        """The call and its application go on with whom the peer wants; echo is heard there."""
        self.refer()
        invite = self.other.expect("INVITE")
        call = self.application.call
        assert call is not None
        before = call.session
        self.assertTrue(call.audio is not None and call.audio.echo)
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        self.notified()
        self.assertIsNot(call.session, before)
        self.assertEqual(call.session.call_id, invite.call_id)
        self.assertEqual(call.session.runner.name, "patient")
        self.assertIsNone(before.channel)
        self.assertTrue(call.audio is not None and call.audio.echo)
        self.peer.bye(self.answer)
        self.net.run_for(1)
        self.assertFalse(call.is_ended)
        self.hang_up(self.other, invite)
        self.assertTrue(call.is_ended)

    def test_refused_call_is_told(self) -> None:
        """RFC 3515 2.4.5: the outcome is the final response; the call goes on, and may again."""
        self.refer()
        self.other.reply(self.other.expect("INVITE"), 486)
        self.notified()
        self.assertEqual(self.notified().body, b"SIP/2.0 486 Busy Here\r\n")
        self.assertEqual(self.application.cancelled, 0)
        # 2.4.6: the second subscription of a dialog has an id.
        again = self.refer()
        event = self.notified().headers.get("Event")
        self.assertEqual(event, f"refer;id={again.cseq.number}")
        self.other.reply(self.other.expect("INVITE"), 603)
        self.assertEqual(self.notified().body, b"SIP/2.0 603 Decline\r\n")
        self.hang_up(self.peer, self.answer)

    def test_nobody_there_is_told(self) -> None:
        """A call that times out ends in a sipfrag of 408."""
        self.refer("<sip:nobody@192.0.2.77>")
        self.notified()
        self.net.run_for(33)
        self.assertEqual(self.notified().body, b"SIP/2.0 408 Request Timeout\r\n")
        self.hang_up(self.peer, self.answer)

    def test_one_refer_to(self) -> None:
        """RFC 3515 2.4.2: none, two, or garbage is 400; another scheme 416; not INVITE 603."""
        for to, status in (
            (f"<sip:a@{OTHER}>, <sip:b@{OTHER}>", 400),
            ("<sip:>", 400),
            (f"<sip:a@{OTHER}?Replaces=x>", 400),
            ("<tel:+12015550123>", 416),
            (f"<sip:a@{OTHER};method=BYE>", 603),
        ):
            self.refer(to)
            self.assertEqual(self.final("REFER").status, status, to)
        self.peer.send(self.peer.request_within(self.answer, "REFER"))
        self.assertEqual(self.final("REFER").status, 400)
        self.hang_up(self.peer, self.answer)

    def test_a_supplement_may_veto(self) -> None:
        """A supplement with a lower priority refuses transfers; nobody else hears of them."""
        self.answer = self.call(Veto())
        self.refer()
        self.assertEqual(self.final("REFER").status, 403)
        self.assertEqual(self.application.asked, [])
        self.hang_up(self.peer, self.answer)

    def test_the_application_may_veto(self) -> None:
        """So does an application that is an ITransferPolicy."""
        self.application.refuses = True
        self.refer()
        self.assertEqual(self.final("REFER").status, 603)
        self.hang_up(self.peer, self.answer)

    def test_without_subscription(self) -> None:
        """RFC 4488 4: Refer-Sub: false is answered by 200 with the same, and no NOTIFY follows."""
        self.refer(Refer_Sub="false")
        response = self.final("REFER")
        self.assertEqual((response.status, response.headers.get("Refer-Sub")), (200, "false"))
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        self.peer.expect_silence(2)
        self.peer.bye(self.answer)
        self.net.run_for(1)
        self.hang_up(self.other, invite)

    def test_norefersub_is_supported(self) -> None:
        """RFC 4488 6: the option tag is announced, and so are the methods."""
        self.assertIn("norefersub", self.answer.supported)
        self.assertLessEqual({"REFER", "NOTIFY"}, self.answer.allow)
        self.hang_up(self.peer, self.answer)

    def test_bye_before_the_outcome(self) -> None:
        """The BYE is answered at once; the transfer goes on, and the application with it."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 180)
        self.peer.expect(202)
        self.notified()
        self.peer.bye(self.answer)
        self.assertEqual(self.final("BYE").status, 200)
        self.net.run_for(3)
        self.assertEqual(self.application.cancelled, 0)
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        self.peer.expect_silence(5)
        call = self.application.call
        assert call is not None
        self.assertTrue(call.is_answered and call.audio is not None and call.audio.echo)
        self.hang_up(self.other, invite)
        self.assertEqual(self.application.cancelled, 1)

    def test_bye_and_then_refused(self) -> None:
        """When the new call is refused after the BYE, the application ends: nobody is left."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.notified()
        self.peer.bye(self.answer)
        self.net.run_for(1)
        self.assertEqual(self.application.cancelled, 0)
        self.other.reply(invite, 486)
        self.settle()
        self.assertEqual(self.application.cancelled, 1)

    def test_bye_and_then_hung_up(self) -> None:
        """After the BYE the application may still give the new call up."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 180)
        self.notified()
        self.peer.bye(self.answer)
        self.net.run_for(1)
        call = self.application.call
        assert call is not None
        self.assertFalse(call.is_answered)
        call.hangup()
        self.other.reply(self.other.expect("CANCEL"), 200)
        self.other.reply(invite, 487)
        self.settle()
        self.assertEqual(self.application.cancelled, 1)

    def test_new_call_cannot_be_described(self) -> None:
        """When an SDP handler fails, the peer hears 500, or what the failure means."""
        with self.agent.core.turn:
            for handler in self.agent.manager.handlers["audio"]:
                self.agent.manager.unregister_sdp_handler(handler)
        self.refer()
        self.notified()
        self.assertTrue(self.notified().body.startswith(b"SIP/2.0 4"))
        self.hang_up(self.peer, self.answer)

    def test_bye_crosses_refer(self) -> None:
        """RFC 5407 3.3.3: a REFER that crosses our BYE is answered 481, and nobody is called."""
        call = self.application.call
        assert call is not None
        call.hangup()
        self.net.run_for(0)
        self.refer()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.assertEqual(self.final("REFER").status, 481)
        self.other.expect_silence(5)
        self.settle()

    def test_hanging_up_gives_the_transfer_up(self) -> None:
        """Who is transferred and hangs up meanwhile calls nobody any more."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 180)
        self.notified()
        call = self.application.call
        assert call is not None
        call.hangup()
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.other.reply(self.other.expect("CANCEL"), 200)
        self.other.reply(invite, 487)
        self.settle()

    def test_lost_notify(self) -> None:
        """A NOTIFY that is never answered ends the subscription, not the call (RFC 6665 4.2.2)."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.peer.expect(202)
        self.peer.expect("NOTIFY")
        self.net.run_for(33)
        self.other.reply(invite, 486)
        self.peer.expect_silence(3)
        self.assertEqual(self.application.cancelled, 0)
        self.hang_up(self.peer, self.answer)

    def test_lost_flow(self) -> None:
        """A NOTIFY whose flow is lost is sent once more, and not for ever."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.peer.expect(202)
        call = self.application.call
        assert call is not None
        for _ in range(2):
            self.assertEqual(self.peer.expect("NOTIFY").body, b"SIP/2.0 100 Trying\r\n")
            self.agent.core.flow_lost(call.session.flow, self.net.seconds())
        self.other.reply(invite, 486)
        self.peer.expect_silence(3)
        self.hang_up(self.peer, self.answer)

    def test_latest_after_a_lost_flow(self) -> None:
        """When more has become known meanwhile, that is told, and only that."""
        self.refer()
        self.other.reply(self.other.expect("INVITE"), 486)
        self.peer.expect(202)
        self.peer.expect("NOTIFY")
        self.net.run_for(0.1)
        call = self.application.call
        assert call is not None
        self.agent.core.flow_lost(call.session.flow, self.net.seconds())
        self.assertEqual(self.notified().body, b"SIP/2.0 486 Busy Here\r\n")
        self.peer.expect_silence(3)
        self.hang_up(self.peer, self.answer)

    def test_notify_is_refused(self) -> None:
        """481 to a NOTIFY ends the subscription alone (RFC 5057 5.1): no more come."""
        self.refer()
        self.peer.expect(202)
        self.notified(481)
        self.other.reply(self.other.expect("INVITE"), 486)
        self.peer.expect_silence(3)
        self.hang_up(self.peer, self.answer)

    def test_notifys_do_not_overtake(self) -> None:
        """The next NOTIFY waits for the answer to the one before."""
        self.refer()
        self.other.reply(self.other.expect("INVITE"), 486)
        trying = self.peer.expect("NOTIFY")
        self.peer.expect(202)
        self.peer.expect_silence(1)
        self.peer.reply(trying, 200)
        self.assertEqual(self.notified().body, b"SIP/2.0 486 Busy Here\r\n")
        self.hang_up(self.peer, self.answer)

    def test_peer_that_does_not_hang_up(self) -> None:
        """When the transferor leaves the old call open, we end it after a while."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 200)
        self.notified()
        self.notified()
        bye = self.peer.expect("BYE", LINGER + 1)
        self.peer.reply(bye, 200)
        self.hang_up(self.other, invite)

    def test_one_at_a_time(self) -> None:
        """A second REFER while one runs is answered 491."""
        self.refer()
        invite = self.other.expect("INVITE")
        self.assertEqual(self.final("REFER").status, 202)
        self.refer()
        self.assertEqual(self.final("REFER").status, 491)
        self.notified()
        self.other.reply(invite, 404)
        self.notified()
        self.hang_up(self.peer, self.answer)

    def test_before_the_answer(self) -> None:
        """A REFER in an early dialog is refused: there is nothing to transfer yet."""
        self.hang_up(self.peer, self.answer)
        session = self.agent.dial(f"sip:peer@{PEER}")
        session.invite_client.answered.addErrback(lambda _: None)
        invite = self.peer.expect("INVITE")
        ringing = self.peer.reply(invite, 180)
        refer = self.peer.request_within(
            invite, "REFER", headers={"Refer-To": f"<sip:other@{OTHER}>"}
        )
        self.peer.send(refer)
        self.assertEqual(self.final("REFER").status, 603)
        self.assertEqual(ringing.status, 180)
        self.peer.reply(invite, 486)
        self.settle()

    def test_names_are_resolved(self) -> None:
        """A host name takes time; when it leads nowhere the REFER is refused."""
        waiting: list[Deferred[NextHop]] = []

        async def locate(uri: str) -> NextHop:
            waiting.append(Deferred())
            return await waiting[-1]

        self.agent.manager.locate = locate
        self.refer("<sip:other@there.example>")
        self.net.run_for(1)
        waiting[0].errback(TransportError("no such name"))
        self.assertEqual(self.final("REFER").status, 404)
        self.refer("<sip:other@there.example>")
        self.net.run_for(1)
        waiting[1].callback(NextHop.along(self.agent.flow_to(f"sip:{OTHER}")))
        self.assertEqual(self.final("REFER").status, 202)
        self.other.reply(self.other.expect("INVITE"), 486)
        self.notified()
        self.notified()
        self.hang_up(self.peer, self.answer)

    def test_placed_at_once(self) -> None:
        """The call is placed when the way there is found, and waits for nothing else."""
        way: Deferred[NextHop] = Deferred()

        async def locate(uri: str) -> NextHop:
            return await way

        self.agent.manager.locate = locate
        self.refer("<sip:other@there.example>")
        self.net.run_for(1)
        way.callback(NextHop.along(self.agent.flow_to(f"sip:{OTHER}")))
        invite = self.other.expect("INVITE", 0.1)
        self.assertEqual(self.final("REFER", 0.1).status, 202)
        self.notified()
        self.other.reply(invite, 486)
        self.notified()
        self.hang_up(self.peer, self.answer)

    def test_call_that_is_not_placed(self) -> None:
        """A veto against the new call is told as its status."""

        def stop(uri: str, *args: Any, **kwargs: Any) -> Session:
            self.agent.manager.is_stopping = True
            return dial(uri, *args, **kwargs)

        dial = self.agent.manager.dial
        self.patch(self.agent.manager, "dial", stop)
        self.refer()
        self.notified()
        self.assertEqual(self.notified().body, b"SIP/2.0 503 Service Unavailable\r\n")
        self.hang_up(self.peer, self.answer)


class TransferorTests(ReferTestCase):
    """We transfer the peer."""

    def setUp(self) -> None:
        """Call the peer."""
        self.start()
        session = self.agent.dial(f"sip:peer@{PEER}")
        self.invite = self.peer.expect("INVITE")
        self.peer.reply(self.invite, 200)
        self.peer.expect("ACK")
        self.phone = self.agent.manager.make_call(session)

    def notify(self, body: str, state: str = "terminated;reason=noresource", **more: str) -> int:
        """Let the peer send a NOTIFY; return how it was answered."""
        headers = {"Event": more.pop("event", "refer"), "Subscription-State": state}
        request = self.peer.request_within(
            self.invite,
            "NOTIFY",
            headers={name: value for name, value in headers.items() if value},
            body=body,
            content_type=more.pop("kind", f"{SIPFRAG};version=2.0"),
        )
        self.peer.send(request)
        return self.final("NOTIFY").status

    def ask(self) -> tuple[Deferred[StatusLine], Request]:
        """Transfer the peer, and return what will come of it and the REFER, answered."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        refer = self.peer.expect("REFER")
        self.peer.reply(refer, 202)
        self.net.run_for(0.1)
        return outcome, refer

    def finish(self) -> None:
        """Take the BYE that ends the call, and check that nothing is left."""
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.settle()

    def test_blind_transfer(self) -> None:
        """RFC 5589 6.1: REFER, NOTIFYs, and the BYE when it succeeded."""
        outcome, refer = self.ask()
        self.assertEqual(refer.headers.get("Refer-To"), f"<sip:other@{OTHER}>")
        self.assertEqual(refer.headers.get("Referred-By"), f"<sip:sipsess@{US}>")
        self.assertIsNotNone(refer.contact)
        self.assertEqual(self.notify("SIP/2.0 100 Trying", "active;expires=60"), 200)
        self.assertNoResult(outcome)
        self.assertEqual(self.notify("SIP/2.0 200 OK"), 200)
        self.assertEqual(self.successResultOf(outcome), StatusLine(200, "OK"))
        self.finish()

    def test_failed_transfer(self) -> None:
        """When the peer reached nobody, the call goes on, and another attempt is possible."""
        outcome, _ = self.ask()
        self.assertEqual(self.notify("SIP/2.0 486 Busy Here"), 200)
        self.assertEqual(self.successResultOf(outcome), StatusLine(486, "Busy Here"))
        self.assertFalse(self.phone.is_ended)
        outcome, refer = self.ask()
        self.assertEqual(
            self.notify("SIP/2.0 404 Not Found", event=f"refer;id={refer.cseq.number}"), 200
        )
        self.assertEqual(self.successResultOf(outcome).status, 404)
        self.phone.hangup()
        self.finish()

    def test_refused_refer(self) -> None:
        """RFC 3515 2.4.1: the peer may refuse; the outcome is its status."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        self.peer.reply(self.peer.expect("REFER"), 603)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(outcome), StatusLine(603, "Decline"))
        self.phone.hangup()
        self.finish()

    def test_peer_without_subscription(self) -> None:
        """RFC 4488 4: a 2xx with Refer-Sub: false is all that we hear; then we hang up."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        self.peer.reply(self.peer.expect("REFER"), 200, headers={"Refer-Sub": "false"})
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(outcome).status, 200)
        self.finish()

    def test_notify_before_the_202(self) -> None:
        """RFC 6665 4.4.1: a NOTIFY may overtake the response to the REFER."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        refer = self.peer.expect("REFER")
        self.assertEqual(self.notify("SIP/2.0 200 OK"), 200)
        self.peer.reply(refer, 202)
        self.assertEqual(self.successResultOf(outcome).status, 200)
        self.finish()

    def test_notify_of_nothing(self) -> None:
        """RFC 6665 4.1.3: 481 for a subscription that is unknown, 489 for another package."""
        self.assertEqual(self.notify("SIP/2.0 200 OK"), 481)
        self.assertEqual(self.notify("SIP/2.0 200 OK", event="presence"), 489)
        outcome, refer = self.ask()
        wrong = f"refer;id={refer.cseq.number + 1}"
        self.assertEqual(self.notify("SIP/2.0 200 OK", event=wrong), 481)
        self.assertNoResult(outcome)
        outcome.addErrback(lambda _: None)
        self.phone.hangup()
        self.finish()

    def test_notify_outside_a_dialog(self) -> None:
        """RFC 6665 4.1.3: there it is 481."""
        headers = {"Event": "refer", "Subscription-State": "active"}
        self.peer.send(self.peer.request("NOTIFY", f"sip:{US}", headers=headers))
        self.assertEqual(self.final("NOTIFY").status, 481)
        self.phone.hangup()
        self.finish()

    def test_bad_notify(self) -> None:
        """What cannot be understood is refused, and the outcome is still awaited."""
        outcome, _ = self.ask()
        self.assertEqual(self.notify("SIP/2.0 200 OK", ""), 400)
        self.assertEqual(self.notify("nonsense"), 400)
        self.assertEqual(self.notify("hello", kind="text/plain"), 415)
        self.assertNoResult(outcome)
        self.assertEqual(self.notify("SIP/2.0 200 OK"), 200)
        self.successResultOf(outcome)
        self.finish()

    def test_subscription_that_ends_early(self) -> None:
        """When the peer ends the subscription without outcome, that fails; the call goes on."""
        outcome, _ = self.ask()
        request = self.peer.request_within(
            self.invite,
            "NOTIFY",
            headers={"Event": "refer", "Subscription-State": "terminated;reason=giveup"},
        )
        self.peer.send(request)
        self.assertEqual(self.final("NOTIFY").status, 200)
        self.failureResultOf(outcome, Timeout)
        self.phone.hangup()
        self.finish()

    def test_nobody_tells(self) -> None:
        """Without any NOTIFY the outcome is given up after a while."""
        outcome, _ = self.ask()
        self.net.run_for(OUTCOME_LIMIT + 1)
        self.failureResultOf(outcome, Timeout)
        self.phone.hangup()
        self.finish()

    def test_refer_that_is_never_answered(self) -> None:
        """No answer to the REFER in 64*T1: the dialog is lost (RFC 3261 12.2.1.2)."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        self.net.run_for(33)
        self.failureResultOf(outcome, Timeout)
        self.finish()

    def test_the_peer_hangs_up(self) -> None:
        """RFC 5407 3.3.3: a BYE that crosses the REFER ends the call, and the transfer with it."""
        outcome = self.phone.transfer(f"sip:other@{OTHER}")
        self.peer.bye(self.invite)
        self.peer.reply(self.peer.expect("REFER"), 481)
        self.assertEqual(self.final("BYE").status, 200)
        self.failureResultOf(outcome, SessionEnded)
        self.settle()

    def test_cancelled_deferred(self) -> None:
        """Who cancels the Deferred hears nothing more; a NOTIFY is then unknown."""
        outcome, _ = self.ask()
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
        self.assertEqual(self.notify("SIP/2.0 200 OK"), 481)
        self.phone.hangup()
        self.finish()

    def test_no_time_for_it(self) -> None:
        """What cannot be transferred says so at once."""
        outcome, _ = self.ask()
        outcome.addErrback(lambda _: None)
        with self.assertRaises(DialogStateError):
            self.phone.transfer(f"sip:other@{OTHER}")
        with self.assertRaises(DialogStateError):
            self.phone.transfer()
        with self.assertRaises(DialogStateError):
            self.phone.transfer("tel:1")
        self.assertEqual(self.notify("SIP/2.0 404 Not Found"), 200)
        with self.assertRaises(DialogStateError):
            self.phone.transfer("tel:1")
        self.peer.send(
            self.peer.request_within(
                self.invite, "REFER", headers={"Refer-To": f"<sip:other@{OTHER}>"}
            )
        )
        self.notified()
        with self.assertRaises(DialogStateError):
            self.phone.transfer(f"sip:other@{OTHER}")
        self.other.reply(self.other.expect("INVITE"), 486)
        self.notified()
        self.phone.hangup()
        with self.assertRaises(SessionEnded):
            self.phone.transfer(f"sip:other@{OTHER}")
        self.finish()


class SupplementTests(SynchronousTestCase):
    """What the supplement is."""

    def test_interfaces(self) -> None:
        """It is a supplement that transfers."""
        verifyObject(ISessionSupplement, Refer())
        verifyObject(ITransfer, Refer())
        verifyObject(ITransferPolicy, Patient())

    def test_without_it(self) -> None:
        """Without the supplement REFER is not allowed, and nothing can be transferred."""
        net = VirtualNetwork()
        agent = Agent(net.host(US, name="agent"))
        peer = ScriptedPeer(net.host(PEER, name="peer"))
        session = agent.dial(f"sip:peer@{PEER}")
        invite = peer.expect("INVITE")
        self.assertNotIn("REFER", invite.allow)
        peer.reply(invite, 200)
        peer.expect("ACK")
        with self.assertRaises(DialogStateError):
            agent.manager.make_call(session).transfer(f"sip:other@{OTHER}")
        self.assertIsNone(session.cookies.get(COOKIE))
        peer.bye(invite)
        net.run_for(40)
        net.assert_quiet()
