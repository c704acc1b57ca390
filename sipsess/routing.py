# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a new call is for: the Request-URI's user chooses an application.

Theory of operation
    A route names one user, or a pattern that the whole user must match, and an application. The
    routes of one user are asked before the patterns, and both in their order; the first that the
    endpoint may use counts. When there is none, the default application gets the call, and without
    one the call is refused: 404, the same for what is not there and for what is not allowed.

    A router never changes: a reload puts another in its place, and live calls keep what they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from re import Pattern

from sipsess.endpoint import Endpoint
from sipsess.interfaces import IApplication
from sipsess.pattern import MAX_TEXT

#: The cookie of a session that holds what the groups of its route's pattern matched.
GROUPS = "route-groups"


@dataclass(frozen=True, slots=True)
class Route:
    """One way to an application; with a pattern or a user, never both."""

    application: IApplication
    #: The user that it is for, escapes resolved; the number of a ``tel:`` URI.
    user: str = ""
    #: What the whole user must match; see :func:`.compile_pattern`.
    pattern: Pattern[str] | None = None
    #: The names of the endpoints that may use it; empty for all.
    endpoints: frozenset[str] = frozenset()

    def is_for(self, endpoint: Endpoint) -> bool:
        """Tell whether an endpoint may use it."""
        return not self.endpoints or endpoint.name in self.endpoints


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call goes."""

    application: IApplication
    #: What the named groups of the pattern matched; a group that took no part is left out.
    groups: Mapping[str, str] = field(default_factory=dict)


class Router:
    """
    The routes of a server.

    :param routes: in order.
    :param default: for every other user; ``None`` refuses.
    """

    def __init__(self, routes: Iterable[Route] = (), default: IApplication | None = None) -> None:
        self.routes = tuple(routes)
        self.default = default
        self._by_user: dict[str, list[Route]] = {}
        self._patterns: list[tuple[Pattern[str], Route]] = []
        for route in self.routes:
            if route.pattern is None:
                self._by_user.setdefault(route.user, []).append(route)
            else:
                self._patterns.append((route.pattern, route))

    @property
    def sample_user(self) -> str | None:
        """A user that can be called, to be told to people; ``None`` when nobody knows one."""
        if self.default is not None:
            return self.default.name
        return next(iter(self._by_user), None)

    def find(self, user: str, endpoint: Endpoint) -> Destination | None:
        """
        Return where a call goes, or ``None``.

        :param user: of the Request-URI, or empty.
        :param endpoint: who calls.
        """
        for route in self._by_user.get(user, ()):
            if route.is_for(endpoint):
                return Destination(route.application)
        if len(user) <= MAX_TEXT:
            for pattern, route in self._patterns:
                match = pattern.fullmatch(user) if route.is_for(endpoint) else None
                if match is not None:
                    found = match.groupdict().items()
                    return Destination(route.application, {k: v for k, v in found if v is not None})
        return None if self.default is None else Destination(self.default)


def route_by_name(applications: Iterable[IApplication], default: IApplication | None) -> Router:
    """Return the router for which each application is a user: the one that has its name."""
    return Router([Route(item, user=item.name) for item in applications], default)
