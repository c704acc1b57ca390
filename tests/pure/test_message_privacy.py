# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Privacy (:rfc:`3323`): what is asked for, and who is nobody."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Headers, NameAddr
from sipsess.message.privacy import get_privacy, is_anonymous, is_hidden


class PrivacyTests(SynchronousTestCase):
    """The header."""

    def test_values(self) -> None:
        """Words between semicolons, in any case; ``none`` excludes the others (section 4.2)."""
        for values, expected in (
            ([], set()),
            (["user;id;critical"], {"user", "id", "critical"}),
            ([" Header ; SESSION"], {"header", "session"}),
            (["id", "history"], {"id", "history"}),
            (["id, user"], {"id", "user"}),
            (["id;none"], {"none"}),
            (["", ";;"], set()),
        ):
            headers = Headers([("Privacy", value) for value in values])
            self.assertEqual(get_privacy(headers), expected, values)

    def test_hidden(self) -> None:
        """Three of them hide who calls."""
        for value, expected in (
            ("id", True),
            ("user", True),
            ("header", True),
            ("session;history;critical", False),
            ("none;id", False),
        ):
            self.assertIs(is_hidden(Headers([("Privacy", value)])), expected)

    def test_bounded(self) -> None:
        """However many words there are, a few are looked at."""
        self.assertFalse(is_hidden(Headers([("Privacy", ";" * 5000 + "id")])))

    def test_anonymous(self) -> None:
        """By user or by host (section 4.1.1.3)."""
        for text, expected in (
            ("<sip:anonymous@anonymous.invalid>", True),
            ("<sip:%61nonymous@x.example>", True),
            ("<sip:x@Anonymous.Invalid>", True),
            ("Anonymous <sip:x@x.example>", False),
            ("<tel:+1>", False),
        ):
            self.assertIs(is_anonymous(NameAddr.parse(text)), expected, text)
