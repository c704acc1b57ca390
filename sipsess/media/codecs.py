# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The audio codecs that need nothing but this module: G.711 mu-law and A-law.

The PCM is at 8 kHz. The tables are made once at import
(2 ms). Decoding is two ``bytes.translate`` calls, one for the low and
one for the high bytes; encoding looks each sample up in a table of 65536 entries. When
``audioop`` can be imported without a warning (``audioop-lts`` on Python 3.13 and later) it does
the same work faster, bit for bit.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from struct import unpack_from
from types import ModuleType
from typing import TypeAlias

from sipsess.media.codec import Codec

#: Samples per second of G.711, and of PCM whose rate is not told.
SAMPLE_RATE = 8000
#: Seconds in one frame.
FRAME_TIME = 0.02
#: Samples in one frame of 20 ms.
FRAME_SAMPLES = 160
#: Bytes of PCM in one frame.
FRAME_BYTES = 2 * FRAME_SAMPLES

_Convert: TypeAlias = Callable[[bytes], bytes]


class G711(Codec):
    """
    G.711 mu-law or A-law: a codec that is its own encoder and decoder, since it has no state.

    :param encoding: ``"PCMU"`` or ``"PCMA"``.
    :param payload_type: its static payload type.
    :param encode: PCM to payload; an odd last byte is dropped.
    :param decode: payload to PCM, any bytes.
    """

    __slots__ = ("decode", "encode")

    def __init__(
        self, encoding: str, payload_type: int, encode: _Convert, decode: _Convert
    ) -> None:
        super().__init__(encoding, SAMPLE_RATE, payload_type=payload_type)
        #: PCM to payload.
        self.encode = encode
        #: Payload to PCM.
        self.decode = decode

    def make_encoder(self, fmtp: str = "") -> G711:
        """Return itself."""
        return self

    def make_decoder(self) -> G711:
        """Return itself."""
        return self


def _make_decode(linear: list[int]) -> _Convert:
    """Return a decoder for the 256 values that the codes mean."""
    low = bytes(value & 0xFF for value in linear)
    high = bytes(value >> 8 & 0xFF for value in linear)

    def decode(payload: bytes) -> bytes:
        pcm = bytearray(2 * len(payload))
        pcm[0::2] = payload.translate(low)
        pcm[1::2] = payload.translate(high)
        return bytes(pcm)

    return decode


def _make_encode(codes: bytes, shift: int, positive: int, negative: int) -> _Convert:
    """
    Return an encoder.

    :param codes: the code without sign of each magnitude that non-negative samples have, then
        that of the magnitudes of negative samples, from the most negative one to -1.
    :param shift: how many low bits of a sample do not matter.
    :param positive: the bits to toggle in the code of a sample that is not negative.
    :param negative: the same for negative ones.
    """
    half = len(codes) // 2
    wide = bytearray(len(codes) << shift)
    for offset in range(1 << shift):
        wide[offset :: 1 << shift] = codes
    upper, lower = (bytes(code ^ bits for code in range(256)) for bits in (positive, negative))
    split = half << shift
    # A list: its look-up is faster than that of bytes.
    table = list(wide[:split].translate(upper) + wide[split:].translate(lower))
    look_up = table.__getitem__

    def encode(pcm: bytes) -> bytes:
        count = len(pcm) // 2
        return bytes(map(look_up, unpack_from(f"<{count}H", pcm)))

    return encode


def _ulaw_linear(code: int) -> int:
    """What one mu-law code means (G.711, table 2a and 2b)."""
    code ^= 0xFF
    magnitude = ((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)
    return 0x84 - magnitude if code & 0x80 else magnitude - 0x84


def _alaw_linear(code: int) -> int:
    """What one A-law code means (G.711, table 1a and 1b)."""
    code ^= 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = magnitude + 0x100 << segment - 1
    return magnitude if code & 0x80 else -magnitude


def _ulaw_codes() -> bytes:
    """The codes of the 14-bit magnitudes 0 to 8191, then those of 8192 down to 1."""
    # A magnitude plus the bias of 33 lies in segment s when its highest bit is bit s + 5.
    steps = b"".join(bytes([s << 4 | k]) * (2 << s) for s in range(8) for k in range(16))
    codes = steps[1:].ljust(8193, b"\x7f")
    return codes[:8192] + codes[:0:-1]


def _alaw_codes() -> bytes:
    """The codes of the 13-bit magnitudes 0 to 4095, then those of 4095 down to 0."""
    codes = b"".join(bytes([s << 4 | k]) * max(2, 1 << s) for s in range(8) for k in range(16))
    return codes + codes[::-1]


def load_audioop() -> ModuleType | None:
    """
    Import ``audioop``, if that is possible without a warning.

    :return: the module; ``None`` where it is missing (from 3.13 on, unless ``audioop-lts`` is
        installed) or deprecated (before).
    """
    with warnings.catch_warnings():
        # No other category: CPython may still use these filters for what it warns of at its exit.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return importlib.import_module("audioop")
        except (ImportError, DeprecationWarning):
            return None


def make_codecs(fast: ModuleType | None) -> tuple[G711, G711]:
    """
    Build the two codecs.

    :param fast: ``audioop``, or ``None`` for the tables.
    :return: PCMU and PCMA.
    """
    if fast is None:
        ulaw = (
            _make_encode(_ulaw_codes(), 2, 0xFF, 0x7F),
            _make_decode([_ulaw_linear(code) for code in range(256)]),
        )
        alaw = (
            _make_encode(_alaw_codes(), 3, 0xD5, 0x55),
            _make_decode([_alaw_linear(code) for code in range(256)]),
        )
    else:
        ulaw = _wrap(fast.lin2ulaw, fast.ulaw2lin)
        alaw = _wrap(fast.lin2alaw, fast.alaw2lin)
    return G711("PCMU", 0, *ulaw), G711("PCMA", 8, *alaw)


def _wrap(
    encode: Callable[[bytes, int], bytes], decode: Callable[[bytes, int], bytes]
) -> tuple[_Convert, _Convert]:
    """Give two functions of ``audioop`` the shape of ours."""

    def encode_pcm(pcm: bytes) -> bytes:
        return encode(pcm[: len(pcm) & ~1], 2)

    def decode_payload(payload: bytes) -> bytes:
        return decode(payload, 2)

    return encode_pcm, decode_payload


#: G.711 mu-law, as North America and Japan use it; and A-law, as the others do.
PCMU, PCMA = make_codecs(load_audioop())
