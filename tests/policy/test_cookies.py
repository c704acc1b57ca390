# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Cookies: kept under a name, destroyed exactly once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import CookieError
from sipsess.session import Cookies
from sipsess.session.cookies import MAX_COOKIES


class _Owner:
    """Writes down which cookies fail."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def cookie_failed(self, name: str, error: Exception) -> None:
        """See :meth:`.CookieOwner.cookie_failed`."""
        self.failed.append(name)


class CookiesTests(SynchronousTestCase):
    """The rules."""

    def setUp(self) -> None:
        """Make a jar."""
        self.cookies = Cookies()
        self.destroyed: list[object] = []

    def test_add_get_remove(self) -> None:
        """A value is there until it is removed, and is destroyed then."""
        self.cookies.add("a", 1, self.destroyed.append)
        self.assertEqual(self.cookies.get("a"), 1)
        self.assertIn("a", self.cookies)
        self.cookies.remove("a")
        self.assertEqual(self.destroyed, [1])
        self.assertNotIn("a", self.cookies)
        self.assertIsNone(self.cookies.get("a"))
        self.assertEqual(self.cookies.get("a", 5), 5)
        self.assertRaises(CookieError, self.cookies.remove, "a")
        self.cookies.destroy_all()
        self.assertEqual(self.destroyed, [1])

    def test_a_name_is_taken_once(self) -> None:
        """A second cookie of a name is refused; after removal the name is free."""
        self.cookies.add("a", 1)
        self.assertRaises(CookieError, self.cookies.add, "a", 2)
        self.cookies.remove("a")
        self.cookies.add("a", 2)
        self.assertEqual(self.cookies.get("a"), 2)

    def test_the_youngest_goes_first(self) -> None:
        """At the end they are destroyed in reverse order, each once."""
        for name in "abc":
            self.cookies.add(name, name, self.destroyed.append)
        self.cookies.destroy_all()
        self.cookies.destroy_all()
        self.assertEqual(self.destroyed, ["c", "b", "a"])

    def test_the_end_takes_no_more(self) -> None:
        """After the end, and during it, nothing can be added."""
        self.cookies.add("a", 1, lambda value: self.cookies.add("b", 2))
        self.cookies.destroy_all()
        self.assertEqual(len(self.flushLoggedErrors(CookieError)), 1)
        self.assertRaises(CookieError, self.cookies.add, "c", 1)

    def test_destroy_may_remove_another(self) -> None:
        """A destroy that removes another cookie does not destroy it twice."""
        self.cookies.add("a", "a", self.destroyed.append)
        self.cookies.add("b", "b", lambda value: self.cookies.remove("a"))
        self.cookies.destroy_all()
        self.assertEqual(self.destroyed, ["a"])

    def test_destroy_that_raises(self) -> None:
        """It is told to the owner, or logged, and the others are destroyed."""
        owner = _Owner()
        for cookies in (self.cookies, Cookies(owner)):
            cookies.add("a", 1, self.destroyed.append)
            cookies.add("b", 0, lambda value: 1 / value)
            cookies.destroy_all()
        self.assertEqual(self.destroyed, [1, 1])
        self.assertEqual(owner.failed, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bound(self) -> None:
        """A plugin that adds without end is stopped."""
        for number in range(MAX_COOKIES):
            self.cookies.add(str(number), number)
        self.assertRaises(CookieError, self.cookies.add, "more", 1)
