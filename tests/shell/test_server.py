# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The server on virtual hosts: it listens, routes, dials, drains and closes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.applications.reject import RejectApplication
from sipsess.call import Call
from sipsess.errors import LocalError
from sipsess.flow import Flow
from sipsess.locating import UnreachableError
from sipsess.media import PCMU, AudioStream
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import Session, SessionEnded
from sipsess.supplement import SessionSupplement
from sipsess.testing import ScriptedPeer, VirtualHost, VirtualNetwork
from sipsess.transport.listen import ListenError, ListenSpec


class Ringing(Application):
    """Rings for ever."""

    name = "ringing"

    async def handle(self, call: Call) -> None:
        """Ring."""
        await call.ring()
        await call.wait(1000)


class ServerCase(SynchronousTestCase):
    """The base of tests: a server at 192.0.2.1, a client at 192.0.2.2."""

    def setUp(self) -> None:
        """Make the network."""
        self.net = VirtualNetwork(seed=1)
        self.alice = self.net.host("192.0.2.2", "2001:db8::2", name="alice")
        self.bob = self.net.host("192.0.2.1", "2001:db8::1", name="bob")
        self.events: list[dict[str, Any]] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[str]:
        """Return what was logged, without the level of a debugger."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.events
            if event["log_level"] > LogLevel.debug and event.get("log_format")
        ]

    def serve(self, host: VirtualHost | None = None, **options: Any) -> SIPServer:
        """Return a server that runs."""
        options.setdefault("handlers", [AudioHandler()])
        options.setdefault("applications", [EchoApplication(), RejectApplication(), Ringing()])
        server = SIPServer(host or self.bob, **options)
        server.startService()
        return server

    def client(self, **options: Any) -> SIPServer:
        """Return a client that runs."""
        return self.serve(self.alice, **options)

    def wait(self, deferred: Deferred[Any]) -> Deferred[Any]:
        """Let a second pass."""
        self.net.run_for(1)
        return deferred

    def stop(self, *servers: SIPServer) -> None:
        """Stop servers and check that nothing is left."""
        for server in servers:
            stopping = server.stopService()
            self.net.run_for(6)
            self.assertIsNone(self.successResultOf(stopping))
        self.net.assert_closed()


class StartTests(ServerCase):
    """Listening."""

    def test_wildcard(self) -> None:
        """The usual server listens on both families and says where to call."""
        server = self.serve(application="echo")
        self.assertEqual([item.name for item in server.listeners], ["udp:5060", "udp6:5060"])
        self.assertIn(
            "listening on udp:5060 (0.0.0.0 and ::) -- call sip:echo@192.0.2.1", self.lines()
        )
        self.stop(server)

    def test_one_address(self) -> None:
        """A listener on one address and another port names both."""
        spec = ListenSpec("UDP", 5070, "2001:db8::1")
        server = self.serve(listen=[spec], application="echo")
        self.assertIn(
            "listening on udp:5070 (2001:db8::1) -- call sip:echo@[2001:db8::1]:5070", self.lines()
        )
        self.stop(server)

    def test_no_application(self) -> None:
        """Without an application for everybody the first that has a user is named, if any has."""
        server = self.serve()
        self.assertIn(
            "listening on udp:5060 (0.0.0.0 and ::) -- call sip:echo@192.0.2.1", self.lines()
        )
        self.stop(server)
        server = self.serve(applications=())
        self.assertIn("listening on udp:5060 (0.0.0.0 and ::)", self.lines())
        self.stop(server)

    def test_missing_family(self) -> None:
        """A machine without IPv6 listens on IPv4, and that is said."""
        server = self.serve(self.net.host("192.0.2.3"))
        self.assertEqual(len(server.listeners), 1)
        self.assertTrue(any("no IPv6" in line for line in self.lines()))
        self.stop(server)

    def test_port_in_use(self) -> None:
        """When one listener cannot be opened, the others are closed again, and starting fails."""
        server = SIPServer(self.bob, ["udp:5080", "udp:5080"])
        with self.assertRaisesRegex(ListenError, "udp:5080 .*in use"):
            server.startService()
        self.assertFalse(server.running)
        self.net.run_for(1)
        self.net.assert_closed()

    def test_bad_arguments(self) -> None:
        """What cannot work is refused when the server is made."""
        with self.assertRaises(ListenError):
            SIPServer(self.bob, ["sctp:5060"])
        with self.assertRaisesRegex(LocalError, "no application 'x'"):
            SIPServer(self.bob, application="x")
        with self.assertRaisesRegex(LocalError, "no even port|even port"):
            SIPServer(self.bob, rtp_ports=(5, 5))

    def test_audio_is_handled_by_default(self) -> None:
        """A server that is told no SDP handlers has the shipped one, so that a script can call."""
        self.assertEqual(list(SIPServer(self.bob).manager.handlers), ["audio"])
        self.assertEqual(list(SIPServer(self.bob, handlers=()).manager.handlers), [])

    def test_privileged_start(self) -> None:
        """Ports are opened once, before privileges are given up."""
        server = SIPServer(self.bob)
        server.privilegedStartService()
        server.startService()
        self.assertEqual(len(server.listeners), 2)
        self.stop(server)

    def test_restart(self) -> None:
        """A server that was stopped can be started again and takes calls."""
        server, client = self.serve(), self.client()
        self.successResultOf(self.wait(server.stopService()))
        server.startService()
        dialled = client.dial("sip:echo@192.0.2.1")
        self.net.run_for(1)
        self.successResultOf(dialled)
        self.stop(client, server)


class AdvertiseTests(ServerCase):
    """What peers see instead of our address."""

    def test_one_for_all(self) -> None:
        """Peers are told the address; those of the other family are not."""
        server = self.serve(advertise="203.0.113.5", application="echo")
        self.assertTrue(any(line.endswith("call sip:echo@203.0.113.5") for line in self.lines()))
        four, six = server.listeners
        self.assertEqual(four.flow_to(("192.0.2.2", 5060)).host, "203.0.113.5")
        self.assertEqual(six.flow_to(("2001:db8::2", 5060)).host, "2001:db8::1")
        self.stop(server)

    def test_by_listener(self) -> None:
        """Each listener may have its own."""
        server = self.serve(
            listen=["udp:5060:interface=192.0.2.1", "udp:5070:interface=192.0.2.1"],
            advertise={"udp:5070:interface=192.0.2.1": "pbx.example"},
        )
        hosts = [item.flow_to(("192.0.2.2", 5060)).host for item in server.listeners]
        self.assertEqual(hosts, ["192.0.2.1", "pbx.example"])
        self.stop(server)

    def test_local_networks(self) -> None:
        """Hosts of a local network see our own address, whichever listener it is."""
        for advertise in ("203.0.113.5", {"udp:5060": "203.0.113.5"}):
            server = self.serve(advertise=advertise, local_networks=["198.51.100.0/24"])
            flow = server.flow_for("UDP", ("192.0.2.2", 5060))
            assert flow is not None
            self.assertEqual(flow.host, "203.0.113.5")
            self.assertEqual(flow.to(("198.51.100.9", 5060)).host, "192.0.2.1")
            self.stop(server)

    def test_unknown_listener(self) -> None:
        """Nobody listens there."""
        with self.assertRaisesRegex(LocalError, "nothing listens on udp:5061; there is: udp:5060"):
            SIPServer(self.bob, advertise={"udp:5061": "203.0.113.5"})


class CallTests(ServerCase):
    """Calls between two servers."""

    def test_dial(self) -> None:
        """A call is answered, over IPv4 and over IPv6; stopping the caller hangs up."""
        for uri in ("sip:echo@192.0.2.1", "sip:echo@[2001:db8::1]"):
            server, client = self.serve(), self.client()
            dialled = client.dial(uri, headers={"Subject": "test"})
            self.net.run_for(1)
            call = self.successResultOf(dialled)
            self.assertTrue(call.is_answered)
            self.assertEqual(call.request.headers.get("Subject"), "test")
            ended = call.ended
            stopping = client.stopService()
            self.net.run_for(6)
            self.successResultOf(stopping)
            self.assertEqual(self.successResultOf(ended).method, "BYE")
            self.assertEqual(server.manager.sessions, {})
            self.stop(server)

    def test_context(self) -> None:
        """A script is one block: it starts, dials, hangs up, stops."""
        server = self.serve()
        calls: list[Call] = []

        async def script() -> str:
            async with SIPServer(
                self.alice, ["udp:0:interface=192.0.2.2"], handlers=[AudioHandler()]
            ) as sip:
                call = await sip.dial("sip:echo@192.0.2.1")
                calls.append(call)
                await call.hangup()
                await call.ended
            return "done"

        done = Deferred.fromCoroutine(script())
        self.net.run_for(5)
        self.assertEqual(self.successResultOf(done), "done")
        self.assertTrue(calls[0].is_ended)
        self.assertEqual(server.manager.sessions, {})
        self.stop(server)

    def test_refused(self) -> None:
        """A call that is refused fails with the status."""
        server, client = self.serve(), self.client()
        dialled = client.dial("sip:reject@192.0.2.1")
        self.net.run_for(1)
        failure = self.failureResultOf(dialled, SessionEnded)
        self.assertEqual(failure.value.reason.status, 603)
        self.stop(client, server)

    def test_nobody_answers(self) -> None:
        """A call that rings too long is given up: the dialling fails at once, CANCEL follows."""
        server, client = self.serve(), self.client()
        dialled = client.dial("sip:ringing@192.0.2.1", timeout=3)
        self.net.run_for(2.9)
        self.assertNoResult(dialled)
        self.net.run_for(0.2)
        failure = self.failureResultOf(dialled, SessionEnded)
        self.assertEqual(failure.value.reason.status, 408)
        self.net.run_for(1)
        self.assertEqual(server.manager.sessions, {})
        self.stop(client, server)

    def test_answered_in_time(self) -> None:
        """A limit that was not needed leaves nothing behind."""
        server, client = self.serve(), self.client()
        dialled = client.dial("sip:echo@192.0.2.1", timeout=3)
        self.net.run_for(5)
        self.assertTrue(self.successResultOf(dialled).is_answered)
        self.stop(client, server)

    def test_cancelled(self) -> None:
        """Cancelling the dialling hangs up."""
        server, client = self.serve(), self.client()
        dialled = client.dial("sip:ringing@192.0.2.1")
        self.net.run_for(1)
        dialled.cancel()
        self.failureResultOf(dialled, CancelledError)
        self.net.run_for(1)
        self.assertEqual(server.manager.sessions, {})
        self.assertEqual(client.manager.sessions, {})
        self.stop(client, server)

    def test_with_an_application(self) -> None:
        """A call of ours may be an application's; it is the one call of its session."""
        server, client = self.serve(), self.client()
        heard: list[Call] = []

        class Watcher(Application):
            name = "watcher"

            async def handle(self, call: Call) -> None:
                heard.append(call)
                await call.wait(1000)

        dialled = client.dial("sip:echo@192.0.2.1", application=Watcher())
        self.net.run_for(1)
        call = self.successResultOf(dialled)
        self.assertIs(call.session.channel, call)
        self.stop(client, server)

    def test_own_call(self) -> None:
        """A program may bring its own kind of call."""

        class MyCall(Call):
            pass

        def make(session: Session) -> Call:
            return MyCall(session)

        server, client = self.serve(), self.client(make_call=make)
        dialled = client.dial("sip:echo@192.0.2.1")
        self.net.run_for(1)
        self.assertIsInstance(self.successResultOf(dialled), MyCall)
        self.stop(client, server)

    def test_nowhere(self) -> None:
        """What leads nowhere fails with a sentence."""
        client = self.client(listen=["udp:0:interface=192.0.2.2"])
        for uri, text in (
            ("sip:x@[2001:db8::1]", "no listener reaches"),
            ("sip:x@name.example", "not known"),
            ("tel:+4912345", "names no host"),
            ("sips:x@192.0.2.1", "TLS"),
            ("sip:x@192.0.2.1;transport=sctp", "SCTP"),
            ("sip:x@192.0.2.1;transport=tcp", "no TCP connection to 192.0.2.1:5060"),
            ("nonsense", "no SIP URI"),
        ):
            failure = self.failureResultOf(self.wait(client.dial(uri)), UnreachableError)
            self.assertIn(text, str(failure.value))
        self.stop(client)


class StopTests(ServerCase):
    """Stopping."""

    def test_live_call(self) -> None:
        """Live calls get a BYE, plugins hear of the end, and all ports are closed."""
        ends: list[str] = []

        class Watch(SessionSupplement):
            name = "watch"

            def session_end(self, session: Session) -> None:
                ends.append(str(session.end_reason))

        server, client = self.serve(supplements=[Watch()]), self.client()
        dialled = client.dial("sip:echo@192.0.2.1")
        self.net.run_for(1)
        call = self.successResultOf(dialled)
        stopping = server.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)
        self.assertEqual(self.successResultOf(call.ended).by, "remote")
        self.assertEqual(len(ends), 1)
        self.stop(client)

    def test_peer_that_is_gone(self) -> None:
        """A BYE that nobody answers delays the stop by the limit; plugins hear of the end."""
        ends: list[Session] = []

        class Watch(SessionSupplement):
            name = "watch"
            session_end = staticmethod(ends.append)  # type: ignore[assignment]

        server, client = self.serve(supplements=[Watch()]), self.client()
        dialled = client.dial("sip:echo@192.0.2.1")
        self.net.run_for(1)
        self.successResultOf(dialled)
        self.net.filters.append(lambda source, target, data: True)
        stopping = server.stopService()
        self.net.run_for(3.9)
        self.assertNoResult(stopping)
        self.net.run_for(0.2)
        self.successResultOf(stopping)
        self.assertEqual(len(ends), 1)
        self.assertEqual(server.media_ports.leftovers(), [])
        self.net.filters.clear()
        self.stop(client)

    def test_new_call_while_stopping(self) -> None:
        """While it waits, new calls are refused with 503 and Retry-After."""
        server, client = self.serve(), self.client()
        self.successResultOf(self.wait(client.dial("sip:echo@192.0.2.1")))
        self.net.filters.append(lambda source, target, data: data.startswith(b"BYE"))
        stopping = server.stopService()
        peer = ScriptedPeer(self.net.host("192.0.2.9", name="carol"))
        peer.send(peer.invite("sip:echo@192.0.2.1"))
        answer = peer.expect(503)
        self.assertTrue(answer.headers.get("Retry-After"))
        self.net.run_for(5)
        self.successResultOf(stopping)
        peer.close()
        self.net.filters.clear()
        self.stop(client)

    def test_end_of_the_call_in_the_same_turn(self) -> None:
        """What the last turn decided leaves before the ports close: the 200 to a BYE."""
        server = self.serve()
        answers: list[bytes] = []

        async def script() -> None:
            async with SIPServer(self.alice, ["udp:0"], handlers=[AudioHandler()]) as sip:
                call = await sip.dial("sip:echo@192.0.2.1")
                [session] = server.manager.sessions
                session.terminate()
                await call.ended

        done = Deferred.fromCoroutine(script())
        self.net.run_for(3)
        self.successResultOf(done)
        self.assertEqual(server.manager.sessions, {})
        answers += [event.data for event in self.net.trace if b"CSeq: 1 BYE" in event.data]
        self.assertTrue(any(answer.startswith(b"SIP/2.0 200") for answer in answers))
        self.stop(server)

    def test_leftovers(self) -> None:
        """The server says what is alive, for tests."""
        server, client = self.serve(), self.client()
        self.successResultOf(self.wait(client.dial("sip:echo@192.0.2.1")))
        self.assertTrue(any("session" in line for line in server.leftovers()))
        self.assertTrue(any("RTP" in line for line in server.leftovers()))
        self.stop(client, server)


class FlowTests(ServerCase):
    """Which listener reaches whom."""

    def flow(self, server: SIPServer, host: str) -> str | None:
        """Return the name of the listener that is chosen."""
        flow = server.flow_for("UDP", (host, 5060))
        return None if flow is None else flow.listener

    def test_nearest(self) -> None:
        """The listener on our own address towards the peer comes before a wildcard."""
        server = self.serve(listen=["udp:5060", "udp:5070:interface=192.0.2.1"])
        self.assertEqual(self.flow(server, "192.0.2.2"), "udp:5070:interface=192.0.2.1")
        self.assertEqual(self.flow(server, "2001:db8::2"), "udp6:5060")
        self.assertIsNone(server.flow_for("TCP", ("192.0.2.2", 5060)))
        self.stop(server)

    def test_contact_that_cannot_be_reached(self) -> None:
        """What cannot be sent to a peer's Contact, for want of IPv6, goes where it came from."""
        host = self.net.host("192.0.2.3", name="old")
        peer = ScriptedPeer(self.net.host("192.0.2.9", name="peer"))
        server = self.serve(host, listen=["udp:5060"])
        self.assertIsNone(self.flow(server, "2001:db8::2"))
        dialled = server.dial("sip:peer@192.0.2.9")
        invite = peer.expect("INVITE")
        peer.reply(invite, 200, headers={"Contact": "<sip:peer@[2001:db8::2]>"})
        self.assertEqual(peer.expect("ACK").uri, "sip:peer@[2001:db8::2]")
        self.successResultOf(dialled).session.terminate()
        peer.reply(peer.expect("BYE"), 200)
        peer.close()
        self.stop(server)

    def test_loopback_listener(self) -> None:
        """A listener on the loopback address reaches nobody else; any other may be tried."""
        server = self.serve(listen=["udp:5060:interface=127.0.0.1"])
        self.assertIsNone(self.flow(server, "192.0.2.2"))
        self.assertEqual(self.flow(server, "127.0.0.1"), "udp:5060:interface=127.0.0.1")
        self.stop(server)
        carol = self.net.host("192.0.2.3", "198.51.100.3")
        server = self.serve(carol, listen=["udp:5060:interface=198.51.100.3"])
        self.assertEqual(self.flow(server, "192.0.2.2"), "udp:5060:interface=198.51.100.3")
        self.stop(server)

    def test_no_way(self) -> None:
        """A host to which this machine has no way is reached by no listener."""

        def source(remote: str) -> str:
            if remote == "192.0.2.99":
                raise OSError("no way")
            return "127.0.0.1"

        server = self.serve(source_address=source)
        self.assertIsNone(self.flow(server, "192.0.2.99"))
        self.assertIsNone(self.flow(server, "198.51.100.3"))
        self.assertEqual(self.flow(server, "127.0.0.1"), "udp:5060")
        self.stop(server)

    def test_closed_listener(self) -> None:
        """What is sent on a flow whose listener is closed counts as an error."""
        server = self.serve()
        server.core.send(Flow("UDP", ("192.0.2.1", 1), ("192.0.2.2", 2), "udp:1"), b"x")
        with server.core.turn:
            pass
        self.assertEqual(server.core.counters.send_errors, 1)
        self.stop(server)


class TimerTests(ServerCase):
    """The one delayed call."""

    def test_one_call(self) -> None:
        """However many timers there are, one delayed call stands for them, moved earlier only."""
        server = self.serve()
        core = server.core
        fired: list[float] = []

        def fire(payload: object, now: float) -> None:
            fired.append(round(now, 3))

        for delay in (6, 7, 2):
            with core.turn:
                core.timers.start(core.turn.now, delay, fire, None)
            self.assertEqual(len(self.net.getDelayedCalls()), 1)
        self.net.run_for(10)
        self.assertEqual(fired, [2, 6, 7])
        self.net.assert_quiet()
        self.stop(server)

    def test_one_clock(self) -> None:
        """Media goes by the clock of the core, which steps in the time of day do not reach."""
        server = self.serve(seconds=lambda: self.net.seconds() + 1000)
        times: list[float] = []
        port = server.media_ports.open("192.0.2.1", lambda data, source, now: times.append(now))
        far = self.alice.listenUDP(4000, DatagramProtocol())
        far.write(b"x", (port.host, port.port))
        ids = server.core.ids
        stream = AudioStream(PCMU, 0, None, ids, remote=("192.0.2.2", 4000))
        server.media_clock.add(stream, port)
        self.patch(AudioStream, "hear", lambda stream, now: times.append(now))
        stream.play(bytes(320))
        self.net.run_for(0.05)
        self.assertEqual(len(times), 3)
        self.assertApproximates(min(times), 1000.0, 0.1)
        server.media_clock.remove(stream)
        port.close()
        far.stopListening()
        self.stop(server)

    def test_nothing_left(self) -> None:
        """When the last timer was cancelled there is no delayed call."""
        server = self.serve()
        core = server.core
        with core.turn:
            timer = core.timers.start(core.turn.now, 5, lambda payload, now: None, None)
        with core.turn:
            core.timers.cancel(timer)
        self.net.assert_quiet()
        self.stop(server)
