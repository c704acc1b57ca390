# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that sends callers to the phones of a registered user: 302."""

from __future__ import annotations

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.message import SIPURI
from sipsess.registrar import Binding


class RegisteredApplication(Application):
    """
    Redirects to the phones of the user who is called (:rfc:`3261#section-21.3.3`).

    The caller then calls them himself, and learns their addresses. Only phones that he can reach
    are named: one behind a NAT or a proxy, or on a connection of ours, can be called by this server
    alone (``SIPServer.users.dial``). 480 when none is left, 404 when nobody can register here.
    """

    name = "registered"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        registrar = call.session.manager.registrar
        uri = call.request.request_uri
        user = uri.user_text if isinstance(uri, SIPURI) else None
        if registrar is None or not user:
            raise Reject(404)
        bindings = await call.session.wait(registrar.find(user))
        contacts = [_format(binding) for binding in bindings if _is_reachable(binding)]
        if not contacts:
            raise Reject(480)
        raise Reject(302, headers={"Contact": ", ".join(contacts)})


def _is_reachable(binding: Binding) -> bool:
    """Tell whether others than this server can call a phone."""
    return not binding.path and not binding.is_pinned


def _format(binding: Binding) -> str:
    """Return the Contact value of a redirection: no more than the caller needs."""
    q = f"{binding.q / 1000:g}"
    return f"<{binding.uri}>;q={q}"
