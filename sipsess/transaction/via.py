# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the top Via says about the way of a message and of its answers (18.2, :rfc:`3581`)."""

from __future__ import annotations

from ipaddress import ip_address

from sipsess.flow import Flow
from sipsess.message import Request, Via
from sipsess.nat import is_translated

#: Where SIP listens when a port is not said (:rfc:`3261#section-18.2.2`), TLS apart.
DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061


def client_via(flow: Flow, branch: str) -> str:
    """Return the Via value of a request of ours; it always asks for rport (:rfc:`3581`)."""
    return f"SIP/2.0/{flow.transport} {flow.sent_by};rport;branch={branch}"


def stamp_received(request: Request, flow: Flow) -> None:
    """
    Write into the top Via where the request really came from.

    ``received`` when the sent-by is a name or another address (18.2.1), and always with ``rport``
    when the peer asked for it (:rfc:`3581#section-4`).
    """
    via = request.via
    host, port = flow.remote
    params = via.params
    asks = "rport" in params
    if asks:
        params = params.with_("rport", str(port))
    if asks or not _is_same_host(via.host, host):
        params = params.with_("received", host)
        request.set_top_via(Via(via.transport, via.host, via.port, params))


def reply_flow(request: Request, flow: Flow) -> Flow:
    """
    Return the flow that responses to ``request`` take (:rfc:`3261#section-18.2.2`).

    A stream's responses go back on it. A datagram's go to the source address, at the source port
    when the peer asked for rport, else at the port of its sent-by. ``maddr`` is not followed: it
    would let a request point our answers at anybody.
    """
    if flow.is_reliable:
        return flow
    via = request.via
    if "rport" in via.params:
        return flow
    return flow.to((flow.remote[0], via.port or DEFAULT_PORT))


def is_behind_nat(request: Request, flow: Flow) -> bool:
    """
    Tell whether a request came through a NAT, straight from who has made it.

    :param flow: that it came on.
    """
    if not is_translated(request.via.host, flow.remote[0]):
        return False
    return len(request.headers.values("Via")) == 1


def _is_same_host(written: str, seen: str) -> bool:
    if written == seen:
        return True
    try:
        return ip_address(written) == ip_address(seen)
    except ValueError:
        return False
