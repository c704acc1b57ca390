# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The way between the two sides of a call: the Contact of ours, and the flow of each request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sipsess.flow import Flow
from sipsess.message import Request
from sipsess.transaction.via import is_behind_nat

if TYPE_CHECKING:
    from sipsess.core import SIPCore
    from sipsess.dialog import Dialog


@dataclass(frozen=True, slots=True)
class Way:
    """What the INVITE says about the way; shared by all calls of which it says the same."""

    #: The peer itself, and no proxy, has opened the connection; it is the way to the peer whatever
    #: its Contact says, which a NAT may have made useless.
    is_direct: bool
    #: Each hop must be secure, so our Contact is a sips URI (8.1.1.8 and 12.1.1).
    is_secure: bool
    #: Requests within the call take its flow wherever the peer's Contact leads, unless they have a
    #: Route.
    is_pinned: bool = False

    def pin(self, is_pinned: bool) -> Way:
        """Return the same way, pinned or not."""
        return self if self.is_pinned == is_pinned else replace(self, is_pinned=is_pinned)

    def leads_along(self, request: Request, flow: Flow, before: Flow) -> bool:
        """
        Tell whether the peer is now where a request within the call came from.

        A NAT may have given it another port; who had connected itself has perhaps done so anew, but
        not over what may be less secure.

        :param before: where the peer was.
        """
        if self.is_pinned:
            return True
        is_alike = flow.transport == before.transport
        return self.is_direct and is_alike and _is_from_peer(request, flow)

    def contact(self, flow: Flow, host_port: str) -> str:
        """
        Return the Contact value of this side.

        :param host_port: where the peer reaches us.
        """
        if self.is_secure and flow.transport in ("TLS", "UDP"):
            return f"<sips:{host_port}>"
        # RFC 7118 5.2: secure or not, the transport of a WebSocket is "ws" in a URI.
        transport = "ws" if flow.transport == "WSS" else flow.transport.lower()
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"<sip{'s' if self.is_secure else ''}:{host_port}{suffix}>"

    def flow_to(self, core: SIPCore, dialog: Dialog, flow: Flow) -> Flow:
        """
        Return the flow to a dialog's next hop.

        :param flow: the one that the call began on, which may be lost.
        """
        if self.is_pinned and not dialog.route_set:
            return flow
        return core.flow_to(dialog.next_hop(), flow, is_direct=self.is_direct)


_WAYS = {
    (direct, secure): Way(direct, secure) for direct in (False, True) for secure in (False, True)
}


def way_of(invite: Request, flow: Flow, *, is_callee: bool) -> Way:
    """
    Return the way of a call.

    :param flow: that the INVITE came on, or leaves on.
    """
    is_direct = is_callee and _is_from_peer(invite, flow)
    # A connection leads through a NAT as long as it stands; a datagram only from where it came.
    is_pinned = is_callee and not flow.is_reliable and is_behind_nat(invite, flow)
    is_secure = _is_secure(invite, "Record-Route" if is_callee else "Route", is_callee)
    return _WAYS[is_direct, is_secure].pin(is_pinned)


def _is_from_peer(request: Request, flow: Flow) -> bool:
    """Tell whether a request has come on a connection of the peer itself, and of no proxy."""
    return flow.is_reliable and len(request.vias) == 1


def _is_secure(invite: Request, route: str, is_callee: bool) -> bool:
    if invite.uri[:5].lower() == "sips:":
        return True
    first = invite.headers.get(route)
    if first is None and is_callee:
        first = invite.headers.get("Contact")
    return first is not None and "sips:" in first.partition(">")[0].lower()
