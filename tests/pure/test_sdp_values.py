# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.values`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import Connection, Origin, RTPMap
from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.values import (
    MediaLine,
    address_type_of,
    check_text,
    check_token,
    read_number,
    split_fields,
)


class TextTests(SynchronousTestCase):
    """What may stand in a line."""

    def test_check_text(self) -> None:
        """CR, LF, NUL and lone surrogates are refused; everything else passes (RFC 8866 9)."""
        for text in ("a\rb", "a\nb", "a\0b", "\ud800", "\udc0a"):
            self.assertRaises(LocalSDPError, check_text, text)
        for text in ("", "a b", "\x0b\x85\u2028", "Zürich", "\udcff"):
            self.assertEqual(check_text(text), text)

    def test_check_token(self) -> None:
        """A field has no white space and is not empty."""
        for text in ("", "a b", "a\tb", "a\nb"):
            self.assertRaises(LocalSDPError, check_token, text)
        self.assertEqual(check_token("RTP/AVP"), "RTP/AVP")

    def test_split_fields(self) -> None:
        """Only spaces separate fields; several count as one."""
        self.assertEqual(split_fields(" a  b\u00a0c "), ["a", "b\u00a0c"])
        self.assertEqual(split_fields("a b"), ["a", "b"])

    def test_read_number(self) -> None:
        """Only plain decimal digits up to the limit are a number."""
        self.assertEqual(read_number("0080", 80), 80)
        for text in ("", "81", "-1", "+1", "1_0", " 1", "\u0663", "\u00b2", "1" * 5000):
            self.assertRaises(ValueError, read_number, text, 80)


class OriginTests(SynchronousTestCase):
    """The o= line (RFC 8866 5.2)."""

    def test_round_trip(self) -> None:
        """An origin is written as it was read."""
        text = "alice 2890844526 2890842807 IN IP6 2001:db8::1"
        origin = Origin.parse(text)
        self.assertEqual(str(origin), text)
        self.assertEqual((origin.username, origin.version), ("alice", 2890842807))

    def test_build(self) -> None:
        """An own origin names no user, and knows the type of its address."""
        self.assertEqual(str(Origin.build("192.0.2.1")), "- 0 0 IN IP4 192.0.2.1")
        self.assertEqual(str(Origin.build("::1", session_id=3, version=4)), "- 3 4 IN IP6 ::1")

    def test_address_type(self) -> None:
        """Names count as IP4."""
        self.assertEqual(
            [address_type_of(host) for host in ("::1", "192.0.2.1", "a.example")],
            ["IP6", "IP4", "IP4"],
        )


class ConnectionTests(SynchronousTestCase):
    """The c= line (RFC 8866 5.7)."""

    def test_round_trip(self) -> None:
        """Unicast, multicast and IPv6 are written as they were read."""
        for text in (
            "IN IP4 192.0.2.1",
            "IN IP4 224.2.36.42/127",
            "IN IP4 224.2.1.1/127/3",
            "IN IP6 2001:db8::1",
            "IN IP6 FF15::101/3",
            "IN IP4 media.example.org",
        ):
            self.assertEqual(str(Connection.parse(text)), text)

    def test_multicast(self) -> None:
        """TTL and count are read; IPv6 has no TTL."""
        self.assertEqual(
            Connection.parse("IN IP4 224.2.1.1/127/3"), Connection("224.2.1.1", 127, 3)
        )
        connection = Connection.parse("IN IP6 FF15::101/3")
        self.assertEqual((connection.ttl, connection.count), (None, 3))
        self.assertEqual(Connection.parse("IN IP4 224.2.1.1/1").count, 1)

    def test_odd_addresses(self) -> None:
        """Too many slashes, no host, or no numbers are refused."""
        for text in (
            "IN IP4 224.2.1.1/127/3/4",
            "IN IP6 FF15::101/3/4",
            "IN IP4 /127",
            "IN IP4 224.2.1.1/256",
            "IN IP4 224.2.1.1/127/",
            "IN IP4",
        ):
            self.assertRaises(ValueError, Connection.parse, text)

    def test_fourth_field_ignored(self) -> None:
        """What follows the address is ignored."""
        self.assertEqual(Connection.parse("IN IP4 192.0.2.1 x"), Connection("192.0.2.1"))

    def test_black_hole(self) -> None:
        """0.0.0.0 (RFC 3264 8.4), :: and names under invalid (RFC 2606 2) lead nowhere."""
        holes = ("0.0.0.0", "::", "nowhere.invalid")
        self.assertTrue(all(Connection.build(host).is_black_hole for host in holes))
        self.assertFalse(Connection.build("192.0.2.1").is_black_hole)

    def test_build_refuses(self) -> None:
        """A host with white space or a line break is not written."""
        for host in ("", "a b", "192.0.2.1\r\na=x"):
            self.assertRaises(LocalSDPError, Connection.build, host)


class MediaLineTests(SynchronousTestCase):
    """The m= line (RFC 8866 5.14)."""

    def test_round_trip(self) -> None:
        """A port count is kept, and written only when it is not 1."""
        for text in ("video 49170/2 RTP/AVP 31", "image 49170 udptl t38"):
            self.assertEqual(str(MediaLine.parse(text)), text)
        self.assertEqual(MediaLine.parse("video 49170/2 RTP/AVP 31").port_count, 2)

    def test_build_refuses(self) -> None:
        """Fields that could not be read again are not written."""
        for fields in (
            ("audio", 65536, 1, "RTP/AVP", ["0"]),
            ("audio", -1, 1, "RTP/AVP", ["0"]),
            ("audio", 1, 0, "RTP/AVP", ["0"]),
            ("audio", 1, 1, "RTP/AVP", []),
            ("audio", 1, 1, "RTP/AVP 0", ["0"]),
            ("audio", 1, 1, "RTP/AVP", ["0\r\na=x"]),
            ("", 1, 1, "RTP/AVP", ["0"]),
        ):
            self.assertRaises(LocalSDPError, MediaLine.build, *fields)


class RTPMapTests(SynchronousTestCase):
    """``a=rtpmap`` (RFC 8866 6.6)."""

    def test_round_trip(self) -> None:
        """Channels are written only when there are several."""
        for text in ("opus/48000/2", "PCMU/8000"):
            self.assertEqual(str(RTPMap.parse(text)), text)
        for text in ("PCMU/8000/1", "PCMU/8000/"):
            self.assertEqual(RTPMap.parse(text), RTPMap("PCMU", 8000))

    def test_unreadable(self) -> None:
        """A map without clock rate, or with more parts, is none."""
        for text in ("", "PCMU", "PCMU/x", "/8000", "PCMU/8000/1/1", "PCMU/8000/x"):
            self.assertRaises(ValueError, RTPMap.parse, text)

    def test_matches(self) -> None:
        """Encoding names do not know case (RFC 4855 3), but rates and channels count."""
        self.assertTrue(RTPMap("pcmu", 8000).matches(RTPMap("PCMU", 8000)))
        self.assertFalse(RTPMap("L16", 44100, 2).matches(RTPMap("L16", 44100)))
