# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is registered, where, and for how long: one line of a list of registrations."""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import LocalError, RemoteError
from sipsess.message import SIPURI, parse_uri

#: Seconds that a registration is to last; the registrar may shorten it.
DEFAULT_EXPIRES = 3600
#: The longest time that is asked for, and that a registrar may demand (423).
MAX_EXPIRES = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Account:
    """
    One registration.

    :raises LocalError: when something of it is wrong; the text says what.
    """

    #: The address of record: ``sip:alice@example.com``.
    aor: str
    #: The Request-URI of the REGISTER, and where it goes; the domain of the address of record when
    #: empty.
    registrar: str = ""
    #: The user of our Contact, and so of the calls that come; that of the address when empty.
    user: str = ""
    #: Seconds.
    expires: int = DEFAULT_EXPIRES
    #: How the registrar is treated; it holds the credentials.
    endpoint: Endpoint = ANONYMOUS
    #: An outbound proxy, ``sip:HOST``, where the REGISTER goes whatever its Request-URI says
    #: (:rfc:`3261#section-8.1.2`); none when empty.
    proxy: str = ""

    def __post_init__(self) -> None:
        aor = _parse(self.aor, "aor")
        if not aor.user:
            raise LocalError(f"aor: {self.aor!r} names no user; write sip:USER@DOMAIN")
        if self.registrar and _parse(self.registrar, "registrar").user:
            raise LocalError(f"registrar: {self.registrar!r} names a user; write sip:HOST")
        if self.proxy and _parse(self.proxy, "proxy").user:
            raise LocalError(f"proxy: {self.proxy!r} names a user; write sip:HOST")
        if not 1 <= self.expires <= MAX_EXPIRES:
            raise LocalError(f"expires: {self.expires} is not between 1 and {MAX_EXPIRES} seconds")

    @property
    def registrar_uri(self) -> str:
        """The Request-URI of a REGISTER: the domain alone (:rfc:`3261#section-10.2`)."""
        if self.registrar:
            return self.registrar
        aor = _parse(self.aor, "aor")
        return str(SIPURI(aor.scheme, None, None, aor.host, aor.port))

    @property
    def next_hop(self) -> str:
        """The URI of where a REGISTER goes."""
        return self.proxy or self.registrar_uri

    @property
    def route(self) -> str:
        """The Route value of a REGISTER, that of a loose router; empty without a proxy."""
        if not self.proxy:
            return ""
        is_loose = "lr" in _parse(self.proxy, "proxy").params
        return f"<{self.proxy}>" if is_loose else f"<{self.proxy};lr>"

    @property
    def contact_user(self) -> str:
        """The user part of our Contact, escaped as a URI needs it."""
        return self.user or _parse(self.aor, "aor").user or ""


def _parse(text: str, name: str) -> SIPURI:
    try:
        uri = parse_uri(text)
    except RemoteError as error:
        raise LocalError(f"{name}: {error.text}; write sip:...") from error
    if not isinstance(uri, SIPURI):
        raise LocalError(f"{name}: {text!r} is no SIP URI; write sip:...")
    return uri
