# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a network does to single datagrams: the next one of a kind is lost, late, or comes twice."""

from __future__ import annotations

from sipsess.flow import Address
from sipsess.testing import VirtualNetwork
from sipsess.testing.host import VirtualHost

#: The port of SIP; other datagrams are let alone.
SIP = 5060

#: What a datagram may be chosen by: a method, a class of responses, or nothing.
KINDS = (
    "any",
    *("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY"),
    *("1xx", "2xx", "refusal"),
)


def kind_of(data: bytes) -> str:
    """Return a request's method, or the class of a response."""
    if not data.startswith(b"SIP/2.0 "):
        return data.partition(b" ")[0].decode("latin-1")
    return {b"1": "1xx", b"2": "2xx"}.get(data[8:9], "refusal")


class Trick:
    """
    Something that happens to one datagram.

    :param source: the host that sends it.
    :param kind: one of :data:`KINDS`.
    :param copies: for each one that arrives instead of it, the seconds that it takes longer.
    """

    def __init__(self, source: VirtualHost, kind: str, copies: tuple[float, ...]) -> None:
        self.source = source
        self.kind = kind
        self.copies = copies

    def is_about(self, source: Address, data: bytes) -> bool:
        """Tell whether it happens to this datagram."""
        is_ours = source[0] in self.source.addresses and source[1] == SIP
        return is_ours and self.kind in ("any", kind_of(data))


class Weather:
    """
    The tricks of a network; the first one that is about a datagram is played, and gone.

    :param net: the network.
    """

    def __init__(self, net: VirtualNetwork) -> None:
        self._net = net
        self._tricks: list[Trick] = []
        self._copy: bytes | None = None
        #: Datagrams that a trick has lost.
        self.losses = 0
        net.filters.append(self._lose)

    def plan(self, source: VirtualHost, kind: str, *copies: float) -> None:
        """Let the next datagram of a kind be replaced by copies, each so many seconds later."""
        self._tricks.append(Trick(source, kind, copies))

    def clear(self) -> None:
        """Forget the tricks that were not played."""
        self._tricks.clear()

    def _lose(self, source: Address, target: Address, data: bytes) -> bool:
        if data is self._copy:
            return False
        for trick in self._tricks:
            if trick.is_about(source, data):
                self._tricks.remove(trick)
                self.losses += not trick.copies
                for delay in trick.copies:
                    self._net.callLater(delay, self._send, trick.source, target, data)
                return True
        return False

    def _send(self, source: VirtualHost, target: Address, data: bytes) -> None:
        port = next(port for (_, number), port in source.ports.items() if number == SIP)
        self._copy = data
        self._net.send(port, (source.addresses[0], SIP), target, data)
        self._copy = None
