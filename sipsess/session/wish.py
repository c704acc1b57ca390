# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A wish to send an INVITE or UPDATE within a call, as long as it has no final response."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipsess.message import Response

from .media_change import MediaChange, Streams


class Wish:
    """One INVITE or UPDATE of ours within the call, from the wish to its final response."""

    __slots__ = (
        "base",
        "change",
        "deferred",
        "glares",
        "headers",
        "is_proceeding",
        "is_withdrawn",
        "method",
        "with_offer",
    )

    def __init__(
        self,
        headers: dict[str, str],
        method: str,
        with_offer: bool,
        change: MediaChange,
        base: Streams,
    ) -> None:
        self.headers = headers
        self.method = method
        self.with_offer = with_offer
        self.change = change
        #: The streams in force when it was wished for.
        self.base = tuple(base)
        self.deferred: Deferred[Response] = Deferred()
        self.glares = 0
        #: Nobody waits for what becomes of it any more.
        self.is_withdrawn = False
        #: The peer has answered it provisionally: it may be cancelled (9.1).
        self.is_proceeding = False
