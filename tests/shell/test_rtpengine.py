# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""rtpengine as a media engine: what it is asked, and what becomes of a call when one is gone."""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.engine import EngineStatistics, MediaEngineError, MediaOptions, node
from sipsess.engine.rtpengine import RTPEngine
from sipsess.errors import LocalError
from sipsess.flow import Address
from sipsess.interfaces import IMediaEngine
from sipsess.server import SIPServer
from sipsess.testing import Link, VirtualNetwork
from sipsess.transport import engine as transport_engine
from sipsess.transport.datagram import DatagramReader
from sipsess.transport.engine import EngineSocket, EngineSpec
from tests.policy.engines import FakeEngine
from tests.shell.rtpengines import PORT, VirtualRTPEngine
from tests.shell.test_datagram import FakeReactor

HOSTS = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
SDP = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0\r\n"
PLAIN = MediaOptions()
#: Seconds after which an engine that says nothing is given up.
PATIENCE = sum(node.DELAYS)


class EngineCase(SynchronousTestCase):
    """A server and its engines."""

    engine: RTPEngine

    def start(self, count: int = 2, **options: Any) -> RTPEngine:
        """Start so many engines and the server."""
        self.net = VirtualNetwork(link=Link(delay=0.001))
        self.engines = [VirtualRTPEngine(self.net.host(host)) for host in HOSTS[:count]]
        addresses = tuple((host, PORT) for host in HOSTS[:count])
        self.host = self.net.host("192.0.2.1")
        self.server = SIPServer(self.host, engine=EngineSpec(addresses, **options))
        self.server.startService()
        self.addCleanup(self.stop)
        self.net.run_for(0.1)
        engine = self.server.manager.media_engine
        assert isinstance(engine, RTPEngine)
        self.engine = engine
        return engine

    def stop(self) -> None:
        """Stop the server; nothing is left."""
        stopping = self.server.stopService()
        self.net.run_for(10)
        self.successResultOf(stopping)
        self.assertFalse(self.host.ports)
        self.assertEqual(self.net.getDelayedCalls(), [])

    def offer(self, call_id: str = "1", options: MediaOptions = PLAIN) -> Deferred[bytes]:
        """Offer."""
        return self.engine.offer(call_id, "near", SDP, options)

    def wait(self, deferred: Deferred[Any]) -> Any:
        """Return what comes of something."""
        self.net.run_for(0.01)
        return self.successResultOf(deferred)

    def refused(self, deferred: Deferred[Any], within: float = 0.01) -> str:
        """Return the reason code with which something fails."""
        self.net.run_for(within)
        code = self.failureResultOf(deferred, MediaEngineError).value.reason_code
        self.assertIn(code, node.REASONS)
        return str(code)

    @property
    def counted(self) -> dict[str, int]:
        """What was counted."""
        return self.server.core.counters.refused

    def owner(self) -> VirtualRTPEngine:
        """Return the only engine that has a call."""
        [found] = [engine for engine in self.engines if engine.calls]
        return found


class CommandTests(EngineCase):
    """What is said to an engine, and what it says."""

    def test_interface(self) -> None:
        """It is a media engine, and so is the fake one of the tests."""
        self.start()
        verifyObject(IMediaEngine, self.engine)
        verifyObject(IMediaEngine, FakeEngine())

    def test_call(self) -> None:
        """Offer, answer, query and delete of a call go to one engine."""
        engine = self.start(1)
        [asked] = self.engines
        self.assertIn(b"c=IN IP4 192.0.2.11\r\n", self.wait(self.offer()))
        self.assertIn(b"192.0.2.11", self.wait(engine.answer("1", "near", "far", SDP, PLAIN)))
        self.assertEqual(self.wait(engine.query("1")), EngineStatistics(5, 860, 1))
        self.assertEqual(engine.calls, ("1",))
        self.assertIsNone(self.wait(engine.delete("1")))
        self.assertEqual((engine.calls, asked.calls), ((), set()))
        self.assertEqual(asked.commands, ["offer", "answer", "query", "delete"])
        offer = {
            **{"command": b"offer", "call-id": b"1", "from-tag": b"near", "sdp": SDP},
            "replace": [b"origin", b"session-connection"],
        }
        _, *said = asked.asked
        self.assertEqual(said[0], offer)
        self.assertEqual(said[1], {**offer, "command": b"answer", "to-tag": b"far"})
        self.assertEqual(said[3], {"command": b"delete", "call-id": b"1"})

    def test_options(self) -> None:
        """What the media shall be like is said in rtpengine's words."""
        self.start(1, records=True, transcode=("PCMA",))
        options = MediaOptions("RTP/SAVP", ("opus",), "force", ("inside", "outside"))
        self.wait(self.offer(options=options))
        self.wait(self.engine.answer("1", "near", "far", SDP, options))
        _, offer, answer = self.engines[0].asked
        self.assertEqual(offer["transport-protocol"], b"RTP/SAVP")
        self.assertEqual(offer["ICE"], b"force")
        self.assertEqual(offer["direction"], [b"inside", b"outside"])
        self.assertEqual(offer["codec"], {b"transcode": [b"opus", b"PCMA"]})
        self.assertEqual(offer["record call"], b"yes")
        self.assertNotIn("codec", answer)
        self.assertNotIn("record call", answer)

    def test_long_description(self) -> None:
        """What fits into no datagram is refused at once, and no engine is down for it."""
        self.start()
        sdp = SDP + b"a=x\r\n" * 14_000
        self.assertEqual(self.refused(self.engine.offer("1", "near", sdp, PLAIN)), "engine-request")
        self.assertEqual(self.counted, {"engine-request": 1})
        self.net.run_for(PATIENCE)
        self.assertTrue(all(one.is_up for one in self.engine.nodes))
        self.wait(self.offer())

    def test_recording(self) -> None:
        """A call is recorded for a while."""
        engine = self.start(1)
        self.wait(self.offer())
        self.assertIsNone(self.wait(engine.start_recording("1")))
        self.assertIsNone(self.wait(engine.stop_recording("1")))
        commands = self.engines[0].commands
        self.assertEqual(commands, ["offer", "start recording", "stop recording"])

    def test_refusals(self) -> None:
        """What an engine refuses is not asked of another one; its words can be shown."""
        self.start()
        for said, text in (
            ({"result": "error", "error-reason": "Failed\x1b[2J\n"}, "Failed?[2J?"),
            ({"result": "error"}, "no reason given"),
            ({"result": 5, "error-reason": []}, "no reason given"),
            ({"result": "error", "error-reason": b"\xff" * 5000}, "\ufffd" * 200),
            ({"result": "ok"}, "it gave no session description"),
            ({"result": "ok", "sdp": 1}, "it gave no session description"),
        ):
            for engine in self.engines:
                engine.result = said
            failing = self.offer()
            self.net.run_for(0.01)
            failure = self.failureResultOf(failing, MediaEngineError)
            self.assertEqual(failure.value.reason_code, "engine-refused")
            self.assertEqual(failure.value.text.partition("refused: ")[2], text)
            self.assertEqual(failure.value.status_hint, 503)
            self.wait(self.engine.delete("1"))
        self.assertGreaterEqual(self.counted["engine-refused"], 6)
        offers = [engine.commands.count("offer") for engine in self.engines]
        self.assertEqual(sum(offers), 6)

    def test_strange_statistics(self) -> None:
        """Statistics that are none count as nothing."""
        engine = self.start(1)
        self.wait(self.offer())
        for totals in ({}, {"RTP": 5}, {"RTP": {"packets": "x"}}):
            self.engines[0].result = {"result": "ok", "totals": totals}
            self.assertEqual(self.wait(engine.query("1")), EngineStatistics(0, 0, 0))

    def test_unknown_calls(self) -> None:
        """A call that no engine has taken is asked of none; letting go of it is nothing."""
        engine = self.start(1)
        self.assertEqual(
            self.refused(engine.answer("1", "near", "far", SDP, PLAIN)), "engine-refused"
        )
        self.assertEqual(self.refused(engine.query("1")), "engine-refused")
        self.assertIsNone(self.wait(engine.delete("1")))
        self.assertEqual(self.engines[0].commands, [])

    def test_shared(self) -> None:
        """Engines share the calls, in turns."""
        self.start(3)
        for number in range(6):
            self.wait(self.offer(str(number)))
        self.assertEqual([len(engine.calls) for engine in self.engines], [2, 2, 2])


class LossTests(EngineCase):
    """Datagrams that are lost, and such as make no sense."""

    def test_lost(self) -> None:
        """A request that is lost is sent again; when its answer is lost nothing is done twice."""
        self.start(1)
        for lost in (3, 1, 2):

            def drop(
                source: Address,
                target: Address,
                data: bytes,
                left: list[bool] = [True] * lost,
            ) -> bool:
                return bool(left) and left.pop()

            self.net.filters.append(drop)
            offering = self.offer(str(lost))
            self.net.run_for(PATIENCE)
            self.successResultOf(offering)
            self.net.filters.remove(drop)
        self.assertEqual(self.engines[0].commands, ["offer"] * 3)
        self.assertEqual(self.counted, {})

    def test_silence(self) -> None:
        """An engine that does not answer is sent so many copies, then the request has failed."""
        self.start(1)
        [deaf] = self.engines
        deaf.is_deaf = True
        before = deaf.datagrams
        self.assertEqual(self.refused(self.offer(), PATIENCE), "engine-timeout")
        self.assertEqual(deaf.datagrams - before, len(node.DELAYS))

    def test_garbage(self) -> None:
        """Answers that are none are counted; the request goes on waiting."""
        self.start(1)
        for raw in (b"x", b"garbage", b"i1e", b"d"):
            self.engines[0].raw = raw
            self.assertEqual(self.refused(self.offer(), PATIENCE), "engine-timeout")
            self.engines[0].raw = None
            self.net.run_for(node.PING_INTERVAL)
            self.wait(self.engine.delete("1"))
        self.assertGreaterEqual(self.counted["engine-garbage"], 4 * len(node.DELAYS))

    def test_late_and_foreign(self) -> None:
        """An answer to what nobody asked, or asks no more, is nothing, whoever sends it."""
        self.start(1)
        offering = self.offer()
        offering.cancel()
        self.failureResultOf(offering, CancelledError)
        self.net.run_for(1)
        self.assertEqual(self.engines[0].commands, ["offer"])
        self.assertEqual(self.counted, {})
        self.wait(self.engine.delete("1"))
        self.assertEqual(self.engines[0].calls, set())

    def test_too_many(self) -> None:
        """There is a limit to what waits for an answer."""
        self.patch(node, "MAX_PENDING", 2)
        self.start(1)
        self.engines[0].is_deaf = True
        waiting = [self.offer(str(number)) for number in range(3)]
        self.assertEqual(self.refused(waiting[2]), "engine-busy")
        for other in waiting[:2]:
            self.assertEqual(self.refused(other, PATIENCE), "engine-timeout")

    def test_no_way(self) -> None:
        """What cannot be sent is as good as lost."""
        self.start(1)
        with mock.patch.object(EngineSocket, "send", side_effect=OSError(101)):
            offering = self.offer()
        self.net.run_for(0.2)
        self.successResultOf(offering)


class FailoverTests(EngineCase):
    """Engines that go and come."""

    def test_deaf(self) -> None:
        """When one does not answer another one gets the call, and all others until it is back."""
        self.start()
        self.engines[0].is_deaf = True
        for number in range(4):
            offering = self.offer(str(number))
            self.net.run_for(PATIENCE + 0.01)
            self.successResultOf(offering)
        self.assertEqual(len(self.engines[1].calls), 4)
        self.assertLessEqual(self.engines[0].datagrams, 1 + 3 * len(node.DELAYS))
        self.engines[0].is_deaf = False
        self.net.run_for(node.PING_INTERVAL + PATIENCE)
        for number in range(4, 8):
            self.wait(self.offer(str(number)))
        self.assertEqual(len(self.engines[0].calls), 2)

    def test_gone(self) -> None:
        """One that the system says is not there costs a call no time."""
        self.start()
        self.engines[0].stop()
        for number in range(4):
            self.wait(self.offer(str(number)))
        self.assertEqual(len(self.engines[1].calls), 4)
        self.assertEqual(self.counted, {})

    def test_socket_that_a_reactor_closes(self) -> None:
        """A reactor may close a connected socket when nobody is there; it is opened again."""
        self.start(1)
        [port] = [port for port in self.host.ports.values() if port.number != 5060]
        port.stopListening()
        offering = self.offer()
        self.assertEqual(self.refused(offering, 0.1), "engine-down")
        with mock.patch.object(self.host, "listenUDP", side_effect=CannotListenError("", 0, "x")):
            self.net.run_for(node.PING_INTERVAL)
        self.net.run_for(node.PING_INTERVAL)
        self.wait(self.offer())

    def test_socket_that_is_read(self) -> None:
        """One that a reactor reads, or gives up when nobody is there, serves again after it."""
        self.start(1)
        reactor = FakeReactor()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
            there.bind(("127.0.0.1", 0))
            address = there.getsockname()
            asking = EngineSocket(address, reactor, self.server.core)
            asking.open()
            [reader] = reactor.readers
            assert isinstance(reader, DatagramReader)
            pinging = asking.node.request("ping", {})
            data, source = there.recvfrom(2000)
            there.sendto(data.partition(b" ")[0] + b" d6:result4:ponge", source)
            reader.doRead()
            self.assertEqual(self.successResultOf(pinging), {b"result": b"pong"})
        pinging = asking.node.request("ping", {})
        reader.doRead()
        self.failureResultOf(pinging, MediaEngineError)
        pinging = asking.node.request("ping", {})
        reader.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(pinging, MediaEngineError)
        self.assertEqual(reactor.readers, [])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(address)
            asking.send(b"again")
            self.assertEqual(back.recv(2000), b"again")
            asking.send(b"and again")
            self.assertEqual(back.recv(2000), b"and again")
        self.assertEqual(len(reactor.readers), 1)
        self.assertEqual(self.successResultOf(asking.close()), None)
        self.assertEqual(reactor.readers, [])

    def test_socket_that_cannot_be_connected(self) -> None:
        """Where no way leads to, that is said, and no socket is left open."""
        self.start(1)
        reactor, skt = FakeReactor(), mock.Mock()
        skt.connect.side_effect = OSError(101, "Network is unreachable")
        self.patch(transport_engine, "make_udp_socket", lambda host, port: skt)
        asking = EngineSocket(("203.0.113.1", PORT), reactor, self.server.core)
        self.assertRaises(CannotListenError, asking.open)
        skt.close.assert_called_once_with()
        self.assertEqual(reactor.readers, [])

    def test_one_gives_up_another(self) -> None:
        """When one that is gone makes many requests fail, one of these may give up another one."""
        self.start(1)
        self.engines[0].is_deaf = True
        first, second = self.offer("1"), self.offer("2")
        first.addErrback(lambda failure: second.cancel())
        self.engines[0].stop()
        third = self.offer("3")
        self.assertEqual(self.refused(third, 0.5), "engine-down")
        self.failureResultOf(second, CancelledError)

    def test_none(self) -> None:
        """When all are gone a call is refused at once, until one is back."""
        self.start()
        for engine in self.engines:
            engine.stop()
        self.assertEqual(self.refused(self.offer()), "engine-down")
        self.assertEqual(self.refused(self.offer()), "engine-down")
        self.assertEqual(self.counted, {"engine-down": 2})
        again = VirtualRTPEngine(self.engines[1].host)
        self.net.run_for(node.PING_INTERVAL)
        self.wait(self.offer())
        self.assertEqual(again.commands, ["offer"])

    def test_two_are_tried(self) -> None:
        """A call tries two engines at most, and has failed within some seconds."""
        self.start(3)
        for engine in self.engines:
            engine.is_deaf = True
        self.assertEqual(self.refused(self.offer(), 2 * PATIENCE + 0.01), "engine-timeout")

    def test_full(self) -> None:
        """One that is full is passed over."""
        self.start()
        self.engines[1].result = {"result": "load limit"}
        for number in range(2):
            self.wait(self.offer(str(number)))
        self.assertEqual(len(self.engines[0].calls), 2)
        self.engines[0].result = self.engines[1].result
        self.assertEqual(self.refused(self.offer("full")), "engine-full")

    def test_moved(self) -> None:
        """When the engine of a call is gone its next offer moves it; at the end both forget it."""
        self.start()
        self.wait(self.offer())
        first = self.owner()
        [second] = [engine for engine in self.engines if engine is not first]
        first.is_deaf = True
        answering = self.engine.answer("1", "near", "far", SDP, PLAIN)
        self.assertEqual(self.refused(answering, PATIENCE), "engine-timeout")
        self.wait(self.offer())
        self.wait(self.engine.answer("1", "near", "far", SDP, PLAIN))
        self.assertEqual(second.commands, ["offer", "answer"])
        first.is_deaf = False
        self.wait(self.engine.delete("1"))
        self.assertEqual((first.calls, second.calls), (set(), set()))

    def test_stays(self) -> None:
        """While its engine is there all offers of a call go to it."""
        self.start()
        for _ in range(4):
            self.wait(self.offer())
        self.assertEqual(self.owner().commands, ["offer"] * 4)

    def test_deleted_meanwhile(self) -> None:
        """An offer of a call that is over is given to no other engine."""
        self.start()
        for engine in self.engines:
            engine.is_deaf = True
        before = [engine.datagrams for engine in self.engines]
        offering = self.offer()
        self.net.run_for(0.05)
        [other] = [
            engine
            for engine, count in zip(self.engines, before, strict=True)
            if engine.datagrams == count
        ]
        other.is_deaf = False
        deleting = self.engine.delete("1")
        self.net.run_for(2 * PATIENCE)
        self.successResultOf(deleting)
        self.failureResultOf(offering, MediaEngineError)
        self.assertEqual(other.commands, [])

    def test_delete_of_one_that_is_gone(self) -> None:
        """Nobody hears that an engine could not be told to forget a call; it is counted."""
        self.start(1)
        self.wait(self.offer())
        self.engines[0].is_deaf = True
        deleting = self.engine.delete("1")
        self.net.run_for(PATIENCE)
        self.assertIsNone(self.successResultOf(deleting))
        self.assertEqual(self.counted, {"engine-timeout": 1})


class LifeTests(EngineCase):
    """The server that starts and stops."""

    def test_stop(self) -> None:
        """What has no answer when the server stops has failed."""
        self.start(1)
        self.engines[0].is_deaf = True
        offering = self.offer()
        self.stop()
        self.failureResultOf(offering, MediaEngineError)
        self.assertEqual(self.refused(self.engine.nodes[0].request("ping", {})), "engine-down")

    def test_ipv6(self) -> None:
        """An engine may be reached by IPv6."""
        net = VirtualNetwork(seed=1)
        engine = VirtualRTPEngine(net.host("2001:db8::11"), "::")
        server = SIPServer(
            net.host("192.0.2.1", "2001:db8::1"), engine=EngineSpec((("2001:db8::11", PORT),))
        )
        server.startService()
        net.run_for(0.1)
        self.assertEqual(len(engine.asked), 1)
        stopping = server.stopService()
        net.run_for(40)
        self.successResultOf(stopping)

    def test_no_socket(self) -> None:
        """A server that cannot ask its engines does not start, and leaves nothing open."""
        net = VirtualNetwork(seed=1)
        host = net.host("192.0.2.1")
        spec = EngineSpec((("192.0.2.11", PORT), ("2001:db8::11", PORT)))
        server = SIPServer(host, engine=spec)
        error = self.assertRaises(LocalError, server.startService)
        self.assertIn("no way to the media engine at 2001:db8::11", str(error))
        net.run_for(1)
        self.assertFalse(host.ports)
        self.assertIsInstance(error.__cause__, CannotListenError)
