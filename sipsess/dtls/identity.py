# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The certificate of this process for DTLS, signed by itself, and how it is used.

Both are made when the first call wants them: a few milliseconds, once. The private key is never
written anywhere.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sipsess.srtp.crypto import SUITES, Suite

from .fingerprint import Fingerprint

if TYPE_CHECKING:
    from OpenSSL import SSL

#: What to say when the extra is missing.
HINT = "install sipsess[webrtc]"

_PACKAGES = ("OpenSSL", "cryptography", "pylibsrtp", "aioice")

#: RFC 5280 4.1.2.5: no end that makes sense; whoever checks the fingerprint needs none, and a
#: clock that is wrong does no harm.
_BEGIN = datetime(2000, 1, 1)
_END = datetime(9999, 12, 31, 23, 59, 59)

#: DTLS 1.2 in the numbers of OpenSSL (RFC 8827 6.5 demands it).
_DTLS_1_2 = 0xFEFD

#: RFC 8827 6.5: authenticated encryption and forward secrecy, as every browser has it.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"

#: The protection profiles of :rfc:`5764#section-4.1.2` and :rfc:`7714#section-14.2`, by their names
#: in OpenSSL, the one that is preferred first.
PROFILES: dict[bytes, Suite] = {
    b"SRTP_AEAD_AES_256_GCM": SUITES["AEAD_AES_256_GCM"],
    b"SRTP_AEAD_AES_128_GCM": SUITES["AEAD_AES_128_GCM"],
    b"SRTP_AES128_CM_SHA1_80": SUITES["AES_CM_128_HMAC_SHA1_80"],
}


def is_available() -> bool:
    """Tell whether the extra is installed."""
    return all(find_spec(name) is not None for name in _PACKAGES)


@lru_cache(maxsize=1)
def _certificate() -> tuple[Any, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.generate_private_key(ec.SECP256R1())
    # The name says nothing of the host: it is the same in all processes.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sipsess")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=_BEGIN,
        not_valid_after=_END,
    )
    return builder.sign(key, SHA256()), key


@lru_cache(maxsize=1)
def our_fingerprint() -> Fingerprint:
    """Return the fingerprint of our certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return Fingerprint.of(_certificate()[0].public_bytes(Encoding.DER))


@lru_cache(maxsize=1)
def our_context() -> SSL.Context:
    """Return what all handshakes have in common."""
    from OpenSSL import SSL

    certificate, key = _certificate()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_cipher_list(_CIPHERS)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    # Each association has one handshake: nothing is resumed and nothing is renegotiated.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_QUERY_MTU)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Both sides show a certificate; whose it is the fingerprint says.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_tlsext_use_srtp(b":".join(PROFILES))
    return context
