# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a codec is: its place in SDP and RTP, and who encodes and decodes.

A :class:`Codec` is a description that all streams share; what one stream needs in one direction
is an :class:`Encoder` or a :class:`Decoder` of its own. A codec without state, such as G.711, gives
all streams the same one.

PCM is everywhere signed 16-bit little-endian mono, at :attr:`Codec.sample_rate`. That is not always
the RTP clock: G.722 samples at 16 kHz and counts at 8 kHz (:rfc:`3551#section-4.5.2`).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Protocol, TypeAlias

#: What names a codec in SDP: encoding name in small letters, RTP clock, channels.
CodecKey: TypeAlias = tuple[str, int, int]

#: Milliseconds in one packet, unless the peer wants more.
PACKET_TIME = 20
#: Milliseconds that no packet exceeds: more delay than that is heard.
MAX_PACKET_TIME = 120


class Encoder(Protocol):
    """Encodes what one stream says."""

    def encode(self, pcm: bytes, /) -> bytes:
        """
        Return the payload of one packet.

        :param pcm: its samples; an odd last byte is dropped.
        :return: empty when there is nothing to send yet.
        """


class Decoder(Protocol):
    """Decodes what one stream hears, packet after packet."""

    def decode(self, payload: bytes, /) -> bytes:
        """
        Return the PCM of one packet.

        :param payload: any bytes of a peer.
        :raises MediaError: when they mean nothing.
        """


class Codec:
    """
    One way to write audio as RTP payload.

    :param encoding: its name in ``a=rtpmap``, as it is written there.
    :param clock_rate: the RTP clock in Hz.
    :param sample_rate: of the PCM in Hz; the clock by default.
    :param payload_type: the static one of :rfc:`3551#section-6`, or ``None``.
    :param channels: what ``a=rtpmap`` says; the PCM has one all the same.
    :param name: what the settings call it; the encoding in capitals by default.
    :param fmtp: the parameters that our descriptions give it, empty for none.
    :param packet_step: a packet lasts a multiple of so many milliseconds.
    :param longest_packet: and so many at most, 20 at least.
    """

    __slots__ = (
        *("channels", "clock_rate", "encoding", "fmtp", "longest_packet", "name"),
        *("packet_step", "payload_type", "rtpmap", "sample_rate"),
    )

    def __init__(
        self,
        encoding: str,
        clock_rate: int,
        *,
        sample_rate: int | None = None,
        payload_type: int | None = None,
        channels: int = 1,
        name: str | None = None,
        fmtp: str = "",
        packet_step: int = 10,
        longest_packet: int = MAX_PACKET_TIME,
    ) -> None:
        #: Unique among all codecs; what ``codecs`` of an endpoint says.
        self.name = name or encoding.upper()
        #: The name in ``a=rtpmap``.
        self.encoding = encoding
        #: The RTP clock in Hz.
        self.clock_rate = clock_rate
        #: Samples per second of the PCM.
        self.sample_rate = sample_rate or clock_rate
        #: The static payload type, or ``None``.
        self.payload_type = payload_type
        #: What ``a=rtpmap`` says.
        self.channels = channels
        #: The parameters that our descriptions give it.
        self.fmtp = fmtp
        #: A packet lasts a multiple of so many milliseconds.
        self.packet_step = packet_step
        #: And so many at most.
        self.longest_packet = longest_packet
        #: The value of ``a=rtpmap`` after the payload type.
        self.rtpmap = f"{encoding}/{clock_rate}" + (f"/{channels}" if channels > 1 else "")

    def __repr__(self) -> str:
        return f"<codec {self.name}>"

    @property
    def key(self) -> CodecKey:
        """What a peer's ``a=rtpmap`` must say (:rfc:`8866#section-6.6`: in any case)."""
        return self.encoding.lower(), self.clock_rate, self.channels

    @property
    def missing(self) -> str:
        """What has to be installed before it can be spoken; empty when nothing is missing."""
        return ""

    def answer_fmtp(self, offered: str) -> str | None:
        """
        Return the parameters of our answer.

        :param offered: those of the peer, empty for none.
        :return: empty for none, and ``None`` when we do not speak the codec that way.
        """
        return self.fmtp

    def make_encoder(self, fmtp: str = "") -> Encoder:
        """
        Return what encodes for one stream.

        :param fmtp: the parameters that the peer gives.
        """
        raise NotImplementedError(f"{self!r} has no encoder")

    def make_decoder(self) -> Decoder:
        """Return what decodes for one stream."""
        raise NotImplementedError(f"{self!r} has no decoder")

    def duration(self, payload: bytes) -> int:
        """
        Return how long a payload lasts.

        :param payload: any bytes of a peer.
        :return: units of the RTP clock; 0 for what means nothing.
        """
        return len(payload)

    def packet_time(self, wanted: int | None, longest: int | None) -> int:
        """
        Return how long our packets are, in milliseconds.

        :param wanted: ``a=ptime`` of the peer (:rfc:`8866#section-6.4`), if he says it.
        :param longest: his ``a=maxptime``.
        :return: what he wants, or the next length below it that the codec has; 20 at least.
        """
        limits = (self.longest_packet, longest or MAX_PACKET_TIME)
        time = min(wanted or PACKET_TIME, *limits)
        return max(time // self.packet_step * self.packet_step, PACKET_TIME)


def load_extra(name: str) -> ModuleType | None:
    """
    Import a module of an extra.

    :return: ``None`` when it, or a library that it needs, is not installed.
    """
    try:
        return import_module(name)
    except Exception:
        # Not only ImportError: a binding whose library is missing says it as it likes.
        return None
