# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Why a call ended, as both sides say it in Reason headers (:rfc:`3326`).

What the peer says in a BYE, a CANCEL or the refusal of our INVITE is kept for :func:`get_reasons`,
and noted in the decision record; of a BYE and a CANCEL it becomes the text of
``session.end_reason``. What this side sends says why too, unless somebody else said it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.message import Request, Response
from sipsess.message.reason import Q850_CAUSES, Reason, parse_reasons
from sipsess.session.reason import NETWORK, REMOTE, EndReason
from sipsess.status import reason_phrase
from sipsess.supplement import SessionSupplement

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the reasons of the peer are kept.
COOKIE = "sipsess.reason"

#: Causes of Q.850 (:rfc:`3398`): somebody hung up; a timer ran out.
_NORMAL_CLEARING = 16
_TIMER_EXPIRED = 102


def get_reasons(session: Session) -> tuple[Reason, ...]:
    """Return why the peer ended or refused the call, one value per protocol; mostly none."""
    reasons: tuple[Reason, ...] = session.cookies.get(COOKIE, ())
    return reasons


class ReasonSupplement(SessionSupplement):
    """Reads and writes the Reason header."""

    name = "reason"
    #: Nearly last: whoever else sets a Reason comes first.
    priority = 980
    methods = frozenset({"INVITE", "CANCEL", "BYE"})

    def incoming_request(self, session: Session, request: Request) -> None:
        """Keep what the peer says in a BYE or a CANCEL, and let it be the session's end reason."""
        method = request.method
        # A CANCEL that crosses the 200 ends nothing, nor does that of a re-INVITE.
        if method == "BYE" or (method == "CANCEL" and not session.is_answered):
            text = _keep(session, request)
            if text:
                reasons = get_reasons(session)
                session.set_reason(EndReason(REMOTE, method, None, text, reasons, request.headers))

    def incoming_response(self, session: Session, response: Response) -> None:
        """Keep what the peer says when it refuses our INVITE, until another attempt is answered."""
        if response.status >= 300:
            if session.dialog is None and response.cseq.method == "INVITE":
                _keep(session, response)
        elif response.status >= 200 and COOKIE in session.cookies:
            session.cookies.remove(COOKIE)

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Say in a BYE and a CANCEL why."""
        if request.method != "INVITE" and "Reason" not in request.headers:
            request.headers.set("Reason", str(_why(session.end_reason)))

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Say in the refusal of a call why, in the words of the telephone network."""
        if response.status < 300 or session.is_answered or "Reason" in response.headers:
            return
        cause = Q850_CAUSES.get(response.status)
        if cause is not None and response.cseq.method == "INVITE":
            # RFC 6432: only Q.850 has a place in responses; they have a SIP status themselves.
            response.headers.set("Reason", str(Reason.q850(cause)))


def _keep(session: Session, message: Request | Response) -> str:
    """Keep the reasons of a message and no others; return them for people."""
    if COOKIE in session.cookies:
        session.cookies.remove(COOKIE)
    reasons = parse_reasons(message.headers)
    if not reasons:
        return ""
    session.cookies.add(COOKIE, reasons)
    text = ", ".join(reason.describe() for reason in reasons)
    session.note("reason", text)
    return text


def _why(end: EndReason | None) -> Reason:
    """Return what is sent for the reason that a session ends."""
    if end is not None and end.status is not None:
        return Reason("SIP", end.status, reason_phrase(end.status))
    is_timeout = end is not None and end.by == NETWORK
    return Reason.q850(_TIMER_EXPIRED if is_timeout else _NORMAL_CLEARING)
