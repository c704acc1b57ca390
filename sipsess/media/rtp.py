# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
RTP packets, :rfc:`3550#section-5.1`.

The fixed header is twelve bytes, network byte order::

    byte 0      V (2 bits, always 2) | P padding | X extension | CC (4 bits) number of CSRCs
    byte 1      M marker | payload type (7 bits)
    bytes 2-3   sequence number, +1 per packet
    bytes 4-7   timestamp, in samples of the format's clock
    bytes 8-11  SSRC, who sends
    then        CC * 4 bytes of CSRCs, the extension (if X), the payload, the padding (if P)
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sipsess.errors import RemoteError

#: Why an RTP packet is refused, for people.
REASONS: dict[str, str] = {
    "rtp-too-short": "A datagram on a media port was shorter than an RTP header (12 bytes).",
    "rtp-wrong-version": "A datagram on a media port does not carry RTP version 2.",
    "rtp-is-rtcp": "An RTCP packet came where RTP was expected.",
    "rtp-truncated": "The CSRC list or header extension of an RTP packet reaches past its end.",
    "rtp-bad-padding": "The padding length of an RTP packet is zero or longer than the packet.",
    "rtcp-no-report": "An RTCP datagram does not begin with a sender's or receiver's report.",
    "rtcp-broken": "The packets of an RTCP datagram are cut off, or do not fill it.",
    "opus-broken": "The payload of an RTP packet is no Opus packet.",
    "event-too-short": "A telephone-event payload was shorter than four bytes.",
    "bad-dtmf-body": "The body of an INFO request names no key of a telephone.",
}

_HEADER = Struct("!BBHII")
_EXTENSION = Struct("!HH")
_VERSION = 2 << 6
#: RFC 5761 4: these payload types would look like RTCP packet types 192 to 223 with the marker bit.
_RTCP_TYPES = range(64, 96)


class MediaError(RemoteError):
    """The peer sent a media packet that cannot be read; :data:`REASONS` explains the codes."""


def is_rtp(data: bytes) -> bool:
    """
    Tell RTP from RTCP and from everything else, in one glance (:rfc:`5761#section-4`).

    :param data: one datagram.
    :return: whether :meth:`RTPPacket.parse` is worth trying.
    """
    return len(data) >= 12 and data[0] & 0xC0 == _VERSION and data[1] & 0x7F not in _RTCP_TYPES


def is_rtcp(data: bytes) -> bool:
    """Whether the datagram looks like an RTCP packet on the RTP port (:rfc:`5761#section-4`)."""
    return len(data) >= 4 and data[0] & 0xC0 == _VERSION and data[1] & 0x7F in _RTCP_TYPES


class RTPPacket(NamedTuple):
    """One RTP packet; CSRCs, header extension and padding are read over and never written."""

    #: 0 to 127; what it means stands in the SDP, or in :rfc:`3551#section-6`.
    payload_type: int
    #: 0 to 65535.
    sequence: int
    #: 0 to 2**32 - 1.
    timestamp: int
    #: Who sends: 32 random bits.
    ssrc: int
    #: The bytes of the codec, without padding.
    payload: bytes
    #: For audio: the first packet of a talk-spurt (:rfc:`3551#section-4.1`).
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> RTPPacket:
        """
        Read one datagram.

        :param data: what came, RTCP excluded.
        :return: the packet.
        :raises MediaError: if it is not RTP, with a reason code of :data:`REASONS`.
        """
        if len(data) < 12:
            raise MediaError("rtp-too-short", f"{len(data)} bytes are no RTP header")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        payload_type = second & 0x7F
        if first & 0xC0 != _VERSION:
            raise MediaError("rtp-wrong-version", f"RTP version {first >> 6}")
        if payload_type in _RTCP_TYPES:
            raise MediaError("rtp-is-rtcp", f"RTCP packet of type {second}")
        payload = data[12:] if first == _VERSION else _find_payload(data, first)
        return cls(payload_type, sequence, timestamp, ssrc, payload, second > 0x7F)

    def pack(self) -> bytes:
        """Return the datagram."""
        return pack_packet(*self)


def pack_packet(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> bytes:
    """Return the datagram of an :class:`RTPPacket` with these values."""
    second = payload_type | 0x80 if marker else payload_type
    return _HEADER.pack(_VERSION, second, sequence, timestamp, ssrc) + payload


def _find_payload(data: bytes, first: int) -> bytes:
    """Return the payload of a packet that has CSRCs, an extension or padding."""
    start, end = 12 + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        # RFC 3550 5.3.1: a 16-bit profile, then the length in 32-bit words without these four
        # bytes.
        if start + 4 > end:
            raise MediaError("rtp-truncated", "the header extension is cut off")
        start += 4 + 4 * int(_EXTENSION.unpack_from(data, start)[1])
    if start > end:
        raise MediaError("rtp-truncated", "CSRCs or header extension reach past the end")
    if first & 0x20:
        # RFC 3550 5.1: the last byte counts the padding bytes, itself included.
        padding = data[-1]
        if not 0 < padding <= end - start:
            raise MediaError("rtp-bad-padding", f"{padding} bytes of padding in {end - start}")
        end -= padding
    return data[start:end]
