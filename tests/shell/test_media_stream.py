# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application websocket: calls whose voice agent is a WebSocket server on a virtual host."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from struct import pack, unpack
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from wsproto.events import TextMessage
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.applications import websocket
from sipsess.applications.echo import EchoApplication
from sipsess.applications.websocket import WebSocketApplication
from sipsess.applications.websocket_options import WebSocketOptions
from sipsess.call import Call
from sipsess.call.sink import AudioSink
from sipsess.interfaces import IApplication, IConfigurableApplication
from sipsess.media import PCMU, Codec, RTPPacket
from sipsess.mediastream import playout
from sipsess.mediastream.messages import MessageWriter, mulaw
from sipsess.routing import Route, Router
from sipsess.secret import Secret
from sipsess.testing import CallPair, PlacedCall
from sipsess.websocket import WebSocketConnector
from tests.agentserver import AgentServer, ServedSocket

URL = "ws://192.0.2.9:8765/agent"
#: Seconds of one frame.
FRAME = 0.02


def speech(seconds: float, byte: int = 0x11) -> str:
    """Return mu-law that is no silence, in base64."""
    return base64.b64encode(bytes([byte]) * round(8000 * seconds)).decode()


def is_loud(message: dict[str, Any]) -> bool:
    """Tell whether a message is audio, and no silence."""
    if message["event"] != "media":
        return False
    pcm = PCMU.decode(base64.b64decode(message["media"]["payload"]))
    loudest: int = max(map(abs, unpack(f"<{len(pcm) // 2}h", pcm)))
    return loudest > 1000


class AgentCase(SynchronousTestCase):
    """The base of tests: a caller, a server with the application, and an agent."""

    def setUp(self) -> None:
        """Let nothing be there yet."""
        self.heard: list[tuple[float, bytes]] = []

    def serve(self, **options: Any) -> None:
        """Start everything."""
        self.application = WebSocketApplication(None)
        self.pair = CallPair(application=self.application)
        self.net = self.pair.net
        self.application.connector = WebSocketConnector(self.pair.callee.host)
        self.application.how = WebSocketOptions(**{"url": URL, **options})
        self.application.how.check(self.application.connector)
        self.agent = AgentServer(self.net.host("192.0.2.9", name="agent"))

    def dial(self, seconds: float = 1.0, **options: Any) -> PlacedCall:
        """Call the agent."""
        self.placed = self.pair.dial("sip:anna@192.0.2.1", **options)
        self.net.run_for(seconds)
        return self.placed

    def start(self, **options: Any) -> ServedSocket:
        """Start everything, call, and return the connection to the agent."""
        self.serve(**options)
        self.dial()
        self.assertEqual(self.placed.outcome, (200, "OK"))
        audio = self.placed.phone.audio
        assert audio is not None

        def keep(codec: Codec, packet: RTPPacket, now: float) -> None:
            self.heard.append((now, bytes(packet.payload)))

        audio.on_packet = keep
        return self.agent.last

    def end(self) -> None:
        """Hang up, if the call still stands; nothing may be left."""
        self.placed.hang_up()
        self.net.run_for(1)
        self.agent.stop()
        self.pair.settle()
        self.assertTrue(all(socket.is_lost for socket in self.agent.sockets))

    def record(self) -> str:
        """Return the facts of the call."""
        [record] = self.pair.callee.manager.records.find(self.placed.session.call_id)
        return "\n".join(record.lines())

    def refused(self) -> dict[str, int]:
        """Return what the server has counted."""
        return dict(self.pair.callee.core.counters.refused)


class StreamTests(AgentCase):
    """What the agent hears and says."""

    def test_beginning(self) -> None:
        """First come connected and start, with all that the agent must know."""
        options = {
            "authorization": Secret("Bearer x"),
            "headers": {"X-Tenant": "a"},
            "parameters": {"who": "{number} {caller}", "whom": "{dialled}{nothing}", "x": "y"},
            "pass_headers": ("X-Customer", "X-Absent"),
        }
        self.serve(**options)
        self.dial(from_="sip:%2b49301@example.com", headers={"X-Customer": "17"})
        socket = self.agent.last
        assert socket.request is not None
        headers = dict(socket.request.extra_headers)
        self.assertEqual(headers[b"authorization"], b"Bearer x")
        self.assertEqual(headers[b"x-tenant"], b"a")
        connected, start = socket.said[:2]
        self.assertEqual(connected, {"event": "connected", "protocol": "Call", "version": "1.0.0"})
        sid = start["streamSid"]
        self.assertRegex(sid, "^MZ[0-9a-f]{32}$")
        expected = {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": sid,
            "start": {
                "streamSid": sid,
                "accountSid": "sipsess",
                "callSid": self.placed.session.call_id,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {
                    "who": "+49301 sip:%2b49301@example.com",
                    "whom": "anna",
                    "x": "y",
                    "X-Customer": "17",
                },
            },
        }
        self.assertEqual(start, expected)
        self.end()

    def test_caller_speaks(self) -> None:
        """The caller's audio comes in frames of 20 ms, numbered and timed; stop ends it."""
        socket = self.start()
        self.placed.phone.play_tone([440.0], 1)
        self.net.run_for(2)
        media = socket.of("media")
        self.assertEqual(
            [item["media"]["chunk"] for item in media],
            [str(number) for number in range(1, len(media) + 1)],
        )
        self.assertEqual({item["media"]["track"] for item in media}, {"inbound"})
        times = [int(item["media"]["timestamp"]) for item in media]
        self.assertEqual({b - a for a, b in pairwise(times)}, {20})
        self.assertGreater(times[0], 900)
        frames = [base64.b64decode(item["media"]["payload"]) for item in media]
        self.assertEqual({len(frame) for frame in frames}, {160})
        loud = list(filter(is_loud, media))
        self.assertGreater(len(loud), 45)
        self.end()
        stop = socket.said[-1]
        self.assertEqual(stop["event"], "stop")
        self.assertEqual(stop["stop"]["callSid"], self.placed.session.call_id)
        numbers = [int(item["sequenceNumber"]) for item in socket.said[1:]]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def test_numbers(self) -> None:
        """All messages are numbered together, and frames by themselves besides."""
        writer = MessageWriter("MZ1", "call", "sipsess")
        texts = (writer.start(mulaw(), {}), writer.media(b"", 0.0), writer.dtmf("1"))
        found = [json.loads(text) for text in (*texts, writer.media(b"", 0.02))]
        self.assertEqual([item["sequenceNumber"] for item in found], ["1", "2", "3", "4"])
        self.assertEqual([found[at]["media"]["chunk"] for at in (1, 3)], ["1", "2"])

    def test_rate(self) -> None:
        """PCM can be had at the rate that a model speaks and hears."""
        socket = self.start(encoding="l16", rate=24000)
        self.assertEqual(socket.of("start")[0]["start"]["mediaFormat"]["sampleRate"], 24000)
        self.placed.phone.play_tone([440.0], 0.5)
        payload = base64.b64encode(pack("<h", 1000) * 24000).decode()
        socket.tell(event="media", media={"payload": payload})
        socket.tell(event="mark", mark={"name": "done"})
        self.net.run_for(0.5)
        self.assertEqual(socket.of("mark"), [])
        self.net.run_for(1)
        self.assertEqual(len(socket.of("mark")), 1)
        frame = base64.b64decode(socket.of("media")[0]["media"]["payload"])
        self.assertEqual(len(frame), 960)
        self.assertApproximates(len(self.heard), 50, 1)
        self.assertEqual(self.heard[25][1], PCMU.encode(pack("<h", 1000)) * 160)
        self.end()

    def test_l16(self) -> None:
        """PCM can be had as it is."""
        socket = self.start(encoding="l16")
        media = socket.of("start")[0]["start"]["mediaFormat"]
        self.assertEqual(media, {"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 1})
        self.placed.phone.play_tone([440.0], 0.5)
        pcm = PCMU.decode(b"\x11" * 800)
        socket.tell(event="media", media={"payload": base64.b64encode(pcm + b"x").decode()})
        self.net.run_for(1)
        payload = base64.b64decode(socket.of("media")[0]["media"]["payload"])
        self.assertEqual(len(payload), 320)
        self.assertEqual(b"".join(data for _, data in self.heard), b"\x11" * 800)
        self.end()

    def test_agent_speaks(self) -> None:
        """What the agent sends at once is heard as it is, in real time."""
        socket = self.start()
        first, second = bytes(range(16)) * 100, bytes(range(32, 48)) * 200
        for payload in (first, second):
            socket.tell(event="media", media={"payload": base64.b64encode(payload).decode()})
        self.net.run_for(2)
        self.assertEqual(b"".join(data for _, data in self.heard), first + second)
        begun, ended = self.heard[0][0], self.heard[-1][0]
        self.assertAlmostEqual(ended - begun, len(first + second) / 8000 - FRAME)
        self.end()

    def test_keys(self) -> None:
        """Each key that the caller presses is told, once."""
        socket = self.start()
        self.placed.phone.send_digits("1#")
        self.net.run_for(2)
        self.placed.phone.send_digits("*")
        self.net.run_for(7300)
        digits = [item["dtmf"] for item in socket.of("dtmf")]
        expected = [{"track": "inbound_track", "digit": digit} for digit in "1#*"]
        self.assertEqual(digits, expected)
        self.end()

    def test_marks(self) -> None:
        """Marks come back in order, each when what was before it has been heard."""
        socket = self.start()
        sid = socket.of("start")[0]["streamSid"]
        socket.tell(event="mark", streamSid=sid, mark={"name": "at once"})
        for number in range(5):
            socket.tell(event="media", streamSid=sid, media={"payload": speech(0.5)})
            socket.tell(event="mark", streamSid=sid, mark={"name": f"part {number}"})
        begun = self.net.seconds()
        self.net.run_for(5)
        marks = [
            (item["mark"]["name"], when - begun)
            for item, when in zip(socket.said, socket.times, strict=True)
            if item["event"] == "mark"
        ]
        names = ["at once", *(f"part {number}" for number in range(5))]
        self.assertEqual([name for name, _ in marks], names)
        for number, (_, when) in enumerate(marks):
            self.assertApproximates(when, number * 0.5, 0.1)
        self.end()

    def test_barge_in(self) -> None:
        """
        The agent clears as soon as it hears the caller: within 40 ms of audio he hears no more.

        All marks that were waiting come back, in order, and what is said next is heard.
        """
        socket = self.start()
        heard_at: list[float] = []

        def interrupt(socket: ServedSocket, text: str) -> None:
            if not heard_at and is_loud(json.loads(text)):
                heard_at.append(self.net.seconds())
                socket.tell(event="clear")

        for number in range(20):
            socket.tell(event="media", media={"payload": speech(1)})
            socket.tell(event="mark", mark={"name": str(number)})
        self.net.run_for(3.1)
        self.agent.take = interrupt  # type: ignore[method-assign]
        self.placed.phone.play_tone([440.0], 0.2)
        self.net.run_for(3)
        [when] = heard_at
        late = [data for at, data in self.heard if at > when]
        self.assertApproximates(len(self.heard) * FRAME, 3.1, 0.2)
        self.assertLessEqual(len(late) * FRAME, 0.04)
        names = [item["mark"]["name"] for item in socket.of("mark")]
        self.assertEqual(names, [str(number) for number in range(20)])
        socket.tell(event="media", media={"payload": speech(0.1, 0x22)})
        self.net.run_for(1)
        said = b"".join(data for _, data in self.heard)
        self.assertTrue(said.endswith(b"\x11" + b"\x22" * 800))
        self.end()


class CallTests(AgentCase):
    """What happens to the call meanwhile."""

    def test_hold(self) -> None:
        """After hold both hear each other again, in the same stream."""
        socket = self.start()
        self.placed.phone.hold()
        self.net.run_for(1)
        before = len(socket.of("media"))
        self.placed.phone.resume()
        self.placed.phone.play_tone([440.0], 0.5)
        self.net.run_for(1)
        self.assertGreater(len(list(filter(is_loud, socket.of("media")[before:]))), 20)
        socket.tell(event="media", media={"payload": speech(0.1)})
        self.net.run_for(1)
        self.assertEqual(b"".join(data for _, data in self.heard)[-800:], b"\x11" * 800)
        self.assertEqual(len(self.agent.sockets), 1)
        self.end()

    def test_never_answered(self) -> None:
        """A connection whose call is not answered in the end is closed."""
        self.patch(Call, "answer", lambda call: Deferred())
        self.serve()
        self.dial()
        self.assertEqual(self.agent.last.messages, [])
        self.end()

    def test_answered(self) -> None:
        """Behind a menu the call is answered already."""

        class Before(Application):
            name = "before"

            async def handle(before, call: Call) -> None:
                await call.answer()
                await self.application.handle(call)

        self.serve()
        self.pair.callee.manager.router = Router(default=Before())
        self.dial()
        self.assertEqual(self.placed.outcome, (200, "OK"))
        self.assertEqual(len(self.agent.last.of("start")), 1)
        self.end()


class BoundTests(AgentCase):
    """What an agent does too much, or wrong."""

    def test_ahead(self) -> None:
        """An agent that is far ahead is read no further, and its clear too, until it is less."""
        self.patch(playout, "MAX_AHEAD", 2.0)
        socket = self.start()
        for number in range(10):
            socket.tell(event="media", media={"payload": speech(0.5, number)})
            socket.tell(event="mark", mark={"name": str(number)})
        self.net.run_for(0.1)
        socket.tell(event="clear")
        self.net.run_for(2)
        self.assertFalse(self.heard[-1][1] == b"\x09" * 160)
        self.net.run_for(6)
        said = b"".join(data for _, data in self.heard)
        self.assertEqual(said[:24000], b"".join(bytes([number]) * 4000 for number in range(6)))
        self.assertLess(len(said), 36000)
        names = [item["mark"]["name"] for item in socket.of("mark")]
        self.assertEqual(names, [str(number) for number in range(10)])
        self.end()

    def test_nothing_to_be_heard(self) -> None:
        """Audio of no length is nothing that waits: there could be any number of it."""
        written: list[bytes] = []

        def write(pcm: bytes) -> Deferred[None]:
            written.append(pcm)
            return succeed(None)

        sink = SimpleNamespace(waiting=0.0, write=write)
        waiting = playout.Playout(cast("AudioSink", sink), mulaw())
        running = Deferred.fromCoroutine(waiting.run())
        for payload in (b"", b"\xff", b""):
            self.successResultOf(waiting.say(payload))
        running.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.assertEqual(written, [b"\0\0"])

    def test_marks(self) -> None:
        """Marks beyond those that may wait are ignored, and counted."""
        self.patch(playout, "MAX_MARKS", 3)
        socket = self.start()
        socket.tell(event="media", media={"payload": speech(0.5)})
        for number in range(5):
            socket.tell(event="mark", mark={"name": str(number)})
        self.net.run_for(1)
        socket.tell(event="mark", mark={"name": "later"})
        self.net.run_for(1)
        names = [item["mark"]["name"] for item in socket.of("mark")]
        self.assertEqual(names, ["0", "1", "2", "later"])
        self.assertEqual(self.refused(), {"agent-too-many-marks": 2})
        self.end()

    def test_broken_messages(self) -> None:
        """What is none of the messages is counted and, some times, noted; the call goes on."""
        socket = self.start()
        broken = [
            "",
            "[]",
            "[" * 100_000,
            "{}",
            '{"event": 1}',
            '{"event": "dance"}',
            '{"event": "media"}',
            '{"event": "media", "media": []}',
            '{"event": "media", "media": {"payload": 1}}',
            '{"event": "media", "media": {"payload": "?"}}',
            '{"event": "media", "media": {"payload": "\u00fc"}}',
            '{"event": "mark", "mark": {}}',
            '{"event": "mark", "mark": {"name": "%s"}}' % ("x" * 257),
            '{"event": "stop", "stop": {"route": 1}}',
        ]
        for text in broken:
            socket.send(TextMessage(data=text))
        socket.tell(event="clear", streamSid="MZ0")
        socket.tell(event="media", media={"payload": speech(0.1)})
        self.net.run_for(1)
        self.assertEqual(len(self.heard), 5)
        counted = {"agent-message-broken": len(broken), "agent-stream-unknown": 1}
        self.assertEqual(self.refused(), counted)
        self.assertEqual(self.record().count("a message was ignored"), 5)
        self.end()

    def test_deaf_agent(self) -> None:
        """What an agent does not read is not kept for it: later frames have later times."""
        socket = self.start()
        self.placed.phone.play_tone([440.0], 60)
        self.net.run_for(1)
        before = len(socket.of("media"))
        socket.wire.pauseProducing()
        self.net.run_for(8)
        socket.wire.resumeProducing()
        self.net.run_for(1)
        media = socket.of("media")
        gaps = [b - a for a, b in pairwise(int(item["media"]["timestamp"]) for item in media)]
        [gap] = [gap for gap in gaps if gap > 20]
        self.assertGreater(gap, 1500)
        self.assertGreater(len(media), before + 100)
        self.end()
        self.assertRegex(self.record(), r"\d+ frames were not read in time")


class EndTests(AgentCase):
    """How conversations end."""

    def test_agent_closes(self) -> None:
        """When the agent closes, the caller hears all that was said, and is hung up on."""
        for way in ("close", "stop"):
            socket = self.start()
            socket.tell(event="media", media={"payload": speech(2)})
            if way == "close":
                socket.close()
            else:
                socket.tell(event="stop")
            self.net.run_for(1.5)
            self.assertFalse(self.placed.is_over)
            self.assertTrue(socket.is_lost)
            self.net.run_until(lambda: self.placed.is_over)
            self.assertEqual(len(b"".join(data for _, data in self.heard)), 16000)
            self.heard.clear()
            self.assertEqual(len(self.agent.sockets), 1)
            self.end()

    def test_no_agent(self) -> None:
        """A call for an agent that is not there is refused, and its record says why."""
        self.serve()
        self.agent.status = 503
        self.dial()
        self.assertEqual(self.placed.outcome, (480, "Agent Unreachable"))
        why = "no connection to ws://192.0.2.9:8765/agent: it answered 503"
        self.assertRegex(self.record(), f"websocket .*{why}")
        self.assertEqual(self.refused(), {"agent-unreachable": 1})
        self.end()

    def test_closed(self) -> None:
        """A server that closes in the ordinary way ends the call; nothing was lost."""
        self.start().close(1000)
        self.net.run_for(1)
        self.assertTrue(self.placed.is_over)
        self.assertIn("the server has closed the stream", self.record())
        self.assertEqual((len(self.agent.sockets), self.refused()), (1, {}))
        self.end()

    def test_caller_gives_up(self) -> None:
        """Who cancels before the agent has answered leaves nothing."""
        self.serve()
        self.agent.is_deaf = True
        self.dial()
        self.assertIsNone(self.placed.outcome)
        self.placed.hang_up()
        self.net.run_for(1)
        self.assertEqual(self.placed.outcome, (487, "Request Terminated"))
        self.end()

    def test_lost(self) -> None:
        """A lost connection is opened again, for a new stream of the same call."""
        first = self.start()
        first.tell(event="media", media={"payload": speech(1)})
        first.tell(event="mark", mark={"name": "lost"})
        self.net.run_for(0.1)
        first.wire.abortConnection()
        self.net.run_for(2)
        second = self.agent.last
        starts = [socket.of("start")[0]["start"] for socket in (first, second)]
        self.assertEqual(starts[0]["callSid"], starts[1]["callSid"])
        self.assertNotEqual(starts[0]["streamSid"], starts[1]["streamSid"])
        self.assertEqual(len(b"".join(data for _, data in self.heard)), 8000)
        self.assertEqual(second.of("mark"), [])
        second.tell(event="media", media={"payload": speech(1)})
        self.net.run_for(2)
        self.assertEqual(len(b"".join(data for _, data in self.heard)), 16000)
        second.close(1012)
        self.net.run_for(3)
        self.assertEqual(len(self.agent.sockets), 3)
        self.end()

    def test_lost_for_good(self) -> None:
        """After some attempts, each later than the one before, the call ends."""
        socket = self.start(reconnect=4)
        self.agent.status = 500
        begun = self.net.seconds()
        socket.wire.abortConnection()
        self.net.run_until(lambda: self.placed.is_over)
        self.assertApproximates(self.net.seconds() - begun, 0 + 1 + 2 + 4, 0.5)
        self.assertEqual(len(self.agent.sockets), 5)
        self.assertIn("Agent Unreachable", self.record())
        self.assertEqual(self.refused(), {"agent-lost": 1, "agent-unreachable": 4})
        self.end()

    def test_flapping(self) -> None:
        """An agent that drops each connection is given up; one that has lasted counts anew."""
        self.start(reconnect=2)
        for _ in range(4):
            self.net.run_for(40)
            self.agent.last.wire.abortConnection()
        self.net.run_for(1)
        self.assertFalse(self.placed.is_over)
        self.agent.last.wire.abortConnection()
        self.net.run_for(2)
        self.agent.last.wire.abortConnection()
        self.net.run_for(2)
        self.assertTrue(self.placed.is_over)
        self.end()

    def test_no_attempts(self) -> None:
        """It may be wanted that a call ends with its connection."""
        self.start(reconnect=0).wire.abortConnection()
        self.net.run_for(1)
        self.assertTrue(self.placed.is_over)
        self.end()


class HandoverTests(AgentCase):
    """Agents that let a call go on with somebody else."""

    def serve(self, **options: Any) -> None:
        """Let there be routes."""
        super().serve(**options)
        other = EchoApplication()
        routes = [Route(self.application, "agent"), Route(other, "human")]
        self.pair.callee.manager.router = Router(routes, self.application)

    def stop(self, route: str) -> None:
        """Let the agent end its part."""
        self.agent.last.tell(event="media", media={"payload": speech(0.5)})
        self.agent.last.tell(event="stop", stop={"route": route})
        self.net.run_for(1)

    def test_human(self) -> None:
        """When all was heard, the call goes on as if somebody else had been dialled."""
        self.start()
        self.stop("human")
        self.assertEqual(len(self.heard), 25)
        self.placed.phone.play_tone([440.0], 0.5)
        self.net.run_for(1)
        self.assertGreater(len(self.heard), 45)
        self.assertFalse(self.placed.is_over)
        self.assertTrue(self.agent.last.is_lost)
        self.assertIn("on to human", self.record())
        self.end()

    def test_nobody(self) -> None:
        """A route that is not there ends the call; its record says why."""
        self.serve()
        self.pair.callee.manager.router = Router([Route(self.application, "anna")])
        self.dial()
        self.stop("human")
        self.assertTrue(self.placed.is_over)
        self.assertIn("no route to human", self.record())
        self.end()

    def test_round_and_round(self) -> None:
        """An agent may hand over to another one, but not for ever."""
        self.patch(websocket, "MAX_AGENTS", 3)
        self.start()
        for _ in range(2):
            self.stop("agent")
            self.assertFalse(self.placed.is_over)
        self.assertEqual(len(self.agent.sockets), 3)
        self.stop("agent")
        self.assertTrue(self.placed.is_over)
        self.assertEqual(len(self.agent.sockets), 3)
        self.assertIn("482", self.record())
        self.end()


class OptionTests(AgentCase):
    """Options."""

    def test_interfaces(self) -> None:
        """It is a configurable application."""
        verifyObject(IApplication, WebSocketApplication())
        verifyObject(IConfigurableApplication, WebSocketApplication())

    def test_senseless(self) -> None:
        """Each mistake is said in a sentence."""
        application = WebSocketApplication(WebSocketConnector())
        cases: list[tuple[dict[str, Any], str]] = [
            ({"url": ""}, "url begins with ws://HOST"),
            ({"connect_timeout": 0.0}, "connect_timeout is more than 0, and"),
            ({"connect_timeout": 61.0}, "connect_timeout is more than 0, and"),
            ({"rate": 16000}, "mulaw has a rate of 8000"),
            ({"rate": 11025, "encoding": "l16"}, "l16 has a rate of 8000 or 16000 or 24000 or"),
            ({"reconnect": -1}, "reconnect is 0 to 100"),
            ({"headers": {"a b": "c"}}, "headers: 'a b' cannot"),
            ({"authorization": Secret("x\n")}, "headers: 'Authorization' cannot"),
        ]
        for options, text in cases:
            how = WebSocketOptions(**{"url": URL, **options})
            error = self.assertRaises(ValueError, application.with_options, how)
            self.assertTrue(str(error).startswith(text), str(error))
        good = WebSocketOptions(URL)
        self.assertIs(application.with_options(good).how, good)
        error = self.assertRaises(ValueError, WebSocketApplication().with_options, good)
        self.assertEqual(str(error), "nothing here connects to servers")

    def test_without_options(self) -> None:
        """Without an agent it is not there."""
        self.application = WebSocketApplication(WebSocketConnector())
        self.pair = CallPair(application=self.application)
        self.net = self.pair.net
        self.dial()
        self.assertEqual(self.placed.outcome, (404, "Not Found"))
        self.pair.settle()
