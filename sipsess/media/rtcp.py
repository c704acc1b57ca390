# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
RTCP packets, :rfc:`3550#section-6`: what the two ends of a stream tell each other about it.

A datagram is a *compound*: packets one after the other, each with a header of four bytes, network
byte order::

    byte 0      V (2 bits, always 2) | P padding | count (5 bits) of what follows
    byte 1      packet type: 200 SR, 201 RR, 202 SDES, 203 BYE, others are read over
    bytes 2-3   length in 32-bit words, this one not counted

    SR          SSRC, NTP (8 bytes), RTP timestamp, packets, bytes, then count report blocks
    RR          SSRC, then count report blocks
    SDES        count chunks: SSRC, items (type, length, text), zeros up to the next word
    BYE         count SSRCs, and perhaps a reason

    block       SSRC of whom it tells, fraction lost (1 byte), lost (3 bytes, signed), highest
                sequence number, jitter, LSR, DLSR
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from sipsess.media.rtp import MediaError

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203

#: Packets of one compound that are looked at; each has four bytes at least, and none that tells
#: us something needs so many.
MAX_PACKETS = 32

_CNAME = 1
_VERSION = 2 << 6
_PADDING = 0x20
_HEADER = Struct("!BBH")
_SSRC = Struct("!I")
_SENDER = Struct("!QIII")
_BLOCK = Struct("!IIIIII")
#: The largest number of lost packets that a block can say (24 bits, signed), and the smallest.
_MOST_LOST = 0x7FFFFF
_LEAST_LOST = -0x800000


class Block(NamedTuple):
    """What a receiver says of one sender, :rfc:`3550#section-6.4.1`."""

    #: The sender's.
    ssrc: int
    #: The share lost since the last report, in 256ths.
    fraction: int
    #: Packets lost since the sender began; negative when some came twice.
    lost: int
    #: The highest sequence number that came; the upper 16 bits count how often it rolled over.
    highest: int
    #: Interarrival jitter, in timestamp units.
    jitter: int
    #: The middle of the NTP timestamp of the sender's last report, or 0 when none came.
    last_report: int
    #: How long ago that came, in 65536ths of a second.
    delay: int


class SenderInfo(NamedTuple):
    """What a sender says of himself."""

    #: His clock: seconds in 32.32 bits.
    ntp: int
    #: The same moment as an RTP timestamp.
    timestamp: int
    #: Packets and bytes of payload that he has sent.
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """A compound packet, as far as it tells us something."""

    #: Who sends it.
    ssrc: int
    #: ``None`` when he has sent no RTP lately.
    sender: SenderInfo | None = None
    #: What he hears.
    blocks: tuple[Block, ...] = ()
    #: Who he is, the same name over all his streams; ``""`` when he does not say.
    cname: str = ""
    #: Sources that have left.
    gone: tuple[int, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """
        Read one datagram.

        :raises MediaError: if it is no compound of :rfc:`3550#section-6.1`.
        """
        ssrc, sender, cname = None, None, ""
        blocks: list[Block] = []
        gone: list[int] = []
        for kind, count, body in _packets(data):
            if kind in (SENDER_REPORT, RECEIVER_REPORT):
                their, info, more = _read_report(kind, count, body)
                if ssrc is None:
                    ssrc, sender = their, info
                blocks += more
            elif ssrc is None:
                # RFC 3550 6.1: a report comes first, however little there is to report.
                raise MediaError("rtcp-no-report", f"RTCP begins with a packet of type {kind}")
            elif kind == SOURCE_DESCRIPTION:
                cname = cname or _read_cname(body, ssrc)
            elif kind == GOODBYE:
                # What padding leaves need not be whole words.
                size = min(4 * count, len(body) & ~3)
                gone += [source for (source,) in _SSRC.iter_unpack(body[:size])]
        assert ssrc is not None
        return cls(ssrc, sender, tuple(blocks), cname, tuple(gone))

    def pack(self) -> bytes:
        """Return the datagram: SR or RR, SDES with the name, and BYE if somebody leaves."""
        blocks = b"".join(map(_pack_block, self.blocks))
        head = _SSRC.pack(self.ssrc)
        kind = RECEIVER_REPORT
        if self.sender is not None:
            kind = SENDER_REPORT
            ntp, timestamp, packets, octets = self.sender
            words = (value & 0xFFFFFFFF for value in (timestamp, packets, octets))
            head += _SENDER.pack(ntp & 0xFFFFFFFFFFFFFFFF, *words)
        parts = [_pack(kind, len(self.blocks), head + blocks)]
        name = self.cname.encode()[:255]
        # RFC 3550 6.5: one zero ends the items at least, and the chunk ends with a word.
        item = _SSRC.pack(self.ssrc) + bytes((_CNAME, len(name))) + name
        parts.append(_pack(SOURCE_DESCRIPTION, 1, item + bytes(4 - len(item) % 4)))
        if self.gone:
            parts.append(_pack(GOODBYE, len(self.gone), b"".join(map(_SSRC.pack, self.gone))))
        return b"".join(parts)


def _pack(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION | count, kind, len(body) // 4) + body


def _pack_block(block: Block) -> bytes:
    lost = max(_LEAST_LOST, min(block.lost, _MOST_LOST)) & 0xFFFFFF
    second = block.fraction << 24 | lost
    words = (block.highest, block.jitter, block.last_report, block.delay)
    return _BLOCK.pack(block.ssrc, second, *(max(0, min(word, 0xFFFFFFFF)) for word in words))


def _packets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Tell the packets of a compound apart: type, count and what follows."""
    at, end = 0, len(data)
    for _ in range(MAX_PACKETS):
        if at + 4 > end:
            break
        first, kind, words = _HEADER.unpack_from(data, at)
        start, at = at + 4, at + 4 + 4 * words
        if first & 0xC0 != _VERSION or at > end:
            raise MediaError("rtcp-broken", "an RTCP packet has another version or is cut off")
        stop = at
        if first & _PADDING:
            # RFC 3550 6.4.1: only the last packet has any; the last byte counts it.
            stop -= data[at - 1]
            if stop < start:
                raise MediaError("rtcp-broken", "an RTCP packet has more padding than bytes")
        yield kind, first & 0x1F, data[start:stop]
        if at == end:
            return
    raise MediaError("rtcp-broken", "the RTCP packets do not fill the datagram")


def _read_report(kind: int, count: int, body: bytes) -> tuple[int, SenderInfo | None, list[Block]]:
    """Read an SR or RR; what follows the blocks is an extension that we do not know."""
    start = 4 + (_SENDER.size if kind == SENDER_REPORT else 0)
    if len(body) < start + _BLOCK.size * count:
        raise MediaError("rtcp-broken", "an RTCP report is too short for what it counts")
    (ssrc,) = _SSRC.unpack_from(body)
    info = SenderInfo(*_SENDER.unpack_from(body, 4)) if kind == SENDER_REPORT else None
    return ssrc, info, list(_read_blocks(body[start : start + _BLOCK.size * count]))


def _read_blocks(data: bytes) -> Iterable[Block]:
    for ssrc, second, highest, jitter, last_report, delay in _BLOCK.iter_unpack(data):
        lost = second & 0xFFFFFF
        if lost > _MOST_LOST:
            lost -= 0x1000000
        yield Block(ssrc, second >> 24, lost, highest, jitter, last_report, delay)


def _read_cname(body: bytes, ssrc: int) -> str:
    """Return the name of the source, if its chunk is the first and says one."""
    if len(body) < 4 or _SSRC.unpack_from(body)[0] != ssrc:
        return ""
    at = 4
    while at + 2 <= len(body) and body[at]:
        kind, length = body[at], body[at + 1]
        if kind == _CNAME:
            return body[at + 2 : at + 2 + length].decode("utf-8", "replace")
        at += 2 + length
    return ""
