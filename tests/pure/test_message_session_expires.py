# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Session-Expires, Min-SE and the refresher table (:rfc:`4028`)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Headers, MessageError
from sipsess.message.session_expires import (
    SessionExpires,
    choose_refresher,
    get_min_se,
    get_session_expires,
)


class SessionExpiresTests(SynchronousTestCase):
    """The values."""

    def test_read(self) -> None:
        """RFC 4028 4: seconds and a refresher; the compact form is x; others are ignored."""
        self.assertEqual(SessionExpires.parse("4000 ; Refresher=UAS"), SessionExpires(4000, "uas"))
        self.assertEqual(SessionExpires.parse("90;refresher=me;x=y"), SessionExpires(90))
        self.assertEqual(
            get_session_expires(Headers([("x", "1800;refresher=uac")])), SessionExpires(1800, "uac")
        )
        self.assertIsNone(get_session_expires(Headers()))

    def test_garbage(self) -> None:
        """What does not begin with a number is refused, and so is a broken parameter."""
        for text in ("", "soon", "-1", "99999999999", "90;;"):
            with self.assertRaises(MessageError):
                SessionExpires.parse(text)
        with self.assertRaises(MessageError) as caught:
            get_min_se(Headers([("Min-SE", "x")]))
        self.assertEqual(caught.exception.reason_code, "bad-session-expires")

    def test_min_se(self) -> None:
        """RFC 4028 5: 90 s when absent, and never less."""
        self.assertEqual(get_min_se(Headers()), 90)
        self.assertEqual(get_min_se(Headers([("Min-SE", "10")])), 90)
        self.assertEqual(get_min_se(Headers([("Min-SE", "120;x=y")])), 120)

    def test_delays(self) -> None:
        """RFC 4028 10: refreshed after the half, ended a third or 32 s before the end."""
        self.assertEqual(SessionExpires(1800).refresh_delay, 900)
        self.assertEqual(SessionExpires(1800).expiry_delay, 1768)
        self.assertEqual(SessionExpires(90).expiry_delay, 60)

    def test_wire_form(self) -> None:
        """The refresher is written when it is known."""
        self.assertEqual(str(SessionExpires(90)), "90")
        self.assertEqual(str(SessionExpires(90, "uac")), "90;refresher=uac")

    def test_refresher_table(self) -> None:
        """RFC 4028 9, table 2: each row."""
        rows = (
            (False, None, "uas"),
            (False, "uac", "uas"),
            (False, "uas", "uas"),
            (True, None, "uac"),
            (True, "uac", "uac"),
            (True, "uas", "uas"),
        )
        for is_supported, asked, chosen in rows:
            with self.subTest(is_supported=is_supported, asked=asked):
                offered = SessionExpires(1800, asked)
                self.assertEqual(choose_refresher(offered, is_supported=is_supported), chosen)
        self.assertEqual(choose_refresher(None, is_supported=True), "uas")
