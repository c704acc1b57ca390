# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Digits in bodies of INFO."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media.dtmf_body import build_dtmf_relay, parse_dtmf_body, parse_duration
from sipsess.media.rtp import MediaError
from sipsess.media.telephone_event import DIGITS


class DTMFBodyTests(SynchronousTestCase):
    """Both forms, as telephones write them."""

    def test_relay(self) -> None:
        """The key is found whatever the case, the spaces, the line breaks and the order."""
        for body in (
            b"Signal=5\r\nDuration=160",
            b"Signal= 5\r\nDuration= 160\r\n",
            b"signal = 5\nduration = 160\n",
            b"Duration=160\r\nSIGNAL=5",
            b"Signal=5",
        ):
            self.assertEqual(parse_dtmf_body(body), "5")

    def test_plain(self) -> None:
        """The key alone will do."""
        self.assertEqual(parse_dtmf_body(b"#"), "#")
        self.assertEqual(parse_dtmf_body(b" d\r\n"), "D")

    def test_codes(self) -> None:
        """RFC 4733 3.2: codes of two figures stand for the keys without a figure."""
        self.assertEqual(parse_dtmf_body(b"Signal=10"), "*")
        self.assertEqual(parse_dtmf_body(b"Signal=11"), "#")
        self.assertEqual(parse_dtmf_body(b"15"), "D")

    def test_hook_flash(self) -> None:
        """A hook flash is understood, and is no digit."""
        for key in (b"!", b"16", b"hf", b"Signal=flash"):
            self.assertEqual(parse_dtmf_body(key), "")

    def test_bad(self) -> None:
        """Anything else is refused."""
        for body in (
            b"",
            b"Signal=",
            b"Signal=55",
            b"Duration=5",
            b"x",
            b"\xff",
            b"5" + b" " * 300,
        ):
            with self.assertRaises(MediaError) as caught:
                parse_dtmf_body(body)
            self.assertEqual(caught.exception.reason_code, "bad-dtmf-body")

    def test_duration(self) -> None:
        """It is in milliseconds; one that is no number, or absurd, is none."""
        for text, seconds in (
            ("Signal=5\r\nDuration=160\r\n", 0.16),
            ("duration = 1000\nSignal=5", 1.0),
            ("Signal=5\r\nDuration=9999999", None),
            ("Signal=5\r\nDuration=-1", None),
            ("Signal=5\r\nDuration=1.5", None),
            ("Signal=5", None),
            ("5", None),
        ):
            self.assertEqual(parse_duration(text.encode()), seconds, text)

    def test_round_trip(self) -> None:
        """What is written is read; other characters are not written."""
        self.assertEqual(build_dtmf_relay("5", 0.16), b"Signal=5\r\nDuration=160\r\n")
        for digit in DIGITS:
            self.assertEqual(parse_dtmf_body(build_dtmf_relay(digit)), digit)
        with self.assertRaises(LocalError):
            build_dtmf_relay("x")
