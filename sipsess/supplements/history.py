# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Tells whom a call was for before it was sent on: History-Info (:rfc:`7044`), Diversion
(:rfc:`5806`).

When a call of ours follows a redirection, its next INVITE may say where it has been; the endpoint
says in which form (:attr:`.Endpoint.sends_history`). An endpoint that is not told gets neither
header: the supplement "identity" takes away what others write, too. What comes is read by
:func:`.get_history` and :func:`.get_diversions`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sipsess.message import Request, Response
from sipsess.message.diversion import Diversion
from sipsess.message.history_info import HistoryEntry, get_history
from sipsess.message.privacy import HISTORY, get_privacy
from sipsess.message.reason import Reason
from sipsess.supplement import ResponseVerdict, SessionSupplement

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the history of a call is kept.
COOKIE = "sipsess.history"
#: The headers, by :attr:`.Endpoint.sends_history`.
HEADERS = {"history-info": "History-Info", "diversion": "Diversion"}
#: Why a call is sent on, by the status of who did it (:rfc:`5806#section-4`).
_REASONS = {301: "unconditional", 302: "deflection", 380: "unavailable"}


@dataclass(slots=True)
class Place:
    """One Request-URI that a call has had."""

    uri: str
    index: tuple[int, ...]
    #: The place that it follows from, or ``None`` for the first one.
    origin: Place | None = None
    #: What came of it.
    status: int | None = None
    #: How many places follow from it.
    children: int = 0


class History(SessionSupplement):
    """Keeps the history of calls that this side places, and tells it to whom the endpoint says."""

    name = "history"
    #: It sees a 3xx before it is followed; and the supplement "identity" has the last word.
    priority = 150
    methods = frozenset({"INVITE"})

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Note where the call goes now; tell where it has been."""
        if session.is_callee or not session.is_initial(request):
            return
        places: list[Place] | None = session.cookies.get(COOKIE)
        if places is None:
            before = get_history(request.headers)
            places = [Place(request.uri, (*before[-1].index, 1) if before else (1,))]
            session.cookies.add(COOKIE, places)
        elif places[-1].uri != request.uri:
            places.append(_follow(places, request.uri))
        if len(places) > 1 and HISTORY not in get_privacy(request.headers):
            _tell(request, places, session.endpoint.sends_history)

    def incoming_response(self, session: Session, response: Response) -> ResponseVerdict:
        """Note what came of the place where the call is."""
        places: list[Place] | None = session.cookies.get(COOKIE)
        if places and response.status >= 300 and session.dialog is None:
            places[-1].status = response.status
        return None


def _follow(places: list[Place], uri: str) -> Place:
    """Return the next place: it follows from the last one that has sent the call on."""
    senders = [place for place in places if place.status is not None and place.status < 400]
    origin = senders[-1] if senders else places[-1]
    origin.children += 1
    return Place(uri, (*origin.index, origin.children), origin)


def _tell(request: Request, places: list[Place], way: str) -> None:
    """Write the history of a call, besides what the program knows of it."""
    headers = request.headers
    if way == "history-info":
        for place in places:
            headers.add("History-Info", str(_entry(place)))
    elif way == "diversion":
        sender = places[-1].origin
        values = []
        while sender is not None:
            reason = _REASONS.get(sender.status or 0, "unknown")
            values.append(str(Diversion(sender.uri, reason=reason, counter=1)))
            sender = sender.origin
        # The last diversion is the first value.
        for value in reversed(values):
            headers.prepend("Diversion", value)


def _entry(place: Place) -> HistoryEntry:
    entry = HistoryEntry(place.uri, place.index)
    if place.status is not None:
        entry = replace(entry, reasons=(Reason("SIP", place.status),))
    if place.origin is not None:
        # Section 5: whoever has sent the call on has named somebody else.
        entry = replace(entry, change="mp", origin=place.origin.index)
    return entry
