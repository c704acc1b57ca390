# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whom a certificate of SIP speaks for (:rfc:`5922#section-7`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

#: Identities of one certificate that are looked at.
MAX_IDENTITIES = 64


@dataclass(frozen=True, slots=True)
class Identities:
    """What a certificate has proven."""

    #: SIP domains, in lower case.
    domains: tuple[str, ...]
    #: IP addresses, for URIs that have no domain; no rule of SIP, but what TLS does elsewhere.
    addresses: tuple[str, ...] = ()

    def prove(self, name: str) -> bool:
        """
        Tell whether the far end is who it should be (7.2): whole names are compared, no wildcards.

        :param name: a domain or an IP address.
        """
        name = name.lower().rstrip(".")
        if name in self.domains:
            return True
        try:
            return str(ip_address(name)) in self.addresses
        except ValueError:
            return False


def identities_of(certificate: x509.Certificate) -> Identities:
    """
    Return whom a certificate speaks for (7.1).

    URIs of SIP without a user come first; only without any the DNS names count, and only without
    any alternative name the common name.

    :raises ValueError: when it cannot be read.
    """
    try:
        names = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return Identities(_usable(str(item.value) for item in common))
    assert isinstance(names, x509.SubjectAlternativeName)
    uris = _usable(map(_domain_of, names.get_values_for_type(x509.UniformResourceIdentifier)))
    addresses = (str(item) for item in names.get_values_for_type(x509.IPAddress))
    return Identities(
        uris or _usable(names.get_values_for_type(x509.DNSName)),
        tuple(addresses)[:MAX_IDENTITIES],
    )


def _domain_of(uri: str) -> str:
    """Return the host of a URI of SIP without a user, or nothing."""
    scheme, _, rest = uri.partition(":")
    rest = rest.partition(";")[0].partition("?")[0]
    if scheme.lower() != "sip" or "@" in rest:
        return ""
    return rest if rest.endswith("]") else rest.partition(":")[0]


def _usable(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in the form in which they are compared; what is no whole name is none."""
    found = (name.lower().rstrip(".") for name in names)
    return tuple(name for name in found if name and "*" not in name)[:MAX_IDENTITIES]
