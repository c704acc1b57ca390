# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the call: what an application can do, and that nothing of it is left at the end."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from types import CoroutineType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipsess.call import MAX_DIGITS, Call, Recording, load
from sipsess.call import sound as sound_module
from sipsess.errors import DialogStateError, LocalError
from sipsess.media import WAVError, WAVWriter, load_sound, read_wav, stream
from sipsess.media.jitter import FIRST_DELAY
from sipsess.pattern import compile_pattern
from sipsess.routing import Route, Router
from sipsess.session import Session, SessionEnded
from sipsess.session.kept import KeptRequest
from sipsess.supplement import SessionSupplement
from sipsess.testing import VirtualNetwork
from sipsess.testing.agent import Agent
from tests.policy.calls import TENTH, CallTestCase, Script, answer
from tests.policy.phone import FRAME, Phone, audio_at, sdp_of


class AttributeTests(CallTestCase):
    """What a call tells about itself."""

    def test_attributes(self) -> None:
        """Caller, callee, dialled user, identity, request and cookies are at hand."""
        self.start(answer)
        call = self.script.call
        assert call is not None
        self.assertEqual(call.caller, "sip:sipsess@192.0.2.2")
        self.assertEqual(call.callee, "sip:callee@192.0.2.1")
        self.assertEqual(call.dialled, "callee")
        self.assertEqual(call.identity.user, "sipsess")
        self.assertEqual(call.request.method, "INVITE")
        self.assertIs(call.cookies, call.session.cookies)
        self.assertIn("from sip:sipsess@192.0.2.2 to sip:callee@192.0.2.1", repr(call))
        self.assertEqual((call.is_answered, call.is_ended), (True, False))
        self.hang_up()
        self.assertEqual((call.is_answered, call.is_ended), (False, True))

    def test_groups(self) -> None:
        """What the pattern of the route matched; nothing when there was no pattern."""
        net = VirtualNetwork()
        phone = Phone(net)
        script = Script(answer)
        agent = Agent(net.host("192.0.2.1"), applications=[script], application="script")
        pattern = compile_pattern("room(?P<room>[0-9]+)")
        agent.manager.router = Router([Route(script, pattern=pattern)], default=script)
        for user, groups in (("room12", {"room": "12"}), ("hall", {})):
            phone.send(phone.invite(f"sip:{user}@192.0.2.1"), ("192.0.2.1", 5060))
            response = phone.expect(200)
            phone.ack(response)
            assert script.call is not None
            self.assertEqual(script.call.groups, groups)
            phone.bye(response)
            phone.expect(200)
        net.run_for(40)
        net.assert_quiet()

    def test_dialled(self) -> None:
        """The number of a tel URI counts as what was dialled; a URI without a user has none."""
        net = VirtualNetwork()
        phone = Phone(net)
        scripts = Script(answer)
        Agent(net.host("192.0.2.1"), applications=[scripts], application="script")
        for uri, dialled in (("tel:+15551234", "+15551234"), ("sip:192.0.2.1", "")):
            phone.send(phone.invite(uri), ("192.0.2.1", 5060))
            response = phone.expect(200)
            phone.ack(response)
            assert scripts.call is not None
            self.assertEqual(scripts.call.dialled, dialled)
            phone.bye(response)
            phone.expect(200)
        net.run_for(40)
        net.assert_quiet()

    def test_dialled_other_scheme(self) -> None:
        """Any other URI has no user; a call of ours may have one."""
        self.start(answer)
        session = self.caller.session
        session.kept_invite = KeptRequest(phone_invite("urn:service:sos"), session.flow)
        self.assertEqual(self.caller.dialled, "")
        self.hang_up()


def phone_invite(uri: str) -> Any:
    """Return an INVITE."""
    return Phone(VirtualNetwork()).invite(uri)


class RingTests(CallTestCase):
    """Before the answer."""

    def test_ring(self) -> None:
        """The application decides which provisional responses are sent, and when."""

        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait(0.5)
            await call.ring(183, headers={"X-Why": "progress"})
            await answer(call)

        self.start(ring)
        self.assertEqual(self.placed.provisional, [(180, "Ringing"), (183, "Session Progress")])
        self.assertEqual(self.placed.outcome, (200, "OK"))
        self.hang_up()

    def test_ring_wrongly(self) -> None:
        """100 is not the application's, 200 is no ringing, and an answered call does not ring."""

        async def ring(call: Call) -> None:
            for status in (100, 200):
                self.assertRaises(DialogStateError, call.ring, status)
            await call.answer()
            self.assertRaises(DialogStateError, call.ring)
            await call.ended

        self.start(ring)
        self.assertIsNone(self.script.error)
        self.hang_up()

    def test_answer(self) -> None:
        """The answer carries the application's headers; there is only one."""

        async def application(call: Call) -> str:
            await call.answer({"X-Greeting": "yes"})
            self.assertTrue(call.is_answered)
            try:
                await call.answer()
            except DialogStateError as error:
                return str(error)
            return ""

        self.start(application)
        assert self.placed.session.final_response is not None
        self.assertEqual(self.placed.session.final_response.headers.get("X-Greeting"), "yes")
        self.assertNotEqual(self.script.result, "")
        self.hang_up()

    def test_reject(self) -> None:
        """A refusal has the application's status, reason and headers."""

        async def application(call: Call) -> None:
            await call.reject(486, "Out to lunch", {"Retry-After": "60"})

        self.start(application)
        self.assertEqual(self.placed.outcome, (486, "Out to lunch"))
        assert self.placed.session.final_response is not None
        self.assertEqual(self.placed.session.final_response.headers.get("Retry-After"), "60")
        self.hang_up()

    def test_reject_wrongly(self) -> None:
        """Only a call to us that has no answer can be refused, and only with a failure."""

        async def application(call: Call) -> None:
            self.assertRaises(DialogStateError, call.reject, 200)
            await call.answer()
            self.assertRaises(DialogStateError, call.reject)
            await call.ended

        self.start(application)
        self.assertIsNone(self.script.error)
        self.assertRaises(DialogStateError, self.caller.reject)
        self.hang_up()

    def test_hang_up_unanswered(self) -> None:
        """Hanging up a call that was not answered refuses it."""

        async def application(call: Call) -> None:
            await call.ring()
            await call.hangup()

        self.start(application)
        self.assertEqual(self.placed.outcome, (480, "Temporarily Unavailable"))
        self.hang_up()

    def test_reason(self) -> None:
        """The reason for hanging up is told in a Reason header (RFC 3326)."""

        async def application(call: Call) -> None:
            await call.answer()
            await call.wait(0.1)
            await call.hangup('a "quoted"\n\\ reason', cause=480, headers={"X-More": "yes"})

        self.start(application)
        reason = self.placed.end_reason
        assert reason is not None
        self.assertEqual(reason.text, 'SIP;cause=480;text="a \\"quoted\\"?\\\\ reason"')
        self.hang_up()

    def test_reason_in_our_own_record(self) -> None:
        """What the application gives as its reason is what the record says."""

        async def application(call: Call) -> None:
            await call.answer()
            await call.wait(0.1)
            sessions.append(call.session)
            await call.hangup("all keys pressed")

        sessions: list[Session] = []
        self.start(application)
        self.hang_up()
        self.assertEqual(str(sessions[0].end_reason), "BYE by this side: all keys pressed")

    def test_own_reason_header(self) -> None:
        """A Reason header of the application's own is left alone."""

        async def application(call: Call) -> None:
            await call.answer()
            await call.wait(0.1)
            await call.hangup("x", headers={"Reason": "Q.850;cause=16"})

        self.start(application)
        assert self.placed.end_reason is not None
        self.assertEqual(self.placed.end_reason.text, "Q.850;cause=16")
        self.hang_up()


class LateOfferTests(SynchronousTestCase):
    """Calls whose INVITE brings no offer."""

    def setUp(self) -> None:
        """Build a phone and an agent that answers and plays at once."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.script = Script(self.application)
        self.agent = Agent(
            self.net.host("192.0.2.1"), applications=[self.script], application="script"
        )

    async def application(self, call: Call) -> None:
        """Answer and play."""
        await call.answer()
        await call.play(TENTH)

    def test_answer_waits_for_the_ack(self) -> None:
        """The media is known with the ACK, so the answer is complete only then."""
        self.phone.send(self.phone.invite("sip:x@192.0.2.1", body=""))
        offer = self.phone.expect(200)
        self.net.run_for(0.3)
        self.assertEqual(self.phone.ear.packets, [])
        self.phone.ack(offer, body=self.phone.sdp())
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.assertEqual(len(self.phone.ear.packets), 5)
        self.assertIsNone(self.script.error)
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_no_ack(self) -> None:
        """Without an ACK the application is told that the call has ended."""
        self.phone.send(self.phone.invite("sip:x@192.0.2.1", body=""))
        self.phone.expect(200)
        self.phone.reply(self.phone.expect("BYE", within=40), 200)
        self.net.run_for(40)
        self.assertIsInstance(self.script.error, CancelledError)
        self.net.assert_quiet()

    def test_cancelled(self) -> None:
        """A call that its caller cancels while it rings ends the application where it waits."""

        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait(30)

        self.script.function = ring
        invite = self.phone.invite("sip:x@192.0.2.1")
        self.phone.send(invite)
        self.phone.expect(180)
        self.phone.cancel(invite)
        self.phone.ack(self.phone.expect(487))
        self.assertIsInstance(self.script.error, CancelledError)
        self.net.run_for(40)
        self.net.assert_quiet()


class WaitTests(CallTestCase):
    """Time, cancellation and the end."""

    def test_wait(self) -> None:
        """Waiting takes exactly as long as said, and goes on inside a turn."""

        async def application(call: Call) -> list[float]:
            times = [self.net.seconds()]
            for seconds in (0.25, 0.5):
                await call.wait(seconds)
                times.append(self.net.seconds())
                self.assertGreater(call.session.core.turn._depth, 0)
            return times

        self.start(application)
        first, second, third = self.script.result
        self.assertAlmostEqual(second - first, 0.25)
        self.assertAlmostEqual(third - second, 0.5)
        self.hang_up()

    def test_cancel(self) -> None:
        """A wait that is cancelled leaves no timer."""
        self.start(answer)
        deferred = self.caller.wait(100)
        count = len(self.pair.caller.core.timers)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual(len(self.pair.caller.core.timers), count - 1)
        self.hang_up()

    def test_peer_hangs_up(self) -> None:
        """When the peer hangs up the application is cancelled where it waits, and cleans up."""
        log = []

        async def application(call: Call) -> None:
            await call.answer()
            try:
                await call.wait(100)
            finally:
                self.assertRaises(SessionEnded, call.play, TENTH)
                log.append("cleaned up")

        self.start(application)
        self.hang_up()
        self.assertEqual(log, ["cleaned up"])
        self.assertIsInstance(self.script.error, CancelledError)

    def test_what_waits_outside_fails(self) -> None:
        """What a program waits for fails with the reason when the call ends."""
        self.start(answer)
        waiting: list[Deferred[Any]] = [
            self.caller.wait(100),
            self.caller.play(TENTH * 100),
            self.caller.echo(),
        ]
        waiting += [self.caller.read_digits(1, timeout=100)]
        results = [self.outcome(deferred) for deferred in waiting]
        ended = self.outcome(self.caller.ended)
        self.placed.hang_up_callee({"Reason": "SIP;cause=200"})
        self.net.run_for(1)
        for (result,) in results:
            self.assertIsInstance(result, Failure)
            self.assertIsInstance(result.value, SessionEnded)
            self.assertEqual(result.value.reason.text, "SIP;cause=200")
        self.assertEqual([reason.text for reason in ended], ["SIP;cause=200"])
        self.hang_up()

    def test_what_nobody_waits_for(self) -> None:
        """What nobody waits for is not logged as an error that nobody handled."""
        self.start(answer)
        self.caller.wait(100)
        self.caller.play(TENTH * 100)
        self.caller.read_digits(1, timeout=100)
        self.hang_up()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_ended(self) -> None:
        """Every method of an ended call raises SessionEnded."""
        self.start(answer)
        self.hang_up()
        call = self.caller
        for method in (
            *(call.ring, call.answer, call.reject, call.hangup, call.hold, call.resume),
            *(lambda: call.wait(1), lambda: call.play("hello"), call.play_tone, call.echo),
            *(lambda: call.say_digits("1"), lambda: call.send_digits("1"), call.read_digits),
            lambda: call.record("never.wav"),
        ):
            self.assertRaises(SessionEnded, method)
        self.assertFalse(Path("never.wav").exists())
        self.successResultOf(call.ended)

    def test_two_for_one_session(self) -> None:
        """A call that another one is made beside hears of the end as well."""
        self.start(answer)
        other = Call(self.placed.session)
        results = [self.outcome(call.play(TENTH * 100)) for call in (self.caller, other)]
        ended = [self.outcome(call.ended) for call in (self.caller, other)]
        self.hang_up()
        for (failure,) in results:
            self.assertTrue(failure.check(SessionEnded))
        self.assertEqual([len(reasons) for reasons in ended], [1, 1])

    def test_ending_counts_as_ended(self) -> None:
        """From the moment of hanging up on nothing more can be played."""

        async def application(call: Call) -> None:
            await call.answer()
            await call.wait(0.1)
            await call.hangup()
            self.assertRaises(SessionEnded, call.play, TENTH)

        self.start(application)
        self.assertIsNone(self.script.error)
        self.hang_up()

    def test_playing_when_a_supplement_hangs_up(self) -> None:
        """What is playing fails with SessionEnded when this side hangs up."""
        self.start(answer)
        result = self.outcome(self.caller.play(TENTH * 100))
        self.placed.hang_up()
        self.assertIsInstance(result[0].value, SessionEnded)
        self.hang_up()

    def test_hold(self) -> None:
        """Hold and resume are re-INVITEs with other directions (RFC 3264 section 8.4)."""
        self.start(answer)
        callee = self.script.call
        assert callee is not None
        for method, direction in ((self.caller.hold, "recvonly"), (self.caller.resume, "sendrecv")):
            result = self.outcome(method())
            self.net.run_for(1)
            self.assertEqual(result[0].status, 200)
            assert callee.audio is not None
            self.assertEqual(callee.audio.direction, direction)
        self.hang_up()


class PlayTests(CallTestCase):
    """Sounds."""

    def test_play(self) -> None:
        """Playing fires when all was sent: from the ACK on, a tenth of a second takes as long."""

        async def application(call: Call) -> float:
            await call.answer()
            await call.session.when_confirmed()
            begin = self.net.seconds()
            await call.play(TENTH)
            self.assertGreater(call.session.core.turn._depth, 0)
            return self.net.seconds() - begin

        self.start(application)
        self.assertAlmostEqual(self.script.result, 0.1)
        self.assertEqual(self.pair.caller.core.counters.rtp_received, 5)
        self.hang_up()

    def test_sounds(self) -> None:
        """Names of shipped sounds, paths, PCM and pieces of it can be played."""
        path = self.file("menu.wav")

        async def application(call: Call) -> None:
            await call.answer()
            for sound in ("beep", str(path), path, TENTH, iter([TENTH, TENTH])):
                await call.play(sound)
            await call.play_tone((440, 480), 0.1)
            await call.say_digits("")

        self.start(application)
        self.net.run_for(5)
        self.assertIsNone(self.script.error)
        beep = len(load_sound("beep"))
        count = -(-beep // 320) + 5 + 5 + 5 + 10 + 5
        self.assertEqual(self.pair.caller.core.counters.rtp_received, count)
        self.hang_up()

    def test_say_digits(self) -> None:
        """Digits are spoken one after the other."""
        self.start(answer)
        result = self.outcome(self.caller.say_digits("1#"))
        self.net.run_for(5)
        self.assertEqual(result, [True])
        self.hang_up()

    def test_no_such_sound(self) -> None:
        """A sound that does not exist is told by name, before anything is played."""
        self.start(answer)
        for sound in ("nonsense", "missing.wav", Path("missing.wav")):
            error = self.assertRaises(WAVError, self.caller.play, sound)
            self.assertIn(str(sound).removesuffix(".wav"), str(error))
        self.hang_up()

    def test_not_answered(self) -> None:
        """Nothing can be played before the call is answered; the text says so."""

        async def application(call: Call) -> None:
            error = self.assertRaises(DialogStateError, call.play, TENTH)
            self.assertIn("answer it first", str(error))
            await answer(call)

        self.start(application)
        self.assertIsNone(self.script.error)
        self.hang_up()

    def test_no_audio(self) -> None:
        """A call without audio says so."""
        self.start(answer)
        self.caller.session.media.streams[0] = None
        error = self.assertRaises(DialogStateError, self.caller.play, TENTH)
        self.assertEqual(str(error), "the call has no audio")

    def test_cancel(self) -> None:
        """Cancelling stops the sound, and what waits behind it goes on."""
        self.start(answer)
        playing = self.caller.play(TENTH * 100)
        result = self.outcome(self.caller.play(TENTH))
        self.net.run_for(0.1)
        playing.cancel()
        self.failureResultOf(playing, CancelledError)
        self.net.run_for(0.2)
        self.assertEqual(result, [True])
        self.hang_up()

    def test_stream_is_lost(self) -> None:
        """When a negotiation takes the stream away, what was playing fails."""
        self.start(answer)
        result = self.outcome(self.caller.play(TENTH * 100))
        assert self.caller.audio is not None
        self.caller.audio.close()
        self.assertIsInstance(result[0].value, DialogStateError)
        self.hang_up()

    def test_files_are_read_once(self) -> None:
        """A file is read again only when it has changed."""
        path = self.file("menu.wav")
        self.assertEqual(load(path).pieces, TENTH)
        self.assertIs(load(path).pieces, load(str(path)).pieces)
        writer = WAVWriter(path)
        writer.write(TENTH * 2)
        writer.close()
        os.utime(path, (1, 1))
        self.assertEqual(load(path).pieces, TENTH * 2)

    def test_large_files_are_not_kept(self) -> None:
        """A large file is read each time, so that memory stays bounded."""
        path = self.file("menu.wav")
        self.patch(sound_module, "MAX_KEPT_FILE", 100)
        self.assertEqual(load(path).pieces, TENTH)
        self.assertIsNot(load(path).pieces, load(path).pieces)


class DigitTests(CallTestCase):
    """Keys, both ways."""

    def read(self, presses: str = "", at: float = 1.0, **options: Any) -> Any:
        """Press keys, one each 0.2 s from ``at`` on; return what was read, and when."""

        async def application(call: Call) -> tuple[str, float]:
            await call.answer()
            digits = await call.read_digits(**options)
            self.assertGreater(call.session.core.turn._depth, 0)
            return digits, self.net.seconds()

        self.start(application)
        self.net.run_for(at - 1)
        if presses and not self.caller.is_ended:
            self.caller.send_digits(presses)
        self.net.run_for(20)
        self.assertIsNone(self.script.error)
        self.hang_up()
        return self.script.result

    def test_count(self) -> None:
        """Reading ends with the last digit that was asked for."""
        self.assertEqual(self.read("1234", count=3)[0], "123")

    def test_terminator(self) -> None:
        """A terminator ends the input and is no part of it."""
        self.assertEqual(self.read("12#4")[0], "12")
        self.assertEqual(self.read("12*4", terminators="*#")[0], "12")

    def test_no_terminator(self) -> None:
        """Without terminators every key is input."""
        self.assertEqual(self.read("#", count=1, terminators="")[0], "#")

    def test_timeout(self) -> None:
        """Reading ends when no key comes in time."""
        digits, when = self.read("12", timeout=2.0)
        self.assertEqual(digits, "12")
        self.assert_near(when, 1.0 + 0.28 + 2.0)

    def test_nothing(self) -> None:
        """Reading gives nothing when no key comes at all."""
        digits, when = self.read(timeout=2.0)
        self.assertEqual((digits, round(when, 2)), ("", 2.01))

    def test_first_timeout(self) -> None:
        """The patience for the first key may be another."""
        self.assertEqual(self.read("1", at=8.0, timeout=1.0, first_timeout=10.0)[0], "1")
        self.assertEqual(self.read("1", at=8.0, timeout=1.0)[0], "")

    def test_prompt_is_interrupted(self) -> None:
        """A key stops the prompt and counts."""
        digits, when = self.read("5", count=1, prompt=TENTH * 100)
        self.assertEqual(digits, "5")
        self.assertLess(when, 2.0)
        self.assertLess(self.pair.caller.core.counters.rtp_received, 100)

    def test_prompt_ends(self) -> None:
        """The patience begins when the prompt has ended."""
        digits, when = self.read(timeout=1.0, prompt=TENTH * 10)
        self.assertEqual(digits, "")
        self.assert_near(when, 2.01)

    def test_thrown_away(self) -> None:
        """A prompt whose coroutine is closed, since its server is gone, says nothing."""

        async def application(call: Call) -> str:
            await call.answer()
            return await call.read_digits(prompt=TENTH * 100)

        self.start(application)
        self.net.run_for(1)
        [prompt] = [
            item
            for item in gc.get_objects()
            if isinstance(item, CoroutineType) and item.__name__ == "_play_until_digit"
        ]
        prompt.close()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.hang_up()

    def test_prompt_is_not_interruptible(self) -> None:
        """A prompt that cannot be interrupted is played to its end; the key counts then."""
        digits, when = self.read("5", count=1, prompt=TENTH * 30, interruptible=False)
        self.assertEqual(digits, "5")
        self.assert_near(when, 3.01)

    def test_digits_before(self) -> None:
        """Digits that came before are read at once; they skip the prompt."""

        async def application(call: Call) -> tuple[str, float]:
            await call.answer()
            await call.wait(3)
            return await call.read_digits(2, prompt=TENTH * 100), self.net.seconds()

        self.start(application)
        self.caller.send_digits("12")
        self.net.run_for(5)
        self.assertEqual(self.script.result[0], "12")
        self.assert_near(self.script.result[1], 3.01)
        self.hang_up()

    def test_digits_are_bounded(self) -> None:
        """Only so many digits are kept, the first ones; they can be forgotten."""
        self.start(answer)
        call = self.caller
        for index in range(MAX_DIGITS + 10):
            call.receive_digit(str(index % 10))
        reading = call.read_digits(MAX_DIGITS + 1, timeout=1)
        self.net.run_for(1.1)
        digits = self.successResultOf(reading)
        self.assertEqual(digits, "".join(str(index % 10) for index in range(MAX_DIGITS)))
        call.receive_digit("1")
        call.forget_digits()
        self.assertEqual(self.outcome(call.read_digits(1)), [])
        self.hang_up()

    def test_one_reader(self) -> None:
        """Two cannot read at the same time."""
        self.start(answer)
        reading = self.caller.read_digits(1)
        self.assertRaises(DialogStateError, self.caller.read_digits)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertEqual(self.outcome(self.caller.read_digits(1)), [])
        self.hang_up()

    def test_cancel_stops_the_prompt(self) -> None:
        """Who cancels the reading stops its prompt too."""
        self.start(answer)
        reading = self.caller.read_digits(1, prompt=TENTH * 100)
        self.net.run_for(0.1)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        assert self.caller.audio is not None
        count = self.caller.audio.packets_sent
        self.net.run_for(0.2)
        self.assertEqual(self.caller.audio.packets_sent, count)
        self.hang_up()

    def test_prompt_fails(self) -> None:
        """When the audio goes away during the prompt, the reading fails."""
        self.start(answer)
        result = self.outcome(self.caller.read_digits(1, prompt=TENTH * 100))
        assert self.caller.audio is not None
        self.caller.audio.close()
        self.assertIsInstance(result[0].value, DialogStateError)
        self.hang_up()

    def test_send_digits(self) -> None:
        """Sending fires when the digits were sent."""
        self.start(answer)
        begin = self.net.seconds()
        sent: list[float] = []
        self.caller.send_digits("12").addCallback(lambda _: sent.append(self.net.seconds()))
        self.net.run_for(2)
        self.assert_near(sent[0] - begin, 0.36)
        assert self.script.call is not None
        self.assertEqual("".join(self.script.call.keypad.waiting), "12")
        self.hang_up()

    def test_send_no_digits(self) -> None:
        """What is no digit is refused, and nothing waits for it."""
        self.start(answer)
        self.assertRaises(LocalError, self.caller.send_digits, "1x")
        self.assertEqual(len(self.caller.waits), 0)
        self.hang_up()

    def test_echo(self) -> None:
        """Audio and digits come back while the call is echoed."""
        net = VirtualNetwork()
        phone = Phone(net)
        script = Script(answer)
        Agent(net.host("192.0.2.1"), applications=[script], application="script")
        response = phone.call()
        assert script.call is not None
        echo = script.call.echo()
        self.assertRaises(DialogStateError, script.call.echo)
        where = audio_at(response)
        phone.speak(where, 3)
        net.run_for(0.1)
        self.assertEqual([packet.payload for packet in phone.ear.packets], [FRAME] * 3)
        phone.press(where, "7")
        net.run_for(1)
        events = [packet for packet in phone.ear.packets if packet.payload_type == 101]
        self.assertEqual({packet.payload[0] for packet in events}, {7})
        echo.cancel()
        self.failureResultOf(echo, CancelledError)
        count = len(phone.ear.packets)
        phone.speak(where, 3)
        net.run_for(0.1)
        self.assertEqual(len(phone.ear.packets), count)
        self.assertEqual(sdp_of(response).media[0].direction, "sendrecv")

    def test_echo_of_too_many_digits(self) -> None:
        """Digits that come faster than they can be sent are noted and dropped, not raised."""
        self.patch(stream, "MAX_QUEUE", 3)
        net = VirtualNetwork()
        phone = Phone(net)
        script = Script(answer)
        Agent(net.host("192.0.2.1"), applications=[script], application="script")
        response = phone.call()
        assert script.call is not None
        echo = script.call.echo()
        for _ in range(8):
            phone.press(audio_at(response), "7")
        net.run_for(0.1)
        lines = "\n".join(script.call.session.record.lines())
        self.assertIn("digit dropped: 3 strings of digits wait", lines)
        self.assertEqual(self.flushLoggedErrors(), [])
        echo.cancel()
        self.failureResultOf(echo, CancelledError)


class RecordTests(CallTestCase):
    """Recording."""

    def record(self, **options: Any) -> tuple[Path, list[Any]]:
        """Let the callee record what the caller says."""
        path = Path(self.mktemp() + ".wav")

        async def application(call: Call) -> Recording:
            await call.answer()
            return await call.record(path, **options)

        self.start(application)
        return path, []

    def test_stop_on(self) -> None:
        """A key of ``stop_on`` ends the recording; other keys are kept."""
        path, _ = self.record()
        self.caller.play(b"\x00\x10" * 4000)
        self.net.run_for(1)
        self.caller.send_digits("1#")
        self.net.run_for(1)
        recording = self.script.result
        self.assertEqual((recording.path, recording.digit), (path, "#"))
        self.assertGreaterEqual(recording.seconds, 0.5)
        self.assertEqual(len(read_wav(path)), round(recording.seconds * 16000))
        assert self.script.call is not None
        self.assertEqual(list(self.script.call.keypad.waiting), ["1"])
        self.hang_up()

    def test_max_seconds_of_audio(self) -> None:
        """The recording ends when it is full."""
        path, _ = self.record(max_seconds=1.5)
        self.caller.play(TENTH * 100)
        self.net.run_for(3)
        self.assertEqual(self.script.result.digit, "")
        self.assertLessEqual(self.script.result.seconds, 1.5)
        self.assertGreater(self.script.result.seconds, 0.4)
        self.assertTrue(path.exists())
        self.hang_up()

    def test_full_before_the_time_is_up(self) -> None:
        """The recording holds no more than its time, however fast the peer sends."""
        net = VirtualNetwork()
        phone = Phone(net)
        script = Script(answer)
        Agent(net.host("192.0.2.1"), applications=[script], application="script")
        where = audio_at(phone.call())
        assert script.call is not None
        recording = script.call.record(self.mktemp(), max_seconds=1.0)
        phone.speak(where, 10, payload=bytes(1600))
        net.run_for(1.1)
        # It began with the first sound, which came after the delay of the jitter buffer.
        self.assertEqual(self.successResultOf(recording).seconds, 1.0 - FIRST_DELAY)

    def test_silent_peer(self) -> None:
        """A peer that sends nothing does not make it last for ever."""
        self.record(max_seconds=2.0)
        self.net.run_for(2)
        self.assertEqual(self.script.result.seconds, 0)
        self.hang_up()

    def test_twice(self) -> None:
        """A call is recorded once at a time; cancelling ends a recording."""
        self.start(answer)
        path = Path(self.mktemp())
        recording = self.caller.record(path)
        self.assertRaises(DialogStateError, self.caller.record, self.mktemp())
        recording.cancel()
        self.failureResultOf(recording, CancelledError)
        self.assertEqual(read_wav(path), b"")
        self.caller.record(path).addErrback(lambda _: None)
        self.hang_up()

    def test_call_ends(self) -> None:
        """The file is complete when the call ends in the middle."""
        path, _ = self.record()
        self.caller.play(TENTH * 3)
        self.net.run_for(1)
        self.hang_up()
        self.assertIsInstance(self.script.error, CancelledError)
        self.assertApproximates(len(read_wav(path)), 16000, 1600)

    def test_no_file(self) -> None:
        """A file that cannot be written is told at once."""
        self.start(answer)
        self.assertRaises(WAVError, self.caller.record, "/nonexistent/x.wav")
        self.caller.record(self.mktemp()).addErrback(lambda _: None)
        self.hang_up()


class SupplementTests(CallTestCase):
    """The call beside other plugins."""

    def test_supplement_ends_the_call(self) -> None:
        """A supplement that hangs up ends the application too."""

        class Impatient(SessionSupplement):
            name = "impatient"

            def incoming_request(self, session: Any, request: Any) -> None:
                if request.method == "ACK":
                    session.start_timer(0.5, session.terminate)

        self.start(answer, callee_supplements=[Impatient()])
        self.net.run_for(1)
        self.assertTrue(self.script.is_over)
        self.assertTrue(self.placed.is_over)
        self.hang_up()

    def test_late_result(self) -> None:
        """Awaiting something of one's own between two steps works."""

        async def application(call: Call) -> str:
            await call.answer()
            await succeed(None)
            return await call.read_digits(1, timeout=0.2)

        self.start(application)
        self.assertEqual(self.script.result, "")
        self.hang_up()
