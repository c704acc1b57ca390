# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A media port that encrypts what leaves and decrypts what comes.

It wraps another port, and nobody above or below knows of it: streams send and receive plain
packets, the socket carries encrypted ones. Until both sides have agreed on keys nothing passes:
there is no way in which plain audio could leave by it, or be heard.
"""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from sipsess.flow import Address
from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media.rtp import is_rtcp, is_rtp

from .context import Context
from .crypto import Suite

#: Sources (SSRC) under one key that are heard; libsrtp keeps the state of each. A peer takes a new
#: one when he begins anew, which is rare.
MAX_SOURCES = 16

#: Called with a datagram, its source and the time.
Receive = Callable[[bytes, Address, float], None]


@implementer(IMediaPort)
class SRTPPort:
    """
    An encrypted port.

    :param ports: opens the port below.
    :param host: the local address.
    :param receive: gets the plain packets.
    :raises NoPortsError: when none is free.
    """

    __slots__ = (
        *("_inner", "_inward", "_inward_key", "_outward", "_outward_key", "_receive", "_sources"),
        *("unprotected", "unsent"),
    )

    def __init__(self, ports: IMediaPorts, host: str, receive: Receive) -> None:
        self._receive = receive
        self._inward: Context | None = None
        self._outward: Context | None = None
        self._inward_key: tuple[Suite, bytes] | None = None
        self._outward_key: tuple[Suite, bytes] | None = None
        self._sources: set[bytes] = set()
        #: Datagrams that came and were not let in: forged, repeated, without a key, or no RTP.
        self.unprotected = 0
        #: Packets that were not sent, as there is no key.
        self.unsent = 0
        self._inner = ports.open(host, self.datagram_received)

    def __repr__(self) -> str:
        return f"<SRTPPort on {self._inner!r}>"

    @property
    def host(self) -> str:
        """See :class:`.IMediaPort`."""
        return self._inner.host

    @property
    def port(self) -> int:
        """See :class:`.IMediaPort`."""
        return self._inner.port

    def set_keys(self, suite: Suite, local: bytes, remote: bytes) -> None:
        """
        Take keys that were agreed on.

        What has not changed goes on: the packets are counted through, as nothing may ever be
        encrypted twice under one key (:rfc:`3711#section-9.1`). Another key begins anew.

        :param suite: of both.
        :param local: what we encrypt with.
        :param remote: what the peer encrypts with.
        """
        if self._outward_key != (suite, local):
            self._outward = Context(suite, local, is_sender=True)
            self._outward_key = (suite, local)
        if self._inward_key != (suite, remote):
            self._inward = Context(suite, remote, is_sender=False)
            self._inward_key = (suite, remote)
            self._sources.clear()

    def send(self, data: bytes, address: Address) -> None:
        """See :meth:`.IMediaPort.send`."""
        packet = self._protect(data, is_control=False)
        if packet is not None:
            self._inner.send(packet, address)

    def open_rtcp(self) -> bool:
        """See :meth:`.IMediaPort.open_rtcp`."""
        is_open: bool = self._inner.open_rtcp()
        return is_open

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """See :meth:`.IMediaPort.send_rtcp`."""
        packet = self._protect(data, is_control=True)
        if packet is not None:
            self._inner.send_rtcp(packet, address)

    def _protect(self, data: bytes, *, is_control: bool) -> bytes | None:
        outward = self._outward
        packet = None if outward is None else outward.protect(data, is_control)
        if packet is None:
            self.unsent += 1
        return packet

    def close(self) -> None:
        """See :meth:`.IMediaPort.close`."""
        self._inner.close()
        self._inward = self._outward = self._inward_key = self._outward_key = None

    def datagram_received(self, data: bytes, source: Address, now: float) -> None:
        """Let a packet in when it is the peer's; never raises."""
        packet = self._open(data)
        if packet is None:
            self.unprotected += 1
        else:
            self._receive(packet, source, now)

    def _open(self, data: bytes) -> bytes | None:
        inward = self._inward
        is_control = is_rtcp(data)
        if inward is None or not (is_control or is_rtp(data)):
            return None
        ssrc = data[4:8] if is_control else data[8:12]
        is_new = ssrc not in self._sources
        if is_new and len(self._sources) >= MAX_SOURCES:
            return None
        packet = inward.unprotect(data, is_control)
        if packet is not None and is_new:
            self._sources.add(ssrc)
        return packet
