# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What the tests of the core and the manager share: an agent whose parts a test can replace.

It is smaller than :class:`sipsess.testing.Agent`: an SDP handler without media, an application that
is a coroutine of the session, and a base class with one agent, one scripted peer and a network.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipsess.application import Application
from sipsess.core import Admission, SIPCore
from sipsess.flow import Address, Flow
from sipsess.ids import IdSource
from sipsess.interfaces import IMessageHook, IRequestGate, ISessionSupplement, ITrace
from sipsess.manager import DialogManager
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdphandler import SDPHandler, StreamDescription, StreamVerdict
from sipsess.session import LocalDescription, Session, SessionStream
from sipsess.supplement import RequestVerdict
from sipsess.testing import Link, ScriptedPeer, VirtualNetwork
from sipsess.testing.host import VirtualHost
from sipsess.transport.udp import UDPListener

US = "192.0.2.1"
PEER = "192.0.2.9"


class SilentAudio(SDPHandler):
    """Takes every audio stream and opens nothing."""

    name = "silent"
    media_type = "audio"

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """Claim it."""
        return StreamVerdict.HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """Describe PCMU."""
        return sdp.media("audio", 40000, "RTP/AVP", ["0"])


class Script(Application):
    """An application that runs a coroutine function of the session."""

    def __init__(self, play: Callable[[Session], Awaitable[object]], name: str = "script") -> None:
        self.name = name
        self._play = play

    async def handle(self, call: Any) -> None:
        """Run it."""
        await self._play(call)


async def answer(session: Session) -> None:
    """Answer at once, and stay until the call is over."""
    await session.send_response(200)
    await Deferred()


async def ring(session: Session) -> None:
    """Ring until the call is over."""
    await session.send_response(180)
    await Deferred()


@implementer(IRequestGate)
class Gate:
    """A gate that does what a test says."""

    def __init__(self, admit: Callable[[Admission], Any], name: str = "gate") -> None:
        self.name = name
        self._admit = admit
        #: What was asked, in order.
        self.asked: list[str] = []

    def admit(self, admission: Admission) -> RequestVerdict:
        """Note and do it."""
        self.asked.append(admission.request.method)
        verdict: RequestVerdict = self._admit(admission)
        return verdict


class Box:
    """A core and a manager on a virtual host."""

    def __init__(
        self,
        host: VirtualHost,
        *,
        play: Callable[[Session], Awaitable[object]] = answer,
        gates: Iterable[IRequestGate] = (),
        hooks: Iterable[IMessageHook] = (),
        supplements: Iterable[ISessionSupplement] = (),
        applications: Iterable[Application] = (),
        application: str | None = "script",
        trace: ITrace | None = None,
    ) -> None:
        self.host = host
        self._call: IDelayedCall | None = None
        self._listeners: dict[str, UDPListener] = {}
        self.core = SIPCore(
            transmit=self._transmit,
            seconds=host.seconds,
            ids=IdSource(random.Random(7)),
            gates=gates,
            hooks=hooks,
            flow_for=self._flow_for,
            trace=trace,
        )
        self.core.turn.closing = self._arm
        self.manager = DialogManager(
            self.core,
            supplements=supplements,
            handlers=[SilentAudio()],
            applications=[Script(play), *applications],
            application=application,
            make_call=lambda session: session,  # type: ignore[arg-type, return-value]
        )
        for version, wildcard in ((4, ""), (6, "::")):
            if host.has_family(version):
                listener = UDPListener(self.core, host.seconds, host.source_address)
                host.listenUDP(5060, listener, wildcard, 65535)
                self._listeners[listener.name] = listener
        host.network.watch(self.manager)

    def flow_to(self, address: Address) -> Flow:
        """Return our flow to an address."""
        flow = self._flow_for("UDP", address)
        assert flow is not None
        return flow

    def dial(self, uri: str = f"sip:peer@{PEER}", **kwargs: Any) -> Session:
        """Call the peer; nobody needs to look at the outcome."""
        session = self.manager.dial(uri, self.flow_to((PEER, 5060)), **kwargs)
        session.invite_client.answered.addErrback(lambda failure: None)
        return session

    @property
    def refused(self) -> Mapping[str, int]:
        """What the core refused or dropped."""
        return self.core.counters.refused

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        self._listeners[flow.listener].send(wire, flow)

    def _flow_for(self, transport: str, address: Address) -> Flow | None:
        for listener in self._listeners.values():
            if (":" in listener.address[0]) == (":" in address[0]):
                return listener.flow_to(address)
        return None

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if self._call is not None and self._call.active():
            if deadline is not None and self._call.getTime() <= deadline:
                return
            self._call.cancel()
        if deadline is not None:
            delay = max(0.0, deadline - self.host.seconds())
            self._call = self.host.callLater(delay, self._fire)

    def _fire(self) -> None:
        self.core.handle_timeout(self.host.seconds())


class BoxTestCase(SynchronousTestCase):
    """One box, one peer, one network."""

    def start(self, **kwargs: Any) -> Box:
        """Make the network anew, with a box of these arguments and a peer."""
        self.net = VirtualNetwork(link=Link(delay=0.01))
        self.box = Box(self.net.host(US, "2001:db8::1", name="box"), **kwargs)
        self.peer = ScriptedPeer(self.net.host(PEER, name="peer"))
        return self.box

    def invite(self, **kwargs: Any) -> Request:
        """Send an INVITE."""
        invite = self.peer.invite(kwargs.pop("uri", f"sip:bob@{US}"), **kwargs)
        self.peer.send(invite, (US, 5060))
        return invite

    def send(self, method: str, **kwargs: Any) -> Request:
        """Send a request outside any dialog."""
        request = self.peer.request(method, kwargs.pop("uri", f"sip:{US}"), **kwargs)
        self.peer.send(request, (US, 5060))
        return request

    def call(self) -> Response:
        """Make a call that the box answers, and return its 2xx."""
        self.invite()
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        return success

    def answer_to(self, method: str, within: float = 5.0) -> Response:
        """Return the next final response to a method."""
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

    def finish(self, *, failures: int = 0) -> None:
        """
        Let all timers end, and check that the box works as ever and nothing is left.

        :param failures: how many failures must have been logged; they are taken from the log.
        """
        self.net.run_for(70)
        logged = self.flushLoggedErrors()
        self.assertEqual(len(logged), failures, [str(failure) for failure in logged])
        self.send("OPTIONS")
        self.assertEqual(self.answer_to("OPTIONS").status, 200)
        self.net.run_for(40)
        self.net.assert_quiet()
