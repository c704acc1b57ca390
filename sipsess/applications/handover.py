# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How an application lets a call go on with another one."""

from __future__ import annotations

from sipsess.call import Call
from sipsess.interfaces import IApplication
from sipsess.routing import GROUPS


def find_route(call: Call, user: str) -> IApplication | None:
    """Return the application that the peer of a call gets when it dials a user, if any."""
    session = call.session
    found = session.manager.router.find(user, session.endpoint)
    allowed = session.endpoint.applications
    if found is None or (allowed and found.application.name not in allowed):
        return None
    if GROUPS in call.cookies:
        call.cookies.remove(GROUPS)
    call.cookies.add(GROUPS, found.groups)
    return found.application
