# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Certificates, and TLS around connections; needs the extra ``tls``.

Theory of operation
    The ground is Twisted's and pyOpenSSL's: their versions, ciphers and checks of chains. What is
    SIP's own is who a certificate speaks for (:mod:`.identity`), which is looked at when the
    hand-shake is complete and before anything is sent. Each new connection takes the present
    contexts, so that reading the files again changes nothing for those that stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from sipsess.errors import LocalError
from sipsess.transport.files import TLSFiles
from sipsess.transport.identity import Identities, identities_of

_NOBODY = Identities(())


class Credentials:
    """
    What this side shows to the far end of a connection, and whom it trusts.

    :param files: where both stand.
    :raises LocalError: when one of them cannot be used; the text names it.
    """

    def __init__(self, files: TLSFiles) -> None:
        self.files = files
        self.reload()

    def reload(self) -> None:
        """
        Read the files again, for connections to come.

        :raises LocalError: as above; then all stays as it was.
        """
        files = self.files
        own: dict[str, Any] = {}
        if files.certificate:
            chain = _read(files.certificate, _load_chain)
            key = _read(files.key, _load_key)
            own = {"certificate": chain[0], "privateKey": key, "extraCertChain": chain[1:]}
        trust = _load_trust(files.ca)
        client = _make_context(files, own, trust)
        if own:
            self._server = _make_context(files, own, trust if files.verify else None)
        self._client = client

    def serve(self, factory: Any, clock: Any) -> TLSMemoryBIOFactory:
        """Return a factory that puts TLS below what ``factory`` makes, for a listener."""
        return _wrap(_ServerCreator(lambda: self._server), False, factory, clock)

    def connect(self, name: str, factory: Any, clock: Any) -> TLSMemoryBIOFactory:
        """
        Return the same for a connection that we open.

        :param name: the domain that is asked for (SNI); not an address.
        """
        return _wrap(_ClientCreator(lambda: self._client, name), True, factory, clock)

    def identify(self, transport: Any) -> Identities:
        """Return whom the certificate of a connection's far end speaks for."""
        certificate = transport.getPeerCertificate()
        if certificate is None:
            return _NOBODY
        try:
            return identities_of(certificate.to_cryptography())
        except ValueError:
            return _NOBODY  # OpenSSL was content with it, but it cannot be read


def connect_to_web(host: str, ca: str, factory: Any, clock: Any) -> TLSMemoryBIOFactory:
    """
    Return a factory that puts TLS below what ``factory`` makes, to a server of the web.

    Its certificate is checked as that of ``https`` is (:rfc:`9110#section-4.3.4`), with wildcards:
    the rules of SIP know none.

    :param host: the name or address that the certificate must be for.
    :param ca: as in :class:`.TLSFiles`.
    :raises LocalError: when that file cannot be used.
    """
    creator = ssl.optionsForClientTLS(host, trustRoot=_load_trust(ca))
    return _wrap(creator, True, factory, clock)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerCreator:
    """Begins TLS as the server, with what the credentials are by then."""

    def __init__(self, context: Callable[[], SSL.Context]) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context(), None)


@implementer(IOpenSSLClientConnectionCreator)
class _ClientCreator:
    """Begins TLS as the client."""

    def __init__(self, context: Callable[[], SSL.Context], name: str) -> None:
        self._context = context
        self._name = name

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        connection = SSL.Connection(self._context(), None)
        if ":" not in self._name and not self._name.replace(".", "").isdecimal():
            connection.set_tlsext_host_name(self._name.encode("ascii", "ignore"))
        return connection


def _wrap(creator: Any, is_client: bool, factory: Any, clock: Any) -> TLSMemoryBIOFactory:
    wrapped = TLSMemoryBIOFactory(creator, is_client, factory, clock)
    wrapped.noisy = False
    return wrapped


def _make_context(files: TLSFiles, own: dict[str, Any], trust: Any) -> SSL.Context:
    try:
        context: SSL.Context = ssl.CertificateOptions(trustRoot=trust, **own).getContext()
        # A client that renegotiates costs us much and itself little.
        context.set_options(SSL.OP_NO_RENEGOTIATION)
    except SSL.Error as error:
        raise LocalError(
            f"{files.certificate} and {files.key} cannot be used together: {_text_of(error)}"
        ) from error
    return context


def _load_trust(ca: str) -> Any:
    """Return the authorities of a file; those of the system when there is none."""
    if not ca:
        return ssl.platformTrust()
    authorities = [ssl.Certificate(item) for item in _read(ca, _load_chain)]
    return ssl.trustRootFromCertificates(authorities)


def _load_chain(data: bytes) -> list[crypto.X509]:
    """Return the certificates of a PEM file, at least one."""
    return [crypto.X509.from_cryptography(item) for item in x509.load_pem_x509_certificates(data)]


def _load_key(data: bytes) -> crypto.PKey:
    # Without a passphrase pyOpenSSL asks for one on the terminal.
    return crypto.load_privatekey(crypto.FILETYPE_PEM, data, passphrase=b"")


def _read(path: str, load: Callable[[bytes], Any]) -> Any:
    """
    Read a file.

    :raises LocalError: when it cannot be read or used.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise LocalError(f"{path} is no PEM file")
    try:
        return load(data)
    except (ValueError, TypeError, crypto.Error) as error:
        what = "passphrase" if b"ENCRYPTED" in data else "content"
        raise LocalError(f"{path} cannot be used because of its {what}: {_text_of(error)}") from (
            error
        )


def _text_of(error: Exception) -> str:
    """Return what OpenSSL says, in one line."""
    reasons = error.args[0] if error.args else ""
    if isinstance(reasons, list):
        return "; ".join(str(item[-1]) for item in reasons if item) or "unknown"
    return str(reasons).splitlines()[0] if str(reasons) else type(error).__name__
