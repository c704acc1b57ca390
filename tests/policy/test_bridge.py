# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two calls that are connected: dialling, ringing, refusals, audio, keys, and every race."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.dial import DialApplication, DialOptions
from sipsess.call import Call, DialFailed, bridge
from sipsess.call.holding import PAUSE
from sipsess.errors import DialogStateError
from sipsess.locating import NextHop, UnreachableError
from sipsess.message import Request, Response
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.reason import ReasonSupplement
from sipsess.supplements.refer import Refer
from sipsess.testing import Agent, VirtualNetwork
from tests.policy.calls import Script
from tests.policy.phone import FRAME, Phone, audio_at, sdp_of

SERVER = ("192.0.2.1", 5060)
TARGET = "sip:bob@192.0.2.7"


class Far(Phone):
    """The one who is called, at 192.0.2.7."""

    def __init__(self, net: VirtualNetwork) -> None:
        super().__init__(net, "192.0.2.7", "far")


async def lead_nowhere(uri: str) -> NextHop:
    """Find no next hop."""
    raise UnreachableError(f"{uri} leads nowhere")


async def connect(call: Call) -> Any:
    """Call the target, answer, join."""
    leg = await call.dial(TARGET)
    await call.answer()
    return await call.bridge(leg)


class BridgeCase(SynchronousTestCase):
    """A caller, the server, and a callee."""

    def start(self, function: Callable[[Call], Awaitable[Any]] = connect, **options: Any) -> None:
        """Place a call of the near phone; the INVITE of the leg waits at the far one."""
        self.net = VirtualNetwork()
        self.near, self.far = Phone(self.net), Far(self.net)
        self.script = Script(function)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[self.script],
            application="script",
            supplements=[ReasonSupplement(), Refer(), *options.pop("supplements", ())],
        )
        body = self.near.sdp(direction=options.pop("direction", "sendrecv"))
        uri = options.pop("uri", "sip:bob@192.0.2.1")
        self.invite = self.near.invite(uri, body=body, **options)
        self.near.send(self.invite, SERVER)

    def ring(self, function: Callable[[Call], Awaitable[Any]] = connect, **options: Any) -> Request:
        """Start, and take the INVITE of the leg."""
        self.start(function, **options)
        self.leg: Request = self.far.expect("INVITE")
        return self.leg

    def talk(self, function: Callable[[Call], Awaitable[Any]] = connect, **options: Any) -> None:
        """Let both be answered."""
        self.ring(function, **options)
        self.far.reply(self.leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.ok: Response = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.1)

    def settle(self) -> None:
        """Check that nothing is left."""
        self.net.run_for(40)
        self.net.assert_quiet()


class DialTests(BridgeCase):
    """From the INVITE to the answer."""

    def test_leg(self) -> None:
        """The leg has the caller's From, his Max-Forwards less one, and none of his headers."""
        leg = self.ring(headers={"X-Secret": "1", "Max-Forwards": "9"})
        self.assertEqual(leg.from_.uri, self.near.uri)
        self.assertEqual(leg.max_forwards, 8)
        self.assertNotIn("X-Secret", leg.headers)
        self.assertNotEqual(leg.call_id, self.invite.call_id)
        self.far.reply(leg, 486)
        self.far.expect("ACK")
        self.near.expect(486)
        self.settle()

    def lines(self, call_id: str) -> str:
        """Return what is explained of a call."""
        (record,) = self.agent.manager.records.find(call_id)
        return "\n".join(record.lines())

    def test_explained(self) -> None:
        """Each record names the other call, and that of the caller says whom we did not reach."""
        leg = self.ring()
        self.far.reply(leg, 486)
        self.near.expect(486)
        self.settle()
        self.assertIn(f"Call-ID {self.invite.call_id}", self.lines(leg.call_id))
        lines = self.lines(self.invite.call_id)
        self.assertRegex(lines, f"dials +Call-ID {leg.call_id}")
        self.assertRegex(lines, "dial failed +sip:[^ ]+: .*486")
        self.assertEqual(lines.count("dial failed"), 1)

    def test_explained_when_nobody_answers(self) -> None:
        """Who rings too long is named as well, and once."""

        async def impatient(call: Call) -> None:
            await call.dial(TARGET, timeout=5)

        leg = self.ring(impatient)
        self.net.run_for(5)
        self.far.reply(leg, 487)
        self.settle()
        lines = self.lines(self.invite.call_id)
        self.assertRegex(lines, " 5[.]0.* dial failed +sip:[^ ]+: no answer in 5 s")
        self.assertEqual(lines.count("dial failed"), 1)

    def test_circle(self) -> None:
        """A call that has come too far ends: 483."""
        self.start(headers={"Max-Forwards": "0"})
        self.near.expect(483)
        self.settle()

    def test_ringing(self) -> None:
        """The caller hears of the ringing, once."""
        leg = self.ring()
        for _ in range(3):
            self.far.reply(leg, 180)
            self.net.run_for(0.1)
        self.far.reply(leg, 600)
        self.far.expect("ACK")
        self.near.expect(600)
        rings = [m for m in self.near.received if isinstance(m, Response) and m.status == 180]
        self.assertEqual(len(rings), 1)
        self.settle()

    def test_early_media(self) -> None:
        """The caller hears what the callee plays before he answers."""
        leg = self.ring()
        self.far.reply(leg, 183, body=self.far.sdp())
        progress = self.near.expect(183)
        self.far.speak(audio_at(leg), 3)
        self.assertTrue(progress.body)
        self.net.run_for(0.1)
        self.assertEqual(len(self.near.ear.packets), 3)
        self.near.cancel(self.invite)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(leg, 487)
        self.settle()

    def test_early_media_end_with_the_answer(self) -> None:
        """Once the callee has answered the two hear each other only when they are joined."""

        async def hesitate(call: Call) -> None:
            await call.dial(TARGET)
            await call.answer()
            await call.wait(2)

        leg = self.ring(hesitate)
        self.far.reply(leg, 183, body=self.far.sdp())
        self.near.expect(183)
        self.far.reply(leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        ok = self.near.expect(200)
        assert isinstance(ok, Response)
        self.near.ack(ok)
        self.far.speak(audio_at(leg), 3)
        self.net.run_for(0.1)
        self.assertEqual(self.near.ear.packets, [])
        self.near.reply(self.near.expect("BYE"), 200)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_early_media_of_an_answered_call(self) -> None:
        """A caller who was answered before hears the callee's early media, too."""

        async def ask(call: Call) -> None:
            await call.answer()
            await call.dial(TARGET)

        leg = self.ring(ask)
        ok = self.near.expect(200)
        assert isinstance(ok, Response)
        self.near.ack(ok)
        self.far.reply(leg, 183, body=self.far.sdp())
        self.net.run_for(0.1)
        self.far.speak(audio_at(leg), 3)
        self.net.run_for(0.1)
        self.assertEqual([item.payload for item in self.near.ear.packets], [FRAME] * 3)
        self.far.reply(leg, 486)
        self.far.expect("ACK")
        self.near.reply(self.near.expect("BYE"), 200)
        self.settle()

    def test_given_up_at_once(self) -> None:
        """A call that is given up before it was placed is none."""

        async def hesitate(call: Call) -> None:
            calling = call.dial(TARGET).addErrback(lambda failure: failure.trap(CancelledError))
            calling.cancel()

        self.start(hesitate)
        self.near.expect(480)
        self.assertEqual(self.far.received, [])
        self.settle()

    def test_refusal(self) -> None:
        """The caller gets the callee's status, and his reason of Q.850."""
        leg = self.ring()
        self.far.reply(leg, 404, headers={"Reason": 'Q.850;cause=1;text="No", SIP;cause=404'})
        self.far.expect("ACK")
        refused = self.near.expect(404)
        self.assertEqual(refused.headers.get("Reason"), 'Q.850;cause=1;text="No"')
        assert isinstance(self.script.error, DialFailed)
        self.assertEqual(
            [reason.protocol for reason in self.script.error.reasons], ["Q.850", "SIP"]
        )
        self.settle()

    def test_refusals_that_mean_us(self) -> None:
        """What the caller could not mend is told him as something else."""
        for status, seen in ((401, 403), (302, 480), (503, 500), (487, 480)):
            leg = self.ring()
            self.far.reply(leg, status)
            self.far.expect("ACK")
            self.near.expect(seen)
            self.settle()

    def test_nobody_answers(self) -> None:
        """When the time is up the leg is cancelled, and the caller gets 480."""

        async def impatient(call: Call) -> None:
            await call.dial(TARGET, timeout=5)

        leg = self.ring(impatient)
        self.far.reply(leg, 180)
        self.net.run_for(5)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(leg, 487)
        self.assertIn("cause=19", self.near.expect(480).headers.get("Reason") or "")
        self.settle()

    def test_unreachable(self) -> None:
        """A target that leads nowhere is a refusal, too."""

        async def nowhere(call: Call) -> None:
            await call.dial("nonsense")

        self.start(nowhere)
        self.agent.manager.locate = lead_nowhere
        self.near.expect(500)
        self.settle()

    def test_no_users(self) -> None:
        """Where nobody can register no user is found: 404."""

        async def user(call: Call) -> None:
            await call.dial("user:bob")

        self.start(user)
        self.near.expect(404)
        self.settle()

    def test_caller_gives_up(self) -> None:
        """The leg is cancelled for the caller's reason."""
        leg = self.ring()
        self.far.reply(leg, 180)
        self.near.expect(180)
        self.near.cancel(self.invite, headers={"Reason": 'SIP;cause=200;text="Elsewhere"'})
        cancel = self.far.expect("CANCEL")
        self.assertEqual(cancel.headers.get("Reason"), 'SIP;cause=200;text="Elsewhere"')
        self.far.reply(cancel, 200)
        self.far.reply(leg, 487)
        self.settle()

    def test_answer_crosses_the_cancel(self) -> None:
        """A callee who answers while the caller gives up is hung up."""
        leg = self.ring()
        self.far.reply(leg, 180)
        self.near.expect(180)
        self.near.cancel(self.invite)
        self.far.expect("CANCEL")
        self.far.reply(leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.far.reply(self.far.expect("BYE"), 200)
        self.near.expect(487)
        self.settle()

    def test_application_fails_after_the_answer(self) -> None:
        """A leg that nobody joins ends with the call."""

        async def forget(call: Call) -> None:
            await call.dial(TARGET)

        leg = self.ring(forget)
        self.far.reply(leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        self.far.reply(self.far.expect("BYE"), 200)
        self.near.expect(480)
        self.settle()


class JoinedTests(BridgeCase):
    """From the answer to the end."""

    def end_far(self) -> Request:
        """Take the BYE of the leg."""
        bye: Request = self.far.expect("BYE")
        self.far.reply(bye, 200)
        return bye

    def test_audio_both_ways(self) -> None:
        """Each hears the other, at once and as it was said."""
        self.talk()
        self.near.speak(audio_at(self.ok), 3)
        self.far.speak(audio_at(self.leg), 2)
        self.net.run_for(0.1)
        self.assertEqual([item.payload for item in self.far.ear.packets], [FRAME] * 3)
        self.assertEqual([item.payload for item in self.near.ear.packets], [FRAME] * 2)
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def test_keys(self) -> None:
        """A key of one side is a key of the other."""
        self.talk()
        self.near.press(audio_at(self.ok), "5")
        self.net.run_for(0.5)
        events = {item.payload[0] for item in self.far.ear.packets if item.payload_type == 101}
        self.assertEqual(events, {5})
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def pressed(self, units: int) -> tuple[int, int]:
        """Let the near one press 5 for so many units; return the far one's last event and units."""
        payload = bytes([5, 0x8A]) + units.to_bytes(2)
        self.near.speak(audio_at(self.ok), 1, 101, payload)
        self.net.run_for(9)
        return self.last_event()

    def last_event(self) -> tuple[int, int]:
        """Return the event that the far one got last, and how long it was."""
        *_, last = (item.payload for item in self.far.ear.packets if item.payload_type == 101)
        self.assertTrue(last[1] & 0x80)
        return last[0], int.from_bytes(last[2:4])

    def test_length_of_keys(self) -> None:
        """A key is pressed as long as it was, between 40 ms and 8 s."""
        self.talk()
        for units, found in ((4000, 4000), (1600, 1600), (40, 320), (65535, 64000)):
            self.assertEqual(self.pressed(units), (5, found))
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def inform(self, body: str) -> None:
        """Let the near one press a key by INFO."""
        kind = "application/dtmf-relay" if "=" in body else "application/dtmf"
        request = self.near.request_within(self.ok, "INFO", body=body, content_type=kind)
        self.near.send(request)
        self.near.expect(200)
        self.net.run_for(1)

    def test_keys_by_info(self) -> None:
        """A key that comes by INFO goes as an event, as long as it says, or as usual."""
        self.talk(supplements=[DigitInfo()])
        self.inform("Signal=7\r\nDuration=300\r\n")
        self.assertEqual(self.last_event(), (7, 2400))
        self.inform("*")
        self.assertEqual(self.last_event(), (10, 800))
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def test_keys_as_info(self) -> None:
        """Who knows no events, but INFO, gets that; it says how long the key was pressed."""
        self.ring()
        self.far.reply(self.leg, 200, body=self.far.sdp(formats="0"), headers={"Allow": "INFO"})
        self.far.expect("ACK")
        self.ok = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.1)
        self.near.speak(audio_at(self.ok), 1, 101, bytes([9, 0x8A]) + (2000).to_bytes(2))
        request = self.far.expect("INFO")
        self.assertEqual(request.body, b"Signal=9\r\nDuration=250\r\n")
        self.far.reply(request, 200)
        self.net.run_for(1)
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def test_caller_hangs_up(self) -> None:
        """His reason goes across; the bridge fires with it."""
        self.talk()
        self.near.bye(self.ok, headers={"Reason": "Q.850;cause=31"})
        self.assertEqual(self.end_far().headers.get("Reason"), "Q.850;cause=31")
        self.settle()

    def test_callee_hangs_up(self) -> None:
        """The caller is hung up for the callee's reason."""
        self.talk()
        self.far.bye(self.leg, headers={"Reason": "Q.850;cause=38"})
        bye = self.near.expect("BYE")
        self.assertEqual(bye.headers.get("Reason"), "Q.850;cause=38")
        self.near.reply(bye, 200)
        self.assertEqual(self.script.result.method, "BYE")
        self.settle()

    def test_both_hang_up_at_once(self) -> None:
        """Two BYEs that cross leave nothing."""
        self.talk()
        self.near.bye(self.ok)
        self.far.bye(self.leg)
        self.net.run_for(1)
        self.settle()

    def test_lost_bye(self) -> None:
        """A callee who is gone is forgotten in time."""
        self.talk()
        self.far.close()
        self.near.bye(self.ok)
        self.settle()

    def test_parted(self) -> None:
        """A bridge that is cancelled leaves both calls standing, and silent."""

        async def part(call: Call) -> None:
            leg = await call.dial(TARGET)
            await call.answer()
            joining = call.bridge(leg).addErrback(lambda failure: failure.trap(CancelledError))
            joining.cancel()
            self.assertEqual((call.joined, leg.joined), (None, None))
            await call.wait(1)

        self.talk(part)
        self.near.speak(audio_at(self.ok), 2)
        self.assertEqual(self.far.ear.packets, [])
        self.near.reply(self.near.expect("BYE"), 200)
        self.end_far()
        self.settle()

    def test_transfer(self) -> None:
        """When the caller is transferred the callee hears the new peer."""
        self.talk()
        third = Phone(self.net, "192.0.2.8", "third")
        refer = self.near.request_within(
            self.ok, "REFER", headers={"Refer-To": f"<{third.uri}>", "Refer-Sub": "false"}
        )
        self.near.send(refer)
        self.near.expect(200)
        invite = third.expect("INVITE")
        third.reply(invite, 200, body=third.sdp().replace("192.0.2.9", "192.0.2.8"))
        third.expect("ACK")
        self.near.bye(self.ok)
        self.near.expect(200)
        third.speak(audio_at(invite), 2)
        self.net.run_for(0.1)
        self.assertEqual([item.payload for item in self.far.ear.packets], [FRAME] * 2)
        third.bye(invite)
        self.end_far()
        self.settle()

    def test_key_that_cannot_be_passed_on(self) -> None:
        """A key for a side without audio is lost, and noted."""
        self.talk()
        near, far = (session.channel for session in self.agent.sessions)
        assert near is not None and far is not None and far.audio is not None
        far.audio.close()
        near.receive_digit("5")
        self.assertIn("key lost", " ".join(far.session.record.lines()))
        self.near.bye(self.ok)
        self.end_far()
        self.settle()

    def test_misuse(self) -> None:
        """Only two calls that stand, and no call twice."""
        self.talk()
        near, far = (session.channel for session in self.agent.sessions)
        assert near is not None and far is not None
        for pair in ((near, far), (near, near)):
            self.assertRaises(DialogStateError, bridge, *pair)
        self.near.bye(self.ok)
        self.end_far()
        self.assertRaises(DialogStateError, bridge, near, far)
        self.settle()


class HoldTests(BridgeCase):
    """Hold and resume go across."""

    def change(self, phone: Phone, direction: str) -> None:
        """Let the near phone (or the far one) offer a direction."""
        first: Response | Request = self.ok if phone is self.near else self.leg
        body = phone.sdp(direction=direction)
        phone.send(phone.request_within(first, "INVITE", body=body))
        answer = phone.expect(200)
        assert isinstance(answer, Response)
        phone.ack(answer)

    def hears(self, phone: Phone, offered: str, answer: str) -> None:
        """Take the re-INVITE that offers a direction, and answer it."""
        again = phone.expect("INVITE")
        self.assertEqual(sdp_of(again).media[0].direction, offered)
        phone.reply(again, 200, body=phone.sdp(direction=answer))
        phone.expect("ACK")
        self.net.run_for(1)

    def hear_nothing(self, phone: Phone) -> None:
        """Check that no re-INVITE comes."""
        before = len(phone.received)
        self.net.run_for(3)
        self.assertEqual(phone.received[before:], [])

    def end(self) -> None:
        """Hang up, and check that nothing is left."""
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_hold_and_resume(self) -> None:
        """Who is put on hold by one side is put on hold by us, and taken back."""
        self.talk()
        self.change(self.near, "sendonly")
        self.hears(self.far, "sendonly", "recvonly")
        self.change(self.near, "sendrecv")
        self.hears(self.far, "sendrecv", "sendrecv")
        self.hear_nothing(self.near)
        self.hear_nothing(self.far)
        self.end()

    def test_both_hold(self) -> None:
        """A hold by both ends when both have resumed, in whatever order."""
        self.talk()
        self.change(self.near, "inactive")
        self.hears(self.far, "inactive", "inactive")
        self.change(self.far, "inactive")
        self.hear_nothing(self.near)
        self.change(self.near, "sendrecv")
        self.hears(self.far, "sendrecv", "inactive")
        self.hears(self.near, "inactive", "inactive")
        self.change(self.far, "sendrecv")
        self.hears(self.near, "sendrecv", "sendrecv")
        self.hear_nothing(self.far)
        self.end()

    def test_held_from_the_start(self) -> None:
        """Who began on hold with one who wants nothing is told so, the other is not."""
        self.ring(direction="sendonly")
        self.far.reply(self.leg, 200, body=self.far.sdp(direction="inactive"))
        self.far.expect("ACK")
        answer = self.near.expect(200)
        assert isinstance(answer, Response)
        self.ok = answer
        self.near.ack(answer)
        self.hears(self.near, "inactive", "inactive")
        self.hear_nothing(self.far)
        self.change(self.far, "sendrecv")
        self.end()

    def test_no_storm(self) -> None:
        """Who holds and resumes like mad is heard of as he is at last."""
        self.talk()
        for _ in range(5):
            self.change(self.near, "sendonly")
            self.change(self.near, "sendrecv")
        self.change(self.near, "sendonly")
        self.hears(self.far, "sendonly", "recvonly")
        self.hear_nothing(self.far)
        self.end()

    def test_pause(self) -> None:
        """However quickly the other one answers, the next re-INVITE waits for a moment."""
        self.talk()
        self.change(self.near, "sendonly")
        again = self.far.expect("INVITE")
        self.far.reply(again, 200, body=self.far.sdp(direction="recvonly"))
        self.far.expect("ACK")
        self.change(self.near, "sendrecv")
        before = len(self.far.received)
        self.net.run_for(PAUSE / 2)
        self.assertEqual(self.far.received[before:], [])
        self.hears(self.far, "sendrecv", "sendrecv")
        self.end()

    def test_refused(self) -> None:
        """A hold that is refused is not repeated."""
        self.talk()
        self.change(self.near, "sendonly")
        again = self.far.expect("INVITE")
        self.far.reply(again, 488)
        self.far.expect("ACK")
        self.hear_nothing(self.far)
        self.end()

    def test_glare(self) -> None:
        """When both sides change at once each is told, after the 491."""
        self.talk()
        self.change(self.near, "sendonly")
        again = self.far.expect("INVITE")
        own = self.far.request_within(self.leg, "INVITE", body=self.far.sdp(direction="inactive"))
        self.far.send(own)
        refused = self.far.expect(491)
        assert isinstance(refused, Response)
        self.far.ack(refused)
        self.far.reply(again, 491)
        self.far.expect("ACK")
        self.hears(self.far, "sendonly", "inactive")
        # Nobody listens to what he sends.
        self.hears(self.near, "sendonly", "inactive")
        self.hear_nothing(self.far)
        self.end()

    def test_lost(self) -> None:
        """A side that does not answer the re-INVITE is given up, and the other with it."""
        self.talk()
        self.change(self.near, "sendonly")
        self.far.close()
        self.net.run_for(33)
        self.near.reply(self.near.expect("BYE", within=0.1), 200)
        self.settle()

    def test_ended_meanwhile(self) -> None:
        """A call that ends while its other side is told of a hold leaves nothing."""
        self.talk()
        self.change(self.near, "sendonly")
        again = self.far.expect("INVITE")
        self.near.bye(self.ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.far.reply(again, 487)
        self.settle()


class ApplicationTests(BridgeCase):
    """The shipped application."""

    def test_options(self) -> None:
        """What makes no sense is refused."""
        dial = DialApplication()
        for options in (DialOptions("nonsense"), DialOptions(timeout=0)):
            self.assertRaises(ValueError, dial.with_options, options)
        self.assertEqual(dial.with_options(DialOptions(TARGET)).how.target, TARGET)

    def test_target_of_the_route(self) -> None:
        """The user who was dialled takes the place of his name."""
        self.ring(DialApplication(DialOptions("sip:{dialled}@192.0.2.7")).handle)
        self.assertEqual(str(self.leg.request_uri), TARGET)
        self.far.reply(self.leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.near.ack(ok)
        self.near.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_target_stays_a_user(self) -> None:
        """No user that a caller dials can lead to another host."""
        handle = DialApplication(DialOptions("sip:{dialled}@192.0.2.7")).handle
        leg = self.ring(handle, uri="sip:bob%40192.0.2.66@192.0.2.1")
        self.assertEqual(str(leg.request_uri), "sip:bob%40192.0.2.66@192.0.2.7")
        self.far.reply(leg, 486)
        self.far.expect("ACK")
        self.near.expect(486)
        self.settle()

    def test_unknown_name(self) -> None:
        """A name that the call does not fill is no target: 404."""
        self.start(DialApplication(DialOptions("sip:{room}@192.0.2.7")).handle)
        self.near.expect(404)
        self.settle()

    def test_registered(self) -> None:
        """The one who was dialled is looked for among the registered: nobody is, 404."""
        self.start(DialApplication().handle)
        self.near.expect(404)
        self.settle()
