# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Messages of :rfc:`5118`, torture tests for IPv6, under their names."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import SIPURI, MessageError, Request, parse, peek

_HERE = Path(__file__).parent / "rfc5118"


def load(name: str) -> Request:
    """Parse one message."""
    message = parse((_HERE / f"{name}.dat").read_bytes())
    assert isinstance(message, Request)
    return message


class IPv6Tests(SynchronousTestCase):
    """IPv6 literals in all places."""

    def request(self, name: str) -> Request:
        """Parse and validate one message; the raw key agrees with it."""
        message = load(name)
        message.validate()
        key = peek((_HERE / f"{name}.dat").read_bytes())
        assert key is not None
        self.assertEqual((key.branch, key.sent_by), (message.via.branch, message.via.sent_by))
        return message

    def test_ipv6_good(self) -> None:
        """4.1: an IPv6 literal stands in brackets; ``host`` has none."""
        message = self.request("ipv6-good")
        uri = message.request_uri
        assert isinstance(uri, SIPURI) and message.contact is not None
        self.assertEqual(uri.host, "2001:db8::10")
        self.assertEqual((message.via.host, message.via.port), ("2001:db8::9:1", None))
        self.assertEqual(str(message.contact.parsed_uri), "sip:caller@[2001:db8::1]")

    def test_ipv6_bad(self) -> None:
        """4.2: without brackets it is answered with 400."""
        error = self.assertRaises(MessageError, load("ipv6-bad").validate)
        self.assertEqual((error.reason_code, error.status), ("bad-request-uri", 400))

    def test_port_ambiguous(self) -> None:
        """4.3: within the brackets 5070 is a part of the address, not a port."""
        uri = self.request("port-ambiguous").request_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual((uri.host, uri.port), ("2001:db8::10:5070", None))

    def test_port_unambiguous(self) -> None:
        """4.4: behind the brackets it is the port."""
        uri = self.request("port-unambiguous").request_uri
        assert isinstance(uri, SIPURI)
        self.assertEqual((uri.host, uri.port), ("2001:db8::10", 5070))

    def test_via_received_param_with_delim(self) -> None:
        """4.5: ``received`` comes with brackets..."""
        via = self.request("via-received-param-with-delim").via
        self.assertEqual(via.received, "2001:db8::9:255")

    def test_via_received_param_no_delim(self) -> None:
        """4.5: ...and without."""
        via = self.request("via-received-param-no-delim").via
        self.assertEqual(via.received, "2001:db8::9:255")

    def test_mult_ip_in_header(self) -> None:
        """4.7: IPv4 and IPv6 mix in one message."""
        vias = self.request("mult-ip-in-header").vias
        self.assertEqual(
            [via.host for via in vias], ["2001:db8::9:1", "192.0.2.1", "2001:db8::9:255"]
        )
        self.assertEqual(vias[2].received, "192.0.2.200")

    def test_ipv4_mapped_ipv6(self) -> None:
        """4.9: an IPv4 address mapped into IPv6 is an IPv6 literal."""
        message = self.request("ipv4-mapped-ipv6")
        self.assertEqual((message.via.host, message.via.port), ("::ffff:192.0.2.10", 19823))
        self.assertEqual(len(message.body), 236)
