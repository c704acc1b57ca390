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
    #: Where the REGISTER goes; the domain of the address of record when empty.
    registrar: str = ""
    #: The user of our Contact, and so of the calls that come; that of the address when empty.
    user: str = ""
    #: Seconds.
    expires: int = DEFAULT_EXPIRES
    #: How the registrar is treated; it holds the credentials.
    endpoint: Endpoint = ANONYMOUS

    def __post_init__(self) -> None:
        aor = _parse(self.aor, "aor")
        if not aor.user:
            raise LocalError(f"aor: {self.aor!r} names no user; write sip:USER@DOMAIN")
        if self.registrar and _parse(self.registrar, "registrar").user:
            raise LocalError(f"registrar: {self.registrar!r} names a user; write sip:HOST")
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
