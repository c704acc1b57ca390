# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A whole sipsess on a virtual host: what the server wires on a reactor, for tests.

::

    net = VirtualNetwork()
    callee = Agent(net.host("192.0.2.1", name="callee"), applications=[Echo()], application="echo")
    caller = Agent(net.host("192.0.2.2", name="caller"))
    session = caller.dial("sip:anybody@192.0.2.1")
    net.run_for(1)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall

from sipsess.codec import CODECS, Codec
from sipsess.core import SIPCore
from sipsess.defence import DefenceSettings
from sipsess.endpoint import AnonymousGate
from sipsess.errors import LocalError
from sipsess.flow import Address, Flow
from sipsess.ids import IdSource
from sipsess.interfaces import (
    IApplication,
    IMessageHook,
    IRequestGate,
    ISDPHandler,
    ISessionSupplement,
    ITrace,
)
from sipsess.manager import DialogManager
from sipsess.message import SIPURI, parse_uri
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.session import Session
from sipsess.testing.host import VirtualHost
from sipsess.transaction import Timing
from sipsess.transport.address import ip_version
from sipsess.transport.listen import open_udp, parse_listen
from sipsess.transport.mediaclock import MediaClock
from sipsess.transport.rtp import RTPPorts
from sipsess.transport.udp import UDPListener


class Agent:
    """
    A SIP user agent that is sipsess itself.

    :param host: the machine it runs on; it gives the time.
    :param supplements: for every session.
    :param handlers: the SDP handlers; left out, the shipped audio handler alone.
    :param codecs: that endpoints may speak; left out, the shipped ones.
    :param applications: a Request-URI user that equals a name chooses that application.
    :param application: the name of the application for every other user; ``None`` refuses (404).
    :param gates: asked about each request, in this order.
    :param hooks: see the messages outside sessions.
    :param listen: where it listens for SIP.
    :param rtp_ports: the first and the last RTP port.
    :param timing: the timers of :rfc:`3261`, if others are wanted.
    :param trace: watches the core.
    :param defence: what is done about scanners, floods and invented addresses; ``None`` for
        nothing.
    """

    def __init__(
        self,
        host: VirtualHost,
        *,
        supplements: Iterable[ISessionSupplement] = (),
        handlers: Iterable[ISDPHandler] | None = None,
        codecs: Iterable[Codec] = CODECS,
        applications: Iterable[IApplication] = (),
        application: str | None = None,
        gates: Sequence[IRequestGate] | None = None,
        hooks: Sequence[IMessageHook] = (),
        listen: str = "udp:5060",
        rtp_ports: Address | tuple[int, int] = (10000, 10998),
        timing: Timing | None = None,
        trace: ITrace | None = None,
        defence: DefenceSettings | None = None,
    ) -> None:
        self.host = host
        self.network = host.network
        self._wake_up: IDelayedCall | None = None
        seed = random.Random(f"{host.name} {host.addresses}")
        self.core = SIPCore(
            transmit=self._transmit,
            seconds=host.seconds,
            ids=IdSource(seed),
            gates=[AnonymousGate()] if gates is None else gates,
            hooks=hooks,
            flow_for=self._flow_for,
            timing=timing,
            trace=trace,
            defence=defence,
        )
        self.core.turn.closing = self._arm
        self.ports = RTPPorts(host, *rtp_ports)
        self.clock = MediaClock(host)
        self.manager = DialogManager(
            self.core,
            supplements=supplements,
            handlers=[AudioHandler()] if handlers is None else handlers,
            codecs=codecs,
            applications=applications,
            application=application,
            media_ports=self.ports,
            media_clock=self.clock,
        )
        self.listeners: list[UDPListener] = open_udp(
            host, parse_listen(listen), self.core
        ).listeners
        self._by_name = {listener.name: listener for listener in self.listeners}
        host.network.watch(self)

    def __repr__(self) -> str:
        return f"<Agent {self.host.name}>"

    @property
    def sessions(self) -> list[Session]:
        """The live sessions, the oldest first."""
        return list(self.manager.sessions)

    def dial(self, uri: str, **kwargs: Any) -> Session:
        """
        Place a call.

        :param uri: a SIP URI whose host is an IP address.
        :param kwargs: as for :meth:`.DialogManager.dial`.
        :raises LocalError: when no listener reaches the URI's host.
        """
        return self.manager.dial(uri, self.flow_to(uri), **kwargs)

    def flow_to(self, uri: str) -> Flow:
        """
        Return the flow to the host of a SIP URI, an IP address.

        :raises LocalError: when no listener reaches it.
        """
        parsed = parse_uri(uri)
        if not isinstance(parsed, SIPURI):
            raise LocalError(f"{uri} is no SIP URI")
        flow = self._flow_for("UDP", (parsed.host.strip("[]"), parsed.port or 5060))
        if flow is None:
            raise LocalError(f"{self.host.name} has no listener that reaches {uri}")
        return flow

    def stop(self) -> Deferred[Any]:
        """
        End all calls, then close all ports.

        :return: fires when everything is closed; let time pass meanwhile.
        """
        return self.manager.stop().addCallback(self._close)

    def _close(self, ignored: None) -> Deferred[Any]:
        self.ports.close()
        return DeferredList([listener.stop() for listener in self.listeners])

    def leftovers(self) -> list[str]:
        """Say what is still alive; the network asks in ``assert_quiet``."""
        found = self.manager.leftovers() + self.ports.leftovers() + self.clock.leftovers()
        return [f"{self.host.name}: {line}" for line in found]

    # -- what the shell does

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        self._by_name[flow.listener].send(wire, flow)

    def _flow_for(self, transport: str, address: Address) -> Flow | None:
        for listener in self.listeners:
            if ip_version(listener.address[0]) == ip_version(address[0]):
                return listener.flow_to(address)
        return None

    def _arm(self) -> None:
        """Plan the one wake-up; it is only ever moved to an earlier time."""
        deadline = self.core.next_deadline()
        call = self._wake_up
        if call is not None:
            if deadline is not None and call.getTime() <= deadline:
                return
            self._wake_up = None
            call.cancel()
        if deadline is not None:
            delay = max(0.0, deadline - self.host.seconds())
            self._wake_up = self.host.callLater(delay, self._woken)

    def _woken(self) -> None:
        self._wake_up = None
        self.core.handle_timeout(self.host.seconds())
