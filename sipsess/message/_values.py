# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The values of Via, of the address headers, and of CSeq."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sipsess.errors import HeaderValueError
from sipsess.flow import format_host
from sipsess.message._errors import MessageError
from sipsess.message._lex import (
    CLASS_TOKEN,
    DIGITS,
    TOKEN,
    check_text,
    check_token,
    find_quote_end,
    has_uri_breaker,
    is_token,
    quote,
    split_list,
    unquote,
)
from sipsess.message._params import NO_PARAMS, Params
from sipsess.message._uri import SIPURI, URI, USUAL_HOST_PORT, TelURI, parse_uri, split_host_port
from sipsess.message.limits import MAX_CSEQ

_DISPLAY_NAME = TOKEN + " \t"
#: Nearly every Via: a name or an IPv4 address, perhaps a port, and parameters.
_USUAL_VIA = re.compile(rf"SIP/2\.0/([A-Z]+) {USUAL_HOST_PORT};(.*)").fullmatch
#: Nearly every address: perhaps a display name, angle brackets, and at most a tag.
_USUAL_ADDRESS = re.compile(
    rf'(?:"([^"\\]*)"[ \t]*|([{CLASS_TOKEN} \t]*))<([^\0-\x20"<>\x7f]+)>'
    rf"(?:;tag=([{CLASS_TOKEN}]+))?"
).fullmatch


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of a message's way (:rfc:`3261#section-20.42`)."""

    #: As written: ``"UDP"``, ``"TCP"``, ``"TLS"``, ``"WS"``...
    transport: str
    #: Without brackets around an IPv6 address.
    host: str
    port: int | None = None
    params: Params = NO_PARAMS
    _raw: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Via:
        """
        Read one Via value.

        :raises MessageError: it breaks the grammar.
        """
        usual = _USUAL_VIA(text)
        if usual:
            transport, host, digits, tail = usual.groups()
            via = cls(transport, host, int(digits) if digits else None, Params.parse(tail))
        else:
            front, semicolon, tail = text.partition(";")
            transport, host, port = _read_hop(front)
            via = cls(transport, host, port, Params.parse(tail) if semicolon else NO_PARAMS)
        object.__setattr__(via, "_raw", text)
        return via

    @property
    def branch(self) -> str | None:
        """The transaction's name, byte for byte as written."""
        return self.params.get("branch")

    @property
    def sent_by(self) -> str:
        """Host and port as the sender gave them, in lower case: part of the transaction's key."""
        host = format_host(self.host).lower()
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def received(self) -> str | None:
        """
        The source address that the receiver saw (:rfc:`3261#section-18.2.1`).

        IPv6 comes with and without brackets (:rfc:`5118#section-4.5`); here it has none.
        """
        text = self.params.get("received")
        return text.strip("[]") if text else None

    @property
    def rport(self) -> int | None:
        """
        The source port that the receiver saw (:rfc:`3581`).

        :return: ``None`` when absent, still empty (ask ``"rport" in via.params``), or no port.
        """
        text = self.params.get("rport") or ""
        return int(text) if text and len(text) <= 5 and not text.strip(DIGITS) else None

    def with_param(self, name: str, value: str | None = None) -> Via:
        """Return a copy with one parameter set, see :meth:`Params.with_`."""
        return Via(self.transport, self.host, self.port, self.params.with_(name, value))

    def __str__(self) -> str:
        """
        The wire form; as it was written when it was parsed.

        :raises HeaderValueError: a part holds what it must not.
        """
        if self._raw is not None:
            return self._raw
        check_token(self.transport, "transport")
        port = "" if self.port is None else f":{self.port}"
        sent_by = format_host(self.host) + port
        try:
            split_host_port(sent_by)
        except MessageError as error:
            raise HeaderValueError(error.text) from None
        return f"SIP/2.0/{self.transport} {sent_by}{self.params}"


def read_top_via(text: str) -> Via:
    """
    Return the first of the values of a Via line.

    :raises MessageError: it breaks the grammar.
    """
    return Via.parse(split_list(text)[0])


def read_call_id(text: str) -> str:
    """
    Return a Call-ID, byte for byte.

    :raises MessageError: it is empty or holds white space.
    """
    if len(text.split()) != 1:
        raise MessageError("bad-call-id", f"{text!r} is no Call-ID")
    return text


def _read_hop(front: str) -> tuple[str, str, int | None]:
    """
    Return transport, host and port of a Via value, which stand before its first semicolon.

    :raises MessageError: they break the grammar.
    """
    words = front.split()
    if len(words) != 2 or words[0][:8].upper() != "SIP/2.0/":
        words = _split_loose_via(front)
    transport, sent_by = words
    transport = transport[8:]
    if not is_token(transport):
        raise MessageError("bad-via", f"{transport!r} is no transport")
    try:
        host, port = split_host_port(sent_by)
    except MessageError as error:
        raise MessageError("bad-via", error.text) from None
    return transport, host, port


def _split_loose_via(front: str) -> list[str]:
    """Split a sent-protocol and sent-by with white space around their separators."""
    parts = front.split("/", 2)
    last = parts[2].split(None, 1) if len(parts) == 3 else []
    if len(last) != 2 or parts[0].strip().upper() != "SIP" or parts[1].strip() != "2.0":
        raise MessageError("bad-via", f"{front!r} is no SIP/2.0 hop")
    host, colon, port = last[1].rpartition(":")
    return ["SIP/2.0/" + last[0], host.strip() + colon + port.strip()]


@dataclass(frozen=True, slots=True)
class NameAddr:
    """The value of From, To, Contact, Route and Record-Route: an address with parameters."""

    #: Without quotation marks; ``None`` when there is none.
    display_name: str | None
    #: As written, without angle brackets; ``"*"`` is the wildcard of a REGISTER's Contact.
    uri: str
    params: Params = NO_PARAMS
    _raw: str | None = field(default=None, init=False, repr=False, compare=False)
    _parsed_uri: URI | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """
        Read one address, with or without angle brackets (:rfc:`3261#section-20`).

        :raises MessageError: it breaks the grammar.
        """
        usual = _USUAL_ADDRESS(text)
        if usual:
            quoted, name, uri, tag = usual.groups()
            name = quoted if name is None else name.rstrip(" \t") or None
            params = Params({"tag": ("tag", tag)}) if tag else NO_PARAMS
        else:
            name, uri, params = _read_address(text)
        address = cls(name, uri, params)
        object.__setattr__(address, "_raw", text)
        return address

    @property
    def parsed_uri(self) -> URI:
        """
        The URI's parts.

        :raises MessageError: it is no URI.
        """
        parsed = self._parsed_uri
        if parsed is None:
            parsed = parse_uri(self.uri)
            object.__setattr__(self, "_parsed_uri", parsed)
        return parsed

    @property
    def user_text(self) -> str:
        """
        Whom the URI names: the user part without escapes, or the number without separators.

        Empty when it names nobody.

        :raises MessageError: it is no URI.
        """
        uri = self.parsed_uri
        if isinstance(uri, TelURI):
            return uri.digits
        return (uri.user_text or "") if isinstance(uri, SIPURI) else ""

    @property
    def tag(self) -> str | None:
        """The tag of From and To, byte for byte as written."""
        return self.params.get("tag")

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        """Return a copy with one parameter set, see :meth:`Params.with_`."""
        return NameAddr(self.display_name, self.uri, self.params.with_(name, value))

    def __str__(self) -> str:
        """
        The wire form; as it was written when it was parsed.

        :raises HeaderValueError: the URI or the display name holds what it must not.
        """
        if self._raw is not None:
            return self._raw
        check_text(self.uri)
        if not self.uri or has_uri_breaker(self.uri):
            raise HeaderValueError(f"{self.uri!r} is no URI")
        if self.uri == "*":
            return "*"
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{self.params}"


def read_tag(text: str) -> str | None:
    """
    Return the tag of an address, as :attr:`NameAddr.tag` does.

    :raises MessageError: the address breaks the grammar.
    """
    usual = _USUAL_ADDRESS(text)
    return usual.group(4) if usual else NameAddr.parse(text).tag


def read_address_uri(text: str) -> str:
    """
    Return the URI of an address, as :attr:`NameAddr.uri` does.

    :raises MessageError: the address breaks the grammar.
    """
    usual = _USUAL_ADDRESS(text)
    return usual.group(3) if usual else NameAddr.parse(text).uri


def _read_address(text: str) -> tuple[str | None, str, Params]:
    """
    Return display name, URI and parameters of an address.

    :raises MessageError: it breaks the grammar.
    """
    name, uri, tail = _split_address(text)
    if not uri or has_uri_breaker(uri):
        raise MessageError("bad-address", f"{text!r} is no address")
    if not tail:
        return name, uri, NO_PARAMS
    if tail[0] != ";":
        raise MessageError("bad-address", f"{tail!r} follows an address")
    return name, uri, Params.parse(tail[1:])


def _split_address(text: str) -> tuple[str | None, str, str]:
    """Return display name, URI and the text of the parameters from their semicolon on."""
    name: str | None = None
    if text[:1] == '"':
        end = find_quote_end(text, 0)
        left = end
        while text[left : left + 1] in (" ", "\t"):
            left += 1
        if end < 0 or text[left : left + 1] != "<":
            raise MessageError("bad-address", f"{text!r} has no whole display name")
        name = unquote(text[:end])
    else:
        left = text.find("<")
        semicolon = text.find(";")
        if left < 0 or 0 <= semicolon < left:
            return _split_bare_address(text, semicolon)
        name = text[:left].rstrip(" \t")
        if not name:
            name = None
        elif name.strip(_DISPLAY_NAME) and name.isascii():
            # RFC 4475 3.1.2.15: only tokens stand without quotation marks. UTF-8 is let through.
            raise MessageError("bad-address", f"the display name {name!r} needs quotation marks")
    right = text.find(">", left)
    if right < 0:
        raise MessageError("bad-address", f"{text!r} has no closing angle bracket")
    return name, text[left + 1 : right], text[right + 1 :].lstrip(" \t")


def _split_bare_address(text: str, semicolon: int) -> tuple[None, str, str]:
    """Split an address without angle brackets: what follows a semicolon is of the header."""
    uri, tail = (text, "") if semicolon < 0 else (text[:semicolon], text[semicolon:])
    uri = uri.rstrip(" \t")
    # RFC 3261 20: a URI with a comma, a question mark or a semicolon stands in angle brackets.
    if "?" in uri or "," in uri:
        raise MessageError("bad-address", f"{uri!r} must stand in angle brackets")
    return None, uri, tail


@dataclass(frozen=True, slots=True)
class CSeq:
    """The number and method of a request within its dialog (:rfc:`3261#section-20.16`)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """
        Read a CSeq value.

        :raises MessageError: it is not a number below 2**31 and a method.
        """
        words = text.split()
        if len(words) == 2:
            number, method = words
            value = read_number(number, MAX_CSEQ)
            if value is not None and is_token(method):
                return cls(value, method)
        raise MessageError("bad-cseq", f"{text!r} is no CSeq")

    def __str__(self) -> str:
        """The wire form."""
        return f"{self.number} {self.method}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def parse_date(text: str) -> datetime:
    """
    Read a Date value (:rfc:`3261#section-20.17`): ``Sat, 13 Nov 2010 23:29:00 GMT`` and nothing
    else.

    :raises MessageError: it is of another form, such as with another time zone.
    """
    words = text.split(" ")
    try:
        weekday, day, month, year, clock, zone = words
        hour, minute, second = clock.split(":")
        numbers = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute))
        digits = day + year + hour + minute + second
        is_form = len(digits) == 12 and not digits.strip(DIGITS) and zone == "GMT"
        if is_form and weekday[:-1] in _DAYS and weekday[3:] == ",":
            return datetime(*numbers, int(second), tzinfo=UTC)
    except ValueError:
        pass  # Too few words, no month, or no such day: all the same to who asked.
    raise MessageError("bad-date", f"{text!r} is no date")


def read_number(text: str, maximum: int) -> int | None:
    """
    Read a decimal number of ASCII digits.

    :return: ``None`` when it is none or larger than ``maximum``.
    """
    # Python refuses to convert numbers of thousands of digits; no number here needs more than 20.
    if len(text) > 20:
        text = text.lstrip("0") or text[:1]
    if len(text) > 20 or not text.isdecimal() or not text.isascii():
        return None
    number = int(text)
    return number if number <= maximum else None
