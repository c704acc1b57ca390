# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The INVITE that began a session, kept for whoever looks at it later, in little room."""

from __future__ import annotations

from sipsess.flow import Flow
from sipsess.message import Request, parse
from sipsess.transaction.via import stamp_received


class KeptInvite:
    """
    An INVITE, or its bytes.

    :param request: as received or as built.
    :param flow: where it came from, or goes.
    """

    __slots__ = ("_bytes", "_flow", "_request")

    def __init__(self, request: Request, flow: Flow) -> None:
        self._request: Request | None = request
        self._flow = flow
        self._bytes = b""

    def get(self) -> Request:
        """Return the INVITE."""
        if self._request is None:
            request = parse(self._bytes)
            assert isinstance(request, Request)
            stamp_received(request, self._flow)
            self._request = request
        return self._request

    def compact(self) -> None:
        """Keep of a received INVITE its bytes only; it is parsed again when somebody asks."""
        source = None if self._request is None else self._request.source
        if source is not None:
            self._bytes, self._request = source, None
