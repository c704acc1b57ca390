# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two calls whose media stay end to end: descriptions that go across, and every race."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.call import Call
from sipsess.engine import MediaOptions
from sipsess.errors import DialogStateError
from sipsess.interfaces import IMediaEngine, IMediaPolicy
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.session import MediaNegotiation, Session, pass_media
from sipsess.session.incoming import SETUP_LIMIT
from sipsess.session.passthrough import MAX_ROUNDS
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.refer import Refer
from sipsess.supplements.replaces import ReplacesSupplement
from sipsess.testing import Agent, VirtualNetwork

from .calls import Script
from .engines import ADDRESS, FakeEngine
from .phone import Phone, sdp_of
from .test_bridge import SERVER, BridgeCase, Far, connect

#: What the callee's 2xx needs to be asked by UPDATE.
ALLOW = {"Allow": "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, REFER"}
RELIABLE = {**ALLOW, "Supported": "100rel"}


@implementer(IMediaPolicy)
class Across(Script):
    """A script whose calls leave their media to the peers."""

    engine: FakeEngine | None = None

    def make_media(self, session: Session) -> MediaNegotiation:
        """See IMediaPolicy."""
        return pass_media(session, self.engine, MediaOptions(protocol="RTP/AVP"))


class PassCase(BridgeCase):
    """A caller, the server, and a callee who speak with each other."""

    engine: FakeEngine | None = None

    def start(self, function: Callable[[Call], Awaitable[Any]] = connect, **options: Any) -> None:
        """Place a call of the near phone; the INVITE of the leg waits at the far one."""
        self.net = VirtualNetwork()
        self.near, self.far = Phone(self.net), Far(self.net)
        self.script = Across(function)
        self.script.engine = self.engine
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            handlers=[],
            applications=[self.script],
            application="script",
            supplements=[Refer(), ReplacesSupplement(), DigitInfo()],
        )
        self.invite = self.near.invite("sip:bob@192.0.2.1", **options)
        self.near.send(self.invite, SERVER)

    def reoffer(self, phone: Phone, body: str, method: str = "INVITE") -> Request:
        """Send an offer within the call."""
        first: Response | Request = self.ok if phone is self.near else self.leg
        again = phone.request_within(first, method, body=body)
        phone.send(again)
        return again

    def end(self) -> None:
        """Hang up, and check that nothing is left."""
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def quiet(self) -> None:
        """Check that nobody is told anything more."""
        before = (len(self.near.received), len(self.far.received))
        self.net.run_for(8)
        self.assertEqual((len(self.near.received), len(self.far.received)), before)

    def assert_said(self, message: Request | Response, body: str) -> None:
        """Check that a description is what a peer has said, but for its o= line."""
        ours = [row for row in message.body.decode().splitlines() if row[0] != "o"]
        self.assertEqual(ours, [row for row in body.splitlines() if row[0] != "o"])

    def versions(self, phone: Phone) -> list[tuple[int, int]]:
        """Return the session ids and versions of what a phone was told, each once."""
        found = [sdp_of(item).origin for item in phone.received if item.body]
        return list(dict.fromkeys((item.session_id, item.version) for item in found))


class FirstTests(PassCase):
    """The first offer and its answer."""

    def test_across(self) -> None:
        """Each peer is told what the other one has said; no port of ours is open."""
        offer = Phone(VirtualNetwork()).sdp(extra=["a=x-own:1", "m=video 40002 RTP/AVP 99"])
        self.ring(body=offer)
        self.assert_said(self.leg, offer)
        self.assertNotIn("o=phone", self.leg.body.decode())
        answer = self.far.sdp(extra=["a=x-other:2", "m=video 0 RTP/AVP 99"])
        self.far.reply(self.leg, 200, body=answer)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.assert_said(self.ok, answer)
        self.near.ack(self.ok)
        self.assertEqual(self.agent.ports.leftovers(), [])
        self.quiet()
        self.end()

    def test_refused(self) -> None:
        """A refusal of the callee is the caller's."""
        self.ring()
        self.far.reply(self.leg, 488)
        self.far.expect("ACK")
        self.near.expect(488)
        self.settle()

    def test_early_media(self) -> None:
        """What comes with a 183 is told at once; the 2xx says the same."""
        self.ring()
        early = self.far.sdp()
        self.far.reply(self.leg, 183, body=early)
        self.assert_said(self.near.expect(183), early)
        self.far.reply(self.leg, 200, body=early)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.assert_said(self.ok, early)
        self.near.ack(self.ok)
        self.quiet()
        self.end()

    def test_another_fork_answers(self) -> None:
        """When another one answers than was heard the caller is told who, by a re-INVITE."""
        self.ring()
        self.far.reply(self.leg, 183, body=self.far.sdp(), to_tag="one")
        self.near.expect(183)
        answer = self.far.sdp(port=41000)
        self.far.reply(self.leg, 200, body=answer, to_tag="two")
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        asked = self.far.expect("INVITE")
        self.assertEqual(asked.body, b"")
        fresh = self.far.sdp(port=41000, extra=["a=x-fresh:1"])
        self.far.reply(asked, 200, body=fresh)
        again = self.near.expect("INVITE")
        self.assert_said(again, fresh)
        answered = self.near.sdp()
        self.near.reply(again, 200, body=answered)
        self.assert_said(self.far.expect("ACK"), answered)
        self.near.expect("ACK")
        self.quiet()
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_late_offer(self) -> None:
        """An INVITE without offer goes across without; the answer comes in the ACK."""
        self.ring(body=b"")
        self.assertEqual(self.leg.body, b"")
        self.assertNotIn("100rel", self.leg.headers.get("Supported") or "")
        offer = self.far.sdp()
        self.far.reply(self.leg, 200, body=offer)
        self.ok = self.near.expect(200)
        self.assert_said(self.ok, offer)
        self.assertEqual(self.far.count("ACK"), 0)
        answer = self.near.sdp()
        self.near.ack(self.ok, body=answer)
        self.assert_said(self.far.expect("ACK"), answer)
        self.quiet()
        self.end()

    def test_late_offer_without_answer(self) -> None:
        """A caller who does not answer the offer ends the call on both sides."""
        self.ring(body=b"")
        self.far.reply(self.leg, 200, body=self.far.sdp())
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.near.reply(self.near.expect("BYE"), 200)
        declined = self.far.expect("ACK")
        self.assertEqual([item.port for item in sdp_of(declined).media], [0])
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_late_offer_in_a_reliable_response(self) -> None:
        """The callee's offer in a 183 is answered in the PRACK of each side."""
        self.ring(body=b"", headers=RELIABLE)
        offer = self.far.sdp()
        self.far.reply(self.leg, 183, headers={"Require": "100rel", "RSeq": "7"}, body=offer)
        progress = self.near.expect(183)
        self.assert_said(progress, offer)
        rack = {"RAck": f"{progress.headers.get('RSeq')} {progress.headers.get('CSeq')}"}
        answer = self.near.sdp()
        self.near.send(self.near.request_within(progress, "PRACK", headers=rack, body=answer))
        self.near.expect(200)
        prack = self.far.expect("PRACK")
        self.assert_said(prack, answer)
        self.far.reply(prack, 200)
        self.far.reply(self.leg, 200, body=b"")
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.assertEqual(self.ok.body, b"")
        self.near.ack(self.ok)
        self.quiet()
        self.end()

    def test_nobody_on_the_other_side(self) -> None:
        """A call that is answered before anybody was called is refused: 480."""

        async def hasty(call: Call) -> None:
            await call.answer()

        self.start(hasty)
        self.near.expect(480)
        self.settle()

    def join(self) -> None:
        """Join a call and its leg before anything was said on the other side."""
        near, leg = self.agent.sessions
        near.media.join(leg.media)

    def test_answered_while_it_rings(self) -> None:
        """Who is answered while the other one rings gets his answer when that one has."""
        self.ring()
        self.join()
        call = self.script.call
        assert call is not None
        answering = call.answer()
        self.net.run_for(1)
        self.assertNoResult(answering)
        self.far.reply(self.leg, 200)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.successResultOf(answering)
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_answered_while_it_rings_in_vain(self) -> None:
        """When nobody answers him either, he is refused."""
        self.ring()
        self.join()
        call = self.script.call
        assert call is not None
        failures: list[Any] = []
        call.answer().addErrback(failures.append)
        self.far.reply(self.leg, 486)
        self.far.expect("ACK")
        self.near.expect(486)
        self.assertEqual(len(failures), 1)
        self.settle()

    def test_offered_nothing_yet(self) -> None:
        """A caller without offer cannot be answered before the other side has one: 480."""
        self.ring(body=b"")
        self.join()
        call = self.script.call
        assert call is not None
        with call.session.core.turn:
            self.failureResultOf(call.answer())
        self.near.expect(480)
        self.far.reply(self.leg, 100)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(self.leg, 487)
        self.settle()

    def test_too_many_streams(self) -> None:
        """An offer with very many streams is an attack: 488."""
        self.start(body=self.near_sdp_of(40))
        self.near.expect(488)
        self.settle()

    def near_sdp_of(self, count: int) -> str:
        """Return an offer with so many streams more."""
        extra = [f"m=audio {50000 + 2 * index} RTP/AVP 0" for index in range(count)]
        return Phone(VirtualNetwork()).sdp(extra=extra)

    def test_nothing_to_answer(self) -> None:
        """Without an offer there is no answer."""
        self.talk()
        near, _ = self.agent.sessions
        answering = Deferred.fromCoroutine(near.media.create_answer())
        self.failureResultOf(answering, NegotiationFailed)
        self.end()

    def test_mixed(self) -> None:
        """A call whose media pass through cannot be joined with one whose media do not."""
        self.talk()
        near, far = (session.channel for session in self.agent.sessions)
        assert near is not None and far is not None
        near.joined = far.joined = None
        far.session.media = MediaNegotiation(
            far.session, self.agent.manager._ordered, host="192.0.2.1", session_id=1
        )
        self.assertRaises(DialogStateError, near.bridge, far)
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.net.run_for(40)


class AgainTests(PassCase):
    """Offers within the call."""

    def test_hold(self) -> None:
        """A hold of one peer is a hold for the other; the version counts."""
        self.talk()
        held = self.near.sdp(direction="sendonly")
        self.reoffer(self.near, held)
        again = self.far.expect("INVITE")
        self.assert_said(again, held)
        answer = self.far.sdp(direction="recvonly")
        self.far.reply(again, 200, body=answer)
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.assert_said(ok, answer)
        self.near.ack(ok)
        for phone in (self.near, self.far):
            (first, one), (second, two) = self.versions(phone)
            self.assertEqual((first, one + 1), (second, two))
        self.quiet()
        self.end()

    def test_refresh(self) -> None:
        """An offer that says nothing new is answered as before, and nobody else hears of it."""
        self.talk()
        self.reoffer(self.near, self.near.sdp())
        ok = self.near.expect(200)
        self.assert_said(ok, self.far.sdp())
        self.near.ack(ok)
        self.assertEqual(len(self.versions(self.near)), 1)
        self.quiet()
        self.end()

    def test_own_refresh(self) -> None:
        """A refresh of ours says what was said last, under the same version."""
        self.talk()
        near, _ = self.agent.sessions
        near.send_reinvite()
        again = self.near.expect("INVITE")
        self.assert_said(again, self.far.sdp())
        self.near.reply(again, 200, body=self.near.sdp())
        self.near.expect("ACK")
        self.assertEqual(len(self.versions(self.near)), 1)
        self.quiet()
        self.end()

    def test_refresh_that_brings_news(self) -> None:
        """An answer to a refresh that says something else is told to the other side."""
        self.talk()
        near, _ = self.agent.sessions
        near.send_reinvite()
        moved = self.near.sdp(port=45000)
        self.near.reply(self.near.expect("INVITE"), 200, body=moved)
        self.near.expect("ACK")
        asked = self.near.expect("INVITE")
        self.assertEqual(asked.body, b"")
        self.near.reply(asked, 200, body=moved)
        again = self.far.expect("INVITE")
        self.assert_said(again, moved)
        self.far.reply(again, 200)
        self.far.expect("ACK")
        self.near.expect("ACK")
        self.quiet()
        self.end()

    def take(self, phone: Phone, status: int, body: str | bytes | None = None) -> Request:
        """Answer a re-INVITE, and take the ACK."""
        again = phone.expect("INVITE")
        phone.reply(again, status, body=body)
        phone.expect("ACK")
        return again

    def test_news_that_nobody_wants(self) -> None:
        """When neither peer wants to talk about what one has said, that is left so."""
        self.talk()
        near, _ = self.agent.sessions
        near.send_reinvite()
        self.take(self.near, 200, self.near.sdp(port=45000))
        self.assertEqual(self.take(self.near, 488).body, b"")
        self.assertTrue(self.take(self.far, 488).body)
        self.quiet()
        self.end()

    def test_not_asked_for_ever(self) -> None:
        """Peers who say something else each time they are offered something are left alone."""
        self.talk()
        near, _ = self.agent.sessions
        near.send_reinvite()
        self.take(self.near, 200, self.near.sdp(port=45000))
        phones = [self.near, self.far]
        for round_ in range(MAX_ROUNDS):
            self.take(phones[0], 488)
            self.take(phones[1], 200, phones[1].sdp(port=46000 + 2 * round_))
            phones.reverse()
        self.quiet()
        self.end()

    def test_ended_while_it_is_mended(self) -> None:
        """A call that ends while its peer is asked for an offer leaves nothing."""
        self.talk()
        near, _ = self.agent.sessions
        near.send_reinvite()
        self.take(self.near, 200, self.near.sdp(port=45000))
        asked = self.near.expect("INVITE")
        self.near.bye(self.ok)
        self.near.reply(asked, 487)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_refused(self) -> None:
        """A refusal goes back, and all is as before."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        warning = {"Warning": '305 192.0.2.7 "No"'}
        self.far.reply(self.far.expect("INVITE"), 488, headers=warning)
        self.far.expect("ACK")
        refused = self.near.expect(488)
        self.assertEqual(refused.headers.get("Warning"), warning["Warning"])
        self.near.ack(refused)
        self.quiet()
        self.end()

    def test_challenge(self) -> None:
        """A challenge to us is nothing that the other peer could answer: 403."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        self.far.reply(self.far.expect("INVITE"), 401)
        self.far.expect("ACK")
        self.near.ack(self.near.expect(403))
        self.end()

    def test_without_offer(self) -> None:
        """A re-INVITE without offer asks the other peer; his ACK waits for the answer."""
        self.talk()
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        asked = self.far.expect("INVITE")
        self.assertEqual(asked.body, b"")
        offer = self.far.sdp(port=42000)
        self.far.reply(asked, 200, body=offer)
        ok = self.near.expect(200)
        self.assert_said(ok, offer)
        self.net.run_for(3)
        self.assertEqual(self.far.count("ACK"), 1)
        answer = self.near.sdp(port=43000)
        self.near.ack(ok, body=answer)
        self.assert_said(self.far.expect("ACK"), answer)
        self.quiet()
        self.end()

    def test_without_offer_refused(self) -> None:
        """A peer who does not want to offer refuses for both."""
        self.talk()
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        self.far.reply(self.far.expect("INVITE"), 488)
        self.far.expect("ACK")
        self.near.ack(self.near.expect(488))
        self.quiet()
        self.end()

    def test_without_offer_glare(self) -> None:
        """A 491 to the question goes back to who has asked; nobody is asked twice for him."""
        self.talk()
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        self.far.reply(self.far.expect("INVITE"), 491)
        self.far.expect("ACK")
        self.near.ack(self.near.expect(491))
        count = self.far.count("INVITE")
        self.net.run_for(10)
        self.assertEqual(self.far.count("INVITE"), count)
        self.quiet()
        self.end()

    def test_without_any_offer(self) -> None:
        """A 2xx that brings no offer when it must is a refusal to the other side."""
        self.talk()
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        self.far.reply(self.far.expect("INVITE"), 200, body=b"")
        self.far.expect("ACK")
        self.near.ack(self.near.expect(488))
        self.quiet()
        self.end()

    def test_without_offer_lost(self) -> None:
        """A peer who is gone when he is asked ends the call."""
        self.talk()
        self.far.close()
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        self.near.ack(self.near.expect(500, within=40))
        self.near.reply(self.near.expect("BYE", within=70), 200)
        self.settle()

    def test_update(self) -> None:
        """An offer in an UPDATE goes across as one when the other peer takes it."""
        self.ring()
        self.far.reply(self.leg, 200, body=self.far.sdp(), headers=ALLOW)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        moved = self.near.sdp(port=44000)
        self.reoffer(self.near, moved, "UPDATE")
        update = self.far.expect("UPDATE")
        self.assert_said(update, moved)
        answer = self.far.sdp(port=45000)
        self.far.reply(update, 200, body=answer)
        self.assert_said(self.near.expect(200), answer)
        self.quiet()
        self.end()

    def test_update_as_reinvite(self) -> None:
        """An offer in an UPDATE is a re-INVITE for a peer who takes no UPDATE."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(port=44000), "UPDATE")
        self.far.reply(self.far.expect("INVITE"), 200)
        self.far.expect("ACK")
        self.near.expect(200)
        self.quiet()
        self.end()

    def test_early_update(self) -> None:
        """Before the answer an UPDATE of the caller goes across when it can, else 504."""
        for headers, seen in ((ALLOW, 200), ({}, 504)):
            self.ring(headers=RELIABLE)
            reliable = {"Require": "100rel", "RSeq": "7", **headers}
            self.far.reply(self.leg, 183, headers=reliable, body=self.far.sdp())
            self.far.reply(self.far.expect("PRACK"), 200)
            progress = self.near.expect(183)
            rack = {"RAck": f"{progress.headers.get('RSeq')} {progress.headers.get('CSeq')}"}
            self.near.send(self.near.request_within(progress, "PRACK", headers=rack))
            self.near.expect(200)
            moved = self.near.sdp(port=44000)
            self.near.send(self.near.request_within(progress, "UPDATE", body=moved))
            if headers:
                update = self.far.expect("UPDATE")
                self.assert_said(update, moved)
                self.far.reply(update, 200, body=self.far.sdp(port=45000))
            self.near.expect(seen)
            self.near.cancel(self.invite)
            self.far.reply(self.far.expect("CANCEL"), 200)
            self.far.reply(self.leg, 487)
            self.settle()


class KeyTests(PassCase):
    """Keys in INFO: the others are in media that are not ours."""

    def press(self, allow: dict[str, str]) -> None:
        """Let the caller press a key by INFO; the callee has said what he allows."""
        self.ring()
        self.far.reply(self.leg, 200, body=self.far.sdp(), headers=allow)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.1)
        kind = "application/dtmf-relay"
        body = "Signal=7\r\nDuration=160\r\n"
        self.near.send(self.near.request_within(self.ok, "INFO", body=body, content_type=kind))
        self.near.expect(200)

    def test_across(self) -> None:
        """A key goes across as an INFO."""
        self.press({"Allow": "INVITE, ACK, BYE, INFO"})
        info = self.far.expect("INFO")
        self.assertIn(b"Signal=7", info.body)
        self.far.reply(info, 200)
        self.end()

    def test_lost(self) -> None:
        """To a peer who takes none it does not, and that is noted."""
        self.press({"Allow": "INVITE, ACK, BYE"})
        _, far = self.agent.sessions
        self.assertIn("key lost", " ".join(far.record.lines()))
        self.assertEqual(self.far.count("INFO"), 0)
        self.end()


class RaceTests(PassCase):
    """Offers that meet, that are withdrawn, and that end with the call."""

    def test_glare(self) -> None:
        """Two offers that meet are refused with 491, and come again in their owners' time."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        again = self.far.expect("INVITE")
        self.reoffer(self.far, self.far.sdp(direction="inactive"))
        self.far.ack(self.far.expect(491))
        self.far.reply(again, 491)
        self.far.expect("ACK")
        self.near.ack(self.near.expect(491))
        # The callee's side comes first (RFC 3261 14.1).
        mine = self.reoffer(self.far, self.far.sdp(direction="inactive"))
        other = self.near.expect("INVITE")
        self.near.reply(other, 200, body=self.near.sdp(direction="inactive"))
        self.near.expect("ACK")
        ok = self.far.expect(200)
        self.assertEqual(ok.cseq.number, mine.cseq.number)
        self.far.ack(ok)
        self.quiet()
        self.end()

    def test_offer_while_the_other_waits(self) -> None:
        """An offer that comes while the other side's waits for its turn is refused with 491."""
        self.talk()
        _, far = self.agent.sessions
        sending = far.send_reinvite()
        self.far.reply(self.far.expect("INVITE"), 491)
        self.far.expect("ACK")
        # Until the time after the glare is over, nothing of ours is sent to that side.
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        self.net.run_for(0.1)
        self.reoffer(self.far, self.far.sdp(direction="inactive"))
        self.far.ack(self.far.expect(491))
        for _ in range(2):
            again = self.far.expect("INVITE")
            self.far.reply(again, 200, body=self.far.sdp(direction="recvonly"))
            self.far.expect("ACK")
        self.assertTrue(sending.called)
        self.near.ack(self.near.expect(200))
        self.quiet()
        self.end()

    def test_both_ask_for_an_offer(self) -> None:
        """When both peers want an offer, and neither can be asked just then, the later gets 491."""
        self.talk()
        _, far = self.agent.sessions
        far.send_reinvite()
        self.far.reply(self.far.expect("INVITE"), 491)
        self.far.expect("ACK")
        self.near.send(self.near.request_within(self.ok, "INVITE"))
        self.net.run_for(0.1)
        self.far.send(self.far.request_within(self.leg, "INVITE"))
        self.far.ack(self.far.expect(491))
        self.far.reply(self.far.expect("INVITE"), 200)
        self.far.expect("ACK")
        self.far.reply(self.far.expect("INVITE"), 200)
        ok = self.near.expect(200)
        self.near.ack(ok, body=self.near.sdp())
        self.far.expect("ACK")
        self.quiet()
        self.end()

    def test_withdrawn(self) -> None:
        """A re-INVITE that is cancelled is cancelled on the other side."""
        self.talk()
        again = self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        across = self.far.expect("INVITE")
        self.far.reply(across, 100)
        self.near.cancel(again)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(across, 487)
        self.far.expect("ACK")
        self.near.ack(self.near.expect(487))
        self.quiet()
        self.end()

    def test_withdrawn_before_a_provisional_response(self) -> None:
        """It is cancelled when the other peer has said something (RFC 3261 9.1)."""
        self.talk()
        again = self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        across = self.far.expect("INVITE")
        self.near.cancel(again)
        self.near.ack(self.near.expect(487))
        self.assertEqual(self.far.count("CANCEL"), 0)
        self.far.reply(across, 100)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(across, 180)
        self.far.reply(across, 487)
        self.far.expect("ACK")
        self.assertEqual(self.far.count("CANCEL"), 1)
        self.quiet()
        self.end()

    def test_never_answered(self) -> None:
        """Who rings for ever is cancelled once and given up, though both limits end together."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        self.far.reply(self.far.expect("INVITE"), 180)
        self.net.run_for(SETUP_LIMIT)
        self.near.ack(self.near.expect(500))
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.far.reply(self.far.expect("BYE", within=40), 200)
        self.near.reply(self.near.expect("BYE"), 200)
        self.settle()

    def test_answer_crosses_the_cancel(self) -> None:
        """Who has answered an offer that was withdrawn hears what counts."""
        self.talk()
        again = self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        across = self.far.expect("INVITE")
        self.far.reply(across, 100)
        self.near.cancel(again)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(across, 200, body=self.far.sdp(direction="recvonly"))
        self.far.expect("ACK")
        self.near.ack(self.near.expect(487))
        asked = self.far.expect("INVITE")
        self.assertEqual(asked.body, b"")
        self.far.reply(asked, 200, body=self.far.sdp())
        mine = self.near.expect("INVITE")
        self.near.reply(mine, 200)
        self.near.expect("ACK")
        self.assert_said(self.far.expect("ACK"), self.near.sdp())
        self.quiet()
        self.end()

    def test_ended_meanwhile(self) -> None:
        """A call that ends while its offer is on the other side leaves nothing."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        across = self.far.expect("INVITE")
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.far.reply(across, 487)
        self.settle()

    def test_other_side_ends_meanwhile(self) -> None:
        """Whoever waits for the answer of a peer who hangs up is hung up."""
        self.talk()
        self.reoffer(self.near, self.near.sdp(direction="sendonly"))
        self.far.expect("INVITE")
        self.far.bye(self.leg)
        self.near.expect(lambda m: isinstance(m, Response) and m.status >= 480)
        self.near.reply(self.near.expect("BYE"), 200)
        self.settle()


class MovedTests(PassCase):
    """Another peer takes the place of one."""

    def third(self) -> Phone:
        """Return a third phone."""
        return Phone(self.net, "192.0.2.8", "third")

    def test_transfer(self) -> None:
        """The new peer and the one who stayed hear of each other, under a new o= line."""
        self.talk()
        third = self.third()
        refer = self.near.request_within(
            self.ok, "REFER", headers={"Refer-To": f"<{third.uri}>", "Refer-Sub": "false"}
        )
        self.near.send(refer)
        self.near.expect(200)
        invite = third.expect("INVITE")
        self.assertNotIn(b"a=sendrecv", invite.body)
        self.assertEqual(sdp_of(invite).media[0].address, "192.0.2.7")
        third.reply(invite, 200)
        third.expect("ACK")
        asked = third.expect("INVITE")
        self.assertEqual(asked.body, b"")
        # Another codec under a payload type that meant something else before.
        fresh = third.sdp(formats="0 96", extra=["a=rtpmap:96 telephone-event/8000"])
        third.reply(asked, 200, body=fresh)
        again = self.far.expect("INVITE")
        self.assert_said(again, fresh)
        answer = self.far.sdp(extra=["a=x-final:1"])
        self.far.reply(again, 200, body=answer)
        self.far.expect("ACK")
        self.assert_said(third.expect("ACK"), answer)
        first, second = self.versions(self.far)
        self.assertNotEqual(first[0], second[0])
        self.near.bye(self.ok)
        self.near.expect(200)
        self.quiet()
        third.bye(invite)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_replaces(self) -> None:
        """Who takes the place of a peer is offered to the other one, and answered by him."""
        self.talk()
        third = self.third()
        text = f"{self.ok.call_id};to-tag={self.ok.to_tag};from-tag={self.invite.from_tag}"
        offer = third.sdp()
        third.send(third.invite("sip:x@192.0.2.1", headers={"Replaces": text}, body=offer), SERVER)
        again = self.far.expect("INVITE")
        self.assert_said(again, offer)
        answer = self.far.sdp(port=47000)
        self.far.reply(again, 200, body=answer)
        self.far.expect("ACK")
        ok = third.expect(200)
        self.assert_said(ok, answer)
        third.ack(ok)
        self.near.reply(self.near.expect("BYE"), 200)
        self.quiet()
        third.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()


class EngineTests(PassCase):
    """Descriptions that go through a media engine on their way."""

    def setUp(self) -> None:
        """Make the engine."""
        self.engine = FakeEngine()

    def engine_of(self) -> FakeEngine:
        """Return it."""
        assert self.engine is not None
        return self.engine

    def test_fake(self) -> None:
        """The engine of these tests is one."""
        self.assertTrue(verifyObject(IMediaEngine, self.engine))

    def test_across(self) -> None:
        """Both peers hear of the engine's address; at the end it forgets the call."""
        self.talk()
        engine = self.engine_of()
        for message in (self.leg, self.ok):
            self.assertEqual(sdp_of(message).media[0].address, ADDRESS)
        (offer, call_id, near), (answer, again, tag, far) = engine.asked
        self.assertEqual((offer, answer, call_id, near), ("offer", "answer", again, tag))
        self.assertNotIn(self.ok.call_id, call_id)
        self.assertEqual((near, far), ("near", "far"))
        self.assertEqual([item.protocol for item in engine.options], ["", "RTP/AVP"])
        self.reoffer(self.far, self.far.sdp(direction="sendonly"))
        mine = self.near.expect("INVITE")
        self.near.reply(mine, 200, body=self.near.sdp(direction="recvonly"))
        self.near.expect("ACK")
        self.far.ack(self.far.expect(200))
        self.assertEqual(
            engine.asked[-2:], [("offer", call_id, far), ("answer", call_id, far, near)]
        )
        self.assertEqual(engine.calls, {call_id})
        self.end()
        self.assertEqual(engine.calls, set())
        self.assertEqual([item[0] for item in engine.asked].count("delete"), 1)

    def test_transfer(self) -> None:
        """Who takes the place of a peer has his tag."""
        self.talk()
        third = Phone(self.net, "192.0.2.8", "third")
        headers = {"Refer-To": f"<{third.uri}>", "Refer-Sub": "false"}
        self.near.send(self.near.request_within(self.ok, "REFER", headers=headers))
        self.near.expect(200)
        invite = third.expect("INVITE")
        third.reply(invite, 200)
        third.expect("ACK")
        third.reply(third.expect("INVITE"), 200)
        self.far.reply(self.far.expect("INVITE"), 200)
        third.expect("ACK")
        tags = [item[2:] for item in self.engine_of().asked[2:]]
        self.assertEqual(tags, [("far",), ("near",), ("near", "far")])
        third.bye(invite)
        self.far.reply(self.far.expect("BYE"), 200)
        self.near.bye(self.ok)
        self.settle()

    def test_gone(self) -> None:
        """An engine that cannot be told to let go changes nothing."""
        self.talk()
        self.engine_of().is_gone = True
        self.end()

    def test_never_asked(self) -> None:
        """An engine is not told to forget a call that it has never heard of."""
        self.start(body=b"")
        self.far.reply(self.far.expect("INVITE"), 486)
        self.far.expect("ACK")
        self.near.expect(486)
        self.assertEqual(self.engine_of().asked, [])
        self.settle()

    def test_nonsense(self) -> None:
        """An engine that writes no description is as good as none."""
        self.engine_of().nonsense = b"v=0"
        self.start()
        self.near.expect(503)
        self.assertEqual(self.agent.core.counters.refused, {"engine-description": 1})
        self.settle()

    def test_broken(self) -> None:
        """A call that the engine does not want ends, as one that this server cannot take."""
        self.engine_of().is_broken = True
        self.start()
        self.near.expect(503)
        self.settle()

    def test_broken_answer(self) -> None:
        """When the engine fails over the answer both calls end."""
        self.ring()
        self.engine_of().is_broken = True
        self.far.reply(self.leg, 200)
        self.far.expect("ACK")
        self.near.expect(503)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_given_up_meanwhile(self) -> None:
        """A caller who gives up while the engine thinks leaves nothing in it."""
        engine = self.engine_of()
        engine.pause = Deferred()
        self.start()
        self.net.run_for(0.1)
        self.near.cancel(self.invite)
        self.near.expect(487)
        self.assertEqual(self.far.received, [])
        self.settle()
        self.assertEqual(engine.calls, set())
