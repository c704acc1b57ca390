# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Routes: which application a user gets, and from whom."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.pattern import MAX_TEXT, compile_pattern
from sipsess.routing import Destination, Route, Router, route_by_name
from sipsess.session import Session
from tests.policy.agents import US, BoxTestCase, Script


class Named(Application):
    """An application with a name."""

    def __init__(self, name: str) -> None:
        self.name = name


ECHO, HELLO, MENU = Named("echo"), Named("hello"), Named("menu")
TRUNK = Endpoint("trunk")


class RouterTests(SynchronousTestCase):
    """The table alone."""

    def find(self, router: Router, user: str, endpoint: Endpoint = ANONYMOUS) -> str:
        """Return the name of the application, or ``""``."""
        found = router.find(user, endpoint)
        return "" if found is None else found.application.name

    def test_user(self) -> None:
        """A user is matched as a whole and exactly; without a default all others get nothing."""
        router = Router([Route(ECHO, user="1000"), Route(HELLO, user="Anna")])
        found = [self.find(router, user) for user in ("1000", "Anna", "anna", "10001", "")]
        self.assertEqual(found, ["echo", "hello", "", "", ""])

    def test_pattern(self) -> None:
        """A pattern matches the whole user; the named groups that took part are told."""
        pattern = compile_pattern("(?P<prefix>[*])?1(?P<room>[0-9]{3})")
        router = Router([Route(MENU, pattern=pattern)])
        self.assertEqual(router.find("1234", ANONYMOUS), Destination(MENU, {"room": "234"}))
        groups = {"prefix": "*", "room": "234"}
        self.assertEqual(router.find("*1234", ANONYMOUS), Destination(MENU, groups))
        self.assertIsNone(router.find("12345", ANONYMOUS))

    def test_order(self) -> None:
        """Users come before patterns, patterns in their order, the default last."""
        router = Router(
            [
                Route(MENU, pattern=compile_pattern("1.*")),
                Route(HELLO, pattern=compile_pattern(".*0")),
                Route(ECHO, user="1000"),
            ],
            default=Named("rest"),
        )
        found = [self.find(router, user) for user in ("1000", "1500", "2500", "2501")]
        self.assertEqual(found, ["echo", "menu", "hello", "rest"])

    def test_endpoints(self) -> None:
        """A route of some endpoints is not there for others; the next one counts."""
        only = frozenset({"trunk"})
        router = Router(
            [
                Route(ECHO, user="1000", endpoints=only),
                Route(HELLO, user="1000"),
                Route(MENU, pattern=compile_pattern("2.*"), endpoints=only),
            ]
        )
        self.assertEqual(self.find(router, "1000", TRUNK), "echo")
        self.assertEqual(self.find(router, "1000"), "hello")
        self.assertEqual(self.find(router, "2000", TRUNK), "menu")
        self.assertEqual(self.find(router, "2000"), "")

    def test_long_user(self) -> None:
        """A user that is longer than anybody's matches no pattern."""
        router = Router([Route(ECHO, pattern=compile_pattern(".*"))])
        self.assertEqual(self.find(router, "1" * MAX_TEXT), "echo")
        self.assertEqual(self.find(router, "1" * (MAX_TEXT + 1)), "")

    def test_by_name(self) -> None:
        """Without routes of somebody's each application is a user."""
        router = route_by_name([ECHO, HELLO], HELLO)
        found = [self.find(router, user) for user in ("echo", "hello", "nobody")]
        self.assertEqual(found, ["echo", "hello", "hello"])

    def test_sample_user(self) -> None:
        """Who can be called: the default, else the first user, else nobody knows."""
        self.assertEqual(route_by_name([ECHO], HELLO).sample_user, "hello")
        self.assertEqual(Router([Route(ECHO, user="1000")]).sample_user, "1000")
        self.assertIsNone(Router([Route(ECHO, pattern=compile_pattern("1.*"))]).sample_user)


class RoutedCallTests(BoxTestCase):
    """Calls through a router."""

    def test_groups_reach_the_application(self) -> None:
        """What the pattern matched is a cookie of the session; a route without groups has none."""
        seen: list[object] = []

        async def note(session: Session) -> None:
            seen.append(session.cookies.get("route-groups"))

        script = Script(note)
        self.start()
        self.box.manager.router = Router(
            [
                Route(script, pattern=compile_pattern("1(?P<room>[0-9]+)")),
                Route(script, user="2"),
            ]
        )
        for user, status in (("123", 480), ("2", 480), ("3", 404)):
            self.invite(uri=f"sip:{user}@{US}")
            refusal = self.answer_to("INVITE")
            self.peer.ack(refusal)
            self.assertEqual(refusal.status, status)
        self.assertEqual(seen, [{"room": "23"}, None])
        self.finish()
