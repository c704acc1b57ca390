# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The application as the last link of the chain of its sessions, when it wants to be (ICallEvents).

It is asked like a supplement, by the same code: its verdicts may take time, its exceptions are
logged and answered 500, and it can end its request, never the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chain import Link

if TYPE_CHECKING:
    from sipsess.interfaces import ICallEvents
    from sipsess.message import Request, Response
    from sipsess.supplement import RequestVerdict, ResponseVerdict

    from .session import Session

_NAME = "application"


def add_request(session: Session, links: tuple[Link, ...]) -> tuple[Link, ...]:
    """Return the way of a request of the peer, with the application at its end."""
    return links if _events_of(session) is None else (*links, _REQUEST)


def add_response(session: Session, links: tuple[Link, ...]) -> tuple[Link, ...]:
    """Return the way of a response of the peer, with the application at its end."""
    return links if _events_of(session) is None else (*links, _RESPONSE)


def _events_of(session: Session) -> ICallEvents | None:
    # What an application holds may be something of its own, made by the manager's make_call.
    events: ICallEvents | None = getattr(session.channel, "events", None)
    return events


def _ask(session: Session, request: Request) -> RequestVerdict:
    """Ask the application about a request; meanwhile it may have gone to another session."""
    call, events = session.channel, _events_of(session)
    if call is None or events is None:
        return None
    media = session.media
    offer = media.machine.pending_remote if media.offered_by is request else None
    if offer is None:
        return events.on_request(call, request)
    return events.on_offer(call, request, offer)


def _tell(session: Session, response: Response) -> ResponseVerdict:
    """Tell the application of a response."""
    call, events = session.channel, _events_of(session)
    return None if call is None or events is None else events.on_response(call, response)


_REQUEST, _RESPONSE = Link(_NAME, _ask), Link(_NAME, _tell)
