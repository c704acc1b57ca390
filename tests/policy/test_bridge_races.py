# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Joined calls when things meet, are lost, or end slowly; and what else goes across."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sipsess.call import Call
from sipsess.interfaces import ISessionSupplement
from sipsess.message import Request, Response
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.replaces import ReplacesSupplement

from .phone import FRAME, Phone, audio_at, sdp_of
from .test_bridge import SERVER, TARGET, BridgeCase


class RaceCase(BridgeCase):
    """A caller, the server, and a callee who talk."""

    def reoffer(self, phone: Phone, direction: str, method: str = "INVITE") -> Request:
        """Send an offer within the call."""
        first: Response | Request = self.ok if phone is self.near else self.leg
        body = phone.sdp(direction=direction)
        request = phone.request_within(first, method, body=body)
        phone.send(request)
        return request

    def answer(self, phone: Phone, offered: str, answer: str) -> None:
        """Take a re-INVITE that offers a direction, and answer it."""
        again = phone.expect("INVITE")
        self.assertEqual(sdp_of(again).media[0].direction, offered)
        phone.reply(again, 200, body=phone.sdp(direction=answer))
        phone.expect("ACK")

    def quiet(self) -> None:
        """Check that nobody is told anything more."""
        before = (len(self.near.received), len(self.far.received))
        self.net.run_for(10)
        self.assertEqual((len(self.near.received), len(self.far.received)), before)

    def end(self) -> None:
        """Hang up, and check that nothing is left."""
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()


class EndingTests(RaceCase):
    """An end that is decided on one side is one for the other at once."""

    def test_slow_bye(self) -> None:
        """The other side does not wait for the answer to our BYE."""

        async def leave(call: Call) -> None:
            leg = await call.dial(TARGET)
            await call.answer()
            joining = call.bridge(leg)
            await call.wait(1)
            call.hangup("enough")
            await joining

        self.talk(leave)
        bye = self.near.expect("BYE")
        other = self.far.expect("BYE", within=0.1)
        self.far.reply(other, 200)
        self.net.run_for(20)
        self.near.reply(bye, 200)
        self.settle()

    def test_dialling(self) -> None:
        """Who rings for a call that is being hung up rings no more."""

        async def leave(call: Call) -> None:
            await call.answer()
            calling = call.dial(TARGET).addErrback(lambda failure: None)
            await call.wait(1)
            call.hangup()
            await calling

        leg = self.ring(leave)
        self.near.ack(self.near.expect(200))
        self.far.reply(leg, 180)
        bye = self.near.expect("BYE")
        self.far.reply(self.far.expect("CANCEL", within=0.1), 200)
        self.far.reply(leg, 487)
        self.net.run_for(20)
        self.near.reply(bye, 200)
        self.settle()

    def test_leg_that_nobody_has_joined(self) -> None:
        """A leg ends as soon as it is decided that the call that it belongs to does."""

        async def leave(call: Call) -> None:
            await call.dial(TARGET)
            await call.answer()
            await call.wait(1)
            call.hangup()

        self.talk(leave)
        bye = self.near.expect("BYE")
        self.far.reply(self.far.expect("BYE", within=0.1), 200)
        self.near.reply(bye, 200)
        self.settle()

    def test_parted_as_one_ends(self) -> None:
        """A bridge that is cancelled while one call is just ending ends the other."""

        async def part(call: Call) -> None:
            leg = await call.dial(TARGET)
            await call.answer()
            joining = call.bridge(leg).addErrback(lambda failure: failure.trap(CancelledError))
            await call.wait(1)
            with call.session.core.turn:
                leg.hangup()
                joining.cancel()
            await call.wait(60)

        self.talk(part)
        self.far.reply(self.far.expect("BYE"), 200)
        self.near.reply(self.near.expect("BYE", within=0.1), 200)
        self.settle()


class LossTests(RaceCase):
    """Messages that are lost between us and one side."""

    def lose(self, start: bytes, source: str, count: int = 1) -> None:
        """Lose the first messages that begin so."""
        left = [count]

        def is_lost(sender: tuple[str, int], target: tuple[str, int], data: bytes) -> bool:
            if sender[0] != source or not data.startswith(start) or not left[0]:
                return False
            left[0] -= 1
            return True

        self.net.filters.append(is_lost)

    def test_answer_of_the_callee(self) -> None:
        """A lost 200 of the callee comes again; the caller is answered then, once."""
        self.ring()
        self.lose(b"SIP/2.0 200", "192.0.2.7")
        answer = self.far.reply(self.leg, 200, body=self.far.sdp())
        self.net.run_for(0.5)
        self.assertEqual(self.near.count(200), 0)
        self.far.send(answer)
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.quiet()
        self.end()

    def test_answer_to_the_caller(self) -> None:
        """A lost 200 to the caller is sent again, and nobody else hears of that."""
        self.ring()
        self.lose(b"SIP/2.0 200", "192.0.2.1", 3)
        self.far.reply(self.leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.quiet()
        self.end()

    def test_acknowledgement_of_the_caller(self) -> None:
        """A caller whose ACK never comes ends both calls."""
        self.ring()
        self.lose(b"ACK", "192.0.2.9", 100)
        self.far.reply(self.leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(33)
        self.near.reply(self.near.expect("BYE"), 200)
        self.far.reply(self.far.expect("BYE", within=0.1), 200)
        self.settle()

    def test_acknowledgement_of_ours(self) -> None:
        """A lost ACK to the callee is sent again for each copy of his 200."""
        self.ring()
        self.lose(b"ACK", "192.0.2.1")
        answer = self.far.reply(self.leg, 200, body=self.far.sdp())
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.5)
        self.far.send(answer)
        self.far.expect("ACK")
        self.end()


class StormTests(RaceCase):
    """Offers of both sides that meet."""

    def test_glare_on_both_legs(self) -> None:
        """On each leg the loser waits as RFC 3261 14.1 says; then each is told."""
        self.talk()
        self.reoffer(self.near, "sendonly")
        self.near.ack(self.near.expect(200))
        to_far = self.far.expect("INVITE")
        self.reoffer(self.far, "inactive")
        self.far.ack(self.far.expect(491))
        self.far.reply(to_far, 491)
        self.far.expect("ACK")
        started = self.net.seconds()
        # His time is shorter than ours: the Call-ID is ours (0 to 2 s, 2.1 to 4 s).
        self.net.run_for(1)
        self.reoffer(self.far, "inactive")
        self.far.ack(self.far.expect(200))
        to_near = self.near.expect("INVITE")
        self.reoffer(self.near, "sendrecv")
        self.near.ack(self.near.expect(491))
        self.near.reply(to_near, 491)
        self.near.expect("ACK")
        met = self.net.seconds()
        self.answer(self.near, "inactive", "inactive")
        self.assertLessEqual(self.net.seconds() - met, 2.2)
        again = self.far.expect("INVITE")
        self.assertGreater(self.net.seconds() - started, 2.1)
        self.far.reply(again, 200, body=self.far.sdp(direction="inactive"))
        self.far.expect("ACK")
        self.net.run_for(3)
        self.end_whatever()

    def end_whatever(self) -> None:
        """Answer what still comes, and hang up."""
        for phone in (self.near, self.far):
            while phone._find("INVITE") is not None:
                phone.reply(phone.expect("INVITE"), 200, body=phone.sdp(direction="inactive"))
                phone.expect("ACK")
                self.net.run_for(3)
        self.quiet()
        self.end()

    def test_both_hold_like_mad(self) -> None:
        """Two peers who hold and resume all the time get one re-INVITE in a while, and the last."""
        self.talk()
        for _ in range(10):
            for phone in (self.near, self.far):
                for direction in ("sendonly", "sendrecv"):
                    self.reoffer(phone, direction)
                    self.net.run_for(0.02)
                    for message in list(phone._unread):
                        if isinstance(message, Response) and message.cseq.method == "INVITE":
                            phone.ack(message)
                        elif isinstance(message, Request) and message.method == "INVITE":
                            phone.reply(message, 491)
                    phone._unread.clear()
        self.net.run_for(30)
        offers = self.near.count("INVITE") + self.far.count("INVITE")
        self.assertLess(offers, 20)
        for phone in (self.near, self.far):
            phone._unread.clear()
        self.end()


class AcrossTests(RaceCase):
    """Other requests within joined calls."""

    def test_hold_by_update(self) -> None:
        """A hold that comes in an UPDATE goes across, as a re-INVITE."""
        self.talk()
        self.reoffer(self.near, "sendonly", "UPDATE")
        self.near.expect(200)
        self.answer(self.far, "sendonly", "recvonly")
        self.quiet()
        self.end()

    def test_update_without_offer(self) -> None:
        """An UPDATE that only refreshes is nothing to the other side."""
        self.talk()
        self.near.send(self.near.request_within(self.ok, "UPDATE"))
        self.near.expect(200)
        self.quiet()
        self.end()

    def test_key_by_info(self) -> None:
        """A key that comes in an INFO goes across as an event."""
        self.talk_with(DigitInfo())
        body = "Signal=7\r\nDuration=160\r\n"
        kind = "application/dtmf-relay"
        info = self.near.request_within(self.ok, "INFO", body=body, content_type=kind)
        self.near.send(info)
        self.near.expect(200)
        self.net.run_for(0.5)
        events = {item.payload[0] for item in self.far.ear.packets if item.payload_type == 101}
        self.assertEqual(events, {7})
        self.end()

    def talk_with(self, supplement: ISessionSupplement) -> Response:
        """Let both be answered, with one more supplement; return the callee's answer."""
        self.start()
        self.agent.manager.register_supplement(supplement)
        self.leg = self.far.expect("INVITE")
        answer = self.far.reply(self.leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.1)
        return answer

    def test_unknown_info(self) -> None:
        """An INFO that nobody understands is refused here, and nothing to the other side."""
        self.talk()
        info = self.near.request_within(self.ok, "INFO", body="x", content_type="text/plain")
        self.near.send(info)
        self.near.expect(lambda m: isinstance(m, Response) and m.status in (405, 415))
        self.quiet()
        self.end()

    def test_replaces(self) -> None:
        """Who takes the place of a peer talks with the other one; the old call is hung up."""
        self.talk_with(ReplacesSupplement())
        third = Phone(self.net, "192.0.2.8", "third")
        text = f"{self.ok.call_id};to-tag={self.ok.to_tag};from-tag={self.invite.from_tag}"
        invite = third.invite("sip:x@192.0.2.1", headers={"Replaces": text})
        third.send(invite, SERVER)
        ok = third.expect(200)
        third.ack(ok)
        self.near.reply(self.near.expect("BYE"), 200)
        third.speak(audio_at(ok), 2)
        self.net.run_for(0.1)
        self.assertEqual([item.payload for item in self.far.ear.packets], [FRAME] * 2)
        self.assertEqual(self.far.count("BYE"), 0)
        third.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_replaced_callee(self) -> None:
        """The callee may be replaced, too."""
        answer = self.talk_with(ReplacesSupplement())
        third = Phone(self.net, "192.0.2.8", "third")
        text = f"{self.leg.call_id};to-tag={self.leg.from_tag};from-tag={answer.to_tag}"
        third.send(third.invite("sip:x@192.0.2.1", headers={"Replaces": text}), SERVER)
        ok = third.expect(200)
        third.ack(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.near.speak(audio_at(self.ok), 2)
        self.net.run_for(0.1)
        self.assertEqual([item.payload for item in third.ear.packets], [FRAME] * 2)
        self.near.bye(self.ok)
        third.reply(third.expect("BYE"), 200)
        self.settle()
