# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A codec of tests, at whatever rates."""

from __future__ import annotations

from sipsess.media.codec import Codec
from sipsess.media.rtp import MediaError


class Plain(Codec):
    """PCM as it is; a payload of an odd number of bytes means nothing."""

    __slots__ = ()

    def make_encoder(self, fmtp: str = "") -> Plain:
        """Return itself."""
        return self

    def make_decoder(self) -> Plain:
        """Return itself."""
        return self

    def encode(self, pcm: bytes) -> bytes:
        """Return the PCM."""
        return pcm

    def decode(self, payload: bytes) -> bytes:
        """
        Return the PCM.

        :raises MediaError: for half a sample.
        """
        if len(payload) % 2:
            raise MediaError("rtp-truncated", "half a sample")
        return payload

    def duration(self, payload: bytes) -> int:
        """Return its units of the RTP clock."""
        return len(payload) // 2 * self.clock_rate // self.sample_rate
