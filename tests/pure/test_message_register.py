# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a REGISTER says of a contact: expires, q, instance and date."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Headers, NameAddr
from sipsess.message._values import parse_date
from sipsess.message.register import (
    format_date,
    read_expires,
    read_identity,
    read_min_expires,
    read_q,
)


def contact(params: str) -> NameAddr:
    """Return a Contact with these parameters."""
    return NameAddr.parse(f"<sip:alice@192.0.2.7>{params}")


class ExpiresTests(SynchronousTestCase):
    """RFC 3261 10.2.1.1."""

    def test_parameter_before_header(self) -> None:
        """The contact's own parameter counts, then the header, then nothing."""
        headers = Headers([("Expires", "600")])
        self.assertEqual(read_expires(headers, contact(";expires=60")), 60)
        self.assertEqual(read_expires(headers, contact("")), 600)
        self.assertEqual(read_expires(headers), 600)
        self.assertIsNone(read_expires(Headers(), contact("")))

    def test_malformed(self) -> None:
        """What cannot be read means an hour; so does a number above 2**32 - 1."""
        for text in ("soon", "-1", "", str(2**32)):
            self.assertEqual(read_expires(Headers([("Expires", text)])), 3600, text)
        self.assertEqual(read_expires(Headers(), contact(";expires=never")), 3600)

    def test_min_expires(self) -> None:
        """The number of a 423, or nothing."""
        self.assertEqual(read_min_expires(Headers([("Min-Expires", " 120")])), 120)
        self.assertIsNone(read_min_expires(Headers([("Min-Expires", "long")])))
        self.assertIsNone(read_min_expires(Headers()))


class ParameterTests(SynchronousTestCase):
    """q, +sip.instance and reg-id."""

    def test_q(self) -> None:
        """Up to three digits, 0 to 1, in thousandths."""
        for text, value in (("1", 1000), ("0.7", 700), ("0.025", 25), ("1.000", 1000), ("0.", 0)):
            self.assertEqual(read_q(contact(f";q={text}")), value, text)

    def test_bad_q(self) -> None:
        """All else is none."""
        for text in ("", "2", "1.1", "0.1234", "0.x", ".5", "00"):
            self.assertIsNone(read_q(contact(f";q={text}")), text)
        self.assertIsNone(read_q(contact("")))

    def test_identity(self) -> None:
        """A reg-id counts with an instance only (RFC 5626 section 6)."""
        urn = '+sip.instance="<urn:uuid:1>"'
        self.assertEqual(read_identity(contact(f";{urn};reg-id=2")), ("<urn:uuid:1>", 2))
        self.assertEqual(read_identity(contact(f";{urn}")), ("<urn:uuid:1>", 0))
        self.assertEqual(read_identity(contact(f";{urn};reg-id=x")), ("<urn:uuid:1>", 0))
        self.assertEqual(read_identity(contact(";reg-id=2")), ("", 0))


class DateTests(SynchronousTestCase):
    """RFC 3261 20.17."""

    def test_example(self) -> None:
        """The RFC's own example, and what is written is read again."""
        moment = datetime(2010, 11, 13, 23, 29, 0, tzinfo=UTC)
        self.assertEqual(format_date(moment), "Sat, 13 Nov 2010 23:29:00 GMT")
        other = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.assertEqual(parse_date(format_date(other)), other)
