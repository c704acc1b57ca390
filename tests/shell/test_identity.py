# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whom a certificate speaks for (RFC 5922 section 7)."""

from __future__ import annotations

import pathlib

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from sipsess.transport.identity import MAX_IDENTITIES, identities_of
from tests.certificates import Authority, names


class IdentityTests(SynchronousTestCase):
    """Section 7.1 and 7.2, case by case."""

    def setUp(self) -> None:
        """Make an authority."""
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)

    def domains(
        self, alternatives: list[x509.GeneralName], common: str = "cn.example"
    ) -> list[str]:
        """Return the SIP domains of a certificate."""
        return list(identities_of(self.authority.certify(alternatives, common)).domains)

    def test_sip_uris(self) -> None:
        """URIs of SIP are domains when they have no user, and then DNS names are none."""
        found = self.domains(
            names(
                uris=[
                    *("sip:A.Example", "sip:alice@b.example", "https://c.example"),
                    *("SIP:d.example:5061", "sips:e.example", "sip:f.example;transport=tls"),
                    *("sip:[2001:db8::1]", "nonsense"),
                ],
                domains=["x.example"],
            )
        )
        self.assertEqual(found, ["a.example", "d.example", "f.example", "[2001:db8::1]"])

    def test_dns_names(self) -> None:
        """DNS names count when there is no URI of SIP; wildcards never do."""
        found = self.domains(
            names(uris=["sip:alice@b.example"], domains=["A.example", "*.example", "b.example"])
        )
        self.assertEqual(found, ["a.example", "b.example"])

    def test_common_name(self) -> None:
        """The common name counts only without any alternative name."""
        self.assertEqual(self.domains([]), ["cn.example"])
        self.assertEqual(self.domains(names(addresses=["192.0.2.1"])), [])

    def test_addresses(self) -> None:
        """A URI whose host is an address is proven by that address."""
        found = identities_of(
            self.authority.certify(names(addresses=["192.0.2.1", "2001:db8::1"], domains=["a.b"]))
        )
        for name in ("192.0.2.1", "2001:DB8:0::1", "a.b", "A.B."):
            self.assertTrue(found.prove(name), name)
        for name in ("192.0.2.2", "b", "x.a.b", "a.b.c", ""):
            self.assertFalse(found.prove(name), name)

    def test_bounded(self) -> None:
        """A certificate with very many names costs little."""
        many = names(domains=[f"d{number}.example" for number in range(MAX_IDENTITIES + 10)])
        self.assertEqual(len(self.domains(many)), MAX_IDENTITIES)
