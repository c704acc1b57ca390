# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A request of a session, kept for whoever looks at it later, in little room."""

from __future__ import annotations

from sipsess.flow import Flow
from sipsess.message import Request, parse
from sipsess.transaction.via import stamp_received


class KeptRequest:
    """
    A request, or its bytes.

    :param request: as received or as built.
    :param flow: where it came from, or goes.
    """

    __slots__ = ("_bytes", "_flow", "_request")

    def __init__(self, request: Request, flow: Flow) -> None:
        self._request: Request | None = request
        self._flow = flow
        self._bytes = b""

    def get(self) -> Request:
        """Return the request."""
        return self._request or self._parse()

    def _parse(self) -> Request:
        request = parse(self._bytes)
        assert isinstance(request, Request)
        stamp_received(request, self._flow)
        self._request = request
        return request

    def compact(self) -> None:
        """Keep of a received request its bytes only; it is parsed again when somebody asks."""
        source = None if self._request is None else self._request.source
        if source is not None:
            self._bytes, self._request = source, None
