# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Opus (:rfc:`6716`, and :rfc:`7587` for RTP); needs the extra ``opus`` and the library ``libopus``.

In SDP it is always ``opus/48000/2``, whatever is sent (:rfc:`7587#section-7`). Here the library is
asked for 16 kHz mono, the band of speech: what is recorded, played or transcoded costs a third of
48 kHz. What is relayed or echoed stays as it is, music included.

A packet begins with one byte that says how long it is (:rfc:`6716#section-3.1`)::

    config (5 bits): mode, bandwidth and length of a frame | stereo (1) | frames (2)

and with ``frames`` of 3 another byte tells how many there are.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from sipsess.media.codec import Codec, load_extra
from sipsess.media.rtp import MediaError
from sipsess.sdp.negotiation import read_parameters

_CLOCK_RATE = 48000
_SAMPLE_RATE = 16000
#: Units of the clock in a frame, by configuration: 10 to 60 ms, then hybrid, then 2.5 to 20 ms.
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_FRAMES = 3 * _SILK + 2 * _HYBRID + 4 * _CELT
#: The longest packet, in units of the clock: 120 ms (:rfc:`6716#section-3.2`).
_LONGEST = 5760
#: The samples that a packet of ours may have: 2.5 to 120 ms.
_SIZES = (1920, 1600, 1280, 960, 640, 320, 160, 80, 40)
#: Bits per second that we send, unless the peer wants less: more is hardly heard at 16 kHz.
_BIT_RATE = 32000
_BIT_RATES = range(6000, 510_001)
#: How hard the encoder tries, 0 to 10: 5 takes a third of the time of 9, and sounds the same.
_COMPLEXITY = 5
#: The loss that forward error correction is made for, in percent, when the peer can use it.
_LOSS = 5
#: ``maxplaybackrate`` of a peer, and the constant of the library for what it means.
_BANDWIDTHS = ((8000, "NARROWBAND"), (12000, "MEDIUMBAND"))


class _Encoder:
    """The state of one stream that is sent."""

    __slots__ = ("_rest", "_state")

    def __init__(self, module: Any, fmtp: str) -> None:
        self._state = module.Encoder(_SAMPLE_RATE, 1, "voip")
        self._rest = b""
        self._configure(module, read_parameters(fmtp))

    def _configure(self, module: Any, parameters: dict[str, str]) -> None:
        """Do what the peer wants (:rfc:`7587#section-6.1`)."""
        state = self._state
        wanted = _number(parameters.get("maxaveragebitrate"))
        state.bitrate = min(_BIT_RATE, wanted) if wanted in _BIT_RATES else _BIT_RATE
        state.complexity = _COMPLEXITY
        if parameters.get("cbr") == "1":
            state.vbr = 0
        if parameters.get("useinbandfec") == "1":
            state.inband_fec = 1
            state.packet_loss_perc = _LOSS
        rate = _number(parameters.get("maxplaybackrate"))
        for highest, name in _BANDWIDTHS:
            if 0 < rate <= highest:
                state.max_bandwidth = getattr(module, f"BANDWIDTH_{name}")
                break

    def encode(self, pcm: bytes) -> bytes:
        """
        Return the next packet.

        What does not fill one, since Opus knows some lengths only, waits for the next call.
        """
        pcm = self._rest + pcm
        size = next((size for size in _SIZES if 2 * size <= len(pcm)), 0)
        self._rest = pcm[2 * size :][: 2 * _SIZES[0]]
        payload: bytes = self._state.encode(pcm[: 2 * size], size) if size else b""
        return payload


class _Decoder:
    """The state of one stream that is heard."""

    __slots__ = ("_error", "_state")

    def __init__(self, module: Any) -> None:
        self._state = module.Decoder(_SAMPLE_RATE, 1)
        self._error = module.OpusError

    def decode(self, payload: bytes) -> bytes:
        """
        Return the samples of a packet.

        :raises MediaError: when it is none.
        """
        if not _duration(payload):
            raise MediaError("opus-broken", "these bytes are no Opus packet")
        try:
            pcm: bytes = self._state.decode(payload, _SIZES[0])
        except self._error as error:
            raise MediaError("opus-broken", f"Opus: {error}") from error
        return pcm


class OpusCodec(Codec):
    """
    Opus.

    :param module: what the extra is called, for tests.
    """

    __slots__ = ("_module",)

    def __init__(self, module: str = "opuslib_next") -> None:
        super().__init__(
            *("opus", _CLOCK_RATE), sample_rate=_SAMPLE_RATE, channels=2, packet_step=20
        )
        self._module = module

    @property
    def missing(self) -> str:
        """See :attr:`.Codec.missing`."""
        return "" if self._load() else "install sipsess[opus] and libopus (Debian: libopus0)"

    def make_encoder(self, fmtp: str = "") -> _Encoder:
        """See :meth:`.Codec.make_encoder`."""
        return _Encoder(self._load(), fmtp)

    def make_decoder(self) -> _Decoder:
        """See :meth:`.Codec.make_decoder`."""
        return _Decoder(self._load())

    def duration(self, payload: bytes) -> int:
        """See :meth:`.Codec.duration`."""
        return _duration(payload)

    def _load(self) -> ModuleType | None:
        return load_extra(self._module)


def _duration(payload: bytes) -> int:
    """Return how long a packet lasts in units of the clock; 0 for what is none."""
    if not payload:
        return 0
    frames = (1, 2, 2, 0)[payload[0] & 3]
    if not frames and len(payload) > 1:
        frames = payload[1] & 0x3F
    length = frames * _FRAMES[payload[0] >> 3]
    return length if length <= _LONGEST else 0


def _number(text: str | None) -> int:
    """Return a number of a peer; 0 for what is none."""
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 6):
        return 0
    return int(text)


#: The codec.
OPUS = OpusCodec()
