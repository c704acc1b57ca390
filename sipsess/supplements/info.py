# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
INFO: digits as old telephones send them, and INFO packages (:rfc:`6086`).

A digit in a body of ``application/dtmf-relay`` or ``application/dtmf`` reaches the application like
any other one. An INFO of a package that nobody takes is answered 469 with Recv-Info, another body
415, an empty one 200.

A package is taken by a supplement that declares it::

    class Conference(InfoPackage):
        name = "conference"
        recv_info = frozenset({"conference"})

        def receive_info(self, session, request):
            ...  # raise Reject to refuse it
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from sipsess.errors import LocalError
from sipsess.media.dtmf_body import DTMF, DTMF_RELAY, HOOK_FLASH, parse_dtmf_body, parse_duration
from sipsess.message import Request
from sipsess.supplement import Reject, RequestVerdict, SessionSupplement, Verdict

if TYPE_CHECKING:
    from sipsess.session import Session


def get_package(request: Request) -> str | None:
    """Return the package of an INFO in lower case without parameters, or ``None``."""
    text = request.headers.get("Info-Package")
    return None if text is None else text.partition(";")[0].strip(" \t").lower()


def get_peer_packages(session: Session) -> frozenset[str]:
    """Return the packages that the peer takes, in lower case, as it said when the call began."""
    message = session.invite if session.is_callee else session.final_response
    values = [] if message is None else message.headers.values("Recv-Info")
    return frozenset(value.partition(";")[0].strip(" \t").lower() for value in values) - {"nil"}


class InfoPackage(SessionSupplement):
    """
    The base class of supplements that take INFO packages; declare them in ``recv_info``.

    Of several supplements that take the same package, the first one gets it.
    """

    methods = frozenset({"INFO"})
    allow = frozenset({"INFO"})

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """Claim the packages that are declared, and answer 200 when they were taken."""
        package = get_package(request)
        if package is None or package not in {name.lower() for name in self.recv_info}:
            return None
        result = self.receive_info(session, request)
        if result is None:
            return _accept(session, request)
        return _accept_later(session, request, result)

    def receive_info(self, session: Session, request: Request) -> Awaitable[None] | None:
        """
        Take an INFO of a declared package.

        :return: ``None``, or a Deferred or coroutine; then the 200 goes out when it is done.
        :raises Reject: to refuse it.
        """


class DigitInfo(SessionSupplement):
    """Takes digits in INFO bodies, and refuses what no other supplement took."""

    name = "info"
    priority = 970
    methods = frozenset({"INFO"})
    allow = frozenset({"INFO"})
    accept = frozenset({DTMF, DTMF_RELAY})

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """Pass the digit on; refuse unknown packages, unknown bodies and bodies without a key."""
        if "Info-Package" in request.headers:
            # RFC 6086 4.2.2: with Recv-Info, which the session adds.
            raise Reject(469)
        kind = request.content_type
        if not request.body or kind not in (DTMF, DTMF_RELAY, HOOK_FLASH):
            return None
        digit = "" if kind == HOOK_FLASH else parse_dtmf_body(request.body)
        session.note("INFO", f"digit {digit}" if digit else "hook flash")
        is_heard = session.endpoint.dtmf != "none"
        if digit and is_heard and session.channel is not None:
            try:
                session.channel.receive_digit(digit, parse_duration(request.body))
            except LocalError as error:
                # An echo whose queue is full, say: the peer presses faster than tones can be.
                session.note("INFO", f"digit dropped: {error}")
        return _accept(session, request)


def _accept(session: Session, request: Request) -> Verdict:
    session.send_response(200, request)
    return Verdict.HANDLED


async def _accept_later(session: Session, request: Request, result: Awaitable[None]) -> Verdict:
    await result
    return _accept(session, request)
