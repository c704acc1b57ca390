# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Turns payloads of one codec into payloads of another."""

from __future__ import annotations

from sipsess.media.codec import Codec
from sipsess.media.resample import Resampler
from sipsess.media.rtp import MediaError


class Transcoder:
    """
    Transcodes one stream of audio, packet by packet.

    :param source: what comes.
    :param target: what leaves.
    :param fmtp: the parameters that who gets it gives the target.
    """

    __slots__ = ("_decoder", "_encoder", "_resampler", "source")

    def __init__(self, source: Codec, target: Codec, fmtp: str = "") -> None:
        #: What comes.
        self.source = source
        self._decoder, self._encoder = source.make_decoder(), target.make_encoder(fmtp)
        is_same = source.sample_rate == target.sample_rate
        self._resampler = None if is_same else Resampler(source.sample_rate, target.sample_rate)

    def convert(self, payload: bytes) -> bytes:
        """
        Transcode one packet.

        :param payload: any bytes of a peer.
        :return: a payload that lasts as long as a rule; empty when there is nothing to send.
        """
        try:
            pcm = self._decoder.decode(payload)
        except MediaError:
            return b""
        if self._resampler is not None:
            pcm = self._resampler.convert(pcm)
        return self._encoder.encode(pcm)
