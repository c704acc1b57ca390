# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Each file in examples/ does what its first lines say."""

from __future__ import annotations

import ast
import pathlib
import wave
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import HelloApplication
from sipsess.interfaces import ISessionSupplement
from sipsess.media import read_wav
from sipsess.message import Response
from sipsess.session import Session
from sipsess.supplement import ResponseVerdict, Retry, SessionSupplement
from sipsess.testing import Agent, CallPair, PlacedCall, ScriptedPeer, VirtualNetwork
from tests.examples import EXAMPLES, example
from tests.pure.signals import amplitude, rms, samples, to_pcm

CALLEE = "192.0.2.1"
CALLER = "192.0.2.2"


class FileTests(SynchronousTestCase):
    """What holds for each example."""

    def test_each_is_short(self) -> None:
        """An example is one file below 60 lines that says what it is for."""
        paths = sorted(EXAMPLES.glob("*.py"))
        self.assertGreater(len(paths), 4)
        for path in paths:
            text = path.read_text(encoding="utf-8")
            self.assertLess(text.count("\n"), 60, path.name)
            self.assertTrue(ast.get_docstring(ast.parse(text)), path.name)

    def test_each_is_tested(self) -> None:
        """No example is without a test: its name stands in this file, or where it needs asyncio."""
        here = pathlib.Path(__file__)
        paths = (here, here.with_name("interop") / "asyncio_agent.py")
        source = "".join(path.read_text(encoding="utf-8") for path in paths)
        for path in EXAMPLES.glob("*.py"):
            self.assertIn(f'example("{path.stem}")', source)


def call_scripted(
    supplements: list[ISessionSupplement], **options: Any
) -> tuple[VirtualNetwork, ScriptedPeer, Session]:
    """Let sipsess call a scripted peer; return the network, the peer and the session."""
    net = VirtualNetwork()
    peer = ScriptedPeer(net.host(CALLEE, name="callee"))
    caller = Agent(net.host(CALLER, name="caller"), supplements=supplements)
    session = caller.dial(f"sip:callee@{CALLEE}", **options)
    session.invite_client.answered.addErrback(lambda _: None)
    return net, peer, session


class DoormanTests(SynchronousTestCase):
    """examples/doorman.py."""

    def test_mallory_is_refused(self) -> None:
        """The one caller gets 403, which is marked, and is counted."""
        doorman = example("doorman").doorman
        pair = CallPair(callee_supplements=[doorman])
        for _ in range(2):
            call = pair.dial(from_="sip:mallory@example.com")
            pair.net.run_for(1)
            self.assertEqual(call.outcome, (403, "Forbidden"))
            self.assertEqual(_final(call).headers.get("X-Doorman"), "seen")
        self.assertEqual(doorman.refused, 2)
        pair.settle()

    def test_everybody_else_is_marked(self) -> None:
        """Each request and response of the callee carries the header, BYE too."""
        doorman = example("doorman").doorman
        pair = CallPair(callee_supplements=[doorman])
        call = pair.dial()
        pair.net.run_for(1)
        self.assertEqual(call.outcome, (200, "OK"))
        call.hang_up_callee()
        pair.settle()
        sent = [e.data for e in pair.net.trace if e.source == (CALLEE, 5060)]
        self.assertEqual([b"\r\nX-Doorman: seen\r\n" in data for data in sent], [True, True])
        self.assertIn(b"BYE", sent[1])
        self.assertEqual(doorman.refused, 0)


class CallIDHeaderTests(SynchronousTestCase):
    """examples/call_id_header.py."""

    def test_what_the_invite_brought_is_kept(self) -> None:
        """A Call-ID of an earlier leg is in the answer; without one, our own."""
        pair = CallPair(callee_supplements=[example("call_id_header").call_id_header])
        for headers, expected in (({"X-Call-ID": "first-leg"}, "first-leg"), ({}, None)):
            call = pair.dial(headers=headers)
            pair.net.run_for(1)
            answer = _final(call)
            self.assertEqual(answer.headers.get("X-Call-ID"), expected or answer.call_id)
            call.hang_up()
        pair.settle()

    def test_a_retry_has_it_once(self) -> None:
        """A request that is sent again after a 422 carries one such header, the same."""

        class Patient(SessionSupplement):
            name = "patient"

            def incoming_response(self, session: Session, response: Response) -> ResponseVerdict:
                if response.status == 422:
                    return Retry({"Session-Expires": response.headers.get("Min-SE") or "90"})
                return None

        header = example("call_id_header").call_id_header
        net, peer, session = call_scripted([header, Patient()])
        first = peer.expect("INVITE")
        peer.reply(first, 422, headers={"Min-SE": "1800"})
        peer.expect("ACK")
        second = peer.expect("INVITE")
        self.assertEqual(second.headers.get("Session-Expires"), "1800")
        self.assertEqual(first.headers.get_all("X-Call-ID"), [session.call_id])
        self.assertEqual(second.headers.get_all("X-Call-ID"), [session.call_id])
        peer.reply(second, 486)
        net.run_for(40)
        net.assert_quiet()


class AnswerModeTests(SynchronousTestCase):
    """examples/answer_mode.py."""

    def test_only_the_first_invite_asks(self) -> None:
        """The INVITE that begins the call asks for an automatic answer, a re-INVITE does not."""
        net, peer, session = call_scripted([example("answer_mode").answer_mode])
        invite = peer.expect("INVITE")
        self.assertEqual(invite.headers.get("Answer-Mode"), "Auto")
        self.assertIn("answermode", invite.supported)
        peer.reply(invite, 200)
        peer.expect("ACK")
        session.send_reinvite()
        again = peer.expect("INVITE")
        self.assertIsNone(again.headers.get("Answer-Mode"))
        peer.reply(again, 200)
        peer.expect("ACK")
        session.terminate()
        peer.reply(peer.expect("BYE"), 200)
        net.run_for(40)
        net.assert_quiet()


class ScreeningTests(SynchronousTestCase):
    """examples/screening.py."""

    def test_directory_decides(self) -> None:
        """What the directory says at once decides: refused, or let in."""
        pair = CallPair(callee_supplements=[example("screening").screening])
        for caller, status in (("0900123", 603), ("12345", 200)):
            call = pair.dial(from_=f"sip:{caller}@example.com")
            pair.net.run_for(1)
            self.assertEqual(call.session.final_response and _final(call).status, status)
            call.hang_up()
        pair.settle()

    def test_caller_hears_100_while_the_directory_thinks(self) -> None:
        """A slow directory holds up the one call; then it goes on."""
        thinking: Deferred[bool] = Deferred()
        pair = CallPair(callee_supplements=[example("screening").Screening(lambda _: thinking)])
        call = pair.dial()
        pair.net.run_for(5)
        self.assertIsNone(call.outcome)
        self.assertTrue(any(b"100 Trying" in event.data for event in pair.net.trace))
        thinking.callback(True)
        pair.net.run_for(1)
        self.assertEqual(call.outcome, (200, "OK"))
        call.hang_up()
        pair.settle()

    def test_caller_gives_up(self) -> None:
        """CANCEL cancels the question."""
        asked: list[str] = []
        cancelled: list[object] = []

        def ask(number: str) -> Deferred[bool]:
            asked.append(number)
            return Deferred[bool]().addErrback(self._note, cancelled)

        pair = CallPair(callee_supplements=[example("screening").Screening(ask)])
        call = pair.dial(from_="sip:slow@example.com")
        pair.net.run_for(1)
        call.hang_up()
        pair.net.run_for(1)
        self.assertEqual((asked, len(cancelled)), (["slow"], 1))
        self.assertEqual(call.outcome, (487, "Request Terminated"))
        pair.settle()

    def _note(self, failure: Any, where: list[object]) -> Any:
        failure.trap(CancelledError)
        where.append(failure)
        return failure


class VoiceboxTests(SynchronousTestCase):
    """examples/voicebox.py."""

    def call(self) -> tuple[CallPair, PlacedCall, pathlib.Path]:
        """Call the voice box; return the pair, the call and the folder of the messages."""
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.voicebox = example("voicebox").Voicebox(folder)
        pair = CallPair(application=self.voicebox)
        placed = pair.dial()
        pair.net.run_for(2)
        self.assertEqual((placed.outcome, self.voicebox.calls), ((200, "OK"), 1))
        return pair, placed, folder

    def finish(self, pair: CallPair) -> None:
        """Check that nothing of the call is left."""
        pair.settle()
        self.assertEqual(self.voicebox.calls, 0)

    def test_message_is_recorded(self) -> None:
        """1 stops the prompt; what is said until # is in a file."""
        pair, placed, folder = self.call()
        placed.phone.send_digits("1")
        pair.net.run_for(2)
        placed.phone.play_tone([1000.0], 2.0)
        pair.net.run_for(2)
        placed.phone.send_digits("#")
        pair.net.run_until(lambda: placed.is_over, 20)
        (path,) = folder.iterdir()
        self.assertApproximates(len(read_wav(path)) / 16000, 2.0, 0.5)
        self.assertIn("that was all", str(placed.end_reason))
        self.finish(pair)

    def test_echo(self) -> None:
        """2 sends back what is heard, until the caller hangs up."""
        pair, placed, _ = self.call()
        heard: list[bytes] = []
        placed.phone.send_digits("2")
        pair.net.run_for(2)
        audio = placed.phone.audio
        self.assertIsNotNone(audio)
        if audio is not None:
            audio.listen(lambda pcm, rate: heard.append(pcm))
        placed.phone.play_tone([1000.0], 1.0)
        pair.net.run_for(2)
        self.assertTrue(any(any(pcm) for pcm in heard))
        placed.hang_up()
        self.finish(pair)

    def test_caller_hangs_up_in_the_prompt(self) -> None:
        """The application is cancelled where it waits, and its ``finally`` runs."""
        pair, placed, folder = self.call()
        placed.hang_up()
        pair.net.run_for(1)
        self.assertEqual((self.voicebox.calls, list(folder.iterdir())), (0, []))
        self.finish(pair)


class PlaceCallTests(SynchronousTestCase):
    """examples/place_call.py."""

    def run_script(self, user: str) -> str:
        """Run its coroutine on a virtual host, and return what it would print."""
        net = VirtualNetwork()
        echo = EchoApplication()
        Agent(net.host(CALLEE, name="callee"), applications=[echo])
        host = net.host(CALLER, name="caller")
        coroutine = example("place_call").call_somebody(
            host, f"sip:{user}@{CALLEE}", "12#", listen="udp:5060"
        )
        done: Deferred[str] = Deferred.fromCoroutine(coroutine)
        net.run_for(60)
        net.assert_quiet()
        return self.successResultOf(done)

    def test_call_is_placed(self) -> None:
        """It presses the keys and hangs up."""
        self.assertIn("BYE by this side", self.run_script("echo"))

    def test_call_is_refused(self) -> None:
        """A refusal is one line, too."""
        self.assertIn("404", self.run_script("nobody"))


class ClickToCallTests(SynchronousTestCase):
    """examples/click_to_call.py."""

    def run_script(self, second: str) -> str:
        """Run its coroutine on a virtual host, and return what it would print."""
        net = VirtualNetwork()
        echo, hello = EchoApplication(), HelloApplication()
        Agent(net.host(CALLEE, name="callee"), applications=[echo, hello])
        host = net.host(CALLER, name="caller")
        coroutine = example("click_to_call").connect(
            host, f"sip:echo@{CALLEE}", f"sip:{second}@{CALLEE}", listen="udp:5060"
        )
        done: Deferred[str] = Deferred.fromCoroutine(coroutine)
        net.run_for(150)
        net.assert_quiet()
        return self.successResultOf(done)

    def test_connected(self) -> None:
        """They are connected until one hangs up."""
        self.assertIn("BYE by the far end", self.run_script("hello"))

    def test_refused(self) -> None:
        """A refusal is one line."""
        self.assertIn(f"sip:nobody@{CALLEE}: 404", self.run_script("nobody"))


class RecorderTests(SynchronousTestCase):
    """examples/recorder.py."""

    def setUp(self) -> None:
        """Let an agent run it, between a caller and somebody who says hello."""
        self.folder = pathlib.Path(self.mktemp())
        self.folder.mkdir()
        self.net = VirtualNetwork()
        Agent(self.net.host("192.0.2.3", name="desk"), applications=[HelloApplication()])
        self.caller = Agent(self.net.host(CALLER, name="caller"))

    def dial(self, user: str) -> Session:
        """Call by way of the recorder."""
        application = example("recorder").Recorder(f"sip:{user}@192.0.2.3", self.folder)
        host = self.net.host(CALLEE, name="recorder")
        Agent(host, applications=[application], application="recorder")
        session = self.caller.dial(f"sip:anybody@{CALLEE}")
        session.invite_client.answered.addErrback(lambda _: None)
        return session

    def test_both_are_recorded(self) -> None:
        """The caller is on the left, whom he has called on the right."""
        session = self.dial("hello")
        self.net.run_for(1)
        call = self.caller.manager.make_call(session)
        call.play_tone([3000], 1)
        self.net.run_for(20)
        session.terminate()
        self.net.run_for(40)
        self.net.assert_quiet()
        [path] = self.folder.glob("*.wav")
        with wave.open(str(path)) as reader:
            self.assertEqual(reader.getnchannels(), 2)
            both = samples(reader.readframes(reader.getnframes()))
        left, right = to_pcm(list(both[::2])), to_pcm(list(both[1::2]))
        self.assertGreater(amplitude(left[20000:28000], 3000), 4000)
        self.assertGreater(rms(right), -40)
        self.assertLess(amplitude(right[20000:28000], 3000), 400)

    def test_not_answered(self) -> None:
        """Nothing is recorded of a call that nobody answers; the caller hears why."""
        session = self.dial("nobody")
        self.net.run_for(40)
        assert session.final_response is not None
        self.assertEqual(session.final_response.status, 404)
        self.assertEqual(list(self.folder.iterdir()), [])
        self.net.assert_quiet()


def _final(call: PlacedCall) -> Response:
    """Return the final response that the caller got."""
    response = call.session.final_response
    if response is None:
        raise AssertionError(f"no final response\n{call.pair.net.ladder()}")
    return response
