# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Answers challenges: 401 and 407 (:rfc:`3261#section-22`).

The endpoint of a call holds who can answer (:attr:`.Endpoint.credentials`); without, a challenge is
a refusal like any other. Of the challenges for one realm the first that can be answered is, as the
peer names the one that it prefers first (:rfc:`8760#section-2.4`); but MD5 comes last, whatever the
peer says: that is the local policy which the section allows. A realm that challenges again has
refused the credentials, unless it says that only the nonce was stale.

Whoever redirects a call of ours could send it to himself, name our realm, and guess at the password
for as long as he likes. So a call that was redirected to another host answers no challenges there,
unless :attr:`Credentials.answers_elsewhere` says that it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipsess.errors import SIPError
from sipsess.interfaces import IRequestFailed
from sipsess.message import SIPURI, Request, Response
from sipsess.message.challenge import (
    ANSWERED_BY,
    DEFAULT_ALGORITHM,
    Challenge,
    get_challenges,
)
from sipsess.supplement import Retry, SessionSupplement

if TYPE_CHECKING:
    from sipsess.interfaces import ICredentials
    from sipsess.session import Session

#: Under this name it is kept where a call goes.
COOKIE = "sipsess.credentials"


@dataclass(slots=True)
class _Hosts:
    """Where a call was to go, and where it goes now."""

    first: str
    now: str


@implementer(IRequestFailed)
class Credentials(SessionSupplement):
    """Sends a challenged request again, with credentials."""

    name = "credentials"
    #: Before the next target of a redirection is tried: a challenge is no failure (8.1.3.5).
    priority = 100
    #: Whether challenges are answered that come from where a call was redirected to.
    answers_elsewhere = False

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Note to which host a call of ours goes."""
        if session.endpoint.credentials is None or session.is_callee:
            return
        if session.is_initial(request):
            host = _host_of(request)
            if COOKIE not in session.cookies:
                session.cookies.add(COOKIE, _Hosts(host, host))
            session.cookies.get(COOKIE).now = host

    def request_failed(
        self, session: Session, request: Request, outcome: Response | SIPError
    ) -> Retry | None:
        """See :meth:`.IRequestFailed.request_failed`."""
        credentials = session.endpoint.credentials
        if credentials is None or not isinstance(outcome, Response):
            return None
        if outcome.status not in ANSWERED_BY:
            return None
        hosts: _Hosts | None = session.cookies.get(COOKIE)
        if hosts is not None and hosts.now != hosts.first and not self.answers_elsewhere:
            session.note("challenge unanswered", f"the call was redirected to {hosts.now}")
            return None
        try:
            return Retry(answer_challenges(credentials, request, outcome))
        except CredentialsRefused as refused:
            session.note("challenge unanswered", str(refused))
            return None


class CredentialsRefused(SIPError):
    """A challenge cannot be answered, or was answered already; the text says which."""


def answer_challenges(
    credentials: ICredentials, request: Request, response: Response
) -> dict[str, list[str]]:
    """
    Return the headers, by name, with which a challenged request is to be sent again.

    :param request: as it was sent.
    :param response: its 401 or 407.
    :raises CredentialsRefused: when it would be of no use.
    """
    asked, answered = ANSWERED_BY[response.status]
    given = {Challenge.parse(text).realm for text in request.headers.get_all(answered)}
    answers: dict[str, str] = {}
    challenges = get_challenges(response.headers, asked)
    for challenge in sorted(challenges, key=_is_weak):
        if challenge.realm in answers:
            continue
        if challenge.realm in given and not challenge.is_stale:
            raise CredentialsRefused(f"the realm {challenge.realm!r} refused the credentials")
        answer = credentials.answer_challenge(request, challenge)
        if answer is not None:
            answers[challenge.realm] = answer
    if not answers:
        raise CredentialsRefused(f"no credentials for the {response.status}")
    kept = [
        text
        for text in request.headers.get_all(answered)
        if Challenge.parse(text).realm not in answers
    ]
    return {answered: [*kept, *answers.values()]}


def _host_of(request: Request) -> str:
    uri = request.request_uri
    return uri.host.lower() if isinstance(uri, SIPURI) else ""


def _is_weak(challenge: Challenge) -> bool:
    return challenge.algorithm == DEFAULT_ALGORITHM
