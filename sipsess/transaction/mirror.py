# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Where peers see us: what their responses say about a NAT in front of us (:rfc:`3581#section-4`).

A peer writes into the Via of our request the address and port that it came from, and its response
brings that back. When it is not what we wrote, a NAT stands between us, and requests of that peer
reach us at the address that it sees: our Contact towards it names that one. What a peer says counts
for itself only, so a lie leads nobody else astray.
"""

from __future__ import annotations

from ipaddress import ip_address

from sipsess.expiring import ExpiringDict
from sipsess.flow import Address, Flow, format_host
from sipsess.message import Via

#: Seconds after which what a peer has said counts no more: a NAT forgets, and so do we.
MIRROR_LIFE = 600.0
#: Peers that are remembered.
MAX_PEERS = 4096


class Mirror:
    """Our addresses as peers see them."""

    __slots__ = ("_seen",)

    def __init__(self, limit: int = MAX_PEERS) -> None:
        self._seen: ExpiringDict[tuple[str, Address], str] = ExpiringDict(limit)

    def note(self, via: Via, flow: Flow, now: float) -> None:
        """
        Take the top Via of a response.

        :param flow: that it came on. On a stream the peer answers on the stream, whatever the NAT.
        """
        params = via.params
        if flow.is_reliable or "received" not in params:
            return
        key = (flow.listener, flow.remote)
        host, port = params.get("received") or "", params.get("rport") or ""
        if not _is_address(host) or not (port.isascii() and port.isdecimal() and len(port) <= 5):
            return
        if (host, int(port)) == flow.local:
            self._seen.forget(key)
        else:
            self._seen.put(key, f"{format_host(host)}:{int(port)}", now + MIRROR_LIFE, now)

    def seen(self, flow: Flow, now: float) -> str | None:
        """
        Return the ``host:port`` at which the peer sees us, ``None`` when that is what we write.

        What the operator wants to be advertised comes before what a peer says.
        """
        if flow.is_reliable or flow.host != flow.local[0]:
            return None
        return self._seen.get((flow.listener, flow.remote), now)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
