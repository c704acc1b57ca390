# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Symmetric RTP, :rfc:`4961`: where to send, learnt from where packets come from.

Theory of operation
    Until a packet comes we send to the address that the peer signalled in its SDP. A peer behind
    a NAT signals an address that cannot be reached, so the source of its first valid packet takes
    over: we are *latched*. From then on packets from elsewhere are dropped; otherwise anyone who
    guesses the port could speak into the call, and worse, get the audio of the call sent to him.

    There is one rule for changing the latch. Another source takes over when it has sent
    :data:`PROBATION` packets in sequence under one SSRC, **and** it either is exactly the address
    that the peer signalled, or the latched source has been silent for :data:`SILENCE` seconds
    (the peer moved, or its NAT gave it another port). So a stranger who came first loses as soon
    as the real peer speaks, and a stranger who comes later never gets in while the peer is heard.

    An address that a peer only claims may be somebody else's, who would get all that we say. While
    the latch *holds back* the signalled address is used for nothing; a source that packets came
    from is.

    A new address in a later SDP opens the latch again, since the signalling is who we trust. But it
    is trusted so far only: whoever is in a call could name a victim's address again and again. To
    an address from which no packet has come, and that is not the host whose signalling we have
    seen to hear us (:attr:`Latch.proven_host`), :data:`UNPROVEN_PACKETS` packets go in the life of
    a stream; those that went to an address which then speaks do not count.
"""

from __future__ import annotations

from sipsess.flow import Address
from sipsess.media.rtp import RTPPacket

#: Packets in sequence that another source must send before it is believed (cf. MIN_SEQUENTIAL,
#: RFC 3550 A.1).
PROBATION = 4
#: Seconds of silence after which the latched source may have moved.
SILENCE = 2.0
#: Packets that may go to addresses which have shown nothing: ten seconds of audio.
UNPROVEN_PACKETS = 500


class Latch:
    """
    The remote address of one stream.

    :param signalled: what the peer's SDP says, or ``None`` before one came.
    """

    __slots__ = (
        "_candidate",
        "_count",
        "_heard",
        "_sequence",
        "_spent",
        "_spent_here",
        "_ssrc",
        "holds_back",
        "latched",
        "proven_host",
        "signalled",
    )

    def __init__(self, signalled: Address | None = None) -> None:
        #: The address in the peer's SDP.
        self.signalled: Address | None = None
        #: The source that is believed, or ``None`` before the first valid packet.
        self.latched: Address | None = None
        #: Whether the signalled address is only a claim, to which nothing is sent.
        self.holds_back = False
        #: The host that is known to hear us, whatever its port, or ``None``.
        self.proven_host: str | None = None
        #: Packets that went to addresses which have shown nothing, and those of them that went to
        #: the present one.
        self._spent = 0
        self._spent_here = 0
        self._heard = 0.0
        self._candidate: Address | None = None
        self._count = 0
        self._sequence = 0
        self._ssrc = 0
        self.signal(signalled)

    @property
    def destination(self) -> Address | None:
        """Where packets go: to the believed source, else to the signalled address if it may be."""
        return self.latched or (None if self.holds_back else self.signalled)

    def signal(self, address: Address | None) -> None:
        """Take the address of a new SDP; when it differs from the last one the latch opens."""
        if address is not None and (address[0] in ("0.0.0.0", "::") or not address[1]):
            # RFC 3264 8.4: the wildcard was how hold was signalled once; sending there would
            # reach ourselves.
            address = None
        if address != self.signalled:
            self.signalled = address
            self._spent_here = 0
            self.latched = None
            self._candidate = None

    @property
    def is_proven(self) -> bool:
        """Whether who is at the destination is known to want what we send."""
        signalled = self.signalled
        return self.latched is not None or signalled is None or signalled[0] == self.proven_host

    def spend(self) -> bool:
        """Tell whether one more packet may go to the destination, and count it."""
        if self.is_proven:
            return True
        if self._spent >= UNPROVEN_PACKETS:
            return False
        self._spent += 1
        self._spent_here += 1
        return True

    def accept(self, source: Address, packet: RTPPacket, now: float) -> bool:
        """
        Judge a valid packet by its source.

        :param source: where it came from.
        :param packet: the packet; its payload type is one that was negotiated.
        :param now: seconds, monotonic.
        :return: whether it is the peer's.
        """
        if source != self.latched:
            if self.latched is not None and not self._takes_over(source, packet, now):
                return False
            self.latched = source
            self._candidate = None
            if source == self.signalled:
                self._spent -= self._spent_here
                self._spent_here = 0
        self._heard = now
        return True

    def _takes_over(self, source: Address, packet: RTPPacket, now: float) -> bool:
        follows = (
            source == self._candidate
            and packet.ssrc == self._ssrc
            and packet.sequence == self._sequence + 1 & 0xFFFF
        )
        self._count = self._count + 1 if follows else 1
        self._candidate, self._ssrc, self._sequence = source, packet.ssrc, packet.sequence
        if self._count < PROBATION:
            return False
        return source == self.signalled or now - self._heard >= SILENCE


class ControlLatch:
    """
    Where RTCP of a stream goes, and from where it is taken.

    On the port of RTP it follows the latch. On a port of its own it is believed from the host that
    RTP is exchanged with, whatever its port, as a NAT gives it another one; nothing is ever sent to
    another host, nor to one that has shown nothing.

    :param latch: that of RTP.
    """

    __slots__ = ("_latch", "_latched", "signalled")

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._latched: Address | None = None
        #: The address for RTCP of the peer's SDP, or ``None`` when it shares the port of RTP.
        self.signalled: Address | None = None

    @property
    def destination(self) -> Address | None:
        """Where RTCP goes, or ``None`` while that is not known."""
        media = self._latch.destination if self._latch.is_proven else None
        if media is None or self.signalled is None:
            return media
        known = self._latched or self.signalled
        return known if known[0] == media[0] else None

    def accept(self, source: Address) -> bool:
        """Judge a readable packet by its source."""
        media = self._latch.destination
        if media is None or self.signalled is None:
            return source == media
        if source[0] != media[0]:
            return False
        self._latched = source
        return True
