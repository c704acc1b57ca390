# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SIP, SIPS and tel URIs, and all the others.

Parts are kept as they were written, percent escapes included, so that a URI leaves as it came; two
URIs are equal when :rfc:`3261#section-19.1.4` says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TypeAlias

from sipsess.errors import HeaderValueError
from sipsess.flow import format_host
from sipsess.message._errors import MessageError
from sipsess.message._lex import ALPHANUMERIC, DIGITS, has_uri_breaker
from sipsess.message._params import (
    NO_URI_PARAMS,
    URIParams,
    escape,
    has_bad_escape,
    unescape,
)

#: What stands unescaped in a user part (:rfc:`3261#section-25.1`), and the number sign that phones
#: send.
_USER = ALPHANUMERIC + "-_.!~*'()&=+$,;?/"
_PASSWORD = ALPHANUMERIC + "-_.!~*'()&=+$,"
_HOST = ALPHANUMERIC + "-._"
_HEADER = ALPHANUMERIC + "-_.!~*'()[]/?:+$"
#: Nearly every host and port, for a regular expression: no IPv6, and no port that is too large.
USUAL_HOST_PORT = r"([A-Za-z0-9.-]+)(?::([0-9]{1,4}|[1-5][0-9]{4}))?"
#: Nearly every SIP URI: perhaps a user and parameters, but no password, escapes and headers.
_USUAL_SIP = re.compile(
    rf"(sips?):(?:([{re.escape(_USER)}]+)@)?{USUAL_HOST_PORT}(?:;([^?@\0-\x20\"<>\x7f]*))?"
).fullmatch
_SCHEME = ALPHANUMERIC + "+-."
_RESERVED = ";/?:@&=+$,"
#: Parameters that make URIs different even when only one of them has it. :rfc:`3261#section-19.1.4`
#: names four and shows by its examples that transport is a fifth.
_DECISIVE = ("transport", "user", "ttl", "method", "maddr")
#: Characters of the longest IPv6 address, one that ends with an IPv4 address.
_MAX_IPV6 = 45
_VISUAL_SEPARATORS = str.maketrans("", "", "-.()")


def escape_user(text: str) -> str:
    """Return ``text`` escaped for the user part of a SIP URI, so that any text can be one."""
    return escape(text, _USER)


def split_host_port(text: str) -> tuple[str, int | None]:
    """
    Split ``host``, ``host:port`` or ``[IPv6]:port``.

    :return: the host without brackets, and the port or ``None``.
    :raises MessageError: it is none of these.
    """
    if text[:1] == "[":
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        is_good = bool(bracket) and colon in ("", ":") and len(host) <= _MAX_IPV6 and _is_ipv6(host)
    else:
        host, colon, port = text.partition(":")
        is_good = bool(host) and not host.strip(_HOST)
    if not is_good:
        raise MessageError("bad-uri", f"{text!r} is no host")
    if not colon:
        return host, None
    # A port has five digits; leading zeros are harmless but need no more than that either.
    if not port or len(port) > 5 or port.strip(DIGITS) or int(port) > 65_535:
        raise MessageError("bad-uri", f"{port!r} is no port")
    return host, int(port)


@lru_cache(maxsize=256)
def _is_ipv6(text: str) -> bool:
    """Tell whether a host is an IPv6 address; a server has few, and meets them in each message."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _comparable_host(host: str) -> str:
    return str(IPv6Address(host)) if ":" in host else host.lower()


def _comparable(text: str | None) -> str | None:
    """Resolve the escapes of what is not reserved: those mean the same with and without."""
    if text is None or "%" not in text:
        return text
    first, *others = text.split("%")
    parts = [first]
    for other in others:
        character = unescape("%" + other[:2])
        parts.append("%" + other[:2].upper() if character in _RESERVED else character)
        parts.append(other[2:])
    return "".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class SIPURI:
    """
    A ``sip:`` or ``sips:`` URI (:rfc:`3261#section-19.1`).

    ``user``, ``password`` and ``headers`` are as written, escapes included; see
    :func:`escape_user`. ``host`` has no brackets around an IPv6 address.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None = None
    params: URIParams = NO_URI_PARAMS
    #: Name and value of each header, such as ``("Replaces", "...")``.
    headers: tuple[tuple[str, str], ...] = ()
    _raw: str | None = field(default=None, init=False, repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether it is a ``sips:`` URI."""
        return self.scheme == "sips"

    @property
    def user_text(self) -> str | None:
        """The user part with its escapes resolved, for people and for routing tables."""
        return None if self.user is None else unescape(self.user)

    def __str__(self) -> str:
        """
        The wire form; as it was written when it was parsed.

        :raises HeaderValueError: a part holds what it must not.
        """
        return self._format() if self._raw is None else self._raw

    def _format(self) -> str:
        self._check()
        user = ""
        if self.user is not None:
            password = "" if self.password is None else f":{self.password}"
            user = f"{self.user}{password}@"
        port = "" if self.port is None else f":{self.port}"
        headers = "&".join([f"{name}={value}" for name, value in self.headers])
        question = "?" if headers else ""
        host = format_host(self.host)
        return f"{self.scheme}:{user}{host}{port}{self.params}{question}{headers}"

    def _check(self) -> None:
        try:
            host, _ = split_host_port(format_host(self.host))
            is_good = host == self.host and self.scheme in ("sip", "sips")
        except MessageError:
            is_good = False
        is_good = is_good and (self.user is None or _is_user(self.user))
        is_good = is_good and (self.password is None or _is_password(self.password))
        for name, value in self.headers:
            is_good = is_good and name != "" and _is_header_text(name) and _is_header_text(value)
        if not is_good:
            raise HeaderValueError(f"{self!r} cannot be written")

    def __eq__(self, other: object) -> bool:
        """Compare by the rules of :rfc:`3261#section-19.1.4`; this is not transitive."""
        if not isinstance(other, SIPURI):
            return NotImplemented
        return (
            self.scheme == other.scheme
            and self.port == other.port
            and _comparable(self.user) == _comparable(other.user)
            and _comparable(self.password) == _comparable(other.password)
            and _comparable_host(self.host) == _comparable_host(other.host)
            and _have_equal_params(self.params, other.params)
            and _comparable_headers(self.headers) == _comparable_headers(other.headers)
        )

    def __hash__(self) -> int:
        return hash((self.scheme, _comparable(self.user), _comparable_host(self.host), self.port))


def _have_equal_params(one: URIParams, other: URIParams) -> bool:
    for name in _DECISIVE:
        if (name in one) != (name in other):
            return False
    for name in one:
        if name in other:
            value, other_value = one.get(name), other.get(name)
            assert value is not None and other_value is not None
            if value.lower() != other_value.lower():
                return False
    return True


def _comparable_headers(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return sorted((unescape(name).lower(), unescape(value)) for name, value in headers)


@dataclass(frozen=True, slots=True, eq=False)
class TelURI:
    """A telephone number (:rfc:`3966`): ``tel:+1-201-555-0123``."""

    number: str
    params: URIParams = NO_URI_PARAMS
    _raw: str | None = field(default=None, init=False, repr=False)

    @property
    def scheme(self) -> str:
        """Always ``"tel"``."""
        return "tel"

    @property
    def digits(self) -> str:
        """The number without visual separators, the leading plus sign kept."""
        return self.number.translate(_VISUAL_SEPARATORS)

    def __str__(self) -> str:
        """
        The wire form; as it was written when it was parsed.

        :raises HeaderValueError: the number holds what it must not.
        """
        if self._raw is not None:
            return self._raw
        if not _is_number(self.number):
            raise HeaderValueError(f"{self.number!r} is no telephone number")
        return f"tel:{self.number}{self.params}"

    def __eq__(self, other: object) -> bool:
        """Compare by :rfc:`3966#section-5.1.1`: separators and case do not matter."""
        if not isinstance(other, TelURI):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.digits.lower())

    def _key(self) -> tuple[str, dict[str, str]]:
        params = {name: (self.params.get(name) or "").lower() for name in self.params}
        return self.digits.lower(), params


@dataclass(frozen=True, slots=True)
class OtherURI:
    """A URI of a scheme that SIP says nothing about, such as ``urn:service:sos``."""

    #: In lower case.
    scheme: str
    #: All after the first colon.
    rest: str

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: it holds what no URI may.
        """
        text = f"{self.scheme}:{self.rest}"
        if not _is_scheme(self.scheme) or has_uri_breaker(text):
            raise HeaderValueError(f"{self!r} cannot be written")
        return text


#: Any URI.
URI: TypeAlias = SIPURI | TelURI | OtherURI


def parse_uri(text: str) -> URI:
    """
    Read an absolute URI.

    :raises MessageError: it is none, or a ``sip``, ``sips`` or ``tel`` URI breaks its grammar.
    """
    uri: URI
    usual = _USUAL_SIP(text)
    if usual:
        scheme, user, host, port, tail = usual.groups()
        params = NO_URI_PARAMS if tail is None else URIParams.parse(tail)
        uri = SIPURI(scheme, user, None, host, int(port) if port else None, params)
    else:
        uri = _read_uri(text)
        if isinstance(uri, OtherURI):
            return uri
    object.__setattr__(uri, "_raw", text)
    return uri


def is_usual_uri(text: str) -> bool:
    """Tell whether text is a SIP URI without parameters and headers, as far as a look tells."""
    usual = _USUAL_SIP(text)
    return usual is not None and usual.group(5) is None


def _read_uri(text: str) -> URI:
    """
    Read an absolute URI part by part.

    :raises MessageError: see :func:`parse_uri`.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or not rest or not _is_scheme(scheme) or has_uri_breaker(text):
        raise MessageError("bad-uri", f"{text!r} is no URI")
    if scheme == "sip" or scheme == "sips":
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        number, semicolon, tail = rest.partition(";")
        if not _is_number(number):
            raise MessageError("bad-uri", f"{number!r} is no telephone number")
        return TelURI(number, URIParams.parse(tail) if semicolon else NO_URI_PARAMS)
    return OtherURI(scheme, rest)


def _parse_sip(scheme: str, rest: str) -> SIPURI:
    user: str | None
    password: str | None = None
    # Neither the user part nor what follows the host may hold an "@" that is not escaped.
    user, at, target = rest.partition("@")
    if not at:
        user, target = None, rest
    else:
        user, colon, secret = user.partition(":")
        if colon:
            password = secret
        if not _is_user(user) or not _is_password(secret):
            raise MessageError("bad-uri", f"{rest!r} has a bad user part")
    target, question, query = target.partition("?")
    target, semicolon, tail = target.partition(";")
    host, port = split_host_port(target)
    return SIPURI(
        scheme,
        user,
        password,
        host,
        port,
        URIParams.parse(tail) if semicolon else NO_URI_PARAMS,
        _parse_headers(query) if question else (),
    )


def _parse_headers(query: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals or not _is_header_text(name) or not _is_header_text(value):
            raise MessageError("bad-uri", f"{part!r} is no header of a URI")
        headers.append((name, value))
    return tuple(headers)


def _is_scheme(text: str) -> bool:
    return bool(text) and text[0].isalpha() and not text.strip(_SCHEME)


def _is_user(text: str) -> bool:
    rest = text.strip(_USER)
    # What is refused here would be read as another part of the URI; the rest is let through,
    # because phones do send "#" and UTF-8 in user parts.
    return bool(text) and (
        not rest
        or not (has_uri_breaker(rest) or "@" in rest or ":" in rest or has_bad_escape(text))
    )


def _is_password(text: str) -> bool:
    rest = text.strip(_PASSWORD)
    return not rest or not (has_uri_breaker(rest) or "@" in rest or has_bad_escape(text))


def _is_header_text(text: str) -> bool:
    rest = text.strip(_HEADER)
    return not rest or not (has_uri_breaker(rest) or "&" in rest or has_bad_escape(text))


def _is_number(text: str) -> bool:
    digits = text.removeprefix("+")
    return bool(digits.translate(_VISUAL_SEPARATORS)) and not digits.strip(
        "0123456789abcdefABCDEF*#-.()"
    )
