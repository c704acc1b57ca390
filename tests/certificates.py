# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Certificates for tests: an authority, and what it certifies."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


def names(
    *, uris: Iterable[str] = (), domains: Iterable[str] = (), addresses: Iterable[str] = ()
) -> list[x509.GeneralName]:
    """Return alternative names."""
    return [
        *(x509.UniformResourceIdentifier(uri) for uri in uris),
        *(x509.DNSName(domain) for domain in domains),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]


class Authority:
    """
    Certifies keys, and writes all into files.

    :param folder: where the files stand; ``ca.pem`` is its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._certify(
            self._name, self._key.public_key(), [x509.BasicConstraints(ca=True, path_length=None)]
        )
        #: Its certificate.
        self.ca = self._write("ca.pem", self.certificate)

    def _certify(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: Iterable[x509.ExtensionType],
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_END)
        )
        for extension in extensions:
            is_critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(self._key, hashes.SHA256())

    def certify(
        self,
        alternatives: list[x509.GeneralName],
        common_name: str = "test",
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> x509.Certificate:
        """Return a certificate of somebody's."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        extensions = [x509.SubjectAlternativeName(alternatives)] if alternatives else []
        own = key or ec.generate_private_key(ec.SECP256R1())
        return self._certify(name, own.public_key(), extensions)

    def issue(self, stem: str, alternatives: list[x509.GeneralName]) -> tuple[str, str]:
        """Write a certificate and its key; return the two files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certify(alternatives, key=key)
        path = self.folder / f"{stem}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self._write(f"{stem}.pem", certificate), str(path)

    def _write(self, name: str, certificate: x509.Certificate) -> str:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)
