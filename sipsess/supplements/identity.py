# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What leaves about who calls: asserted identities, and privacy (:rfc:`3323`, :rfc:`3325`).

Theory of operation
    Who calls is what the program says in P-Asserted-Identity, P-Preferred-Identity or
    Remote-Party-ID, or else in From. It leaves in the one header that the endpoint is told it in
    (:attr:`.Endpoint.sends_identity`), and in no other one; an endpoint that is told nothing gets
    none of them, whoever has written them. That goes for responses, too, and for what tells the
    history of the call (:attr:`.Endpoint.sends_history`).

    A call that is placed with a Privacy of ``user``, ``id`` or ``header`` leaves with an anonymous
    From, and without what else names its user. Privacy itself leaves as it is, so that who is told
    the identity keeps it to himself. The whole call is then anonymous: its later requests repeat
    From, and the identity of the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import RemoteError
from sipsess.message import Headers, NameAddr, Params, Request, Response
from sipsess.message.privacy import ANONYMOUS_NAME, ANONYMOUS_URI, ID, is_hidden
from sipsess.supplement import LAST, SessionSupplement

from .history import HEADERS as HISTORY_HEADERS

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the identity that a call of ours has is kept.
COOKIE = "sipsess.identity"
#: By :attr:`.Endpoint.sends_identity`; in this order they are believed, too.
HEADERS = {
    "pai": "P-Asserted-Identity",
    "ppi": "P-Preferred-Identity",
    "rpid": "Remote-Party-ID",
}
#: Requests that say who this side is (:rfc:`5876#section-3`).
_TELLING = frozenset({"INVITE", "UPDATE", "REFER", "MESSAGE"})
#: What names a user besides (:rfc:`3323#section-4.1`).
_REVEALING = (
    *("Call-Info", "In-Reply-To", "Organization", "Reply-To", "Subject", "User-Agent"),
    *HISTORY_HEADERS.values(),
)
#: Identities of one message: a SIP URI and a tel URI (:rfc:`3325#section-9.1`).
_MAX_IDENTITIES = 2


class Identity(SessionSupplement):
    """Lets endpoints know who calls, or not."""

    name = "identity"
    #: The last word: nothing that another supplement writes gets past it.
    priority = LAST - 5

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Tell who calls, and hide it."""
        headers = request.headers
        is_first = session.is_initial(request) and not session.is_callee
        given = _take(headers)
        for way, header in HISTORY_HEADERS.items():
            if way != session.endpoint.sends_history and header in headers:
                headers.remove(header)
        if is_first and COOKIE not in session.cookies:
            # It says the same in each further attempt.
            known = given or [_bare(request.from_)]
            session.cookies.add(COOKIE, (known, is_hidden(headers)))
        known, hidden = session.cookies.get(COOKIE) or ([_bare(request.from_)], False)
        if is_first and hidden:
            _hide(request)
        if request.method in _TELLING:
            _tell(session, headers, given or known, "calling", hidden=hidden)

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Tell who has answered, if the program says so, and the endpoint is told."""
        given = _take(response.headers)
        if given:
            hidden = is_hidden(response.headers)
            _tell(session, response.headers, given, "called", hidden=hidden)


def _take(headers: Headers) -> list[NameAddr]:
    """Take out all headers that say who somebody is; return what the first of them says."""
    found: list[NameAddr] = []
    for header in HEADERS.values():
        for text in () if found else headers.values(header)[:_MAX_IDENTITIES]:
            try:
                address = NameAddr.parse(text)
                _ = address.parsed_uri
            except RemoteError:
                continue
            found.append(_bare(address))
        if header in headers:
            headers.remove(header)
    return found


def _bare(address: NameAddr) -> NameAddr:
    """Return an address without its parameters, such as the tag."""
    return NameAddr(address.display_name, address.uri)


def _tell(
    session: Session, headers: Headers, identities: list[NameAddr], party: str, *, hidden: bool
) -> None:
    """Write the header that the endpoint is told an identity in."""
    way = session.endpoint.sends_identity
    if way == "no":
        return
    header = HEADERS[way]
    if hidden and "Privacy" not in headers:
        headers.set("Privacy", ID)
    if way == "rpid":
        params = Params().with_("party", party).with_("screen", "yes")
        params = params.with_("privacy", "full" if hidden else "off")
        first = identities[0]
        headers.set(header, str(NameAddr(first.display_name, first.uri, params)))
        return
    for address in identities:
        headers.add(header, str(address))


def _hide(request: Request) -> None:
    """Let an INVITE come from nobody (:rfc:`3323#section-4.1`)."""
    headers = request.headers
    params = Params().with_("tag", request.from_tag or "")
    headers.set("From", str(NameAddr(ANONYMOUS_NAME, ANONYMOUS_URI, params)))
    for name in _REVEALING:
        if name in headers:
            headers.remove(name)
