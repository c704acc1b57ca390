# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a supplement's author imports: the base class, the verdicts, and how to refuse.

A supplement stands around every request and response of a session. Write a class, put an instance
at module level, save the file in a plug-in directory::

    from sipsess.supplement import SessionSupplement

    class Stamp(SessionSupplement):
        name = "stamp"
        priority = 500

        def outgoing_response(self, session, response):
            response.headers.set("X-Stamp", "seen")

    stamp = Stamp()
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from sipsess.interfaces import ISessionSupplement
from sipsess.message import Headers, parse_uri
from sipsess.status import reason_phrase

if TYPE_CHECKING:
    from sipsess.message import Request, Response
    from sipsess.session import Session

__all__ = [
    "FIRST",
    "LAST",
    "MEDIA",
    "REDIRECT",
    "Reject",
    "RequestVerdict",
    "ResponseVerdict",
    "Retry",
    "SessionSupplement",
    "Verdict",
]

#: Supplements below it see a response before a redirection (3xx) is followed.
REDIRECT = 200
#: Supplements below it run before media is negotiated, those above it after.
MEDIA = 400
#: The lowest and the highest priority; a mark itself is nobody's.
FIRST = 0
LAST = 1000


class Verdict(Enum):
    """What a supplement says about an incoming request."""

    #: Go on with the next supplement.
    CONTINUE = "continue"
    #: The supplement has answered the request, or will before its deadline.
    HANDLED = "handled"


class Reject(Exception):
    """
    Raised by a supplement, a gate or an application: refuse this request. Not an error, an answer.

    :param status: 300 to 699.
    :param reason: the reason phrase; the status's own when left out.
    :param headers: more headers of the response.
    :raises ValueError: when the status is none of these.
    :raises HeaderValueError: when something of it cannot be written.
    """

    def __init__(
        self, status: int, reason: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if not 300 <= status <= 699:
            raise ValueError(f"a request is refused with a status of 300 to 699, not {status}")
        check_headers(headers or {}, reason)
        self.status = status
        self.reason = reason or reason_phrase(status)
        self.headers = dict(headers or {})
        super().__init__(f"{self.status} {self.reason}")


class Retry:
    """
    Returned by ``incoming_response`` or ``request_failed``: send the request again, changed.

    The request is made anew from what was sent before any supplement saw it, with a new branch and
    CSeq, ``request.attempt`` raised, and passes the outgoing chain again.

    :param headers: header names and values to set; several values make several headers of that
        name, ``None`` removes it.
    :param uri: another Request-URI. Unless there is a Route, the request goes to its host.
    :param next_hop: a URI whose host the request goes to instead, such as the next server of a
        domain (:rfc:`3263#section-4.3`); the Request-URI stays.
    :raises HeaderValueError: when a header cannot be written.
    :raises MessageError: when ``uri`` or ``next_hop`` is none.
    """

    __slots__ = ("headers", "next_hop", "uri")

    def __init__(
        self,
        headers: Mapping[str, str | Sequence[str] | None] | None = None,
        *,
        uri: str | None = None,
        next_hop: str | None = None,
    ) -> None:
        #: Name to its values; none removes the header.
        self.headers = {name: _values(value) for name, value in (headers or {}).items()}
        self.uri = uri
        self.next_hop = next_hop
        for name, values in self.headers.items():
            for value in values or ("",):
                check_headers({name: value})
        for target in (uri, next_hop):
            if target is not None:
                parse_uri(target)


def _values(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def check_headers(headers: Mapping[str, str], reason: str | None = None) -> None:
    """
    Check headers and a reason phrase now, where the mistake is, rather than when they are sent.

    :raises HeaderValueError: when a name is no token, or a value holds a line break or a NUL.
    """
    probe = Headers()
    for name, value in headers.items():
        probe.set(name, value)
    if reason is not None:
        probe.set("Reason", reason)


#: What ``incoming_request`` may return; ``None`` means CONTINUE.
RequestVerdict: TypeAlias = (
    Verdict | Deferred["Verdict | None"] | Awaitable["Verdict | None"] | None
)
#: What ``incoming_response`` may return; ``None`` means CONTINUE.
ResponseVerdict: TypeAlias = Verdict | Retry | None


@implementer(IPlugin, ISessionSupplement)
class SessionSupplement:
    """
    The base class of supplements: it does nothing at no cost.

    Override what you need. A callback that is not overridden is never called.
    """

    #: Unique among all supplements; logs and ``sipsess plugins`` print it.
    name: str = ""
    #: The methods it sees, matched exactly; ``None`` for all. A response is matched by its CSeq.
    methods: frozenset[str] | None = None
    #: The order, 0 to 1000, lowest first; see :data:`REDIRECT` and :data:`MEDIA`.
    priority: int = 500
    #: What it makes the session support: methods, option tags, body types, INFO packages.
    allow: frozenset[str] = frozenset()
    option_tags: frozenset[str] = frozenset()
    accept: frozenset[str] = frozenset()
    recv_info: frozenset[str] = frozenset()

    def session_begin(self, session: Session) -> None:
        """See :meth:`.ISessionSupplement.session_begin`."""

    def session_end(self, session: Session) -> None:
        """See :meth:`.ISessionSupplement.session_end`."""

    def session_destroy(self, session: Session) -> None:
        """See :meth:`.ISessionSupplement.session_destroy`."""

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """See :meth:`.ISessionSupplement.incoming_request`."""
        return None

    def outgoing_request(self, session: Session, request: Request) -> None:
        """See :meth:`.ISessionSupplement.outgoing_request`."""

    def incoming_response(self, session: Session, response: Response) -> ResponseVerdict:
        """See :meth:`.ISessionSupplement.incoming_response`."""
        return None

    def outgoing_response(self, session: Session, response: Response) -> None:
        """See :meth:`.ISessionSupplement.outgoing_response`."""
