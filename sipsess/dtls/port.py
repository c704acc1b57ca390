# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The media port that browsers speak to: ICE, DTLS and SRTP on one socket (:rfc:`7983`).

Theory of operation
    The first byte of a datagram says what it is. Checks of ICE are answered when they are signed.
    DTLS and SRTP are looked at only when they come from an address that ICE knows; and nothing but
    answers to checks is sent to any other. So nobody gets audio, or the long flight of a handshake,
    because somebody else has named his address.

    Keys come when the handshake is over, and the port is then an :class:`.SRTPPort` like others.
    When it fails, or is not over in time, the owner is told, who ends the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sipsess.flow import Address
from sipsess.ice import Credentials, LiteAgent
from sipsess.interfaces import IMediaPorts
from sipsess.srtp import SRTPPort, Suite
from sipsess.srtp.port import Receive
from sipsess.timers import Timer

from .fingerprint import Fingerprint
from .handshake import Handshake

#: Seconds until audio must be encrypted, ICE included. A browser takes less than one, and gives up
#: its checks after some fifteen.
HANDSHAKE_LIMIT = 20.0

#: Seconds until a flight is sent again; doubled each time (:rfc:`6347#section-4.2.4.1`).
RESEND_DELAY = 1.0

#: RFC 7983 7: the first bytes of STUN and of DTLS.
_STUN = range(4)
_DTLS = range(20, 64)


@dataclass(frozen=True, slots=True)
class Association:
    """What one handshake is for; another one is another handshake (:rfc:`8842#section-3.1`)."""

    #: Of the far end's certificate.
    fingerprints: Sequence[Fingerprint]
    #: Whether this side begins.
    is_client: bool
    #: What the far end calls it, if anything.
    tls_id: str | None = None


class Owner(Protocol):
    """Who uses a port."""

    def start_timer(self, delay: float, callback: Callable[[], object]) -> Timer | None:
        """Call something later; ``None`` when it will not be, as the call is over."""

    def cancel_timer(self, timer: Timer | None) -> None:
        """Stop a timer; harmless when it has fired."""

    def selected(self, address: Address) -> None:
        """Hear where the far end is."""

    def secured(self, suite: Suite) -> None:
        """Hear that there are keys."""

    def failed(self, text: str) -> None:
        """Hear that there will be none, and why."""


class DTLSPort(SRTPPort):
    """
    An encrypted port that finds out itself with whom, and with which keys.

    :param owner: is told of it.
    :param ports: opens the port below.
    :param host: the local address.
    :param receive: gets the plain packets.
    :raises NoPortsError: when none is free.
    """

    __slots__ = (
        *("_agent", "_association", "_deadline", "_delay", "_handshake", "_owner", "_peer"),
        *("_resending", "strange"),
    )

    def __init__(self, owner: Owner, ports: IMediaPorts, host: str, receive: Receive) -> None:
        self._owner = owner
        self._agent = LiteAgent()
        self._association: Association | None = None
        self._handshake: Handshake | None = None
        #: Where the far end's handshake comes from.
        self._peer: Address | None = None
        self._delay = RESEND_DELAY
        self._resending: Timer | None = None
        self._deadline: Timer | None = None
        #: Datagrams from addresses that ICE does not know, or of a handshake that is not wanted.
        self.strange = 0
        super().__init__(ports, host, receive)

    def agree(self, local: Credentials, remote: Credentials, association: Association) -> None:
        """Take what both sides have said of ICE and DTLS."""
        self._agent.agree(local, remote)
        if association == self._association:
            return
        self._association = association
        self._handshake = Handshake(association.fingerprints, is_client=association.is_client)
        self._rest()
        self._deadline = self._owner.start_timer(HANDSHAKE_LIMIT, self._give_up)
        if self._agent.selected is not None:
            self._begin(self._agent.selected)

    # -- what comes ------------------------------------------------------------------------

    def datagram_received(self, data: bytes, source: Address, now: float) -> None:
        """Tell apart what comes; never raises."""
        first = data[0] if data else -1
        if first in _STUN:
            self._receive_check(data, source)
        elif not self._agent.knows(source):
            self.strange += 1
        elif first in _DTLS:
            self._receive_handshake(data, source)
        else:
            super().datagram_received(data, source, now)

    def _receive_check(self, data: bytes, source: Address) -> None:
        agent = self._agent
        before = agent.selected
        answer = agent.receive(data, source)
        if answer is not None:
            self._inner.send(answer, source)
        if agent.selected != before:
            self._owner.selected(source)
            self._begin(source)

    def _begin(self, address: Address) -> None:
        """Begin the handshake when that is for this side to do."""
        association = self._association
        handshake = self._handshake
        if handshake is None or association is None or not association.is_client:
            return
        if handshake.is_over:
            # The peer has moved, and the keys go with him.
            return
        flight = handshake.start() if self._peer is None else []
        self._transmit(flight, address)

    def _receive_handshake(self, data: bytes, source: Address) -> None:
        handshake = self._handshake
        if handshake is None:
            self.strange += 1
            return
        was_over = handshake.is_over
        self._transmit(handshake.receive(data), source)
        if was_over or not handshake.is_over:
            return
        self._rest()
        keys = handshake.keys
        if keys is None:
            self._owner.failed(handshake.failure or "")
        else:
            self.set_keys(keys.suite, keys.local, keys.remote)
            self._owner.secured(keys.suite)

    # -- what goes -------------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> None:
        """See :meth:`.IMediaPort.send`; to addresses alone that ICE knows."""
        if self._agent.knows(address):
            super().send(data, address)
        else:
            self.unsent += 1

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """See :meth:`.IMediaPort.send_rtcp`; likewise."""
        if self._agent.knows(address):
            super().send_rtcp(data, address)
        else:
            self.unsent += 1

    def close(self) -> None:
        """See :meth:`.IMediaPort.close`."""
        super().close()
        self._handshake = None
        self._rest()

    def _transmit(self, flight: Sequence[bytes], address: Address) -> None:
        """Send some datagrams of the handshake, and again if there is no answer."""
        self._peer = address
        for datagram in flight:
            self._inner.send(datagram, address)
        handshake = self._handshake
        if flight and handshake is not None and not handshake.is_over:
            self._delay = RESEND_DELAY
            self._wait()

    def _wait(self) -> None:
        self._owner.cancel_timer(self._resending)
        self._resending = self._owner.start_timer(self._delay, self._resend)

    def _resend(self) -> None:
        handshake, peer = self._handshake, self._peer
        assert handshake is not None and peer is not None  # the timer ends with them
        for datagram in handshake.resend():
            self._inner.send(datagram, peer)
        self._delay *= 2
        self._wait()

    def _rest(self) -> None:
        """Stop both timers."""
        self._owner.cancel_timer(self._resending)
        self._owner.cancel_timer(self._deadline)
        self._resending = self._deadline = self._peer = None

    def _give_up(self) -> None:
        self._handshake = None
        self._rest()
        way = "no check of ICE came" if self._agent.selected is None else "DTLS was not over"
        self._owner.failed(f"{way} in {HANDSHAKE_LIMIT:g} s")
