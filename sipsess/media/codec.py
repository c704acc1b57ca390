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

from typing import Protocol, TypeAlias

#: What names a codec in SDP: encoding name in small letters, RTP clock, channels.
CodecKey: TypeAlias = tuple[str, int, int]


class Encoder(Protocol):
    """Encodes what one stream says."""

    def encode(self, pcm: bytes, /) -> bytes:
        """
        Return the payload of one packet.

        :param pcm: its samples; an odd last byte is dropped.
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
    """

    __slots__ = (
        *("channels", "clock_rate", "encoding", "name"),
        *("payload_type", "rtpmap", "sample_rate"),
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
        #: The value of ``a=rtpmap`` after the payload type.
        self.rtpmap = f"{encoding}/{clock_rate}" + (f"/{channels}" if channels > 1 else "")

    def __repr__(self) -> str:
        return f"<codec {self.name}>"

    @property
    def key(self) -> CodecKey:
        """What a peer's ``a=rtpmap`` must say (:rfc:`8866#section-6.6`: in any case)."""
        return self.encoding.lower(), self.clock_rate, self.channels

    def make_encoder(self) -> Encoder:
        """Return what encodes for one stream."""
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
