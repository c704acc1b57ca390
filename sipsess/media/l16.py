# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
L16: samples as they are, the high byte first (:rfc:`3551#section-4.5.11`).

For services nearby, such as speech recognition: nothing is lost, at four times the bytes of G.711
for twice the samples.
"""

from __future__ import annotations

from sipsess.media.codec import Codec

#: The most milliseconds of 16 kHz, and of 8 kHz, that an Ethernet frame takes.
_LONGEST = {16000: 40, 8000: 80}


class L16(Codec):
    """
    Mono PCM at one rate, its own encoder and decoder.

    :param sample_rate: 8000 or 16000.
    """

    __slots__ = ()

    def __init__(self, sample_rate: int) -> None:
        name = f"L16/{sample_rate}"
        super().__init__("L16", sample_rate, name=name, longest_packet=_LONGEST[sample_rate])

    def make_encoder(self, fmtp: str = "") -> L16:
        """Return itself."""
        return self

    def make_decoder(self) -> L16:
        """Return itself."""
        return self

    def encode(self, pcm: bytes) -> bytes:
        """Return the samples in network order."""
        return _swap(pcm)

    def decode(self, payload: bytes) -> bytes:
        """Return the samples of any bytes; half a sample at the end is dropped."""
        return _swap(payload)

    def duration(self, payload: bytes) -> int:
        """See :meth:`.Codec.duration`."""
        return len(payload) // 2


def _swap(data: bytes) -> bytes:
    """Swap the bytes of each sample."""
    size = len(data) & ~1
    swapped = bytearray(size)
    swapped[0::2], swapped[1::2] = data[1:size:2], data[0:size:2]
    return bytes(swapped)


#: Wideband, and as G.711 samples.
L16_16000, L16_8000 = L16(16000), L16(8000)
