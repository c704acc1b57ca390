# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Refuses calls of who does not want to be known, for endpoints that want none (:rfc:`5079`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.message import Request
from sipsess.supplement import Reject, SessionSupplement

if TYPE_CHECKING:
    from sipsess.session import Session


class Anonymity(SessionSupplement):
    """
    Answers 433 to anonymous calls of an endpoint with ``accepts_anonymous=False``.

    What a trusted endpoint asserts does not help a caller who asks that it be hidden: whoever is
    called would not see it.
    """

    name = "anonymity"
    #: Before a port is opened for it.
    priority = 60
    methods = frozenset({"INVITE"})

    def incoming_request(self, session: Session, request: Request) -> None:
        """
        Look at who calls.

        :raises Reject: with 433, when it is nobody.
        """
        if session.endpoint.accepts_anonymous or not session.is_initial(request):
            return
        if session.get_identity(request).anonymous:
            raise Reject(433)
