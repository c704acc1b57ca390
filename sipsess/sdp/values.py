# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The typed values of SDP lines: o=, c=, m= and ``a=rtpmap``; how they are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.limits import MAX_DIGITS, MAX_PORT, MAX_PORT_COUNT

#: The four directions of :rfc:`8866#section-6.7`, seen by the one that writes them.
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


def check_text(text: str) -> str:
    """
    Return ``text`` when it can stand in one line.

    :raises LocalSDPError: when it holds CR, LF or NUL (:rfc:`8866#section-9`, ``byte-string``), or
        characters that have no bytes. This makes it impossible to inject a line.
    """
    if "\r" in text or "\n" in text or "\0" in text:
        raise LocalSDPError("a line of a session description cannot hold CR, LF or NUL")
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise LocalSDPError("a line of a session description must be valid Unicode") from error
    return text


def check_token(text: str) -> str:
    """
    Return ``text`` when it can be one field of a line.

    :raises LocalSDPError: when it is empty, or holds a space, a tab, CR, LF or NUL.
    """
    return check_tokens((text,))


def check_tokens(texts: Sequence[str]) -> str:
    """
    Return the fields of a line with spaces between them.

    :raises LocalSDPError: when one of them cannot be a field, as for :func:`check_token`.
    """
    line = " ".join(texts)
    if "" in texts or "\t" in line or line.count(" ") != len(texts) - 1:
        raise LocalSDPError("a field of a session description cannot be empty or hold a space")
    return check_text(line)


def split_fields(text: str) -> list[str]:
    """
    Return the fields of a value; several spaces count as one, other white space is no separator.
    """
    fields = text.split(" ")
    return [field for field in fields if field] if "" in fields else fields


def read_number(text: str, largest: int) -> int:
    """
    Return the decimal number that ``text`` is.

    :raises ValueError: when it is none, or larger than ``largest``.
    """
    if text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS:
        number = int(text)
        if number <= largest:
            return number
    raise ValueError(f"{text[:MAX_DIGITS]!r} is not a number from 0 to {largest}")


def check_origin(text: str) -> list[str]:
    """
    Return the six fields of an o= line, of which the second and third are numbers.

    :raises ValueError: with a sentence for people.
    """
    fields = split_fields(text)
    if len(fields) != 6:
        raise ValueError(f"o= needs 6 fields and has {len(fields)}")
    for number in fields[1:3]:
        # Some devices print their 64-bit numbers as signed ones.
        digits = number.removeprefix("-")
        if not (digits.isdecimal() and digits.isascii() and len(digits) <= MAX_DIGITS):
            raise ValueError(f"{number[:MAX_DIGITS]!r} is not a number")
    return fields


def check_connection(text: str) -> None:
    """
    Check that a c= line can be read.

    :raises ValueError: with a sentence for people.
    """
    if "/" in text or len(split_fields(text)) < 3:
        Connection.parse(text)


def address_type_of(host: str) -> str:
    """Return ``"IP6"`` for an IPv6 address, else ``"IP4"``."""
    return "IP6" if ":" in host else "IP4"


@dataclass(frozen=True, slots=True)
class Origin:
    """
    The value of an o= line (:rfc:`8866#section-5.2`): who made this description, and which edition
    it is.

    ::

        o=<username> <session_id> <version> <net_type> <address_type> <address>
    """

    username: str
    session_id: int
    version: int
    net_type: str
    address_type: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Origin:
        """
        Read the value of an o= line.

        :raises ValueError: with a sentence for people.
        """
        fields = check_origin(text)
        return cls(fields[0], int(fields[1]), int(fields[2]), *fields[3:])

    @classmethod
    def build(cls, host: str, *, session_id: int = 0, version: int = 0) -> Origin:
        """
        Return an origin without a user name (a private matter) for the address or name ``host``.
        """
        return cls("-", session_id, version, "IN", address_type_of(host), host)

    def __str__(self) -> str:
        """Return the value of the line."""
        return (
            f"{self.username} {self.session_id} {self.version} "
            f"{self.net_type} {self.address_type} {self.address}"
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """
    The value of a c= line (:rfc:`8866#section-5.7`): where media is to be sent.

    ``ttl`` and ``count`` belong to multicast: ``224.2.1.1/127/3``, or ``FF15::101/3``, which has no
    TTL.
    """

    address: str
    ttl: int | None = None
    count: int = 1
    net_type: str = "IN"
    address_type: str = "IP4"

    @classmethod
    def parse(cls, text: str) -> Connection:
        """
        Read the value of a c= line; fields after the third are ignored.

        :raises ValueError: with a sentence for people.
        """
        fields = split_fields(text)
        if len(fields) < 3:
            raise ValueError(f"c= needs 3 fields and has {len(fields)}")
        net_type, address_type, address = fields[:3]
        if "/" not in address:
            return cls(address, None, 1, net_type, address_type)
        host, *numbers = address.split("/")
        has_ttl = address_type.upper() != "IP6"
        if not host or len(numbers) > 1 + has_ttl:
            raise ValueError(f"c= has the odd address {address[:64]!r}")
        ttl = read_number(numbers.pop(0), 255) if has_ttl else None
        count = read_number(numbers[0], MAX_PORT_COUNT) if numbers else 1
        return cls(host, ttl, count, net_type, address_type)

    @classmethod
    def build(cls, host: str) -> Connection:
        """
        Return the connection for a unicast address or name.

        :raises LocalSDPError: when it cannot be written.
        """
        return cls(check_token(host), address_type=address_type_of(host))

    @property
    def is_black_hole(self) -> bool:
        """
        Whether nothing can be sent there: ``0.0.0.0`` (:rfc:`3264#section-8.4`), ``::`` or
        ``*.invalid`` (:rfc:`2606#section-2`).
        """
        return self.address in ("0.0.0.0", "::") or self.address.endswith(".invalid")

    def __str__(self) -> str:
        """Return the value of the line."""
        tail = "" if self.ttl is None else f"/{self.ttl}"
        if self.count > 1:
            tail += f"/{self.count}"
        return f"{self.net_type} {self.address_type} {self.address}{tail}"


class MediaLine(NamedTuple):
    """The value of an m= line (:rfc:`8866#section-5.14`)."""

    media: str
    port: int
    port_count: int
    proto: str
    formats: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> MediaLine:
        """
        Read the value of an m= line.

        :raises ValueError: with a sentence for people.
        """
        fields = split_fields(text)
        if len(fields) < 3:
            raise ValueError("m= needs a media type, a port, a protocol and formats")
        media, port, proto, *formats = fields
        number, slash, count = port.partition("/")
        line = cls(
            media,
            read_number(number, MAX_PORT),
            read_number(count, MAX_PORT_COUNT) if slash else 1,
            proto,
            tuple(formats),
        )
        # A declined stream has been seen without formats; nobody needs them.
        if not formats and line.port:
            raise ValueError("m= needs at least one format after the protocol")
        return line

    @classmethod
    def build(
        cls, media: str, port: int, port_count: int, proto: str, formats: Iterable[str]
    ) -> MediaLine:
        """
        Check the fields and return them as a value.

        :raises LocalSDPError: when a field cannot be written.
        """
        if not 0 <= port <= MAX_PORT or not 1 <= port_count <= MAX_PORT_COUNT:
            raise LocalSDPError(f"{port}/{port_count} is not a port of an m= line")
        names = tuple(formats)
        if port and not names:
            raise LocalSDPError("an m= line needs at least one format")
        check_tokens((media, proto, *names))
        return cls(media, port, port_count, proto, names)

    def __str__(self) -> str:
        """Return the value of the line."""
        port = f"{self.port}/{self.port_count}" if self.port_count != 1 else str(self.port)
        return " ".join((self.media, port, self.proto, *self.formats))


@dataclass(frozen=True, slots=True)
class RTPMap:
    """
    What a format of RTP is (:rfc:`8866#section-6.6`): encoding name, clock rate in Hz, channels.
    """

    encoding: str
    clock_rate: int
    channels: int = 1
    #: The codec in a form that can be compared.
    key: tuple[str, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the key, which is asked for more often than codecs are read."""
        key = self.encoding.lower(), self.clock_rate, self.channels
        object.__setattr__(self, "key", key)

    @classmethod
    def parse(cls, text: str) -> RTPMap:
        """
        Read ``opus/48000/2``, the part of an ``a=rtpmap`` after the payload type.

        :raises ValueError: with a sentence for people.
        """
        encoding, *numbers = text.split("/")
        if not encoding or not 1 <= len(numbers) <= 2:
            raise ValueError(f"{text[:64]!r} is not encoding/clock rate")
        rate = read_number(numbers[0], 2**32 - 1)
        channels = read_number(numbers[1], 255) if len(numbers) > 1 and numbers[1] else 1
        return cls(encoding, rate, channels)

    def matches(self, other: RTPMap) -> bool:
        """
        Whether both are the same codec; encoding names do not know case (:rfc:`4855#section-3`).
        """
        return self.key == other.key

    def __str__(self) -> str:
        """Return the part of an ``a=rtpmap`` after the payload type."""
        tail = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.encoding}/{self.clock_rate}{tail}"


#: Payload types that need no rtpmap (:rfc:`3551#section-6`, tables 4 and 5).
STATIC_PAYLOAD_TYPES: dict[str, RTPMap] = {
    "0": RTPMap("PCMU", 8000),
    "3": RTPMap("GSM", 8000),
    "4": RTPMap("G723", 8000),
    "5": RTPMap("DVI4", 8000),
    "6": RTPMap("DVI4", 16000),
    "7": RTPMap("LPC", 8000),
    "8": RTPMap("PCMA", 8000),
    "9": RTPMap("G722", 8000),
    "10": RTPMap("L16", 44100, 2),
    "11": RTPMap("L16", 44100),
    "12": RTPMap("QCELP", 8000),
    "13": RTPMap("CN", 8000),
    "14": RTPMap("MPA", 90000),
    "15": RTPMap("G728", 8000),
    "16": RTPMap("DVI4", 11025),
    "17": RTPMap("DVI4", 22050),
    "18": RTPMap("G729", 8000),
    "25": RTPMap("CelB", 90000),
    "26": RTPMap("JPEG", 90000),
    "28": RTPMap("nv", 90000),
    "31": RTPMap("H261", 90000),
    "32": RTPMap("MPV", 90000),
    "33": RTPMap("MP2T", 90000),
    "34": RTPMap("H263", 90000),
}
