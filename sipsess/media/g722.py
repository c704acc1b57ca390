# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
G.722 at 64 kbit/s, the wideband codec of desk telephones; needs the extra ``g722``.

It samples at 16 kHz, and its RTP clock is 8 kHz all the same, by an old mistake that everybody
keeps (:rfc:`3551#section-4.5.2`). The module is imported when a call may need it.
"""

from __future__ import annotations

from array import array
from struct import pack, unpack
from types import ModuleType
from typing import Any

from sipsess.media.codec import Codec, load_extra

_SAMPLE_RATE = 16000
_BIT_RATE = 64000


class _Encoder:
    """The state of one stream that is sent."""

    __slots__ = ("_state",)

    def __init__(self, module: Any) -> None:
        self._state = module.G722(_SAMPLE_RATE, _BIT_RATE)

    def encode(self, pcm: bytes) -> bytes:
        """Return a byte for each two samples."""
        count = len(pcm) // 4 * 2
        payload: bytes = self._state.encode(array("h", unpack(f"<{count}h", pcm[: 2 * count])))
        return payload


class _Decoder:
    """The state of one stream that is heard."""

    __slots__ = ("_state",)

    def __init__(self, module: Any) -> None:
        self._state = module.G722(_SAMPLE_RATE, _BIT_RATE)

    def decode(self, payload: bytes) -> bytes:
        """Return two samples for each byte; any bytes mean something."""
        samples = self._state.decode(payload)
        return pack(f"<{len(samples)}h", *samples)


class G722Codec(Codec):
    """
    G.722.

    :param module: what the extra is called, for tests.
    """

    __slots__ = ("_module",)

    def __init__(self, module: str = "G722") -> None:
        super().__init__("G722", 8000, sample_rate=_SAMPLE_RATE, payload_type=9)
        self._module = module

    @property
    def missing(self) -> str:
        """See :attr:`.Codec.missing`."""
        return "" if self._load() else "install sipsess[g722]"

    def make_encoder(self, fmtp: str = "") -> _Encoder:
        """See :meth:`.Codec.make_encoder`."""
        return _Encoder(self._load())

    def make_decoder(self) -> _Decoder:
        """See :meth:`.Codec.make_decoder`."""
        return _Decoder(self._load())

    def _load(self) -> ModuleType | None:
        return load_extra(self._module)


#: The codec.
G722 = G722Codec()
