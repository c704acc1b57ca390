# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Follows redirections (3xx) of calls that this side places (:rfc:`3261#section-8.1.3.4`).

The Contacts of a 3xx are tried one after the other, the highest ``q`` first; what one of them adds
by redirecting again is tried first. No URI is tried twice, a 6xx ends the search, and the endpoint
says how many are tried at all (:attr:`.Endpoint.max_redirects`). A call that asked for TLS is not
taken to a URI without it.

Who redirects a call chooses what is dialled, and who pays for it: a supplement that provides
:class:`.IRedirectPolicy` has a say about each URI.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipsess.errors import RemoteError, SIPError
from sipsess.interfaces import IRedirectPolicy, IRequestFailed
from sipsess.message import SIPURI, NameAddr, Request, Response
from sipsess.supplement import REDIRECT, Reject, Retry, SessionSupplement

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the targets of a call are kept.
COOKIE = "sipsess.redirect"
#: Contacts of one 3xx that are looked at.
MAX_CONTACTS = 16


@dataclass(slots=True)
class Targets:
    """Whom a redirected call has tried, and may try yet."""

    tried: list[SIPURI]
    waiting: list[SIPURI]
    #: Whether only TLS will do.
    is_secure: bool = False
    #: How often the call was sent elsewhere.
    followed: int = 0

    def add(self, uris: list[SIPURI]) -> None:
        """Put new URIs in front of those that wait."""
        new: list[SIPURI] = []
        for uri in uris:
            if uri not in self.tried and uri not in new:
                new.append(uri)
        self.waiting = new + [uri for uri in self.waiting if uri not in new]


@implementer(IRequestFailed)
class Redirect(SessionSupplement):
    """Sends the INVITE of a call to where a 3xx says."""

    name = "redirect"
    #: At the mark, as near as may be.
    priority = REDIRECT + 1
    methods = frozenset({"INVITE"})

    def incoming_response(self, session: Session, response: Response) -> Retry | None:
        """Follow a 3xx."""
        if not 300 <= response.status < 400 or session.dialog is not None:
            return None
        targets = _targets(session)
        uris = [uri for uri in _contacts(response) if uri.is_secure or not targets.is_secure]
        targets.add([uri for uri in uris if _is_allowed(session, response, uri)])
        return self._next(session, targets, f"{response.status} {response.reason}")

    def request_failed(
        self, session: Session, request: Request, outcome: Response | SIPError
    ) -> Retry | None:
        """Try the next target when one has failed (8.1.3.4)."""
        targets: Targets | None = session.cookies.get(COOKIE)
        if targets is None or session.dialog is not None:
            return None
        if isinstance(outcome, Response):
            if outcome.status >= 600:
                # 21.6: nobody else will do better.
                targets.waiting.clear()
            return self._next(session, targets, f"{outcome.status} {outcome.reason}")
        return self._next(session, targets, str(outcome) or type(outcome).__name__)

    def _next(self, session: Session, targets: Targets, why: str) -> Retry | None:
        if not targets.waiting:
            return None
        if targets.followed >= session.endpoint.max_redirects:
            session.note("redirection not followed", f"{targets.followed} were followed before")
            return None
        targets.followed += 1
        uri = targets.waiting.pop(0)
        targets.tried.append(uri)
        session.note("redirected", f"to {uri} after {why}")
        return Retry(uri=str(uri))


def _targets(session: Session) -> Targets:
    """Return the targets of a call, made at its first 3xx."""
    found: Targets | None = session.cookies.get(COOKIE)
    if found is not None:
        return found
    first = session.invite.request_uri
    targets = Targets([], [])
    if isinstance(first, SIPURI):
        targets = Targets([first], [], is_secure=first.is_secure)
    session.cookies.add(COOKIE, targets)
    return targets


def _contacts(response: Response) -> list[SIPURI]:
    """
    Return the URIs that a 3xx names, the best first.

    They are without ``method`` parameter and headers, as a Request-URI must be: what a stranger
    wants in our request (19.1.5) is not put there.
    """
    try:
        contacts = response.contacts[:MAX_CONTACTS]
    except RemoteError:
        return []
    found: list[tuple[float, SIPURI]] = []
    for contact in contacts:
        try:
            uri = contact.parsed_uri
        except RemoteError:
            continue
        if isinstance(uri, SIPURI):
            bare = replace(uri, params=uri.params.without("method"), headers=())
            found.append((_q(contact), bare))
    found.sort(key=lambda item: -item[0])
    return [uri for _, uri in found]


def _q(contact: NameAddr) -> float:
    """Return the preference of a Contact, 0 to 1; 1 when it says none (20.10)."""
    text = contact.params.get("q") or "1"
    if len(text) > 5 or not text.isascii() or not text.replace(".", "", 1).isdigit():
        return 1.0
    return min(float(text), 1.0)


def _is_allowed(session: Session, response: Response, uri: SIPURI) -> bool:
    """Ask every supplement that has a say."""
    for item in session.chain.supplements:
        if not IRedirectPolicy.providedBy(item):
            continue
        try:
            item.redirect_requested(session, response, uri)
        except Reject:
            session.note("redirection refused", f"to {uri} by {item.name}")
            return False
        except Exception as error:
            session.report.plugin_failed(item.name, "redirect_requested", error)
            return False
    return True
